"""Prompts, seeds, guidance and negative prompts."""

import numpy as np
import pytest
import torch

from phase2_multimodal.text_to_image.draw import Artist, conditions, draw
from phase2_multimodal.text_to_image.prompts import Prompts
from phase2_multimodal.train_text_to_image import TextToImageTrainConfig
from shared.errors import VermeilError

ASKED = ["a dog on red", "a large apple at the top left with blue behind", "a key"]
QUICK = {"steps": 2, "solver": "dpm", "guidance_scale": 2.0}


@pytest.mark.parametrize("solver", ["euler", "heun", "dpm"])
def test_a_row_is_its_seed_s_and_its_prompt_s_in_any_batch(trained, read, solver):
    model, options = trained(), QUICK | {"solver": solver}
    together = draw(model, read, ASKED, seeds=[5, 6, 7], **options)
    alone = draw(model, read, ASKED[1:2], seeds=[6], **options)
    torch.testing.assert_close(together[1:2], alone, atol=1e-4, rtol=1e-4)
    assert together.abs().max() <= 1
    other_seed = draw(model, read, ASKED[1:2], seeds=[8], **options)
    assert not torch.allclose(alone, other_seed, atol=1e-2)


def test_a_negative_prompt_changes_the_picture_and_an_empty_one_does_not(trained, read):
    model = trained()
    plain = draw(model, read, ASKED[:1], seeds=[1], **QUICK)
    for empty in ("", "   "):
        assert torch.equal(
            draw(model, read, ASKED[:1], seeds=[1], negative_prompt=empty, **QUICK), plain
        )
    led_away = draw(model, read, ASKED[:1], seeds=[1], negative_prompt="a star", **QUICK)
    assert not torch.allclose(led_away, plain, atol=1e-4)


def test_an_empty_prompt_draws_what_guidance_leads_away_from(trained, read):
    """So its guidance has no effect, whatever the scale."""
    model = trained()
    wanted, unwanted = conditions(model, read, ["", ASKED[0]], "")
    assert torch.equal(wanted.tokens[0, 0], model.empty)
    assert wanted.mask is not None and wanted.mask.sum(dim=1).tolist()[0] == 1
    assert torch.equal(unwanted.tokens[1, 0], model.empty)
    little, much = (
        draw(model, read, [""], seeds=[0], steps=2, guidance_scale=scale) for scale in (1.0, 5.0)
    )
    torch.testing.assert_close(little, much, atol=1e-4, rtol=1e-4)


def test_guided_by_its_own_negative_a_prompt_is_drawn_plainly(trained, read):
    """unasked + scale * (asked - unasked), with both the same."""
    model = trained()
    plain = draw(model, read, ASKED[:1], seeds=[1], steps=2, guidance_scale=1.0)
    same = draw(
        model, read, ASKED[:1], seeds=[1], steps=2, guidance_scale=4.0, negative_prompt=ASKED[0]
    )
    torch.testing.assert_close(plain, same, atol=1e-4, rtol=1e-4)


def test_a_prompt_that_is_too_long_is_refused(trained, read):
    for bad in ({"asked": ["dog " * 1250]}, {"asked": ["a"], "negative_prompt": "dog " * 1250}):
        with pytest.raises(VermeilError, match=r"\(5,000 characters\), the model takes 60"):
            draw(trained(), read, bad.pop("asked"), seeds=[0], **bad)


def test_a_prompt_that_is_no_unicode_is_refused(trained, read):
    for reads in (read, Prompts.of(trained().config, None)):
        with pytest.raises(VermeilError, match="surrogate"):
            reads(["a dog \ud800"])


def test_prompts_in_other_scripts_and_spaces_are_read(read, words):
    rows = read(["собака на красном"[:6], "a  dog\n on red", "a dog on red"])
    assert torch.equal(rows[1], rows[2])
    assert rows[2].tolist()[: len(words.encode("a dog on red")) + 1] == [
        words.bos,
        *words.encode("a dog on red"),
    ]


def test_guidance_of_a_model_that_never_drew_unasked_is_refused(trained, read):
    model = trained(condition_dropout=0.0)
    with pytest.raises(VermeilError, match="never trained without"):
        draw(model, read, ASKED, seeds=[0, 1, 2], guidance_scale=2.0)
    assert draw(model, read, ASKED, seeds=[0, 1, 2], guidance_scale=1.0, steps=1).isfinite().all()


def test_the_artist_counts_seeds_through_its_batches(trained, read, monkeypatch):
    config = TextToImageTrainConfig(sampler_steps=1)
    whole = Artist(trained(), read, config, "fp32")(ASKED)
    assert whole.shape == (3, 8, 8, 3)
    monkeypatch.setattr("phase2_multimodal.text_to_image.draw.BATCH_SIZE", 2)
    parts = Artist(trained(), read, config, "fp32")(ASKED)
    assert np.abs(whole.astype(int) - parts).max() <= 1
