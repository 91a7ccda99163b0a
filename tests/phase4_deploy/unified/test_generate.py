"""One call for text, pictures and speech: rows do not touch each other, silence stays silent."""

import numpy as np
import pytest
import torch

from phase1_foundation.language import chat
from phase1_foundation.language.generate import Sampling
from phase1_foundation.language.model import LanguageModelConfig
from phase1_foundation.language.tokenizer import Tokenizer
from phase1_foundation.vision.vit import VisionTransformerConfig
from phase2_multimodal.vision_language.model import VisionLanguageConfig
from phase4_deploy.speech.alphabet import Alphabet
from phase4_deploy.speech.ctc import prefix_beam
from phase4_deploy.speech.encoder import SpeechEncoderConfig, SpeechRecogniserConfig
from phase4_deploy.unified.evaluate import share_of
from phase4_deploy.unified.generate import SPELLINGS, Unified
from phase4_deploy.unified.lessons import alignment_of, spoken_prompt, words_of
from phase4_deploy.unified.model import UnifiedModel, with_ear
from shared.errors import VermeilError

SHORT = Sampling(max_tokens=6, temperature=0.0)


@pytest.fixture(scope="module")
def unified(prompter) -> Unified:
    vision = VisionTransformerConfig(16, 4, dim=16, layers=1, heads=2, mlp_dim=32)
    language = LanguageModelConfig(
        400, dim=24, layers=2, heads=2, kv_heads=1, mlp_dim=48, context=128
    )
    speech = SpeechRecogniserConfig(SpeechEncoderConfig(dim=16, layers=1, heads=2, mlp_dim=32))
    torch.manual_seed(0)
    model = UnifiedModel(with_ear(VisionLanguageConfig(vision, language), speech, stack=4))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(float("norm" in name and "weight" in name), 0.3)
    return Unified(model, prompter)


def clips(*frames: int) -> list[torch.Tensor]:
    return [torch.randn(n, 80, generator=torch.Generator().manual_seed(n)) for n in frames]


def pictures(number: int) -> torch.Tensor:
    return torch.randn(number, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def test_rows_of_any_length_are_answered_as_they_are_alone(unified):
    mels, seen = clips(40, 90, 41, 160, 92), pictures(5)
    together = unified.answers(pictures=seen, mels=mels, sampling=SHORT)
    alone = [
        unified.answers(pictures=seen[row : row + 1], mels=mels[row : row + 1], sampling=SHORT)[0]
        for row in range(5)
    ]
    assert together == alone
    assert len(set(together)) > 1
    assert unified.transcripts(mels) == [unified.transcripts([each])[0] for each in mels]


def test_letters_and_language_model_choose_together(unified, monkeypatch):
    """Of the spellings that the letters speak for, each counts what both make of it."""
    monkeypatch.setattr(unified, "written", lambda mels: ["a dog?"])  # has no path: too long
    ids = [*unified.model.speech.alphabet.encode("cat")]
    scores = torch.full((3, len(unified.model.speech.alphabet)), -20.0)
    scores[range(3), ids] = 0.0
    scores[1, unified.model.speech.alphabet.encode("o")[0]] = -1.0  # "cot" is nearly as likely
    monkeypatch.setattr(unified, "_log_probs", lambda mels: scores.log_softmax(dim=-1))
    asked = []

    def ranked(words: float):
        def rank(prefix, question, texts):
            asked.append(texts)
            return torch.tensor([words if text == "cot" else 0.0 for text in texts])

        monkeypatch.setattr(unified.speaker, "rank", rank)
        return unified.transcripts(clips(40))[0]

    assert ranked(0.0) == ranked(1.9) == "cat" and ranked(2.1) == "cot"
    assert "a dog" in asked[0], "what the language model writes is among them"


@pytest.mark.parametrize("written", ["a dog", "", "\u4e09"])
def test_letters_that_say_nothing_win(unified, monkeypatch, written):
    """Whatever the language model makes of silence."""
    monkeypatch.setattr(unified, "written", lambda mels: [written])
    blank = torch.full((9, len(Alphabet())), -30.0)
    blank[:, 0] = 0.0
    monkeypatch.setattr(unified, "_log_probs", lambda mels: blank.log_softmax(dim=-1))
    monkeypatch.setattr(unified.speaker, "rank", lambda *of: torch.zeros(len(of[-1])))
    assert unified.transcripts(clips(40)) == [""]


def test_a_clip_that_leaves_no_room_for_its_words_is_spelled(unified, monkeypatch):
    """Its letters say what is said; the language model is not asked beyond its context."""
    room = unified.model.language.config.context
    long = clips(16 * (room + 9))  # a stack of four states of four frames is an embedding
    monkeypatch.setattr(unified.speaker, "rank", lambda *_: pytest.fail("beyond the context"))
    assert unified.written([*clips(40), *long])[1] == ""
    found = prefix_beam(unified._log_probs(long[0]), Alphabet(), SPELLINGS)
    assert unified.transcripts(long)[0] in [text for text, _ in found]


def test_typed_questions_are_phase_2_s(unified):
    texts = ["what color is the background?", "how many things are there?"]
    seen = pictures(2)
    prefix = unified.speaker.look(seen)
    expected = unified.speaker.say(prefix, texts, SHORT)
    assert unified.answers(pictures=seen, texts=texts, sampling=SHORT) == expected


def test_generate_takes_what_there_is(unified):
    silence, picture = torch.zeros(16_000), pictures(1)[0]
    assert unified.generate(audio=silence) == ""
    assert unified.generate(audio=silence, image=picture) == ""
    captioned = unified.generate(image=picture)
    assert captioned == unified.generate(image=picture, text="describe the picture")
    assert isinstance(unified.generate(text="a small dog", sampling=SHORT), str)
    with pytest.raises(VermeilError, match="twice: typed and spoken"):
        unified.generate(audio=silence, image=picture, text="what is this?")


def test_a_spoken_question_leaves_only_the_end_of_the_turn(prompter):
    special = prompter.tokenizer.special
    assert spoken_prompt(prompter) == [special[chat.END], special[chat.ASSISTANT]]


def test_words_are_filled_on_the_right():
    words = words_of([([5, 6], [7]), ([5], [8, 9, 10])])
    assert words.tokens.tolist() == [[5, 6, 7, 0], [5, 8, 9, 10]]
    assert words.segments.tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert words.answers.tolist() == [
        [False, False, True, False], [False, True, True, True],
    ]  # fmt: skip


def test_each_stack_of_states_is_given_the_token_that_is_said_in_it(prompter):
    """Letters that are held for four states each: a stack of four is one letter."""
    alphabet, text = Alphabet(), "red dog"
    ids = alphabet.encode(text)
    sure = torch.full((4 * len(ids), len(alphabet)), -30.0)
    sure[range(4 * len(ids)), [id for id in ids for _ in range(4)]] = 0
    tokens = alignment_of(sure.log_softmax(dim=-1), text, prompter, stack=4)
    assert len(tokens) == len(text)
    owners = {
        place: token
        for token, places in _places(prompter.tokenizer, text).items()
        for place in places
    }
    assert tokens == [owners[place] for place in range(len(text))]


def _places(tokenizer: Tokenizer, text: str) -> dict[int, list[int]]:
    """The characters of " red dog" that belong to each token, the space before it left out."""
    places: dict[int, list[int]] = {}
    at = -1
    for token in tokenizer.encode(f" {text}"):
        surface = tokenizer.piece(token).replace("▁", " ")
        places.setdefault(token, []).extend(range(max(at, 0), at + len(surface)))
        at += len(surface)
    return places


def test_the_share_of_what_asking_brings():
    spoken, typed, silent = (np.array(x, float) for x in ([1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 0, 0]))
    found = share_of(spoken, typed, silent)
    assert found.value == pytest.approx((0.5 - 0.25) / (0.75 - 0.25))
    assert found.low <= found.value <= found.high
