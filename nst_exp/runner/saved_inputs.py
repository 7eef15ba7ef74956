"""Copies of a run's pictures as it used them, for a figure that is made when they are gone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from nst_exp.config.schema import Config
from nst_exp.images import save_image
from nst_exp.images.tensors import to_array
from nst_exp.results.record import COPIES
from nst_exp.runner.inputs import Inputs, tensors


def claim_copies(
    folder: Path, earlier: dict[str, Any], warn: Callable[[str], None]
) -> dict[str, str]:
    """The copies that a run may make in its folder, from input to name, for its record.

    ``earlier`` is the record of the run that goes on or is done there. A file of that name that is
    not in it is a person's own, perhaps the very input; it stays as it is, and ``warn`` is told.
    """
    claimed = {}
    for key, name in COPIES.items():
        entry = earlier.get("inputs", {}).get(key, {})
        if (folder / name).exists() and entry.get("copy") != name:
            warn(
                f"{folder / name} is there already and no run recorded there has made it: "
                f"it is kept, and a figure of this run has no picture of its {key}"
            )
            continue
        claimed[key] = name
    return claimed


def claim_for_figure(
    folder: Path | None,
    config: Config,
    earlier: dict[str, Any],
    recorded: dict[str, dict[str, str]],
    warn: Callable[[str], None],
) -> dict[str, str]:
    """Note in ``recorded``, a record's inputs, which copies its figure will need."""
    if folder is None or not config.figure.title:
        return {}
    claimed = claim_copies(folder, earlier, warn)
    for key, name in claimed.items():
        recorded[key]["copy"] = name
    return claimed


def write_copies(folder: Path, claimed: dict[str, str], config: Config, inputs: Inputs) -> None:
    """Write what was claimed and is not there yet: JPEG, sRGB, at the run's final size.

    Raises OutputError if a file cannot be written.
    """
    missing = {key: folder / name for key, name in claimed.items() if not (folder / name).exists()}
    if not missing:
        return
    content, style, _ = tensors(config, inputs, config.size)
    for key, path in missing.items():
        path.parent.mkdir(exist_ok=True)
        save_image(to_array({"content": content, "style": style}[key]), path)
