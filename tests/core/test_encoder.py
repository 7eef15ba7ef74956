"""Feature maps against a plain forward pass of torchvision's networks, with random weights.

Agreement is asked to 1e-4 of the largest value: float32 and up to twenty convolutions, which the
two memory layouts sum in different orders.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import pad
from torchvision import models

from nst_exp.config import layer_names as layers
from nst_exp.config.schema import Backbone as Settings
from nst_exp.config.schema import ContentLoss, InputConvention, Loss, Padding, Pool, StyleLoss
from nst_exp.core.encoder import Encoder, build_encoder
from nst_exp.core.objective import build_objective
from nst_exp.core.pooling import L2Pool
from nst_exp.images import named_images
from nst_exp.images.tensors import to_tensor
from nst_exp.utils.errors import ConfigError, WeightsError

MakeImage = Callable[..., Tensor]
Maps = Mapping[str, Tensor]
IMAGENET = InputConvention.imagenet
ARCHITECTURES = [
    *(f"{name}{suffix}" for name in layers.VGG_BLOCKS for suffix in ("", "_bn")),
    *layers.RESNET_BLOCKS,
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


def random_weights(name: str, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
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


def build(name: str, wanted: list[str], channels_last: bool = True, **settings: object) -> Encoder:
    return build_encoder(
        replace(Settings(name=name), **settings),  # type: ignore[arg-type]
        wanted,
        random_weights(name),
        channels_last=channels_last,
    )


def normalized(image: Tensor) -> Tensor:
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    return (image - mean) / std


def hooked(model: nn.Module, x: Tensor, modules: Mapping[str, str]) -> dict[str, Tensor]:
    """{layer: output of its module} of a plain forward pass."""
    maps: dict[str, Tensor] = {}

    def keep(layer: str) -> Callable[[nn.Module, object, Tensor], None]:
        def hook(_module: nn.Module, _input: object, output: Tensor) -> None:
            maps[layer] = output.clone()  # what returns a value would replace the output

        return hook

    for layer, path in modules.items():
        model.get_submodule(path).register_forward_hook(keep(layer))
    with torch.no_grad():
        model(x)
    return maps


def reference(name: str, image: Tensor, modules: Mapping[str, str]) -> dict[str, Tensor]:
    model = plain(name)
    model.load_state_dict(random_weights(name), assign=True)
    return hooked(model, normalized(image), modules)


def assert_same(maps: Maps, expected: Maps) -> None:
    assert maps.keys() == expected.keys()
    for layer, values in maps.items():
        atol = 1e-4 * float(expected[layer].abs().max())
        torch.testing.assert_close(
            values, expected[layer], rtol=0, atol=atol, msg=lambda m, at=layer: f"{at}: {m}"
        )


VGG_LAYERS = ["conv1_1", "relu1_1", "pool1", "conv3_1", "relu3_1", "conv5_2", "relu5_2", "pool5"]
CASES: list[tuple[str, dict[str, str]]] = [
    ("vgg11", {layer: layers.aliases("vgg11")[layer] for layer in VGG_LAYERS}),
    ("vgg16", {layer: layers.aliases("vgg16")[layer] for layer in VGG_LAYERS}),
    (
        "vgg11_bn",
        {layer: layers.aliases("vgg11_bn")[layer] for layer in [*VGG_LAYERS, "bn1_1", "bn4_1"]},
    ),
    ("alexnet", layers.aliases("alexnet")),
    (
        "squeezenet1_1",
        {"conv1": "features.0", "relu1": "features.1", "pool3": "features.5"}
        | {"fire2": "features.3", "fire5": "features.7", "fire9": "features.12"},
    ),
    (
        "resnet18",
        {"conv1": "conv1", "bn1": "bn1", "relu1": "relu", "pool1": "maxpool"}
        | {"layer1_1": "layer1.0", "layer2": "layer2", "out_5": "layer4"}
        # In front of the residual sum and of the in-place ReLUs within a block:
        | {"layer1.0.bn1": "layer1.0.bn1", "layer3.1.bn2": "layer3.1.bn2"},
    ),
]


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize(("name", "modules"), CASES, ids=[name for name, _ in CASES])
def test_maps_are_those_of_a_plain_forward_pass(
    name: str, modules: dict[str, str], channels_last: bool, random_image: MakeImage
) -> None:
    image = random_image(64, 80)
    backbone = build(name, list(modules), channels_last)
    with torch.no_grad():
        maps = backbone(image)
    assert_same(maps, reference(name, image, modules))


@pytest.mark.parametrize(
    ("name", "layer", "behind"),
    [
        ("vgg11", "conv1_1", "relu1_1"),
        ("vgg11_bn", "bn2_1", "relu2_1"),
        ("resnet18", "bn1", "relu1"),
        ("squeezenet1_1", "conv1", "relu1"),
        ("alexnet", "conv2", "relu2"),
    ],
)
def test_maps_in_front_of_a_relu_keep_their_negative_values(
    name: str, layer: str, behind: str, random_image: MakeImage
) -> None:
    with torch.no_grad():
        maps = build(name, [layer, behind])(random_image(64, 64))
    assert float((maps[layer] < 0).float().mean()) > 0.1
    assert torch.equal(maps[layer].relu(), maps[behind])


@pytest.mark.parametrize(
    ("name", "layer", "kept", "lost"),
    [
        ("vgg16", "relu2_1", "features.5.weight", "features.7.weight"),
        ("vgg16", "conv2_1", "features.5.weight", "features.7.weight"),
        ("resnet18", "layer2", "layer2.1.conv2.weight", "layer3.0.conv1.weight"),
        ("squeezenet1_1", "fire3", "features.4.expand3x3.weight", "features.6.squeeze.weight"),
    ],
)
def test_nothing_behind_the_last_layer_is_kept(name: str, layer: str, kept: str, lost: str) -> None:
    names = set(build(name, [layer]).trunk.state_dict())
    assert kept in names
    assert lost not in names
    assert not any(key.startswith(("classifier", "fc")) for key in names)


def test_average_pooling_and_its_scale(random_image: MakeImage) -> None:
    image = random_image(32, 32)
    backbone = build("vgg11", ["relu1_1", "pool1"], pool=Pool.average, pool_scale=2.0)
    with torch.no_grad():
        maps = backbone(image)
    expected = 2.0 * nn.functional.avg_pool2d(maps["relu1_1"], 2)
    torch.testing.assert_close(maps["pool1"], expected)


def test_average_pooling_does_not_count_the_padding(random_image: MakeImage) -> None:
    """ResNet pools 3x3 with a padding of 1: at the border, the mean is of the pixels there."""
    with torch.no_grad():
        maps = build("resnet18", ["relu1", "pool1"], pool=Pool.average)(random_image(32, 32))
    corner = maps["relu1"][..., :2, :2].mean(dim=(2, 3))
    torch.testing.assert_close(maps["pool1"][..., 0, 0], corner)


def shapes_of(backbone: Encoder, height: int, width: int) -> dict[str, tuple[int, ...]]:
    with torch.no_grad():
        maps = backbone(torch.rand(1, 3, height, width))
    return {layer: tuple(values.shape) for layer, values in maps.items()}


def test_every_pooling_keeps_the_shapes_of_max_pooling() -> None:
    """SqueezeNet rounds sizes up: its ceil_mode has to be taken over."""
    wanted = ["pool1", "pool3", "pool5", "fire9"]
    backbones = [build("squeezenet1_1", wanted, pool=pool) for pool in Pool]
    shapes = [shapes_of(backbone, 61, 75) for backbone in backbones]
    assert all(others == shapes[0] for others in shapes[1:])


def naive_l2_pool(x: Tensor, side: int, stride: int, padding: int, ceil: bool) -> Tensor:
    """The root of each window's sum of squares; a window begins inside the map or its padding."""
    _, channels, height, width = x.shape

    def windows(length: int) -> int:
        span = length + 2 * padding - side
        count = -(-span // stride) + 1 if ceil else span // stride + 1
        # torch's rule for ceil_mode: no window may begin behind the map.
        return count - 1 if ceil and (count - 1) * stride >= length + padding else count

    rows, columns = windows(height), windows(width)
    pooled = x.new_zeros(1, channels, rows, columns)
    for c, i, j in itertools.product(range(channels), range(rows), range(columns)):
        total = 0.0
        for di, dj in itertools.product(range(side), repeat=2):
            y, z = i * stride + di - padding, j * stride + dj - padding
            if 0 <= y < height and 0 <= z < width:
                total += float(x[0, c, y, z]) ** 2
        pooled[0, c, i, j] = total**0.5
    return pooled


@pytest.mark.parametrize(
    ("side", "stride", "padding", "ceil"),
    [(2, 2, 0, False), (3, 2, 0, True), (3, 2, 0, False), (3, 2, 1, False), (3, 2, 1, True)],
)
@pytest.mark.parametrize("size", [(7, 9), (8, 6), (6, 5)])
def test_l2_pooling_is_the_loop(
    side: int, stride: int, padding: int, ceil: bool, size: tuple[int, int]
) -> None:
    """The windows of VGG, SqueezeNet, AlexNet and ResNet, with sizes that do and do not divide."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(1, 2, *size, generator=generator, dtype=torch.float64)
    plain = nn.MaxPool2d(side, stride, padding, ceil_mode=ceil)
    pooled = L2Pool(plain)(x)
    assert pooled.shape == plain(x).shape
    torch.testing.assert_close(pooled, naive_l2_pool(x, side, stride, padding, ceil))


def test_gradient_of_l2_pooling() -> None:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(1, 2, 5, 6, generator=generator, dtype=torch.float64).requires_grad_()
    for pool in (nn.MaxPool2d(2), nn.MaxPool2d(3, 2, ceil_mode=True)):
        assert torch.autograd.gradcheck(L2Pool(pool), x)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_l2_pooling_of_a_dead_window_has_a_gradient(dtype: torch.dtype) -> None:
    """Behind a ReLU all four may be 0, where the root's own gradient is infinite."""
    x = torch.tensor([[0.0, 0.0, 3.0, 0.0], [0.0, 0.0, 4.0, 0.0]], dtype=dtype)
    x = x.view(1, 1, 2, 4).requires_grad_()
    pooled = L2Pool(nn.MaxPool2d(2))(x)
    # Nothing may be lost of the window that is not dead; the other's root of the least number.
    assert pooled.flatten().tolist() == pytest.approx([0.0, 5.0], abs=1e-18)
    (gradient,) = torch.autograd.grad(pooled.sum(), x)
    expected = torch.tensor([[0.0, 0.0, 0.6, 0.0], [0.0, 0.0, 0.8, 0.0]], dtype=dtype)
    torch.testing.assert_close(gradient[0, 0], expected)


def test_l2_pooling_and_its_scale_in_a_network(random_image: MakeImage) -> None:
    image = random_image(32, 32)
    backbone = build("vgg11", ["relu1_1", "pool1"], pool=Pool.l2, pool_scale=0.78)
    with torch.no_grad():
        maps = backbone(image)
    squares = 4 * nn.functional.avg_pool2d(maps["relu1_1"].square(), 2)
    torch.testing.assert_close(maps["pool1"], 0.78 * squares.sqrt())


def test_max_pooling_is_scaled_too(random_image: MakeImage) -> None:
    with torch.no_grad():
        maps = build("vgg11", ["relu1_1", "pool1"], pool_scale=0.5)(random_image(32, 32))
    torch.testing.assert_close(maps["pool1"], 0.5 * nn.functional.max_pool2d(maps["relu1_1"], 2))


def test_replicate_padding_is_of_the_first_convolution_only(random_image: MakeImage) -> None:
    image = random_image(16, 16)
    wanted = ["conv1_1", "relu1_1", "pool1", "conv2_1"]
    weights = random_weights("vgg11")
    with torch.no_grad():
        maps = build("vgg11", wanted, padding=Padding.replicate)(image)
    conv = nn.functional.conv2d
    first = conv(
        pad(normalized(image), (1, 1, 1, 1), mode="replicate"),
        weights["features.0.weight"],
        weights["features.0.bias"],
    )
    torch.testing.assert_close(maps["conv1_1"], first, rtol=1e-4, atol=1e-4)
    second = conv(
        maps["pool1"], weights["features.3.weight"], weights["features.3.bias"], padding=1
    )
    torch.testing.assert_close(maps["conv2_1"], second, rtol=1e-4, atol=1e-4)


def test_replicate_padding_needs_padding_to_replace() -> None:
    with pytest.raises(ConfigError, match=r"backbone\.padding=replicate: the first convolution of"):
        build("squeezenet1_1", ["fire2"], padding=Padding.replicate)


def test_pooling_needs_pooling_to_replace() -> None:
    with pytest.raises(ConfigError, match=r"backbone\.pool=average: mobilenet_v2 has no max"):
        build_encoder(Settings(name="mobilenet_v2", pool=Pool.average), ["features.0"], {})


@pytest.mark.parametrize("convention", list(InputConvention))
def test_input_conventions(convention: InputConvention, random_image: MakeImage) -> None:
    """The first convolution is made to copy its input."""
    image = random_image(4, 5)
    weights = random_weights("vgg11")
    kernel = torch.zeros(64, 3, 3, 3)
    kernel[:3, :, 1, 1] = torch.eye(3)
    weights |= {"features.0.weight": kernel, "features.0.bias": torch.zeros(64)}
    backbone = build_encoder(Settings(name="vgg11", input=convention), ["conv1_1"], weights)
    seen = backbone(image)["conv1_1"][0, :3]
    red, green, blue = image[0]
    if convention is InputConvention.caffe:
        expected = [255 * blue - 103.939, 255 * green - 116.779, 255 * red - 123.68]
    elif convention is InputConvention.imagenet_255:
        expected = [255 * red - 123.675, 255 * green - 116.28, 255 * blue - 103.53]
    else:
        expected = [(red - 0.485) / 0.229, (green - 0.456) / 0.224, (blue - 0.406) / 0.225]
    # Float32 of values up to 151.
    torch.testing.assert_close(seen, torch.stack(expected), rtol=1e-6, atol=5e-5)


@pytest.mark.parametrize("scale", [0.01735, 3.0])
def test_map_scale_multiplies_every_map(scale: float, random_image: MakeImage) -> None:
    wanted = ["conv1_1", "relu1_1", "pool1", "relu3_1"]
    image = random_image(32, 40)
    with torch.no_grad():
        plain = build("vgg11", wanted)(image)
        scaled = build("vgg11", wanted, map_scale=scale)(image)
    assert scaled.keys() == plain.keys()
    for layer, values in scaled.items():
        assert torch.equal(values, plain[layer] * scale)  # once, not once for each layer before


def test_map_scale_is_nothing_to_a_relative_loss(random_image: MakeImage) -> None:
    part = {"layers": ["relu1_1", "relu2_1"], "relative": True}
    loss = Loss(content=ContentLoss(**part), style=StyleLoss(**part))  # type: ignore[arg-type]
    found = []
    for scale in (1.0, 0.01735):
        backbone = build("vgg11", ["relu1_1", "relu2_1"], map_scale=scale)
        with torch.no_grad():
            content, style = backbone(random_image(16, 16, 1)), backbone(random_image(20, 16, 2))
            image = random_image(16, 16, 3)
            objective = build_objective(loss, 1.0, 5.0, content, style)
            found.append(float(objective(image, backbone(image)).total))
    assert found[1] == pytest.approx(found[0], rel=1e-5)  # float32


def test_a_backbone_is_frozen_and_stays_in_inference_mode(random_image: MakeImage) -> None:
    backbone = build("vgg11_bn", ["relu2_1"])
    nn.Sequential(backbone).train()  # what a trainer does
    assert not any(module.training for module in backbone.modules())
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    image = random_image(16, 16).requires_grad_()
    backbone(image)["relu2_1"].square().sum().backward()
    assert image.grad is not None
    assert all(torch.equal(before[name], value) for name, value in backbone.state_dict().items())


def test_gradients_pass_through_maps_that_are_read_in_front_of_a_relu(
    random_image: MakeImage,
) -> None:
    """An in-place ReLU on a map that the loss needs would make autograd refuse, or be wrong."""
    backbone = build("vgg11", ["conv1_1", "relu1_1"])
    image = random_image(8, 8).requires_grad_()
    maps = backbone(image)
    loss = maps["conv1_1"].square().sum() + maps["relu1_1"].square().sum()
    (gradient,) = torch.autograd.grad(loss, image)
    weights = random_weights("vgg11")
    again = image.detach().requires_grad_()
    x = nn.functional.conv2d(
        normalized(again), weights["features.0.weight"], weights["features.0.bias"], padding=1
    )
    (expected,) = torch.autograd.grad(x.square().sum() + x.relu().square().sum(), again)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-3)


def test_unknown_architectures_are_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"backbone\.name=vgg_19: .*did you mean 'vgg19'\?"):
        build_encoder(Settings(name="vgg_19"), ["relu1_1"], {})


def test_all_unknown_layers_are_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        build_encoder(Settings(name="vgg11"), ["relu1_1", "rellu2_1", "features.99"], {})
    first, second = caught.value.problems
    assert first.startswith("backbone=vgg11 has no layer 'rellu2_1'; did you mean 'relu2_1'?")
    assert second.startswith("backbone=vgg11 has no layer 'features.99'; did you mean 'features.9'")


def test_a_missing_weight_is_named() -> None:
    weights = random_weights("vgg11")
    del weights["features.3.bias"]
    with pytest.raises(WeightsError, match=r"vgg11: the weights lack features\.3\.bias"):
        build_encoder(Settings(name="vgg11"), ["relu2_1"], weights)
    build_encoder(Settings(name="vgg11"), ["relu1_1"], weights)  # not needed there


def test_batch_counters_need_not_be_in_the_weights() -> None:
    """Files that were converted from other programs have none."""
    weights = {k: v for k, v in random_weights("vgg11_bn").items() if "num_batches" not in k}
    build_encoder(Settings(name="vgg11_bn"), ["relu2_1"], weights)


def test_any_classifier_works_by_node_names() -> None:
    nodes = ["features.denseblock1.denselayer2.norm1", "features.transition1.pool"]
    backbone = build_encoder(Settings(name="densenet121"), nodes, random_weights("densenet121"))
    shapes = shapes_of(backbone, 64, 64)
    assert shapes == {nodes[0]: (1, 96, 16, 16), nodes[1]: (1, 128, 8, 8)}


def test_random_weights_come_from_the_seed() -> None:
    settings = Settings(name="resnet18")
    state = torch.random.get_rng_state()
    first, again, other = (
        build_encoder(settings, ["layer1"], None, seed).state_dict() for seed in (1, 1, 2)
    )
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["trunk.conv1.weight"], other["trunk.conv1.weight"])
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "convention"),
    [(name, IMAGENET) for name in ARCHITECTURES]
    + [(name, InputConvention.caffe) for name in ("vgg16", "squeezenet1_1", "resnet18")]
    + [("vgg19", InputConvention.imagenet_255)],
)
def test_random_weights_keep_the_size_of_activations(
    name: str, convention: InputConvention
) -> None:
    """In every layer that has a name, for a photograph."""
    settings = Settings(name=name, input=convention)
    backbone = build_encoder(settings, list(layers.aliases(name)), None)
    with Image.open(named_images()["chelsea"]) as picture, torch.no_grad():
        maps = backbone(to_tensor(picture.convert("RGB"), (96, 64)))
    moments = {layer: float(values.square().mean()) for layer, values in maps.items()}
    assert not {layer: value for layer, value in moments.items() if not 0.05 <= value <= 100}
