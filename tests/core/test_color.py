"""Colors that are matched, against NumPy and the definitions."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from nst_exp.config.schema import ColorRoot
from nst_exp.core.color import (
    LuminanceOnly,
    give_chroma,
    luminance,
    match_colors,
    match_histograms,
    match_luminance,
)

MakeImage = Callable[..., Tensor]


def colors(height: int, width: int, seed: int) -> Tensor:
    """A correlated cloud of colors around the middle, so that nothing is clipped."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(1, 3, height, width, generator=generator, dtype=torch.float64)
    mix = torch.randn(3, 3, generator=generator, dtype=torch.float64) * 0.03
    return 0.5 + torch.einsum("ij,bjhw->bihw", mix, values).clamp(-0.4, 0.4)


@pytest.mark.parametrize("root", list(ColorRoot))
def test_mean_and_covariance_are_those_of_the_reference(root: ColorRoot) -> None:
    """To the ridge on the diagonal, 1e-5."""
    image, reference = colors(20, 30, 1), colors(25, 15, 2)
    matched = match_colors(image, reference, root)
    for tensor in (matched, reference):
        assert 0.0 < float(tensor.min()) < float(tensor.max()) < 1.0
    found, expected = (x[0].flatten(1).numpy() for x in (matched, reference))
    np.testing.assert_allclose(found.mean(1), expected.mean(1), atol=1e-9)
    np.testing.assert_allclose(np.cov(found), np.cov(expected), atol=2e-4)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(np.cov(image[0].flatten(1)), np.cov(expected), atol=2e-4)


def test_histograms_are_those_of_the_reference() -> None:
    """The same image has its own; of as many pixels, every sorted value is the reference's."""
    image, reference = colors(20, 30, 1), colors(20, 30, 2)
    torch.testing.assert_close(match_histograms(image, image), image, atol=1e-12, rtol=0)
    matched = match_histograms(image, reference)
    covariance = np.cov(reference[0].flatten(1).numpy())
    axes = torch.from_numpy(np.linalg.eigh(covariance)[1].T)
    found, expected = ((axes @ x[0].flatten(1)).sort(dim=1).values for x in (matched, reference))
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=0)


def test_the_luminance_of_one_image_and_the_colors_of_another() -> None:
    """I and Q of the content are kept exactly; a gray style gets the content's contrast."""
    image, content = colors(12, 10, 1), colors(12, 10, 2)
    to_iq = torch.tensor([[0.596, -0.274, -0.322], [0.211, -0.523, 0.312]]).double()
    only = LuminanceOnly(content)
    result = only.colored(image)
    torch.testing.assert_close(luminance(result), luminance(image))
    iq, expected = (torch.einsum("ij,bjhw->bihw", to_iq, x) for x in (result, content))
    torch.testing.assert_close(iq, expected)
    gray = only(image)
    torch.testing.assert_close(gray, luminance(image).expand(-1, 3, -1, -1))
    matched = match_luminance(image, content)
    assert float(matched.mean()) == pytest.approx(float(luminance(content).mean()), abs=1e-9)
    spread = luminance(content).std(correction=0)
    assert float(luminance(matched).std(correction=0)) == pytest.approx(float(spread), rel=1e-9)


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (6, 6)])
@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_flat_and_gray_images_stay_finite(size: tuple[int, int], level: float) -> None:
    """They have no variance, or one along a single axis."""
    flat = torch.full((1, 3, *size), level)
    other = torch.rand(1, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    gray = other.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    for image, reference in (
        (flat, other),
        (other, flat),
        (gray, other),
        (other, gray),
        (flat, flat),
    ):
        for result in (
            match_colors(image, reference, ColorRoot.cholesky),
            match_colors(image, reference, ColorRoot.symmetric),
            match_histograms(image, reference),
            match_luminance(image, reference),
        ):
            assert result.isfinite().all()
            assert result.shape == image.shape
            assert result.dtype is image.dtype


CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
OKLAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def oklab(image: Tensor) -> np.ndarray:
    """(H, W, 3)."""
    return np.cbrt(image[0].permute(1, 2, 0).numpy() @ CONES.T) @ OKLAB.T


def test_chroma_of_the_content_moved_to_the_style_pixel_by_pixel() -> None:
    """Roots by Denman-Beavers iterations; an unclipped image keeps its lightness."""
    image, content, style = (oklab(colors(5, 7, seed)) for seed in (1, 2, 3))

    def root(matrix: np.ndarray) -> np.ndarray:
        y, z = matrix, np.eye(2)
        for _ in range(40):
            y, z = (y + np.linalg.inv(z)) / 2, (z + np.linalg.inv(y)) / 2
        return y

    own, target = (x[..., 1:].reshape(-1, 2) for x in (content, style))
    covariances = [np.cov(x.T, bias=True) + 1e-4 * np.eye(2) for x in (own, target)]
    move = root(covariances[1]) @ np.linalg.inv(root(covariances[0]))
    chroma = ((own - own.mean(0)) @ move.T + target.mean(0)).reshape(5, 7, 2)
    for _ in range(5):
        before, chroma = chroma, np.zeros_like(chroma)
        for y, x in np.ndindex(5, 7):
            total = 0.0
            for b, a in np.ndindex(3, 3):
                place = min(max(y + b - 1, 0), 4), min(max(x + a - 1, 0), 6)
                weight = np.exp(-10 * abs(image[place][0] - image[y, x, 0]))
                chroma[y, x] += weight * before[place]
                total += weight
            chroma[y, x] /= total
    expected = np.concatenate([image[..., :1], chroma], axis=2)
    expected = expected.clip(style.min((0, 1)), style.max((0, 1)))
    found = give_chroma(colors(5, 7, 1), colors(5, 7, 2), colors(5, 7, 3))
    np.testing.assert_allclose(oklab(found), expected, atol=1e-9)


def test_chroma_of_gray_images() -> None:
    """No covariance: everything gets the style's mean color, without NaN."""
    gray, style = torch.full((1, 3, 4, 4), 0.5), colors(4, 4, 1)
    assert give_chroma(gray, gray, style).isfinite().all()
    assert give_chroma(style, style, gray).isfinite().all()
