"""What TensorBoard, losses.csv and the snapshots hold after a run, read back from the files."""

import re
import time
from pathlib import Path

import numpy as np
import pytest
from helpers_run import TINY, pixels, stop_at, tiny_run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout

from nst_exp.app.api import make_config
from nst_exp.results.losses_csv import read_losses
from nst_exp.results.record import read_record
from nst_exp.runner.loggers import hyperparameters
from nst_exp.runner.result import Result
from nst_exp.utils.errors import Interrupted


def read(folder: Path) -> EventAccumulator:
    """Read every point in the folder's event files, without those that were purged."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    events.Reload()
    return events


def steps(folder: Path) -> list[int]:
    return [point.step for point in read(folder).Scalars("loss/total")]


def image_steps(folder: Path) -> list[int]:
    return sorted({point.step for point in read(folder).Images("image")})


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A run of five steps with an image after every second."""
    return tiny_run(tmp_path_factory.mktemp("run"), "logging.image_every=2")


@pytest.fixture(scope="module")
def folder(done: Result) -> Path:
    assert done.folder is not None
    return done.folder


def test_one_point_for_every_step_and_one_of_the_saved_image(done: Result, folder: Path) -> None:
    assert len(list(folder.glob("events.out.tfevents.*"))) == 1
    events, rows = read(folder), read_losses(folder / "losses.csv")
    tags = [*(f"loss/{key}" for key in done.losses), "progress/evaluations", "progress/size"]
    for tag in tags:
        assert [point.step for point in events.Scalars(tag)] == [1, 2, 3, 4, 5], tag
    assert [row[0] for row in rows] == [1, 2, 3, 4, 5]
    tags = ["progress/evaluations", "loss/total", "loss/content", "loss/style", "loss/tv"]
    for place, tag in enumerate(tags, start=1):
        # Nine digits are exact for float32, which is what the event file has.
        values = [point.value for point in events.Scalars(tag)]
        assert [np.float32(row[place]) for row in rows] == values, tag
    for name in ("total", "content", "style", "tv"):
        (point,) = events.Scalars(f"saved/{name}")
        assert point.value == pytest.approx(done.losses[name], rel=1e-6)


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
    shown = hyperparameters(make_config([*TINY, "backbone.pool=average", "init=noise"]), {})
    assert sorted(shown)[:4] == ["alpha", "backbone.name", "backbone.pool", "backbone.weights"]
    assert {"beta", "content", "init.kind", "size", "steps", "style"} <= set(shown)
    assert not {"backbone.sources", "background", "logging.every", "out"} & set(shown)
    varied = {"loss": "paper_code", "loss.tv.weight": "0"}  # a preset, and a default
    shown = hyperparameters(make_config(["loss=paper_code", "loss.tv.weight=0"]), varied)
    assert (shown["loss"], shown["loss.tv.weight"]) == ("paper_code", 0)


def test_content_and_style_are_images_and_charts_show_three_sums(folder: Path) -> None:
    events = read(folder)
    for name in ("content", "style"):
        (shown,) = events.Images(f"inputs/{name}")
        assert shown.step == 0
        assert shown.width > 100
    (layout,) = events.Tensors("custom_scalars__config__")
    charts = Layout.FromString(layout.tensor_proto.string_val[0]).category[0].chart
    tags = [f"loss/{key}" for key in (*read_record(folder)["losses"], "content/relu4_2")]
    for chart in charts:
        (pattern,) = chart.multiline.tag
        assert [tag for tag in tags if re.match(pattern, tag)] == [f"loss/{chart.title}"]
    assert [chart.title for chart in charts] == ["total", "content", "style"]


def test_only_what_is_asked_for_is_recorded_also_the_second_time(tmp_path: Path) -> None:
    tiny_run(tmp_path, "logging.loggers=[]", "logging.every=2")
    assert [row[0] for row in read_losses(tmp_path / "losses.csv")] == [2, 4]
    assert not list(tmp_path.glob("events*"))
    tiny_run(tmp_path, "overwrite=true", "steps=3", "logging.image_every=0")
    assert steps(tmp_path) == [row[0] for row in read_losses(tmp_path / "losses.csv")] == [1, 2, 3]
    assert not (tmp_path / "snapshots").exists()
    tiny_run(tmp_path, "overwrite=true", "logging=none", "logging.progress=false")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [".lock", "image.png", "last.ckpt", "result.json"]


def test_steps_of_a_pyramid_continue_from_level_to_level(tmp_path: Path) -> None:
    pyramid = ["resolution.pyramid=true", "resolution.sizes=[24,48]", "logging.image_every=1"]
    tiny_run(tmp_path, *pyramid)
    assert steps(tmp_path) == [1, 2, 3, 4, 5]
    sizes = [int(point.value) for point in read(tmp_path).Scalars("progress/size")]
    assert sizes == [24, 24, 48, 48, 48]
    assert len(list(tmp_path.glob("events.out.tfevents.*"))) == 1
    for step, size in enumerate(sizes, start=1):
        assert pixels(tmp_path / f"snapshots/step_{step:06d}.png").shape[1] == size


def test_large_images_are_reduced_in_the_log_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nst_exp.runner.callbacks.LARGEST_IMAGE", 24)
    result = tiny_run(tmp_path, "logging.image_every=2")
    assert result.image.size == (48, 32)
    images = [read(tmp_path).Images("image")[-1], *(tmp_path / "snapshots").iterdir()]
    assert len(images) == 5
    shown = pixels(tmp_path / "snapshots" / "step_000005.png")
    assert (images[0].width, images[0].height) == shown.shape[1::-1] == (24, 16)
    means = np.asarray(result.image, dtype=float).reshape(16, 2, 24, 2, 3).mean((1, 3))
    assert np.abs(shown - means).max() <= 1.0  # both are rounded to 8 bits


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
    snapshot = (tmp_path / "snapshots/step_000003.png").read_bytes()
    assert (tmp_path / "latest.png").read_bytes() == snapshot
    before = read_losses(tmp_path / "losses.csv")
    if killed:
        (tmp_path / "last.ckpt").unlink()
    with open(tmp_path / "losses.csv", "a") as stream:
        stream.write("4,5,1,1,1,1\n5,6,0.1,0.2")
    time.sleep(1 - time.time() % 1)  # TensorBoard reads its files in the order of their seconds
    tiny_run(tmp_path, *settings)
    rows = read_losses(tmp_path / "losses.csv")
    assert [row[0] for row in rows] == steps(tmp_path) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert rows[:3] == before
    assert rows[3][2:] != (1, 1, 1, 1)
    assert image_steps(tmp_path) == list(range(9))
    assert not (tmp_path / "latest.png").exists()
