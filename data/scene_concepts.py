"""The things that generated scenes show: plainly named emoji, and what else people call them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Concept:
    """One thing. Synonyms are emojibase's: a label, a nickname or a tag of the emoji."""

    name: str
    code: str  # of the emoji, as data/embedded_pictures.py has it
    category: str
    synonyms: tuple[str, ...] = ()


def plural(noun: str) -> str:
    """Of a noun of the tables below."""
    if noun in IRREGULAR:
        return IRREGULAR[noun]
    if noun.endswith(("s", "sh", "ch", "x")):
        return f"{noun}es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}s"


def with_article(noun: str) -> str:
    """a dog, an apple."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


IRREGULAR = {"fish": "fish", "tomato": "tomatoes"}
CATEGORIES = ("animal", "food", "vehicle", "plant", "object")


def _table(category: str, text: str) -> list[Concept]:
    """Lines of: name code [synonym ...]; _ stands for a space."""
    found = []
    for line in text.strip().splitlines():
        name, code, *synonyms = line.split()
        found.append(
            Concept(name, code, category, tuple(word.replace("_", " ") for word in synonyms))
        )
    return found


# 64 of the training families of the embedded pictures; FIRST are those that a
# drawing model learns.
KNOWN = (
    *_table("animal", """
dog 1f415
cat 1f408 kitten
horse 1f40e racehorse
cow 1f404
pig 1f416
elephant 1f418
giraffe 1f992
zebra 1f993
rabbit 1f407 bunny
panda 1f43c
fox 1f98a
frog 1f438
turtle 1f422 tortoise
snake 1f40d serpent
fish 1f41f
octopus 1f419
butterfly 1f98b
snail 1f40c
"""),
    *_table("food", """
apple 1f34e red_apple
banana 1f34c
lemon 1f34b
pear 1f350
strawberry 1f353
pineapple 1f34d
tomato 1f345
carrot 1f955
eggplant 1f346 aubergine
sandwich 1f96a
pizza 1f355
hamburger 1f354 burger
doughnut 1f369 donut
cookie 1f36a
cupcake 1f9c1
pretzel 1f968
"""),
    *_table("vehicle", """
car 1f697 automobile
bicycle 1f6b2 bike
tractor 1f69c
motorcycle 1f3cd
boat 26f5 sailboat
ship 1f6a2
rocket 1f680
helicopter 1f681
ambulance 1f691
tram 1f68a
"""),
    *_table("plant", """
tree 1f333
rose 1f339
sunflower 1f33b
tulip 1f337
cactus 1f335
mushroom 1f344 toadstool
"""),
    *_table("object", """
house 1f3e0 home
castle 1f3f0
bell 1f514
guitar 1f3b8
drum 1f941
trumpet 1f3ba
camera 1f4f7
key 1f511
hammer 1f528
chair 1fa91
basketball 1f3c0
gift 1f381 present
star 2b50
umbrella 2614
"""),
)  # fmt: skip

# Never shown in training: of the embedded pictures' validation and test families.
UNKNOWN = (
    *_table("animal", """
penguin 1f427
owl 1f989
crocodile 1f40a
flamingo 1f9a9
shark 1f988
crab 1f980
duck 1f986
leopard 1f406
"""),
    *_table("food", """
broccoli 1f966
taco 1f32e
lollipop 1f36d
popcorn 1f37f
egg 1f95a
cheese 1f9c0
coconut 1f965
watermelon 1f349
"""),
)  # fmt: skip

BY_NAME = {concept.name: concept for concept in (*KNOWN, *UNKNOWN)}
# What a drawing model begins with: told apart even at 10 pixels.
FIRST = ("dog", "apple", "car", "tree", "star", "frog", "banana", "rocket", "sunflower", "key",
         "fox", "tomato", "boat", "cactus", "house", "octopus")  # fmt: skip
# Trained in the flat style alone and tested in the 3D one: every fourth.
FLAT_ONLY = frozenset(concept.name for concept in KNOWN[1::4])
