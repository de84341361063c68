"""Memory of a training process."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # glibc's malloc.h
LARGE = 1 << 30


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed memory for the next allocation; return whether it is glibc and agreed.

    By default glibc gives every freed tensor of more than a few MB back to the kernel, and each training step faults
    the same pages in again, which took a third of a step on a small machine. The process stays at its peak size.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return all(mallopt(name, LARGE) == 1 for name in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD))
