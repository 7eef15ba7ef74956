"""Every value that can be judged without torch is judged here; all problems come in one message."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from nst_exp.app.compose import groups
from nst_exp.config import layer_names as layers
from nst_exp.config.schema import LBFGS, Adam, Config, LineSearch, Statistic
from nst_exp.config.validate_sizes import size_problems
from nst_exp.images.validate import file_problems
from nst_exp.utils.errors import ConfigError, as_utf8, did_you_mean

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "64-true")
ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")
CHAINS = (*layers.VGG_BLOCKS, "alexnet")  # plain ones, which backbone.normalized can rescale

MANY = 1_000_000_000  # steps; more would overflow counters, and no one waits for them

# key: (least, largest) that is allowed. Keys that must be greater than 0: POSITIVE.
RANGES: dict[str, tuple[float, float]] = {
    "alpha": (0, math.inf),
    "beta": (0, math.inf),
    "steps": (1, MANY),
    "seed": (0, 2**32 - 1),
    "size": (1, 65_535),
    "resolution.style_size": (1, 65_535),
    "resolution.min_size": (1, 65_535),
    "resolution.averaging": (0, 0.999999),
    "optimizer.max_restarts": (0, 1000),
    "optimizer.milestones": (1, MANY),
    "optimizer.gamma": (0, 1),
    "optimizer.history": (1, 10_000),
    "optimizer.max_evaluations": (1, 10_000),
    "optimizer.beta1": (0, 0.999999),
    "optimizer.beta2": (0, 0.99999999),
    "optimizer.parametrization.decay": (0, 4),
    "loss.content.a": (-10, 10),
    "loss.content.b": (-10, 10),
    "loss.style.a": (-10, 10),
    "loss.style.b": (-10, 10),
    "loss.tv.weight": (0, math.inf),
    "loss.range_weight": (0, math.inf),
    "init.noise_scale": (0, math.inf),
    "init.noise_ratio": (0, 1),
    "trainer.device": (0, 1024),
    "trainer.threads": (1, 4096),
    "logging.every": (1, MANY),
    "logging.image_every": (0, MANY),
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
    "optimizer.parametrization.pixel_scale",
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
                plain = number < low and high in (MANY, math.inf)
                bound = f"at least {low}" if plain else f"from {low} to {high}"
                yield f"{key}={number}: must be {bound}"
            elif key in POSITIVE and number <= 0:
                yield f"{key}={number}: must be greater than 0"


def _texts(config: Config) -> Iterator[str]:
    """Names that no record could hold: bytes of another encoding."""
    for key, value in _leaves(config):
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and as_utf8(text) != text:
                yield f"{key}={as_utf8(text)}: is not UTF-8; take a name that is"


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
                f"{key}=[]: name at least one layer; backbone.name={config.backbone.name} has no "
                "default"
            )
        for layer in sorted({layer for layer in used if used.count(layer) > 1}):
            yield f"{_listed(key, used)}: '{layer}' stands there twice; once is enough"
        weights = _listed(f"loss.{part}.weights", settings.weights)
        if settings.weights and len(settings.weights) != len(used):
            yield (
                f"{weights}: {len(settings.weights)} entries, but {key} has {len(used)} "
                f"({', '.join(used)}); give one for each layer"
            )
        yield from (
            f"{weights}: {weight:g} is negative; every weight must be at least 0"
            for weight in settings.weights
            if weight < 0
        )
        for layer in dict.fromkeys(used):
            if problem := layers.problem(config.backbone.name, layer, key):
                yield problem
    style, tv = config.loss.style, config.loss.tv
    if style.statistic is Statistic.wasserstein2 and style.relative:
        yield "loss.style.relative=true: only with loss.style.statistic=gram; leave one of them out"
    for key, values, lengths in (
        ("loss.tv.channel_std", tv.channel_std, (0, 3)),
        ("init.noise_mean", config.init.noise_mean, (1, 3)),
    ):
        if len(values) not in lengths:
            names = {0: "none", 1: "one value", 3: "three (R, G, B)"}
            yield (
                f"{_listed(key, values)}: has {len(values)} values; give "
                f"{' or '.join(names[n] for n in lengths)}"
            )


def _nothing_to_do(config: Config) -> Iterator[str]:
    if config.loss.tv.weight != 0:
        return
    weights = {"alpha": config.loss.content.weights, "beta": config.loss.style.weights}
    if all(
        getattr(config, key) == 0 or (found and not any(found)) for key, found in weights.items()
    ):
        yield (
            f"alpha={config.alpha:g} beta={config.beta:g}: nothing to optimize, since content and "
            "style both have the weight 0; set one of alpha and beta, and weights of its layers"
        )


def _normalized(config: Config) -> Iterator[str]:
    name, folder = config.backbone.name, config.backbone.calibration
    if folder is not None and not config.backbone.normalized:
        yield (
            f"backbone.calibration={folder}: only read with backbone.normalized=true; add that, or "
            "leave it out"
        )
    elif folder is not None and not os.path.isdir(os.path.expanduser(folder)):
        yield f"backbone.calibration={folder}: no such folder; name a folder of pictures"
    # Others are told apart when they are built; these need not be fetched for that.
    if config.backbone.normalized and layers.aliases(name) and name not in CHAINS:
        yield (
            "backbone.normalized=true: needs a chain of convolutions, ReLUs and pooling "
            f"({', '.join(CHAINS)}), which {name} is not"
        )


def _listed(key: str, values: list[Any]) -> str:
    """``key=[1,2]`` as it is typed."""
    return f"{key}=[{','.join(f'{v:g}' if isinstance(v, float) else str(v) for v in values)}]"


def _combinations(config: Config) -> Iterator[str]:
    if not config.backbone.name:
        yield "backbone.name=: is empty; name a torchvision classifier, such as densenet121"
    fallback = config.backbone.fallback
    if fallback is not None and fallback not in groups()["backbone"]:
        yield (
            f"backbone.fallback={fallback}: no such preset"
            f"{did_you_mean(fallback, groups()['backbone']) or '; see python -m nst_exp --help'}"
        )
    for kind in config.figure.inputs:
        if kind not in ("content", "style"):
            yield (
                f"{_listed('figure.inputs', config.figure.inputs)}: '{kind}' must be content or "
                f"style{did_you_mean(kind, ('content', 'style'))}"
            )
    yield from _normalized(config)
    trainer, optimizer = config.trainer, config.optimizer
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
            yield (
                "trainer.precision=16-mixed: needs a GPU; use bf16-mixed on the CPU, or another "
                "trainer.accelerator"
            )
    if trainer.accelerator in ("cpu", "mps") and trainer.device > 0:
        yield (
            f"trainer.device={trainer.device}: trainer.accelerator={trainer.accelerator} has one "
            "device; leave trainer.device out"
        )
    if (
        isinstance(optimizer, LBFGS)
        and optimizer.clamp
        and (optimizer.line_search is LineSearch.strong_wolfe)
    ):
        yield (
            "optimizer.clamp=true: moving the image behind the line search breaks L-BFGS's "
            "curvature estimates; the result is clamped when it is saved; leave it out, or use "
            "optimizer=adam"
        )
    if not isinstance(optimizer, LBFGS | Adam):
        yield "optimizer: choose optimizer=lbfgs or optimizer=adam"


def problems_of(config: Config) -> list[str]:
    """Everything that is wrong with ``config``, a line for each."""
    parts = (_ranges, _texts, _loss, _nothing_to_do, file_problems, _combinations, size_problems)
    return [problem for part in parts for problem in part(config)]


def check(config: Config) -> None:
    """Raise ConfigError with everything that is wrong with ``config``."""
    if problems := problems_of(config):
        raise ConfigError(problems)
