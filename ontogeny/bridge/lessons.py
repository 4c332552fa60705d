"""Episodes -> what PPO learns from them: the credit of every token, and its form in a checkpoint.

Knows no loop and no environment's name. Credit is given once, when a round has been played; all
epochs read the same numbers, so a checkpoint between two of them holds these, not the weights that
played the round.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ontogeny.bridge.packing import Packed, Told, pack, pieces
from ontogeny.bridge.rollouts import Episode
from ontogeny.infer.scoring import score
from ontogeny.model.transformer import Transformer
from ontogeny.objectives.batch import Batch
from ontogeny.objectives.loss import Needs
from ontogeny.objectives.proximal import Experience, advantages, token_rewards, whitened
from ontogeny.plan.rewards import OverExperience


@dataclass(frozen=True, slots=True)
class Lesson:
    """An episode with what each of its sampled tokens is credited with.

    Attributes:
        ids, chosen: as in `Told`.
        sampled: log-prob of each chosen token as sampled, nats.
        advantage, value, wanted: of each chosen token, as in `Experience`.
        score: as judged.
    """

    ids: tuple[int, ...]
    chosen: tuple[bool, ...]
    sampled: tuple[float, ...]
    advantage: tuple[float, ...]
    value: tuple[float, ...]
    wanted: tuple[float, ...]
    score: float

    @property
    def told(self) -> Told:
        """Its tokens."""
        return Told(self.ids, self.chosen)

    def state(self) -> dict[str, Any]:
        """JSON values from which `restored` makes the same lesson, bit for bit."""
        return asdict(self)

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Lesson:
        """The inverse of `state`."""
        lists = {name: tuple(each) for name, each in state.items() if name != "score"}
        return cls(**lists, score=float(state["score"]))


@dataclass(frozen=True, slots=True)
class Taught:
    """A round's lessons.

    Attributes:
        gap: largest |log-prob of the trainer - log-prob as sampled|: at the first minibatch the
            ratio is 1 up to this.
        explained: share of the variance of what the values should have been that they foretold.
        kl: mean log-ratio to the reference, nats a token; None without one.
    """

    lessons: list[Lesson]
    gap: float
    explained: float
    kl: float | None


def teach(
    play: OverExperience,
    model: Transformer,
    reference: Transformer | None,
    episodes: Sequence[Episode],
    scores: Sequence[float],
    width: int,
    fill: int,
) -> Taught:
    """Credits the tokens of finished episodes, all judged by a finite number.

    Args:
        model: as it played, with its scalar head.
        reference: its parent, or None where no token costs anything.
        scores: as judged, one for each episode.
        width: tokens of a row that holds the longest.
    """
    told = [each.told() for each in episodes]
    sampled = [each.log_probs() for each in episodes]
    values, own = _read(model, told, width, fill, play.micro_rows)
    known = _reference(reference, told) if reference is not None else sampled
    rewards = [
        token_rewards(score - _penalty(play, each), _tensor(ours), _tensor(theirs), play.kl)
        for score, each, ours, theirs in zip(scores, episodes, sampled, known, strict=True)
    ]
    sizes = [len(each) for each in rewards]
    if play.whiten_rewards:
        rewards = list(torch.split(whitened(torch.cat(rewards), shift=False), sizes))
    plain = [
        advantages(reward, value, play.gamma, play.lam)
        for reward, value in zip(rewards, values, strict=True)
    ]
    wanted = [gain + value for gain, value in zip(plain, values, strict=True)]
    credit = torch.split(whitened(torch.cat(plain)), sizes)
    lessons = [
        Lesson(
            each.ids,
            each.chosen,
            tuple(sampled[number]),
            advantage=_plain(credit[number]),
            value=_plain(values[number]),
            wanted=_plain(wanted[number]),
            score=scores[number],
        )
        for number, each in enumerate(told)
    ]
    all_sampled = torch.tensor([each for one in sampled for each in one])
    all_known = torch.tensor([each for one in known for each in one])
    return Taught(
        lessons,
        gap=float((torch.cat(own) - all_sampled).abs().max()),
        explained=_explained(torch.cat(values), torch.cat(wanted)),
        kl=float((all_sampled - all_known).mean()) if reference is not None else None,
    )


def experience(lessons: Sequence[Lesson], width: int, fill: int, name: str) -> Experience:
    """The micro-batch of these lessons."""
    packed = pack([each.told for each in lessons], width, fill)
    return Experience(
        packed.tokens_BT,
        packed.targets_BT,
        packed.weights_BT,
        packed.documents,
        name,
        answer_BT=packed.answer_BT,
        answers=len(lessons),
        sampled_BT=packed.spread([each.sampled for each in lessons]),
        advantage_BT=packed.spread([each.advantage for each in lessons]),
        value_BT=packed.spread([each.value for each in lessons]),
        return_BT=packed.spread([each.wanted for each in lessons]),
        score_S=torch.tensor([each.score for each in lessons], dtype=torch.float32),
    )


def _penalty(play: OverExperience, episode: Episode) -> float:
    ended = episode.trajectory.turns[-1].completion.finish == "stop"
    return 0.0 if ended else play.missing_end


@torch.no_grad()
def _read(
    model: Transformer, told: Sequence[Told], width: int, fill: int, micro_rows: int
) -> tuple[list[Tensor], list[Tensor]]:
    """Value before, and log-prob of, each chosen token of each episode, as the trainer has them."""
    values: list[Tensor] = []
    log_probs: list[Tensor] = []
    for part, _ in pieces([each.positions for each in told], width, micro_rows):
        packed = pack(told[part], width, fill)
        outputs = model(_batch(packed), Needs(log_probs=True, values=True))
        inside_BT = packed.weights_BT > 0
        counts = [sum(each.chosen) for each in told[part]]
        for found_BT, into in ((outputs.values_BT, values), (outputs.log_probs_BT, log_probs)):
            into += torch.split(found_BT.cpu()[inside_BT], counts)
    return values, log_probs


def _batch(packed: Packed) -> Batch:
    return Batch(packed.tokens_BT, packed.targets_BT, packed.weights_BT, packed.documents)


def _reference(reference: Transformer, told: Sequence[Told]) -> list[list[float]]:
    scored = score(reference, [each.continued() for each in told])
    return [each.kept(found) for each, (found, _) in zip(told, scored, strict=True)]


def _explained(value_N: Tensor, wanted_N: Tensor) -> float:
    """1 - var(wanted - value) / var(wanted); 0 where all that was wanted is equal."""
    spread = float(wanted_N.var(correction=0))
    share = 1 - float((wanted_N - value_N).var(correction=0)) / spread if spread > 0 else 0.0
    return share if math.isfinite(share) else 0.0


def _tensor(numbers: Sequence[float]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float32)


def _plain(numbers: Tensor) -> tuple[float, ...]:
    return tuple(numbers.tolist())
