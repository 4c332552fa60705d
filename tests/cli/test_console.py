"""A person sees a bar on a terminal, plain lines elsewhere, and never a raw control character."""

import io

import pytest

from ontogeny.cli.console import Console


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def play(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> str:
    now = iter(range(0, 10**6, 6))
    monkeypatch.setattr("time.monotonic", lambda: float(next(now)))
    console = Console(stream)
    console.write({"event": "began", "stage": "base", "id": "abc", "resumed": False})
    for step in range(1, 11):
        event = {"stage": "base", "done": step, "total": 10, "unit": "steps", "loss": 2.5}
        console.write({"event": "progress", **event})
    console.write(
        {
            "event": "published",
            "stage": "base",
            "id": "abc",
            "cost": {"seconds": 60.0},
            "summary": ["learnt\x1b[31m"],
            "notes": [],
        }
    )
    console.close()
    return stream.getvalue()


def test_without_a_terminal_there_are_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = play(io.StringIO(), monkeypatch).splitlines()
    assert lines[0].split() == ["base", "abc", "begins"]
    progress = [line for line in lines if "%" in line]
    assert all("loss 2.5" in line for line in progress)
    assert "steps/s" in progress[-1]
    assert "left" in progress[-1]
    assert lines[-2].endswith("done in 60.0 s")
    assert lines[-1].strip() == r"learnt\x1b[31m"


def test_on_a_terminal_there_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    shown = play(Terminal(), monkeypatch)
    assert "━" in shown
    assert "loss 2.5" in shown
    assert "done in 60.0 s" in shown
