"""The exported folder in `transformers`: equal logits, equal ids, equal words."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from phase1_foundation.language import commands
from phase1_foundation.language.export import export_llama
from phase1_foundation.language.generate import Sampling, stream
from shared.errors import VermeilError

SHAPES = [
    {"tie_embeddings": True, "kv_heads": 2},
    {"tie_embeddings": False, "kv_heads": 2},
    {"tie_embeddings": False, "kv_heads": 4, "rope_theta": 500.0, "norm_eps": 1e-3},
    {"tie_embeddings": True, "kv_heads": 1, "layers": 3, "mlp_dim": 40},
]


@pytest.fixture(params=SHAPES, ids=str)
def exported(request, make_model, tokenizer, tmp_path):
    """A model, and the folder that `transformers` reads."""
    model, folder = make_model(**request.param), tmp_path / "ours"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    export_llama(folder, tmp_path / "theirs")
    return model, tmp_path / "theirs"


@torch.no_grad()
def test_transformers_computes_the_same(exported, tokenizer, held_out):
    model, folder = exported
    llama = AutoModelForCausalLM.from_pretrained(folder)
    peer = AutoTokenizer.from_pretrained(folder)
    assert type(llama).__name__ == "LlamaForCausalLM"
    assert sum(p.numel() for p in llama.parameters()) == sum(p.numel() for p in model.parameters())

    ids = peer(held_out[0][:200], return_tensors="pt")["input_ids"][:, :64]
    assert ids[0].tolist() == tokenizer.encode(held_out[0][:200])[:64]
    difference = (llama(ids).logits - model(ids)).abs().max()
    assert difference < 1e-5 * model(ids).abs().max()

    prompt = [tokenizer.bos, *tokenizer.encode("She had been")]
    theirs = llama.generate(torch.tensor([prompt]), do_sample=False, max_new_tokens=30)
    greedy = Sampling(max_tokens=30, temperature=0.0)
    ours = [token for [token] in stream(model, [prompt], greedy, eos=())]
    assert theirs[0].tolist() == prompt + ours
    assert (llama.config.bos_token_id, llama.config.eos_token_id) == (1, 2)
    assert llama.config.pad_token_id == 0 and llama.config.max_position_embeddings == 64


def test_the_command_line(model, tokenizer, tmp_path, capsys):
    model.save_pretrained(tmp_path / "lm")
    tokenizer.save_pretrained(tmp_path / "lm")
    out = tmp_path / "out"
    commands.export([str(tmp_path / "lm"), "--to", "hf", "--out", str(out)])
    assert str(out) in capsys.readouterr().out
    assert AutoModelForCausalLM.from_pretrained(out).config.hidden_size == 32
    with pytest.raises(VermeilError, match="--out is missing"):
        commands.export([str(tmp_path / "lm")])


@pytest.mark.parametrize(
    "make", [lambda p: p.write_text("x"), lambda p: (p / "x").mkdir(parents=True)]
)
def test_nothing_is_overwritten(model, tokenizer, tmp_path, make):
    make(tmp_path / "out")
    with pytest.raises(VermeilError, match="no empty folder"):
        export_llama(tmp_path, tmp_path / "out")
