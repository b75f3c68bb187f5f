"""Distributed training: ranks, sums over all processes, and errors that name a rank.

`python -m paddle.distributed.launch` starts the processes and sets the environment in which they
find each other. In a single process these functions do nothing, at no cost.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import numpy as np
import paddle
import paddle.distributed as dist
from paddle import Tensor

from ppcls.devices import select_device
from ppcls.errors import ConfigError, RunError

__all__ = [
    "any_rank",
    "barrier",
    "broadcast",
    "check_same",
    "gather",
    "init_processes",
    "naming_lost_ranks",
    "on_device",
    "rank",
    "sum_gradients",
    "sum_over_ranks",
    "world_size",
]

T = TypeVar("T")


class _Peer(NamedTuple):
    host: str
    pid: int


_peers: list[_Peer] = []


def rank() -> int:
    """Return this process's rank, from 0."""
    return dist.get_rank()


def world_size() -> int:
    """Return the number of processes."""
    return dist.get_world_size()


def init_processes() -> None:
    """Connect the processes that the launcher started; do nothing in a single process.

    Raises:
        RunError: the other processes cannot be reached.
    """
    if world_size() == 1 or dist.is_initialized():
        return
    master = os.environ.get("PADDLE_MASTER", "")
    if rank() == 0:
        _check_port(master)
    if paddle.device.get_device() == "cpu":
        # The launcher sets this itself; other schedulers do not.
        os.environ.setdefault("PADDLE_DISTRI_BACKEND", "gloo")
    try:
        dist.init_parallel_env()
    except (RuntimeError, ValueError, OSError) as error:
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        raise RunError(
            f"rank {rank()}: cannot reach the other {world_size() - 1} processes at "
            f"{master or 'the master'}: {reason}"
        ) from None
    _peers[:] = [_Peer(*peer) for peer in gather((socket.gethostname(), os.getpid()))]


def _check_port(master: str) -> None:
    """Check that rank 0 can listen on the master's port; Paddle would abort without a message.

    Raises:
        RunError: another process uses the port.
    """
    host, _, port = master.rpartition(":")
    if not port.isdecimal():
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise RunError(
                    f"rank 0: cannot reach the other {world_size() - 1} processes at {master}: the "
                    "port is in use; start again, or choose another with --master HOST:PORT"
                ) from None


def gather(value: T) -> list[T]:
    """Return the values of all processes, by rank. Values are pickled, so keep them small."""
    if world_size() == 1:
        return [value]
    values: list[T] = []
    dist.all_gather_object(values, value)
    return values


def broadcast(tensors: Iterable[Tensor]) -> None:
    """Overwrite tensors with those of rank 0; shapes and dtypes are the same on all ranks."""
    if world_size() > 1:
        for tensor in tensors:
            dist.broadcast(tensor, src=0)


def sum_over_ranks(values: np.ndarray) -> np.ndarray:
    """Sum an array over all processes; shape and dtype stay, float64 included."""
    if world_size() == 1:
        return values
    total = paddle.to_tensor(values)
    dist.all_reduce(total)
    return total.numpy()


def any_rank(*flags: bool) -> list[bool]:
    """Return for each flag whether any process has set it."""
    return (sum_over_ranks(np.array(flags, np.int64)) > 0).tolist()


def barrier() -> None:
    """Wait for all processes."""
    if world_size() > 1:
        dist.barrier()


def sum_gradients(parameters: Sequence[Tensor]) -> None:
    """Replace gradients by their sums over all processes, in one exchange for each dtype.

    Their shapes are the same in all processes. Call it once an update, after the last `backward`,
    so that accumulated gradients are exchanged once.
    """
    if world_size() == 1:
        return
    if all(parameter.grad is None for parameter in parameters):
        # This process could read none of its batch, but the others wait for its share.
        paddle.add_n([parameter.sum() for parameter in parameters]).scale(0.0).backward()
    with paddle.no_grad():
        _sum_gradients(parameters)


def _sum_gradients(parameters: Sequence[Tensor]) -> None:
    by_type: dict[Any, list[Tensor]] = {}
    for parameter in parameters:
        if parameter.grad is not None:
            by_type.setdefault(parameter.grad.dtype, []).append(parameter.grad)
    for gradients in by_type.values():
        flat = paddle.concat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        parts = paddle.split(flat, [gradient.size for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            paddle.assign(part.reshape(gradient.shape), gradient)


def check_same(digest: str, what: str) -> None:
    """Check that all processes hold the same digest.

    Raises:
        ConfigError: a digest differs from that of rank 0.
    """
    digests = gather(digest)
    others = [r for r, other in enumerate(digests) if other != digests[0]]
    if others:
        named = ", ".join(str(r) for r in others)
        raise ConfigError(
            f"rank {named}: {what} differs from rank 0; start every process with the same files "
            "and the same -o"
        )


def _is_alive(peer: _Peer) -> bool:
    if peer.host != socket.gethostname():
        return True
    try:
        with open(f"/proc/{peer.pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


@contextmanager
def naming_lost_ranks() -> Iterator[None]:
    """Turn a failed exchange into an error that names the lost rank.

    Raises:
        RunError: an exchange between the processes failed.
    """
    try:
        yield
    except (RuntimeError, ValueError, OSError) as error:
        lost: list[int] = []
        if _peers and world_size() > 1 and "gloo" in str(error) + repr(error):
            # A killed process takes a moment to disappear.
            for _ in range(20):
                lost = [r for r, peer in enumerate(_peers) if not _is_alive(peer)]
                if lost:
                    break
                time.sleep(0.1)
            where = ", ".join(f"rank {r} (process {_peers[r].pid})" for r in lost)
            nodes = ", ".join(sorted({peer.host for peer in _peers}))
            what = f"{where} has ended" if lost else f"a process on one of {nodes} does not answer"
            raise RunError(
                f"rank {rank()}: {what}; see its log for the reason: log/workerlog.N of rank N"
            ) from None
        raise


@contextmanager
def on_device(name: str) -> Iterator[str]:
    """Select a device (see `select_device`), connect to the other processes; yield its kind.

    Raises:
        RunError: no such device, or another process cannot be reached, now or within the context.
    """
    device = select_device(name)
    init_processes()
    with naming_lost_ranks():
        yield device
