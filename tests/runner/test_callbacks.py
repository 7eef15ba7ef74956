"""What TensorBoard, losses.csv and the snapshots hold after a run, read back from the files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers_run import TINY, pixels, stop_at, tiny_run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from nst_exp.app.api import make_config
from nst_exp.config.pyramid import Level
from nst_exp.results.losses_csv import read_losses
from nst_exp.runner.callbacks import Progress
from nst_exp.runner.logger import _hyperparameters
from nst_exp.utils.errors import Interrupted


def read(folder: Path) -> EventAccumulator:
    """Read every point in the folder's event files, without those that were purged."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    events.Reload()
    return events


def steps(folder: Path, tag: str = "loss/total") -> list[int]:
    return [point.step for point in read(folder).Scalars(tag)]


def image_steps(folder: Path) -> list[int]:
    return sorted({point.step for point in read(folder).Images("image")})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of five steps with an image after every second."""
    folder = tmp_path_factory.mktemp("run")
    tiny_run(folder, "logging.image_every=2")
    return folder


def test_one_point_for_every_step(folder: Path) -> None:
    assert len(list(folder.glob("events.out.tfevents.*"))) == 1
    losses = json.loads((folder / "result.json").read_text())["losses"]
    for name in [*(f"loss/{key}" for key in losses), "progress/evaluations", "progress/size"]:
        assert steps(folder, name) == [1, 2, 3, 4, 5], name
    totals = [point.value for point in read(folder).Scalars("loss/total")]
    assert totals[-1] < totals[0]


def test_losses_of_the_saved_image_are_those_of_the_record(folder: Path) -> None:
    losses = json.loads((folder / "result.json").read_text())["losses"]
    for name in ("total", "content", "style", "tv"):
        (*_, last) = read(folder).Scalars(f"saved/{name}")
        assert last.value == pytest.approx(losses[name], rel=1e-6)


def test_losses_are_in_a_table_too(folder: Path) -> None:
    rows = read_losses(folder / "losses.csv")
    assert [row[0] for row in rows] == [1, 2, 3, 4, 5]
    tags = ("progress/evaluations", "loss/total", "loss/content", "loss/style", "loss/tv")
    for place, tag in enumerate(tags, start=1):
        # Nine digits are exact for float32, which is what the event file has.
        values = [point.value for point in read(folder).Scalars(tag)]
        assert [np.float32(row[place]) for row in rows] == values, tag


def test_images_at_the_start_when_due_and_at_the_end(folder: Path, tmp_path: Path) -> None:
    assert image_steps(folder) == [0, 2, 4, 5]
    snapshots = sorted((folder / "snapshots").iterdir())
    assert [path.name for path in snapshots] == [f"step_{step:06d}.png" for step in (0, 2, 4, 5)]
    assert np.array_equal(pixels(snapshots[-1]), pixels(folder / "image.png"))
    assert not np.array_equal(pixels(snapshots[0]), pixels(folder / "image.png"))
    tiny_run(tmp_path, "steps=4", "logging.image_every=2")  # due at the last step
    assert [point.step for point in read(tmp_path).Images("image")] == [0, 2, 4]


def test_settings_are_text_and_hyperparameters(folder: Path) -> None:
    events = read(folder)
    text = events.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "name: squeezenet1_1" in text
    assert len(events.PluginTagToContent("hparams")) == 3  # experiment, start and end
    # TensorBoard shows the first few, in alphabetical order.
    shown = _hyperparameters(make_config([*TINY, "backbone.pool=average", "init=noise"]))
    assert sorted(shown)[:4] == ["alpha", "backbone.name", "backbone.pool", "backbone.weights"]
    assert {"beta", "content", "init.kind", "size", "steps", "style"} <= set(shown)
    assert shown["backbone.pool"] == "average"
    assert not {"backbone.sources", "background", "logging.every", "out"} & set(shown)


def test_only_what_is_asked_for_is_recorded(tmp_path: Path) -> None:
    tiny_run(tmp_path / "table", "logging.tensorboard=false", "logging.every=2")
    assert [row[0] for row in read_losses(tmp_path / "table" / "losses.csv")] == [2, 4]
    assert not list((tmp_path / "table").glob("events*"))
    tiny_run(tmp_path / "no-images", "logging.image_every=0")
    assert steps(tmp_path / "no-images") == [1, 2, 3, 4, 5]
    assert not (tmp_path / "no-images" / "snapshots").exists()
    tiny_run(tmp_path / "none", "logging=none", "logging.progress=false")
    names = sorted(path.name for path in (tmp_path / "none").iterdir())
    assert names == [".lock", "image.png", "result.json"]


def test_steps_of_a_pyramid_continue_from_level_to_level(tmp_path: Path) -> None:
    pyramid = ["resolution.pyramid=true", "resolution.sizes=[24,48]", "logging.image_every=1"]
    tiny_run(tmp_path, *pyramid)
    assert steps(tmp_path) == [1, 2, 3, 4, 5]
    sizes = [int(point.value) for point in read(tmp_path).Scalars("progress/size")]
    assert sizes == [24, 24, 48, 48, 48]
    assert len(list(tmp_path.glob("events.out.tfevents.*"))) == 1
    for step, size in enumerate(sizes, start=1):
        assert pixels(tmp_path / f"snapshots/step_{step:06d}.png").shape[1] == size


@pytest.mark.parametrize("killed", [False, True])
def test_resumed_run_has_no_step_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    """A run that was killed may have left no checkpoint, and steps after its checkpoint."""
    settings = ["steps=8", "logging.image_every=1"]
    with monkeypatch.context() as patch:
        stop_at(patch, level=0, step=3)
        with pytest.raises(Interrupted):
            tiny_run(tmp_path, *settings)
    before = read_losses(tmp_path / "losses.csv")
    if killed:
        (tmp_path / "last.ckpt").unlink()
    with open(tmp_path / "losses.csv", "a") as stream:
        stream.write("4,5,1,1,1,1\n5,6,0.1,0.2")
    tiny_run(tmp_path, *settings)
    rows = read_losses(tmp_path / "losses.csv")
    assert [row[0] for row in rows] == steps(tmp_path) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert rows[:3] == before
    assert rows[3][2:] != (1, 1, 1, 1)
    assert image_steps(tmp_path) == list(range(9))


def test_losses_of_an_earlier_run_do_not_stay(tmp_path: Path) -> None:
    tiny_run(tmp_path)
    tiny_run(tmp_path, "overwrite=true", "steps=2")
    assert len(read_losses(tmp_path / "losses.csv")) == 2
    tiny_run(tmp_path, "overwrite=true", "steps=3", "logging=none", "logging.progress=false")
    assert not (tmp_path / "losses.csv").exists()


def test_progress_counts_pixels_times_steps(capsys: pytest.CaptureFixture[str]) -> None:
    bar = Progress([Level(0, 32, 4, 0), Level(1, 64, 2, 4)], [1000, 4000], done=0, enabled=False)
    assert [bar.work(step) for step in (0, 4, 5, 6)] == [0, 4000, 8000, 12000]
    tiny_run(None, "logging.progress=true")
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.strip().startswith("100%")
    assert " 5/5 [" in last
    assert "content" in last
