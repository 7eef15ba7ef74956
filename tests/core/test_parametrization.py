"""The image's coordinates: the Hartley transform, its scaling, and that nothing is lost by them."""

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from helpers_core import linear, resampled
from torch import Tensor, nn

from nst_exp.config import schema
from nst_exp.core.optimizers import build_optimizer
from nst_exp.core.parametrization import (
    ImageParameter,
    hartley,
    join_bands,
    pyramid_sizes,
    spectral_scale,
    split_bands,
)

MakeImage = Callable[..., Tensor]
PIXELS = schema.Parametrization(schema.ParametrizationKind.pixels)
FOURIER = schema.Parametrization(schema.ParametrizationKind.fourier, decay=0.8)
LAPLACIAN = schema.Parametrization(schema.ParametrizationKind.laplacian, levels=2)


def test_hartley_is_the_sum_of_cosines_and_sines() -> None:
    height, width = 3, 4
    x = torch.randn(height, width, dtype=torch.float64)
    expected = torch.zeros_like(x)
    places = list(itertools.product(range(height), range(width)))
    for (u, v), (i, j) in itertools.product(places, places):
        angle = 2 * math.pi * (u * i / height + v * j / width)
        expected[u, v] += x[i, j] * (math.cos(angle) + math.sin(angle))
    expected /= math.sqrt(height * width)
    torch.testing.assert_close(hartley(x), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("size", [(1, 1), (4, 6), (5, 7), (1, 8)])
def test_hartley_keeps_lengths_and_is_its_own_inverse(size: tuple[int, int]) -> None:
    x = torch.randn(*size, dtype=torch.float64)
    assert float(hartley(x).norm()) == pytest.approx(float(x.norm()), rel=1e-13)
    torch.testing.assert_close(hartley(hartley(x)), x, rtol=0, atol=1e-13)


def test_spectral_scale_falls_with_frequency_as_asked() -> None:
    scale = spectral_scale(16, 16, 0.5)
    assert float(scale.double().square().mean()) == pytest.approx(1.0, rel=1e-6)  # float32
    # Along one axis the frequencies are 1/16, 2/16, 4/16; the mean counts as 1/16.
    assert float(scale[0, 1] / scale[0, 4]) == pytest.approx(2.0, rel=1e-6)
    assert float(scale[2, 0] / scale[4, 0]) == pytest.approx(math.sqrt(2.0), rel=1e-6)
    assert float(scale[0, 0]) == float(scale[0, 1]) == float(scale[0, 15])


@pytest.mark.parametrize("settings", [PIXELS, FOURIER, LAPLACIAN, replace(LAPLACIAN, levels=16)])
@pytest.mark.parametrize("size", [(8, 8), (7, 10), (1, 5)])
def test_image_survives_the_change_of_coordinates(
    settings: schema.Parametrization, size: tuple[int, int], random_image: MakeImage
) -> None:
    """Also if it is replaced in place; ``length`` measures such a change."""
    first, second = random_image(*size, seed=1), random_image(*size, seed=2)
    parameter = ImageParameter(first, settings)
    values, old = parameter.values, parameter.values.detach().clone()
    assert list(parameter.state_dict()) == ["values"]
    # Float32: two transforms of values up to 255 lose a few units in the last place.
    torch.testing.assert_close(parameter().detach(), first, rtol=0, atol=2e-6)
    parameter.set_image(second.double())
    assert parameter.values is values
    torch.testing.assert_close(parameter().detach(), second, rtol=0, atol=2e-6)
    change = float((second - first).square().mean().sqrt())
    assert parameter.length(values - old) == pytest.approx(change, rel=1e-5)


def test_pixels_are_scaled_to_the_optimizers_unit(random_image: MakeImage) -> None:
    values = ImageParameter(random_image(), replace(PIXELS, pixel_scale=100.0)).values
    torch.testing.assert_close(values.detach(), random_image() * 100)


def test_without_decay_fourier_and_pixels_are_the_same_to_lbfgs(
    tiny_encoder: nn.Module, random_image: MakeImage
) -> None:
    """L-BFGS consists of dot products, which a rotation keeps; so does ``first_step``."""
    encoder = tiny_encoder.double()
    with torch.no_grad():
        target = encoder(random_image(12, 10, 9, torch.float64))["relu2"]
    image = random_image(12, 10, 1, torch.float64)
    losses: dict[str, list[float]] = {}
    for kind in (schema.ParametrizationKind.pixels, schema.ParametrizationKind.fourier):
        coordinates = schema.Parametrization(kind, pixel_scale=10.0, decay=0.0)
        parameter = ImageParameter(image, coordinates).double()
        parameter.set_image(image)  # the constructor rounds to float32

        def closure(parameter: ImageParameter = parameter) -> Tensor:
            parameter.values.grad = None
            loss: Tensor = 1e4 * (encoder(parameter())["relu2"] - target).square().sum()
            loss.backward()
            return loss

        optimizer = build_optimizer(parameter, schema.LBFGS(parametrization=coordinates))
        losses[kind.name] = [float(optimizer.step(closure)) for _ in range(8)]
    assert losses["pixels"][-1] < 0.1 * losses["pixels"][0]
    # Rounding in float64, which eight steps of L-BFGS enlarge.
    assert losses["fourier"] == pytest.approx(losses["pixels"], rel=1e-8)


@pytest.mark.parametrize(("height", "width", "levels"), [(16, 12, 2), (13, 22, 4), (1, 9, 3)])
def test_a_laplacian_pyramid_is_what_resizing_loses(height: int, width: int, levels: int) -> None:
    """Against bilinear interpolation by its weights, in float64; also the derivative."""
    image = torch.randn(1, 3, height, width, dtype=torch.float64)
    sizes = pyramid_sizes(height, width, levels)
    assert sizes[0] == (height, width)
    assert len(sizes) == levels + 1
    parts, current = [], image
    for size, smaller in itertools.pairwise(sizes):
        assert smaller == tuple(max(1, side // 2) for side in size)
        coarse = resampled(current, *smaller, linear)
        parts.append((current - resampled(coarse, *size, linear)).flatten(2))
        current = coarse
    values = split_bands(image, sizes)
    torch.testing.assert_close(values, torch.cat([*parts, current.flatten(2)], dim=2))
    torch.testing.assert_close(join_bands(values, sizes), image)
    torch.autograd.gradcheck(lambda x: join_bands(x, sizes), values.requires_grad_())


def test_a_pyramid_keeps_its_values_where_the_image_does_not_change(
    random_image: MakeImage,
) -> None:
    """As if the image is clipped to 0..1 where nothing lies outside."""
    parameter = ImageParameter(random_image(12, 10), LAPLACIAN)
    with torch.no_grad():
        parameter.values.add_(torch.randn(parameter.values.shape))  # many values give one image
    before, image = parameter.values.detach().clone(), parameter().detach()
    parameter.set_image(image)
    torch.testing.assert_close(parameter.values.detach(), before, rtol=0, atol=1e-4)  # of 0..255
