"""One evaluation, from the image to the loss, of published programs that a preset reproduces.

Ours is built as a run builds it, in float32. The other side is written here from what the programs
do, in float64: torchvision's VGG-19, module by module, after each program's own preprocessing. The
weights are random, for none are needed to compare numbers. Agreement is asked to 1e-4 of the value:
float32 through up to 13 convolutions keeps five to six digits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from nst_exp.app.api import make_config
from nst_exp.core.encoder import build_encoder, feature_maps
from nst_exp.core.objective import Losses, build_objective

Maps = Mapping[int, Tensor]
# Content, style and the image at which the loss is measured; the style is of another size.
CONTENT, STYLE, IMAGE = (72, 88), (80, 64), (72, 88)
# Modules of torchvision's vgg19.features.
CONV4_2, RELU4_2 = 21, 22
RELUS = (1, 6, 11, 20, 29)  # relu1_1 ... relu5_1


def colors(size: tuple[int, int], seed: int, contrast: float) -> Tensor:
    """Coarse and fine random colors, (1, 3, H, W) in 0..1."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 6, 6, generator=generator)
    fine = torch.rand(1, 3, *size, generator=generator)
    smooth = nn.functional.interpolate(coarse, size=size, mode="bilinear")
    return 0.5 + contrast * (0.6 * smooth + 0.4 * fine - 0.5)


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    """Under which activations keep the size of the input: He et al. 2015, and some bias."""
    with torch.device("meta"):
        shapes = models.vgg19(weights=None).features.state_dict()
    generator = torch.Generator().manual_seed(1)
    drawn = {}
    for name, like in shapes.items():
        value = torch.randn(like.shape, generator=generator)
        value *= (2 / like[0].numel()) ** 0.5 if like.dim() == 4 else 0.2
        drawn[f"features.{name}"] = value
    return drawn


def ours(overrides: list[str], weights: Mapping[str, Tensor], image: Tensor) -> Losses:
    """As run.py wires it."""
    config = make_config(overrides)
    loss = config.loss
    wanted = list(dict.fromkeys([*loss.content.layers, *loss.style.layers]))
    backbone = build_encoder(
        config.backbone, wanted, weights, config.seed, config.trainer.channels_last
    )
    objective = build_objective(
        loss,
        config.alpha,
        config.beta,
        feature_maps(backbone, colors(CONTENT, 1, 0.9), "content"),
        feature_maps(backbone, colors(STYLE, 2, 0.6), "style"),
    )
    losses: Losses = objective(image, backbone(image))
    return losses


def plain_vgg19(weights: Mapping[str, Tensor]) -> nn.Sequential:
    with torch.device("meta"):
        features: nn.Sequential = models.vgg19(weights=None).features
    doubles = {name.removeprefix("features."): value.double() for name, value in weights.items()}
    features.load_state_dict(doubles, assign=True)
    return features.requires_grad_(False)


def through(network: nn.Sequential, x: Tensor, wanted: tuple[int, ...]) -> dict[int, Tensor]:
    """The outputs of the modules themselves, not copies: what overwrites them is seen."""
    maps = {}
    for index in range(max(wanted) + 1):
        x = network[index](x)
        if index in wanted:
            maps[index] = x
    return maps


def caffe(image: Tensor) -> Tensor:
    """BGR in 0..255 minus the mean."""
    mean = torch.tensor([103.939, 116.779, 123.68], dtype=torch.float64).view(1, 3, 1, 1)
    return image[:, [2, 1, 0]] * 255 - mean


def minus_mean(image: Tensor) -> Tensor:
    """RGB in 0..255 minus the mean, as gordicaleksa passes it to torchvision's network."""
    mean = torch.tensor([123.675, 116.28, 103.53], dtype=torch.float64).view(1, 3, 1, 1)
    return image * 255 - mean


def gram(maps: Tensor, divisor: int) -> Tensor:
    rows = maps[0].flatten(1)
    return rows @ rows.T / divisor


def mean_square(a: Tensor, b: Tensor) -> Tensor:
    return ((a - b) ** 2).mean()


def published(
    weights: Mapping[str, Tensor],
    image: Tensor,
    preprocess: Callable[[Tensor], Tensor],
    content_layer: int,
    style_layers: tuple[int, ...],
    style_term: Callable[[Tensor, Tensor], Tensor],
) -> tuple[Tensor, Tensor]:
    """The content's mean square and the sum of the style's terms, without their weights."""
    network = plain_vgg19(weights)
    wanted = (content_layer, *style_layers)
    found = through(network, preprocess(image), wanted)
    with torch.no_grad():
        content = through(network, preprocess(colors(CONTENT, 1, 0.9).double()), wanted)
        style = through(network, preprocess(colors(STYLE, 2, 0.6).double()), wanted)
    terms = [style_term(found[layer], style[layer]) for layer in style_layers]
    return mean_square(found[content_layer], content[content_layer]), torch.stack(terms).sum()


def compare(
    overrides: list[str],
    weights: Mapping[str, Tensor],
    reference: Callable[[Tensor], tuple[Tensor, Tensor, Tensor]],
) -> None:
    """Total, content, style, and the gradient of the total that an optimizer would see.

    ``reference`` returns the three with the program's own weights.
    """
    config = make_config(overrides)
    single = colors(IMAGE, 3, 1.0).requires_grad_()
    double = single.detach().double().requires_grad_()
    losses = ours(overrides, weights, single)
    total, content, style = reference(double)
    for found, value in (
        (config.alpha * losses.sums["content"], content),
        (config.beta * losses.sums["style"], style),
        (losses.total, total),
    ):
        assert float(found.detach()) == pytest.approx(float(value.detach()), rel=1e-4)
    (gradient,) = torch.autograd.grad(losses.total, single)
    (expected,) = torch.autograd.grad(total, double)
    # Float32 alone differs by 1e-6. But a value before a ReLU that is nearly 0, or two nearly
    # equal ones in a window of the pooling, may be decided differently: one changes this by 2e-3.
    error = float((gradient.double() - expected).norm() / expected.norm())
    assert error < 1e-2


def test_jcjohnson(weights: dict[str, Tensor]) -> None:
    """neural_style.lua: 5 and 100; Gram over the number of elements, means of squares.

    The total variation counts pixels to 256, as there; the network sees 255, where it sees 256.
    """

    def reference(image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        content, style = published(
            weights,
            image,
            caffe,
            RELU4_2,
            RELUS,
            lambda f, s: mean_square(gram(f, f.numel()), gram(s, s.numel())),
        )
        x = 256 * image[0]
        dx, dy = x[:, :-1, 1:] - x[:, :-1, :-1], x[:, 1:, :-1] - x[:, :-1, :-1]
        variation = 1e-3 * ((dx**2).sum() + (dy**2).sum()) / 2
        return 5 * content + 100 * style + variation, 5 * content, 100 * style

    compare(["+experiment=jcjohnson"], weights, reference)


def test_the_authors_notebook(weights: dict[str, Tensor]) -> None:
    """leongatys/PytorchNeuralStyleTransfer: G / (h w); 1e3 / n^2 for 64, 128, 256, 512, 512."""
    channels = {64: 1e3 / 64**2, 128: 1e3 / 128**2, 256: 1e3 / 256**2, 512: 1e3 / 512**2}

    def term(f: Tensor, s: Tensor) -> Tensor:
        a, b = (gram(maps, maps.shape[2] * maps.shape[3]) for maps in (f, s))
        return channels[f.shape[1]] * mean_square(a, b)

    def reference(image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        content, style = published(weights, image, caffe, RELU4_2, RELUS, term)
        return content + style, content, style

    compare(["+experiment=gatys_notebook"], weights, reference)


def test_gordic(weights: dict[str, Tensor]) -> None:
    """gordicaleksa: sums of squares of G / (c h w), mean over five layers; 1e5, 3e4, 1.

    It keeps conv4_2, which the following ReLU overwrites: so does the network here.
    """

    def reference(image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        content, style = published(
            weights,
            image,
            minus_mean,
            CONV4_2,
            RELUS,
            lambda f, s: ((gram(f, f.numel()) - gram(s, s.numel())) ** 2).sum() / 5,
        )
        x = minus_mean(image)
        dx, dy = x[..., :-1] - x[..., 1:], x[..., :-1, :] - x[..., 1:, :]
        variation = dx.abs().sum() + dy.abs().sum()
        return 1e5 * content + 3e4 * style + variation, 1e5 * content, 3e4 * style

    compare(["+experiment=gordic"], weights, reference)
