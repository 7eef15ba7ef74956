"""Checks of the config keys that name files: images, weights and the result; decodes nothing."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from PIL import ImageColor

from nst_exp.config.schema import Config, InitKind
from nst_exp.images.catalog import catalog, find_entry
from nst_exp.images.file_type import file_names
from nst_exp.images.lookup import FOLDER_VARIABLE, find_image, images_folder
from nst_exp.images.save import SUFFIXES, SUFFIXES_16_BIT
from nst_exp.utils.errors import reason_of
from nst_exp.utils.suggest import did_you_mean

WEIGHT_SUFFIXES = (".pth", ".pt", ".safetensors", ".h5", ".hdf5", ".onnx")
MAX_NAME_BYTES = 200  # of the result; leaves room for what temporary files add


def file_problems(config: Config) -> Iterator[str]:
    """Yield a message for each problem."""
    yield from _images_folder(config.images)
    yield from _image("content", config.content, config.images)
    yield from _image("style", config.style, config.images)
    if config.init.kind is not InitKind.file:
        if config.init.file is not None:
            yield f"init.file={config.init.file}: only read with init=file; add that, or remove it"
    elif config.init.file is None:
        yield "init.kind=file: no file is given; name the image with init.file=PATH"
    else:
        yield from _image("init.file", config.init.file, config.images)
    if config.backbone.file is not None:
        yield from _weights(config.backbone.file)
    yield from _result(config)
    yield from _background(config.background)


def _images_folder(images: str | None) -> Iterator[str]:
    folder = images_folder(images)
    try:
        if folder is not None:
            os.listdir(folder)
    except (OSError, ValueError) as error:
        key = f"images={images}" if images else f"{FOLDER_VARIABLE}={os.environ[FOLDER_VARIABLE]}"
        yield f"{key}: cannot be listed ({reason_of(error)}); name a folder of images"


def _image(key: str, value: str, images: str | None) -> Iterator[str]:
    path = Path(os.path.expanduser(value))
    if not value:
        yield f"{key}=: is empty; name an image file, or one of {', '.join(catalog())}"
    elif find_entry(value) or find_image(value, images):
        return
    elif os.path.isdir(path):
        yield f"{key}={value}: it is a folder; name one image in it"
    elif not os.path.lexists(path):  # whatever else is wrong is found when it is opened
        folder = images_folder(images)
        own = [Path(name).stem for name in file_names(folder)] if folder else []
        known = [name for entry in catalog().values() for name in (entry.name, *entry.stems)]
        near = [*known, *own, *file_names(path.parent)]
        places = str(path.absolute()) + (f" and for that name in {folder}" if own else "")
        yield (
            f"{key}={value}: no such file{did_you_mean(path.name, near)}\n"
            f"    looked for {places}; known names: {', '.join(catalog())}"
        )


def _weights(file: str) -> Iterator[str]:
    path = Path(os.path.expanduser(file))
    if not os.path.isfile(path):
        near = did_you_mean(path.name, file_names(path.parent))
        yield f"backbone.file={file}: no such file{near or '; correct the path'}"
    if path.suffix.lower() not in WEIGHT_SUFFIXES:
        yield f"backbone.file={path.name}: must end in {', '.join(WEIGHT_SUFFIXES)}"


def _result(config: Config) -> Iterator[str]:
    name, suffix = config.image, Path(config.image).suffix.lower()
    if Path(name).name != name:
        yield f"image={name}: must be a file name without a folder; the folder is out=DIR"
    elif suffix not in SUFFIXES:
        yield f"image={name}: must be a file name in {', '.join(sorted(SUFFIXES))}"
    elif len(os.fsencode(name)) > MAX_NAME_BYTES:
        yield f"image={name[:20]}...: longer than {MAX_NAME_BYTES} bytes; give a shorter name"
    elif config.bit_depth == 16 and suffix not in SUFFIXES_16_BIT:
        yield (
            f"bit_depth=16: image={name} holds 8 bits; use image=image.png, image=image.tif or "
            "bit_depth=8"
        )


def _background(text: str) -> Iterator[str]:
    with suppress(ValueError):
        if ImageColor.getrgb(text)[3:] in ((), (255,)):
            return
    near = did_you_mean(text, ImageColor.colormap) or "; use a name such as white, or #rrggbb"
    yield f"background={text}: must be an opaque color{near}"
