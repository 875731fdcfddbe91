"""A folder of photos, one folder for each label: read, checked, split and turned into tensors.

types.py      what is read: photos, notices, the dataset
walking.py    which files are photos of a label
checking.py   whether one file can be used
reading.py    the whole folder
splitting.py  train, val and test
tensors.py    what a model sees
threads.py    many images at once
"""

from __future__ import annotations

from lineside.dataset.checking import MAX_FILE_BYTES
from lineside.dataset.reading import read_dataset
from lineside.dataset.splitting import MIN_IMAGES, fingerprint, split_photos
from lineside.dataset.tensors import load_tensors
from lineside.dataset.types import Dataset, Notice, Photo
from lineside.dataset.walking import SUFFIXES, check_label

__all__ = [
    "MAX_FILE_BYTES",
    "MIN_IMAGES",
    "SUFFIXES",
    "Dataset",
    "Notice",
    "Photo",
    "check_label",
    "fingerprint",
    "load_tensors",
    "read_dataset",
    "split_photos",
]
