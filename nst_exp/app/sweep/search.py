"""Sweepers that make up their jobs as they go, looking for good ones: what they are told.

Of Optuna's, with two directions, the objectives are the distances to content and to style; with
one, the total loss.
"""

from __future__ import annotations

import importlib.metadata
import logging
import math
from collections.abc import Mapping
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override, Transformer
from omegaconf import ListConfig

from nst_exp.utils.errors import ConfigError

Distances = tuple[float, float]

METRICS = ("content_distance", "style_distance")
LOSSES = ("content", "style")


def is_optuna(sweeper: Any) -> bool:
    """``sweeper`` is that section of Hydra's config."""
    return str(sweeper._target_).endswith(".OptunaSweeper")


def directions(sweeper: Any) -> int:
    """How many objectives Optuna is asked to look after."""
    return len(sweeper.direction) if isinstance(sweeper.direction, ListConfig) else 1


def check_search(sweeper: Any) -> None:
    """Raise ConfigError for what Optuna would stumble over in the midst of a search."""
    if not is_optuna(sweeper):
        return
    _quiet()
    problems = []
    if (count := directions(sweeper)) > 2:
        problems.append(
            f"hydra.sweeper.direction: {count} directions; give two, [minimize,minimize], for the "
            "distances to content and style, or one, minimize, for the total loss"
        )
    if sweeper.storage is not None and _sqlalchemy() >= 2:
        problems.append(
            f"hydra.sweeper.storage={sweeper.storage}: this Optuna cannot use it with SQLAlchemy 2;"
            " leave it out; hydra.sweeper.sampler.seed=0 makes the same search again"
        )
    if problems:
        raise ConfigError(problems)


def _quiet() -> None:
    """Failed jobs are told of here, and once."""
    logging.getLogger("hydra_plugins.hydra_optuna_sweeper").setLevel(logging.CRITICAL)
    import optuna  # which sets the level when it is imported

    optuna.logging.set_verbosity(logging.WARNING)


def _sqlalchemy() -> int:
    try:
        return int(importlib.metadata.version("sqlalchemy").split(".")[0])
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return 0


def first_values(overrides: list[Override]) -> list[str]:
    """The overrides of one job that the search might make: everything at its first value."""
    lines = [(override, str(override.input_line)) for override in overrides]
    return [
        f"{line.partition('=')[0]}={_first(override)}" if override.is_sweep_override() else line
        for override, line in lines
    ]


def _first(override: Override) -> Any:
    value = override.value()
    if isinstance(value, IntervalSweep):
        return value.start
    return next(override.sweep_iterator(transformer=Transformer.encode))


def objectives(sweeper: Any, record: dict[str, Any], metrics: bool) -> float | Distances | None:
    """What Optuna is told of a finished run; None, a failure, where a number is missing.

    The two distances are the run's metrics, or its losses if ``metrics`` are not measured.
    """
    if not is_optuna(sweeper):
        return None
    if directions(sweeper) == 1:
        total = _finite(record.get("losses"), ("total",))
        return total[0] if total else None
    return distances(record, METRICS if metrics else LOSSES)


def distances(record: dict[str, Any], names: tuple[str, ...]) -> Distances | None:
    """To content and style, by these names of metrics or losses; None if not both are there."""
    found = _finite(record.get("metrics" if names == METRICS else "losses"), names)
    return (found[0], found[1]) if found else None


def _finite(values: Any, names: tuple[str, ...]) -> list[float] | None:
    if not isinstance(values, Mapping):
        return None
    found = [values.get(name) for name in names]
    if all(isinstance(v, int | float) and math.isfinite(v) for v in found):
        return [float(v) for v in found if v is not None]
    return None
