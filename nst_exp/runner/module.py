"""The LightningModule that optimizes one image."""

import itertools
import logging
from collections.abc import Callable, Iterable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim.lr_scheduler import MultiStepLR

from nst_exp.config import schema as config
from nst_exp.core.blocks import Tiling
from nst_exp.core.color import LuminanceOnly
from nst_exp.core.encoder import Encoder
from nst_exp.core.objective import Losses, Objective
from nst_exp.core.optimizers import build_optimizer
from nst_exp.core.parametrization import ImageParameter
from nst_exp.core.tiled import TiledObjective
from nst_exp.runner.memory import release_freed_memory
from nst_exp.utils.errors import NumericalError

log = logging.getLogger(__name__)

# The optimizer sees the loss scaled to this value at the start: torch's L-BFGS drops curvature
# pairs below an absolute 1e-10, so a loss of order 1 would stall.
SCALED_LOSS_AT_START = 1e6
LR_BACKOFF = 0.1  # factor on the step's length after a divergence
# Share by which the lowest total must decrease to count as better; float32 rounds by 1e-7.
MIN_RELATIVE_DECREASE = 1e-6

# Attributes that a checkpoint carries.
CHECKPOINT_FIELDS = (
    *("loss_scale", "evaluations", "restarts", "start_total", "best_total"),
    *("improved_step", "improved_total", "averaged", "best_values", "average"),
)


class Diverged(Exception):
    """The objective or the image is not finite; the message names what."""


def _not_finite(losses: Losses) -> str:
    """Name the first terms that are NaN or infinite, those of layers first; "" if there are none.

    Terms of weight 0 count as well, since they go into the record.
    """
    terms = losses.layers | losses.sums | {"the total": losses.total}
    finite = torch.stack([term.detach() for term in terms.values()]).isfinite().tolist()
    bad = [name for name, good in zip(terms, finite, strict=True) if not good]
    return ", ".join(([name for name in bad if name in losses.layers] or bad)[:3])


class StyleTransfer(pl.LightningModule):
    """Minimizes the objective over the image, its only parameter.

    One training step is one iteration of the optimizer. Encoder and targets are not part of the
    state dict. After a step that ends in NaN or infinity, the best image is restored and the
    optimizer starts afresh with a shorter step, up to ``max_restarts`` times.

    Attributes:
        evaluations: How often the objective was evaluated, over all levels.
        restarts: How often the best image was restored, over all levels.
        losses: Those of the lowest evaluation of the latest step.
        start_total: Total of the level's first evaluation.
        best_total: Lowest total of the level so far; ``best_values`` belong to it.
        improved_step: Step of the level that last decreased the lowest total.
        averaged: Number of images in ``average``.
        level: Index of the pyramid's level.
        block: Side of the blocks in which the objective is computed, or None.
        carried_state: Of the optimizer of the level before, resampled; it goes with its loss_scale.
    """

    best_values: Tensor
    average: Tensor

    def __init__(
        self,
        image: Tensor,
        encoder: Encoder,
        objective: Objective,
        settings: config.Optimizer,
        averaging: float = 0.0,
        colors: LuminanceOnly | None = None,
        tiling: Tiling | None = None,
    ) -> None:
        """Start from ``image`` (1, 3, H, W), RGB in 0..1; ``averaging`` is a decay, 0 for none.

        With ``colors`` only the luminance of the image is optimized. With a ``tiling`` of the
        encoder the objective is computed block by block.
        """
        super().__init__()
        self.strict_loading = False  # the encoder is not in the checkpoint
        self.parameter = ImageParameter(image, settings.parametrization)
        self.encoder, self.objective = encoder, objective
        self.tiled = None if tiling is None else TiledObjective(tiling, objective)
        self.block = None if tiling is None else tiling.block
        self.settings, self.averaging, self.colors = settings, averaging, colors
        self.loss_scale = 0.0  # fixed at the first evaluation, if it is not carried
        self.evaluations = 0
        self.restarts = 0
        self.losses: Losses | None = None
        self.start_total = self.best_total = float("inf")
        self.improved_step, self.improved_total = 0, float("inf")
        # Buffers, so that they follow the image to its device and precision.
        values = self.parameter.values.detach().clone()
        self.register_buffer("best_values", values, persistent=False)
        start = torch.zeros_like(self.image()) if averaging else torch.zeros(())
        self.register_buffer("average", start, persistent=False)
        self.averaged = 0
        self._add_to_average()
        self.carried_state: dict[str, Any] | None = None
        self.level = 0
        self._step_lowest = float("inf")

    def train_dataloader(self) -> Iterable[int]:
        """Return an endless loader of nothing: max_steps ends the run."""
        return itertools.repeat(0)

    def configure_optimizers(self) -> Any:
        """Build the optimizer of the image's values, and the schedule of its step's length."""
        reuse = not self.objective.jumping_targets()
        optimizer = build_optimizer(self.parameter, self.settings, reuse)
        if self.carried_state is not None:
            values = self.parameter.values
            optimizer.state[values] = {
                name: value.to(values) if value.dim() else value
                for name, value in self.carried_state.items()
            }
        if not self.settings.milestones:
            return optimizer
        schedule = MultiStepLR(optimizer, self.settings.milestones, self.settings.gamma)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]

    def training_step(self, batch: int, batch_idx: int) -> Tensor:
        """Evaluate the objective at the current image and return the scaled total."""
        losses = self.evaluate(self.parameter())
        self.evaluations += 1
        if bad := _not_finite(losses):
            raise Diverged(bad)
        total = float(losses.total.detach())
        if self.start_total == float("inf"):
            self.start_total = total
        if not self.loss_scale:
            # Bounded, since a total of nothing but rounding errors must not be amplified.
            self.loss_scale = SCALED_LOSS_AT_START / max(total, 1e-6) if total > 0 else 1.0
        if total < self._step_lowest:
            self._step_lowest, self.losses = total, losses.detach()
        if total < self.best_total:
            self.best_total = total
            self.best_values.copy_(self.parameter.values.detach())
        return losses.total * self.loss_scale

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Any,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Do one iteration, with divergence guard, clamping and averaging."""
        step = int(self.global_step) + 1
        if self.objective.start_step(step - 1):
            self._begin_again(optimizer)
        while True:
            self._step_lowest = float("inf")
            evaluations = self.evaluations
            try:
                with self.objective.kept_neighbors():
                    super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
                if not torch.isfinite(self.parameter.values.detach()).all():
                    raise Diverged("the image")
                if self.evaluations == evaluations and optimizer_closure is not None:
                    # L-BFGS did not move and remembers this point; Lightning expects a result.
                    optimizer_closure()
                break
            except Diverged as divergence:
                self._restart(str(divergence), step, optimizer)
        if self.best_total < self.improved_total * (1.0 - MIN_RELATIVE_DECREASE):
            self.improved_step, self.improved_total = step, self.best_total
        if self.settings.clamp:
            self.parameter.set_image(self.image().clamp(0.0, 1.0))
        self._add_to_average()

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """Return the image's values alone."""
        return {"parameter.values": self.parameter.values.detach()}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add plain tensors and numbers, which torch loads with weights_only=True."""
        checkpoint["style_transfer"] = {name: getattr(self, name) for name in CHECKPOINT_FIELDS}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore what on_save_checkpoint has added."""
        for name, value in checkpoint["style_transfer"].items():
            if torch.is_tensor(value):
                getattr(self, name).copy_(value)
            else:
                setattr(self, name, value)
        self.objective.start_step(max(0, int(checkpoint["global_step"]) - 1))

    def evaluate(self, image: Tensor) -> Losses:
        """Evaluate the objective at an image (1, 3, H, W)."""
        seen = image if self.colors is None else self.colors(image)
        losses: Losses
        if self.tiled is not None:
            release_freed_memory()  # that of the image's size, which no block reuses
            losses = self.tiled(seen)
            release_freed_memory()
        else:
            losses = self.objective(seen, self.encoder.maps_on_demand(seen))
        return losses

    @torch.no_grad()
    def image(self) -> Tensor:
        """Return the current image (1, 3, H, W), RGB; it may leave 0..1 a little."""
        return self._colored(self.parameter())

    def _colored(self, image: Tensor) -> Tensor:
        return (image if self.colors is None else self.colors.colored(image)).detach()

    def result_image(self) -> Tensor:
        """Return the current image, or the average of the iterates if that is asked for."""
        return self.average.clone() if self.averaged else self.image()

    @torch.no_grad()
    def best_image(self) -> Tensor:
        """Return the image with the lowest total so far, (1, 3, H, W)."""
        return self._colored(self.parameter.decode(self.best_values))

    def restore_best(self) -> None:
        """Restore the image with the lowest total so far."""
        with torch.no_grad():
            self.parameter.values.copy_(self.best_values)
        self.averaged = 0
        self._add_to_average()

    def _add_to_average(self) -> None:
        """Add the current image, also that of the start, to the average of the iterates.

        It is an exponential moving average without bias, as Adam's moments.
        """
        if self.averaging:
            self.averaged += 1
            weight = (1.0 - self.averaging) / (1.0 - self.averaging**self.averaged)
            self.average.lerp_(self.image(), weight)

    def _begin_again(self, optimizer: Any) -> None:
        """Discard what belongs to the objective before this step: totals, and L-BFGS's memory."""
        self.best_total = self.improved_total = float("inf")
        if isinstance(self.settings, config.LBFGS):
            getattr(optimizer, "optimizer", optimizer).state.clear()

    def _restart(self, where: str, step: int, optimizer: Any) -> None:
        """Restore the best image and shorten the step; ``where`` names what is not finite.

        Raises:
            NumericalError: If there is no finite image yet, or after ``max_restarts`` restarts.
        """
        if self.best_total == float("inf"):
            raise NumericalError(
                f"the objective is not finite at the start ({where}); check alpha, beta, the layer "
                "weights and init.noise_scale, or use trainer.precision=32-true"
            )
        self.restarts += 1
        if self.restarts > self.settings.max_restarts:
            raise NumericalError(
                f"diverged at step {step} ({where}), and {self.settings.max_restarts} restarts "
                f"from the best image with shorter and shorter steps did not help; try a smaller "
                f"optimizer.lr (now {self.settings.lr:g}) or trainer.precision=32-true"
            )
        self.restore_best()
        inner = getattr(optimizer, "optimizer", optimizer)  # Lightning wraps it
        inner.state.clear()
        for group in inner.param_groups:
            group["lr"] *= LR_BACKOFF
        if self.restarts == 1:
            log.warning(
                "diverged at step %d (%s is not finite): the best image is restored and the step "
                "shortened to %g of its length",
                *(step, where, LR_BACKOFF),
            )
