"""The network of a run: its weights or those of its fallback, and its normalization.

Weights, networks and the feature maps of targets are cached, so that the jobs of a sweep in one
process share them.
"""

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
from nst_exp.core.encoder import (
    Encoder,
    build_encoder,
    build_shadow,
    feature_maps,
    reflecting,
)
from nst_exp.core.normalized import normalize_encoder
from nst_exp.results.record import Record
from nst_exp.runner.calibration import load_calibration_images, record_normalization
from nst_exp.runner.inputs import Inputs
from nst_exp.utils.errors import WeightsError
from nst_exp.weights import LoadedWeights, load_weights

log = logging.getLogger(__name__)
V = TypeVar("V")

_MAX_BYTES = 64 * 2**20  # of one target's feature maps; larger ones are computed again


@dataclass(frozen=True)
class _Keyed(Generic[V]):
    """A value that ``lru_cache`` compares by its key only."""

    key: str
    value: V = field(compare=False)


@dataclass(frozen=True)
class Network:
    """A frozen encoder and the loss that reads its layers."""

    encoder: Encoder
    settings: schema.Backbone  # the fallback's if it is used
    loss: schema.Loss  # with the backbone's own layers where the config names none
    cache_key: str  # equal for networks that compute the same

    def target_encoder(self, tiles: bool) -> Encoder:
        """Return the encoder of a target image.

        One that does not tile, such as a style image, is reflected at its borders if the network's
        padding is circular: what meets there by accident is no part of its texture.
        """
        reflects = not tiles and self.settings.padding is schema.Padding.circular
        return reflecting(self.encoder) if reflects else self.encoder

    def maps(
        self, image: Tensor, layers: Sequence[str], key: str, tiles: bool = True
    ) -> dict[str, Tensor]:
        """Compute the feature maps of a target image (1, 3, H, W), whose config key is ``key``.

        Raises:
            ConfigError: If the image is too small.
        """
        pixels = hashlib.sha256(image.cpu().contiguous().numpy().tobytes()).hexdigest()
        of_image = image.shape, image.dtype, image.device, list(layers)
        parts = self.cache_key, pixels, *of_image, tiles

        def compute() -> dict[str, Tensor]:
            maps = feature_maps(self.target_encoder(tiles), image, key)
            return {layer: maps[layer] for layer in layers}

        found = _target_maps(_Keyed(repr(parts), compute))
        if sum(values.nbytes for values in found.values()) > _MAX_BYTES:
            _target_maps.cache_clear()
        return found


def make_network(config: Config, inputs: Inputs, record: Record) -> Network:
    """Build the network of ``config.backbone``, cut after the last layer that the loss reads.

    The record gets the weights, the layers, the normalization, and the fallback if one is used.

    Raises:
        WeightsError: If neither its weights nor those of its fallback are available.
        ConfigError: If it lacks a layer of the loss.
    """
    settings, weights = config.backbone, None
    if settings.weights is schema.Weights.random:
        record.weights = {"source": f"random, seed {config.seed}"}
    else:
        settings, weights = _load_weights_or_fallback(settings, record)
    loss = resolve_layers(config.loss, settings)
    more = {name: term.layers for name, term in loss.more.items()}
    record.layers = {"content": loss.content.layers, "style": loss.style.layers, **more}
    images = load_calibration_images(config, inputs) if settings.normalized else []
    layers, layout = layers_read(loss), (config.trainer.channels_last, config.trainer.winograd)

    def build() -> tuple[Encoder, dict[str, Tensor]]:
        state = weights.state_dict if weights else None
        encoder = build_encoder(settings, layers, state, config.seed, *layout)
        if not images:
            return encoder, {}
        return encoder, normalize_encoder(encoder, settings.name, [i.image for i in images])

    identity = weights.sha256 if weights else config.seed
    calibration = [config.background, *(image.sha256 for image in images)] if images else []
    key = _network_key(settings, identity, layers, *layout, *calibration)
    encoder, means = _build(_Keyed(key, build))
    if images:
        record_normalization(means, images, record)
    return Network(encoder, settings, loss, key)


def reference_network(settings: schema.Backbone) -> Network:
    """Build the network that measures the metrics, cut after the last of its own layers.

    Weights, network and targets are shared with runs of the same settings. A failed download is not
    tried again in this process.

    Raises:
        WeightsError: If its weights are not available.
    """
    weights = _load(_keyed(settings))
    if isinstance(weights, str):
        raise WeightsError(weights)
    loss = resolve_layers(schema.Loss(), settings)
    layers, state = layers_read(loss), weights.state_dict
    key = _network_key(settings, weights.sha256, layers, True, True)
    encoder, _ = _build(_Keyed(key, lambda: (build_encoder(settings, layers, state), {})))
    return Network(encoder, settings, loss, key)


def shadow_network(config: Config) -> Encoder:
    """Build the network of a run on torch's device "meta", without weights.

    Raises:
        ConfigError: If it lacks a layer of the loss.
    """
    settings = config.backbone
    layers = layers_read(resolve_layers(config.loss, settings))
    key = _network_key(settings, layers)
    return _shadow(_Keyed(key, lambda: build_shadow(settings, layers)))


def clear_caches() -> None:
    """Free the memory of everything that is cached for the next run."""
    for cached in (_load, _build, _shadow, _target_maps):
        cached.cache_clear()


def _load_weights_or_fallback(
    asked: schema.Backbone, record: Record
) -> tuple[schema.Backbone, LoadedWeights]:
    """Load the weights of a backbone or of its fallback; return the settings that are used too."""
    used, weights = asked, _load(_keyed(asked))
    if isinstance(weights, str) and asked.fallback is not None:
        used = replace(
            asked.fallback,
            pool=asked.pool,
            pool_scale=asked.pool_scale,
            padding=asked.padding,
            normalized=asked.normalized,
            calibration=asked.calibration,
        )
        log.warning(
            f"backbone={asked.name}: its weights are not available, so the fallback {used.name} is "
            "used; backbone.fallback=null makes this an error"
        )
        record.substituted += [{"backbone": asked.name, "by": used.name, "because": weights}]
        weights = _load(_keyed(used))
    if isinstance(weights, str):
        _load.cache_clear()  # the next run tries again
        raise WeightsError(weights)
    found = {name: getattr(weights, name) for name in ("source", "sha256", "credit")}
    record.weights = {"backbone": used.name, **found}
    return used, weights


@lru_cache(maxsize=4)
def _load(keyed: _Keyed[schema.Backbone]) -> LoadedWeights | str:
    """Load weights, or return why they are not available, so that it is not tried again."""
    try:
        return load_weights(keyed.value)
    except WeightsError as error:
        return str(error)


@lru_cache(maxsize=3)  # two of runs and the reference
def _build(
    keyed: _Keyed[Callable[[], tuple[Encoder, dict[str, Tensor]]]],
) -> tuple[Encoder, dict[str, Tensor]]:
    return keyed.value()


@lru_cache(maxsize=8)
def _shadow(keyed: _Keyed[Callable[[], Encoder]]) -> Encoder:
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
