"""Keep freed memory for the next step (Linux with glibc)."""

from __future__ import annotations

import ctypes
import sys

# malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
# sys/mman.h
_MADV_HUGEPAGE = 14
_HUGE_PAGE = 2 * 2**20
# More than the feature maps of an image of 512 pixels; only what is used becomes real memory.
_RESERVED = 2 * 2**30


def keep_freed_memory() -> bool:
    """Tell glibc's malloc to reuse large blocks instead of giving them back to the system.

    Feature maps are tens of megabytes each and are allocated in every evaluation; by default
    each goes back to the system when it is freed, and every one of its pages must be faulted in
    and cleared again. The first blocks also come from pages of 2 MB where the system has them.
    Changes no number. Returns False if the C library is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        library = ctypes.CDLL(None)
        mallopt, malloc, free, madvise = (
            getattr(library, name) for name in ("mallopt", "malloc", "free", "madvise")
        )
    except (OSError, AttributeError):  # another C library, such as musl
        return False
    if not (mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)):
        return False
    malloc.restype, malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    free.restype, free.argtypes = None, [ctypes.c_void_p]
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    if block := malloc(_RESERVED):
        start = -(-block // _HUGE_PAGE) * _HUGE_PAGE
        madvise(start, _RESERVED - (start - block), _MADV_HUGEPAGE)  # advice: may be refused
        free(block)
    return True
