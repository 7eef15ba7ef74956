"""Keep freed memory for the next step (Linux with glibc)."""

from __future__ import annotations

import ctypes
import sys

# malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> bool:
    """Tell glibc's malloc to reuse large blocks instead of giving them back to the system.

    Feature maps are tens of megabytes each and are allocated anew in every evaluation; by default
    each goes back to the system when it is freed, and every one of its pages must be faulted in
    and cleared again. Changes no number. Returns False where there is no glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library, such as musl
        return False
    return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
