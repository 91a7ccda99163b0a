"""A tenth of talk about scenes, in training alone."""

import re

import pytest

from data.curriculum_text import SCENES, CurriculumText
from data.embedded_text import EmbeddedText
from data.scene_concepts import UNKNOWN
from data.scene_words import captions, questions
from data.scenes import Scenes


@pytest.fixture(scope="module")
def train():
    return [*CurriculumText().documents("train")]


def test_a_tenth_of_the_training_bytes(train):
    size = {True: 0, False: 0}
    for document in train:
        size[document.source == "scenes"] += len(document.text.encode())
    assert 0.08 < size[True] / (size[True] + size[False]) < 0.12
    assert len({document.id for document in train}) == len(train)


def test_training_is_the_embedded_text_and_then_the_pages(train):
    plain = [*EmbeddedText().documents("train")]
    assert train[: len(plain)] == plain
    assert {document.source for document in train[len(plain) :]} == {"scenes"}


@pytest.mark.parametrize("split", ["validation", "test"])
def test_held_out_documents_are_the_embedded_ones(split):
    assert [*CurriculumText().documents(split)] == [*EmbeddedText().documents(split)]


def test_pages_are_words_of_training_scenes(train):
    pages = [document.text for document in train if document.source == "scenes"]
    scenes = Scenes()
    told = [part for page in pages for part in page.split("\n\n")]
    assert len(told) == SCENES
    for number in (0, 1, 777, SCENES - 1):
        scene = scenes.scene("train", number)
        asked = [f"{question.text} {question.answer}" for question in questions(scene)]
        assert told[number].split("\n") == [*captions(scene), *asked]
    words = {*re.findall(r"\w+", " ".join(pages))}
    assert not words & {concept.name for concept in UNKNOWN}


def test_the_identity_is_stable():
    first, again = CurriculumText().sha256(), CurriculumText().sha256()
    assert first == again != EmbeddedText().sha256()
