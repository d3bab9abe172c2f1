"""Figures from the kernel: processes' CPU time, sockets' queues, the machine itself."""

import ctypes
import os
import platform
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

QUEUE_LENGTH = "net/unix/max_dgram_qlen"
RECEIVE_BUFFER = "net/core/rmem_default"
BUSY_SECONDS = 2.0

_libc = ctypes.CDLL(None, use_errno=True)


def cpu_seconds(pid: int) -> float:
    """CPU time of a process in seconds, to the nanosecond; 0 for a process that is gone.

    It is read from the process's clock (clock_getcpuclockid(3)), which includes threads that ended.
    /proc/PID/stat counts in ticks of 10 ms, and /proc/PID/task forgets threads that ended.
    """
    clock = ctypes.c_int()
    if _libc.clock_getcpuclockid(pid, ctypes.byref(clock)):
        return 0.0
    try:
        return time.clock_gettime(clock.value)
    except OSError:
        return 0.0


def resident_bytes(pid: int) -> int:
    """Resident memory of a process (VmRSS of proc(5)); 0 for a process that is gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    return 0


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # the process has ended
                # the second field is the name in brackets, whatever it contains (proc(5))
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for member in found:
        found.extend(children.get(member, []))
    return found


def udp_queue(port: int) -> tuple[int, int]:
    """Bytes that wait in the socket on 127.0.0.1:``port``, and datagrams that it dropped."""
    waiting = dropped = 0
    for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].partition(":")[2], 16) == port:
            waiting += int(fields[4].partition(":")[2], 16)
            dropped += int(fields[-1])
    return waiting, dropped


def free_port(kind: socket.SocketKind) -> int:
    """A port on 127.0.0.1 that is free now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def kernel_setting(name: str) -> int:
    """A number under /proc/sys."""
    return int(Path("/proc/sys", name).read_text())


def may_set(name: str) -> bool:
    """Whether a number under /proc/sys may be changed."""
    return os.access(f"/proc/sys/{name}", os.W_OK)


@contextmanager
def changed_setting(name: str, value: int) -> Iterator[None]:
    """Change a number under /proc/sys for a while, if that is allowed."""
    found = kernel_setting(name)
    if found == value or not may_set(name):
        yield
        return
    path = Path("/proc/sys", name)
    path.write_text(f"{value}\n")
    try:
        yield
    finally:
        path.write_text(f"{found}\n")


def describe() -> dict[str, str]:
    """The machine, for the head of the results."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return {
        "CPU": f"{model}, {len(os.sched_getaffinity(0))} cores",
        "kernel": platform.release(),
        "Python": f"{sys.version.split()[0]}, numpy {np.__version__}",
        "net.core.rmem_max": str(kernel_setting("net/core/rmem_max")),
        "net.core.rmem_default": str(kernel_setting(RECEIVE_BUFFER)),
        "net.unix.max_dgram_qlen": str(kernel_setting(QUEUE_LENGTH)),
        "CPU in use before, by others": f"{busy_share(BUSY_SECONDS):.0%}",
    }


def busy_share(seconds: float) -> float:
    """The share of all CPUs that is in use during the next seconds."""
    idle, total = _ticks()
    time.sleep(seconds)
    idle_then, total_then = _ticks()
    return 1 - (idle_then - idle) / max(1, total_then - total)


def _ticks() -> tuple[int, int]:
    """The CPUs' idle ticks, waiting for disks included, and all their ticks (proc(5))."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)
