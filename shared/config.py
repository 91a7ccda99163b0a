"""Configuration: a frozen dataclass per command, presets, files that inherit, flags on top.

A value is looked for in this order, the last one found counts: the dataclass's default, the preset
(`vermeil train lm tiny`), the file (`--config mine.yaml`, on top of what its `base:` names), the
flags (`--steps 300`). An unknown key is an error wherever it stands. No torch here: `--help` has to
answer at once.
"""

import dataclasses
import keyword
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from shared.errors import VermeilError, nearest

C = TypeVar("C")


def option(default: Any, text: str, *, low: float | None = None, high: float | None = None) -> Any:
    """A dataclass field with its help text and, for numbers, its smallest and largest value."""
    return dataclasses.field(default=default, metadata={"help": text, "low": low, "high": high})


@dataclass(frozen=True)
class Preset(Generic[C]):
    """A named configuration and what to expect of it.

    `expect` says what comes out. `run` names the recorded run that showed it; empty: not run yet.
    """

    config: C
    time: str
    expect: str
    run: str = ""
    seconds: float = 0.0  # on two CPU cores, for the plan of `vermeil run`
    memory_gb: float = 0.0
    disk_mb: float = 0.0


@dataclass(frozen=True)
class Choice(Generic[C]):
    """What the command line came to: the configuration and the name of the preset under it."""

    preset: str
    config: C


def parse(
    config_class: type[C],
    arguments: Sequence[str],
    *,
    command: str,
    presets: Mapping[str, Preset[C]] | None = None,
    about: str = "",
) -> Choice[C]:
    """Read `[PRESET] [--config FILE] [--key value ...]`; `--help` prints and exits."""
    words, flags = _split(config_class, arguments)
    if "help" in flags:
        print(describe(config_class, command=command, presets=presets, about=about))
        raise SystemExit(0)
    path = flags.pop("config", None)
    preset, values = ("", {}) if path is None else read_file(Path(path), presets or {})
    if presets is None:
        positional = _positional(config_class)
        if len(words) > len(positional):
            raise VermeilError(f"unexpected '{words[len(positional)]}'", f"see {command} --help")
        flags = dict(zip(positional, words, strict=False)) | flags
        config = config_class()
    else:
        if len(words) > 1:
            raise VermeilError(f"unexpected '{words[1]}'", f"see {command} --help")
        if words and preset and words[0] != preset:
            raise VermeilError(
                f"the preset is '{words[0]}', but {path} builds on '{preset}'", "name one of them"
            )
        preset = preset or (words[0] if words else "tiny")
        config = find_preset(presets, preset).config
    config = override(config, values, where=f"{path}: ")
    return Choice(preset, override(config, flags, where="", prefix="--"))


def find_preset(presets: Mapping[str, Preset[C]], name: str) -> Preset[C]:
    """The preset of that name, or an error that suggests the nearest one."""
    if name not in presets:
        raise VermeilError(f"there is no preset '{name}'", nearest(name, list(presets)))
    return presets[name]


def override(config: C, values: Mapping[str, Any], *, where: str = "", prefix: str = "") -> C:
    """A copy with `values` put in; unknown keys, wrong types and values out of range are errors."""
    fields = {field.name: field for field in dataclasses.fields(config)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(type(config))
    checked = {}
    for key, value in values.items():
        if key not in fields:
            raise VermeilError(f"{where}unknown key '{prefix}{key}'", nearest(key, list(fields)))
        checked[key] = _convert(value, hints[key], f"{where}{prefix}{key}")
        _check_range(checked[key], fields[key], f"{where}{prefix}{key}")
    config = dataclasses.replace(config, **checked)  # type: ignore[type-var]
    check = getattr(config, "check", None)
    if check:
        check()
    return config


def read_file(path: Path, presets: Mapping[str, Preset]) -> tuple[str, dict[str, Any]]:
    """A YAML file's preset name ("" without one) and values, its `base:` files merged under it."""
    import yaml

    chain: list[dict[str, Any]] = []
    seen: list[Path] = []
    while True:
        if path.resolve() in seen:
            raise VermeilError(f"{path}: `base:` leads back to itself", "break the circle")
        seen.append(path.resolve())
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            reason = " ".join(str(getattr(error, "strerror", None) or error).split())
            raise VermeilError(f"cannot read the configuration {path}", reason) from None
        if not isinstance(values, dict):
            raise VermeilError(f"{path} is not a list of `key: value` lines")
        base = values.pop("base", "")
        chain.append(values)
        if base in presets or not base:
            return base, {key: value for one in reversed(chain) for key, value in one.items()}
        if not (path.parent / str(base)).is_file():
            known = [*presets, "a file's path"]
            raise VermeilError(f"{path}: unknown base '{base}'", nearest(str(base), known))
        path = path.parent / str(base)


def write_file(path: Path, choice: Choice) -> None:
    """Save a resolved configuration so that `--config` gives the same one again."""
    import yaml

    from shared.home import write_atomically

    values = {"base": choice.preset} if choice.preset else {}
    write_atomically(path, yaml.safe_dump(values | as_dict(choice.config), sort_keys=False))


def as_dict(config: Any) -> dict[str, Any]:
    """Plain values of a configuration, as JSON and YAML hold them."""
    values = dataclasses.asdict(config)
    return {key: list(v) if isinstance(v, tuple) else v for key, v in values.items()}


def common(config: Any, target: type) -> dict[str, Any]:
    """The values of a configuration that another dataclass, a model's, has fields for."""
    names = {field.name for field in dataclasses.fields(target)}
    return {key: value for key, value in vars(config).items() if key in names}


def describe(config_class: type, *, command: str, presets=None, about: str = "") -> str:
    """The help page: usage, presets with time and result, every key with default and meaning."""
    positional = [] if presets else _positional(config_class)
    words = "[PRESET] " if presets else "".join(f"{name.upper()} " for name in positional)
    lines = [f"usage: {command} {words}[--config FILE] [--key value ...]", "", about.strip(), ""]
    if presets:
        lines.append("presets")
        for name, preset in presets.items():
            mark = "" if preset.run else "  (not run yet)"
            lines.append(f"  {name:<8} {preset.time:<26} {preset.expect}{mark}")
        lines.append("")
    lines.append("keys" + (" (defaults; a preset changes some)" if presets else ""))
    hints = typing.get_type_hints(config_class)
    for field in dataclasses.fields(config_class):
        name = field.name.upper() if field.name in positional else f"--{field.name.rstrip('_')}"
        default = field.default
        if isinstance(default, tuple):
            default = ",".join(map(str, default))
        lines.append(f"  {name:<24} {field.metadata.get('help', '')}")
        lines.append(f"  {'':<24} {_type_name(hints[field.name])}, default {default!r}")
    return "\n".join(lines)


def _split(config_class: type, arguments: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Words and `--key value` pairs; `--key` alone is true, `--no-key` false, for booleans."""
    hints = typing.get_type_hints(config_class)
    words: list[str] = []
    flags: dict[str, Any] = {}
    queue = list(arguments)
    while queue:
        word = queue.pop(0)
        if word in ("-h", "--help"):
            flags["help"] = True
        elif word == "--":
            words += queue
            break
        elif word.startswith("--"):
            key, equals, value = word[2:].partition("=")
            key = key.replace("-", "_")
            key += "_" if keyword.iskeyword(key) else ""  # --class is the field class_
            if equals:
                flags[key] = value
            elif hints.get(key) is bool and not (queue and queue[0] in _BOOLEANS):
                flags[key] = True
            elif key.startswith("no_") and hints.get(key[3:]) is bool:
                flags[key[3:]] = False
            elif key != "config" and key not in hints:
                raise VermeilError(f"unknown key '--{key}'", nearest(key, [*hints, "config"]))
            elif not queue:
                raise VermeilError(f"'--{key}' needs a value", f"--{key} VALUE")
            else:
                flags[key] = queue.pop(0)
        else:
            words.append(word)
    return words, flags


_BOOLEANS = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}


def _convert(value: Any, kind: Any, name: str) -> Any:
    """Make a flag's text or a file's value the type that its field has."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):  # only `X | None` is used
        if value is None or str(value).lower() in ("none", "null"):
            return None
        return _convert(value, next(a for a in inner if a is not type(None)), name)
    if origin is typing.Literal:
        if value not in inner:
            raise VermeilError(f"{name} cannot be '{value}'", nearest(str(value), list(inner)))
        return value
    if origin is tuple:
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            raise VermeilError(f"{name} wants a list, not {value!r}", "write it as a,b,c")
        return tuple(_convert(part, inner[0], name) for part in parts if part != "")
    try:
        if kind is bool:
            return value if isinstance(value, bool) else _BOOLEANS[str(value).lower()]
        if isinstance(value, bool | list | dict) or value is None:
            raise ValueError
        number = float(value) if kind in (int, float) else value
        if kind is int and number != int(number):
            raise ValueError
        return kind(number)
    except (ValueError, KeyError, OverflowError):
        raise VermeilError(
            f"{name} wants {_type_name(kind)}, not {value!r}", f"for example {_EXAMPLE[kind]}"
        ) from None


_EXAMPLE = {int: "300", float: "0.001", bool: "true", str: "text"}


def _check_range(value: Any, field: dataclasses.Field, name: str) -> None:
    low, high = field.metadata.get("low"), field.metadata.get("high")
    if value is None or isinstance(value, str | bool | tuple):
        return
    # `not (a <= b)` rather than `a > b`, so that NaN is refused too.
    if low is not None and not value >= low:
        raise VermeilError(f"{name} must be at least {low}, got {value}", f"{name} {low}")
    if high is not None and not value <= high:
        raise VermeilError(f"{name} must be at most {high}, got {value}", f"{name} {high}")


def _positional(config_class: type) -> list[str]:
    return list(getattr(config_class, "POSITIONAL", ()))


def _type_name(kind: Any) -> str:
    if typing.get_origin(kind) is typing.Literal:
        return "one of " + " ".join(map(str, typing.get_args(kind)))
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return " or ".join(_type_name(a) for a in typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        return "a,b,c"
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    return names.get(kind, "none" if kind is type(None) else str(kind))
