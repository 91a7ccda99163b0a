"""Prompts, what is written after them, and scores that an oracle and a copy give."""

import json

import numpy as np
import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st

from data.text import Document, TextData
from phase1_foundation.language import continuations
from phase1_foundation.language.generate import Sampling, stream
from phase1_foundation.language.tokenizer import Tokenizer
from shared.metrics.ngram import KneserNey

LENGTH = 32  # half the context of the models here


class Texts(TextData):
    """Documents as given."""

    name = "texts"
    ready = prepare = None  # nobody asks

    def __init__(self, train: list[str], test: list[str]):
        self.texts = {"train": train, "test": test}
        self.asked: list[str] = []

    def documents(self, split):
        self.asked.append(split)
        return (Document(str(i), "a", "", text) for i, text in enumerate(self.texts[split]))

    def sha256(self):
        return "0" * 64


@pytest.fixture
def text(texts, held_out) -> Texts:
    return Texts(texts[:30], [document[:4000] for document in held_out[:3]])


@pytest.fixture
def measured(model, tokenizer):
    """The rows of a text, by metric."""

    def measure(text: Texts, **changes):
        options = {"floors_key": "k", "artifact": "lm@x", "preset": "tiny", "prompts": 8} | changes
        rows = continuations.rows(model, tokenizer, text, **options)
        return {row.metric: row for row in rows}

    return measure


def cut(text: Texts, tokenizer: Tokenizer, prompts: int = 8) -> tuple[list[list[int]], list[str]]:
    """Prompts as token ids, and the true texts after them."""
    documents = tokenizer.encode_documents(text.texts["test"])
    windows = continuations.passages(documents, prompts, 2 * LENGTH)
    return [w[:LENGTH] for w in windows], [tokenizer.decode(w[LENGTH:]) for w in windows]


def test_passages_stand_in_the_middle_of_equal_parts():
    document = list(range(100))
    first, second = continuations.passages([document], 2, 10)
    assert (first, second) == (document[20:30], document[70:80])


def test_passages_are_shared_out_among_documents():
    documents = [list(range(start, start + 100)) for start in (0, 1000, 2000)]
    windows = continuations.passages([[7] * 9, *documents], 7, 10)
    assert [window[0] // 1000 for window in windows] == [0, 0, 1, 1, 2, 2, 2]
    of_few = continuations.passages(documents, 2, 10)
    assert [window[0] // 1000 for window in of_few] == [1, 2]
    assert len(continuations.passages(documents, 300, 10)) == 30


@given(st.lists(st.integers(0, 200), max_size=4), st.integers(1, 40), st.integers(1, 20))
def test_passages_never_overlap(lengths, count, half):
    starts = np.cumsum([0, *lengths])
    documents = [[*range(s, s + n)] for s, n in zip(starts, lengths, strict=False)]
    windows = continuations.passages(documents, count, 2 * half)
    tokens = [token for window in windows for token in window]
    assert len(windows) <= count
    assert tokens == sorted(set(tokens))
    for window in windows:
        assert len(window) == 2 * half
        assert any(set(window) <= set(document) for document in documents)


def test_the_model_writes_as_it_does_alone(model, tokenizer, text):
    prompts, _ = cut(text, tokenizer)
    sampling = Sampling(max_tokens=20, temperature=0.8, top_p=0.95, seed=5)
    written = continuations.continuations(model, tokenizer, prompts, sampling)
    alone = Sampling(max_tokens=20, temperature=0.8, top_p=0.95, seed=5 + 3)
    assert written[3] == [token for [token] in stream(model, prompts[3:4], alone, eos=())]
    assert len(set(map(tuple, written))) == len(prompts)


def test_a_continuation_ends_with_the_document(model, tokenizer, text):
    prompts, _ = cut(text, tokenizer)
    sampling = Sampling(max_tokens=20, temperature=0.0)
    whole = continuations.continuations(model, tokenizer, prompts, sampling)
    for symbol in ("eos", "bos"):
        ending = Tokenizer(tokenizer.model)
        setattr(ending, symbol, whole[0][4])
        written = continuations.continuations(model, ending, prompts, sampling)
        assert written[0] == whole[0][: whole[0].index(whole[0][4])]
        assert len(written) == len(prompts)


def test_an_ngram_model_is_sampled_like_a_network():
    chain = KneserNey.fit([np.tile([0, 1, 0, 2], 2500)], order=3, vocab_size=3)
    greedy = Sampling(max_tokens=6, temperature=0.0)
    written = continuations.ngram_continuations(chain, [[0, 1], [1, 0, 2]], greedy)
    assert written == [[0, 2, 0, 1, 0, 2], [0, 1, 0, 2, 0, 1]]

    shares = KneserNey.fit([np.repeat(np.arange(4), [400, 300, 200, 100])], order=1, vocab_size=4)
    likely = Sampling(max_tokens=3000, temperature=0.5, top_p=0.8, seed=1)
    [tokens] = continuations.ngram_continuations(shares, [[0]], likely)
    # p^2 ~ 16, 9, 4, 1 of 30: the first two reach 25 / 30 and are kept.
    np.testing.assert_allclose(np.bincount(tokens) / 3000, [16 / 25, 9 / 25], atol=0.03)


def test_rows_by_hand(measured, model, tokenizer, text):
    found = measured(text)
    prompts, truth = cut(text, tokenizer)
    sampling = Sampling(max_tokens=LENGTH, temperature=0.8, top_p=0.95, seed=0)
    steps = [*stream(model, prompts, sampling, eos=(tokenizer.eos, tokenizer.bos))]
    written = [
        tokenizer.decode([token for token in row if token is not None])
        for row in zip(*steps, strict=True)
    ]
    copied = [tokenizer.decode(prompt) for prompt in prompts]
    row = found["bleu"]
    assert row.value == pytest.approx(sacrebleu.corpus_bleu(written, [truth]).score)
    assert row.baselines["copy_prompt"] == pytest.approx(
        sacrebleu.corpus_bleu(copied, [truth]).score
    )
    assert list(found) == ["bleu", "rouge_1", "rouge_2", "rouge_l"]
    for row in found.values():
        assert (row.n, row.split, row.better, row.artifact) == (8, "test", "higher", "lm@x")
        assert set(row.baselines) == {"token_5gram", "copy_prompt"}
        assert not row.ceilings and "no ceiling" in row.note
        assert "8 prompts of 32 tokens" in row.protocol and "bpe 600" in row.protocol
        assert "temperature 0.8, top-p 0.95, seed 0" in row.protocol
        assert row.low <= row.value <= row.high
    assert "tok:13a" in found["bleu"].protocol and "rouge-score" in found["rouge_l"].protocol
    # Weights at random know nothing; what learned from such text knows its words.
    assert found["rouge_1"].value < found["rouge_1"].baselines["token_5gram"]


def test_an_oracle_has_full_marks(measured, tokenizer, text, monkeypatch):
    documents = tokenizer.encode_documents(text.texts["test"])
    windows = continuations.passages(documents, 8, 2 * LENGTH)
    answers = {tuple(window[:LENGTH]): window[LENGTH:] for window in windows}
    monkeypatch.setattr(
        continuations,
        "continuations",
        lambda model, tokenizer, prompts, sampling: [answers[tuple(p)] for p in prompts],
    )
    values = {metric: row.value for metric, row in measured(text).items()}
    assert values == pytest.approx({"bleu": 100, "rouge_1": 1, "rouge_2": 1, "rouge_l": 1})


def test_floors_are_measured_once(measured, text, home, monkeypatch):
    first, again = measured(text), measured(text)
    assert text.asked == ["test", "train", "test"]
    assert first["bleu"].baselines == again["bleu"].baselines
    for changes in ({"floors_key": "another tokenizer"}, {"prompts": 5}):
        measured(text, **changes)
        assert text.asked.pop() == "train"
    monkeypatch.setattr(continuations, "SAMPLING", Sampling(temperature=0.5))
    measured(text)
    assert text.asked.pop() == "train"
    [path, *_] = (home / "floors").glob("*-k-continuations-8x32-*.json")
    assert json.loads(path.read_text())["copy_prompt"]["bleu"] == pytest.approx(
        first["bleu"].baselines["copy_prompt"]
    )


def test_documents_that_are_too_short(measured, texts):
    found = measured(Texts(texts[:3], ["Call me Ishmael.", ""]))
    assert {row.value for row in found.values()} == {None} and len(found) == 4
    assert "no test document has the 64 tokens" in found["bleu"].note


def test_a_script_that_rouge_does_not_count(measured, texts):
    found = measured(Texts(texts[:3], ["Зови меня Измаил. Несколько лет тому назад. " * 20]))
    assert found["bleu"].value is not None
    for metric in ("rouge_1", "rouge_2", "rouge_l"):
        assert found[metric].value is None and "a-z" in found[metric].note
