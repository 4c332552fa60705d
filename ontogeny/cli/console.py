"""Shows a run to a person: a bar where there is a terminal, plain lines where there is none.

Knows events only. Everything goes to standard error, so that standard output stays for results.
"""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO

from rich.console import Console as RichConsole
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from ontogeny.base.errors import printable

PLAIN_SECONDS = 10.0


class Console:
    """A sink that prints. On a terminal progress is a bar; else one line every ten seconds."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._stage_began: dict[str, tuple[float, float]] = {}
        self._last_line = time.monotonic()

    def write(self, event: dict[str, Any]) -> None:
        """Prints one event, where it is of interest to a person."""
        kind = event["event"]
        if kind == "progress":
            self._progress(event)
            return
        if kind in ("began", "published", "skipped", "stopped"):
            self._end_bar()
        show = getattr(self, f"_on_{kind}", None)
        if show is not None:
            show(event)

    def close(self) -> None:
        """Ends the bar."""
        self._end_bar()

    def line(self, text: str) -> None:
        """Prints one line above the bar, or plainly."""
        if self._bar is not None:
            self._bar.console.print(printable(text), markup=False, highlight=False)
        else:
            print(printable(text), file=self.stream, flush=True)

    def _on_skipped(self, event: dict[str, Any]) -> None:
        note = "; made by other code of ours" if event["other_code"] else ""
        self.line(f"{event['stage']:<12} {event['id']}  exists{note}")

    def _on_began(self, event: dict[str, Any]) -> None:
        self._stage_began.pop(event["stage"], None)
        word = "goes on" if event["resumed"] else "begins"
        self.line(f"{event['stage']:<12} {event['id']}  {word}")

    def _on_published(self, event: dict[str, Any]) -> None:
        self.line(f"{event['stage']:<12} {event['id']}  done in {event['cost']['seconds']:.1f} s")
        for text in (*event["summary"], *event["notes"]):
            self.line(f"{'':<14}{text}")

    def _on_not_continued(self, event: dict[str, Any]) -> None:
        self.line(
            f"{event['stage']:<12} half-finished {event['id']} is not continued: "
            f"{', '.join(event['differs'])} differ"
        )

    def _on_resumed(self, event: dict[str, Any]) -> None:
        self.line(f"{event['stage']:<12} resumes at step {event['step']}{event.get('note', '')}")

    def _on_warning(self, event: dict[str, Any]) -> None:
        self.line(f"{event.get('stage', ''):<12} warning: {event['message']}")

    def _progress(self, event: dict[str, Any]) -> None:
        text = self._describe(event)
        if self.stream.isatty():
            self._advance_bar(event, text)
        elif time.monotonic() - self._last_line >= PLAIN_SECONDS:
            self._last_line = time.monotonic()
            share = event["done"] / max(event["total"], 1e-9)
            self.line(f"{event['stage']:<12} {share:4.0%}  {text}")

    def _describe(self, event: dict[str, Any]) -> str:
        now = time.monotonic()
        began, first = self._stage_began.setdefault(event["stage"], (now, event["done"]))
        known = ("event", "stage", "done", "total", "unit")
        words = [f"{key} {value:.4g}" for key, value in event.items() if key not in known]
        rate = (event["done"] - first) / (now - began) if now > began else 0.0
        if rate > 0:
            left = (event["total"] - event["done"]) / rate
            words = [f"{rate:,.0f} {event['unit']}/s", *words, f"{_clock(left)} left"]
        return "  ".join(words)

    def _advance_bar(self, event: dict[str, Any], text: str) -> None:
        if self._bar is None:
            self._bar = Progress(
                TextColumn("{task.description:<12}"),
                BarColumn(30),
                TextColumn("{task.percentage:3.0f} %  {task.fields[text]}"),
                console=RichConsole(file=self.stream),
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(event["stage"], total=event["total"], text="")
        assert self._task is not None
        self._bar.update(
            self._task,
            description=event["stage"],
            completed=event["done"],
            total=event["total"],
            text=text,
        )

    def _end_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
