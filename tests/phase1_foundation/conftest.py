"""Small tokenizers learned from real text, and small models with random weights."""

import dataclasses

import pytest
import torch
import transformers

import data
from phase1_foundation.language.model import LanguageModel, LanguageModelConfig
from phase1_foundation.language.tokenizer import Tokenizer

VOCABULARY = 600


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """The beginnings of all training documents, 640 kB."""
    return [document.text[:3000] for document in data.load("embedded_text").documents("train")]


@pytest.fixture(scope="session")
def held_out() -> list[str]:
    return [document.text for document in data.load("embedded_text").documents("test")]


@pytest.fixture(scope="session")
def tokenizers(texts) -> dict[str, Tokenizer]:
    return {
        kind: Tokenizer.train(texts, VOCABULARY, kind, threads=1) for kind in ("bpe", "unigram")
    }


@pytest.fixture(scope="session")
def tokenizer(tokenizers) -> Tokenizer:
    """The default kind."""
    return tokenizers["bpe"]


@pytest.fixture(scope="session")
def peers(tokenizers, tmp_path_factory):
    """What `transformers` makes of the saved folders."""
    folders = {kind: tmp_path_factory.mktemp(kind) for kind in tokenizers}
    for kind, folder in folders.items():
        tokenizers[kind].save_pretrained(folder)
    load = transformers.AutoTokenizer.from_pretrained
    return {kind: load(folder) for kind, folder in folders.items()}


@pytest.fixture(scope="session")
def make_model():
    """A model with weights large enough to have opinions."""

    def make(**changes) -> LanguageModel:
        small = LanguageModelConfig(
            VOCABULARY, dim=32, layers=2, heads=4, kv_heads=2, mlp_dim=48, context=64
        )
        torch.manual_seed(0)
        model = LanguageModel(dataclasses.replace(small, **changes))
        with torch.no_grad():
            for parameter in model.parameters():
                # Norms too: ones would hide a norm that is left out or mistaken for another.
                parameter.normal_(float(parameter.dim() == 1), 0.3)
        return model.eval()

    return make


@pytest.fixture(scope="session")
def model(make_model) -> LanguageModel:
    return make_model()
