"""A program and its calls as one job of the sandbox, and what came of it as plain values.

Knows nothing of what is expected.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ontogeny.environments import programs_inside
from ontogeny.environments.hidden_tests import Sheet, Unlike, canonical
from ontogeny.environments.programs_inside import CALLS, COMPILED, MOST_NAME, SOLUTION
from ontogeny.rollout.sandbox.job import Job, Result
from ontogeny.rollout.sandbox.limits import MEGABYTE, Limits

LIMITS = Limits(
    cpu_seconds=2,
    wall_seconds=10.0,
    memory_bytes=128 * MEGABYTE,
    processes=1,
    output_bytes=MEGABYTE // 4,
    tmp_bytes=2 * MEGABYTE,
    tmp_files=64,
    file_bytes=MEGABYTE,
    open_files=32,
)
"""All calls of one program together: functions on small inputs, no threads, no processes."""
HARNESS = Path(programs_inside.__file__).read_text(encoding="utf-8")


@dataclass(frozen=True)
class Ran:
    """What came of a program.

    Attributes:
        verdict: the sandbox's; "syntax" where it does not compile, "ended itself" where it left
            before it was asked, "forged" where what was written is not what we write inside.
        compiled: told before anything of the program ran.
        failed: the name of what was raised as it was loaded.
        values: `canonical`, one for each call; None where something else than data came of it.
    """

    verdict: str
    compiled: bool
    failed: str = ""
    values: Sequence[str | None] = ()


def job(tests: Sheet, program: str) -> Job:
    """`program` with the calls of all `tests`, and without a value of what they expect."""
    source = program.encode("utf-8", "surrogatepass")
    calls = tests.calls().encode("utf-8", "surrogatepass")
    return Job(HARNESS, files={SOLUTION: source, CALLS: calls}, limits=LIMITS)


def read(result: Result, calls: int) -> Ran:
    """What a job says of so many calls, nothing of it trusted; no values unless it ended well."""
    compiled = result.stdout.startswith(COMPILED)
    if result.verdict != "ok":
        return Ran(result.verdict, compiled)
    if not compiled:
        return Ran("forged" if result.stdout else "syntax", compiled=False)
    said = result.stdout[len(COMPILED) :]
    if not said:
        return Ran("ended itself", compiled=True)
    try:
        failed, answers = json.loads(said)
        if failed is not None:
            return Ran("ok", True, str(failed)[:MOST_NAME])
        values = [_value(each) for each in answers]
        return Ran("ok", True, "", values) if len(values) == calls else Ran("forged", True)
    except (ValueError, TypeError, RecursionError):
        return Ran("forged", compiled=True)


def _value(answer: Any) -> str | None:
    kind, told = answer
    if kind != "value":
        return None
    try:
        return canonical(told)
    except Unlike:
        return None
