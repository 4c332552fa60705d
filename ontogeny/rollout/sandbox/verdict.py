"""The verdict on a job, from what the kernel says of it and never from what it prints."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Literal

from ontogeny.rollout.sandbox.inside.program import OUT_OF_MEMORY
from ontogeny.rollout.sandbox.job import Verdict

Reason = Literal["timeout", "output limit"]


@dataclass(frozen=True, slots=True)
class End:
    """How a job ended.

    Attributes:
        exit_code: minus the signal, if one ended it.
        cpu_seconds: as measured by the kernel.
        killed_for: why the host ended it, if it did.
        out_of_memory: how many of its processes the kernel killed for memory.
        cpu_limit: in seconds.
    """

    exit_code: int
    cpu_seconds: float
    killed_for: Reason | None
    out_of_memory: int
    cpu_limit: int


def verdict(end: End) -> Verdict:
    """The worst thing that is known of it comes first.

    A main program can exit 0 while a child of it was killed for memory, hence the counter.
    """
    if end.out_of_memory > 0:
        return "memory limit"
    if end.killed_for is not None:
        return end.killed_for
    if end.exit_code == -signal.SIGSYS:
        return "forbidden"
    # the first process of a namespace cannot kill itself: the kernel did, or someone on the host.
    # The kernel's limit counts ticks, which on a loaded machine run up to 1.4 times ahead
    if end.exit_code == -signal.SIGKILL:
        return "cpu limit" if end.cpu_seconds > 0.5 * end.cpu_limit else "lost"
    if end.exit_code == OUT_OF_MEMORY:
        return "memory limit"
    return "ok" if end.exit_code == 0 else "error"
