"""Work on many images at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from lineside.progress import track

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def in_threads(work: Callable[[_In], _Out], items: Sequence[_In], what: str) -> list[_Out]:
    """Do `work` on each item, on all cores: decoding and hashing release the interpreter lock."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(track(pool.map(work, items), total=len(items), what=what))
