"""From the page's conversation to the API's messages."""

import base64
from pathlib import Path

import pytest

from phase4_deploy.demo.messages import conversation
from shared.errors import VermeilError


def test_both_ways_to_write_a_turn_become_parts(files):
    picture = str(files["scene.png"])
    history = [
        {"role": "user", "content": [{"type": "file", "file": {"path": picture}},
                                     {"type": "text", "text": "what?"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "a dog"}]},
    ]  # fmt: skip
    said = conversation(history, {"text": " why? ", "files": []})
    uri = "data:image/png;base64," + base64.b64encode(files["scene.png"].read_bytes()).decode()
    assert said == [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": uri}},
                                     {"type": "text", "text": "what?"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "a dog"}]},
        {"role": "user", "content": [{"type": "text", "text": "why?"}]},
    ]  # fmt: skip
    by_path = [{"role": "user", "content": [{"path": picture}, "what?"]}, history[1]]
    assert conversation(by_path, {"text": "why?"}) == said


def test_a_turn_that_failed_is_left_out():
    history = [{"role": role, "content": text} for role, text in (
        ("user", "one"), ("assistant", "1"), ("user", "failed"), ("user", "failed too"),
    )]  # fmt: skip
    said = conversation(history, {"text": "two"})
    assert [turn["content"][0]["text"] for turn in said] == ["one", "1", "two"]


def test_files_that_may_not_be_read_are_not(files):
    def nothing(path: str) -> Path:
        raise VermeilError(f"not {Path(path).name}")

    with pytest.raises(VermeilError, match=r"not scene\.png"):
        conversation([], {"files": [str(files["scene.png"])]}, nothing)
