"""Images to tensors and back, and resampling that neither shifts nor aliases."""

import numpy as np
import pytest
import torch
from helpers_core import cubic, resampled
from image_files import noise
from PIL import Image

from nst_exp.config.schema import Filter
from nst_exp.images.tensors import enlarge, reduce, rotate, scale, to_array, to_tensor


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


@pytest.mark.parametrize("size", [(400, 300), (17, 300), (1200, 900), (900, 50)])
def test_resampling_a_smooth_image(size: tuple[int, int]) -> None:
    image = Image.fromarray(np.rint(wave(800, 600) * 255).astype(np.uint8))
    result = to_array(to_tensor(image, size))
    # the mean over each new pixel, which is what antialiasing tends to
    fine = wave(size[0] * 4, size[1] * 4).reshape(size[1], 4, size[0], 4, 3).mean((1, 3))
    assert np.abs(result - fine)[2:-2, 2:-2].max() < 0.02


@pytest.mark.parametrize("size", [(91, 70), (13, 10)])
def test_shrinking_does_not_alias_and_loses_little_to_speed(size: tuple[int, int]) -> None:
    stripes = np.zeros((600, 800, 3), np.uint8)
    stripes[:, ::2] = 255  # finer than any of the sizes can show: gray is the only answer
    assert (to_tensor(Image.fromarray(stripes), size) - 0.5).abs().max() < 0.03
    image = Image.fromarray(noise(800, 600))
    exact = np.asarray(image.resize(size, Image.Resampling.LANCZOS)) / 255
    assert np.abs(to_array(to_tensor(image, size)) - exact).mean() < 1.5 / 255


@pytest.mark.parametrize("kernel", [Filter.bicubic, Filter.bilinear, Filter.nearest])
@pytest.mark.parametrize("size", [(91, 17), (3, 1), (400, 300), (80, 700)])
def test_filters_of_pillow_are_its_values(kernel: Filter, size: tuple[int, int]) -> None:
    """Without the reduction that saves time with the default, which changes values."""
    image = Image.fromarray(noise(320, 240))
    expected = np.asarray(image.resize(size, Image.Resampling[kernel.name.upper()]))
    assert np.array_equal(to_array(to_tensor(image, size, kernel)), expected / np.float32(255))


def test_reduce_averages_what_is_larger() -> None:
    image = torch.rand(1, 3, 30, 60)
    assert reduce(image, 60) is image
    expected = image.reshape(1, 3, 15, 2, 30, 2).mean((3, 5))
    torch.testing.assert_close(reduce(image, 30), expected)
    assert reduce(image[:, :, :1], 7).shape == (1, 3, 1, 7)


def naive_area(pixels: np.ndarray, length: int) -> np.ndarray:
    """Average along the first axis, each old pixel weighted by its overlap with the new one."""
    scale, result = len(pixels) / length, []
    for i in range(length):
        low, high = i * scale, (i + 1) * scale
        overlaps = [max(0.0, min(high, j + 1) - max(low, j)) for j in range(len(pixels))]
        result.append(np.tensordot(np.array(overlaps) / scale, pixels, 1))
    return np.stack(result)


@pytest.mark.parametrize("size", [(16, 12), (19, 7), (1, 1), (32, 40), (50, 3)])
def test_area_is_the_mean_over_each_new_pixel(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nst_exp.images.tensors._BAND", 5)
    pixels = noise(32, 24)
    columns = naive_area(pixels / 255.0, size[1])
    expected = naive_area(columns.transpose(1, 0, 2), size[0]).transpose(1, 0, 2)
    found = to_array(to_tensor(Image.fromarray(pixels), size, Filter.area))
    assert np.abs(found - expected).max() < 1e-6  # float32


def naive_cubic(pixels: np.ndarray, length: int) -> np.ndarray:
    """Interpolate along the first axis by Keys' kernel with a = -0.75, edges repeated."""
    scale, result = len(pixels) / length, []
    for i in range(length):
        place = (i + 0.5) * scale - 0.5
        value = np.zeros(pixels.shape[1:])
        for j in range(int(np.floor(place)) - 1, int(np.floor(place)) + 3):
            x = abs(place - j)
            near = 1.25 * x**3 - 2.25 * x**2 + 1
            far = -0.75 * (x**3 - 5 * x**2 + 8 * x - 4)
            value += (near if x <= 1 else far) * pixels[min(max(j, 0), len(pixels) - 1)]
        result.append(value)
    return np.stack(result)


@pytest.mark.parametrize("size", [(16, 12), (19, 7), (1, 1), (50, 40)])
def test_cubic_interpolation_without_antialiasing(size: tuple[int, int]) -> None:
    pixels = noise(32, 24)
    columns = naive_cubic(pixels.astype(float), size[1])
    exact = naive_cubic(columns.transpose(1, 0, 2), size[0]).transpose(1, 0, 2)
    found = to_array(to_tensor(Image.fromarray(pixels), size, Filter.bicubic_no_antialias)) * 255
    assert np.abs(found - np.clip(exact, 0, 255)).max() < 0.501  # rounded to 8 bits
    assert np.abs(found - found.round()).max() < 1e-4


def test_enlarging_is_bicubic_and_clamped() -> None:
    image = torch.from_numpy(noise(14, 9)).permute(2, 0, 1)[None] / 255
    expected = resampled(image.double(), 13, 20, cubic)
    assert expected.min() < -0.01  # else clamping does nothing
    found = enlarge(image, 13, 20)
    torch.testing.assert_close(found.double(), expected.clamp(0, 1), rtol=0, atol=1e-6)  # float32
    assert torch.equal(enlarge(image, 9, 14), image)


def test_to_array_clips_but_keeps_nan() -> None:
    image = torch.tensor([-0.5, 0.25, 1.5, float("nan")]).expand(1, 3, 2, 4).requires_grad_()
    array = to_array(image)
    assert array.shape == (2, 4, 3)
    assert np.array_equal(array[0, :, 0], [0, 0.25, 1, np.nan], equal_nan=True)
    assert array.dtype == to_array(image.to(torch.bfloat16)).dtype == np.float32


@pytest.mark.parametrize("degrees", [0, 90, 180, -90, 30, -7.5, 200])
def test_rotated_copies(degrees: float) -> None:
    """A plane of values, which turns with the image; no empty corner is left."""
    y, x = (torch.arange(n) - (n - 1) / 2 for n in (60, 80))
    image = (0.5 + 0.004 * x[None, :] + 0.003 * y[:, None]).expand(1, 3, -1, -1)
    rotated = rotate(image, degrees)
    angle = np.radians(degrees)
    y, x = (torch.arange(n) - (n - 1) / 2 for n in rotated.shape[2:])
    across = 0.004 * np.cos(angle) + 0.003 * np.sin(angle)
    down = 0.003 * np.cos(angle) - 0.004 * np.sin(angle)
    expected = 0.5 + across * x[None, :] + down * y[:, None]
    # An odd margin of the crop shifts the center by half a pixel.
    assert (rotated[0, 0] - expected).abs().max() < (0.004 if degrees % 90 else 1e-6)
    assert min(rotated.shape[2:]) >= (60 if degrees % 90 == 0 else 30)


@pytest.mark.parametrize("factor", [0.95, 1.0, 1.3])
def test_scaled_copies(factor: float) -> None:
    """A plane of values stays one, away from the border, where the filter ends."""
    image = 0.2 + 0.005 * torch.arange(60.0)[:, None] + 0.001 * torch.arange(80.0)
    scaled = scale(image.expand(1, 3, -1, -1), factor)[0, 0]
    assert scaled.shape == (round(60 * factor), round(80 * factor))
    y, x = (
        (torch.arange(n) + 0.5) * m / n - 0.5 for n, m in zip(scaled.shape, (60, 80), strict=True)
    )
    difference = scaled - (0.2 + 0.005 * y[:, None] + 0.001 * x)
    assert difference[3:-3, 3:-3].abs().max() < (0.001 if factor < 1 else 1e-6)
