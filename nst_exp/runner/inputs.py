"""The pictures of a run, as tensors of the sizes that it needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from nst_exp.config.schema import Config, InitKind, SizeMode, StyleFit
from nst_exp.images import LoadedImage, load_image, target_size
from nst_exp.images.named import resolve_image
from nst_exp.images.tensors import to_tensor
from nst_exp.utils.errors import ConfigError

Warn = Callable[[str], None]


@dataclass(frozen=True)
class Inputs:
    """Content, style and, if the run starts from one, the initial picture."""

    content: LoadedImage
    style: LoadedImage
    init: LoadedImage | None
    credits: dict[str, str] = field(default_factory=dict)  # config key -> title, author, license
    substituted: list[dict[str, str]] = field(default_factory=list)  # for the record: stand-ins

    @property
    def loaded(self) -> dict[str, LoadedImage]:
        """By config key."""
        found = {"content": self.content, "style": self.style, "init.file": self.init}
        return {key: image for key, image in found.items() if image is not None}


def _hint(config: Config, size: float) -> int | None:
    """The longest side needed, for a fast decoding of large JPEGs; unknown unless it is `size`."""
    return round(size) if config.resolution.size_mode is SizeMode.longest else None


def _unheard(line: str) -> None:
    pass


def load_inputs(config: Config, warn: Warn, report: Warn = _unheard) -> Inputs:
    """Load every picture; ConfigError lists all that cannot be used.

    A named picture may be downloaded, of which ``report`` is told, or replaced by its stand-in, of
    which ``warn`` is told.
    """
    wanted: dict[str, tuple[str, int | None]] = {
        "content": (config.content, _hint(config, config.size)),
        "style": (config.style, _hint(config, style_size(config, config.size))),
    }
    # Stretched to the content's shape, the style may be used at more pixels than its own size.
    if config.resolution.style_fit is StyleFit.content or config.init.kind is InitKind.style:
        wanted["style"] = (config.style, None)
    if config.init.kind is InitKind.file and config.init.file:
        wanted["init.file"] = (config.init.file, None)
    loaded: dict[str, LoadedImage] = {}
    credits: dict[str, str] = {}
    substituted: list[dict[str, str]] = []
    problems: list[str] = []
    for key, (value, hint) in wanted.items():
        try:
            obtained = resolve_image(
                value, key, config.images, config.stand_ins, warn=warn, report=report
            )
            loaded[key] = load_image(
                obtained.path,
                key=key,
                max_megapixels=config.max_megapixels,
                background=config.background,
                hint=hint,
            )
        except ConfigError as error:
            problems += error.problems
            continue
        if obtained.credit:
            credits[key] = obtained.credit
        if obtained.substituted:
            substituted.append(obtained.substituted)
        for warning in loaded[key].warnings:
            warn(warning)
    if problems:
        raise ConfigError(problems)
    return Inputs(loaded["content"], loaded["style"], loaded.get("init.file"), credits, substituted)


def style_size(config: Config, level_size: int) -> float:
    """The style's size at a level: it shrinks and grows with the image."""
    base = config.resolution.style_size or config.size
    return base * config.resolution.style_scale * level_size / config.size


def content_dimensions(config: Config, inputs: Inputs, level_size: int) -> tuple[int, int]:
    """Width and height of the image at a level."""
    return target_size(*inputs.content.original_size, level_size, config.resolution.size_mode)


def style_dimensions(config: Config, inputs: Inputs, level_size: int) -> tuple[int, int]:
    """Width and height of the style image at a level."""
    size = style_size(config, level_size)
    if config.resolution.style_fit is StyleFit.content:
        width, height = content_dimensions(config, inputs, level_size)
        scale = size / level_size
        return max(1, round(width * scale)), max(1, round(height * scale))
    side = max(1, round(size))
    return target_size(*inputs.style.original_size, side, config.resolution.size_mode)


def note_enlargements(config: Config, inputs: Inputs, warn: Warn) -> None:
    """Say where a picture has fewer pixels than the run uses."""
    used = {
        "content": content_dimensions(config, inputs, config.size),
        "style": style_dimensions(config, inputs, config.size),
    }
    for key, (width, height) in used.items():
        has = inputs.loaded[key].original_size
        if width > has[0] and height > has[1]:
            warn(f"{key}: {has[0]}x{has[1]} pixels are enlarged to {width}x{height}")


def tensors(
    config: Config, inputs: Inputs, level_size: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Content, style, and the picture to start from, if any, all (1, 3, H, W)."""
    size = content_dimensions(config, inputs, level_size)
    start = {InitKind.style: inputs.style, InitKind.file: inputs.init}.get(config.init.kind)
    return (
        to_tensor(inputs.content.picture, size),
        to_tensor(inputs.style.picture, style_dimensions(config, inputs, level_size)),
        to_tensor(start.picture, size) if start else None,
    )
