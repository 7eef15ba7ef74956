"""One process at a time in the folder of a run or sweep."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from nst_exp.results.record import read_record
from nst_exp.utils.errors import ConfigError, OutputError

LOCK = ".lock"  # stays in the folder; the operating system drops the lock itself with its process


class FolderLocked(ConfigError):
    """Another process is at work in the folder."""


@contextmanager
def folder_lock(
    folder: Path, patience: float = 0.0, say: Callable[[str], None] = print
) -> Iterator[None]:
    """Within, the folder, which is made if need be, belongs to this process.

    Raises FolderLocked if another one has it and keeps it for ``patience`` seconds, of which
    ``say`` is told; OutputError if the folder cannot be made or written to.
    """
    lock = FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if patience:
                say(f"{folder}: waiting for another process to leave it, {patience:g} s at most")
            lock.acquire(timeout=patience, poll_interval=0.1)
    except Timeout as error:
        raise FolderLocked(
            f"out={folder}: another process{_owner(folder)} is at work there; wait for its end, "
            "stop it, or give another folder"
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
    """Raise FolderLocked if another process is at work in the folder; nothing is made there."""
    if (folder / LOCK).exists():
        with folder_lock(folder):
            pass


def _owner(folder: Path) -> str:
    """Who it is, as the record of a run says. The lock's own file belongs to the library."""
    process = read_record(folder).get("process")
    if not isinstance(process, dict):
        return ""
    return f" (process {process.get('pid')} on {process.get('host')})"
