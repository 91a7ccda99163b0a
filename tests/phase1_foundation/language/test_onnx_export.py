"""The exported graph in ONNX Runtime: equal logits however the tokens come, equal words."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from phase1_foundation.language import commands, onnx_export
from phase1_foundation.language.generate import Sampling, stream
from phase1_foundation.language.tokenizer import Tokenizer
from shared.errors import VermeilError

OTHER_SHAPE = {
    "kv_heads": 4, "layers": 3, "tie_embeddings": False, "rope_theta": 500.0, "norm_eps": 1e-3,
}  # fmt: skip


class Runtime:
    """The graph and what it holds in its cache, without PyTorch."""

    def __init__(self, path):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        self.session = onnxruntime.InferenceSession(path, options)
        self.shapes = {i.name: i.shape for i in self.session.get_inputs()}
        self.past: dict[str, np.ndarray] = {}

    def __call__(self, tokens, mask=None, positions=None) -> np.ndarray:
        """Logits (B, T, V) of tokens (B, T) after all that came before."""
        tokens = np.asarray(tokens)
        b, t = tokens.shape
        if not self.past:
            names = [name for name in self.shapes if name.startswith("past")]
            _, heads, _, head_dim = self.shapes[names[0]]
            self.past = {name: np.zeros((b, heads, 0, head_dim), np.float32) for name in names}
        held = next(iter(self.past.values())).shape[2]
        logits, *present = self.session.run(
            None,
            {
                "input_ids": tokens,
                "attention_mask": np.ones((b, held + t), np.int64) if mask is None else mask,
                "position_ids": np.tile(np.arange(held, held + t), (b, 1))
                if positions is None
                else positions,
                **self.past,
            },
        )
        self.past = dict(zip(self.past, present, strict=True))
        return logits


@pytest.fixture(scope="module")
def folder(model, tokenizer, tmp_path_factory):
    """A saved model, and the folder that the command made of it."""
    folder = tmp_path_factory.mktemp("lm")
    model.save_pretrained(folder / "ours")
    tokenizer.save_pretrained(folder / "ours")
    commands.export([str(folder / "ours"), "--to", "onnx", "--out", str(folder / "onnx")])
    return folder


@pytest.fixture(scope="module", params=["grouped queries", "another shape"])
def exported(request, folder, model, make_model, tmp_path_factory):
    """A model, and the path of its graph."""
    if request.param == "grouped queries":
        return model, folder / "onnx" / "model.onnx"
    other, path = make_model(**OTHER_SHAPE), tmp_path_factory.mktemp("onnx") / "model.onnx"
    onnx_export.write_graph(other, path)
    return other, path


def assert_equal(found: np.ndarray, expected: torch.Tensor) -> None:
    """To 1e-4; the logits of these models reach 30 and more."""
    assert found.shape == tuple(expected.shape)
    np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(
    "parts",
    [[48], [20, 1, 27], [1] * 48, [17] + [1] * 31],
    ids=["whole", "chunks", "steps", "both"],
)
@torch.no_grad()
def test_logits_are_equal_however_the_tokens_come(exported, batch, parts):
    model, path = exported
    tokens = torch.randint(600, (batch, 48), generator=torch.Generator().manual_seed(batch))
    runtime = Runtime(path)
    found = [runtime(part.numpy()) for part in tokens.split(parts, dim=1)]
    assert_equal(np.concatenate(found, axis=1), model(tokens))


def test_the_present_is_keys_and_values_of_the_whole_past(exported):
    model, path = exported
    runtime = Runtime(path)
    runtime(np.ones((2, 5), np.int64))
    runtime(np.ones((2, 1), np.int64))
    c = model.config
    assert len(runtime.past) == 2 * c.layers
    assert {part.shape for part in runtime.past.values()} == {(2, c.kv_heads, 6, c.dim // c.heads)}


@torch.no_grad()
def test_a_padded_row_is_what_it_is_alone(exported):
    model, path = exported
    short, long = torch.arange(5, 10)[None], torch.arange(20, 28)[None]
    rows = torch.cat([torch.cat([torch.zeros(1, 3, dtype=torch.long), short], dim=1), long])
    mask = np.array([[0] * 3 + [1] * 5, [1] * 8])
    runtime = Runtime(path)
    logits = runtime(rows.numpy(), mask, (mask.cumsum(1) - 1).clip(0))
    assert_equal(logits[:1, 3:], model(short))
    assert_equal(logits[1:], model(long))
    step = runtime([[7], [7]], np.append(mask, [[1], [1]], axis=1), np.array([[5], [8]]))
    assert_equal(step[:1], model(torch.cat([short, torch.tensor([[7]])], dim=1))[:, -1:])
    assert_equal(step[1:], model(torch.cat([long, torch.tensor([[7]])], dim=1))[:, -1:])


@torch.no_grad()
def test_positions_are_the_given_ones(exported):
    """Only their differences count, so padding alone would not show that they are read."""
    model, path = exported
    tokens, positions = torch.tensor([[5, 6, 7], [8, 9, 10]]), torch.tensor([[0, 5, 9], [1, 2, 40]])
    logits = Runtime(path)(tokens.numpy(), positions=positions.numpy())
    assert_equal(logits, model(tokens, positions=positions[:, None]))


@pytest.mark.parametrize("number", [1, 3])
def test_greedy_text_is_ours(folder, model, held_out, number):
    tokenizer = Tokenizer.from_pretrained(folder / "onnx")
    prompts = [[tokenizer.bos, *tokenizer.encode(text)[:15]] for text in held_out[:number]]
    steps = stream(model, prompts, Sampling(max_tokens=40, temperature=0.0), eos=())
    expected = [tokenizer.decode(row) for row in zip(*steps, strict=True)]

    runtime = Runtime(folder / "onnx" / "model.onnx")
    tokens, written = np.array(prompts), []
    for _ in range(40):
        tokens = runtime(tokens)[:, -1:].argmax(-1)  # (B, 1)
        written.append(tokens)
    texts = [tokenizer.decode(row) for row in np.concatenate(written, axis=1).tolist()]
    assert texts == expected
    assert len(set("".join(texts))) > 5, "too little variety to compare"


def test_the_folder_is_complete(folder, tokenizer, held_out):
    out = folder / "onnx"
    assert {"model.onnx", "config.json", "tokenizer.json", "tokenizer.model"} <= {
        path.name for path in out.iterdir()
    }
    config = json.loads((out / "config.json").read_text())
    assert (config["model_type"], config["num_key_value_heads"]) == ("llama", 2)
    graph = (out / "model.onnx").read_bytes()
    assert b".py" not in graph and str(Path.cwd()).encode() not in graph, "names this machine"
    text = held_out[1][:500]
    assert Tokenizer.from_pretrained(out).encode(text) == tokenizer.encode(text)


def test_more_than_the_context_is_refused(exported):
    _, path = exported
    runtime = Runtime(path)
    runtime(np.ones((1, 60), np.int64))
    with pytest.raises(Exception, match="invalid index found, index = 64"):
        runtime(np.ones((1, 5), np.int64))


def test_int8_takes_every_weight(make_model, tmp_path):
    """As phase 3 needs it: the file holds tied weights once, and the quantizer finds them all."""
    import onnx
    from onnxruntime.quantization import quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    model = make_model(dim=128, mlp_dim=256, vocab_size=2100, layers=1)
    exact, folded, rounded = (tmp_path / f"{name}.onnx" for name in ("exact", "folded", "rounded"))
    onnx_export.write_graph(model, exact)
    assert exact.stat().st_size < 4 * sum(p.numel() for p in model.parameters()) + 50_000
    quant_pre_process(exact, folded, skip_symbolic_shape=True)  # transposes the tied head
    quantize_dynamic(folded, rounded)
    nodes = [node.op_type for node in onnx.load(rounded).graph.node]
    assert nodes.count("MatMulInteger") == 4 * model.config.layers + 1
    tokens = np.arange(40)[None]
    logits = [Runtime(path)(tokens).ravel() for path in (exact, rounded)]
    assert np.corrcoef(logits)[0, 1] > 0.98


def test_errors(folder, tmp_path, monkeypatch):
    def export(out):
        commands.export([str(folder / "ours"), "--to", "onnx", "--out", str(out)])

    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("x")
    for name in ("file", "full"):
        with pytest.raises(VermeilError, match="no empty folder"):
            export(tmp_path / name)
    with pytest.raises(VermeilError, match="--out is missing") as error:
        commands.export([str(folder / "ours"), "--to", "onnx"])
    assert "--to onnx --out DIR" in error.value.hint
    with monkeypatch.context() as patch:
        patch.setattr(onnx_export, "LARGEST_FILE", 1000)
        with pytest.raises(VermeilError, match="weights take"):
            export(tmp_path / "new")
    monkeypatch.setattr(onnx_export, "PACKAGES", ("onnx", "no_such_package"))
    with pytest.raises(VermeilError, match="takes no_such_package, which") as error:
        export(tmp_path / "new")
    assert "pip install" in error.value.hint
    assert not (tmp_path / "new").exists()
