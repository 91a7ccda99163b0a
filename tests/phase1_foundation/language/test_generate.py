"""Generation: the same tokens as a plain loop, as `transformers`' filters and as each row alone."""

import itertools

import pytest
import torch
from transformers import (
    RepetitionPenaltyLogitsProcessor,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from phase1_foundation.language import generate
from phase1_foundation.language.generate import (
    Chooser,
    Sampling,
    keep_top_k,
    keep_top_p,
    stream,
    stream_text,
)
from shared.errors import VermeilError

GREEDY = Sampling(max_tokens=20, temperature=0.0)
PROMPTS = ([1, 50, 60, 70], [1], [1, 99, 98, 97, 96, 95, 94, 93], [1, 300])
minus_infinity = float("-inf")


def answer(model, prompt: list[int], sampling: Sampling, eos=()) -> list[int]:
    """The tokens of one prompt alone."""
    return [token for [token] in stream(model, [prompt], sampling, eos) if token is not None]


def columns(steps) -> list[list[int]]:
    """The tokens of each row of a batch, without what comes after its end."""
    return [[t for t in row if t is not None] for row in zip(*steps, strict=True)]


# What comes out of the model.


@torch.no_grad()
def test_greedy_equals_a_loop_without_cache(model):
    tokens = list(PROMPTS[0])
    for _ in range(20):
        tokens.append(int(model(torch.tensor([tokens]))[0, -1].argmax()))
    assert answer(model, PROMPTS[0], GREEDY) == tokens[4:]
    assert len(set(tokens)) > 8, "a model that repeats itself shows nothing"


@pytest.mark.parametrize(
    "sampling",
    [
        GREEDY,
        Sampling(max_tokens=20, seed=5),
        Sampling(max_tokens=20, seed=6, temperature=0.7, top_k=40, top_p=0.9),
        Sampling(max_tokens=20, seed=7, repetition_penalty=1.5),
    ],
    ids=str,
)
def test_a_row_of_a_batch_says_what_it_would_say_alone(model, sampling):
    together = columns(stream(model, PROMPTS, sampling, eos=()))
    for row, prompt in enumerate(PROMPTS):
        alone = Sampling(**vars(sampling) | {"seed": sampling.seed + row})
        assert together[row] == answer(model, prompt, alone), f"row {row}"


def test_rows_end_one_by_one(model):
    whole = columns(stream(model, PROMPTS, GREEDY, eos=()))
    eos = [row[place] for row, place in zip(whole, (4, 14, 9, 12), strict=True)]
    ends = [min(row.index(e) for e in eos if e in row) for row in whole]
    assert len(set(ends)) > 2 and min(ends) > 0 and max(ends) < 19
    steps = list(stream(model, PROMPTS, GREEDY, eos))
    assert columns(steps) == [row[:end] for row, end in zip(whole, ends, strict=True)]
    for step, row in itertools.product(range(len(steps)), range(4)):
        assert (steps[step][row] is None) == (step >= ends[row])
    assert len(steps) == max(ends), "it went on after all had ended"


def test_seeds(model):
    first, again, other = (
        answer(model, PROMPTS[0], Sampling(max_tokens=20, seed=seed)) for seed in (1, 1, 2)
    )
    assert first == again != other
    torch.manual_seed(3)
    before = torch.get_rng_state()
    assert answer(model, PROMPTS[0], Sampling(max_tokens=20, seed=1)) == first
    assert torch.equal(torch.get_rng_state(), before), "it drew from the global generator"


@pytest.mark.parametrize(
    ("prompt", "asked", "given"), [(4, 7, 7), (60, 4, 4), (60, 99, 4), (63, 9, 1)]
)
def test_how_many_tokens(model, prompt, asked, given):
    """At most what was asked for, and exactly up to the context of 64."""
    for prompts in ([[1] * prompt], [[1] * prompt, [1, 2]]):
        steps = list(stream(model, prompts, Sampling(max_tokens=asked), eos=()))
        assert len(steps) == given


@pytest.mark.parametrize("length", [64, 65, 200])
def test_prompt_that_fills_the_context(model, length):
    with pytest.raises(VermeilError, match=f"{length} tokens long.*context is 64") as error:
        list(stream(model, [[1], [1] * length], GREEDY, eos=()))
    assert "at most 63 tokens" in error.value.hint


def test_empty_prompt(model, tokenizer):
    with pytest.raises(VermeilError, match="the prompt is empty"):
        list(stream(model, [[1, 2], []], GREEDY, eos=()))
    [text] = generate.generate(model, tokenizer, [""], GREEDY)
    assert text, "the symbol that begins a document is a prompt"


# How the next token is chosen.

LOGITS = torch.tensor([[2.0, 1.0, 0.0, -1.0, 1.5], [0.0, 3.0, 3.0, -2.0, 0.5]])


def test_top_k_by_hand():
    expected = torch.full((2, 5), minus_infinity)
    expected[0, [0, 4]], expected[1, [1, 2]] = LOGITS[0, [0, 4]], LOGITS[1, [1, 2]]
    assert torch.equal(keep_top_k(LOGITS, 2), expected)
    for all_of_them in (0, 5, 9):
        assert torch.equal(keep_top_k(LOGITS, all_of_them), LOGITS)


def test_top_p_by_hand():
    """Probabilities .5, .3, .15, .05: the fewest that reach p."""
    logits = torch.tensor([[0.3, 0.05, 0.5, 0.15]]).log()
    for p, kept in [
        (0.0, 1),
        (0.4, 1),
        (0.6, 2),
        (0.79, 2),
        (0.81, 3),
        (0.94, 3),
        (0.96, 4),
        (1, 4),
    ]:
        left = keep_top_p(logits, float(p))[0]
        assert (left > minus_infinity).tolist() == [kept > 1, kept > 3, True, kept > 2], p
        assert torch.equal(left[2:3], logits[0, 2:3])


@pytest.mark.parametrize("k", [1, 3, 50])
def test_top_k_equals_transformers(k):
    scores = torch.randn(4, 100)
    assert torch.equal(keep_top_k(scores, k), TopKLogitsWarper(k)(None, scores))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9, 0.99])
def test_top_p_equals_transformers(p):
    scores = 3 * torch.randn(4, 100)
    assert torch.equal(keep_top_p(scores, p), TopPLogitsWarper(p)(None, scores))


def chooser(sampling: Sampling, prompts=((0,),), vocab_size: int = 100) -> Chooser:
    return Chooser(sampling, prompts, vocab_size, torch.device("cpu"))


def test_repetition_penalty_equals_transformers():
    """Over what the prompt said, and over what came since."""
    torch.manual_seed(0)
    greedy = Sampling(temperature=0.0, repetition_penalty=1.8)
    prompts = [[3, 7, 7], [50, 3, 4]]
    choose = chooser(greedy, prompts)
    said = torch.tensor(prompts)
    changed = 0
    for _ in range(30):
        scores = 0.3 * torch.randn(100) + torch.randn(2, 100)
        scores[:, said.flatten()] += 2  # what was said is likely, and has to be talked out of it
        expected = RepetitionPenaltyLogitsProcessor(1.8)(said, scores).argmax(dim=-1)
        chosen = choose(scores)
        assert torch.equal(chosen, expected)
        changed += int((chosen != scores.argmax(dim=-1)).sum())
        said = torch.cat([said, chosen[:, None]], dim=1)
    assert changed > 5


def test_repetition_penalty_by_hand():
    """2.0 / 2 and -1 * 2: both less likely than before."""
    scores = torch.tensor([[2.0, 1.1, -1.0, -1.5]])
    assert chooser(Sampling(temperature=0.0, repetition_penalty=2.0), [[0]], 4)(scores).item() == 1
    assert chooser(Sampling(temperature=0.0, repetition_penalty=2.0), [[1]], 4)(scores).item() == 0
    scores = torch.tensor([[-9.0, -9.0, -1.0, -1.5]])
    assert chooser(Sampling(temperature=0.0, repetition_penalty=2.0), [[2]], 4)(scores).item() == 3


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_come_as_often_as_they_are_likely(temperature):
    logits, n = torch.tensor([0.0, 1.0, 2.0, minus_infinity, -1.0]), 4000
    choose = chooser(Sampling(temperature=temperature), [[0]] * n, 5)
    share = torch.bincount(choose(logits.expand(n, 5)), minlength=5) / n
    expected = (logits / temperature).softmax(dim=0)
    assert share[3] == 0
    assert (share - expected).abs().max() < 3 * (0.25 / n) ** 0.5


@pytest.mark.parametrize("temperature", [1e-320, 1e-39, 1e-12, 1e-5])
def test_the_coldest_temperatures_are_greedy(temperature):
    """And no division of theirs comes to anything but a number."""
    logits = 50 * torch.randn(64, 100, generator=torch.Generator().manual_seed(0))
    chosen = chooser(Sampling(temperature=temperature, top_p=0.9), [[0]] * 64)(logits)
    assert torch.equal(chosen, logits.argmax(dim=-1))


@pytest.mark.parametrize(("drawn", "token"), [(0.0, 1), (1 - 2**-24, 3)])
def test_the_smallest_and_the_largest_random_number(monkeypatch, drawn, token):
    """Neither brings up a token that is ruled out, nor one beyond the vocabulary."""
    monkeypatch.setattr(torch, "rand", lambda *_, **__: torch.tensor([drawn]))
    for scale in torch.linspace(0.1, 5, 200):
        logits = scale * torch.tensor([[0.0, 1.0, 2.0, 0.7, 0.0]])
        logits[0, [0, 4]] = minus_infinity
        assert chooser(Sampling(), [[0]], 5)(logits).item() == token


def test_temperature_zero_draws_nothing():
    choose = chooser(Sampling(temperature=0.0))
    before = choose.generators[0].get_state()
    assert choose(torch.arange(100.0)[None]).item() == 99
    assert torch.equal(choose.generators[0].get_state(), before)


def test_filters_come_after_the_temperature():
    """At temperature 9 the distribution is nearly flat, so that p = .5 keeps about half of it."""
    scores = torch.randn(1, 100)
    warm = {int(chooser(Sampling(temperature=9.0, top_p=0.5, seed=s))(scores)) for s in range(400)}
    kept = TopPLogitsWarper(0.5)(None, scores / 9)[0] > minus_infinity
    assert 35 < kept.sum() < 50
    assert warm <= set(kept.nonzero()[:, 0].tolist()) and len(warm) > 25


# Text.


@pytest.fixture
def recite(model, tokenizer, monkeypatch):
    """Shows rows of given tokens as if the model said them; returns pieces and unread steps."""

    def recite(*rows: list[int], stop: tuple[str, ...] = ()) -> tuple[list[list[str]], int]:
        steps = iter([list(step) for step in itertools.zip_longest(*rows)])
        monkeypatch.setattr(generate, "stream", lambda *_, **__: steps)
        prompts = ["x"] * len(rows)
        pieces = list(stream_text(model, tokenizer, prompts, Sampling(stop=stop)))
        return [list(row) for row in zip(*pieces, strict=True)], len(list(steps))

    return recite


def as_bytes(tokenizer, text: str) -> list[int]:
    """A text in byte tokens alone; their ids follow the reserved symbols."""
    ids = [len(tokenizer.special) + byte for byte in text.encode()]
    assert tokenizer.piece(ids[0]) == f"<0x{text.encode()[0]:02X}>"
    return ids


def test_pieces_join_to_the_whole_text(model, tokenizer):
    sampling = Sampling(max_tokens=50, seed=3)
    streamed = list(stream_text(model, tokenizer, ["She had", "Whales"], sampling))
    assert len(streamed) > 20
    joined = ["".join(texts) for texts in zip(*streamed, strict=True)]
    assert joined == generate.generate(model, tokenizer, ["She had", "Whales"], sampling)
    ids = answer(model, [1, *tokenizer.encode("She had")], sampling, eos=(1, 2))
    assert joined[0] == tokenizer.decode(ids)


@pytest.mark.parametrize("text", ["naïve 三 🐳 end", "👩\u200d👧", "▁ and \ue000b", "\ufffd!"])
def test_no_character_is_split(recite, tokenizer, text):
    escaped = text.replace("\ue000", "\ue000b").replace("▁", "\ue000a")
    [shown], _ = recite(as_bytes(tokenizer, escaped))
    assert "".join(shown) == text
    for end in range(len(shown)):
        assert text.startswith("".join(shown[:end])), "what was shown had to be taken back"


def test_broken_bytes_are_shown_in_the_end(recite, tokenizer):
    [shown], _ = recite(as_bytes(tokenizer, "a🐳")[:-1])
    assert shown == ["a", "", "", "", "\ufffd" * 3]


@pytest.mark.parametrize(
    ("text", "stop", "left"),
    [
        ("one. Two. Three", (". Two",), "one"),
        ("one. Two. Three", (". Tree", "hree"), "one. Two. T"),
        ("one. Two. Three", ("Three", ". T"), "one"),
        ("one. Two. Three", ("Two", ". Two"), "one"),
        ("aaab", ("aab",), "a"),
        ("nothing of it", ("xyz", "it's"), "nothing of it"),
        ("a naïve 🐳 idea", ("ve 🐳",), "a naï"),
    ],
)
def test_stop_strings(recite, tokenizer, text, stop, left):
    """Whether they span many tokens or one; nothing of them is shown, not for a moment."""
    for ids in (as_bytes(tokenizer, text), tokenizer.encode(text)):
        [shown], _ = recite(ids, stop=stop)
        assert "".join(shown) == left
        for end in range(len(shown)):
            assert left.startswith("".join(shown[:end]))


def test_a_stop_string_ends_the_work(recite, tokenizer):
    long = as_bytes(tokenizer, "stop here, and then much more text that nobody reads")
    (stopped, ended), unread = recite(long, as_bytes(tokenizer, "ends"), stop=("here",))
    assert ("".join(stopped), "".join(ended)) == ("stop ", "ends")
    assert unread > 30, "it went on after every row was done"


def test_the_document_s_end_is_not_shown(model, tokenizer, monkeypatch):
    seen = {}

    def spy(model, prompts, sampling, eos):
        seen.update(prompts=prompts, eos=eos)
        yield [None]

    monkeypatch.setattr(generate, "stream", spy)
    assert generate.generate(model, tokenizer, ["Call me"], GREEDY) == [""]
    assert tokenizer.eos in seen["eos"] and tokenizer.bos in seen["eos"]
    assert seen["prompts"] == [[tokenizer.bos, *tokenizer.encode("Call me")]]
