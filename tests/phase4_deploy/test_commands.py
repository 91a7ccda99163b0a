"""What a person is told who types `transcribe` or asks aloud with the wrong thing."""

import numpy as np
import pytest
import soundfile

from phase4_deploy import commands
from shared.errors import VermeilError


def refused(call, *words: object) -> VermeilError:
    with pytest.raises(VermeilError) as error:
        call([*map(str, words)])
    return error.value


def test_what_is_missing_is_named(tmp_path):
    error = refused(commands.transcribe)
    assert (error.message, error.hint) == ("which recording?", "vermeil transcribe FILE.wav")
    error = refused(commands.transcribe, tmp_path / "no.wav")
    assert error.message == f"there is no file {tmp_path / 'no.wav'}"
    (tmp_path / "a.png").write_bytes(b"")
    assert refused(commands.ask, tmp_path / "a.png").message == "which question?"
    assert "no file" in refused(commands.ask, tmp_path / "b.png", "--audio", "x.wav").message


def test_without_a_model_the_command_that_makes_it_is_named(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(100), 16_000)
    error = refused(commands.transcribe, tmp_path / "a.wav")
    assert "speech" in error.message and "vermeil train speech" in error.hint


def test_phrases_and_a_language_model_exclude_each_other(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(100), 16_000)
    error = refused(commands.transcribe, tmp_path / "a.wav", "--phrases", "yes,no", "--lm", "lm")
    assert error.hint == "take --phrases or --lm, not both"


def test_a_language_model_can_have_a_say(tmp_path):
    assert commands.scorer("") is None
    with pytest.raises(VermeilError, match="lm"):
        commands.scorer("lm")


@pytest.mark.parametrize("words, module", [
    (["a.png", "what?"], "phase2_multimodal.vision_language.commands"),
    (["a.png", "--audio", "q.wav"], "phase4_deploy.commands"),
    (["a.png", "--audio=q.wav"], "phase4_deploy.commands"),
])  # fmt: skip
def test_a_spoken_question_goes_to_the_model_that_hears(words, module, monkeypatch):
    import vermeil

    called = []
    for name in ("phase2_multimodal.vision_language.commands", "phase4_deploy.commands"):
        monkeypatch.setattr(f"{name}.ask", lambda words, name=name: called.append((name, words)))
    vermeil.ask(words)
    assert called == [(module, words)]
