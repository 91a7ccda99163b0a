"""`vermeil export vision|diffusion|caption|vqa|...`: the other models as graphs, for ONNX Runtime.

A model is written as the pieces that its user calls, one file each. The number of rows is free, and
of words too.

    VisionTransformer    encoder: pictures -> features of all patches, of the picture, and logits
    DiffusionModel       condition: labels -> tokens; step: one look at noisy pictures
    VisionLanguageModel  prefix: pictures -> what stands before the words; embed: words;
                         language: embedded words after a past, as in phase 1's graph
    TextToImageModel     read: tokens of prompts -> what they ask for; step: one look at noisy
                         pictures
"""

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from phase1_foundation.diffusion.model import Condition, DiffusionModel
from phase1_foundation.language import commands
from phase1_foundation.language.onnx_export import (
    Called,
    GivenCache,
    past_names,
    require_new,
    require_packages,
    require_small,
    save_graph,
)
from phase1_foundation.language.tokenizer import Tokenizer
from phase1_foundation.vision.encoders import KINDS, Encoder
from phase2_multimodal.text_to_image.model import TextToImageModel
from phase2_multimodal.vision_language.model import VisionLanguageModel
from shared.config import option, parse
from shared.errors import VermeilError
from shared.home import replacing

Axes = dict[int, str]  # the free ones of an input, by name
ROWS, WORDS, PAST = 2, 3, 5  # of the examples, which tell nothing: all are free


@dataclass(frozen=True)
class Piece:
    """A part of a model as a function of tensors, with an example of its inputs."""

    name: str
    module: nn.Module
    inputs: dict[str, tuple[Tensor, Axes]]
    outputs: tuple[str, ...]

    @property
    def example(self) -> tuple[Tensor, ...]:
        return tuple(tensor for tensor, _ in self.inputs.values())

    @property
    def axes(self) -> tuple[Axes, ...]:
        return tuple(axes for _, axes in self.inputs.values())


class Seen(nn.Module):
    """All that an encoder knows of pictures: of their places, as a whole, and their classes."""

    def __init__(self, encoder: Encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        seen = self.encoder.features(pictures), self.encoder.embed(pictures)  # (B, T, C), (B, C)
        return (*seen, self.encoder(pictures)) if self.encoder.config.classes else seen


def encoder_pieces(model: Encoder) -> list[Piece]:
    """The encoder in one graph."""
    pictures = torch.zeros(ROWS, 3, model.config.size, model.config.size)
    outputs = ("features", "pooled", *(("logits",) if model.config.classes else ()))
    return [Piece("encoder", Seen(model), {"pictures": (pictures, {0: "batch"})}, outputs)]


class Asked(nn.Module):
    """What class labels ask for; a negative label asks for nothing, as guidance needs it."""

    def __init__(self, model: DiffusionModel):
        super().__init__()
        self.labels, self.null = model.labels, model.null

    def forward(self, labels: Tensor) -> Tensor:
        known = (labels >= 0)[:, None]  # (B, 1)
        return torch.where(known, self.labels(labels.clamp(min=0)), self.null)[:, None]


def diffusion_pieces(model: DiffusionModel) -> list[Piece]:
    """A condition, and a step of drawing; the solver stays with who draws."""
    asked = {"labels": (torch.zeros(ROWS, dtype=torch.long), {0: "batch"})}
    step = looked_at(model.config.size, model.config.dim)
    return [
        Piece("condition", Asked(model), asked, ("tokens",)),
        Piece("step", model, step, ("prediction",)),
    ]


def looked_at(size: int, dim: int) -> dict[str, tuple[Tensor, Axes]]:
    """What a step of drawing is given: noisy pictures, their times, and what is asked for."""
    rows, words = {0: "batch"}, {0: "batch", 1: "tokens"}
    return {
        "x_t": (torch.zeros(ROWS, 3, size, size), rows),
        "t": (torch.full((ROWS,), 0.5), rows),
        "tokens": (torch.zeros(ROWS, WORDS, dim), words),
        "mask": (torch.ones(ROWS, WORDS, dtype=torch.bool), words),
    }


class Read(nn.Module):
    """What prompts ask for, and which of it is no padding."""

    def __init__(self, model: TextToImageModel):
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> tuple[Tensor, ...]:
        asked = self.model.read(tokens)
        assert asked.mask is not None
        return asked.tokens, asked.mask


class Illustrator(nn.Module):
    """One step of drawing a prompt, as a function of tensors alone."""

    def __init__(self, model: TextToImageModel):
        super().__init__()
        self.model = model

    def forward(
        self, x_t: Float[Tensor, "b 3 h w"], t: Float[Tensor, " b"],
        tokens: Float[Tensor, "b s d"], mask: Bool[Tensor, "b s"],
    ) -> Float[Tensor, "b 3 h w"]:  # fmt: skip
        return self.model(x_t, t, Condition(tokens, mask))


def text_to_image_pieces(model: TextToImageModel) -> list[Piece]:
    """What reads a prompt, and a step of drawing it."""
    words = {0: "batch", 1: "tokens"}
    prompts = {"prompts": (torch.ones(ROWS, WORDS, dtype=torch.long), words)}
    step = looked_at(model.config.diffusion.size, model.config.diffusion.dim)
    return [
        Piece("read", Read(model), prompts, ("tokens", "mask")),
        Piece("step", Illustrator(model), step, ("prediction",)),
    ]


class Prefix(nn.Module):
    """What stands before the words: the tokens that open a turn, and the picture."""

    def __init__(self, model: VisionLanguageModel):
        super().__init__()
        self.model = model

    def forward(self, pictures: Tensor, opening: Tensor) -> Tensor:
        return self.model.prefix(pictures, opening)


class Language(nn.Module):
    """The language model over embeddings: logits, and each layer's keys and values, old and new.

    `mask` (B, T, P + T) says what every step sees of the past and of its own: all of the picture,
    and the words up to itself.
    """

    def __init__(self, model: VisionLanguageModel):
        super().__init__()
        self.model = model.language

    def forward(
        self, embeddings: Tensor, mask: Tensor, position_ids: Tensor, *past: Tensor
    ) -> tuple[Tensor, ...]:
        cache = GivenCache(past)
        states = self.model.hidden_states(
            embeddings, positions=position_ids[:, None], mask=mask[:, None], cache=cache
        )
        present = (part for layer in cache.layers for part in (layer.keys, layer.values))
        return self.model.head(states), *present


def caption_pieces(model: VisionLanguageModel) -> list[Piece]:
    """The picture, words, and the language model that reads both."""
    vision, language = model.config.vision, model.config.language
    rows, words = {0: "batch"}, {0: "batch", 1: "words"}
    prefix = {
        "pictures": (torch.zeros(ROWS, 3, vision.size, vision.size), rows),
        "opening": (torch.zeros(WORDS, dtype=torch.long), {0: "opening"}),
    }
    embed = {"tokens": (torch.zeros(ROWS, WORDS, dtype=torch.long), words)}
    seen = {**words, 2: "total"}
    held = (ROWS, language.kv_heads, PAST, language.dim // language.heads)
    past = past_names(language)
    read = {
        "embeddings": (torch.zeros(ROWS, WORDS, language.dim), words),
        "mask": (torch.ones(ROWS, WORDS, PAST + WORDS, dtype=torch.bool), seen),
        "position_ids": (torch.arange(PAST, PAST + WORDS).expand(ROWS, WORDS), words),
        # A tensor of its own for each: a tracer takes the same one for the same input.
        **{name: (torch.zeros(held), {0: "batch", 2: "past"}) for name in past},
    }
    present = (name.replace("past_key_values", "present") for name in past)
    return [
        Piece("prefix", Prefix(model), prefix, ("prefix",)),
        Piece("embed", model.language.embed, embed, ("embeddings",)),
        Piece("language", Language(model), read, ("logits", *present)),
    ]


PIECES: dict[str, tuple[type, Callable[..., list[Piece]]]] = {  # by the class in config.json
    **{name: (kind, encoder_pieces) for name, kind in KINDS.items()},
    "DiffusionModel": (DiffusionModel, diffusion_pieces),
    "VisionLanguageModel": (VisionLanguageModel, caption_pieces),
    "TextToImageModel": (TextToImageModel, text_to_image_pieces),
}


def export_pieces(folder: Path, out: Path, to: Literal["onnx", "pt2"]) -> list[Path]:
    """Write every piece of the model in `folder`, its configuration and its tokenizer."""
    kind = json.loads((folder / "config.json").read_text())["class"]
    if kind not in PIECES:
        raise VermeilError(f"{folder} holds a {kind}, which is not exported here",
                           f"known: {', '.join(PIECES)}; vermeil export lm")  # fmt: skip
    load, pieces_of = PIECES[kind]
    if to == "onnx":
        require_packages()
    require_new(out)
    model = load.from_pretrained(folder).eval()  # type: ignore[attr-defined]
    require_small(model)
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for piece in pieces_of(model):
        path = out / f"{piece.name}.{to}"
        with replacing(path) as temporary:
            WRITERS[to](piece, temporary)
        written.append(path)
    shutil.copy(folder / "config.json", out)
    if (folder / "tokenizer.model").exists():
        Tokenizer.from_pretrained(folder).save_pretrained(out)
    return written


def write_onnx(piece: Piece, path: Path) -> None:
    """One graph."""
    inputs, outputs = [*piece.inputs], piece.outputs
    save_graph(piece.module, piece.example, path, inputs=inputs, outputs=outputs, axes=piece.axes)


def write_program(piece: Piece, path: Path) -> None:
    """torch.export's program, which torch.export.load runs without our code."""
    torch.export.save(program(piece), path)


def program(piece: Piece) -> torch.export.ExportedProgram:
    """The piece traced by torch.export, the same axes free."""
    free = torch.export.Dim.AUTO
    axes = tuple(dict.fromkeys(named, free) for named in piece.axes)
    with torch.no_grad():
        return torch.export.export(Called(piece.module), piece.example, dynamic_shapes=(axes,))


WRITERS: dict[str, Callable[[Piece, Path], None]] = {"onnx": write_onnx, "pt2": write_program}


@dataclass(frozen=True)
class ExportConfig(commands.ExportConfig):
    """What to take where."""

    model: str = option("", "artifact: vision, diffusion, caption, text_to_image, vision@tiny, ...")
    to: Literal["onnx", "pt2"] = option(  # type: ignore[assignment]
        "onnx", "onnx: graphs for ONNX Runtime; pt2: programs of torch.export"
    )


def export(arguments: list[str]) -> None:
    """Write a model's pieces as graphs in which the number of rows is free."""
    config = parse(
        ExportConfig, arguments, command="vermeil export", about=str(export.__doc__)
    ).config
    from shared.artifact import locate

    out = config.folder()
    for path in export_pieces(locate(config.model), out, config.to):
        print(f"wrote {path}", file=sys.stderr)
