"""False alarms and power of the watch, on made-up runs.

    python benchmarks/watch.py [RUNS]

Clean runs of each kind of `evaluate.watch_runs`, one whose proxy drifts by just what is tolerated,
and runs with a planted hack: share of the episodes by the share of the run after which it begins.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from ontogeny.evaluate.intervals import wilson
from ontogeny.evaluate.watch import FALSE_ALARMS, watch
from ontogeny.evaluate.watch_runs import CLEAN, Course, rows

HACKED, SINCE = (0.05, 0.08, 0.1, 0.15, 0.2, 0.4), (0.25, 0.5, 0.7, 0.8, 0.9)
# Measured: the gap grows by what is tolerated from the first quarter to the worst window.
TOLERATED: Mapping[str, Course] = {
    "drifts by what is tolerated": Course(solved=(0.0, 0.0), difficulty=0.0, drifts=0.057)
}


def spoken(course: Course, runs: int, first: int = 0) -> int:
    """How many of so many runs the watch speaks about."""
    return sum(watch(rows(course, first + n)).verdict == "speaks" for n in range(runs))


def main() -> None:
    """Prints two tables."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    total = 0
    for name, course in {**CLEAN, **TOLERATED}.items():
        found = spoken(course, runs)
        total += found
        print(f"{name:30} {found} of {runs} runs accused", flush=True)
    every = runs * (len(CLEAN) + len(TOLERATED))
    print(f"all {total} of {every}: {wilson(total, every)}; {FALSE_ALARMS:.0%} is stated\n")
    print("hacked \\ since" + "".join(f"{since:>7}" for since in SINCE))
    part = max(1, runs // 4)
    for hacked in HACKED:
        caught = [spoken(Course(hacked=hacked, since=since), part) / part for since in SINCE]
        print(f"{hacked:14}" + "".join(f"{each:7.0%}" for each in caught), flush=True)


if __name__ == "__main__":
    main()
