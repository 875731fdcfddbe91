"""Heavy imports, made where they are used, with one clear line when they are missing."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import tempfile
from collections.abc import Iterator
from types import ModuleType

from lineside.errors import MissingExtraError


def require(module: str, *, extra: str) -> ModuleType:
    """Import and return `module`, which the extra `extra` brings.

    Raises:
        MissingExtraError: it is not installed; the message holds the pip command.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        msg = f"{module} is not installed: pip install 'lineside[{extra}]' ({error})"
        raise MissingExtraError(msg) from error


@contextlib.contextmanager
def quiet_native(*, drop: bytes = b"") -> Iterator[None]:
    """Hold back what native code writes to stderr, such as a library that greets as it is loaded.

    It is the whole process's stderr: for commands, around the loading of a library or a model,
    while no other thread has anything to say.

    Args:
        drop: the lines that begin so are dropped, the others shown at the end; by default all are
            dropped. If an exception passes, all are shown.
    """
    with tempfile.TemporaryFile() as held:
        sys.stderr.flush()
        kept = os.dup(2)
        os.dup2(held.fileno(), 2)
        dropped = True
        try:
            yield
        except BaseException:
            dropped = False
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            held.seek(0)
            os.write(2, b"".join(x for x in held if not (dropped and x.startswith(drop))))
