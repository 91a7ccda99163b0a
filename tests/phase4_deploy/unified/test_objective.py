"""What the unified model's training holds its ear to."""

from types import SimpleNamespace

import pytest
import torch

from phase1_foundation.language.model import LanguageModelConfig
from phase1_foundation.vision.vit import VisionTransformerConfig
from phase2_multimodal.vision_language.lessons import Lesson
from phase2_multimodal.vision_language.model import VisionLanguageConfig
from phase2_multimodal.vision_language.prompts import Prompter
from phase4_deploy.audio.batches import Batch
from phase4_deploy.speech.alphabet import Alphabet
from phase4_deploy.speech.encoder import SpeechEncoderConfig, SpeechRecogniserConfig
from phase4_deploy.train_unified import UnifiedTrainConfig
from phase4_deploy.unified.lessons import Hour, Listening, alignment_of, transcripts
from phase4_deploy.unified.model import Prefix, UnifiedModel, with_ear
from phase4_deploy.unified.objective import Answers

TEXTS = ["red dog", "cat"]


@pytest.fixture
def naming(prompter: Prompter):
    """The objective's part, of a model whose table of embeddings is all that is asked of it."""
    table = torch.nn.functional.normalize(
        torch.randn(prompter.tokenizer.vocab_size, 64, generator=torch.Generator().manual_seed(0)),
        dim=1,
    )
    language = SimpleNamespace(embed=SimpleNamespace(weight=table))
    made = Answers.__new__(Answers)
    torch.nn.Module.__init__(made)
    made.prompter = prompter
    object.__setattr__(made, "model", SimpleNamespace(language=language, stack=4))
    return made


def letters_of(text: str, states: int) -> torch.Tensor:
    """Four states for each letter, sure of it; blanks behind them."""
    ids = [id for id in Alphabet().encode(text) for _ in range(4)]
    sure = torch.full((states, len(Alphabet())), -30.0)
    sure[range(len(ids)), ids] = 0
    sure[len(ids) :, 0] = 0
    return sure.log_softmax(dim=-1)


def heard(naming, tokens: list[list[int]]) -> Prefix:
    """Embeddings of these tokens, loud enough to be told apart; padding is noise."""
    longest = max(map(len, tokens))
    states = torch.randn(len(tokens), longest, 64)
    real = torch.zeros(len(tokens), longest, dtype=torch.bool)
    for row, some in enumerate(tokens):
        states[row, : len(some)] = 30 * naming.model.language.embed.weight[some]
        real[row, : len(some)] = True
    return Prefix(states, real)


def test_an_ear_that_names_what_is_said_costs_nothing(naming):
    n = torch.tensor([28, 12])
    letters = torch.stack([letters_of(text, 28) for text in TEXTS])
    sound = Batch(torch.empty(0), n * 4, TEXTS, ["a", "b"])
    said = [
        alignment_of(letters[row, : n[row]], text, naming.prompter, 4)
        for row, text in enumerate(TEXTS)
    ]
    assert naming._naming(heard(naming, said), letters, n, sound) < 0.01
    wrong = [[token + 1 for token in row] for row in said]
    assert naming._naming(heard(naming, wrong), letters, n, sound) > 5
    half = naming._naming(heard(naming, [said[0], wrong[1]]), letters, n, sound)
    assert half == pytest.approx(
        float(naming._naming(heard(naming, wrong), letters, n, sound)) * 3 / 10, rel=0.3
    ), "an embedding counts as much as any other: three of ten are wrong"


def test_clips_without_a_path_count_for_nothing(naming):
    """More letters than states, or no letter at all."""
    n, letters = torch.tensor([4, 12]), torch.stack([letters_of("", 12)] * 2)
    sound = Batch(torch.empty(0), n * 4, ["longer than it is", ""], ["a", "b"])
    assert naming._naming(heard(naming, [[1], [2, 3, 4]]), letters, n, sound) == 0


@pytest.mark.parametrize("readings", [1, 2])
def test_rehearsed_answers_count_by_their_length(prompter, readings):
    """A third of the loss is what is looked at; by `length_power` it differs as phase 2's would."""
    torch.manual_seed(0)
    eyes = VisionTransformerConfig(16, 4, dim=16, layers=1, heads=2, mlp_dim=32)
    voice = LanguageModelConfig(prompter.tokenizer.vocab_size, dim=24, layers=1, heads=2,
                                kv_heads=1, mlp_dim=32, context=96)  # fmt: skip
    shape = SpeechEncoderConfig(dim=16, layers=1, heads=2, mlp_dim=32)
    ear = SpeechRecogniserConfig(shape, readings=readings)
    model = UnifiedModel(with_ear(VisionLanguageConfig(eyes, voice), ear, stack=4)).eval()
    sound = Batch(torch.randn(2, 160, 80), torch.tensor([160, 120]), TEXTS, ["a", "b"])
    pictures, packed = (
        torch.randn(1, 3, 16, 16),
        prompter.pack([[("what?", "a red dog"), ("is it?", "no")]]),
    )
    heard = Listening(None, sound, transcripts(sound, prompter))
    hour = Hour(heard, heard, Lesson(pictures, None, packed), None)
    before = model.prefix(pictures, prompter.opening)
    whole, looked = [], []
    for power in (1.0, 0.5):
        objective = Answers(model, UnifiedTrainConfig(length_power=power), prompter)
        whole.append(objective.loss(hour))
        looked.append(model.loss(before, *packed, power))
    assert abs(looked[1] - looked[0]) > 1e-4
    torch.testing.assert_close(
        whole[1] - whole[0], (looked[1] - looked[0]) / 3, rtol=1e-2, atol=1e-5
    )
