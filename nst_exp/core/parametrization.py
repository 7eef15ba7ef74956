"""The image as the optimizer sees it: pixels, Fourier coefficients, or a Laplacian pyramid."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from nst_exp.config import schema


def hartley(x: Tensor) -> Tensor:
    """Compute the Hartley transform of the last two axes: real, orthonormal, its own inverse.

    The real form of the Fourier transform, Re - Im: it has as many coefficients as the image has
    pixels, so the change of variables is exact, and without scaling it does not change L-BFGS.
    """
    planes: list[Tensor] = []
    for plane in x.reshape(-1, *x.shape[-2:]):  # one at a time: a spectrum is twice as large
        spectrum = torch.fft.fft2(plane, norm="ortho")
        planes.append(spectrum.real - spectrum.imag)
    return torch.stack(planes).view(x.shape)


def spectral_scale(height: int, width: int, decay: float) -> Tensor:
    """Compute 1/f^decay per coefficient, (height, width), scaled to a root mean square of 1.

    f is the radial frequency in cycles per pixel, not below that of the image's longer side, so
    that the mean color is scaled like the slowest wave.
    """
    fy = torch.fft.fftfreq(height, dtype=torch.float64)
    fx = torch.fft.fftfreq(width, dtype=torch.float64)
    scale: Tensor = fy[:, None] ** 2 + fx[None, :] ** 2
    scale.sqrt_().clamp_min_(1.0 / max(height, width)).pow_(-decay)  # in place: 8 bytes a value
    scale /= float(scale.norm()) / math.sqrt(height * width)
    return scale.to(torch.float32)


def pyramid_sizes(height: int, width: int, levels: int) -> list[tuple[int, int]]:
    """List the sizes of an image that is halved so many times, or until it is one pixel."""
    sizes = [(height, width)]
    while len(sizes) <= levels and max(sizes[-1]) > 1:
        sizes.append((max(1, sizes[-1][0] // 2), max(1, sizes[-1][1] // 2)))
    return sizes


def split_bands(image: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
    """Compute the Laplacian pyramid of an image (1, 3, H, W): (1, 3, values of all bands).

    A band is what is lost when the image is resized bilinearly to the next size; the last one is
    the smallest image.
    """
    bands = []
    for size, smaller in pairwise(sizes):
        coarse = _resized(image, smaller)
        bands.append(image - _resized(coarse, size))
        image = coarse
    return torch.cat([band.flatten(2) for band in [*bands, image]], dim=2)


def finest_band(image: Tensor) -> Tensor:
    """Return what an image (1, 3, H, W) loses when it is halved: its finest details."""
    size = image.shape[2:]
    return image - _resized(_resized(image, [max(1, side // 2) for side in size]), size)


def join_bands(values: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
    """Compute the image (1, 3, H, W) of a Laplacian pyramid: the sum of its enlarged bands."""
    parts = torch.split_with_sizes(values, [height * width for height, width in sizes], dim=2)
    bands = [part.view(1, 3, *size) for part, size in zip(parts, sizes, strict=True)]
    image: Tensor = bands[-1]
    for band in reversed(bands[:-1]):
        image = band + _resized(image, band.shape[2:])
    return image


def _resized(image: Tensor, size: Sequence[int]) -> Tensor:
    return interpolate(image, size=tuple(size), mode="bilinear", align_corners=False)


class ImageParameter(nn.Module):
    """The optimized variable, with ``values`` as its only parameter.

    They have the image's shape, (1, 3, H, W); those of a Laplacian pyramid are (1, 3, K), with K
    about 4/3 of H * W. Image and values are linear functions of each other.
    """

    scale: Tensor | None  # of Fourier coefficients

    def __init__(self, image: Tensor, settings: schema.Parametrization) -> None:
        """Start from ``image``: (1, 3, H, W), RGB in 0..1."""
        super().__init__()
        self.pixel_scale = settings.pixel_scale
        scale = None
        if settings.kind is schema.ParametrizationKind.fourier:
            scale = spectral_scale(image.shape[2], image.shape[3], settings.decay)
        laplacian = settings.kind is schema.ParametrizationKind.laplacian
        height, width = image.shape[2:]
        self.sizes = pyramid_sizes(height, width, settings.levels) if laplacian else []
        self.register_buffer("scale", scale, persistent=False)
        self.values = nn.Parameter(self.encode(image.float()))

    def encode(self, image: Tensor) -> Tensor:
        """Convert an image in 0..1, (1, 3, H, W), to values."""
        values = image * self.pixel_scale
        if self.sizes:
            values = split_bands(values, self.sizes)
        if self.scale is not None:
            values = hartley(values) / self.scale
        return values.contiguous()

    def forward(self) -> Tensor:
        """Return the image (1, 3, H, W), RGB; the optimizer may leave 0..1 a little."""
        return self.decode(self.values)

    def decode(self, values: Tensor) -> Tensor:
        """Convert values to an image (1, 3, H, W)."""
        if self.sizes:
            values = join_bands(values, self.sizes)
        if self.scale is not None:
            values = hartley(values * self.scale)
        return values / self.pixel_scale

    @torch.no_grad()
    def set_image(self, image: Tensor) -> None:
        """Replace the image in place; the optimizer keeps its reference to ``values``.

        A Laplacian pyramid keeps its values where the image does not change: many values give the
        same image.
        """
        image = image.to(self.values.dtype)
        if self.sizes:
            self.values.add_(self.encode(image - self()))
        else:
            self.values.copy_(self.encode(image))

    def length(self, change: Tensor) -> float:
        """Measure a change of the values as the root mean square change of the image in 0..1."""
        change = change.detach() / self.pixel_scale
        if self.sizes:
            change = join_bands(change, self.sizes)
        if self.scale is not None:
            change = change * self.scale  # the transform keeps lengths
        return float(change.norm()) / math.sqrt(change.numel())
