"""Distillation: a small model learns what a larger one believes (Hinton et al., 2015).

After pruning the teacher is the dense model; a student from random weights learns from it likewise.
"""

from typing import Self

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from phase1_foundation.language.model import LanguageModel
from phase1_foundation.vision.objective import Batch
from phase1_foundation.vision.vit import VisionTransformer
from shared.errors import VermeilError
from shared.objective import Objective
from shared.optim import make_optimizer, schedules
from shared.train_config import TrainConfig


def divergence(
    student: Float[Tensor, "*n v"], teacher: Float[Tensor, "*n v"], temperature: float
) -> Float[Tensor, ""]:
    """Mean KL(teacher || student), in nats, of logits softened by a temperature, times its square.

    The square keeps the gradients as large as those of the hard labels (Hinton et al., section 2).
    """
    return temperature**2 * divergences(student, teacher, temperature).mean()


def divergences(
    student: Float[Tensor, "*n v"], teacher: Float[Tensor, "*n v"], temperature: float = 1.0
) -> Float[Tensor, " *n"]:
    """KL(teacher || student) of each pair of softened logits, in nats."""
    log_p, log_q = (
        F.log_softmax(logits.float() / temperature, dim=-1) for logits in (teacher, student)
    )
    return F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(dim=-1)


class Distillation(Objective):
    """A student's loss is the share `hard` of its own task's, the rest the teacher's divergence.

    The teacher is put into evaluation mode, gets no gradients and is no part of the objective: no
    checkpoint holds it. In evaluation mode the loss is the task's alone, so that curves compare
    with training without a teacher. With `settled` the student's batch norms keep the statistics
    that they have: it began as its teacher, and those of a batch would take it away from there.
    """

    def __init__(
        self, student: nn.Module, config: TrainConfig, teacher: nn.Module, *,
        temperature: float, hard: float, settled: bool = False,
    ):  # fmt: skip
        super().__init__(student, config)
        self.settled = settled
        if not 0 < temperature < float("inf"):
            raise VermeilError(f"a temperature of {temperature:g} softens nothing", "take 2")
        if not 0 <= hard <= 1:
            raise VermeilError(f"{hard:g} is no share of hard labels", "take one from 0 to 1")
        self.temperature, self.hard = temperature, hard
        self._hidden = [teacher.eval()]  # modules in a list are not registered, hence not saved

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        for module in self.modules():
            if self.settled and isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    @property
    def teacher(self) -> nn.Module:
        return self._hidden[0]

    def on_fit_start(self) -> None:
        self.teacher.to(self.device)

    def mixed(
        self, hard: Float[Tensor, ""], student: Float[Tensor, "*n v"], teacher: Tensor
    ) -> Float[Tensor, ""]:
        """The task's loss and the divergence of two models' logits (*N, V), by their shares."""
        soft = divergence(student, teacher, self.temperature)
        return self.hard * hard + (1 - self.hard) * soft


class DistilTokens(Distillation):
    """A language model that learns from another what may come after each token."""

    model: LanguageModel

    def __init__(
        self, student: LanguageModel, config: TrainConfig, teacher: LanguageModel, *,
        temperature: float = 1.0, hard: float = 0.5,
    ):  # fmt: skip
        super().__init__(student, config, teacher, temperature=temperature, hard=hard)
        same("tokens", teacher.config.vocab_size, student.config.vocab_size)

    def loss(self, batch: Int[Tensor, "b t"]) -> Float[Tensor, ""]:
        if not self.training:
            return self.model.loss(batch)
        logits = self.model(batch[:, :-1])  # (B, T - 1, V)
        with torch.no_grad():
            believed = self.teacher(batch[:, :-1])
        hard = F.cross_entropy(logits.flatten(0, 1).float(), batch[:, 1:].flatten())
        return self.mixed(hard, logits, believed)


class DistilPictures(Distillation):
    """A vision encoder that learns another's states, and its classes where both have a head.

    States of all patches are compared by their mean squared error, which weighs `features`; a
    student of another width gets a projection to them, trained beside it and not saved with it
    (Romero et al., 2015, section 2.2).
    """

    model: VisionTransformer

    def __init__(
        self, student: VisionTransformer, config: TrainConfig, teacher: VisionTransformer, *,
        temperature: float = 2.0, hard: float = 0.5, features: float = 1.0, settled: bool = False,
    ):  # fmt: skip
        super().__init__(
            student, config, teacher, temperature=temperature, hard=hard, settled=settled
        )
        same("classes", teacher.config.classes, student.config.classes)
        same("patches", teacher.config.patches, student.config.patches)
        self.features, width = features, student.config.dim
        wanted = teacher.config.dim
        self.projection = nn.Identity() if width == wanted else nn.Linear(width, wanted)

    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        pictures, labels = batch
        states = self.model.features(pictures)  # (B, 1 + N, C)
        logits, hard = self.model.head(pooled(self.model, states)), states.new_zeros(())
        if self.model.config.classes:
            hard = F.cross_entropy(logits.float(), labels)
        if not self.training and self.model.config.classes:
            return hard
        with torch.no_grad():
            wanted = self.teacher.features(pictures)  # type: ignore[operator]
            believed = self.teacher.head(pooled(self.teacher, wanted))  # type: ignore[operator]
        unlike = F.mse_loss(self.projection(states).float(), wanted.float())
        if not self.model.config.classes:
            return unlike
        return self.mixed(hard, logits, believed) + self.features * unlike

    def configure_optimizers(self):
        learned = nn.ModuleList([self.model, self.projection])
        optimizer = make_optimizer(learned, self.train_config)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, schedules(optimizer, self.train_config)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def pooled(model: nn.Module, states: Float[Tensor, "b t c"]) -> Float[Tensor, "b c"]:
    """One feature a picture out of a vision transformer's states."""
    return states[:, 0] if model.config.pool == "cls" else states[:, 1:].mean(dim=1)  # type: ignore


def same(what: str, teacher: int, student: int) -> None:
    """Refuse a teacher that speaks of other things."""
    if teacher != student:
        raise VermeilError(
            f"the teacher knows {teacher} {what}, the student {student}",
            f"give both models the same {what}",
        )
