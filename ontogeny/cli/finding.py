"""One thing that `ontogeny doctor` found, and how a list of them is printed. Looks at nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "problem"]


@dataclass(frozen=True)
class Finding:
    """What is so, and for a note or a problem what to do about it.

    A `problem` keeps `ontogeny run quickstart` from working; a `note` is worth knowing.
    """

    section: str
    state: State
    text: str
    remedy: str = ""

    def line(self) -> str:
        """One line for a person."""
        return f"  {self.state:<8} {self.text}{'; ' if self.remedy else ''}{self.remedy}"


def looked(section: str, look: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """What `look` finds; should it fail itself, that is a finding too and the others are told."""
    found: list[Finding] = []
    try:
        found += look()
    except Exception as error:
        text = " ".join(str(error).split()) or "no reason given"
        remedy = "this part could not be looked at; mend that, or report it as a fault of ours"
        found.append(Finding(section, "problem", f"{type(error).__name__}: {text}", remedy))
    return found


def report(findings: list[Finding]) -> list[str]:
    """All findings by section, in the order in which they came."""
    lines: list[str] = []
    for section in dict.fromkeys(finding.section for finding in findings):
        lines.append(section)
        lines += [finding.line() for finding in findings if finding.section == section]
    return lines
