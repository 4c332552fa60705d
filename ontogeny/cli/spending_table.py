"""A published life as plain text: figures checked, stages, sources; our budget split alike.

Knows no store and no budget; lines are at most `WIDTH` wide. A letter behind a figure says where it
stands (p published, d derived, e estimated), a number behind the letter in which source.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from ontogeny.cli.amounts import columns
from ontogeny.plan.checks import Check, checks, flops_with_attention
from ontogeny.plan.plan import Plan
from ontogeny.plan.published import Figure, Mixture, PublishedRun, PublishedStage, library
from ontogeny.plan.spending import BY_6ND, FLOP, Part, Spending, spending
from ontogeny.plan.split import TOGETHER, Beside, Slice, beside

WIDTH = 100
NOT_PUBLISHED = "not published"
LEGEND = "p published, d derived from published figures, e estimated; the number is the source"
REMARKS = {"read": "", "transcribed": " (read in a transcription)", "memory": " (from memory)"}


class Sources:
    """Numbers sources in the order of their first use."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def mark(self, figure: Figure | Mixture) -> str:
        """The figure's letter and the number of its source: p3."""
        return f"{figure.standing[0]}{self.number(figure.source, figure.checked)}"

    def number(self, source: str, checked: str | None) -> int:
        """The number of a source; how far it was checked is part of it."""
        text = source if source == BY_6ND else source + REMARKS[checked or "read"]
        return self._numbers.setdefault(text, len(self._numbers) + 1)

    def lines(self) -> Iterator[str]:
        """One source a line, long ones wrapped."""
        for text, number in self._numbers.items():
            yield from wrapped(text, f"  [{number}] ")


def run_lines(run: PublishedRun) -> list[str]:
    """One published run: what it is, figures beside arithmetic, stages, sources."""
    sources = Sources()
    lines = [f"{run.name}, {run.lab} {run.year}, {run.paper}"]
    lines += wrapped(run.note, "  ") if run.note else []
    lines += ["", *_check_lines(run, sources)]
    lines += ["", *_stage_lines(run, sources)]
    listed = list(sources.lines())
    return [*lines, "", LEGEND, *listed] if listed else lines


def _check_lines(run: PublishedRun, sources: Sources) -> Iterator[str]:
    found = checks(run)
    head = ("", "published", "computed", "difference", "tolerance")
    yield from columns([head, *(_check_cells(each, sources) for each in found)], right=(1, 2, 3))
    whole = flops_with_attention(run)
    if whole is not None:
        yield f"  with attention and without look-ups pretraining takes {power(whole)} FLOPs"
    if run.architecture is not None:
        number = sources.number(run.architecture_source, run.architecture_checked)
        yield f"  parameters are computed from the architecture in [{number}]"
    for each in found:
        if each.outlier:
            yield from wrapped(f"outlier in {each.what}: {each.outlier}", "  ")
    if run.hours_class is not None:
        about = library().hours_classes[run.hours_class].about
        text = f"hours computed: as other runs of this class used their hardware ({about})"
        yield from wrapped(text, "  ")
    if run.unfitted:
        yield from wrapped(f"not in the median of its class: {run.unfitted}", "  ")


def _check_cells(check: Check, sources: Sources) -> tuple[str, ...]:
    published = NOT_PUBLISHED
    if check.published is not None:
        published = f"{_value(check, check.published.value)} {sources.mark(check.published)}"
    computed = "-" if check.computed is None else _value(check, check.computed)
    if check.difference is None:
        return check.what, published, computed, "-", ""
    allowed = f"{100 * check.tolerance:.3g} %{', outlier' if check.outlier else ''}"
    return check.what, published, computed, f"{100 * check.difference:+.1f} %", allowed


def _value(check: Check, value: float) -> str:
    return power(value) if check.what.startswith("FLOPs") else large(value)


def _stage_lines(run: PublishedRun, sources: Sources) -> Iterator[str]:
    spent = spending(run)
    rows: list[tuple[str, ...]] = [("stage", "tokens", "context", "compute", "share")]
    below: list[list[str]] = [[]]
    for part in spent.parts:
        rows.append(_stage_cells(part, sources))
        for figure in part.stage.compute:
            if figure != _shown(part):
                rows.append(("", "", "", f"{compute(figure)} {sources.mark(figure)}", ""))
                below.append([])
        below.append(list(_stage_words(part.stage, sources)))
    for row, words in zip(columns(rows, right=(1, 2, 3, 4)), below, strict=True):
        yield row
        yield from words
    yield ""
    yield _whole(spent)


def _whole(spent: Spending) -> str:
    missing = [part for part in spent.parts if part.share is None]
    if len(missing) == len(spent.parts):
        return "shares: unknown, since compute is known of fewer than two stages"
    rest = "; stages without a share are not in it" if missing else ""
    return f"shares: of {_total(spent)}, the compute that is known{rest}"


def _total(spent: Spending) -> str:
    amount = power(spent.total) if spent.unit == FLOP else large(spent.total)
    return f"{amount} {_short(spent.unit)}"


def _short(unit: str) -> str:
    return unit.replace(" hours", " h")


def _stage_cells(part: Part, sources: Sources) -> tuple[str, ...]:
    stage, spent = part.stage, _shown(part)
    tokens = NOT_PUBLISHED
    if stage.tokens is not None:
        tokens = f"{large(stage.tokens.value)} {sources.mark(stage.tokens)}"
    context = f"{stage.context:,}" if stage.context else "-"
    cost = NOT_PUBLISHED if spent is None else f"{compute(spent)} {sources.mark(spent)}"
    share = "-" if part.share is None else f"{percent(part.share)} d"
    return stage.name, tokens, context, cost, share


def _shown(part: Part) -> Figure | None:
    """The compute in the stage's row: what the shares are of, else what else is published."""
    return part.spent or next(iter(part.stage.compute), None)


def _stage_words(stage: PublishedStage, sources: Sources) -> Iterator[str]:
    if stage.of:
        yield f"    this stage is that of {stage.of}"
    for figure in stage.examples:
        yield from wrapped(f"{large(figure.value)} {figure.unit}  {sources.mark(figure)}", "    ")
    if stage.data is not None:
        kinds = [
            each.kind if each.share is None else f"{each.kind} {100 * each.share:.3g} %"
            for each in stage.data.kinds
        ]
        yield from wrapped(f"data: {'; '.join(kinds)}  {sources.mark(stage.data)}", "    ")
    if stage.note:
        yield from wrapped(stage.note, "    ")


def split_lines(run: PublishedRun, plan: Plan) -> list[str]:
    """Our stages under our split of the plan's FLOPs and under that of `run`."""
    rows = beside(run, plan)
    head = ("stage", "context", "our share", "FLOPs", "tokens", "theirs", "FLOPs", "tokens", "")
    table = [head, *(_split_cells(row, plan) for row in rows)]
    lines = columns(table, right=(1, 2, 3, 4, 5, 6, 7))
    if any(row.ours.stage == TOGETHER for row in rows):
        lines.append(f"{TOGETHER}: sft, dpo and grpo together, of which {run.lab} prints one sum")
    return lines


def _split_cells(row: Beside, plan: Plan) -> tuple[str, ...]:
    ours = (row.ours.stage, f"{row.ours.context:,}", *_slice_cells(row.ours))
    if row.theirs is None:
        return *ours, "-", "-", "-", row.why
    remark = "below one batch" if row.theirs.tokens < plan.batch_tokens else ""
    return *ours, *_slice_cells(row.theirs), remark


def _slice_cells(part: Slice) -> tuple[str, str, str]:
    return percent(part.share), power(part.flops), large(round(part.tokens))


def list_lines(runs: Sequence[PublishedRun]) -> list[str]:
    """One run a line: sizes, tokens of pretraining, and the compute that is known."""
    rows: list[tuple[str, ...]] = [
        ("name", "lab", "year", "parameters", "active", "pretraining", "compute known, of stages")
    ]
    rows += [_list_cells(run) for run in runs]
    note = "- : not published, or the same as all parameters"
    return [*columns(rows, right=(3, 4, 5)), note]


def _list_cells(run: PublishedRun) -> tuple[str, ...]:
    spent = spending(run)
    known = [part.stage.group for part in spent.parts if part.spent is not None]
    cost = f"{_total(spent)}, {len(known)} of {len(run.stages)}" if known else "-"
    first = next((s.tokens for s in run.stages if s.group == "pretrain"), None)
    sizes = [run.parameters, run.active_parameters, first]
    cells = ["-" if each is None else large(each.value) for each in sizes]
    return run.slug, run.lab, str(run.year), *cells, cost


def wrapped(text: str, indent: str) -> list[str]:
    """`text` in lines of `WIDTH`, the later ones aligned below the first."""
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=" " * len(indent))


def large(value: float) -> str:
    """Four digits at most: 14.8 T, 671 B, 2.664 M, 27,540, 24.33."""
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6)):
        if float(f"{value:.4g}") >= size:
            return f"{value / size:.4g} {unit}"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def power(value: float) -> str:
    """Three digits and a power of ten: 3.8e25."""
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def percent(share: float) -> str:
    """95.6 %, 4.27 %, 0.18 %, < 0.01 %."""
    value = 100 * share
    if 0 < value < 0.01:
        return "< 0.01 %"
    return f"{value:.2f} %" if value < 9.995 else f"{value:.1f} %"


def compute(figure: Figure) -> str:
    """FLOPs as a power, hours and petaflop/s-days by their size."""
    if figure.unit == FLOP:
        return f"{power(figure.value)} FLOP"
    return f"{large(figure.value)} {_short(figure.unit)}"
