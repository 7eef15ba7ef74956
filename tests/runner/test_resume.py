"""A run that was stopped is resumed as if it had not been: the same bytes in the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_run import pixels, stop_at, tiny_run

from nst_exp.results.record import Record, read_record
from nst_exp.runner.callbacks import Recorder
from nst_exp.runner.logger import RunLogger
from nst_exp.utils.errors import ConfigError, Interrupted
from tests.faults.folders import differences, result_of

PYRAMID = ["resolution.pyramid=true", "resolution.sizes=[32,48]", "steps=10"]


def _stopped(
    monkeypatch: pytest.MonkeyPatch, folder: Path, level: int, step: int, *overrides: str
) -> Interrupted:
    with monkeypatch.context() as patch:
        stop_at(patch, level, step)
        with pytest.raises(Interrupted) as caught:
            tiny_run(folder, *overrides)
    return caught.value


ADAM = ["steps=8", "optimizer=adam"]
MILESTONES = [*ADAM, "optimizer.milestones=[3,6]"]
CASES = [
    (0, 5, ["steps=8"]),
    (0, 4, [*ADAM, "resolution.averaging=0.9"]),
    (0, 5, PYRAMID),  # at the end of the first level
    (1, 2, [*PYRAMID, "optimizer=adam", "resolution.averaging=0.9"]),
    (0, 3, MILESTONES),
]
MORE_CASES = [
    (0, 1, ["steps=8"]),  # before L-BFGS has a history
    (0, 5, ["steps=8", "optimizer.parametrization.kind=pixels", "init=noise"]),
    (0, 5, ["steps=8", "optimizer.history=2"]),
    (0, 5, ["steps=8", "optimizer.line_search=none", "optimizer.lr=0.1"]),
    (0, 4, ADAM),
    (0, 4, ["steps=8", "resolution.averaging=0.9"]),
    (1, 2, PYRAMID),
    (1, 2, [*PYRAMID, "optimizer=adam"]),
    (0, 2, MILESTONES),
    (0, 5, MILESTONES),
    (1, 2, [*PYRAMID, "optimizer=adam", "optimizer.milestones=[2,4]"]),  # counted per level
    (0, 4, ["steps=8", "trainer.precision=64-true"]),
    (0, 4, ["steps=8", "trainer.precision=bf16-mixed"]),
]


@pytest.mark.parametrize(
    ("level", "step", "overrides"),
    [*CASES, *(pytest.param(*case, marks=pytest.mark.slow) for case in MORE_CASES)],
    ids=lambda value: "-".join(value) if isinstance(value, list) else str(value),
)
def test_stopped_and_resumed_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: int, step: int, overrides: list[str]
) -> None:
    whole = tiny_run(tmp_path / "whole", *overrides)
    folder = tmp_path / "stopped"
    _stopped(monkeypatch, folder, level, step, *overrides)
    resumed = tiny_run(folder, *overrides)
    assert resumed.path is not None
    assert whole.path is not None
    assert np.array_equal(pixels(resumed.path), pixels(whole.path))
    assert resumed.losses == whole.losses  # to the last bit, unlike the 8-bit image
    assert resumed.record["step"] == whole.record["step"]


@pytest.mark.parametrize(
    ("stop", "overrides", "line"),
    [
        # The line search fails for ever from step 2 on.
        (15, ["steps=20", "optimizer.max_evaluations=1"], "has not fallen since step 2 of 20"),
        (
            6,
            ["steps=8", "optimizer.line_search=none", "optimizer.lr=1000", "init=noise"],
            "diverged at step",
        ),
    ],
)
def test_warnings_before_the_stop_are_still_in_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int, overrides: list[str], line: str
) -> None:
    whole = tiny_run(tmp_path / "whole", *overrides).record["warnings"]
    assert sum(line in warning for warning in whole) == 1
    _stopped(monkeypatch, tmp_path / "stopped", 0, stop, *overrides)
    assert tiny_run(tmp_path / "stopped", *overrides).record["warnings"] == whole


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_a_crash_in_a_level_of_a_pyramid_loses_that_level_alone(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    optimizer: str,
) -> None:
    """However short the levels are: the periodic checkpoints come every two minutes."""
    overrides = [*PYRAMID, f"optimizer={optimizer}"]
    whole = tiny_run(tmp_path / "whole", *overrides)
    original = Recorder.on_train_batch_end

    def crash(self: Recorder, trainer: Any, module: Any, *rest: Any) -> None:
        original(self, trainer, module, *rest)
        if module.level == 1 and trainer.global_step == 3:
            raise RuntimeError("pulled the plug")

    folder = tmp_path / "crashed"
    caplog.set_level("INFO", "nst_exp")
    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "on_train_batch_end", crash)
        with pytest.raises(RuntimeError, match="plug"):
            tiny_run(folder, *overrides)
    resumed = tiny_run(folder, *overrides)
    assert "resuming after step 5 of 10" in caplog.messages
    assert np.array_equal(pixels(resumed.path), pixels(whole.path))
    assert resumed.losses == whole.losses
    curves = [(place / "losses.csv").read_text() for place in (folder, tmp_path / "whole")]
    assert curves[0] == curves[1]
    assert resumed.record["evaluations"] == whole.record["evaluations"]
    assert not (folder / "last.ckpt").exists()


def test_stopped_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tiny_run(tmp_path / "whole", "steps=8")
    folder = tmp_path / "stopped"
    stop = _stopped(monkeypatch, folder, 0, 2, "steps=8")
    assert stop.exit_code == 130
    assert (folder / "last.ckpt").is_file()
    seconds = read_record(folder)["seconds"]
    _stopped(monkeypatch, folder, 0, 5, "steps=8")
    resumed = tiny_run(folder, "steps=8")
    assert resumed.losses == whole.losses
    assert resumed.record["seconds"] > seconds  # of all three
    assert not (folder / "last.ckpt").exists()


def test_damaged_checkpoint_is_said_and_the_run_starts_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tiny_run(tmp_path / "whole", "steps=8")
    folder = tmp_path / "stopped"
    _stopped(monkeypatch, folder, 0, 3, "steps=8")
    data = (folder / "last.ckpt").read_bytes()
    (folder / "last.ckpt").write_bytes(data[: len(data) // 2])
    again = tiny_run(folder, "steps=8")
    assert again.losses == whole.losses
    assert any("cannot be read" in line for line in again.record["warnings"])


def test_without_a_folder_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    stop_at(monkeypatch, 0, 2)
    with pytest.raises(Interrupted, match=r"^stopped after step 2 of 5$"):
        tiny_run(None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("moment", ["record_image", "log_metrics", "save"])
def test_a_run_that_ends_before_it_is_done_is_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Its image is saved, but not everything else is recorded."""
    place = {"record_image": Recorder, "log_metrics": RunLogger, "save": Record}[moment]
    original = getattr(place, moment)

    def crash_at_the_end(*arguments: Any) -> None:
        if arguments[-1] in (5, "done"):  # the last step, or the last status
            raise RuntimeError("killed")
        original(*arguments)

    folder = tmp_path / "cut"
    with monkeypatch.context() as patch:
        patch.setattr(place, moment, crash_at_the_end)
        with pytest.raises(RuntimeError, match="killed"):
            tiny_run(folder, "logging.every=2")  # so that log_metrics at step 5 is the end
    tiny_run(folder, "logging.every=2")
    whole = tiny_run(tmp_path / "whole", "logging.every=2")
    assert differences(result_of(folder), result_of(tmp_path / "whole")) == []
    before = (folder / "result.json").stat().st_mtime_ns
    assert tiny_run(folder, "logging.every=2").losses == whole.losses  # and it is not repeated
    assert (folder / "result.json").stat().st_mtime_ns == before


def test_result_that_was_moved_away_is_not_called_done(tmp_path: Path) -> None:
    tiny_run(tmp_path, "steps=1").path.unlink()
    with pytest.raises(ConfigError, match=r"is done, but image\.png is missing; overwrite"):
        tiny_run(tmp_path, "steps=1")
