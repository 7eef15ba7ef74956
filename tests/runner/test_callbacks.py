"""What TensorBoard and the snapshots hold after a run, read back from the files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers_run import TINY, picture, pixels, stop_at, tiny_run
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from nst_exp.app.api import make_config
from nst_exp.config.pyramid import Level
from nst_exp.results.losses_csv import LossFile, read_losses
from nst_exp.runner.callbacks import Progress
from nst_exp.runner.logger import _hyperparameters
from nst_exp.utils.errors import Interrupted, OutputError

ALL = {"scalars": 0, "images": 0, "tensors": 0}  # 0: every point, not a sample


def read(folder: Path) -> EventAccumulator:
    """Everything in the folder's event files, what was taken back left out."""
    events = EventAccumulator(str(folder), size_guidance=ALL)
    events.Reload()
    return events


def steps(folder: Path, tag: str) -> list[int]:
    """The steps of a curve."""
    return [point.step for point in read(folder).Scalars(tag)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of five steps with a picture after every second."""
    folder = tmp_path_factory.mktemp("run")
    tiny_run(folder, "logging.image_every=2")
    return folder


def test_there_is_one_event_file(folder: Path) -> None:
    assert len(list(folder.glob("events.out.tfevents.*"))) == 1


def test_one_point_for_every_step(folder: Path) -> None:
    losses = json.loads((folder / "result.json").read_text())["losses"]
    for name in [*(f"loss/{key}" for key in losses), "progress/evaluations", "progress/size"]:
        assert steps(folder, name) == [1, 2, 3, 4, 5], name


def test_losses_of_the_saved_picture_are_those_of_the_record(folder: Path) -> None:
    losses = json.loads((folder / "result.json").read_text())["losses"]
    events = read(folder)
    for name in ("total", "content", "style", "tv"):
        assert events.Scalars(f"saved/{name}")[-1].value == pytest.approx(losses[name], rel=1e-6)


def test_curves_go_down_and_evaluations_up(folder: Path) -> None:
    events = read(folder)
    totals = [point.value for point in events.Scalars("loss/total")]
    assert totals[-1] < totals[0]
    evaluations = [point.value for point in events.Scalars("progress/evaluations")]
    assert evaluations == sorted(evaluations)
    record = json.loads((folder / "result.json").read_text())
    assert evaluations[-1] <= record["evaluations"]


def test_pictures_at_the_start_then_when_due_and_at_the_end(folder: Path) -> None:
    assert [point.step for point in read(folder).Images("image")] == [0, 2, 4, 5]
    names = sorted(path.name for path in (folder / "snapshots").iterdir())
    assert names == [f"step_{step:06d}.png" for step in (0, 2, 4, 5)]


def test_picture_that_is_due_at_the_last_step_is_recorded_once(tmp_path: Path) -> None:
    tiny_run(tmp_path, "steps=4", "logging.image_every=2")
    assert [point.step for point in read(tmp_path).Images("image")] == [0, 2, 4]


def test_last_snapshot_is_the_result_and_the_first_the_start(folder: Path) -> None:
    assert np.array_equal(
        pixels(folder / "snapshots/step_000005.png"), pixels(folder / "image.png")
    )
    start = pixels(folder / "snapshots/step_000000.png")
    assert start.shape == pixels(folder / "image.png").shape
    assert not np.array_equal(start, pixels(folder / "image.png"))


def test_settings_are_there_as_text_and_hyperparameters(folder: Path) -> None:
    events = read(folder)
    text = events.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "name: squeezenet1_1" in text
    entries = events.PluginTagToContent("hparams")
    assert len(entries) == 3  # experiment, start and end
    assert any(b"backbone.name" in content for content in entries.values())


def test_hyperparameters_are_the_usual_keys_and_what_was_changed() -> None:
    """TensorBoard shows the first few, in the order of the alphabet."""
    shown = _hyperparameters(make_config([*TINY, "backbone.pool=average", "init=noise"]))
    assert sorted(shown)[:4] == ["alpha", "backbone.name", "backbone.pool", "backbone.weights"]
    assert {"beta", "content", "init.kind", "size", "steps", "style"} <= set(shown)
    assert shown["backbone.pool"] == "average"
    assert not {"backbone.sources", "background", "logging.every", "out"} & set(shown)


def test_every_second_step(tmp_path: Path) -> None:
    tiny_run(tmp_path, "logging.every=2")
    assert steps(tmp_path, "loss/total") == [2, 4]


def test_logging_none_leaves_the_result_alone(tmp_path: Path) -> None:
    tiny_run(tmp_path, "logging=none", "logging.progress=false")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [".lock", "image.png", "result.json"]


def test_no_pictures_on_the_way(tmp_path: Path) -> None:
    tiny_run(tmp_path, "logging.image_every=0")
    assert steps(tmp_path, "loss/total") == [1, 2, 3, 4, 5]
    assert (tmp_path / "image.png").is_file()


def test_steps_of_a_pyramid_go_on_from_level_to_level(tmp_path: Path) -> None:
    tiny_run(tmp_path, "resolution.pyramid=true", "resolution.sizes=[32,48]")
    assert steps(tmp_path, "loss/total") == [1, 2, 3, 4, 5]
    sizes = [point.value for point in read(tmp_path).Scalars("progress/size")]
    assert sizes == [32, 32, 48, 48, 48]
    assert len(list(tmp_path.glob("events.out.tfevents.*"))) == 1


def test_resumed_run_has_no_step_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ["steps=8", "logging.image_every=1"]
    with monkeypatch.context() as patch:
        stop_at(patch, level=0, step=3)
        with pytest.raises(Interrupted):
            tiny_run(tmp_path, *settings)
    tiny_run(tmp_path, *settings)
    assert steps(tmp_path, "loss/total") == [1, 2, 3, 4, 5, 6, 7, 8]
    images = [point.step for point in read(tmp_path).Images("image")]
    assert sorted(set(images)) == list(range(9))


def test_run_that_left_no_checkpoint_has_no_step_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a kill in the first minutes."""
    with monkeypatch.context() as patch:
        stop_at(patch, level=0, step=3)
        with pytest.raises(Interrupted):
            tiny_run(tmp_path)
    (tmp_path / "last.ckpt").unlink()
    tiny_run(tmp_path)
    assert steps(tmp_path, "loss/total") == [1, 2, 3, 4, 5]


def test_losses_are_in_a_table_too(folder: Path) -> None:
    rows = read_losses(folder / "losses.csv")
    assert [row[0] for row in rows] == [1, 2, 3, 4, 5]
    events = read(folder)
    for place, tag in enumerate(
        ("progress/evaluations", "loss/total", "loss/content", "loss/style", "loss/tv"), start=1
    ):
        # Nine digits are exact for float32, which is what the event file has.
        values = [point.value for point in events.Scalars(tag)]
        assert [np.float32(row[place]) for row in rows] == values, tag


def test_losses_do_not_need_tensorboard(tmp_path: Path) -> None:
    tiny_run(tmp_path, "logging.tensorboard=false", "logging.every=2")
    assert [row[0] for row in read_losses(tmp_path / "losses.csv")] == [2, 4]


def test_losses_of_a_resumed_run_have_no_step_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_at(patch, level=0, step=3)
        with pytest.raises(Interrupted):
            tiny_run(tmp_path, "steps=8")
    path = tmp_path / "losses.csv"
    before = read_losses(path)
    with open(path, "a") as stream:
        stream.write("4,5,1,1,1,1\n5,6,0.1,0.2")  # as after a kill, behind the last checkpoint
    tiny_run(tmp_path, "steps=8")
    rows = read_losses(path)
    assert [row[0] for row in rows] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert rows[:3] == before
    assert rows[3][2:] != (1, 1, 1, 1)


def test_losses_of_another_run_do_not_stay(tmp_path: Path) -> None:
    tiny_run(tmp_path)
    tiny_run(tmp_path, "overwrite=true", "steps=2")
    assert len(read_losses(tmp_path / "losses.csv")) == 2
    tiny_run(tmp_path, "overwrite=true", "steps=3", "logging=none", "logging.progress=false")
    assert not (tmp_path / "losses.csv").exists()


def test_losses_that_cannot_be_written_are_an_error(tmp_path: Path) -> None:
    losses = LossFile(tmp_path / "gone" / "losses.csv")
    row = dict.fromkeys(("total", "content", "style", "tv"), 1.0)
    with pytest.raises(OutputError, match=r"losses\.csv: cannot be written"):
        losses.append(1, 1, row)


def test_progress_counts_pixels_not_steps() -> None:
    levels = [Level(0, 32, 4, 0), Level(1, 64, 2, 4)]
    bar = Progress(levels, [1000, 4000], done=0, enabled=False)
    assert [bar._work(step) for step in (0, 4, 5, 6)] == [0, 4000, 8000, 12000]


def test_snapshots_are_pictures_of_the_level(tmp_path: Path) -> None:
    content = picture(tmp_path / "c.png", (60, 30))
    overrides = ["resolution.pyramid=true", "resolution.sizes=[24,48]", "logging.image_every=1"]
    tiny_run(tmp_path / "run", f"content={content}", *overrides)
    with Image.open(tmp_path / "run/snapshots/step_000001.png") as image:
        assert image.size == (24, 12)
    with Image.open(tmp_path / "run/snapshots/step_000004.png") as image:
        assert image.size == (48, 24)
