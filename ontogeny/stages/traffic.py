"""Model -> traffic: it is served, simulated users ask it over HTTP and rate what they hear."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, ClassVar

from ontogeny import bridge
from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.environments.environment import Environment
from ontogeny.environments.own import check_names, environments_of
from ontogeny.feedback.exchange import Exchange, Rating, write_export
from ontogeny.feedback.ledger import Ledger
from ontogeny.feedback.users import Crowd, Visit, rating, visits
from ontogeny.rollout.policy import PolicyFailed
from ontogeny.run.work import Made, Work
from ontogeny.serve.alongside import HOST, alongside
from ontogeny.serve.gate import Limits
from ontogeny.serve.recording import recording
from ontogeny.serve.wanted import Served

LEDGER = "ledger.db"
KINDS = ("preferred", "score", "correction")
MOST_SECONDS = 600.0
"""For one answer."""


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """A `crowd` uses the model through `ontogeny serve`'s own server on the loopback address.

    Each request asks for two answers of at most `max_tokens` at `temperature`; what the user says
    of them goes to `POST /v1/feedback`. One request at a time and one answer at a time, so that the
    same crowd always hears the same bits. The ledger is the server's; what is published of it has
    ids and keys by the order of requests, no times, and pseudonyms under a secret that follows from
    the seed. No role and no taste is in it.

    Raises:
        InputError: a number that cannot be meant, a question that the model has no room for, or a
            model that has not learnt to chat.
        PolicyFailed: the server failed.
    """

    crowd: Crowd = field(default_factory=Crowd)
    max_tokens: int = 40
    temperature: float = 1.0

    stage: ClassVar[str] = "traffic"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("model", "tasks*")
    makes: ClassVar[str] = "traffic"

    def __post_init__(self) -> None:
        if self.max_tokens < 1 or not 0 < self.temperature <= 2:
            raise InputError("traffic: max_tokens is at least 1, temperature above 0, at most 2")
        check_names(self.crowd.tasks)

    def __call__(self, work: Work, model: Artifact, *own: Artifact) -> Made:
        """Writes exchanges.jsonl and ratings.jsonl, as `feedback.exchange.write_export` does."""
        if not bridge.chats(model):
            raise InputError(f"'{model.name}' has not learnt to chat; give a later model")
        worlds = environments_of(self.crowd.tasks, own)
        asked = visits(self.crowd, worlds, work.named_seed("crowd"))
        directory = work.directory / "ledger"
        shutil.rmtree(directory, ignore_errors=True)  # of a run that was killed
        directory.mkdir()
        said = self._served(work, model, worlds, asked, directory / LEDGER)
        with Ledger.read(directory / LEDGER) as ledger:
            exchanges, ratings = in_order(*ledger.rows())
        write_export(work.payload, exchanges, ratings)
        return _made(model, asked, exchanges, ratings, said)

    def _served(
        self,
        work: Work,
        model: Artifact,
        worlds: Mapping[str, Environment],
        asked: list[Visit],
        ledger: Path,
    ) -> list[Visit]:
        """Everybody asks and rates; who said something."""
        # one slot: an answer's bits depend on the company that it is computed in
        policy, tokenizer = bridge.load_policy(model, slots=1, admission="ready")
        context = bridge.context_of(policy)
        served = Served(model.name, model.id, 0, context, tokenizer, chats=True)
        limits = Limits(slots=1, waiting=4, wait_seconds=MOST_SECONDS)
        secret = hashlib.sha256(f"pseudonyms {work.seed}".encode()).digest()
        Ledger.open(ledger, secret=secret).close()
        said = []
        with ExitStack() as stack:
            recorder = stack.enter_context(recording(ledger))
            port = stack.enter_context(alongside(policy, served, limits, recorder))
            for visit in asked:
                reply = self._ask(port, model.name, visit)
                answers = [each["message"]["content"] or "" for each in reply["choices"]]
                told = rating(visit, answers, self.crowd, worlds)
                if told is not None:
                    body = {"id": reply["id"], "user": visit.user} | told
                    post(port, "/v1/feedback", body, {"Idempotency-Key": f"{visit.number:06}"})
                    said.append(visit)
                work.progress(visit.number + 1, len(asked), "requests")
        return said

    def _ask(self, port: int, name: str, visit: Visit) -> Any:
        body = {
            "model": name,
            "messages": [{"role": "user", "content": visit.prompt}],
            "n": 2,
            "seed": visit.seed,
            "user": visit.user,
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
        }
        return post(port, "/v1/chat/completions", body)


def post(
    port: int, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
) -> Any:
    """The answer to one request, on a connection of its own.

    Raises:
        InputError: the server refuses what is asked.
        PolicyFailed: it fails, or does not answer.
    """
    line = HTTPConnection(HOST, port, timeout=MOST_SECONDS)
    try:
        sent = {"content-type": "application/json"} | dict(headers or {})
        line.request("POST", path, json.dumps(body), sent)
        reply = line.getresponse()
        status, data = reply.status, reply.read()
    except (OSError, HTTPException) as error:
        raise PolicyFailed(f"the server does not answer ({error}); run the stage again") from None
    finally:
        line.close()
    if status == 200:
        return json.loads(data)
    reason = str(json.loads(data)["error"]["message"])
    if status < 500:
        raise InputError(f"the server refused a request of the traffic: {reason}")
    raise PolicyFailed(f"the server failed ({status}): {reason}")


def in_order(
    exchanges: list[Exchange], ratings: list[Rating]
) -> tuple[list[Exchange], list[Rating]]:
    """Both under ids by their order, without times: equal each time the same is said."""
    names = {each.id: f"chatcmpl-{place:06}" for place, each in enumerate(exchanges)}
    return (
        [replace(each, id=names[each.id], at=0.0) for each in exchanges],
        [replace(each, exchange=names[each.exchange], at=0.0) for each in ratings],
    )


def _made(
    model: Artifact,
    asked: list[Visit],
    exchanges: list[Exchange],
    ratings: list[Rating],
    said: list[Visit],
) -> Made:
    kinds = Counter(
        next(kind for kind in KINDS if getattr(each, kind) not in (None, "")) for each in ratings
    )
    hostile = sum(each.hostile for each in said) / max(1, len(said))
    tokens = sum(
        each.prompt_tokens + sum(answer.tokens for answer in each.answers) for each in exchanges
    )
    return Made(
        metrics={
            "requests": len(asked),
            "exchanges": len(exchanges),
            "ratings": len(ratings),
            "users": len({each.user for each in exchanges}),
            "hostile_share": hostile,
            **{kind: kinds[kind] for kind in KINDS},
        },
        summary=(
            f"{len(asked):,} requests over HTTP, {len(exchanges):,} exchanges in the ledger, "
            f"{len(ratings):,} rated ({', '.join(f'{kind} {kinds[kind]:,}' for kind in KINDS)}); "
            f"{hostile:.0%} of the ratings are hostile",
        ),
        tokens=tokens,
        flops=tokens * bridge.shape_of(model).forward_flops_per_token(),
    )
