"""What captions of generated scenes say, and how right they are."""

import pytest

from shared.errors import VermeilError
from shared.metrics.scene_facts import facts, mean_tuple_f1, tuple_f1

NAMES = {"dog": "dog", "dogs": "dog", "puppy": "dog", "puppies": "dog", "cat": "cat",
         "cats": "cat", "apple": "apple", "red apple": "apple", "tree": "tree", "trees": "tree",
         "car": "car", "hot dog": "hot dog", "hot dogs": "hot dog", "frog": "frog",
         "pizza": "pizza", "orange": "orange", "oranges": "orange"}  # fmt: skip
COLOURS = ("red", "blue", "green", "yellow", "pink", "gray", "orange", "light blue")

# Facts in short: "2 dog", "on blue", "small dog", "dog @ top left", "dog above cat".
CAPTIONS = {
    # things, numbers, names
    "a dog": "1 dog",
    "two puppies and 3 cats": "2 dog, 3 cat",
    "dog": "1 dog",
    "a pair of dogs, a couple of cats and another tree": "2 dog, 2 cat, 1 tree",
    "a hot dog and a dog": "1 hot dog, 1 dog",
    "a dog and another dog": "2 dog",
    "there are two dogs. the two dogs are here, and the dog too": "2 dog",
    "there is no dog but one cat": "1 cat",
    "five dogs": "5 dog",
    "the dog and a dog": "2 dog",
    "A DOG!": "1 dog",
    # the background
    "a small red apple and two dogs on a blue background": "1 apple, 2 dog, small apple, on blue",
    "a picture of a car left of a tree, the background is pink":
        "1 car, 1 tree, car left of tree, on pink",
    "on a green background , a frog sits above a pizza":
        "1 frog, 1 pizza, frog above pizza, on green",
    "this green picture shows a dog": "1 dog, on green",
    "the red scene has two cats": "2 cat, on red",
    "a dog in front of a grey backdrop": "1 dog, on gray",
    "a dog with light blue behind": "1 dog, on light blue",
    "a background of pink with a dog": "1 dog, on pink",
    "a dog against yellow": "1 dog, on yellow",
    "a dog on a red table": "1 dog",
    "a dog on red pizza": "1 dog, 1 pizza",
    "an orange on an orange background": "1 orange, on orange",
    "an orange cat on orange": "1 cat, on orange",
    "a dog on red and a cat on blue": "1 dog, 1 cat, on red, on blue",
    # sizes
    "a tiny dog and a big cat": "1 dog, 1 cat, small dog, large cat",
    "the dog is very small and the cat is huge.": "1 dog, 1 cat, small dog, large cat",
    "there are large dogs": "1 dog, large dog",
    "a cat, and there are small dogs": "1 cat, 1 dog, small dog",
    "two red small dogs": "2 dog, small dog",
    # places
    "there is a dog at the top left and a cat below it on yellow":
        "1 dog, 1 cat, dog @ top left, cat below dog, on yellow",
    "the cat in the upper-left corner": "1 cat, cat @ top left",
    "a cat in the lower right corner of the picture": "1 cat, cat @ bottom right",
    "a dog at the bottom of the image and a cat on the left side":
        "1 dog, 1 cat, dog @ bottom, cat @ left",
    "at the top left there is a cat and at the top right is a small dog":
        "1 cat, 1 dog, cat @ top left, dog @ top right, small dog",
    "a dog and, at the bottom right, two cats": "1 dog, 2 cat, cat @ bottom right",
    "a dog and at the bottom there is a cat": "1 dog, 1 cat, cat @ bottom",
    "at the top a dog and a cat": "1 dog, 1 cat, dog @ top",
    "a dog at the top a cat at the bottom": "1 dog, 1 cat, dog @ top, cat @ bottom",
    "two dogs at the top left and bottom right": "2 dog, dog @ top left, dog @ bottom right",
    "a dog on the left of the picture": "1 dog, dog @ left",
    "a dog, at the top, and a cat": "1 dog, 1 cat, dog @ top",
    "a dog left of a cat at the bottom": "1 dog, 1 cat, dog left of cat, cat @ bottom",
    "a dog left of a cat, at the bottom": "1 dog, 1 cat, dog left of cat, dog @ bottom",
    "two cats side by side at the top": "2 cat, cat @ top",
    "two cats one above the other on the left and a hot dog on grey":
        "2 cat, 1 hot dog, cat @ left, on gray",
    # relations
    "a big dog on the right side of a tiny cat":
        "1 dog, 1 cat, large dog, small cat, dog right of cat",
    "the cat is to the left of the dog": "1 cat, 1 dog, cat left of dog",
    "a dog over a cat": "1 dog, 1 cat, dog above cat",
    "a dog right under a cat": "1 dog, 1 cat, dog below cat",
    "a dog on top of a cat": "1 dog, 1 cat, dog above cat",
    "a dog above and to the left of a cat": "1 dog, 1 cat, dog above cat, dog left of cat",
    "a dog left of a cat and above a tree":
        "1 dog, 1 cat, 1 tree, dog left of cat, dog above tree",
    "a dog left of a cat above a tree": "1 dog, 1 cat, 1 tree, dog left of cat, cat above tree",
    "below the cat is a dog": "1 cat, 1 dog, dog below cat",
    "above the cat is a dog and a tree": "1 cat, 1 dog, 1 tree, dog above cat",
    "a tree, a dog and a cat below it": "1 tree, 1 dog, 1 cat, cat below dog",
    "a cat is here. below it there is a dog": "1 cat, 1 dog, dog below cat",
    "a dog next to a cat": "1 dog, 1 cat",
    "a dog right next to a cat": "1 dog, 1 cat",
    # unknown words
    "a zebra and a dog": "1 dog",
    "a dog left of a zebra and a cat": "1 dog, 1 cat",
    "a cute little dog": "1 dog, small dog",
    "one of many things and dogs": "1 dog",
    "": "",
    "the of and , . 7": "",
}  # fmt: skip


def read(text: str) -> frozenset:
    """Facts from their short form."""
    found = set()
    for short in filter(None, text.split(", ")):
        first, _, rest = short.partition(" ")
        relation = next((r for r in ("left of", "right of", "above", "below") if r in rest), "")
        if first.isdigit():
            found.add(("object", rest, int(first)))
        elif first == "on":
            found.add(("background", rest))
        elif first in ("small", "large"):
            found.add(("size", rest, first))
        elif relation:
            found.add(("relation", first, relation, rest.removeprefix(relation + " ")))
        else:
            found.add(("place", first, rest.removeprefix("@ ")))
    return frozenset(found)


@pytest.mark.parametrize(("caption", "expected"), CAPTIONS.items())
def test_what_a_caption_says(caption, expected):
    assert facts(caption, NAMES, COLOURS) == read(expected)


def test_a_fact_in_full():
    assert facts("two dogs left of a cat at the top on red", NAMES, COLOURS) == {
        ("object", "dog", 2), ("object", "cat", 1), ("background", "red"),
        ("relation", "dog", "left of", "cat"), ("place", "cat", "top"),
    }  # fmt: skip


# A large dog at the top left and two small cats below, on red.
TRUE = read(
    "1 dog, 2 cat, on red, large dog, small cat, dog @ top left, dog @ top, dog @ left, "
    "cat @ bottom left, cat @ bottom right, cat @ bottom, cat @ left, cat @ right, "
    "dog above cat, cat below dog, dog left of cat, cat right of dog"
)


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a dog and two cats on red", 1),  # it may leave out the rest
        ("a large dog at the top left above two small cats on a red background", 1),
        ("", 0),
        ("nothing that is known", 0),
        ("a dog and two cats on blue", 2 / 3),  # 2 of 3 said, 2 of 3 found
        ("a dog and a cat on red", 2 / 3),
        ("a dog on red", 0.8),  # precision 1, recall 2/3
        ("a dog and two cats", 0.8),
        ("two cats and a dog at the bottom right on red", 2 * 0.75 / 1.75),  # 3 of 4, 3 of 3
        ("a dog below two cats on red", 2 * 0.75 / 1.75),
        ("a small dog and two cats on red", 2 * 0.75 / 1.75),
        ("a dog, two cats and a tree on red", 2 * 0.75 / 1.75),
        ("a cat left of a tree on blue", 0),
        ("the dog is large", 2 * 1 * (1 / 3) / (4 / 3)),  # 2 of 2 said, 1 of 3 found
    ],
)
def test_f1_by_hand(caption, expected):
    assert tuple_f1(facts(caption, NAMES, COLOURS), TRUE) == pytest.approx(expected)


def test_what_is_right_but_not_asked_for_finds_nothing():
    assert tuple_f1(read("large dog, dog @ top"), TRUE) == 0


def test_everything_that_is_true_is_right():
    assert tuple_f1(TRUE, TRUE) == 1


def test_saying_all_there_might_be_does_not_pay():
    everything = TRUE | {("background", colour) for colour in COLOURS}
    everything |= {("object", name, n) for name in {*NAMES.values()} for n in (1, 2, 3)}
    assert tuple_f1(everything, TRUE) < 0.7


def test_the_mean_over_captions():
    said = [facts(c, NAMES, COLOURS) for c in ("a dog and two cats on red", "", "a dog on red")]
    found = mean_tuple_f1(said, [TRUE] * 3)
    assert found.value == pytest.approx(0.6) and found.n == 3
    assert 0 <= found.low < 0.6 < found.high <= 1


def test_what_has_no_truth_is_an_error():
    with pytest.raises(VermeilError, match="the truth has no objects and no background"):
        tuple_f1(TRUE, read("large dog"))
    with pytest.raises(VermeilError, match="1 captions, but truths of 2 scenes"):
        mean_tuple_f1([TRUE], [TRUE, TRUE])
