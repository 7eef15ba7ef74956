"""Images in memory are saved as a person sees them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers_run import pixels
from PIL import ExifTags, Image

from nst_exp.images.given import is_image, save_given
from nst_exp.images.load import load_image
from nst_exp.utils.errors import ConfigError

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
CHANNELS_FIRST = torch.from_numpy(PIXELS).permute(2, 0, 1)

FORMS: dict[str, Callable[[], Any]] = {
    "PIL": lambda: Image.fromarray(PIXELS),
    "uint8": lambda: PIXELS,
    "float32": lambda: PIXELS.astype(np.float32) / 255,
    "float64": lambda: PIXELS / 255,
    "transposed view": lambda: np.ascontiguousarray(PIXELS.transpose(1, 0, 2)).transpose(1, 0, 2),
    "tensor": lambda: CHANNELS_FIRST,
    "batch": lambda: (CHANNELS_FIRST / 255)[None].requires_grad_(),
}


@pytest.mark.parametrize("form", FORMS)
def test_same_pixels_in_every_form(form: str, tmp_path: Path) -> None:
    given = FORMS[form]()
    assert is_image(given)
    path = save_given(given, "style[1]", tmp_path / "new")
    assert np.array_equal(pixels(path), PIXELS)
    assert path == save_given(given, "style[1]", tmp_path / "new")  # the same call resumes


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (np.full((2, 3), 51, np.uint8), (51, 51, 51)),
        (torch.full((1, 2, 3), 0.2), (51, 51, 51)),
        (Image.new("CMYK", (3, 2), (0, 255, 255, 0)), (255, 0, 0)),
        (Image.new("F", (3, 2), 51), (51, 51, 51)),
        (np.full((2, 3, 4), (1.0, 0.0, 0.0, 1.0)), (255, 0, 0)),
    ],
)
def test_other_modes_and_shapes(given: Any, expected: tuple[int, ...], tmp_path: Path) -> None:
    shown = load_image(save_given(given, "content", tmp_path), key="content").image
    assert shown.size == (3, 2)
    assert shown.getpixel((0, 0)) == expected


def test_image_of_a_phone_is_upright(tmp_path: Path) -> None:
    lying = Image.fromarray(PIXELS)
    lying.getexif()[ExifTags.Base.Orientation] = 6
    assert pixels(save_given(lying, "content", tmp_path)).shape == (9, 6, 3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((3, 8, 8)), r"content: array of shape \(3, 8, 8\); an array must be \(H, W, 3\)"),
        (torch.zeros(8, 8, 3), r"content: tensor of shape \(8, 8, 3\)"),
        (torch.zeros(2, 3, 8, 8), r"content: tensor of shape \(2, 3, 8, 8\)"),
        (np.zeros((0, 8, 3)), "content: array of shape"),
        (
            PIXELS.astype(float),
            "content: array with values from .* to 2..; floats must be in 0..1",
        ),
        (np.full((2, 2, 3), np.nan), "content: array with values from nan"),
        (PIXELS.astype(np.uint16), "content: array of uint16; give uint8, or floats in 0..1"),
    ],
)
def test_what_is_no_image_is_refused(given: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        save_given(given, "content", tmp_path)
    assert list(tmp_path.iterdir()) == []
