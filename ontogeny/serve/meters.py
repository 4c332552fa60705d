"""What was done, for Prometheus (text format 0.0.4) and for the log. No text of any request."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_HELP = {
    "requests_total": ("counter", "Requests by route and status."),
    "prompt_tokens_total": ("counter", "Tokens of prompts that were answered."),
    "sampled_tokens_total": ("counter", "Tokens of answers."),
    "exchanges_total": ("counter", "Requests answered, by whether the ledger keeps them."),
    "feedback_total": ("counter", "Ratings kept, by whether they were there before."),
    "answers_total": ("counter", "Requests answered, by who stands where."),
    "shadow_total": ("counter", "Requests for a shadow, by what became of them."),
    "switches_total": ("counter", "How often another model became live."),
    "switch_failures_total": ("counter", "How often a model could not be made to stand."),
    "judged_total": ("counter", "Exchanges of the ledger whose answers a rule judged."),
    "request_seconds": ("histogram", "From a request's head to its answer's end."),
    "first_token_seconds": ("histogram", "From a request's body to the first token."),
    "inside": ("gauge", "Answers under way or waiting."),
    "healthy": ("gauge", "1 while the model answers."),
    "failures_total": ("counter", "How often the model failed."),
    "model_info": ("gauge", "1 for each artifact that is asked, by who stands where."),
    "drift_alarm": ("gauge", "1 for each signal that has left its reference, by its way."),
}


class Meters:
    """Counters and histograms by name."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], float] = {}
        self._buckets: dict[str, list[int]] = {}
        self.gauges: dict[str, float] = {}
        """What whoever looks beside the answering last found, by name with labels."""

    def add(self, name: str, amount: float = 1.0, **labels: str | int) -> None:
        """Counts; labels are ours, never a client's text."""
        told = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
        key = (name, f"{{{told}}}" if told else "")
        self._counts[key] = self._counts.get(key, 0.0) + amount

    def set(self, name: str, amount: float) -> None:
        """A count that is kept elsewhere."""
        self._counts[(name, "")] = amount

    def time(self, name: str, seconds: float) -> None:
        """One more of a histogram."""
        found = self._buckets.setdefault(name, [0] * (len(SECONDS) + 1))
        found[sum(seconds > bound for bound in SECONDS)] += 1
        self.add(f"{name}_sum", seconds)

    def text(self, gauges: Mapping[str, float]) -> str:
        """Everything, with what is only known now.

        Args:
            gauges: by name, with labels in braces if it has any.
        """
        gauges = {**self.gauges, **gauges}
        lines: list[str] = []
        for name, (kind, help_) in _HELP.items():
            lines += [f"# HELP ontogeny_{name} {help_}", f"# TYPE ontogeny_{name} {kind}"]
            if kind == "gauge":
                told = {key: n for key, n in gauges.items() if key.partition("{")[0] == name}
                lines += [f"ontogeny_{key} {n:g}" for key, n in told.items()]
            elif kind == "histogram":
                lines += self._histogram(name)
            else:
                rows = [(labels, n) for (each, labels), n in self._counts.items() if each == name]
                lines += [f"ontogeny_{name}{labels} {n:g}" for labels, n in sorted(rows)]
        return "\n".join(lines) + "\n"

    def _histogram(self, name: str) -> list[str]:
        counts = self._buckets.get(name, [0] * (len(SECONDS) + 1))
        below = 0
        lines = []
        for bound, count in zip((*map(str, SECONDS), "+Inf"), counts, strict=True):
            below += count
            lines.append(f'ontogeny_{name}_bucket{{le="{bound}"}} {below}')
        total = self._counts.get((f"{name}_sum", ""), 0.0)
        return [*lines, f"ontogeny_{name}_sum {total:g}", f"ontogeny_{name}_count {below}"]


class Log:
    """One JSON object a line: who (the key's name), what route, how it ended, how much of it.

    Never a prompt, an answer, a key or a header; JSON in ASCII keeps all of it on one line.
    """

    def __init__(self, file: TextIO | None = None) -> None:
        self._file = sys.stderr if file is None else file

    def write(self, **told: Any) -> None:
        """One line, flushed."""
        row = {"time": round(time.time(), 3), **told}
        print(json.dumps(row, default=str), file=self._file, flush=True)
