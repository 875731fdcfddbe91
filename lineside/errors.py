"""Every error that lineside raises on purpose.

    LinesideError
    ├── MissingExtraError    a part of lineside is not installed           (also ImportError)
    ├── InputError           a file, a folder, a message or a person gave something unusable
    │   ├── ImageError       bytes that are no picture lineside can trust  (also ValueError)
    │   ├── DatasetError     a labelled folder that can't be used          (also ValueError)
    │   ├── RunError         a run folder that is missing or damaged       (also ValueError)
    │   ├── BundleError      a bundle that is refused                      (also ValueError)
    │   ├── SettingsError    a station's configuration that is refused     (also ValueError)
    │   └── MessageError     a topic or a message that breaks the contract (also ValueError)
    ├── TrainError           training could not give a model               (also RuntimeError)
    ├── ConvertError         the model can't be converted                  (also RuntimeError)
    │   └── ParityError      it can, but its verdicts differ too often
    ├── DeployError          a package or a station can't be made       (also RuntimeError)
    ├── EngineError          a model does not load, run or answer as it must (also RuntimeError)
    ├── CameraError          no frame can be had from a source             (also OSError)
    ├── BrokerError          the MQTT broker refuses or can't be reached   (also ConnectionError)
    └── StorageError         a disk that is full, read-only or corrupt     (also OSError)

Each message is one line that names the bad value and the way out: the commands print it as it
is, without a traceback.
"""

from __future__ import annotations


class LinesideError(Exception):
    """The root: catching it catches everything that lineside raises on purpose."""


class MissingExtraError(LinesideError, ImportError):
    """A package is missing that one of lineside's extras would have brought."""


class InputError(LinesideError):
    """Something from outside is unusable: a file, a folder, a message, an argument."""


class ImageError(InputError, ValueError):
    """Bytes or pixels that are no picture lineside can trust."""


class DatasetError(InputError, ValueError):
    """A labelled folder, or a split of it, that can't be used."""


class RunError(InputError, ValueError):
    """A run folder that is missing, incomplete or damaged."""


class BundleError(InputError, ValueError):
    """A bundle that is refused; the message says what was expected and what was found."""


class SettingsError(InputError, ValueError):
    """A station's configuration that is refused, naming the key."""


class MessageError(InputError, ValueError):
    """A topic or a message that breaks the contract."""


class TrainError(LinesideError, RuntimeError):
    """Training could not give a model."""


class ConvertError(LinesideError, RuntimeError):
    """The model can't be converted."""


class ParityError(ConvertError):
    """The converted model's verdicts differ from the original's too often."""


class DeployError(LinesideError, RuntimeError):
    """A package can't be made, or a device can't be made a station."""


class EngineError(LinesideError, RuntimeError):
    """A model does not load, does not run, or does not answer as its bundle says."""


class CameraError(LinesideError, OSError):
    """No frame can be had from a source."""


class BrokerError(LinesideError, ConnectionError):
    """The MQTT broker refuses the connection or can't be reached."""


class StorageError(LinesideError, OSError):
    """A disk that is full, read-only or corrupt."""
