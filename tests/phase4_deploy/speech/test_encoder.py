"""The encoder: padding and company change nothing, and a stream hears what the whole does."""

import pytest
import torch

from phase4_deploy.audio.batches import Batch
from phase4_deploy.speech.ctc import greedy
from phase4_deploy.speech.encoder import (
    SIZES,
    SpeechEncoderConfig,
    SpeechRecogniser,
    SpeechRecogniserConfig,
    visible,
)
from phase4_deploy.speech.objective import Transcribe
from phase4_deploy.speech.stream import Stream, listen
from shared.errors import VermeilError
from shared.train_config import TrainConfig


def make(chunk: int = 0, left: int = 0, context: int = 100, readings: int = 1) -> SpeechRecogniser:
    """Random weights, larger than at the beginning, so that what is left out shows."""
    torch.manual_seed(0)
    shape = SpeechEncoderConfig(16, 2, 2, 32, chunk=chunk, left=left, context=context)
    model = SpeechRecogniser(SpeechRecogniserConfig(shape, readings=readings)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return model


@pytest.fixture
def mels() -> torch.Tensor:
    return torch.randn(3, 70, 80, generator=torch.Generator().manual_seed(1))


def encode(model: SpeechRecogniser, mels: torch.Tensor, lengths: list[int]) -> list[torch.Tensor]:
    with torch.no_grad():
        states, ends = model.encoder(mels, torch.tensor(lengths))
    return [row[:end] for row, end in zip(states, ends, strict=True)]


@pytest.mark.parametrize(("chunk", "left"), [(0, 0), (5, 0), (4, 7)])
def test_padding_and_company_change_nothing(mels, chunk, left):
    """A batch is its clips one by one, whatever stands in the padding."""
    model, lengths = make(chunk, left), [70, 33, 50]
    noisy = mels.clone()
    for clip, length in zip(noisy, lengths, strict=True):
        clip[length:] = 1e3
    together, noise = encode(model, mels, lengths), encode(model, noisy, lengths)
    for i, length in enumerate(lengths):
        alone = encode(model, mels[i : i + 1, :length], [length])[0]
        assert alone.shape == (length // 4, 16)
        torch.testing.assert_close(together[i], alone, atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(noise[i], alone, atol=2e-5, rtol=1e-4)


def test_clips_shorter_than_a_state_have_none(mels):
    model = make()
    for frames in (0, 1, 3):
        log_probs, lengths = model(mels[:, :frames], torch.tensor([frames] * 3))
        assert lengths.tolist() == [0, 0, 0] and log_probs.isfinite().all()
        assert greedy(log_probs, lengths, model.alphabet) == ["", "", ""]
    states = encode(model, mels, [70, 2, 4])
    assert [len(clip) for clip in states] == [17, 0, 1]
    assert states[0].isfinite().all()


def test_what_a_state_sees():
    seen = visible(torch.tensor([6, 3]), 6, chunk=2, left=1)[:, 0].int()
    assert seen[0].tolist() == [
        [1, 1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [0, 1, 1, 1, 0, 0],
        [0, 1, 1, 1, 0, 0],
        [0, 0, 0, 1, 1, 1],
        [0, 0, 0, 1, 1, 1],
    ]
    assert seen[1, 2].tolist() == [0, 1, 1, 0, 0, 0]  # its chunk's second half is padding
    assert seen[1, 5].tolist() == [0, 0, 0, 0, 0, 1]  # padding sees itself alone
    assert visible(torch.tensor([6]), 6).all()


def test_a_state_hears_nothing_of_later_chunks(mels):
    model = make(chunk=3, left=4)
    changed = mels.clone()
    changed[:, 24:] += 1  # from the third chunk on
    before, after = (encode(model, x, [70] * 3)[0] for x in (mels, changed))
    assert torch.equal(before[:6], after[:6])
    assert (before[6:] - after[6:]).abs().amin(dim=1).max() > 0


@pytest.mark.parametrize(("chunk", "left"), [(1, 0), (3, 0), (3, 4), (2, 9), (30, 2)])
def test_a_stream_is_the_masked_whole(mels, chunk, left):
    """In pieces of any size, state by state; the last chunk is shorter, 2 frames are left over."""
    model = make(chunk, left)
    whole = encode(model, mels[:1], [70])[0]
    for sizes in ([70], [1] * 70, [5, 0, 40, 25]):
        stream = Stream(model.encoder)
        parts = [stream.feed(piece) for piece in mels[0].split(sizes)]
        streamed = torch.cat([*parts, stream.finish()], dim=1)[0]
        torch.testing.assert_close(streamed, whole, atol=2e-5, rtol=1e-4)


def test_a_stream_outlives_the_context():
    """500 states through a model of 20: as a model with room for all of them says."""
    small, large = make(4, 6, context=20), make(4, 6, context=600)
    large.load_state_dict(small.state_dict())
    mels = torch.randn(1, 2000, 80, generator=torch.Generator().manual_seed(2))
    with pytest.raises(VermeilError, match=r"a clip of 20\.0 s, .* at most 0\.8 s"):
        encode(small, mels, [2000])
    stream = Stream(small.encoder)
    streamed = torch.cat([stream.feed(mels[0]), stream.finish()], dim=1)[0]
    torch.testing.assert_close(streamed, encode(large, mels, [2000])[0], atol=5e-5, rtol=1e-3)


@pytest.mark.parametrize("readings", [1, 3])
def test_listening_writes_what_greedy_reads(mels, readings):
    model = make(chunk=2, left=3, readings=readings)
    with torch.no_grad():
        log_probs, lengths = model(mels[:1], torch.tensor([70]))
    expected = greedy(log_probs, lengths, model.alphabet)[0]
    written = [*listen(model, mels[0].split(9))]
    assert len(written) == 9 and " ".join("".join(written).split()) == expected
    assert len(expected) > 5


def test_several_readings_of_a_state_follow_each_other(mels):
    """Each is what a head of its own would read, state by state."""
    model, lengths = make(readings=2), torch.tensor([70, 40, 3])
    with torch.no_grad():
        log_probs, ends = model(mels, lengths)
        states, _ = model.encoder(mels, lengths)
    assert ends.tolist() == [34, 20, 0] and log_probs.shape[1] == 34
    for which, (weight, bias) in enumerate(
        zip(model.head.weight.chunk(2), model.head.bias.chunk(2), strict=True)
    ):
        expected = (states @ weight.T + bias).log_softmax(dim=-1)
        torch.testing.assert_close(log_probs[:, which::2], expected)


def test_whole_clip_encoders_do_not_stream():
    with pytest.raises(VermeilError, match="sees whole clips"):
        Stream(make().encoder)


def test_gradients_reach_everything_and_nothing_is_nan(mels):
    """Also beside a clip without a state and one whose text does not fit."""
    model = make(chunk=4, left=4).train()
    batch = Batch(mels, torch.tensor([70, 2, 12]), ["a b", "", "far too long"], [*"abc"])
    Transcribe(model, TrainConfig()).loss(batch).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_saved_and_loaded(mels, tmp_path):
    model = make(chunk=2, left=3)
    model.save_pretrained(tmp_path)
    again = SpeechRecogniser.from_pretrained(tmp_path)
    assert again.config == model.config
    lengths = torch.tensor([70, 40, 30])
    with torch.no_grad():
        assert torch.equal(again(mels, lengths)[0], model(mels, lengths)[0])


def test_shapes_that_cannot_be():
    with pytest.raises(VermeilError, match="even share"):
        SpeechEncoderConfig(10, 1, 4, 8)
    with pytest.raises(VermeilError, match="do not fit a context"):
        SpeechEncoderConfig(16, 1, 2, 8, chunk=50, left=50, context=100)


def test_sizes():
    with torch.device("meta"):
        millions = {
            size: sum(p.numel() for p in SpeechRecogniser(SpeechRecogniserConfig(c)).parameters())
            for size, c in SIZES.items()
        }
    assert [f"{n / 1e6:.1f}" for n in millions.values()] == ["0.9", "6.7", "39.5", "129.4"]
