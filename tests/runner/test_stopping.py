"""Signals, full disks and other early ends of a run: what is said, what is saved, what is left."""

import errno
import json
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers_run import TINY, pixels, tiny_run

from nst_exp.app.api import make_config
from nst_exp.runner import callbacks, run as run_module, save_image
from nst_exp.runner.callbacks import Recorder
from nst_exp.runner.result import Result
from nst_exp.runner.resume import AtomicCheckpointIO, Checkpoints
from nst_exp.runner.run import run
from nst_exp.utils.errors import Interrupted, NumericalError, OutputError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Restore the handlers of the process that runs the tests."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def _run(folder: Path) -> Result:
    return run(make_config(TINY), folder, handle_signals=True)


def _record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "result.json").read_text())


def _before(
    patch: pytest.MonkeyPatch,
    place: Any,
    name: str,
    act: Callable[[], object],
    due: Callable[..., bool] = lambda *_, **__: True,
) -> None:
    """Let something happen before a function is called."""
    original = getattr(place, name)

    def hook(*arguments: Any, **more: Any) -> Any:
        if due(*arguments, **more):
            act()
        return original(*arguments, **more)

    patch.setattr(place, name, hook)


def _after_step_3(patch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    _before(patch, Checkpoints, "on_train_batch_end", act, lambda _, t, *__: t.global_step == 3)


def _terminate() -> None:
    signal.raise_signal(signal.SIGTERM)


def _full() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


# Signals


@pytest.mark.parametrize(
    ("place", "name", "message"),
    [
        (run_module, "make_network", "^stopped by SIGTERM; the same command with .* resumes it$"),
        (run_module, "select_final_image", "^stopped after step 5 of 5; the image so far is "),
        (Recorder, "record_result", r"^stopped by SIGTERM; .* the best image is .*image\.png$"),
    ],
)
def test_signal_ends_the_run_and_the_same_command_resumes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Any, name: str, message: str
) -> None:
    """Before the first step, after the last one, and while the result is recorded."""
    with monkeypatch.context() as patch:
        _before(patch, place, name, _terminate)
        with pytest.raises(Interrupted, match=message) as caught:
            _run(tmp_path)
    assert caught.value.exit_code == 143
    assert _record(tmp_path)["status"] == "interrupted"
    assert (tmp_path / "image.png").is_file() == (name != "make_network")
    assert _run(tmp_path).losses == tiny_run(None).losses
    assert _record(tmp_path)["status"] == "done"


@pytest.mark.parametrize("number", SIGNALS)
def test_signal_in_a_step_waits_for_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    with monkeypatch.context() as patch:
        _after_step_3(patch, lambda: signal.raise_signal(number))
        with pytest.raises(Interrupted, match=r"^stopped after step 3 of 5; .*png; .* resumes it"):
            _run(tmp_path)
    assert (_record(tmp_path)["status"], _record(tmp_path)["step"]) == ("interrupted", 3)
    assert _run(tmp_path).losses == tiny_run(None).losses


def test_signal_at_the_very_end_leaves_the_run_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It still ends a sweep."""
    _before(monkeypatch, AtomicCheckpointIO, "save_checkpoint", _terminate)
    with pytest.raises(Interrupted, match="the run is done") as caught:
        _run(tmp_path)
    assert caught.value.exit_code == 143
    assert _record(tmp_path)["status"] == "done"


@pytest.mark.parametrize(
    ("second", "message", "exit_code", "status"),
    [
        (lambda: signal.raise_signal(signal.SIGINT), "^stopped by SIGINT; ", 130, "interrupted"),
        (_full, "No space left on device.*; stopped by SIGTERM$", 143, "failed"),
        # As the history of L-BFGS grows; as torch itself says it.
        (lambda: torch.empty(2**58), "^size=48: out of memory; .* by SIGTERM$", 143, "failed"),
    ],
)
def test_second_signal_or_error_saves_the_best_image(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    second: Callable[[], object],
    message: str,
    exit_code: int,
    status: str,
) -> None:
    """A signal that came before the error still ends a sweep."""
    with monkeypatch.context() as patch:
        _after_step_3(patch, lambda: (_terminate(), second()))
        with pytest.raises(Interrupted, match=message) as caught:
            _run(tmp_path)
    assert caught.value.exit_code == exit_code
    assert f"; the best image is {tmp_path / 'image.png'}" in str(caught.value)
    assert pixels(tmp_path / "image.png").shape == (32, 48, 3)
    assert _record(tmp_path)["status"] == status
    assert _run(tmp_path).losses == tiny_run(None).losses


# Full disks


@pytest.mark.parametrize(
    ("place", "name", "due"),
    [
        (callbacks, "save_image", lambda pixels, path: "3" in path.name),
        (Recorder, "record_scalars", lambda self, values, step: step == 3),
        (AtomicCheckpointIO, "save_checkpoint", lambda *_, **__: True),
        (Recorder, "record_result", lambda *_: True),
    ],
)
def test_full_disk_is_named_and_the_best_image_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Any, name: str, due: Callable[..., bool]
) -> None:
    settings = ["logging.image_every=1", "trainer.checkpoint_minutes=1e-6"]
    with monkeypatch.context() as patch:
        _before(patch, place, name, _full, due)
        with pytest.raises(OutputError, match="No space left on device") as caught:
            tiny_run(tmp_path, *settings)
    assert str(caught.value).endswith(f"; the best image is {tmp_path / 'image.png'}")
    assert pixels(tmp_path / "image.png").shape == (32, 48, 3)
    assert _record(tmp_path)["status"] == "failed"
    assert tiny_run(tmp_path, *settings).losses == tiny_run(None).losses


def test_image_is_saved_in_the_temporary_folder_if_need_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path / "elsewhere"))
        _before(patch, save_image, "save_image", _full, lambda _, path, **__: "out" in path.parts)
        with pytest.raises(OutputError, match="the best image is") as caught:
            tiny_run(tmp_path / "out")
    saved = Path(str(caught.value).rpartition("the best image is ")[2])
    assert saved.is_relative_to(tmp_path / "elsewhere")
    assert (pixels(saved) == pixels(tiny_run(tmp_path / "whole").path)).all()


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
    settings = ["init=noise", "optimizer=lbfgs_plain", "optimizer.lr=1e30", "steps=40"]
    with pytest.raises(NumericalError, match=r"diverged at step .* the best image is"):
        tiny_run(tmp_path, *settings, "optimizer.max_restarts=1")
    assert _record(tmp_path)["status"] == "failed"
    assert "diverged" in _record(tmp_path)["error"]
    assert pixels(tmp_path / "image.png").std() > 0


def test_a_bug_stays_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _after_step_3(monkeypatch, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError, match=r"^division by zero$"):
        tiny_run(tmp_path)
    assert _record(tmp_path)["error"] == "ZeroDivisionError: division by zero"
