"""A run that was stopped goes on as if it had not been: the same bytes in the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_run import TINY, pixels, stop_at, tiny_run

from nst_exp.app.api import make_config
from nst_exp.runner.callbacks import Recorder
from nst_exp.runner.run import run
from nst_exp.utils.errors import Interrupted
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


@pytest.mark.parametrize(
    ("level", "step", "overrides"),
    [
        (0, 1, ["steps=8"]),  # before L-BFGS has a history
        (0, 5, ["steps=8"]),
        (0, 5, ["steps=8", "optimizer.parametrization.kind=pixels", "init=noise"]),
        (0, 5, ["steps=8", "optimizer.history=2"]),
        (0, 5, ["steps=8", "optimizer.line_search=none", "optimizer.lr=0.1"]),
        (0, 4, ["steps=8", "optimizer=adam"]),
        (0, 4, ["steps=8", "optimizer=adam", "resolution.averaging=0.9"]),
        (0, 4, ["steps=8", "resolution.averaging=0.9"]),
        (0, 5, PYRAMID),  # at the end of the first level
        (1, 2, PYRAMID),
        (1, 2, [*PYRAMID, "optimizer=adam"]),
        (1, 2, [*PYRAMID, "optimizer=adam", "resolution.averaging=0.9"]),
        # before, at and behind a milestone, and in a level that counts its steps anew
        (0, 2, ["steps=8", "optimizer=adam", "optimizer.milestones=[3,6]"]),
        (0, 3, ["steps=8", "optimizer=adam", "optimizer.milestones=[3,6]"]),
        (0, 5, ["steps=8", "optimizer=adam", "optimizer.milestones=[3,6]"]),
        (1, 2, [*PYRAMID, "optimizer=adam", "optimizer.milestones=[2,4]"]),
        (0, 4, ["steps=8", "trainer.precision=64-true"]),
        (0, 4, ["steps=8", "trainer.precision=bf16-mixed"]),
    ],
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
    assert resumed.losses == whole.losses  # to the last bit: stronger than the 8-bit picture
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
def test_what_went_wrong_before_the_stop_is_still_said_in_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int, overrides: list[str], line: str
) -> None:
    whole = tiny_run(tmp_path / "whole", *overrides).record["warnings"]
    assert sum(line in warning for warning in whole) == 1
    _stopped(monkeypatch, tmp_path / "stopped", 0, stop, *overrides)
    assert tiny_run(tmp_path / "stopped", *overrides).record["warnings"] == whole


def test_milestones_change_the_picture() -> None:
    """Else the cases above would show nothing of them."""
    plain = tiny_run(None, "steps=8", "optimizer=adam")
    shorter = tiny_run(None, "steps=8", "optimizer=adam", "optimizer.milestones=[3,6]")
    assert plain.losses != shorter.losses


def test_stop_leaves_picture_checkpoint_and_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = _stopped(monkeypatch, tmp_path, 1, 2, *PYRAMID)
    assert stop.exit_code == 130
    assert str(stop).startswith("stopped after step 7 of 10; the image so far is ")
    record = json.loads((tmp_path / "result.json").read_text())
    assert (record["status"], record["step"]) == ("interrupted", 7)
    assert pixels(tmp_path / "image.png").shape == (32, 48, 3)
    assert (tmp_path / "last.ckpt").is_file()


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
    words = [*TINY, *overrides]
    resumed = run(make_config(words), folder)
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
    _stopped(monkeypatch, folder, 0, 2, "steps=8")
    _stopped(monkeypatch, folder, 0, 5, "steps=8")
    assert tiny_run(folder, "steps=8").losses == whole.losses
    assert not (folder / "last.ckpt").exists()


def test_time_is_added_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _stopped(monkeypatch, tmp_path, 0, 3, "steps=8")
    before = json.loads((tmp_path / "result.json").read_text())["seconds"]
    assert tiny_run(tmp_path, "steps=8").record["seconds"] > before


def test_other_settings_do_not_go_on_from_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stopped(monkeypatch, tmp_path, 0, 3, "steps=8")
    changed = ["steps=8", "beta=1000", "overwrite=true"]
    fresh = tiny_run(tmp_path / "fresh", "steps=8", "beta=1000")
    assert tiny_run(tmp_path, *changed).losses == fresh.losses


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


@pytest.mark.parametrize("at", ["picture", "result_values"])
def test_what_comes_behind_the_end_is_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """A run that was killed when its picture was saved, but not yet recorded everywhere."""
    tiny_run(tmp_path / "whole")

    def killed(*arguments: Any, **more: Any) -> None:
        raise RuntimeError("killed")

    picture = Recorder.record_image

    def at_the_end(self: Recorder, image: Any, step: int) -> None:
        if step == 5:
            killed()
        picture(self, image, step)

    folder = tmp_path / "cut"
    with monkeypatch.context() as patch:
        if at == "picture":
            patch.setattr(Recorder, "record_image", at_the_end)
        else:
            patch.setattr("nst_exp.runner.run.result_values", killed)
        with pytest.raises(RuntimeError, match="killed"):
            tiny_run(folder)
    assert differences(result_of(folder), result_of(tmp_path / "whole")) != []
    for _ in range(2):  # and not a third time
        tiny_run(folder)
        assert differences(result_of(folder), result_of(tmp_path / "whole")) == []
