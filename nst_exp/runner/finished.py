"""A run that is done already is not repeated."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from PIL import Image

from nst_exp.config.schema import Config
from nst_exp.config.serialize import config_as_dict
from nst_exp.images import load_image
from nst_exp.results.record import write_record
from nst_exp.runner.inputs import Inputs, save_inputs
from nst_exp.runner.resume import CHECKPOINT
from nst_exp.utils.errors import ConfigError

log = logging.getLogger(__name__)


def open_finished(
    folder: Path, config: Config, inputs: Inputs, record: dict[str, Any]
) -> Image.Image:
    """Load the image of a run that is done, and give its record the figure that is asked for now.

    Raises:
        ConfigError: If the image is gone.
        OutputError: If the folder cannot be written to.
    """
    path = folder / config.image
    if not path.is_file():
        raise ConfigError(
            f"out={folder}: the run there is done, but {config.image} is missing; "
            "overwrite=true repeats it"
        )
    log.info("already done: %s", path)
    (folder / CHECKPOINT).unlink(missing_ok=True)  # of a run that was killed at its very end
    asked = config_as_dict(config)
    figure = {key: asked[key] for key in ("panel", "figure")}  # may change without a new run
    if any(record["config"].get(key) != value for key, value in figure.items()):
        record["config"] |= figure
        save_inputs(folder, config, inputs, record["inputs"])
        write_record(folder, record)
    return load_image(path, key="out").image
