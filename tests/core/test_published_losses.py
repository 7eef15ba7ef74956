"""One evaluation, from the image to the loss, of published programs that a preset reproduces.

Ours is built as a run builds it, in float32. The other side is written here from what the programs
do, in float64: torchvision's VGG-19 with its in-place ReLUs, module by module, after each program's
own preprocessing. The weights are random, which is enough to compare numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from nst_exp.app.api import make_config
from nst_exp.config.loss_layers import layers_read
from nst_exp.core.encoder import build_encoder, feature_maps
from nst_exp.core.objective import Losses, build_objective

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


def ours(experiment: str, weights: Mapping[str, Tensor], image: Tensor) -> Losses:
    """As a run builds it."""
    config = make_config([f"+experiment={experiment}"])
    encoder = build_encoder(config.backbone, layers_read(config.loss), weights)
    content = feature_maps(encoder, colors(CONTENT, 1, 0.9), "content")
    style = feature_maps(encoder, colors(STYLE, 2, 0.6), "style")
    objective = build_objective(config.loss, config.alpha, config.beta, content, style)
    losses: Losses = objective(image, encoder(image))
    losses.sums["content"] *= config.alpha
    losses.sums["style"] *= config.beta
    return losses


def caffe(image: Tensor) -> Tensor:
    """BGR in 0..255 minus the mean."""
    mean = torch.tensor([103.939, 116.779, 123.68], dtype=torch.float64).view(1, 3, 1, 1)
    return image[:, [2, 1, 0]] * 255 - mean


def minus_mean(image: Tensor) -> Tensor:
    """RGB in 0..255 minus the mean, as gordicaleksa passes it to torchvision's network."""
    mean = torch.tensor([123.675, 116.28, 103.53], dtype=torch.float64).view(1, 3, 1, 1)
    return image * 255 - mean


def gram(maps: Tensor) -> Tensor:
    rows = maps[0].flatten(1)
    return rows @ rows.T


@dataclass(frozen=True)
class Program:
    """What a program computes of its network's input, maps and image."""

    preprocess: Callable[[Tensor], Tensor]
    content_layer: int
    content_weight: float
    style_term: Callable[[Tensor, Tensor], Tensor]
    variation: Callable[[Tensor], Tensor]

    def losses(self, weights: Mapping[str, Tensor], image: Tensor) -> dict[str, Tensor]:
        """The content's, the style's and the total loss, with the program's weights."""
        maps, content, style = (
            self._maps(weights, x) for x in (image, colors(CONTENT, 1, 0.9), colors(STYLE, 2, 0.6))
        )
        difference = maps[self.content_layer] - content[self.content_layer].detach()
        found = {"content": self.content_weight * (difference**2).mean()}
        terms = [self.style_term(maps[k], style[k].detach()) for k in RELUS]
        found["style"] = torch.stack(terms).sum()
        return found | {"total": found["content"] + found["style"] + self.variation(image)}

    def _maps(self, weights: Mapping[str, Tensor], image: Tensor) -> dict[int, Tensor]:
        """The outputs of the modules themselves, not copies: what overwrites them is seen."""
        with torch.device("meta"):
            network: nn.Sequential = models.vgg19(weights=None).features
        doubles = {k.removeprefix("features."): value.double() for k, value in weights.items()}
        network.load_state_dict(doubles, assign=True)
        x, maps = self.preprocess(image.double()), {}
        for index, module in enumerate(network.requires_grad_(False)[: RELUS[-1] + 1]):
            maps[index] = x = module(x)
        return maps


def jcjohnson_variation(image: Tensor) -> Tensor:
    """It counts pixels to 256; the network sees 255, where the program's sees 256."""
    x = 256 * image[0]
    dx, dy = x[:, :-1, 1:] - x[:, :-1, :-1], x[:, 1:, :-1] - x[:, :-1, :-1]
    return 1e-3 * ((dx**2).sum() + (dy**2).sum()) / 2


def gordic_variation(image: Tensor) -> Tensor:
    x = minus_mean(image)
    return (x[..., :-1] - x[..., 1:]).abs().sum() + (x[..., :-1, :] - x[..., 1:, :]).abs().sum()


PROGRAMS = {
    # neural_style.lua: Gram over the number of elements, means of squares.
    "jcjohnson": Program(
        caffe,
        RELU4_2,
        5.0,
        lambda f, s: 100 * ((gram(f) / f.numel() - gram(s) / s.numel()) ** 2).mean(),
        jcjohnson_variation,
    ),
    # leongatys/PytorchNeuralStyleTransfer: G / (h w); 1e3 / n^2 for 64, 128, 256, 512, 512.
    "gatys_notebook": Program(
        caffe,
        RELU4_2,
        1.0,
        lambda f, s: (
            (1e3 / f.shape[1] ** 2)
            * ((gram(f) / f[0, 0].numel() - gram(s) / s[0, 0].numel()) ** 2).mean()
        ),
        lambda image: torch.zeros(()),
    ),
    # gordicaleksa: sums of squares of G / (c h w), mean over five layers. It keeps conv4_2, which
    # the following ReLU overwrites.
    "gordic": Program(
        minus_mean,
        CONV4_2,
        1e5,
        lambda f, s: 3e4 * ((gram(f) / f.numel() - gram(s) / s.numel()) ** 2).sum() / 5,
        gordic_variation,
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_losses_and_gradient_are_the_programs(name: str, weights: dict[str, Tensor]) -> None:
    single = colors(IMAGE, 3, 1.0).requires_grad_()
    double = single.detach().double().requires_grad_()
    losses = ours(name, weights, single)
    found = {"content": losses.sums["content"], "style": losses.sums["style"]}
    found["total"] = losses.total
    expected = PROGRAMS[name].losses(weights, double)
    for key, value in expected.items():
        # Float32 through up to 13 convolutions keeps five to six digits.
        assert float(found[key].detach()) == pytest.approx(float(value.detach()), rel=1e-4), key
    (gradient,) = torch.autograd.grad(losses.total, single)
    (reference,) = torch.autograd.grad(expected["total"], double)
    # Float32 alone differs by 1e-6. But a value before a ReLU that is nearly 0, or two nearly
    # equal ones in a window of the pooling, may be decided differently: one changes this by 2e-3.
    assert float((gradient.double() - reference).norm() / reference.norm()) < 1e-2
