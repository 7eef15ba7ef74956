"""The images on which a network is normalized, and the record of it."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from nst_exp.config.schema import Config, SizeMode
from nst_exp.core.normalized import FLOOR, count_bounded
from nst_exp.images import load_image, named_images, target_size
from nst_exp.images.tensors import to_tensor
from nst_exp.results.record import Record
from nst_exp.runner.inputs import Inputs
from nst_exp.utils.errors import ConfigError

log = logging.getLogger(__name__)

SIDE = 256  # every image gets about SIDE * SIDE pixels, so that all have the same weight
_NARROWEST = 64  # pixels that the deepest layers need (AlexNet: 63); an aspect ratio of 16
_LONGEST = SIDE * SIDE // _NARROWEST


Means = dict[str, Tensor]
"""Mean activation of each channel before normalization, by layer; {} without normalization."""


@dataclass(frozen=True)
class CalibrationImage:
    """An image of about 256 x 256 pixels, its aspect ratio kept."""

    image: Tensor  # (1, 3, H, W), RGB in 0..1, float32
    path: Path
    sha256: str  # of the file


def load_calibration_images(config: Config, inputs: Inputs) -> list[CalibrationImage]:
    """Load the images in ``backbone.calibration``, or the packaged images and the run's own.

    Files that are not images, and images too narrow for the deepest layers, are left out with a
    warning. Equal files count once.

    Raises:
        ConfigError: If there is no such folder, or no image in it can be used.
    """
    folder = config.backbone.calibration
    if folder is None:
        packaged = [("packaged", path) for path in named_images().values()]
        own = [(key, inputs.loaded[key].path) for key in ("content", "style")]
        files = [*packaged, *own]
    else:
        files = [("backbone.calibration", path) for path in _files_in(folder)]
    images: dict[str, CalibrationImage] = {}
    for key, path in files:
        try:
            loaded = load_image(
                path,
                key=key,
                max_megapixels=config.max_megapixels,
                background=config.background,
                hint=_LONGEST,
            )
        except ConfigError as error:
            for problem in error.problems:
                log.warning(f"not used for calibration: {problem}")
            continue
        for warning in loaded.warnings:
            log.warning(warning)
        width, height = target_size(*loaded.original_size, SIDE, SizeMode.area)
        if min(width, height) < _NARROWEST:
            log.warning(f"not used for calibration: {key}={path}: it is narrower than 1 : 16")
            continue
        image = to_tensor(loaded.image, (width, height))
        images.setdefault(loaded.sha256, CalibrationImage(image, path, loaded.sha256))
    if not images:
        raise ConfigError(
            f"backbone.calibration={folder}: none of the files there is an image that can be used; "
            "name a folder of images"
        )
    return list(images.values())


def record_normalization(means: Means, images: list[CalibrationImage], record: Record) -> None:
    """Record how a network was normalized, and on which images.

    Raises:
        ConfigError: If an interrupted run in the same folder used other images.
    """
    layers = {
        layer: {
            "channels": len(found),
            "bounded": count_bounded(found),
            "mean_before": float(found.mean()),
        }
        for layer, found in means.items()
    }
    names = ", ".join(image.path.name for image in images[:8]) + ", ..." * (len(images) > 8)
    bounded, channels = (sum(map(count, means.values())) for count in (count_bounded, len))
    log.info(
        f"normalized to a mean activation of 1 on {len(images)} images ({names}): {bounded} of "
        f"{channels} channels are bounded (mean below {FLOOR:g} of their layer's)"
    )
    files = [{"path": str(image.path), "sha256": image.sha256} for image in images]
    earlier = (record.normalized or {}).get("pictures", files)
    if {entry["sha256"] for entry in earlier} != {entry["sha256"] for entry in files}:
        raise ConfigError(
            f"out={record.folder}: holds a run whose network was normalized on other images; give "
            "another folder, or overwrite=true to replace it"
        )
    record.normalized = {"pictures": files, "floor": FLOOR, "layers": layers}
    record.save("running")  # a killed run is compared with this


def _files_in(folder: str) -> list[Path]:
    """List the files of a folder by name, without hidden ones such as .DS_Store."""
    try:
        found = [entry for entry in Path(os.path.expanduser(folder)).iterdir() if entry.is_file()]
    except OSError as error:
        raise ConfigError(
            f"backbone.calibration={folder}: cannot be read ({error.strerror}); name a folder of "
            "images"
        ) from error
    return sorted(path for path in found if not path.name.startswith("."))
