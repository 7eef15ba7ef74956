"""One run, from a Config to an image and its record. Everything is wired here."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import torch
from PIL import Image
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from nst_exp.config.pyramid import Level, build_levels
from nst_exp.config.schema import Config
from nst_exp.images import load_image
from nst_exp.images.tensors import to_array, to_tensor
from nst_exp.results.lock import folder_lock
from nst_exp.results.record import Record, compute_fingerprint
from nst_exp.results.run_folder import open_folder
from nst_exp.runner.allocator import keep_freed_memory
from nst_exp.runner.callbacks import Progress, Recorder, StopBetweenSteps, Stopped
from nst_exp.runner.convergence import select_final_image
from nst_exp.runner.evaluate import evaluate
from nst_exp.runner.finished import open_finished
from nst_exp.runner.inputs import (
    Inputs,
    content_dimensions,
    load_inputs,
    save_inputs,
    tensors,
    warn_of_enlargements,
)
from nst_exp.runner.level import build_module
from nst_exp.runner.logger import (
    log_settings,
    make_logger,
    result_values,
    writers_fail_quietly,
)
from nst_exp.runner.memory import warn_if_scarce
from nst_exp.runner.module import StyleTransfer
from nst_exp.runner.network import Network, make_network
from nst_exp.runner.resume import (
    CHECKPOINT,
    ResumePoint,
    RunState,
    open_losses,
    periodic_checkpoints,
    read_checkpoint,
)
from nst_exp.runner.save_image import save_run_image
from nst_exp.runner.stopping import early_end, same_command
from nst_exp.runner.trainer import check_device, fit, make_trainer, quiet_lightning
from nst_exp.utils.atomic_files import remove_leftovers
from nst_exp.utils.errors import Interrupted
from nst_exp.utils.signals import StopRequest, stop_requests

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """What a run made."""

    image: Image.Image
    losses: dict[str, float]  # of the saved image; all but "total" without alpha, beta, TV weight
    record: dict[str, Any]  # as in result.json
    folder: Path | None
    path: Path | None  # of the image


def run(
    config: Config,
    folder: Path | None = None,
    *,
    handle_signals: bool = False,
    lock_timeout: float = 0.0,
    overrides: Sequence[str] = (),
) -> Result:
    """Do one run.

    A run that was interrupted in the folder is resumed from its checkpoint, and one that is done
    there is not repeated. The config must be valid: see nst_exp.runner.validate.

    Args:
        config: What to do; it is not changed.
        folder: Where everything is written; nothing is if None.
        handle_signals: Whether signals end the run after the current step.
        lock_timeout: Seconds to wait for another process that is at work in the folder.
        overrides: Those of the command line, for the record.

    Raises:
        ConfigError: If an input or the folder cannot be used, or memory runs out.
        WeightsError: If the network's weights are not available.
        OutputError: If nothing can be written.
        NumericalError: If the optimization diverged in spite of restarts.
        Interrupted: If ``handle_signals`` is set and a signal came.
    """
    check_device(config.trainer)
    with ExitStack() as stack:
        request = stack.enter_context(stop_requests(handle_signals))
        current = _Run(Record(folder, config, overrides=list(overrides)), request)
        stack.enter_context(_collected_warnings(current.record.warnings))
        with early_end(current.record, request, current.best_image):
            if folder is not None:
                stack.enter_context(folder_lock(folder, lock_timeout))
            return current.execute()


class _WarningCollector(logging.Handler):
    """Appends each warning to a list, once."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        if line not in self.lines:
            self.lines.append(line)


@contextmanager
def _collected_warnings(lines: list[str]) -> Iterator[None]:
    """Collect the warnings that nst_exp logs within."""
    logger, handler = logging.getLogger("nst_exp"), _WarningCollector(lines)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class _Run:
    """The steps of one run, in their order."""

    inputs: Inputs
    network: Network
    progress: Progress
    recorder: Recorder

    def __init__(self, record: Record, request: StopRequest) -> None:
        self.record, self.request = record, request
        self.config, self.folder = record.config, record.folder
        self.started = time.monotonic()
        self.seconds_before = 0.0  # of an interrupted run
        self.module: StyleTransfer | None = None  # of the current level
        self.final: Tensor | None = None  # the image that the run ends with

    def execute(self) -> Result:
        """Load the inputs, do the levels that are not done yet, and save the result."""
        config, folder = self.config, self.folder
        if config.trainer.threads is not None:
            torch.set_num_threads(config.trainer.threads)
        self.inputs = load_inputs(config)
        warn_of_enlargements(config, self.inputs)
        earlier = self._open_folder()
        if folder is not None and earlier.get("status") == "done":
            saved = open_finished(folder, config, self.inputs, earlier)
            return Result(saved, earlier["losses"], earlier, folder, folder / config.image)
        keep_freed_memory()
        with quiet_lightning(), writers_fail_quietly():
            self.network = make_network(config, self.inputs, self.record)
            point = read_checkpoint(folder) if folder is not None and earlier else None
            levels = build_levels(config.resolution, config.size, config.steps)
            self._prepare(levels, point)
            with closing(self.progress):
                for level in levels[point.level if point else 0 :]:
                    resumed = point.path if point and level.index == point.level else None
                    module = self._fit(level, resumed)
                    image, losses = select_final_image(module, level, config)
            return self._finish(module, image, losses)

    def best_image(self) -> Tensor | None:
        """Return the image to save if the run ends early; None before the first evaluation."""
        module = self.module
        if self.final is not None or module is None:
            return self.final
        begun = module.start_total is not None or module.level > 0
        return module.best_image() if begun else None

    def _open_folder(self) -> dict[str, Any]:
        """Begin the record; return that of an earlier run with the same settings, or {}."""
        config, folder, inputs = self.config, self.folder, self.inputs
        fingerprint = compute_fingerprint(config, [i.sha256 for i in inputs.loaded.values()])
        earlier: dict[str, Any] = {}
        if folder is not None:
            earlier = open_folder(folder, fingerprint, config.overwrite)
            for place in ("", "snapshots", "inputs"):
                remove_leftovers(folder / place)
        if earlier.get("status") == "done":
            return earlier
        self.record.substituted += inputs.substituted
        self.record.fingerprint, self.record.inputs = fingerprint, inputs.as_record()
        self.record.normalized = earlier.get("normalized")  # a resumed run has to agree with it
        self.record.save("running")  # first of all: the folder's other files belong to this run
        if folder is not None:
            save_inputs(folder, config, inputs, self.record.inputs)
        return earlier

    def _prepare(self, levels: list[Level], point: ResumePoint | None) -> None:
        """Make the progress bar and the recorder, which all levels share."""
        config, folder = self.config, self.folder
        done = 0
        if point is not None:
            done = levels[point.level].first_step + point.step
            log.info("resuming after step %d of %d", done, config.steps)
            self.seconds_before = point.seconds
            new = [line for line in point.warnings if line not in self.record.warnings]
            self.record.warnings.extend(new)
        sizes = [content_dimensions(config, self.inputs, level.size) for level in levels]
        visible = config.logging.progress and config.steps > done
        self.progress = Progress(levels, [w * h for w, h in sizes], done, visible)
        logger = make_logger(folder, config.logging, done)
        if logger is not None and point is None:
            log_settings(logger, replace(config, backbone=self.network.settings))
        snapshots = None
        if folder is not None and config.logging.snapshots and config.logging.image_every:
            snapshots = folder / "snapshots"
            snapshots.mkdir(exist_ok=True)
        losses = open_losses(folder, done, logger is not None or snapshots is not None)
        self.recorder = Recorder(config.logging, config.steps, logger, snapshots, losses)

    def _fit(self, level: Level, resumed: Path | None) -> StyleTransfer:
        """Do one level, from a checkpoint or from the level before."""
        config, folder = self.config, self.folder
        self.recorder.level = self.progress.level = level
        checkpoint = None if folder is None else folder / CHECKPOINT
        at_start = checkpoint if level.index > 0 and resumed is None else None
        callbacks: list[Callback] = [
            RunState(self._seconds, self.record.warnings, at_start),
            self.recorder,
            self.progress,
            *periodic_checkpoints(folder, config.trainer.checkpoint_minutes),
            StopBetweenSteps(self.request, checkpoint),  # last: the step is recorded
        ]
        logger = self.recorder.logger
        trainer = make_trainer(config.trainer, level.steps, callbacks, logger, folder)
        device = trainer.strategy.root_device
        if self.module is None:
            last = content_dimensions(config, self.inputs, config.size)
            warn_if_scarce(self.network.encoder, config, last, device)
        module = build_module(level, config, self.inputs, self.network, self.module, device)
        self.module = module
        if level.index == 0 and resumed is None:
            self.recorder.record_image(module.image(), 0)
        try:
            fit(trainer, module, resumed)
        except BaseException as error:
            self.request.stepping = False  # else until what was reached is on the disk
            if isinstance(error, Stopped):
                self._stop(module, level.first_step + trainer.global_step)
            raise
        return module

    def _seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.started

    def _stop(self, module: StyleTransfer, step: int) -> NoReturn:
        """End the run after a step: its checkpoint is written, save its image and the record."""
        path = save_run_image(module.result_image(), self.record)
        self.record.step, self.record.seconds = step, round(self._seconds(), 3)
        self.record.save("interrupted")
        message = f"stopped after step {step} of {self.config.steps}"
        if path is not None:
            message += f"; the image so far is {path}; {same_command(self.record)} resumes it"
        raise Interrupted(message, self.request.signal or 0)

    def _finish(self, module: StyleTransfer, image: Tensor, losses: dict[str, float]) -> Result:
        """Save the image, evaluate it, and write "done" when everything else is there."""
        config, folder = self.config, self.folder
        device = module.trainer.strategy.root_device  # Lightning leaves the module on the CPU
        self.final = image
        path = save_run_image(image, self.record)
        self.request.stepping = False
        if self.request.signal is not None:  # it came after the last step
            if folder is not None:
                module.trainer.save_checkpoint(folder / CHECKPOINT)
            self._stop(module, config.steps)
        pixels = Image.fromarray((to_array(image) * 255.0).round().astype("uint8"))
        seconds, metrics = round(self._seconds(), 3), dict[str, float]()
        if config.logging.metrics:
            # As the file shows it: a JPEG is not what was in memory.
            seen = pixels if path is None else load_image(path, key="out").image
            content, style, _ = tensors(config, self.inputs, config.size)
            saved = to_tensor(seen, None)
            metrics = evaluate(saved, content, style, device, config.reference)
        self.recorder.record_image(image, config.steps)
        if logger := self.recorder.logger:
            logger.log_metrics(result_values(losses, metrics), config.steps)
            logger.close()
        record = self.record
        record.losses, record.metrics, record.step = losses, metrics, config.steps
        record.evaluations, record.restarts = module.evaluations, module.restarts
        record.seconds = seconds
        record.width, record.height = image.shape[3], image.shape[2]
        record.device, record.threads = str(device), torch.get_num_threads()
        record.cpu = torch.backends.cpu.get_cpu_capability()
        self.record.save("done")
        if folder is not None:
            (folder / CHECKPOINT).unlink(missing_ok=True)
        return Result(pixels, losses, self.record.as_dict(), folder, path)
