"""Files that are either complete or not there."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from nst_exp.utils.errors import OutputError

_PREFIX, _SUFFIX = ".nst-", ".tmp"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


def write_atomically(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Have ``write`` fill a temporary file beside ``path``, then put it in the place of ``path``.

    At every moment, also after a crash or a power cut, ``path`` is the old file or the whole new
    one. The folder must exist; a link is followed. If ``write`` raises, ``path`` is untouched, the
    temporary file is removed and the exception goes on. Raises OutputError for whatever the
    operating system refuses, also where ``write`` passes that on as another exception.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f"{_PREFIX}{secrets.token_hex(8)}{_SUFFIX}")
    try:
        _refuse_what_is_no_file(target)
        with open(temporary, "xb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, target)
        _sync_folder(target.parent)
    except Exception as error:
        _raise_signal_behind(error)
        refusal = _refusal_behind(error)
        if refusal is None:
            raise
        reason = _reason(refusal, target.parent)
        raise OutputError(f"{path}: cannot be written: {reason}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text_atomically(path: Path, text: str) -> None:
    """``write_atomically`` for text: UTF-8, line ends as they are in ``text``."""
    write_atomically(path, lambda stream: _write_all(stream, text.encode("utf-8")))


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files of writers that were killed; nobody may be writing in ``folder``."""
    for leftover in folder.glob(f"{_PREFIX}*{_SUFFIX}"):
        with contextlib.suppress(OSError):
            leftover.unlink()


def _write_all(stream: BinaryIO, data: bytes) -> None:
    stream.write(data)


def _refuse_what_is_no_file(target: Path) -> None:
    # os.replace would put a file in the place of a device such as /dev/full
    if target.exists() and not stat.S_ISREG(target.stat().st_mode):
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a directory")
        raise OSError(errno.EINVAL, "it is not a regular file")


def _sync_folder(folder: Path) -> None:
    """Make the new name survive a power cut, where the platform has a way to ask for that."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems cannot
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _raise_signal_behind(error: BaseException) -> None:
    """A signal's exception in the midst of a write, which torch.save hides as well."""
    cause: BaseException | None = error
    while cause is not None:
        if not isinstance(cause, Exception):
            raise cause from None
        cause = cause.__cause__ or cause.__context__


def _refusal_behind(error: BaseException) -> OSError | None:
    """The operating system's own error; torch.save hides it behind a RuntimeError."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno is not None:
            return cause
        cause = cause.__cause__ or cause.__context__
    return None


def disk_refusal(error: BaseException, folder: Path) -> str | None:
    """Why the disk behind ``folder`` takes nothing more, and what to do.

    None if ``error``, a library's, has another reason.
    """
    refusal = _refusal_behind(error)
    return _reason(refusal, folder) if refusal and refusal.errno in _FULL else None


def _reason(error: OSError, folder: Path) -> str:
    reason = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        with contextlib.suppress(OSError):
            free = shutil.disk_usage(folder).free
            reason += f" ({free / 1e6:.1f} MB free)"
        return f"{reason}; make room or choose another folder"
    if error.errno == errno.ENOENT:
        return f"there is no folder {folder}"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{reason}; choose a folder that you may write to"
    return reason
