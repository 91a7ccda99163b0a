"""`vermeil bench tokenizer`: what its columns mean, and that the peer encodes what we encode."""

import contextlib
import copy
import dataclasses
import os

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import data
from data.shards import pack
from data.text import Document
from phase1_foundation.language import tokenizer_speed, tokenizer_study
from phase1_foundation.language.bench import Shape, training_flops
from phase1_foundation.language.floors import bits_per_byte as floor_bits_per_byte
from phase1_foundation.language.model import LanguageModelConfig
from phase1_foundation.language.tokenizer_report import rows as report_rows
from phase1_foundation.language.tokenizer_speed import FastTokenizer, parallelism
from phase1_foundation.language.tokenizer_study import StudyConfig, learn
from shared.errors import VermeilError
from shared.home import home
from shared.metrics.ngram import KneserNey
from shared.metrics.text import TextScore, score_tokens

SMALL = ["--data", "embedded_sample", "--sizes", "600", "--rounds", "1", "--threads", "1"]
SHAPE = ["--dim", "16", "--layers", "1", "--heads", "1", "--mlp_dim", "16", "--context", "64"]


@pytest.fixture(scope="module")
def byte_level(texts) -> FastTokenizer:
    return FastTokenizer.byte_level(texts, 600)


# The byte-level vocabulary.


@given(st.text() | st.just("<s>") | st.just("a\n\n b\t三 🐳 don't 1862"))
def test_byte_level_loses_nothing_and_begins_documents(byte_level, text):
    [[first, *ids]] = byte_level.encode_documents([text])
    assert first == byte_level.bos == 599
    assert byte_level.fast.decode(ids) == text
    assert max(ids, default=0) < 599, "a text made the symbol that begins documents"


def test_byte_level_has_the_size_it_was_asked_for_and_splits_as_gpt2(byte_level):
    assert byte_level.vocab_size == 600
    assert sorted(byte_level.fast.get_vocab().values()) == list(range(599))
    split = byte_level.fast.pre_tokenizer.pre_tokenize_str("I've 12 whales\n\n there")
    # The pieces that the pattern of GPT-2's encoder.py finds; Ġ is a space, Ċ a newline.
    assert [piece for piece, _ in split] == ["I", "'ve", "Ġ12", "Ġwhales", "ĊĊ", "Ġthere"]


@pytest.mark.parametrize("kind", ["bpe", "unigram", "byte-level"])
@pytest.mark.parametrize("size", [200, 5000])
def test_a_size_that_the_text_does_not_support(kind, size):
    with pytest.raises(VermeilError, match=f"vocabulary of {size} pieces") as error:
        learn(kind, ["the quick brown fox jumps over the lazy dog"], size)
    assert "--sizes" in error.value.hint


# What a vocabulary makes of a text.


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_bytes_per_token_and_fertility_are_those_of_the_report(tokenizers, held_out, kind):
    held_out = held_out[1:3]
    documents = [Document(str(i), "", "", text) for i, text in enumerate(held_out)]
    reported = {row.metric: row.value for row in report_rows(tokenizers[kind], documents, "", "")}
    found = tokenizer_study.on_text(tokenizers[kind], held_out)
    assert found["bytes_per_token"] == reported["bytes_per_token"]
    assert found["fertility"] == reported["fertility"]


def test_characters_and_words_by_hand(tokenizer, byte_level, held_out):
    # 三 is three bytes and 🐳 four, in one character each; the newlines do not count.
    found = tokenizer_study.on_text(tokenizer, ["the 三\n\nthe 🐳"])
    assert found["characters"] == pytest.approx(100 * 8 / 10)
    # "the" twice is a token with its space, "xylophonist" and 三 are more; digits are no word.
    for vocabulary in (tokenizer, byte_level):
        found = tokenizer_study.on_text(vocabulary, ["the xylophonist, the 三 12"])
        assert found["words"] == 50
        words = held_out[1].split()
        rows = vocabulary.encode_documents([f" {word}" for word in words])
        in_two = next(
            word for word, row in zip(words, rows, strict=True) if word.isalpha() and len(row) == 3
        )
        assert tokenizer_study.on_text(vocabulary, [f"the {in_two}"])["words"] == 50
    assert "characters" not in tokenizer_study.on_text(byte_level, ["the 三"])
    assert tokenizer_study.on_text(tokenizer, ["the whale"])["characters"] == 100


def test_an_escaped_space_mark_counts_as_spelled_out_once(tokenizer):
    [row] = tokenizer.encode_documents(["▁"])
    assert tokenizer_study.spelled_in_bytes(tokenizer, [row]) == 1


# The same model after the same text.


@pytest.mark.parametrize("bytes_per_token", [1.0, 2.7, 4.6])
def test_steps_spend_the_bytes(bytes_per_token):
    config = StudyConfig(bytes=2_000_000)
    steps = tokenizer_study.steps_for(config, bytes_per_token)
    seen = steps * config.batch_size * config.context * bytes_per_token
    assert seen == pytest.approx(2_000_000, rel=0.01)
    assert tokenizer_study.steps_for(dataclasses.replace(config, bytes=1), bytes_per_token) == 1


def test_a_model_learns_and_says_what_it_cost(tokenizer, byte_level, texts):
    config = StudyConfig(
        bytes=30_000, dim=32, layers=1, heads=1, mlp_dim=48, context=64, batch_size=4
    )
    train, test = texts[:40], texts[-2:]
    found = tokenizer_study.in_a_model(config, byte_level, train, test)
    block = 32 * 3 * 32 + 32 * 32 + 32 * 2 * 48 + 48 * 32 + 2 * 32
    assert found["inner"] == pytest.approx((block + 32) / 1e6)
    assert found["parameters"] - found["inner"] == pytest.approx(600 * 32 / 1e6)
    tokens = sum(len(row) for row in byte_level.encode_documents(train))
    steps = round(30_000 / (4 * 64 * tokenizer_study.n_bytes(train) / tokens))
    flops = steps * training_flops(Shape(LanguageModelConfig(600, 32, 1, 1, 1, 48, 64), 4))
    assert found["teraflops"] == pytest.approx(flops / 1e12)
    assert 2 < found["bits"] < 4

    first = tokenizer_study.in_a_model(config, tokenizer, train, test)
    again = tokenizer_study.in_a_model(config, tokenizer, train, test)
    assert first == again, "the same seed, the same result"
    config = dataclasses.replace(config, bytes=90_000)
    longer = tokenizer_study.in_a_model(config, tokenizer, train, test)
    assert longer["bits"] < first["bits"] - 0.1


def test_bits_per_byte_are_those_of_the_evaluation(model, tokenizer, held_out, monkeypatch):
    """`vermeil eval lm` scores each document by itself, in fp32."""
    texts = [held_out[1][:3000], held_out[2][:500]]
    losses = [
        score_tokens(model, tokenizer.encode_documents([text])[0], context=64, stride=32,
                     batch_size=2)
        for text in texts
    ]  # fmt: skip
    expected = TextScore.from_documents(losses, [3000, 500]).bits_per_byte
    found = tokenizer_study.bits_per_byte(model, tokenizer, texts)
    assert found == pytest.approx(expected, rel=0.01)
    monkeypatch.setattr(torch, "autocast", lambda *_: contextlib.nullcontext())
    found = tokenizer_study.bits_per_byte(model, tokenizer, texts)
    assert found == pytest.approx(expected, rel=1e-6)


def test_the_floor_is_the_floor_of_the_report(texts):
    train, test = texts[:20], texts[20:23]
    model = KneserNey.fit([np.frombuffer(text.encode(), np.uint8) for text in train], 5, 256)
    documents = [Document(str(i), "", "", text) for i, text in enumerate(test)]
    losses = {d.id: -model.log_prob(np.frombuffer(d.text.encode(), np.uint8)) for d in documents}
    expected = floor_bits_per_byte(documents, losses)
    assert tokenizer_study.byte_5gram(train, test) == pytest.approx(expected)


# Speed.


def test_the_export_encodes_documents_as_we_do(tokenizers, held_out):
    held_out = held_out[1:]
    for tokenizer in tokenizers.values():
        peer = FastTokenizer.exported(tokenizer)
        assert peer.encode_documents(held_out) == tokenizer.encode_documents(held_out)
        assert (peer.bos, peer.vocab_size) == (tokenizer.bos, tokenizer.vocab_size)


def test_a_copy_encodes_alike_and_remembers_nothing(tokenizer, byte_level, held_out):
    for vocabulary in (tokenizer, byte_level):
        expected = vocabulary.encode_documents(held_out[1:3])
        assert copy.deepcopy(vocabulary).encode_documents(held_out[1:3]) == expected
    assert tokenizer._encode_word.cache_info().currsize > 0
    assert copy.deepcopy(tokenizer)._encode_word.cache_info().currsize == 0


def test_turns_of_every_candidate(tokenizer, byte_level, held_out, monkeypatch):
    candidates = tokenizer_speed.beside_the_library({"bpe": tokenizer, "byte-level": byte_level})
    assert list(candidates) == ["bpe, ours", "bpe, tokenizers", "byte-level, tokenizers"]
    turns = tokenizer_speed.turns(candidates, held_out[1:3])
    ways = {name: [key.partition("|")[2] for key in turns if key.startswith(name)]
            for name in candidates}  # fmt: skip
    assert ways["bpe, ours"] == ["one cold", "one warm"]
    assert ways["bpe, tokenizers"] == ["one cold", "one warm", "all cold", "all warm"]

    seen = []  # (a copy or not, the library's threads)
    encode = FastTokenizer.encode_documents

    def watched(self, texts):
        seen.append((self is byte_level, os.environ[tokenizer_speed.PARALLEL]))
        return encode(self, texts)

    monkeypatch.setattr(FastTokenizer, "encode_documents", watched)
    for way in tokenizer_speed.WAYS:
        assert turns[f"byte-level, tokenizers|{way}"]() > 0
    assert seen == [(False, "false"), (True, "false"), (False, "true"), (True, "true")]


def test_parallelism_is_as_it_was_before(monkeypatch):
    for before in ("true", None):
        monkeypatch.delenv(tokenizer_speed.PARALLEL, raising=False)
        if before:
            monkeypatch.setenv(tokenizer_speed.PARALLEL, before)
        with parallelism(False):
            assert os.environ[tokenizer_speed.PARALLEL] == "false"
        assert os.environ.get(tokenizer_speed.PARALLEL) == before


def test_every_process_has_a_shard_to_fill(monkeypatch):
    monkeypatch.setattr(tokenizer_speed, "SHARD", 100)
    documents = [Document(str(i), "", "", "a" * 30) for i in range(3)]
    taken = tokenizer_speed.enough(documents, 2)
    assert [document.id for document in taken] == list("0120120")


def test_packing_leaves_nothing_behind(tokenizer, byte_level):
    documents = [Document("a", "", "", "She had been."), Document("b", "", "", "三")]
    for vocabulary in (tokenizer, byte_level):
        assert tokenizer_speed.packs(vocabulary, documents, 1)() > 0
    assert list((home() / "tokens").iterdir()) == []
    packed = pack(documents, byte_level.encode_documents, "key")
    rows = byte_level.encode_documents([document.text for document in documents])
    assert packed.shards[0].tolist() == [id for row in rows for id in row]


# The command.


def test_the_command(capsys, monkeypatch):
    monkeypatch.setattr(tokenizer_speed, "SHARD", 100_000)
    tokenizer_study.bench(["tokenizer", *SMALL, *SHAPE, "--bytes", "20000"])
    out = capsys.readouterr().out
    for kind in ("bpe", "unigram", "byte-level"):
        [row] = [line for line in out.splitlines() if line.startswith(f"{kind} 600  ")]
        values = [float(value) for value in row.removeprefix(f"{kind} 600").split()]
        assert len(values) == (8 if kind == "byte-level" else 9)
        assert 2 < values[1] < 3 and values[-1] < 8, "bytes a token, bits a byte"
        for speed in (f"{kind} 600, tokenizers", f"{kind} 600, ours"):
            lines = [line for line in out.splitlines() if line.startswith(speed)]
            assert len(lines) == (0 if speed == "byte-level 600, ours" else 2), "one, and packed"
    assert "byte_5gram" in out and "learned from 11 documents (0.42 MB) of embedded_sample" in out


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--sizes", ""], "--sizes names no vocabulary size"),
        (["--sizes", "600,many"], "--sizes wants a whole number, not 'many'"),
        (["--sizes", "60000", "--part", "speed"], "no vocabulary of 60000 pieces"),
        (["--sizes", "60000", "--heads", "5"], "dim 128 is not a multiple of heads 5"),
        (["--part", "sped"], "--part cannot be 'sped'"),
    ],
)
def test_bad_input(flags, says):
    with pytest.raises(VermeilError, match=says):
        tokenizer_study.bench(["tokenizer", *SMALL, *flags])


def test_no_test_documents(monkeypatch):
    class Nothing:
        def documents(self, split):
            return [Document("a", "", "", "Call me Ishmael." if split == "train" else " ")]

    monkeypatch.setattr(data, "load", lambda _: Nothing())
    with pytest.raises(VermeilError, match="the test documents of embedded_sample hold no text"):
        tokenizer_study.bench(["tokenizer", *SMALL])
