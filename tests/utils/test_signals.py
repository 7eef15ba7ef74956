"""When a signal waits for the end of a step, and when it ends the run where it is."""

from __future__ import annotations

import errno
import json
import logging
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from helpers_run import TINY, tiny_run

import nst_exp.runner.run
from nst_exp.app.api import make_config
from nst_exp.app.console import install_console
from nst_exp.runner.callbacks import StopBetweenSteps
from nst_exp.runner.run import Result, run
from nst_exp.utils.atomic_files import write_atomically
from nst_exp.utils.errors import Interrupted, OutputError
from nst_exp.utils.signals import SignalReceived


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Those of the process that runs the tests come back."""
    before = {
        number: signal.getsignal(number)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
    }
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def _run(folder: Path, *overrides: str) -> Result:
    return run(make_config([*TINY, *overrides]), folder, handle_signals=True)


def _send_in(monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str) -> None:
    """Let SIGTERM come when the run calls this function of that module."""
    original = getattr(module, name)

    def hook(*arguments: Any, **more: Any) -> Any:
        signal.raise_signal(signal.SIGTERM)
        return original(*arguments, **more)

    monkeypatch.setattr(module, name, hook)


def test_signal_before_the_first_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        _send_in(patch, nst_exp.runner.run, "make_network")
        with pytest.raises(Interrupted, match="stopped by SIGTERM; the same command") as caught:
            _run(tmp_path)
    assert caught.value.exit_code == 143
    assert json.loads((tmp_path / "result.json").read_text())["status"] == "interrupted"
    assert _run(tmp_path).losses == tiny_run(tmp_path / "whole").losses


def test_second_signal_saves_the_best_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = StopBetweenSteps.on_train_batch_end

    def hook(self: StopBetweenSteps, trainer: Any, module: Any, *rest: Any) -> None:
        if trainer.global_step == 3:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        original(self, trainer, module, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(StopBetweenSteps, "on_train_batch_end", hook)
        with pytest.raises(Interrupted, match=r"the best image is .*image\.png$") as caught:
            _run(tmp_path)
    assert caught.value.exit_code == 130
    assert json.loads((tmp_path / "result.json").read_text())["status"] == "interrupted"
    assert _run(tmp_path).losses == tiny_run(tmp_path / "whole").losses


def test_signal_while_the_result_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The picture is done and stays so; the same command measures it."""
    values = {"content": 0.5}
    monkeypatch.setattr(nst_exp.runner.finished, "measure", lambda *arguments: values)
    with monkeypatch.context() as patch:
        _send_in(patch, nst_exp.runner.finished, "measure")
        with pytest.raises(Interrupted, match="the picture is done") as caught:
            _run(tmp_path, "logging.metrics=true")
    assert caught.value.exit_code == 143
    record = json.loads((tmp_path / "result.json").read_text())
    assert (record["status"], record["metrics"]) == ("done", {})
    again = _run(tmp_path, "logging.metrics=true")
    assert again.record["metrics"] == values
    assert json.loads((tmp_path / "result.json").read_text())["metrics"] == values


def test_signal_behind_the_last_step_still_ends_a_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = StopBetweenSteps.on_train_batch_end

    def hook(self: StopBetweenSteps, trainer: Any, module: Any, *rest: Any) -> None:
        original(self, trainer, module, *rest)
        if trainer.global_step == 5:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(StopBetweenSteps, "on_train_batch_end", hook)
    with pytest.raises(Interrupted) as caught:
        _run(tmp_path)
    assert caught.value.exit_code == 143
    assert json.loads((tmp_path / "result.json").read_text())["status"] == "done"


def test_signal_behind_the_last_step_waits_for_the_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All steps are made, and there is no checkpoint of the last one."""
    _send_in(monkeypatch, nst_exp.runner.run, "select_final_image")
    with pytest.raises(Interrupted, match="the picture is done") as caught:
        _run(tmp_path)
    assert caught.value.exit_code == 143
    assert (tmp_path / "image.png").is_file()


def test_error_behind_a_signal_still_ends_a_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hook(self: StopBetweenSteps, *rest: Any) -> None:
        signal.raise_signal(signal.SIGTERM)
        raise OutputError("no space")

    monkeypatch.setattr(StopBetweenSteps, "on_train_batch_end", hook)
    with pytest.raises(Interrupted, match=r"no space; .*; stopped by SIGTERM") as caught:
        _run(tmp_path)
    assert caught.value.exit_code == 143
    assert json.loads((tmp_path / "result.json").read_text())["status"] == "failed"


class _Gone:
    """The standard error of a terminal that was closed."""

    def write(self, text: str) -> None:
        raise OSError(errno.EIO, "Input/output error")

    def flush(self) -> None:
        self.write("")


def test_closed_terminal_is_no_reason_to_lose_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = StopBetweenSteps.on_train_batch_end

    def hook(self: StopBetweenSteps, trainer: Any, module: Any, *rest: Any) -> None:
        if trainer.global_step == 3:
            monkeypatch.setattr(sys, "stderr", _Gone())
            signal.raise_signal(signal.SIGHUP)
        original(self, trainer, module, *rest)

    monkeypatch.setattr(StopBetweenSteps, "on_train_batch_end", hook)
    with pytest.raises(Interrupted, match="stopped after step 3") as caught:
        _run(tmp_path)
    assert caught.value.exit_code == 129
    install_console()
    logging.getLogger("nst_exp").error("lost, and no exception")


def test_signal_is_found_behind_what_torch_makes_of_it(tmp_path: Path) -> None:
    def write(stream: Any) -> None:
        try:
            raise SignalReceived(signal.SIGINT)
        except SignalReceived:
            raise RuntimeError("enforce fail at inline_container.cc")  # noqa: B904

    with pytest.raises(SignalReceived):
        write_atomically(tmp_path / "last.ckpt", write)
    assert list(tmp_path.iterdir()) == []
