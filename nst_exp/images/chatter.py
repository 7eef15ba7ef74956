"""What C libraries print past Python, kept off the screen."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from tempfile import TemporaryFile
from typing import IO

_MOST = 65_536  # bytes; a damaged file may make a decoder complain for every row


@contextmanager
def overheard() -> Iterator[list[str]]:
    """A list that holds, afterwards, the lines that were written to file descriptor 2 meanwhile.

    libtiff has no other way to say what is wrong with a file, and Pillow leaves it on. The
    descriptor belongs to the process: what other threads write in these milliseconds comes along.
    """
    lines: list[str] = []
    with suppress(Exception):  # there may be no such stream, or one that is closed
        sys.stderr.flush()
    try:
        screen = os.dup(2)
    except OSError:  # closed: nobody would see it
        yield lines
        return
    try:
        with _sink() as sink:
            os.dup2(sink.fileno(), 2)
            try:
                yield lines
            finally:
                os.dup2(screen, 2)
                sink.seek(0)
                text = sink.read(_MOST).decode("utf-8", "replace")
                lines += [line.strip() for line in text.splitlines() if line.strip()]
    finally:
        os.close(screen)


def _sink() -> IO[bytes]:
    try:
        return TemporaryFile()
    except OSError:  # no room for it; the words are lost, the picture need not be
        return open(os.devnull, "w+b")
