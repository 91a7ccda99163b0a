"""The language model as `transformers`' LlamaForCausalLM: the same weights under its names."""

from pathlib import Path

import torch
from torch import Tensor

from phase1_foundation.language.model import LanguageModel
from phase1_foundation.language.tokenizer import Tokenizer
from shared.errors import VermeilError

KEYS = {  # ours -> Llama's, within a block
    "norm1": "input_layernorm",
    "attn.proj": "self_attn.o_proj",
    "norm2": "post_attention_layernorm",
    "mlp.fc2": "mlp.down_proj",
}


def export_llama(folder: Path, out: Path) -> None:
    """Write config, weights and tokenizer so that `AutoModelForCausalLM` and vLLM read them."""
    from transformers import LlamaForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise VermeilError(f"{out} is no empty folder", "name a new folder with --out")
    model, tokenizer = LanguageModel.from_pretrained(folder), Tokenizer.from_pretrained(folder)
    llama = LlamaForCausalLM(llama_config(model, tokenizer))
    llama.load_state_dict(llama_state(model), strict=True)
    llama.save_pretrained(out)
    tokenizer.save_pretrained(out)


def llama_config(model: LanguageModel, tokenizer: Tokenizer):
    """Our shape in the words of `transformers`."""
    from transformers import LlamaConfig

    c = model.config
    return LlamaConfig(
        vocab_size=c.vocab_size,
        hidden_size=c.dim,
        intermediate_size=c.mlp_dim,
        num_hidden_layers=c.layers,
        num_attention_heads=c.heads,
        num_key_value_heads=c.kv_heads,
        max_position_embeddings=c.context,
        rms_norm_eps=c.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": c.rope_theta},
        tie_word_embeddings=c.tie_embeddings,
        bos_token_id=tokenizer.bos,
        eos_token_id=tokenizer.eos,
        pad_token_id=tokenizer.pad,
    )


def llama_state(model: LanguageModel) -> dict[str, Tensor]:
    """Our tensors under Llama's names; the joint products are cut into their parts."""
    c = model.config
    head_dim = c.dim // c.heads
    sizes = {"q_proj": c.heads, "k_proj": c.kv_heads, "v_proj": c.kv_heads}
    state = {
        "model.embed_tokens.weight": model.embed.weight,
        "model.norm.weight": model.norm.weight,
        "lm_head.weight": model.head.weight,
    }
    for index, block in enumerate(model.blocks):
        prefix = f"model.layers.{index}"
        weights = dict(block.named_parameters())
        for ours, theirs in KEYS.items():
            state[f"{prefix}.{theirs}.weight"] = weights[f"{ours}.weight"]
        parts = weights["attn.qkv.weight"].split([n * head_dim for n in sizes.values()])
        for name, part in zip(sizes, parts, strict=True):
            state[f"{prefix}.self_attn.{name}.weight"] = part
        gate, up = weights["mlp.fc1.weight"].chunk(2)
        state |= {f"{prefix}.mlp.gate_proj.weight": gate, f"{prefix}.mlp.up_proj.weight": up}
    return {name: tensor.detach().to(torch.float32).contiguous() for name, tensor in state.items()}
