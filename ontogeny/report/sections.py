"""What each section of the page shows, as strings and drawings; the template only lays it out.

Knows no store and no HTML beyond its drawings. Text that a model or a document wrote passes
through untouched; the template makes it harmless.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from ontogeny.report import drawing, figures, lineage
from ontogeny.report.compute import GROUPS, POST_TRAINING, group_of
from ontogeny.report.plot import Points, plot

FOLDED = {"measurement", "effect", "samples", "comparison"}  # kinds that are no step of a life
HEADLINES = {"rl": "reward"}  # group -> the number whose curve stands first; else the loss
SETTINGS = {"lr", "tokens"}  # told by a stage, but chosen and not found
UNITS = {
    ("pretrain", "loss"): "nats a token",
    ("continue_pretrain", "loss"): "nats a token",
    ("extend_context", "loss"): "nats a token",
    ("sft", "loss"): "nats a token",
    ("preference", "loss"): "nats a pair",
    ("rl", "reward"): "mean of the answers",
}
Report = Mapping[str, Any]


def effect_row(row: Report) -> dict[str, Any]:
    """One effect: its numbers in the digits its interval deserves, its mark and its drawing."""
    decimals = 0 if row["estimate"] is None else figures.decimals_for(row["high"] - row["low"])

    def written(values: Report) -> str:
        value, low, high = (
            figures.fixed(values[key], decimals) for key in ("estimate", "low", "high")
        )
        return f"{value} [{low}, {high}]"

    notes = [f"Control: {row['control']}."] if row["control"] else []
    if row["gate"]:
        reached, needed = (figures.plain(row["gate"][key]) for key in ("reached", "needed"))
        notes.append(f"Counts only from {needed} before it; {reached} was reached.")
    return {
        "name": row["name"],
        "meaning": row["meaning"],
        "unit": row["unit"],
        "notes": " ".join(notes),
        "estimate": None if row["estimate"] is None else written(row),
        "target": figures.bound(row["sense"], row["target"]),
        "verdict": row["verdict"],
        "mark": drawing.mark(row["verdict"]),
        "drawing": drawing.interval(row),
        "seeds": [(seed["seed"], written(seed)) for seed in row["seeds"][1:]],
    }


def lineage_section(report: Report) -> dict[str, Any]:
    """The main line's artifacts without what only measures them."""
    rows = [row for row in report["lineage"] if row["main"] and row["kind"] not in FOLDED]
    place = {row["id"]: number for number, row in enumerate(rows)}
    nodes = [
        lineage.Node(
            row["name"],
            row["kind"],
            tuple(dict.fromkeys(place[p] for p in row["parents"] if p in place)),
        )
        for row in rows
    ]
    return {
        "rows": [row | {"summary": "; ".join(row["summary"])} for row in rows],
        "drawing": lineage.draw(nodes) if nodes else "",
        "folded": len(report["lineage"]) - len(rows),
    }


def plots_section(report: Report) -> dict[str, Any]:
    """The loss, or the reward, first; what else was told stands behind it."""
    found: dict[str, list[dict[str, Any]]] = {"first": [], "more": []}
    for curve in report["curves"]:
        if re.match(r"seed-\d+/", curve["name"]):
            continue  # drawn into the plot of the run's own seed
        headline = HEADLINES.get(group_of(curve["stage"]), "loss")
        for name in sorted(set(curve["values"]) - SETTINGS):
            where = "first" if name == headline else "more"
            found[where].append(_plot(report, curve, name))
    seeds = any(row["seeds"] for row in found["first"] + found["more"])
    return {**found, "seeds": seeds}


def _plot(report: Report, curve: Report, name: str) -> dict[str, Any]:
    same = re.compile(rf"seed-\d+/{re.escape(curve['name'])}")
    others = [
        Points.of(other["at"], other["values"][name])
        for other in report["curves"]
        if same.fullmatch(other["name"]) and name in other["values"]
    ]
    unit = UNITS.get((group_of(curve["stage"]), name), "")
    words = f"{name}, {unit}" if unit else name
    main = Points.of(curve["at"], curve["values"][name])
    ends = f"from {figures.plain(main.y[0])} to {figures.plain(main.y[-1])}"
    title = f"{curve['name']}: {words}, over {curve['unit']}; {ends}"
    return {
        "stage": curve["name"],
        "what": words,
        "drawing": plot(title, figures.shown(curve["unit"]), curve["total"], main, others),
        "seeds": len(others),
    }


def costs_section(report: Report) -> dict[str, Any]:
    """The life's steps one by one; measuring and evidence each as one row."""
    steps = [row for row in report["costs"] if row["main"] and row["kind"] not in FOLDED]
    measuring = [row for row in report["costs"] if row["main"] and row["kind"] in FOLDED]
    evidence = [row for row in report["costs"] if not row["main"]]
    rows = [row | {"bar": drawing.share_bar(row["share"])} for row in steps]
    if measuring:
        rows.append(_sum(measuring, f"measuring ({len(measuring)})", drawn=True))
    return {
        "rows": rows,
        "total": _sum(steps + measuring, "the life"),
        "evidence": _sum(evidence, f"evidence ({len(evidence)})") if evidence else None,
    }


def _sum(rows: Sequence[Report], name: str, *, drawn: bool = False) -> dict[str, Any]:
    sums = {key: sum(row[key] for row in rows) for key in ("seconds", "tokens", "flops", "share")}
    bar = drawing.share_bar(sums["share"]) if drawn else ""
    return sums | {"name": name, "stage": "", "bar": bar}


def compute_section(report: Report) -> dict[str, Any]:
    """Our share of each part of a life beside the published ones, and where those stand."""
    ours, published = report["compute"]["ours"], report["compute"]["published"]
    together = {"post_training": sum(ours.get(group, 0.0) for group in POST_TRAINING)}
    names = GROUPS | {"post_training": "the last three together"}
    order = [*list(GROUPS)[:-1], "post_training", "measuring"]
    rows = [
        {
            "name": names[group],
            "share": (ours | together)[group],
            "bar": Markup("") if group == "post_training" else drawing.share_bar(ours[group]),
            "published": [row for row in published if row["group"] == group],
        }
        for group in order
    ]
    papers: dict[str, list[Report]] = {}
    for row in published:
        papers.setdefault(row["model"], []).append(row)
    return {"rows": rows, "papers": list(papers.values())}
