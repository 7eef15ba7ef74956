"""The images that a run reads, as tensors of the sizes that it needs."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from nst_exp.config.schema import Config, Filter, InitKind, SizeMode, StyleFit
from nst_exp.config.styles import style_keys
from nst_exp.images import LoadedImage, load_image, resolve_image, save_image
from nst_exp.images.lookup import ResolvedImage
from nst_exp.images.size import content_size, style_side, style_size
from nst_exp.images.tensors import to_array, to_tensor
from nst_exp.results.record import SAVED_INPUTS
from nst_exp.utils.errors import ConfigError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inputs:
    """The images of a run and where they are from, by config key."""

    config: Config
    loaded: dict[str, LoadedImage]  # content, styles, their maps, and the image to start from
    resolved: dict[str, ResolvedImage]

    def content_size(self, level_size: int) -> tuple[int, int]:
        """Return the width and height of the image at a level."""
        return content_size(self.config, self.loaded["content"].original_size, level_size)

    def style_size(self, level_size: int, index: int = 0) -> tuple[int, int]:
        """Return the width and height of a style image at a level."""
        content, *styles = (image.original_size for image in self.images())
        return style_size(self.config, content, styles[index], level_size, index)

    def images(self) -> list[LoadedImage]:
        """Return the content image and the style images."""
        return [self.loaded[key] for key in ("content", *style_keys(self.config))]

    def alpha(self, width: int, height: int) -> Tensor | None:
        """Return the opacity of the content, (1, 1, H, W), if the result is to have it."""
        alpha = self.loaded["content"].alpha
        if alpha is None or not self.config.keep_alpha:
            return None
        resized = np.array(alpha.resize((width, height), Image.Resampling.BILINEAR))
        return torch.from_numpy(resized)[None, None].float() / 255.0

    def tensors(self, level_size: int) -> tuple[Tensor, list[Tensor], Tensor | None]:
        """Return content, styles, and the image to start from, if any, each (1, 3, H, W)."""
        size, kernel = self.content_size(level_size), self.config.resolution.filter
        content, *styles = self.images()
        kind = self.config.init.kind
        of_style = kind in (InitKind.style, InitKind.details)
        first = styles[0] if of_style else self.loaded.get("init.file")
        return (
            to_tensor(content.image, size, kernel),
            [
                to_tensor(style.image, self.style_size(level_size, index), kernel)
                for index, style in enumerate(styles)
            ],
            to_tensor(first.image, size, kernel) if first else None,
        )

    def as_record(self) -> dict[str, dict[str, str]]:
        """Describe the files as result.json lists them."""
        entries = {}
        for key, image in self.loaded.items():
            entries[key] = {"path": str(image.path), "sha256": image.sha256}
            if credit := self.resolved[key].credit:
                entries[key]["credit"] = credit
        return entries

    def save(self, folder: Path, recorded: dict[str, dict[str, Any]]) -> None:
        """Save content and style as JPEG at the run's final size, if its figure will need them.

        The names of the files are added to ``recorded``, the record's inputs.
        """
        if not self.config.figure.title:
            return
        content, styles, _ = self.tensors(self.config.size)
        first = style_keys(self.config)[0]
        for key, name, image in (("content", "content", content), (first, "style", styles[0])):
            path = folder / SAVED_INPUTS[name]
            path.parent.mkdir(exist_ok=True)
            save_image(to_array(image), path)
            recorded[key]["copy"] = SAVED_INPUTS[name]


def load_inputs(config: Config) -> Inputs:
    """Load every image of a run; named ones may be downloaded or substituted.

    Raises:
        ConfigError: For all images that cannot be used, in one message.
    """
    inputs, problems = Inputs(config, {}, {}), list[str]()
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
    sizes = {"content": inputs.content_size(config.size)}
    for index, key in enumerate(style_keys(config)):
        sizes[key] = inputs.style_size(config.size, index)
    for key, (width, height) in sizes.items():
        own = inputs.loaded[key].original_size
        if width > own[0] and height > own[1]:
            log.warning("%s: %dx%d pixels are enlarged to %dx%d", key, *own, width, height)
    return inputs


def _wanted(config: Config) -> dict[str, tuple[str, int | None]]:
    """Each image by key, with the longest side needed, for a fast decoding of large JPEGs."""
    # Known only if `size` is the longest side. The decoder's reduction is not the filter asked for.
    longest = (
        config.resolution.size_mode is SizeMode.longest
        and config.resolution.filter is Filter.lanczos
    )
    # Stretched to the content's shape, the style may be used at more pixels than its own size.
    stretched = (
        config.resolution.style_fit is StyleFit.content or config.init.kind is InitKind.style
    )
    wanted: dict[str, tuple[str, int | None]] = {
        "content": (config.content, config.size if longest else None)
    }
    for index, (key, value) in enumerate(zip(style_keys(config), config.style, strict=True)):
        side = round(style_side(config, config.size, index))
        wanted[key] = (value, side if longest and not stretched else None)
    if config.content_map is not None:
        wanted["content_map"] = (config.content_map, None)
    for index, value in enumerate(config.style_map):
        wanted[f"style_map[{index}]"] = (value, None)
    if config.init.kind is InitKind.file and config.init.file:
        wanted["init.file"] = (config.init.file, None)
    return wanted
