"""What a level ends with: which of its images, and whether it went on getting better."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from nst_exp.config.pyramid import Level
from nst_exp.config.schema import LBFGS, Config, LineSearch
from nst_exp.runner.module import StyleTransfer
from nst_exp.utils.errors import NumericalError

Say = Callable[[str], None]

FAR_ABOVE = 10.0  # a last image whose total is this many times the lowest is not kept
ROUNDING = 1e-3  # share by which two evaluations of the same image may differ,
MIXED = 2e-2  # and where the start was evaluated with bfloat16
STALLED = 0.999  # a total that stays above this share of its start has not moved
# So many steps without a better total are worth a word; an oscillation may have a few.
STOOD, STOOD_SHARE = 10, 0.25
# Lengths of steps down the gradient, as the root mean square change of the image (0..1).
DOWNHILL = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5)
FALLS = 2e-4  # share by which such a step must lower a total that has not converged
WANDERS = 1e-3  # distance from the best image, measured likewise, of one that oscillates around it
CUT = 0.01  # milestones that left less of lr than this have made the steps too short


def select_final_image(
    module: StyleTransfer, level: Level, config: Config, warn: Say, say: Say
) -> tuple[Tensor, dict[str, float]]:
    """The picture that a level ends with, (1, 3, H, W) in 0..1, and its losses.

    That is the last image, or the average of images if that is asked for; where it is far behind
    the best one, or worse than the start, the best one is put back. ``warn`` is told of that, and
    of a total that did not move, or not any more, though it could; ``say`` if it has converged.
    Raises NumericalError if the losses are not finite.
    """
    image, losses = _measure(module, module.result_image())
    _note_standstill(module, level, config, losses["total"], warn, say)
    start = math.inf if module.start_total is None else module.start_total
    lowest = module.best_total
    rounding = MIXED if config.trainer.precision in ("bf16-mixed", "16-mixed") else ROUNDING
    worst = start * (1.0 + rounding)
    limit = worst if module.averaged else min(worst, FAR_ABOVE * lowest)
    if not losses["total"] <= limit:  # which NaN is not either
        best, its_losses = _measure(module, module.best_image())
        if its_losses["total"] < losses["total"] or not _finite(losses):
            # The iterates left the best image behind, as L-BFGS without a line search may.
            above = f"far above the lowest, {lowest:.3e}"
            if losses["total"] <= FAR_ABOVE * lowest:
                above = f"above that of the start, {start:.3e}"
            warn(
                f"the last image's total loss{_size(level, config)}, {losses['total']:.3e}, is "
                f"{above}: the image of the lowest is taken"
            )
            module.restore_best()
            image, losses = best, its_losses
    if not _finite(losses):
        raise NumericalError(
            "the losses of the picture are not finite; check alpha, beta and the layer weights"
        )
    last = level.first_step + level.steps == config.steps
    if last and losses["total"] > worst:
        warn(
            f"the saved picture's total loss, {losses['total']:.3e}, is above that of the start, "
            f"{start:.3e}: what lies outside 0..1 is cut off when it is saved; "
            "loss.range_weight keeps the image in that range"
        )
    return image, losses


@torch.no_grad()
def _measure(module: StyleTransfer, image: Tensor) -> tuple[Tensor, dict[str, float]]:
    """The image as it is saved, and its losses."""
    image = image.clamp(0.0, 1.0)
    return image, module.evaluate(image).as_floats()


def _size(level: Level, config: Config) -> str:
    return f" at {level.size} px" if config.resolution.pyramid else ""


def _finite(losses: dict[str, float]) -> bool:
    return all(math.isfinite(value) for value in losses.values())


def _note_standstill(
    module: StyleTransfer, level: Level, config: Config, last: float, warn: Say, say: Say
) -> None:
    """Say if the total did not fall, at all or for long; ``last`` is that of the last image."""
    start, lowest = module.start_total, module.best_total
    if start is None:
        return
    if last < lowest:  # an optimizer without a line search has not seen it
        lowest = last
    moved = lowest < STALLED * start
    stood = level.steps - module.improved_step
    if moved and stood < max(STOOD, STOOD_SHARE * level.steps):
        return
    size = _size(level, config)
    falls = _falls(module, clamp=config.optimizer.clamp)
    step, steps = level.first_step + module.improved_step, level.first_step + level.steps
    if not moved:
        because = _advice(module, config)
        if falls == 0.0 and start > 0.0:
            because = (
                "its gradient is 0; the start fits already, or the weights are too small for "
                "this arithmetic"
            )
        elif falls < FALLS:
            because = "the start fits already, no step downhill lowers it"
        warn(
            f"the total loss hardly moved{size} ({start:.3e} at the start, lowest {lowest:.3e}): "
            f"{because}"
        )
    elif falls < FALLS:
        say(f"converged at step {step} of {steps}{size}: no step downhill lowers the total loss")
    else:
        warn(
            f"the total loss has not fallen since step {step} of {steps}{size}, although a step "
            f"downhill from the best image lowers it: {_advice(module, config)}"
        )


def _falls(module: StyleTransfer, clamp: bool) -> float:
    """The largest share by which a step down the gradient lowers the total of the best image.

    0 where the gradient is 0, or not finite; below that for a total that only rises.
    """
    values = module.best_values.detach().clone().requires_grad_()
    with torch.enable_grad():
        total = module.evaluate(module.parameter.decode(values)).total
        if not total.requires_grad:
            return 0.0
        (gradient,) = torch.autograd.grad(total * module.loss_scale, values)
    base, unit = float(total.detach()), module.parameter.length(gradient)
    if not (base > 0.0 and 0.0 < unit < math.inf):
        return 0.0
    found = -math.inf
    with torch.no_grad():
        for length in DOWNHILL:
            image = module.parameter.decode(values - gradient * (length / unit))
            image = image.clamp(0.0, 1.0) if clamp else image
            fall = 1.0 - float(module.evaluate(image).total) / base
            found = fall if fall > found else found
    return found


def _advice(module: StyleTransfer, config: Config) -> str:
    """What may help an optimizer that does not find the way down."""
    settings = config.optimizer
    lr = cast(torch.optim.Optimizer, module.optimizers(use_pl_optimizer=False)).param_groups[0][
        "lr"
    ]
    if isinstance(settings, LBFGS) and settings.line_search is LineSearch.strong_wolfe:
        if config.trainer.precision not in ("32-true", "64-true"):
            return (
                f"the line search cannot see it with trainer.precision={config.trainer.precision}; "
                "try 32-true"
            )
        if settings.max_evaluations < LBFGS.max_evaluations:
            return (
                f"the line search gives up after optimizer.max_evaluations="
                f"{settings.max_evaluations}; try {LBFGS.max_evaluations}"
            )
        return f"the line search does not find it; try another optimizer.lr (now {lr:g}), or adam"
    away = module.parameter.length(module.parameter.values - module.best_values)
    if not away <= WANDERS and lr > CUT * settings.lr:
        return f"the steps are too long; try a smaller optimizer.lr (now {lr:g}), or milestones"
    later = ", or later milestones" if settings.milestones else ""
    return f"the steps are too short; try a larger optimizer.lr (now {lr:g}){later}"
