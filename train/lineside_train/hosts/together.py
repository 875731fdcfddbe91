"""What the machines that share a training do together: `keras.distribution`, on JAX."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from typing_extensions import override

from lineside.errors import TrainError
from lineside.extras import quiet_native, require
from lineside_train.backend import import_keras, load_keras
from lineside_train.fitting.machines import Alone
from lineside_train.hosts.options import Roster
from lineside_train.hosts.watch import is_loopback


def join(roster: Roster, left: Callable[[], None]) -> Together:
    """Connect JAX to the other hosts, all of which do the same now.

    Args:
        roster: who takes part.
        left: called when there is nothing left to do together.

    Raises:
        TrainError: Keras' backend is not JAX, or the hosts don't have the same number of devices.
    """
    import_keras()
    address = roster.addresses[0]
    try:
        with quiet_native():
            # Not by keras.distribution.initialize, where JAX would look for a cluster by itself
            # and, under Slurm, take one GPU of each machine.
            require("jax", extra="train").distributed.initialize(
                address,
                len(roster.addresses),
                roster.index,
                coordinator_bind_address=address if is_loopback(roster.address(0)[0]) else None,
                cluster_detection_method="deactivate",
            )
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        msg = f"JAX can't connect the hosts by {address}, which must be open to all: {reason}"
        raise TrainError(msg) from error
    load_keras()
    return Together(roster, left)


class Together(Alone):
    """Several machines: each has all variables, and its rows of each batch.

    Batches are arrays of all machines for what is computed, so that batch normalization, the
    mixing of images and the loss see the whole batch.
    """

    def __init__(self, roster: Roster, left: Callable[[], None]) -> None:
        self._left = left
        self.count = len(roster.addresses)
        self.index = roster.index
        self._jax = require("jax", extra="train")
        self._multihost = require("jax.experimental.multihost_utils", extra="train")
        # In the order of the hosts: rows of a batch are where `rows` says they are.
        devices = sorted(self._jax.devices(), key=lambda device: (device.process_index, device.id))
        held = np.bincount([device.process_index for device in devices], minlength=self.count)
        if len(set(held)) > 1:
            found = ", ".join(f"{n} on {roster.name(i)}" for i, n in enumerate(held))
            msg = f"all --hosts need the same number of devices, found {found}"
            raise TrainError(msg)
        self._devices = len(devices)
        self._distribution = load_keras().distribution.DataParallel(
            devices=[f"{device.platform}:{device.id}" for device in devices],
            auto_shard_dataset=False,
        )

    @override
    def rows(self, total: int) -> slice:
        if total % self._devices:
            what = f"{self.count} hosts"
            if self._devices != self.count:
                what += f" with {self._devices} devices"
            msg = (
                f"a batch of {total} images can't be divided among {what}: choose a --batch-size "
                f"that is a multiple of {self._devices}, and no more than the images of train"
            )
            raise TrainError(msg)
        share = total // self.count
        return slice(self.index * share, (self.index + 1) * share)

    @override
    def scope(self) -> AbstractContextManager[None]:
        return self._scope()

    @contextlib.contextmanager
    def _scope(self) -> Iterator[None]:
        with self._distribution.scope():
            yield

    @override
    def spread(self, network: Any) -> Any:
        values = self._multihost.broadcast_one_to_all(
            [np.asarray(variable.value) for variable in network.variables]
        )
        with self.scope():
            found = load_keras().models.clone_model(network)
            for variable, value in zip(found.variables, values, strict=True):
                variable.assign(value)
        return found

    @override
    def first(self, data: bytes) -> bytes:
        length = int(self._multihost.broadcast_one_to_all(np.int32(len(data))))
        held = np.zeros(length, np.uint8)
        if self.index == 0:
            held[:] = np.frombuffer(data, np.uint8)
        return bytes(np.asarray(self._multihost.broadcast_one_to_all(held)))

    @override
    def everyone(self, data: bytes) -> list[bytes]:
        # Bytes, since JAX would round what are 64 bits to 32.
        held = np.frombuffer(data, np.uint8)
        return [bytes(row) for row in self._multihost.process_allgather(held)]

    @override
    def any(self, found: bool) -> bool:
        return bool(self._multihost.process_allgather(np.uint8(found)).any())

    @override
    def leave(self) -> None:
        self._jax.distributed.shutdown()
        self._left()
