"""The terms of the objective against loops, and their gradients against differences."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nst_exp.config import schema
from nst_exp.config.schema import ContentLoss, StyleLoss, TVKind
from nst_exp.core.image_terms import LaplacianTerm, total_variation, variation_of_style
from nst_exp.core.objective import Losses, build_objective
from nst_exp.core.statistics import build_statistic
from nst_exp.core.targets import Region, Style, Target, whole_image
from nst_exp.utils.errors import ConfigError

MakeImage = Callable[..., Tensor]
SIDES = (TVKind.l1, TVKind.l2, TVKind.l2_nine)  # compare pixels that have one neighbor only


def naive_content(features: Tensor, target: Tensor, a: float, b: float, c: float) -> float:
    f, p = (values[0].flatten(1).numpy() for values in (features, target))
    (n, m), total = f.shape, 0.0
    for i, j in itertools.product(range(n), range(m)):
        total += (f[i, j] - p[i, j]) ** 2
    return float(c / (n**a * m**b) * total)


def naive_style(features: Tensor, style: Tensor, a: float, b: float, c: float) -> float:
    """Raw Gram matrices; that of a style of another size is rescaled to the image's positions."""
    f, s = (values[0].flatten(1).numpy() for values in (features, style))
    (n, m), total = f.shape, 0.0
    for i, j in itertools.product(range(n), repeat=2):
        gram = sum(f[i, k] * f[j, k] for k in range(m))
        target = sum(s[i, k] * s[j, k] for k in range(s.shape[1])) * m / s.shape[1]
        total += (gram - target) ** 2
    return float(c / (n**a * m**b) * total)


def naive_range(image: Tensor) -> float:
    values = image.flatten().tolist()
    return sum(max(0.0, -x, x - 1.0) ** 2 for x in values) / len(values)


def assert_gradient(function: Callable[[Tensor], Tensor], at: Tensor) -> None:
    """Against central differences in float64."""
    variable = at.clone().requires_grad_()
    scale = float(torch.autograd.grad(function(variable), variable)[0].abs().max())
    assert torch.autograd.gradcheck(function, variable, eps=1e-5, rtol=1e-6, atol=1e-6 * scale)


@pytest.mark.parametrize("kind", list(TVKind))
@pytest.mark.parametrize("shape", [(4, 6), (1, 6), (4, 1), (1, 1)])
def test_total_variation_of_images_of_every_shape(
    kind: TVKind, shape: tuple[int, int], random_image: MakeImage
) -> None:
    """Also of a line of pixels, where none may have both neighbors to average over."""
    image = random_image(*shape, dtype=torch.float64)
    mean, total = (
        float(total_variation(image, schema.TVLoss(kind=kind, reduction=reduction)))
        for reduction in (schema.Reduction.mean, schema.Reduction.sum)
    )
    height, width = shape
    counts = {TVKind.l1: height * width, TVKind.l2: height * width}
    counts[TVKind.l2_interior] = max(1, (height - 1) * (width - 1))
    assert (mean > 0) is (total > 0) is (min(shape) > 1 or (max(shape) > 1 and kind in SIDES))
    if kind in counts:
        assert mean == pytest.approx(total / (3 * counts[kind]), rel=1e-12)


def settings(relative: bool = False, tv: float = 0.3, excess: float = 11.0) -> schema.Loss:
    return schema.Loss(
        content=ContentLoss(["conv1", "relu2"], [0.7, 1.9], 1, 1, 1, relative),
        style=StyleLoss(["relu1", "relu2"], [1.3, 0.4], a=2, b=2, c=0.25, relative=relative),
        tv=schema.TVLoss(weight=tv),
        range_weight=excess,
    )


@dataclass
class Case:
    """An objective over the tiny encoder with its images, in float64."""

    encoder: nn.Module
    make: MakeImage
    loss: schema.Loss
    alpha: float = 2.0
    beta: float = 5.0

    def __post_init__(self) -> None:
        self.encoder.double()
        # Some values of the image lie outside 0..1, none within a step of its ends.
        self.image = self.make(6, 7, 1, torch.float64) * 1.4 - 0.2
        self.content = self.encoder(self.make(6, 7, 2, torch.float64))
        self.style = self.encoder(self.make(9, 5, 3, torch.float64))
        weights = self.alpha, self.beta
        self.objective = build_objective(self.loss, *weights, self.content, whole_image(self.style))

    def __call__(self, image: Tensor) -> Losses:
        losses: Losses = self.objective(image, self.encoder(image))
        return losses


@pytest.mark.parametrize("relative", [False, True])
def test_objective_is_the_sum_of_its_terms(
    relative: bool, tiny_encoder: nn.Module, random_image: MakeImage
) -> None:
    case = Case(tiny_encoder, random_image, settings(relative))
    losses = case(case.image)
    image = case.encoder(case.image)
    terms = {}
    for name, naive, abc, target, layers in (
        ("content", naive_content, (1, 1, 1), case.content, ("conv1", "relu2")),
        ("style", naive_style, (2, 2, 0.25), case.style, ("relu1", "relu2")),
    ):
        for layer in layers:
            blank = torch.zeros_like(image[layer])
            size = naive(blank, target[layer], *abc) if relative else 1.0
            terms[f"{name}/{layer}"] = naive(image[layer], target[layer], *abc) / size
    expected = {
        "content": 0.7 * terms["content/conv1"] + 1.9 * terms["content/relu2"],
        "style": 1.3 * terms["style/relu1"] + 0.4 * terms["style/relu2"],
        "tv": sum((np.diff(case.image, axis=a) ** 2).sum() for a in (2, 3)) / case.image.numel(),
        "range": naive_range(case.image),
    }
    expected["total"] = (
        2 * expected["content"]
        + 5 * expected["style"]
        + 0.3 * expected["tv"]
        + 11 * expected["range"]
    )
    assert losses.as_floats() == pytest.approx(expected | terms, rel=1e-11)
    assert_gradient(lambda x: case(x).total, case.image)


@pytest.mark.parametrize("statistic", [s for s in schema.Statistic if s.name != "palette"])
def test_a_statistic_is_scaled_by_the_formula(
    statistic: schema.Statistic, tiny_encoder: nn.Module, random_image: MakeImage
) -> None:
    """c M^p distance / (N^a M^b), p being 2 per position; c times a normalized distance."""
    loss = settings(tv=0.0, excess=0.0)
    loss.style.statistic = statistic
    case = Case(tiny_encoder, random_image, loss, alpha=0.0)
    image, style = case.encoder(case.image), case.style
    expected, kind = 0.0, build_statistic(loss.style)
    for layer, weight in (("relu1", 1.3), ("relu2", 0.4)):
        target = kind.prepare_target(kind.summarize(style[layer]))
        summary = kind.summarize(image[layer])
        distance = float(kind.distance(summary, kind.match(target, summary)))
        n, (height, width) = image[layer].shape[1], image[layer].shape[2:]
        scale = (height * width) ** (2 if kind.additive else 1) / (n**2 * (height * width) ** 2)
        expected += 5.0 * weight * 0.25 * distance * (1.0 if kind.normalized else scale)
    assert float(case(case.image).total) == pytest.approx(expected, rel=1e-12)


def test_more_style_terms_are_added(tiny_encoder: nn.Module, random_image: MakeImage) -> None:
    """Each with its layers, weights, statistic and normalization, and times beta."""
    loss = settings()
    std = schema.StyleTerm(["relu2"], [0.3], schema.Statistic.std, relative=True, weight=0.7)
    loss.more = {"std": std, "off": schema.StyleTerm(["conv1", "relu1"], weight=0.0)}
    case = Case(tiny_encoder, random_image, loss)
    losses = case(case.image).as_floats()
    image, style = case.encoder(case.image)["relu2"], case.style["relu2"]
    deviations = image.std(dim=(0, 2, 3), correction=0)
    target = style.std(dim=(0, 2, 3), correction=0)
    expected = float((deviations - target).square().sum() / target.square().sum())
    assert losses["std/relu2"] == pytest.approx(expected, rel=1e-11)
    assert losses["std"] == pytest.approx(0.3 * expected, rel=1e-11)
    without = Case(tiny_encoder, random_image, settings())(case.image).as_floats()
    total = without["total"] + 5.0 * 0.7 * 0.3 * expected
    assert losses["total"] == pytest.approx(total, rel=1e-11)
    assert losses["off"] == losses["off/conv1"] + losses["off/relu1"] > 0
    assert list(losses)[:7] == ["total", "content", "style", "std", "off", "tv", "range"]


@pytest.mark.parametrize(("alpha", "beta", "kept"), [(0.0, 3.0, "style"), (3.0, 0.0, "content")])
def test_a_weight_of_zero_measures_a_term_but_leaves_it_out(
    alpha: float, beta: float, kept: str, tiny_encoder: nn.Module, random_image: MakeImage
) -> None:
    """Even if the term is infinite."""
    case = Case(tiny_encoder, random_image, settings(tv=0.0, excess=0.0), alpha, beta)
    losses = case(case.image)
    assert min(float(losses.sums["content"]), float(losses.sums["style"])) > 0
    assert float(losses.total) == pytest.approx(3.0 * float(losses.sums[kept]), rel=1e-15)
    if kept == "style":
        target = next(m for m in case.objective.terms[0].modules() if isinstance(m, Target))
        target.summary()[0].fill_(float("inf"))
        image = case.image.requires_grad_()
        losses = case(image)
        (gradient,) = torch.autograd.grad(losses.total, image)
        assert not torch.isfinite(losses.sums["content"])
        assert torch.isfinite(losses.total)
        assert torch.isfinite(gradient).all()


def test_a_blank_target_of_a_relative_term_gives_no_nan(random_image: MakeImage) -> None:
    image = random_image(6, 7)
    blank = {"dead": torch.zeros(1, 2, 3, 3)}
    loss = schema.Loss(
        content=ContentLoss(["dead"], relative=True),
        style=StyleLoss(["dead"], relative=True),
    )
    assert (
        float(build_objective(loss, 1.0, 1.0, blank, whole_image(blank))(image, blank).total) == 0.0
    )


def test_targets_are_copies_and_not_in_the_state_dict(
    tiny_encoder: nn.Module, random_image: MakeImage
) -> None:
    features = tiny_encoder(random_image().requires_grad_())
    objective = build_objective(settings(), 1.0, 1.0, features, whole_image(features))
    assert objective.state_dict() == {}
    assert not any(buffer.requires_grad for buffer in objective.buffers())
    pointers = {buffer.data_ptr() for buffer in objective.buffers()}
    assert features["conv1"].data_ptr() not in pointers


def test_losses_stay_single_precision_under_autocast(
    tiny_encoder: nn.Module, random_image: MakeImage
) -> None:
    target, features = tiny_encoder(random_image(seed=1)), tiny_encoder(random_image(seed=2))
    objective = build_objective(settings(), 1.0, 1.0, target, whole_image(target))
    image = random_image(seed=2)
    plain = objective(image, features)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = objective(image, features)
        halved = objective(image, {layer: m.bfloat16() for layer, m in features.items()})
    assert mixed.as_floats() == plain.as_floats()  # nothing was rounded to half precision
    assert {halved.total.dtype, *(term.dtype for term in halved.layers.values())} == {torch.float32}


def test_laplacian_of_the_content(random_image: MakeImage) -> None:
    """Loops over the pixels of the averaged images, which leave out what does not fill a square."""
    image, content = (random_image(10, 13, seed, torch.float64) for seed in (1, 2))

    def naive(x: Tensor, pool: int) -> Tensor:
        _, _, height, width = x.shape
        rows = [
            [
                x[0, :, pool * i : pool * (i + 1), pool * j : pool * (j + 1)].mean(dim=(1, 2)).sum()
                for j in range(width // pool)
            ]
            for i in range(height // pool)
        ]
        y, spots = torch.stack([torch.stack(row) for row in rows]), []
        for i, j in itertools.product(*(range(1, n - 1) for n in y.shape)):
            spots.append(4 * y[i, j] - y[i - 1, j] - y[i + 1, j] - y[i, j - 1] - y[i, j + 1])
        return torch.stack(spots)

    def expected(x: Tensor) -> Tensor:
        pairs = ((2.0, 1), (3.0, 2), (0.5, 3))
        return sum(w * (naive(x, p) - naive(content, p)).square().mean() for w, p in pairs)

    term = LaplacianTerm(schema.LaplacianLoss([1, 2, 3], [2.0, 3.0, 0.5]), content)
    variable = image.clone().requires_grad_()
    found = term(variable, {})[0]
    torch.testing.assert_close(found, expected(variable), rtol=1e-12, atol=0)
    gradients = (torch.autograd.grad(value, variable)[0] for value in (found, expected(variable)))
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-13)
    assert_gradient(lambda x: term(x, {})[0], image)
    assert float(term(content, {})[0]) == 0.0
    with pytest.raises(ConfigError, match="pools: 4 leaves 3x2 values of the image"):
        LaplacianTerm(schema.LaplacianLoss([4], [1.0]), content)


def test_weight_of_the_variation_follows_from_the_style(random_image: MakeImage) -> None:
    """10 for a smooth image, 0 for a rough one, 5 where 1e4 * noise is 25."""
    smooth = torch.full((1, 3, 8, 8), 0.3)
    ramp = torch.arange(8) * 0.05 * torch.ones(1, 3, 8, 1)  # dx^2 = 0.0025, dy^2 = 0
    factors = [variation_of_style(x) for x in (smooth, random_image(8, 8), ramp * 2**0.5)]
    assert factors == pytest.approx([10.0, 0.0, 5.0], abs=1e-3)
    assert variation_of_style(smooth[..., :1, :]) == factors[0]
    loss, maps = settings(tv=0.3), {"rgb": smooth}
    loss.content.layers, loss.style.layers, loss.tv.auto = [], [], True
    loss.content.weights = loss.style.weights = []
    rough = {"rgb": random_image(8, 8)}
    both = [Region([Style(maps, 0.25), Style(rough, 0.75)])]
    for regions, factor in ((whole_image(maps), 10.0), (both, 2.5)):
        objective = build_objective(loss, 1.0, 1.0, {}, regions)
        weights = {term.name: term.weight for term in objective.terms}
        assert weights["tv"] == pytest.approx(0.3 * factor, rel=1e-5)


def test_normalized_gradients_have_the_weights_as_their_lengths(
    tiny_encoder: nn.Module, random_image: Callable[..., Tensor]
) -> None:
    """In float64: each layer's gradient over its L1 norm, times its weights, back to the image."""
    encoder = tiny_encoder.double()
    image, content, style = (random_image(8, 9, seed, torch.float64) for seed in range(3))
    loss = schema.Loss(
        content=schema.ContentLoss(["relu2"], [0.5]),
        style=schema.StyleLoss(["relu1", "relu2"], [2.0, 3.0]),
    )
    image.requires_grad_()
    maps = encoder(image)
    found = []
    for normalize in (False, True):
        loss.normalize_gradients = normalize
        regions = whole_image(encoder(style))
        objective = build_objective(loss, 7.0, 11.0, encoder(content), regions)
        losses = objective(image, maps)
        found.append((losses, *torch.autograd.grad(losses.total, image, retain_graph=True)))
    (plain, raw), (losses, gradient) = found
    assert losses.as_floats() == pytest.approx(plain.as_floats(), rel=1e-12)
    expected = torch.zeros_like(image)
    for name, weight in {"content/relu2": 3.5, "style/relu1": 22.0, "style/relu2": 33.0}.items():
        layer = maps[name.split("/")[1]]
        (one,) = torch.autograd.grad(plain.layers[name], layer, retain_graph=True)
        unit = weight * one / one.abs().sum()
        expected += torch.autograd.grad(layer, image, unit, retain_graph=True)[0]
    torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=0)
    assert not torch.allclose(gradient, raw)
    with torch.no_grad():  # as at the end of a run
        assert objective(image, maps).as_floats() == losses.as_floats()
