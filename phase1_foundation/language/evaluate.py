"""A language model's results: bits per byte and perplexity on whole held-out documents."""

import math
import time
from collections import defaultdict
from typing import Any

from data.text import Document, TextData
from phase1_foundation.language import continuations
from phase1_foundation.language.floors import bits_per_byte_floors
from phase1_foundation.language.model import LanguageModel
from phase1_foundation.language.tokenizer import Tokenizer
from shared import hardware
from shared.artifact import Artifact
from shared.metrics.text import TextScore, score_tokens
from shared.results import Row

BATCH_SIZE = 16
TOKEN_FLOORS = ("unigram", "token_5gram")  # those that predict tokens have a perplexity


def rows(
    model: LanguageModel,
    tokenizer: Tokenizer,
    text: TextData,
    *,
    stride: int,
    floors_key: str,
    artifact: str,
    preset: str,
) -> list[Row]:
    """Bits per byte and perplexity of every test split, BLEU and ROUGE, beside their floors.

    Each document is scored in windows of the model's context, `stride` tokens apart (0: half the
    context). `floors_key` names the tokenizer that the token floors belong to.
    """
    context = model.config.context
    stride = stride or context // 2
    splits = by_source(list(text.documents("test")))
    key = f"{text.sha256()[:16]}-{floors_key}"
    floors = bits_per_byte_floors(lambda: list(text.documents("train")), splits, tokenizer, key)
    start = time.perf_counter()
    losses = {
        document.id: score_tokens(
            model.eval(),
            tokenizer.encode_documents([document.text])[0],
            context=context,
            stride=stride,
            batch_size=BATCH_SIZE,
        )
        for document in splits["test"]
    }
    vocabulary = f"sentencepiece {tokenizer.kind} {tokenizer.vocab_size}"
    common = {
        "step": "lm",
        "better": "lower",
        "protocol": f"strided {context}/{stride}, {vocabulary}",
        "artifact": artifact,
        "preset": preset,
        "seconds": round(time.perf_counter() - start, 1),
    }
    measured: list[Row] = []
    for split, documents in splits.items():
        score = TextScore.from_documents(
            [losses[document.id] for document in documents],
            [len(document.text.encode()) for document in documents],
        )
        measured += split_rows(score, floors[split], common | {"split": split})
    return measured + continuations.rows(
        model, tokenizer, text, floors_key=floors_key, artifact=artifact, preset=preset
    )


def split_rows(
    score: TextScore, floors: dict[str, float | None], common: dict[str, Any]
) -> list[Row]:
    """The two rows of one split; floors in bits per byte."""
    nats_per_bit = math.log(2) * score.bytes / score.tokens  # of a byte, to nats of a token
    per_token: dict[str, float | None] = {
        name: math.exp(value * nats_per_bit)
        for name, value in floors.items()
        if name in TOKEN_FLOORS and value is not None
    }
    measured = (
        ("bits_per_byte", "bit/byte", score.bits_per_byte, score.bytes,
         score.bits_per_byte_interval, floors),
        ("perplexity", "", score.perplexity, score.tokens, score.perplexity_interval, per_token),
    )  # fmt: skip
    rows = []
    for metric, unit, value, n, interval, baselines in measured:
        low, high = interval or (None, None)
        rows.append(
            Row(metric=metric, value=value, unit=unit, n=n, low=low, high=high,
                baselines=baselines, **common)
        )  # fmt: skip
    return rows


def by_source(documents: list[Document]) -> dict[str, list[Document]]:
    """All test documents, and those of each source where there are several."""
    sources: dict[str, list[Document]] = defaultdict(list)
    for document in documents:
        sources[document.source].append(document)
    parts = {f"test/{source}": part for source, part in sources.items()}
    return {"test": documents, **(parts if len(parts) > 1 else {})}


def evaluate(artifact: Artifact) -> list[Row]:
    """Measure a published language model again."""
    import data

    hardware.set_threads(0)
    manifest = artifact.manifest
    return rows(
        LanguageModel.from_pretrained(artifact),
        Tokenizer.from_pretrained(artifact),
        data.load(manifest["config"]["data"]),
        stride=manifest["config"]["stride"],
        floors_key=manifest["parents"][0]["sha256"][:16],
        artifact=artifact.id,
        preset=manifest["preset"],
    )
