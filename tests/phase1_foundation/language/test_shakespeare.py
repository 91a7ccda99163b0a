"""`vermeil bench shakespeare`: what is split, measured and compared."""

import itertools
import math
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from phase1_foundation.language import shakespeare
from phase1_foundation.language.shakespeare import (
    CONTEXT,
    Characters,
    Curve,
    Mark,
    NanoGPT,
    Ours,
    ShakespeareConfig,
    nats_per_character,
    parameters,
    summary,
    validation_windows,
)
from shared.errors import VermeilError

TEXT = "".join(chr(ord("a") + (i * i) % 23) for i in range(1000))


@pytest.fixture
def small(monkeypatch):
    """A model of ours that trains in no time, in a format that no measurement decides."""
    monkeypatch.setattr(shakespeare, "SHAPE", replace(shakespeare.SHAPE, layers=1, mlp_dim=32))
    monkeypatch.setattr(shakespeare, "RECIPE", replace(shakespeare.RECIPE, precision="fp32"))


def test_the_last_tenth_is_held_out_and_characters_are_numbered_in_order():
    text = Characters.of("ba" * 450 + "dc" * 50)
    assert text.vocabulary == "abcd"
    assert text.train.tolist() == [1, 0] * 450
    assert text.validation.tolist() == [0] + [3, 2] * 50, "begins with the last training character"


@pytest.mark.parametrize("length", [66, 129, 130, 1742 * 64 + 53])
def test_every_validation_character_is_predicted_once(length):
    ids = np.arange(length)
    windows = validation_windows(ids)
    targets = [row[1:].tolist() for batch in windows for row in batch]
    assert [target for row in targets for target in row] == list(range(1, length))
    assert all(len(row) == CONTEXT for row in targets[:-1]) and 1 <= len(targets[-1]) <= CONTEXT
    for batch in windows:  # each target follows its input
        assert torch.equal(batch[:, :-1] + 1, batch[:, 1:])


def test_nats_are_a_mean_over_characters_not_over_windows():
    """A model that gives the right next id probability 1/2 in early places, 1/5 in late ones."""
    windows = validation_windows(np.arange(2 * CONTEXT + 11) % 5)

    def logits(tokens):
        right = torch.nn.functional.one_hot((tokens + 1) % 5, 5)
        certain = torch.where(torch.arange(tokens.shape[1]) < 10, math.log(4), 0.0)
        return right * certain[:, None]

    early, late = 10 * 3 * math.log(2), 2 * (CONTEXT - 10) * math.log(5)
    expected = (early + late) / (2 * CONTEXT + 10)
    assert nats_per_character(logits, windows) == pytest.approx(expected, rel=1e-6)


def test_parameters_in_nanogpts_setting():
    """nanoGPT counts 0.80 M: 4 x 12 x 128^2, nine norms, 65 embeddings, without positions."""
    text = Characters("".join(map(chr, range(65))), np.arange(65), np.arange(65))
    counted = 4 * 12 * 128**2 + 9 * 128 + 65 * 128
    config = ShakespeareConfig()
    assert parameters(Ours(text, config).model) == counted
    assert parameters(NanoGPT(text, config).model) == counted + 64 * 128


def test_the_peers_learning_rate_and_groups():
    """Its train.py: linear over 100 steps, cosine to a tenth at the end; decay on matrices."""
    peer = NanoGPT(Characters.of(TEXT), ShakespeareConfig())
    assert peer.rate(0) == pytest.approx(1e-3 / 101)
    assert peer.rate(99) == pytest.approx(1e-3 * 100 / 101)
    assert peer.rate(100) == pytest.approx(1e-3)
    assert peer.rate(1050) == pytest.approx(5.5e-4)
    assert peer.rate(2000) == pytest.approx(1e-4)
    matrices, rest = peer.optimizer.param_groups
    assert (len(matrices["params"]), matrices["weight_decay"]) == (2 + 4 * 4, 0.1)
    assert (len(rest["params"]), rest["weight_decay"]) == (9, 0)


def test_the_peer_learns_and_its_biases_stay_zero():
    peer = NanoGPT(Characters.of(TEXT), ShakespeareConfig(steps=200))
    peer.measure()
    peer.train(until=20)
    peer.measure()
    begin, end = peer.curve.marks
    assert begin.nats == pytest.approx(math.log(len(set(TEXT))), abs=0.3)
    assert begin.seconds == 0 < end.seconds and (begin.step, end.step) == (0, 20)
    assert end.nats < begin.nats - 0.1
    biases = [p for n, p in peer.model.named_parameters() if n.endswith("bias")]
    assert biases and not any(bias.any() for bias in biases)


def test_turns(small, tmp_path, monkeypatch, capsys):
    """The real command on a small text: same steps, separate clocks, and the peer's whole time."""
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    monkeypatch.setattr(shakespeare, "TURN", 2)
    turns = []
    train = NanoGPT.train

    def noted(self, until):
        turns.append(until)
        train(self, until)

    monkeypatch.setattr(NanoGPT, "train", noted)
    flags = ["--text", str(path), "--steps", "5", "--every", "50", "--threads", "1"]
    shakespeare.bench(["shakespeare", *flags])
    assert turns == [2, 4, 5]
    output = capsys.readouterr().out
    assert f"{len(set(TEXT))} distinct characters; 900 for training, 100 for validation" in output
    [row] = re.findall(r"^step 5 +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+)$", output, re.M)
    assert all(float(value) > 0 for value in row)
    assert "seconds a step, ours / peer:" in output


def test_a_run_depends_on_its_seed_alone(small):
    def curve(seed: int) -> list[float]:
        ours = Ours(Characters.of(TEXT), ShakespeareConfig(threads=1, seed=seed))
        ours.train(3, every=50)
        return [mark.nats for mark in ours.curve.marks]

    assert curve(0) == curve(0) != curve(1)


def test_the_peers_turn_is_not_on_our_clock(small, monkeypatch):
    clock = itertools.count()  # one more each time it is read

    class Slow(NanoGPT):
        def train(self, until):
            torch.manual_seed(99)  # nor do its random numbers reach ours
            for _ in range(1000):
                next(clock)
            self.done = until

    text, config = Characters.of(TEXT), ShakespeareConfig(threads=1)
    alone, beside = Ours(text, config), Ours(text, config)
    alone.train(3, every=50)
    monkeypatch.setattr(shakespeare, "TURN", 1)
    monkeypatch.setattr(shakespeare, "time", SimpleNamespace(perf_counter=clock.__next__))
    beside.train(3, every=50, beside=Slow(text, config))
    assert beside.curve.marks[0].nats == alone.curve.marks[0].nats
    assert beside.curve.seconds == 3


def test_summary_tells_when_nanogpts_result_was_first_reached():
    ours = Curve(40.0, [Mark(250, 10.0, 1.9), Mark(500, 30.0, 1.88), Mark(1000, 40.0, 1.6)])
    peer = Curve(80.0, [Mark(250, 20.0, 2.4), Mark(500, 40.0, 2.1), Mark(1000, 80.0, 1.8858)])
    _, ratio, first, second = summary(ours, peer)
    assert ratio == "seconds a step, ours / peer: 0.50"
    assert first.endswith(
        "ours step 500, 30.0 s, 38% of the peer's whole time (25% at the mean speeds)"
    )
    assert second.endswith("peer never")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("", None, "--text is missing .tinyshakespeare.txt is"),
        ("nowhere.txt", None, "there is no file '.*nowhere.txt' .tinyshakespeare.txt is"),
        (".", None, "there is no file"),
        ("short.txt", b"to be or not to be", "a text of 18 characters is too short"),
        ("binary.txt", b"a" * 40 + b"\xff" * 900, "binary.txt is not UTF-8 at byte 40"),
    ],
)
def test_a_text_that_is_missing_or_wrong(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(VermeilError, match=message) as error:
        shakespeare.bench(["shakespeare", *(["--text", str(path)] if name else [])])
    assert "tinyshakespeare.txt" in error.value.hint


def test_measurements_fall_between_turns():
    with pytest.raises(VermeilError, match="--every 120 is not a multiple of 50"):
        shakespeare.bench(["shakespeare", "--every", "120"])
