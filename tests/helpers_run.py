"""Runs that take a fraction of a second: a small random backbone, a few steps, small images."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from nst_exp.app.api import make_config
from nst_exp.runner.result import Result
from nst_exp.runner.resume import Checkpoints
from nst_exp.runner.run import run
from tests.faults import TINY as TINY, fresh_processes

if TYPE_CHECKING:
    from tests.faults.commands import Command


def tiny_run(folder: Path | None, *overrides: str) -> Result:
    """Run ``TINY`` with these overrides."""
    return run(make_config([*TINY, *overrides]), folder)


def picture(path: Path, size: tuple[int, int], seed: int = 0) -> Path:
    """Write an image of this width and height made from random blocks."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).save(path)
    return path


def pixels(path: Path | None) -> NDArray[np.uint8]:
    """Return the pixels of an image file."""
    assert path is not None
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def records(sweep: Path) -> dict[str, dict[str, Any]]:
    """Return the record of each job of a sweep, by the name of its folder."""
    return {
        path.parent.name: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(sweep.glob("*/result.json"))
    }


def stop_at(monkeypatch: pytest.MonkeyPatch, level: int, step: int) -> None:
    """Have a stop requested in this step of this level, as Ctrl-C would do."""
    original = Checkpoints.on_train_batch_end

    def hook(self: Checkpoints, trainer: Any, module: Any, *rest: Any) -> None:
        if module.level == level and trainer.global_step == step:
            self.request.signal = signal.SIGINT
        original(self, trainer, module, *rest)

    monkeypatch.setattr(Checkpoints, "on_train_batch_end", hook)


def environment(**changed: str) -> dict[str, str]:
    """Return the environment of a subprocess."""
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"} | changed


def command_line(folder: Path, *arguments: str, **changed: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m nst_exp`` in ``folder``, with changes to the environment."""
    return subprocess.run(
        [sys.executable, "-m", "nst_exp", *arguments],
        cwd=folder,
        env=environment(**changed),
        capture_output=True,
        text=True,
        timeout=240,
    )


def forked_command(
    folder: Path, *arguments: str, **changed: str
) -> subprocess.CompletedProcess[str]:
    """Do as ``command_line`` in a process that need not import torch: one second instead of six."""
    from tests.faults.commands import run  # POSIX only

    with tempfile.TemporaryDirectory() as place:
        files = {"output": Path(place, "output"), "errors": Path(place, "errors")}
        how = {"folder": folder, "environment": environment(**changed)}
        code = run(arguments, **files, **how, context=fresh_processes()).code
        assert code is not None
        out, err = (path.read_text(encoding="utf-8") for path in files.values())
    return subprocess.CompletedProcess(arguments, code, out, err)


def start_forked(folder: Path, *arguments: str) -> "Command":
    """Start such a process, which prints into ``folder/printed.txt``."""
    from tests.faults.commands import start

    how = {"folder": folder, "environment": environment(), "context": fresh_processes()}
    return start(arguments, folder / "printed.txt", **how)
