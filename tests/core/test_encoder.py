"""Feature maps against a plain forward pass of torchvision's networks, with random weights.

The tolerance is 1e-4 of the largest value: float32 through up to twenty convolutions, which the
two memory formats sum in different orders.
"""

import gc
import weakref
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from encoder_networks import (
    CASES,
    MakeImage,
    build,
    maps_of,
    normalized,
    random_weights,
    reference,
)
from torch import Tensor, nn

from nst_exp.config.loss_layers import RGB
from nst_exp.config.schema import Backbone, InputConvention, Padding, Pool
from nst_exp.core.encoder import (
    build_encoder,
    feature_maps,
    least_size,
)
from nst_exp.utils.errors import ConfigError, WeightsError

Maps = Mapping[str, Tensor]


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
