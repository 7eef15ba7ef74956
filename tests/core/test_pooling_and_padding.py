"""Pooling and padding of an encoder, against loops and torchvision's own layers."""

import itertools
from typing import cast

import pytest
import torch
from encoder_networks import (
    CASES,
    MakeImage,
    build,
    maps_of,
    normalized,
    plain,
    random_weights,
    reference,
)
from torch import Tensor, fx, nn
from torch.nn.functional import conv2d, pad

from nst_exp.config.schema import Backbone, Padding, Pool
from nst_exp.core import pooling
from nst_exp.core.encoder import (
    build_encoder,
    reflecting,
)
from nst_exp.core.pooling import L2Pool, replace_pooling


def naive_pool(pool: Pool, x: Tensor, plain: nn.MaxPool2d) -> Tensor:
    """One window at a time, without the padding; torch decides how many windows there are."""
    side, stride, padding = plain.kernel_size, plain.stride, plain.padding
    reduce = {Pool.max: torch.max, Pool.average: torch.mean, Pool.l2: torch.linalg.vector_norm}
    pooled = torch.zeros_like(plain(x))
    for c, i, j in itertools.product(*map(range, pooled.shape[1:])):
        top, left = i * stride - padding, j * stride - padding
        window = x[0, c, max(top, 0) : top + side, max(left, 0) : left + side]
        pooled[0, c, i, j] = reduce[pool](window)
    return pooled


@pytest.mark.parametrize("size", [(7, 9), (8, 6), (6, 5)])
@pytest.mark.parametrize(
    "plain",
    [nn.MaxPool2d(2), *(nn.MaxPool2d(3, 2, p, ceil_mode=c) for p in (0, 1) for c in (False, True))],
)
@pytest.mark.parametrize("pool", list(Pool))
@pytest.mark.parametrize("large", [False, True])
def test_pooling_is_the_loop(
    pool: Pool,
    plain: nn.MaxPool2d,
    size: tuple[int, int],
    large: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The windows of VGG, SqueezeNet, AlexNet and ResNet, with sizes that do and do not divide."""
    monkeypatch.setattr(pooling, "LARGE_MAP", 0 if large else 10**9)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(1, 2, *size, generator=generator, dtype=torch.float64)
    expected = naive_pool(pool, x, plain)
    for scale in (1.0, 0.78):
        model = nn.Sequential(plain)
        replace_pooling(model, Backbone(pool=pool, pool_scale=scale))
        torch.testing.assert_close(model(x), scale * expected)
        assert torch.autograd.gradcheck(model, x.clone().requires_grad_())


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("size", [(8, 12), (9, 13)])
def test_max_pooling_of_a_large_map_is_torchs_and_keeps_a_byte_per_window(
    size: tuple[int, int], layout: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pooling, "LARGE_MAP", 0)
    # Few values, so that windows have several largest ones.
    x = torch.randint(3, (1, 3, *size)).float().contiguous(memory_format=layout).requires_grad_()
    pool = nn.MaxPool2d(2)
    model, kept = nn.Sequential(pool), list[Tensor]()
    replace_pooling(model, Backbone())

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        found = model(x)
    expected = pool(x)
    assert torch.equal(found, expected)
    assert [(tensor.shape, tensor.dtype) for tensor in kept] == [(expected.shape, torch.uint8)]
    gradient = torch.rand(expected.shape)
    of_found, of_expected = (torch.autograd.grad(y, x, gradient)[0] for y in (found, expected))
    assert torch.equal(of_found, of_expected)
    assert of_found.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("layers", [["relu1_1", "relu2_1"], ["relu1_2", "pool1", "relu2_1"]])
@pytest.mark.parametrize("large", [False, True])
def test_pooling_before_a_relu_changes_no_map_and_no_gradient(
    layers: list[str], large: bool, random_image: MakeImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pooling, "LARGE_MAP", 0 if large else 10**9)
    image = random_image(21, 34).requires_grad_()
    encoder, network = build("vgg13", layers), plain("vgg13")
    network.load_state_dict(random_weights("vgg13"), assign=True)
    places = {"relu1_1": 1, "relu1_2": 3, "pool1": 4, "relu2_1": 6}
    expected, x = {}, normalized(image)
    for index, module in enumerate(cast(nn.Sequential, network.features)[:7]):
        x = module(x)
        expected[index] = x
    maps = encoder(image)
    for layer in layers:
        found, right = maps[layer], expected[places[layer]]
        torch.testing.assert_close(found, right, rtol=1e-5, atol=1e-5)
        gradients = [
            torch.autograd.grad(values.square().sum(), image, retain_graph=True)[0]
            for values in (found, right)
        ]
        # Sums of thousands of products in float32, in another order.
        torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4 * float(gradients[1].max()))


def test_pooling_comes_before_a_relu_that_is_not_read() -> None:
    def order(layers: list[str]) -> list[str]:
        trunk = cast(fx.GraphModule, build("vgg13", layers).trunk)
        return [str(node.target) for node in trunk.graph.nodes if node.op == "call_module"][2:5]

    assert order(["relu2_1"]) == ["features.2", "features.4", "features.3"]
    for layer in ("relu1_2", "pool1"):
        assert order([layer, "relu2_1"]) == ["features.2", "features.3", "features.4"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_l2_pooling_of_a_window_of_zeros_has_a_gradient(dtype: torch.dtype) -> None:
    x = torch.tensor([[0.0, 0.0, 3.0, 0.0], [0.0, 0.0, 4.0, 0.0]], dtype=dtype)
    x = x.view(1, 1, 2, 4).requires_grad_()
    pooled = L2Pool(nn.MaxPool2d(2))(x)
    assert pooled.flatten().tolist() == pytest.approx([0.0, 5.0], abs=1e-18)
    (gradient,) = torch.autograd.grad(pooled.sum(), x)
    torch.testing.assert_close(gradient, x.detach() / 5)


def test_replicate_padding_is_of_the_first_convolution_only(random_image: MakeImage) -> None:
    image, weights = random_image(16, 16), random_weights("vgg11")
    layers = ["conv1_1", "relu1_1", "pool1", "conv2_1"]
    maps = maps_of(image, "vgg11", layers, padding=Padding.replicate)

    def convolved(x: Tensor, index: int, padding: int) -> Tensor:
        kernel, bias = (weights[f"features.{index}.{part}"] for part in ("weight", "bias"))
        return conv2d(x, kernel, bias, padding=padding)

    first = convolved(pad(normalized(image), (1, 1, 1, 1), mode="replicate"), 0, 0)
    torch.testing.assert_close(maps["conv1_1"], first, rtol=1e-4, atol=1e-4)
    second = convolved(maps["pool1"], 3, 1)
    torch.testing.assert_close(maps["conv2_1"], second, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("padding", [Padding.reflect, Padding.circular])
@pytest.mark.parametrize("name", ["vgg11", "alexnet", "squeezenet1_1", "resnet18"])
def test_padding_of_every_convolution(name: str, padding: Padding, random_image: MakeImage) -> None:
    """Each convolution has no padding, and a layer before it pads."""
    kinds = {Padding.reflect: nn.ReflectionPad2d, Padding.circular: nn.CircularPad2d}

    def padded_before(model: nn.Module) -> nn.Module:
        for path, module in dict(model.named_modules()).items():
            if isinstance(module, nn.Conv2d):
                layer = kinds[padding](module.padding[0])
                module.padding = (0, 0)
                model.set_submodule(path, nn.Sequential(layer, module))
        return model.double()

    image = random_image(64, 80)
    expected = reference(name, image.double(), CASES[name], padded_before)
    for layer, values in maps_of(image, name, list(CASES[name]), padding=padding).items():
        atol = 1e-4 * float(expected[layer].abs().max())
        torch.testing.assert_close(values.double(), expected[layer], rtol=0, atol=atol)


def test_circular_padding_lets_images_be_rolled(random_image: MakeImage) -> None:
    image = random_image(32, 48)
    maps, rolled = (
        maps_of(x, "vgg11", ["relu3_1"], padding=Padding.circular)["relu3_1"]
        for x in (image, image.roll((8, 16), (2, 3)))
    )
    torch.testing.assert_close(maps.roll((2, 4), (2, 3)), rolled, rtol=0, atol=1e-4)


def test_styles_of_tiles_are_reflected(random_image: MakeImage) -> None:
    """The copy is the network with padding=reflect; the encoder itself keeps its padding."""
    image, layers = random_image(40, 48), ["relu1_1", "relu3_1", "relu5_1"]
    circular, reflect = (
        build_encoder(Backbone(name="vgg11", padding=padding), layers, random_weights("vgg11"))
        for padding in (Padding.circular, Padding.reflect)
    )
    before, expected = circular(image), reflect(image)
    found, after = reflecting(circular)(image), circular(image)
    for layer in layers:
        assert torch.equal(found[layer], expected[layer])
        assert torch.equal(after[layer], before[layer])
        assert not torch.equal(found[layer], before[layer])
