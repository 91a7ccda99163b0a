"""`vermeil bench diffusion`: training and drawing beside `diffusers`' networks of the same shape.

Both train in bf16 autocast on the same batches in turns, with AdamW, clipping and a moving average
of weights: ours through the whole `fit`, the peer in the plain loop of diffusers' examples
(train_unconditional.py with the velocity loss of train_dreambooth_lora_sd3.py). Both draw with
Euler steps and no guidance; the peer in a plain loop with FlowMatchEulerDiscreteScheduler, since of
its pipelines DDPMPipeline takes no classes and DiTPipeline draws through an autoencoder.

A DiT's peer has the same width, blocks, heads and patches. Beside it ours has one step more in the
sequence, the class, and one network for the time where DiTTransformer2DModel has one a block.

A U-Net's peer, UNet2DModel, works at the same resolutions, on the same patches, with the same first
width and as many residual blocks; but diffusers knows no blocks with feed-forward layers in this
class. Where ours has them in the middle, it has attention between two residual blocks, and two more
residual blocks upwards. The lower width is the one at which its products cost most nearly the same.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import data
from data.picture_batches import PictureBatches
from data.pictures import arrays
from phase1_foundation.diffusion.commands import BenchConfig
from phase1_foundation.diffusion.model import DiffusionConfig, DiffusionModel
from phase1_foundation.diffusion.objective import Denoise
from phase1_foundation.train_diffusion import PRESETS, DiffusionTrainConfig
from shared import hardware
from shared.benchmark import (
    beside,
    conditions,
    heading,
    interleaved,
    matrix_peak,
    now,
    peer_package,
    seconds_a_step,
    time_fit,
)
from shared.config import common
from shared.errors import VermeilError, nearest

CLASSES = tuple("abcdefghi")  # as many as the embedded pictures have


@dataclass(frozen=True)
class Shape:
    """A model to time, and the widths of UNet2DModel that come nearest to it."""

    model: DiffusionConfig
    peer_widths: tuple[int, ...] = ()


def of_preset(name: str) -> DiffusionConfig:
    """The model that a preset trains on the embedded pictures."""
    config = PRESETS[name].config
    return DiffusionConfig(classes=CLASSES, **common(config, DiffusionConfig))


SHAPES = {  # the presets' own, and between them a DiT of the small one's kind
    "unet_tiny": Shape(of_preset("tiny"), peer_widths=(64, 80)),
    "dit_16px": Shape(
        DiffusionConfig(
            16, CLASSES, network="dit", patch=2, widths=(192,), layers=6, heads=3, mlp_dim=768
        )
    ),
    "dit_small": Shape(of_preset("small")),
}


def table(config: BenchConfig) -> None:
    """Time training and drawing, in turns with the peer, and print a table."""
    for name in config.shapes:
        if name not in SHAPES:
            raise VermeilError(f"there is no shape '{name}'", nearest(name, [*SHAPES]))
    peer_package("diffusers")
    hardware.set_threads(config.threads)
    peak = Peak()
    print(f"{hardware.cpu_name()}, {conditions()}; matrix peak: bf16, best so far\n")
    print(heading("diffusers"))
    for name in config.shapes:
        shape = SHAPES[name]
        ours, peer = DiffusionModel(shape.model), Peer(shape)
        print(beside(f"{name}, M parameters", parameters(ours), parameters(peer), digits=2))
        turns = training(shape, config.steps, config.batch_size)
        part = Part("training", config.batch_size, flops(ours), flops(peer))
        show(part, interleaved(turns, config.rounds), peak)
        turns = drawing(shape, config.pictures, config.sampler_steps)
        costs = [config.sampler_steps * flops(model, training=False) for model in (ours, peer)]
        part = Part(f"drawing in {config.sampler_steps} steps", config.pictures, *costs)
        show(part, interleaved(turns, config.rounds), peak)
    print("\nwaiting for the batch in a step of the tiny preset, by augmentation")
    for augment in ("", "flip", "crop"):
        step, batch = waiting(augment, config.steps, config.rounds)
        of_step = f"{1000 * batch:.2f} ms of {1000 * step:.0f}, {batch / step:.2%}"
        print(f"  {augment or 'none':<36}{of_step:>26}", flush=True)
    print(f"\nmedians of {config.rounds} turns; at the end: {conditions()}")


class Peak:
    """The machine's best matrix products so far; a noisy start would flatter the shares."""

    def __init__(self):
        self.gigaflops = 0.0

    def again(self) -> float:
        """Measure once more; the best GFLOP/s of all times."""
        speed = matrix_peak(torch.bfloat16, hardware.device_name())
        self.gigaflops = max(self.gigaflops, speed)
        return self.gigaflops


@dataclass(frozen=True)
class Part:
    """Something that is timed: how many pictures a turn, and what one costs in FLOPs."""

    name: str
    pictures: int
    ours: int
    peer: int


def show(part: Part, seconds: dict[str, float], peak: Peak) -> None:
    """What a picture costs, then pictures/s and shares of the matrix peak."""
    best = peak.again()
    print(beside(f"  {part.name}, GFLOP a picture", part.ours / 1e9, part.peer / 1e9, digits=2))
    theirs = part.pictures / seconds["diffusers"]
    for who, how in {"ours": "", "compiled": ", compiled"}.items():
        if who in seconds:
            rate = part.pictures / seconds[who]
            shares = rate * part.ours / best / 1e9, theirs * part.peer / best / 1e9
            print(beside(f"  {part.name}{how}, pictures/s", rate, theirs, digits=1))
            ours, peer = (f"{share:.0%}" for share in shares)
            print(f"{f'    of {best:,.0f} GFLOP/s':<38}{ours:>12}{peer:>14}", flush=True)


def parameters(model: nn.Module) -> float:
    """Millions of them."""
    return sum(p.numel() for p in model.parameters()) / 1e6


def flops(model: "DiffusionModel | Peer", *, training: bool = True) -> int:
    """FLOPs of products and convolutions for one picture; training, of the backward pass too.

    Counted by torch as the operators run, a multiplication and an addition as two.
    """
    size = model.config.size
    x, t, labels = torch.zeros(1, 3, size, size), torch.zeros(1), torch.zeros(1, dtype=torch.long)
    # The fused attention of CPUs has no count; in parts it does the same products.
    with (
        sdpa_kernel(SDPBackend.MATH),
        torch.set_grad_enabled(training),
        FlopCounterMode(display=False) as counter,
    ):
        if isinstance(model, Peer):
            output = model(x, t, labels)
        else:
            output = model(x, t, model.condition(labels).tokens)
        if training:
            output.sum().backward()
    return counter.get_total_flops()


def training(shape: Shape, steps: int, batch_size: int) -> dict[str, Callable[[], float]]:
    """One turn of each: seconds a step over `steps` steps, those left out that `time_fit` does."""
    size, random = shape.model.size, np.random.default_rng(0)
    pixels = random.integers(256, size=(1024, size, size, 3), dtype=np.uint8)
    labels = random.integers(len(shape.model.classes), size=1024)
    batches = PictureBatches(pixels, labels, batch_size, seed=0)

    def ours(compiled: bool = False) -> float:
        config = recipe(steps, optimizer="adamw", batch_size=batch_size, compile=compiled)
        objective = Denoise(DiffusionModel(shape.model), config)
        return time_fit(objective, batches, unit="pictures", amount=batch_size).step

    def diffusers() -> float:
        return seconds_a_step(train_peer(Peer(shape), batches, steps))

    candidates = {"ours": ours, "diffusers": diffusers}
    if hardware.has_compiler():
        candidates["compiled"] = partial(ours, compiled=True)
    return candidates


def recipe(steps: int, **changes) -> DiffusionTrainConfig:
    """The tiny preset's settings for a few steps in bf16."""
    return replace(
        PRESETS["tiny"].config, steps=steps, precision="bf16", checkpoint_every=steps, trackers=(),
        threads=torch.get_num_threads(), **changes,
    )  # fmt: skip


def train_peer(model: "Peer", batches: PictureBatches, steps: int) -> list[float]:
    """The examples' loop; when each step began."""
    from diffusers.training_utils import EMAModel

    device = hardware.device_name()
    model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    average, starts = EMAModel(model.parameters(), use_ema_warmup=True), []
    for step in range(steps):
        starts.append(now())
        pixels, labels = (part.to(device) for part in batches.rows(step, slice(None)))
        noise, t = torch.randn_like(pixels), torch.randn(len(pixels), device=device).sigmoid()
        sigma = t[:, None, None, None]
        with torch.autocast(device, torch.bfloat16):
            output = model((1 - sigma) * pixels + sigma * noise, t, labels)
        loss = F.mse_loss(output.float(), noise - pixels)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        average.step(model.parameters())
    return starts


def drawing(shape: Shape, pictures: int, steps: int) -> dict[str, Callable[[], None]]:
    """One turn of each: random weights draw `pictures` of all classes, in one batch."""
    device, size = hardware.device_name(), shape.model.size
    model, peer = DiffusionModel(shape.model).to(device).eval(), Peer(shape).to(device).eval()
    labels = torch.arange(pictures, device=device) % len(shape.model.classes)

    def ours() -> None:
        with torch.autocast(device, torch.bfloat16):
            model.draw(
                model.condition(labels), seeds=range(pictures), steps=steps, solver="euler",
                guidance_scale=1.0,
            ).cpu()  # fmt: skip

    def diffusers() -> None:
        noise = torch.randn(pictures, 3, size, size, device=device)
        with torch.autocast(device, torch.bfloat16):
            draw_peer(peer, noise, labels, steps).cpu()

    return {"ours": ours, "diffusers": diffusers}


@torch.inference_mode()
def draw_peer(
    peer: Callable[[Tensor, Tensor, Tensor], Tensor], noise: Tensor, labels: Tensor, steps: int
) -> Tensor:
    """Pictures from noise (B, 3, H, W), in the loop that diffusers' pipelines write."""
    scheduler = peer_package("diffusers").FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(steps, device=noise.device)
    x = noise
    for timestep in scheduler.timesteps:
        t = (timestep / Peer.TIMESTEPS).expand(len(x))
        x = scheduler.step(peer(x, t, labels).float(), timestep, x).prev_sample
    return x.clamp(-1, 1)


class Peer(nn.Module):
    """diffusers' network of a shape, as its examples leave it: (x_t, t, labels) -> velocity."""

    TIMESTEPS = 1000  # what it calls t = 1

    def __init__(self, shape: Shape):
        super().__init__()
        self.config = c = shape.model
        diffusers, classes = peer_package("diffusers"), len(c.classes)
        self.network: nn.Module
        if c.network == "dit":
            self.unshuffle = 1  # it cuts patches itself
            self.network = diffusers.DiTTransformer2DModel(
                num_attention_heads=c.heads, attention_head_dim=c.dim // c.heads, in_channels=3,
                num_layers=c.layers, sample_size=c.size, patch_size=c.patch,
                num_embeds_ada_norm=classes,
            )  # fmt: skip
        else:
            self.unshuffle, levels = c.patch, len(shape.peer_widths)
            channels, side = 3 * c.patch**2, c.size // c.patch
            self.network = diffusers.UNet2DModel(
                sample_size=side, in_channels=channels, out_channels=channels,
                block_out_channels=shape.peer_widths, layers_per_block=c.res_blocks,
                down_block_types=("DownBlock2D",) * levels, up_block_types=("UpBlock2D",) * levels,
                attention_head_dim=c.dim // c.heads, resnet_time_scale_shift="scale_shift",
                num_class_embeds=classes, norm_num_groups=16,
            )  # fmt: skip

    def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        x = F.pixel_unshuffle(x, self.unshuffle)
        output = self.network(x, self.TIMESTEPS * t, class_labels=labels).sample
        return F.pixel_shuffle(output, self.unshuffle)


def waiting(augment: str, steps: int, rounds: int) -> tuple[float, float]:
    """Seconds of a step at the tiny preset, and those of them in which its batch is made.

    On the preset's own pictures, and as it makes them: in line, between two steps.
    """
    config = recipe(steps, augment=augment)
    pictures = data.load_pictures(config.data)
    pixels, labels, *_ = arrays(pictures, "train", config.size)
    batches = PictureBatches(pixels, labels, config.batch_size, config.seed, augment or None)
    model = DiffusionModel(of_preset("tiny"))
    times = [
        time_fit(Denoise(model, config), batches, unit="pictures", amount=config.batch_size)
        for _ in range(rounds)
    ]
    step, batch = (median(part) for part in zip(*times, strict=True))
    return step, batch
