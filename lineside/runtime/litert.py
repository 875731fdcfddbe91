"""LiteRT, the package ai-edge-litert: the engine that lineside prefers."""

from __future__ import annotations

from lineside.runtime.interpreter import InterpreterEngine


class LiteRtEngine(InterpreterEngine):
    """Runs a .tflite by ai-edge-litert."""

    name = "ai-edge-litert"
    module = "ai_edge_litert.interpreter"
