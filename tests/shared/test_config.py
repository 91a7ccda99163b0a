"""Configuration: presets, files that inherit, flags, and an error for everything else."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import pytest

from shared.config import Choice, Preset, common, option, parse, write_file
from shared.errors import VermeilError


@dataclass(frozen=True)
class Example:
    steps: int = option(100, "steps", low=1)
    rate: float = option(0.1, "rate", low=0, high=1)
    name: str = option("", "a name")
    kind: Literal["bpe", "unigram"] = option("bpe", "kind")
    bias: bool = option(False, "bias")
    trackers: tuple[str, ...] = option(("a",), "trackers")
    limit: int | None = option(None, "limit")
    widths: tuple[int, ...] = option((8, 16), "widths")


PRESETS = {
    "tiny": Preset(Example(), "s", "x", run="2026"),
    "small": Preset(Example(steps=1000), "h", "y"),
}


def read(*arguments: str) -> Example:
    return parse(Example, arguments, command="test", presets=PRESETS).config


def test_later_places_win(tmp_path):
    (tmp_path / "grand.yaml").write_text("base: small\nrate: 0.2\nname: grand\n")
    (tmp_path / "mine.yaml").write_text("base: grand.yaml\nname: mine\nkind: unigram\n")
    choice = parse(
        Example, ["--config", str(tmp_path / "mine.yaml"), "--kind", "bpe"],
        command="test", presets=PRESETS,
    )  # fmt: skip
    assert choice == Choice("small", Example(steps=1000, rate=0.2, name="mine", kind="bpe"))


def test_a_saved_configuration_gives_the_same_again(tmp_path):
    choice = Choice("small", Example(steps=7, trackers=("a", "b"), limit=3, rate=1e-4))
    write_file(tmp_path / "config.yaml", choice)
    again = parse(
        Example, ["--config", str(tmp_path / "config.yaml")], command="test", presets=PRESETS
    )
    assert again == choice


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--steps=20"], Example(steps=20)),
        (["--steps", "1e3"], Example(steps=1000)),
        (["--bias"], Example(bias=True)),
        (["--bias", "false"], Example(bias=False)),
        (["--no-bias"], Example(bias=False)),
        (["--trackers", "x,y"], Example(trackers=("x", "y"))),
        (["--trackers", ""], Example(trackers=())),
        (["--limit", "none"], Example(limit=None)),
        (["small", "--rate", "5e-1"], Example(steps=1000, rate=0.5)),
    ],
)
def test_flags(arguments, expected):
    assert read(*arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "says", "hints"),
    [
        (["tinny"], "no preset 'tinny'", "tiny"),
        (["--stepz", "3"], "unknown key '--stepz'", "steps"),
        (["--steps", "many"], "--steps wants a whole number, not 'many'", "300"),
        (["--steps", "1.5"], "whole number", ""),
        (["--steps", "0"], "at least 1, got 0", ""),
        (["--rate", "nan"], "at least 0", ""),
        (["--rate", "inf"], "at most 1", ""),
        (["--kind", "bp"], "cannot be 'bp'", "bpe"),
        (["--bias", "--steps"], "'--steps' needs a value", ""),
        (["tiny", "small"], "unexpected 'small'", "--help"),
    ],
)
def test_what_is_wrong_is_named(arguments, says, hints):
    with pytest.raises(VermeilError) as error:
        read(*arguments)
    assert says in error.value.message
    assert hints in error.value.hint


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("stepz: 3", "unknown key 'stepz'"),
        ("steps: many", "steps wants a whole number, not 'many'"),
        ("steps: true", "steps wants a whole number, not True"),
        ("bias: 3", "bias wants true or false"),
        ("trackers: 3", "trackers wants a list"),
        ("- a\n- b", "is not a list of `key: value` lines"),
        ("steps: [", "cannot read the configuration"),
        ("base: smal", "unknown base 'smal'"),
        ("base: mine.yaml", "leads back to itself"),
    ],
)
def test_a_bad_file_is_named(tmp_path, text, says):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(VermeilError) as error:
        read("--config", str(path))
    assert says in error.value.message
    assert "mine.yaml" in error.value.message


def test_a_preset_that_contradicts_the_file_is_refused(tmp_path):
    (tmp_path / "mine.yaml").write_text("base: small\n")
    with pytest.raises(VermeilError, match=r"the preset is .tiny., but .* builds on .small."):
        read("tiny", "--config", str(tmp_path / "mine.yaml"))


def test_a_missing_file_is_named():
    with pytest.raises(VermeilError, match=r"nowhere\.yaml.*No such file"):
        read("--config", "nowhere.yaml")


def test_positional_words():
    @dataclass(frozen=True)
    class Command:
        POSITIONAL: ClassVar = ("model", "prompt")
        model: str = option("lm", "model")
        prompt: str = option("", "prompt")

    config = parse(Command, ["lm@tiny", "--", "--strange prompt"], command="test").config
    assert config == Command("lm@tiny", "--strange prompt")
    with pytest.raises(VermeilError, match="unexpected 'more'"):
        parse(Command, ["lm", "text", "more"], command="test")


def test_help_tells_presets_keys_defaults_and_what_was_not_run(capsys):
    with pytest.raises(SystemExit):
        read("--help")
    page = capsys.readouterr().out
    assert "--steps" in page
    assert "a whole number, default 100" in page
    assert "one of bpe unigram" in page
    assert "default '8,16'" in page
    assert "small    h" in page
    assert page.count("(not run yet)") == 1


def test_what_a_run_and_its_model_have_in_common():
    @dataclass(frozen=True)
    class Model:
        widths: tuple[int, ...]
        bias: bool
        vocabulary: int

    assert common(read("--bias"), Model) == {"widths": (8, 16), "bias": True}


def test_a_key_may_be_a_word_of_python():
    @dataclass(frozen=True)
    class Words:
        class_: str = option("", "what")

    assert parse(Words, ["--class", "cat"], command="test").config == Words("cat")
    with pytest.raises(SystemExit):
        parse(Words, ["--help"], command="test")
