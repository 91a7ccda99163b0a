"""What one request used: endpoints report it; the keys' ledger, the log and the metrics read it."""

import time
from collections.abc import MutableMapping
from dataclasses import astuple, dataclass
from typing import Any

OTHER = "other"  # what no route answers: one name, for a path can be anything


@dataclass(frozen=True)
class Usage:
    """Amounts that are added up per key, day and endpoint."""

    requests: int = 0
    errors: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    images: int = 0
    audio_seconds: float = 0.0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


def report(
    scope: MutableMapping[str, Any],
    *,
    prompt_tokens: int = 0,
    completion_tokens: int = 0,
    images: int = 0,
    audio_seconds: float = 0.0,
) -> None:
    """Add to what this request used; an endpoint calls it with `request.scope`, once or often.

    What a client consumed before it left counts, so streams report as they go or in a `finally`.
    """
    more = Usage(0, 0, prompt_tokens, completion_tokens, images, float(audio_seconds))
    state = scope.setdefault("state", {})
    state["usage"] = state.get("usage", Usage()) + more


def first_token(scope: MutableMapping[str, Any]) -> None:
    """The first new token of this request leaves now; later calls change nothing."""
    scope.setdefault("state", {}).setdefault("first_token", time.perf_counter())


def used(scope: MutableMapping[str, Any]) -> Usage:
    """What was reported so far."""
    return scope.get("state", {}).get("usage", Usage())


def endpoint(scope: MutableMapping[str, Any]) -> str:
    """The template of the route that answered, e.g. /v1/models/{model}."""
    return getattr(scope.get("route"), "path", OTHER)
