"""Where artifacts came from: their ancestors in the store they lie in. Knows no stage."""

from __future__ import annotations

from collections.abc import Iterable

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import CorruptArtifact


def with_ancestors(artifacts: Iterable[Artifact]) -> list[Artifact]:
    """`artifacts` and all they were made from, each once, parents before children.

    Parents are looked up beside their child: an artifact's directory is called by its id.

    Raises:
        CorruptArtifact: a parent is damaged, missing, or lies in another's directory.
    """
    found: dict[str, Artifact] = {}
    pending = [(each, False) for each in reversed(list(artifacts))]
    while pending:
        artifact, ready = pending.pop()
        if artifact.id in found:
            continue
        if ready:
            found[artifact.id] = artifact
            continue
        pending.append((artifact, True))
        for parent in reversed(artifact.record.parents):
            if parent not in found:
                pending.append((_sibling(artifact, parent), False))
    return list(found.values())


def _sibling(artifact: Artifact, wanted: str) -> Artifact:
    path = artifact.path.parent / wanted
    if not path.is_dir():
        raise CorruptArtifact(
            f"a parent of '{artifact.name}' is no longer in the store; run the recipe again",
            file=path,
        )
    found = Artifact.open(path)
    if found.id != wanted:
        raise CorruptArtifact(
            f"the record is of artifact {found.id}; put it back or delete the directory", file=path
        )
    return found
