"""The unified model's results: spoken questions, transcripts, and what it has forgotten."""

import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from data.picture_batches import to_tensor
from data.pictures import PictureData
from data.speech import Clip, SpeechData
from data.text import TextData
from phase1_foundation.language.tokenizer import Tokenizer
from phase2_multimodal.talks import talks_of
from phase2_multimodal.vision_language import forgetting
from phase2_multimodal.vision_language.evaluate_answers import SHORT, people
from phase2_multimodal.vision_language.generate import GREEDY, Speaker
from phase2_multimodal.vision_language.prompts import CAPTION, Prompter
from phase4_deploy.audio.features import Features
from phase4_deploy.unified.generate import Unified
from phase4_deploy.unified.lessons import SpokenTalks, questions
from phase4_deploy.unified.model import UnifiedModel
from shared import hardware
from shared.artifact import Artifact
from shared.config import override
from shared.metrics.caption import caption_scores
from shared.metrics.intervals import Mean, mean_of
from shared.metrics.speech import character_error_rate, word_error_rate
from shared.metrics.vqa import vqa_accuracy
from shared.results import Row, table

if TYPE_CHECKING:
    from phase4_deploy.train_unified import UnifiedTrainConfig

SHOWN = 12


@dataclass(frozen=True)
class Measured:
    """What goes into the report."""

    rows: list[Row]
    exhibits: list[dict[str, Any]]


def measure(
    model: UnifiedModel, prompter: Prompter, pictures: PictureData, speech: SpeechData,
    config: "UnifiedTrainConfig", *, artifact: str, preset: str,
) -> Measured:  # fmt: skip
    """Questions by voices that nobody trained on, and the recordings of the test split."""
    common = {"step": "unified", "artifact": artifact, "preset": preset, "unit": ""}
    unified = Unified(model, prompter)
    spoken = SpokenTalks.of(questions(config), pictures, "test", config.size)
    rows, shown = spoken_rows(unified, spoken, config.pictures, common)
    rows += transcript_rows(unified, speech, config.clips, common)
    return Measured(rows, [shown])


def spoken_rows(
    unified: Unified, spoken: SpokenTalks, most: int, common: dict[str, Any]
) -> tuple[list[Row], dict[str, Any]]:
    """VQA accuracy of spoken questions beside the same ones typed, unasked, and others' voices."""
    start = time.perf_counter()
    numbers = range(min(most, len(spoken)))
    batch = spoken.batch(numbers, unified.prompter)
    asked = [spoken.asked[number][0] for number in numbers]
    sound, other = batch.sound, [(number + 1) % len(numbers) for number in numbers]
    mels = [sound.mels[row, :length] for row, length in enumerate(sound.lengths.tolist())]
    said = {
        "spoken": unified.answers(pictures=batch.pictures, mels=mels, sampling=SHORT),
        "typed": unified.answers(
            pictures=batch.pictures, texts=[q.text for q in asked], sampling=SHORT
        ),
        "silent": unified.answers(pictures=batch.pictures, texts=[""] * len(mels), sampling=SHORT),
        "shuffled_audio": unified.answers(
            pictures=batch.pictures, mels=[mels[row] for row in other], sampling=SHORT
        ),
    }
    points = {
        way: np.array([vqa_accuracy(a, people(q)) for a, q in zip(of, asked, strict=True)])
        for way, of in said.items()
    }
    mean = {way: float(of.mean()) for way, of in points.items()}
    about = common | {"split": "test", "seconds": round(time.perf_counter() - start, 1)}
    rows = [Row(
        metric="vqa_accuracy_spoken", **mean_of(points["spoken"])._asdict(), better="higher",
        protocol="questions about unseen scenes by three voices nobody trained on; exact match",
        baselines={"silent": mean["silent"], "shuffled_audio": mean["shuffled_audio"]},
        ceilings={"typed": mean["typed"]}, **about,
    )]  # fmt: skip
    gained = share_of(points["spoken"], points["typed"], points["silent"])
    rows.append(Row(
        metric="spoken_share", **gained._asdict(), better="higher",
        protocol="(spoken - silent) / (typed - silent) of VQA accuracy",
        baselines={"shuffled_audio": (mean["shuffled_audio"] - mean["silent"])
                   / max(mean["typed"] - mean["silent"], 1e-9)}, **about,
    ))  # fmt: skip
    lines = [
        [asked[row].text, asked[row].answers[0], *(of[row] for of in said.values())]
        for row in np.linspace(0, len(asked) - 1, SHOWN).astype(int)
    ]
    title = "Questions that were heard, and what was answered"
    return rows, table(
        title, ["question", "true", "heard", "typed", "not asked", "another's"], lines
    )


def share_of(spoken: np.ndarray, typed: np.ndarray, silent: np.ndarray) -> Mean:
    """What is left of what asking brings when it is done aloud; bootstrap over questions."""

    def share(rows: np.ndarray) -> float:
        floor = silent[rows].mean()
        return float((spoken[rows].mean() - floor) / max(typed[rows].mean() - floor, 1e-9))

    n, random = len(spoken), np.random.default_rng(0)
    value = share(np.arange(n))
    draws = [share(random.integers(n, size=n)) for _ in range(1000)]
    low, high = np.percentile(draws, [2.5, 97.5]).tolist()
    return Mean(value, min(low, value), max(high, value), n)


def transcript_rows(
    unified: Unified, speech: SpeechData, most: int, common: dict[str, Any]
) -> list[Row]:
    """CER and WER of transcripts; beside them what the language model writes by itself, and what
    the encoder's own letters say."""
    parts: dict[str, list[Clip]] = defaultdict(list)
    for clip in speech.clips("test"):
        parts[clip.label_method].append(clip)
    features, rows = Features(), []
    for method, all_of_it in sorted(parts.items()):
        clips = all_of_it[:most]
        mels = [features.get(clip.source, clip.id).mels for clip in clips]
        texts = [clip.text for clip in clips]
        alone = unified.written(mels)
        found = unified.transcripts(mels, alone)
        letters = [unified.letters(each) for each in mels]
        others = found[1:] + found[:1]
        for metric, rate in (("cer", character_error_rate), ("wer", word_error_rate)):
            score = rate(texts, found)
            rows.append(Row(
                metric=metric, value=score.value, low=score.low, high=score.high, n=score.n,
                better="lower", split="test",
                protocol="spellings of the encoder's letters, chosen with the language model; "
                f"labels: {method.replace('_', ' ')}",
                baselines={"language_model_alone": rate(texts, alone).value,
                           "its_ctc_letters": rate(texts, letters).value,
                           "shuffled_audio": rate(texts, others).value}, **common,
            ))  # fmt: skip
    return rows


def abilities(
    speaker: Speaker, pictures: PictureData, text: TextData, config: "UnifiedTrainConfig"
) -> dict[str, Mean]:
    """What phases 1 and 2 measured, on the same small samples for every model of the table."""
    talks = talks_of(pictures, "test", config.size)
    some = [talks[number] for number in range(min(config.pictures, len(talks)))]
    prefix = speaker.look(to_tensor(np.stack([talk.pixels for talk in some])))
    said = speaker.say(prefix, [CAPTION] * len(some), GREEDY)
    given = {str(row): caption or "." for row, caption in enumerate(said)}
    true = {str(row): talk.captions for row, talk in enumerate(some)}
    cider = caption_scores(given, true, java=False).scores["cider_simple"].each
    asked = [(row, question) for row, talk in enumerate(some) for question in talk.questions]
    rows = torch.tensor([row for row, _ in asked])
    answers = speaker.say(prefix[rows], [question.text for _, question in asked], SHORT)
    right = [vqa_accuracy(a, people(q)) for a, (_, q) in zip(answers, asked, strict=True)]
    bits = forgetting.score(speaker.model.language, speaker.prompter.tokenizer, text)
    low, high = bits.bits_per_byte_interval or (None, None)
    return {
        "bits_per_byte": Mean(bits.bits_per_byte, low, high, bits.bytes),
        "cider_simple": mean_of(cider),
        "vqa_accuracy": mean_of(right, rows.tolist()),
    }


BETTER = {"bits_per_byte": "lower", "cider_simple": "higher", "vqa_accuracy": "higher"}


def forgetting_rows(
    before: dict[str, Mean], after: dict[str, Mean], without: dict[str, Mean] | None,
    common: dict[str, Any],
) -> tuple[list[Row], dict[str, Any]]:  # fmt: skip
    """Each ability before speech, after it, and after speech without rehearsal."""
    rows, lines = [], []
    for metric, found in after.items():
        old, alone = before[metric], without[metric].value if without else None
        rows.append(Row(
            step="unified", metric=metric, **found._asdict(), split="test",
            unit="bit/byte" if metric == "bits_per_byte" else "", better=BETTER[metric],  # type: ignore[arg-type]
            protocol="after speech, with rehearsal; reference: before speech",
            reference={"before_speech": old.value},
            baselines={"without_rehearsal": alone}, **common,
        ))  # fmt: skip
        lines.append([metric, old.value, found.value, alone, found.n])
    header = ["", "before speech", "after, with rehearsal", "after, without", "n"]
    return rows, table("What speech cost", header, lines)


def evaluate(artifact: Artifact) -> list[Row]:
    """Measure a published model again: all but forgetting and drawing, which take its parents."""
    import data
    from phase4_deploy.train_unified import UnifiedTrainConfig

    hardware.set_threads(0)
    config = override(UnifiedTrainConfig(), artifact.manifest["config"])
    pictures, speech = data.load_pictures(config.data), data.load_speech(config.speech)
    model = UnifiedModel.from_pretrained(artifact).eval()
    prompter = Prompter(Tokenizer.from_pretrained(artifact))
    about = {"artifact": artifact.id, "preset": artifact.manifest["preset"]}
    rows = measure(model, prompter, pictures, speech, config, **about).rows
    return rows + forgetting_of(artifact, rows)


def forgetting_of(artifact: Artifact, rows: list[Row]) -> list[Row]:
    """The rows about forgetting and drawing as training measured them."""
    new = {row.metric for row in rows}
    return [Row(**row) for row in artifact.manifest["metrics"] if row["metric"] not in new]
