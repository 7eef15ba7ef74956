"""Pictures to tensors and back; the only part of this package that needs torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate


def to_tensor(picture: Image.Image, size: tuple[int, int] | None) -> Tensor:
    """An RGB picture, resampled to ``size`` (width, height), as float32 (1, 3, H, W) in 0..1.

    Lanczos where both sides shrink, since it keeps the fine texture that the style is measured on;
    bicubic otherwise, where Lanczos would add rings to enlarged edges. Both are antialiased.
    ``None`` and the picture's own size change no value. Raises ValueError unless the mode is RGB.
    """
    if picture.mode != "RGB":
        raise ValueError(f"the picture must be RGB, not {picture.mode}")
    if size is not None and size != picture.size:
        smaller = size[0] <= picture.width and size[1] <= picture.height
        kernel = Image.Resampling.LANCZOS if smaller else Image.Resampling.BICUBIC
        # First reduced by a whole number to no less than 3 times the size: about as fast as the
        # number of pixels allows, and within a level or so of resampling everything at once.
        picture = picture.resize(size, kernel, reducing_gap=3.0)
    values = torch.from_numpy(np.array(picture)).permute(2, 0, 1).unsqueeze(0)
    return values.to(torch.float32, memory_format=torch.contiguous_format).div_(255)


def resize(image: Tensor, height: int, width: int) -> Tensor:
    """``image`` (N, C, H, W), floats, resampled to (N, C, height, width): bicubic, antialiased.

    The same size returns ``image`` itself. Bicubic over- and undershoots at edges, by up to about
    a tenth of the step; nothing is clamped, so values may leave 0..1 and gradients pass.
    """
    if image.shape[-2:] == (height, width):
        return image
    return interpolate(
        image, size=(height, width), mode="bicubic", align_corners=False, antialias=True
    )


def to_array(image: Tensor) -> NDArray[Any]:
    """``image`` (1, 3, H, W) as a float32 array (H, W, 3) clipped to 0..1; NaN stays NaN."""
    if image.ndim != 4 or image.shape[:2] != (1, 3):
        raise ValueError(f"the image must be (1, 3, H, W), not {tuple(image.shape)}")
    values = image.detach()[0].to("cpu", torch.float32).clamp(0, 1)
    array: NDArray[Any] = values.permute(1, 2, 0).contiguous().numpy()
    return array
