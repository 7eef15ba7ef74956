"""Every value that can be judged without torch is judged here; all problems come in one message."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from nst_exp import layers
from nst_exp.assets import (
    find_image,
    folder_problem,
    images_folder,
    known_names,
    known_picture,
    stems_in_folder,
)
from nst_exp.config import LBFGS, Adam, Config, InitKind, LineSearch, Statistic
from nst_exp.errors import ConfigError, did_you_mean
from nst_exp.images.save import SUFFIXES
from nst_exp.pyramid import level_sizes

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "64-true")
ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")
CHAINS = (*layers.VGG_BLOCKS, "alexnet")  # plain ones, which backbone.normalised can rescale
WEIGHT_SUFFIXES = (".pth", ".pt", ".safetensors", ".h5", ".hdf5", ".onnx")

# key: (least, largest) that is allowed. Keys that must be greater than 0: POSITIVE.
RANGES: dict[str, tuple[float, float]] = {
    "alpha": (0, math.inf),
    "beta": (0, math.inf),
    "steps": (1, math.inf),
    "seed": (0, 2**32 - 1),
    "size": (1, 65_535),
    "resolution.style_size": (1, 65_535),
    "resolution.min_size": (1, 65_535),
    "resolution.averaging": (0, 0.999999),
    "optimizer.max_restarts": (0, 1000),
    "optimizer.milestones": (1, math.inf),
    "optimizer.gamma": (0, 1),
    "optimizer.history": (1, 10_000),
    "optimizer.max_evaluations": (1, 10_000),
    "optimizer.beta1": (0, 0.999999),
    "optimizer.beta2": (0, 0.99999999),
    "optimizer.parametrisation.decay": (0, 4),
    "loss.tv.weight": (0, math.inf),
    "loss.range_weight": (0, math.inf),
    "init.noise_scale": (0, math.inf),
    "init.noise_ratio": (0, 1),
    "trainer.device": (0, 1024),
    "trainer.threads": (1, 4096),
    "logging.every": (1, math.inf),
    "logging.image_every": (0, math.inf),
    "figure.columns": (1, 100),
}
POSITIVE = {
    "backbone.map_scale",
    "backbone.pool_scale",
    "loss.content.c",
    "loss.style.c",
    "loss.tv.pixel_range",
    "loss.tv.channel_std",
    "max_megapixels",
    "optimizer.lr",
    "optimizer.eps",
    "optimizer.first_step",
    "optimizer.parametrisation.pixel_scale",
    "resolution.style_scale",
    "trainer.checkpoint_minutes",
}


def _leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for f in fields(node):
        value = getattr(node, f.name)
        if is_dataclass(value):
            yield from _leaves(value, f"{prefix}{f.name}.")
        else:
            yield f"{prefix}{f.name}", value


def _ranges(config: Config) -> Iterator[str]:
    for key, value in _leaves(config):
        numbers = value if isinstance(value, list) else [value]
        for number in numbers:
            if not isinstance(number, int | float) or isinstance(number, bool):
                continue
            if isinstance(number, float) and not math.isfinite(number):
                yield f"{key}={number}: must be a finite number"
            elif key in RANGES and not RANGES[key][0] <= number <= RANGES[key][1]:
                low, high = RANGES[key]
                bound = f"at least {low:g}" if math.isinf(high) else f"from {low:g} to {high:g}"
                yield f"{key}={number}: must be {bound}"
            elif key in POSITIVE and number <= 0:
                yield f"{key}={number}: must be greater than 0"


def _loss(config: Config) -> Iterator[str]:
    for part, default in (
        ("content", config.backbone.content_layers),
        ("style", config.backbone.style_layers),
    ):
        settings = getattr(config.loss, part)
        used = settings.layers or default
        key = f"loss.{part}.layers"
        active = config.alpha if part == "content" else config.beta
        if not used and active > 0:
            yield (
                f"{key}: name at least one layer (backbone={config.backbone.name} has no default)"
            )
        for layer in sorted({layer for layer in used if used.count(layer) > 1}):
            yield f"{key}: '{layer}' stands there twice"
        if settings.weights and len(settings.weights) != len(used):
            yield (
                f"loss.{part}.weights has {len(settings.weights)} entries, but {key} has "
                f"{len(used)}: {', '.join(used)}"
            )
        yield from (
            f"loss.{part}.weights: {weight:g} is negative"
            for weight in settings.weights
            if weight < 0
        )
        for layer in dict.fromkeys(used):
            if problem := layers.problem(config.backbone.name, layer, key):
                yield problem
        needs = {layer: layers.least_size(config.backbone.name, layer) for layer in used}
        deepest = max(needs, key=lambda layer: needs[layer], default="")
        if used and 1 <= config.size < needs[deepest]:
            yield f"size={config.size}: {deepest} needs at least {needs[deepest]} pixels"
    if config.alpha == 0 and config.beta == 0 and config.loss.tv.weight == 0:
        yield "alpha=0 beta=0: nothing to optimise; set one of them"

    style, tv = config.loss.style, config.loss.tv
    if style.statistic is Statistic.wasserstein2 and style.relative:
        yield "loss.style.relative=true: only with loss.style.statistic=gram"
    for key, values, lengths in (
        ("loss.tv.channel_std", tv.channel_std, (0, 3)),
        ("init.noise_mean", config.init.noise_mean, (1, 3)),
    ):
        if len(values) not in lengths:
            names = {0: "none", 1: "one value", 3: "three (R, G, B)"}
            yield f"{key} has {len(values)} values: give {' or '.join(names[n] for n in lengths)}"
    milestones = config.optimizer.milestones
    if milestones != sorted(set(milestones)):
        yield f"optimizer.milestones={milestones}: must grow"


def _files(config: Config) -> Iterator[str]:
    paths = [("content", config.content), ("style", config.style)]
    if config.init.kind is InitKind.file:
        if config.init.file is None:
            yield "init.kind=file: name the image with init.file=PATH"
        else:
            paths.append(("init.file", config.init.file))
    elif config.init.file is not None:
        yield f"init.file={config.init.file}: only read with init=file"
    if problem := folder_problem(config.images):
        yield problem
    for key, value in paths:
        path = Path(os.path.expanduser(value))
        if not value:
            yield f"{key}: name an image file"
        elif (
            known_picture(value) is None
            and find_image(value, config.images) is None
            and not os.path.exists(path)
        ):
            yield _unknown(key, value, path, config)
    if config.backbone.file is not None:
        path = Path(os.path.expanduser(config.backbone.file))
        if not os.path.isfile(path):
            yield f"backbone.file={config.backbone.file}: no such file"
        if path.suffix.lower() not in WEIGHT_SUFFIXES:
            yield f"backbone.file={path.name}: must end in {', '.join(WEIGHT_SUFFIXES)}"
    suffix = Path(config.image).suffix.lower()
    if suffix not in SUFFIXES or Path(config.image).name != config.image:
        yield f"image={config.image}: must be a file name in {', '.join(sorted(SUFFIXES))}"
    if config.bit_depth not in (8, 16):
        yield f"bit_depth={config.bit_depth}: must be 8 or 16"
    elif config.bit_depth == 16 and suffix not in (".png", ".tif", ".tiff"):
        yield f"bit_depth=16: {suffix} holds 8 bits; use image=image.png or image=image.tif"


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


def _normalised(config: Config) -> Iterator[str]:
    name, folder = config.backbone.name, config.backbone.calibration
    if folder is not None and not config.backbone.normalised:
        yield f"backbone.calibration={folder}: only read with backbone.normalised=true"
    elif folder is not None and not os.path.isdir(os.path.expanduser(folder)):
        yield f"backbone.calibration={folder}: no such folder; name a folder of pictures"
    # Others are told apart when they are built; these need not be fetched for that.
    if config.backbone.normalised and layers.aliases(name) and name not in CHAINS:
        yield (
            "backbone.normalised=true: needs a chain of convolutions, ReLUs and pooling "
            f"({', '.join(CHAINS)}), which {name} is not"
        )


def _combinations(config: Config) -> Iterator[str]:
    if not config.backbone.name:
        yield "backbone.name: name a torchvision classifier, such as densenet121"
    yield from _normalised(config)
    trainer, optimizer, resolution = config.trainer, config.optimizer, config.resolution
    if trainer.accelerator not in ACCELERATORS:
        yield (
            f"trainer.accelerator={trainer.accelerator}: must be one of {', '.join(ACCELERATORS)}"
            f"{did_you_mean(trainer.accelerator, ACCELERATORS)}"
        )
    if trainer.precision not in PRECISIONS:
        yield (
            f"trainer.precision={trainer.precision}: must be one of {', '.join(PRECISIONS)}"
            f"{did_you_mean(trainer.precision, PRECISIONS)}"
        )
    if trainer.precision == "16-mixed":
        if isinstance(optimizer, LBFGS):
            yield (
                "trainer.precision=16-mixed: half precision needs gradient scaling, which L-BFGS "
                "cannot use; use optimizer=adam or trainer.precision=bf16-mixed"
            )
        if trainer.accelerator == "cpu":
            yield "trainer.precision=16-mixed: needs a GPU; use bf16-mixed on the CPU"
    if (
        isinstance(optimizer, LBFGS)
        and optimizer.clamp
        and (optimizer.line_search is LineSearch.strong_wolfe)
    ):
        yield (
            "optimizer.clamp=true: moving the image behind the line search breaks L-BFGS's "
            "curvature estimates; the result is clamped when it is saved; use optimizer=adam"
        )
    if not isinstance(optimizer, LBFGS | Adam):
        yield "optimizer: choose optimizer=lbfgs or optimizer=adam"
    if resolution.ratio <= 1:
        yield f"resolution.ratio={resolution.ratio}: must be greater than 1"
    if any(share <= 0 for share in resolution.shares):
        yield "resolution.shares: every share must be greater than 0"
    levels = len(level_sizes(resolution, config.size)) if resolution.ratio > 1 else 1
    if 1 <= config.steps < levels:
        yield f"steps={config.steps}: the pyramid's {levels} levels need at least one step each"
    if resolution.sizes:
        if not resolution.pyramid:
            yield "resolution.sizes: only a pyramid has several; use resolution=pyramid"
        if resolution.sizes != sorted(set(resolution.sizes)) or resolution.sizes[0] < 1:
            yield "resolution.sizes: must grow from level to level"
        if resolution.sizes[-1] != config.size:
            yield (
                f"resolution.sizes: the last level must be size={config.size}, "
                f"not {resolution.sizes[-1]}"
            )


def check(config: Config) -> None:
    """Raise ConfigError with everything that is wrong with ``config``."""
    parts = (_ranges, _loss, _files, _combinations)
    if problems := [problem for part in parts for problem in part(config)]:
        raise ConfigError(problems)
