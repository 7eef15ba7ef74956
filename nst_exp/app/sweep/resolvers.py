"""What ``configs/config.yaml`` computes: names of folders, and the list of presets.

Importing this registers it with OmegaConf: also in the processes of a launcher.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf

from nst_exp.app.compose import register
from nst_exp.config.presets import groups
from nst_exp.results.sweep_plan import folder_of_job

_VARIED = "NST_EXP_VARIED"  # in the environment, so that the workers of a launcher know it too


def note_varied(arguments: list[str]) -> None:
    """Note which keys a sweep varies, as Hydra's own parser sees it."""
    try:
        overrides = OverridesParser.create().parse_overrides(
            [argument for argument in arguments if not argument.startswith("-")]
        )
    except HydraException:
        overrides = []  # Hydra says what is wrong, in a moment
    keys = [o.get_key_element().lstrip("+") for o in overrides if o.is_sweep_override()]
    os.environ[_VARIED] = " ".join(keys)


def varied_keys(params: Any = None) -> list[str]:
    """The keys that the sweep varies; ``params`` is an experiment's own sweep."""
    return [*os.environ.get(_VARIED, "").split(), *(params or {})]


def _job_folder(sweep: str, number: Any, overrides: list[str], params: Any = None) -> str:
    return folder_of_job(
        Path(sweep),
        int(number) if str(number).isdigit() else 0,  # not known yet where Hydra shows a config
        overrides,
        varied_keys(params),
    )


def _list_groups() -> str:
    lines = [
        textwrap.fill(
            f"{group:<11} {', '.join(names) or '(none yet)'}", 96, subsequent_indent=" " * 12
        )
        for group, names in groups().items()
    ]
    return "\n".join(f"  {line}" for text in lines for line in text.splitlines())


def _folder(out: str | None, name: str, date: str, time: str) -> str:
    return str(Path(out).expanduser()) if out else f"outputs/{name}/{date}_{time}"


def _register() -> None:
    register()
    resolvers: dict[str, Callable[..., Any]] = {
        "nst_folder": _folder,
        "nst_job_folder": _job_folder,
        "nst_groups": _list_groups,
    }
    for name, function in resolvers.items():
        OmegaConf.register_new_resolver(name, function, replace=True)


_register()
