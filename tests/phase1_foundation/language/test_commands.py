"""`vermeil sample lm`, and the samples that training keeps."""

import pytest

from phase1_foundation.language import commands
from phase1_foundation.language.generate import Sampling, generate
from phase1_foundation.language.objective import PROMPTS, SamplesInTraining
from shared.errors import VermeilError


@pytest.fixture(scope="module")
def folder(model, tokenizer, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("lm")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_sample_writes_what_generate_says(folder, model, tokenizer, capsys):
    flags = ["--max_tokens", "20", "--temperature", "0.7", "--top_k", "50", "--seed", "4"]
    commands.sample([folder, "She had been", *flags])
    sampling = Sampling(max_tokens=20, temperature=0.7, top_k=50, top_p=0.95, seed=4)
    [text] = generate(model, tokenizer, ["She had been"], sampling)
    assert capsys.readouterr().out == f"She had been{text}\n"

    commands.sample([folder, "She had been", *flags, "--number", "3"])
    texts = generate(model, tokenizer, ["She had been"] * 3, sampling)
    assert texts[0] == text and len(set(texts)) == 3
    assert capsys.readouterr().out == "".join(f"She had been{text}\n\n" for text in texts)


@pytest.mark.parametrize("prompt", ["", " \n"])
def test_empty_prompt(folder, prompt):
    with pytest.raises(VermeilError, match="the prompt is empty") as error:
        commands.sample([folder, prompt])
    assert "vermeil sample" in error.value.hint


def test_prompt_longer_than_the_context(folder):
    with pytest.raises(VermeilError, match="tokens long, the model's context is 64"):
        commands.sample([folder, "whales and " * 40])


def test_samples_in_training(model, tokenizer, tmp_path):
    samples = SamplesInTraining(model, tokenizer, tmp_path)
    first = samples(10)
    assert list(first) == list(PROMPTS)
    samples(5)
    assert samples(10) == first, "the same model, prompts and seed say the same"
    kept = samples.written.items()
    assert [(label, prompt) for label, prompt, _ in kept] == [
        (f"step {step}", prompt) for step in (5, 10) for prompt in PROMPTS
    ]
    assert [text for _, _, text in kept[3:]] == list(first.values())
