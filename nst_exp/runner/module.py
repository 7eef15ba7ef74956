"""The LightningModule: one image, minimized."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim.lr_scheduler import MultiStepLR

from nst_exp.config import schema as config
from nst_exp.core.encoder import Encoder
from nst_exp.core.objective import Losses, Objective
from nst_exp.core.optimizers import build_optimizer
from nst_exp.core.parametrization import ImageParameter
from nst_exp.utils.errors import NumericalError

# The optimizer sees the loss scaled to this value at the start: torch's L-BFGS drops curvature
# pairs below an absolute 1e-10, under which a loss of order 1 would stall.
SCALED_LOSS_AT_START = 1e6
SHORTER = 0.1  # factor on the step after a divergence
FALL = 1e-6  # share by which the lowest total must fall to count as better; float32 rounds by 1e-7


# Numbers that a checkpoint carries.
CARRIED = (
    "loss_scale",
    "evaluations",
    "restarts",
    "start_total",
    "best_total",
    "improved_step",
    "improved_total",
    "averaged",
)


class Diverged(Exception):
    """The objective is not finite at this point."""


def _not_finite(losses: Losses) -> str:
    """The first layers' terms that are NaN or infinite, or else the sums that are; "" for none.

    Also those that are only measured: they would end up in the record.
    """
    sums = {name: getattr(losses, name) for name in ("content", "style", "tv", "range")}
    terms = losses.layers | sums | {"the total": losses.total}
    finite = torch.stack([term.detach() for term in terms.values()]).isfinite().tolist()
    bad = [name for name, good in zip(terms, finite, strict=True) if not good]
    return ", ".join(([name for name in bad if name in losses.layers] or bad)[:3])


class StyleTransfer(pl.LightningModule):
    """Minimizes the objective over the image, its only parameter.

    One training step is one iteration of the optimizer. Encoder and targets are not part of the
    state dict; what a resumed run needs beside Lightning's own state travels in the checkpoint's
    "style_transfer" entry. A step that ends in NaN or infinity puts the best image back and goes
    on with a shorter step and a fresh optimizer; NumericalError when that has not helped
    ``max_restarts`` times.
    """

    best_values: Tensor
    average: Tensor

    def __init__(
        self,
        image: Tensor,
        backbone: Encoder,
        objective: Objective,
        settings: config.Optimizer,
        averaging: float = 0.0,
        report: Callable[[str], None] = print,
    ) -> None:
        """Start from ``image`` (1, 3, H, W), RGB in 0..1; ``averaging`` is a decay below 1."""
        super().__init__()
        self.strict_loading = False  # the backbone is not in the checkpoint
        self.parameter = ImageParameter(image, settings.parametrization)
        self.backbone, self.objective = backbone, objective
        self.settings, self.averaging = settings, averaging
        self.report = report
        self.loss_scale = 0.0  # fixed at the first evaluation
        self.evaluations = 0
        self.restarts = 0
        self.losses: Losses | None = None  # of the lowest evaluation of the latest step
        self.start_total: float | None = None
        self.best_total = float("inf")
        # Step of this level that last made the lowest total better, and that total.
        self.improved_step, self.improved_total = 0, float("inf")
        # Buffers, so that they follow the image to its device and precision.
        values = self.parameter.values.detach().clone()
        self.register_buffer("best_values", values, persistent=False)
        self.register_buffer("average", torch.zeros_like(values), persistent=False)
        self.averaged = 0
        self.carried_state: dict[str, Any] | None = None  # Adam's, from the level before
        self.level = 0  # of the pyramid; travels in the checkpoint
        self.clock: Callable[[], float] = lambda: 0.0  # seconds that the run has taken
        self.warnings: list[str] = []  # the run's, for the checkpoint
        self._step_lowest = float("inf")

    # What Lightning asks for

    def train_dataloader(self) -> Iterable[int]:
        """Nothing to load: the trainer's max_steps ends the run."""
        return itertools.repeat(0)

    def configure_optimizers(self) -> Any:
        """L-BFGS or Adam over the image's values, and when its step becomes shorter."""
        optimizer = build_optimizer(self.parameter, self.settings)
        if self.carried_state is not None:
            state = {
                name: value.to(self.parameter.values) if value.dim() else value.clone()
                for name, value in self.carried_state.items()
            }
            optimizer.state[self.parameter.values] = state
        if not self.settings.milestones:
            return optimizer
        schedule = MultiStepLR(optimizer, self.settings.milestones, self.settings.gamma)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]

    def training_step(self, batch: int, batch_idx: int) -> Tensor:
        """Evaluate the objective at the present image; returns the scaled total."""
        losses = self.evaluate(self.parameter())
        self.evaluations += 1
        if bad := _not_finite(losses):
            raise Diverged(bad)
        total = float(losses.total.detach())
        if self.start_total is None:
            self.start_total = total
            # Bounded, since a total of nothing but rounding errors must not be blown up.
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
        """One iteration, and what belongs to it: divergence guard, clamping, averaging."""
        step = int(self.global_step) + 1
        while True:
            self._step_lowest = float("inf")
            evaluations = self.evaluations
            try:
                super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
                if not torch.isfinite(self.parameter.values.detach()).all():
                    raise Diverged("the image")
                if self.evaluations == evaluations and optimizer_closure is not None:
                    # L-BFGS stands still and remembers this point; Lightning expects a result.
                    optimizer_closure()
                break
            except Diverged as divergence:
                self._restart(str(divergence), optimizer)
            except RuntimeError as error:
                if "overflow" not in str(error):  # of a step's length, as torch puts it
                    raise
                self._restart("the step", optimizer)
        if self.best_total < self.improved_total * (1.0 - FALL):
            self.improved_step, self.improved_total = step, self.best_total
        if self.settings.clamp:
            self.parameter.set_image(self.image().clamp(0.0, 1.0))
        if self.averaging:
            self.average.mul_(self.averaging).add_(self.image(), alpha=1.0 - self.averaging)
            self.averaged += 1

    # The state that a checkpoint carries

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """The image's values alone."""
        return {"parameter.values": self.parameter.values.detach()}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Plain tensors and numbers, which torch loads with weights_only=True."""
        checkpoint["style_transfer"] = {name: getattr(self, name) for name in CARRIED} | {
            "best_values": self.best_values,
            "average": self.average,
            "level": self.level,
            "seconds": self.clock(),
            "warnings": list(self.warnings),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the state back; what an older version did not write keeps its first value."""
        for name, value in checkpoint["style_transfer"].items():
            if name in ("seconds", "warnings"):
                continue  # the run reads them
            if torch.is_tensor(value):
                getattr(self, name).copy_(value)
            else:
                setattr(self, name, value)

    # For the callbacks and the run

    def evaluate(self, image: Tensor) -> Losses:
        """The objective at ``image`` (1, 3, H, W)."""
        losses: Losses = self.objective(image, self.backbone(image))
        return losses

    @torch.no_grad()
    def image(self) -> Tensor:
        """The present image (1, 3, H, W), RGB; may leave 0..1 a little."""
        image: Tensor = self.parameter()
        return image.detach()

    def result_image(self) -> Tensor:
        """The present image, or the average of the iterates if that is asked for."""
        if not self.averaged:
            return self.image()
        weight = 1.0 - float(self.averaging**self.averaged)
        return self.average / weight

    @torch.no_grad()
    def best_image(self) -> Tensor:
        """The image with the lowest total so far, (1, 3, H, W)."""
        return self.parameter.decode(self.best_values).detach()

    def restore_best(self) -> None:
        """Go back to the image with the lowest total so far."""
        with torch.no_grad():
            self.parameter.values.copy_(self.best_values)
            self.average.zero_()
        self.averaged = 0

    def _restart(self, where: str, optimizer: Any) -> None:
        step = int(self.global_step) + 1
        if self.best_total == float("inf"):
            largest = float(self.image().abs().max())
            hint = "check alpha, beta and the layer weights, or use trainer.precision=32-true"
            if not largest < 100.0:  # of a range of 0..1
                hint = f"the image has values up to {largest:.1e}; lower init.noise_scale"
            raise NumericalError(f"the objective is not finite at the start ({where}); {hint}")
        self.restarts += 1
        if self.restarts > self.settings.max_restarts:
            raise NumericalError(
                f"diverged at step {step} ({where}), and {self.settings.max_restarts} restarts "
                f"from the best image with ever shorter steps did not help; try a smaller "
                f"optimizer.lr (now {self.settings.lr:g}) or trainer.precision=32-true"
            )
        self.restore_best()
        inner = getattr(optimizer, "optimizer", optimizer)  # Lightning wraps it
        inner.state.clear()
        for group in inner.param_groups:
            group["lr"] *= SHORTER
        if self.restarts == 1:
            self.report(
                f"diverged at step {step} ({where} is not finite): the best image is put back and "
                f"the step shortened to {SHORTER:g} of its length"
            )
