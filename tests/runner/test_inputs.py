"""Which images are loaded, and the sizes that they get."""

from pathlib import Path

import numpy as np
import pytest
from helpers_run import picture, pixels, tiny_run
from PIL import Image

from nst_exp.config.schema import Config, Filter, InitKind, Rounding, SizeMode, StyleFit
from nst_exp.images import named_images
from nst_exp.images.tensors import to_array
from nst_exp.runner.inputs import load_inputs
from nst_exp.utils.errors import ConfigError


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A content of 3:2 and an upright style of 1:2; no images but the packaged ones."""
    monkeypatch.setenv("NST_EXP_CACHE", str(tmp_path / "cache"))
    content = picture(tmp_path / "content.png", (300, 200))
    style = picture(tmp_path / "style.png", (100, 200), seed=1)
    return Config(content=str(content), style=[str(style)], size=60)


@pytest.mark.parametrize(
    ("changes", "content", "style"),
    [
        ({}, (60, 40), (30, 60)),
        ({"size_mode": SizeMode.shortest}, (90, 60), (60, 120)),
        # 60 * sqrt(3/2) = 73.48, 60 / sqrt(3/2) = 48.99; 60 / sqrt(2) = 42.43, 84.85
        ({"size_mode": SizeMode.area}, (73, 49), (42, 85)),
        ({"style_size": 40}, (60, 40), (20, 40)),
        ({"style_size": 40, "style_scale": 2.0}, (60, 40), (40, 80)),
        ({"style_fit": StyleFit.content}, (60, 40), (60, 40)),
        ({"style_fit": StyleFit.content, "style_scale": 0.5}, (60, 40), (30, 20)),
    ],
)
def test_sizes(
    config: Config,
    changes: dict[str, object],
    content: tuple[int, int],
    style: tuple[int, int],
    tmp_path: Path,
) -> None:
    for key, value in changes.items():
        setattr(config.resolution, key, value)
    config.init.kind = InitKind.file
    config.init.file = str(picture(tmp_path / "init.png", (7, 7), seed=2))
    inputs = load_inputs(config)
    # content, style, start
    tensors, styles, start = inputs.tensors(60)
    found = [(t.shape[3], t.shape[2]) for t in (tensors, *styles, start) if t is not None]
    assert found == [content, style, content]
    # Both shrink with the level, up to half a pixel of rounding.
    half = inputs.style_size(30)
    assert all(abs(2 * a - b) <= 1 for a, b in zip(half, style, strict=True))


def test_substitutes_and_credits_are_kept_for_the_record(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    config.style = ["jesuiten_iii"]  # has no address, so nothing is downloaded
    inputs = load_inputs(config)
    assert inputs.loaded["style"].path == named_images()["starry_night"]
    assert inputs.as_record()["style"]["credit"].startswith("The Starry Night, 1889")
    assert inputs.resolved["style"].substituted["style"] == "jesuiten_iii"
    assert caplog.messages[0].startswith("style=jesuiten_iii: ")


def test_every_unusable_image_is_named(config: Config, tmp_path: Path) -> None:
    (tmp_path / "content.png").write_text("no image")
    config.style, config.stand_ins = ["jesuiten_iii"], False
    with pytest.raises(ConfigError) as caught:
        load_inputs(config)
    assert [line.partition("=")[0] for line in caught.value.problems] == ["content", "style"]


def test_enlargement_is_a_warning_for_the_image_that_lacks_pixels(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    config.size = 210
    load_inputs(config)
    assert caplog.messages == ["style: 100x200 pixels are enlarged to 105x210"]


def test_init_from_a_small_style_keeps_the_detail_of_the_style(tmp_path: Path) -> None:
    """A JPEG may be decoded smaller than it is, but not below what the start is made from."""
    style = picture(tmp_path / "style.jpg", (1024, 1024), seed=1)
    content = picture(tmp_path / "content.png", (512, 512))
    config = Config(content=str(content), style=[str(style)], size=512)
    config.resolution.style_size = 32
    assert load_inputs(config).loaded["style"].image.width < 512
    config.init.kind = InitKind.style
    assert load_inputs(config).loaded["style"].image.width >= 512


@pytest.mark.parametrize("kind", [InitKind.content, InitKind.style, InitKind.file])
def test_another_filter_is_applied_to_every_pixel_of_every_image(
    tmp_path: Path, kind: InitKind
) -> None:
    """No large JPEG is decoded smaller: that is another filter before the one asked for."""
    files = [picture(tmp_path / f"{i}.jpg", (1280, 853 - i), seed=i) for i in range(3)]
    config = Config(content=str(files[0]), style=[str(files[1])], size=64)
    config.resolution.filter, config.resolution.rounding = Filter.bilinear, Rounding.truncate
    config.init.kind, config.init.file = kind, str(files[2])
    found_content, styles, start = load_inputs(config).tensors(64)
    found = (found_content, *styles, start)
    sources = [files[0], files[1], {"style": files[1], "file": files[2]}.get(kind.name)]
    for tensor, path in zip(found, sources, strict=True):
        if path is None or tensor is None:
            assert path is tensor is None
            continue
        with Image.open(path) as image:  # 42.65 pixels high
            exact = np.asarray(image.resize((64, 42), Image.Resampling.BILINEAR))
        assert np.array_equal(to_array(tensor), exact / np.float32(255))


def test_inputs_are_saved_for_a_figure(tmp_path: Path) -> None:
    """Also by a run that is done, if it becomes a panel later."""
    result = tiny_run(tmp_path, "steps=1")
    assert not (tmp_path / "inputs").exists()
    again = tiny_run(tmp_path, "steps=1", "figure.title=A", "figure.label=b")
    assert again.losses == result.losses
    assert again.record["config"]["figure"]["label"] == "b"
    for key in ("content", "style"):
        name = again.record["inputs"][key]["copy"]
        assert max(pixels(tmp_path / name).shape) == 48
