"""Whole runs: the result, its record, and what the settings do to the image."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers_run import TINY, picture, pixels, tiny_run
from numpy.typing import NDArray
from tifffile import imread

from nst_exp.app.api import make_config
from nst_exp.config.serialize import config_as_dict
from nst_exp.core.encoder import build_encoder
from nst_exp.core.objective import build_objective
from nst_exp.images import read_metadata
from nst_exp.runner.inputs import load_inputs, tensors
from nst_exp.runner.run import Result, run
from nst_exp.utils.errors import ConfigError

DEEP = ["image=out.tif", "bit_depth=16", "beta=100"]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A run with most defaults, saved with 16 bits."""
    return tiny_run(tmp_path_factory.mktemp("done"), *DEEP)


def record_in(folder: Path | None) -> dict[str, Any]:
    assert folder is not None
    return json.loads((folder / "result.json").read_text(encoding="utf-8"))


def as_array(result: Result) -> NDArray[np.float64]:
    return np.asarray(result.image, dtype=np.float64) / 255.0


# The record


def test_record(done: Result) -> None:
    record = record_in(done.folder)
    assert done.record == record
    assert (record["status"], record["losses"], record["step"]) == ("done", done.losses, 5)
    assert record["evaluations"] >= 5
    assert (record["width"], record["height"]) == done.image.size
    assert torch.__version__.startswith(record["versions"]["torch"].partition("+")[0])
    assert (record["warnings"], record["substituted"]) == ([], [])
    assert record["weights"]["source"] == "random, seed 0"
    for entry in record["inputs"].values():
        data = Path(entry["path"]).read_bytes()
        assert entry["sha256"] == hashlib.sha256(data).hexdigest()
    config = make_config([*TINY, *DEEP])
    assert record["config"] == config_as_dict(config)
    assert record["layers"]["content"] == config.backbone.content_layers
    assert record["layers"]["style"] == config.backbone.style_layers
    assert not (done.folder / "last.ckpt").exists()  # type: ignore[operator]


def test_overrides_are_recorded_and_the_config_is_not_changed(tmp_path: Path) -> None:
    config, overrides = make_config(TINY), ["steps=5", "a=b"]
    before = config_as_dict(config)
    run(config, tmp_path, overrides=overrides)
    assert config_as_dict(config) == before
    assert record_in(tmp_path)["overrides"] == overrides
    settings = json.loads(read_metadata(tmp_path / "image.png", key="test")["nst_exp"])
    assert settings["overrides"] == overrides


def test_image_carries_config_and_versions(done: Result) -> None:
    metadata = read_metadata(done.path, key="test")
    settings = json.loads(metadata["nst_exp"])
    record = record_in(done.folder)
    assert metadata["Software"].startswith("nst_exp ")
    assert {key: record[key] for key in settings} == settings
    assert set(settings) == {"config", "inputs", "weights", "versions", "overrides"}


def test_losses_are_those_of_the_saved_image(done: Result) -> None:
    """Evaluated from the 16-bit file, with nothing of the run but its config."""
    config = make_config([*TINY, *DEEP])
    config.loss.content.layers = config.backbone.content_layers
    config.loss.style.layers = config.backbone.style_layers
    layers = list(dict.fromkeys([*config.loss.content.layers, *config.loss.style.layers]))
    backbone = build_encoder(config.backbone, layers, None, config.seed, False)
    content, style, _ = tensors(config, load_inputs(config), config.size)
    objective = build_objective(
        config.loss, config.alpha, config.beta, backbone(content), backbone(style)
    )
    with torch.no_grad():
        samples = imread(done.path).astype(np.float32) / 65535
        image = torch.from_numpy(samples).permute(2, 0, 1)[None]
        again = objective(image, backbone(image)).as_floats()
    # 16 bits round by 8e-6 of the range; losses are of order 1 and smooth.
    for name, value in done.losses.items():
        assert again[name] == pytest.approx(value, rel=1e-3, abs=1e-6), name
    parts = config.alpha * again["content"] + config.beta * again["style"]
    parts += config.loss.tv.weight * again["tv"] + config.loss.range_weight * again["range"]
    assert done.losses["total"] == pytest.approx(parts, rel=1e-3)


def test_seconds_are_those_without_the_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nst_exp.runner.run.evaluate", lambda *_: time.sleep(0.5) or {"ssim": 1.0})
    started = time.monotonic()
    record = tiny_run(None, "logging.metrics=true").record
    assert record["metrics"] == {"ssim": 1.0}
    assert time.monotonic() - started - record["seconds"] >= 0.5


# Repetition


def test_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second, other = (
        tiny_run(tmp_path / name, "init=noise", f"seed={seed}")
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first.path.read_bytes() == second.path.read_bytes()
    assert not np.array_equal(as_array(first), as_array(other))


# Starts


def start(tmp_path: Path, *overrides: str) -> NDArray[np.float64]:
    """The image before the first step."""
    tiny_run(tmp_path, "steps=1", *overrides)
    return pixels(tmp_path / "snapshots" / "step_000000.png") / 255.0


@pytest.fixture(scope="module")
def references() -> dict[str, NDArray[np.float64]]:
    """The content, and the style in the content's shape."""
    config = make_config([*TINY, "init=style"])  # for which the style is decoded in full
    content, _, style = tensors(config, load_inputs(config), config.size)
    return {
        name: image[0].permute(1, 2, 0).double().numpy()
        for name, image in (("content", content), ("style", style))
    }


@pytest.mark.parametrize("kind", ["content", "style"])
def test_start_from_content_or_style(
    tmp_path: Path, kind: str, references: dict[str, NDArray[np.float64]]
) -> None:
    # Snapshots have 8 bits; the way through the Fourier basis costs float32's rounding only.
    found = start(tmp_path, f"init={kind}")
    assert np.abs(found - references[kind]).max() < 0.5 / 255 + 1e-4


def test_start_from_a_file(tmp_path: Path) -> None:
    own = picture(tmp_path / "own.png", (48, 32), seed=9)
    found = start(tmp_path / "run", "init=file", f"init.file={own}")
    assert np.abs(found - pixels(own) / 255.0).max() < 1.5 / 255
    record = json.loads((tmp_path / "run" / "result.json").read_text())
    assert record["inputs"]["init.file"]["sha256"] == hashlib.sha256(own.read_bytes()).hexdigest()


# What the settings do


def test_beta_leads_from_the_content_to_the_style(
    references: dict[str, NDArray[np.float64]],
) -> None:
    results = [tiny_run(None, f"beta={beta}", "steps=15") for beta in (0.01, 1, 100)]
    contents = [result.losses["content"] for result in results]
    styles = [result.losses["style"] for result in results]
    distances = [np.abs(as_array(result) - references["content"]).mean() for result in results]
    assert contents == sorted(contents)
    assert distances[0] < min(distances[1:]) / 2
    assert styles[0] > 5 * max(styles[1:])  # the rest is not in order before it has converged


def test_content_alone_from_the_content_stays_there(
    references: dict[str, NDArray[np.float64]],
) -> None:
    """The start is the optimum: its total is rounding, and which must not be amplified."""
    result = tiny_run(None, "beta=0", "loss.tv.weight=0")
    assert np.abs(as_array(result) - references["content"]).max() < 1.5 / 255


@pytest.mark.parametrize(
    ("optimizer", "precision"),
    [("lbfgs", "bf16-mixed"), ("lbfgs", "64-true"), ("adam", "bf16-mixed")],
)
def test_other_precisions_end_near_float32(optimizer: str, precision: str) -> None:
    settings = [f"optimizer={optimizer}", "steps=8"]
    plain = tiny_run(None, *settings)
    other = tiny_run(None, *settings, f"trainer.precision={precision}")
    assert all(np.isfinite(value) for value in other.losses.values())
    # bfloat16 has 8 bits of precision, and its rounding goes through eight steps.
    tolerance = 0.5 if precision == "bf16-mixed" else 0.05
    assert other.losses["total"] == pytest.approx(plain.losses["total"], rel=tolerance)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
@pytest.mark.parametrize("averaging", [0.0, 0.5])
def test_pyramid_ends_at_the_full_size(tmp_path: Path, optimizer: str, averaging: float) -> None:
    result = tiny_run(
        tmp_path,
        f"optimizer={optimizer}",
        "resolution.pyramid=true",
        "resolution.sizes=[24,48]",
        f"resolution.averaging={averaging}",
        "steps=8",
    )
    assert result.image.size == (48, 32)
    assert result.record["step"] == 8
    assert all(np.isfinite(value) for value in result.losses.values())


def test_adam_keeps_its_state_on_the_next_level(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fresh Adam moves every value by lr in its first step, whatever the gradient."""
    settings = ["optimizer=adam", "resolution.pyramid=true", "resolution.sizes=[24,48]", "steps=6"]
    carried = tiny_run(None, *settings)
    monkeypatch.setattr("nst_exp.runner.level.carries_state", lambda settings: False)
    assert carried.losses["total"] < tiny_run(None, *settings).losses["total"]


# Refusals


@pytest.mark.parametrize(
    ("override", "key"), [("size=6", "content"), ("resolution.style_size=6", "style")]
)
def test_image_that_is_too_small_is_refused_with_the_least_size(override: str, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        tiny_run(None, override)
    (line,) = caught.value.problems
    assert line.startswith(f"{key}: ")
    least = int(line.partition("which need ")[2].split()[0])
    # A square of that size does, and one of a pixel less does not.
    square = ["content=summer_palace", "resolution.size_mode=shortest"]
    tiny_run(None, *square, f"size={least}", "steps=1")
    with pytest.raises(ConfigError, match=f"need {least} on the shorter side"):
        tiny_run(None, *square, f"size={least - 1}")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_missing_devices_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"accelerator=cuda: not on this machine"):
        tiny_run(None, "trainer.accelerator=cuda")
    if not torch.backends.mps.is_available():
        with pytest.raises(ConfigError, match=r"accelerator=gpu: .* available: cpu"):
            tiny_run(None, "trainer.accelerator=gpu")
        half = ["trainer.precision=16-mixed", "optimizer=adam", "trainer.accelerator=auto"]
        with pytest.raises(ConfigError, match="16-mixed: needs a GPU; available: cpu"):
            tiny_run(None, *half)


def test_failed_run_has_the_reason_in_its_record(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        tiny_run(tmp_path, "size=6")
    assert record_in(tmp_path)["status"] == "failed"
    assert "pixels are too few" in record_in(tmp_path)["error"]


def test_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    first = tiny_run(tmp_path, "steps=1")
    before = first.path.read_bytes()
    with pytest.raises(ConfigError, match="holds another run"):
        tiny_run(tmp_path, "steps=2")
    assert first.path.read_bytes() == before
    again = tiny_run(tmp_path, "steps=2", "overwrite=true")
    assert again.record["step"] == 2
