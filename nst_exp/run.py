"""One run: a Config and a folder in, a picture and its record out. Everything is wired here."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import torch
from PIL import Image
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from torch import Tensor

from nst_exp import config as schema
from nst_exp import optimizers, pyramid, record
from nst_exp.callbacks import Progress, Recorder
from nst_exp.checks import check
from nst_exp.config import Config
from nst_exp.copies import claim_copies, write_copies
from nst_exp.curves import NAME as LOSSES
from nst_exp.curves import LossFile
from nst_exp.errors import ConfigError, Interrupted, NumericalError
from nst_exp.files import write_text_atomically
from nst_exp.images import load_image
from nst_exp.images.save import save_image
from nst_exp.images.tensors import resize, to_array, to_tensor
from nst_exp.init import starting_image
from nst_exp.inputs import (
    Inputs,
    content_dimensions,
    load_inputs,
    note_enlargements,
    tensors,
)
from nst_exp.memory import keep_freed_memory
from nst_exp.metrics import measure
from nst_exp.module import StyleTransfer
from nst_exp.network import Network, make_network
from nst_exp.objective import Objective
from nst_exp.pyramid import Level
from nst_exp.signals import StopBetweenSteps, Stopped, StopRequest, stop_requests
from nst_exp.tensorboard import RunLogger, log_result, log_settings, make_logger
from nst_exp.trainer import check_device, make_trainer, quiet_lightning

CHECKPOINT = "last.ckpt"
STALLED = 0.999  # a total that stays above this share of its start has not moved


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
) -> Result:
    """Do one run.

    With a folder, everything is written there, and a run that was interrupted in it goes on from
    its checkpoint; one that is done is not repeated. Without, nothing is written. ``report`` is
    given one line for what a person should know. Raises ConfigError, WeightsError, OutputError,
    NumericalError, and Interrupted where ``handle_signals`` is set and a signal came.
    """
    check(config)
    return _Run(config, folder, report, handle_signals).go()


class _Run:
    """The parts of one run, in the order in which they come to be."""

    def __init__(
        self, config: Config, folder: Path | None, report: Callable[[str], None], signals: bool
    ) -> None:
        self.config = copy.deepcopy(config)  # a backbone's stand-in is put in here
        self.folder, self.report, self.signals = folder, report, signals
        self.record = record.Record(folder, self.config)
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
        trainer = config.trainer
        check_device(trainer)
        if trainer.threads is not None:
            torch.set_num_threads(trainer.threads)
        inputs = load_inputs(config, self.warn, self.say)
        self.record.substituted += inputs.substituted
        note_enlargements(config, inputs, self.warn)
        mark = record.fingerprint(config, [image.sha256 for image in inputs.loaded.values()])
        earlier: dict[str, Any] = {}
        if self.folder is not None:
            earlier = record.open_folder(self.folder, mark, config.image, config.overwrite)
            if earlier.get("status") == "done":
                return self._done_before(earlier, inputs)
        self.record.values = {
            "fingerprint": mark,
            "inputs": {
                key: {"path": str(image.path), "sha256": image.sha256}
                | ({"credit": inputs.credits[key]} if key in inputs.credits else {})
                for key, image in inputs.loaded.items()
            },
        }
        if "normalised" in earlier:  # what a resumed run has to agree with
            self.record.values["normalised"] = earlier["normalised"]
        copies = self._claim_copies(earlier, self.record.values["inputs"])
        self.record.save("running")
        try:
            if self.folder is not None:
                write_copies(self.folder, copies, config, inputs)
            return self._optimise(inputs, earlier)
        except (Interrupted, KeyboardInterrupt):
            raise
        except Exception as error:
            self.record.values["error"] = f"{type(error).__name__}: {error}"
            with suppress(Exception):  # what went wrong first matters more
                self.record.save("failed")
            raise
        finally:
            if self.progress:
                self.progress.close()

    def _claim_copies(
        self, earlier: dict[str, Any], recorded: dict[str, dict[str, str]]
    ) -> dict[str, str]:
        """Note in the record which copies a figure will need, before one of them is there."""
        if self.folder is None or not self.config.figure.title:
            return {}
        claimed = claim_copies(self.folder, earlier, self.warn)
        for key, name in claimed.items():
            recorded[key]["copy"] = name
        return claimed

    def _done_before(self, earlier: dict[str, Any], inputs: Inputs) -> Result:
        assert self.folder is not None
        path = self.folder / self.config.image
        if not path.is_file():
            raise ConfigError(
                f"out={self.folder}: the run there is done, but {self.config.image} is not there; "
                "overwrite=true makes it again"
            )
        self.say(f"already done: {path}")
        # The same picture may have become a panel since, or have another label now.
        before = copy.deepcopy(earlier)
        copies = self._claim_copies(earlier, earlier["inputs"])
        words = record.config_as_dict(self.config)
        earlier["config"] |= {key: words[key] for key in ("panel", "figure")}
        if earlier != before:
            text = json.dumps(earlier, indent=2, ensure_ascii=False) + "\n"
            write_text_atomically(self.folder / "result.json", text)
        write_copies(self.folder, copies, self.config, inputs)
        picture = load_image(path, key="out").picture
        return Result(picture, earlier["losses"], earlier, self.folder, path)

    def _optimise(self, inputs: Inputs, earlier: dict[str, Any]) -> Result:
        config = self.config
        keep_freed_memory()
        network = make_network(config, inputs, self.record, self.warn, self.say)
        config.backbone = network.settings
        levels = pyramid.plan(config.resolution, config.size, config.steps)
        checkpoint = self._checkpoint(earlier)
        first = int(checkpoint["style_transfer"]["level"]) if checkpoint else 0
        done = levels[first].first_step + int(checkpoint["global_step"]) if checkpoint else 0
        if checkpoint:
            self.seconds_before = float(checkpoint["style_transfer"]["seconds"])
            self.say(f"going on after step {done} of {config.steps}")
        sizes = [content_dimensions(config, inputs, level.size) for level in levels]
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
        with quiet_lightning(), stop_requests(self.signals) as request:
            for level in levels[first:]:
                resume = checkpoint is not None and level.index == first
                module = self._fit(
                    level, inputs, network, module, recorder, request, logger, resume
                )
        assert module is not None
        return self._finish(module, inputs, recorder, logger)

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
            loaded = torch.load(path, map_location="cpu", weights_only=True)
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
        request: StopRequest,
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
        callbacks.append(StopBetweenSteps(request, checkpoint))  # last: the step is recorded
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
        module.clock = self._seconds
        if before is not None:
            module.evaluations, module.restarts = before.evaluations, before.restarts
            module.carried_state = _adam_state(before, config, content.shape)
        if level.index == 0 and not resume:
            recorder.picture(module.image(), 0)
        try:
            trainer.fit(module, ckpt_path=checkpoint if resume else None, weights_only=True)
        except Stopped:
            self._stopped(module, level, trainer.global_step, request)
        except NumericalError as error:
            module.restore_best()
            path = self._save_picture(module.image())
            where = f"; the best image is {path}" if path else ""
            raise NumericalError(f"{error}{where}") from error
        return module

    def _seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.started

    def _save_picture(self, image: Tensor) -> Path | None:
        if self.folder is None:
            return None
        path = self.folder / self.config.image
        metadata = {
            "Software": f"nst_exp {record.versions()['nst-exp']}",
            "nst_exp": json.dumps(
                {
                    "config": record.config_as_dict(self.config),
                    "inputs": self.record.values.get("inputs"),
                    "weights": self.record.values.get("weights"),
                    "versions": record.versions(),
                },
                ensure_ascii=False,
            ),
        }
        save_image(to_array(image), path, bit_depth=self.config.bit_depth, metadata=metadata)
        return path

    def _stopped(
        self, module: StyleTransfer, level: Level, step: int, request: StopRequest
    ) -> None:
        step += level.first_step
        path = self._save_picture(module.result_image())
        self.record.values |= {"step": step, "seconds": round(self._seconds(), 3)}
        self.record.save("interrupted")
        where = (
            f"; the image so far is {path}; the same command with out={self.folder} goes on there"
            if path
            else ""
        )
        raise Interrupted(
            f"stopped after step {step} of {self.config.steps}{where}", request.exit_code
        )

    def _finish(
        self,
        module: StyleTransfer,
        inputs: Inputs,
        recorder: Recorder,
        logger: RunLogger | None,
    ) -> Result:
        config = self.config
        with torch.no_grad():
            image = module.result_image().clamp(0.0, 1.0)
            losses = module.evaluate(image).as_floats()
        if module.best_total < losses["total"] / 10 and not module.averaged:
            # The iterates left the best image far behind, as L-BFGS without a line search may.
            self.warn(
                f"the last image's total loss, {losses['total']:.3e}, is far above the lowest, "
                f"{module.best_total:.3e}: the image of the lowest is saved"
            )
            module.restore_best()
            with torch.no_grad():
                image = module.image().clamp(0.0, 1.0)
                losses = module.evaluate(image).as_floats()
        if module.start_total is not None and module.best_total > STALLED * module.start_total:
            self.warn(
                f"the total loss hardly moved ({module.start_total:.3e} at the start, lowest "
                f"{module.best_total:.3e}); the start may already fit, or optimizer.lr is too small"
            )
        device = module.trainer.strategy.root_device  # Lightning leaves the module on the CPU
        path = self._save_picture(image)
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
        }
        self.record.save("done")  # before the metrics, for which weights may be downloaded
        if self.folder is not None:
            (self.folder / CHECKPOINT).unlink(missing_ok=True)
        picture = Image.fromarray((to_array(image) * 255.0).round().astype("uint8"))
        if config.logging.metrics:
            content, style, _ = tensors(config, inputs, config.size)
            self.record.values["metrics"] = measure(
                to_tensor(picture, None), content, style, device, self.warn, self.say
            )
            self.record.save("done")
        if logger is not None:
            log_result(logger, losses, self.record.values["metrics"], config.steps)
            recorder.picture(image, config.steps)
            logger.close()
        return Result(picture, losses, self.record.as_dict(), self.folder, path)


def _adam_state(before: StyleTransfer, config: Config, shape: torch.Size) -> dict[str, Any] | None:
    """What the next level takes over from Adam; L-BFGS and Fourier coefficients start afresh."""
    pixels = config.optimizer.parametrisation.kind is schema.ParametrisationKind.pixels
    if not isinstance(config.optimizer, schema.Adam) or not pixels:
        return None
    optimizer = cast(torch.optim.Optimizer, before.optimizers(use_pl_optimizer=False))
    state = optimizer.state[before.parameter.values]
    return optimizers.carry_adam_state(state, shape[2], shape[3])
