"""Checks of sizes and steps: levels of a pyramid, and layers that need more pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from nst_exp.config.layer_names import least_size
from nst_exp.config.loss_layers import layers_read, resolve_layers, style_layers
from nst_exp.config.pyramid import build_levels, level_sizes
from nst_exp.config.schema import Config, Loss
from nst_exp.config.validate import typed


def size_problems(config: Config) -> Iterator[str]:
    """Yield a line for each size or step that does not fit; every value must be within its bounds.

    Least sizes are known for the VGG networks only.
    """
    resolution, sizes = config.resolution, config.resolution.sizes
    listed, milestones = typed("resolution.sizes", sizes), config.optimizer.milestones
    if milestones != sorted(set(milestones)):
        yield f"{typed('optimizer.milestones', milestones)}: must increase; sort them, none twice"
    if sizes and not resolution.pyramid:
        yield f"{listed}: only a pyramid has several; use resolution=pyramid"
    if sizes != sorted(set(sizes)):
        yield f"{listed}: must increase from level to level; sort them, none twice"
    elif sizes and sizes[-1] != config.size:
        yield f"{listed}: the last level must be size={config.size}, not {sizes[-1]}"
    else:
        levels = level_sizes(resolution, config.size)
        yield from _image_too_small(config, levels[0])
        yield from _style_too_small(config, levels[0])
        if config.steps < len(levels):
            yield (
                f"steps={config.steps}: the {len(levels)} levels of the pyramid need at least one "
                f"step each; use steps={len(levels)} or more"
            )
        else:
            yield from _late_milestones(config)


def _needs_most(config: Config, layers_of: Callable[[Loss], list[str]]) -> tuple[str, int]:
    """Return the layer that needs the largest image, and the shorter side that it needs."""
    layers = layers_of(resolve_layers(config.loss, config.backbone))
    needs = {layer: least_size(config.backbone.name, layer) for layer in layers}
    return max(needs.items(), key=lambda item: item[1], default=("", 1))


def _image_too_small(config: Config, smallest: int) -> Iterator[str]:
    # The image passes through every layer, the style image through those of the style.
    layer, least = _needs_most(config, layers_read)
    resolution = config.resolution
    key, value = "size", config.size
    if smallest < least <= config.size:
        key, value = "resolution.min_size", resolution.min_size
    if smallest < least and resolution.sizes:
        yield (
            f"{typed('resolution.sizes', resolution.sizes)}: {layer} needs at least {least} pixels "
            f"on the shorter side; begin with {least} or more"
        )
    elif smallest < least:
        yield (
            f"{key}={value}: {layer} needs at least {least} pixels on the shorter side; use "
            f"{key}={least} or more"
        )


def _style_too_small(config: Config, smallest: int) -> Iterator[str]:
    layer, least = _needs_most(config, style_layers)
    size, scale = config.resolution.style_size, config.resolution.style_scale
    side = max(1, round(smallest * (size or config.size) / config.size * scale))
    if side < least <= smallest:
        given = [f"resolution.style_size={size}"] if size else []
        given += [f"resolution.style_scale={scale}"] if scale != 1 else []
        keys = " or ".join(key.partition("=")[0] for key in given)
        yield (
            f"{' '.join(given)}: makes a style image of {side} pixels, but {layer} needs at least "
            f"{least}; increase {keys}"
        )


def _late_milestones(config: Config) -> Iterator[str]:
    milestones = config.optimizer.milestones
    levels = build_levels(config.resolution, config.size, config.steps)
    longest = max(level.steps for level in levels)
    # lr decreases after step n, so the last step of a level uses no milestone of its own number.
    if late := [str(step) for step in milestones if step >= longest]:
        level = "the longest level has" if config.resolution.pyramid else "the run has"
        yield (
            f"{typed('optimizer.milestones', milestones)}: {','.join(late)} would never be "
            f"reached, since {level} {longest} steps (steps={config.steps}); give smaller "
            "milestones, or more steps"
        )
