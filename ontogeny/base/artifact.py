"""An artifact: an immutable directory with `record.json` beside the bytes.

Knows no stage. Existence is checked by sizes (cheap, for skipping); every file is checked by its
sha256 before it is used.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ontogeny.base import files
from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.base.identity import digest

RECORD = "record.json"
FORMAT = 1


@dataclass(frozen=True)
class Record:
    """What an artifact is, where it came from, what it cost and what it measured.

    Between two runs of the same request only `execution` (clock, host, versions, speeds) and
    `cost["seconds"]` may differ.
    `files` maps each file's path inside the artifact to its size in bytes and sha256.
    """

    id: str
    name: str
    kind: str
    stage: str
    version: int
    config: dict[str, Any]
    parents: list[str]
    seed: int
    metrics: dict[str, Any]
    summary: list[str]
    cost: dict[str, float]
    files: dict[str, dict[str, Any]]
    code: str
    execution: dict[str, Any]
    format: int = FORMAT

    def write(self, directory: Path) -> None:
        """Writes `record.json`, sealed by a digest of its own content."""
        values = dataclasses.asdict(self)
        files.write_json(directory / RECORD, values | {"seal": digest(values)})

    @classmethod
    def read(cls, directory: Path) -> Record:
        """The record in `directory`.

        Raises:
            CorruptArtifact: when it is missing, damaged, or written by a newer format.
        """
        path = directory / RECORD
        values = files.read_json(path)
        seal = values.pop("seal", None) if isinstance(values, dict) else None
        if seal is None or values.get("format") != FORMAT:
            raise CorruptArtifact(
                f"not a record of format {FORMAT}; it was made by another version of ontogeny "
                "or is damaged: use that version, or delete the artifact",
                file=path,
            )
        if seal != digest(values):
            raise CorruptArtifact(
                "the content does not match its seal; delete the artifact to make it again",
                file=path,
            )
        return cls(**values)


@dataclass(frozen=True)
class Artifact:
    """A published artifact. `path` is its directory, `record` what is known about it."""

    path: Path
    record: Record
    _verified: set[str] = field(default_factory=set, compare=False, repr=False)

    @classmethod
    def open(cls, path: Path) -> Artifact:
        """The artifact at `path`, every listed file there with its size and no other.

        Raises:
            CorruptArtifact: naming the first file that is missing, extra, a link or of wrong size.
        """
        artifact = cls(path, Record.read(path))
        listed = set(artifact.record.files)
        present = {str(file.relative_to(path)) for file in _files(path)} - {RECORD}
        for name in sorted(present ^ listed):
            what = "is missing" if name in listed else "is not listed in the record"
            raise CorruptArtifact(
                f"the file {what}; delete the artifact to make it again", file=path / name
            )
        for name, expected in sorted(artifact.record.files.items()):
            actual = (path / name).lstat().st_size
            if actual != expected["size"]:
                raise CorruptArtifact(
                    f"{actual} bytes, {expected['size']} expected; "
                    "delete the artifact to make it again",
                    file=path / name,
                )
        return artifact

    @property
    def id(self) -> str:
        """The artifact's identity: 16 hex digits."""
        return self.record.id

    @property
    def name(self) -> str:
        """The name the recipe gave it when it was first made."""
        return self.record.name

    @property
    def metrics(self) -> dict[str, Any]:
        """What the stage measured."""
        return self.record.metrics

    def file(self, name: str) -> Path:
        """The path of one of its files, checked against its sha256 at its first use.

        Raises:
            CorruptArtifact: when the bytes are not those that were written.
        """
        path = self.path / name
        if name not in self.record.files:
            raise CorruptArtifact("the artifact has no such file", file=path)
        if name not in self._verified:
            expected = self.record.files[name]["sha256"]
            try:
                actual = files.sha256(path)
            except OSError as error:
                raise CorruptArtifact(
                    f"cannot be read ({error.strerror}); delete the artifact to make it again",
                    file=path,
                ) from None
            if actual != expected:
                raise CorruptArtifact(
                    f"sha256 {actual[:12]}..., {expected[:12]}... expected; "
                    "delete the artifact to make it again",
                    file=path,
                )
            self._verified.add(name)
        return path

    def verify(self) -> None:
        """Checks every file's sha256.

        Raises:
            CorruptArtifact: naming the first damaged file.
        """
        for name in sorted(self.record.files):
            self.file(name)

    def metric(self, name: str) -> float:
        """One measured number; of an interval its estimate.

        Raises:
            InputError: when the artifact did not measure it.
        """
        if name not in self.metrics:
            known = ", ".join(sorted(self.metrics)) or "nothing"
            raise InputError(f"'{self.name}' did not measure '{name}'; it measured {known}")
        value = self.metrics[name]
        return float(value["estimate"] if isinstance(value, dict) else value)

    def holds(
        self, name: str, *, at_most: float | None = None, at_least: float | None = None
    ) -> bool:
        """Whether a measured number lies within the given bounds."""
        value = self.metric(name)
        return (at_most is None or value <= at_most) and (at_least is None or value >= at_least)


def describe_files(directory: Path) -> dict[str, dict[str, Any]]:
    """Size and sha256 of every file below `directory`, the record itself left out."""
    return {
        str(path.relative_to(directory)): {
            "size": path.lstat().st_size,
            "sha256": files.sha256(path),
        }
        for path in _files(directory)
        if path != directory / RECORD
    }


def _files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_symlink() or not path.is_dir())
