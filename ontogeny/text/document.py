"""A document: the unit of a corpus. Knows nothing of files, tables or tokens."""

from __future__ import annotations

from dataclasses import dataclass

from ontogeny.base.errors import InputError


@dataclass(frozen=True, slots=True)
class Document:
    """One text with its origin.

    Args:
        id: stable name within its source, never empty.
        domain: what kind of text it is ("english", "code", ...); mixing and reports group by it.
        source: where it came from, as a person would cite it.
        text: the text itself; may be empty (the filters count and remove empty ones).

    Raises:
        InputError: a field is not a string, or `id` is empty.
    """

    id: str
    domain: str
    source: str
    text: str

    def __post_init__(self) -> None:
        for name in ("id", "domain", "source", "text"):
            if not isinstance(getattr(self, name), str):
                raise InputError(f"a document's {name} must be a string")
        if not self.id:
            raise InputError("a document needs an id that is not empty")
