"""When nothing can be written any more: what is said, what is left, where the image is."""

from __future__ import annotations

import errno
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from helpers_run import pixels, tiny_run
from pytorch_lightning.loggers import TensorBoardLogger

import nst_exp.runner.callbacks
import nst_exp.runner.run
import nst_exp.runner.save_image
from nst_exp.runner.callbacks import StopBetweenSteps
from nst_exp.runner.resume import AtomicCheckpointIO
from nst_exp.utils.errors import OutputError


def _full(*arguments: Any, **more: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def _status(folder: Path) -> str:
    return str(json.loads((folder / "result.json").read_text())["status"])


@pytest.mark.parametrize("writer", ["snapshot", "tensorboard", "checkpoint"])
def test_best_image_is_saved_and_the_disk_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: str
) -> None:
    if writer == "snapshot":
        original = nst_exp.runner.callbacks.save_image

        def save(pixels: Any, path: Path, **more: Any) -> None:
            if path.name == "step_000003.png":
                raise OutputError(f"{path}: cannot be written: No space left on device")
            original(pixels, path, **more)

        monkeypatch.setattr(nst_exp.runner.callbacks, "save_image", save)
    elif writer == "tensorboard":
        logged = TensorBoardLogger.log_metrics

        def log(self: Any, values: Any, step: int) -> None:
            if step == 3:
                _full()
            logged(self, values, step)

        monkeypatch.setattr(TensorBoardLogger, "log_metrics", log)
    else:
        monkeypatch.setattr(AtomicCheckpointIO, "save_checkpoint", _full)
    with pytest.raises(OutputError, match="No space left on device") as caught:
        tiny_run(tmp_path, "logging.image_every=1", "trainer.checkpoint_minutes=1e-6")
    assert str(caught.value).endswith(f"; the best image is {tmp_path / 'image.png'}")
    assert pixels(tmp_path / "image.png").shape == (32, 48, 3)
    assert _status(tmp_path) == "failed"


def test_result_goes_elsewhere_rather_than_nowhere(
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
    whole = tiny_run(tmp_path / "whole")
    assert (pixels(saved) == pixels(whole.path)).all()


def test_removed_folder_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = StopBetweenSteps.on_train_batch_end

    def hook(self: StopBetweenSteps, trainer: Any, module: Any, *rest: Any) -> None:
        original(self, trainer, module, *rest)
        if trainer.global_step == 5:
            shutil.rmtree(tmp_path / "out")

    monkeypatch.setattr(StopBetweenSteps, "on_train_batch_end", hook)
    done = tiny_run(tmp_path / "out", "logging=none", "logging.progress=false")
    assert pixels(done.path).shape == (32, 48, 3)
    assert any("was removed while the run went on" in line for line in done.record["warnings"])


def test_what_fails_behind_the_end_leaves_the_run_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nst_exp.runner.run, "result_values", _full)
    with pytest.raises(OutputError, match="No space left on device"):
        tiny_run(tmp_path)
    assert _status(tmp_path) == "done"


def test_checkpoints_are_not_written_where_tmpdir_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Moved from another file system into place, a file may be cut off there."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    AtomicCheckpointIO().save_checkpoint({"global_step": 3}, tmp_path / "last.ckpt")
    assert AtomicCheckpointIO().load_checkpoint(tmp_path / "last.ckpt") == {"global_step": 3}
