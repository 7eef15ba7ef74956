"""Checks of values and of their combinations, without opening a file."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import Any

from nst_exp.config import layer_names
from nst_exp.config.keys import Key, walk
from nst_exp.config.loss_layers import layer_terms, resolve_layers
from nst_exp.config.schema import LBFGS, Adam, Config, ContentLoss, LineSearch, Statistic, StyleLoss
from nst_exp.utils.suggest import as_utf8, did_you_mean

NAMES_OF_TERMS = frozenset(
    ["content", "style", "tv", "range", "total"]
)  # those of loss.more must differ
CHAINS = (*layer_names.VGG_BLOCKS, "alexnet")  # chains of layers, which can be normalized


def value_problems(config: Config) -> Iterator[str]:
    """Yield a line for each value that its key does not allow."""
    for key, value, info in walk(config):
        entries = value if isinstance(value, list) else [value]
        if reason := next(filter(None, (_value_problem(info, entry) for entry in entries)), None):
            every = "every value " if isinstance(value, list) else ""
            yield f"{typed(key, value)}: {every}{reason}"


def combination_problems(config: Config) -> Iterator[str]:
    """Yield a line for each value that does not fit the others."""
    yield from _layers(config)
    yield from _objective(config)
    yield from _backbone(config)
    yield from _trainer(config)
    yield from _optimizer(config)


def typed(key: str, value: Any) -> str:
    """Format ``KEY=VALUE`` as a user types it."""
    if isinstance(value, list):
        entries = [f"{entry:g}" if isinstance(entry, float) else str(entry) for entry in value]
        return f"{key}=[{as_utf8(','.join(entries))}]"
    return f"{key}={as_utf8(str(value))}"


def _value_problem(info: Key, value: Any) -> str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return "must be a finite number"
    if isinstance(value, str) and as_utf8(value) != value:
        return "must be UTF-8; use another name"  # a record could not hold it
    if value is None or info.allows(value):
        return None
    near = did_you_mean(value, info.choices) if isinstance(value, str) else ""
    return f"must be {info.allowed()}{near}"


def _layers(config: Config) -> Iterator[str]:
    for name, term in layer_terms(resolve_layers(config.loss, config.backbone)).items():
        used, weights, key = term.layers, term.weights, f"{name}.layers"
        if not used and (config.alpha if isinstance(term, ContentLoss) else config.beta) > 0:
            yield f"{key}=[]: backbone.name={config.backbone.name} has no default; name a layer"
        if len(set(used)) < len(used):
            twice = next(layer for layer in used if used.count(layer) > 1)
            yield f"{typed(key, used)}: '{twice}' is given twice; remove one"
        if weights and len(weights) != len(used):
            yield (
                f"{typed(f'{name}.weights', weights)}: has {len(weights)} entries for "
                f"{len(used)} layers ({', '.join(used)}); give one for each layer"
            )
        for layer in dict.fromkeys(used):
            if problem := layer_names.layer_problem(config.backbone.name, layer, key):
                yield problem


def _objective(config: Config) -> Iterator[str]:
    loss = config.loss
    parts = [(config.alpha, loss.content.weights), (config.beta, loss.style.weights)]
    parts += [(config.beta * term.weight, term.weights) for term in loss.more.values()]
    if loss.tv.weight == 0 and not any(w and (any(ws) or not ws) for w, ws in parts):
        yield (
            f"alpha={config.alpha:g} beta={config.beta:g}: nothing to optimize, since content and "
            "style both have the weight 0; set one of alpha and beta, and weights of its layers"
        )
    for name, term in layer_terms(loss).items():
        normalized = isinstance(term, StyleLoss) and term.statistic is Statistic.wasserstein2
        if normalized and term.relative:
            yield f"{name}.relative=true: not with {name}.statistic=wasserstein2; leave it out"
    for name in sorted(NAMES_OF_TERMS & set(loss.more)):
        yield f"loss.more.{name}: this name has another meaning in the log; use another"
    if len(loss.tv.channel_std) not in (0, 3):
        yield f"{typed('loss.tv.channel_std', loss.tv.channel_std)}: give three values (R, G, B)"
    if len(config.init.noise_mean) not in (1, 3):
        mean = typed("init.noise_mean", config.init.noise_mean)
        yield f"{mean}: give one value or three (R, G, B)"


def _backbone(config: Config) -> Iterator[str]:
    backbone, folder = config.backbone, config.backbone.calibration
    if not backbone.name:
        yield "backbone.name=: is empty; name a torchvision classifier, such as densenet121"
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


def _trainer(config: Config) -> Iterator[str]:
    trainer = config.trainer
    if trainer.precision == "16-mixed" and isinstance(config.optimizer, LBFGS):
        yield (
            "trainer.precision=16-mixed: half precision needs gradient scaling, which L-BFGS "
            "cannot use; use optimizer=adam or trainer.precision=bf16-mixed"
        )
    if trainer.precision == "16-mixed" and trainer.accelerator == "cpu":
        yield (
            "trainer.precision=16-mixed: needs a GPU; use bf16-mixed on the CPU, or another "
            "trainer.accelerator"
        )
    if trainer.accelerator in ("cpu", "mps") and trainer.device > 0:
        yield (
            f"trainer.device={trainer.device}: trainer.accelerator={trainer.accelerator} has one "
            "device; leave trainer.device out"
        )


def _optimizer(config: Config) -> Iterator[str]:
    optimizer = config.optimizer
    if not isinstance(optimizer, LBFGS | Adam):
        yield "optimizer: choose optimizer=lbfgs or optimizer=adam"
    elif (
        isinstance(optimizer, LBFGS)
        and optimizer.clamp
        and optimizer.line_search is LineSearch.strong_wolfe
    ):
        yield (
            "optimizer.clamp=true: clipping the image after the line search breaks the curvature "
            "estimates of L-BFGS; leave it out (the result is clipped when it is saved), or use "
            "optimizer=adam"
        )
