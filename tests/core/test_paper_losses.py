"""The presets of papers with other representations of style, against their formulas in loops."""

from collections.abc import Callable, Mapping

import helpers_statistics as naive
import pytest
import torch
from helpers_core import random_maps
from test_published_losses import FORMULAS, STYLE, assert_same, interior, mse, sse
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, interpolate

from nst_exp.app.api import make_config
from nst_exp.config.loss_layers import layers_read, resolve_layers
from nst_exp.config.presets import groups
from nst_exp.core.image_terms import variation_of_style
from nst_exp.core.objective import build_objective
from nst_exp.core.statistics.sliced import Sliced
from nst_exp.core.targets import whole_image

Maps = Mapping[str, Tensor]
Total = Callable[[Tensor, Maps, Maps, Maps], Tensor]  # of the image, its maps, content's, style's
RELU = [
    f"relu{block}_{k}" for block, count in enumerate((2, 2, 3, 3), 1) for k in range(1, count + 1)
]
STROTSS = ["rgb", *RELU[:7], "relu4_3", "relu5_3"]


def count(f: Tensor) -> int:
    return f[0, 0].numel()


def products(f: Tensor, other: Tensor) -> Tensor:
    """Gram matrix per position."""
    rows, others = f[0].flatten(1), other[0].flatten(1)
    return rows @ others.T / count(f)


def gram(f: Tensor) -> Tensor:
    return products(f, f)


def moments(f: Tensor) -> tuple[Tensor, Tensor]:
    values = f[0].flatten(1)
    return values.mean(dim=1), values.std(dim=1, correction=0)


def spst(image: Tensor, f: Maps, p: Maps, s: Maps) -> Tensor:
    """Weights of spst.py: 1e3 / N^2 for Gram matrices; for means and deviations 1e4 at any N."""
    total = mse(f["relu4_2"], p["relu4_2"])
    for layer in STYLE:
        pairs = zip(moments(f[layer]), moments(s[layer]), strict=True)
        total = total + 1e3 / f[layer].shape[1] ** 2 * mse(gram(f[layer]), gram(s[layer]))
        total = total + 1e4 * sum(mse(x, y) for x, y in pairs)
    return total


def demystifying(image: Tensor, f: Maps, p: Maps, s: Maps) -> Tensor:
    """bn_loss.py: half the squared differences over N, times 1e3 M; Laplacian / 8 as gradient."""
    total = sse(f["relu4_2"], p["relu4_2"])
    for layer in STYLE:
        pairs = zip(moments(f[layer]), moments(s[layer]), strict=True)
        total = total + 1e3 * count(f[layer]) * sum(mse(x, y) for x, y in pairs) / 2
    squares = sum((256 * image).diff(dim=d).square().sum() for d in (2, 3))
    return total + 1e-2 / 8 * squares / 2


def novak(image: Tensor, f: Maps, p: Maps, s: Maps) -> Tensor:
    """Gram matrices of F - 1, also of neighboring blocks; weights by depth."""
    total = sse(f["relu4_2"], p["relu4_2"]) / sse(p["relu4_2"], 0)
    pairs = [(layer, layer) for layer in RELU]
    pairs += [("relu1_2", "relu2_1"), ("relu2_2", "relu3_1"), ("relu3_3", "relu4_1")]
    for one, two in pairs:
        weight = 0.5 ** RELU.index(one)
        found, target = (
            products(m[one] - 1, interpolate(m[two], size=m[one].shape[2:]) - 1) for m in (f, s)
        )
        total = total + 100 * weight * sse(found, target) / sse(target, 0)
    return total


def risser(image: Tensor, f: Maps, p: Maps, s: Maps) -> Tensor:
    total = sse(f["relu4_1"], p["relu4_1"]) / sse(p["relu4_1"], 0)
    for layer in STYLE[:4]:
        total = total + 5 * sse(gram(f[layer]), gram(s[layer])) / sse(gram(s[layer]), 0)
    for layer in ("relu1_1", "relu4_1"):
        size = sse(s[layer], 0) / count(s[layer])
        total = total + 5 * naive.histogram(f[layer], s[layer]) / size
    squares = sum(image.diff(dim=d).square().sum() for d in (2, 3)) / image.numel()
    return total + variation_of_style(s["rgb"]) * squares + outside(image)


def lapstyle(image: Tensor, f: Maps, p: Maps, s: Maps) -> Tensor:
    """jcjohnson's loss with content weight 20, and 100 times the Laplacians of pixels in 0..256."""
    total = 20 * mse(f["relu4_2"], p["relu4_2"]) + 1e-3 * interior(256 * image)
    for layer in STYLE:
        channels = f[layer].shape[1]
        total = total + 100 * mse(gram(f[layer]) / channels, gram(s[layer]) / channels)
    kernel = image.new_tensor([[0, -1, 0], [-1, 4, -1], [0, -1, 0]]).expand(1, 3, 3, 3)
    ours, theirs = (conv2d(avg_pool2d(256 * x, 4), kernel) for x in (image, p["rgb"]))
    return total + 100 * mse(ours, theirs)


def cnnmrf(image: Tensor, f: Maps, p: Maps, s: Maps) -> Tensor:
    total = 20 * mse(f["relu4_1"], p["relu4_1"]) + 1e-3 * interior(256 * image)
    for layer in ("relu3_1", "relu4_1"):
        height, width = f[layer].shape[2:]
        sum_of_squares = naive.correlation(f[layer], s[layer], 3, 1) * (height - 2) * (width - 2)
        total = total + 5.6e-6 * sum_of_squares
    return total


def heitz(image: Tensor, f: Maps, p: Maps, s: Maps) -> Tensor:
    total = outside(image)
    for layer in RELU:
        statistic = Sliced(None, seed=0, redraw=64)
        lists, directions = statistic.prepare_target(statistic.summarize(s[layer]))
        size = lists.square().mean() * len(directions)
        total = total + naive.sliced(f[layer], s[layer], directions) / size
    return total


def columns(maps: Maps, weights: Mapping[str, float]) -> Tensor:
    """Weighted maps at a quarter of the image's size."""
    size = [side // 4 for side in maps["rgb"].shape[2:]]
    parts = [w * interpolate(maps[x], size=size, mode="bilinear") for x, w in weights.items()]
    return torch.cat(parts, 1)


def weight_of(layer: str) -> float:
    """One over the number of channels of VGG-16's layer."""
    return 1 / {"1": 64, "2": 128, "3": 256, "4": 512}[layer[4]]


def strotss(image: Tensor, f: Maps, p: Maps, s: Maps) -> Tensor:
    """content + EMD + moments + palette of STROTSS, over few positions."""
    scales = [1, 0.0186, 0.00435, 0.00285, 0.00194, 0.00165, 0.00151, 0.00173, 0.0081, 0.153]
    weights = dict(zip(STROTSS, scales, strict=True))
    ours, content, style = (columns(maps, weights) for maps in (f, p, s))
    (mu, sigma), (mu_s, sigma_s) = (
        (x.mean(dim=(0, 2, 3)), torch.cov(x[0].flatten(1), correction=0)) for x in (ours, style)
    )
    difference = (mu - mu_s).abs().mean() + (sigma - sigma_s).abs().mean()
    palette = naive.palette(f["rgb"], s["rgb"])
    total = naive.similarity(ours, content) + naive.emd(ours, style) + difference
    return total + palette + outside(image)


def nnst(image: Tensor, f: Maps, p: Maps, s: Maps) -> Tensor:
    """Neighbors of the content's hypercolumns, and of single layers at every fourth pixel."""
    weights = {layer: weight_of(layer) for layer in RELU}
    ours, content, style = (columns(maps, weights) for maps in (f, p, s))
    x, y, z = (
        torch.stack(naive.places(v - v.mean(dim=(2, 3), keepdim=True)))
        for v in (ours, content, style)
    )
    x, y, z = (rows / rows.norm(dim=1, keepdim=True) for rows in (x, y, z))
    fixed = z[(y @ z.T).argmax(dim=1)]
    total = 1 - (x * fixed).sum(dim=1).mean() + outside(image)
    for layer, stride in zip(RELU[1:], (4, 2, 2, *[1] * 6), strict=True):
        total = total + 0.1 * naive.neural(f[layer], s[layer], 1, stride)
    return total


def outside(image: Tensor) -> Tensor:
    return 1e3 * (image - image.clamp(0, 1)).square().mean()


TOTALS: dict[str, Total] = {
    "galerne2024_spst": spst,
    "li2017_demystifying": demystifying,
    "novak2016": novak,
    "risser2017": risser,
    "li2017_lapstyle": lapstyle,
    "li2016_cnnmrf": cnnmrf,
    "heitz2021": heitz,
    "kolkin2019_strotss": strotss,
    "kolkin2022_nnst": nnst,
}


def bn_gradient(x: Tensor, y: Tensor) -> Tensor:
    mu, mu_y = x.mean(0), y.mean(0)
    sigma, sigma_y = (((v - v.mean(0)) ** 2).mean(0).sqrt() for v in (x, y))
    return 1e3 / x.shape[1] * ((mu - mu_y) + (sigma - sigma_y) / sigma * (x - mu))


def linear_gradient(x: Tensor, y: Tensor) -> Tensor:
    return (5 * 2e3 / x.shape[1] * (x.mean(0) - y.mean(0))).expand_as(x)


def polynomial_gradient(x: Tensor, y: Tensor) -> Tensor:
    difference = x.T @ x - len(x) / len(y) * y.T @ y  # as if both had as many positions
    return 5 * 0.1 / x.shape[1] ** 2 / len(x) * x @ difference


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("", bn_gradient),
        ("loss.more.std.weight=0 beta=10000", linear_gradient),
        (
            "loss.more.std.weight=0 loss.style.statistic=gram loss.style.a=2 loss.style.c=0.25 "
            "beta=0.5",
            polynomial_gradient,
        ),
    ],
    ids=["bn", "linear", "polynomial"],
)
def test_kernels_have_the_gradients_of_their_program(
    keys: str, expected: Callable[[Tensor, Tensor], Tensor]
) -> None:
    """bn_loss.py and mmd_loss.py, whose rows are positions; neural-style.py has the weights."""
    config = make_config(["loss=li2017_demystifying", "alpha=0", "loss.tv.weight=0", *keys.split()])
    loss = resolve_layers(config.loss, config.backbone)
    features, style = (
        {"rgb": random_maps(0), "relu4_2": random_maps(0)}
        | {layer: random_maps(seed + k, 3 + k, 4, width) for k, layer in enumerate(STYLE)}
        for seed, width in ((1, 5), (11, 7))
    )
    at = [features[layer].requires_grad_() for layer in STYLE]
    objective = build_objective(loss, 0.0, config.beta, features, whole_image(style))
    found = torch.autograd.grad(objective(features["rgb"], features).total, at)
    for layer, gradient in zip(STYLE, found, strict=True):
        x, y = (maps[layer].detach()[0].flatten(1).T for maps in (features, style))
        rows = gradient[0].flatten(1).T
        torch.testing.assert_close(rows, expected(x, y), rtol=1e-9, atol=1e-12)


def test_every_loss_preset_has_a_formula() -> None:
    assert {*groups()["loss"]} == {*FORMULAS, *TOTALS}


@pytest.mark.parametrize("name", TOTALS)
def test_preset_is_the_formula_of_the_paper(name: str, random_image: Callable[..., Tensor]) -> None:
    """On random maps, with a style image of another size, in value and gradient."""
    few = [f"loss.{term}.positions=1" for term in ("content", "style", "more.moments")]
    config = make_config([f"loss={name}", *(few if name == "kolkin2019_strotss" else [])])
    loss = resolve_layers(config.loss, config.backbone)
    channels = {"1": 2, "2": 3, "3": 4, "4": 5, "5": 3}

    def maps(seed: int, width: int) -> dict[str, Tensor]:
        found = {"rgb": random_image(12, width, seed, torch.float64)}
        for k, layer in enumerate(name for name in layers_read(loss) if name != "rgb"):
            block = layer[4]
            found[layer] = random_maps(seed + k, channels[block], 5 - int(block) // 2, width - 9)
        return found

    features, content, style = maps(0, 12), maps(20, 12), maps(40, 14)
    image = features["rgb"]
    # The image is a layer as well: its gradient is the sum of both uses.
    at = [value.requires_grad_() for value in features.values()]
    objective = build_objective(loss, config.alpha, config.beta, content, whole_image(style))
    found = objective(image, features).total
    assert_same(found, TOTALS[name](image, features, content, style), at, rtol=1e-9)
