"""Peak memory of this process, for benchmarks that measure each thing in a process of its own."""

import resource
from pathlib import Path

STATUS = Path("/proc/self/status")


def read_peak_bytes() -> int:
    """Return this program's peak memory; getrusage would count the process that it was started from too."""
    if not STATUS.exists():
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])
