"""The front matter of a card: what a hub reads. Written by huggingface_hub, checked node by node.

Knows no Markdown. Every number in it is the value of a result whose source is a record of the
bundle and whose `args.field` is the field of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, NoReturn

import yaml  # type: ignore[import-untyped]
from huggingface_hub import EvalResult, ModelCardData

from ontogeny.base.artifact import Record
from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.release.evidence import FILE, Evidence, file_of, pointer
from ontogeny.release.numbers import identifier, objections
from ontogeny.release.words import Words

TASK, LIBRARY = "text-generation", "transformers"
MODEL = "ontogeny_model"
"""The key that says which record is the model's."""
TAGS = ("ontogeny", "conversational")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?")  # one value everywhere
NAMED, ROW = ("name", "type"), ("task", "dataset", "metrics", "source")
CELLS = (*NAMED, "value", "args")
KEYS = {"license", "language", "library_name", "pipeline_tag", "tags", "model-index", MODEL}
LONGEST = 1 << 20


def front_of(evidence: Evidence, words: Words, *, chats: bool) -> str:
    """The YAML between the two `---` of a card."""
    model = evidence.records[evidence.model]
    results = [_result(*each) for each in _results(evidence)]
    data = ModelCardData(
        license=words.license,
        language=list(words.languages) or None,
        library_name=LIBRARY,
        pipeline_tag=TASK,
        tags=list(TAGS if chats else TAGS[:1]),
        model_name=model.name if results else None,
        eval_results=results or None,
    )
    data[MODEL] = evidence.model
    return str(data.to_yaml(line_break="\n"))


def _results(evidence: Evidence) -> Iterator[tuple[Record, str, float]]:
    """(record, metric, value): levels of the model itself, those of single environments left out.

    A hub shows them as the model's; effects of its stages are on the card alone.
    """
    for record in evidence.records.values():
        if record.kind == "measurement" and record.parents[:1] == [evidence.model]:
            for name, value in record.metrics.items():
                if isinstance(value, dict) and name.count(".") == 1:
                    yield record, name, value["estimate"]


def _result(record: Record, name: str, value: float) -> EvalResult:
    return EvalResult(
        task_type=TASK,
        dataset_type=record.name,
        dataset_name=record.name,
        metric_type=name,
        metric_name=name,
        metric_value=value,
        metric_args={"field": pointer("metrics", name, "estimate")},
        source_name="sealed record",
        source_url=file_of(record.id),
    )


@dataclass(frozen=True)
class Front:
    """The front matter of a card as it was found: its YAML nodes, and the card's `path`."""

    root: yaml.MappingNode
    path: Path

    @property
    def model(self) -> str:
        """Which record is the model's.

        Raises:
            CorruptArtifact: it does not say so.
        """
        return self._text(MODEL)

    @property
    def license(self) -> str:
        """The licence of the weights, as a hub spells it.

        Raises:
            CorruptArtifact: it does not say so.
        """
        return self._text("license")

    def _text(self, name: str) -> str:
        node = _table(self.root, self.path).get(name)
        if not isinstance(node, yaml.ScalarNode):
            _bad(self.path, self.root, f"the front matter has no {name}")
        return str(node.value)

    def check(self, evidence: Evidence) -> int:
        """How many numbers stand in it, each compared with its evidence.

        Raises:
            CorruptArtifact: a key that we do not write, or a number that is not as it should be.
        """
        table = _table(self.root, self.path)
        for name, node in table.items():
            if name not in KEYS:
                _bad(self.path, node, f"'{name}' is nothing that a card of ours says")
        cited = _cited(table.get("model-index"), self.path)
        known = {evidence.model, evidence.records[evidence.model].name}
        for each in cited.values():
            self._compare(each.value, each.source, each.field, evidence)
            self._named(each, evidence)
            known |= {each.field, *(name.value for name in each.datasets + each.metrics)}
        for node in _leaves(self.root, self.path):
            number = node.tag not in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:bool")
            if number and id(node) not in cited:
                _bad(self.path, node, f"'{node.value}' has no evidence")
            named = node.value in known or identifier(node.value)
            if not number and not named and next(objections(node.value), None):
                _bad(self.path, node, f"'{node.value}' holds a number without evidence")
        for tag in _items(table.get("tags")):
            if _text(tag) not in TAGS:
                _bad(self.path, tag, f"'{_text(tag)}' is no tag of ours")
        for entry in _items(table.get("model-index")):
            if _text(_table(entry, self.path).get("name")) != evidence.records[evidence.model].name:
                _bad(self.path, entry, "a result of another model")
        return len(cited)

    def _compare(self, value: yaml.ScalarNode, source: str, field: str, evidence: Evidence) -> None:
        try:
            found = evidence.value(source, field)
        except InputError as error:
            _bad(self.path, value, f"says {value.value}; {error.reason}")
        if isinstance(found, bool) or not isinstance(found, int | float) or not _same(value, found):
            _bad(
                self.path,
                value,
                f"says {value.value}, the evidence ({source}, {field}) says {found}",
            )

    def _named(self, cited: Cited, evidence: Evidence) -> None:
        """Refuses a value that a hub would show as another metric, or as measured by another.

        Whatever a result holds beside what we write (a hub shows `verified` as a seal) is refused.
        """
        found = FILE.fullmatch(cited.source)
        measured = evidence.records[found[1]].name if found else ""
        for name in cited.datasets:
            if name.value != measured:
                _bad(self.path, name, f"'{name.value}' is not what measured it, '{measured}'")
        for name in cited.metrics:
            if pointer("metrics", name.value, "estimate") != cited.field:
                _bad(self.path, name, f"says '{name.value}', the value is of '{cited.field}'")
        for key in cited.others:
            _bad(self.path, key, f"'{key.value}' is nothing that a result of ours says")


class Cited(NamedTuple):
    """A value of a result: the `source` that holds it, the `field` of it, and what a hub shows.

    `datasets` and `metrics` name what measured it and what was measured; `others` are keys that
    results of ours have not.
    """

    value: yaml.ScalarNode
    source: str
    field: str
    datasets: list[yaml.ScalarNode]
    metrics: list[yaml.ScalarNode]
    others: list[yaml.Node]


def read_front(text: str, path: Path) -> Front:
    """The front matter of a card.

    Raises:
        CorruptArtifact: no YAML of the plain kind: one mapping, no anchors, no tags, no key twice.
    """
    if len(text) > LONGEST:
        raise CorruptArtifact(f"front matter of {len(text):,} characters", file=path)
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if getattr(event, "anchor", None) or getattr(event, "tag", None):
                _bad(path, event, "the front matter has an anchor or a tag")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else "nested too deep"
        raise CorruptArtifact(f"the front matter is no YAML: {reason}", file=path) from None
    if not isinstance(root, yaml.MappingNode):
        raise CorruptArtifact("the front matter is no table", file=path)
    return Front(root, path)


def _cited(index: yaml.Node | None, path: Path) -> dict[int, Cited]:
    """By node: each value of a result."""
    found: dict[int, Cited] = {}
    for entry in _items(index):
        for result in _items(_table(entry, path).get("results")):
            row = _table(result, path)
            dataset = row.get("dataset")
            source = _text(_table(row.get("source"), path).get("url"))
            for metric in _items(row.get("metrics")):
                cells = _table(metric, path)
                value = cells.get("value")
                if isinstance(value, yaml.ScalarNode):
                    field = _text(_table(cells.get("args"), path).get("field"))
                    others = [*_others(result, ROW), *_others(metric, CELLS)]
                    others += _others(dataset, NAMED)
                    told = _names(dataset, path), _names(metric, path)
                    found[id(value)] = Cited(value, source, field, *told, others)
    return found


def _names(node: yaml.Node | None, path: Path) -> list[yaml.ScalarNode]:
    """The name and the type that a hub shows of it."""
    cells = _table(node, path)
    return [each for key in NAMED if isinstance(each := cells.get(key), yaml.ScalarNode)]


def _others(node: yaml.Node | None, known: Sequence[str]) -> list[yaml.Node]:
    """The keys of a mapping that are none of the known ones."""
    keys = [key for key, _ in node.value] if isinstance(node, yaml.MappingNode) else []
    return [key for key in keys if _text(key) not in known]


def _same(node: yaml.ScalarNode, found: float) -> bool:
    try:
        return bool(_NUMBER.fullmatch(node.value)) and float(node.value) == float(found)
    except (ValueError, OverflowError):
        return False


def _table(node: yaml.Node | None, path: Path) -> Mapping[str, yaml.Node]:
    """A mapping's nodes by key; empty for any other node."""
    found: dict[str, yaml.Node] = {}
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        name = _text(key)
        if name in found:
            _bad(path, key, f"'{name}' stands twice")
        found[name] = value
    return found


def _items(node: yaml.Node | None) -> list[yaml.Node]:
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _text(node: yaml.Node | None) -> str:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else ""


def _leaves(node: yaml.Node, path: Path) -> Iterator[yaml.ScalarNode]:
    if isinstance(node, yaml.ScalarNode):
        yield node
    elif isinstance(node, yaml.MappingNode):
        for key, value in _table(node, path).items():
            if not identifier(key):
                _bad(path, value, f"'{key}' is no key")
            yield from _leaves(value, path)
    else:
        for each in _items(node):
            yield from _leaves(each, path)


def _bad(path: Path, place: yaml.Node | yaml.Event, reason: str) -> NoReturn:
    # The mark counts from 0, and line 1 of the card is the first ---.
    raise CorruptArtifact(reason, file=path, line=place.start_mark.line + 2)
