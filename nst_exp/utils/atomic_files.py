"""Files that are either complete or absent, also after a crash."""

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from nst_exp.utils.errors import OutputError, causes_of, reason_of

_PREFIX, _SUFFIX = ".nst-", ".tmp"
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file in such a way that ``path`` is always the old file or the complete new one.

    Args:
        path: The file; its folder must exist, and a link is followed.
        write: Writes the content to a binary stream. If it raises, ``path`` is left as it was.

    Raises:
        OutputError: If the operating system refuses, also if ``write`` raises that as another
            exception, as torch.save does.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f"{_PREFIX}{secrets.token_hex(8)}{_SUFFIX}")
    try:
        with open(temporary, "xb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, target)
        _sync_folder(target.parent)
    except Exception as error:
        for cause in causes_of(error):
            if not isinstance(cause, Exception):  # a signal
                raise cause from None
        if refusal := _system_error(error):
            reason = _describe(refusal, target.parent)
            raise OutputError(f"{path}: cannot be written: {reason}") from error
        raise
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_bytes_atomically(path: Path, data: bytes | memoryview) -> None:
    """Write bytes as ``write_atomically`` does."""
    write_atomically(path, lambda stream: stream.write(data))


def write_text_atomically(path: Path, text: str) -> None:
    """Write UTF-8 text as ``write_atomically`` does, with its line ends unchanged."""
    write_bytes_atomically(path, text.encode("utf-8"))


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files of killed processes; no other process may be writing there."""
    for leftover in folder.glob(f"{_PREFIX}*{_SUFFIX}"):
        with contextlib.suppress(OSError):
            leftover.unlink()


def disk_refusal(error: BaseException, folder: Path) -> str | None:
    """Describe why the disk of ``folder`` accepts no more data, and what to do.

    Returns:
        The reason and an action, or None if the error of a library has another reason.
    """
    cause = _system_error(error)
    return _describe(cause, folder) if cause and cause.errno in _DISK_ERRORS else None


def _sync_folder(folder: Path) -> None:
    """Make the new name survive a power cut, if the platform supports that."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # not supported by some network file systems
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _system_error(error: BaseException) -> OSError | None:
    causes = causes_of(error)
    return next((c for c in causes if isinstance(c, OSError) and c.errno is not None), None)


def _describe(error: OSError, folder: Path) -> str:
    reason = reason_of(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        with contextlib.suppress(OSError):
            reason += f" ({shutil.disk_usage(folder).free / 1e6:.1f} MB free)"
        return f"{reason}; make room or choose another folder"
    if error.errno == errno.ENOENT:
        return f"there is no folder {folder}"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{reason}; choose a folder that you may write to"
    return reason
