"""Pictures, captions and questions written in the official forms of COCO captions and VQA v2."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image

from data.pictures import Picture
from data.questions import VisualQuestion
from shared.errors import VermeilError
from shared.home import write_atomically

SPLIT_NAME = re.compile(r"(train|val|test)\w*")  # those that the readers look for
ANSWERS_EACH = 10
LICENCE = {"id": 1, "name": "as the maker of the pictures states", "url": ""}


def write_official(
    folder: Path,
    split_name: str,
    pictures: Iterable[Picture],
    questions: Iterable[VisualQuestion] = (),
) -> None:
    """Write one split such that `coco@folder` and `vqa_v2@folder` read it back.

    Pictures become SPLIT_NAME/000000000001.png and so on, in their order and without loss; they
    are taken one by one. Texts become annotations/captions_SPLIT_NAME.json. Questions, if there
    are any, become v2_OpenEnded_mscoco_SPLIT_NAME_questions.json with their ids, and answers
    v2_mscoco_SPLIT_NAME_annotations.json, both beside the pictures' folder. VQA v2 has ten answers
    to a question: one given answer is repeated ten times, so that VQA accuracy is an exact match.
    Classes, styles and tags have no place there. The annotations are written last, when the
    pictures are whole. Raises VermeilError for another number of answers than 1 or 10, a question
    without words or about a picture that is not among these, a picture without words, and an id
    that comes twice.
    """
    if not SPLIT_NAME.fullmatch(split_name):
        raise VermeilError(
            f"'{split_name}' is no name of a split", "begin it with train, val or test: val2026"
        )
    captions = folder / "annotations" / f"captions_{split_name}.json"
    if captions.exists():
        raise VermeilError(f"{captions} is there already", "remove it first")
    images, numbers = _write_pictures(folder / split_name, pictures)
    asked, answered = _rows(questions, numbers)
    info = {"description": f"{folder.resolve().name}, in the form of COCO and VQA v2"}
    head = {"info": info, "data_type": "mscoco", "data_subtype": split_name, "license": LICENCE}
    if asked:
        _save(
            folder / f"v2_OpenEnded_mscoco_{split_name}_questions.json",
            {**head, "task_type": "Open-Ended", "questions": asked},
        )
        _save(folder / f"v2_mscoco_{split_name}_annotations.json",
              {**head, "annotations": answered})  # fmt: skip
    said = [(image["id"], text) for image, texts in images for text in texts]
    annotations = [
        {"image_id": image, "id": number, "caption": text}
        for number, (image, text) in enumerate(said, 1)
    ]
    listed = [image for image, _ in images]
    _save(captions, {"info": info, "licenses": [LICENCE], "images": listed,
                     "annotations": annotations})  # fmt: skip


def _write_pictures(
    folder: Path, pictures: Iterable[Picture]
) -> tuple[list[tuple[dict[str, Any], tuple[str, ...]]], dict[str, int]]:
    """What the annotations say of each picture, with its texts; and the number of each id."""
    folder.mkdir(parents=True, exist_ok=True)
    images: list[tuple[dict[str, Any], tuple[str, ...]]] = []
    numbers: dict[str, int] = {}
    for number, picture in enumerate(pictures, 1):
        if picture.id in numbers:
            raise VermeilError(f"the picture {picture.id} comes twice", "give each its own id")
        if not picture.texts or not all(text.strip() for text in picture.texts):
            raise VermeilError(f"the picture {picture.id} has an empty caption", "leave it out")
        numbers[picture.id] = number
        height, width, _ = picture.pixels.shape
        name = f"{number:012}.png"
        Image.fromarray(picture.pixels).save(folder / name)
        image = {"license": 1, "file_name": name, "height": height, "width": width, "id": number}
        images.append((image, picture.texts))
    return images, numbers


def _rows(
    questions: Iterable[VisualQuestion], numbers: dict[str, int]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of VQA v2's two files."""
    asked: list[dict[str, Any]] = []
    answered: list[dict[str, Any]] = []
    seen: set[int] = set()
    for question in questions:
        wrong = _wrong(question, numbers, seen)
        if wrong:
            raise VermeilError(f"question {question.id} {wrong}", "leave it out, or mend it")
        seen.add(question.id)
        ids = {"image_id": numbers[question.picture], "question_id": question.id}
        answers = question.answers * (ANSWERS_EACH // len(question.answers))
        asked.append({**ids, "question": question.text})
        answered.append({
            **ids,
            "question_type": question.question_type,
            "answer_type": question.answer_type,
            "multiple_choice_answer": Counter(answers).most_common(1)[0][0],
            "answers": [{"answer": answer, "answer_confidence": "yes", "answer_id": number}
                        for number, answer in enumerate(answers, 1)],
        })  # fmt: skip
    return asked, answered


def _wrong(question: VisualQuestion, numbers: dict[str, int], seen: set[int]) -> str:
    if question.id in seen:
        return "comes twice"
    if question.picture not in numbers:
        return f"is about {question.picture}, which is not among the pictures"
    if not question.text.strip():
        return "has no words"
    if len(question.answers) not in (1, ANSWERS_EACH):
        return f"has {len(question.answers)} answers, not 1 or {ANSWERS_EACH}"
    return ""


def _save(path: Path, content: dict[str, Any]) -> None:
    write_atomically(path, json.dumps(content, ensure_ascii=False))
