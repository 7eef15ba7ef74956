"""3x3 convolutions with a quarter of the multiplications, for float32 on the CPU.

Winograd's minimal filtering F(4x4, 3x3), after Lavin and Gray, "Fast Algorithms for Convolutional
Neural Networks" (CVPR 2016): Y = A^T [(G g G^T) * (B^T d B)] A for each tile d of 6x6 pixels and
each kernel g. torch's own convolutions on the CPU do not have it (cuDNN's on GPUs do). The sums
over channels become 36 matrix products; the transforms around them take more time than they save
if there are few channels or few tiles.
"""

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn

# Layers with at least so many kernels (input times output channels), and images of at least so many
# tiles, are faster this way: benchmarks/convolutions.py.
LEAST_KERNELS, LEAST_TILES = 256 * 256, 16
BAND = 256  # tiles at a time: bounds the memory between the transforms (19 MB for 512 channels)

_TILE, _OUT = 6, 4  # side of a tile, and of its output
# Interpolation at 0, 1, -1, 2, -2 and infinity.
_B_T = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
_G = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
_A_T = (
    (1, 1, 1, 1, 1, 0),
    (0, 1, -1, 2, -2, 0),
    (0, 1, 1, 4, 4, 0),
    (0, 1, -1, 8, -8, 1),
)


def _in_both_axes(matrix: tuple[tuple[float, ...], ...]) -> Tensor:
    """Build the matrix that applies ``matrix`` along both axes of a flattened tile."""
    values = torch.tensor(matrix, dtype=torch.float64)
    return torch.kron(values, values).float()


_INPUT, _OUTPUT = _in_both_axes(_B_T), _in_both_axes(_A_T)  # (36, 36), (16, 36)
_BIAS = _TILE + 1  # place (1, 1): A^T has ones in its column, so it reaches all 16 outputs


def transform_kernels(weight: Tensor) -> Tensor:
    """Compute G g G^T of all kernels (K, C, 3, 3), as (36, C, K)."""
    g = torch.tensor(_G, dtype=torch.float64, device=weight.device)
    transformed = torch.einsum("ia,jb,kcab->ijck", g, g, weight.double())
    return transformed.reshape(_TILE**2, weight.shape[1], weight.shape[0]).float().contiguous()


class _Convolution(torch.autograd.Function):
    """The convolution, and its adjoint with the same kernels."""

    @staticmethod
    def forward(
        ctx: Any, image: Tensor, kernels: Tensor, bias: Tensor | None, padding: int
    ) -> Tensor:
        """Convolve (1, C, H, W) with (36, C, K), add (K,): (1, K, h, w), channels last.

        With ``padding`` 1 the border is zeros, h = H; with 0 there is none, h = H - 2.
        """
        ctx.save_for_backward(kernels)
        ctx.shape, ctx.padding = image.shape, padding
        _, channels, rows, columns = image.shape
        height, width = rows - 2 + 2 * padding, columns - 2 + 2 * padding
        down, across, made = -(-height // _OUT), -(-width // _OUT), kernels.shape[2]
        padded = image.new_zeros(down * _OUT + 2, across * _OUT + 2, channels)
        inner = padded[padding : padding + rows, padding : padding + columns]
        inner.copy_(image[0].permute(1, 2, 0))
        row, column, _ = padded.stride()
        tiles = padded.as_strided(
            (_TILE, _TILE, down, across, channels), (row, column, _OUT * row, _OUT * column, 1)
        )
        whole = _channels_last(made, down * _OUT, across * _OUT)
        blocks = _blocks(whole).permute(1, 3, 0, 2, 4)
        for band in _bands(down, across):
            values = torch.mm(_INPUT, tiles[:, :, band].reshape(_TILE**2, -1))
            values = torch.bmm(values.view(_TILE**2, -1, channels), kernels)
            if bias is not None:
                values[_BIAS] += bias
            values = torch.mm(_OUTPUT, values.view(_TILE**2, -1))
            blocks[:, :, band] = values.view(_OUT, _OUT, -1, across, made)
        return _cut(whole, 0, height, width)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        """Map the gradient (1, K, h, w) to (1, C, H, W), channels last."""
        (kernels,) = ctx.saved_tensors
        (gradient,) = gradients
        _, channels, rows, columns = ctx.shape
        height, width = gradient.shape[2:]
        down, across, made = -(-height // _OUT), -(-width // _OUT), kernels.shape[2]
        whole = gradient.contiguous(memory_format=torch.channels_last)
        if (height, width) != (down * _OUT, across * _OUT):
            whole = _channels_last(made, down * _OUT, across * _OUT).zero_()
            whole[:, :, :height, :width] = gradient
        outputs = _blocks(whole).permute(1, 3, 0, 2, 4)
        padded = _channels_last(channels, (down + 1) * _OUT, (across + 1) * _OUT).zero_()
        blocks = _blocks(padded)
        for band in _bands(down, across):
            values = torch.mm(_OUTPUT.T, outputs[:, :, band].reshape(_OUT**2, -1))
            values = torch.bmm(values.view(_TILE**2, -1, made), kernels.transpose(1, 2))
            values = torch.mm(_INPUT.T, values.view(_TILE**2, -1))
            tiles = values.view(_TILE, _TILE, -1, across, channels).permute(2, 0, 3, 1, 4)
            # Tiles overlap by two pixels: each adds to the blocks right of it and below it.
            below = slice(band.start + 1, band.stop + 1)
            blocks[band, :, :-1] += tiles[:, :_OUT, :, :_OUT]
            blocks[band, :, 1:, :2] += tiles[:, :_OUT, :, _OUT:]
            blocks[below, :2, :-1] += tiles[:, _OUT:, :, :_OUT]
            blocks[below, :2, 1:, :2] += tiles[:, _OUT:, :, _OUT:]
        return _cut(padded, ctx.padding, rows, columns), None, None, None


def _bands(down: int, across: int) -> Iterator[slice]:
    """Yield the rows of tiles that are computed together."""
    rows = max(1, BAND // across)
    for start in range(0, down, rows):
        yield slice(start, min(start + rows, down))


def _channels_last(channels: int, height: int, width: int) -> Tensor:
    shape = (1, channels, height, width)
    return torch.empty(shape, memory_format=torch.channels_last)


def _blocks(image: Tensor) -> Tensor:
    """View (1, N, 4 h, 4 w), channels last, as (h, 4, w, 4, N)."""
    _, channels, height, width = image.shape
    return image.permute(0, 2, 3, 1).view(height // _OUT, _OUT, width // _OUT, _OUT, channels)


def _cut(image: Tensor, start: int, height: int, width: int) -> Tensor:
    part = image[:, :, start : start + height, start : start + width]
    if part.shape == image.shape:
        return image
    return part.clone(memory_format=torch.channels_last)  # not a view: a ReLU may overwrite it


class WinogradConv2d(nn.Conv2d):
    """A frozen 3x3 convolution (stride 1, padding with zeros) by Winograd's algorithm.

    Only for one large enough image in float32 on the CPU; everything else is computed by torch.
    Weights must not be changed through ``.data`` or NumPy: that is not noticed.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        sizes = convolution.in_channels, convolution.out_channels
        super().__init__(
            *sizes,
            3,
            padding=1,
            bias=convolution.bias is not None,
            padding_mode=convolution.padding_mode,
            device="meta",
        )
        self.load_state_dict(convolution.state_dict(), assign=True)
        self.requires_grad_(False)
        # Weights, their version, their kernels. Holding the weights keeps others from their memory.
        self._kernels: tuple[Tensor, int, Tensor] | None = None

    def forward(self, image: Tensor) -> Tensor:
        """Convolve (1, C, H, W): (1, K, H, W)."""
        if not self._is_accelerated(image):
            return super().forward(image)
        zeros = self.padding_mode == "zeros"
        if not zeros:
            image = nn.functional.pad(image, (1, 1, 1, 1), self.padding_mode)
        return cast(Tensor, _Convolution.apply(image, self._transformed(), self.bias, int(zeros)))

    def _is_accelerated(self, image: Tensor) -> bool:
        return (
            image.device.type == "cpu"
            and image.dtype == self.weight.dtype == torch.float32
            and not torch.is_autocast_enabled("cpu")
            and not any(parameter.requires_grad for parameter in self.parameters())
            and image.shape[0] == 1
            and -(-image.shape[2] // _OUT) * -(-image.shape[3] // _OUT) >= LEAST_TILES
        )

    def _transformed(self) -> Tensor:
        """Transform the present weights: a network may be rescaled after it was built."""
        weight, version = self.weight.detach(), self.weight._version
        if self._kernels is not None:
            before, of_then, kernels = self._kernels
            if (before.data_ptr(), of_then) == (weight.data_ptr(), version):
                return kernels
        self._kernels = weight, version, transform_kernels(weight)
        return self._kernels[2]

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the kernels, which a copy computes again if it needs them."""
        return self.__dict__ | {"_kernels": None}


def accelerate(model: nn.Module) -> None:
    """Replace the convolutions of ``model`` that gain by Winograd's algorithm, in place."""
    for path, module in list(model.named_modules()):
        if (
            isinstance(module, nn.Conv2d)
            and module.kernel_size == (3, 3)
            and module.stride == module.padding == module.dilation == (1, 1)
            and module.groups == 1
            and module.in_channels * module.out_channels >= LEAST_KERNELS
        ):
            model.set_submodule(path, WinogradConv2d(module))
