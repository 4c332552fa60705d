"""Sources -> corpus: read, clean, filter, deduplicate, split, decontaminate, with every reason."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pyarrow as pa

from ontogeny.base.config import execution
from ontogeny.base.errors import InputError
from ontogeny.base.files import write_json
from ontogeny.corpus.build import build, read_all
from ontogeny.corpus.decontaminate import Item
from ontogeny.corpus.files import write_table
from ontogeny.corpus.sources import default_rules, fingerprint, parse, rules_of
from ontogeny.corpus.table import documents_table
from ontogeny.environments.catalogue import collection, environment
from ontogeny.environments.environment import Environment, as_documents
from ontogeny.run.work import Made, Work


@dataclass(frozen=True)
class Prepare:
    """Makes a corpus of real documents and generated tasks.

    `sources` are DOMAIN=SPEC (see `ontogeny.corpus.sources`); where they lie is execution, what
    they contain is identity. About `tasks` documents are generated, evenly from every environment
    of the `collections`; `exam` says how many tasks of which environment are set aside and kept
    out of training text. `heldout` is the share of a domain's documents that is reported on,
    `validation` the share of the rest by which settings are chosen.

    Raises:
        InputError: naming the source, the file and the line that is wrong.
    """

    sources: tuple[str, ...] = execution(())
    heldout: Mapping[str, float] = field(default_factory=lambda: {"english": 0.1, "code": 0.1})
    validation: Mapping[str, float] = field(default_factory=dict)
    tasks: int = 0
    collections: tuple[str, ...] = ("generated",)
    exam: Mapping[str, int] = field(default_factory=dict)

    stage: ClassVar[str] = "prepare"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ()
    makes: ClassVar[str] = "corpus"

    def __post_init__(self) -> None:
        if self.tasks < 0 or any(count < 0 for count in self.exam.values()):
            raise InputError("tasks and exam are counts; give 0 or more")
        if self.tasks and not self.collections:
            raise InputError(f"tasks is {self.tasks} but there are no collections; name one")
        for name in ("heldout", "validation"):
            for domain, share in getattr(self, name).items():
                if not 0 < share < 1:
                    raise InputError(f"{name}.{domain} is {share}; give a share between 0 and 1")

    def identity(self) -> dict[str, Any]:
        """The content of the sources, in place of where they lie."""
        self._rules()
        return {"sources": [[parse(spec).domain, _fingerprint(spec)] for spec in self.sources]}

    def __call__(self, work: Work) -> Made:
        """Writes train, heldout, exam and removed tables and report.json."""
        steps = len(self.sources) + 2
        tables, gone = [], []
        for done, spec in enumerate(self.sources):
            work.progress(done, steps, "steps")
            found = read_all([spec], [_fingerprint(spec)])
            tables.append(found.kept)
            gone.append(found.removed)
        seed = work.named_seed("tasks")
        tables.append(self._tasks(seed))
        exam = _documents(
            "exam", {environment(name): count for name, count in self.exam.items()}, seed
        )
        work.progress(steps - 2, steps, "steps")
        corpus = build(
            pa.concat_tables(tables),
            pa.concat_tables(gone) if gone else None,
            rules=self._rules(),
            heldout_share=self.heldout,
            validation_share=self.validation,
            exam=[Item(row["id"], row["text"]) for row in exam.to_pylist()],
            seed=work.named_seed("split"),
        )
        work.progress(steps - 1, steps, "steps")
        for name, table in (*corpus.sides.items(), ("removed", corpus.removed)):
            write_table(work.payload, name, table)
        write_table(work.payload, "exam", exam)
        write_json(work.payload / "report.json", corpus.report)
        work.progress(steps, steps, "steps")
        summary = _summary(corpus.report, self._rules())
        return Made(metrics=_metrics(corpus.report), summary=summary)

    def _rules(self) -> dict[str, str]:
        rules = rules_of(self.sources)
        if self.tasks and rules.get("tasks", "tasks") != "tasks":
            raise InputError("domain 'tasks' holds generated tasks; call the source's another name")
        return rules

    def _tasks(self, seed: int) -> pa.Table:
        if not self.tasks:
            return documents_table(())
        known = [each for name in self.collections for each in collection(name)]
        share = -(-self.tasks // len(known))
        return _documents("train", dict.fromkeys(known, share), seed)


@functools.cache
def _fingerprint(spec: str) -> str:
    return fingerprint(spec)


def _documents(split: str, counts: Mapping[Environment, int], seed: int) -> pa.Table:
    """Tasks as text with their answers, so many of each environment."""
    return documents_table(
        document
        for each, count in counts.items()
        for document in as_documents(each.name, each.tasks(split, count, seed))
    )


def _metrics(report: Mapping[str, Any]) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for domain, sections in report.items():
        for section in ("kept", "removed"):
            for name, counts in sections[section].items():
                metrics[f"{domain}.{section}.{name}.documents"] = counts["documents"]
                metrics[f"{domain}.{section}.{name}.bytes"] = counts["bytes"]
        for name, counts in sections["changed"].items():
            metrics[f"{domain}.changed.{name}.documents"] = counts["documents"]
    return metrics


def _summary(report: Mapping[str, Any], rules: Mapping[str, str]) -> tuple[str, ...]:
    lines = []
    for domain, sections in report.items():
        name = rules.get(domain) or default_rules(domain)
        called = domain if name == domain else f"{domain} (rules {name})"
        kept = sections["kept"]
        validation = kept.get("validation", {}).get("documents", 0)
        removed = {name: counts["documents"] for name, counts in sections["removed"].items()}
        reasons = ", ".join(f"{count} {name}" for name, count in removed.items())
        lines.append(
            f"{called}: {kept['train']['documents']:,} documents, "
            f"{kept['train']['bytes'] / 1e6:.1f} MB; {kept['heldout']['documents']} held out; "
            + (f"{validation} for validation; " if validation else "")
            + f"{sum(removed.values()):,} removed"
            + (f" ({reasons})" if reasons else "")
        )
    return tuple(lines)
