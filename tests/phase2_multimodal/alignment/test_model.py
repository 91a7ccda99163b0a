"""CLIP's losses by hand and over processes, its towers, and where its projections begin."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from phase2_multimodal.alignment.model import (
    AlignmentConfig,
    AlignmentModel,
    info_nce,
    sigmoid_loss,
)
from phase2_multimodal.alignment.objective import encode
from shared.errors import VermeilError

ROOT = Path(__file__).resolve().parents[3]
TEXTS = ("a dog on red", "two big cats on a blue background", "a key", "three boats on green")


@pytest.fixture
def make(vision_config, language_config, with_opinions):
    def made(**changes) -> AlignmentModel:
        config = AlignmentConfig(vision_config, language_config, **{"dim": 8, **changes})
        return with_opinions(AlignmentModel(config))

    return made


def test_info_nce_by_hand():
    """Two pairs, each likelier than the wrong one by a factor of 3 (rows) and 2 (columns)."""
    logits = torch.tensor([[np.log(3.0), 0.0], [np.log(1.5), np.log(4.5)]], dtype=torch.float32)
    rows = -np.log(3 / 4) - np.log(4.5 / 6)
    columns = -np.log(3 / 4.5) - np.log(4.5 / 5.5)
    assert info_nce(logits).item() == pytest.approx((rows + columns) / 4)


def test_losses_are_those_of_a_naive_loop():
    logits = torch.randn(5, 5, generator=torch.Generator().manual_seed(0)) * 3
    softmax, sigmoid = 0.0, 0.0
    for i in range(5):
        for one in (logits, logits.T):
            chances = np.exp(one[i].double().numpy())
            softmax -= np.log(chances[i] / chances.sum())
        for j in range(5):
            belongs = 1 / (1 + np.exp(-logits[i, j].item()))
            sigmoid -= np.log(belongs if i == j else 1 - belongs)
    assert info_nce(logits).item() == pytest.approx(softmax / 10, rel=1e-5)
    assert sigmoid_loss(logits).item() == pytest.approx(sigmoid / 5, rel=1e-5)


@pytest.mark.parametrize(("kind", "loss"), [("softmax", info_nce), ("sigmoid", sigmoid_loss)])
def test_the_scale_is_at_most_a_hundred(make, kind, loss):
    model = make(loss=kind)
    seen, said = (torch.nn.functional.normalize(torch.randn(4, 8), dim=1) for _ in range(2))
    with torch.no_grad():
        for scale in (2.0, 50.0, 1000.0):
            model.log_scale.fill_(np.log(scale))
            expected = loss(min(scale, 100.0) * seen @ said.T + model.bias)
            torch.testing.assert_close(model.loss(seen, said), expected)


def test_they_begin_as_published(vision_config, language_config):
    """Radford et al., 2.5: temperature 0.07; Zhai et al., 3.2: a bias of -10 for sigmoid."""
    config = AlignmentConfig(vision_config, language_config)
    assert AlignmentModel(config).log_scale.exp().item() == pytest.approx(1 / 0.07)
    biases = [AlignmentModel(AlignmentConfig(vision_config, language_config, 8, loss)).bias.item()
              for loss in ("softmax", "sigmoid")]  # fmt: skip
    assert biases == [0.0, -10.0]


@torch.no_grad()
def test_padding_and_neighbours_change_nothing(make, pictures, lexicon):
    model = make()
    tokens, lengths = encode(lexicon, TEXTS)
    together = model.embed_texts(tokens, lengths)
    alone = torch.cat([model.embed_texts(*encode(lexicon, [text])) for text in TEXTS])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)
    seen = model.embed_pictures(pictures)
    for embedded in (together, seen):
        torch.testing.assert_close(embedded.norm(dim=1), torch.ones(4))
    assert (seen @ seen.T).triu(1).max() < 0.9999, "other pictures lie elsewhere"


@torch.no_grad()
def test_a_text_is_the_mean_of_its_states(make, lexicon):
    model = make()
    ids = [lexicon.bos, *lexicon.encode(TEXTS[1]), lexicon.eos]
    tokens, lengths = encode(lexicon, TEXTS[1:2])
    assert tokens.tolist() == [ids]
    states = model.language.hidden_states(model.language.embed(tokens))[0]
    torch.testing.assert_close(model.text_features(tokens, lengths)[0], states.mean(0))


def batch(pictures: Tensor, texts, lexicon) -> tuple[Tensor, Tensor, Tensor]:
    return pictures, *encode(lexicon, texts)


@pytest.fixture
def scenes_batch(small_scenes, lexicon):
    from data.picture_batches import to_tensor

    shown = [small_scenes.scene("train", number) for number in range(60)]
    pixels = to_tensor(np.stack([small_scenes.render(scene) for scene in shown]))
    texts = [f"{scene.sprites[0].concept} on {scene.ground}" for scene in shown]
    return batch(pixels, texts, lexicon)


@torch.no_grad()
def test_projections_begin_where_the_towers_agree(make, scenes_batch):
    """From untrained towers, even: what goes together is nearer than what does not, at once."""
    model = make()
    pictures, *text = scenes_batch

    def margin() -> float:
        similarity = model.embed_pictures(pictures) @ model.embed_texts(*text).T
        others = (similarity.sum() - similarity.trace()) / (60 * 59)
        return (similarity.trace() / 60 - others).item()

    random = margin()
    model.fit_projections([scenes_batch])
    assert abs(random) < 0.05
    assert margin() > 0.3


@torch.no_grad()
def test_projections_are_sklearns_canonical_directions(make, scenes_batch):
    """Without ridge; sklearn scales directions otherwise, so correlations are compared."""
    from sklearn.cross_decomposition import CCA

    model = make(dim=3).double()
    pictures, tokens, lengths = scenes_batch
    pictures = pictures.double()
    seen, said = model.picture_features(pictures), model.text_features(tokens, lengths)
    # Few features, so that nothing fits by chance: the projections see these alone.
    model.picture_features = lambda _: seen[:, :5]
    model.text_features = lambda *_: said[:, :6]
    model.vision_proj = torch.nn.Linear(5, 3).double()
    model.language_proj = torch.nn.Linear(6, 3).double()
    model.fit_projections([(pictures, tokens, lengths)], ridge=0.0)
    x, y = seen[:, :5].float().numpy(), said[:, :6].float().numpy()
    ours = [model.vision_proj(seen[:, :5]).numpy(), model.language_proj(said[:, :6]).numpy()]
    theirs = CCA(3, max_iter=20_000, tol=1e-10).fit(x, y).transform(x, y)
    for k in range(3):
        found, expected = (np.corrcoef(a[:, k], b[:, k])[0, 1] for a, b in (ours, theirs))
        assert found == pytest.approx(expected, abs=2e-3)
        for mine, other in zip(ours, theirs, strict=True):
            assert abs(np.corrcoef(mine[:, k], other[:, k])[0, 1]) > 0.99
    assert ours[0].mean(0) == pytest.approx(np.zeros(3), abs=1e-4)


def test_saved_and_loaded_strictly(make, pictures, lexicon, tmp_path):
    from safetensors.torch import load_file, save_file

    model = make(loss="sigmoid")
    model.save_pretrained(tmp_path)
    loaded = AlignmentModel.from_pretrained(tmp_path)
    assert loaded.config == model.config
    assert not loaded.training
    text = encode(lexicon, TEXTS)
    with torch.no_grad():
        assert torch.equal(loaded.embed_pictures(pictures), model.embed_pictures(pictures))
        assert torch.equal(loaded.embed_texts(*text), model.embed_texts(*text))
    weights = load_file(tmp_path / "model.safetensors")
    del weights["vision.blocks.1.attn.qkv.weight"]
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(VermeilError, match=r"vision\.blocks\.1\.attn\.qkv\.weight"):
        AlignmentModel.from_pretrained(tmp_path)


ONE_OF_TWO = """
    import sys
    import torch
    import torch.distributed as dist
    from phase2_multimodal.alignment.model import AlignmentModel

    meet, rank, *folders = sys.argv[1:]
    rank = int(rank)
    dist.init_process_group("gloo", f"file://{meet}", rank=rank, world_size=2)
    for folder in folders:
        model = AlignmentModel.from_pretrained(folder).train()
        pictures, tokens, lengths = torch.load(f"{folder}/batch.pt")
        rows = slice(2 * rank, 2 * rank + 2)
        loss = model.loss(
            model.embed_pictures(pictures[rows]), model.embed_texts(tokens[rows], lengths[rows])
        )
        loss.backward()
        gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        for gradient in gradients.values():  # what DDP does
            dist.all_reduce(gradient)
            gradient /= 2
        if rank == 0:
            torch.save((loss.item(), gradients), f"{folder}/found.pt")
    dist.barrier()
    dist.destroy_process_group()
"""


def test_two_processes_have_the_loss_and_gradients_of_one(make, pictures, lexicon, tmp_path):
    """Rows of all processes stand against each other, and gradients flow back to each."""
    whole = batch(pictures, TEXTS, lexicon)
    models = {tmp_path / loss: make(loss=loss) for loss in ("softmax", "sigmoid")}
    for folder, model in models.items():
        model.save_pretrained(folder)
        torch.save(whole, folder / "batch.pt")
    words = [sys.executable, "-c", textwrap.dedent(ONE_OF_TWO), str(tmp_path / "meet")]
    processes = [
        subprocess.Popen(
            [*words, str(rank), *map(str, models)], cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    said = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    for folder, model in models.items():
        loss = model.loss(model.embed_pictures(whole[0]), model.embed_texts(*whole[1:]))
        loss.backward()
        alone = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        two, together = torch.load(folder / "found.pt")
        assert two == pytest.approx(loss.item(), rel=1e-5)
        assert together.keys() == alone.keys()
        for name, gradient in alone.items():
            torch.testing.assert_close(together[name], gradient, atol=1e-5, rtol=1e-4, msg=name)
        assert max(gradient.abs().max() for gradient in alone.values()) > 1e-3
