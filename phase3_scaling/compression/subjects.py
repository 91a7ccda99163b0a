"""The models that are made smaller or faster: each a function of tensors, and its task.

Whatever is done to a model, what comes out is called with the same tensors. So one stopwatch and
the task's own metric do for every variant of every model.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

import data
from data.picture_batches import to_pixels, to_tensor
from data.pictures import arrays
from data.scene_words import captions
from phase1_foundation.diffusion import evaluate as drawing
from phase1_foundation.diffusion.model import Condition, DiffusionModel
from phase1_foundation.language.model import LanguageModel
from phase1_foundation.language.tokenizer import Tokenizer
from phase1_foundation.train_diffusion import DiffusionTrainConfig
from phase1_foundation.vision import encoders
from phase1_foundation.vision.evaluate import apply
from phase1_foundation.vision.vit import VisionTransformer
from phase2_multimodal.talks import Talk, talks_of, to_measure
from phase2_multimodal.text_to_image import draw as illustrating
from phase2_multimodal.text_to_image.judge import Truth, judged, trained_judge
from phase2_multimodal.train_text_to_image import TextToImageTrainConfig, scenes_of
from phase2_multimodal.vision_language.evaluate_answers import people
from phase2_multimodal.vision_language.model import VisionLanguageModel, mask_of
from phase2_multimodal.vision_language.prompts import CAPTION, Prompter
from phase3_scaling.compression.onnx_graphs import Illustrator
from shared.artifact import Artifact
from shared.config import override
from shared.errors import VermeilError
from shared.metrics.caption import caption_scores
from shared.metrics.image_evaluation import evaluate_pictures, reference_statistics
from shared.metrics.intervals import Mean, mean_of, wilson
from shared.metrics.text import score_documents
from shared.metrics.vqa import vqa_accuracy

Example = tuple[Tensor, ...]  # what a model is called with
ROWS = 16  # of an example
LONGEST_DOCUMENT = 8192  # characters of a test document that are scored
LONGEST_CAPTION = 24  # tokens


@dataclass(frozen=True)
class Subject:
    """A trained model, examples of what it is called with, and how good it is at its task."""

    name: str  # the step that made it
    artifact: Artifact
    model: nn.Module
    examples: tuple[Example, ...]  # of ROWS rows each; rows may be fewer in use
    unit: str  # of what one row is
    metric: str
    better: Literal["lower", "higher"]
    protocol: str
    quality: Callable[[nn.Module], Mean]  # of anything that is called as the model is

    def rows(self, number: int) -> Example:
        """The first rows of the first example."""
        return tuple(part[:number] for part in self.examples[0])


def language(artifact: Artifact, n: int = 8) -> Subject:
    """A language model scoring text: tokens (B, T) -> logits (B, T, V)."""
    model = LanguageModel.from_pretrained(artifact).eval()
    tokenizer, context = Tokenizer.from_pretrained(artifact), model.config.context
    text = data.load(artifact.manifest["config"]["data"])
    tests = [document.text[:LONGEST_DOCUMENT] for document in text.documents("test")][:n]
    held_out = [document.text for document in text.documents("validation")]
    scored = [
        (ids, len(words.encode()))
        for ids, words in zip(tokenizer.encode_documents(tests), tests, strict=True)
    ]
    line = np.concatenate(tokenizer.encode_documents(held_out))[: 4 * ROWS * context]
    windows = torch.from_numpy(line.astype(np.int64)).unflatten(0, (-1, context))  # (4 R, T)

    def quality(module: nn.Module) -> Mean:
        score = score_documents(
            module, scored, context=context, stride=context // 2, batch_size=ROWS
        )
        low, high = score.bits_per_byte_interval or (None, None)
        return Mean(score.bits_per_byte, low, high, score.bytes)

    return Subject(
        "lm", artifact, model, tuple((part,) for part in windows.split(ROWS)),
        f"window of {context} tokens", "bits_per_byte", "lower",
        f"strided {context}/{context // 2}, the first {LONGEST_DOCUMENT:,} characters of "
        f"{len(tests)} documents", quality,
    )  # fmt: skip


def vision(artifact: Artifact, n: int = 10_000) -> Subject:
    """A vision encoder with the head it was trained with: pictures -> logits of the classes."""
    config = artifact.manifest["config"]
    model = encoders.load(artifact).eval()
    if not model.config.classes:
        raise VermeilError(
            f"{artifact.id} has no head that names classes, so nothing says how good it is",
            "vermeil train vision --objective supervised",
        )
    pictures = data.load_pictures(config["data"])
    seen = to_tensor(np.array(arrays(pictures, "train", config["size"]).pixels[: 4 * ROWS]))
    test = arrays(pictures, "test", config["size"])
    test = test._replace(pixels=test.pixels[:n], labels=test.labels[:n])
    labels = torch.from_numpy(test.labels)

    def quality(module: nn.Module) -> Mean:
        right = apply(module, test).argmax(dim=1).cpu() == labels
        return Mean(right.float().mean().item(), *wilson(right), len(right))

    return Subject(
        "vision", artifact, model, tuple((part,) for part in seen.split(ROWS)), "picture",
        "top_1_accuracy", "higher", f"{config['size']} px, the trained head", quality,
    )  # fmt: skip


def with_blocks(subject: Subject) -> VisionTransformer:
    """The encoder, for what works on a transformer's blocks; VermeilError for another kind."""
    if not isinstance(subject.model, VisionTransformer):
        raise VermeilError(
            f"{subject.artifact.id} is a {type(subject.model).__name__}, which has no blocks",
            "take one that was trained with --model vit",
        )
    return subject.model


class Captioner(nn.Module):
    """Pictures (B, 3, H, W) and words (B, T) -> logits (B, T, V) of each next word."""

    opening: Tensor

    def __init__(self, model: VisionLanguageModel, opening: Int[Tensor, " o"]):
        super().__init__()
        self.model = model
        self.register_buffer("opening", opening, persistent=False)

    def forward(
        self, pictures: Float[Tensor, "b 3 h w"], tokens: Int[Tensor, "b t"]
    ) -> Float[Tensor, "b t v"]:
        prefix = self.model.prefix(pictures, self.opening)
        language, seen = self.model.language, prefix.shape[1]
        x = torch.cat([prefix, language.embed(tokens)], dim=1)  # (B, P + T, D)
        hidden = language.hidden_states(x, mask=mask_of(torch.ones_like(tokens), seen))
        return language.head(hidden[:, seen:])


def caption(artifact: Artifact, n: int = 128) -> Subject:
    """A captioner as one function; CIDEr of what it says greedily, without a cache."""
    prompter, talks, pictures = looked_at(artifact, n)
    references = {str(i): talk.captions for i, talk in enumerate(talks)}
    question = torch.tensor([prompter.question(CAPTION)])

    def quality(module: nn.Module) -> Mean:
        said = [
            prompter.tokenizer.decode(ids).strip() or "."
            for part in pictures.split(ROWS)
            for ids in greedy(module, part, question.expand(len(part), -1), prompter.end)
        ]
        captions = {str(i): text for i, text in enumerate(said)}
        return mean_of(caption_scores(captions, references, java=False).scores["cider_simple"].each)

    return looking("caption", artifact, prompter, "cider_simple", quality)


def vqa(artifact: Artifact, n: int = 128) -> Subject:
    """The same after the questions: VQA accuracy of what it answers about n pictures."""
    prompter, talks, pictures = looked_at(artifact, n)
    asked = [(place, q) for place, talk in enumerate(talks) for q in talk.questions]
    questions = [prompter.question(q.text) for _, q in asked]

    def quality(module: nn.Module) -> Mean:
        points = np.zeros(len(asked))
        for rows in alike(questions, ROWS):
            seen = pictures[[asked[row][0] for row in rows]]
            words = torch.tensor([questions[row] for row in rows])
            for row, ids in zip(rows, greedy(module, seen, words, prompter.end), strict=True):
                answer = prompter.tokenizer.decode(ids).strip()
                points[row] = vqa_accuracy(answer, people(asked[row][1]))
        return mean_of(points, [place for place, _ in asked])

    return looking("vqa", artifact, prompter, "vqa_accuracy", quality)


def looked_at(artifact: Artifact, n: int) -> tuple[Prompter, list[Talk], Float[Tensor, "n 3 h w"]]:
    """What puts questions to a vision-language model, and n test pictures of its data."""
    config = artifact.manifest["config"]
    talks = to_measure(data.load_pictures(config["data"]), "test", config["size"], n)
    pictures = to_tensor(np.stack([talk.pixels for talk in talks]))
    return Prompter(Tokenizer.from_pretrained(artifact)), talks, pictures


def looking(
    name: str, artifact: Artifact, prompter: Prompter, metric: str,
    quality: Callable[[nn.Module], Mean],
) -> Subject:  # fmt: skip
    """A vision-language model as one function of training pictures and how captions begin."""
    config = artifact.manifest["config"]
    model = Captioner(VisionLanguageModel.from_pretrained(artifact), prompter.opening).eval()
    train = talks_of(data.load_pictures(config["data"]), "train", config["size"])
    talks = [train[number] for number in range(4 * ROWS)]
    seen = to_tensor(np.stack([talk.pixels for talk in talks]))
    question = prompter.question(CAPTION)
    words = torch.tensor([question + prompter.answer(talk.captions[0])[:8] for talk in talks])
    return Subject(
        name, artifact, model, tuple(zip(seen.split(ROWS), words.split(ROWS), strict=True)),
        "picture with a caption", metric, "higher", f"{config['size']} px, greedy", quality,
    )  # fmt: skip


def alike(questions: Sequence[Sequence[int]], most: int) -> Iterator[list[int]]:
    """Which questions can be asked at once: as many as `most` of one length."""
    by_length: dict[int, list[int]] = {}
    for place, tokens in enumerate(questions):
        by_length.setdefault(len(tokens), []).append(place)
    for places in by_length.values():
        for first in range(0, len(places), most):
            yield places[first : first + most]


@torch.inference_mode()
def greedy(
    module: nn.Module, pictures: Float[Tensor, "b 3 h w"], tokens: Int[Tensor, "b q"], end: int
) -> list[list[int]]:
    """The likeliest word after the other until all rows have ended."""
    asked = tokens.shape[1]
    for _ in range(LONGEST_CAPTION):
        following = module(pictures, tokens)[:, -1].argmax(dim=1, keepdim=True)
        tokens = torch.cat([tokens, following], dim=1)
        if (tokens[:, asked:] == end).any(dim=1).all():
            break
    said = tokens[:, asked:].tolist()
    return [row[: row.index(end)] if end in row else row for row in said]


def diffusion(artifact: Artifact, n: int = 256) -> Subject:
    """One step of drawing: (x_t, t, tokens of the class) -> what the path asks for."""
    config = override(DiffusionTrainConfig(), artifact.manifest["config"])
    model = DiffusionModel.from_pretrained(artifact).eval()
    train = arrays(data.load_pictures(config.data), "train", config.size)
    network = drawing.NETWORKS["efficientnet_lite0"]()
    real = reference_statistics(drawing.channels_first(train.pixels), network)
    labels = torch.from_numpy(np.random.default_rng(0).choice(train.labels, n))

    def quality(module: nn.Module) -> Mean:
        def predict(x: Tensor, t: Tensor, condition: Condition) -> Tensor:
            return module(x, t, condition.tokens)

        drawn = [
            to_pixels(model.draw(model.condition(part), seeds=range(start, start + len(part)),
                                 predict=predict, **config.drawing))
            for start, part in zip(range(0, n, 64), labels.split(64), strict=True)
        ]  # fmt: skip
        pictures = drawing.channels_first(np.concatenate(drawn))
        score = evaluate_pictures(pictures, real)["kid_efficientnet_lite0"]
        return Mean(score.value, score.low, score.high, score.n)

    examples = []
    for start in range(0, 4 * ROWS, ROWS):
        clean = to_tensor(np.array(train.pixels[start : start + ROWS]))
        t = torch.linspace(0.05, 0.95, ROWS)
        noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(start))
        tokens = model.condition(torch.from_numpy(train.labels[start : start + ROWS])).tokens
        examples.append((model.path.noisy(clean, noise, t), t, tokens.detach()))
    return Subject(
        "diffusion", artifact, model, tuple(examples), "step of a picture",
        "kid_efficientnet_lite0", "lower",
        f"{config.solver}, {config.sampler_steps} steps, guidance {config.guidance_scale:g}",
        quality,
    )  # fmt: skip


def text_to_image(artifact: Artifact, n: int = 128) -> Subject:
    """One step of drawing what a prompt asks for: (x_t, t, states of the words, mask)."""
    config = override(TextToImageTrainConfig(), artifact.manifest["config"])
    if config.data != "scenes":
        raise VermeilError(f"{artifact.id} draws {config.data}, and the judge knows scenes alone",
                           "vermeil train text_to_image tiny")  # fmt: skip
    model, prompts = illustrating.load(artifact.folder, "cpu")
    model.eval()
    scenes = scenes_of(config)
    judge = trained_judge(scenes, config.judge_steps)
    shown = [scenes.scene("test", number) for number in range(n)]
    asked, truth = [captions(scene)[0] for scene in shown], Truth.of(shown, scenes.names)

    def quality(module: nn.Module) -> Mean:
        def predict(x: Tensor, t: Tensor, condition: Condition) -> Tensor:
            return module(x, t, condition.tokens, condition.mask)

        drawn = [
            to_pixels(illustrating.draw(model, prompts, asked[start : start + 64],
                                        seeds=range(start, min(start + 64, n)), predict=predict,
                                        **config.drawing))
            for start in range(0, n, 64)
        ]  # fmt: skip
        right = judged(judge, np.concatenate(drawn), truth).things
        return Mean(right.float().mean().item(), *wilson(right), len(right))

    examples = []
    for start in range(0, 4 * ROWS, ROWS):
        some = [scenes.scene("train", number) for number in range(start, start + ROWS)]
        clean = to_tensor(np.stack([scenes.render(scene) for scene in some]))
        t = torch.linspace(0.05, 0.95, ROWS)
        noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(start))
        with torch.no_grad():
            text = model.read(prompts([captions(scene)[0] for scene in some]))
        assert text.mask is not None
        examples.append((model.diffusion.path.noisy(clean, noise, t), t, text.tokens, text.mask))
    return Subject(
        "text_to_image", artifact, Illustrator(model).eval(), tuple(examples), "step of a picture",
        "object_accuracy", "higher",
        f"judged; {config.solver}, {config.sampler_steps} steps, guidance "
        f"{config.guidance_scale:g}",
        quality,
    )  # fmt: skip


SUBJECTS: dict[str, Callable[..., Subject]] = {
    "lm": language,
    "vision": vision,
    "caption": caption,
    "vqa": vqa,
    "diffusion": diffusion,
    "text_to_image": text_to_image,
}


def subjects(names: Sequence[str], preset: str) -> list[partial[Subject]]:
    """Those of a preset by name, still to be loaded; VermeilError for a name that is none."""
    from shared.artifact import find
    from shared.errors import nearest

    for name in names:
        if name not in SUBJECTS:
            raise VermeilError(f"'{name}' is not among what can be compressed",
                               nearest(name, [*SUBJECTS]))  # fmt: skip
    return [partial(SUBJECTS[name], find(f"{name}@{preset}")) for name in names]
