"""One request as the ledger keeps it: what was asked, and what the client heard of the answers.

Knows no HTTP and no file.
"""

from __future__ import annotations

import time

from ontogeny.feedback.exchange import SILENCE, Answer, Arm, Exchange
from ontogeny.serve.asked import Asked
from ontogeny.serve.meters import Meters
from ontogeny.serve.recording import Recorder
from ontogeny.serve.refusal import Refused
from ontogeny.serve.teller import Piece
from ontogeny.serve.wanted import Bounds
from ontogeny.text.message import Message, ToolCall

CUT = "cut"
"""How an answer ended whose end nobody was told: its client left, or the server stopped."""


class Hearing:
    """Follows the answers to one request.

    Args:
        recorder: None: this server keeps no ledger.
        owner: name of the key that asks.
        id_: of the response.
        of: a shadow's: the id of what it repeats, which must be in the ledger already.

    Raises:
        Refused: 400, where the request wants kept what cannot be; 503 while nothing can be kept.
    """

    def __init__(
        self,
        recorder: Recorder | None,
        meters: Meters,
        asked: Asked,
        served: Bounds,
        *,
        owner: str,
        id_: str,
        arm: Arm = "live",
        of: str = "",
    ) -> None:
        self._asked, self._served, self._meters = asked, served, meters
        self._owner, self._id, self._arm, self._of = owner, id_, arm, of
        self._answers = [_Answer() for _ in range(asked.units)]
        self.prompt_tokens = len(asked.prompts[0])
        why = _why_not(recorder, asked)
        if why and asked.wanted.store:
            raise Refused(f"'store' cannot be true: {why}; leave it out", param="store")
        self._recorder = None if why else recorder
        if recorder is not None and why:
            meters.add("exchanges_total", kept="no")
        if self._recorder is not None:
            self._recorder.check()

    def hear(self, index: int, piece: Piece) -> None:
        """What the client is told of one answer."""
        answer = self._answers[index]
        answer.text += piece.text
        answer.calls += piece.calls
        if piece.finish:
            answer.finish, answer.tokens = piece.finish, piece.tokens

    async def end(self) -> None:
        """All was heard; returns once it lies on the disk.

        Raises:
            Refused: 503 or 507; it could not be kept.
        """
        if self._recorder is None:
            return
        recorder, self._recorder = self._recorder, None
        self._count(await recorder.exchanged(self._exchange(recorder)))

    def cut(self) -> None:
        """The client hears no more: what it heard is kept, and nobody waits for that.

        After `end` this does nothing.
        """
        recorder, self._recorder = self._recorder, None
        if recorder is None or not any(self._answers):
            return
        try:
            recorder.left(self._exchange(recorder))
        except Refused:  # no answer depends on it, but the count tells
            self._count(False)
        else:
            self._count(True)

    def _count(self, kept: bool) -> None:
        self._meters.add("exchanges_total", kept="yes" if kept else "no")

    def _exchange(self, recorder: Recorder) -> Exchange:
        return Exchange(
            id=self._id,
            user=recorder.pseudonym(self._owner, self._asked.wanted.person),
            model=self._served.id,
            messages=self._asked.said,
            answers=tuple(answer.made() for answer in self._answers),
            arm=self._arm,
            of=self._of,
            chat=self._asked.chat,
            temperature=self._asked.wanted.sampling.temperature,
            prompt_tokens=self.prompt_tokens,
            at=round(time.time(), 3),
        )


class _Answer:
    def __init__(self) -> None:
        self.text, self.finish, self.tokens = "", CUT, 0
        self.calls: tuple[ToolCall, ...] = ()

    def made(self) -> Answer:
        says = Message("assistant", self.text, self.calls) if self else SILENCE
        return Answer(says, self.finish, self.tokens)

    def __bool__(self) -> bool:
        return bool(self.text or self.calls)


def _why_not(recorder: Recorder | None, asked: Asked) -> str:
    """Why this request is not kept; "" where it is."""
    if recorder is None:
        return "this server keeps no ledger"
    if asked.wanted.store is False:
        return "the request says so"
    if not asked.said:
        return "several prompts at once and an empty one are not kept"
    return ""
