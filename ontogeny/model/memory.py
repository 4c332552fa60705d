"""Keeps freed memory in the process, or gives it back at once. Knows no tensor.

Every activation of a training step is freed and asked for again in the next. glibc gives blocks
above 128 kB back to the kernel each time, and the page faults of getting them again cost 10-60 %
of a step on a CPU (8192 x 384: SwiGLU 12.9 -> 4.7 ms, RMSNorm with backward 12.4 -> 6.8 ms).

What is kept lies in pieces: a step holds 1.2 to 1.9 times its activations (`ontogeny.plan.memory`).
Where memory is short, giving it back is the better half of computing again.
"""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -2, -3, -4  # malloc.h
_NEVER = 2**31 - 1
_GROW_BYTES, _OWN_BYTES, _OWN_BLOCKS = 64 << 20, 1 << 20, 1 << 16


def keep_freed_memory() -> bool:
    """From now on freed blocks are reused; False where the C library has no such knob.

    The process stays at its largest size until it ends. Results do not change.
    """
    return _set((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER), (_TOP_PAD, _GROW_BYTES))


def give_freed_memory_back() -> bool:
    """From now on blocks of a megabyte and more go back to the system when they are freed.

    The process holds what is in use and no more, at 20-25 % of a step's time
    (12 M parameters, two cores; docs/log.md).
    """
    done = _set((_MMAP_THRESHOLD, _OWN_BYTES), (_MMAP_MAX, _OWN_BLOCKS))
    if done:
        ctypes.CDLL(None).malloc_trim(0)  # what an earlier stage kept
    return done


def _set(*settings: tuple[int, int]) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(name, value) == 1 for name, value in settings)
