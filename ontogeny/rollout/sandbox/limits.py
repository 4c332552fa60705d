"""What one job may use, and what all of them together may: plain numbers that check themselves.

Knows no kernel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ontogeny.base.errors import InputError

MEGABYTE = 1 << 20
OVERHEAD_BYTES = 48 * MEGABYTE
"""What a worker itself holds, in its control group: interpreter, bubblewrap, page tables."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one job.

    Args:
        cpu_seconds: whole ones, of each process (the kernel counts whole seconds).
        wall_seconds: until everything of the job is killed.
        memory_bytes: of each process (address space that it adds to the interpreter's); where
            there is a memory control group, also of all together.
        processes: processes and threads at once, the first included.
        output_bytes: of standard output and of standard error each; more ends the job.
        tmp_bytes: of its own empty /tmp, which lies in memory.
        tmp_files: files and directories in it.
        file_bytes: of one file.
        open_files: at once in each process.

    Raises:
        InputError: a value is out of its range.
    """

    cpu_seconds: int = 10
    wall_seconds: float = 30.0
    memory_bytes: int = 512 * MEGABYTE
    processes: int = 16
    output_bytes: int = MEGABYTE
    tmp_bytes: int = 64 * MEGABYTE
    tmp_files: int = 4096
    file_bytes: int = 64 * MEGABYTE
    open_files: int = 128

    def __post_init__(self) -> None:
        least = {"memory_bytes": MEGABYTE, "tmp_bytes": 1 << 16, "tmp_files": 8, "open_files": 16}
        for name in self.__slots__:
            value = getattr(self, name)
            if name == "wall_seconds":
                if not (math.isfinite(value) and value > 0):
                    raise InputError(f"wall_seconds is {value}; give a positive number")
            elif not isinstance(value, int) or not least.get(name, 1) <= value < 1 << 48:
                lowest = least.get(name, 1)
                raise InputError(f"{name} is {value}; give a whole number of at least {lowest}")

    @property
    def unbounded_sum(self) -> int:
        """Bytes that a job could come to hold where only single processes are bounded."""
        return self.processes * self.memory_bytes + self.tmp_bytes
