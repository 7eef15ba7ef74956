"""Optuna's sweeper, which chooses its jobs itself: what it minimizes."""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override
from omegaconf import ListConfig

from nst_exp.app.sweep.launchers import is_a
from nst_exp.utils.errors import ConfigError

log = logging.getLogger(__name__)

Objectives = float | list[float]


def prepare_search(sweeper: Any, overrides: Sequence[Override]) -> None:
    """Refuse settings with which Optuna would fail in the middle, and keep its log short.

    Args:
        sweeper: That section of Hydra's config.
        overrides: Those of the command.
    """
    if not is_a(sweeper, "OptunaSweeper"):
        return
    for override in overrides:
        interval = override.value()
        if isinstance(interval, IntervalSweep) and interval.start is not None and interval.end:
            if interval.start > interval.end:
                raise ConfigError(f"{override.input_line}: the first number must be the smaller")
            if "log" in interval.tags and interval.start <= 0:
                raise ConfigError(f"{override.input_line}: log needs numbers greater than 0")
    given = sweeper.direction if isinstance(sweeper.direction, ListConfig) else [sweeper.direction]
    if not given or {getattr(d, "name", d) for d in given} - {"minimize", "maximize"}:
        raise ConfigError(
            f"hydra.sweeper.direction={sweeper.direction}: must be minimize, maximize, or a list "
            "of two of them"
        )
    if isinstance(sweeper.direction, ListConfig) and len(sweeper.direction) > 2:
        raise ConfigError(
            f"hydra.sweeper.direction: has {len(sweeper.direction)} directions; give two, "
            "[minimize,minimize], for the distances to content and style, or one, minimize, for "
            "the total loss"
        )
    if sweeper.storage is not None:  # breaks with SQLAlchemy 2
        raise ConfigError("hydra.sweeper.storage: this Optuna cannot use it; leave it out")
    import optuna  # sets its level when it is imported

    optuna.logging.set_verbosity(logging.WARNING)
    # Failed jobs are logged here already.
    logging.getLogger("hydra_plugins.hydra_optuna_sweeper").setLevel(logging.CRITICAL)


def objectives(sweeper: Any, record: Mapping[str, Any], metrics: bool) -> Objectives | None:
    """Return what Optuna minimizes; None, a failed trial, if a number is missing.

    Args:
        sweeper: That section of Hydra's config.
        record: Record of a finished run.
        metrics: Whether the two distances are the run's metrics, or else its losses.
    """
    if not is_a(sweeper, "OptunaSweeper"):
        return None
    names = ["content_distance", "style_distance"] if metrics else ["content", "style"]
    if not isinstance(sweeper.direction, ListConfig) or len(sweeper.direction) == 1:
        names = ["total"]
    numbers = {**(record.get("metrics") or {}), **record["losses"]}
    found = [float(numbers.get(name, math.nan)) for name in names]
    if not all(map(math.isfinite, found)):
        log.warning("a number that the search needs is missing: the search counts a failed job")
        return None
    return found[0] if len(found) == 1 else found
