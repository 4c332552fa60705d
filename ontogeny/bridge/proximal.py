"""Model + environments (+ reward model) -> model: rounds of rollouts, several epochs on each.

A round's tasks, draws and scores follow from the seed, its number and the weights, so a run that
was killed between rollout and update plays the same round again. Between two epochs the weights
that played are gone: the checkpoint holds the round itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.base.seeds import named_seed
from ontogeny.bridge.adapters import train_flops_per_token
from ontogeny.bridge.device import device
from ontogeny.bridge.fit import fit
from ontogeny.bridge.lessons import Lesson, experience, teach
from ontogeny.bridge.models import chats, load_model, save_model
from ontogeny.bridge.packing import pieces, row_width
from ontogeny.bridge.reward_model import RewardModel, load_reward, same_language
from ontogeny.bridge.rollouts import ROW, Episode, Player
from ontogeny.environments.playable import Playable, playable
from ontogeny.model.transformer import Transformer
from ontogeny.objectives.batch import Batch
from ontogeny.objectives.proximal import PPO
from ontogeny.plan.memory import Load
from ontogeny.plan.rewards import OverExperience
from ontogeny.rollout.reward import Reward, rate_trajectories
from ontogeny.rollout.rolled import Row, mean, row, write_rows
from ontogeny.rollout.trajectory import finite
from ontogeny.run.work import Made, Work
from ontogeny.text.tokenizer import Tokenizer

MOST_UNJUDGED = 0.05
"""Share of the episodes so far whose score is no finite number; one is always let pass."""


def improve(
    config: OverExperience,
    work: Work,
    parent: Artifact,
    judge: Artifact | None = None,
    tasks: Sequence[Artifact] = (),
) -> Made:
    """Trains `parent` on its own episodes; writes the model and the record of its rollouts.

    The value's head learns on the same layers and is thrown away at the end.

    Args:
        judge: a reward model, in place of the environments' scores, which the record keeps as
            `verified`.
        tasks: what brings the environments called `tasks/NAME`.

    Raises:
        InputError: when a task with its answer exceeds the model's context, or too many episodes
            are judged by no finite number.
    """
    model, tokenizer = load_model(parent)
    model.to(device(config.device))
    model.add_score()
    reward = _judge(judge, parent, model, config)
    reference = load_model(parent)[0].to(model.device) if config.kl else None
    worlds = playable(config.environments, tasks)
    seed = work.named_seed("rollouts")
    steps = ProximalSteps(model, tokenizer, config, seed, reference, reward, worlds, _teller(work))
    objective = PPO(config.ratio_clip, config.value_clip, config.value_weight, config.entropy)
    try:
        counters, speed = fit(work, model, objective, steps, config, config.updates)
    finally:
        steps.player.release()
    model.eval()
    model.score = None
    save_model(work.payload, model, parent, chats=chats(parent))
    write_rows(work.payload, steps.rows)
    episodes = config.steps * config.prompts * config.group
    forward = model.shape.forward_flops_per_token(min(ROW, model.shape.context))
    rates = train_flops_per_token(model.shape, config.adapter, min(ROW, model.shape.context))
    readers = 2 + (reference is not None) + (reward is not None)
    return Made(
        metrics={
            "rounds": config.steps,
            "updates": config.updates,
            "episodes": episodes,
            "sampled_tokens": sum(sum(each["lengths"]) for each in steps.rows),
            "skipped_steps": counters.skipped,
            "unjudged": steps.unjudged,
            "ratio_gap": steps.gap,
        },
        summary=(
            f"{config.steps} rounds of {config.prompts} prompts with {config.group} answers each, "
            f"{config.epochs} epochs of {config.minibatches} updates on each",
        ),
        notes=(speed.note(), steps.player.note()) if speed is not None else (),
        tokens=counters.tokens,
        flops=counters.tokens * (rates + forward * readers / config.epochs),
    )


def _judge(
    judge: Artifact | None, parent: Artifact, model: Transformer, config: OverExperience
) -> RewardModel | None:
    if judge is None:
        if config.value_start == "reward":
            raise InputError('value_start is "reward" and there is no reward model; give one')
        return None
    same_language(judge, parent)
    reward = load_reward(judge)
    reward.model.to(model.device)
    if config.value_start == "reward":
        assert model.score is not None and reward.model.score is not None
        if model.score.shape != reward.model.score.shape:
            raise InputError(
                f"'{judge.name}' is of another width than '{parent.name}'; "
                'let the value start at "zero"'
            )
        with torch.no_grad():
            model.score.copy_(reward.model.score)
    return reward


def _teller(work: Work) -> Callable[[Row], None]:
    """Logs what a round was like: the score, the second verdict where there is one."""

    def tell(told: Row) -> None:
        means = {name: mean(told[f"{name}s"]) for name in ("reward", "length")}
        numbers = {name: told[name] for name in ("kl", "explained", "ratio_gap")}
        work.log("rollouts", step=told["step"], **means, verified=mean(told["verified"]), **numbers)

    return tell


class ProximalSteps:
    """Updates on rounds that the model plays itself.

    Args:
        play: what is played, and how often it is learnt from.
        reference: a frozen model for the cost of leaving it, or None.
        reward: what judges the episodes; by default their environments.
        worlds: the environments by name; by default those of the catalogue.
        tell: hears the record of each round that is played.

    Attributes:
        player: plays.
        rows: the record of the rounds played.
        unjudged: episodes so far whose score is no finite number; they teach nothing.
        gap: how far a ratio was from 1 before the first update on a round, at most, as its log.
    """

    def __init__(
        self,
        model: Transformer,
        tokenizer: Tokenizer,
        play: OverExperience,
        seed: int,
        reference: Transformer | None = None,
        reward: Reward | None = None,
        worlds: Mapping[str, Playable] | None = None,
        tell: Callable[[Row], None] = lambda _: None,
    ) -> None:
        self.player = Player(model, tokenizer, play, seed, worlds)
        self.model, self.tokenizer, self.play, self.seed = model, tokenizer, play, seed
        self.reference, self.reward, self.tell = reference, reward, tell
        self.played, self.taken, self.unjudged, self.gap = 0, 0, 0, 0.0
        self.lessons: list[Lesson] = []
        self.rows: list[Row] = []

    def __iter__(self) -> Iterator[list[Batch]]:
        return self

    def __next__(self) -> list[Batch]:
        if not self.lessons:
            if self.played == self.play.steps:
                raise StopIteration
            self._round()
        batches = self._batches(self._drawn(), f"round {self.played} update {self.taken + 1}")
        self.taken += 1
        if self.taken == self.play.epochs * self.play.minibatches:
            self.lessons = []
        return batches

    def state(self) -> dict[str, Any]:
        """Where it stands, and the round that is being learnt from."""
        return {
            "played": self.played,
            "taken": self.taken,
            "unjudged": self.unjudged,
            "gap": self.gap,
            "rows": list(self.rows),
            "lessons": [each.state() for each in self.lessons],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue behind the update after which `state` was taken."""
        self.played, self.taken = int(state["played"]), int(state["taken"])
        self.unjudged, self.gap = int(state["unjudged"]), float(state["gap"])
        self.rows = list(state["rows"])
        self.lessons = [Lesson.restored(each) for each in state["lessons"]]

    def load(self) -> Load:
        """See `Player.load`; a reward model stands beside like a reference."""
        beside = (self.reference is not None) + (self.reward is not None)
        return replace(self.player.load(), reference=beside)

    def _round(self) -> None:
        """Plays and credits the next round."""
        episodes = self.player.play(self.played)
        scores = self._scores(episodes)
        self.played, self.taken = self.played + 1, 0
        judged = np.isfinite(scores)
        kept = [each for each, good in zip(episodes, judged, strict=True) if good]
        taught = teach(
            self.play,
            self.model,
            self.reference,
            kept,
            self._dealt(scores[judged].tolist()),
            self._width([each.told().positions for each in kept]),
            self.tokenizer.pad,
        )
        self.lessons, self.gap = taught.lessons, max(self.gap, taught.gap)
        told = row(self.played, scores.tolist(), [each.trajectory for each in episodes])
        if self.reward is not None:  # the environments' verdict was not learnt from
            told["verified"] = [finite(each.score) for each in episodes]
            told["judge"] = "reward_model"
        measured = {"kl": taught.kl, "explained": taught.explained, "ratio_gap": taught.gap}
        self.rows.append(told | measured)
        self.tell(self.rows[-1])

    def _scores(self, episodes: Sequence[Episode]) -> np.ndarray[Any, np.dtype[np.float64]]:
        """What each episode is worth.

        Raises:
            InputError: too many are no finite number.
        """
        scores = np.array([each.score for each in episodes], np.float64)
        if self.reward is not None:
            scores = rate_trajectories(self.reward, [each.trajectory for each in episodes])
        self.unjudged += int((~np.isfinite(scores)).sum())
        count = (self.played + 1) * len(scores)
        if self.unjudged > max(1.0, MOST_UNJUDGED * count) or not np.isfinite(scores).any():
            judge = "the reward model" if self.reward is not None else "the judge of these worlds"
            raise InputError(
                f"{self.unjudged} of {count} episodes are judged by no finite number, more than "
                f"{MOST_UNJUDGED:.0%}; repair {judge} "
                f"({', '.join(sorted(self.play.environments))})",
                file="training",
                line=self.played + 1,
            )
        return scores

    def _dealt(self, scores: Sequence[float]) -> list[float]:
        """What is learnt from: the scores, in the placebo those of others."""
        if not self.play.shuffled:
            return list(scores)
        source = np.random.default_rng(named_seed(self.seed, "shuffle", self.played))
        dealt: list[float] = source.permutation(np.array(scores)).tolist()
        return dealt

    def _drawn(self) -> list[Lesson]:
        """The lessons of the next update, in a new order each epoch."""
        epoch, part = divmod(self.taken, self.play.minibatches)
        source = np.random.default_rng(named_seed(self.seed, "order", self.played, epoch))
        order = source.permutation(len(self.lessons))
        chosen = np.array_split(order, self.play.minibatches)[part]
        return [self.lessons[number] for number in np.sort(chosen)]

    def _batches(self, drawn: Sequence[Lesson], name: str) -> list[Batch]:
        positions = [each.told.positions for each in drawn]
        width = self._width(positions)
        found = pieces(positions, width, self.play.micro_rows)
        numbers = [""] if len(found) == 1 else [f" part {n + 1}" for n in range(len(found))]
        return [
            experience(drawn[part], width, self.tokenizer.pad, f"{name}{number}")
            for (part, _), number in zip(found, numbers, strict=True)
        ]

    def _width(self, positions: Sequence[int]) -> int:
        return row_width(max(positions, default=1), self.model.shape.context, ROW)
