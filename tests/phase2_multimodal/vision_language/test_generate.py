"""What is said: cached as recomputed, a row as alone, beams as searched by hand."""

from itertools import product

import numpy as np
import pytest
import torch

from phase1_foundation.language.generate import Sampling
from phase1_foundation.language.tokenizer import Tokenizer
from phase2_multimodal.vision_language import generate
from phase2_multimodal.vision_language.generate import GREEDY, Speaker
from phase2_multimodal.vision_language.model import VisionLanguageConfig, VisionLanguageModel
from phase2_multimodal.vision_language.prompts import Prompter
from shared.errors import VermeilError

ASKED = ["what is it?", "is there a dog in the picture?", "how many cats do you see?", "why?"]


@torch.no_grad()
def chances(model, prefix, ids) -> torch.Tensor:
    """Log probabilities of what follows, by one whole pass: (V,)."""
    tokens = torch.tensor([ids])
    states = model.hidden_states(prefix, tokens, torch.ones_like(tokens))
    return model.language.head(states[0, -1]).log_softmax(-1)


def written(model, prefix, asked, end, most=32) -> list[int]:
    """Greedy, everything read again for each token."""
    said = []
    while len(said) < most:
        said.append(int(chances(model, prefix, asked + said).argmax()))
        if said[-1] == end:
            return said[:-1]
    return said


def text_of(prompter, ids) -> str:
    return prompter.tokenizer.decode(ids).strip()


def test_cached_is_as_recomputed(model, prefix, prompter, speaker):
    said = speaker.say(prefix, ASKED, Sampling(max_tokens=12, temperature=0.0))
    for row, question in enumerate(ASKED):
        ids = written(model, prefix[row : row + 1], prompter.question(question), prompter.end, 12)
        assert said[row] == text_of(prompter, ids)
    assert len({*said}) > 1


def test_an_answer_ends_where_it_should(model, prefix, prompter):
    """The fourth token that is said to a first question is made the end symbol of a second run."""
    asked = prompter.question(ASKED[0])
    before = written(model, prefix[:1], asked, prompter.end, 8)
    cut = before.index(before[3])

    class Ends(Prompter):
        end = before[3]  # type: ignore[assignment]

        def question(self, text: str) -> list[int]:
            return asked

    said = Speaker(model, Ends(prompter.tokenizer)).say(prefix[:1], ASKED[:1])
    assert said == [text_of(prompter, before[:cut])]


def test_a_row_is_as_alone_whatever_stands_beside_it(prefix, prompter, speaker, model):
    """Six rows in batches of three, of all lengths, in no order."""
    rows, questions = [0, 1, 2, 3, 1, 0], [*ASKED, ASKED[3], ASKED[1]]
    together = speaker.say(prefix[rows], questions)
    alone = [speaker.say(prefix[row : row + 1], [question])[0]
             for row, question in zip(rows, questions, strict=True)]  # fmt: skip
    assert together == alone
    assert Speaker(model, prompter, rows=64).say(prefix[rows], questions) == alone
    turned = speaker.say(prefix[rows[::-1]], questions[::-1])
    assert turned == alone[::-1]


def test_a_sampled_row_has_its_own_seed(prefix, speaker):
    sampling = Sampling(max_tokens=8, temperature=1.0, seed=5)
    together = speaker.say(prefix, ASKED, sampling)
    for row, question in enumerate(ASKED):
        own = Sampling(max_tokens=8, temperature=1.0, seed=5 + row)
        assert speaker.say(prefix[row : row + 1], [question], own) == [together[row]]
    same_question = speaker.say(prefix[:1].expand(3, -1, -1), ASKED[:1] * 3, sampling)
    assert len({*same_question}) == 3


def test_one_beam_is_greedy(prefix, speaker):
    assert speaker.say(prefix, ASKED, GREEDY, beams=1) == speaker.say(prefix, ASKED)


LETTERS = "_<>abcdE"  # reserved symbols first, the end last
END = LETTERS.index("E")


class Letters(Tokenizer):
    """Of a few letters."""

    def __init__(self):
        pass

    def decode(self, ids) -> str:
        return "".join(LETTERS[id] for id in ids)


class Spelled(Prompter):
    """Questions are letters."""

    end = END  # type: ignore[assignment]
    opening = torch.tensor([1])  # type: ignore[assignment]

    def question(self, text: str) -> list[int]:
        return [LETTERS.index(letter) for letter in text]


@pytest.fixture
def few(vision_config, language_config, changed, with_opinions):
    """A model that knows eight symbols."""
    config = changed(language_config, vocab_size=len(LETTERS))

    def make(seed: int):
        model = VisionLanguageModel(VisionLanguageConfig(vision_config, config))
        return Speaker(with_opinions(model, seed, 0.4), Spelled(Letters()))

    return make


def score(model, prefix, asked, said) -> float:
    """Log probability, the end included, over length ** 0.7 without it."""
    total = sum(chances(model, prefix, asked + said[:i])[id].item() for i, id in enumerate(said))
    return total / max(1, sum(id != END for id in said)) ** 0.7


def by_hand(model, prefix, asked, most, beams) -> str:
    """Beam search over plain lists."""
    alive: list[tuple[float, list[int]]] = [(0.0, [])]
    for _ in range(most):
        grown = []
        for total, said in alive:
            if END in said:
                grown.append((total, said))
                continue
            following = chances(model, prefix, asked + said).tolist()
            grown += [(total + more, [*said, id]) for id, more in enumerate(following)]
        alive = sorted(grown, reverse=True)[:beams]
    best = max(alive, key=lambda one: one[0] / max(1, len([i for i in one[1] if i != END])) ** 0.7)
    return Letters().decode([id for id in best[1] if id != END]).strip()


@pytest.mark.parametrize("seed", range(3))
def test_beams_are_those_searched_by_hand(few, pictures, seed):
    speaker = few(seed)
    prefix = speaker.look(pictures)
    asked = ["ab", "c", "dd", "abc"]
    ids = [speaker.prompter.question(question) for question in asked]
    for beams in (2, 3, 5):
        found = speaker.say(prefix, asked, Sampling(max_tokens=4), beams=beams)
        expected = [by_hand(speaker.model, prefix[i : i + 1], ids[i], 4, beams) for i in range(4)]
        assert found == expected


@pytest.mark.parametrize("seed", range(2))
def test_many_beams_find_the_best_of_all_answers(few, pictures, seed):
    """Every answer of up to three letters is scored; 8 ** 2 beams lose none of them."""
    speaker = few(seed)
    prefix = speaker.look(pictures[:1])
    asked = speaker.prompter.question("ab")
    others = [id for id in range(len(LETTERS)) if id != END]
    answers = [[*said, END] for n in range(3) for said in product(others, repeat=n)]
    answers += [[*said] for said in product(others, repeat=3)]
    best = max(answers, key=lambda said: score(speaker.model, prefix, asked, [*said]))
    expected = Letters().decode([id for id in best if id != END]).strip()
    assert speaker.say(prefix, ["ab"], Sampling(max_tokens=3), beams=64) == [expected]


@pytest.mark.parametrize("rows", [1, 3, 64])
def test_beams_in_batches_are_as_alone(model, prefix, prompter, rows):
    speaker = Speaker(model, prompter, rows)
    sampling = Sampling(max_tokens=5)
    together = speaker.say(prefix, ASKED, sampling, beams=3)
    alone = [speaker.say(prefix[i : i + 1], ASKED[i : i + 1], sampling, beams=3)[0]
             for i in range(4)]  # fmt: skip
    assert together == alone


def test_rank_is_the_log_probability_of_whole_answers(model, prefix, prompter, speaker):
    candidates = ["yes", "no", "a dog on a red background", "two"]
    found = speaker.rank(prefix[1:2], ASKED[0], candidates)
    asked = prompter.question(ASKED[0])
    for candidate, value in zip(candidates, found.tolist(), strict=True):
        told = prompter.answer(candidate)
        naive = sum(chances(model, prefix[1:2], asked + told[:i])[id].item()
                    for i, id in enumerate(told))  # fmt: skip
        assert value == pytest.approx(naive, abs=1e-3)
    backwards = speaker.rank(prefix[1:2], ASKED[0], candidates[::-1])
    torch.testing.assert_close(backwards.flip(0), found)


def test_looking_in_parts_is_looking_at_once(model, pictures, prompter, speaker):
    with torch.no_grad():
        expected = model.prefix(pictures, prompter.opening)
    torch.testing.assert_close(speaker.look(pictures), expected)


def test_answers_end_with_the_context(model, prefix, prompter, speaker):
    """96 places: what the picture and the question leave is all that can be said."""
    room = 96 - prefix.shape[1] - len(prompter.question(ASKED[0]))
    ids = written(model, prefix[:1], prompter.question(ASKED[0]), prompter.end, room)
    said = speaker.say(prefix[:1], ASKED[:1], Sampling(max_tokens=500, temperature=0.0))
    assert said == [text_of(prompter, ids)]
    beams = speaker.say(prefix[:1], ASKED[:1], Sampling(max_tokens=500), beams=2)
    assert len(prompter.tokenizer.encode(beams[0])) <= room + 1


def test_a_prompt_beyond_the_context_is_refused(
    vision_config, language_config, changed, prompter, pictures
):
    config = changed(language_config, context=12)
    model = VisionLanguageModel(VisionLanguageConfig(vision_config, config)).eval()
    speaker = Speaker(model, prompter)
    prefix = speaker.look(pictures[:1])
    with pytest.raises(VermeilError, match="context of 12"):
        speaker.say(prefix, [ASKED[1]])


def test_loaded_by_its_folder_it_says_the_same(model, prompter, pictures, tmp_path):
    model.save_pretrained(tmp_path)
    prompter.tokenizer.save_pretrained(tmp_path)
    loaded, asks = generate.load(str(tmp_path))
    again, before = Speaker(loaded, asks), Speaker(model, prompter)
    assert again.say(again.look(pictures), ASKED) == before.say(before.look(pictures), ASKED)
    assert np.isfinite(again.look(pictures).numpy()).all()
