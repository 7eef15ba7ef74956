"""Receptive fields against the pixels whose gradient is not 0."""

import pytest
import torch

from nst_exp.config.schema import Backbone, InputConvention, Pool
from nst_exp.core.encoder import build_encoder
from nst_exp.core.receptive_field import ReceptiveField, receptive_fields


@pytest.mark.parametrize(
    ("name", "layers", "position"),
    [
        ("vgg16", ["relu1_1", "relu2_2", "pool2", "relu3_1"], 8),
        ("squeezenet1_1", ["fire2", "fire4"], 6),
        ("resnet18", ["layer1.0.relu_1"], 8),
    ],
)
def test_fields_are_where_the_gradient_is(name: str, layers: list[str], position: int) -> None:
    """With positive weights and average pooling, every pixel of the field counts."""
    settings = Backbone(name=name, input=InputConvention.imagenet, pool=Pool.average)
    encoder = build_encoder(settings, layers, None).double()
    for parameter in encoder.parameters():
        parameter.data.abs_().add_(0.01)
    for layer, field in receptive_fields(encoder).items():
        image = torch.full((1, 3, 160, 160), 0.9, dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(
            encoder(image)[layer][..., position, position].sum(), image
        )
        seen = gradient[0].abs().sum(0).sum(0).nonzero().flatten()
        start = field.start + position * field.stride
        assert (int(seen[0]), int(seen[-1])) == (start, start + field.size - 1), layer


def test_the_published_field_of_vgg16() -> None:
    """132 pixels at conv5_1 (VGG-19: 156)."""
    for name, size in (("vgg16", 132), ("vgg19", 156)):
        encoder = build_encoder(Backbone(name=name), ["conv5_1"], None)
        assert receptive_fields(encoder) == {"conv5_1": ReceptiveField(size, 16, -(size - 16) // 2)}
