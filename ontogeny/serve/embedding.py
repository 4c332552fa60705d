"""POST /v1/embeddings: texts as vectors of length 1 (`rollout.embedder`).

Always of the live model: vectors of two models cannot be compared. Knows no HTTP but ASGI.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ontogeny.serve.answering import Note, answered, send_all
from ontogeny.serve.asked import Ids, prompts_of
from ontogeny.serve.fields import Fields
from ontogeny.serve.fleet import Fleet
from ontogeny.serve.gate import Gate
from ontogeny.serve.library import Receive, Scope, Send
from ontogeny.serve.meters import Meters
from ontogeny.serve.refusal import Refused
from ontogeny.serve.service import Service
from ontogeny.serve.shapes import encoded_apart
from ontogeny.serve.wanted import Served, asker_of, check_model, too_long

FORMS = ("float", "base64")
MOST_DIMENSIONS = 1 << 20


@dataclass(frozen=True)
class EmbeddingAsked:
    """Texts to embed, without what stands before each of them.

    Attributes:
        dimensions: of the vectors, where somebody said how many there are to be.
    """

    texts: tuple[Ids, ...]
    form: str = "float"
    dimensions: int | None = None

    @property
    def tokens(self) -> int:
        """That are read: each text stands behind one."""
        return sum(len(text) + 1 for text in self.texts)

    def data(self, vectors_SC: NDArray[np.float32]) -> list[dict[str, Any]]:
        """The rows of the answer.

        Raises:
            Refused: 400; the vectors have another number of dimensions than was asked for.
        """
        width = vectors_SC.shape[1]
        if self.dimensions not in (None, width):
            # a prefix of a vector says something only where the model was trained for it
            reason = f"'dimensions' is {self.dimensions}; this model's vectors have {width}"
            raise Refused(reason, param="dimensions")
        little = vectors_SC.astype("<f4")
        told: list[Any] = little.tolist()
        if self.form == "base64":
            told = [base64.b64encode(row.tobytes()).decode("ascii") for row in little]
        return [
            {"object": "embedding", "index": index, "embedding": row}
            for index, row in enumerate(told)
        ]


def embedding_asked(body: Mapping[str, Any], served: Served) -> EmbeddingAsked:
    """A request of /v1/embeddings; a text's ids are the same as the text.

    Raises:
        Refused: 400 naming the field, or 404 for another model.
    """
    fields = Fields(body)
    check_model(fields, served)
    form = fields.one_of("encoding_format", FORMS, "float")
    dimensions = fields.whole("dimensions", 1, MOST_DIMENSIONS)
    asker_of(fields)
    texts, _ = prompts_of(fields, served, "input", behind=())
    fields.end()
    for ids in texts:
        if not ids:
            raise Refused("'input' holds an empty text; leave it out", param="input")
        if len(ids) + 1 > served.context:
            raise too_long(served, f"{len(ids) + 1} tokens")
    return EmbeddingAsked(texts, form, dimensions)


@dataclass(frozen=True)
class Embedding:
    """The route."""

    fleet: Fleet
    gate: Gate
    meters: Meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request of ASGI 3.

        Raises:
            Refused: nothing was sent yet.
        """
        self.fleet.check()
        await answered(self._reply, self.gate, scope, receive, send)

    async def _reply(self, data: bytes, note: Note, send: Send) -> None:
        service = self.fleet.live
        with self.fleet.held(service):
            with self.gate.reading():
                body = await self.fleet.parsed(data)
                asked = await service.understood(embedding_asked, body)
            with self.gate.entered(1):
                await self._answer(service, asked, note, send)

    async def _answer(
        self, service: Service, asked: EmbeddingAsked, note: Note, send: Send
    ) -> None:
        note.prompt_tokens = asked.tokens
        vectors_SC = await service.embed(asked.texts, self.gate.limits.seconds)
        self.meters.add("prompt_tokens_total", asked.tokens)
        told = {
            "object": "list",
            "data": asked.data(vectors_SC),
            "model": service.served.name,
            "usage": {"prompt_tokens": asked.tokens, "total_tokens": asked.tokens},
        }
        note.ended = "embedded"
        loop = asyncio.get_running_loop()
        await send_all(send, await loop.run_in_executor(None, encoded_apart, told, "data"))
