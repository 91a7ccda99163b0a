"""Exported pieces in ONNX Runtime and in torch.export: what the model itself says, at any size."""

import re

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from phase1_foundation.diffusion.model import DiffusionConfig, DiffusionModel
from phase1_foundation.language import onnx_export
from phase1_foundation.language.model import LanguageModel, LanguageModelConfig
from phase1_foundation.vision.vit import VisionTransformer, VisionTransformerConfig
from phase2_multimodal.text_to_image.model import TextToImageConfig, TextToImageModel
from phase2_multimodal.vision_language.model import VisionLanguageConfig, VisionLanguageModel
from phase3_scaling.compression import onnx_graphs
from phase3_scaling.compression.onnx_graphs import (
    caption_pieces,
    diffusion_pieces,
    encoder_pieces,
    text_to_image_pieces,
)
from phase3_scaling.compression.onnx_runtime import OrtModule, graph_of
from shared.errors import VermeilError

LANGUAGE = LanguageModelConfig(90, dim=32, layers=2, heads=4, kv_heads=2, mlp_dim=48, context=64)
VISION = VisionTransformerConfig(16, 4, dim=32, layers=1, heads=2, mlp_dim=64, classes=5,
                                 stem="conv", pool="mean")  # fmt: skip
DRAWING = {
    "unet": DiffusionConfig(16, ("a", "b", "c"), widths=(16, 32), layers=1, heads=2, mlp_dim=64),
    "dit": DiffusionConfig(16, ("a", "b", "c"), network="dit", patch=4, widths=(16, 32), layers=1,
                           heads=2, mlp_dim=64),
}  # fmt: skip


def opinionated(model: nn.Module, seed: int = 0) -> nn.Module:
    """With random weights everywhere: zeros and ones hide what is left out."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(float("norm" in name and "weight" in name), 0.2)
    return model.eval()


def normal(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Pieces:
    """The files of some pieces, run by name."""

    def __init__(self, pieces, folder):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        self.sessions = {}
        for piece in pieces:
            onnx_graphs.write_onnx(piece, folder / f"{piece.name}.onnx")
            self.sessions[piece.name] = onnxruntime.InferenceSession(
                folder / f"{piece.name}.onnx", options
            )

    def __call__(self, name: str, *inputs: torch.Tensor) -> list[np.ndarray]:
        session = self.sessions[name]
        names = [given.name for given in session.get_inputs()]
        given = {n: part.numpy() for n, part in zip(names, inputs, strict=True)}
        return session.run(None, given)


def assert_equal(found: np.ndarray, expected: torch.Tensor) -> None:
    assert found.shape == tuple(expected.shape)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=3e-4)


@torch.no_grad()
def test_encoder(tmp_path):
    model = opinionated(VisionTransformer(VISION))
    run = Pieces(encoder_pieces(model), tmp_path)
    for batch in (1, 3):
        pictures = normal(batch, 3, 16, 16)
        features, pooled, logits = run("encoder", pictures)
        assert_equal(features, model.features(pictures))
        assert_equal(pooled, model.embed(pictures))
        assert_equal(logits, model(pictures))


@pytest.mark.parametrize("network", DRAWING)
@torch.no_grad()
def test_a_step_of_drawing(network, tmp_path):
    model = opinionated(DiffusionModel(DRAWING[network]))
    run = Pieces(diffusion_pieces(model), tmp_path)
    for batch, words in ((1, 1), (4, 5)):
        x, t = normal(batch, 3, 16, 16), torch.linspace(0.1, 0.9, batch)
        tokens, mask = normal(batch, words, model.config.dim), torch.ones(batch, words).bool()
        mask[-1, words // 2 + 1 :] = False
        [found] = run("step", x, t, tokens, mask)
        assert_equal(found, model(x, t, tokens, mask))
    labels = torch.tensor([2, 0, -1])
    [tokens] = run("condition", labels)
    asked = model.condition(labels.clamp(min=0))
    assert_equal(tokens, model.without(asked, labels < 0).tokens)


@pytest.mark.parametrize("network, encoder", [("unet", "lm"), ("dit", "lm"), ("unet", "bytes")])
@torch.no_grad()
def test_a_prompt_and_a_step_of_drawing_it(network, encoder, tmp_path):
    config = TextToImageConfig(DRAWING[network], LANGUAGE, text_encoder=encoder, longest=16)
    model = opinionated(TextToImageModel(config))
    run = Pieces(text_to_image_pieces(model), tmp_path)
    for batch, words in ((1, 3), (4, 7)):
        prompts = torch.randint(1, 90, (batch, words), generator=torch.Generator().manual_seed(2))
        prompts[-1, 2:] = 0  # padding
        asked = model.read(prompts)
        tokens, mask = run("read", prompts)
        assert_equal(tokens, asked.tokens)
        assert (mask == asked.mask.numpy()).all()
        x, t = normal(batch, 3, 16, 16), torch.linspace(0.1, 0.9, batch)
        [found] = run("step", x, t, asked.tokens, asked.mask)
        assert_equal(found, model(x, t, asked))


@torch.no_grad()
def test_captioner_reads_a_picture_and_then_word_by_word(tmp_path):
    model = opinionated(VisionLanguageModel(VisionLanguageConfig(VISION, LANGUAGE)))
    run = Pieces(caption_pieces(model), tmp_path)
    pictures, opening = normal(3, 3, 16, 16), torch.tensor([7, 8])
    words = torch.randint(90, (3, 6), generator=torch.Generator().manual_seed(2))
    [prefix] = run("prefix", pictures, opening)
    assert_equal(prefix, model.prefix(pictures, opening))

    states = model.hidden_states(torch.from_numpy(prefix), words, torch.ones_like(words))
    expected, p = model.language.head(states), prefix.shape[1]
    [embedded] = run("embed", words)
    whole = np.concatenate([prefix, embedded], axis=1)  # (B, P + T, D)
    past = [torch.zeros(3, 2, 0, 8)] * 4
    found = []
    for begin, end in ((0, p + 3), (p + 3, p + 5), (p + 5, p + 6)):
        places = torch.arange(begin, end).expand(3, -1)
        seen = torch.arange(end) <= places[:, :, None]  # (B, T, P + T)
        seen |= torch.arange(end) < p  # all see the whole picture
        part = torch.from_numpy(whole[:, begin:end])
        logits, *present = run("language", part, seen, places, *past)
        past = [torch.from_numpy(each) for each in present]
        found.append(logits)
    assert_equal(np.concatenate(found, axis=1)[:, p:], expected)
    assert past[0].shape == (3, 2, p + 6, 8)


@pytest.mark.parametrize("name", ["step", "language"])
@torch.no_grad()
def test_programs_come_back_from_disk(name, tmp_path):
    both = diffusion_pieces(opinionated(DiffusionModel(DRAWING["dit"]))) + caption_pieces(
        opinionated(VisionLanguageModel(VisionLanguageConfig(VISION, LANGUAGE)))
    )
    [piece] = (piece for piece in both if piece.name == name)
    onnx_graphs.write_program(piece, tmp_path / "piece.pt2")
    again = torch.export.load(tmp_path / "piece.pt2").module()
    more = tuple(torch.cat([part + part] * 3) for part in piece.example)  # rows it did not see
    found, expected = again(*more), piece.module(*more)
    for one, other in zip(_parts(found), _parts(expected), strict=True):
        torch.testing.assert_close(one, other)


def _parts(output):
    return output if isinstance(output, tuple) else (output,)


@torch.no_grad()
def test_a_graph_is_called_as_its_module():
    model = opinionated(LanguageModel(LANGUAGE))
    made = OrtModule(graph_of(model, [(torch.randint(90, (1, 9)),)]))  # one row, and all are free
    for shape in ((2, 64), (3, 1), (1, 7)):
        tokens = torch.randint(90, shape, generator=torch.Generator().manual_seed(3))
        assert_equal(made(tokens).numpy(), model(tokens))
    assert made.names == ["tokens"]
    assert made.session.get_session_options().intra_op_num_threads == torch.get_num_threads()


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vision")
    opinionated(VisionTransformer(VISION)).save_pretrained(folder)
    return folder


def test_the_command_writes_a_folder_that_stands_alone(encoder_folder, tmp_path, capsys):
    out = tmp_path / "out"
    onnx_graphs.export([str(encoder_folder), "--out", str(out)])
    assert {path.name for path in out.iterdir()} == {"encoder.onnx", "config.json"}
    assert "encoder.onnx" in capsys.readouterr().err
    graph = (out / "encoder.onnx").read_bytes()
    assert not re.search(rb"\.py\b", graph), "names this machine"
    onnx_graphs.export([str(encoder_folder), "--to", "pt2", "--out", str(tmp_path / "program")])
    again = torch.export.load(tmp_path / "program" / "encoder.pt2").module()
    pictures, model = normal(5, 3, 16, 16), VisionTransformer.from_pretrained(encoder_folder)
    assert_equal(again(pictures)[2].detach().numpy(), model(pictures).detach())


def test_errors(encoder_folder, tmp_path, monkeypatch):
    def export(folder, out=tmp_path / "new"):
        onnx_graphs.export([str(folder), "--out", str(out)])

    with pytest.raises(VermeilError, match="--out is missing"):
        onnx_graphs.export([str(encoder_folder)])
    with pytest.raises(VermeilError, match="no empty folder"):
        export(encoder_folder, encoder_folder)
    opinionated(LanguageModel(LANGUAGE)).save_pretrained(tmp_path / "lm")
    with pytest.raises(VermeilError, match="LanguageModel, which is not exported here") as error:
        export(tmp_path / "lm")
    assert "vermeil export lm" in error.value.hint
    monkeypatch.setattr(onnx_export, "LARGEST_FILE", 1000)
    with pytest.raises(VermeilError, match="holds less than 2"):
        export(encoder_folder)
    with pytest.raises(VermeilError, match="holds less than 2"):
        graph_of(opinionated(LanguageModel(LANGUAGE)), [(torch.zeros(2, 2).long(),)])
    monkeypatch.setattr(onnx_export, "PACKAGES", ("onnx", "no_such_package"))
    with pytest.raises(VermeilError, match="takes no_such_package, which"):
        export(encoder_folder)
    assert not (tmp_path / "new").exists()
