"""Sizes of content and style, and those of other programs to the pixel."""

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
from hypothesis import given, strategies as st

from nst_exp.app.api import make_config
from nst_exp.config.schema import Config, Rounding, SizeMode, StyleFit
from nst_exp.images import target_size
from nst_exp.images.size import content_size, style_size

sides = st.integers(1, 60_000)
Size = tuple[int, int]


@given(sides, sides, st.integers(1, 20_000), st.sampled_from(SizeMode))
def test_each_side_is_the_exact_one_rounded(
    width: int, height: int, size: int, mode: SizeMode
) -> None:
    w, h = target_size(width, height, size, mode)
    measured, exact = {
        SizeMode.longest: (max(w, h), max(width, height)),
        SizeMode.shortest: (min(w, h), min(width, height)),
        SizeMode.height: (h, height),
        SizeMode.area: (size, (width * height) ** 0.5),
    }[mode]
    assert measured == size
    assert w == 1 or abs(w - width * size / exact) <= 0.5 + 1e-9 * w
    assert h == 1 or abs(h - height * size / exact) <= 0.5 + 1e-9 * h


# How programs compute sizes, restated from their sources.
def neural_style_pt(w: int, h: int, size: int) -> Size:  # preprocess
    ratio = float(size) / max(w, h)
    return int(ratio * w), int(ratio * h)


def torchvision(w: int, h: int, size: int) -> Size:  # Resize(size), of the shorter side
    short, long = min(w, h), max(w, h)
    other = int(size * long / short)
    return (size, other) if w <= h else (other, size)


def gordic(w: int, h: int, size: int) -> Size:  # load_image, of the height
    return int(w * (size / h)), size


def cysmith(w: int, h: int, size: int) -> Size:  # get_content_image
    if h > w:
        return int(float(size) / h * w), size
    return size, int(float(size) / w * h)


def crowsonkb(w: int, h: int, size: int) -> Size:  # size_to_fit
    return (round(size * w / h), size) if h > w else (size, round(size * h / w))


@pytest.mark.parametrize(
    ("program", "experiments"),
    [
        (neural_style_pt, ["neural_style_pt"]),
        (torchvision, ["gatys_notebook", "post_cs231n", "post_resnet50", "post_tutorial"]),
        (gordic, ["gordic", "gordic_adam_style"]),
        (cysmith, ["cysmith"]),
        (crowsonkb, ["crowsonkb"]),
    ],
)
def test_sizes_are_the_programs(
    program: Callable[[int, int, int], Size], experiments: list[str]
) -> None:
    configs = [make_config([f"+experiment={name}"]) for name in experiments]
    some = [1, 2, 3, 4, *range(60, 700, 17), 98, 196, 1280, 3000, 4032, 6000]
    for width, height, size in product(some, some, (4, 256, 400, 512)):
        w, h = program(width, height, size)
        expected = max(1, w), max(1, h)  # the programs fail at 0
        for config in configs:
            found = content_size(config, (width, height), size)
            assert found == expected, (width, height, size)


def test_sizes_of_crowsonkbs_style_at_every_level() -> None:
    """Of size_to_fit without scale_up: a style image is never larger than its file."""
    config = make_config(["+experiment=crowsonkb", "resolution.style_scale=0.7"])
    for own, level in product(product((1, 50, 90, 181, 257, 700), repeat=2), (128, 181, 362, 512)):
        longest = round(level * 0.7)
        expected = own if max(own) <= longest else crowsonkb(*own, longest)
        found = style_size(config, (640, 427), own, level)
        assert found == tuple(max(1, side) for side in expected), (own, level)


def test_floating_point_may_lose_a_pixel_of_the_named_side() -> None:
    found = [target_size(98, 49, 512, SizeMode.longest, rounding) for rounding in Rounding]
    assert found == [(512, 256), (512, 256), (512, 255), (511, 255)]


@pytest.mark.parametrize(
    ("settings", "level", "expected"),
    [
        ({}, 400, (200, 400)),
        ({"enlarge_style": False}, 400, (100, 200)),
        ({"enlarge_style": False}, 200, (100, 200)),
        ({"enlarge_style": False}, 150, (75, 150)),  # smaller at the coarse levels
        ({"enlarge_style": False, "style_size": 101, "style_scale": 2.0}, 400, (100, 200)),
        ({"enlarge_style": False, "size_mode": SizeMode.area}, 400, (100, 200)),
        ({"style_fit": StyleFit.content}, 400, (400, 267)),
        ({"style_fit": StyleFit.content, "rounding": Rounding.truncate}, 400, (400, 266)),
        # The content's shape, as large as it fits into the file.
        ({"style_fit": StyleFit.content, "enlarge_style": False}, 400, (100, 67)),
        ({"style_fit": StyleFit.content, "style_scale": 0.01}, 60, (1, 1)),
        ({"style_scale": 0.3333, "rounding": Rounding.truncate}, 400, (66, 133)),
    ],
)
def test_size_of_the_style(settings: dict[str, Any], level: int, expected: Size) -> None:
    config = Config(size=400)
    for key, value in settings.items():
        setattr(config.resolution, key, value)
    assert style_size(config, (300, 200), (100, 200), level) == expected
