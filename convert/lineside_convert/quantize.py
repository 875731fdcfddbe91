"""The parent's side of the conversion: hand the job to a child process, read what it made."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from lineside.errors import ConvertError
from lineside_convert.child import PARTS, Answer, Job

CHILD_SECONDS: Final = 3600.0
"""How long Keras and TensorFlow may work, in seconds."""

Logits = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Quantized:
    """What the conversion gave.

    Attributes:
        model: the bytes of the .tflite file, full int8.
        original: for `val` and `test` the Keras model's logits, n x labels.
        quantized: the same of the int8 model.
        plain: for `val` the logits of the int8 model without XNNPACK.
        versions: of Keras and TensorFlow.
    """

    model: bytes
    original: dict[str, Logits]
    quantized: dict[str, Logits]
    plain: Logits
    versions: dict[str, str]


def quantize(
    model: Path,
    labels: int,
    calibration: npt.NDArray[np.uint8],
    parts: dict[str, npt.NDArray[np.uint8]],
    folder: Path,
) -> Quantized:
    """Convert a Keras model to full int8, and score images with both.

    Args:
        model: the .keras file.
        labels: how many outputs it must have.
        calibration: uint8, n x h x w x channels; holds a 0 and a 255.
        parts: `val` and `test`, each uint8, n x h x w x channels.
        folder: an empty folder to work in, on a disk with room for the images as tensors.

    Raises:
        MissingExtraError: Keras or TensorFlow is not installed.
        ConvertError: the model can't be loaded or converted, gives nonsense, or the conversion
            killed its process.
        OSError: the disk is full.
    """
    (folder / "job.json").write_bytes(
        msgspec.json.encode(Job(model=str(model.absolute()), labels=labels))
    )
    _save(folder / "calibration.npy", calibration)
    for part in PARTS:
        _save(folder / f"{part}.npy", parts[part])
    answer = _run_child(folder)
    if answer.error is not None:
        raise ConvertError(answer.error)
    return Quantized(
        (folder / "model.tflite").read_bytes(),
        {part: np.load(folder / f"float_{part}.npy") for part in PARTS},
        {part: np.load(folder / f"int8_{part}.npy") for part in PARTS},
        np.load(folder / "plain_val.npy"),
        answer.versions,
    )


def _save(path: Path, array: npt.NDArray[np.uint8]) -> None:
    # As np.save, whose error on a full disk does not say that the disk is full.
    with path.open("wb") as file:
        header = np.lib.format.header_data_from_array_1_0(np.ascontiguousarray(array))
        np.lib.format.write_array_header_1_0(file, header)
        file.write(np.ascontiguousarray(array).data)


def _run_child(folder: Path) -> Answer:
    log = folder / "child.log"
    env = os.environ | {
        "KERAS_BACKEND": "tensorflow",  # the converter's, whichever one trained the model
        "CUDA_VISIBLE_DEVICES": "",  # a few hundred images: a GPU's start takes longer
        "TMPDIR": str(folder.absolute()),
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    command = [sys.executable, "-m", "lineside_convert.child", str(folder.absolute())]
    with log.open("wb") as said:
        try:
            done = subprocess.run(
                command,
                stdout=said,
                stderr=said,
                env=env,
                timeout=CHILD_SECONDS,
                check=False,
                cwd="/",  # `-m` imports from the current folder, which may hold anyone's numpy.py
            )
        except subprocess.TimeoutExpired as error:
            msg = f"the conversion did not end within {CHILD_SECONDS:g} s, and was stopped"
            raise ConvertError(msg) from error
    if done.returncode == 0:
        return msgspec.json.decode((folder / "answer.json").read_bytes(), type=Answer)
    if done.returncode < 0:
        msg = (
            f"TensorFlow was killed by {signal.Signals(-done.returncode).name} while it converted "
            "the model: a layer can't be made int8 (GRU and LSTM need unroll=True)"
        )
    else:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        last = lines[-1][:300] if lines else "nothing"
        msg = f"TensorFlow's process ended with {done.returncode}; the last it said: {last}"
    raise ConvertError(msg)
