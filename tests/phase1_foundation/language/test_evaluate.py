"""What a model and its floors pay for the same text, added up by hand."""

import math

import pytest
import torch

from data.text import Document, TextData
from phase1_foundation.language import evaluate, floors, tokenizer_report

FLOORS = {"unigram", "byte_5gram", "token_5gram", "xz", "xz_primed", "ppm_primed"}


class Speeches(TextData):
    """Three short documents of two sources, and something to learn from."""

    name = "speeches"
    ready = prepare = None  # nobody asks

    def __init__(self, texts: list[str]):
        self.train = [Document(f"a/{i}", "a", "", text) for i, text in enumerate(texts)]
        self.test = [
            Document("a/x", "a", "", "The people of the United States have been, it is true,"),
            Document("b/y", "b", "", "Call me Ishmael.\n\nSome years ago—never mind how long"),
            Document("b/z", "b", "", "三 🐳"),
        ]

    def documents(self, split):
        return iter({"train": self.train, "test": self.test}[split])

    def sha256(self):
        return "0" * 64


@pytest.fixture(scope="module")
def speeches(texts) -> Speeches:
    return Speeches(texts[:40])


def size(documents: list[Document]) -> int:
    return sum(len(document.text.encode()) for document in documents)


@torch.no_grad()
def test_bits_per_byte_and_perplexity_by_hand(model, tokenizer, speeches):
    nats, tokens = {}, {}
    for document in speeches.test:
        ids = torch.tensor([[tokenizer.bos, *tokenizer.encode(document.text)]])
        assert ids.shape[1] <= 64, "one window: nothing is strided"
        log_probs = model(ids[:, :-1]).log_softmax(dim=-1)
        nats[document.id] = -log_probs.gather(2, ids[:, 1:, None]).double().sum().item()
        tokens[document.id] = ids.shape[1] - 1

    rows = evaluate.rows(
        model, tokenizer, speeches, stride=0, floors_key="k", artifact="lm@x", preset="tiny"
    )
    assert {row.metric for row in rows[6:]} == {"bleu", "rouge_1", "rouge_2", "rouge_l"}
    by_name = {(row.metric, row.split): row for row in rows[:6]}
    splits = {"test": speeches.test, "test/a": speeches.test[:1], "test/b": speeches.test[1:]}
    assert set(by_name) == {
        (metric, split) for metric in ("bits_per_byte", "perplexity") for split in splits
    }
    for split, documents in splits.items():
        total = sum(nats[document.id] for document in documents)
        n = sum(tokens[document.id] for document in documents)
        bits, perplexity = by_name["bits_per_byte", split], by_name["perplexity", split]
        assert bits.value == pytest.approx(total / math.log(2) / size(documents), rel=1e-4)
        assert perplexity.value == pytest.approx(math.exp(total / n), rel=1e-4)
        assert (bits.n, perplexity.n) == (size(documents), n)
        assert "strided 64/32" in bits.protocol and "bpe 600" in bits.protocol
        assert set(bits.baselines) == FLOORS
        assert perplexity.baselines["unigram"] == pytest.approx(
            2 ** (bits.baselines["unigram"] * size(documents) / n)
        )


def test_one_source_is_not_shown_twice(speeches):
    assert list(evaluate.by_source(speeches.test[1:])) == ["test"]


def test_floors(tokenizer, speeches):
    splits = evaluate.by_source(speeches.test)
    found = floors.bits_per_byte_floors(lambda: speeches.train, splits, tokenizer, "key")
    for split in splits:
        assert set(found[split]) == FLOORS
        assert all(0 < value < 40 for value in found[split].values())
    english = found["test/a"]
    assert english["token_5gram"] < english["unigram"], "context tells nothing"
    assert english["ppm_primed"] < english["xz"]
    assert found["test"]["xz_primed"] < found["test"]["xz"]
    for name in ("unigram", "byte_5gram", "token_5gram"):  # these add up over documents
        parts = sum(found[f"test/{part}"][name] * size(splits[f"test/{part}"]) for part in "ab")
        assert found["test"][name] * size(speeches.test) == pytest.approx(parts)


def test_floors_are_measured_once(tokenizer, speeches):
    splits = evaluate.by_source(speeches.test[:1])

    def never():
        raise AssertionError("measured again")

    first = floors.bits_per_byte_floors(lambda: speeches.train[:5], splits, tokenizer, "key")
    assert floors.bits_per_byte_floors(never, splits, tokenizer, "key") == first
    with pytest.raises(AssertionError, match="measured again"):
        floors.bits_per_byte_floors(never, splits, tokenizer, "another key")


def test_tokenizer_rows_by_hand(tokenizer, speeches):
    documents = speeches.test
    rows = {r.metric: r for r in tokenizer_report.rows(tokenizer, documents, "tokenizer@x", "tiny")}
    ids = [id for document in documents for id in tokenizer.encode(document.text)]
    words = sum(len(document.text.split()) for document in documents)
    assert rows["bytes_per_token"].value == pytest.approx(size(documents) / len(ids))
    assert rows["fertility"].value == pytest.approx(len(ids) / words)
    assert rows["lossless"].value == 100
    in_bytes = len("三🐳".encode())  # and not the newlines, which never have a piece
    assert rows["byte_fallback"].value == pytest.approx(100 * in_bytes / len(ids))


def test_a_lossy_tokenizer_is_seen(tokenizer, speeches, monkeypatch):
    lossy = type("Lossy", (type(tokenizer),), {"decode": lambda self, ids: "三 🐳"})(
        tokenizer.model
    )
    rows = {r.metric: r for r in tokenizer_report.rows(lossy, speeches.test, "tokenizer@x", "tiny")}
    assert rows["lossless"].value == pytest.approx(100 / 3)


def test_the_exhibit_shows_every_piece(tokenizer):
    for text, n, pieces in tokenizer_report.exhibit(tokenizer)["rows"]:
        assert len(pieces.split("·")) == n == len(tokenizer.encode(text))
        if text.isascii():
            assert pieces.replace("·", "").replace("␣", " ") == text
