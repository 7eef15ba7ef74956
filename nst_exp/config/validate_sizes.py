"""Sizes and steps that do not go together: levels of a pyramid, layers that need more pixels."""

from __future__ import annotations

import math
from collections.abc import Iterator

from nst_exp.config import layer_names as layers
from nst_exp.config.pyramid import level_sizes, plan
from nst_exp.config.schema import Config
from nst_exp.utils.errors import ConfigError


def size_problems(config: Config) -> Iterator[str]:
    """A line for each problem. No torch: of networks other than a VGG nothing is known here."""
    resolution = config.resolution
    sizes = _shown(resolution.sizes)
    if resolution.ratio <= 1:
        yield f"resolution.ratio={resolution.ratio}: must be greater than 1"
    if any(share <= 0 for share in resolution.shares):
        shares = ",".join(f"{share:g}" for share in resolution.shares)
        yield f"resolution.shares=[{shares}]: every share must be greater than 0"
    numbers = (resolution.ratio, resolution.style_scale, *resolution.shares)
    sound = (
        all(map(math.isfinite, numbers))
        and resolution.ratio > 1
        and config.size >= 1
        and resolution.min_size >= 1
    )
    if resolution.sizes:
        if not resolution.pyramid:
            yield f"resolution.sizes={sizes}: only a pyramid has several; use resolution=pyramid"
        if resolution.sizes != sorted(set(resolution.sizes)) or resolution.sizes[0] < 1:
            yield f"resolution.sizes={sizes}: must grow from level to level, from 1 pixel on"
            sound = False
        if resolution.sizes[-1] != config.size:
            yield (
                f"resolution.sizes={sizes}: the last level must be size={config.size}, not "
                f"{resolution.sizes[-1]}"
            )
            sound = False
    if sound:
        levels = level_sizes(resolution, config.size)
        yield from _too_small(config, levels)
        if 1 <= config.steps < len(levels):
            yield (
                f"steps={config.steps}: the pyramid's {len(levels)} levels need at least one step "
                f"each; use steps={len(levels)} or more"
            )
    yield from _milestones(config, sound)


def _shown(values: list[int]) -> str:
    return f"[{','.join(map(str, values))}]"


def _deepest(config: Config, part: str) -> tuple[str, int]:
    """The layer that needs the largest picture, and that picture's shorter side."""
    used = getattr(config.loss, part).layers or getattr(config.backbone, f"{part}_layers")
    needs = {layer: layers.least_size(config.backbone.name, layer) for layer in used}
    return max(needs.items(), key=lambda item: item[1], default=("", 1))


def _too_small(config: Config, levels: list[int]) -> Iterator[str]:
    resolution = config.resolution
    # The image passes through every layer, the style image through those of the style.
    layer, least = max(_deepest(config, "content"), _deepest(config, "style"), key=lambda x: x[1])
    if config.size < least:
        yield (
            f"size={config.size}: {layer} needs at least {least} pixels on the shorter side; use "
            f"size={least} or more"
        )
    elif levels[0] < least and resolution.sizes:
        yield (
            f"resolution.sizes={_shown(resolution.sizes)}: {layer} needs at least {least} pixels; "
            f"begin with {least} or more"
        )
    elif levels[0] < least:
        yield (
            f"resolution.min_size={resolution.min_size}: makes a level of {levels[0]} pixels, but "
            f"{layer} needs at least {least}; use resolution.min_size={least} or more"
        )
    layer, least = _deepest(config, "style")
    if levels[0] < least or resolution.style_scale <= 0 or (resolution.style_size or 1) < 1:
        return
    scale = (resolution.style_size or config.size) / config.size * resolution.style_scale
    style = max(1, round(levels[0] * scale))
    if style < least:
        keys = [f"resolution.style_size={resolution.style_size}"] * bool(resolution.style_size)
        keys += [f"resolution.style_scale={resolution.style_scale:g}"] * (
            resolution.style_scale != 1.0
        )
        yield (
            f"{' '.join(keys)}: makes a style image of {style} pixels, but {layer} needs at least "
            f"{least}; raise {' or '.join(key.partition('=')[0] for key in keys)}"
        )


def _milestones(config: Config, sound: bool) -> Iterator[str]:
    milestones = config.optimizer.milestones
    if milestones != sorted(set(milestones)):
        yield (
            f"optimizer.milestones={_shown(milestones)}: must grow from one step to the next, none "
            "twice"
        )
    if not milestones or not sound:
        return
    try:
        longest = max(level.steps for level in plan(config.resolution, config.size, config.steps))
    except (ConfigError, ZeroDivisionError):
        return  # said above
    # lr changes behind step n, so that the last step of a level sees no milestone at its number.
    if late := [step for step in milestones if step >= longest]:
        level = "the longest level has" if config.resolution.pyramid else "the run has"
        yield (
            f"optimizer.milestones={_shown(milestones)}: {_shown(late)[1:-1]} would never be "
            f"reached, since {level} {longest} steps (steps={config.steps}); give smaller "
            "milestones, or more steps"
        )
