"""Memory that was freed, back to the system."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any


def give_back() -> None:
    """Return to the system what the C library keeps of freed memory, where it can be asked to (glibc).

    Measured on SmolLM2 with the walk: of the 440 MB that loading it came to, 200 MB; of what reading a prompt added,
    70 MB of 140 MB, because rows are read between other allocations. It takes about a millisecond.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Any:
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
