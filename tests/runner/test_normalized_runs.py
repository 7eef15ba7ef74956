"""Runs with a normalized network: the images that it is measured on, and what is recorded."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch
from helpers_run import TINY, picture, tiny_run
from torch import Tensor

from nst_exp.app.api import make_config
from nst_exp.config.schema import Backbone as Settings
from nst_exp.core.normalized import FLOOR
from nst_exp.images import named_images
from nst_exp.runner import network, run
from nst_exp.runner.calibration import CalibrationImage, load_calibration_images
from nst_exp.runner.inputs import load_inputs
from nst_exp.runner.validate import validate
from nst_exp.utils.errors import ConfigError, WeightsError
from nst_exp.weights import LoadedWeights
from nst_exp.weights.architecture import trunk


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NST_EXP_CACHE", str(tmp_path / "cache"))


@cache
def random_weights(name: str) -> dict[str, Tensor]:
    """Weights under which activations keep their size, and biases that silence some channels."""
    generator = torch.Generator().manual_seed(0)
    weights: dict[str, Tensor] = {}
    for key, like in trunk(name).items():
        spread = (2.0 / like[0].numel()) ** 0.5 if like.dim() == 4 else 0.3
        weights[key] = (torch.randn(like.shape, generator=generator) * spread).to(like.dtype)
    return weights


def calibration_images(folder: Path) -> list[CalibrationImage]:
    config = make_config([*TINY, f"backbone.calibration={folder}"])
    return load_calibration_images(config, load_inputs(config))


def test_images_have_one_area_and_count_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    picture(tmp_path / "wide.png", (400, 100), seed=1)
    picture(tmp_path / "small.png", (30, 20), seed=2)
    (tmp_path / "again.png").write_bytes((tmp_path / "small.png").read_bytes())
    picture(tmp_path / "ribbon.png", (900, 20), seed=3)
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / ".hidden").write_text("not an image")
    (tmp_path / "folder").mkdir()
    found = calibration_images(tmp_path)
    assert [entry.path.name for entry in found] == ["again.png", "wide.png"]
    for entry in found:
        height, width = entry.image.shape[2:]
        assert height * width == pytest.approx(256 * 256, rel=0.01)  # sides are whole numbers
    assert found[1].image.shape == (1, 3, 128, 512)
    notes, ribbon = (r.getMessage() for r in caplog.records if r.levelname == "WARNING")
    assert "backbone.calibration=" in notes
    assert "notes.txt" in notes
    assert "ribbon.png: it is narrower than 1 : 16" in ribbon


def test_folder_without_images(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"backbone\.calibration=.*No such file"):
        calibration_images(tmp_path / "gone")
    (tmp_path / "notes.txt").write_text("not an image")
    with pytest.raises(ConfigError, match=r"backbone\.calibration=.*none of the files"):
        calibration_images(tmp_path)


def test_checks() -> None:
    def refused(*overrides: str) -> str:
        with pytest.raises(ConfigError) as caught:
            validate(make_config([*TINY, *overrides]))
        return str(caught.value)

    on = "backbone.normalized=true"
    assert "backbone.calibration=gone: no such folder" in refused(
        "backbone=vgg16", on, "backbone.calibration=gone"
    )
    assert "only read with backbone.normalized=true" in refused("backbone.calibration=gone")
    assert "squeezenet1_1 is not a chain" in refused(on)
    validate(make_config([*TINY, "backbone=vgg16_normalized", "backbone.calibration=."]))


@pytest.fixture
def no_download(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights instead of trained ones; those of vgg19 are missing."""

    def load(settings: Settings) -> LoadedWeights:
        if settings.name == "vgg19":
            raise WeightsError("not here")
        return LoadedWeights(random_weights(settings.name), "a test", "0" * 64, "the authors")

    monkeypatch.setattr(network, "load_weights", load)


SMALL = [
    "backbone=vgg11",
    "backbone.weights=pretrained",
    "loss.content.layers=[relu2_1]",
    "loss.style.layers=[relu1_1]",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one image and one other file."""
    path = tmp_path / "calibration"
    path.mkdir()
    picture(path / "a.png", (60, 50))
    (path / "b.txt").write_text("not an image")
    return path


@pytest.mark.usefixtures("no_download")
def test_run_with_a_folder_of_images(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    overrides = [*SMALL, "backbone.normalized=true", f"backbone.calibration={folder}"]
    with caplog.at_level("INFO", "nst_exp"):
        result = tiny_run(tmp_path / "out", *overrides)
    lines = [record.getMessage() for record in caplog.records]
    found = result.record["normalized"]
    assert [Path(entry["path"]).name for entry in found["pictures"]] == ["a.png"]
    assert found["floor"] == FLOOR
    assert set(found["layers"]) == {"conv1_1", "conv2_1"}
    assert found["layers"]["conv1_1"]["channels"] == 64
    assert any(line.startswith("normalized to a mean") for line in lines)
    assert any("b.txt" in line for line in result.record["warnings"])
    plain = tiny_run(None, *SMALL)
    assert "normalized" not in plain.record
    assert plain.losses["content"] != result.losses["content"]


@pytest.mark.usefixtures("no_download")
def test_run_on_packaged_and_own_images(tmp_path: Path) -> None:
    own = picture(tmp_path / "own.png", (60, 50))
    result = tiny_run(None, *SMALL, "backbone.normalized=true", f"content={own}")
    names = [Path(entry["path"]).name for entry in result.record["normalized"]["pictures"]]
    assert names == [
        *(path.name for path in named_images().values()),
        "own.png",
    ]  # the style is packaged


@pytest.mark.usefixtures("no_download")
def test_resuming_with_other_images_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = [*SMALL, "backbone.normalized=true", f"backbone.calibration={folder}"]

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(run._Run, "_fit", killed)
        with pytest.raises(KeyboardInterrupt):
            tiny_run(tmp_path / "out", *overrides)
    picture(folder / "a.png", (60, 50), seed=1)
    for _ in range(2):  # the refusal does not make it forget
        with pytest.raises(ConfigError, match="normalized on other images"):
            tiny_run(tmp_path / "out", *overrides)
    picture(folder / "a.png", (60, 50))
    tiny_run(tmp_path / "out", *overrides)


@pytest.mark.usefixtures("no_download")
@pytest.mark.parametrize(
    "overrides", [["backbone=vgg19_normalized"], ["backbone=vgg19", "backbone.normalized=true"]]
)
def test_fallback_is_normalized_as_well(overrides: list[str], folder: Path) -> None:
    result = tiny_run(None, *SMALL[1:], *overrides, f"backbone.calibration={folder}")
    assert result.record["substituted"][0]["by"] == "vgg16"
    assert result.record["config"]["backbone"]["normalized"] is True
    assert len(result.record["normalized"]["pictures"]) == 1
