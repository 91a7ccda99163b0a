"""Retrieval and naming, with towers that know all and towers that know nothing."""

import pytest
import torch

from data.scene_concepts import with_article
from data.scenes import GROUNDS, SceneConfig, Scenes
from phase2_multimodal.alignment.evaluate import (
    Towers,
    distinct,
    found_texts,
    measure,
    naming,
    retrieval,
)
from phase2_multimodal.alignment.model import AlignmentConfig, AlignmentModel
from phase2_multimodal.alignment.objective import encode
from phase2_multimodal.train_alignment import AlignmentTrainConfig

COMMON = {"step": "alignment", "artifact": "a", "preset": "smoke"}


@pytest.fixture
def towers(vision_config, language_config, lexicon, with_opinions) -> Towers:
    config = AlignmentConfig(vision_config, language_config, 8)
    return Towers(with_opinions(AlignmentModel(config)), lexicon)


class Knowing(Towers):
    """Towers that put pictures and words where a table says: `at` maps both to a place."""

    def __init__(self, towers: Towers, at: dict, places: int):
        super().__init__(towers.model, towers.tokenizer)
        self.at, self.axes = at, torch.eye(places)

    def pictures(self, pixels):
        return self.axes[[self.at[picture.tobytes()] for picture in pixels]]

    def texts(self, texts):
        return self.axes[[self.at[text] for text in texts]]


@torch.no_grad()
def test_towers_embed_whole_lists_as_the_model_does(towers, small_scenes, lexicon):
    texts = [f"{'a ' * (i % 7)}dog {i}" for i in range(130)]
    expected = torch.cat([towers.model.embed_texts(*encode(lexicon, [text])) for text in texts])
    torch.testing.assert_close(towers.texts(texts), expected, atol=1e-6, rtol=0)
    pixels = [small_scenes.render(small_scenes.scene("test", i % 20)) for i in range(70)]
    seen = towers.pictures(pixels)
    assert seen.shape == (70, 8)
    torch.testing.assert_close(seen[:10], seen[20:30])


def test_talks_that_share_a_caption_are_told_apart_by_leaving_the_later_out(talk):
    talks = [talk(0, "a", "b"), talk(1, "c"), talk(2, "b", "d"), talk(3, "d"), talk(4, "e")]
    assert [t.pixels[0, 0, 0] for t in distinct(talks, 9)] == [0, 1, 3, 4]
    assert [t.pixels[0, 0, 0] for t in distinct(talks, 2)] == [0, 1]


def test_retrieval_rows(towers, talk):
    talks = [talk(shade, f"shade {shade}") for shade in range(20)]
    right = {t.pixels.tobytes(): i for i, t in enumerate(talks)}
    knowing = Knowing(towers, right | {t.captions[0]: i for i, t in enumerate(talks)}, 20)
    rows = retrieval(knowing, talks, 16, "test", COMMON)
    assert [row.metric for row in rows] == [
        f"{way}_recall_at_{k}" for way in ("image_to_text", "text_to_image") for k in (1, 5, 10)
    ]
    for row, chance in zip(rows, (1 / 20, 5 / 20, 10 / 20) * 2, strict=True):
        assert (row.value, row.n, row.split) == (1.0, 20, "test")
        assert row.low < 1.0 == row.high
        assert row.baselines == {"random": pytest.approx(chance)}


def test_retrieval_both_ways_by_hand(towers, talk):
    """Text 1 lies where picture 0 is: picture 1 finds nothing, text 1 finds picture 0."""
    talks = [talk(shade, f"shade {shade}") for shade in range(20)]
    at = {t.pixels.tobytes(): i for i, t in enumerate(talks)}
    at |= {t.captions[0]: i for i, t in enumerate(talks)} | {"shade 1": 0}
    rows = {
        row.metric: row.value for row in retrieval(Knowing(towers, at, 20), talks, 16, "", COMMON)
    }
    assert rows["image_to_text_recall_at_1"] <= 18 / 20  # a tie does not count as found
    assert rows["text_to_image_recall_at_1"] == 19 / 20


def test_naming_takes_the_mean_over_the_grounds(towers):
    """Places by concept: what every prompt of a thing says is where its pictures lie."""
    scenes = Scenes(config=SceneConfig(size=16, test=40))
    single = [s for s in scenes.scenes("test") if len(s.sprites) == 1]
    names = scenes.names
    at = {f"{with_article(n)} on {with_article(g)} background": names.index(n)
          for n in names for g in GROUNDS}  # fmt: skip
    at |= {scenes.render(s).tobytes(): names.index(s.sprites[0].concept) for s in single}
    row = naming(Knowing(towers, at, 64), scenes, 100, COMMON)
    assert (row.metric, row.value, row.n) == ("zero_shot_accuracy", 1.0, len(single))
    assert row.baselines == {"random": 1 / 64}


def test_found_texts_shows_failures(towers, talk):
    talks = [talk(shade, f"shade {shade}") for shade in range(6)]
    at = {t.pixels.tobytes(): i for i, t in enumerate(talks)}
    at |= {t.captions[0]: i for i, t in enumerate(talks)}
    at[talks[2].pixels.tobytes()] = 4
    shown = str(found_texts(Knowing(towers, at, 6), talks))
    assert "shade 4 (wrong, true: shade 2)" in shown
    assert shown.count("(right)") == 5


def test_measure_reports_every_offline_split(towers, small_scenes):
    config = AlignmentTrainConfig(size=16, pictures=16)
    found = measure(towers.model, towers.tokenizer, small_scenes, config, artifact="a", preset="x")
    assert [row.split for row in found.rows if row.metric == "image_to_text_recall_at_1"] == [
        "test", "pairs", "style", "unknown"]  # fmt: skip
    for row in found.rows:
        assert row.n > 0
        assert 0 <= row.low <= row.value <= row.high <= 1
        assert row.baselines["random"] > 0
    assert len(found.exhibits) == 1
