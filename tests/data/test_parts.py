"""Cutting a stream of documents, and working on the pieces in several processes."""

import math
import operator
import os

import pytest

from data.parts import Workers, cut
from data.text import Document
from shared.errors import VermeilError


def documents(*lengths: int) -> list[Document]:
    return [Document(str(i), "test", "", "x" * length) for i, length in enumerate(lengths)]


def test_parts_are_whole_documents_of_a_least_length():
    parts = cut(iter(documents(4, 5, 6, 30, 0, 9, 1, 2)), 10)
    assert [[len(d.text) for d in part] for part in parts] == [[4, 5, 6], [30], [0, 9, 1], [2]]
    assert list(cut([], 10)) == []


@pytest.mark.parametrize("processes", [1, 2])
def test_results_keep_the_order_of_the_items(processes):
    with Workers(processes) as workers:
        assert list(workers.each(operator.neg, range(20))) == [-i for i in range(20)]
        assert list(workers.each(str, iter([7, 8]))) == ["7", "8"], "a second time"
        assert list(workers.each(str, [])) == []


def test_few_items_wait_in_memory():
    taken = []

    def items():
        for i in range(100):
            taken.append(i)
            yield i

    with Workers(2) as workers:
        results = workers.each(operator.neg, items())
        assert next(results) == 0
        assert len(taken) <= 4
    assert len(taken) <= 4, "and the rest is left alone"


def test_a_single_item_starts_no_process():
    with Workers(8) as workers:
        assert list(workers.each(lambda i: os.getpid(), [1])) == [os.getpid()]


@pytest.mark.parametrize("processes", [1, 2])
def test_what_goes_wrong_in_a_worker_is_raised(processes):
    with Workers(processes) as workers, pytest.raises(ValueError, match=r"math domain|nonnegative"):
        list(workers.each(math.sqrt, [4, -1, 9]))


def test_a_worker_that_the_system_kills():
    with Workers(2) as workers, pytest.raises(VermeilError, match="killed a worker") as error:
        list(workers.each(os._exit, [9, 9]))
    assert "fewer processes" in error.value.hint
