"""Checks of the config keys that name files: images, weights and the result; decodes nothing."""

import os
import shlex
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from math import ceil
from pathlib import Path

from PIL import ImageColor

from nst_exp.config.keys import typed
from nst_exp.config.layer_names import least_size
from nst_exp.config.loss_layers import layers_read, resolve_layers
from nst_exp.config.output import SUFFIXES
from nst_exp.config.pyramid import build_levels
from nst_exp.config.schema import Config, InitKind, Padding, SizeMode
from nst_exp.config.styles import style_keys
from nst_exp.images import film
from nst_exp.images.catalog import catalog, find_entry
from nst_exp.images.file_type import file_names
from nst_exp.images.load import read_size
from nst_exp.images.lookup import FOLDER_VARIABLE, find_image, images_folder, images_in
from nst_exp.images.save import SUFFIXES_16_BIT
from nst_exp.images.size import Size, content_size, style_side, style_size
from nst_exp.utils.errors import ConfigError, reason_of
from nst_exp.utils.paths import LATEST
from nst_exp.utils.suggest import did_you_mean

WEIGHT_SUFFIXES = (".pth", ".pt", ".safetensors", ".h5", ".hdf5", ".onnx")
MAX_SIDE = 65_535  # as of the keys for sizes
# Of libwebp and libjpeg, in pixels.
MAX_SIDE_OF_FORMAT = {".webp": 16_383, ".jpg": 65_500, ".jpeg": 65_500}
UNKNOWN: Size = (1, 1)
MAX_NAME_BYTES = 200  # of the result; leaves room for what temporary files add


def file_problems(config: Config) -> Iterator[str]:
    """Yield a message for each problem."""
    yield from _images_folder(config.images)
    yield from _image("content", config.content, config.images)
    for key, value in zip(style_keys(config), config.style, strict=True):
        yield from _image(key, value, config.images)
    maps = {"content_map": config.content_map} if config.content_map is not None else {}
    maps |= {f"style_map[{index}]": value for index, value in enumerate(config.style_map)}
    for key, value in maps.items():
        yield from _image(key, value, config.images)
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
    if config.film is not None:
        yield from _film(config.film, config)
    yield from _background(config.background)


def own_sizes(config: Config) -> tuple[Size, list[Size]]:
    """Read width and height of the content's file and of each style's, upright.

    UNKNOWN stands for a file that is not there yet or cannot be read: loading it raises the error.
    """
    found: list[Size] = []
    values = [config.content, *config.style]
    for key, value in zip(("content", *style_keys(config)), values, strict=True):
        found.append(UNKNOWN)
        if image := find_image(value, config.images):
            with suppress(ConfigError):
                found[-1] = read_size(image.path, key=key, max_megapixels=config.max_megapixels)
    return found[0], found[1:]


def image_size_problems(config: Config) -> Iterator[str]:
    """Yield a message if content or style becomes too small for the layers, or too large.

    Every value must be within its bounds. Least sizes are known here for the VGG networks only.
    """
    layers = layers_read(resolve_layers(config.loss, config.backbone))
    name, reflects = config.backbone.name, config.backbone.padding is Padding.reflect
    needs = [(least_size(name, layer, reflects), layer) for layer in layers]
    least, layer = max(needs, default=(1, ""))
    content, styles = own_sizes(config)
    yield from wrong_sizes(config, content, styles, least, f"{layer} needs")
    size = content_size(config, content, config.size)
    limit = MAX_SIDE_OF_FORMAT.get(Path(config.image).suffix.lower(), MAX_SIDE)
    if limit < max(size) <= MAX_SIDE:
        yield (
            f"image={config.image}: this format has at most {limit} pixels on a side, and the "
            f"result gets {_x(size)}; use image={Path(config.image).stem}.png"
        )


def wrong_sizes(
    config: Config, content: Size, styles: Sequence[Size], least: int, need: str
) -> Iterator[str]:
    """Yield a message, with a value that helps, for the first image that is too small or too large.

    Args:
        config: The config.
        content: Width and height of the content's file, as ``own_sizes``.
        styles: Those of the style images' files.
        least: Pixels on the shorter side that the network needs.
        need: What needs them, for the message.
    """
    for index in range(len(styles)):
        for problem in _wrong_sizes(config, content, styles[index], least, need, index):
            yield problem
            return


def _wrong_sizes(
    config: Config, content: Size, style: Size, least: int, need: str, index: int
) -> Iterator[str]:
    name_of_style = style_keys(config)[index]
    resolution, last = config.resolution, config.size
    first = build_levels(resolution, last, config.steps)[0].size

    def of_content(size: int) -> Size:
        return content_size(config, content, size)

    def of_style(size: int, value: int | None = resolution.style_size) -> Size:
        changed = replace(config, resolution=replace(resolution, style_size=value))
        return style_size(changed, content, style, size, index)

    for key, size in (("content", of_content(last)), (name_of_style, of_style(last))):
        if max(size) > MAX_SIDE:
            given, change = _smaller(config)
            yield f"{given}: {key} gets {_x(size)}, more than {MAX_SIDE} pixels on a side; {change}"
            return
    key, size = "content", of_content(first)
    if min(size) < least:
        given, change = _level_change(config, _first(lambda s: min(of_content(s)) >= least))
    elif min(size := of_style(first)) < least:
        key = name_of_style
        if min(of_style(last)) >= least:
            given, change = _level_change(config, _first(lambda s: min(of_style(s)) >= least))
        else:
            value = _first(lambda value: min(of_style(first, value)) >= least)
            given, change = _style_change(config, value)
    else:
        return
    name = "a square" if (content if key == "content" else style) == UNKNOWN else f"the {key}"
    where = "" if first == last else " at the first level"
    yield (
        f"{given}: {need} at least {least} pixels on the shorter side, and {name} image gets "
        f"{_x(size)}{where}; {change}"
    )


def _first(fits: Callable[[int], bool]) -> int:
    """Find the least number for which ``fits``; MAX_SIDE + 1 if it is larger."""
    return bisect_left(range(MAX_SIDE + 1), True, lo=1, key=fits)


def _smaller(config: Config) -> tuple[str, str]:
    """Return what made a side longer than MAX_SIDE, and what to do."""
    resolution = config.resolution
    if resolution.size_mode is not SizeMode.longest:
        return f"size={config.size}", "use resolution.size_mode=longest"
    largest = int(resolution.style_scale * MAX_SIDE / style_side(config, config.size))
    given = f"resolution.style_scale={resolution.style_scale:g}"
    return given, f"use resolution.style_scale={largest} or less"


def _level_change(config: Config, size: int) -> tuple[str, str]:
    """Return what made the first level smaller than ``size``, and what to do."""
    resolution, given, changes = config.resolution, f"size={config.size}", [f"size={size}"]
    if size > MAX_SIDE:
        return given, "crop the image"
    if size <= config.size:
        given, changes = f"resolution.min_size={resolution.min_size}", []
    if any(entry.size or entry.scale for entry in resolution.levels):
        return "resolution.levels", f"give the first level {size} pixels or more"
    if resolution.sizes:
        given = typed("resolution.sizes", resolution.sizes)
        larger = [entry for entry in resolution.sizes if entry > size]
        return given, f"use {' '.join([typed('resolution.sizes', [size, *larger]), *changes])}"
    if resolution.pyramid and resolution.min_size < size:
        changes.append(f"resolution.min_size={size}")
    return given, f"use {' and '.join(changes)} or more"


def _style_change(config: Config, value: int) -> tuple[str, str]:
    """Return what made the style image small, and what to do so that its size is ``value``."""
    resolution = config.resolution
    given, change = f"size={config.size}", f"use resolution.style_size={value} or more"
    if resolution.style_size is not None:
        given = f"resolution.style_size={resolution.style_size}"
    elif resolution.style_scale != 1:
        given = f"resolution.style_scale={resolution.style_scale:g}"
        scale = ceil(1000 * resolution.style_scale * value / config.size + 0.01) / 1000
        change = f"use resolution.style_scale={scale:g} or more"
    if value <= MAX_SIDE:
        return given, change
    return (
        given,
        "crop the image" if resolution.enlarge_style else "use resolution.enlarge_style=true",
    )


def _x(size: Size) -> str:
    return f"{size[0]}x{size[1]}"


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
    elif found := images_in(value):
        what = "a folder of" if os.path.isdir(path) else "a pattern that matches"
        yield f"{key}={value}: {what} {len(found)} images; name one, or add -m for a run for each"
    elif os.path.isdir(path):
        yield f"{key}={value}: it is a folder without images; name an image"
    elif "," in value and all(find_image(one, images) for one in value.split(",")):
        every = ",".join(f'"{one}"' for one in value.split(","))
        yield f"{key}={value}: it is a list; for a sweep: -m {shlex.quote(f'{key}={every}')}"
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
    if os.path.exists(path) and not os.path.isfile(path):
        yield f"backbone.file={file}: it is a folder or a device; name a file of weights"
    elif not os.path.isfile(path):
        near = did_you_mean(path.name, file_names(path.parent))
        yield f"backbone.file={file}: no such file{near or '; correct the path'}"
    if path.suffix.lower() not in WEIGHT_SUFFIXES:
        yield f"backbone.file={path.name}: must end in {', '.join(WEIGHT_SUFFIXES)}"


def _result(config: Config) -> Iterator[str]:
    if config.out == "":
        yield "out=: is empty; name a folder, or leave it out"
    elif config.out and os.path.expanduser(config.out).startswith("~"):
        yield f"out={config.out}: there is no such user; write ./~ for a folder of that name"
    name, suffix = config.image, Path(config.image).suffix.lower()
    if Path(name).name != name:
        yield f"image={name}: must be a file name without a folder; the folder is out=DIR"
    elif suffix not in SUFFIXES:
        yield f"image={name}: must be a file name in {', '.join(sorted(SUFFIXES))}"
    elif name == LATEST:
        yield f"image={name}: is the image so far while a run is at work; use another name"
    elif config.keep_alpha and suffix in (".jpg", ".jpeg"):
        yield f"keep_alpha=true: image={name} has no transparency; use image=image.png"
    elif len(os.fsencode(name)) > MAX_NAME_BYTES:
        yield f"image={name[:20]}...: longer than {MAX_NAME_BYTES} bytes; give a shorter name"
    elif config.bit_depth == 16 and suffix not in SUFFIXES_16_BIT:
        yield (
            f"bit_depth=16: image={name} holds 8 bits; use image=image.png, image=image.tif or "
            "bit_depth=8"
        )


def _film(name: str, config: Config) -> Iterator[str]:
    path = Path(name)
    if path.name != name:
        yield f"film={name}: must be a file name without a folder; the folder is out=DIR"
    elif path.suffix.lower() not in film.SUFFIXES:
        yield f"film={name}: must be a file name in {', '.join(film.SUFFIXES)}"
    elif name == config.image:
        yield f"film={name}: is the name of the result as well; give another one"
    elif not (config.logging.snapshots and config.logging.image_every):
        yield (
            f"film={name}: is made of the snapshots; use logging.snapshots=true "
            "logging.image_every=1 or more"
        )
    elif path.suffix.lower() == ".mp4" and not find_spec("imageio_ffmpeg"):
        other = path.with_suffix(".gif")
        yield f"film={name}: pip install 'nst-exp[film]' for MP4, or use film={other}"


def _background(text: str) -> Iterator[str]:
    with suppress(ValueError):
        color = ImageColor.getrgb(text)
        if color[3:] in ((), (255,)) and max(color) <= 255:
            return
    near = did_you_mean(text, ImageColor.colormap) or "; use a name such as white, or #rrggbb"
    yield f"background={text}: must be an opaque color{near}"
