"""What whoever tampers with a bundle would do, the list of sums included."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from ontogeny.base.errors import CorruptArtifact
from ontogeny.base.identity import digest
from ontogeny.base.store import Store
from ontogeny.release.check import check_bundle

CARD, SUMS = "README.md", "SHA256SUMS"


def check(bundle: Path, store: Store | None = None) -> dict[str, int]:
    return {each.name: each.count for each in check_bundle(bundle, store)}


def refused(bundle: Path) -> str:
    with pytest.raises(CorruptArtifact) as caught:
        check(bundle)
    return str(caught.value)


def seal_again(bundle: Path, *names: str) -> None:
    """What whoever tampers would do as well: the list fits the bytes again."""
    sums = bundle / SUMS
    lines = {line[66:]: line[:64] for line in sums.read_text().splitlines()}
    for name in names:
        lines[name] = hashlib.sha256((bundle / name).read_bytes()).hexdigest()
    kept = {name: value for name, value in lines.items() if (bundle / name).exists()}
    sums.write_text("".join(f"{kept[name]}  {name}\n" for name in sorted(kept)))


def edit(bundle: Path, name: str, old: str, new: str) -> None:
    """Changes the first `old` in a file, and the list with it."""
    text = (bundle / name).read_text()
    assert old in text
    (bundle / name).write_text(text.replace(old, new, 1))
    seal_again(bundle, name)


def record_named(bundle: Path, name: str) -> str:
    for path in (bundle / "evidence").iterdir():
        if json.loads(path.read_text())["name"] == name:
            return f"evidence/{path.name}"
    raise AssertionError(name)


def change_record(bundle: Path, name: str, *, sealed: bool = True, **fields: Any) -> str:
    """Rewrites a record, with a new seal, in its place."""
    file = record_named(bundle, name)
    values = json.loads((bundle / file).read_text())
    seal = values.pop("seal")
    values |= fields
    values["seal"] = digest(values) if sealed else seal
    (bundle / file).write_text(json.dumps(values))
    seal_again(bundle, file)
    return file
