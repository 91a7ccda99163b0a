"""What is asked about a scene in training: more of what the question's own word decides.

Colours and numbers are learned without comparing a word with what is seen, and a yes or no about
one thing is a single bit that teaches it late or never. So one picture is asked about things that
are there and one that is not, and where each of several things is: the answers differ by the name
alone.
"""

import numpy as np

from data.scene_words import ASK, SceneQuestion, absent, is_there, singles, where_is
from data.scenes import Scene

# How soon a kind is asked about, beside the others; `ASK` has them all.
SHARES = {
    "presence": 3.0, "place": 3.0, "object": 1.5, "category": 1.5, "comparison": 1.5,
    "left_above": 1.0, "count": 0.7, "size": 0.7, "color": 0.5,
}  # fmt: skip
ALONE = 0.1  # of the share of a place, where one thing is all there is: nothing to tell apart


def lessons(scene: Scene, random: np.random.Generator) -> list[SceneQuestion]:
    """More questions than `scene_words.questions` has, in an order in which many are drawn first.

    Weighted sampling without replacement (Efraimidis and Spirakis, 2006): the first few are a
    sample by `SHARES`.
    """
    there = [*scene.counts]
    name = there[random.integers(len(there))]
    asked = [is_there(name, "yes", random), is_there(absent(scene, random), "no", random)]
    asked += [where_is(sprite) for sprite in singles(scene)]
    others = (ask(scene, random) for kind, ask in ASK.items() if kind not in ("presence", "place"))
    asked += [question for question in others if question]
    shares = np.array([SHARES[question.kind] for question in asked])
    if len(there) == 1:
        shares[[question.kind == "place" for question in asked]] *= ALONE
    return [asked[i] for i in np.argsort(random.exponential(size=len(asked)) / shares)]
