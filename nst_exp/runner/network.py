"""A run's network: weights, the stand-in where they cannot be had, normalization.

Weights, networks and the feature maps of targets are kept for the next run of the same process, so
that the jobs of a sweep share them.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any, Generic, TypeVar

from torch import Tensor

from nst_exp.config import schema
from nst_exp.config.loss_layers import layers_read, resolve_layers
from nst_exp.config.schema import Config
from nst_exp.config.serialize import plain
from nst_exp.core.encoder import Encoder, build_encoder, feature_maps
from nst_exp.core.normalized import FLOOR, count_bounded, normalize_encoder
from nst_exp.results.record import Record
from nst_exp.runner import calibration
from nst_exp.runner.inputs import Inputs
from nst_exp.utils.errors import ConfigError, WeightsError
from nst_exp.weights import LoadedWeights, is_cached, load_weights
from nst_exp.weights.presets import read_preset

Say = Callable[[str], None]
V = TypeVar("V")
REFERENCE = "vgg16"  # preset of the network that every run's metrics are measured with


class _Recent(Generic[V]):
    """The values of the last few keys."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.values: OrderedDict[str, V] = OrderedDict()

    def get(self, key: str) -> V | None:
        if key in self.values:
            self.values.move_to_end(key)
        return self.values.get(key)

    def put(self, key: str, value: V) -> None:
        self.values[key] = value
        while len(self.values) > self.most:
            self.values.popitem(last=False)


@dataclass(frozen=True)
class _Obtained:
    """Weights, and the settings that they are for: the stand-in's where there is a ``reason``."""

    weights: LoadedWeights
    settings: schema.Backbone
    reason: str | None


@dataclass(frozen=True)
class Network:
    """A frozen backbone; ``mark`` is the same for networks that compute the same."""

    backbone: Encoder
    settings: schema.Backbone  # a stand-in's, where it is one
    loss: schema.Loss  # with the backbone's own layers where the config names none
    mark: str

    def maps(self, image: Tensor, layers: Sequence[str], key: str) -> dict[str, Tensor]:
        """The feature maps of a target ``image`` (1, 3, H, W) at these layers.

        ``key`` is the image's config key. Raises ConfigError if the image is too small.
        """
        pixels = hashlib.sha256(image.cpu().contiguous().numpy().tobytes()).hexdigest()
        parts = (self.mark, pixels, *image.shape, image.dtype, image.device, *layers)
        name = "|".join(map(str, parts))
        found = _maps.get(name)
        if found is None:
            every = feature_maps(self.backbone, image, key)
            found = {layer: every[layer] for layer in layers}
            if sum(values.nbytes for values in found.values()) <= _MOST_BYTES:
                _maps.put(name, found)
        return found


_MOST_BYTES = 256 * 2**20  # of one target's feature maps; larger ones are computed again

_obtained: _Recent[_Obtained] = _Recent(4)
_networks: _Recent[Encoder] = _Recent(3)  # two of runs and the reference
_maps: _Recent[dict[str, Tensor]] = _Recent(4)
_missing: _Recent[str] = _Recent(1)  # why the reference's weights could not be had


def forget() -> None:
    """Give back the memory of what is kept for the next run."""
    for kept in (_obtained, _networks, _maps, _missing):
        kept.values.clear()


def make_network(config: Config, inputs: Inputs, record: Record, warn: Say, say: Say) -> Network:
    """The network of ``config.backbone``, cut behind the last layer that the loss reads.

    What it is made of goes into the record. Raises WeightsError where neither its weights nor its
    stand-in's can be had, and ConfigError for a layer that it lacks.
    """
    settings, weights = config.backbone, None
    if settings.weights is schema.Weights.random:
        mark = f"random, seed {config.seed}"
        record.weights = {"source": mark}
    else:
        obtained = _obtain(settings, say)
        settings, weights = obtained.settings, obtained.weights
        _note(config.backbone, obtained, record, warn)
        mark = weights.sha256
    loss = resolve_layers(config.loss, settings)
    record.layers = {
        "content": loss.content.layers,
        "style": loss.style.layers,
        **{name: term.layers for name, term in loss.more.items()},
    }
    wanted = layers_read(loss)
    layout = config.trainer.channels_last, config.trainer.winograd
    parts = _parts(settings, mark, wanted, *layout)
    pictures = None
    if settings.normalized:
        pictures = _calibration_pictures(config, settings, inputs, warn)
        parts += [picture.sha256 for picture in pictures] + [config.background]
    name = "|".join(map(str, parts))
    backbone = _networks.get(name)
    if backbone is None or pictures is not None:
        backbone = build_encoder(
            settings,
            wanted,
            weights.state_dict if weights else None,
            config.seed,
            *layout,
        )
        if pictures is not None:
            _normalize(backbone, settings, pictures, record, say)
        _networks.put(name, backbone)
    return Network(backbone, settings, loss, name)


@cache
def _reference_settings() -> schema.Backbone:
    return read_preset(REFERENCE)


def reference_network(say: Say) -> Network:
    """The network of the preset ``REFERENCE``, cut behind its last layer, whatever a run uses.

    Weights, network and targets are shared with runs of the same settings. ``say`` is given what
    load_weights reports. Raises WeightsError where the weights cannot be had; a download that
    failed is not tried again in this process, as each try may wait for a network that is not there.
    """
    settings = copy.deepcopy(_reference_settings())
    reason = _missing.get(REFERENCE)
    if reason is not None and not is_cached(settings):
        raise WeightsError(reason)
    try:
        weights = _obtain(settings, say).weights
    except WeightsError as error:
        _missing.put(REFERENCE, str(error))
        raise
    loss = schema.Loss()
    loss.content.layers, loss.style.layers = settings.content_layers, settings.style_layers
    wanted = list(dict.fromkeys([*loss.content.layers, *loss.style.layers]))
    name = "|".join(map(str, _parts(settings, weights.sha256, wanted, True, True)))
    backbone = _networks.get(name)
    if backbone is None:
        backbone = build_encoder(settings, wanted, weights.state_dict)
        _networks.put(name, backbone)
    return Network(backbone, settings, loss, name)


def _parts(
    settings: schema.Backbone,
    mark: str,
    wanted: list[str],
    channels_last: bool,
    winograd: bool,
) -> list[object]:
    """What a network is told by."""
    return [_text(settings), mark, *wanted, channels_last, winograd]


def _text(settings: schema.Backbone) -> str:
    return json.dumps({key: plain(value) for key, value in asdict(settings).items()})


def _obtain(settings: schema.Backbone, say: Say) -> _Obtained:
    name = _text(settings)
    if settings.file is not None:
        with_status = os.stat(os.path.expanduser(settings.file))
        name += f"|{with_status.st_mtime_ns}|{with_status.st_size}"
    if (known := _obtained.get(name)) is not None:
        return known
    try:
        found = _Obtained(load_weights(settings, report=say), settings, None)
    except WeightsError as error:
        if settings.fallback is None:
            raise
        stand_in = replace(
            read_preset(settings.fallback),
            pool=settings.pool,
            pool_scale=settings.pool_scale,
            padding=settings.padding,
            normalized=settings.normalized,
            calibration=settings.calibration,
        )
        found = _Obtained(load_weights(stand_in, report=say), stand_in, str(error))
    _obtained.put(name, found)
    return found


def _note(asked: schema.Backbone, obtained: _Obtained, record: Record, warn: Say) -> None:
    """Say and record where the weights are from, and what stands in for what."""
    weights, used = obtained.weights, obtained.settings
    if obtained.reason is not None:
        warn(
            f"backbone={asked.name}: its weights cannot be had, so {asked.fallback} stands in; "
            "backbone.fallback=null makes this an error"
        )
        record.substituted.append(
            {"backbone": asked.name, "by": used.name, "because": obtained.reason}
        )
    for warning in weights.warnings:
        if warning not in record.warnings:  # load_weights has said it already
            record.warnings.append(warning)
    record.weights = {
        "source": weights.source,
        "sha256": weights.sha256,
        "credit": weights.credit,
    }


def _calibration_pictures(
    config: Config, settings: schema.Backbone, inputs: Inputs, warn: Say
) -> list[calibration.CalibrationPicture]:
    if settings.calibration is None:
        own = {key: inputs.loaded[key].path for key in ("content", "style")}
        files = [*calibration.packaged(), *own.items()]
    else:
        files = calibration.files_in(settings.calibration, key="backbone.calibration")
    return calibration.load_pictures(
        files, warn, max_megapixels=config.max_megapixels, background=config.background
    )


def _normalize(
    backbone: Encoder,
    settings: schema.Backbone,
    pictures: list[calibration.CalibrationPicture],
    record: Record,
    say: Say,
) -> None:
    """Rescale the network, as it will be used, and write down on which pictures."""
    means = normalize_encoder(backbone, settings.name, (p.image for p in pictures))
    names = ", ".join(picture.path.name for picture in pictures[:8])
    more = ", ..." if len(pictures) > 8 else ""
    bounded = sum(map(count_bounded, means.values()))
    channels = sum(map(len, means.values()))
    say(
        f"normalized to a mean activation of 1 on {len(pictures)} images ({names}{more}): "
        f"{bounded} of {channels} channels are bounded (mean below {FLOOR:g} of their layer's)"
    )
    found: dict[str, Any] = {
        "pictures": [{"path": str(p.path), "sha256": p.sha256} for p in pictures],
        "floor": FLOOR,
        "layers": {
            layer: {
                "channels": len(found),
                "bounded": count_bounded(found),
                "mean_before": float(found.mean()),
            }
            for layer, found in means.items()
        },
    }
    before = copy.deepcopy(record.normalized or found)["pictures"]
    if {p["sha256"] for p in before} != {p["sha256"] for p in found["pictures"]}:
        raise ConfigError(
            f"out={record.folder}: holds a run whose network was normalized on other pictures; "
            "give another folder, or overwrite=true to replace it"
        )
    record.normalized = found
    record.save("running")  # a run that is killed is compared with this
