"""Keys that name files: pictures, weights, the result. No file is opened."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from PIL import ImageColor

from nst_exp.config.schema import Config, InitKind
from nst_exp.images.named import (
    find_image,
    folder_problem,
    images_folder,
    known_names,
    known_picture,
    stems_in_folder,
)
from nst_exp.images.save import DEEP_SUFFIXES, SUFFIXES
from nst_exp.utils.suggest import did_you_mean

WEIGHT_SUFFIXES = (".pth", ".pt", ".safetensors", ".h5", ".hdf5", ".onnx")
LONGEST_NAME = 200  # bytes of a file name, with room for what temporary files add


def file_problems(config: Config) -> Iterator[str]:
    """A line for each problem."""
    paths = [("content", config.content), ("style", config.style)]
    if config.init.kind is InitKind.file:
        if config.init.file is None:
            yield "init.kind=file: name the image with init.file=PATH"
        else:
            paths.append(("init.file", config.init.file))
    elif config.init.file is not None:
        yield f"init.file={config.init.file}: only read with init=file; add that, or leave it out"
    if problem := folder_problem(config.images):
        yield problem
    for key, value in paths:
        path = Path(os.path.expanduser(value))
        if not value:
            yield f"{key}=: is empty; name an image file, or one of {', '.join(known_names())}"
        elif known_picture(value) is None and find_image(value, config.images) is None:
            if os.path.isdir(path):
                yield f"{key}={value}: it is a folder; name one picture in it"
            elif not os.path.lexists(path):  # what is no file is described when it is opened
                yield _unknown(key, value, path, config)
    if config.backbone.file is not None:
        yield from _weights_file(config.backbone.file)
    yield from _result(config)


def _weights_file(file: str) -> Iterator[str]:
    path = Path(os.path.expanduser(file))
    suffixes = ", ".join(WEIGHT_SUFFIXES)
    if os.path.isdir(path):
        yield f"backbone.file={file}: it is a folder; name a file that ends in {suffixes}"
        return
    if not os.path.isfile(path):
        near = did_you_mean(path.name, _names_in(path.parent))
        yield f"backbone.file={file}: no such file{near or '; correct the path'}"
    if path.suffix.lower() not in WEIGHT_SUFFIXES:
        yield f"backbone.file={path.name}: must end in {suffixes}"


def _result(config: Config) -> Iterator[str]:
    """The picture that the run makes."""
    name, suffix = config.image, Path(config.image).suffix.lower()
    if Path(name).name != name or os.sep in name:
        yield f"image={name}: must be a file name without a folder; the folder is out=DIR"
    elif suffix not in SUFFIXES:
        yield f"image={name}: must be a file name in {', '.join(sorted(SUFFIXES))}"
    elif len(os.fsencode(name)) > LONGEST_NAME:
        yield f"image={name[:20]}...: longer than {LONGEST_NAME} bytes; give a shorter name"
    if config.bit_depth == 16 and suffix in SUFFIXES - DEEP_SUFFIXES:
        yield (
            f"bit_depth=16: image={name} holds 8 bits; use image=image.png, image=image.tif or "
            "bit_depth=8"
        )
    if not _is_opaque(config.background):
        near = did_you_mean(config.background, ImageColor.colormap)
        yield (
            f"background={config.background}: must be an opaque color, a name such as white or "
            f"#rrggbb{near}"
        )


def _is_opaque(color: str) -> bool:
    try:
        values = ImageColor.getrgb(color)
    except ValueError:
        return False
    return len(values) == 3 or values[3] == 255


def _unknown(key: str, value: str, path: Path, config: Config) -> str:
    own = stems_in_folder(config.images)
    near = did_you_mean(path.name, [*known_names(others=True), *own, *_names_in(path.parent)])
    places = [str(path.absolute())]
    if own:
        places.append(f"a picture of that name in {images_folder(config.images)}")
    return (
        f"{key}={value}: no such file{near}\n"
        f"    looked for {' and for '.join(places)}; known names: {', '.join(known_names())}"
    )


def _names_in(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
