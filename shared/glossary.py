"""The field's metrics and our floors in plain words: name -> (how it is written, what it says)."""

METRICS = {
    # language
    "bits_per_byte": (
        "bits per byte",
        "Bits needed to write down a byte of unseen text with the model's guesses; "
        "comparable across tokenizers.",
    ),
    "perplexity": (
        "perplexity",
        "Between how many equally likely tokens the model hesitates; depends on the tokenizer.",
    ),
    "loss": ("loss", "What training makes small, measured on data kept out of training."),
    "token_accuracy": ("token accuracy", "How often the likeliest next token is the right one."),
    "bleu": (
        "BLEU",
        "Overlap with the true text in runs of one to four words, from 0 to 100; "
        "short answers punished.",
    ),
    "bleu_1": ("BLEU-1", "Share of words that also stand in a reference, short answers punished."),
    "bleu_4": ("BLEU-4", "Overlap with the references in runs of one to four words."),
    "rouge_1": ("ROUGE-1", "Overlap with the reference in single words, as an F-score."),
    "rouge_2": ("ROUGE-2", "Overlap with the reference in pairs of words, as an F-score."),
    "rouge_l": ("ROUGE-L", "Longest run of words in the reference's order, gaps allowed."),
    "meteor": ("METEOR", "Overlap with the references, with stems and synonyms counted as equal."),
    # tokenizer
    "bytes_per_token": (
        "bytes per token",
        "How much text one token carries; more means shorter sequences.",
    ),
    "fertility": ("fertility", "Into how many tokens a word falls; 1 is the least."),
    "byte_fallback": (
        "byte fallback",
        "How many tokens are single bytes, because no piece of the vocabulary fits.",
    ),
    "lossless": ("lossless", "How many texts come back from their tokens exactly as they were."),
    "megabytes_per_second": ("megabytes per second", "How fast text is turned into tokens."),
    "vocabulary_size": ("vocabulary size", "How many different tokens there are."),
    # pictures
    "fid": (
        "FID",
        "Distance between generated and real pictures in a network's features; "
        "biased upwards when there are few pictures.",
    ),
    "kid": ("KID", "Like FID, but without its bias for few pictures; about 0 for real ones."),
    "inception_score": (
        "inception score",
        "Whether each generated picture is clearly something and all together are varied.",
    ),
    "precision": ("precision", "Share of generated pictures that lie among the real ones."),
    "recall": ("recall", "Share of real pictures that lie among the generated ones."),
    "lpips": ("LPIPS", "How different two pictures look, as a network trained on judgements sees."),
    "pictures_per_second": ("pictures per second", "How fast the model draws."),
    "accuracy": ("accuracy", "Share of cases in which the first answer is right."),
    "top_1_accuracy": ("top-1 accuracy", "Share of pictures whose likeliest class is right."),
    "top_5_accuracy": ("top-5 accuracy", "Share of pictures with the right class in the top five."),
    "knn_accuracy": (
        "k-NN accuracy",
        "Share of pictures whose nearest neighbours, by features, are of their class.",
    ),
    "linear_probe_accuracy": (
        "linear probe accuracy",
        "Accuracy of one linear layer on the frozen features.",
    ),
    # pictures and words
    "cider": ("CIDEr", "Agreement with people's captions, rare words counting more."),
    "spice": ("SPICE", "Agreement with people's captions on things, properties and relations."),
    "vqa_accuracy": (
        "VQA accuracy",
        "Share of answers that agree with people's; full marks if three of ten said so.",
    ),
    "clip_score": ("CLIP score", "How well a picture and its words match, as another model sees."),
    "recall_at_1": ("recall at 1", "How often the right match is found first."),
    "recall_at_5": ("recall at 5", "How often the right match is among the first five found."),
    "attribute_accuracy": (
        "attribute accuracy",
        "How often the drawn picture shows what the prompt asked for.",
    ),
    # speech
    "wer": (
        "word error rate",
        "Words wrong, missing or made up, per spoken word; can exceed 1.",
    ),
    "cer": ("character error rate", "Letters wrong, missing or made up, per letter spoken."),
    "real_time_factor": ("real-time factor", "Seconds of computing per second of sound."),
    # speed and size
    "tokens_per_second": ("tokens per second", "How fast the model reads or writes."),
    "images_per_second": ("images per second", "How fast pictures are made or read."),
    "samples_per_second": ("samples per second", "How fast examples go through training."),
    "latency_p50_ms": ("median latency", "Half of the requests are answered within this time."),
    "latency_p95_ms": ("95 % latency", "Of twenty requests, nineteen are answered within this."),
    "latency_p99_ms": ("99 % latency", "Of a hundred requests, all but one are within this."),
    "mfu": (
        "model FLOPs utilization",
        "Share of the hardware's peak arithmetic that went into the model.",
    ),
    "speedup": ("speedup", "How many times faster than what it is compared with."),
    "parameters": ("parameters", "How many numbers the model learned."),
    "sparsity": ("sparsity", "Share of the weights that are zero."),
    "size_mb": ("size", "Room that the weights take on disk."),
    "flops": ("FLOPs", "Arithmetic operations of one pass."),
    "peak_memory_mb": ("peak memory", "The most memory that was in use at once."),
}

# Networks that metrics of pictures look through, where it is not the Inception of the literature.
NETWORKS = {"efficientnet_lite0": "EfficientNet-lite0"}

# Floors, ceilings and references: what the number beside the run's own stands for.
BASELINES = {
    "bytes": ("bytes", "a tokenizer that takes every byte for a token"),
    "unigram": ("unigram", "guesses from how frequent each symbol is, blind to what came before"),
    "byte_5gram": ("byte 5-gram", "guesses a byte from the four before it (Kneser-Ney)"),
    "token_5gram": ("token 5-gram", "guesses a token from the four before it (Kneser-Ney)"),
    "copy_prompt": ("copy of the prompt", "the end of the prompt once more, as its continuation"),
    "xz": ("xz", "the compressor, on the held-out text alone"),
    "xz_primed": ("xz, primed", "the compressor, having seen the training text"),
    "ppm_primed": ("PPM, primed", "a context-mixing compressor, having seen the training text"),
    "raw_pixels": ("raw pixels", "the same measure on the pixels themselves"),
    "random_init": ("random weights", "the same network before training"),
    "constant": ("constant", "the one best answer for everything"),
    "nearest_pixels": ("nearest by pixels", "the caption of the most similar training picture"),
    "nearest_features": ("nearest by features", "the same, with similarity by learned features"),
    "shuffled_image": ("shuffled picture", "the model given somebody else's picture"),
    "shuffled_prompt": ("shuffled prompt", "the model given somebody else's prompt"),
    "majority": ("majority", "the most frequent answer, always"),
    "question_only": ("question only", "a twin trained without ever seeing the pictures"),
    "chance": ("chance", "guessing"),
    "init": ("untrained", "the same model before training"),
    "pca_gaussian": ("PCA Gaussian", "noise with the colours and layout of the data"),
    "blurred": ("blurred", "real pictures, blurred"),
    "real": ("real", "held-out real data, measured the same way"),
    "leave_one_out": ("leave one out", "one person's answer measured against the others'"),
    "eager": ("eager", "the uncompressed model in PyTorch"),
    "onnx_fp32": ("ONNX fp32", "the uncompressed model in ONNX Runtime"),
    "pocketsphinx": ("pocketsphinx", "an off-the-shelf recogniser on the same clips"),
    "whisper_tiny": ("Whisper tiny", "a large team's recogniser on the same clips"),
}


def metric_label(name: str) -> str:
    """How a metric is written: `bleu_4` -> BLEU-4; unknown ones by their words."""
    base, network = _through(name)
    label = METRICS.get(base, (base.replace("_", " "), ""))[0]
    return f"{label} ({network})" if network else label


def metric_meaning(name: str) -> str:
    """What a metric says, in a sentence or two; empty for unknown ones."""
    base, network = _through(name)
    meaning = METRICS.get(base, ("", ""))[1]
    if network and meaning:
        return f"{meaning} Seen through {network}: not to be compared with other networks' numbers."
    return meaning


def _through(name: str) -> tuple[str, str]:
    """`kid_efficientnet_lite0` -> kid, EfficientNet-lite0; other names as they are."""
    for network, label in NETWORKS.items():
        if name.endswith(f"_{network}"):
            return name.removesuffix(f"_{network}"), label
    return name, ""


def baseline_label(name: str) -> str:
    """How a floor, ceiling or reference is written: `byte_5gram` -> byte 5-gram."""
    return BASELINES.get(name, (name.replace("_", " "), ""))[0]
