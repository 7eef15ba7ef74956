"""Which pictures are loaded, and the sizes that they are given."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers_run import picture

from nst_exp.config.schema import Config, InitKind, SizeMode, StyleFit
from nst_exp.images import named_images
from nst_exp.runner.inputs import (
    content_dimensions,
    load_inputs,
    style_dimensions,
    tensors,
    warn_of_enlargements,
)
from nst_exp.utils.errors import ConfigError


@pytest.fixture(autouse=True)
def _no_folder_of_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NST_EXP_DATA", raising=False)
    monkeypatch.setenv("NST_EXP_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A content of 3:2 and an upright style of 1:2."""
    content = picture(tmp_path / "content.png", (300, 200))
    style = picture(tmp_path / "style.png", (100, 200), seed=1)
    return Config(content=str(content), style=str(style), size=60)


def dimensions(config: Config, level_size: int = 60) -> tuple[tuple[int, int], tuple[int, int]]:
    """Width and height of content and style."""
    inputs = load_inputs(config)
    return content_dimensions(config, inputs, level_size), style_dimensions(
        config, inputs, level_size
    )


@pytest.mark.parametrize(
    ("mode", "content", "style"),
    [
        (SizeMode.longest, (60, 40), (30, 60)),
        (SizeMode.shortest, (90, 60), (60, 120)),
        # 60 * sqrt(3/2) = 73.48, 60 / sqrt(3/2) = 48.99; 60 / sqrt(2) = 42.43, 84.85
        (SizeMode.area, (73, 49), (42, 85)),
    ],
)
def test_size_mode(
    config: Config, mode: SizeMode, content: tuple[int, int], style: tuple[int, int]
) -> None:
    config.resolution.size_mode = mode
    assert dimensions(config) == (content, style)


def test_style_size_and_scale(config: Config) -> None:
    config.resolution.style_size = 40
    assert dimensions(config)[1] == (20, 40)
    config.resolution.style_scale = 2.0
    assert dimensions(config)[1] == (40, 80)


def test_style_fit_content_gives_the_contents_shape(config: Config) -> None:
    config.resolution.style_fit = StyleFit.content
    assert dimensions(config) == ((60, 40), (60, 40))
    config.resolution.style_scale = 0.5
    assert dimensions(config)[1] == (30, 20)


def test_style_shrinks_with_the_level(config: Config) -> None:
    config.resolution.style_size = 80
    assert dimensions(config, 30) == ((30, 20), (20, 40))


def test_tensors_have_these_sizes(config: Config, tmp_path: Path) -> None:
    config.init.kind = InitKind.file
    config.init.file = str(picture(tmp_path / "init.png", (7, 7), seed=2))
    shapes = [t.shape[2:] for t in tensors(config, load_inputs(config), 60) if t is not None]
    assert shapes == [(40, 60), (60, 30), (40, 60)]  # content, style, start


def test_every_unusable_picture_is_named(config: Config, tmp_path: Path) -> None:
    for name in ("content", "style"):
        (tmp_path / f"{name}.png").write_text("no picture")
    with pytest.raises(ConfigError) as caught:
        load_inputs(config)
    assert [line.partition("=")[0] for line in caught.value.problems] == ["content", "style"]


def test_stand_ins_and_credits_are_kept_for_the_record(config: Config) -> None:
    config.style = "jesuiten_iii"  # no address: nothing is downloaded
    said: list[str] = []
    inputs = load_inputs(config, said.append)
    assert inputs.style.path == named_images()["starry_night"]
    assert inputs.credits == {"style": "The Starry Night, 1889, Vincent van Gogh, public domain"}
    (entry,) = inputs.substituted
    assert entry["style"] == "jesuiten_iii"
    assert said[0].startswith("style=jesuiten_iii: ")


def test_every_picture_without_a_stand_in_is_named(config: Config) -> None:
    config.content, config.style, config.stand_ins = "london", "new_york", False
    with pytest.raises(ConfigError) as caught:
        load_inputs(config)
    keys = [line.partition(":")[0] for line in caught.value.problems]
    assert keys == ["content=london", "style=new_york"]


def test_enlargement_is_said_for_the_picture_that_lacks_pixels(config: Config) -> None:
    said: list[str] = []
    config.size = 210
    warn_of_enlargements(config, load_inputs(config), said.append)
    assert said == ["style: 100x200 pixels are enlarged to 105x210"]


def test_init_from_a_small_style_keeps_the_styles_detail(tmp_path: Path) -> None:
    """A JPEG may be decoded smaller than it is, but not below what the start is made from."""
    style = picture(tmp_path / "style.jpg", (1024, 1024), seed=1)
    content = picture(tmp_path / "content.png", (512, 512))
    config = Config(content=str(content), style=str(style), size=512)
    config.resolution.style_size = 32
    assert load_inputs(config).style.image.width < 512
    config.init.kind = InitKind.style
    assert load_inputs(config).style.image.width >= 512
