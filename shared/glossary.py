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
    "bleu_2": ("BLEU-2", "Overlap with the references in single words and pairs."),
    "bleu_3": ("BLEU-3", "Overlap with the references in runs of one to three words."),
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
    "cider_gain": (
        "CIDEr gain",
        "How far the captions have come from the best floor, 0, to people's agreement, 1.",
    ),
    "spice": ("SPICE", "Agreement with people's captions on things, properties and relations."),
    "vqa_accuracy": (
        "VQA accuracy",
        "Share of answers that agree with people's; full marks if three of ten said so.",
    ),
    "gqa_accuracy": ("GQA accuracy", "Share of answers that are the true one to the letter."),
    "daquar_accuracy": (
        "DAQUAR accuracy",
        "Share of answers that name the same things as the true one, in any order.",
    ),
    "wups_at_0_9": (
        "WUPS at 0.9",
        "DAQUAR accuracy that lets words pass for each other if WordNet has them close by.",
    ),
    "wups_at_0_0": (
        "WUPS at 0.0",
        "The same with any nearness counted; two nouns of any kind score some, so it is mild.",
    ),
    "tuple_f1": (
        "tuple F1",
        "Whether a caption names what a generated scene shows, how many and on what background, "
        "and says nothing wrong; exact, and ours alone.",
    ),
    "clip_score": (
        "CLIP score",
        "How well a picture and its words match, as another model sees, from 0 to 2.5; "
        "each pair counts 0 at least.",
    ),
    "clip_score_torchmetrics": (
        "CLIP score (torchmetrics)",
        "The same cosine from 0 to 100, averaged before it is cut at 0.",
    ),
    "recall_at_1": ("recall at 1", "How often the right match is found first."),
    "recall_at_5": ("recall at 5", "How often the right match is among the first five found."),
    "recall_at_10": ("recall at 10", "How often the right match is among the first ten found."),
    "median_rank": (
        "median rank",
        "Half of the right matches are found at this place or before; 1 is best.",
    ),
    "zero_shot_accuracy": (
        "zero-shot accuracy",
        "Share of pictures whose class is the nearest by its words alone, never trained on.",
    ),
    "object_accuracy": (
        "object accuracy",
        "How often the drawn picture shows the things that the prompt asked for.",
    ),
    "background_accuracy": (
        "background accuracy",
        "How often the drawn picture has the background that the prompt asked for.",
    ),
    "drawing_loss": (
        "drawing loss",
        "Squared error of what the drawer predicts for noisy pictures and their prompts.",
    ),
    "judge_accuracy": (
        "judge's accuracy",
        "How often the network that judges drawn pictures is right about real ones.",
    ),
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
    "wer_closed": (
        "word error rate, told the texts",
        "The same where the recogniser is told which texts there are, and picks one.",
    ),
    "cer_closed": (
        "character error rate, told the texts",
        "The same where the recogniser is told which texts there are, and picks one.",
    ),
    "hallucination_rate": (
        "hallucination rate",
        "Share of clips without speech in which words were heard.",
    ),
    "vqa_accuracy_spoken": (
        "VQA accuracy, spoken",
        "Share of questions that are asked aloud and answered right.",
    ),
    "spoken_share": (
        "spoken share",
        "How much of what typed questions bring is left when they are spoken; 1 is all of it.",
    ),
    "real_time_factor": ("real-time factor", "Seconds of computing per second of sound."),
    # speed and size
    "tokens_per_second": ("tokens per second", "How fast the model reads or writes."),
    "images_per_second": ("images per second", "How fast pictures are made or read."),
    "samples_per_second": ("samples per second", "How fast examples go through training."),
    "latency_p50_ms": ("median latency", "Half of the requests are answered within this time."),
    "latency_p95_ms": ("95 % latency", "Of twenty requests, nineteen are answered within this."),
    "latency_p99_ms": ("99 % latency", "Of a hundred requests, all but one are within this."),
    "first_token_ms": ("time to first token", "Half of the answers begin within this time."),
    "requests_per_second": ("requests per second", "How many requests are answered in a second."),
    "failed_requests": ("failed requests", "Requests that got no answer, or an error."),
    "cold_start_seconds": ("cold start", "From the start of the server until it is ready."),
    "mfu": (
        "model FLOPs utilization",
        "Share of the hardware's peak arithmetic that went into the model.",
    ),
    "speedup": ("speedup", "How many times faster than what it is compared with."),
    "parameters": ("parameters", "How many numbers the model learned."),
    "sparsity": ("sparsity", "Share of the weights that are zero."),
    "size_mb": ("size", "Room that the weights take on disk."),
    "multiply_adds": ("multiply-adds", "Products that one pass takes, in millions."),
    "loss_difference": (
        "difference of losses",
        "How far the losses of several processes are from those of one, at most.",
    ),
    "weight_difference": (
        "difference of weights",
        "How far the weights of several processes end from those of one, at most.",
    ),
    "flops": ("FLOPs", "Arithmetic operations of one pass."),
    "peak_memory_mb": ("peak memory", "The most memory that was in use at once."),
}

# What a metric's name may begin or end with: how it is written, and what it adds to the meaning.
BEGINNINGS = {
    "vqa_accuracy_": ("VQA accuracy", "Of the questions of one kind."),
    "lm_": ("language model", ""),
    "vision_": ("vision encoder", ""),
    "phase1_": ("phase 1's model after phase 2", "What learning more has cost."),
    "text_to_image_": ("text to picture", "Pictures are looked for by their words."),
    "image_to_text_": ("picture to text", "Words are looked for by their picture."),
}
ENDINGS = {
    "_simple": (
        "simple words",
        "Words are split by a rule of ours: not to be compared with numbers of Stanford's words.",
    ),
    # Where a metric of pictures looks through another network than the literature's Inception.
    "_efficientnet_lite0": (
        "EfficientNet-lite0",
        "Seen through EfficientNet-lite0: not to be compared with other networks' numbers.",
    ),
}

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
    "random": ("random", "what an order drawn at random expects"),
    "init": ("untrained", "the same model before training"),
    "pca_gaussian": ("PCA Gaussian", "noise with the colours and layout of the data"),
    "blurred": ("blurred", "real pictures, blurred"),
    "real": ("real", "held-out real data, measured the same way"),
    "leave_one_out": ("leave one out", "one person's answer or caption against the others'"),
    "eager_fp32": ("eager fp32", "the whole model in PyTorch, as it was trained"),
    "eager_bf16": ("eager bf16", "the whole model in PyTorch, in half of the bits"),
    "ort_fp32": ("ONNX Runtime fp32", "the whole model in ONNX Runtime"),
    "cut": ("cut", "what is left after pruning, before it learned again"),
    "one_at_a_time": ("one at a time", "the same model behind FastAPI, a request after the other"),
    "tolerance": ("tolerance", "what rounding may do"),
    "pocketsphinx": ("pocketsphinx", "an off-the-shelf recogniser on the same clips"),
    "pocketsphinx_closed": ("pocketsphinx, closed", "the same, told which phrases there are"),
    "whisper_tiny_closed": ("Whisper tiny, closed", "Whisper, told which phrases there are"),
    "silent": ("not asked", "the same picture without a question"),
    "typed": ("typed", "the same questions, typed"),
    "shuffled_audio": ("another's sound", "the same model with another clip's sound"),
    "without_rehearsal": ("without rehearsal", "the same training on speech alone"),
    "without_guard": ("without the guard", "the recogniser asked although nobody speaks"),
    "not_fitted": ("not fitted", "the drawer told other states than it learned to hear"),
    "its_own_reader": ("its own reader", "the drawer as phase 2 left it"),
    "its_ctc_letters": ("its own letters", "what its speech encoder writes by itself"),
    "language_model_alone": ("language model alone", "what it writes without its own letters"),
    "whisper_tiny": ("Whisper tiny", "a large team's recogniser on the same clips"),
}


def metric_label(name: str) -> str:
    """How a metric is written: `bleu_4` -> BLEU-4; unknown ones by their words."""
    base, variants = _variants(name)
    label = METRICS.get(base, (base.replace("_", " "), ""))[0]
    return f"{label} ({', '.join(written for written, _ in variants)})" if variants else label


def metric_meaning(name: str) -> str:
    """What a metric says, in a sentence or two; empty for unknown ones."""
    base, variants = _variants(name)
    meaning = METRICS.get(base, ("", ""))[1]
    return " ".join(filter(None, [meaning, *(added for _, added in variants)])) if meaning else ""


def _variants(name: str) -> tuple[str, list[tuple[str, str]]]:
    """`kid_efficientnet_lite0` -> kid, and what EfficientNet-lite0 adds; others as they are."""
    found = []
    for beginning, variant in BEGINNINGS.items():
        if name.startswith(beginning):
            name = name.removeprefix(beginning)
            found.append(variant)
    for ending, variant in ENDINGS.items():
        if name.endswith(ending):
            name = name.removesuffix(ending)
            found.append(variant)
    return name, found


def baseline_label(name: str) -> str:
    """How a floor, ceiling or reference is written: `byte_5gram` -> byte 5-gram."""
    return BASELINES.get(name, (name.replace("_", " "), ""))[0]
