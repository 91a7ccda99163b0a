"""`vermeil eval vision`."""

from shared.remeasure import measure_again


def eval(arguments: list[str]) -> None:
    """Probe the encoder on the held-out pictures again and put the numbers into the report."""
    measure_again(arguments, about=eval.__doc__, module="phase1_foundation.vision.evaluate")
