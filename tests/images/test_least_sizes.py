"""Images that are too small for the layers: the message has a value that helps."""

import re
from enum import StrEnum
from operator import attrgetter
from pathlib import Path

import pytest
import yaml
from PIL import Image

from nst_exp.config.schema import Config
from nst_exp.images.validate import image_size_problems, wrong_sizes

SQUARE, WIDE, TALL, STRIP, LINE = (99, 99), (2000, 200), (30, 360), (10_000, 3), (70_000, 1)
PYRAMID = "resolution.pyramid=true"
LEVELS = f"{PYRAMID} resolution.sizes="
SHORTEST = "resolution.size_mode=shortest"


def config_of(words: str) -> Config:
    """Make a config with these overrides, without Hydra, which takes half a second."""
    config = Config()
    for word in words.split():
        key, _, text = word.partition("=")
        group, _, name = key.rpartition(".")
        section, value = attrgetter(group)(config) if group else config, yaml.safe_load(text)
        before = getattr(section, name)
        setattr(section, name, type(before)(value) if isinstance(before, StrEnum) else value)
    return config


def problems(words: str, content: tuple[int, int], style: tuple[int, int]) -> list[str]:
    return list(wrong_sizes(config_of(words), content, [style], 16, "relu5_1 needs"))


@pytest.mark.parametrize(
    ("words", "content", "style", "given", "change"),
    [
        ("size=8", SQUARE, SQUARE, "size=8", "size=16"),
        ("size=100", WIDE, SQUARE, "size=100", "size=155"),
        ("size=100", TALL, SQUARE, "size=100", "size=186"),
        ("size=1000", STRIP, SQUARE, "size=1000", "size=51667"),
        (f"size=15 {SHORTEST}", WIDE, WIDE, "size=15", "size=16"),
        ("size=15 resolution.size_mode=height", WIDE, WIDE, "size=15", "size=16"),
        ("size=40 resolution.size_mode=area", WIDE, WIDE, "size=40", "size=50"),
        ("size=155 resolution.rounding=truncate", WIDE, SQUARE, "size=155", "size=160"),
        (
            f"size=1024 {PYRAMID}",
            WIDE,
            SQUARE,
            "resolution.min_size=128",
            "resolution.min_size=155",
        ),
        (
            f"size=1024 {PYRAMID}",
            SQUARE,
            TALL,
            "resolution.min_size=128",
            "resolution.min_size=186",
        ),
        (f"size=140 {PYRAMID}", WIDE, SQUARE, "size=140", "size=155 resolution.min_size=155"),
        (f"size=140 {PYRAMID} resolution.min_size=300", WIDE, SQUARE, "size=140", "size=155"),
        (
            f"{LEVELS}[64,384]",
            WIDE,
            SQUARE,
            "resolution.sizes=[64,384]",
            "resolution.sizes=[155,384]",
        ),
        (
            f"{LEVELS}[8,100] size=100",
            WIDE,
            SQUARE,
            "resolution.sizes=[8,100]",
            "resolution.sizes=[155] size=155",
        ),
        ("size=100", SQUARE, WIDE, "size=100", "resolution.style_size=155"),
        (
            "resolution.style_size=9",
            SQUARE,
            WIDE,
            "resolution.style_size=9",
            "resolution.style_size=155",
        ),
        (
            "resolution.style_scale=0.1",
            SQUARE,
            WIDE,
            "resolution.style_scale=0.1",
            "resolution.style_scale=0.403",
        ),
        (
            f"size=1024 {PYRAMID} resolution.style_scale=0.1",
            SQUARE,
            SQUARE,
            "resolution.min_size=128",
            "resolution.min_size=155",
        ),
        (
            f"size=100 {PYRAMID} resolution.style_fit=content",
            WIDE,
            SQUARE,
            "size=100",
            "size=155 resolution.min_size=155",
        ),
        (
            "resolution.style_fit=content resolution.style_size=9",
            SQUARE,
            WIDE,
            "resolution.style_size=9",
            "resolution.style_size=16",
        ),
        (
            "resolution.enlarge_style=false",
            SQUARE,
            (40, 4),
            "size=384",
            "resolution.enlarge_style=true",
        ),
        (f"size=384 {SHORTEST}", STRIP, SQUARE, "size=384", "resolution.size_mode=longest"),
        (f"size=384 {SHORTEST}", SQUARE, STRIP, "size=384", "resolution.size_mode=longest"),
        (
            "resolution.style_scale=200",
            SQUARE,
            SQUARE,
            "resolution.style_scale=200",
            "resolution.style_scale=170",
        ),
    ],
)
def test_change_that_helps(
    words: str, content: tuple[int, int], style: tuple[int, int], given: str, change: str
) -> None:
    (line,) = problems(words, content, style)
    assert line.startswith(f"{given}: ")
    advice = line.split("; use ")[1].removesuffix(" or more").removesuffix(" or less")
    assert advice.replace(" and ", " ") == change
    left = problems(f"{words} {change}", content, style)
    if "size_mode=longest" in change:  # another message follows for a strip of that shape
        assert left != [line]
        return
    assert left == []
    key, _, value = change.rpartition("=")
    if key in ("size", "resolution.style_size"):  # the smallest value
        assert problems(f"{words} {key}={int(value) - 1}", content, style)


def test_lines_can_only_be_cropped() -> None:
    for content, style in ((LINE, SQUARE), (SQUARE, LINE)):
        (line,) = problems("size=384", content, style)
        assert line.endswith("; crop the image")


@pytest.mark.parametrize(
    ("size", "image", "limit"),
    [(16_384, "a.webp", 16_383), (65_501, "a.JPG", 65_500), (65_501, "a.jpeg", 65_500)],
)
def test_result_that_its_format_cannot_hold(size: int, image: str, limit: int) -> None:
    (line,) = image_size_problems(config_of(f"size={size} image={image}"))
    assert line.startswith(f"image={image}: this format has at most {limit} pixels on a side, and")
    assert re.search(rf" gets {size}x\d+; use image=a\.png$", line)
    for words in (f"size={limit} image={image}", f"size={size} image=a.png"):
        assert list(image_size_problems(config_of(words))) == []


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "avif"])
def test_sizes_come_from_the_headers_upright(tmp_path: Path, suffix: str) -> None:
    path, exif = tmp_path / f"tall.{suffix}", Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 200)).save(path, exif=exif)
    words = f"content={path} resolution.size_mode=height loss.style.layers=[relu5_1]"
    assert list(image_size_problems(config_of(f"{words} size=16"))) == []
    (line,) = image_size_problems(config_of(f"{words} size=15"))
    assert "the content image gets 150x15; use size=16 or more" in line
    (line,) = image_size_problems(config_of(f"{words} size=16 backbone.padding=reflect"))
    assert "relu5_1 needs at least 32 pixels" in line
    for damaged in (path.read_bytes()[:20], b"not an image"):  # loading it raises the error
        path.write_bytes(damaged)
        assert list(image_size_problems(config_of(f"{words} size=16"))) == []
