"""The folders of runs, and what they say: for figures and for reports."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from nst_exp.app.compose import register
from nst_exp.results.record import read_record

_SETTINGS = Path(".hydra", "config.yaml")
_OVERRIDES = Path(".hydra", "overrides.yaml")


@dataclass(frozen=True)
class Job:
    """What a run's folder says about its panel."""

    folder: Path
    status: str  # as in result.json; "failed" if the run did not come as far as a record
    figure: dict[str, Any]  # the config's section; empty where no figure is asked for
    panel: str | None
    config: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, Any] = field(default_factory=dict)
    substituted: list[dict[str, str]] = field(default_factory=list)
    record: dict[str, Any] = field(default_factory=dict)  # the whole of result.json

    @property
    def title(self) -> str:
        """Of the figure that this is a panel of; empty for none."""
        return str(self.figure.get("title") or "")

    @property
    def label(self) -> str:
        """The words below the panel: those asked for, or what the folder is called."""
        name = re.sub(r"^\d+_", "", self.folder.absolute().name)
        return str(self.figure.get("label") or self.panel or name)


def job_folders(folder: Path) -> list[Path]:
    """``folder`` itself if it is a run's, else those of its sub-folders that are, 2 before 10.

    A run that failed early has no record, but the settings that Hydra wrote.
    """
    if _is_run(folder):
        return [folder]
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if _is_run(path)), key=_natural)


def read_job(folder: Path) -> Job:
    """What the folder of a run says; nothing is raised for a record that is damaged or missing."""
    record = read_record(folder)
    config = record.get("config")
    if not isinstance(config, dict):
        return _unrecorded(folder)
    figure = config.get("figure")
    return Job(
        folder,
        str(record.get("status")),
        figure if isinstance(figure, dict) else {},
        config.get("panel"),
        config,
        record.get("inputs") or {},
        record.get("substituted") or [],
        record,
    )


def read_overrides(folder: Path) -> list[str] | None:
    """What the command of a run said, ``["beta=5", ...]``; None where Hydra has not noted it."""
    try:
        found = OmegaConf.load(folder / _OVERRIDES)
    except (OSError, YAMLError, OmegaConfBaseException, UnicodeDecodeError):
        return None
    return [str(item) for item in found] if isinstance(found, ListConfig) else None


def _unrecorded(folder: Path) -> Job:
    """A run that failed before it had a record, as the settings that Hydra wrote describe it."""
    register()  # of ${panel:KEY}
    values: dict[str, Any] = {}
    try:
        text = (folder / _SETTINGS).read_text(encoding="utf-8")
        config = OmegaConf.create(text)
    except (OSError, YAMLError, OmegaConfBaseException, UnicodeDecodeError):
        return Job(folder, "missing", {}, None)
    if "oc.env" in text:  # what others wrote is not to show the environment of whoever looks
        return Job(folder, "failed", {}, None)
    for key in ("panel", "figure.title", "figure.label", "figure.columns", "figure.inputs"):
        values[key.rpartition(".")[2]] = _value(config, key)
    values["inset"] = _value(config, "figure.inset")
    return Job(folder, "failed", values, values.pop("panel"))


def _value(config: Any, key: str) -> Any:
    try:
        value = OmegaConf.select(config, key)
    except OmegaConfBaseException:  # perhaps the very reason why the run failed
        return None
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


def _is_run(folder: Path) -> bool:
    return (folder / "result.json").is_file() or (folder / _SETTINGS).is_file()


def _natural(path: Path) -> list[Any]:
    """Words and numbers by turns, so that two names can always be compared."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path.name)]
