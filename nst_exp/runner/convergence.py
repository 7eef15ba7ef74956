"""Which image a level ends with, and whether its loss still fell."""

import logging
import math

import torch
from torch import Tensor

from nst_exp.config.pyramid import Level, total_steps
from nst_exp.config.schema import Config
from nst_exp.runner.module import StyleTransfer
from nst_exp.utils.errors import NumericalError

log = logging.getLogger(__name__)

FAR_ABOVE = 10.0  # a last image whose total is this many times the lowest is not kept
# Share by which two evaluations of the same image may differ; more if one was in bfloat16.
ROUNDING, ROUNDING_MIXED = 1e-3, 2e-2
STALLED = 0.999  # a total that stays above this share of its start has not moved
# So many steps of a level without a better total are a stall: at least a number, and a share.
STALL_STEPS, STALL_SHARE = 10, 0.25


@torch.no_grad()
def select_final_image(
    module: StyleTransfer, level: Level, config: Config
) -> tuple[Tensor, dict[str, float]]:
    """Select the image that a level ends with: the last one, or the best one if that is far off.

    The last image is the average of the iterates if the config asks for it. A warning is logged if
    the best image is taken, if the total stalled, or if the result is worse than the start.

    Returns:
        The image, (1, 3, H, W) in 0..1, and its losses.

    Raises:
        NumericalError: If the losses of both images are not finite.
    """
    at_size = f" at {level.size} px" if config.resolution.pyramid else ""
    image = module.result_image().clamp(0.0, 1.0)  # as it is saved
    losses = module.evaluate(image).as_floats()
    start, lowest = module.start_total, module.best_total
    _warn_if_stalled(module, level, start, min(lowest, losses["total"]), at_size)
    mixed = config.trainer.precision in ("bf16-mixed", "16-mixed")
    worst = start * (1.0 + (ROUNDING_MIXED if mixed else ROUNDING))
    limit = worst if module.averaged else min(worst, FAR_ABOVE * lowest)
    if not losses["total"] <= limit:  # NaN is not either
        best = module.best_image().clamp(0.0, 1.0)
        its_losses = module.evaluate(best).as_floats()
        if its_losses["total"] < losses["total"] or not _is_finite(losses):
            log.warning(
                "the total loss of the last image%s is too high (%.3e; %.3e at the start, lowest "
                "%.3e): the image with the lowest is used instead; try a smaller optimizer.lr",
                *(at_size, losses["total"], start, lowest),
            )
            module.restore_best()
            image, losses = best, its_losses
    if not _is_finite(losses):
        raise NumericalError(
            "the losses of the image are not finite; check alpha, beta and the layer weights"
        )
    if level.first_step + level.steps == total_steps(config) and losses["total"] > worst:
        log.warning(
            "the total loss of the saved image, %.3e, is above that of the start, %.3e, because "
            "values outside 0..1 are cut off; loss.range_weight keeps the image in that range",
            *(losses["total"], start),
        )
    return image, losses


def _is_finite(losses: dict[str, float]) -> bool:
    return all(math.isfinite(value) for value in losses.values())


def _warn_if_stalled(
    module: StyleTransfer, level: Level, start: float, lowest: float, at_size: str
) -> None:
    """Log a warning if the total did not fall, at all or for many steps."""
    if not lowest < STALLED * start:
        log.warning(
            "the total loss hardly moved%s (%.3e at the start, lowest %.3e): the start fits "
            "already, or the optimizer is stuck; try another optimizer.lr",
            *(at_size, start, lowest),
        )
    elif level.steps - module.improved_step >= max(STALL_STEPS, STALL_SHARE * level.steps):
        log.warning(
            "the total loss has not fallen since step %d of %d%s: it has converged, or the "
            "optimizer is stuck; try fewer steps or another optimizer.lr",
            *(level.first_step + module.improved_step, level.first_step + level.steps, at_size),
        )
