"""Model + what was measured -> bundle: a directory that other tools load, with its evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ontogeny.base.artifact import Artifact
from ontogeny.base.config import added
from ontogeny.release.bundle import write_bundle
from ontogeny.release.price import priced
from ontogeny.release.words import Words
from ontogeny.run.work import Made, Work


@dataclass(frozen=True, kw_only=True)
class Release:
    """`license` is that of the weights and `title` the card's, whose every number has evidence.

    `about` is Markdown in your own words; a number in it is cited as `{{ NAME FIELD FORMAT }}`.
    `claims` are the names of what was claimed in advance: what nothing measured says untested.
    `policy` is the usage policy; without it the bundle has the template, which its card calls a
    draft. `price_per_hour` of the computer in `currency` (ISO 4217) puts money on COSTS.md.

    Raises:
        InputError: a licence, language or price of another form, or words with a number that cites
            nothing.
    """

    license: str
    title: str
    about: str = ""
    languages: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()
    policy: str = added("")
    price_per_hour: float | None = added(None)
    currency: str = added("")

    stage: ClassVar[str] = "release"
    version: ClassVar[int] = 2
    takes: ClassVar[tuple[str, ...]] = (
        "model",
        "measurement|effect|comparison|corpus|attacks|watch|gate*",
    )
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
        return Words(
            license=self.license,
            title=self.title,
            about=self.about,
            languages=self.languages,
            claims=self.claims,
            policy=self.policy,
            price=priced(self.price_per_hour, self.currency),
        )
