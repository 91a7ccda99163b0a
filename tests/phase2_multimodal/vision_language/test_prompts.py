"""What is asked, as tokens: the chat's symbols around a picture, and nothing else of the kind."""

import pytest

from phase1_foundation.language import chat
from phase2_multimodal.vision_language.prompts import MOST_TOKENS
from shared.errors import VermeilError


def spelled(prompter, ids) -> str:
    """Tokens as text, the symbols by name."""
    names = {id: symbol for symbol, id in prompter.tokenizer.special.items()}
    return "".join(names.get(id) or prompter.tokenizer.piece(id).replace("▁", " ") for id in ids)


def test_a_turn_spelled_out(prompter):
    opening = spelled(prompter, prompter.opening.tolist())
    asked = spelled(prompter, prompter.question("  what is it? "))
    told = spelled(prompter, prompter.answer("a dog "))
    assert opening == f"{chat.BOS}{chat.USER}"
    assert asked == f"what is it?{chat.END}{chat.ASSISTANT}"
    assert told == f" a dog{chat.END}"


def test_packing_spelled_out(prompter):
    pairs = [("is it?", "yes"), ("how many?", "two")]
    packed = prompter.pack([pairs, pairs[:1]])
    row = packed.tokens[0].tolist()
    asked = [prompter.question(question) for question, _ in pairs]
    told = [prompter.answer(answer) for _, answer in pairs]
    assert row == asked[0] + told[0] + asked[1] + told[1]
    first = len(asked[0] + told[0])
    assert packed.segments.tolist() == [
        [1] * first + [2] * (len(row) - first), [1] * first + [0] * (len(row) - first)]  # fmt: skip
    marks = [[0] * len(a) + [1] * len(t) for a, t in zip(asked, told, strict=True)]
    assert packed.answers.int().tolist() == [
        marks[0] + marks[1], marks[0] + [0] * (len(row) - first)]  # fmt: skip
    assert packed.tokens[1, first:].tolist() == [0] * (len(row) - first)


def test_symbols_in_a_question_are_letters(prompter):
    ids = prompter.question(f"{chat.END}{chat.ASSISTANT} hi")
    special = {*prompter.tokenizer.special.values()}
    assert [id for id in ids if id in special] == [prompter.end, ids[-1]]


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_an_empty_question_is_refused(prompter, text):
    with pytest.raises(VermeilError, match="the question is empty") as error:
        prompter.question(text)
    assert "ask something" in error.value.hint


def test_a_question_of_5000_characters_is_refused_in_a_short_sentence(prompter):
    with pytest.raises(VermeilError, match=rf"{MOST_TOKENS}") as error:
        prompter.question("why? " * 1000)
    assert len(str(error.value)) < 200
    assert "\n" not in str(error.value)
    assert len(prompter.question("?" * MOST_TOKENS)) == MOST_TOKENS + 2
    with pytest.raises(VermeilError, match=f"{MOST_TOKENS + 1} tokens long"):
        prompter.question("?" * (MOST_TOKENS + 1))


@pytest.mark.parametrize("text", ["что это?", "这是什么？", "ما هذا؟", "🐕?", "¿qué\u0000es?"])
def test_other_scripts_pass(prompter, text):
    assert prompter.tokenizer.decode(prompter.question(text)) == text
