"""Folders for the Hub: the Hub's own reader takes the card, and the model still loads, verified."""

import pytest
import torch
from huggingface_hub import ModelCard
from huggingface_hub.errors import LocalTokenNotFoundError

from phase1_foundation.language.model import LanguageModel, LanguageModelConfig
from phase4_deploy import hub
from shared import artifact
from shared.artifact import find
from shared.errors import VermeilError

ROW = {"metric": "bits_per_byte", "value": 1.578, "unit": "bit/byte", "better": "lower",
       "n": 922_279, "low": 1.555, "high": 1.6, "protocol": "strided", "split": "test",
       "baselines": {"unigram": 2.364, "xz": 2.301}, "ceilings": {}}  # fmt: skip
MISSING = ROW | {"metric": "spice", "value": None, "low": None, "baselines": None}


@pytest.fixture
def lm(home):
    torch.manual_seed(0)
    model = LanguageModel(LanguageModelConfig(64, 16, 1, 2, 1, 32, 16))
    manifest = {"id": "phase1/lm@tiny-12345678", "step": "lm", "preset": "tiny", "seed": 0,
                "created": "2026-01-02T03:04:05+00:00", "seconds": 130.0, "config": {},
                "parents": [{"id": "phase1/tokenizer@tiny-1", "sha256": "a" * 64}],
                "data": [{"name": "embedded_text", "version": "2", "sha256": "b" * 64,
                          "licence": "public domain"}],
                "hardware": {"cpu": "a CPU", "gpu": None}, "metrics": [ROW, MISSING]}  # fmt: skip
    folder = home / "artifacts" / "phase1" / "lm" / "tiny-12345678"
    artifact.publish(folder, model.save_pretrained, manifest, "# a card\n")
    return model


def test_the_card_is_what_the_hub_reads(lm, tmp_path):
    hub.export(["hub", "--out", str(tmp_path / "out")])
    card = ModelCard.load(tmp_path / "out" / "lm" / "README.md")
    assert card.data.pipeline_tag == "text-generation" and card.data.license == "other"
    assert card.data.eval_results and card.data.eval_results[0].metric_value == 1.578
    assert card.data.eval_results[0].metric_type == "bits_per_byte"
    text = card.text
    assert "**1.578** bit/byte (1.555 to 1.6) | unigram 2.364, xz 2.301" in text
    assert "spice | not available" in text and "public domain" in text and "922279" in text
    assert 'LanguageModel.from_pretrained("USER/vermeil-lm")' in text


def test_the_folder_is_still_a_verified_artifact(lm, tmp_path):
    hub.export(["hub", "--out", str(tmp_path / "out"), "--models", "lm"])
    folder = tmp_path / "out" / "lm"
    loaded = LanguageModel.from_pretrained(str(folder))
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), lm.parameters(), strict=True))
    assert find(str(folder)).sha256 == find("lm").sha256, "the same content is the same model"
    (folder / "README.md").write_text("# another card\n")
    with pytest.raises(VermeilError, match=r"README\.md is not what was saved"):
        find(str(folder))


def test_a_push_creates_and_uploads(lm, tmp_path, monkeypatch, capsys):
    calls = []

    class Api:
        def create_repo(self, repo, *, private, exist_ok):
            calls.append((repo, private))
            return f"https://hub.example/{repo}"

        def upload_folder(self, *, repo_id, folder_path):
            calls.append((repo_id, sorted(path.name for path in folder_path.iterdir())))

    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    hub.export(["hub", "--out", str(tmp_path), "--push", "me", "--public"])
    assert calls[0] == ("me/vermeil-lm", False)
    assert calls[1][1] == ["README.md", "config.json", "manifest.json", "model.safetensors"]
    assert "https://hub.example/me/vermeil-lm" in capsys.readouterr().out


def test_what_goes_wrong_is_said_in_a_sentence(lm, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise LocalTokenNotFoundError("no token")

    monkeypatch.setattr("huggingface_hub.HfApi.create_repo", refuse)
    with pytest.raises(VermeilError, match="asks for a token: hf auth login"):
        hub.export(["hub", "--out", str(tmp_path / "a"), "--push", "me"])
    with pytest.raises(VermeilError, match="which folder"):
        hub.export(["hub"])
    (tmp_path / "full" / "lm").mkdir(parents=True)
    (tmp_path / "full" / "lm" / "thesis.doc").write_text("dear")
    with pytest.raises(VermeilError, match="holds something else"):
        hub.export(["hub", "--out", str(tmp_path / "full")])


def test_nothing_trained_is_said(home, tmp_path):
    with pytest.raises(VermeilError, match="vermeil run tiny"):
        hub.export(["hub", "--out", str(tmp_path)])
