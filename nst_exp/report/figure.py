"""Figures of finished runs: ``python -m nst_exp.report.figure FOLDER... [--out FILE]``.

Which panels there are, what is written below them and how they are laid out is in the runs'
records (the config's section ``figure``); the layout itself is in ``layout``.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from nst_exp.images import load_image
from nst_exp.report.drawings import drawn_by, save_drawing
from nst_exp.report.grid import Panel, draw
from nst_exp.results.record import SAVED_INPUTS
from nst_exp.results.run_folder import RunFolder, find_run_folders, read_run_folder
from nst_exp.utils.errors import ConfigError, NstError, OutputError

__all__ = ["NAME", "main", "write_figure", "write_figures"]

NAME = "figure.png"
_SOFTWARE = "nst_exp figure"  # in the file: only figures are replaced by figures
_NO_PICTURE = {"running": "unfinished"}  # other states are words for a person as they are


def write_figure(jobs: Sequence[Path], target: Path) -> Path | None:
    """Draw the runs in the folders ``jobs``, in this order, as one figure; written to ``target``.

    Title, columns, input panels and insets are those of the first that asks for a figure; runs
    that ask for none are left out. A run without a finished picture has an empty frame. Returns
    ``target``, or None if no run asks for a figure. Raises OutputError if ``target`` cannot be
    written, or is a file that is no figure made here.
    """
    wanted = [job for job in map(read_run_folder, jobs) if job.title]
    if not wanted:
        return None
    figure = wanted[0].figure
    kinds = [kind for kind in figure.get("inputs") or [] if kind in SAVED_INPUTS]
    panels = [panel for kind in kinds for panel in _input_panels(wanted, kind)]
    panels += [_panel(job, bool(figure.get("inset"))) for job in wanted]
    columns = int(figure.get("columns") or len(panels))
    _save(draw(wanted[0].title, panels, columns, _settings(wanted)), target)
    return target


def write_figures(jobs: Sequence[Path], target: Path) -> list[Path]:
    """``write_figure`` for every title among the runs; empty if none asks for a figure.

    One figure goes to ``target``; several go beside each other under names made from their titles:
    ``figure_3.png`` for "Figure 3".
    """
    titles: dict[str, list[Path]] = {}
    for folder in jobs:
        if title := read_run_folder(folder).title:
            titles.setdefault(title, []).append(folder)
    written: list[Path] = []
    for title, folders in titles.items():
        path = target if len(titles) == 1 else _named(target, title, written)
        write_figure(folders, path)
        written.append(path)
    return written


def _panel(job: RunFolder, inset: bool) -> Panel:
    if job.status != "done":
        return Panel(job.label, None, _NO_PICTURE.get(job.status, job.status))
    picture, note = _opened(job.path / str(job.config.get("image")))
    corner = _copy(job, "style") if inset and picture else None
    return Panel(job.label, picture, note, corner)


def _input_panels(jobs: Sequence[RunFolder], kind: str) -> list[Panel]:
    """One panel for each picture that was used, the largest copy where sizes differ."""
    found: dict[str, Panel] = {}
    for job in jobs:
        entry = job.inputs.get(kind) or {}
        picture = _copy(job, kind)
        mark = str(entry.get("sha256"))
        if picture is None or (
            mark in found and (other := found[mark].picture) and other.width >= picture.width
        ):
            continue
        found[mark] = Panel(f"{kind}: {Path(str(entry.get('path'))).stem}", picture)
    return list(found.values()) or [Panel(kind, None, "missing")]


def _copy(job: RunFolder, kind: str) -> Image.Image | None:
    """The input as the run used it, if the run left a copy."""
    name = (job.inputs.get(kind) or {}).get("copy")
    return _opened(job.path / SAVED_INPUTS[kind])[0] if name == SAVED_INPUTS[kind] else None


def _opened(path: Path) -> tuple[Image.Image | None, str]:
    """A picture, or the word that says why there is none."""
    if not path.is_file():
        return None, "missing"
    try:
        return load_image(path, key="figure", max_megapixels=float("inf")).image, ""
    except ConfigError:
        return None, "damaged"


def _settings(jobs: Sequence[RunFolder]) -> str:
    """``vgg16, size 384, 150 steps; vgg16 in place of vgg19``: of all runs that have a record."""
    configs = [job.config for job in jobs if job.config]
    if not configs:
        return ""
    used = [_backbone(config.get("backbone") or {}) for config in configs]
    parts = [_several(used)]
    parts.append(f"size {_several([config.get('size') for config in configs])}")
    parts.append(f"{_several([config.get('steps') for config in configs])} steps")
    lines = [", ".join(parts)]
    for job in jobs:
        for entry in job.substituted:
            asked = next((v for k, v in entry.items() if k not in ("by", "because")), "?")
            lines.append(f"{entry.get('by')} in place of {asked}")
    return "; ".join(dict.fromkeys(lines))


def _backbone(settings: dict[str, Any]) -> str:
    random = " with random weights" if settings.get("weights") == "random" else ""
    return f"{settings.get('name')}{random}"


def _several(values: Sequence[Any]) -> str:
    different = list(dict.fromkeys(values))
    if len(different) > 4 and all(isinstance(value, int) for value in different):
        return f"{min(different)} to {max(different)}"
    return " / ".join(map(str, different))


def _named(target: Path, title: str, taken: Sequence[Path]) -> Path:
    """A name beside ``target`` for one of several figures."""
    slug = re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")[:60] or "untitled"
    stem = slug if slug.startswith(target.stem) else f"{target.stem}_{slug}"
    path, number = target.with_stem(stem), 2
    while path in taken:
        path, number = target.with_stem(f"{stem}_{number}"), number + 1
    return path


def _save(figure: Image.Image, target: Path) -> None:
    if target.is_file() and not drawn_by(target, _SOFTWARE):
        raise OutputError(
            f"{target}: is there already and is no figure made here; move it away, or make the "
            "figure elsewhere with python -m nst_exp.report.figure FOLDER --out FILE"
        )
    save_drawing(figure, target, _SOFTWARE)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code. Writes FILE, or figure.png into the folder if it is one."""
    parser = argparse.ArgumentParser(
        prog="python -m nst_exp.report.figure", description=main.__doc__
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="runs or sweeps")
    parser.add_argument("--out", type=Path, metavar="FILE", help="a .png")
    given = parser.parse_args(arguments)
    try:
        for path in write_figures(_all_jobs(given.folders), _target(given.folders, given.out)):
            print(f"figure: {path}")
    except NstError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _target(folders: Sequence[Path], out: Path | None) -> Path:
    if out is None:
        return folders[0] / NAME if len(folders) == 1 else Path(NAME)
    if out.suffix.lower() != ".png":
        raise ConfigError(f"--out {out}: a figure is written as .png; give such a name")
    return out


def _all_jobs(folders: Sequence[Path]) -> list[Path]:
    jobs = []
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"{folder}: no such folder")
        found = find_run_folders(folder)
        if not found:
            raise ConfigError(f"{folder}: holds no run; give the folder of a run or of a sweep")
        jobs += found
    if not any(read_run_folder(job).title for job in jobs):
        raise ConfigError(
            f"{', '.join(map(str, folders))}: no run there asks for a figure; "
            "set figure.title, as the experiments with panels do"
        )
    return jobs


if __name__ == "__main__":
    sys.exit(main())
