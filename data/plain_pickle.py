"""Read a pickle of plain containers without running any code that it names."""

import pickle
from gzip import GzipFile
from typing import IO, Any

from shared.errors import VermeilError


class Inert:
    """What stands in for an object of a library: its arguments and its state, without behaviour."""

    arguments: tuple
    state: Any = None

    def __new__(cls, *arguments: Any):
        made = super().__new__(cls)
        made.arguments = arguments
        return made

    def __init__(self, *arguments: Any):
        """Takes whatever the class it stands in for would take."""

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Unpickler(pickle.Unpickler):
    """Gives `Inert` for the names that are expected and refuses all others."""

    def __init__(self, file: IO[bytes] | GzipFile, names: frozenset[str], what: str):
        super().__init__(file)
        self.names, self.what = names, what

    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in self.names:
            raise VermeilError(
                f"{self.what} asks for {module}.{name}, which is no plain data: it is not read",
                hint="it may be harmful; do not open it with pickle",
            )
        return Inert

    def persistent_load(self, pid: Any) -> Any:
        raise VermeilError(f"{self.what} refers to something outside itself: it is not read")


def load(file: IO[bytes] | GzipFile, names: frozenset[str], what: str) -> Any:
    """The pickled containers; objects of the classes in `names` ("module.name") become `Inert`.

    No class or function of any module is looked up, let alone called. `what` names the file.
    """
    try:
        return _Unpickler(file, names, what).load()
    except (VermeilError, MemoryError):
        raise
    except Exception as error:  # damaged pickles raise nearly anything
        reason = " ".join(str(error).split())[:200]
        raise VermeilError(
            f"{what} is damaged ({type(error).__name__}: {reason})", "fetch it again"
        ) from None
