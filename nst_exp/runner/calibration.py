"""The images on which a network is normalized, and the record of it."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from nst_exp.config.schema import Config, SizeMode
from nst_exp.core.normalized import FLOOR, count_bounded
from nst_exp.images import load_image, named_images, target_size
from nst_exp.images.file_type import file_names
from nst_exp.images.tensors import to_tensor
from nst_exp.results.record import Record
from nst_exp.runner.inputs import Inputs
from nst_exp.utils.errors import ConfigError

log = logging.getLogger(__name__)

SIDE = 256  # every image gets about SIDE * SIDE pixels, so that all have the same weight
_NARROWEST = 64  # pixels that the deepest layers need (AlexNet: 63); an aspect ratio of 16


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
        ConfigError: If no image in the folder can be used.
    """
    folder = config.backbone.calibration
    if folder is None:
        paths = [*named_images().values(), *(image.path for image in inputs.images())]
    else:
        directory = Path(os.path.expanduser(folder))
        visible = [directory / n for n in file_names(directory) if not n.startswith(".")]
        paths = [path for path in visible if path.is_file()]
    images: dict[str, CalibrationImage] = {}
    for path in paths:
        try:
            loaded = load_image(
                path,
                key="backbone.calibration",
                max_megapixels=config.max_megapixels,
                background=config.background,
                hint=SIDE * SIDE // _NARROWEST,
            )
            size = target_size(*loaded.original_size, SIDE, SizeMode.area)
            if min(size) < _NARROWEST:
                raise ConfigError(f"backbone.calibration={path}: it is narrower than 1 : 16")
        except ConfigError as error:
            log.warning(f"not used for calibration: {error}")
            continue
        tensor = to_tensor(loaded.image, size)
        images[loaded.sha256] = CalibrationImage(tensor, path, loaded.sha256)
    if not images:
        raise ConfigError(
            f"backbone.calibration={folder}: no usable image; name a folder of images"
        )
    return list(images.values())


def record_normalization(
    means: Mapping[str, Tensor], images: Sequence[CalibrationImage], record: Record
) -> None:
    """Log and record how a network was normalized, and on which images.

    Raises:
        ConfigError: If an interrupted run in the same folder used other images.
    """
    files = [{"path": str(image.path), "sha256": image.sha256} for image in images]
    earlier = record.normalized["images"] if record.normalized else files
    if {entry["sha256"] for entry in earlier} != {entry["sha256"] for entry in files}:
        raise ConfigError(
            f"out={record.folder}: holds a run whose network was normalized on other images; give "
            "another folder, or overwrite=true to replace it"
        )
    layers = {
        layer: {
            "channels": len(found),
            "bounded": count_bounded(found),
            "mean_before": float(found.mean()),
        }
        for layer, found in means.items()
    }
    bounded = sum(map(count_bounded, means.values()))
    log.info(
        f"normalized to a mean activation of 1 on {len(images)} images; the scales of {bounded} "
        f"channels are bounded (mean below {FLOOR:g} of their layer's)"
    )
    record.normalized = {"images": files, "floor": FLOOR, "layers": layers}
    record.save("running")  # a killed run is compared with this
