"""How good the captions are: the field's metrics beside floors and ceiling, and exact facts."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from data.picture_batches import to_tensor
from data.pictures import PictureData
from data.scene_words import names, truth
from data.scenes import GROUNDS, Scenes
from phase2_multimodal.talks import Talk, Talks, measured_splits, talks_of, to_measure
from phase2_multimodal.vision_language.generate import Speaker
from phase2_multimodal.vision_language.prompts import CAPTION
from shared.errors import VermeilError
from shared.grids import enlarged, png
from shared.metrics.caption import CaptionScores, System, compare_captions
from shared.metrics.intervals import mean_of
from shared.metrics.scene_facts import Facts, facts, tuple_f1
from shared.results import Row, images, strongest_floor

if TYPE_CHECKING:
    from phase2_multimodal.train_caption import CaptionConfig

MODEL, CEILING = "model", "leave_one_out"
MEANS = ("cider", "rouge_l", "spice")  # over captions; BLEU and METEOR pool their counts
THUMBNAIL = 16  # pixels a side of what nearest_pixels compares
SHOWN = 12


Systems = dict[str, list[str]]  # what each says of the same pictures


@dataclass(frozen=True)
class Measured:
    """What goes into the report."""

    rows: list[Row]
    exhibits: list[dict[str, Any]]


def measure(
    speaker: Speaker, pictures: PictureData, config: "CaptionConfig", *, artifact: str, preset: str
) -> Measured:
    """Caption the held-out pictures of every split, and measure all of them beside the floors."""
    start = time.perf_counter()
    floors = Floors(speaker, talks_of(pictures, "train", config.size), config.neighbours)
    talks, said = {}, {}
    for split in measured_splits(pictures):
        talks[split] = to_measure(pictures, split, config.size, config.pictures)
        prefix = speaker.look(to_tensor(np.stack([talk.pixels for talk in talks[split]])))
        texts = speaker.say(prefix, [CAPTION] * len(talks[split]), beams=config.beams)
        said[split] = {MODEL: texts, **floors.captions(talks[split], texts)}
    seconds = round(time.perf_counter() - start, 1)
    common = {
        "step": "caption", "artifact": artifact, "preset": preset, "better": "higher", "unit": "",
        "seconds": seconds,
    }  # fmt: skip
    decoding = "greedy" if config.beams == 1 else f"{config.beams} beams"
    rows = overlap(said, talks, f"{config.size} px, {decoding}", common)
    if isinstance(pictures, Scenes):
        for split, systems in said.items():
            truths = [truth(pictures.scene(split, i)) for i in range(len(talks[split]))]
            rows.append(exactness(systems, talks[split], truths, common | {"split": split}))
    return Measured(rows, [shown(talks["test"], said["test"][MODEL])])


class Floors:
    """What needs no understanding of the picture: each a caption for every picture."""

    def __init__(self, speaker: Speaker, train: Talks, most: int):
        self.speaker = speaker
        self.talks = [train[number] for number in range(min(most, len(train)))]
        self.thumbnails = thumbnails(self.talks)
        self.features = self._features(self.talks)
        self.constant = most_typical([talk.captions[0] for talk in self.talks])

    def captions(self, talks: Sequence[Talk], said: Sequence[str]) -> dict[str, list[str]]:
        """By floor."""
        near = {
            "nearest_pixels": torch.cdist(thumbnails(talks), self.thumbnails).argmin(dim=1),
            "nearest_features": (self._features(talks) @ self.features.T).argmax(dim=1),
        }
        found = {
            name: [self.talks[i].captions[0] for i in index.tolist()]
            for name, index in near.items()
        }
        # Every picture gets what was said of another one.
        found["shuffled_image"] = [*said[1:], *said[:1]]
        return found | {"constant": [self.constant] * len(talks)}

    @torch.inference_mode()
    def _features(self, talks: Sequence[Talk]) -> Float[Tensor, "n c"]:
        """The mean feature of each picture as the model's own encoder sees it, of length 1."""
        encoder, parts = self.speaker.model.vision, []
        for first in range(0, len(talks), self.speaker.rows):
            some = talks[first : first + self.speaker.rows]
            pixels = to_tensor(np.stack([talk.pixels for talk in some]))
            seen = encoder.features(pixels.to(encoder.pos_embed.device))[:, 1:].mean(dim=1)
            parts.append(F.normalize(seen.float(), dim=1))
        return torch.cat(parts)


def thumbnails(talks: Sequence[Talk]) -> Float[Tensor, "n p"]:
    """Pictures made small, as one row of numbers each."""
    pixels = to_tensor(np.stack([talk.pixels for talk in talks]))
    return F.adaptive_avg_pool2d(pixels, THUMBNAIL).flatten(1)


def most_typical(captions: Sequence[str]) -> str:
    """The caption whose words are those of most others: the best that can be said unseen."""
    words = [set(caption.split()) for caption in captions]
    counts = Counter(word for some in words for word in some)
    return max(
        zip(captions, words, strict=True),
        key=lambda pair: sum(counts[word] for word in pair[1]) / len(pair[1]) ** 0.5,
    )[0]


def overlap(
    said: Mapping[str, Systems], talks: Mapping[str, Sequence[Talk]], protocol: str,
    common: dict[str, Any],
) -> list[Row]:  # fmt: skip
    """By split CIDEr and its gain first, then the others, beside floors and ceiling."""
    pairs: dict[tuple[str, str], System] = {}
    for split, systems in said.items():
        references = {str(i): talk.captions for i, talk in enumerate(talks[split])}
        for name, texts in systems.items():
            pairs[split, name] = ({str(i): text or "." for i, text in enumerate(texts)}, references)
        if min(map(len, references.values())) > 1:  # a person's caption against the others'
            pairs[split, CEILING] = (
                {key: captions[0] for key, captions in references.items()},
                {key: captions[1:] for key, captions in references.items()},
            )
    try:
        scores = compare_captions(pairs)
    except VermeilError as error:  # the package is not installed
        n = sum(map(len, talks.values()))
        note = f"{error.message}: {error.hint}"
        return [Row(metric="cider", value=None, n=n, protocol=protocol, split="test", note=note,
                    **common)]  # fmt: skip
    rows = []
    for split in said:
        of_split = {name: found for (where, name), found in scores.items() if where == split}
        metrics = sorted(of_split[MODEL].scores, key=lambda name: not name.startswith("cider"))
        first, *others = (
            row_of(metric, of_split, protocol, common | {"split": split}) for metric in metrics
        )
        rows += [first, *gain(first, common | {"split": split})]
        rows += others if split == "test" else []
    return rows


def gain(cider: Row, common: dict[str, Any]) -> list[Row]:
    """How far the model has come from the strongest floor, 0, to people's agreement, 1."""
    floor, ceiling = strongest_floor(cider), cider.ceilings.get(CEILING)
    if cider.value is None or floor is None or ceiling is None or ceiling <= floor[1]:
        return []
    value = (cider.value - floor[1]) / (ceiling - floor[1])
    protocol = f"(CIDEr - {floor[0]}) / (leave one out, a reference fewer, - {floor[0]})"
    return [Row(metric=f"{cider.metric}_gain", value=value, n=cider.n, protocol=protocol,
                baselines={floor[0]: 0.0}, ceilings={CEILING: 1.0}, **common)]  # fmt: skip


def row_of(
    metric: str, scores: Mapping[str, CaptionScores], protocol: str, common: dict[str, Any]
) -> Row:
    """One metric of the model, beside the same of the others."""
    score, n = scores[MODEL].scores[metric], scores[MODEL].n
    protocol = f"{protocol}, words by {scores[MODEL].tokenizer}"
    if score.value is None:
        note = f"not available: {score.reason}"
        return Row(metric=metric, value=None, n=n, protocol=protocol, note=note, **common)
    others = {name: of.scores[metric].value for name, of in scores.items() if name != MODEL}
    ceilings = {name: others.pop(name) for name in (CEILING,) if name in others}
    low = high = None
    if metric.removesuffix("_simple") in MEANS:
        _, low, high, _ = mean_of(score.each)
    return Row(metric=metric, value=score.value, low=low, high=high, n=n, protocol=protocol,
               baselines=others, ceilings=ceilings, **common)  # fmt: skip


def exactness(
    systems: Systems, talks: Sequence[Talk], truths: Sequence[Facts], common: dict[str, Any]
) -> Row:
    """Tuple F1: things, numbers, places and colours, against what is true of a scene."""
    known, colours = names(), tuple(GROUNDS)

    def exact(texts: Sequence[str]) -> list[float]:
        pairs = zip(texts, truths, strict=True)
        return [tuple_f1(facts(text, known, colours), true) for text, true in pairs]

    value = mean_of(exact(systems[MODEL]))
    floors: dict[str, float | None] = {}
    others = (name for name in systems if name != MODEL)
    floors |= {name: mean_of(exact(systems[name])).value for name in others}
    people = mean_of(exact([talk.captions[0] for talk in talks])).value
    return Row(metric="tuple_f1", **value._asdict(), protocol="facts against the scene's truth",
               baselines=floors, ceilings={CEILING: people}, **common)  # fmt: skip


def shown(talks: Sequence[Talk], said: list[str]) -> dict[str, Any]:
    """Pictures by fixed index with what was said of them, failures too."""
    places = np.linspace(0, len(talks) - 1, SHOWN).astype(int)
    items = [
        (said[i], png(enlarged(talks[i].pixels, max(1, 192 // len(talks[i].pixels)))))
        for i in places
    ]
    return images("Test pictures, and what the model says", items, columns=4)
