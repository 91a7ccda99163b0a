"""`vermeil keys add|list|revoke`: who may use the API, and what they have used."""

import sys
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, ClassVar

from shared.config import option, parse
from shared.errors import VermeilError, nearest

if TYPE_CHECKING:
    from phase4_deploy.serving.account import Usage
    from phase4_deploy.serving.keys import Key

USAGE = (
    "usage: vermeil keys add NAME [--rate 60] [--concurrency 4] | list | revoke NAME [--keys URL]"
)
HEAD = [
    "NAME", "KEY", "A_MINUTE", "AT_ONCE", "CREATED", "REVOKED", "LAST_USED",
    "REQUESTS", "ERRORS", "TOKENS_IN", "TOKENS_OUT", "IMAGES", "AUDIO_S",
]  # fmt: skip
KEYS = "an SQLAlchemy URL; empty: $VERMEIL_KEYS, or serving.sqlite in $VERMEIL_HOME"


@dataclass(frozen=True)
class AddCommand:
    """A new key and its limits."""

    POSITIONAL: ClassVar = ("name",)

    name: str = option("", "whom it is for")
    rate: int = option(60, "requests a minute", low=1, high=1_000_000)
    concurrency: int = option(4, "requests at once", low=1, high=10_000)
    keys: str = option("", KEYS)


@dataclass(frozen=True)
class ListCommand:
    """Which keys there are."""

    keys: str = option("", KEYS)


@dataclass(frozen=True)
class RevokeCommand:
    """The key that is to work no longer."""

    POSITIONAL: ClassVar = ("name",)

    name: str = option("", "the key's name")
    keys: str = option("", KEYS)


def keys(arguments: list[str]) -> None:
    """Make, list and revoke keys."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(f"{USAGE}\n\n`vermeil keys add --help` shows the settings")
        return
    action, *rest = arguments
    if action not in ACTIONS:
        raise VermeilError(f"keys {action}?", nearest(action, list(ACTIONS)))
    ACTIONS[action](rest)


def add(arguments: list[str]) -> None:
    """Make a key and print it: it is shown this once."""
    config = parse(AddCommand, arguments, command="vermeil keys add", about=str(add.__doc__)).config
    if not config.name:
        raise VermeilError("a key for whom?", "vermeil keys add NAME")
    print(_store(config.keys).add(config.name, config.rate, config.concurrency))
    print("keep it: it is not stored and cannot be shown again", file=sys.stderr)


def list_keys(arguments: list[str]) -> None:
    """Show every key with its limits and what it has used in all."""
    about = str(list_keys.__doc__)
    config = parse(ListCommand, arguments, command="vermeil keys list", about=about).config
    from phase4_deploy.serving.account import Usage

    store = _store(config.keys)
    known, totals = store.all(), store.totals()
    if not known:
        print("there are no keys; make one: vermeil keys add NAME")
        return
    for line in table([HEAD, *(_row(key, *totals.get(key.id, (Usage(), None))) for key in known)]):
        print(line)


def _row(key: "Key", used: "Usage", last: date | None) -> list[str]:
    revoked = key.revoked.date() if key.revoked else "-"
    limits = [key.rate, key.concurrency, key.created.date(), revoked, last or "-"]
    amounts = [used.requests, used.errors, used.prompt_tokens, used.completion_tokens, used.images]
    return [key.name, f"{key.prefix}...", *map(str, limits + amounts), f"{used.audio_seconds:.1f}"]


def table(rows: list[list[str]]) -> list[str]:
    """Rows as lines, their columns one below the other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = ((f"{cell:<{n}}" for cell, n in zip(row, widths, strict=True)) for row in rows)
    return ["  ".join(cells).rstrip() for cells in padded]


def revoke(arguments: list[str]) -> None:
    """Let a key work no longer: servers refuse it within seconds."""
    about = str(revoke.__doc__)
    config = parse(RevokeCommand, arguments, command="vermeil keys revoke", about=about).config
    if not config.name:
        raise VermeilError("revoke whose key?", "vermeil keys revoke NAME")
    _store(config.keys).revoke(config.name)
    print(f"the key of {config.name} works no longer")


def _store(url: str):
    from phase4_deploy.serving.keys import KeyStore

    return KeyStore(url)


ACTIONS = {"add": add, "list": list_keys, "revoke": revoke}
