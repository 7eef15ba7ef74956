"""A lock that keeps other processes out of the folder of a run or sweep."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from nst_exp.results.record import read_record
from nst_exp.utils.errors import ConfigError, OutputError

LOCK = ".lock"
log = logging.getLogger(__name__)


class FolderLocked(ConfigError):
    """Another process is using the folder."""


@contextmanager
def folder_lock(folder: Path, timeout: float = 0.0) -> Iterator[None]:
    """Hold the lock of a folder, which is created if it does not exist.

    The lock's file stays in the folder; the operating system releases the lock when its process
    ends, whatever the reason.

    Raises:
        FolderLocked: If another process still holds the lock after ``timeout`` seconds.
        OutputError: If the folder cannot be created or written to.
    """
    lock = FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if timeout:
                log.info(f"{folder}: waiting for another process, {timeout:g} s at most")
            lock.acquire(timeout=timeout, poll_interval=0.1)
    except Timeout as error:
        process = read_record(folder).get("process")
        name = f" (process {process['pid']} on {process['host']})" if process else ""
        raise FolderLocked(
            f"out={folder}: another process{name} is using this folder; wait until it "
            "ends, stop it, or give another folder"
        ) from error
    except OSError as error:
        raise OutputError(
            f"out={folder}: cannot be written: {error.strerror or error}; choose another folder"
        ) from error
    try:
        yield
    finally:
        lock.release()


def check_free(folder: Path) -> None:
    """Raise FolderLocked if another process holds the folder's lock; nothing is created."""
    if (folder / LOCK).exists():
        with folder_lock(folder):
            pass
