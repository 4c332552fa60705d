"""The records behind a card, and what a card may cite of them: fields, and a few sums.

Knows no Markdown. Everything here is computed from the bundle's own files, so whoever holds the
bundle computes the same:

    metrics/exam.score/estimate   a field of a record or of config.json (names as in RFC 6901)
    sum:cost/flops                that cost, summed over the record and all its ancestors
    share:cost/flops              that cost's share of the sum over the bundle's model
    verdict, seeds                of an effect: what all its seeds say, and how many they are
    count:config/families         how many that field holds
    outcome:metrics/success       held, or did not hold: what an attack came to
    price:sum:cost/seconds        what so many seconds cost at the price of prices.json
    million:execution/speeds/...  what a million tokens cost at that speed
    parameters                    of model.safetensors: the numbers in it
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ontogeny.base import config as configs
from ontogeny.base.artifact import FORMAT, Record
from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.base.identity import digest
from ontogeny.evaluate.verdict import Estimate, verdict
from ontogeny.release.jsons import parse_json
from ontogeny.release.numbers import Citation, written
from ontogeny.release.outcomes import outcome
from ontogeny.release.price import PRICES, Price

WEIGHTS, CONFIG, FOLDER = "model.safetensors", "config.json", "evidence"
IMPORTED = "import_weights"
"""The stage that takes weights which were trained elsewhere."""
FOREIGN = (IMPORTED, "import_adapter")
"""The stages that take what was trained elsewhere, whole weights or an adapter of them."""
_COMPUTED = ("count", "outcome", "price", "million")
_SECONDS = ("cost/seconds", "sum:cost/seconds")
_NONE = object()
_SPEED = re.compile(r"execution/speeds/[1-9][0-9]*\.tokens_per_second")
FILE = re.compile(rf"{FOLDER}/([0-9a-f]{{16}})\.json")


def file_of(artifact_id: str) -> str:
    """Where in a bundle the record of an artifact lies."""
    return f"{FOLDER}/{artifact_id}.json"


def parse_record(data: bytes, path: Path) -> Record:
    """The record in these bytes of `path`, its seal checked.

    Raises:
        CorruptArtifact: it is no record, or its content does not match its seal.
    """
    values = parse_json(data, path)
    seal = values.pop("seal", None)
    if values.get("format") != FORMAT:
        raise CorruptArtifact(f"no record of format {FORMAT}", file=path)
    try:
        record = configs.from_dict(Record, values, file=str(path))
        sealed = seal == digest(values)
    except (InputError, RecursionError) as error:
        reason = getattr(error, "reason", "nested too deep")
        raise CorruptArtifact(f"no record: {reason}", file=path) from None
    if not sealed:
        raise CorruptArtifact("the record does not match its seal", file=path)
    return record


@dataclass(frozen=True)
class Evidence:
    """What a bundle holds besides weights: `records` by id, and which of them is its `model`.

    `config` is the model's config.json, `parameters` how many numbers its weights are, `price` what
    an hour of a computer costs, where somebody said it.
    """

    model: str
    records: Mapping[str, Record]
    config: Mapping[str, Any]
    parameters: int
    price: Price | None = None

    def value(self, file: str, field: str) -> object:
        """What a citation of `field` of `file` stands for.

        Raises:
            InputError: there is no such file or field.
        """
        if file == WEIGHTS and field == "parameters":
            return self.parameters
        if file == CONFIG:
            return _field(self.config, field)
        if file == PRICES and self.price is not None:
            return _field(self.price.values(), field)
        found = FILE.fullmatch(file)
        record = self.records.get(found[1]) if found else None
        if record is None:
            raise InputError(f"there is no evidence '{file}'")
        how, _, pointer = field.partition(":")
        if how == "sum" and pointer:
            return self._sum(record.id, pointer)
        if how == "share" and pointer:
            return self._share(record, pointer)
        if how in _COMPUTED and pointer:
            return self._computed(record, how, pointer)
        if field == "verdict":
            return self.verdict(record)
        if field == "seeds":
            return len(self._estimates(record))
        return _field(vars(record), field)

    def _computed(self, record: Record, how: str, pointer: str) -> object:
        """What follows from one field of a record and, for money, from the price."""
        if how == "count":
            return _count(_field(vars(record), pointer))
        if how == "outcome":
            return outcome(record, _metric(pointer))
        if self.price is None:
            raise InputError(f"there is no {PRICES}, and so no price")
        if not (pointer in _SECONDS if how == "price" else _SPEED.fullmatch(pointer)):
            of = "seconds" if how == "price" else "tokens_per_second"
            raise InputError(f"'{pointer}' holds no {of}, so it has no price")
        number = _number(self.value(file_of(record.id), pointer))
        return self.price.of_seconds(number) if how == "price" else self.price.of_million(number)

    def cite(self, file: str, field: str, form: str) -> Citation:
        """The citation of a field; a record may be given by its id alone.

        Raises:
            InputError: there is no such file or field, or the format does not fit it.
        """
        file = file_of(file) if file in self.records else file
        return Citation(written(self.value(file, field), form), file, field, form)

    @cached_property
    def lineage(self) -> list[str]:
        """The model and all its ancestors, parents before children."""
        return self.ancestors(self.model)

    def ancestors(self, artifact_id: str) -> list[str]:
        """The ids of an artifact and of all its ancestors, parents before children.

        Raises:
            InputError: one of them is not in the evidence.
        """
        found: dict[str, None] = {}
        waiting = [(artifact_id, False)]
        while waiting:
            each, ready = waiting.pop()
            if each not in self.records:
                raise InputError(f"the record of {each} is missing")
            if ready:
                found[each] = None
            elif each not in found:
                waiting.append((each, True))
                waiting += [(parent, False) for parent in reversed(self.records[each].parents)]
        return list(found)

    @cached_property
    def imported(self) -> bool:
        """Whether the life began with weights that were trained elsewhere."""
        return any(self.records[each].stage == IMPORTED for each in self.lineage)

    @cached_property
    def foreign(self) -> bool:
        """Whether some of what the model knows was learnt elsewhere, from data nobody recorded."""
        return any(self.records[each].stage in FOREIGN for each in self.lineage)

    def concerns(self, record: Record) -> bool:
        """Whether `record` tells of the model, or of a stage on its way, and of none behind it.

        A control is made from a model of the lineage and stands beside it; what was made from the
        model itself is another model's life.
        """
        told = self.subjects(record.id)
        later = any(self.model in self.ancestors(each)[:-1] for each in told)
        return not later and not told.isdisjoint(self.lineage)

    def on_its_way(self, effect: Record) -> bool:
        """Whether an effect is that of a stage on the model's way, or of a control of one.

        An effect tells of what its second measurement measured, of one level its first. A stage
        that made another model of one on the way, and is no control, is another model's.
        """
        if not self.concerns(effect):
            return False
        place = 0 if effect.config.get("form") == "level" else 1
        after = self.subjects(effect.parents[min(place, len(effect.parents) - 1)])
        return bool(_effect(effect).get("control")) or not after.isdisjoint(self.lineage)

    def subjects(self, artifact_id: str) -> set[str]:
        """Ids of the models that a record tells of: its nearest ancestors of that kind."""
        found, seen, waiting = set[str](), {artifact_id}, [artifact_id]
        while waiting:
            each = waiting.pop()
            if self.records[each].kind == "model":
                found.add(each)
                continue
            waiting += [parent for parent in self.records[each].parents if parent not in seen]
            seen.update(self.records[each].parents)
        return found

    def verdict(self, effect: Record) -> str:
        """The verdict on an effect's claim, from the numbers of all seeds in the evidence.

        Raises:
            InputError: it is no effect, or of another model's life.
        """
        if not self.concerns(effect):
            raise InputError(f"'{effect.name}' is of another model's life")
        estimates = self._estimates(effect)
        said = [_effect(self.records[each]) for each in estimates]
        if effect.config["claim"].get("needs_control") and not said[0].get("control"):
            return "untested"
        gates = [each["gate"] for each in said if each.get("gate")]
        if any(gate["reached"] < gate["needed"] for gate in gates):
            return "null"
        return verdict(list(estimates.values()))

    def _estimates(self, effect: Record) -> dict[str, Estimate]:
        """By id, the effect's own first, the same claim's under other seeds behind."""
        name = _effect(effect)["name"]
        others = [
            each
            for _, each in sorted(self.records.items())
            if each.kind == "effect" and each.seed != effect.seed and _effect(each)["name"] == name
        ]
        own = _effect(effect)
        found = {}
        for each in (effect, *others):
            said = _effect(each)
            null = said["null"] if effect.config["claim"]["null"] is None else own["null"]
            numbers = (said["estimate"], said["low"], said["high"], null)
            found[each.id] = Estimate(each.seed, *numbers, own["target"], own["sense"])
        return found

    def _sum(self, artifact_id: str, pointer: str) -> float:
        """Exactly rounded, so that no order of the records changes it.

        Raises:
            InputError: it is no cost, or one that none of the records holds: no field is not 0.
        """
        records = [vars(self.records[each]) for each in self.ancestors(artifact_id)]
        held = [found for each in records if (found := _field(each, pointer, _NONE)) is not _NONE]
        if not pointer.startswith("cost/") or not held:
            raise InputError(f"the evidence has no sum of '{pointer}'; what adds up is a cost")
        return math.fsum(map(_number, held))

    def _share(self, record: Record, pointer: str) -> float:
        """A record's part of what the model cost.

        Raises:
            InputError: the model did not come from it, or cost nothing of this kind.
        """
        whole = self._sum(self.model, pointer)
        if record.id not in self.lineage or not whole:
            raise InputError(f"'{record.name}' has no share of what the model cost")
        return _number(_field(vars(record), pointer)) / whole


def _effect(record: Record) -> dict[str, Any]:
    """What an effect's record says; the claim it was measured under stands in its config.

    Raises:
        InputError: it is no effect.
    """
    said, claim = record.metrics.get("effect"), record.config.get("claim")
    numbers = ("estimate", "low", "high", "null", "target")
    if (
        record.kind != "effect"
        or not isinstance(said, dict)
        or not isinstance(claim, dict)
        or "null" not in claim
        or not all(isinstance(said.get(each), int | float) for each in numbers)
        or not all(isinstance(said.get(each), str) for each in ("name", "sense"))
    ):
        raise InputError(f"'{record.name}' is no effect")
    return said


def _field(values: Mapping[str, Any], pointer: str, default: Any = None) -> Any:
    """The value at a JSON pointer (RFC 6901) without its first slash.

    Raises:
        InputError: there is none and no default.
    """
    found: Any = values
    for part in pointer.split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, list) and name.isdecimal() and int(name) < len(found):
            found = found[int(name)]
        elif isinstance(found, Mapping) and name in found:
            found = found[name]
        elif default is not None:
            return default
        else:
            raise InputError(f"the evidence has no field '{pointer}'")
    return found


def _metric(pointer: str) -> str:
    """The name of the metric at a pointer."""
    head, _, name = pointer.partition("/")
    if head != "metrics" or "/" in name:
        raise InputError(f"the evidence has no metric '{pointer}'")
    return name.replace("~1", "/").replace("~0", "~")


def _count(value: object) -> int:
    if not isinstance(value, list | Mapping):
        raise InputError("the evidence holds nothing to count there")
    return len(value)


def pointer(*names: str | int) -> str:
    """The field at these names, one inside the other."""
    return "/".join(str(name).replace("~", "~0").replace("/", "~1") for name in names)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError("the evidence holds no number there")
    return float(value)
