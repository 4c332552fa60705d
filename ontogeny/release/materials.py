"""The bill of materials of a bundle: model, data and software as CycloneDX 1.6 (ECMA-424) JSON.

Written from the records alone, without a clock, so equal models have equal bills; whoever holds
the bundle computes it again. Knows no Markdown.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ontogeny.base.errors import CorruptArtifact
from ontogeny.base.identity import canonical
from ontogeny.release.evidence import WEIGHTS, Evidence, file_of
from ontogeny.release.files import BILL, CARD, GENERATION, OF_MODEL, Files
from ontogeny.release.jsons import parse_json
from ontogeny.release.licences import sources

Notes = Mapping[str, str]
"""Reference of a data component -> what that source says of its licence."""
SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"
TASK, FAMILY = "text-generation", "decoder-only transformer"
_CHOSEN_BY_NOBODY = "other"


def write_bill(path: Path, bill: Mapping[str, Any]) -> None:
    """Writes a bill as the check reads it: indented, keys sorted, one line feed at the end."""
    text = json.dumps(bill, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def bill_of(
    evidence: Evidence, sums: Mapping[str, str], license_id: str, notes: Notes | None = None
) -> dict[str, Any]:
    """The bill of materials of the evidence's model.

    Args:
        sums: the sha256 of the bundle's files; those that a loader reads are on the bill.
        license_id: of the weights, as on the card.
        notes: what data sources said when the bundle was made; without it they are asked.
    """
    model = f"model:{evidence.model}"
    data = list(_data(evidence, notes))
    software = list(_software(evidence))
    used = sorted(str(each["bom-ref"]) for each in (*data, *software))
    bill: dict[str, Any] = {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                **_model(evidence, sums, license_id),
                "modelCard": _model_card(evidence, [str(each["bom-ref"]) for each in data]),
            }
        },
        "components": [*data, *software],
        "dependencies": [{"ref": model, "dependsOn": used}],
    }
    serial = uuid.uuid5(uuid.NAMESPACE_OID, canonical(bill))
    return {**bill, "serialNumber": f"urn:uuid:{serial}"}


def check_bill(files: Files, evidence: Evidence, license_id: str) -> int:
    """How many components a bill lists, the whole of it computed again and compared.

    What a source of data said of its licence when the bundle was made is taken as it stands.

    Raises:
        CorruptArtifact: naming the first field that is not as the evidence says.
    """
    path = files.directory / BILL
    found = parse_json(files[BILL], path)
    wanted = bill_of(evidence, files.sums, license_id, _noted(found))
    for place in _differences(found, wanted):
        reason = f"'{place}' is not what the evidence says"
        raise CorruptArtifact(reason, file=path, line=_line(files[BILL], place))
    return 1 + len(wanted["metadata"]["component"]["components"]) + len(wanted["components"])


def _model(evidence: Evidence, sums: Mapping[str, str], license_id: str) -> dict[str, Any]:
    record = evidence.records[evidence.model]
    loaded = sorted(name for name in (*OF_MODEL, GENERATION) if name in sums)
    described = {
        "type": "machine-learning-model",
        "bom-ref": f"model:{evidence.model}",
        "name": record.name,
        "version": evidence.model,
        "hashes": _hashes(sums[WEIGHTS]),
        "externalReferences": [
            {"type": "model-card", "url": CARD},
            {"type": "attestation", "url": file_of(evidence.model)},
        ],
        "components": [
            {"type": "file", "bom-ref": f"file:{name}", "name": name, "hashes": _hashes(sums[name])}
            for name in loaded
        ],
    }
    if license_id != _CHOSEN_BY_NOBODY:
        described["licenses"] = [{"license": {"name": license_id}}]
    return described


def _hashes(sha256: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": sha256}]


def _model_card(evidence: Evidence, data: list[str]) -> dict[str, Any]:
    architectures = evidence.config.get("architectures")
    named = architectures[0] if isinstance(architectures, list) and architectures else FAMILY
    return {
        "modelParameters": {
            "task": TASK,
            "architectureFamily": FAMILY,
            "modelArchitecture": str(named),
            "datasets": [{"ref": each} for each in data],
            "inputs": [{"format": "text"}],
            "outputs": [{"format": "text"}],
        },
        "quantitativeAnalysis": {"performanceMetrics": list(_performance(evidence))},
        "properties": [{"name": "parameters", "value": str(evidence.parameters)}],
    }


def _performance(evidence: Evidence) -> Iterator[dict[str, Any]]:
    """Levels of the model itself with their intervals, by measurement and metric."""
    for record in sorted(evidence.records.values(), key=lambda each: each.id):
        if record.kind != "measurement" or record.parents[:1] != [evidence.model]:
            continue
        for name, value in sorted(record.metrics.items()):
            if isinstance(value, dict) and {"estimate", "low", "high"} <= value.keys():
                yield {
                    "type": name,
                    "slice": f"{record.name} ({record.id})",
                    "value": str(value["estimate"]),
                    "confidenceInterval": {
                        "lowerBound": str(value["low"]),
                        "upperBound": str(value["high"]),
                    },
                }


def _data(evidence: Evidence, notes: Notes | None) -> Iterator[dict[str, Any]]:
    """Every source of data of the life, in its order; each source of a record once."""
    for record in map(evidence.records.__getitem__, evidence.lineage):
        for number, (source, note) in enumerate(sources(record), start=1):
            reference = f"data:{record.id}:{number}"
            said = note if notes is None else notes.get(reference, "")
            yield {
                "type": "data",
                "bom-ref": reference,
                "name": source,
                "licenses": [{"license": {"name": said}}],
                "data": [{"type": "dataset", "name": source}],
                "externalReferences": [{"type": "attestation", "url": file_of(record.id)}],
            }


def _software(evidence: Evidence) -> Iterator[dict[str, Any]]:
    """Every version of a package that a stage of the life ran with, and of Python."""
    found = set()
    for each in evidence.lineage:
        execution = evidence.records[each].execution
        versions = execution.get("versions")
        for name, version in versions.items() if isinstance(versions, dict) else ():
            found.add(("library", str(name), str(version)))
        if execution.get("python"):
            found.add(("platform", "python", str(execution["python"])))
    for kind, name, version in sorted(found):
        plain = re.sub(r"[-_.]+", "-", name).lower()
        where = "generic" if kind == "platform" else "pypi"
        yield {
            "type": kind,
            "bom-ref": f"{kind}:{name}@{version}",
            "name": name,
            "version": version,
            "purl": f"pkg:{where}/{quote(plain, safe='')}@{quote(version, safe='')}",
        }


def _noted(bill: Mapping[str, Any]) -> dict[str, str]:
    """What the data components of a bill say of their licences; what is no such thing is not."""
    notes = {}
    components = bill.get("components")
    for each in components if isinstance(components, list) else ():
        try:
            notes[str(each["bom-ref"])] = str(each["licenses"][0]["license"]["name"])
        except (KeyError, IndexError, TypeError):
            continue
    return notes


def _differences(found: object, wanted: object, place: str = "") -> Iterator[str]:
    """Where two values differ, as names one inside the other."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in sorted(found.keys() | wanted.keys()):
            yield from _differences(found.get(key), wanted.get(key), f"{place}/{key}".lstrip("/"))
    elif isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        for number, pair in enumerate(zip(found, wanted, strict=True)):
            yield from _differences(*pair, f"{place}/{number}")
    elif type(found) is not type(wanted) or found != wanted:
        yield place


def _line(data: bytes, place: str) -> int:
    """The first line that names the last part of `place`; 1 where none does."""
    name = f'"{place.rpartition("/")[2]}"'.encode()
    at = data.find(name)
    return 1 if at < 0 else data.count(b"\n", 0, at) + 1
