"""Random weights of any network: the same for a seed, and activations of a usual size."""

import pytest
import torch
from encoder_networks import ARCHITECTURES
from PIL import Image

from nst_exp.config import layer_names
from nst_exp.config.schema import Backbone, InputConvention
from nst_exp.core.encoder import (
    build_encoder,
    build_shadow,
)
from nst_exp.images import named_images
from nst_exp.images.tensors import to_tensor


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
