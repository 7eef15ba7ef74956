"""The image that the optimization starts from."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from nst_exp.config.schema import Init, InitKind, NoiseKind
from nst_exp.core.init_image import noise, starting_image

MakeImage = Callable[..., Tensor]


@pytest.mark.parametrize(("kind", "kurtosis"), [(NoiseKind.normal, 3.0), (NoiseKind.uniform, 1.8)])
@pytest.mark.parametrize("scale", [0.05, 0.4])
def test_noise_has_the_spread_and_the_distribution_of_the_config(
    kind: NoiseKind, kurtosis: float, scale: float
) -> None:
    image = noise(Init(noise=kind, noise_scale=scale), 200, 200, seed=3)
    assert image.shape == (1, 3, 200, 200)
    assert image.dtype == torch.float32
    # 120,000 draws: the standard error of mean and spread is 0.3 and 0.2 percent of the spread.
    assert float(image.mean()) == pytest.approx(0.5, abs=0.015 * scale)
    assert float(image.std()) == pytest.approx(scale, rel=0.01)
    centered = (image - 0.5).double()
    found = float(centered.pow(4).mean() / centered.square().mean() ** 2)
    assert found == pytest.approx(kurtosis, rel=0.05)


@pytest.mark.parametrize("kind", list(NoiseKind))
@pytest.mark.parametrize("mean", [[0.25], [0.485, 0.458, 0.4076]])
def test_noise_has_the_mean_of_the_config(kind: NoiseKind, mean: list[float]) -> None:
    """One value for all channels, or red, green and blue."""
    settings = Init(noise=kind, noise_mean=mean, noise_scale=0.1)
    image = noise(settings, 200, 200, seed=3)
    assert image.shape == (1, 3, 200, 200)
    # 40,000 draws each: the standard error of a mean is 0.5 per cent of the spread.
    for channel, expected in zip(image[0], mean * (3 // len(mean)), strict=True):
        assert float(channel.mean()) == pytest.approx(expected, abs=0.002)
    gray = noise(Init(noise=kind, noise_scale=0.1), 200, 200, seed=3)
    shift = torch.tensor(mean).view(1, -1, 1, 1) - 0.5
    torch.testing.assert_close(image, gray + shift, rtol=0, atol=1e-6)  # float32; the same draws


@pytest.mark.parametrize("kind", list(NoiseKind))
def test_noise_is_determined_by_the_seed(kind: NoiseKind) -> None:
    settings = Init(noise=kind)
    state = torch.random.get_rng_state()
    first, again, other = (noise(settings, 9, 7, seed) for seed in (4, 4, 5))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), state)  # the global generator is not used


@pytest.mark.parametrize(
    ("kind", "seed"), [(InitKind.content, 1), (InitKind.style, 2), (InitKind.file, 2)]
)
def test_an_image_is_used_unchanged(kind: InitKind, seed: int, random_image: MakeImage) -> None:
    content, other = random_image(seed=1), random_image(seed=2)
    image = starting_image(Init(kind=kind), content, other, seed=0)
    assert torch.equal(image, random_image(seed=seed))
    assert all(image.data_ptr() != source.data_ptr() for source in (content, other))


def test_noise_has_the_size_of_the_content(random_image: MakeImage) -> None:
    settings = Init(kind=InitKind.noise)
    image = starting_image(settings, random_image(5, 8), None, seed=6)
    assert torch.equal(image, noise(settings, 5, 8, 6))


@pytest.mark.parametrize("ratio", [0.0, 0.3, 1.0])
def test_blend_mixes_noise_and_content(ratio: float, random_image: MakeImage) -> None:
    settings = Init(kind=InitKind.blend, noise_ratio=ratio)
    content = random_image(5, 8)
    image = starting_image(settings, content, None, seed=6)
    expected = ratio * noise(settings, 5, 8, 6) + (1 - ratio) * content
    torch.testing.assert_close(image, expected)
