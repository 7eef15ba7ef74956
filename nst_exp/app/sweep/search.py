"""Optuna's sweeper, which chooses its jobs itself: what it minimizes, and what it cannot do.

With two directions the objectives are the distances to content and to style; with one it is the
total loss.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override, Transformer
from omegaconf import ListConfig

from nst_exp.utils.errors import ConfigError

log = logging.getLogger(__name__)

Objectives = float | tuple[float, ...]


def check_search(sweeper: Any) -> None:
    """Raise ConfigError for settings with which Optuna would fail in the middle of a search.

    Args:
        sweeper: That section of Hydra's config.
    """
    if not _is_optuna(sweeper):
        return
    problems = []
    if (count := _directions(sweeper)) > 2:
        problems.append(
            f"hydra.sweeper.direction: has {count} directions; give two, [minimize,minimize], for "
            "the distances to content and style, or one, minimize, for the total loss"
        )
    if sweeper.storage is not None:  # breaks with SQLAlchemy 2
        problems.append(
            f"hydra.sweeper.storage={sweeper.storage}: this Optuna cannot use it; leave it out, "
            "hydra.sweeper.sampler.seed=0 makes the same search again"
        )
    if problems:
        raise ConfigError(problems)
    import optuna  # sets its level when it is imported

    optuna.logging.set_verbosity(logging.WARNING)
    # Failed jobs are logged here already.
    logging.getLogger("hydra_plugins.hydra_optuna_sweeper").setLevel(logging.CRITICAL)


def _is_optuna(sweeper: Any) -> bool:
    return str(sweeper._target_).endswith(".OptunaSweeper")


def _directions(sweeper: Any) -> int:
    return len(sweeper.direction) if isinstance(sweeper.direction, ListConfig) else 1


def first_values(overrides: Sequence[Override]) -> list[str]:
    """Return the overrides of one possible job of a search: the first value of each key."""
    return [
        f"{str(override.input_line).partition('=')[0]}={_first(override)}"
        if override.is_sweep_override()
        else str(override.input_line)
        for override in overrides
    ]


def _first(override: Override) -> Any:
    value = override.value()
    if isinstance(value, IntervalSweep):
        return value.start
    return next(override.sweep_iterator(transformer=Transformer.encode))


def objectives(sweeper: Any, record: Mapping[str, Any], metrics: bool) -> Objectives | None:
    """Return what Optuna minimizes; None, a failed trial, if a number is missing.

    Args:
        sweeper: That section of Hydra's config.
        record: Record of a finished run.
        metrics: Whether the two distances are the run's metrics, or else its losses.
    """
    if not _is_optuna(sweeper):
        return None
    names = ("total",) if _directions(sweeper) == 1 else ("content", "style")
    if metrics and len(names) == 2:
        names = ("content_distance", "style_distance")
    numbers = {**(record.get("metrics") or {}), **(record.get("losses") or {})}
    found = tuple(float(numbers.get(name, math.nan)) for name in names)
    if not all(map(math.isfinite, found)):
        log.warning("a number that the search needs is missing: the search counts a failed job")
        return None
    return found[0] if len(found) == 1 else found
