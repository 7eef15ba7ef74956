"""What goes to TensorBoard at the start and at the end of a run."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from pytorch_lightning.loggers import TensorBoardLogger

from nst_exp.config.schema import Config, Logging
from nst_exp.config.serialize import config_as_dict, flat
from nst_exp.results.record import KEYS_NOT_FINGERPRINTED
from nst_exp.runner.evaluate import metric_names

# Hyperparameters of every run; others are added if they differ from their default.
USUAL_KEYS = (
    *("content", "style", "alpha", "beta", "steps", "size", "seed"),
    *("backbone.name", "init.kind", "optimizer.kind", "optimizer.lr"),
)
BACKBONE_KEYS = tuple(  # follow from the backbone's name
    f"backbone.{key}" for key in ("sources", "input", "content_layers", "style_layers")
)
SAVED_LOSSES = ("total", "content", "style", "tv")  # of the saved image, one point each


class RunLogger(TensorBoardLogger):
    """One event file for the whole run: Lightning closes a logger after every fit()."""

    def finalize(self, status: str) -> None:
        """Flush the file between two levels of a pyramid."""
        self.experiment.flush()

    def save(self) -> None:
        """Write nothing beside the event file: the settings are in result.json."""

    def close(self) -> None:
        """Close the file at the end of the run."""
        self.experiment.close()


def make_logger(folder: Path | None, settings: Logging, done: int) -> RunLogger | None:
    """Make a logger that writes into the run's folder itself; None if none is asked for.

    What an interrupted run has recorded after its first ``done`` steps is dropped.
    """
    if folder is None or not settings.tensorboard:
        return None
    purge = done + 1 if done else 0
    return RunLogger(folder, name="", version="", default_hp_metric=False, purge_step=purge)


def log_settings(logger: TensorBoardLogger, config: Config) -> None:
    """Log the config as text, the hyperparameters with their metrics, and a chart of losses."""
    text = yaml.safe_dump(config_as_dict(config), sort_keys=False, allow_unicode=True)
    logger.experiment.add_text("config", f"```yaml\n{text}\n```", 0)
    # TensorBoard shows the last point that is logged under each of these tags.
    tags = [f"saved/{name}" for name in SAVED_LOSSES]
    if config.logging.metrics:
        tags += [f"metrics/{name}" for name in metric_names()]
    logger.log_hyperparams(_hyperparameters(config), dict.fromkeys(tags, math.nan))
    chart = ["Multiline", ["loss/content", "loss/style"]]
    logger.experiment.add_custom_scalars({"losses": {"content and style": chart}})


def _hyperparameters(config: Config) -> dict[str, Any]:
    """Return the usual keys and those that differ from their default: HPARAMS shows only a few."""
    usual = flat(config_as_dict(Config()))
    return {
        key: ", ".join(map(str, value)) if isinstance(value, list) else value
        for key, value in flat(config_as_dict(config)).items()
        if value is not None
        and key.split(".")[0] not in KEYS_NOT_FINGERPRINTED
        and key not in BACKBONE_KEYS
        and (key in USUAL_KEYS or key not in usual or value != usual[key])
    }


def result_values(losses: dict[str, float], metrics: dict[str, float]) -> dict[str, float]:
    """Return the saved image's losses and metrics by their tags, the columns of HPARAMS."""
    values = {f"saved/{name}": losses[name] for name in SAVED_LOSSES}
    return values | {f"metrics/{name}": value for name, value in metrics.items()}


@contextmanager
def writers_fail_quietly() -> Iterator[None]:
    """Keep the thread that writes the event file from printing a traceback if the disk is full.

    TensorBoard raises the same error again when the next point is logged.
    """
    before = threading.excepthook

    def hook(arguments: threading.ExceptHookArgs) -> None:
        if not isinstance(arguments.exc_value, OSError):
            before(arguments)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before
