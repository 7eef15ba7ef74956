"""The metrics of a run: what is measured, what is left out with a warning, and the record."""

import json
import logging
import math
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
from nst_exp.core.encoder import build_encoder
from nst_exp.images import load_image, read_metadata
from nst_exp.images.tensors import to_tensor
from nst_exp.report.tensorboard_summary import METRIC_TAGS
from nst_exp.results.record import Record
from nst_exp.runner import network
from nst_exp.runner.evaluate import evaluate
from nst_exp.runner.inputs import load_inputs
from nst_exp.runner.network import Network, make_network, reference_network
from nst_exp.utils.errors import WeightsError

MakeImage = Callable[..., Tensor]
Measure = Callable[..., tuple[dict[str, float], list[str]]]
ON = "logging.metrics=true"
PIXELS = {"ssim", "color_distance", "total_variation", "sharpness"}
DISTANCES = {"content_distance", "style_distance"}
MEMORY = {"peak_memory_mb"}


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reference network of random weights, which needs no download."""
    settings = schema.Backbone(name="squeezenet1_1", input=schema.InputConvention.caffe)
    loss = schema.Loss()
    loss.content.layers, loss.style.layers = ["fire2"], ["relu1", "fire3", "fire4"]
    encoder = build_encoder(settings, ["fire2", *loss.style.layers], None)
    small = Network(encoder, settings, loss, "test")
    monkeypatch.setattr("nst_exp.runner.evaluate.reference_network", lambda settings: small)


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
    settings = make_config().reference

    def measure(*images: Tensor) -> tuple[dict[str, float], list[str]]:
        caplog.clear()
        with caplog.at_level(logging.WARNING, "nst_exp"):
            image, content, *styles = images
            shares = [(1 / len(styles), style) for style in styles]
            found = evaluate(image, content, shares, torch.device("cpu"), settings)
        return found, [record.getMessage() for record in caplog.records]

    return measure


@pytest.mark.usefixtures("reference")
def test_content_and_style_as_the_result(random_image: MakeImage, measured: Measure) -> None:
    content, style = random_image(40, 48, seed=1), random_image(40, 48, seed=2)
    found, warnings = measured(content.clone(), content, style)
    assert warnings == []
    assert found.keys() == PIXELS | DISTANCES | MEMORY
    assert found["content_distance"] == 0.0
    assert found["ssim"] == pytest.approx(1.0, abs=1e-6)  # float32
    assert min(found["style_distance"], found["color_distance"]) > 0.0
    found, _ = measured(style.clone(), content, style)
    assert found["style_distance"] == found["color_distance"] == 0.0
    assert found["content_distance"] > 0.0
    assert found["ssim"] < 0.5


@pytest.mark.usefixtures("reference")
@pytest.mark.parametrize("style", ["chelsea", "starry_night"])
def test_the_result_of_one_image_for_both_is_compared_with_it(style: str, tmp_path: Path) -> None:
    result = tiny_run(tmp_path, ON, f"style={style}", "init=noise")
    assert ("identity_psnr" in result.record["metrics"]) == (style == "chelsea")
    if style == "chelsea":
        content = load_inputs(make_config([*TINY])).tensors(48)[0]
        error = (to_tensor(result.image, None) - content).square().mean()
        expected = float(-10 * error.log10())
        assert result.record["metrics"]["identity_psnr"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.usefixtures("reference")
def test_results_may_be_larger_than_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit on pixels is for inputs: results are read again for metrics and their settings."""
    monkeypatch.setitem(load_image.__kwdefaults__, "max_megapixels", 1e-4)
    monkeypatch.setattr("nst_exp.images.load.MAX_MEGAPIXELS", 1e-4)
    result = tiny_run(tmp_path, ON)
    assert result.record["metrics"]
    assert result.path is not None
    assert "nst_exp" in read_metadata(result.path, key="from_image")


@pytest.mark.usefixtures("reference")
@pytest.mark.parametrize(
    ("size", "style_size", "without"),
    [
        ((32, 32), (2, 2), {"style_distance": "style: 2x2 pixels are too few"}),
        ((10, 32), (32, 32), {"ssim": "ValueError: 32x10 pixels"}),
        (
            (2, 12),
            (32, 32),
            {"ssim": "ValueError: 12x2 pixels", "sharpness": "ValueError: 12x2 pixels"}
            | {"content_distance and style_distance": "image: 12x2 pixels are too few"},
        ),
    ],
)
def test_small_images_leave_out_what_is_not_available(
    size: tuple[int, int],
    style_size: tuple[int, int],
    without: dict[str, str],
    random_image: MakeImage,
    measured: Measure,
) -> None:
    found, warnings = measured(
        random_image(*size), random_image(*size, 1), random_image(*style_size)
    )
    left_out = {name for names in without for name in names.split(" and ")}
    assert found.keys() == (PIXELS | DISTANCES | MEMORY) - left_out
    assert all(math.isfinite(value) for value in found.values())
    assert len(warnings) == len(without)
    for name, reason in without.items():
        assert any(w.startswith(f"metrics: {name} left out: {reason}") for w in warnings)


def test_runs_without_metrics_or_weights(no_weights: list[str], tmp_path: Path) -> None:
    assert tiny_run(tmp_path).record["metrics"] == {}
    tags = EventAccumulator(str(tmp_path)).Reload().Tags()["scalars"]
    assert not [tag for tag in tags if tag.startswith("metrics/")]
    assert no_weights == []
    # The next run of a sweep warns too, but does not wait for the network again.
    for record in (tiny_run(None, ON).record, tiny_run(None, ON).record):
        assert record["status"] == "done"
        assert record["metrics"].keys() == PIXELS | MEMORY
        assert record["warnings"] == [
            "metrics: content_distance and style_distance left out: backbone.name=vgg16: its "
            "weights are not available: wheel a==1: no network; logging.metrics=false switches "
            "them off"
        ]
    assert no_weights == ["vgg16"]


@pytest.mark.slow
@pytest.mark.network
def test_reference_is_oxfords_vgg16_and_shared_with_runs_of_it(measured: Measure) -> None:
    found = reference_network(make_config().reference)
    assert found.loss.content.layers == ["relu4_2"]
    assert found.loss.style.layers == [f"relu{k}_1" for k in range(1, 6)]
    assert (found.settings.name, len(found.settings.sources)) == ("vgg16", 1)

    config = make_config(["size=48", "content=chelsea"])
    inputs = load_inputs(config)
    used = make_network(config, inputs, Record(None, config))
    assert used.encoder is found.encoder
    content, (style,), _ = inputs.tensors(config.size)
    kept = used.maps(content, config.backbone.content_layers, "content")
    assert found.maps(content, found.loss.content.layers, "content") is kept

    values, warnings = measured(content, content, style)
    assert warnings == []
    assert values["content_distance"] == 0.0
    assert 0.01 < values["style_distance"] < 100.0


@pytest.mark.usefixtures("reference")
def test_run_writes_the_metrics_of_the_saved_image(tmp_path: Path, measured: Measure) -> None:
    """Into record and TensorBoard."""
    result = tiny_run(tmp_path, ON, "resolution.style_size=64")
    found = result.record["metrics"]
    assert json.loads((tmp_path / "result.json").read_text())["metrics"] == found
    assert found.keys() == PIXELS | DISTANCES | MEMORY
    assert result.record["warnings"] == []
    events = EventAccumulator(str(tmp_path), {"scalars": 0}).Reload()
    hyperparameters = str(events.PluginTagToContent("hparams"))
    assert "saved/total" in hyperparameters
    for name, value in found.items():
        last = events.Scalars(f"metrics/{name}")[-1]
        assert (last.step, last.value) == (5, pytest.approx(value, rel=1e-6))
        comparable = f"metrics/{name}" in METRIC_TAGS
        assert (f"metrics/{name}" in hyperparameters) == comparable

    config = make_config([*TINY, "resolution.style_size=64"])
    content, (style,), _ = load_inputs(config).tensors(config.size)
    saved = to_tensor(load_image(result.path, key="test").image, None)
    again, _ = measured(saved, content, style)
    for name in PIXELS | DISTANCES:
        assert found[name] == pytest.approx(again[name], rel=1e-5), name


def test_the_image_is_saved_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a person stops a download that takes too long."""

    def interrupted(*_: object, **__: object) -> dict[str, float]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("nst_exp.runner.run.evaluate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            tiny_run(tmp_path, ON)
    saved = pixels(tmp_path / "image.png")
    assert json.loads((tmp_path / "result.json").read_text())["status"] != "done"
    assert tiny_run(tmp_path).record["status"] == "done"
    np.testing.assert_array_equal(pixels(tmp_path / "image.png"), saved)
