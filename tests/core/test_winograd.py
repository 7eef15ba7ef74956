"""Winograd's convolutions against torch's own in float64."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nst_exp.core import winograd
from nst_exp.core.winograd import WinogradConv2d, accelerate

# Of the largest value. The transforms multiply by up to 5 and 8 and cancel again: seen were 7e-6,
# where torch's own sums of float32 are 1e-6 off.
TOLERANCE = 3e-5


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def convolution(
    inputs: int, outputs: int, *, bias: bool = True, padding_mode: str = "zeros"
) -> nn.Conv2d:
    plain = nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias, padding_mode=padding_mode)
    plain.requires_grad_(False)
    plain.weight.copy_(drawn(outputs, inputs, 3, 3, seed=1))
    if plain.bias is not None:
        plain.bias.copy_(drawn(outputs, seed=2))
    return plain


def passes(module: nn.Module, image: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The output, and the gradient of the image."""
    image = image.clone().requires_grad_()
    output = module(image)
    output.backward(gradient)
    assert image.grad is not None
    return output.detach(), image.grad


def assert_near(found: Tensor, expected: Tensor) -> None:
    atol = TOLERANCE * float(expected.abs().max())
    torch.testing.assert_close(found.double(), expected.double(), rtol=0.0, atol=atol)


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use Winograd's algorithm however small the image."""
    monkeypatch.setattr(winograd, "LEAST_TILES", 0)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("band", "bias"), [(1, True), (7, False), (1024, True)])
@pytest.mark.parametrize("size", [(16, 16), (1, 1), (9, 14), (3, 40), (41, 2)])
@pytest.mark.parametrize("padding_mode", ["zeros", "reflect", "circular"])
def test_output_and_gradient_are_torch_s(
    padding_mode: str,
    size: tuple[int, int],
    band: int,
    bias: bool,
    layout: torch.memory_format,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if padding_mode == "reflect" and size == (1, 1):
        pytest.skip("nothing to reflect")
    monkeypatch.setattr(winograd, "BAND", band)
    plain = convolution(5, 7, bias=bias, padding_mode=padding_mode)
    image = drawn(1, 5, *size).contiguous(memory_format=layout)
    gradient = drawn(1, 7, *size, seed=3).contiguous(memory_format=layout)
    output, of_image = passes(WinogradConv2d(plain), image, gradient)
    expected = passes(copy.deepcopy(plain).double(), image.double(), gradient.double())
    assert_near(output, expected[0])
    assert_near(of_image, expected[1])
    assert output.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("size", [(8, 8), (7, 6)])
def test_a_relu_may_overwrite_the_output(size: tuple[int, int]) -> None:
    plain = convolution(4, 4)
    quick = nn.Sequential(WinogradConv2d(plain), nn.ReLU(inplace=True))
    image, gradient = drawn(1, 4, *size), drawn(1, 4, *size, seed=3)
    expected = passes(nn.Sequential(plain, nn.ReLU()), image, gradient)
    for one, other in zip(passes(quick, image, gradient), expected, strict=True):
        assert_near(one, other)


@pytest.mark.usefixtures("always")
def test_kernels_follow_the_weights() -> None:
    """As when a network is normalized, converted or copied."""
    quick, image = WinogradConv2d(convolution(4, 4)), drawn(1, 4, 8, 8)

    def assert_current(module: WinogradConv2d) -> None:
        plain = nn.functional.conv2d(image, module.weight, module.bias, padding=1)
        assert_near(module(image), plain)

    assert_current(quick)
    quick.weight.mul_(2.0)
    assert_current(quick)
    state = {name: values * 3.0 for name, values in quick.state_dict().items()}
    quick.load_state_dict(state, assign=True)
    quick.requires_grad_(False)
    assert_current(quick)
    for _ in range(50):  # new weights may get the memory of the old ones
        quick(image)
        quick.weight.add_(0.01)
        quick.bfloat16().float()
        assert_current(quick)
    copied = copy.deepcopy(quick)
    assert copied._kernels is None
    assert quick._kernels is not None
    assert_current(copied)


@pytest.mark.parametrize(
    "other",
    [
        lambda quick, image: (quick.double(), image.double())[1],
        lambda quick, image: image.repeat(2, 1, 1, 1),
        lambda quick, image: (quick.weight.requires_grad_(), image)[1],
        lambda quick, image: (quick.bias.requires_grad_(), image)[1],
        lambda quick, image: image[..., :12, :],
    ],
    ids=["float64", "two images", "trained", "trained bias", "12 tiles"],
)
def test_everything_else_is_torchs(
    other: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WinogradConv2d, "_transformed", lambda self: pytest.fail("quick"))
    quick, image = WinogradConv2d(convolution(4, 4)), drawn(1, 4, 16, 16)
    with pytest.raises(pytest.fail.Exception):
        quick(image)
    with torch.autocast("cpu", torch.bfloat16):
        assert quick(image).dtype is torch.bfloat16
    image = other(quick, image)
    plain = nn.functional.conv2d(image, quick.weight, quick.bias, padding=1)
    assert torch.equal(quick(image), plain)


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 1, "padding": 0},
        {"kernel_size": 5, "padding": 2},
        {"stride": 2},
        {"padding": 0},
        {"padding": "same"},
        {"dilation": 2},
        {"groups": 2},
        {"in_channels": 128},
    ],
)
def test_other_convolutions_are_not_replaced(options: dict[str, Any]) -> None:
    usual: dict[str, Any] = {"in_channels": 256, "out_channels": 256, "kernel_size": 3}
    usual |= {"padding": 1, "device": "meta"}
    model = nn.Sequential(nn.Conv2d(**usual), nn.Conv2d(**usual | options))
    accelerate(model)
    assert [type(module) for module in model] == [WinogradConv2d, nn.Conv2d]
