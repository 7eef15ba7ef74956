"""What a sweep has to know of Hydra's sweeper and launcher."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from nst_exp.results.record import read_record
from nst_exp.results.sweep_plan import PLAN, read_plan
from nst_exp.utils.errors import ConfigError


def is_basic(launcher: Any) -> bool:
    """Tell whether jobs run one after the other in the process that starts them.

    Args:
        launcher: That section of Hydra's config.
    """
    return str(launcher._target_).endswith(".BasicLauncher")


def is_basic_sweeper(sweeper: Any) -> bool:
    """Tell whether the jobs are a grid; other sweepers choose them as they go."""
    return str(sweeper._target_).endswith(".BasicSweeper")


def check_launcher(launcher: Any) -> None:
    """Raise ConfigError for settings with which a launcher would fail in the middle."""
    target = str(launcher._target_)
    if target.endswith(".JoblibLauncher") and launcher.n_jobs == 0:
        raise ConfigError("hydra.launcher.n_jobs=0: must be 1 or more, or -1 for all cores")
    if target.endswith(".SlurmLauncher") and shutil.which("srun") is None:
        raise ConfigError(
            "hydra/launcher=submitit_slurm: there is no srun here; start the sweep on a machine "
            "of the cluster, or use hydra/launcher=submitit_local"
        )


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
