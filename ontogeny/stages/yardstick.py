"""Corpus -> yardstick: what general compressors need for the held-out text of a domain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pyarrow.compute as pc

from ontogeny.base.artifact import Artifact
from ontogeny.base.files import write_json
from ontogeny.corpus.files import read_documents
from ontogeny.evaluate.compressors import measure_compressors
from ontogeny.run.work import Made, Work


@dataclass(frozen=True)
class Yardstick:
    """Compresses the held-out documents of `domain`, after the training documents and alone.

    Raises:
        InputError: when nothing of the domain is held out.
    """

    domain: str = "english"

    stage: ClassVar[str] = "yardstick"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("corpus",)
    makes: ClassVar[str] = "yardstick"

    def __call__(self, work: Work, corpus: Artifact) -> Made:
        """Writes bits_per_byte.json: one number for each compressor."""
        work.progress(0, 1, "corpora")
        measured = measure_compressors(
            self._texts(corpus, "train"), self._texts(corpus, "heldout")
        )._asdict()
        write_json(work.payload / "bits_per_byte.json", measured)
        work.progress(1, 1, "corpora")
        return Made(
            metrics={f"{self.domain}.{name}": value for name, value in measured.items()},
            summary=(
                f"bits per byte of held-out {self.domain}: "
                f"{measured['xz_after_training']:.3f} by xz -9e after the training text, "
                f"{measured['xz']:.3f} by xz -9e alone, {measured['bzip2']:.3f} by bzip2 -9",
            ),
        )

    def _texts(self, corpus: Artifact, split: str) -> list[str]:
        table = read_documents(corpus, split)
        texts: list[str] = table.filter(pc.field("domain") == self.domain)["text"].to_pylist()
        return texts
