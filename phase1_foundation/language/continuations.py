"""How a language model goes on with a text, beside how the text went on: BLEU and ROUGE.

Each held-out document gives prompts, evenly spaced. A text could go on in many ways, so at the
sizes of this curriculum the scores are low and close to their floors: they tell whether a model
keeps to its topic's words. What it knows of the language, bits per byte tell better.
"""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch

from data.text import Document, TextData
from phase1_foundation.language.generate import Chooser, Sampling, stream
from phase1_foundation.language.model import LanguageModel
from phase1_foundation.language.tokenizer import Tokenizer
from shared.artifact import fingerprint
from shared.home import home, write_atomically
from shared.metrics.generation import ROUGE, Overlap, bleu, has_words, rouge
from shared.metrics.ngram import KneserNey
from shared.results import Row

Tokens = list[int]

METRICS = ("bleu", *ROUGE)
LENGTH = 64  # tokens of a prompt, and of its continuation; less where the context is short
# Always the likeliest token ends in loops, in networks and n-gram models alike (Holtzman et al.,
# 2020): both are sampled, in the same way and with the same random numbers.
SAMPLING = Sampling(temperature=0.8, top_p=0.95, seed=0)
NO_CEILING = "no ceiling: nobody wrote a second continuation to compare the true one with"


def rows(
    model: LanguageModel,
    tokenizer: Tokenizer,
    text: TextData,
    *,
    floors_key: str,
    artifact: str,
    preset: str,
    prompts: int = 64,
) -> list[Row]:
    """BLEU and ROUGE of about `prompts` continuations of test documents, beside their floors.

    `floors_key` names the tokenizer that the floors belong to. Takes 2 s for a model of 3 M
    parameters on one core, and 12 s more the first time, for the floors.
    """
    length = min(LENGTH, model.config.context // 2)
    sampling = replace(SAMPLING, max_tokens=length)
    documents = tokenizer.encode_documents([d.text for d in text.documents("test")])
    windows = passages(documents, prompts, 2 * length)
    common: dict[str, Any] = {
        "step": "lm", "unit": "", "better": "higher", "split": "test", "n": len(windows),
        "artifact": artifact, "preset": preset,
    }  # fmt: skip
    protocol = (
        f"{length} tokens after each of {len(windows)} prompts of {length} tokens, evenly spaced "
        f"in the documents, sentencepiece {tokenizer.kind} {tokenizer.vocab_size}; "
        f"temperature {sampling.temperature}, top-p {sampling.top_p}, seed {sampling.seed}; "
        f"interval over prompts"
    )
    if not windows:
        note = f"no test document has the {2 * length} tokens that a prompt and its answer take"
        return [Row(metric=m, value=None, protocol=protocol, note=note, **common) for m in METRICS]
    given = [window[:length] for window in windows]
    truth = [[tokenizer.decode(window[length:])] for window in windows]
    rule = fingerprint(asdict(sampling))[:8]
    key = f"{text.sha256()[:16]}-{floors_key}-continuations-{prompts}x{length}-{rule}"
    floors = _floors(lambda: text.documents("train"), tokenizer, given, truth, sampling, key)
    start = time.perf_counter()
    found = measure(continuations(model, tokenizer, given, sampling), truth, tokenizer)
    common["seconds"] = round(time.perf_counter() - start, 1)
    return [_row(metric, found.get(metric), floors, protocol, common) for metric in METRICS]


def passages(documents: Sequence[Tokens], count: int, size: int) -> list[Tokens]:
    """About `count` windows of `size` tokens, as many from each document, evenly spaced in it.

    They do not overlap, and stand in the middle of their parts: how documents begin is formulaic.
    A document shorter than a window gives none.
    """
    long = [document for document in documents if len(document) >= size]
    windows: list[Tokens] = []
    for index, document in enumerate(long):
        share = (index + 1) * count // len(long) - index * count // len(long)
        share = min(share, len(document) // size)
        middles = ((2 * k + 1) * len(document) // (2 * share) for k in range(share))
        windows += [document[middle - size // 2 :][:size] for middle in middles]
    return windows


def continuations(
    model: LanguageModel, tokenizer: Tokenizer, prompts: Sequence[Tokens], sampling: Sampling
) -> list[Tokens]:
    """What the model writes after each prompt, up to the end of a document."""
    written: list[Tokens] = [[] for _ in prompts]
    for step in stream(model.eval(), prompts, sampling, eos=(tokenizer.eos, tokenizer.bos)):
        for row, token in zip(written, step, strict=True):
            if token is not None:
                row.append(token)
    return written


def ngram_continuations(
    model: KneserNey, prompts: Sequence[Tokens], sampling: Sampling
) -> list[Tokens]:
    """What an n-gram model writes after each prompt, its tokens chosen as a network's are."""
    texts = [list(prompt) for prompt in prompts]
    chooser = Chooser(sampling, prompts, model.vocab_size, torch.device("cpu"))
    for _ in range(sampling.max_tokens):
        probabilities = np.stack([model.distribution(text) for text in texts])  # (B, V)
        for text, token in zip(
            texts, chooser(torch.from_numpy(np.log(probabilities))), strict=True
        ):
            text.append(int(token))
    return [text[len(prompt) :] for text, prompt in zip(texts, prompts, strict=True)]


def measure(
    written: Sequence[Tokens], truth: Sequence[Sequence[str]], tokenizer: Tokenizer
) -> dict[str, Overlap]:
    """BLEU, and ROUGE where the text is in a script that it counts: metric -> score."""
    texts = [tokenizer.decode(tokens) for tokens in written]
    return {"bleu": bleu(texts, truth), **(rouge(texts, truth) if has_words(truth) else {})}


def _floors(
    train: Callable[[], Iterable[Document]],
    tokenizer: Tokenizer,
    prompts: Sequence[Tokens],
    truth: Sequence[Sequence[str]],
    sampling: Sampling,
    key: str,
) -> dict[str, dict[str, float]]:
    """Floor -> metric -> value, measured once and kept under `$VERMEIL_HOME/floors`."""
    path = home() / "floors" / f"{key}.json"
    if not path.exists():
        tokens = [np.array(tokenizer.encode(document.text)) for document in train()]
        fivegram = KneserNey.fit(tokens, 5, tokenizer.vocab_size)
        written = {
            "token_5gram": ngram_continuations(fivegram, prompts, sampling),
            "copy_prompt": [prompt[-sampling.max_tokens :] for prompt in prompts],
        }
        floors = {
            floor: {name: found.value for name, found in measure(these, truth, tokenizer).items()}
            for floor, these in written.items()
        }
        write_atomically(path, json.dumps(floors, indent=1))
    return json.loads(path.read_text())


def _row(
    metric: str,
    found: Overlap | None,
    floors: dict[str, dict[str, float]],
    protocol: str,
    common: dict[str, Any],
) -> Row:
    if found is None:
        note = "rouge-score counts words of a-z and 0-9 alone, and the test text has none"
        return Row(metric=metric, value=None, protocol=protocol, note=note, **common)
    low, high = found.interval or (None, None)
    return Row(
        metric=metric, value=found.value, low=low, high=high, note=NO_CEILING,
        protocol=f"{protocol}; {found.signature}",
        baselines={floor: values[metric] for floor, values in floors.items()}, **common,
    )  # fmt: skip
