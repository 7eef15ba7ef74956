"""One run: a Config and a folder in, a picture and its record out. Everything is wired here."""

from __future__ import annotations

import copy
import io
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import torch
from PIL import Image
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from torch import Tensor

from nst_exp.config import pyramid
from nst_exp.config.pyramid import Level
from nst_exp.config.schema import Config
from nst_exp.core.init_image import starting_image
from nst_exp.core.objective import Objective
from nst_exp.core.optimizers import carries_state, carry_adam_state
from nst_exp.images import load_image
from nst_exp.images.tensors import resize, to_array
from nst_exp.results import record
from nst_exp.results.lock import folder_lock
from nst_exp.results.losses_csv import NAME as LOSSES
from nst_exp.results.losses_csv import LossFile
from nst_exp.runner.allocator import keep_freed_memory
from nst_exp.runner.callbacks import LevelCheckpoint, Progress, Recorder, StopBetweenSteps, Stopped
from nst_exp.runner.convergence import select_final_image
from nst_exp.runner.finished import metrics_of, revisit
from nst_exp.runner.inputs import (
    Inputs,
    content_dimensions,
    load_inputs,
    note_enlargements,
    style_dimensions,
    tensors,
)
from nst_exp.runner.logger import (
    RunLogger,
    log_settings,
    make_logger,
    result_values,
    writers_fail_quietly,
)
from nst_exp.runner.memory import is_out_of_memory, memory_errors, out_of_memory, warn_if_scarce
from nst_exp.runner.module import StyleTransfer
from nst_exp.runner.network import Network, make_network
from nst_exp.runner.save_image import rescue, save_picture, save_result
from nst_exp.runner.saved_inputs import claim_for_figure, write_copies
from nst_exp.runner.trainer import check_device, make_trainer, quiet_lightning
from nst_exp.runner.validate import validate
from nst_exp.utils.atomic_files import disk_refusal, remove_leftovers
from nst_exp.utils.errors import Interrupted, NstError, NumericalError, OutputError
from nst_exp.utils.signals import SignalReceived, StopRequest, exit_code, stop_requests

CHECKPOINT = "last.ckpt"


@dataclass(frozen=True)
class Result:
    """What a run made."""

    image: Image.Image
    losses: dict[str, float]  # of the saved image; all but "total" without alpha, beta, TV weight
    record: dict[str, Any]  # as in result.json
    folder: Path | None
    path: Path | None  # of the picture


def run(
    config: Config,
    folder: Path | None = None,
    report: Callable[[str], None] = print,
    handle_signals: bool = False,
    patience: float = 0.0,
    overrides: Sequence[str] = (),
) -> Result:
    """Do one run.

    With a folder, everything is written there, and a run that was interrupted in it goes on from
    its checkpoint; one that is done is not repeated. Without, nothing is written. ``report`` is
    given one line for what a person should know. For another process that is at work in the folder
    it waits ``patience`` seconds. ``overrides``, of the command line, are recorded. Raises
    ConfigError, WeightsError, OutputError, NumericalError, and Interrupted where
    ``handle_signals`` is set and a signal came.
    """
    validate(config)
    check_device(config.trainer)
    with ExitStack() as stack:
        request = stack.enter_context(stop_requests(handle_signals))
        job = _Run(config, folder, report, request, overrides)
        try:
            if folder is not None:
                stack.enter_context(folder_lock(folder, patience, report))
            return job.go()
        except SignalReceived as stop:
            raise job.stopped_at_once(stop) from None
        except Exception as error:
            if request.signal is None or isinstance(error, Interrupted):
                raise
            name = signal.Signals(request.signal).name  # it has not been heeded yet
            words = f"{error}; stopped by {name}"
            raise Interrupted(words, exit_code(request.signal)) from error


class _Run:
    """The parts of one run, in the order in which they come to be."""

    def __init__(
        self,
        config: Config,
        folder: Path | None,
        report: Callable[[str], None],
        stop: StopRequest,
        overrides: Sequence[str],
    ) -> None:
        self.config = copy.deepcopy(config)  # a backbone's stand-in is put in here
        self.folder, self.report, self.request = folder, report, stop
        self.record = record.Record(folder, self.config, overrides=list(overrides))
        self.progress: Progress | None = None
        self.started = time.monotonic()
        self.seconds_before = 0.0

    def say(self, line: str) -> None:
        if self.progress:
            self.progress.around(self.report, line)
        else:
            self.report(line)

    def warn(self, line: str) -> None:
        if line not in self.record.warnings:
            self.record.warnings.append(line)
            self.say(f"warning: {line}")

    def go(self) -> Result:
        config = self.config
        if config.trainer.threads is not None:
            torch.set_num_threads(config.trainer.threads)
        inputs = load_inputs(config, self.warn, self.say)
        self.record.substituted += inputs.substituted
        note_enlargements(config, inputs, self.warn)
        mark = record.fingerprint(config, [image.sha256 for image in inputs.loaded.values()])
        earlier: dict[str, Any] = {}
        if self.folder is not None:
            earlier = record.open_folder(self.folder, mark, config.image, config.overwrite)
            for place in ("", "snapshots", "inputs"):
                remove_leftovers(self.folder / place)
            if earlier.get("status") == "done":
                image = revisit(self.folder, config, earlier, inputs, self.warn, self.say)
                path = self.folder / config.image
                return Result(image, earlier["losses"], earlier, self.folder, path)
        self.record.values = {
            "fingerprint": mark,
            "inputs": {
                key: {"path": str(image.path), "sha256": image.sha256}
                | ({"credit": inputs.credits[key]} if key in inputs.credits else {})
                for key, image in inputs.loaded.items()
            },
        }
        if "normalized" in earlier:  # what a resumed run has to agree with
            self.record.values["normalized"] = earlier["normalized"]
        recorded = self.record.values["inputs"]
        copies = claim_for_figure(self.folder, config, earlier, recorded, self.warn)
        self.record.save("running")
        try:
            if self.folder is not None:
                write_copies(self.folder, copies, config, inputs)
            with writers_fail_quietly(), memory_errors(config):
                return self._optimize(inputs, earlier)
        except Interrupted:
            raise
        except Exception as error:
            foreseen = self._of_the_disk(error)
            self.record.values["error"] = f"{type(foreseen).__name__}: {foreseen}"
            with suppress(Exception):  # what went wrong first matters more
                if self.record.status != "done":
                    self.record.save("failed")
            if foreseen is error:
                raise
            raise foreseen from error
        finally:
            if self.progress:
                self.progress.close()

    def _of_the_disk(self, error: Exception) -> Exception:
        """What a library raised because nothing can be written, as OutputError."""
        if isinstance(error, NstError) or self.folder is None:
            return error
        reason = disk_refusal(error, self.folder)
        return OutputError(f"out={self.folder}: cannot be written: {reason}") if reason else error

    def _same_command(self) -> str:
        but = ", without overwrite=true," if self.config.overwrite else ""
        return f"the same command with out={self.folder}{but}"

    def stopped_at_once(self, stop: SignalReceived) -> Interrupted:
        """For the record, and what to raise: a signal came where no step could be ended."""
        where = ""
        if self.record.status == "done":
            where = f"; the picture is done, {self._same_command()} measures it"
        elif self.record.values and self.folder is not None:
            with suppress(Exception):  # the record says "running", of a process that is no more
                self.record.save("interrupted")
            where = f"; {self._same_command()} goes on"
        return Interrupted(f"stopped by {stop}{where}", exit_code(stop.signal))

    def _optimize(self, inputs: Inputs, earlier: dict[str, Any]) -> Result:
        config = self.config
        keep_freed_memory()
        network = make_network(config, inputs, self.record, self.warn, self.say)
        config.backbone = network.settings
        levels = pyramid.build_levels(config.resolution, config.size, config.steps)
        checkpoint = self._checkpoint(earlier)
        first = int(checkpoint["style_transfer"]["level"]) if checkpoint else 0
        done = levels[first].first_step + int(checkpoint["global_step"]) if checkpoint else 0
        if checkpoint:
            self.seconds_before = float(checkpoint["style_transfer"]["seconds"])
            self.say(f"going on after step {done} of {config.steps}")
            for line in checkpoint["style_transfer"].get("warnings", []):
                if line not in self.record.warnings:  # else it has been said again
                    self.record.warnings.append(line)
        sizes = [content_dimensions(config, inputs, level.size) for level in levels]
        of_style = style_dimensions(config, inputs, config.size)
        warn_if_scarce(network.backbone, config, sizes[-1], of_style, self.warn)
        self.progress = Progress(
            levels, [w * h for w, h in sizes], done, config.logging.progress and config.steps > done
        )
        logger = make_logger(self.folder, config.logging, done)
        if logger is not None and not checkpoint:
            log_settings(logger, config)
        snapshots = None
        if self.folder is not None and config.logging.snapshots and config.logging.image_every:
            snapshots = self.folder / "snapshots"
            snapshots.mkdir(exist_ok=True)
        losses = self._loss_file(done, logger is not None or snapshots is not None)
        recorder = Recorder(config.logging, config.steps, logger, snapshots, losses)
        module: StyleTransfer | None = None
        with quiet_lightning():
            for level in levels[first:]:
                resume = checkpoint is not None and level.index == first
                module = self._fit(level, inputs, network, module, recorder, logger, resume)
                try:
                    image, its_losses = select_final_image(
                        module, level, config, self.warn, self.say
                    )
                except NumericalError as error:
                    raise NumericalError(f"{error}{rescue(module, self.record)}") from error
                except SignalReceived as stop:
                    raise self._stopped_again(stop, module) from None
        assert module is not None
        return self._finish(module, image, its_losses, inputs, recorder, logger)

    def _loss_file(self, done: int, wanted: bool) -> LossFile | None:
        """``losses.csv``, for all runs but those that record nothing on the way."""
        if self.folder is None:
            return None
        losses = LossFile(self.folder / LOSSES)
        if not wanted:
            losses.discard()
        elif losses.foreign:
            self.warn(
                f"{losses.path} is there already and no run has made it: it is kept, and a report "
                "of this run has its curve from TensorBoard's files, or none"
            )
        else:
            losses.open(done)
            return losses
        return None

    def _checkpoint(self, earlier: dict[str, Any]) -> dict[str, Any] | None:
        """The checkpoint of an interrupted run in this folder, if it can be read."""
        if self.folder is None or not earlier:
            return None
        path = self.folder / CHECKPOINT
        if not path.is_file():
            return None
        try:
            data = path.read_bytes()
        except OSError as error:  # perhaps it can be read again later: it is not given up
            raise OutputError(f"{path}: cannot be read: {error.strerror}; try again") from error
        try:
            loaded = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
            return cast(dict[str, Any], loaded) if "style_transfer" in loaded else None
        except Exception as error:  # whatever a damaged file makes torch raise
            self.warn(f"{path} cannot be read ({error}); starting again")
            return None

    def _fit(
        self,
        level: Level,
        inputs: Inputs,
        network: Network,
        before: StyleTransfer | None,
        recorder: Recorder,
        logger: RunLogger | None,
        resume: bool,
    ) -> StyleTransfer:
        """One level: targets, module, trainer."""
        config, folder = self.config, self.folder
        assert self.progress is not None
        recorder.level = self.progress.level = level
        checkpoint = None if folder is None else str(folder / CHECKPOINT)
        callbacks: list[Callback] = [recorder, self.progress]
        if folder is not None:
            callbacks.append(
                ModelCheckpoint(
                    folder,
                    filename=Path(CHECKPOINT).stem,
                    train_time_interval=timedelta(minutes=config.trainer.checkpoint_minutes),
                    enable_version_counter=False,
                )
            )
        if checkpoint is not None and level.index > 0 and not resume:
            callbacks.append(LevelCheckpoint(checkpoint))
        callbacks.append(StopBetweenSteps(self.request, checkpoint))  # last: the step is recorded
        trainer = make_trainer(config.trainer, level.steps, callbacks, logger, folder)

        device = trainer.strategy.root_device
        dtype = torch.float64 if config.trainer.precision == "64-true" else torch.float32
        backbone, loss = network.backbone.to(device, dtype), network.loss
        content, style, start = tensors(config, inputs, level.size)
        objective = Objective(
            loss,
            config.alpha,
            config.beta,
            network.maps(content.to(device, dtype), loss.content.layers, "content"),
            network.maps(style.to(device, dtype), loss.style.layers, "style"),
        )
        if before is None:
            image = starting_image(config.init, content, start, config.seed)
        else:
            image = resize(before.result_image().float().cpu(), *content.shape[2:])
        module = StyleTransfer(
            image, backbone, objective, config.optimizer, config.resolution.averaging, self.warn
        ).to(dtype)  # before a checkpoint is put into it, which Lightning does too early
        module.level = level.index
        module.clock, module.warnings = self._seconds, self.record.warnings
        if before is not None:
            module.evaluations, module.restarts = before.evaluations, before.restarts
            if carries_state(config.optimizer):
                adam = cast(torch.optim.Optimizer, before.optimizers(use_pl_optimizer=False))
                state = adam.state[before.parameter.values]
                module.carried_state = carry_adam_state(state, *content.shape[2:])
        if level.index == 0 and not resume:
            recorder.picture(module.image(), 0)
        fitted = False
        try:
            trainer.fit(module, ckpt_path=checkpoint if resume else None, weights_only=True)
            fitted = True
        except Stopped:
            try:
                stopped = self._stopped(module, level.first_step + trainer.global_step)
            except SignalReceived as stop:
                raise self._stopped_again(stop, module) from None
            raise stopped from None
        except NumericalError as error:
            raise NumericalError(f"{error}{rescue(module, self.record)}") from error
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise out_of_memory(config, rescue(module, self.record)) from error
        except (OutputError, OSError) as error:
            foreseen = self._of_the_disk(error)
            if not isinstance(foreseen, OutputError):
                raise
            raise OutputError(f"{foreseen}{rescue(module, self.record)}") from error
        except SignalReceived as stop:
            raise self._stopped_again(stop, module) from None
        except SystemExit as error:  # what Lightning makes of Ctrl-C
            raise KeyboardInterrupt from error
        finally:
            self.request.stepping = fitted  # until what was reached is on the disk
        return module

    def _seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.started

    def _stopped_again(self, stop: SignalReceived, module: StyleTransfer) -> Interrupted:
        """What to raise: a second signal came before everything was saved."""
        words = f"{self.stopped_at_once(stop)}{rescue(module, self.record)}"
        return Interrupted(words, exit_code(stop.signal))

    def _stopped(self, module: StyleTransfer, step: int) -> Interrupted:
        """For the record, and what to raise: a signal ended the run behind this step."""
        path = save_picture(module.result_image(), self.record)
        self.record.values |= {"step": step, "seconds": round(self._seconds(), 3)}
        self.record.save("interrupted")
        where = (
            f"; the image so far is {path}; {self._same_command()} goes on there" if path else ""
        )
        return Interrupted(
            f"stopped after step {step} of {self.config.steps}{where}",
            exit_code(self.request.signal or 0),
        )

    def _finish(
        self,
        module: StyleTransfer,
        image: Tensor,
        losses: dict[str, float],
        inputs: Inputs,
        recorder: Recorder,
        logger: RunLogger | None,
    ) -> Result:
        config = self.config
        device = module.trainer.strategy.root_device  # Lightning leaves the module on the CPU
        path = save_result(image, self.record, self.warn)
        self.record.values |= {
            "losses": losses,
            "step": config.steps,
            "evaluations": module.evaluations,
            "restarts": module.restarts,
            "seconds": round(self._seconds(), 3),
            "width": image.shape[3],
            "height": image.shape[2],
            "device": str(device),
            "threads": torch.get_num_threads(),
            "cpu": torch.backends.cpu.get_cpu_capability(),
            "metrics": {},
            "recorded": False,  # a run that is killed from now on is done, but for what follows
        }
        self.record.save("done")
        self.request.stepping = False
        if self.folder is not None:
            (self.folder / CHECKPOINT).unlink(missing_ok=True)
        if self.request.signal is not None:  # it came when the last step was already over
            raise SignalReceived(self.request.signal)
        picture = Image.fromarray((to_array(image) * 255.0).round().astype("uint8"))
        if config.logging.metrics:
            # As the file shows it: a JPEG is not what was in memory.
            seen = picture if path is None else load_image(path, key="out").picture
            metrics = metrics_of(seen, config, inputs, device, self.warn, self.say)
            self.record.values["metrics"] = metrics
        recorder.picture(image, config.steps)
        if logger is not None:
            values = result_values(losses, self.record.values["metrics"])
            logger.log_metrics(values, config.steps)
            logger.close()
        self.record.values["recorded"] = True
        self.record.save("done")
        return Result(picture, losses, self.record.as_dict(), self.folder, path)
