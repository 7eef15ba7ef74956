"""A run that is done already is not repeated; what is missing of it is added."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from nst_exp.config.schema import Config
from nst_exp.config.serialize import config_as_dict
from nst_exp.core.metrics import measure
from nst_exp.images import load_image, save_image
from nst_exp.images.tensors import to_tensor
from nst_exp.results import record
from nst_exp.runner.callbacks import snapshot_name
from nst_exp.runner.inputs import Inputs, tensors
from nst_exp.runner.logger import make_logger, result_values, tags_at
from nst_exp.runner.saved_inputs import claim_for_figure, write_copies
from nst_exp.utils.errors import ConfigError

Say = Callable[[str], None]


def revisit(
    folder: Path, config: Config, earlier: dict[str, Any], inputs: Inputs, warn: Say, say: Say
) -> Image.Image:
    """The picture of a run that is done; ``earlier`` is its record, which is brought up to date.

    The same picture may have become a panel of a figure since, or have another label, and a run
    that was stopped while it was measured is measured now. Raises ConfigError if the picture is
    gone, OutputError if nothing can be written.
    """
    path = folder / config.image
    if not path.is_file():
        raise ConfigError(
            f"out={folder}: the run there is done, but {config.image} is not there; "
            "overwrite=true makes it again"
        )
    say(f"already done: {path}")
    before = copy.deepcopy(earlier)
    copies = claim_for_figure(folder, config, earlier, earlier["inputs"], warn)
    words = config_as_dict(config)
    earlier["config"] |= {key: words[key] for key in ("panel", "figure")}
    if earlier != before:
        record.write_record(folder, earlier)
    write_copies(folder, copies, config, inputs)
    picture = load_image(path, key="out").picture
    if not earlier.get("recorded", True) or (config.logging.metrics and not earlier["metrics"]):
        if config.logging.metrics:
            device = torch.device("cpu")
            earlier["metrics"] = metrics_of(picture, config, inputs, device, warn, say)
        _record(folder, config, earlier, picture)
        earlier["recorded"] = True
        record.write_record(folder, earlier)
    return picture


def _record(folder: Path, config: Config, earlier: dict[str, Any], picture: Image.Image) -> None:
    """What a run does behind its end, as far as it has not come to it."""
    pixels = np.asarray(picture)
    if config.logging.snapshots and config.logging.image_every:
        path = folder / "snapshots" / snapshot_name(config.steps)
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            save_image(pixels / 255.0, path)
    logger = make_logger(folder, config.logging, config.steps)
    if logger is None:
        return
    present = tags_at(folder, config.steps)
    values = result_values(earlier["losses"], earlier["metrics"])
    logger.log_metrics({k: v for k, v in values.items() if k not in present}, config.steps)
    if "image" not in present:
        logger.experiment.add_image("image", pixels, config.steps, dataformats="HWC")
    logger.close()


def metrics_of(
    picture: Image.Image, config: Config, inputs: Inputs, device: torch.device, warn: Say, say: Say
) -> dict[str, float]:
    """The metrics of a run's saved picture."""
    content, style, _ = tensors(config, inputs, config.size)
    return measure(to_tensor(picture, None), content, style, device, warn, say)
