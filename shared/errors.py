"""The one exception for mistakes that a user can mend."""


class VermeilError(Exception):
    """What was wrong and where, in one sentence; `hint` says what to do next.

    The front door prints both without a traceback (``--debug`` shows it) and exits with status 2.

    >>> raise VermeilError("preset 'tinny' does not exist", hint="did you mean 'tiny'?")
    Traceback (most recent call last):
    shared.errors.VermeilError: preset 'tinny' does not exist: did you mean 'tiny'?
    """

    label = "error: "
    exit_code = 2

    def __init__(self, message: str, hint: str = ""):
        super().__init__(message, hint)
        self.message, self.hint = message, hint

    def __str__(self) -> str:
        return f"{self.message}: {self.hint}" if self.hint else self.message


class Stopped(VermeilError):
    """A run was asked to stop, by Ctrl-C (SIGINT) or SIGTERM, and saved where it was; no error."""

    label = ""

    def __init__(self, message: str, hint: str, signal_number: int):
        super().__init__(message, hint)
        self.exit_code = 128 + signal_number

    def __reduce__(self) -> tuple[type["Stopped"], tuple[str, str, int]]:
        return Stopped, (self.message, self.hint, self.exit_code - 128)


def nearest(word: str, known: list[str]) -> str:
    """A hint that names the known word closest to a mistyped one, or lists them all."""
    from difflib import get_close_matches

    close = get_close_matches(word, known, n=1, cutoff=0.5)
    few = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
    return f"did you mean '{close[0]}'?" if close else f"known: {few}"
