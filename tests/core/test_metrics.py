"""The metrics of a result, against closed forms, naive loops and the libraries themselves."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio

from nst_exp.core import metrics
from nst_exp.core.metrics import color_distance, directions, lab, sliced_wasserstein

MakeImage = Callable[..., Tensor]
LAYERS = ["relu1", "relu2"]


def flat(color: tuple[float, float, float], side: int = 16) -> Tensor:
    """An image of one color."""
    return torch.tensor(color).view(1, 3, 1, 1).expand(1, 3, side, side).clone()


def naive_gram(maps: NDArray[np.float64]) -> NDArray[np.float64]:
    rows = maps.reshape(maps.shape[0], -1)
    return np.array([[float(a @ b) for b in rows] for a in rows]) / rows.shape[1]


def test_distances_are_those_of_naive_loops(
    tiny_encoder: torch.nn.Module, random_image: MakeImage
) -> None:
    images = (random_image(*s, seed=s[0]) for s in ((33, 40), (33, 40), (47, 38)))
    image, content, style = (tiny_encoder(x) for x in images)
    of_content, of_style = [], []
    for layer in LAYERS:
        f, p, s = (maps[layer][0].double().numpy() for maps in (image, content, style))
        of_content.append(((f - p) ** 2).sum() / (p**2).sum())
        gram, target = naive_gram(f), naive_gram(s)
        of_style.append(((gram - target) ** 2).sum() / (target**2).sum())
    found = metrics.content_distance(image, content, LAYERS)
    assert found == pytest.approx(np.mean(of_content), rel=1e-4)  # float32 sums
    found = metrics.style_distance(image, style, LAYERS)
    assert found == pytest.approx(np.mean(of_style), rel=1e-3)  # differences of float32 sums


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_constant_images_give_finite_numbers(value: float, tiny_encoder: torch.nn.Module) -> None:
    image = flat((value, value, value), 32)
    maps = tiny_encoder(image)
    assert metrics.content_distance(maps, maps, LAYERS) == 0.0
    assert metrics.style_distance(maps, maps, LAYERS) == 0.0
    assert metrics.total_variation(image) == metrics.sharpness(image) == 0.0
    assert metrics.ssim(image, image) == pytest.approx(1.0, abs=1e-3)  # float32 over C2 = 9e-4


def naive_ssim(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Wang et al. 2004, section III.B and C, over the positions where the window fits."""
    line = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    weights = np.outer(line, line) / line.sum() ** 2
    c1, c2 = 0.01**2, 0.03**2
    values = []
    for y in range(a.shape[0] - 10):
        for x in range(a.shape[1] - 10):
            p, q = (image[y : y + 11, x : x + 11] for image in (a, b))
            mp, mq = (weights * p).sum(), (weights * q).sum()
            vp, vq = (weights * (p - mp) ** 2).sum(), (weights * (q - mq) ** 2).sum()
            cov = (weights * (p - mp) * (q - mq)).sum()
            values.append(
                (2 * mp * mq + c1) * (2 * cov + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2))
            )
    return float(np.mean(values))


def luma(image: Tensor) -> NDArray[np.float64]:
    return np.tensordot([0.299, 0.587, 0.114], image[0].double().numpy(), axes=1)


@pytest.mark.parametrize(("height", "width"), [(20, 23), (11, 14)])
@pytest.mark.parametrize("rows", [256, 3])
def test_ssim_is_that_of_the_paper(
    random_image: MakeImage, height: int, width: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "_SSIM_ROWS", rows)
    first, second = random_image(height, width, 1), random_image(height, width, 2)
    second = 0.6 * first + 0.4 * second
    # torchvision's weights of R, G, B sum to 0.9999; float32 variances over C2.
    expected = naive_ssim(luma(first), luma(second))
    assert metrics.ssim(first, second) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("rgb", "expected"),
    [  # as CIE 1976 L*a*b* under D65 is tabulated for sRGB's primaries, to two places
        ((1.0, 0.0, 0.0), (53.24, 80.09, 67.20)),
        ((0.0, 1.0, 0.0), (87.73, -86.18, 83.18)),
        ((0.0, 0.0, 1.0), (32.30, 79.19, -107.86)),
        ((1.0, 1.0, 0.0), (97.14, -21.55, 94.48)),
        ((0.0, 1.0, 1.0), (91.11, -48.09, -14.13)),
        ((1.0, 0.0, 1.0), (60.32, 98.23, -60.82)),
        ((1.0, 1.0, 1.0), (100.0, 0.0, 0.0)),
        ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
        ((119 / 255,) * 3, (50.03, 0.0, 0.0)),
    ],
)
def test_lab_of_known_colors(
    rgb: tuple[float, float, float], expected: tuple[float, float, float]
) -> None:
    # Tables differ by 0.03: their matrices have four to seven digits.
    np.testing.assert_allclose(
        lab(torch.tensor([rgb], dtype=torch.float64))[0], expected, atol=0.03
    )


def test_color_distance_of_two_flat_images() -> None:
    first, second = (0.8, 0.3, 0.1), (0.1, 0.4, 0.9)
    ends = lab(torch.tensor([first, second], dtype=torch.float64)).numpy()
    shift = ends[0] - ends[1]
    expected = np.abs(directions().numpy() @ shift).mean()
    found = color_distance(flat(first, 16), flat(second, 24))
    assert found == pytest.approx(expected, rel=1e-5)  # float32 projections
    assert found == pytest.approx(np.linalg.norm(shift) / 2, rel=0.05)


def test_sliced_wasserstein_of_unequal_numbers_of_points() -> None:
    """Per direction the area between the two distribution functions, summed naively."""
    generator = np.random.default_rng(1)
    first, second = generator.normal(size=(300, 3)), 2.0 * generator.normal(size=(1200, 3)) + 1.0
    areas = []
    for direction in directions().numpy():
        a, b = np.sort(first @ direction), np.sort(second @ direction)
        edges = np.sort(np.concatenate([a, b]))
        below = [np.searchsorted(x, edges[:-1], side="right") / len(x) for x in (a, b)]
        areas.append((np.abs(below[0] - below[1]) * np.diff(edges)).sum())
    # 1200 is a multiple of 300, so the levels are exact.
    found = sliced_wasserstein(torch.from_numpy(first), torch.from_numpy(second))
    assert found == pytest.approx(np.mean(areas), rel=1e-5)


def test_large_images_are_sampled_wherever_the_colors_are(random_image: MakeImage) -> None:
    small = random_image(20, 30)
    assert color_distance(small, small.flip(2, 3)) == 0.0
    image, other = random_image(600, 500, 1), random_image(600, 500, 2)
    assert color_distance(image, image) == 0.0
    # The same distribution: what is left is the sampling error of 20000 points, spread over 60.
    assert 0.0 < color_distance(image, other) < 1.0


def test_total_variation_is_that_of_a_naive_loop(random_image: MakeImage) -> None:
    x = random_image(7, 9, seed=4)
    rows = x[0].double().tolist()
    across = [abs(row[j] - row[j - 1]) for c in rows for row in c for j in range(1, 9)]
    down = [abs(c[i][j] - c[i - 1][j]) for c in rows for i in range(1, 7) for j in range(9)]
    expected = (sum(across) + sum(down)) / (3 * 7 * 9)
    assert metrics.total_variation(x) == pytest.approx(expected, rel=1e-5)  # float32


def test_psnr_is_torchmetrics_s_and_at_most_100(random_image: MakeImage) -> None:
    image, other = random_image(9, 12, seed=4), random_image(9, 12, seed=5)
    expected = float(peak_signal_noise_ratio(image, other, data_range=1.0))
    assert metrics.psnr(image, other) == pytest.approx(expected, rel=1e-5)
    assert metrics.psnr(image, image) == 100.0


def test_sharpness_is_that_of_a_naive_loop(random_image: MakeImage) -> None:
    gray = luma(random_image(9, 12, seed=4))
    values = [
        gray[i - 1, j] + gray[i + 1, j] + gray[i, j - 1] + gray[i, j + 1] - 4 * gray[i, j]
        for i in range(1, 8)
        for j in range(1, 11)
    ]
    found = metrics.sharpness(random_image(9, 12, seed=4))
    assert found == pytest.approx(np.var(values), rel=1e-3)  # weights of R, G, B: 0.9999
