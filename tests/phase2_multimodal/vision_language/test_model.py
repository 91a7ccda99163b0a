"""Who may look at whom, what is learned, and where what is new begins."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from phase1_foundation.language.model import LanguageModelConfig
from phase2_multimodal.vision_language.model import (
    PixelShuffle,
    Resampler,
    VisionLanguageConfig,
    VisionLanguageModel,
    joined,
    lengths_of,
    mask_of,
    positions_of,
)
from phase2_multimodal.vision_language.prompts import CAPTION, Packed
from shared.errors import VermeilError

PAIRS = [("what is it?", "a dog"), ("how many are there?", "two"),
         (CAPTION, "a cat on a red ground"), ("is there a key?", "no")]  # fmt: skip


def test_the_mask_by_hand():
    """Two places of the picture, a text of two, one of one, padding."""
    segments = torch.tensor([[1, 1, 2, 0]])
    expected = [
        [1, 1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 0, 0, 1, 0],
        [1, 1, 0, 0, 0, 1],
    ]
    assert mask_of(segments, 2)[0, 0].int().tolist() == expected


def test_positions_by_hand():
    segments = torch.tensor([[1, 1, 1, 2, 0, 0], [1, 2, 2, 2, 3, 3]])
    assert positions_of(segments, 2)[:, 0].tolist() == [  # padding stays where it is, however long
        [0, 1, 2, 3, 4, 2, 2, 2], [0, 1, 2, 2, 3, 4, 2, 3]]  # fmt: skip


def test_what_depends_on_what(model, prompter):
    """By gradients: the prefix on all of itself, words on the prefix and their own past."""
    packed = prompter.pack([[PAIRS[0], PAIRS[1]]])
    p, t = 3, packed.tokens.shape[1]
    x = torch.randn(1, p + t, 24, requires_grad=True)
    states = model.language.hidden_states(
        x, positions=positions_of(packed.segments, p), mask=mask_of(packed.segments, p)
    )
    depends = torch.stack(
        [torch.autograd.grad(s.sin().sum(), x, retain_graph=True)[0][0].abs().sum(1) > 0
         for s in states[0]]
    )  # fmt: skip
    assert torch.equal(depends, mask_of(packed.segments, p)[0, 0])
    assert depends[:p, :p].all()


@torch.no_grad()
def test_packed_texts_are_each_as_alone(model, prefix, prompter):
    rows = [PAIRS, PAIRS[2:3], PAIRS[1:], PAIRS[:2]]
    packed = prompter.pack(rows)
    states = model.hidden_states(prefix, packed.tokens, packed.segments)
    for row, pairs in enumerate(rows):
        for number, pair in enumerate(pairs, 1):
            own = packed.segments[row] == number
            alone = prompter.pack([[pair]])
            assert torch.equal(packed.tokens[row][own], alone.tokens[0])
            expected = model.hidden_states(prefix[row : row + 1], alone.tokens, alone.segments)[0]
            assert (states[row][own] - expected).abs().max() < 1e-5


@torch.no_grad()
def test_a_text_cannot_see_its_neighbours(model, prefix, prompter):
    packed = prompter.pack([PAIRS])
    tokens = packed.tokens.clone()
    second = packed.segments[0] == 2
    tokens[0, second] = (tokens[0, second] + 7) % 500
    before, after = (
        model.hidden_states(prefix[:1], ids, packed.segments)[0] for ids in (packed.tokens, tokens)
    )
    assert torch.equal(before[~second], after[~second])
    assert (before[second] - after[second]).abs().amin(0).max() > 0.1


@torch.no_grad()
def test_the_picture_changes_what_is_said(model, pictures, prompter):
    packed = prompter.pack([PAIRS])

    def logits(picture):
        one = model.prefix(picture, prompter.opening)
        return model.language.head(model.hidden_states(one, packed.tokens, packed.segments))

    first, other = logits(pictures[:1]), logits(pictures[1:2])
    assert ((first - other).abs().amax(-1) > 1e-2).all(), "every word's"
    assert torch.equal(first, logits(pictures[:1]))


def naive_loss(model, prefix, rows, prompter, power=1.0) -> float:
    """Each text alone, token by token: the mean of what answers' tokens cost."""
    costs, shares = [], []
    for one, pairs in zip(prefix, rows, strict=True):
        for question, answer in pairs:
            asked, told = prompter.question(question), prompter.answer(answer)
            ids = torch.tensor([asked + told])
            states = model.hidden_states(one[None], ids, torch.ones_like(ids))
            chances = model.language.head(states)[0].log_softmax(-1)
            costs += [-chances[len(asked) + i - 1, id].item() for i, id in enumerate(told)]
            shares += [len(told) ** power / len(told)] * len(told)
    return float(np.average(costs, weights=shares))


@torch.no_grad()
@pytest.mark.parametrize("power", [1.0, 0.5, 0.0])
def test_the_loss_is_that_of_answers_alone(model, prefix, prompter, power):
    rows = [PAIRS, PAIRS[2:3], PAIRS[1:], PAIRS[:2]]
    packed = prompter.pack(rows)
    loss = model.loss(prefix, *packed, power).item()
    assert loss == pytest.approx(naive_loss(model, prefix, rows, prompter, power), abs=1e-4)


def test_lengths_by_hand():
    segments = torch.tensor([[1, 1, 1, 2, 2, 2, 2, 0], [1, 1, 1, 1, 1, 0, 0, 0]])
    answers = torch.tensor([[0, 1, 1, 0, 1, 1, 1, 0], [0, 0, 0, 0, 1, 0, 0, 0]]).bool()
    expected = [[2, 2, 2, 3, 3, 3, 3, 0], [1, 1, 1, 1, 1, 0, 0, 0]]
    assert lengths_of(segments, answers).tolist() == expected


def test_a_picture_names_its_words_by_hand(model):
    """Two embeddings, each sure of its own word: half of a picture's say is each one's."""
    table = model.language.embed.weight
    with torch.no_grad():
        table.copy_(
            F.normalize(torch.randn(table.shape, generator=torch.Generator().manual_seed(0)), dim=1)
        )
    seen = (400 * table[[5, 9]]).detach()[None].requires_grad_()  # (1, 2, D)
    tokens = torch.tensor([[5, 9, 7]])

    def cost(*words: float) -> torch.Tensor:
        return model.naming_loss(seen, tokens, torch.tensor([words], dtype=torch.float32))

    assert cost(1, 0, 0).item() == pytest.approx(math.log(2), abs=1e-4)
    assert cost(3, 1, 0).item() == pytest.approx(math.log(2), abs=1e-4)
    assert cost(0, 0, 1) > 20, "nothing there says 7"
    half = cost(1, 0, 1).item()
    assert half == pytest.approx((cost(1, 0, 0).item() + cost(0, 0, 1).item()) / 2, rel=1e-5)
    assert cost(0, 0, 0).item() == 0, "a batch without captions"
    cost(0, 0, 1).backward()
    assert table.grad is None, "what words are told apart by stays as it is"
    assert seen.grad.abs().max() > 0


def test_question_tokens_are_no_targets(model, prefix, prompter):
    """The head's gradient by hand: chances minus targets, of answers alone."""
    packed = prompter.pack([PAIRS[:1]])
    head = model.language.head.weight.detach().clone()
    model.language.head.weight = torch.nn.Parameter(head)  # apart from the embeddings
    model.loss(prefix[:1], *packed).backward()
    told = prompter.answer(PAIRS[0][1])
    states = model.hidden_states(prefix[:1], *packed[:2])[0, :-1][packed.answers[0, 1:]]
    expected = model.language.head(states).softmax(-1).T @ states
    for state, id in zip(states, told, strict=True):
        expected[id] -= state
    found = model.language.head.weight.grad
    torch.testing.assert_close(found, expected / len(told), atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("changes", [{}, {"shuffle": 1}, {"shuffle": 4},
                                     {"projector": "resampler", "queries": 5}])  # fmt: skip
def test_shapes(make_model, pictures, prompter, changes):
    model = make_model(**changes)
    tokens = {1: 16, 2: 4, 4: 1}[changes.get("shuffle", 2)] if "queries" not in changes else 5
    assert model.config.picture_tokens == tokens
    assert model.prefix(pictures, prompter.opening).shape == (4, 2 + tokens, 24)


def test_pixel_shuffle_puts_neighbours_side_by_side(make_model):
    """Patches numbered row by row: those of a 2 x 2 square share an embedding, nothing is lost."""
    projector = make_model().projector
    assert isinstance(projector, PixelShuffle)
    projector.norm = torch.nn.Identity()
    numbered = torch.arange(16.0)[None, :, None] + 100 * torch.arange(16.0)
    found = projector.patches(numbered)[0]
    squares = [{0, 1, 4, 5}, {2, 3, 6, 7}, {8, 9, 12, 13}, {10, 11, 14, 15}]
    for row, square in zip(found, squares, strict=True):
        assert {int(value) % 100 for value in row} == square
        assert len({*row.tolist()}) == 64


@torch.no_grad()
def test_a_resampler_looks_at_all_patches_in_any_order(make_model):
    resampler = make_model(projector="resampler", queries=3).projector
    assert isinstance(resampler, Resampler)
    patches = torch.randn(2, 16, 16)
    found, turned = resampler(patches), resampler(patches.flip(1))
    torch.testing.assert_close(found, turned, atol=1e-5, rtol=0)
    for place in (0, 15):
        other = patches.clone()
        other[:, place] = torch.randn(2, 16)
        assert (resampler(other) - found).abs().amax((1, 2)).min() > 1e-3
    assert (found[:, 0] - found[:, 1]).abs().max() > 1e-2


def test_patches_that_cannot_be_shuffled(vision_config, language_config):
    with pytest.raises(VermeilError, match="4 patches a side cannot be taken 3 at a time") as error:
        VisionLanguageConfig(vision_config, language_config, shuffle=3)
    assert "divides 4" in error.value.hint


def test_joined_takes_the_verbs_choices(vision_config, language_config):
    from phase2_multimodal.train_caption import CaptionConfig

    chosen = CaptionConfig(projector="resampler", queries=7)
    config = joined(vision_config, language_config, chosen)
    assert (config.projector, config.queries, config.shuffle) == ("resampler", 7, 2)


@torch.no_grad()
def test_symbols_begin_like_newlines(make_model, prompter, pictures):
    model = make_model(projector="resampler")
    table = model.language.embed.weight
    before = table.clone()
    model.prepare(prompter.like_newlines, [])
    [line] = prompter.tokenizer.encode("\n")
    assert {*prompter.like_newlines.values()} == {line}
    assert len(prompter.like_newlines) == 3
    changed = {int(i) for i in (table != before).any(1).nonzero()}
    assert changed == {*prompter.like_newlines}
    assert all(torch.equal(table[id], before[line]) for id in changed)


def captioned(pictures, texts, prompter):
    """As Lessons.captioned gives them."""
    packed = prompter.pack([[(CAPTION, text)] for text in texts])
    return pictures, packed.tokens, packed.answers & (packed.tokens != prompter.end)


@torch.no_grad()
def test_the_projector_begins_as_least_squares(model, prompter, pictures):
    """numpy's lstsq, with the ridge as further rows; then everything as long as words are."""
    texts = ["a dog on red", "two cats on a blue background", "a key", "a boat"]
    batches = [captioned(pictures[:2], texts[:2], prompter),
               captioned(pictures[2:], texts[2:], prompter)]  # fmt: skip
    model.fit_projector(batches)
    embed = model.language.embed.weight.double().numpy()
    said = np.stack([embed[prompter.tokenizer.encode(f" {t}")].mean(0) for t in texts])
    seen = model.projector.patches(model.vision.eval().features(pictures)[:, 1:]).double().numpy()
    x = (seen - seen.mean((0, 1))).reshape(-1, seen.shape[2])
    y = np.repeat(said - said.mean(0), 4, axis=0)
    ridge = 0.03 * (x**2).sum(0).mean()
    columns = x.shape[1]
    weight = np.linalg.lstsq(
        np.vstack([x, ridge**0.5 * np.eye(columns)]),
        np.vstack([y, np.zeros((columns, y.shape[1]))]), rcond=None,
    )[0]  # fmt: skip
    weight *= np.linalg.norm(embed, axis=1).mean() / np.linalg.norm(x @ weight, axis=1).mean()
    np.testing.assert_allclose(model.projector.linear.weight.numpy(), weight.T, atol=1e-3)
    expected = (seen - seen.mean((0, 1))) @ weight + said.mean(0)
    projected = model.projector.linear(torch.from_numpy(seen).float()).numpy()
    np.testing.assert_allclose(projected, expected, atol=1e-3)


@torch.no_grad()
def test_pictures_begin_as_the_words_of_their_captions(vision_config, language_config, prompter):
    """Colours, and a word for each: every patch is nearest to the word of its colour."""
    torch.manual_seed(0)
    model = VisionLanguageModel(VisionLanguageConfig(vision_config, language_config))
    words = ["red", "green", "blue", "dog", "cat"]
    colours = torch.randn(5, 3, 1, 1)
    pictures = colours.expand(5, 3, 16, 16) + 0.02 * torch.randn(5, 3, 16, 16)
    model.prepare(prompter.like_newlines, [captioned(pictures, words, prompter)])
    assert model.training, "training goes on"
    model.eval()
    projected = model.projector(model.vision.features(pictures)[:, 1:])
    table = model.language.embed.weight
    of_words = torch.stack([table[prompter.tokenizer.encode(f" {w}")].mean(0) for w in words])
    centre = of_words.mean(0)
    near = F.normalize(projected - centre, dim=-1) @ F.normalize(of_words - centre, dim=-1).T
    assert torch.equal(near.argmax(-1), torch.arange(5)[:, None].expand(5, 4))


@pytest.mark.parametrize("weight", [0.0, 1.0])
@torch.no_grad()
def test_captions_that_are_all_the_same_do_no_harm(model, prompter, pictures, weight):
    """Nothing can be learned from them, and every word may weigh nothing."""
    some, tokens, real = captioned(pictures, ["a dog on red"] * 4, prompter)
    model.prepare(prompter.like_newlines, [(some, tokens, real * weight)])
    assert all(p.isfinite().all() for p in model.parameters())


def test_saved_and_loaded_strictly(make_model, pictures, prompter, tmp_path):
    from safetensors.torch import load_file, save_file

    for changes in ({}, {"projector": "resampler", "queries": 3}):
        model = make_model(**changes)
        model.save_pretrained(tmp_path)
        loaded = VisionLanguageModel.from_pretrained(tmp_path)
        assert loaded.config == model.config
        assert isinstance(loaded.config.language, LanguageModelConfig)
        with torch.no_grad():
            first, again = (m.prefix(pictures, prompter.opening) for m in (model, loaded))
            packed = prompter.pack([PAIRS[:1]] * 4)
            assert torch.equal(first, again)
            assert torch.equal(model.loss(first, *packed), loaded.loss(again, *packed))
    path = tmp_path / "model.safetensors"
    weights = load_file(path)
    save_file(weights | {"projector.extra": torch.zeros(1)}, path)
    with pytest.raises(VermeilError, match=r"projector\.extra"):
        VisionLanguageModel.from_pretrained(tmp_path)
    del weights["projector.out.bias"]
    save_file(weights, path)
    with pytest.raises(VermeilError, match=r"projector\.out\.bias"):
        VisionLanguageModel.from_pretrained(tmp_path)


def test_packed_is_what_the_model_takes(model, prefix, prompter):
    assert Packed._fields == ("tokens", "segments", "answers")
    assert model.loss(prefix, *prompter.pack([PAIRS] * 4)).isfinite()
