"""The report as one HTML file that needs nothing else: no request, no script, no font.

Knows no store: the page is a pure function of report.json. Whatever a model or a document wrote is
escaped by the template engine, its control characters made harmless before that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ontogeny.report import figures, sections

TEMPLATE = "page.html.jinja"
VERDICTS = {  # of one effect, of several
    "holds": ("holds", "hold"),
    "short": ("falls short of its target", "fall short of their targets"),
    "null": ("cannot be told from nothing", "cannot be told from nothing"),
    "worse": ("lies on the wrong side", "lie on the wrong side"),
    "untested": ("was not tested", "were not tested"),
}
Report = Mapping[str, Any]


def render(report: Report) -> str:
    """The page of a report (the dictionary of report.json)."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        shown=figures.shown,
        count=figures.count,
        power=figures.power,
        duration=figures.duration,
        percent=figures.percent,
    )
    shared = [row for row in report["prompts"] if len(row["stages"]) > 1]
    return environment.get_template(TEMPLATE).render(
        report=report,
        facts=_facts(report),
        story=_story(report),
        effects=[sections.effect_row(row) for row in report["effects"]],
        lineage=sections.lineage_section(report),
        shared=shared,
        single=[row for row in report["prompts"] if row not in shared],
        plots=sections.plots_section(report),
        costs=sections.costs_section(report),
        compute=sections.compute_section(report),
    )


def _facts(report: Report) -> list[tuple[str, str]]:
    made = report["made"]
    versions = made["versions"] or {}
    software = [f"Python {made['python']}"] if made["python"] else []
    software += [f"{name} {versions[name]}" for name in ("ontogeny", "torch") if name in versions]
    machine = [str(made["platform"] or "").partition("-")[0] or "unknown"]
    if made["processors"]:
        machine.append(f"{made['processors']} CPU cores")
    return [
        ("budget", report["budget"]),
        ("seed", str(report["seed"])),
        ("date", str(made["finished"] or "")[:10]),
        ("machine", ", ".join(machine)),
        ("software", ", ".join(software)),
    ]


def _story(report: Report) -> list[str]:
    """What this life did, in a few sentences whose every number stands further down."""
    main = [row for row in report["costs"] if row["main"]]
    models = [node["name"] for node in report["lineage"] if node["main"] and _is_model(node)]
    seconds, flops = (sum(row[key] for row in main) for key in ("seconds", "flops"))
    memory = report["made"]["peak_memory_bytes"]
    lines = [
        f"{figures.duration(seconds)} of work and {figures.power(flops)} FLOPs made "
        f"{len(main)} artifacts"
        + (f" in at most {memory / 1e9:.2g} GB of memory." if memory else ".")
    ]
    if models:
        lines.append("The model in its stages: " + ", ".join(models) + ".")
    rows = report["effects"]
    counts = {word: sum(row["verdict"] == word for row in rows) for word in VERDICTS}
    told = [f"{n} {VERDICTS[word][n > 1]}" for word, n in counts.items() if n]
    if len(told) == 1:
        told = ["all " + told[0] if len(rows) > 1 else told[0]]
    if rows:
        effects = "effects" if len(rows) > 1 else "effect"
        lines.append(f"Of {len(rows)} {effects} claimed, {_and(told)}.")
    return lines


def _and(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def _is_model(node: Report) -> bool:
    return bool(node["kind"] == "model")
