"""The image that the optimization starts from."""

from collections.abc import Callable

import pytest
import torch
from helpers_core import linear, resampled
from torch import Tensor

from nst_exp.config.schema import Init, InitKind, NoiseKind
from nst_exp.core.init_image import noise, starting_image

MakeImage = Callable[..., Tensor]


@pytest.mark.parametrize(("kind", "kurtosis"), [(NoiseKind.normal, 3.0), (NoiseKind.uniform, 1.8)])
@pytest.mark.parametrize(
    ("mean", "scale"), [([0.5], 0.05), ([0.25], 0.4), ([0.485, 0.458, 0.4076], 0.1)]
)
def test_noise_has_the_distribution_of_the_config(
    kind: NoiseKind, kurtosis: float, mean: list[float], scale: float
) -> None:
    """One mean for all channels, or red, green and blue."""
    settings = Init(noise=kind, noise_mean=mean, noise_scale=scale)
    image = noise(settings, 200, 200, seed=3)
    assert (image.shape, image.dtype) == ((1, 3, 200, 200), torch.float32)
    for channel, expected in zip(image[0].double(), mean * (3 // len(mean)), strict=True):
        # 40,000 draws: the standard error of mean and spread is 0.5 and 0.4 percent of the spread.
        assert float(channel.mean()) == pytest.approx(expected, abs=0.02 * scale)
        assert float(channel.std()) == pytest.approx(scale, rel=0.015)
        fourth = float((channel - channel.mean()).pow(4).mean() / channel.var() ** 2)
        assert fourth == pytest.approx(kurtosis, rel=0.05)


@pytest.mark.parametrize("kind", list(NoiseKind))
def test_noise_is_determined_by_the_seed(kind: NoiseKind) -> None:
    state = torch.random.get_rng_state()
    first, again, other = (noise(Init(noise=kind), 9, 7, seed) for seed in (4, 4, 5))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), state)  # the global generator is not used


def details(image: Tensor) -> Tensor:
    """What is lost at half the size."""
    height, width = image.shape[2:]
    return image - resampled(
        resampled(image, height // 2, width // 2, linear), height, width, linear
    )


def test_start_of_each_kind(random_image: MakeImage) -> None:
    content, other = random_image(5, 8, seed=1), random_image(5, 8, seed=2)
    drawn = noise(Init(), 5, 8, seed=6)
    expected = {
        InitKind.content: content,
        InitKind.style: other,
        InitKind.file: other,
        InitKind.noise: drawn,
        InitKind.blend: 0.3 * drawn + 0.7 * content,
        InitKind.details: other.mean((2, 3), keepdim=True) + details(content),
    }
    for kind in InitKind:
        source = other if kind in (InitKind.style, InitKind.file, InitKind.details) else None
        image = starting_image(Init(kind=kind, noise_ratio=0.3), content, source, seed=6)
        torch.testing.assert_close(image, expected[kind])
