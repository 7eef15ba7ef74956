"""Optuna's sweeper, which chooses its jobs itself: what it minimizes, and what it cannot do.

With two directions the objectives are the distances to content and to style; with one it is the
total loss.
"""

from __future__ import annotations

import importlib.metadata
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override, Transformer
from omegaconf import ListConfig

from nst_exp.utils.errors import ConfigError

log = logging.getLogger(__name__)

Objectives = float | tuple[float, ...]


def is_optuna(sweeper: Any) -> bool:
    """Tell whether the jobs are chosen by Optuna.

    Args:
        sweeper: That section of Hydra's config.
    """
    return str(sweeper._target_).endswith(".OptunaSweeper")


def check_search(sweeper: Any) -> None:
    """Raise ConfigError for settings with which Optuna would fail in the middle of a search."""
    problems = []
    if (count := _directions(sweeper)) > 2:
        problems.append(
            f"hydra.sweeper.direction: has {count} directions; give two, [minimize,minimize], for "
            "the distances to content and style, or one, minimize, for the total loss"
        )
    if sweeper.storage is not None and _sqlalchemy() >= 2:
        problems.append(
            f"hydra.sweeper.storage={sweeper.storage}: this Optuna cannot use it with SQLAlchemy 2;"
            " leave it out; hydra.sweeper.sampler.seed=0 makes the same search again"
        )
    if problems:
        raise ConfigError(problems)
    # Failed jobs are logged here already.
    logging.getLogger("hydra_plugins.hydra_optuna_sweeper").setLevel(logging.CRITICAL)
    import optuna  # sets its level when it is imported

    optuna.logging.set_verbosity(logging.WARNING)


def _directions(sweeper: Any) -> int:
    return len(sweeper.direction) if isinstance(sweeper.direction, ListConfig) else 1


def _sqlalchemy() -> int:
    try:
        return int(importlib.metadata.version("sqlalchemy").split(".")[0])
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return 0


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
    if not is_optuna(sweeper):
        return None
    if _directions(sweeper) == 1:
        found = [(record.get("losses") or {}).get("total")]
    elif metrics:
        measured = record.get("metrics") or {}
        found = [measured.get("content_distance"), measured.get("style_distance")]
    else:
        found = [(record.get("losses") or {}).get(name) for name in ("content", "style")]
    values = tuple(float(v) for v in found if isinstance(v, int | float) and math.isfinite(v))
    if len(values) < len(found):
        log.warning("a number that the search needs is missing: the search counts a failed job")
        return None
    return values[0] if len(values) == 1 else values
