"""Batches of clips: what is in them, and that steps and processes do not change it."""

import io
import itertools
from collections import Counter

import numpy as np
import pytest
import soundfile
import torch

from data.speech import Clip
from phase4_deploy.audio import batches as module
from phase4_deploy.audio.augment import Augmentation
from phase4_deploy.audio.batches import Batch, Handover, SpeechBatches, measured, states
from phase4_deploy.audio.decode import RATE, BadSound
from phase4_deploy.audio.features import Features
from shared.errors import VermeilError

NUMBER = 24
LETTERS = "abcdefghij"


def sound(seconds: float, hertz: float = 200) -> bytes:
    time = np.arange(int(seconds * RATE)) / RATE
    file = io.BytesIO()
    soundfile.write(file, 0.3 * np.sin(2 * np.pi * hertz * time), RATE, format="WAV")
    return file.getvalue()


def encode(text: str) -> list[int]:
    if not set(text) <= {*LETTERS, " "}:
        raise VermeilError(f"the text {text!r} has characters that are not written", "spell it")
    return [LETTERS.index(letter) + 1 for letter in text.strip()]


CLIPS = [Clip(f"set/{n}", LETTERS[n % 10], sound(0.2 + 0.05 * n, 200 + 10 * n), speaker=str(n))
         for n in range(NUMBER)]  # fmt: skip


def made(augment: str = "", seed: int = 0, batch_size: int = 6, clips=CLIPS, **settings):
    change = Augmentation(augment) if augment else None
    return SpeechBatches(clips, encode, batch_size, seed, change, **settings)


def ids(stream: SpeechBatches, steps) -> list[str]:
    return [id for step in steps for id in stream.rows(step, slice(None)).ids]


def test_a_batch_is_frames_lengths_texts_and_ids():
    batch = made().rows(0, slice(None))
    assert isinstance(batch, Batch) and batch.mels.dtype == torch.float32
    assert batch.mels.shape == (6, int(batch.lengths.max()), 80)
    for mels, length, text, id in zip(*batch, strict=True):
        clip = CLIPS[int(id.removeprefix("set/"))]
        assert text == clip.text
        assert torch.equal(mels[:length], Features().get(clip.source).mels)
        assert not mels[length:].any()


@pytest.mark.parametrize(("pool", "batch_size"), [(1, 6), (4, 6), (20, 6), (3, 7), (2, 50)])
def test_each_clip_comes_once_an_epoch(pool, batch_size):
    stream = made(pool=pool, batch_size=batch_size)
    steps = pool * NUMBER  # so many clips are whole epochs
    seen = [known.clip.id for step in range(steps) for _, known in stream.pick(step)]
    assert set(Counter(seen).values()) == {steps * batch_size // NUMBER}
    epoch = [known.clip.id for step in range(4) for _, known in made(pool=4).pick(step)]
    assert len({*epoch}) == NUMBER


@pytest.mark.parametrize("augment", ["", "mask", "voices", "few", "speed", "strong"])
@pytest.mark.parametrize("cuts", [(3,), (1, 2, 5)])
def test_processes_split_a_batch_without_changing_it(augment, cuts):
    whole = made(augment).rows(5, slice(None))
    parts = [made(augment).rows(5, slice(a, b)) for a, b in itertools.pairwise((0, *cuts, 6))]
    assert torch.equal(torch.cat([part.mels for part in parts]), whole.mels)
    assert torch.equal(torch.cat([part.lengths for part in parts]), whole.lengths)
    assert [id for part in parts for id in part.ids] == whole.ids
    assert [text for part in parts for text in part.texts] == whole.texts


@pytest.mark.parametrize("augment", ["", "strong"])
def test_a_batch_depends_on_seed_and_step_alone(augment):
    stream = made(augment, seed=1, pool=3)
    for step in (7, 0, 40, 3):
        stream.rows(step, slice(None))
    again, fresh = stream.rows(7, slice(None)), made(augment, seed=1, pool=3).rows(7, slice(None))
    assert torch.equal(again.mels, fresh.mels) and again.ids == fresh.ids
    assert ids(made(seed=1), range(3)) != ids(made(seed=2), range(3))


def test_the_same_clip_is_changed_anew_each_time():
    stream = made("speed", clips=CLIPS[20:21], batch_size=12, pool=1)
    batch = stream.rows(0, slice(None))
    assert len({*batch.lengths.tolist()}) == 3, "three speeds"
    assert len({tuple(mels.sum(1).tolist()) for mels in batch.mels}) > 5


@pytest.mark.parametrize("augment", ["", "strong"])
def test_clips_of_a_batch_have_like_lengths(augment):
    """Of a hundred steps, without sorting and with it; changed speeds are sorted by, too."""
    mixed, sorted_ = made(augment, pool=1).padding(100), made(augment, pool=20).padding(100)
    assert mixed > 0.25 and sorted_ < 0.06
    batch = made(augment, pool=20).rows(0, slice(None))
    assert 1 - float(batch.lengths.sum()) / batch.mels[..., 0].numel() < 0.3


def test_padding_is_the_share_of_frames_that_hold_nothing():
    stream = made("speed", pool=2)
    found = [stream.rows(step, slice(None)) for step in range(4)]
    real = sum(int(batch.lengths.sum()) for batch in found)
    held = sum(batch.mels.shape[0] * batch.mels.shape[1] for batch in found)
    assert stream.padding(4) == pytest.approx(1 - real / held)


def test_order_is_not_by_length():
    """Neither from step to step nor within a batch, where the first rows are one process's."""
    stream = made(pool=20)
    means = [float(stream.rows(s, slice(None)).lengths.float().mean()) for s in range(20)]
    assert means != sorted(means)
    rises = [
        length for s in range(20) for length in stream.rows(s, slice(None)).lengths.diff().tolist()
    ]
    assert min(rises) < 0 < max(rises)


def test_small_sets_are_decoded_once(monkeypatch):
    stream = made("speed")
    before = stream.rows(3, slice(None))
    stream.rows(0, slice(None)), stream.rows(1, slice(None)), stream.rows(2, slice(None))
    calls = []
    read = Features.wave
    monkeypatch.setattr(Features, "wave", lambda *given: calls.append(1) or read(*given))
    after = stream.rows(3, slice(None))
    assert torch.equal(before.mels, after.mels) and not calls
    monkeypatch.setattr(module, "KEPT", 0)
    assert torch.equal(made("speed").rows(3, slice(None)).mels, before.mels) and len(calls) == 6


# Clips that are of no use


def test_what_cannot_be_used_is_counted_by_name(tmp_path):
    (tmp_path / "half.wav").write_bytes(sound(1)[:9000])
    bad = [
        Clip("bad/long", "a", sound(2.81)),
        Clip("bad/text", "abcdefghij", sound(0.19)),
        Clip("bad/doubled", "aabb", sound(0.03)),  # six states, and there are five
        Clip("bad/empty", "a", b""),
        Clip("bad/half", "a", tmp_path / "half.wav"),
    ]
    good = [
        Clip("good/text", "abcdefghij", sound(0.2)),
        Clip("good/doubled", "abab", sound(0.03)),
        Clip("good/long", "a", sound(2.8)),
    ]  # fmt: skip; with edges of 0.2 s in all
    stream = made(clips=[*bad, *good], longest=3.0)
    assert [known.clip.id for known in stream.clips] == ["good/text", "good/doubled", "good/long"]
    assert str(stream.dropped) == (
        "2 too short for its text (bad/text, bad/doubled), 1 longer than 3 s (bad/long), "
        "1 empty (bad/empty), 1 cut short (bad/half)"
    )
    assert stream.seconds == pytest.approx(3.63)
    fast = made("speed", clips=good)
    assert [*fast.dropped.names["too short for its text"]] == ["good/text"]


def test_states_that_a_text_needs():
    assert [states(ids) for ids in ([], [1], [1, 2], [1, 1], [1, 1, 1, 2, 2])] == [0, 1, 2, 3, 8]


def test_no_clip_is_left():
    with pytest.raises(VermeilError, match=r"no clip is left .*1 empty \(a\)"):
        made(clips=[Clip("a", "a", b"")])
    with pytest.raises(VermeilError, match=r"no clip is left to learn from \(passed over: none\)"):
        made(clips=[])


def test_texts_of_another_alphabet_are_named():
    foreign = [Clip(f"ru/{n}", "один", CLIPS[0].source) for n in range(7)]
    with pytest.raises(VermeilError) as caught:
        made(clips=[*CLIPS, *foreign])
    assert caught.value.message == (
        "of 7 clips the transcript cannot be learned (ru/0, ru/1, ru/2, ru/3, ru/4, ...); "
        "the first: the text 'один' has characters that are not written"
    )
    assert caught.value.hint == "spell it"
    with pytest.raises(VermeilError, match=r"\(set/x\).* '  ' has no letter of the alphabet"):
        made(clips=[Clip("set/x", "  ", CLIPS[0].source)])


def test_a_few_texts_that_cannot_be_spelled_are_passed_over():
    """CMU ARCTIC has "At sea, Monday, March 16, 1908": how a year is said is a guess."""
    dated = Clip("dated", "3", CLIPS[0].source)
    stream = made(clips=[*CLIPS, *CLIPS, dated])
    assert str(stream.dropped) == "1 with characters that are not learned (dated)"
    assert len(stream.clips) == 2 * len(CLIPS)
    with pytest.raises(VermeilError, match=r"of 1 clips .*\(dated\)"):
        made(clips=[*CLIPS[:5], dated])


# Measuring


def test_all_clips_are_measured():
    """Also those that are too short for their text: leaving them out would be cheating."""
    clips = [*CLIPS, Clip("short", "abcdefghij", sound(0.1)), Clip("ru", "один", sound(0.3))]
    found = [*measured(clips, 5)]
    assert sorted(id for batch in found for id in batch.ids) == sorted(clip.id for clip in clips)
    assert [len(batch.ids) for batch in found] == [5, 5, 5, 5, 5, 1]
    lengths = [length for batch in found for length in batch.lengths.tolist()]
    assert lengths == sorted(lengths, reverse=True)
    for batch in found:
        for mels, length, _, id in zip(*batch, strict=True):
            clip = next(clip for clip in clips if clip.id == id)
            assert torch.equal(mels[:length], Features().get(clip.source).mels)
    with pytest.raises(BadSound, match=r"^broken cannot be used as sound"):
        [*measured([Clip("broken", "a", b"")], 5)]


def test_digits_of_people(digits):
    clips = [Clip(name, LETTERS[int(name[0])], content) for name, content in digits(every=20)]
    padding = {pool: made(clips=clips, batch_size=16, pool=pool).padding(60) for pool in (1, 20)}
    assert padding[1] > 0.25 and padding[20] < 0.06


def test_a_handover_leaves_no_batch_of_either_out():
    """Early steps are the first source's, later ones the other's; each keeps its own order."""
    first, then = made(seed=1), made(clips=CLIPS[:12])
    both = Handover(first, then, 40, 0.0, 60, seed=3)
    taken = [both.source(step) for step in range(60)]
    for which, source in ((1, first), (0, then)):
        steps = [step for step, (of, _) in enumerate(taken) if of == which]
        assert [taken[step][1] for step in steps] == list(range(len(steps)))
        some = both.rows(steps[2], slice(1, 4))
        assert some.ids == source.rows(2, slice(1, 4)).ids
    whose = [which for which, _ in taken]
    assert whose[0] == 1 and sum(whose[:20]) > 10 > sum(whose[20:40]) > 0 == sum(whose[40:])
    assert both.source(60) == both.source(61) == taken[59], "loaders read ahead of the last step"
    again = Handover(first, then, 40, 0.0, 60, seed=3)
    assert taken == [again.source(step) for step in range(60)]


def test_a_handover_may_keep_a_share():
    first, then = made(seed=1), made(clips=CLIPS[:12])
    kept = Handover(first, then, 100, 0.4, 1100, seed=3)
    share = np.mean([kept.source(step)[0] for step in range(100, 1100)])
    assert share == pytest.approx(0.4, abs=0.05)
    assert Handover(first, then, 0, 0.0, 5, seed=3).source(4)[0] == 0
