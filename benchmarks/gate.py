"""How often a gate errs, on made-up pairs of models whose true difference is known.

    python benchmarks/gate.py [RUNS]

Prints how often `keep` passes a candidate that is worse by exactly its margin (2.5 % is stated),
how often `gain` passes one that changed nothing, and how often true changes are seen.
"""

from __future__ import annotations

import sys

from ontogeny.evaluate.gate_trials import TRIALS, rate

SIZES = (20, 50, 100, 200, 400, 1000)
MARGINS = (0.02, 0.05, 0.1)


def main() -> None:
    """Three tables."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 4000
    head = "".join(f"{units:>8,}" for units in SIZES)
    print(f"keep: worse by exactly the margin, and yet passed (percent of {runs:,})")
    print(f"{'units':<26}{head}")
    for kind in TRIALS:
        for margin in MARGINS:
            shares = [rate(kind, "keep", margin, -margin, units, runs).value for units in SIZES]
            row(f"{kind}, {margin:g}", shares)
    print(f"gain: nothing changed, and yet passed (percent of {runs:,})\n{'units':<26}{head}")
    for kind in TRIALS:
        row(kind, [rate(kind, "gain", 0.0, 0.0, units, runs).value for units in SIZES])
    few = max(200, runs // 10)
    print(f"keep 0.05: nothing changed, and passed (percent of {few:,})\n{'units':<26}{head}")
    for kind in TRIALS:
        row(kind, [rate(kind, "keep", 0.05, 0.0, units, few).value for units in SIZES])
    print(f"gain above 0: truly better, and passed (percent of {few:,})\n{'units':<26}{head}")
    for kind in TRIALS:
        for change in MARGINS:
            shares = [rate(kind, "gain", 0.0, change, units, few).value for units in SIZES]
            row(f"{kind}, +{change:g}", shares)


def row(name: str, shares: list[float]) -> None:
    """One line of a table."""
    print(f"{name:<26}" + "".join(f"{100 * share:>8.1f}" for share in shares), flush=True)


if __name__ == "__main__":
    main()
