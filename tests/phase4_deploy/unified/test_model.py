"""What is heard stands where pictures stand, and nobody sees what fills a row."""

import pytest
import torch

from phase1_foundation.language.model import LanguageModelConfig
from phase1_foundation.vision.vit import VisionTransformerConfig
from phase2_multimodal.vision_language.model import VisionLanguageConfig
from phase4_deploy.speech.encoder import SpeechEncoderConfig, SpeechRecogniserConfig
from phase4_deploy.unified.lessons import words_of
from phase4_deploy.unified.model import UnifiedModel, with_ear

LANGUAGE = LanguageModelConfig(60, dim=32, layers=2, heads=4, kv_heads=2, mlp_dim=48, context=64)
VISION = VisionTransformerConfig(16, 4, dim=32, layers=1, heads=2, mlp_dim=64, classes=0,
                                 stem="conv", pool="mean")  # fmt: skip
SPEECH = SpeechRecogniserConfig(SpeechEncoderConfig(dim=16, layers=1, heads=2, mlp_dim=32))
OPENING = torch.tensor([3, 4])


@pytest.fixture(scope="module")
def model() -> UnifiedModel:
    torch.manual_seed(0)
    made = UnifiedModel(with_ear(VisionLanguageConfig(VISION, LANGUAGE), SPEECH, stack=3))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)  # nothing is 0
    return made.eval()


def sound(*frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Clips of so many frames, each the same whatever stands beside it."""
    mels = torch.zeros(len(frames), max(frames), 80)
    for row, n in enumerate(frames):
        mels[row, :n] = torch.randn(n, 80, generator=torch.Generator().manual_seed(n))
    return mels, torch.tensor(frames)


def pictures(rows: int) -> torch.Tensor:
    return torch.randn(rows, 3, 16, 16, generator=torch.Generator().manual_seed(1))


WORDS = [([7, 8, 9], [10, 11]), ([7], [12, 13, 14, 15])]


@torch.no_grad()
def test_without_sound_the_loss_is_that_of_phase_2(model):
    words = words_of(WORDS)
    before = model.before(OPENING, pictures(2))
    expected = model.loss(model.prefix(pictures(2), OPENING), *words)
    torch.testing.assert_close(model.answer_loss(before, *words), expected)


@pytest.mark.parametrize("looking", [False, True])
@torch.no_grad()
def test_a_row_does_not_notice_longer_neighbours(model, looking):
    def loss(rows: list[int]) -> torch.Tensor:
        mels, lengths = sound(*[(29, 87)[row] for row in rows])
        seen = pictures(2)[rows] if looking else None
        before = model.before(OPENING, seen, model.heard(mels, lengths)[0])
        return model.answer_loss(before, *words_of([WORDS[row] for row in rows]))

    answers = [len(answer) for _, answer in WORDS]
    alone = (loss([0]) * answers[0] + loss([1]) * answers[1]) / sum(answers)
    torch.testing.assert_close(loss([0, 1]), alone)


@torch.no_grad()
def test_the_answer_depends_on_all_that_was_heard_and_on_nothing_after_it(model):
    mels, lengths = sound(60)
    words = words_of(WORDS[:1])

    def loss(mels: torch.Tensor) -> float:
        before = model.before(OPENING, None, model.heard(mels, lengths)[0])
        return model.answer_loss(before, *words).item()

    for frame in (0, 30, 59):
        changed = mels.clone()
        changed[0, frame] += 3
        assert loss(changed) != loss(mels), frame
    longer = torch.cat([mels, torch.randn(1, 8, 80)], dim=1)  # beyond its length
    assert loss(longer) == pytest.approx(loss(mels), abs=1e-6)


@torch.no_grad()
def test_stacks_hold_every_state_once(model):
    states, lengths = torch.arange(1.0, 17 * 16 + 1).view(1, 17, 16), torch.tensor([8])
    model.ear.norm = torch.nn.Identity()
    stacked, stacks = model.ear.stacked(states, lengths)
    model.ear.norm = torch.nn.LayerNorm(48, elementwise_affine=False)
    assert stacks.tolist() == [3]  # 3 + 3 + 2 states
    assert torch.equal(stacked[0, :2].flatten(), states[0, :6].flatten())
    assert torch.equal(stacked[0, 2, :32], states[0, 6:8].flatten())
    assert not stacked[0, 2, 32:].any() and not stacked[0, 3:].any()


@torch.no_grad()
def test_the_ear_begins_with_the_words_that_are_said(model):
    generator = torch.Generator().manual_seed(5)
    mixing = torch.randn(48, 32, generator=generator)
    heard = torch.randn(400, 48, generator=generator)
    words = heard @ mixing
    model.fit_ear([(heard[:200], words[:200]), (heard[200:], words[200:])], ridge=1e-6)
    torch.testing.assert_close(model.ear.linear(heard), words, rtol=1e-3, atol=1e-2)


def test_it_comes_back_from_disk_strictly(model, tmp_path):
    model.save_pretrained(tmp_path)
    again = UnifiedModel.from_pretrained(tmp_path)
    assert again.config == model.config
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
