"""`ontogeny compare`: what lies between two models. Found in the store, or made and published."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ontogeny import bridge
from ontogeny.base.artifact import Artifact
from ontogeny.base.config import from_dict, to_dict
from ontogeny.base.errors import InputError, printable
from ontogeny.base.files import read_json
from ontogeny.base.identity import canonical
from ontogeny.base.store import Store, valid_name
from ontogeny.cli.comparison_table import table
from ontogeny.cli.writing import NO_PLAN, model_called, writing
from ontogeny.corpus.shards import domains
from ontogeny.environments.asking import Form
from ontogeny.environments.catalogue import ENVIRONMENTS
from ontogeny.run.run import Run
from ontogeny.stages.compare import FILE, Compare
from ontogeny.stages.measure import Measure


def compare(first: str, second: str, root: Path, *, as_json: bool) -> int:
    """Prints the comparison of two models, made first where the store has none; returns 0.

    Raises:
        InputError: no such models, one and the same, or two that cannot be compared.
        OntogenyError: one line for whatever else went wrong; what is finished stays.
    """
    store = Store.open(root)
    before, after = model_called(store, first), model_called(store, second)
    if before.id == after.id:
        raise InputError(f"'{first}' and '{second}' are one and the same model; name two")
    found = [
        artifact
        for artifact in _made_by(store, Compare)
        if artifact.record.parents[:2] == [before.id, after.id]
    ]
    comparison = found[-1] if found else _make(store, before, after)
    value = read_json(comparison.file(FILE))
    if as_json:
        print(json.dumps({"id": comparison.id, **value}, indent=1, sort_keys=True))
    else:
        for line in table(comparison.id, value):
            print(printable(line))
    return 0


def _made_by(store: Store, stage: type[Compare] | type[Measure]) -> list[Artifact]:
    """What the present version of `stage` made, oldest first."""
    return [
        artifact
        for artifact in store.all()[0]
        if (artifact.record.stage, artifact.record.version) == (stage.stage, stage.version)
    ]


@dataclass
class _Way:
    """One way of measuring both models, and what has been measured in it, by model."""

    stage: Measure
    tokens: Artifact
    read: tuple[Artifact, ...]
    seed: int
    made: dict[str, Artifact] = field(default_factory=dict)


def _make(store: Store, before: Artifact, after: Artifact) -> Artifact:
    """Makes the comparison, and the measurements that it lacks, as a recipe would."""
    with writing(store) as desk:
        store.clear_leftovers()
        way = _way(store, before, after)
        run: Callable[..., Artifact] = Run(store, NO_PLAN, way.seed, desk.events, desk.stop)
        measured = [
            way.made.get(model.id)
            or run(way.stage, model, *way.read, name=_name("compare/measure", model))
            for model in (before, after)
        ]
        name = _name("compare", before, after)
        return run(Compare(), before, after, *measured, way.tokens, name=name)


def _way(store: Store, before: Artifact, after: Artifact) -> _Way:
    """As both were measured for reporting, or one of them, with an exam if possible; the latest.

    Raises:
        InputError: the models do not compare, or come from different tokens.
    """
    room: int = bridge.common_context(before, after)
    common = _common_tokens(store, before, after)
    form: Form = "chat" if any(map(bridge.chats, (before, after))) else "text"
    texts = {each.id: each for each in common}
    ways: dict[str, _Way] = {}
    for artifact in _made_by(store, Measure):
        record = artifact.record
        model, *read = record.parents
        tokens = next((texts[each] for each in read if each in texts), None)
        if model not in (before.id, after.id) or tokens is None:
            continue
        stage = from_dict(Measure, record.config)
        reports = (stage.split, stage.exam_split) == ("heldout", "exam")
        if reports and stage.window <= room and (stage.form == form or not stage.exam):
            key = canonical([to_dict(stage), read, record.seed])
            known = tuple(store.get(each) for each in read)
            way = ways.pop(key, _Way(stage, tokens, known, record.seed))
            way.made[model] = artifact
            ways[key] = way  # the latest stands last
    if ways:
        return max(reversed(ways.values()), key=lambda way: (len(way.made), bool(way.stage.exam)))
    return _default_way(store, common, form, room, after.record.seed)


def _default_way(store: Store, common: list[Artifact], form: Form, room: int, seed: int) -> _Way:
    """All text that is held out, and the exam that the corpus was kept clean of.

    Raises:
        InputError: nothing is held out.
    """
    for tokens in common:
        known = tuple(domains(tokens, "heldout"))
        exams = (ancestor.record.config.get("exam", {}) for ancestor in _ancestors(store, tokens))
        counts: dict[str, int] = next(filter(None, exams), {})
        exam = {name: count for name, count in counts.items() if name in ENVIRONMENTS}
        if known:
            window = min(room, Measure.window)
            stage = Measure(domains=known, window=window, exam=exam, form=form)
            return _Way(stage, tokens, (tokens,), seed)
    raise InputError(f"nothing is held out in '{common[0].name}'; there is no text to compare on")


def _common_tokens(store: Store, before: Artifact, after: Artifact) -> list[Artifact]:
    """The tokens that both models come from, those nearest to the first one first."""
    others = {ancestor.id for ancestor in _ancestors(store, after)}
    common = [
        ancestor
        for ancestor in _ancestors(store, before)
        if ancestor.record.kind == "tokens" and ancestor.id in others
    ]
    if not common:
        raise InputError(
            f"'{before.name}' and '{after.name}' have no tokens in common; "
            "compare models that learnt from one corpus"
        )
    return common


def _ancestors(store: Store, artifact: Artifact) -> Iterator[Artifact]:
    """Everything in the store that `artifact` comes from, parents before their parents."""
    told: set[str] = set()
    waiting = list(artifact.record.parents)
    while waiting:
        parent_id = waiting.pop(0)
        if parent_id not in told and store.has(parent_id):
            told.add(parent_id)
            parent = store.get(parent_id)
            waiting += parent.record.parents
            yield parent


def _name(prefix: str, *models: Artifact) -> str:
    """PREFIX/MODEL/MODEL, by ids where the names together are too long."""
    name = "/".join((prefix, *(model.name for model in models)))
    return name if valid_name(name) else "/".join((prefix, *(model.id for model in models)))
