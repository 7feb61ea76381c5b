"""The processor of this machine, and how much of it this process may use."""

import platform
from pathlib import Path

from joblib import cpu_count


def usable_cores() -> int:
    """The cores that this process may use. taskset, SLURM and containers allow fewer than all."""
    return int(cpu_count())


def cpu() -> str:
    """The name of the processor, or its architecture if the system does not give the name."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
