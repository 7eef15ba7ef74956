"""The network of a run: its weights or those of its fallback, and its normalization.

Weights, networks and the feature maps of targets are cached, so that the jobs of a sweep in one
process share them.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import Generic, TypeVar

from torch import Tensor

from nst_exp.config import schema
from nst_exp.config.loss_layers import layers_read, resolve_layers
from nst_exp.config.schema import Config
from nst_exp.config.serialize import plain
from nst_exp.core.encoder import Encoder, build_encoder, feature_maps
from nst_exp.core.normalized import normalize_encoder
from nst_exp.results.record import Record
from nst_exp.runner.calibration import Means, load_calibration_images, record_normalization
from nst_exp.runner.inputs import Inputs
from nst_exp.utils.errors import WeightsError
from nst_exp.weights import LoadedWeights, load_weights

log = logging.getLogger(__name__)
V = TypeVar("V")

_MAX_BYTES = 256 * 2**20  # of one target's feature maps; larger ones are computed again


@dataclass(frozen=True)
class _Keyed(Generic[V]):
    """A value that ``lru_cache`` compares by its key only."""

    key: str
    value: V = field(compare=False)


@dataclass(frozen=True)
class _Weights:
    """Loaded weights, and the settings that they belong to."""

    loaded: LoadedWeights
    settings: schema.Backbone  # the fallback's if there is a failure
    failure: str = ""  # why the weights of the backbone itself are not available


@dataclass(frozen=True)
class Network:
    """A frozen encoder and the loss that reads its layers."""

    encoder: Encoder
    settings: schema.Backbone  # the fallback's if it is used
    loss: schema.Loss  # with the backbone's own layers where the config names none
    cache_key: str  # equal for networks that compute the same

    def maps(self, image: Tensor, layers: Sequence[str], key: str) -> dict[str, Tensor]:
        """Compute the feature maps of a target image at some layers.

        Args:
            image: Target of shape (1, 3, H, W).
            layers: Names of layers.
            key: Config key of the image, for messages.

        Raises:
            ConfigError: If the image is too small.
        """
        pixels = hashlib.sha256(image.cpu().contiguous().numpy().tobytes()).hexdigest()
        parts = self.cache_key, pixels, image.shape, image.dtype, image.device, list(layers)

        def compute() -> dict[str, Tensor]:
            maps = feature_maps(self.encoder, image, key)
            return {layer: maps[layer] for layer in layers}

        found = _target_maps(_Keyed(repr(parts), compute))
        if sum(values.nbytes for values in found.values()) > _MAX_BYTES:
            _target_maps.cache_clear()
        return found


def make_network(config: Config, inputs: Inputs, record: Record) -> Network:
    """Build the network of ``config.backbone``, cut after the last layer that the loss reads.

    The record gets the weights, the layers, and the fallback if one is used.

    Raises:
        WeightsError: If neither its weights nor those of its fallback are available.
        ConfigError: If it lacks a layer of the loss.
    """
    settings, weights = config.backbone, None
    if settings.weights is schema.Weights.random:
        identity = f"random, seed {config.seed}"
        record.weights = {"source": identity}
    else:
        found = _load(_keyed(settings))
        settings, weights, identity = found.settings, found.loaded, found.loaded.sha256
        _record_weights(config.backbone, found, record)
    loss = resolve_layers(config.loss, settings)
    record.layers = {
        "content": loss.content.layers,
        "style": loss.style.layers,
        **{name: term.layers for name, term in loss.more.items()},
    }
    images = load_calibration_images(config, inputs) if settings.normalized else []
    layout = config.trainer.channels_last, config.trainer.winograd

    def build() -> tuple[Encoder, Means]:
        state = weights.state_dict if weights else None
        encoder = build_encoder(settings, layers_read(loss), state, config.seed, *layout)
        if not images:
            return encoder, {}
        return encoder, normalize_encoder(encoder, settings.name, (i.image for i in images))

    calibration = [*(image.sha256 for image in images), config.background] if images else []
    key = _network_key(settings, identity, layers_read(loss), *layout, *calibration)
    encoder, means = _build(_Keyed(key, build))
    if means:
        record_normalization(means, images, record)
    return Network(encoder, settings, loss, key)


def reference_network(settings: schema.Backbone) -> Network:
    """Build the network that measures the metrics, cut after the last of its own layers.

    Weights, network and targets are shared with runs of the same settings. A failed download is not
    tried again in this process.

    Raises:
        WeightsError: If its weights are not available.
    """
    settings = replace(settings, fallback=None)
    weights = _load_or_explain(_keyed(settings))
    if isinstance(weights, str):
        raise WeightsError(weights)
    loss = resolve_layers(schema.Loss(), settings)
    layers, state = layers_read(loss), weights.state_dict
    key = _network_key(settings, weights.sha256, layers, True, True)
    encoder, _ = _build(_Keyed(key, lambda: (build_encoder(settings, layers, state), {})))
    return Network(encoder, settings, loss, key)


def clear_caches() -> None:
    """Free the memory of everything that is cached for the next run."""
    for cached in (_load, _load_or_explain, _build, _target_maps):
        cached.cache_clear()


@lru_cache(maxsize=4)
def _load(keyed: _Keyed[schema.Backbone]) -> _Weights:
    """Load the weights of a backbone, or else those of its fallback."""
    asked = keyed.value
    try:
        return _Weights(load_weights(asked), asked)
    except WeightsError as error:
        if asked.fallback is None:
            raise
        failure = str(error)
    fallback = replace(
        asked.fallback,
        pool=asked.pool,
        pool_scale=asked.pool_scale,
        padding=asked.padding,
        normalized=asked.normalized,
        calibration=asked.calibration,
    )
    return _Weights(load_weights(fallback), fallback, failure)


@lru_cache(maxsize=1)
def _load_or_explain(keyed: _Keyed[schema.Backbone]) -> LoadedWeights | str:
    """Load the weights of the reference network; return why if they are not available."""
    try:
        return _load(keyed).loaded
    except WeightsError as error:
        return str(error)


@lru_cache(maxsize=3)  # two of runs and the reference
def _build(
    keyed: _Keyed[Callable[[], tuple[Encoder, Means]]],
) -> tuple[Encoder, Means]:
    return keyed.value()


@lru_cache(maxsize=4)
def _target_maps(keyed: _Keyed[Callable[[], dict[str, Tensor]]]) -> dict[str, Tensor]:
    return keyed.value()


def _keyed(settings: schema.Backbone) -> _Keyed[schema.Backbone]:
    key = json.dumps(plain(asdict(settings)))
    if settings.file is not None and os.path.isfile(path := os.path.expanduser(settings.file)):
        status = os.stat(path)  # the file may be another one at the next run
        key += f" {status.st_mtime_ns} {status.st_size}"
    return _Keyed(key, settings)


def _network_key(settings: schema.Backbone, *parts: object) -> str:
    """Return a key of all that decides what a network computes."""
    return json.dumps([plain(asdict(replace(settings, fallback=None))), *parts])


def _record_weights(asked: schema.Backbone, weights: _Weights, record: Record) -> None:
    used, loaded = weights.settings, weights.loaded
    if weights.failure:
        log.warning(
            f"backbone={asked.name}: its weights are not available, so the fallback {used.name} is "
            "used; backbone.fallback=null makes this an error"
        )
        substitution = {"backbone": asked.name, "by": used.name, "because": weights.failure}
        record.substituted.append(substitution)
    record.weights = {
        "backbone": used.name,
        "source": loaded.source,
        "sha256": loaded.sha256,
        "credit": loaded.credit,
    }
