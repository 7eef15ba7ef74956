"""The images that a run reads, as tensors of the sizes that it needs."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from nst_exp.config.schema import Config, InitKind, SizeMode, StyleFit
from nst_exp.images import LoadedImage, load_image, resolve_image, save_image, target_size
from nst_exp.images.lookup import ResolvedImage
from nst_exp.images.tensors import to_array, to_tensor
from nst_exp.results.record import SAVED_INPUTS
from nst_exp.utils.errors import ConfigError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inputs:
    """The images of a run and where they are from, by config key."""

    loaded: dict[str, LoadedImage]  # content, style and, if the run starts from a file, init.file
    resolved: dict[str, ResolvedImage]

    @property
    def substituted(self) -> list[dict[str, str]]:
        """Named images that were not available and what was used instead."""
        return [found.substituted for found in self.resolved.values() if found.substituted]

    def as_record(self) -> dict[str, dict[str, str]]:
        """Describe the files as result.json lists them."""
        entries = {}
        for key, image in self.loaded.items():
            entries[key] = {"path": str(image.path), "sha256": image.sha256}
            if credit := self.resolved[key].credit:
                entries[key]["credit"] = credit
        return entries


def load_inputs(config: Config) -> Inputs:
    """Load every image of a run; named ones may be downloaded or substituted.

    Raises:
        ConfigError: For all images that cannot be used, in one message.
    """
    inputs, problems = Inputs({}, {}), list[str]()
    limit, background = config.max_megapixels, config.background
    for key, (value, hint) in _wanted(config).items():
        try:
            found = resolve_image(value, key, config.images, config.stand_ins)
            image = load_image(
                found.path, key=key, max_megapixels=limit, background=background, hint=hint
            )
        except ConfigError as error:
            problems += error.problems
            continue
        inputs.resolved[key], inputs.loaded[key] = found, image
        for warning in image.warnings:
            log.warning(warning)
    if problems:
        raise ConfigError(problems)
    return inputs


def _wanted(config: Config) -> dict[str, tuple[str, int | None]]:
    """Each image by key, with the longest side needed, for a fast decoding of large JPEGs."""

    def hint(size: float) -> int | None:  # known only if `size` is the longest side
        return round(size) if config.resolution.size_mode is SizeMode.longest else None

    # Stretched to the content's shape, the style may be used at more pixels than its own size.
    stretched = (
        config.resolution.style_fit is StyleFit.content or config.init.kind is InitKind.style
    )
    wanted = {
        "content": (config.content, hint(config.size)),
        "style": (config.style, None if stretched else hint(style_size(config, config.size))),
    }
    if config.init.kind is InitKind.file and config.init.file:
        wanted["init.file"] = (config.init.file, None)
    return wanted


def style_size(config: Config, level_size: int) -> float:
    """Return the style's size at a level: it shrinks and grows with the image."""
    base = config.resolution.style_size or config.size
    return base * config.resolution.style_scale * level_size / config.size


def content_dimensions(config: Config, inputs: Inputs, level_size: int) -> tuple[int, int]:
    """Return the width and height of the image at a level."""
    return target_size(
        *inputs.loaded["content"].original_size, level_size, config.resolution.size_mode
    )


def style_dimensions(config: Config, inputs: Inputs, level_size: int) -> tuple[int, int]:
    """Return the width and height of the style image at a level."""
    size = style_size(config, level_size)
    if config.resolution.style_fit is StyleFit.content:
        width, height = content_dimensions(config, inputs, level_size)
        scale = size / level_size
        return max(1, round(width * scale)), max(1, round(height * scale))
    side = max(1, round(size))
    return target_size(*inputs.loaded["style"].original_size, side, config.resolution.size_mode)


def warn_of_enlargements(config: Config, inputs: Inputs) -> None:
    """Log a warning for each image that has fewer pixels than the run uses."""
    used = {
        "content": content_dimensions(config, inputs, config.size),
        "style": style_dimensions(config, inputs, config.size),
    }
    for key, (width, height) in used.items():
        own = inputs.loaded[key].original_size
        if width > own[0] and height > own[1]:
            log.warning("%s: %dx%d pixels are enlarged to %dx%d", key, *own, width, height)


def tensors(
    config: Config, inputs: Inputs, level_size: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return content, style, and the image to start from, if any, all (1, 3, H, W)."""
    size = content_dimensions(config, inputs, level_size)
    content, style = inputs.loaded["content"], inputs.loaded["style"]
    start = {InitKind.style: style, InitKind.file: inputs.loaded.get("init.file")}
    first = start.get(config.init.kind)
    return (
        to_tensor(content.image, size),
        to_tensor(style.image, style_dimensions(config, inputs, level_size)),
        to_tensor(first.image, size) if first else None,
    )


def save_inputs(
    folder: Path, config: Config, inputs: Inputs, recorded: dict[str, dict[str, Any]]
) -> None:
    """Save content and style as JPEG at the run's final size, if its figure will need them.

    The names of the files are added to ``recorded``, the record's inputs.
    """
    if not config.figure.title:
        return
    content, style, _ = tensors(config, inputs, config.size)
    for key, image in (("content", content), ("style", style)):
        path = folder / SAVED_INPUTS[key]
        path.parent.mkdir(exist_ok=True)
        save_image(to_array(image), path)
        recorded[key]["copy"] = SAVED_INPUTS[key]
