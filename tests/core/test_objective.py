"""The terms of the objective and their gradients, against loops, differences and the paper."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from nst_exp.app.api import make_config
from nst_exp.config import schema
from nst_exp.config.schema import ContentLoss, StyleLoss, TVKind
from nst_exp.core.objective import Losses, build_objective
from nst_exp.core.statistics import build_statistic
from nst_exp.core.terms import ContentTerm, Features, RangeTerm, StyleTerm, total_variation

# Float64 and at most a few thousand additions in another order.
EXACT = {"rtol": 1e-11, "atol": 1e-13}
TRIPLES = [(0.0, 0.0, 0.5), (2.0, 2.0, 0.25), (1.0, 1.0, 1.0), (4.0, 2.0, 1.0), (3.0, 1.0, 1.0)]
MakeImage = Callable[..., Tensor]


def maps(seed: int, channels: int = 3, height: int = 4, width: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, channels, height, width, dtype=torch.float64, generator=generator)


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


def naive_tv(
    image: Tensor, kind: TVKind, mean: bool, pixel_range: float = 1.0, std: Sequence[float] = ()
) -> float:
    """One difference at a time, as the programs that the kinds are taken from define them."""
    deviations = torch.tensor(std or [1.0] * 3, dtype=torch.float64).view(3, 1, 1)
    x: list[list[list[float]]] = (image[0] * pixel_range / deviations).tolist()
    channels, height, width = image.shape[1:]
    pixels = list(itertools.product(range(channels), range(height), range(width)))

    def difference(c: int, i: int, j: int, k: int, n: int) -> float:
        """Of two pixels, with the border of the image repeated outwards."""
        rows, columns = (min(max(i, 0), height - 1) for i in (i, k)), (j, n)
        (top, bottom), (left, right) = rows, (min(max(j, 0), width - 1) for j in columns)
        return x[c][bottom][right] - x[c][top][left]

    if kind is TVKind.l2_nine:
        corners = list(itertools.product(range(channels), range(-1, height), range(-1, width)))
        total = 0.0
        for places, part, (di, dj, dk, dn) in (
            (pixels, 3, (0, 0, 0, 1)),
            (pixels, 3, (0, 0, 1, 0)),
            (corners, 12, (0, 0, 1, 1)),
            (corners, 12, (0, 1, 1, 0)),
        ):
            squares = [difference(c, i + di, j + dj, i + dk, j + dn) ** 2 for c, i, j in places]
            total += 2 * sum(squares) / (len(places) if mean else 1) / part
        return total
    if kind is TVKind.l2_interior:
        pixels = [(c, i, j) for c, i, j in pixels if i + 1 < height and j + 1 < width]
    differences = [difference(c, i, j, i, j + 1) for c, i, j in pixels]
    differences += [difference(c, i, j, i + 1, j) for c, i, j in pixels]
    total = sum(abs(d) if kind is TVKind.l1 else d * d for d in differences)
    return total / max(1, len(pixels)) if mean else total


def naive_range(image: Tensor) -> float:
    values = image.flatten().tolist()
    return sum(max(0.0, -x, x - 1.0) ** 2 for x in values) / len(values)


def assert_gradient(function: Callable[[Tensor], Tensor], at: Tensor) -> None:
    """Against central differences in float64."""
    variable = at.clone().requires_grad_()
    scale = float(torch.autograd.grad(function(variable), variable)[0].abs().max())
    assert torch.autograd.gradcheck(function, variable, eps=1e-5, rtol=1e-6, atol=1e-6 * scale)


def content_loss(features: Tensor, target: Tensor, abc: tuple[float, float, float]) -> Tensor:
    """content_l of a layer; abc are the powers and the factor of the formula."""
    a, b, c = abc
    term = ContentTerm(ContentLoss(["x"], a=a, b=b, c=c), 1.0, {"x": target})
    value: Tensor = term(features, {"x": features})[0]
    return value


def style_loss(features: Tensor, target: Tensor, abc: tuple[float, float, float]) -> Tensor:
    """style_l of a layer."""
    a, b, c = abc
    term = StyleTerm("style", StyleLoss(["x"], a=a, b=b, c=c), 1.0, {"x": target})
    value: Tensor = term(features, {"x": features})[0]
    return value


@pytest.mark.parametrize("abc", TRIPLES)
@pytest.mark.parametrize("style_size", [(4, 5), (7, 3)])
def test_losses_of_layers_are_the_loops(
    abc: tuple[float, float, float], style_size: tuple[int, int]
) -> None:
    image, content, style = maps(1), maps(2), maps(2, 3, *style_size)
    found = float(content_loss(image, content, abc))
    assert found == pytest.approx(naive_content(image, content, *abc), rel=1e-12)
    found = float(style_loss(image, style, abc))
    assert found == pytest.approx(naive_style(image, style, *abc), rel=1e-12)


@pytest.mark.parametrize("kind", list(TVKind))
@pytest.mark.parametrize("reduction", list(schema.Reduction))
@pytest.mark.parametrize(
    ("pixel_range", "std"), [(1.0, []), (255.0, []), (1.0, [0.229, 0.224, 0.225])]
)
@pytest.mark.parametrize("shape", [(4, 6), (1, 6), (4, 1), (1, 1)])
def test_total_variation_is_the_loop(
    kind: TVKind,
    reduction: schema.Reduction,
    pixel_range: float,
    std: list[float],
    shape: tuple[int, int],
    random_image: MakeImage,
) -> None:
    """Also of a line of pixels, where none may have both neighbors to sum over."""
    image = random_image(*shape, dtype=torch.float64)
    settings = schema.TVLoss(
        kind=kind, reduction=reduction, pixel_range=pixel_range, channel_std=std
    )
    expected = naive_tv(image, kind, reduction is schema.Reduction.mean, pixel_range, std)
    assert float(total_variation(image, settings)) == pytest.approx(expected, rel=1e-12)
    # No two neighbors are within a step of each other, so l1 has no kink there.
    assert_gradient(lambda x: total_variation(x, settings), image)


def test_range_is_the_loop(random_image: MakeImage) -> None:
    image = random_image(4, 6, dtype=torch.float64) * 2 - 0.5
    assert float(RangeTerm(1.0)(image, {})[0]) == pytest.approx(naive_range(image), rel=1e-12)
    assert float(RangeTerm(1.0)(random_image(4, 6), {})[0]) == 0.0


@pytest.mark.parametrize("abc", TRIPLES[:2])
@pytest.mark.parametrize("loss", [content_loss, style_loss])
def test_gradient_of_the_losses_of_layers(
    loss: Callable[..., Tensor], abc: tuple[float, float, float]
) -> None:
    assert_gradient(lambda f: loss(f, maps(2), abc), maps(1))


@pytest.mark.parametrize("part", ["content", "style"])
def test_gradients_of_paper_text_are_the_papers(part: str) -> None:
    """Equations 2 and 6 for the preset, with its layers and its w_l = 1/5, through each ReLU.

    The style's maps are as large as the image's, as in the paper.
    """
    alpha, beta = (2.0, 0.0) if part == "content" else (0.0, 3.0)
    loss = make_config(["loss=paper_text"]).loss
    used = getattr(loss, part).layers
    layers = dict.fromkeys([*loss.content.layers, *loss.style.layers])
    before = {layer: maps(10 + k, 2 + k).requires_grad_() for k, layer in enumerate(layers)}
    targets = {layer: maps(20 + k, 2 + k).relu() for k, layer in enumerate(layers)}
    objective = build_objective(loss, alpha, beta, targets, targets)
    total = objective(torch.zeros(1, 3, 2, 2, dtype=torch.float64), relu_of(before)).total
    gradients = torch.autograd.grad(total, [before[layer] for layer in used])
    for layer, gradient in zip(used, gradients, strict=True):
        f, p = before[layer].detach().relu()[0].flatten(1), targets[layer][0].flatten(1)
        n, m = f.shape
        if part == "content":
            expected = alpha * (f - p)
        else:
            expected = beta / 5 / (n**2 * m**2) * (f.T @ (f @ f.T - p @ p.T)).T
        expected = torch.where(f > 0, expected, 0.0).view_as(gradient)
        assert float(expected.abs().max()) > 0
        torch.testing.assert_close(gradient, expected, **EXACT)


def relu_of(features: Features) -> Features:
    return {layer: values.relu() for layer, values in features.items()}


def settings(relative: bool = False, tv: float = 0.3, excess: float = 11.0) -> schema.Loss:
    return schema.Loss(
        content=ContentLoss(["conv1", "relu2"], [0.7, 1.9], 1, 1, 1, relative),
        style=StyleLoss(["relu1", "relu2"], [1.3, 0.4], a=2, b=2, c=0.25, relative=relative),
        tv=schema.TVLoss(weight=tv),
        range_weight=excess,
    )


class Case:
    """An objective over the tiny encoder with its images, in float64."""

    def __init__(
        self,
        encoder: nn.Module,
        make: MakeImage,
        loss: schema.Loss,
        alpha: float = 2.0,
        beta: float = 5.0,
    ) -> None:
        self.encoder = encoder.double()
        # Some values of the image lie outside 0..1, none within a step of its ends.
        self.image = make(6, 7, 1, torch.float64) * 1.4 - 0.2
        self.content = make(6, 7, 2, torch.float64)
        self.style = make(9, 5, 3, torch.float64)
        content, style = self.encoder(self.content), self.encoder(self.style)
        self.objective = build_objective(loss, alpha, beta, content, style)

    def __call__(self, image: Tensor) -> Losses:
        losses: Losses = self.objective(image, self.encoder(image))
        return losses


@pytest.mark.parametrize("relative", [False, True])
def test_objective_is_the_sum_of_its_terms(
    relative: bool, tiny_encoder: nn.Module, random_image: MakeImage
) -> None:
    case = Case(tiny_encoder, random_image, settings(relative))
    losses = case(case.image)
    image, content, style = (case.encoder(x) for x in (case.image, case.content, case.style))
    blank: Features = {layer: torch.zeros_like(m) for layer, m in content.items()}

    def content_term(layer: str) -> float:
        size = naive_content(blank[layer], content[layer], 1, 1, 1) if relative else 1.0
        return naive_content(image[layer], content[layer], 1, 1, 1) / size

    def style_term(layer: str) -> float:
        size = naive_style(blank[layer], style[layer], 2, 2, 0.25) if relative else 1.0
        return naive_style(image[layer], style[layer], 2, 2, 0.25) / size

    terms = {f"content/{layer}": content_term(layer) for layer in ("conv1", "relu2")}
    terms |= {f"style/{layer}": style_term(layer) for layer in ("relu1", "relu2")}
    expected = {
        "content": 0.7 * terms["content/conv1"] + 1.9 * terms["content/relu2"],
        "style": 1.3 * terms["style/relu1"] + 0.4 * terms["style/relu2"],
        "tv": naive_tv(case.image, TVKind.l2, mean=True),
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


@pytest.mark.parametrize("statistic", list(schema.Statistic))
def test_a_statistic_is_scaled_by_the_formula(
    statistic: schema.Statistic, tiny_encoder: nn.Module, random_image: MakeImage
) -> None:
    """c M^2 distance / (N^a M^b) per position; of Wasserstein-2 c times the distance."""
    loss = settings(tv=0.0, excess=0.0)
    loss.style.statistic = statistic
    case = Case(tiny_encoder, random_image, loss, alpha=0.0)
    image, style = case.encoder(case.image), case.encoder(case.style)
    expected, kind = 0.0, build_statistic(statistic)
    for layer, weight in (("relu1", 1.3), ("relu2", 0.4)):
        target = kind.prepare_target(kind.summarize(style[layer]))
        distance = float(kind.distance(kind.summarize(image[layer]), target))
        n, (height, width) = image[layer].shape[1], image[layer].shape[2:]
        scale = (height * width) ** 2 / (n**2 * (height * width) ** 2)
        expected += 5.0 * weight * 0.25 * distance * (1.0 if kind.normalized else scale)
    assert float(case(case.image).total) == pytest.approx(expected, rel=1e-12)


def test_more_style_terms_are_added(tiny_encoder: nn.Module, random_image: MakeImage) -> None:
    """Each with its layers, weights, statistic and normalization, and times beta."""
    loss = settings()
    std = schema.StyleTerm(["relu2"], [0.3], schema.Statistic.std, relative=True, weight=0.7)
    loss.more = {"std": std, "off": schema.StyleTerm(["conv1", "relu1"], weight=0.0)}
    case = Case(tiny_encoder, random_image, loss)
    losses = case(case.image).as_floats()
    image, style = (case.encoder(x)["relu2"] for x in (case.image, case.style))
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
        case.objective.terms[0].target0_1.fill_(float("inf"))  # type: ignore[operator]
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
    assert float(build_objective(loss, 1.0, 1.0, blank, blank)(image, blank).total) == 0.0


def test_targets_are_copies_and_not_in_the_state_dict(
    tiny_encoder: nn.Module, random_image: MakeImage
) -> None:
    features = tiny_encoder(random_image().requires_grad_())
    objective = build_objective(settings(), 1.0, 1.0, features, features)
    assert objective.state_dict() == {}
    assert list(objective.parameters()) == []
    for buffer in objective.buffers():
        assert not buffer.requires_grad
    pointers = {buffer.data_ptr() for buffer in objective.buffers()}
    assert features["conv1"].data_ptr() not in pointers


def test_losses_stay_single_precision_under_autocast(
    tiny_encoder: nn.Module, random_image: MakeImage
) -> None:
    target, features = tiny_encoder(random_image(seed=1)), tiny_encoder(random_image(seed=2))
    objective = build_objective(settings(), 1.0, 1.0, target, target)
    image = random_image(seed=2)
    plain = objective(image, features)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = objective(image, features)
        halved = objective(image, {layer: m.bfloat16() for layer, m in features.items()})
    assert mixed.as_floats() == plain.as_floats()  # nothing was rounded to half precision
    assert {halved.total.dtype, *(term.dtype for term in halved.layers.values())} == {torch.float32}
