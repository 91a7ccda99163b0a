"""The independent judge: a small convolutional network that knows what a picture shows.

It shares no weights, no layer and no training with the models that it judges. It learns from real
renders alone, in other light and with noise, and says of drawings which ground they have and which
things are on it. Only a judge that is right about real pictures that it never saw may speak.

It learns from every pair of a thing and a ground, the ones that drawing models never see as well:
else it would guess a blurred thing by its ground, and never believe in a held-out pair.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from data.picture_batches import to_tensor
from data.scenes import GROUNDS, Scene, Scenes
from shared.artifact import fingerprint
from shared.home import home, replacing

TRUSTED = 0.97  # of real pictures that have to be named right
HELD_OUT = 512  # real pictures of a split that it is tested on
FIRST = 10**9  # number of the first scene that it learns from
BATCH_SIZE = 64
LEARNING_RATE = 0.01
LIGHT, NOISE = 0.1, 0.05  # deviation of the brightness of a picture, and of its pixels
RECIPE = 1  # changes when another judge would come out

Pixels = UInt8[np.ndarray, "_n _h _w 3"]


class Judge(nn.Module):
    """Convolutions at falling resolution; of the last map the mean, and the most."""

    def __init__(self, things: int, widths: Sequence[int] = (16, 32, 64)):
        super().__init__()
        body: list[nn.Module] = []
        for before, width in zip((3, *widths), widths, strict=False):
            for inside in (before, width):
                body += [nn.Conv2d(inside, width, 3, padding=1, bias=False), nn.BatchNorm2d(width),
                         nn.ReLU()]  # fmt: skip
            body.append(nn.MaxPool2d(2))
        self.body = nn.Sequential(*body[:-1])
        self.ground = nn.Linear(2 * widths[-1], len(GROUNDS))
        self.things = nn.Linear(2 * widths[-1], things)

    def forward(
        self, x: Float[Tensor, "b 3 h w"]
    ) -> tuple[Float[Tensor, "b g"], Float[Tensor, "b k"]]:
        """Logits of the ground's colour, and of the things."""
        x = self.body(x)  # (B, C, H / 4, W / 4)
        x = torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=1)
        return self.ground(x), self.things(x)


@dataclass(frozen=True)
class Truth:
    """What scenes show."""

    grounds: Int[Tensor, " n"]
    things: Bool[Tensor, "n k"]

    @classmethod
    def of(cls, scenes: Sequence[Scene], names: Sequence[str]) -> "Truth":
        """`names` are the things that can be told apart."""
        order = list(GROUNDS)
        grounds = torch.tensor([order.index(scene.ground) for scene in scenes])
        return cls(grounds, torch.tensor([[n in scene.counts for n in names] for scene in scenes]))

    def rolled(self) -> "Truth":
        """What another scene shows, in the place of each: a prompt that was not asked."""
        return Truth(self.grounds.roll(1, 0), self.things.roll(1, 0))


@dataclass(frozen=True)
class Verdict:
    """For which pictures the ground, and all the things, are what they should be."""

    ground: Bool[Tensor, " n"]
    things: Bool[Tensor, " n"]

    @property
    def worse(self) -> Bool[Tensor, " n"]:
        """The one that is right less often."""
        return min(self.ground, self.things, key=lambda right: right.sum().item())

    @property
    def accuracy(self) -> float:
        """Of the worse one."""
        return self.worse.float().mean().item()


@torch.inference_mode()
def judged(judge: Judge, pixels: Pixels, truth: Truth) -> Verdict:
    """Of k things that should be there, all have to be among the k that seem likeliest."""
    parts = [judge(to_tensor(part)) for part in np.array_split(pixels, -(-len(pixels) // 256))]
    ground, things = (torch.cat(logits) for logits in zip(*parts, strict=True))
    rank = things.argsort(dim=1, descending=True).argsort(dim=1)  # 0: the likeliest
    wanted = truth.things.sum(dim=1, keepdim=True)
    missed = (truth.things & (rank >= wanted)).any(dim=1)
    return Verdict(ground.argmax(dim=1) == truth.grounds, ~missed)


def trained_judge(scenes: Scenes, steps: int) -> Judge:
    """A judge of such scenes.

    It is kept in $VERMEIL_HOME/statistics, for what it becomes depends on the scenes alone.
    """
    from safetensors.torch import load_file, save_file

    key = fingerprint([RECIPE, steps, scenes.sha256()])
    path = home() / "statistics" / f"judge-{key[:16]}.safetensors"
    judge = Judge(len(scenes.names))
    if path.exists():
        judge.load_state_dict(load_file(path), strict=True)
        return judge.eval()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        judge = learned(Judge(len(scenes.names)), scenes, steps)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        save_file(judge.state_dict(), temporary)
    return judge.eval()


def about_real(judge: Judge, scenes: Scenes, split: str) -> Verdict:
    """What the judge says of real pictures of a split, none of which it saw."""
    shown = [scenes.scene(split, number) for number in range(HELD_OUT)]
    pixels = np.stack([scenes.render(scene) for scene in shown])
    return judged(judge, pixels, Truth.of(shown, scenes.names))


def learned(judge: Judge, scenes: Scenes, steps: int) -> Judge:
    """Trained on scenes that no drawing model is trained or measured on, each seen once."""
    optimizer = torch.optim.AdamW(judge.parameters(), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=steps, pct_start=0.2
    )
    judge.train()
    for step in range(steps):
        numbers = range(FIRST + step * BATCH_SIZE, FIRST + (step + 1) * BATCH_SIZE)
        shown = [scenes.scene("train" if number % 5 else "pairs", number) for number in numbers]
        truth = Truth.of(shown, scenes.names)
        x = to_tensor(np.stack([scenes.render(scene) for scene in shown]))
        x = x + LIGHT * torch.randn(len(x), 1, 1, 1) + NOISE * torch.randn_like(x)
        ground, things = judge(x)
        share = truth.things / truth.things.sum(dim=1, keepdim=True)
        loss = F.cross_entropy(ground, truth.grounds) + F.cross_entropy(things, share)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return judge
