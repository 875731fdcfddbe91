"""Keeping the engines' own notes off the terminal."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hold back what is written to stderr, and drop the lines that begin with `INFO:`.

    For commands, around the loading of a model: the engines write there without asking. It is
    the whole process's stderr, so no other thread should have anything to say meanwhile.
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            rest = [line for line in held if not line.startswith(b"INFO:")]
            os.write(2, b"".join(rest))
