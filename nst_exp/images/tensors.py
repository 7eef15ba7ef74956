"""Conversion of images to tensors and back; the only module here that needs torch."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate


def to_tensor(image: Image.Image, size: tuple[int, int] | None) -> Tensor:
    """Convert an RGB image, resampled to ``size`` (width, height), to float32 (1, 3, H, W) in 0..1.

    Lanczos where both sides shrink, since it keeps the fine texture that the style is measured on;
    bicubic otherwise, since Lanczos adds rings to enlarged edges. Both are antialiased. None and
    the image's own size change no value.
    """
    if size is not None and size != image.size:
        is_smaller = size[0] <= image.width and size[1] <= image.height
        kernel = Image.Resampling.LANCZOS if is_smaller else Image.Resampling.BICUBIC
        # First reduced by a whole number to no less than 3 times the size: about as fast as the
        # number of pixels allows, and within a level or so of resampling everything at once.
        image = image.resize(size, kernel, reducing_gap=3.0)
    values = torch.from_numpy(np.array(image)).permute(2, 0, 1).unsqueeze(0)
    return values.to(torch.float32, memory_format=torch.contiguous_format).div_(255)


def resize(image: Tensor, height: int, width: int) -> Tensor:
    """Resample a float image (N, C, H, W) to (N, C, height, width): bicubic, antialiased.

    Returns ``image`` itself if the size is the same. Bicubic overshoots at edges by up to about a
    tenth of the step. Nothing is clamped, so values may leave 0..1 and gradients pass.
    """
    if image.shape[-2:] == (height, width):
        return image
    return interpolate(
        image, size=(height, width), mode="bicubic", align_corners=False, antialias=True
    )


def to_array(image: Tensor) -> NDArray[Any]:
    """Convert an image (1, 3, H, W) to float32 (H, W, 3), clipped to 0..1; NaN stays NaN."""
    values = image.detach()[0].to("cpu", torch.float32).clamp(0, 1)
    array: NDArray[Any] = values.permute(1, 2, 0).contiguous().numpy()
    return array
