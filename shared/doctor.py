"""`vermeil doctor`: what this machine has, what the installation lacks, and what to do about it."""

import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, packages_distributions, requires, version
from typing import Literal

from shared.artifact import ROOT
from shared.errors import VermeilError
from shared.hardware import cores, cpu_name, device_name
from shared.home import home

OUR_NAMES = ("shared", "data", "tests", "phase1_foundation", "phase2_multimodal",
             "phase3_scaling", "phase4_deploy", "vermeil")  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One line of the report: "ok", a "note", or a "fault" that stops work."""

    state: Literal["ok", "note", "fault"]
    what: str
    mend: str = ""


def main(arguments: Sequence[str]) -> None:
    """Print every finding; exit with status 1 where one is a fault."""
    if arguments:
        print("usage: vermeil doctor\n\nChecks machine and installation; takes a few seconds.")
        raise SystemExit(0 if arguments[0] in ("-h", "--help") else 2)
    findings = [finding for check in CHECKS for finding in check()]
    for finding in findings:
        print(f"{finding.state:>5}  {finding.what}")
        if finding.mend:
            print(f"{'':>5}  -> {finding.mend}")
    faults = sum(finding.state == "fault" for finding in findings)
    print(f"\nto mend: {faults}" if faults else "\nready: vermeil run tiny")
    raise SystemExit(1 if faults else 0)


def check_python() -> Iterator[Finding]:
    number = platform.python_version()
    good = sys.version_info >= (3, 11)
    mend = "" if good else "use 3.11 or newer"
    yield Finding("ok" if good else "fault", f"Python {number}", mend)


def check_machine() -> Iterator[Finding]:
    import psutil

    memory = psutil.virtual_memory()
    yield Finding("ok", f"{cores()} cores, {cpu_name()}, load {os.getloadavg()[0]:.1f}")
    enough = memory.available > 2 * 2**30
    yield Finding(
        "ok" if enough else "note",
        f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GB of memory free",
        "" if enough else "tiny wants about 2 GB: close something",
    )


def check_home() -> Iterator[Finding]:
    try:
        folder = home()
    except VermeilError as error:
        yield Finding("fault", error.message, error.hint)
        return
    free = shutil.disk_usage(folder).free / 2**30
    yield Finding(
        "ok" if free > 2 else "note",
        f"home {folder}, {free:.0f} GB free",
        "" if free > 2 else "free some space, or set VERMEIL_HOME to another disk",
    )


def check_packages() -> Iterator[Finding]:
    """What vermeil requires is there, and what is there has the version of constraints.txt."""
    try:
        required = requires("vermeil") or []
    except PackageNotFoundError:
        yield Finding("fault", "vermeil is not installed in this environment", "make setup")
        return
    names = [re.split(r"[\[<>=!;\s]", line)[0] for line in required if "extra ==" not in line]
    missing = [name for name in names if installed(name) is None]
    if missing:
        yield Finding("fault", f"not installed: {', '.join(missing)}", "make -B setup")
    pins = (line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines())
    wrong = [
        f"{pin[0]} {found} (wants {pin[1]})"
        for pin in pins
        if len(pin) == 2 and (found := installed(pin[0])) not in (None, pin[1])
    ]
    few = ", ".join(wrong[:4]) + (", ..." if len(wrong) > 4 else "")
    if wrong:
        what = f"{len(wrong)} packages differ from constraints.txt: {few}"
        yield Finding("note", what, "make -B setup")
    elif not missing:
        yield Finding("ok", "packages are there, in the versions of constraints.txt")


def installed(name: str) -> str | None:
    """A package's version without its local part ("+cu130"); None where it is missing."""
    try:
        return version(name).partition("+")[0]
    except PackageNotFoundError:
        return None


def check_names() -> Iterator[Finding]:
    """No other distribution may own our top-level names."""
    foreign = {
        name: owner
        for name, owners in packages_distributions().items()
        if name in OUR_NAMES
        for owner in owners
        if owner != "vermeil"
    }
    for name, owner in foreign.items():
        what = f"the package {owner} owns the name '{name}'"
        yield Finding("fault", what, f"pip uninstall {owner}")
    if not foreign:
        yield Finding("ok", "no other package owns our names")


def check_torch() -> Iterator[Finding]:
    from shared.hardware import matrix_speed

    try:
        import torch
    except ImportError as error:
        yield Finding("fault", f"torch does not import ({error})", "make setup")
        return
    device = device_name()
    where = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    fp32, bf16 = (matrix_speed(dtype, device) for dtype in (torch.float32, torch.bfloat16))
    yield Finding("ok", f"torch {torch.__version__} on {where}: products of 2048-wide matrices "
                  f"{fp32:,.0f} GFLOP/s in fp32, {bf16:,.0f} in bf16")  # fmt: skip


def check_java() -> Iterator[Finding]:
    """METEOR and SPICE are Java programs."""
    if shutil.which("java"):
        yield Finding("ok", "java is there, for METEOR and SPICE")
    else:
        what = "no java: METEOR and SPICE will be reported as not available"
        yield Finding("note", what, "install a Java runtime for the caption metrics")


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    check_python, check_machine, check_home, check_packages, check_names, check_torch, check_java,
)  # fmt: skip
