"""The normalized network, against naive float64 sums and the definition of its scales."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from nst_exp.config.schema import Backbone as Settings, InputConvention, Padding, Pool
from nst_exp.core.encoder import Encoder, build_encoder
from nst_exp.core.normalized import FLOOR, count_bounded, find_chain, normalize_encoder, scales
from nst_exp.utils.errors import ConfigError, WeightsError

MakeImage = Callable[..., Tensor]
LAYERS = [f"features.{index}" for index in range(11)]  # VGG-11 up to its third pooling
CONVOLUTIONS = [f"features.{index}" for index in (0, 3, 6, 8)]
VGG11 = Settings(name="vgg11", normalized=True)


@pytest.fixture
def images(random_image: MakeImage) -> list[Tensor]:
    """Two images of unequal shape."""
    return [random_image(40, 32, seed=0), random_image(24, 56, seed=1)]


def build(settings: Settings, layers: list[str] = LAYERS) -> Encoder:
    """A random network in float64, so that no rounding hides a wrong scale."""
    encoder = build_encoder(settings, layers, None).double()
    generator = torch.Generator().manual_seed(0)
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:  # silences some channels
            module.bias.normal_(0.0, 0.3, generator=generator)
    return encoder


def naive_means(encoder: Encoder, images: list[Tensor], layer: str) -> Tensor:
    """The mean of each channel of a ReLU's map over all positions of all images."""
    maps = [encoder(image.double())[layer][0].flatten(1) for image in images]
    return torch.cat(maps, dim=1).mean(dim=1)


@pytest.mark.parametrize("pool_scale", [1.0, 1.7])
@pytest.mark.parametrize("pool", list(Pool))
def test_every_map_is_the_old_one_over_its_channels_scales(
    pool: Pool, pool_scale: float, images: list[Tensor], random_image: MakeImage
) -> None:
    settings = replace(VGG11, pool=pool, pool_scale=pool_scale, padding=Padding.replicate)
    encoder = build(settings)
    image = random_image(33, 47, seed=7, dtype=torch.float64)  # not one of the calibration set
    before = encoder(image)
    result = normalize_encoder(encoder, settings.name, images)
    after = encoder(image)
    own = dict(zip(CONVOLUTIONS, result.values(), strict=True))
    by = torch.ones(1)
    for layer in LAYERS:
        by = scales(own[layer]) if layer in own else by
        expected = before[layer] / by.view(1, -1, 1, 1)
        # Of each map's largest value: where a convolution's terms cancel, only that much is left.
        tolerance = 1e-10 * float(expected.abs().max())
        torch.testing.assert_close(after[layer], expected, rtol=1e-10, atol=tolerance)


@pytest.mark.parametrize("convention", list(InputConvention))
def test_mean_activation_is_one_on_the_calibration_set(
    convention: InputConvention, images: list[Tensor]
) -> None:
    encoder = build(replace(VGG11, input=convention))
    relus = {"conv1_1": "features.1", "conv2_1": "features.4", "conv3_2": "features.9"}
    old = {name: naive_means(encoder, images, relu) for name, relu in relus.items()}
    result = normalize_encoder(encoder, "vgg11", images)
    assert sum(map(count_bounded, result.values())) > 0  # else this test shows only half
    for name, relu in relus.items():
        least = FLOOR * old[name].mean()
        assert count_bounded(result[name]) == int((old[name] < least).sum())
        # 1e-6: image tensors and ImageNet's constants are float32.
        expected = (old[name] / least).clamp(max=1.0)
        found = naive_means(encoder, images, relu)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.slow
def test_dead_channel_and_dead_layer_stay_finite(images: list[Tensor]) -> None:
    encoder = build(VGG11)
    chain = find_chain(encoder, "vgg11")
    first, second = chain["features.0"], chain["features.3"]
    first.weight[5], first.bias[5] = 0.0, -1.0
    second.weight.zero_()
    second.bias.fill_(-1.0)
    result = normalize_encoder(encoder, "vgg11", images)
    assert count_bounded(result["conv1_1"]) >= 1
    assert count_bounded(result["conv2_1"]) == 128
    assert bool((scales(result["conv2_1"]) == 1).all())
    assert all(bool(value.isfinite().all()) for value in encoder.state_dict().values())
    maps = encoder(images[0].double())
    assert float(maps["features.1"][0, 5].max()) == 0.0
    assert all(bool(found.isfinite().all()) for found in maps.values())


def test_activations_that_are_not_finite_are_an_error(images: list[Tensor]) -> None:
    encoder = build(VGG11)
    find_chain(encoder, "vgg11")["features.3"].weight.data.fill_(1e308)
    with pytest.raises(WeightsError, match=r"features\.3 are not finite"):
        normalize_encoder(encoder, "vgg11", images)


@pytest.mark.slow
def test_the_given_weights_are_left_alone(images: list[Tensor]) -> None:
    state = build(VGG11).trunk.state_dict()
    copy = {name: value.clone() for name, value in state.items()}
    normalize_encoder(build_encoder(VGG11, LAYERS, state).double(), "vgg11", images)
    assert all(torch.equal(state[name], copy[name]) for name in state)


@pytest.mark.parametrize(
    ("name", "layer", "has"),
    [
        ("vgg11_bn", "relu2_1", "BatchNorm2d"),
        ("resnet18", "layer1", "BatchNorm2d, branches, add"),
        ("squeezenet1_1", "fire2", "branches, cat"),
        ("vgg11", "flatten", "flatten"),
    ],
)
def test_other_networks_are_refused(name: str, layer: str, has: str) -> None:
    settings = Settings(name=name, normalized=True)
    encoder = build_encoder(settings, [layer], None)
    with pytest.raises(ConfigError, match=rf"backbone\.normalized.*{name} has {has}$"):
        normalize_encoder(encoder, name, [])
