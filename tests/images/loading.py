"""Load an image file of a test, and look at its pixels, warnings or refusal."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nst_exp.images import LoadedImage, load_image
from nst_exp.utils.errors import ConfigError


def load(path: Path | str, **options: object) -> LoadedImage:
    return load_image(path, key="content", **options)  # type: ignore[arg-type]


def array(loaded: LoadedImage) -> np.ndarray:
    assert type(loaded.image) is Image.Image
    assert loaded.image.mode == "RGB"
    assert loaded.image.info == {}
    return np.asarray(loaded.image)


def notes(loaded: LoadedImage) -> list[str]:
    """The warnings, without key and path."""
    start = f"content={loaded.path}: "
    assert all(line.startswith(start) and line.isprintable() for line in loaded.warnings)
    return [line.removeprefix(start) for line in loaded.warnings]


def refused(path: Path | str, **options: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path, **options)
    line, shown = str(caught.value), str(path)
    start = f"content={shown if shown.isprintable() else repr(shown)}: "
    assert line.startswith(start)
    assert line.isprintable()
    assert "; " in line  # what to do
    return line.removeprefix(start)


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
