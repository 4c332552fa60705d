"""How long an alarm over traffic keeps quiet while nothing changes, and how soon it finds a change.

    python benchmarks/alarm.py [RUNS]

The reference is measured on 200 exchanges in every run. False alarms are counted over as many
exchanges as the stated mean time to one (1,000 here, so that they can be counted at all); the delay
is the median number of exchanges from the change to the alarm at 10,000, the default.
"""

from __future__ import annotations

import sys

import numpy as np

from ontogeny.evaluate.alarm import FIRST, Alarm

LEVELS = (0.02, 0.1, 0.3, 0.5, 0.9)
CHANGES = (0.05, 0.1, 0.2, 0.4)


def until(source: np.random.Generator, before: float, after: float, length: int, run: int) -> int:
    """Exchanges until the first alarm, `length` + 1 without one; the change comes at once."""
    alarm = Alarm(("signal",), run_length=run)
    for observed in source.random(FIRST) < before:
        alarm.see("signal", float(observed))
    for number, observed in enumerate(source.random(length) < after):
        if alarm.see("signal", float(observed)):
            return number + 1
    return length + 1


def main() -> None:
    """Two tables."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    source = np.random.default_rng(0)
    print(f"false alarms within 1,000 exchanges of a mean time of 1,000, percent of {runs:,} runs")
    for level in LEVELS:
        false = sum(until(source, level, level, 1000, 1000) <= 1000 for _ in range(runs))
        print(f"  level {level:<5} {100 * false / runs:6.1f}", flush=True)
    print("median exchanges until an alarm, by the change (above 3,000: not found within them)")
    print(f"{'level':<12}" + "".join(f"{change:>+8.2f}" for change in CHANGES))
    for level in LEVELS:
        row = []
        for change in CHANGES:
            after = level + change if level + change <= 1 else level - change
            found = [until(source, level, after, 3000, 10_000) for _ in range(max(20, runs // 10))]
            row.append(float(np.median(found)))
        print(f"{level:<12}" + "".join(f"{each:>8,.0f}" for each in row), flush=True)


if __name__ == "__main__":
    main()
