"""A run's picture as a file: with the settings that made it inside, and saved somewhere else rather
than not at all."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from torch import Tensor

from nst_exp.config.serialize import config_as_dict
from nst_exp.images.save import save_image
from nst_exp.images.tensors import to_array
from nst_exp.results.record import Record, versions
from nst_exp.runner.module import StyleTransfer
from nst_exp.utils.errors import OutputError


def save_picture(image: Tensor, record: Record, folder: Path | None = None) -> Path | None:
    """Save ``image`` (1, 3, H, W), RGB, in the run's folder, if it has one, or in another.

    Raises OutputError and NumericalError as ``save_image`` does.
    """
    folder = folder or record.folder
    if folder is None:
        return None
    path = folder / record.config.image
    metadata = {
        "Software": f"nst_exp {versions()['nst-exp']}",
        "nst_exp": json.dumps(
            {
                "config": config_as_dict(record.config),
                "inputs": record.values.get("inputs"),
                "weights": record.values.get("weights"),
                "versions": versions(),
            },
            ensure_ascii=False,
        ),
    }
    save_image(to_array(image), path, bit_depth=record.config.bit_depth, metadata=metadata)
    return path


def save_result(image: Tensor, record: Record, warn: Callable[[str], None]) -> Path | None:
    """Save the picture that a run ends with; ``warn`` is told if its folder had gone.

    Raises OutputError, which says where the picture is instead.
    """
    folder = record.folder
    if folder is not None and not folder.is_dir():
        warn(f"{folder} was removed while the run went on; it is made again")
        folder.mkdir(parents=True)
    try:
        return save_picture(image, record)
    except OutputError as error:
        raise OutputError(f"{error}{_saved_somewhere(image, record)}") from error


def rescue(module: StyleTransfer, record: Record) -> str:
    """Save the best image so far, somewhere; the words that say where, for the end of an error."""
    if record.folder is None or (module.start_total is None and module.level == 0):
        return ""
    module.restore_best()
    return _saved_somewhere(module.image(), record)


def _saved_somewhere(image: Tensor, record: Record) -> str:
    for place in (record.folder, None):
        with suppress(OutputError, OSError):
            folder = place or Path(tempfile.mkdtemp(prefix="nst_exp-"))
            folder.mkdir(parents=True, exist_ok=True)  # it may have been removed meanwhile
            return f"; the best image is {save_picture(image, record, folder)}"
    return ""
