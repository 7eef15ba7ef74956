"""What a sweep has to know of Hydra's sweeper and launcher."""

from pathlib import Path
from typing import Any

from nst_exp.results.record import read_record
from nst_exp.results.sweep_plan import PLAN, read_plan


def is_a(plugin: Any, name: str) -> bool:
    """Tell whether a section of Hydra's config, its launcher or sweeper, is of this class.

    The jobs of a BasicSweeper are a grid; other sweepers choose them as they go. A BasicLauncher
    runs them one after the other in the process that starts them.
    """
    return str(plugin._target_).endswith(f".{name}")


def another_job_failed(sweep: Path) -> bool:
    """Tell whether a job of the sweep has failed since its last launch, which wrote the plan."""
    try:
        launched = (sweep / PLAN).stat().st_mtime_ns
        return any(
            read_record(sweep / name).get("status") == "failed"
            and (sweep / name / "result.json").stat().st_mtime_ns > launched
            for name in read_plan(sweep)
        )
    except OSError:
        return False
