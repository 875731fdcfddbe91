"""Heavy imports, made where they are used, with one clear line when they are missing."""

from __future__ import annotations

import importlib
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
