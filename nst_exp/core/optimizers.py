"""torch's optimizers, set up for one image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from nst_exp.config import schema as config
from nst_exp.core.parametrization import ImageParameter


@dataclass
class _Evaluation:
    values: Tensor
    gradient: Tensor
    loss: Tensor


class LBFGS(torch.optim.LBFGS):
    """torch's L-BFGS that does not evaluate the objective twice at the same point.

    With one iteration per step, torch evaluates the objective again at the start of each step,
    where the line search of the step before has just been: that would double the cost. The last
    and the lowest evaluation are remembered and used again while the parameter still has exactly
    the same values; the memory is not part of the checkpointed state, since it changes no number.

    torch's first step moves all values together by ``lr`` (it is -g/|g|_1): for an image that is
    next to nothing, and the first curvature estimate taken from it is noise. ``first_step`` asks
    for a change of the image instead, as ``length`` measures it.
    """

    def __init__(
        self,
        parameter: nn.Parameter,
        settings: config.LBFGS,
        length: Callable[[Tensor], float],
    ) -> None:
        """``length`` maps a change of the parameter to that of the image, per value."""
        wolfe = settings.line_search is config.LineSearch.strong_wolfe
        super().__init__(
            [parameter],
            lr=settings.lr,
            max_iter=1,
            # The start of a step uses one of these, and a line search one more than is left.
            max_eval=settings.max_evaluations,
            history_size=settings.history,
            # torch's absolute tolerances would stop a run for good while it still improves.
            tolerance_grad=0.0,
            tolerance_change=0.0,
            line_search_fn="strong_wolfe" if wolfe else None,
        )
        self.parameter = parameter
        self.first_step = settings.first_step
        self.length = length
        self.remembered: list[_Evaluation] = []

    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        """One iteration; ``closure`` evaluates the objective and fills the gradient."""
        parameter = self.parameter

        def evaluate() -> Any:
            for known in self.remembered:
                if torch.equal(known.values, parameter.detach()):
                    parameter.grad = known.gradient.clone()
                    return known.loss
            loss = torch.as_tensor(closure()).detach()
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            new = _Evaluation(parameter.detach().clone(), gradient.clone(), loss)
            lowest = min([*self.remembered, new], key=lambda known: float(known.loss))
            self.remembered = [new] if lowest is new else [new, lowest]
            return loss

        group = self.param_groups[0]
        fresh = not self.state[parameter].get("n_iter", 0)
        if fresh:  # whatever led to a new start, a gradient may have been spoilt
            self.remembered.clear()
        if self.first_step is None or not fresh:
            return super().step(evaluate)  # type: ignore[no-untyped-call]
        with torch.enable_grad():
            evaluate()  # remembered, so it costs nothing more
        gradient = parameter.grad
        unit = 0.0 if gradient is None else self.length(gradient / gradient.abs().sum())
        lr = group["lr"]
        group["lr"] = lr * self.first_step / unit if unit > 0.0 else lr
        try:
            return super().step(evaluate)  # type: ignore[no-untyped-call]
        finally:
            group["lr"] = lr


def build_optimizer(image: ImageParameter, settings: config.Optimizer) -> torch.optim.Optimizer:
    """The optimizer of ``settings`` over the image's values."""
    parameter = image.values
    if isinstance(settings, config.LBFGS):
        return LBFGS(parameter, settings, image.length)
    if isinstance(settings, config.Adam):
        betas = (settings.beta1, settings.beta2)
        return torch.optim.Adam([parameter], lr=settings.lr, betas=betas, eps=settings.eps)
    raise TypeError(f"unknown optimizer settings: {type(settings).__name__}")


def carries_state(settings: config.Optimizer) -> bool:
    """Whether the next level of a pyramid takes the state over.

    Adam's does, in pixels; L-BFGS and Fourier coefficients start afresh.
    """
    pixels = settings.parametrization.kind is config.ParametrizationKind.pixels
    return isinstance(settings, config.Adam) and pixels


def carry_adam_state(state: dict[str, Any], height: int, width: int) -> dict[str, Any]:
    """Adam's state of one level, (1, 3, h, w), resampled to the next level's size.

    Bilinear for both moments: with weights that are never negative, second moments stay positive
    and no step grows beyond those of the level before. (Bicubic undershoots to 0 next to large
    values, and Adam divides by their root.)
    """
    carried: dict[str, Any] = {}
    for name, value in state.items():
        if isinstance(value, Tensor) and value.dim() == 4:
            carried[name] = interpolate(
                value, size=(height, width), mode="bilinear", align_corners=False
            )
        else:
            carried[name] = value.clone() if torch.is_tensor(value) else value
    return carried
