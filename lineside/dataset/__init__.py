"""A folder of photos, one folder for each label: read, checked, split and turned into tensors.

types.py      what is read: photos, notices, the dataset
walking.py    which files are photos of a label
checking.py   whether one file can be used
reading.py    the whole folder
grouping.py   which photos belong together
splitting.py  train, val and test
tensors.py    what a model sees
threads.py    many images at once
"""

from __future__ import annotations

from lineside.dataset.checking import MAX_FILE_BYTES
from lineside.dataset.grouping import (
    NO_GROUPS,
    Grouping,
    check_undivided,
    merge,
    read_groups,
    write_groups,
)
from lineside.dataset.reading import read_dataset
from lineside.dataset.splitting import MIN_IMAGES, fingerprint, share_photos, split_photos
from lineside.dataset.tensors import load_tensors
from lineside.dataset.types import Dataset, Notice, Photo, with_notices
from lineside.dataset.walking import (
    GROUPS_FILE,
    MAX_LABELS,
    SUFFIXES,
    check_label,
    set_aside_folder,
)

__all__ = [
    "GROUPS_FILE",
    "MAX_FILE_BYTES",
    "MAX_LABELS",
    "MIN_IMAGES",
    "NO_GROUPS",
    "SUFFIXES",
    "Dataset",
    "Grouping",
    "Notice",
    "Photo",
    "check_label",
    "check_undivided",
    "fingerprint",
    "load_tensors",
    "merge",
    "read_dataset",
    "read_groups",
    "set_aside_folder",
    "share_photos",
    "split_photos",
    "with_notices",
    "write_groups",
]
