"""What TensorBoard is told at the start and at the end of a run."""

from __future__ import annotations

import logging
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
from nst_exp.core.metrics import names
from nst_exp.results.record import ASIDE

_OF_A_GROUP = ("backbone.name", "init.kind", "optimizer.kind", "optimizer.lr")
USUAL = ("content", "style", "alpha", "beta", "steps", "size", "seed", *_OF_A_GROUP)
OF_THE_BACKBONE = tuple(  # follow from its name
    f"backbone.{key}" for key in ("sources", "input", "content_layers", "style_layers")
)
SAVED = ("total", "content", "style", "tv")  # losses of the saved picture, one point each


_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # ten times as fast, if it was built


class RunLogger(TensorBoardLogger):
    """One event file for the whole run: Lightning closes a logger after every fit()."""

    def finalize(self, status: str) -> None:
        """Between two levels of a pyramid: only make sure that everything is on the disk."""
        self.experiment.flush()

    def save(self) -> None:
        """Nothing beside the event file: the settings are in result.json."""

    def close(self) -> None:
        """At the end of the run."""
        self.experiment.close()


def make_logger(folder: Path | None, settings: Logging, done: int) -> RunLogger | None:
    """A logger that writes into the run's folder itself.

    ``done`` steps were made before: whatever an interrupted run has recorded after them, and all of
    it where it left no checkpoint, is dropped.
    """
    if folder is None or not settings.tensorboard:
        return None
    purge = done + 1 if done else 0
    return RunLogger(folder, name="", version="", default_hp_metric=False, purge_step=purge)


def log_settings(logger: TensorBoardLogger, config: Config) -> None:
    """The config as text, the hyperparameters with their metrics, and a chart of the losses."""
    settings = config_as_dict(config)
    text = yaml.dump(settings, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    logger.experiment.add_text("config", f"```yaml\n{text}\n```", 0)
    # TensorBoard shows the last point that is logged under each of these tags.
    tags = [f"saved/{name}" for name in SAVED]
    if config.logging.metrics:
        tags += [f"metrics/{name}" for name in names()]
    logger.log_hyperparams(_hyperparameters(config), dict.fromkeys(tags, math.nan))
    chart = ["Multiline", ["loss/content", "loss/style"]]
    logger.experiment.add_custom_scalars({"losses": {"content and style": chart}})


def _hyperparameters(config: Config) -> dict[str, Any]:
    """The usual keys and what differs from the defaults: of more, HPARAMS hides what matters."""
    usual = flat(config_as_dict(Config()))
    return {
        key: ", ".join(map(str, value)) if isinstance(value, list) else value
        for key, value in flat(config_as_dict(config)).items()
        if value is not None
        and key.split(".")[0] not in ASIDE
        and key not in OF_THE_BACKBONE
        and (key in USUAL or key not in usual or value != usual[key])
    }


def result_values(losses: dict[str, float], metrics: dict[str, float]) -> dict[str, float]:
    """The saved picture's losses and metrics by their tags, which are columns of HPARAMS too."""
    values = {f"saved/{name}": losses[name] for name in SAVED}
    return values | {f"metrics/{name}": value for name, value in metrics.items()}


def tags_at(folder: Path, step: int) -> set[str]:
    """The tags of curves and pictures for which a run has recorded something at this step."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it tells of every purge
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    kinds = {"scalars": events.Scalars, "images": events.Images}
    return {
        tag
        for kind, points in kinds.items()
        for tag in events.Tags()[kind]
        if any(point.step == step for point in points(tag))
    }


@contextmanager
def writers_fail_quietly() -> Iterator[None]:
    """Keep the thread that writes the event file from printing a traceback when the disk is full.

    What stopped it is raised again where the next point is logged.
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
