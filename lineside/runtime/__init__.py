"""The engines that run a model, behind one interface, and which of them is used.

A new engine costs one file in this package and one row in `ENGINES`; the conformance test runs
over every row.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Final

from lineside.errors import EngineError, MissingExtraError
from lineside.runtime.engine import Engine, TensorInfo

__all__ = ["ENGINES", "Engine", "TensorInfo", "installed_engines", "open_engine"]

ENGINES: Final = {  # name -> (the package it needs, module:class), the preferred one first
    "ai-edge-litert": ("ai_edge_litert", "lineside.runtime.litert:LiteRtEngine"),
    "tflite-runtime": ("tflite_runtime", "lineside.runtime.tflite_runtime:TfliteRuntimeEngine"),
}


def installed_engines() -> tuple[str, ...]:
    """The names of the engines whose package is installed, the preferred one first."""
    return tuple(
        name for name, (package, _) in ENGINES.items() if importlib.util.find_spec(package)
    )


def open_engine(
    model: bytes, *, threads: int = 1, runtime: str | None = None, xnnpack: bool = True
) -> Engine:
    """Load a model.

    A malformed model can crash the process that loads it: one that nobody has tried is loaded
    by `lineside.runtime.trial` first.

    Args:
        model: the bytes of a .tflite file.
        threads: how many CPU threads one inference may use.
        runtime: a name in `ENGINES`; the best one that is installed if None.
        xnnpack: False runs it as a device does that has no XNNPACK: slower, and int8 outputs are
            some steps off.

    Raises:
        MissingExtraError: no engine, or not the wanted one, is installed.
        EngineError: the name is unknown, or the engine refuses the model.
    """
    if runtime is not None and runtime not in ENGINES:
        msg = f"runtime {runtime!r} is unknown: one of {', '.join(ENGINES)} is expected"
        raise EngineError(msg)
    usable = [name for name in installed_engines() if runtime in {None, name}]
    if not usable:
        extra = "tflite-runtime" if runtime == "tflite-runtime" else "runtime"
        msg = f"{runtime or 'ai-edge-litert'} is not installed: pip install 'lineside[{extra}]'"
        raise MissingExtraError(msg)
    module, _, name = ENGINES[usable[0]][1].partition(":")
    engine: type[Engine] = getattr(importlib.import_module(module), name)
    return engine(model, threads, xnnpack=xnnpack)
