"""Feature maps against a plain forward pass of torchvision's networks, with random weights.

The tolerance is 1e-4 of the largest value: float32 through up to twenty convolutions, which the
two memory formats sum in different orders.
"""

import gc
import itertools
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad
from torchvision import models

from nst_exp.config import layer_names
from nst_exp.config.loss_layers import RGB
from nst_exp.config.schema import Backbone, InputConvention, Padding, Pool
from nst_exp.core.encoder import (
    Encoder,
    build_encoder,
    build_shadow,
    feature_maps,
    least_size,
    reflecting,
)
from nst_exp.core.pooling import L2Pool, replace_pooling
from nst_exp.images import named_images
from nst_exp.images.tensors import to_tensor
from nst_exp.utils.errors import ConfigError, WeightsError

MakeImage = Callable[..., Tensor]
Maps = Mapping[str, Tensor]
ARCHITECTURES = [
    *(f"{name}{suffix}" for name in layer_names.VGG_BLOCKS for suffix in ("", "_bn")),
    *layer_names.RESNET_BLOCKS,
    "squeezenet1_1",
    "alexnet",
]


def plain(name: str) -> nn.Module:
    """torchvision's network without its classifier, with ReLUs that overwrite nothing."""
    with torch.device("meta"):
        model = models.get_model(name, weights=None)
    for head in ("classifier", "avgpool", "fc"):
        if hasattr(model, head):
            setattr(model, head, nn.Identity())
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return model.eval()


def random_weights(name: str) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    weights: dict[str, Tensor] = {}
    for key, like in plain(name).state_dict().items():
        value = torch.randn(like.shape, generator=generator)
        if like.dim() == 4:
            value *= (2.0 / like[0].numel()) ** 0.5
        elif key.endswith(("running_var", "weight")):
            value = 0.5 + torch.rand(like.shape, generator=generator)
        elif key.endswith("num_batches_tracked"):
            value = torch.tensor(0)
        else:
            value *= 0.1
        weights[key] = value
    return weights


def build(name: str, layers: list[str], channels_last: bool = True, **settings: Any) -> Encoder:
    backbone = Backbone(name=name, **settings)
    return build_encoder(backbone, layers, random_weights(name), channels_last=channels_last)


def maps_of(image: Tensor, name: str, layers: list[str], **settings: Any) -> dict[str, Tensor]:
    with torch.no_grad():
        maps: dict[str, Tensor] = build(name, layers, **settings)(image)
    return maps


def normalized(image: Tensor) -> Tensor:
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    return (image - mean) / std


def reference(
    name: str,
    image: Tensor,
    modules: Mapping[str, str],
    change: Callable[[nn.Module], nn.Module] = lambda model: model,
) -> dict[str, Tensor]:
    """{layer: output of its module} of a plain forward pass, of a network that is changed first."""
    model = plain(name)
    model.load_state_dict(random_weights(name), assign=True)
    model = change(model)
    maps: dict[str, Tensor] = {}

    def keep(layer: str) -> Callable[[nn.Module, object, Tensor], None]:
        return lambda _module, _input, output: maps.update({layer: output.clone()})

    for layer, path in modules.items():
        model.get_submodule(path).register_forward_hook(keep(layer))
    with torch.no_grad():
        model(normalized(image))
    return maps


VGG_LAYERS = ["conv1_1", "relu1_1", "pool1", "conv3_1", "relu3_1", "conv5_2", "relu5_2", "pool5"]


def vgg(name: str, *more: str) -> dict[str, str]:
    return {layer: layer_names.aliases(name)[layer] for layer in [*VGG_LAYERS, *more]}


CASES: dict[str, dict[str, str]] = {
    "vgg11": vgg("vgg11"),
    "vgg16": vgg("vgg16"),
    "vgg11_bn": vgg("vgg11_bn", "bn1_1", "bn4_1"),
    "alexnet": layer_names.aliases("alexnet"),
    "squeezenet1_1": {"conv1": "features.0", "relu1": "features.1", "pool3": "features.5"}
    | {"fire2": "features.3", "fire5": "features.7", "fire9": "features.12"},
    "resnet18": {"conv1": "conv1", "bn1": "bn1", "relu1": "relu", "pool1": "maxpool"}
    | {"layer1_1": "layer1.0", "layer2": "layer2", "out_5": "layer4"}
    # Before the residual sum and the in-place ReLUs within a block:
    | {"layer1.0.bn1": "layer1.0.bn1", "layer3.1.bn2": "layer3.1.bn2"},
    # Any classifier works by node names:
    "densenet121": {
        name: name
        for name in ("features.denseblock1.denselayer2.norm1", "features.transition1.pool")
    },
}


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_maps_are_those_of_a_plain_forward_pass(
    name: str, channels_last: bool, random_image: MakeImage
) -> None:
    """Also for the gradient: autograd would refuse maps that an in-place ReLU overwrites."""
    image, modules = random_image(64, 80).requires_grad_(), CASES[name]
    maps = build(name, list(modules), channels_last)(image)
    expected = reference(name, image, modules)
    assert maps.keys() == expected.keys()
    for layer, values in maps.items():
        atol = 1e-4 * float(expected[layer].abs().max())
        torch.testing.assert_close(values.detach(), expected[layer], rtol=0, atol=atol)
    sum(values.square().sum() for values in maps.values()).backward()
    assert torch.isfinite(image.grad).all()


@pytest.mark.parametrize(
    ("name", "layer", "kept", "cut"),
    [
        ("vgg16", "relu2_1", "features.5.weight", "features.7.weight"),
        ("resnet18", "layer2", "layer2.1.conv2.weight", "layer3.0.conv1.weight"),
        ("squeezenet1_1", "fire3", "features.4.expand3x3.weight", "features.6.squeeze.weight"),
    ],
)
def test_nothing_after_the_last_layer_is_kept(name: str, layer: str, kept: str, cut: str) -> None:
    names = set(build(name, [layer]).trunk.state_dict())
    assert kept in names
    assert cut not in names
    assert not any(key.startswith(("classifier", "fc")) for key in names)


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
def test_pooling_is_the_loop(pool: Pool, plain: nn.MaxPool2d, size: tuple[int, int]) -> None:
    """The windows of VGG, SqueezeNet, AlexNet and ResNet, with sizes that do and do not divide."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(1, 2, *size, generator=generator, dtype=torch.float64)
    expected = naive_pool(pool, x, plain)
    for scale in (1.0, 0.78):
        model = nn.Sequential(plain)
        replace_pooling(model, Backbone(pool=pool, pool_scale=scale))
        torch.testing.assert_close(model(x), scale * expected)
        assert torch.autograd.gradcheck(model, x.clone().requires_grad_())


@pytest.mark.parametrize("pool", [nn.MaxPool2d(2), nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(2, 1)])
def test_max_pooling_is_torchs_and_keeps_its_input_alone(pool: nn.MaxPool2d) -> None:
    x = torch.rand(1, 3, 9, 12).contiguous(memory_format=torch.channels_last).requires_grad_()
    model, kept = nn.Sequential(pool), list[Tensor]()
    replace_pooling(model, Backbone())

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        found = model(x)
    expected = pool(x)
    assert torch.equal(found, expected)
    assert [tensor.data_ptr() for tensor in kept] == [x.data_ptr()]
    gradient = torch.rand(expected.shape)
    of_found, of_expected = (torch.autograd.grad(y, x, gradient)[0] for y in (found, expected))
    assert torch.equal(of_found, of_expected)


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


@pytest.mark.parametrize("convention", list(InputConvention))
def test_input_conventions(convention: InputConvention, random_image: MakeImage) -> None:
    """The first convolution copies its input."""
    image = random_image(4, 5)
    weights = random_weights("vgg11")
    kernel = torch.zeros(64, 3, 3, 3)
    kernel[:3, :, 1, 1] = torch.eye(3)
    weights |= {"features.0.weight": kernel, "features.0.bias": torch.zeros(64)}
    encoder = build_encoder(Backbone(name="vgg11", input=convention), ["conv1_1"], weights)
    red, green, blue = image[0]
    expected = {
        InputConvention.caffe: [255 * blue - 103.939, 255 * green - 116.779, 255 * red - 123.68],
        InputConvention.imagenet_255: [
            *(255 * red - 123.675, 255 * green - 116.28, 255 * blue - 103.53)
        ],
        InputConvention.imagenet: list(normalized(image)[0]),
    }[convention]
    seen = encoder(image)["conv1_1"][0, :3]
    torch.testing.assert_close(seen, torch.stack(expected), rtol=1e-6, atol=5e-5)  # up to 151


def test_map_scale_multiplies_every_map_once(random_image: MakeImage) -> None:
    layers, image = ["conv1_1", "relu1_1", "pool1", "relu3_1"], random_image(32, 40)
    expected = maps_of(image, "vgg11", layers)
    for layer, values in maps_of(image, "vgg11", layers, map_scale=0.01735).items():
        assert torch.equal(values, expected[layer] * 0.01735)


def test_an_encoder_is_frozen_and_stays_in_inference_mode(random_image: MakeImage) -> None:
    encoder = build("vgg11_bn", ["relu2_1"])
    nn.Sequential(encoder).train()  # what a trainer does
    assert not any(module.training for module in encoder.modules())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    image = random_image(16, 16).requires_grad_()
    encoder(image)["relu2_1"].square().sum().backward()
    assert image.grad is not None
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("vgg11", ["relu1_1", "pool1", "conv2_1", "relu3_2", RGB]),
        ("resnet18", ["layer1_1", "relu1"]),
        ("squeezenet1_1", ["fire2", "relu1"]),
    ],
)
@pytest.mark.parametrize("mixed", [False, True])
def test_maps_on_demand_are_those_of_the_whole_network(
    mixed: bool, name: str, layers: list[str], random_image: MakeImage
) -> None:
    """Also if they are read in another order, and where autocast and gradients are switched off."""
    encoder, image = build(name, layers, map_scale=0.5), random_image(40, 48).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, mixed):
        expected, found = encoder(image), encoder.maps_on_demand(image)
        with torch.autocast("cpu", enabled=False), torch.no_grad():
            maps = {layer: found[layer] for layer in layers[::-1]}
    assert list(found) == layers
    for layer in layers:
        assert maps[layer].dtype is expected[layer].dtype
        assert maps[layer].requires_grad
        assert torch.equal(maps[layer], expected[layer])


class _Observed(torch.autograd.Function):
    """Passes a map on, and appends the name of its layer to ``order`` in the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: str, order: list[str]) -> Tensor:
        ctx.layer, ctx.order = layer, order
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        ctx.order.append(f"loss of {ctx.layer}")
        return gradients[0], None, None


def test_gradients_of_maps_on_demand_are_computed_one_by_one(random_image: MakeImage) -> None:
    """Those of all layers' losses at once would be as large as the maps together."""
    layers = ["relu1_1", "relu2_1", "relu3_1"]
    encoder, order = build("vgg11", layers), list[str]()
    maps = encoder.maps_on_demand(random_image(32, 32).requires_grad_())
    losses = []
    for layer in layers:
        maps[layer].register_hook(lambda gradient, layer=layer: order.append(f"network at {layer}"))
        losses.append(_Observed.apply(maps[layer], layer, order).sum())
    sum(losses).backward()
    assert order == [f"{of} {layer}" for layer in layers[::-1] for of in ("loss of", "network at")]


def test_maps_on_demand_are_freed_at_once(random_image: MakeImage) -> None:
    """Without a cycle of references, which would keep those of several evaluations."""
    maps = build("vgg11", ["relu1_1", "relu2_1"]).maps_on_demand(random_image(16, 16))
    first = weakref.ref(maps["relu1_1"])
    gc.disable()
    try:
        del maps
        assert first() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("vgg_19", {}, r"backbone\.name=vgg_19: .*did you mean 'vgg19'\?"),
        (
            "squeezenet1_1",
            {"padding": Padding.replicate},
            r"=replicate: the first .* use .*reflect",
        ),
        ("mobilenet_v2", {"pool": Pool.average}, r"pool=average: mobilenet_v2 has no max"),
    ],
)
def test_settings_that_do_not_fit(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_encoder(Backbone(name=name, **settings), ["features.0"], {})


def test_all_unknown_layers_are_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        build_encoder(Backbone(name="vgg11"), ["relu1_1", "rellu2_1", "features.99"], {})
    first, second = caught.value.problems
    assert first.startswith("backbone=vgg11 has no layer 'rellu2_1'; did you mean 'relu2_1'?")
    assert second.startswith("backbone=vgg11 has no layer 'features.99'; did you mean 'features.9'")


def test_missing_weights_are_named() -> None:
    """Batch counters may be missing: files converted from other programs have none."""
    weights = {k: v for k, v in random_weights("vgg11_bn").items() if "num_batches" not in k}
    build_encoder(Backbone(name="vgg11_bn"), ["relu2_1"], weights)
    del weights["features.4.bias"]
    with pytest.raises(WeightsError, match=r"vgg11_bn: the weights lack features\.4\.bias"):
        build_encoder(Backbone(name="vgg11_bn"), ["relu2_1"], weights)
    build_encoder(Backbone(name="vgg11_bn"), ["relu1_1"], weights)  # not needed there


@pytest.mark.parametrize(("name", "layer"), [("vgg11", "pool3"), ("resnet18", "layer2")])
def test_images_that_are_too_small(name: str, layer: str, random_image: MakeImage) -> None:
    encoder = build_encoder(Backbone(name=name), [layer], None)
    least = least_size(encoder)
    maps = feature_maps(encoder, random_image(least, 40), "content")
    assert min(maps[layer].shape) > 0
    if least > 1:
        with pytest.raises(ConfigError, match=rf"^style: 40x{least - 1} pixels .* need {least}"):
            feature_maps(encoder, random_image(least - 1, 40), "style")


def test_a_layer_without_feature_maps_is_refused(random_image: MakeImage) -> None:
    encoder = build("vgg11", ["flatten"])
    with pytest.raises(ConfigError, match="layer 'flatten' returns"):
        feature_maps(encoder, random_image(64, 64), "content")


def test_random_weights_are_determined_by_the_seed() -> None:
    settings = Backbone(name="resnet18")
    state = torch.random.get_rng_state()
    first, again, other = (
        build_encoder(settings, ["layer1"], None, seed).state_dict() for seed in (1, 1, 2)
    )
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["trunk.conv1.weight"], other["trunk.conv1.weight"])
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(
    ("name", "layer", "side"),
    [("inception_v3", "Mixed_6a.cat", 96), ("regnet_x_400mf", "stem", 32)],
)
def test_random_weights_of_any_network(name: str, layer: str, side: int) -> None:
    """The first takes no images of 64 pixels; the second cannot be built on torch's "meta"."""
    settings, image = Backbone(name=name), torch.rand(1, 3, side, side)
    maps = build_encoder(settings, [layer], None)(image)
    assert 0.05 <= float(maps[layer].square().mean()) <= 100
    shadow = build_shadow(settings, [layer])
    assert shadow(image.to("meta"))[layer].shape == maps[layer].shape


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "convention"),
    [(name, InputConvention.imagenet) for name in ARCHITECTURES]
    + [(name, InputConvention.caffe) for name in ("vgg16", "squeezenet1_1", "resnet18")]
    + [("vgg19", InputConvention.imagenet_255)],
)
def test_random_weights_keep_the_size_of_activations(
    name: str, convention: InputConvention
) -> None:
    """In every layer that has a name, for a photo."""
    settings = Backbone(name=name, input=convention)
    encoder = build_encoder(settings, list(layer_names.aliases(name)), None)
    with Image.open(named_images()["chelsea"]) as image, torch.no_grad():
        maps = encoder(to_tensor(image.convert("RGB"), (96, 64)))
    moments = {layer: float(values.square().mean()) for layer, values in maps.items()}
    assert not {layer: value for layer, value in moments.items() if not 0.05 <= value <= 100}


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
