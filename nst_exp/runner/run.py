"""One run, from a Config to an image and its record. Everything is wired here."""

import logging
import math
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, cast

import torch
from PIL import Image
from torch import Tensor

from nst_exp.config.pyramid import Level, levels_of, total_steps
from nst_exp.config.schema import ColorMode, Config
from nst_exp.config.serialize import config_as_dict
from nst_exp.config.styles import style_shares
from nst_exp.config.validate import objective_notes
from nst_exp.core.color import give_chroma
from nst_exp.images import LoadedImage, load_image
from nst_exp.images.save import quantize
from nst_exp.images.tensors import to_array, to_tensor
from nst_exp.results.lock import folder_lock
from nst_exp.results.losses_csv import NAME, read_losses
from nst_exp.results.record import (
    RECORD,
    Record,
    collected_warnings,
    compute_fingerprint,
    write_json,
)
from nst_exp.results.run_folder import CHECKPOINT, check_compatible, is_done, open_folder
from nst_exp.runner.callbacks import Recorder
from nst_exp.runner.convergence import select_final_image
from nst_exp.runner.evaluate import evaluate
from nst_exp.runner.inputs import Inputs, load_inputs
from nst_exp.runner.level import build_module, describe_levels, level_block, levels_to_do
from nst_exp.runner.loggers import start_loggers
from nst_exp.runner.memory import check_size
from nst_exp.runner.module import StyleTransfer
from nst_exp.runner.network import Network, make_network
from nst_exp.runner.observer import Extras, Observer
from nst_exp.runner.progress import Progress
from nst_exp.runner.regions import RegionMaps, read_regions, save_preview
from nst_exp.runner.result import Result, make_previews
from nst_exp.runner.resume import IMAGE_ONLY, Checkpoints, ResumePoint, Stopped, read_checkpoint
from nst_exp.runner.save_image import copy_to_out, save_film, save_run_image
from nst_exp.runner.stopping import early_end, same_command
from nst_exp.runner.trainer import (
    check_device,
    default_torch,
    make_trainer,
    memory_device,
    quiet_libraries,
    slow_precision,
)
from nst_exp.utils.atomic_files import remove_leftovers
from nst_exp.utils.errors import ConfigError, Interrupted
from nst_exp.utils.signals import StopRequest, stop_requests

log = logging.getLogger(__name__)


def run(
    config: Config,
    folder: Path | None = None,
    *,
    handle_signals: bool = False,
    lock_timeout: float = 0.0,
    overrides: Sequence[str] = (),
    extras: Extras | None = None,
) -> Result:
    """Do one run.

    A run that was interrupted in the folder is resumed from its checkpoint, and one that is done
    there is not repeated. The config must be valid: see nst_exp.runner.validate.

    Args:
        config: What to do; it is not changed.
        folder: Where everything is written; nothing is if None.
        handle_signals: Whether every signal ends the run after the current step, or only Ctrl-C.
        lock_timeout: Seconds to wait for another process that is at work in the folder.
        overrides: Those of the command line, for the record.
        extras: What a caller in Python adds.

    Raises:
        ConfigError: If an input or the folder cannot be used, or memory runs out.
        WeightsError: If the network's weights are not available.
        OutputError: If nothing can be written.
        NumericalError: If the optimization diverged in spite of restarts.
        Interrupted: If a signal came, or the callback returned False.
    """
    record = Record(folder, config, overrides=list(overrides))
    with ExitStack() as stack:
        stack.enter_context(quiet_libraries())
        check_device(config.trainer)
        stack.enter_context(default_torch(config.trainer.threads))
        request = stack.enter_context(stop_requests(handle_signals))
        stack.enter_context(collected_warnings(record.warnings))
        current = _Run(record, request, extras or Extras())
        with early_end(record, request, current.best_image):
            if folder is not None:
                stack.enter_context(folder_lock(folder, lock_timeout))
            result = current.execute()
            save_film(config, folder)
            return result


class _Run:
    """The steps of one run, in their order."""

    inputs: Inputs
    regions: RegionMaps | None
    network: Network
    progress: Progress
    recorder: Recorder

    def __init__(self, record: Record, request: StopRequest, extras: Extras) -> None:
        self.record, self.request, self.extras = record, request, extras
        self.config, self.folder = record.config, record.folder
        self.steps = total_steps(record.config)
        self.checkpoint = None if record.folder is None else record.folder / CHECKPOINT
        self.started = time.monotonic()  # earlier by the seconds of a run that is resumed
        self.module: StyleTransfer | None = None  # of the current level
        self.final: Tensor | None = None  # the image that the run ends with

    def execute(self) -> Result:
        """Load the inputs, do the levels that are not done yet, and save the result."""
        config = self.config
        for note in objective_notes(config):
            log.warning(note)
        self.inputs = load_inputs(config)
        earlier = self._open_folder()
        self.regions = read_regions(config, self.inputs)
        if is_done(earlier, config):
            return self._reopen(earlier)
        self.network = make_network(config, self.inputs, self.record)
        point = read_checkpoint(self.checkpoint) if self.checkpoint and earlier else None
        levels = levels_to_do(config, earlier if point else {})
        self._prepare(levels, point)
        if self.regions is not None and self.folder is not None:
            save_preview(self.regions, self.inputs, self.folder)
        with self.recorder, self.progress.shown():
            for level in levels[point.level if point else 0 :]:
                module = self._fit(level, point if point and level.index == point.level else None)
                image, losses = select_final_image(module, level, config)
            return self._finish(module, self._colored(image), losses)

    def best_image(self) -> Tensor | None:
        """Return the image to save if the run ends early; None before the first evaluation."""
        module = self.module
        if self.final is not None or module is None:
            return self.final
        begun = module.best_total < math.inf or module.level > 0
        return self._finished(module.best_image()) if begun else None

    def _finished(self, image: Tensor) -> Tensor:
        return self._with_alpha(self._colored(image))

    def _colored(self, image: Tensor) -> Tensor:
        """Return an image in the colors that the config asks for after the optimization."""
        if self.config.color is not ColorMode.chroma or self.module is None:
            return image
        level = levels_of(self.config)[self.module.level]
        content, styles, _ = self.inputs.tensors(level.size)
        return give_chroma(image, content, styles[0])

    def _with_alpha(self, image: Tensor) -> Tensor:
        """Return an image with the content's opacity as fourth channel, if it is to have it."""
        alpha = self.inputs.alpha(image.shape[3], image.shape[2])
        return image if alpha is None else torch.cat([image, alpha.to(image)], dim=1)

    def _open_folder(self) -> dict[str, Any]:
        """Begin the record; return that of an earlier run with the same settings, or {}."""
        config, folder, inputs = self.config, self.folder, self.inputs
        hashes = [image.sha256 for image in inputs.loaded.values()] + sorted(self.extras.terms)
        fingerprint = compute_fingerprint(config, hashes)
        earlier: dict[str, Any] = {}
        if folder is not None:
            earlier = check_compatible(folder, config, hashes)
        if not is_done(earlier, config):
            content, *styles = (image.original_size for image in inputs.images())
            size_notes = check_size(config, content, styles, memory_device(config.trainer))
            for note in slow_precision(config.trainer) + size_notes:
                log.warning(note)
        if folder is not None:
            earlier = open_folder(folder, config, hashes)
            for place in ("", "snapshots", "inputs"):
                remove_leftovers(folder / place)
        if is_done(earlier, config):
            return earlier
        substituted = [found.substituted for found in inputs.resolved.values()]
        self.record.substituted += filter(None, substituted)
        self.record.fingerprint, self.record.inputs = fingerprint, inputs.as_record()
        self.record.normalized = earlier.get("normalized")  # a resumed run has to agree with it
        self.record.trackers = earlier.get("trackers")
        self.record.own_terms = sorted(self.extras.terms) or None
        self.record.save("running")  # first of all: the folder's other files belong to this run
        if folder is not None:
            inputs.save(folder, self.record.inputs)
        return earlier

    def _reopen(self, record: dict[str, Any]) -> Result:
        """Return the result of a run that is done; its figure may be asked for only now."""
        assert self.folder is not None
        path = self.folder / self.config.image
        if not path.is_file():
            raise ConfigError(
                f"out={self.folder}: the run there is done, but {path.name} is missing; "
                "overwrite=true repeats it"
            )
        path = copy_to_out(path, self.config)
        log.info("already done: %s", path)
        asked = config_as_dict(self.config)
        figure = {key: asked[key] for key in ("panel", "figure", "film")}
        if record["config"] | figure != record["config"]:
            record["config"] |= figure
            self.inputs.save(self.folder, record["inputs"])
            write_json(self.folder / RECORD, record)
        result = self._read_result(path)
        if result.alpha is not None:
            result.image.putalpha(result.alpha)
        rows = read_losses(self.folder / NAME)
        previews = make_previews(self.inputs.loaded)
        return Result(result.image, record["losses"], record, self.folder, path, rows, previews)

    def _read_result(self, path: Path) -> LoadedImage:
        background = self.config.background
        return load_image(path, key="out", max_megapixels=math.inf, background=background)

    def _prepare(self, levels: list[Level], point: ResumePoint | None) -> None:
        """Make the progress bar and the recorder, which all levels share."""
        config, done = self.config, 0
        if point is not None:
            done = levels[point.level].first_step + point.step
            log.info("resuming after step %d of %d", done, self.steps)
            self.started -= point.seconds
            new = [line for line in point.warnings if line not in self.record.warnings]
            self.record.warnings.extend(new)
        sizes = [self.inputs.content_size(level.size) for level in levels]
        self.record.levels = describe_levels(config, levels, sizes)
        self.progress = Progress(levels, [w * h for w, h in sizes], done, config.logging.progress)
        loggers = start_loggers(self.record, done, resumed=point is not None)
        self.recorder = Recorder(config.logging, self.folder, loggers, self.steps, done)
        images = [] if point else self.inputs.images()
        self.recorder.record_start(replace(config, backbone=self.network.settings), images)

    def _fit(self, level: Level, point: ResumePoint | None) -> StyleTransfer:
        """Do one level, from the checkpoint at ``point``, the level before, or the start."""
        config, resumed = self.config, point is not None
        self.recorder.level = self.progress.level = level
        checkpoints = Checkpoints(
            self.checkpoint,
            config.trainer.checkpoint_minutes,
            self.request,
            lambda: {
                "level": level.index,
                "seconds": self._seconds(),
                "block": self.module.block if self.module else None,
                "warnings": self.record.warnings,
            },
            at_start=level.index > 0 and not resumed,
            at_end=config.keep_checkpoint,
        )
        # The checkpoint comes last: the step is recorded.
        observer = Observer(self.extras, level, self.steps, self.request, self._finished)
        callbacks = [self.recorder, self.progress, observer, checkpoints]
        trainer = make_trainer(config.trainer, level.steps, callbacks)
        device = trainer.strategy.root_device
        # Free memory may have changed; other blocks would give other last digits.
        block = (
            point.block if point else level_block(level, config, self.inputs, self.network, device)
        )
        module = self.module = build_module(
            level,
            config,
            self.inputs,
            self.network,
            self.module,
            device,
            self.regions,
            block,
            self.extras.terms,
        )
        if level.index == 0 and not resumed:
            self.recorder.record_image(module.image(), 0)
        handler = signal.getsignal(signal.SIGINT)
        try:
            trainer.fit(module, ckpt_path=self.checkpoint if resumed else None, weights_only=True)
        except Stopped:
            self._stop(module, level.first_step + trainer.global_step)
        except SystemExit as error:  # Lightning's answer to Ctrl-C, if the handler is not ours
            signal.signal(signal.SIGINT, handler)  # which it may leave ignored
            raise KeyboardInterrupt from error
        return module

    def _seconds(self) -> float:
        return time.monotonic() - self.started

    def _stop(self, module: StyleTransfer, step: int) -> NoReturn:
        """End the run after a step: its checkpoint is written, save its image and the record."""
        image = self._finished(module.result_image())
        path = save_run_image(image, self.record)
        self.record.step, self.record.seconds = step, round(self._seconds(), 3)
        self.record.save("interrupted")
        message = f"stopped after step {step} of {self.steps}"
        if path is not None:
            message += f"; the image so far is {path}; {same_command(self.record)} resumes it"
        losses = module.losses.as_floats() if module.losses else {}
        result = self._result(Image.fromarray(quantize(to_array(image))), losses, path)
        raise Interrupted(message, self.request.signal or 0, result)

    def _result(self, image: Image.Image, losses: dict[str, float], path: Path | None) -> Result:
        previews, rows = make_previews(self.inputs.loaded), self.recorder.rows
        return Result(image, losses, self.record.as_dict(), self.folder, path, rows, previews)

    def _finish(self, module: StyleTransfer, image: Tensor, losses: dict[str, float]) -> Result:
        """Save the image, evaluate it, and write "done" when everything else is there."""
        config, record = self.config, self.record
        device = module.trainer.strategy.root_device  # Lightning leaves the module on the CPU
        self.final = self._with_alpha(image)
        path = save_run_image(self.final, record)
        self.request.stepping = False
        if self.request.signal is not None:  # it came after the last step
            if self.checkpoint is not None:
                module.trainer.save_checkpoint(self.checkpoint)
            self._stop(module, self.steps)
        pixels = Image.fromarray(quantize(to_array(self.final)))
        record.seconds, record.metrics = round(self._seconds(), 3), {}
        if config.logging.metrics:
            # The history of a large image takes more memory than all metrics.
            cast(Any, module.optimizers(use_pl_optimizer=False)).state.clear()
            # As the file shows it: a JPEG is not what was in memory.
            saved = self._read_result(path).image if path else pixels.convert("RGB")
            content, images, _ = self.inputs.tensors(config.size)
            styles = list(zip(style_shares(config), images, strict=True))
            hashes = {image.sha256 for image in self.inputs.images()}
            record.metrics = evaluate(
                *(to_tensor(saved, None), content, styles, device, config.reference, module.block),
                identity=len(hashes) == 1,
            )
        self.recorder.record_result(image, losses, record.metrics)
        record.losses, record.step = losses, self.steps
        record.evaluations, record.restarts = module.evaluations, module.restarts
        record.width, record.height = image.shape[3], image.shape[2]
        record.device, record.threads = str(device), torch.get_num_threads()
        record.cpu = torch.backends.cpu.get_cpu_capability()
        record.save("done")
        if self.checkpoint is not None and not config.keep_checkpoint:
            module.trainer.save_checkpoint(self.checkpoint, storage_options=IMAGE_ONLY)
        return self._result(pixels, losses, path)
