"""A run's image as a file, with the settings that made it inside."""

import json
import logging
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from torch import Tensor

from nst_exp.config.output import image_of
from nst_exp.config.schema import Config
from nst_exp.config.serialize import config_as_dict
from nst_exp.images.film import write_film
from nst_exp.images.save import save_image
from nst_exp.images.tensors import to_array
from nst_exp.results.record import Record, versions
from nst_exp.utils.atomic_files import write_bytes_atomically

log = logging.getLogger(__name__)


def save_run_image(image: Tensor, record: Record, folder: Path | None = None) -> Path | None:
    """Save an image, RGB (1, 3, H, W), in the run's folder or another; its record goes inside.

    Returns:
        The file, which ``out`` may name; None for a run without a folder.

    Raises:
        OutputError: If the file cannot be written.
        NumericalError: If a value is not finite.
    """
    folder = folder or record.folder
    if folder is None:
        return None
    path = folder / record.config.image
    settings = {
        "config": config_as_dict(record.config),
        "inputs": record.inputs,
        "weights": record.weights,
        "versions": versions(),
        "overrides": record.overrides,
    }
    program = f"nst_exp {versions()['nst-exp']}"
    metadata = {"Software": program, "nst_exp": json.dumps(settings)}
    save_image(to_array(image), path, bit_depth=record.config.bit_depth, metadata=metadata)
    return copy_to_out(path, record.config) if folder == record.folder else path


def copy_to_out(path: Path, config: Config) -> Path:
    """Copy a run's image to the file that ``out`` names, if it names one, and return that."""
    file = image_of(config.out)
    if file is not None:
        write_bytes_atomically(file, path.read_bytes())
    return file or path


def save_film(config: Config, folder: Path | None) -> None:
    """Write the film of a run's snapshots, if the config asks for one; log its path."""
    if config.film is None or folder is None:
        return
    path, frames = folder / config.film, sorted((folder / "snapshots").glob("step_*.png"))
    if not frames:
        log.warning(f"film={path.name}: not written, because the run has no snapshots")
        return
    if not path.is_file() or path.stat().st_mtime < frames[-1].stat().st_mtime:
        write_film(frames, path)
    log.info(f"film: {path}")


def save_best_image(best_image: Callable[[], Tensor | None], record: Record) -> str:
    """Save the best image of a run that ends early, in the system's temporary folder if need be.

    Returns:
        The end of a message that names the file; empty if nothing was saved.
    """
    for folder in (record.folder, None) if record.folder is not None else ():
        with suppress(Exception):  # the reason why the run ends matters more
            if (image := best_image()) is None:
                break
            folder = folder or Path(tempfile.mkdtemp(prefix="nst_exp-"))
            return f"; the best image is {save_run_image(image, record, folder)}"
    return ""
