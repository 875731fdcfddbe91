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
def quiet_native() -> Iterator[None]:
    """Hold back what native code writes to stderr, such as a library that greets as it is loaded.

    It is shown after all if an exception passes. For a short time at the start of a command only:
    it holds for the whole process.
    """
    with tempfile.TemporaryFile() as held:
        sys.stderr.flush()
        kept = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
