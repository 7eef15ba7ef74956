"""The same run from Python."""

import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from nst_exp.app import compose
from nst_exp.app.messages import quote
from nst_exp.config.schema import Config
from nst_exp.runner.run import Result, run
from nst_exp.runner.validate import validate
from nst_exp.utils.errors import ConfigError

__all__ = ["Result", "make_config", "stylize"]

_lock = threading.RLock()  # Hydra, and torch while it builds a network, have one state per process
_orphaned = threading.Event()  # the thread that holds the lock was not copied by a fork
_IMPORTED_BY = os.getpid()


def make_config(overrides: Sequence[str] = ()) -> Config:
    """Compose the config of a command line with these overrides.

    Raises:
        ConfigError: With every unknown key or preset and every value of a wrong type.
    """
    with _alone():
        return compose.make_config(overrides)


def stylize(
    content: str | Path | None = None,
    style: str | Path | None = None,
    *,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
) -> Result:
    """Render the image ``content`` in the style of the image ``style``.

    A call waits while another thread is in one. What the caller has set for the process stays as it
    is: Hydra, logging, signal handlers, torch's threads, types and devices, random generators.

    Messages go to the logger "nst_exp"; ``logging.progress=false`` switches the progress bar off.

    Args:
        content: A file, or the name of a packaged image.
        style: A file, or the name of a packaged image.
        out: Folder for everything that the command line writes; nothing is written if None.
        overrides: As on the command line: ``["size=512", "loss=paper_code", "beta=1e3"]``.

    Returns:
        The image (PIL), its losses, the record and the paths.

    Raises:
        NstError: ConfigError, WeightsError, NumericalError or OutputError of
            ``nst_exp.utils.errors``.
    """
    named = {"content": content, "style": style, "out": out}
    given = [f"{key}={quote(compose.escape(str(v)))}" for key, v in named.items() if v is not None]
    every = [*overrides, *given]
    with _alone():
        config = compose.make_config(every)
        validate(config)
        folder = None if config.out is None else Path(os.path.expanduser(config.out))
        work = partial(run, config, folder, overrides=every)
        if os.getpid() == _IMPORTED_BY and multiprocessing.parent_process() is None:
            return work()
        # In a forked process torch waits forever for the threads that its parent had; a new thread
        # gets its own.
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(work).result()


@contextmanager
def _alone() -> Iterator[None]:
    """Wait until no other thread is in a call."""
    if _orphaned.is_set():
        raise ConfigError(
            "this process was forked while another thread was in stylize(); fork before the first "
            "call, or start processes with the method 'spawn'"
        )
    with _lock:
        yield


def _after_fork() -> None:
    if _lock.acquire(blocking=False):
        _lock.release()
    else:
        _orphaned.set()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
