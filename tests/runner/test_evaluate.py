"""The metrics of a run: what is measured, what is left out with a warning, and the record."""

from __future__ import annotations

import json
import logging
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_run import TINY, pixels, tiny_run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from nst_exp.app.api import make_config
from nst_exp.config import schema
from nst_exp.core import metrics
from nst_exp.core.encoder import build_encoder
from nst_exp.images import load_image
from nst_exp.images.tensors import to_tensor
from nst_exp.results.record import Record
from nst_exp.runner import evaluate as evaluation
from nst_exp.runner import network
from nst_exp.runner.evaluate import NAMES, evaluate
from nst_exp.runner.inputs import load_inputs
from nst_exp.runner.network import Network, make_network, reference_network
from nst_exp.utils.errors import WeightsError

Measure = Callable[..., tuple[dict[str, float], list[str]]]
CPU = torch.device("cpu")
ON = "logging.metrics=true"
PIXELS = {"ssim", "color_distance", "total_variation", "sharpness"}
DISTANCES = {"content_distance", "style_distance"}
MEMORY = {"peak_memory_mb"} if sys.platform != "win32" else set()


@pytest.fixture
def small_network() -> Network:
    """A reference network of random weights, which needs no download."""
    settings = schema.Backbone(name="squeezenet1_1", input=schema.InputConvention.caffe)
    content, style = ["fire2"], ["relu1", "fire3", "fire4"]
    loss = schema.Loss()
    loss.content.layers, loss.style.layers = content, style
    return Network(build_encoder(settings, content + style, None), settings, loss, "test")


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch, small_network: Network) -> Network:
    """The same, standing where the real one would."""
    monkeypatch.setattr(evaluation, "reference_network", lambda settings: small_network)
    return small_network


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """As without network; the list gets an entry for every attempt to load weights."""
    tried: list[str] = []

    def refuse(settings: schema.Backbone) -> None:
        tried.append(settings.name)
        raise WeightsError(
            "backbone.name=vgg16: its weights are not available:\n  wheel a==1: no network\n"
            "What to do:\n  fetch them elsewhere"
        )

    monkeypatch.setattr(network, "load_weights", refuse)
    return tried


@pytest.fixture
def measured(caplog: pytest.LogCaptureFixture) -> Measure:
    """The metrics of image, content and style, and the warnings."""
    reference = make_config().reference

    def measure(*images: Tensor) -> tuple[dict[str, float], list[str]]:
        caplog.clear()
        with caplog.at_level(logging.WARNING, "nst_exp"):
            found = evaluate(*images, CPU, reference)
        return found, [record.getMessage() for record in caplog.records]

    return measure


# All of them


def test_content_as_the_result(
    reference: Network, random_image: Callable[..., Tensor], measured: Measure
) -> None:
    content, style = random_image(40, 48, seed=1), random_image(32, 40, seed=2)
    found, warnings = measured(content.clone(), content, style)
    assert warnings == []
    assert found.keys() == PIXELS | DISTANCES | MEMORY
    assert found["content_distance"] == 0.0
    assert found["ssim"] == pytest.approx(1.0, abs=1e-6)  # float32
    assert found["style_distance"] > 0.0
    assert found["color_distance"] > 0.0


def test_style_as_the_result(
    reference: Network, random_image: Callable[..., Tensor], measured: Measure
) -> None:
    content, style = random_image(40, 48, seed=1), random_image(40, 48, seed=2)
    found, _ = measured(style.clone(), content, style)
    assert found["style_distance"] == 0.0
    assert found["color_distance"] == 0.0
    assert found["content_distance"] > 0.0
    assert found["ssim"] < 0.5


def test_small_images_leave_out_what_is_not_available(
    reference: Network, random_image: Callable[..., Tensor], measured: Measure
) -> None:
    found, warnings = measured(*(random_image(8, 8, seed=seed) for seed in range(3)))
    assert found.keys() >= PIXELS
    assert all(math.isfinite(value) for value in found.values())
    assert "metrics: ssim has a window of 7x7, not 11x11: 8x8 pixels" in warnings

    found, warnings = measured(*(random_image(2, 9, seed=seed) for seed in range(3)))
    assert found.keys() == {"color_distance", "total_variation"} | MEMORY
    text = "\n".join(warnings)
    assert "ssim left out: ValueError: 9x2 pixels" in text
    assert "sharpness left out: ValueError: 9x2 pixels" in text
    assert "content_distance and style_distance left out: image: 9x2 pixels are too few" in text


def test_a_small_style_image_leaves_out_only_the_style_distance(
    reference: Network, random_image: Callable[..., Tensor], measured: Measure
) -> None:
    found, warnings = measured(random_image(32, 32), random_image(32, 32, 1), random_image(2, 2))
    assert "content_distance" in found
    assert "style_distance" not in found
    assert [w.partition(" pixels")[0] for w in warnings] == [
        "metrics: style_distance left out: style: 2x2"
    ]


def test_number_that_is_not_finite_is_left_out(
    reference: Network,
    random_image: Callable[..., Tensor],
    monkeypatch: pytest.MonkeyPatch,
    measured: Measure,
) -> None:
    monkeypatch.setattr(metrics, "sharpness", lambda image: math.nan)
    found, warnings = measured(*(random_image(32, 32, seed) for seed in range(3)))
    assert "sharpness" not in found
    assert len(warnings) == 1
    assert warnings[0].startswith("metrics: sharpness left out: it is nan; ")


def test_missing_weights_leave_out_the_distances_and_say_why(
    no_weights: list[str], random_image: Callable[..., Tensor], measured: Measure
) -> None:
    images = [random_image(32, 32, seed) for seed in range(3)]
    found, warnings = measured(images[0], images[1], images[2])
    assert found.keys() == PIXELS | MEMORY
    assert warnings == [
        "metrics: content_distance and style_distance left out: backbone.name=vgg16: its weights "
        "are not available: wheel a==1: no network; logging.metrics=false switches them off",
    ]
    # The next run of a sweep says it too, but does not wait for the network again.
    _, again = measured(images[0], images[1], images[2])
    assert again == warnings
    assert no_weights == ["vgg16"]


@pytest.mark.slow
@pytest.mark.network
def test_reference_is_oxfords_vgg16_and_shared_with_runs_of_it(
    tmp_path: Path, measured: Measure
) -> None:
    settings = make_config().reference
    found = reference_network(settings)
    assert found.loss.content.layers == ["relu4_2"]
    assert found.loss.style.layers == [f"relu{k}_1" for k in range(1, 6)]
    assert (found.settings.name, len(found.settings.sources)) == ("vgg16", 1)
    assert reference_network(settings).encoder is found.encoder

    config = make_config(["size=48", "content=chelsea"])
    inputs = load_inputs(config)
    used = make_network(config, inputs, Record(None, config))
    assert used.encoder is found.encoder
    content, style, _ = inputs.tensors(config.size)
    kept = used.maps(content, config.backbone.content_layers, "content")
    assert found.maps(content, found.loss.content.layers, "content") is kept

    values, warnings = measured(content, content, style)
    assert warnings == []
    assert values["content_distance"] == 0.0
    assert 0.01 < values["style_distance"] < 100.0
    assert measured(content, content, content)[0]["style_distance"] == 0.0


@pytest.mark.slow
@pytest.mark.network
def test_images_too_small_for_the_reference(
    random_image: Callable[..., Tensor], measured: Measure
) -> None:
    found, warnings = measured(*(random_image(8, 8, seed) for seed in range(3)))
    assert found.keys() == PIXELS | MEMORY
    assert "image: 8x8 pixels are too few for these layers, which need 16" in warnings[0]


# Memory


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere getrusage is all")
def test_peak_memory_is_that_of_the_process() -> None:
    """In a process of its own, which has had no more than it has, but for its imports."""
    code = (
        "from nst_exp.runner.evaluate import peak_memory_mb as peak\n"
        "import numpy\n"
        "before = peak()\n"
        "block = numpy.ones(600_000_000, dtype=numpy.uint8)\n"
        "del block\n"
        "print(before, peak())\n"
    )
    large = np.ones(700_000_000, dtype=np.uint8)  # of this process, and no matter to the other
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    before, after = map(float, done.stdout.split())
    assert large[-1] == 1
    assert 50 < before < after  # torch alone takes more than 50 MB
    # Memory that the imports gave back may be used again, and the pages are counted in batches.
    assert 500 < after - before < 610


# In a run


def test_run_writes_them_to_record_and_tensorboard(reference: Network, tmp_path: Path) -> None:
    result = tiny_run(tmp_path, ON)
    found = result.record["metrics"]
    assert json.loads((tmp_path / "result.json").read_text())["metrics"] == found
    assert found.keys() == PIXELS | DISTANCES | MEMORY
    assert result.record["warnings"] == []
    events = EventAccumulator(str(tmp_path), {"scalars": 0}).Reload()
    for name, value in found.items():
        last = events.Scalars(f"metrics/{name}")[-1]
        assert last.step == 5
        assert last.value == pytest.approx(value, rel=1e-6)
    hyperparameters = str(events.PluginTagToContent("hparams"))
    assert all(f"metrics/{name}" in hyperparameters for name in found)
    assert "saved/total" in hyperparameters


def test_metrics_are_those_of_the_saved_image(
    reference: Network, tmp_path: Path, measured: Measure
) -> None:
    result = tiny_run(tmp_path, ON, "resolution.style_size=64")
    config = make_config([*TINY, "resolution.style_size=64"])
    content, style, _ = load_inputs(config).tensors(config.size)
    assert max(style.shape[2:]) == 64
    saved = to_tensor(load_image(result.path, key="test").image, None)
    again, _ = measured(saved, content, style)
    for name in PIXELS | DISTANCES:
        assert result.record["metrics"][name] == pytest.approx(again[name], rel=1e-5), name


def test_they_do_not_depend_on_loss_or_network(reference: Network) -> None:
    """Steps too short to change a pixel: the image is the content in every run."""
    still = [ON, "optimizer=adam", "optimizer.lr=1e-9", "steps=1"]
    runs = [
        tiny_run(None, *still, *settings)
        for settings in (["loss=default"], ["loss=cs231n", "beta=7"], ["backbone.pool=average"])
    ]
    images = [np.asarray(result.image) for result in runs]
    assert all(np.array_equal(images[0], image) for image in images)
    assert runs[0].losses["style"] != runs[1].losses["style"]
    values = [
        {name: result.record["metrics"][name] for name in PIXELS | DISTANCES} for result in runs
    ]
    assert values[0] == values[1] == values[2]


def test_switched_off_they_need_no_weights(no_weights: list[str], tmp_path: Path) -> None:
    result = tiny_run(tmp_path)
    assert result.record["metrics"] == {}
    events = EventAccumulator(str(tmp_path)).Reload()
    assert not [tag for tag in events.Tags()["scalars"] if tag.startswith("metrics/")]
    assert no_weights == []


def test_a_run_without_the_weights_keeps_image_and_other_metrics(
    no_weights: list[str], tmp_path: Path
) -> None:
    result = tiny_run(tmp_path, ON)
    assert result.record["status"] == "done"
    assert result.record["metrics"].keys() == PIXELS | MEMORY
    assert any("style_distance left out" in line for line in result.record["warnings"])


def test_the_image_is_saved_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a person stops a download that takes too long."""

    def interrupted(*_: object) -> dict[str, float]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("nst_exp.runner.run.evaluate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            tiny_run(tmp_path, ON)
    saved = pixels(tmp_path / "image.png")
    assert json.loads((tmp_path / "result.json").read_text())["status"] != "done"
    assert tiny_run(tmp_path).record["status"] == "done"
    np.testing.assert_array_equal(pixels(tmp_path / "image.png"), saved)


def test_every_metric_is_documented() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/metrics.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in page for name in NAMES)
