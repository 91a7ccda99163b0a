"""Reference curves: what counts as normal."""

import json

import pytest

from phase1_foundation.train_lm import PRESETS
from shared import reference
from shared.reference import Reference, load, recipe, record
from shared.train_config import TrainConfig

EXPECTED = Reference([0, 10, 20], [7.0, 6.0, 5.0], [6.8, 5.8, 4.8], [7.2, 6.2, 5.2], 3,
                     "2026-11-21", "a machine", "abc")  # fmt: skip


def test_inside_and_outside_are_told_apart():
    good = EXPECTED.verdict([0, 10, 20], [7.1, 6.0, 4.9])
    assert good["normal"]
    assert "4.900 at step 20 lies inside the reference band 4.800-5.200" in good["text"]
    bad = EXPECTED.verdict([0, 10, 20], [7.1, 6.3, 5.0])
    assert not bad["normal"]
    assert "6.300 at step 10 lies outside" in bad["text"]


def test_a_loss_too_low_is_not_normal_either():
    assert not EXPECTED.verdict([20], [4.0])["normal"]  # the answer leaked into the question


def test_the_band_holds_every_run_and_a_tolerance(tmp_path):
    for name, losses in {"a": (5.0, 4.0), "b": (5.2, 3.9), "c": (5.1, 4.1)}.items():
        (tmp_path / name).mkdir()
        lines = [{"step": s, "validation_loss": v} for s, v in zip((0, 10), losses, strict=True)]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (tmp_path / name / "metrics.jsonl").write_text(text)
    path = tmp_path / "lm-tiny.json"
    made = record([tmp_path / n for n in "abc"], TrainConfig(), path)
    assert made.middle == [5.1, 4.0]
    assert made.low == pytest.approx([5.0 * 0.98, 3.9 * 0.98])
    assert made.high == pytest.approx([5.2 * 1.02, 4.1 * 1.02])
    assert load(path, TrainConfig()) == made


def test_another_recipe_has_no_reference_another_seed_has(tmp_path):
    path = tmp_path / "lm-tiny.json"
    path.write_text(json.dumps(vars(EXPECTED) | {"recipe": recipe(TrainConfig())}))
    assert load(path, TrainConfig(seed=7, threads=3, trackers=())) is not None
    assert load(path, TrainConfig(learning_rate=0.5)) is None
    assert load(tmp_path / "none.json", TrainConfig()) is None


@pytest.mark.parametrize("preset", ["smoke", "tiny"])
def test_the_shipped_references_belong_to_the_shipped_presets(preset):
    import phase1_foundation.train_lm as verb

    path = reference.path_of(verb.__file__, "lm", preset)
    expected = load(path, PRESETS[preset].config)
    assert expected is not None, "the recipe changed: make reference STEP=lm PRESET=" + preset
    assert expected.steps[-1] == PRESETS[preset].config.steps
