"""Folders of runs, read for figures and reports."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nst_exp.results.record import read_record


@dataclass(frozen=True)
class RunFolder:
    """A run's folder with its record; entries that are damaged or missing are empty."""

    path: Path
    record: dict[str, Any]  # content of result.json

    @property
    def status(self) -> str:
        """One of done, running, interrupted, failed; missing without a record."""
        return str(self.record.get("status", "missing"))

    @property
    def config(self) -> dict[str, Any]:
        """The run's config as nested plain values."""
        return self._section("config")

    @property
    def figure(self) -> dict[str, Any]:
        """The section ``figure`` of the config."""
        found = self.config.get("figure")
        return found if isinstance(found, dict) else {}

    @property
    def inputs(self) -> dict[str, Any]:
        """Path, hash and saved copy of the content image and the style image."""
        return self._section("inputs")

    @property
    def substituted(self) -> list[dict[str, Any]]:
        """What was used instead of something that was not available."""
        found = self.record.get("substituted")
        return (
            [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
        )

    @property
    def overrides(self) -> list[str]:
        """The overrides of the command line."""
        found = self.record.get("overrides")
        return [str(word) for word in found] if isinstance(found, list) else []

    @property
    def title(self) -> str:
        """Title of the figure that this run is a panel of; empty for none."""
        return str(self.figure.get("title") or "")

    @property
    def label(self) -> str:
        """Text below the panel: the configured one, else made from the folder's name."""
        name = re.sub(r"^\d+_", "", self.path.absolute().name)
        return str(self.figure.get("label") or self.config.get("panel") or name)

    @property
    def image(self) -> Path | None:
        """Path of the resulting image, whether it exists or not; None without a valid name."""
        name = self.config.get("image")
        # A record may come from somebody else and must not name any other file.
        return self.path / name if isinstance(name, str) and Path(name).name == name else None

    def _section(self, key: str) -> dict[str, Any]:
        found = self.record.get(key)
        return found if isinstance(found, dict) else {}


def read_run_folder(folder: Path) -> RunFolder:
    """Read the folder of a run; a record that is damaged or missing counts as empty."""
    return RunFolder(folder, read_record(folder))


def find_run_folders(folder: Path) -> list[Path]:
    """Return ``folder`` itself if it holds a run, else its subfolders that do, 2 before 10."""
    if _is_run(folder):
        return [folder]
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if _is_run(path)), key=_natural)


def _is_run(folder: Path) -> bool:
    return (folder / "result.json").is_file()


def _natural(path: Path) -> list[Any]:
    # Words and numbers by turns, so that two names can always be compared.
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path.name)]
