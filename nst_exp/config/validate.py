"""Checks of values, of their combinations and of sizes, without opening a file."""

import math
import os
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from nst_exp.config import layer_names
from nst_exp.config.keys import Key, typed, walk
from nst_exp.config.pyramid import build_levels
from nst_exp.config.schema import (
    AUTO,
    LARGEST_TILE,
    LBFGS,
    LEAST_TILE,
    ColorMode,
    Config,
    InitKind,
    LineSearch,
    StyleFit,
)
from nst_exp.config.validate_terms import term_problems, whole_image_keys
from nst_exp.utils.suggest import as_utf8, did_you_mean

# Those of loss.more must differ.
NAMES_OF_TERMS = ("content", "style", "tv", "laplacian", "range", "total")
CHAINS = (*layer_names.VGG_BLOCKS, "alexnet")  # chains of layers, which can be normalized


def value_problems(config: Any, prefix: str = "") -> Iterator[str]:
    """Yield a line for each value of a config (or a section) that its key does not allow."""
    for key, value, info in walk(config, prefix):
        every = "every value " if isinstance(value, list) else ""
        reasons = [_value_problem(info, entry) for entry in (value if every else [value])]
        if reason := next(filter(None, reasons), None):
            yield f"{typed(key, value)}: {every}{reason}"


def combination_problems(config: Config) -> Iterator[str]:
    """Yield a line for each value that does not fit the others."""
    yield from term_problems(config)
    yield from _styles(config)
    yield from _objective(config)
    yield from _backbone(config)
    yield from _optimizer(config)
    yield from _tiles(config)
    for name in {"mlflow", "trackio", "wandb"}.intersection(config.logging.loggers):
        if (spec := find_spec(name)) is None or spec.origin is None:  # a folder is no package
            yield f"logging.loggers=[{name}]: not installed; pip install 'nst-exp[{name}]'"


def _tiles(config: Config) -> Iterator[str]:
    tile, levels = config.trainer.tile, config.resolution.levels
    tiles = {f"resolution.levels[{n}].tile": entry.tile for n, entry in enumerate(levels)}
    if tile is not None and tile != AUTO:
        if not tile.isdecimal() or not LEAST_TILE <= int(tile) <= LARGEST_TILE:
            yield (
                f"{typed('trainer.tile', tile)}: must be auto, null, or a side of {LEAST_TILE} to "
                f"{LARGEST_TILE} pixels"
            )
            return
        tiles["trainer.tile"] = int(tile)
    for key, side in tiles.items():
        for other in whole_image_keys(config) if side is not None else ():
            yield f"{typed(key, side)}: {other} needs the whole image; use {key}=null"


def size_problems(config: Config) -> Iterator[str]:
    """Yield a line for each size or step that does not fit; every value must be within its bounds.

    Whether images are too small for the layers depends on their files: images/validate.py.
    """
    resolution, milestones = config.resolution, config.optimizer.milestones
    if milestones != sorted(set(milestones)):
        yield f"{typed('optimizer.milestones', milestones)}: must increase; sort them, none twice"
    if problems := [*_levels(config), *_factors(config)]:
        yield from problems
        return
    sizes, listed = resolution.sizes, typed("resolution.sizes", resolution.sizes)
    if sizes and not resolution.pyramid:
        yield f"{listed}: only a pyramid has several; use resolution=pyramid"
    if sizes != sorted(set(sizes)):
        yield f"{listed}: must increase from level to level; sort them, none twice"
        return
    if sizes and sizes[-1] != config.size:
        yield f"{listed}: the last level must be size={config.size}, not {sizes[-1]}"
        return
    if config.steps is None:
        if not resolution.levels or resolution.levels[0].steps is None:
            yield from _shares_as_steps(resolution.shares)
        return
    levels = build_levels(resolution, config.size, config.steps)
    if config.steps < len(levels):
        yield (
            f"steps={config.steps}: the {len(levels)} levels of the pyramid need at least one "
            f"step each; use steps={len(levels)} or more"
        )


def _levels(config: Config) -> Iterator[str]:
    """Yield a line if the settings of levels do not fit each other or the keys beside them."""
    resolution, entries = config.resolution, config.resolution.levels
    if len(entries) > 1 and not resolution.pyramid:
        yield "resolution.levels: only a pyramid has several; use resolution=pyramid"
    given = {
        name: [getattr(entry, name) is not None for entry in entries]
        for name in ("size", "scale", "steps")
    }
    for name, has in given.items():
        if any(has) and not all(has):
            index = has.index(False)
            yield f"resolution.levels[{index}]: has no {name}; give it to every level, or to none"
            return
    if any(given["size"]) and any(given["scale"]):
        yield "resolution.levels: has both size and scale; leave one of them out"
    elif any(given["size"] + given["scale"]):
        sizes = [level.size for level in build_levels(resolution, config.size, None)]
        listed = f"resolution.levels: the sizes {', '.join(map(str, sizes))}"
        if resolution.sizes:
            given_twice = typed("resolution.sizes", resolution.sizes)
            yield f"{given_twice}: resolution.levels gives sizes as well; leave one of them out"
        elif sizes != sorted(sizes):
            yield f"{listed} must not decrease from level to level; sort them"
        elif sizes[-1] != config.size:
            yield f"{listed} must end with size={config.size}; give the last level that size"
    if config.steps is not None and any(given["steps"]):
        yield f"steps={config.steps}: resolution.levels gives the steps of levels; use steps=null"
    for index, entry in enumerate(entries):
        if entry.history is not None and not isinstance(config.optimizer, LBFGS):
            yield (
                f"resolution.levels[{index}].history={entry.history}: only L-BFGS has a history; "
                "leave it out, or use optimizer=lbfgs"
            )


def _factors(config: Config) -> Iterator[str]:
    """Yield a line for each factor of a level that fits no term, or if nothing is left."""
    terms = (*NAMES_OF_TERMS[:-1], *config.loss.more)
    for index, entry in enumerate(config.resolution.levels):
        key, factors = f"resolution.levels[{index}].factors", entry.factors
        for name, value in factors.items():
            if name not in terms:
                yield f"{key}.{name}: no such term; use one of {', '.join(terms)}"
            elif not 0 <= value < math.inf:
                yield f"{key}.{name}={value:g}: must be 0 or more; give another factor"
        weighted = _weighted_terms(config)
        if weighted and not any(factors.get(name, 1) for name in weighted):
            yield f"{key}: nothing to optimize at this level; give a term a factor above 0"


def _shares_as_steps(shares: list[float]) -> Iterator[str]:
    listed = typed("resolution.shares", shares)
    if not shares:
        yield f"steps=null: {listed} gives no steps; give a number of steps"
    elif any(share % 1 for share in shares):
        yield f"{listed}: with steps=null, shares are whole numbers of steps; round them"


def _value_problem(info: Key, value: Any) -> str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return "must be a finite number"
    if isinstance(value, str) and as_utf8(value) != value:
        return "must be UTF-8; use another name"  # a record could not hold it
    if value is None or info.allows(value):
        return None
    near = did_you_mean(value, info.choices) if isinstance(value, str) else ""
    return f"must be {info.allowed()}{near}"


def objective_notes(config: Config) -> Iterator[str]:
    """Yield a line if neither content nor style is optimized, or the first image is the result.

    ``combination_problems`` refuses an objective without any term.
    """
    (content, style), priors = _weighted(config), _priors(config)
    weights = f"alpha={config.alpha:g} beta={config.beta:g}"
    kind, resolution = config.init.kind, config.resolution
    same_shape = resolution.style_fit is StyleFit.content and resolution.style_scale == 1
    starts_at_minimum = {
        InitKind.content: content and not style,
        InitKind.blend: content and not style and config.init.noise_ratio == 0,
        InitKind.style: style and not content and same_shape and not resolution.style_size,
    }
    if not (content or style):
        yield (
            f"{weights}: content and style have the weight 0; only {' and '.join(priors)} is "
            "minimized"
        )
    elif starts_at_minimum.get(kind) and not priors and not resolution.pyramid:
        yield (
            f"{weights}: init={kind} is already the minimum, so the result is that image; set the "
            "weight that is 0, or choose another init"
        )


def _weighted(config: Config) -> tuple[bool, bool]:
    """Tell whether the content and the style have a weight."""
    weighted = _weighted_terms(config)
    return "content" in weighted, any(name in weighted for name in ("style", *config.loss.more))


def _weighted_terms(config: Config) -> list[str]:
    """Name the terms with a weight in the total, except for the range."""
    loss = config.loss
    weights = {"content": (config.alpha, loss.content.weights)}
    weights["style"] = config.beta, loss.style.weights
    weights |= {name: (config.beta * t.weight, t.weights) for name, t in loss.more.items()}
    weights |= {"tv": (loss.tv.weight, []), "laplacian": (sum(loss.laplacian.weights), [])}
    return [
        name for name, (weight, layers) in weights.items() if weight and (any(layers) or not layers)
    ]


def _priors(config: Config) -> list[str]:
    """Name the terms with a weight that is not a factor on alpha or beta."""
    loss = config.loss
    priors = [f"loss.tv.weight={loss.tv.weight:g}"] if loss.tv.weight else []
    if any(loss.laplacian.weights):
        priors.append(typed("loss.laplacian.weights", loss.laplacian.weights))
    return priors


def _objective(config: Config) -> Iterator[str]:
    loss = config.loss
    if not any(_weighted(config)) and not _priors(config):
        yield (
            f"alpha={config.alpha:g} beta={config.beta:g}: nothing to optimize, since content and "
            "style both have the weight 0; set one of alpha and beta, and weights of its layers"
        )
    for name in loss.more:
        if name in NAMES_OF_TERMS:
            yield f"loss.more.{name}: this name has another meaning in the log; use another"
    if len(loss.tv.channel_std) not in (0, 3):
        yield f"{typed('loss.tv.channel_std', loss.tv.channel_std)}: give three values (R, G, B)"
    if len(config.init.noise_mean) not in (1, 3):
        mean = typed("init.noise_mean", config.init.noise_mean)
        yield f"{mean}: give one value or three (R, G, B)"


def _backbone(config: Config) -> Iterator[str]:
    backbone, folder = config.backbone, config.backbone.calibration
    if folder is not None and not backbone.normalized:
        yield (
            f"backbone.calibration={folder}: only read with backbone.normalized=true; add that, or "
            "leave it out"
        )
    elif folder is not None and not os.path.isdir(os.path.expanduser(folder)):
        yield f"backbone.calibration={folder}: no such folder; name a folder of images"
    # Other architectures are examined when they are built.
    if backbone.normalized and layer_names.aliases(backbone.name) and backbone.name not in CHAINS:
        yield (
            f"backbone.normalized=true: {backbone.name} is not a chain of convolutions, ReLUs and "
            f"pooling; use one of {', '.join(CHAINS)}"
        )


def _styles(config: Config) -> Iterator[str]:
    count, weights, scales = len(config.style), config.style_weights, config.resolution.style_scales
    if not count:
        yield "style=[]: there is no style image; name one"
    for key, values in (("style_weights", weights), ("resolution.style_scales", scales)):
        if values and len(values) != count:
            yield f"{typed(key, values)}: has {len(values)} values for {count} styles; give {count}"
    if weights and not sum(weights):
        yield f"{typed('style_weights', weights)}: the sum is 0; give one style a weight above 0"
    if config.color in (ColorMode.transfer, ColorMode.chroma) and count > 1:
        yield f"color={config.color}: takes the colors of one image; name one style"
    if any(weight < 0 for weight in config.regions.content_weights.values()):
        yield "regions.content_weights: a weight is below 0; give 0 or more"
    for key in ("style_angles", "style_copies"):
        copies = getattr(config.resolution, key)
        if copies and config.content_map is not None:
            yield (
                f"{typed(f'resolution.{key}', copies)}: maps of regions have no copies; leave out "
                "content_map, or the copies"
            )
    maps, listed = config.style_map, typed("style_map", config.style_map)
    if not maps and config.content_map is not None:
        yield (
            f"content_map={config.content_map}: style_map is not given; add style_map=FILE, or "
            "style_map=[FILE,...] with a map for each style"
        )
    elif maps and config.content_map is None:
        yield f"{listed}: content_map is not given; add content_map=FILE, or leave style_map out"
    elif config.content_map is not None and len(maps) != count:
        yield (
            f"{listed}: has {len(maps)} maps for {count} style images; give a map for each, in "
            "their order"
        )


def _optimizer(config: Config) -> Iterator[str]:
    optimizer = config.optimizer
    if config.trainer.precision == "16-mixed" and isinstance(optimizer, LBFGS):
        yield (
            "trainer.precision=16-mixed: half precision needs gradient scaling, which L-BFGS "
            "cannot use; use optimizer=adam or trainer.precision=bf16-mixed"
        )
    if config.loss.normalize_gradients and isinstance(optimizer, LBFGS):
        yield (
            "loss.normalize_gradients=true: L-BFGS needs the gradient of the loss itself; use "
            "optimizer=adam or optimizer=rmsprop"
        )
    searches = isinstance(optimizer, LBFGS) and optimizer.line_search is LineSearch.strong_wolfe
    if searches and optimizer.clamp:
        yield (
            "optimizer.clamp=true: clipping the image after the line search breaks the curvature "
            "estimates of L-BFGS; leave it out (the result is clipped when it is saved), or use "
            "optimizer=adam"
        )
