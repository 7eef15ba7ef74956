"""The image that the optimisation starts from."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from nst_exp.config import Init, InitKind, NoiseKind
from nst_exp.init import noise, starting_image

MakeImage = Callable[..., Tensor]


@pytest.mark.parametrize("kind", list(NoiseKind))
@pytest.mark.parametrize("scale", [0.05, 0.4])
def test_noise_has_the_spread_that_is_asked_for(kind: NoiseKind, scale: float) -> None:
    image = noise(Init(noise=kind, noise_scale=scale), 200, 200, seed=3)
    assert image.shape == (1, 3, 200, 200)
    assert image.dtype == torch.float32
    # 120,000 draws: the standard error of mean and spread is 0.3 and 0.2 per cent of the spread.
    assert float(image.mean()) == pytest.approx(0.5, abs=0.015 * scale)
    assert float(image.std()) == pytest.approx(scale, rel=0.01)


def test_noise_has_the_shape_that_is_asked_for() -> None:
    """Fourth moment over the squared second: 3 for the normal, 9/5 for the uniform distribution."""
    for kind, kurtosis in ((NoiseKind.normal, 3.0), (NoiseKind.uniform, 1.8)):
        unit = (noise(Init(noise=kind, noise_scale=1.0), 200, 200, seed=1) - 0.5).double()
        measured = float(unit.pow(4).mean() / unit.square().mean() ** 2)
        assert measured == pytest.approx(kurtosis, rel=0.05)


@pytest.mark.parametrize("kind", list(NoiseKind))
def test_a_seed_names_one_noise(kind: NoiseKind) -> None:
    settings = Init(noise=kind)
    state = torch.random.get_rng_state()
    first, again, other = (noise(settings, 9, 7, seed) for seed in (4, 4, 5))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), state)  # nobody else's numbers are used up


@pytest.mark.parametrize(
    ("kind", "seed"), [(InitKind.content, 1), (InitKind.style, 2), (InitKind.file, 2)]
)
def test_a_picture_is_taken_as_it_is(kind: InitKind, seed: int, random_image: MakeImage) -> None:
    content, picture = random_image(seed=1), random_image(seed=2)
    image = starting_image(Init(kind=kind), content, picture, seed=0)
    assert torch.equal(image, random_image(seed=seed))
    assert all(image.data_ptr() != other.data_ptr() for other in (content, picture))


def test_noise_takes_the_contents_size(random_image: MakeImage) -> None:
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
