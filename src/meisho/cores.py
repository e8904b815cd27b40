"""Cores: how many a process may use, and how its threads wait for each other."""

import math
import os
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def count_cores(quota: Path = _QUOTA) -> int:
    """Return the number of processor cores that this process may use: its own, within its container's quota.

    Args:
        quota: Where Linux says how much processor time the container may take: µs, or "max", in how many µs.
    """
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        most, period = quota.read_text().split()
        return max(1, min(own, math.ceil(int(most) / int(period))))
    except (OSError, ValueError, ZeroDivisionError):  # there is none, or it says "max"
        return own


def rest_while_waiting() -> None:
    """Let threads that wait for each other rest rather than spin, and start no more than there are cores.

    Threads that spin cost a busy machine several times the processor time: those of OpenBLAS for 2^26 cycles
    after every product of matrices, as long as a description takes. OpenMP reads this when PyTorch or FAISS
    is imported, OpenBLAS when NumPy is, and what the user has set stands. For programs only: it changes the
    environment.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("KMP_BLOCKTIME", "0")  # of Intel's OpenMP
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")  # 2^4 cycles, the least that it takes
    os.environ.setdefault("OMP_NUM_THREADS", str(count_cores()))


def count_multiplying() -> int:
    """Return how many threads may share a product of matrices: as OpenBLAS is told, or one for each core."""
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        if (text := os.environ.get(name, "")).isdecimal() and int(text):
            return min(int(text), count_cores())
    return count_cores()


def multiply_alone() -> None:
    """Let each thread multiply matrices alone: in a service as many compute at once as there are cores.

    Like `rest_while_waiting`: it is read when NumPy is imported, and what the user has set stands.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
