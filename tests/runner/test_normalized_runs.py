"""Runs with a normalized network: the images that it is measured on, and what is recorded."""

from pathlib import Path

import pytest
import torch
from helpers_run import TINY, picture, tiny_run

from nst_exp.app.api import make_config
from nst_exp.config.schema import Backbone as Settings
from nst_exp.core.normalized import FLOOR
from nst_exp.images import named_images
from nst_exp.runner import network, run
from nst_exp.runner.calibration import load_calibration_images
from nst_exp.runner.inputs import load_inputs
from nst_exp.utils.errors import ConfigError, WeightsError
from nst_exp.weights import LoadedWeights
from nst_exp.weights.architecture import trunk

SMALL = [
    "backbone=vgg11",
    "backbone.weights=pretrained",
    "backbone.normalized=true",
    "loss.content.layers=[relu2_1]",
    "loss.style.layers=[relu1_1]",
]


@pytest.fixture(autouse=True)
def missing(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Random weights instead of trained ones; those of the networks in the set are missing."""
    missing = {"vgg19"}

    def load(settings: Settings) -> LoadedWeights:
        if settings.name in missing:
            raise WeightsError("not here")
        generator = torch.Generator().manual_seed(0)
        weights = {
            key: torch.randn(like.shape, generator=generator) * (2 / like[0].numel()) ** 0.5
            for key, like in trunk(settings.name).items()
        }
        return LoadedWeights(weights, "a test", "0" * 64, "the authors")

    monkeypatch.setattr(network, "load_weights", load)
    return missing


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one image and one other file."""
    path = tmp_path / "calibration"
    path.mkdir()
    picture(path / "a.png", (60, 50))
    (path / "b.txt").write_text("not an image")
    return path


def test_images_have_one_area_and_count_once(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = make_config([*TINY, f"backbone.calibration={folder}"])
    inputs = load_inputs(config)
    picture(folder / "wide.png", (400, 100), seed=1)
    (folder / "again.png").write_bytes((folder / "a.png").read_bytes())
    picture(folder / "ribbon.png", (900, 20), seed=3)
    (folder / ".hidden").write_text("not an image")
    (folder / "folder").mkdir()
    found = load_calibration_images(config, inputs)
    assert [entry.path.name for entry in found] == ["again.png", "wide.png"]
    for entry in found:
        height, width = entry.image.shape[2:]
        assert height * width == pytest.approx(256 * 256, rel=0.01)  # sides are whole numbers
    assert found[1].image.shape == (1, 3, 128, 512)
    text, ribbon = (r.getMessage() for r in caplog.records if r.levelname == "WARNING")
    assert f"backbone.calibration={folder / 'b.txt'}" in text
    assert "ribbon.png: it is narrower than 1 : 16" in ribbon

    for name in ("a.png", "again.png", "wide.png"):
        (folder / name).unlink()
    with pytest.raises(ConfigError, match=r"backbone\.calibration=.*no usable image"):
        load_calibration_images(config, inputs)


def test_run_with_a_folder_of_images(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "nst_exp")
    result = tiny_run(tmp_path / "out", *SMALL, f"backbone.calibration={folder}")
    found = result.record["normalized"]
    assert [Path(entry["path"]).name for entry in found["images"]] == ["a.png"]
    assert found["floor"] == FLOOR
    assert set(found["layers"]) == {"conv1_1", "conv2_1"}
    assert found["layers"]["conv1_1"]["channels"] == 64
    assert any(line.startswith("normalized to a mean") for line in caplog.messages)
    assert any("b.txt" in line for line in result.record["warnings"])
    plain = tiny_run(None, *SMALL, "backbone.normalized=false")
    assert "normalized" not in plain.record
    assert plain.losses["content"] != result.losses["content"]


def test_run_on_packaged_and_own_images(tmp_path: Path) -> None:
    own = picture(tmp_path / "own.png", (60, 50))
    result = tiny_run(None, *SMALL, f"content={own}")
    names = [Path(entry["path"]).name for entry in result.record["normalized"]["images"]]
    assert names == [*(path.name for path in named_images().values()), "own.png"]


def test_resuming_with_other_images_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = [*SMALL, f"backbone.calibration={folder}"]

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


def test_fallback_is_normalized_as_well(folder: Path) -> None:
    result = tiny_run(None, "backbone=vgg19", *SMALL[1:], f"backbone.calibration={folder}")
    assert result.record["weights"]["backbone"] == "vgg16"
    substitution = {"backbone": "vgg19", "by": "vgg16", "because": "not here"}
    assert result.record["substituted"] == [substitution]
    assert len(result.record["normalized"]["images"]) == 1


def test_missing_weights_are_asked_for_again_in_the_next_run(missing: set[str]) -> None:
    missing.add("vgg11")
    with pytest.raises(WeightsError, match="not here"):
        tiny_run(None, *SMALL)
    missing.clear()
    tiny_run(None, *SMALL)
