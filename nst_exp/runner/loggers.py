"""Where curves, images and settings of a run go: Lightning's loggers, as the config names them."""

import csv
import io
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Any, cast

import numpy as np
import yaml
from filelock import FileLock
from numpy.typing import NDArray
from PIL import Image
from pytorch_lightning.loggers import (
    CSVLogger,
    Logger,
    MLFlowLogger,
    TensorBoardLogger,
    WandbLogger,
)
from torch.utils.tensorboard.summary import hparams
from torch.utils.tensorboard.writer import SummaryWriter

from nst_exp.config.schema import Config
from nst_exp.config.serialize import config_as_dict, flat
from nst_exp.images import LoadedImage
from nst_exp.report.tensorboard_summary import METRIC_TAGS, USUAL_KEYS, columns
from nst_exp.results.record import KEYS_NOT_FINGERPRINTED, Record
from nst_exp.results.sweep_plan import PLAN, read_plan
from nst_exp.utils.errors import ConfigError

TRACKERS = ("mlflow", "wandb", "trackio")  # which keep runs in a place of their own
BACKBONE_KEYS = ("sources", "input", "content_layers", "style_layers")  # follow from its name
INPUT_SIDE = 512  # content and style are reduced to so many pixels
SAVED_LOSSES = ("total", "content", "style", "tv")  # of the saved image, one point each
CURVES = ("total", "content", "style")  # the charts of TensorBoard's CUSTOM SCALARS
# Neither program sends reports about its use, unless the user has set another value.
SILENT = {"MLFLOW_DISABLE_TELEMETRY": "true", "WANDB_ERROR_REPORTING": "false"}


class TrackioLogger(Logger):
    """Logs to Trackio, which has no logger in Lightning."""

    def __init__(self, **arguments: Any) -> None:
        """Start or resume a run with these arguments of ``trackio.init``."""
        import trackio

        with redirect_stdout(io.StringIO()):
            self.experiment: Any = trackio.init(embed=False, **arguments)

    @property
    def name(self) -> str:
        """The project."""
        return str(self.experiment.project)

    @property
    def version(self) -> str:
        """The name of the run."""
        return str(self.experiment.name)

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """Log numbers or media by their names."""
        self.experiment.log(dict(metrics), step)

    def log_hyperparams(self, params: Any) -> None:
        """Add to the run's config, which is sent with the first metrics."""
        self.experiment.config.update(params)

    def finalize(self, status: str) -> None:
        """Wait until everything is stored."""
        import trackio

        with redirect_stdout(io.StringIO()):
            trackio.finish()


def start_loggers(record: Record, done: int, resumed: bool) -> dict[str, Logger]:
    """Start the loggers of a run, or resume them after ``done`` steps, which are kept.

    Those that write into the run's folder are left out if there is none. The runs of trackers are
    added to the record.

    Raises:
        ConfigError: If a tracker cannot be used.
    """
    folder, settings = record.folder, record.config.logging
    names, earlier = settings.loggers, record.trackers or {} if resumed else {}
    loggers: dict[str, Logger] = {}
    if folder is not None and "tensorboard" in names:
        purge = done + 1 if done else 0
        loggers["tensorboard"] = TensorBoardLogger(folder, name="", version="", purge_step=purge)
    if folder is not None and "csv" in names:
        loggers["csv"] = _csv_logger(folder, done)
    for name in (name for name in TRACKERS if name in names):
        for variable, value in SILENT.items():
            os.environ.setdefault(variable, value)
        try:
            loggers[name] = _tracker(name, settings.project, folder, earlier.get(name))
        except Exception as error:
            reason = str(error).partition("\n")[0]
            raise ConfigError(f"logging.loggers=[{name}]: {reason}") from error
    record.trackers = {n: str(loggers[n].version) for n in TRACKERS if n in loggers} or None
    if record.trackers:
        record.save("running")
    return loggers


def _csv_logger(folder: Path, done: int) -> CSVLogger:
    logger = CSVLogger(folder, name="", version="")
    path = folder / "metrics.csv"
    kept = list(csv.DictReader(path.open(newline=""))) if done and path.is_file() else []
    with warnings.catch_warnings():  # Lightning replaces the file of an interrupted run
        warnings.simplefilter("ignore")
        writer = logger.experiment
    for row in kept:
        step = int(row.pop("step"))
        if step <= done:
            writer.log_metrics({tag: float(value) for tag, value in row.items() if value}, step)
    return logger


def _tracker(name: str, project: str, folder: Path | None, earlier: str | None) -> Logger:
    """Start a run of a tracker, or resume ``earlier``; the jobs of a sweep are one group."""
    run, group = _run_and_group(folder)
    # Two jobs must not create MLflow's database or experiment at the same time.
    with FileLock(folder.parent / ".trackers.lock") if folder and group else nullcontext():
        if name == "trackio":
            resume = "allow" if earlier else "never"
            return TrackioLogger(project=project, name=earlier or run, group=group, resume=resume)
        if name == "wandb":
            return _wandb_logger(project, run, group, earlier)
        return _mlflow_logger(project, run, group, earlier)


def _wandb_logger(
    project: str, run: str | None, group: str | None, earlier: str | None
) -> WandbLogger:
    import wandb

    # Lightning would pass a setting that wandb warns of.
    experiment = wandb.init(
        project=project,
        name=run,
        id=earlier,
        group=group,
        resume="allow",
        mode=cast(Any, os.environ.get("WANDB_MODE", "offline")),
        settings=wandb.Settings(silent=True, console="off"),
    )
    experiment.define_metric("*", step_metric="trainer/global_step")
    return WandbLogger(experiment=experiment)


def _mlflow_logger(
    project: str, run: str | None, group: str | None, earlier: str | None
) -> MLFlowLogger:
    import mlflow

    logger = MLFlowLogger(
        experiment_name=f"{project}/{group}" if group else project,
        run_name=run,
        tracking_uri=mlflow.get_tracking_uri(),
        run_id=earlier,
    )
    client = logger.experiment
    if earlier:
        client.update_run(earlier, "RUNNING")
    return logger


def _run_and_group(folder: Path | None) -> tuple[str | None, str | None]:
    """Return the name of a run and, for a job of a sweep, that of the sweep."""
    if folder is None:
        return None, None
    *_, above, parent, name = ("", "", *folder.absolute().parts)
    return (name, f"{above}/{parent}") if _is_job(folder) else (f"{parent}/{name}", None)


def _is_job(folder: Path | None) -> bool:
    return folder is not None and (folder.parent / PLAN).is_file()


def log_start(
    logger: Logger, config: Config, folder: Path | None, images: Sequence[LoadedImage]
) -> None:
    """Log the settings, the content image and the style images; no images of a resumed run."""
    job = read_plan(folder.parent).get(folder.name) if folder else None
    values = hyperparameters(config, job.values if job else {})
    text = yaml.safe_dump(config_as_dict(config), sort_keys=False, allow_unicode=True)
    if isinstance(logger, TensorBoardLogger):
        if images:
            logger.experiment.add_text("config", f"```yaml\n{text}\n```", 0)
            _log_columns(logger.experiment, values, _is_job(folder))
    else:
        if isinstance(logger, MLFlowLogger):
            logger.experiment.log_text(logger.run_id, text, "config.yaml")
        if images or not isinstance(logger, MLFlowLogger):  # whose parameters cannot change
            logger.log_hyperparams({"folder": str(folder and folder.absolute())} | values)
    for index, image in enumerate(images):
        name = ("content", "style")[index] if index < 2 else f"style_{index}"
        small = image.image.copy()
        small.thumbnail((INPUT_SIDE, INPUT_SIDE))
        log_image(logger, f"inputs/{name}", np.asarray(small), 0)


def _log_columns(writer: SummaryWriter, values: dict[str, Any], is_job: bool) -> None:
    """Write the hyperparameters and the layout of charts."""
    file_writer: Any = writer.file_writer
    _, *session = hparams(values, dict.fromkeys(METRIC_TAGS, math.nan))
    # The columns of a sweep are in its summary.
    for summary in session if is_job else [columns((), values), *session]:
        file_writer.add_summary(summary)
    charts = {name: ["Multiline", [f"loss/{name}$"]] for name in CURVES}
    writer.add_custom_scalars({"losses": charts})


def hyperparameters(config: Config, varied: Mapping[str, str]) -> dict[str, Any]:
    """Return the usual keys, the keys that vary, and those with other values than the default."""
    usual, settings = _settings(Config()), _settings(config)
    shown = {
        key: value
        for key, value in settings.items()
        if key in USUAL_KEYS or key in varied or key not in usual or value != usual[key]
    }
    return {key: value for key, value in varied.items() if key not in settings} | {
        key: ", ".join(map(str, value)) if isinstance(value, list) else value
        for key, value in shown.items()
        if value is not None
    }


def _settings(config: Config) -> dict[str, Any]:
    """Return the settings that can change the image, by their keys."""
    left_out = {f"backbone.{key}" for key in BACKBONE_KEYS}
    return {
        key: value
        for key, value in flat(config_as_dict(config)).items()
        if key.split(".")[0] not in KEYS_NOT_FINGERPRINTED and key not in left_out
    }


def log_image(logger: Logger, tag: str, pixels: NDArray[Any], step: int) -> None:
    """Log an image (H, W, 3) of 8 bits."""
    if isinstance(logger, TensorBoardLogger):
        logger.experiment.add_image(tag, pixels, step, dataformats="HWC")
    elif isinstance(logger, MLFlowLogger):
        logger.experiment.log_image(logger.run_id, pixels, key=tag, step=step)
    elif isinstance(logger, WandbLogger):
        logger.log_image(tag, [Image.fromarray(pixels)], step)
    elif isinstance(logger, TrackioLogger):
        import trackio

        logger.log_metrics({tag: trackio.Image(pixels)}, step)


def flush(logger: Logger) -> None:
    """Write what waits to be written."""
    if isinstance(logger, TensorBoardLogger):
        logger.experiment.flush()  # save() would write the settings once more
    else:
        logger.save()


def close(logger: Logger, status: str) -> None:
    """Close a logger; ``status`` is finished, failed or KILLED, which are MLflow's."""
    logger.finalize(status)
    if isinstance(logger, WandbLogger):
        logger.experiment.finish(exit_code=0 if status == "finished" else 1)
