"""Model + what was measured -> bundle: a directory that other tools load, with its evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ontogeny.base.artifact import Artifact
from ontogeny.release.bundle import write_bundle
from ontogeny.release.words import Words
from ontogeny.run.work import Made, Work


@dataclass(frozen=True, kw_only=True)
class Release:
    """`license` is that of the weights and `title` the card's, whose every number has evidence.

    `about` is Markdown in your own words; a number in it is cited as `{{ NAME FIELD FORMAT }}`.
    `claims` are the names of what was claimed in advance: what nothing measured says untested.

    Raises:
        InputError: a licence or language of another form, or words with a number that cites
            nothing.
    """

    license: str
    title: str
    about: str = ""
    languages: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()

    stage: ClassVar[str] = "release"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("model", "measurement|effect|comparison|corpus*")
    makes: ClassVar[str] = "bundle"

    def __post_init__(self) -> None:
        self._words()

    def __call__(self, work: Work, model: Artifact, *measured: Artifact) -> Made:
        """Writes the bundle (see docs/bundle.md)."""
        written = write_bundle(work.payload, model, measured, self._words())
        return Made(
            metrics={"files": written.files, "cited": written.numbers},
            summary=(f"bundle of {model.name}: {written}",),
        )

    def _words(self) -> Words:
        return Words(self.license, self.title, self.about, self.languages, self.claims)
