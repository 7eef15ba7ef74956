"""Images that a caller in Python has in memory, as files that a run can read."""

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from nst_exp.images.save import quantize
from nst_exp.utils.atomic_files import write_bytes_atomically
from nst_exp.utils.errors import ConfigError

_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
_SHAPES = "an array must be (H, W, 3) or (H, W), a torch tensor (3, H, W) or (1, 3, H, W)"


def is_image(value: Any) -> bool:
    """Tell whether a value is an image in memory: PIL, NumPy, or a torch tensor."""
    return isinstance(value, Image.Image | np.ndarray) or _is_tensor(value)


def save_given(value: Any, key: str, folder: Path) -> Path:
    """Save an image without loss as ``KEY-HASH.png`` in a folder, and return the path.

    Args:
        value: A PIL image; an array (H, W, 3), (H, W, 4) or (H, W), of uint8 or of floats in 0..1;
            or a torch tensor with the channels first, also as a batch of one.
        key: Config key that gets the image.
        folder: Where the file is written; it need not exist.

    Raises:
        ConfigError: If the value is not such an image.
    """
    image = value if isinstance(value, Image.Image) else _from_array(value, key)
    image = ImageOps.exif_transpose(image)
    if image.mode not in _PNG_MODES:
        image = image.convert("RGB")
        image.info.pop("icc_profile", None)  # of the mode before
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_level=1)
    content = stream.getbuffer()
    name = key.replace("[", "_").replace("]", "")
    path = folder / f"{name}-{hashlib.sha256(content).hexdigest()[:12]}.png"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes_atomically(path, content)
    return path


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "detach") and hasattr(value, "is_floating_point")


def _from_array(value: Any, key: str) -> Image.Image:
    if _is_tensor(value):
        tensor = value.detach().cpu()
        tensor = tensor.float() if tensor.is_floating_point() else tensor
        pixels: NDArray[Any] = tensor.numpy()
        kind = "tensor"
        if pixels.ndim == 4 and len(pixels) == 1:
            pixels = pixels[0]
        if pixels.ndim == 3:
            pixels = pixels.transpose(1, 2, 0)
    else:
        pixels, kind = value, "array"
    shape = tuple(value.shape)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.size == 0 or pixels.ndim not in (2, 3) or pixels.shape[2:] not in ((), (3,), (4,)):
        raise ConfigError(f"{key}: {kind} of shape {shape}; {_SHAPES}")
    if np.issubdtype(pixels.dtype, np.floating):
        low, high = float(pixels.min()), float(pixels.max())
        if not (low >= 0.0 and high <= 1.0):  # NaN is not either
            raise ConfigError(
                f"{key}: {kind} with values from {low:g} to {high:g}; floats must be in 0..1: "
                "divide by 255, or clip"
            )
        pixels = quantize(pixels)
    elif pixels.dtype != np.uint8:
        raise ConfigError(f"{key}: {kind} of {pixels.dtype}; give uint8, or floats in 0..1")
    return Image.fromarray(np.ascontiguousarray(pixels))
