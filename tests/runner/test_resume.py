"""A run that was stopped is resumed as if it had not been: the same bytes in the end."""

from pathlib import Path
from typing import Any, cast
from unittest.mock import MagicMock

import numpy as np
import pytest
from helpers_run import pixels, stop_at, tiny_run

from nst_exp.results.record import Record, read_record
from nst_exp.runner.callbacks import Recorder
from nst_exp.runner.resume import Checkpoints
from nst_exp.utils.errors import ConfigError, Interrupted
from tests.faults.folders import differences, result_of

PYRAMID = ["resolution.pyramid=true", "resolution.sizes=[32,48]", "steps=10"]
LEVELS = "resolution.levels=[{history: 4}, {history: 2, factors: {style: 0.5}}]"
REDRAW = ["steps=8", "loss.style.statistic=sliced", "loss.style.redraw=3"]
NEIGHBORS = ["steps=8", "loss.style.statistic=neighbors", "loss.style.patch=3"]
LINE_SEARCH_FAILS = ["steps=20", "optimizer.max_evaluations=1"]
DIVERGES = ["steps=8", "optimizer=lbfgs_plain", "optimizer.lr=1000", "init=noise"]


def _stopped(
    monkeypatch: pytest.MonkeyPatch, folder: Path, level: int, step: int, *overrides: str
) -> Interrupted:
    with monkeypatch.context() as patch:
        stop_at(patch, level, step)
        with pytest.raises(Interrupted) as caught:
            tiny_run(folder, *overrides)
    return caught.value


@pytest.mark.slow
@pytest.mark.parametrize(
    ("level", "step", "overrides", "warning"),
    [
        (0, 5, ["steps=8"], ""),
        (0, 4, ["steps=8", "optimizer=adam", "resolution.averaging=0.9"], ""),
        (0, 5, PYRAMID, ""),  # at the end of the first level
        (1, 2, [*PYRAMID, "optimizer=adam", "resolution.averaging=0.9"], ""),
        (0, 3, ["steps=8", "optimizer=adam", "optimizer.milestones=[3,6]"], ""),
        (1, 2, [*PYRAMID, "optimizer=rmsprop", "resolution.averaging=0.9"], ""),
        (0, 5, [*PYRAMID, "optimizer=rmsprop", "optimizer.parametrization.kind=pixels"], ""),
        (1, 3, [*PYRAMID, "optimizer.parametrization.kind=laplacian"], ""),
        (1, 2, [*PYRAMID, LEVELS], ""),
        (0, 3, ["steps=6", "trainer.tile=32"], ""),
        (0, 3, REDRAW, ""),  # the next step has new directions
        (0, 5, REDRAW, ""),
        (0, 5, NEIGHBORS, ""),
        (0, 15, LINE_SEARCH_FAILS, "has not fallen since step 2 of 20"),
        (0, 6, DIVERGES, "diverged at step"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else str(value),
)
def test_stopped_and_resumed_gives_the_same_bytes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    level: int,
    step: int,
    overrides: list[str],
    warning: str,
) -> None:
    """And the same warnings, also those from before the stop."""
    whole = tiny_run(tmp_path / "whole", *overrides)
    assert any(warning in line for line in whole.record["warnings"]) == bool(warning)
    _stopped(monkeypatch, tmp_path / "stopped", level, step, *overrides)
    caplog.set_level("INFO", "nst_exp")
    resumed = tiny_run(tmp_path / "stopped", *overrides)
    assert any(line.startswith("resuming after step") for line in caplog.messages)
    assert np.array_equal(pixels(resumed.path), pixels(whole.path))
    assert resumed.losses == whole.losses  # to the last bit, unlike the 8-bit image
    assert resumed.record["step"] == whole.record["step"]
    assert resumed.record["warnings"] == whole.record["warnings"]


def test_a_large_state_of_the_optimizer_is_left_out_of_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state of L-BFGS after 4 steps has 6 images and more; 10 kB are less."""
    sizes = []
    for limit in ("null", "1e-5", "0"):
        settings = ["steps=8", f"trainer.checkpoint_gigabytes={limit}"]
        _stopped(monkeypatch, tmp_path / limit, 0, 4, *settings)
        sizes.append((tmp_path / limit / "last.ckpt").stat().st_size)
        resumed = tiny_run(tmp_path / limit, *settings).record
        warned = [line for line in resumed["warnings"] if "optimizer's state" in line]
        assert len(warned) == (0 if limit == "null" else 2)  # when it is written, and when read
        assert (resumed["status"], resumed["step"]) == ("done", 8)
    assert sizes[0] - sizes[1] > 6 * 48 * 32 * 12, sizes  # pairs of 3 steps, in float32
    assert sizes[1] == pytest.approx(sizes[2], rel=0.01)


def test_writing_checkpoints_takes_a_small_share_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 100_000, 10))
    monkeypatch.setattr("nst_exp.runner.resume.time.monotonic", lambda: float(next(clock)))
    checkpoints = Checkpoints(tmp_path / "x", 1.0, cast(Any, None), dict, at_start=False)
    assert checkpoints.pause == 60.0
    checkpoints.save(MagicMock())  # takes 10 seconds
    assert checkpoints.pause == 200.0


@pytest.mark.slow
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
    assert resumed.record["evaluations"] == whole.record["evaluations"]
    assert differences(result_of(folder), result_of(tmp_path / "whole")) == []


@pytest.mark.slow
def test_stopped_twice_and_then_a_damaged_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, folder = tiny_run(None, "steps=8"), tmp_path / "stopped"
    assert _stopped(monkeypatch, folder, 0, 2, "steps=8").exit_code == 130
    seconds, checkpoint = read_record(folder)["seconds"], folder / "last.ckpt"
    _stopped(monkeypatch, folder, 0, 5, "steps=8")
    assert read_record(folder)["seconds"] > seconds  # of both
    checkpoint.write_bytes(checkpoint.read_bytes()[: checkpoint.stat().st_size // 2])
    again = tiny_run(folder, "steps=8")
    assert again.losses == whole.losses
    (line,) = again.record["warnings"]
    assert line.startswith(f"{checkpoint}: cannot be read")
    assert line.endswith("the run starts again")


def test_without_a_folder_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    stop_at(monkeypatch, 0, 2)
    with pytest.raises(Interrupted, match=r"^stopped after step 2 of 5$"):
        tiny_run(None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("place", "name"),
    [(Recorder, "record_image"), (Recorder, "record_result"), (Record, "save")],
)
def test_a_run_that_ends_before_it_is_done_is_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Any, name: str
) -> None:
    """Its image is saved, but not everything else is recorded."""
    original = getattr(place, name)

    def crash_at_the_end(*arguments: Any) -> None:
        if name == "record_result" or arguments[-1] in (5, "done"):  # the last step or status
            raise RuntimeError("killed")
        original(*arguments)

    folder = tmp_path / "cut"
    with monkeypatch.context() as patch:
        patch.setattr(place, name, crash_at_the_end)
        with pytest.raises(RuntimeError, match="killed"):
            tiny_run(folder)
    tiny_run(folder)
    whole = tiny_run(tmp_path / "whole")
    assert differences(result_of(folder), result_of(tmp_path / "whole")) == []
    before = (folder / "result.json").stat().st_mtime_ns
    assert tiny_run(folder).losses == whole.losses  # and it is not repeated
    assert (folder / "result.json").stat().st_mtime_ns == before


def test_result_that_was_moved_away_is_not_called_done(tmp_path: Path) -> None:
    tiny_run(tmp_path, "steps=1").path.unlink()
    with pytest.raises(ConfigError, match=r"is done, but image\.png is missing; overwrite"):
        tiny_run(tmp_path, "steps=1")
