"""A model with its loss and its optimizer: what `shared.training.fit` trains."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim.lr_scheduler import LambdaLR

from shared.draws import Draws, RowDraws
from shared.optim import Pace, make_optimizer, schedules
from shared.train_config import TrainConfig


class Objective(pl.LightningModule):
    """A model, its loss and its optimizer; a subclass defines `loss`.

    `last_loss` and `grad_norm` (before clipping) are what the journal writes down. `paces` is for
    parents' weights, which may learn slower than new ones, or later.
    """

    paces: Mapping[str, Pace] = MappingProxyType({})
    row_draws: RowDraws | None = None  # put here by the fit
    last_loss: Tensor
    grad_norm: Tensor

    def __init__(self, model: nn.Module, config: TrainConfig):
        super().__init__()
        self.model, self.train_config = model, config

    def loss(self, batch: Any) -> Tensor:
        """The mean loss of a batch."""
        raise NotImplementedError

    @property
    def draws(self) -> Draws:
        """Where a loss takes its random numbers from, so that processes can share a batch."""
        return self.row_draws if self.training and self.row_draws else Draws()

    def training_step(self, batch: Any, _: int) -> Tensor:
        loss = self.loss(batch)
        self.last_loss = loss.detach()
        return loss

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer = make_optimizer(self.model, self.train_config, self.paces)
        schedule = LambdaLR(optimizer, schedules(optimizer, self.train_config))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(self, optimizer, *_: Any, **__: Any) -> None:
        """Clip, and keep the norm from before for the log."""
        limit = self.train_config.clip or float("inf")
        norm = nn.utils.clip_grad_norm_(self.parameters(), limit)
        self.grad_norm = norm.full_tensor() if isinstance(norm, DTensor) else norm


@torch.no_grad()
def mean_loss(objective: Objective, batches: Sequence[Any]) -> float:
    """The loss in evaluation mode over batches, with the same noise every time."""
    objective.eval()
    device = next(objective.parameters()).device
    with torch.random.fork_rng():
        torch.manual_seed(0)
        moved = (objective.transfer_batch_to_device(batch, device, 0) for batch in batches)
        loss = torch.stack([objective.loss(batch) for batch in moved]).mean().item()
    objective.train()
    return loss
