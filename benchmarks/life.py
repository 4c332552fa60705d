"""What a life costs and reaches: plays quickstart (what exists is skipped), prints its report.

    make bench-life                        # the main line
    python benchmarks/life.py evidence     # with control arms and two more seeds

One JSON line a figure; there is no peer that does all of it, so `peers` is empty and `ratio` null.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PROGRAM = [sys.executable, "-m", "ontogeny"]
RECIPES = {"quickstart": "quickstart", "evidence": "quickstart:evidence"}


def main(which: str = "quickstart") -> None:
    """Plays and prints."""
    if which not in RECIPES:
        sys.exit(f"error: no life '{which}'; give one of {', '.join(RECIPES)}")
    subprocess.run([*PROGRAM, "run", RECIPES[which]], check=True, stdout=sys.stderr)
    report = json.loads(Path("life", "reports", which, "report.json").read_text())
    for effect in report["effects"]:
        keys = ("low", "high", "null", "target", "sense", "verdict", "seeds", "control")
        row("effect/" + effect["name"], effect["unit"], effect["estimate"], effect, keys)
    for cost in report["costs"]:
        row("seconds/" + cost["name"], "s", cost["seconds"], cost, ("tokens", "flops", "share"))
    row("seconds", "s", sum(cost["seconds"] for cost in report["costs"]), {}, ())


def row(name: str, unit: str, ours: float | None, source: dict[str, Any], keys: Any) -> None:
    """One line in the form of all benchmarks here."""
    line = {"bench": f"life/{name}", "unit": unit, "ours": ours, "peers": {}, "ratio": None}
    line |= {"limit": None, "share_of_limit": None} | {key: source[key] for key in keys}
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:2])
