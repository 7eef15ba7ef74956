"""The sizes of a run's images at each level."""

from math import sqrt

from nst_exp.config.schema import Config, Rounding, SizeMode, StyleFit

Size = tuple[int, int]  # width, height


def target_size(
    width: int, height: int, size: int, mode: SizeMode, rounding: Rounding = Rounding.round
) -> Size:
    """Compute a size with the same aspect ratio.

    The side that ``mode`` names gets ``size`` pixels; with ``area`` the image gets about
    ``size * size``. The other side is a whole number by ``rounding``, and at least 1.
    """
    upright = {SizeMode.longest: height > width, SizeMode.shortest: height < width}
    is_height = upright.get(mode, mode is SizeMode.height)
    named: float = height if is_height else width
    if mode is SizeMode.area:
        named = sqrt(width) * sqrt(height)
    if rounding in (Rounding.round, Rounding.truncate):
        whole = round if rounding is Rounding.round else int
        w, h = (whole(side * size / named) for side in (width, height))
    else:
        # Floating point makes of 512 / 98 * 98 a little less than 512.
        w, h = (int(side * (size / named)) for side in (width, height))
        if rounding is Rounding.truncate_ratio and mode is not SizeMode.area:
            w, h = (w, size) if is_height else (size, h)
    return max(1, w), max(1, h)


def content_size(config: Config, own: Size, level_size: int) -> Size:
    """Compute the size of the image at a level; ``own`` is that of the content's file, upright."""
    resolution = config.resolution
    return target_size(*own, level_size, resolution.size_mode, resolution.rounding)


def style_size(
    config: Config, content_own: Size, style_own: Size, level_size: int, index: int = 0
) -> Size:
    """Compute the size of a style image at a level, from the sizes of both files."""
    resolution = config.resolution
    whole = round if resolution.rounding is Rounding.round else int
    side = style_side(config, level_size, index)
    if resolution.style_fit is StyleFit.content:
        width, height = content_size(config, content_own, level_size)
        scale = side / level_size
        if not resolution.enlarge_style:
            scale = min(scale, style_own[0] / width, style_own[1] / height)
        return max(1, whole(width * scale)), max(1, whole(height * scale))
    size = target_size(*style_own, max(1, whole(side)), resolution.size_mode, resolution.rounding)
    if not resolution.enlarge_style and (size[0] > style_own[0] or size[1] > style_own[1]):
        return style_own
    return size


def style_side(config: Config, level_size: int, index: int = 0) -> float:
    """Return what ``size`` is for a style image at a level: it grows with the image."""
    base = config.resolution.style_size or config.size
    scales = config.resolution.style_scales or [1.0] * len(config.style)
    return base * level_size / config.size * config.resolution.style_scale * scales[index]
