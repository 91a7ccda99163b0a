"""How fast text becomes token ids, ours beside the `tokenizers` library, in turns."""

import contextlib
import copy
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import cycle
from typing import Any

from data.shards import SHARD, pack
from data.text import Document
from phase1_foundation.language.tokenizer import Tokenizer
from phase1_foundation.language.tokenizer_export import fast_tokenizer
from shared import hardware
from shared.benchmark import interleaved
from shared.errors import VermeilError
from shared.home import home

PASSAGE = 2**14  # characters: whole novels would leave the library's threads waiting for one
PARALLEL = "TOKENIZERS_PARALLELISM"  # the library looks at it at every call


class FastTokenizer:
    """A tokenizer of the `tokenizers` library behind the face of ours."""

    def __init__(self, fast: Any, bos: int, vocab_size: int):
        self.fast, self.bos, self.vocab_size = fast, bos, vocab_size

    def encode_documents(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of many texts, each after the symbol that begins a document."""
        return [[self.bos, *row.ids] for row in self.fast.encode_batch_fast(list(texts))]

    @classmethod
    def exported(cls, tokenizer: Tokenizer) -> "FastTokenizer":
        """Ours as its tokenizer.json says it: the same ids."""
        return cls(fast_tokenizer(tokenizer), tokenizer.bos, tokenizer.vocab_size)

    @classmethod
    def byte_level(cls, texts: Sequence[str], vocab_size: int) -> "FastTokenizer":
        """Learn as GPT-2 did: BPE over the bytes of words (Radford et al., 2019, section 2.2).

        The last id begins a document. The library does not know it, so that no text can make it.
        Raises when the text is too small for the size, or the size for 256 bytes.
        """
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

        fast, learned = Tokenizer(models.BPE()), vocab_size - 1
        fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        fast.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=learned, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )  # fmt: skip
        fast.train_from_iterator(texts, trainer)
        found = fast.get_vocab_size()
        if found != learned:
            raise VermeilError(
                f"no byte-level vocabulary of {vocab_size} pieces can be learned from this text "
                f"(it has {found + 1})",
                "choose another size or bring more text",
            )
        return cls(fast, learned, vocab_size)


Vocabulary = Tokenizer | FastTokenizer


def table(
    vocabularies: Mapping[str, Vocabulary],
    test: Sequence[str],
    train: Sequence[Document],
    rounds: int,
) -> None:
    """Time tokenising and packing with our vocabularies, their exports and the library's own."""
    candidates = beside_the_library(vocabularies)
    passages = [text[i : i + PASSAGE] for text in test for i in range(0, len(text), PASSAGE)]
    megabytes = sum(len(passage.encode()) for passage in passages) / 1e6
    print(
        f"Tokenising, MB/s of {megabytes:.2f} MB of test documents in passages of {PASSAGE:,} "
        f"characters.\nCold: the cache of words begins empty; warm: it has seen this text before.\n"
        f"One thread is timed by its CPU seconds, several by the clock."
    )
    print(f"\n{'':<36}{'one thread':>16}{'all threads':>18}")
    print(f"{'':<36}{'cold':>8}{'warm':>8}{'cold':>10}{'warm':>8}")
    seconds = interleaved(turns(candidates, passages), rounds)
    for name in candidates:
        rates = [rate(megabytes, seconds.get(f"{name}|{way}")) for way in WAYS]
        one_cold, one_warm, all_cold, all_warm = rates
        print(f"{name:<36}{one_cold:>8}{one_warm:>8}{all_cold:>10}{all_warm:>8}")
    documents, processes = enough(train, hardware.cores()), hardware.cores()
    megabytes = sum(len(document.text.encode()) for document in documents) / 1e6
    print(
        f"\nPacking into shards on the disk, MB/s of {megabytes:.1f} MB (training documents, again "
        f"and again),\nprocesses: {processes}, their start included, caches empty at first.\n"
    )
    packing = {name: packs(v, documents, processes) for name, v in candidates.items()}
    with parallelism(False):  # the processes share the cores already
        seconds = interleaved(packing, rounds, warmup=0)
    for name, value in seconds.items():
        print(f"{name:<36}{rate(megabytes, value):>8}")
    print(f"\nmedians of {rounds} turns; `tokenizers` is spared the offsets (encode_batch_fast)")


def beside_the_library(vocabularies: Mapping[str, Vocabulary]) -> dict[str, Vocabulary]:
    """Each vocabulary by who encodes with it; ours also as the library reads it from our export."""
    candidates: dict[str, Vocabulary] = {}
    for name, vocabulary in vocabularies.items():
        if isinstance(vocabulary, Tokenizer):
            candidates[f"{name}, ours"] = vocabulary
            vocabulary = FastTokenizer.exported(vocabulary)
        candidates[f"{name}, tokenizers"] = vocabulary
    return candidates


WAYS = ("one cold", "one warm", "all cold", "all warm")


def turns(
    candidates: Mapping[str, Vocabulary], texts: Sequence[str]
) -> dict[str, Callable[[], float]]:
    """A turn of each candidate in every way it has, as "candidate|way"; ours knows one thread."""

    def turn(vocabulary: Vocabulary, way: str) -> float:
        threads, cache = way.split()
        clock = time.process_time if threads == "one" else time.perf_counter
        if cache == "cold":
            vocabulary = copy.deepcopy(vocabulary)  # as it travels: without what it remembers
        with parallelism(threads == "all"):
            start = clock()
            vocabulary.encode_documents(texts)
            return clock() - start

    return {
        f"{name}|{way}": lambda vocabulary=vocabulary, way=way: turn(vocabulary, way)
        for name, vocabulary in candidates.items()
        for way in WAYS
        if isinstance(vocabulary, FastTokenizer) or way.startswith("one")
    }


def packs(
    vocabulary: Vocabulary, documents: Sequence[Document], processes: int
) -> Callable[[], float]:
    """A turn of packing with processes that begin anew; what it wrote is deleted."""

    def turn() -> float:
        key, fresh = f"bench-{os.getpid()}", copy.deepcopy(vocabulary)
        try:
            start = time.perf_counter()
            pack(documents, fresh.encode_documents, key, processes)
            return time.perf_counter() - start
        finally:
            shutil.rmtree(home() / "tokens" / key, ignore_errors=True)

    return turn


def enough(documents: Sequence[Document], processes: int) -> list[Document]:
    """The documents over and over, until every process has a shard to fill."""
    taken, characters = [], 0
    for document in cycle(documents):
        taken.append(document)
        characters += len(document.text)
        if characters >= processes * SHARD:
            break
    return taken


@contextlib.contextmanager
def parallelism(on: bool) -> Iterator[None]:
    """Whether the `tokenizers` library works with several threads."""
    before = os.environ.get(PARALLEL)
    os.environ[PARALLEL] = "true" if on else "false"
    try:
        yield
    finally:
        del os.environ[PARALLEL]
        if before is not None:
            os.environ[PARALLEL] = before


def rate(megabytes: float, seconds: float | None) -> str:
    """MB/s, or a dash for what was not timed."""
    return "-" if seconds is None else f"{megabytes / seconds:.2f}"
