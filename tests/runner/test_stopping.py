"""Signals, full disks and other early ends of a run: what is said, what is saved, what is left."""

from __future__ import annotations

import errno
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers_run import TINY, pixels, tiny_run
from pytorch_lightning.loggers import TensorBoardLogger

import nst_exp.runner.callbacks
import nst_exp.runner.run
import nst_exp.runner.save_image
from nst_exp.app.api import make_config
from nst_exp.runner.callbacks import StopBetweenSteps
from nst_exp.runner.resume import AtomicCheckpointIO
from nst_exp.runner.run import Result, run
from nst_exp.utils.errors import Interrupted, NumericalError, OutputError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
METRICS = ["logging.metrics=true"]


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Restore the handlers of the process that runs the tests."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def _run(folder: Path, *overrides: str) -> Result:
    return run(make_config([*TINY, *overrides]), folder, handle_signals=True)


def _record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "result.json").read_text())


def _when_called(
    patch: pytest.MonkeyPatch, name: str, act: Callable[[], None], place: Any = nst_exp.runner.run
) -> None:
    """Let something happen when the run calls a function."""
    original = getattr(place, name)

    def hook(*arguments: Any, **more: Any) -> Any:
        act()
        return original(*arguments, **more)

    patch.setattr(place, name, hook)


def _after_step(patch: pytest.MonkeyPatch, step: int, act: Callable[[], None]) -> None:
    """Let something happen at the end of a step."""
    original = StopBetweenSteps.on_train_batch_end

    def hook(self: StopBetweenSteps, trainer: Any, module: Any, *rest: Any) -> None:
        if trainer.global_step == step:
            act()
        original(self, trainer, module, *rest)

    patch.setattr(StopBetweenSteps, "on_train_batch_end", hook)


def _terminate() -> None:
    signal.raise_signal(signal.SIGTERM)


def _full() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


# Signals


@pytest.mark.parametrize(
    ("moment", "message"),
    [
        ("make_network", "^stopped by SIGTERM; the same command with .* resumes it$"),
        ("select_final_image", "^stopped after step 5 of 5; the image so far is "),
        ("result_values", r"^stopped by SIGTERM; .* resumes it; the best image is .*image\.png$"),
    ],
)
def test_signal_ends_the_run_and_the_same_command_resumes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, message: str
) -> None:
    """Before the first step, after the last one, and while the result is recorded."""
    with monkeypatch.context() as patch:
        _when_called(patch, moment, _terminate)
        with pytest.raises(Interrupted, match=message) as caught:
            _run(tmp_path)
    assert caught.value.exit_code == 143
    assert _record(tmp_path)["status"] == "interrupted"
    assert (tmp_path / "image.png").is_file() == (moment != "make_network")
    assert _run(tmp_path).losses == tiny_run(tmp_path / "whole").losses
    assert _record(tmp_path)["status"] == "done"


@pytest.mark.parametrize("number", SIGNALS)
def test_signal_in_a_step_waits_for_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    with monkeypatch.context() as patch:
        _after_step(patch, 3, lambda: signal.raise_signal(number))
        with pytest.raises(Interrupted, match=r"^stopped after step 3 of 5; .*png; .* resumes it"):
            _run(tmp_path)
    assert (_record(tmp_path)["status"], _record(tmp_path)["step"]) == ("interrupted", 3)
    assert _run(tmp_path).losses == tiny_run(tmp_path / "whole").losses


def test_second_signal_saves_the_best_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def twice() -> None:
        _terminate()
        signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        _after_step(patch, 3, twice)
        with pytest.raises(Interrupted, match=r"the best image is .*image\.png$") as caught:
            _run(tmp_path)
    assert caught.value.exit_code == 130
    assert _record(tmp_path)["status"] == "interrupted"
    assert _run(tmp_path).losses == tiny_run(tmp_path / "whole").losses


def test_signal_at_the_very_end_leaves_the_run_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It still ends a sweep."""
    unlink = Path.unlink

    def hook(path: Path, missing_ok: bool = False) -> None:
        if path.name == "last.ckpt":
            _terminate()
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", hook)
    with pytest.raises(Interrupted, match="the run is done") as caught:
        _run(tmp_path)
    assert caught.value.exit_code == 143
    assert _record(tmp_path)["status"] == "done"


def test_error_after_a_signal_still_ends_a_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        _terminate()
        raise OutputError("no space")

    _after_step(monkeypatch, 3, fail)
    with pytest.raises(Interrupted, match=r"no space; .*; stopped by SIGTERM") as caught:
        _run(tmp_path)
    assert caught.value.exit_code == 143
    assert _record(tmp_path)["status"] == "failed"


def test_closed_terminal_does_not_lose_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Gone:
        def write(self, text: str) -> None:
            raise OSError(errno.EIO, "Input/output error")

        def flush(self) -> None:
            self.write("")

    def close() -> None:
        monkeypatch.setattr(sys, "stderr", Gone())
        signal.raise_signal(signal.SIGHUP)

    _after_step(monkeypatch, 3, close)
    with pytest.raises(Interrupted, match="stopped after step 3") as caught:
        _run(tmp_path)
    assert caught.value.exit_code == 129


# Full disks and removed folders


@pytest.mark.parametrize("writer", ["snapshot", "tensorboard", "checkpoint", "end"])
def test_full_disk_is_named_and_the_best_image_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: str
) -> None:
    original = {
        "snapshot": (nst_exp.runner.callbacks, "save_image", lambda pixels, path: "3" in path.name),
        "tensorboard": (TensorBoardLogger, "log_metrics", lambda self, values, step: step == 3),
        "checkpoint": (AtomicCheckpointIO, "save_checkpoint", lambda *_, **__: True),
        "end": (nst_exp.runner.run, "result_values", lambda *_: True),
    }
    place, name, is_due = original[writer]
    function = getattr(place, name)

    def hook(*arguments: Any, **more: Any) -> Any:
        if is_due(*arguments, **more):
            _full()
        return function(*arguments, **more)

    monkeypatch.setattr(place, name, hook)
    with pytest.raises(OutputError, match="No space left on device") as caught:
        tiny_run(tmp_path, "logging.image_every=1", "trainer.checkpoint_minutes=1e-6")
    assert str(caught.value).endswith(f"; the best image is {tmp_path / 'image.png'}")
    assert pixels(tmp_path / "image.png").shape == (32, 48, 3)
    assert _record(tmp_path)["status"] == "failed"
    monkeypatch.undo()
    assert tiny_run(
        tmp_path, "logging.image_every=1", "trainer.checkpoint_minutes=1e-6"
    ).losses == (tiny_run(None).losses)


def test_image_is_saved_in_the_temporary_folder_if_need_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere").mkdir()
    original = nst_exp.runner.save_image.save_image

    def save(pixels: Any, path: Path, **more: Any) -> None:
        if path.parent == tmp_path / "out":
            raise OutputError(f"{path}: cannot be written: No space left on device")
        original(pixels, path, **more)

    monkeypatch.setattr(nst_exp.runner.save_image, "save_image", save)
    with pytest.raises(OutputError, match="the best image is") as caught:
        tiny_run(tmp_path / "out")
    saved = Path(str(caught.value).rpartition("the best image is ")[2])
    monkeypatch.undo()
    assert (pixels(saved) == pixels(tiny_run(tmp_path / "whole").path)).all()


def test_removed_folder_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "out"
    _after_step(monkeypatch, 5, lambda: shutil.rmtree(folder))
    done = tiny_run(folder, "logging=none", "logging.progress=false")
    assert pixels(done.path).shape == (32, 48, 3)
    assert any("was removed while the run was at work" in w for w in done.record["warnings"])


def test_checkpoints_are_not_written_where_tmpdir_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Moved from another file system into place, a file may be cut off there."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    AtomicCheckpointIO().save_checkpoint({"global_step": 3}, tmp_path / "last.ckpt")
    assert AtomicCheckpointIO().load_checkpoint(tmp_path / "last.ckpt") == {"global_step": 3}


# Other failures


def test_divergence_keeps_the_best_image(tmp_path: Path) -> None:
    """L-BFGS without a line search and with giant steps leaves every finite number."""
    settings = ["init=noise", "optimizer.line_search=none", "optimizer.lr=1e30", "steps=40"]
    with pytest.raises(NumericalError, match=r"diverged at step .* the best image is"):
        tiny_run(tmp_path, *settings, "optimizer.max_restarts=1")
    assert _record(tmp_path)["status"] == "failed"
    assert "diverged" in _record(tmp_path)["error"]
    assert pixels(tmp_path / "image.png").std() > 0


def test_a_bug_stays_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug() -> None:
        raise TypeError("a bug")

    _after_step(monkeypatch, 3, bug)
    with pytest.raises(TypeError, match=r"^a bug$"):
        tiny_run(tmp_path)
    assert _record(tmp_path)["error"] == "TypeError: a bug"
