"""`vermeil eval alignment`."""

from shared.remeasure import measure_again


def eval(arguments: list[str]) -> None:
    """Search among the held-out pictures again and put the numbers into the report."""
    measure_again(arguments, about=eval.__doc__, module="phase2_multimodal.alignment.evaluate")
