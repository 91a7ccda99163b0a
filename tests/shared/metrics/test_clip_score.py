"""Both CLIP scores and RefCLIPScore on vectors whose angles are known."""

import numpy as np
import pytest
import torch

from shared.errors import VermeilError
from shared.metrics.clip_score import clip_score, clip_score_torchmetrics, ref_clip_score

# Cosines 0.6, -0.8 and 0; lengths say nothing.
PICTURES = torch.tensor([[2.0, 0], [1, 0], [0, 5]])
TEXTS = torch.tensor([[3.0, 4], [-8, 6], [7, 0]])


def test_each_pair_by_hand():
    """2.5 x 0.6, and what points away is 0."""
    assert clip_score(PICTURES, TEXTS).tolist() == pytest.approx([1.5, 0, 0])
    assert clip_score(TEXTS.numpy(), PICTURES.numpy()).tolist() == pytest.approx([1.5, 0, 0])


def test_torchmetrics_clips_the_mean_and_not_each():
    """100 (0.6 - 0.8 + 0) / 3 is below 0; without the second pair 100 (0.6 + 0) / 2."""
    assert clip_score_torchmetrics(PICTURES, TEXTS) == 0
    assert clip_score_torchmetrics(PICTURES[::2], TEXTS[::2]) == pytest.approx(30)
    mixed = clip_score_torchmetrics(PICTURES[[0, 0, 1]], TEXTS[[0, 0, 1]])
    assert mixed == pytest.approx(100 * (0.6 + 0.6 - 0.8) / 3)


def test_the_best_reference_counts_by_harmonic_mean():
    """Scores 1.5, 0, 0; nearest references at cosines 1, 1 and below 0: 2 * 1.5 * 1 / 2.5."""
    references = [np.array([[-3.0, -4], [6, 8]]), TEXTS[1:2], -TEXTS[2:]]
    assert ref_clip_score(PICTURES, TEXTS, references).tolist() == pytest.approx([1.2, 0, 0])
    assert ref_clip_score(PICTURES[:1], TEXTS[:1], [-TEXTS[:1]]).item() == 0
    half = ref_clip_score(PICTURES[:1], TEXTS[:1], [torch.tensor([[1.0, 0]])])
    assert half.item() == pytest.approx(2 * 1.5 * 0.6 / 2.1)


@pytest.mark.full  # its import alone takes many seconds
def test_equal_to_torchmetrics():
    from torchmetrics.functional.multimodal import clip_score as peer

    class Model(torch.nn.Module):
        """Hands embeddings through: the pixels of a picture say which it is, so does a text."""

        config = None

        def get_image_features(self, pixels):
            return PICTURES[pixels[:, 0, 0, 0].long()]

        def get_text_features(self, ids, mask):
            return TEXTS[ids[:, 0]]

    class Processor:
        def __call__(self, text=None, images=None, **_):
            if images is not None:
                return {"pixel_values": torch.stack(list(images)).float()}
            ids = torch.tensor([[int(word)] for word in text])
            return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    order = [0, 2, 0, 1, 2]
    images = [torch.full((3, 4, 4), i, dtype=torch.uint8) for i in order]
    expected = peer(images, [*map(str, order)], lambda: (Model(), Processor()))
    assert clip_score_torchmetrics(PICTURES[order], TEXTS[order]) == pytest.approx(expected.item())


def test_what_makes_no_pairs_is_an_error():
    with pytest.raises(VermeilError, match=r"embeddings are \(3, 2\) and \(2, 2\)"):
        clip_score(PICTURES, TEXTS[:2])
    with pytest.raises(VermeilError, match="not finite"):
        clip_score_torchmetrics(PICTURES / 0, TEXTS)
    with pytest.raises(VermeilError, match="3 texts, but references of 1 pictures"):
        ref_clip_score(PICTURES, TEXTS, [TEXTS])
