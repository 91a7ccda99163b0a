"""A text is heard only when there is one, and at first not even then."""

import pytest
import torch

from phase1_foundation.diffusion.model import Condition
from phase2_multimodal.text_to_image.listening import listening


@pytest.mark.parametrize("kind", ["unet", "dit"])
def test_without_a_text_and_at_first_with_any_nothing_changes(painter, kind):
    x = torch.randn(2, 3, 8, 8)
    null = torch.zeros(2, 1, 16)
    vector = torch.randn(2, 16)
    before = painter(kind).network(x, vector=vector, tokens=null, mask=None)
    model = listening(painter(kind))
    text = Condition(torch.randn(2, 5, 16), torch.ones(2, 5, dtype=torch.bool))
    for said in (None, text):
        after = model.network(x, vector=vector, tokens=null, mask=None, text=said)
        assert torch.equal(after, before)
    labels = torch.tensor([0, 1])
    assert torch.equal(
        model.draw(model.condition(labels), seeds=[3, 4], steps=2),
        painter(kind).draw(painter(kind).condition(labels), seeds=[3, 4], steps=2),
    )
