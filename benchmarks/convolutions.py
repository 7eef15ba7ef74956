"""Winograd's convolutions against torch's: ``python benchmarks/convolutions.py``.

For each kind of layer of VGG and of ResNet, and for feature maps of several sizes, the time of
a forward and backward pass by nst_exp/winograd.py over that of torch's convolution, both on
channels last, by turns in one process; below 1 is faster. Run it on a quiet machine.
"""

import statistics
import time

import torch
from torch import Tensor, nn

from nst_exp.core import winograd
from nst_exp.runner.memory import keep_freed_memory

CHANNELS = ((64, 128), (128, 128), (128, 256), (256, 256), (256, 512), (512, 512))
SIDES = (12, 16, 20, 24, 32, 48, 64, 96, 128, 192)
REPEATS = 7


def seconds(convolution: nn.Conv2d, image: Tensor, gradient: Tensor) -> float:
    """Of a forward and backward pass."""
    start = time.perf_counter()
    convolution(image).backward(gradient)
    return time.perf_counter() - start


def ratio(inputs: int, outputs: int, side: int) -> float:
    """Winograd's median time over torch's."""
    plain = nn.Conv2d(inputs, outputs, 3, padding=1).requires_grad_(False)
    plain.to(memory_format=torch.channels_last)
    quick = winograd.WinogradConv2d(plain)
    shape = {"memory_format": torch.channels_last}
    image = torch.rand(1, inputs, side, side).contiguous(**shape).requires_grad_()
    gradient = torch.rand(1, outputs, side, side).contiguous(**shape)
    times: dict[nn.Conv2d, list[float]] = {plain: [], quick: []}
    for _ in range(REPEATS + 1):
        for convolution, taken in times.items():
            taken.append(seconds(convolution, image, gradient))
    first, second = (statistics.median(taken[1:]) for taken in times.values())
    return second / first


def main() -> None:
    """Print a table."""
    keep_freed_memory(0)
    winograd.LEAST_TILES = 1
    print("channels   " + "".join(f"{side:>7}" for side in SIDES))
    for inputs, outputs in CHANNELS:
        row = [ratio(inputs, outputs, side) for side in SIDES]
        print(f"{inputs:>3} -> {outputs:<4}" + "".join(f"{value:7.2f}" for value in row))


if __name__ == "__main__":
    main()
