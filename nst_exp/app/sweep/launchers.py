"""Sweeps whose jobs run in other processes: how the process that starts them speaks to them.

A file in the sweep's folder holds the mark of the present launch, and the workers of that launch
know the mark. Another mark tells them to save what they have and to stop: after Ctrl-C,
and also when the same sweep is started again while jobs of an earlier launch still run somewhere.
A file reaches processes on any machine that shares the folder.
"""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path
from typing import Any

from nst_exp.utils.atomic_files import write_text_atomically
from nst_exp.utils.errors import ConfigError

LAUNCH = ".launch"
_MARK = "NST_EXP_LAUNCH"  # handed on in the environment
_THREADS = "NST_EXP_THREADS"
_STOPPED = "stopped"

_begun_by: int | None = None  # process


def begin(folder: Path, workers: int | None) -> None:
    """A new launch in the sweep's ``folder``; jobs of an earlier one stop.

    ``workers`` processes share this machine's cores; None where the launcher sees to that.
    """
    global _begun_by
    _begun_by = os.getpid()
    mark = os.environ[_MARK] = secrets.token_hex(8)
    os.environ.pop(_THREADS, None)
    # Who sets this has divided the cores already.
    if workers is not None and "OMP_NUM_THREADS" not in os.environ:
        os.environ[_THREADS] = str(max(1, cores() // workers))
    folder.mkdir(parents=True, exist_ok=True)
    write_text_atomically(folder / LAUNCH, mark)


def stop(folder: Path) -> None:
    """Tell every job of the sweep to save what it has and to stop; none begins any more."""
    write_text_atomically(folder / LAUNCH, _STOPPED)


def here() -> bool:
    """Whether this process has begun the launch: joblib with one worker does the jobs itself."""
    return _begun_by == os.getpid()


def goes_on(folder: Path) -> bool:
    """Whether the launch that this process belongs to is the present one."""
    mark = os.environ.get(_MARK)
    try:
        return not mark or (folder / LAUNCH).read_text(encoding="utf-8") in (mark, "")
    except OSError:
        return True  # a file system that stutters


def threads() -> int | None:
    """How many threads this worker may have; None for torch's own choice."""
    text = os.environ.get(_THREADS, "")
    return int(text) if text.isdigit() else None


def cores() -> int:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def is_basic(hydra: Any) -> bool:
    """Whether jobs run one by one in the process that starts them. ``hydra`` is Hydra's config."""
    return str(hydra.launcher._target_).endswith(".BasicLauncher")


def check_launcher(hydra: Any) -> None:
    """Raise ConfigError for what the launcher would stumble over."""
    target = str(hydra.launcher._target_)
    if target.endswith(".JoblibLauncher") and hydra.launcher.n_jobs == 0:
        raise ConfigError("hydra.launcher.n_jobs=0: must be 1 or more, or -1 for all cores")
    if target.endswith(".SlurmLauncher") and shutil.which("srun") is None:
        raise ConfigError(
            "hydra/launcher=submitit_slurm: there is no srun here; start the sweep on a machine "
            "of the cluster, or take hydra/launcher=submitit_local"
        )


def workers(hydra: Any, jobs: int) -> int | None:
    """How many of ``jobs`` share this machine's cores; None where the launcher allots them."""
    target = str(hydra.launcher._target_)
    if target.endswith(".JoblibLauncher"):
        asked = int(hydra.launcher.n_jobs)
        return max(1, min(jobs, asked if asked > 0 else cores() + 1 + asked))
    return jobs if target.endswith(".LocalLauncher") else None  # which starts all at once


_LOST = (
    "TerminatedWorkerError",  # joblib
    "BrokenProcessPool",
    "UncompletedJobError",  # submitit
    "FailedJobError",
    "WorkerCrashedError",  # Ray
)


def lost_worker(error: BaseException) -> str | None:
    """What a launcher says of a worker that ended without a result, in one line; None for bugs."""
    if type(error).__name__ not in _LOST:  # the plugins need not be there
        return None
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2]) or "it is gone"
