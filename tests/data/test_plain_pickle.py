"""Pickles are read as plain containers: what they name is never run."""

import io
import os
import pickle
import types

import pytest

from data.plain_pickle import Inert, load
from shared.errors import VermeilError


def read(content, names=frozenset()):
    return load(io.BytesIO(content), frozenset(names), "a.pkl")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_containers_come_back(protocol):
    plain = {"a": [1, 2.5, None, True], "b": ("x", "né"), "c": {"d": []}}
    assert read(pickle.dumps(plain, protocol)) == plain


class Malicious:
    """What a pickle that runs a command when it is opened looks like."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("function", [os.system, eval, exec, __import__, getattr, pickle.loads])
def test_a_pickle_that_names_a_function_is_refused(tmp_path, function, protocol):
    argument = f"touch {tmp_path}/harm" if function is os.system else "1"
    with pytest.raises(VermeilError, match=r"a\.pkl asks for \w+\.\w+, which is no plain data"):
        read(pickle.dumps([1, Malicious(function, argument)], protocol))
    assert not list(tmp_path.glob("harm"))


def test_an_expected_name_is_not_run_either(tmp_path):
    """Even where a name is expected, an inert object stands in for what it names."""
    content = pickle.dumps(Malicious(os.system, f"touch {tmp_path}/harm"))
    found = read(content, {f"{os.system.__module__}.system"})
    assert isinstance(found, Inert) and found.arguments == (f"touch {tmp_path}/harm",)
    assert not list(tmp_path.glob("harm"))


def test_objects_keep_their_state():
    content = pickle.dumps(types.SimpleNamespace(a=1))
    found = read(content, {"types.SimpleNamespace"})
    assert found.state == {"a": 1}


class Outside(pickle.Pickler):
    def persistent_id(self, obj):
        return "elsewhere" if obj == "x" else None


@pytest.mark.parametrize(
    "content",
    [b"", b"\x80\x04", b"no pickle", pickle.dumps(list(range(9)))[:-4], b"\x80\x04K\x01b."],
)
def test_damage_is_named(content):
    with pytest.raises(VermeilError, match=r"a\.pkl is damaged \(\w+"):
        read(content)


def test_a_pickle_that_points_elsewhere_is_refused():
    file = io.BytesIO()
    Outside(file).dump(["x"])
    with pytest.raises(VermeilError, match=r"a\.pkl refers to something outside itself"):
        read(file.getvalue())
