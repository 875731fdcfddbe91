"""TensorFlow Lite, the package tflite-runtime: where LiteRT can't be installed.

It was frozen in 2023 (2.14): Python up to 3.11 and numpy before 2. Its XNNPACK runs no int8
models, so these are several times slower than with LiteRT.
"""

from __future__ import annotations

from lineside.runtime.interpreter import InterpreterEngine


class TfliteRuntimeEngine(InterpreterEngine):
    """Runs a .tflite by tflite-runtime."""

    name = "tflite-runtime"
    module = "tflite_runtime.interpreter"
