"""A run that is done already is not repeated; what is missing of it is added."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from nst_exp import record
from nst_exp.config import Config
from nst_exp.copies import claim_for_figure, write_copies
from nst_exp.errors import ConfigError
from nst_exp.images import load_image
from nst_exp.images.tensors import to_tensor
from nst_exp.inputs import Inputs, tensors
from nst_exp.metrics import measure
from nst_exp.tensorboard import log_result, make_logger

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
    words = record.config_as_dict(config)
    earlier["config"] |= {key: words[key] for key in ("panel", "figure")}
    if earlier != before:
        record.write_record(folder, earlier)
    write_copies(folder, copies, config, inputs)
    picture = load_image(path, key="out").picture
    if config.logging.metrics and not earlier["metrics"]:
        earlier["metrics"] = metrics_of(picture, config, inputs, torch.device("cpu"), warn, say)
        record.write_record(folder, earlier)
        if logger := make_logger(folder, config.logging, config.steps):
            log_result(logger, earlier["losses"], earlier["metrics"], config.steps)
            logger.close()
    return picture


def metrics_of(
    picture: Image.Image, config: Config, inputs: Inputs, device: torch.device, warn: Say, say: Say
) -> dict[str, float]:
    """The metrics of a run's saved picture."""
    content, style, _ = tensors(config, inputs, config.size)
    return measure(to_tensor(picture, None), content, style, device, warn, say)
