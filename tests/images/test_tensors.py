"""Images to tensors and back, and resampling that neither shifts nor aliases."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from image_files import noise
from PIL import Image

from nst_exp.images.tensors import resize, to_array, to_tensor


def wave(width: int, height: int) -> np.ndarray:
    """A smooth image as a function of the place, so that its exact resampling is known."""
    y, x = (np.mgrid[0:height, 0:width] + 0.5) / np.array([height, width])[:, None, None]
    planes = [0.5 + 0.4 * np.sin(6 * x), 0.5 + 0.4 * np.cos(5 * y), 0.1 + 0.4 * (x + y)]
    return np.stack(planes, -1)


@pytest.mark.parametrize("size", [None, (40, 30)])
def test_values_and_layout(size: tuple[int, int] | None) -> None:
    pixels = noise(40, 30)
    tensor = to_tensor(Image.fromarray(pixels), size)
    assert tensor.shape == (1, 3, 30, 40)
    assert tensor.dtype == torch.float32
    assert tensor.is_contiguous()
    assert torch.equal(tensor[0, 1], torch.tensor(pixels[..., 1]) / 255)
    assert np.array_equal(np.rint(to_array(tensor) * 255), pixels)
    with pytest.raises(ValueError, match="must be RGB, not RGBA"):
        to_tensor(Image.new("RGBA", (4, 4)), size)


@pytest.mark.parametrize("size", [(400, 300), (17, 300), (1200, 900), (900, 50), (1, 1)])
def test_resampling_a_smooth_image(size: tuple[int, int]) -> None:
    image = Image.fromarray(np.rint(wave(800, 600) * 255).astype(np.uint8))
    result = to_tensor(image, size)
    assert result.shape == (1, 3, size[1], size[0])
    # the mean over each new pixel, which is what antialiasing tends to
    n = 8 if min(size) < 100 else 1
    fine = wave(size[0] * n, size[1] * n).reshape(size[1], n, size[0], n, 3).mean((1, 3))
    inner = (slice(None, None),) * 2 if min(size) < 3 else (slice(2, -2), slice(2, -2))
    tolerance = 0.1 if size == (1, 1) else 0.02
    assert np.abs(to_array(result) - fine)[inner].max() < tolerance


@pytest.mark.parametrize("size", [(91, 70), (33, 25), (13, 10)])
def test_shrinking_does_not_alias_and_loses_little_to_speed(size: tuple[int, int]) -> None:
    stripes = np.zeros((600, 800, 3), np.uint8)
    stripes[:, ::2] = 255  # finer than any of the sizes can show: gray is the only answer
    assert (to_tensor(Image.fromarray(stripes), size) - 0.5).abs().max() < 0.03
    image = Image.fromarray(noise(800, 600))
    exact = np.asarray(image.resize(size, Image.Resampling.LANCZOS)) / 255
    assert np.abs(to_array(to_tensor(image, size)) - exact).mean() < 1.5 / 255


def test_resize_keeps_constants_place_and_gradients() -> None:
    image = torch.rand(1, 3, 9, 7)
    assert resize(image, 9, 7) is image
    assert resize(torch.full((1, 3, 9, 7), 0.3), 50, 3).sub(0.3).abs().max() < 1e-6
    start = torch.tensor(wave(320, 240)).permute(2, 0, 1)[None].float().requires_grad_()
    for height, width in ((120, 160), (480, 640), (100, 90)):
        result = resize(start, height, width)
        expected = torch.tensor(wave(width, height)).permute(2, 0, 1)[None]
        assert (result - expected)[..., 3:-3, 3:-3].abs().max() < 3e-3
    result.sum().backward()
    assert start.grad is not None
    assert start.grad.sum().item() == pytest.approx(3 * 100 * 90, rel=1e-4)


def test_resize_overshoots_as_much_as_documented_and_does_not_alias() -> None:
    step = torch.zeros(1, 3, 8, 64)
    step[..., 32:] = 1
    result = resize(step, 32, 256)
    assert 1.01 < result.max() < 1.1
    assert -0.1 < result.min() < -0.01
    stripes = torch.zeros(1, 3, 64, 64)
    stripes[..., ::2] = 1
    assert (resize(stripes, 16, 16) - 0.5).abs()[..., 2:-2].max() < 0.02


def test_to_array_clips_but_keeps_nan() -> None:
    image = torch.tensor([-0.5, 0.25, 1.5, float("nan")]).expand(1, 3, 2, 4).requires_grad_()
    array = to_array(image)
    assert array.shape == (2, 4, 3)
    assert np.array_equal(array[0, :, 0], [0, 0.25, 1, np.nan], equal_nan=True)
    assert array.dtype == to_array(image.to(torch.bfloat16)).dtype == np.float32
    for shape in ((3, 4, 4), (2, 3, 4, 4), (1, 1, 4, 4)):
        with pytest.raises(ValueError, match="must be"):
            to_array(torch.zeros(shape))
