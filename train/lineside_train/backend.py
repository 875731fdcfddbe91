"""Keras, with the backend that the environment names, and without the noise."""

from __future__ import annotations

import contextlib
import functools
import importlib
import logging
import os
from collections.abc import Iterator
from typing import Any, Final

from lineside.errors import MissingExtraError, TrainError
from lineside.extras import quiet_native, require
from lineside_train.options import Precision

BACKENDS: Final = ("tensorflow", "jax")
"""What KERAS_BACKEND may be; without it, the first."""


@functools.cache
def load_keras() -> Any:  # noqa: ANN401 - Keras ships no types
    """Import Keras, and look for accelerators.

    Raises:
        TrainError: KERAS_BACKEND names a backend that lineside does not know.
        MissingExtraError: Keras or its backend is not installed.
    """
    keras = import_keras()
    with quiet_native():
        keras.distribution.list_devices()  # looks for a GPU, and complains where there is none
    return keras


@functools.cache
def import_keras() -> Any:  # noqa: ANN401
    """Import Keras, and do nothing with it: what JAX has computed on it can't join others any more.

    Raises:
        TrainError: KERAS_BACKEND names a backend that lineside does not know.
        MissingExtraError: Keras or its backend is not installed.
    """
    backend = os.environ.setdefault("KERAS_BACKEND", BACKENDS[0])
    if backend not in BACKENDS:
        msg = f"KERAS_BACKEND is {backend!r}: {' or '.join(BACKENDS)} is expected"
        raise TrainError(msg)
    # Both are read once, when TensorFlow is loaded. The first: it raises what matters.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_DETERMINISTIC_OPS", "1")
    if backend == "jax":
        try:
            importlib.import_module("jax")
        except ImportError as error:
            msg = "KERAS_BACKEND asks for jax, which is not installed: pip install jax"
            raise MissingExtraError(msg) from error
    with quiet_native():
        keras = require("keras", extra="train")
        require(backend, extra="train")
    # Several networks are asked in several sizes: TensorFlow warns of a loop that there is not.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    # Whatever the user's own keras.json says.
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    return keras


def accelerators() -> list[str]:
    """The GPUs and TPUs that Keras' backend has found, by name; empty: it trains on the CPU."""
    devices = load_keras().distribution.list_devices()
    return [device for device in devices if not device.startswith("cpu")]


@contextlib.contextmanager
def computing_in(precision: Precision) -> Iterator[None]:
    """Layers that are made inside compute in this precision, and keep float32 weights.

    Args:
        precision: `auto` is float16 on an accelerator and float32 on a CPU, which is slower in
            anything else.
    """
    policies = load_keras().config
    if precision == "auto":
        precision = "float16" if accelerators() else "float32"
    before = policies.dtype_policy()
    policies.set_dtype_policy(precision if precision == "float32" else f"mixed_{precision}")
    try:
        yield
    finally:
        policies.set_dtype_policy(before)


def versions() -> dict[str, str]:
    """The versions of what a trained model depends on."""
    import platform

    import numpy as np

    import lineside

    keras = load_keras()
    backend = keras.backend.backend()
    return {
        "python": platform.python_version(),
        "lineside": lineside.__version__,
        "keras": keras.__version__,
        backend: str(require(backend, extra="train").__version__),
        "numpy": np.__version__,
        "opencv": str(require("cv2", extra="runtime").__version__),
    }
