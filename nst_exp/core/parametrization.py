"""The image as the optimizer sees it: pixels, or Fourier coefficients scaled by 1/f^decay."""

import math

import torch
from torch import Tensor, nn

from nst_exp.config import schema


def hartley(x: Tensor) -> Tensor:
    """Compute the Hartley transform of the last two axes: real, orthonormal, its own inverse.

    The real form of the Fourier transform, Re - Im: it has as many coefficients as the image has
    pixels, so the change of variables is exact, and without scaling it does not change L-BFGS.
    """
    spectrum: Tensor = torch.fft.fft2(x, norm="ortho")
    return spectrum.real - spectrum.imag


def spectral_scale(height: int, width: int, decay: float) -> Tensor:
    """Compute 1/f^decay per coefficient, (height, width), scaled to a root mean square of 1.

    f is the radial frequency in cycles per pixel, not below that of the image's longer side, so
    that the mean color is scaled like the slowest wave.
    """
    fy = torch.fft.fftfreq(height, dtype=torch.float64)
    fx = torch.fft.fftfreq(width, dtype=torch.float64)
    f = torch.sqrt(fy[:, None] ** 2 + fx[None, :] ** 2).clamp_min(1.0 / max(height, width))
    scale = f**-decay
    return (scale / scale.square().mean().sqrt()).float()


class ImageParameter(nn.Module):
    """The optimized variable. Its only parameter ``values`` has the image's shape (1, 3, H, W)."""

    scale: Tensor | None  # of Fourier coefficients

    def __init__(self, image: Tensor, settings: schema.Parametrization) -> None:
        """Start from ``image``: (1, 3, H, W), RGB in 0..1."""
        super().__init__()
        self.pixel_scale = settings.pixel_scale
        scale = None
        if settings.kind is schema.ParametrizationKind.fourier:
            scale = spectral_scale(image.shape[2], image.shape[3], settings.decay)
        self.register_buffer("scale", scale, persistent=False)
        self.values = nn.Parameter(self.encode(image.float()))

    def encode(self, image: Tensor) -> Tensor:
        """Convert an image in 0..1 to values, both (1, 3, H, W)."""
        values = image * self.pixel_scale
        if self.scale is not None:
            values = hartley(values) / self.scale
        return values.contiguous()

    def forward(self) -> Tensor:
        """Return the image (1, 3, H, W), RGB; the optimizer may leave 0..1 a little."""
        return self.decode(self.values)

    def decode(self, values: Tensor) -> Tensor:
        """Convert values to an image, both (1, 3, H, W)."""
        if self.scale is not None:
            values = hartley(values * self.scale)
        return values / self.pixel_scale

    @torch.no_grad()
    def set_image(self, image: Tensor) -> None:
        """Replace the image in place; the optimizer keeps its reference to ``values``."""
        self.values.copy_(self.encode(image.to(self.values.dtype)))

    def length(self, change: Tensor) -> float:
        """Measure a change of the values as the root mean square change of the image in 0..1."""
        change = change.detach() / self.pixel_scale
        if self.scale is not None:
            change = change * self.scale  # the transform keeps lengths
        return float(change.norm()) / math.sqrt(change.numel())
