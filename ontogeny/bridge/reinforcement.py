"""Model + environments -> model: what was rolled out gets its credit, then one step is taken on it.

Every step's tasks, draws and rewards follow from the seed, the number of the step and the weights,
so a run that was killed between rollout and update plays the same rollout again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.base.seeds import named_seed
from ontogeny.bridge.adapters import train_flops_per_token
from ontogeny.bridge.device import device
from ontogeny.bridge.fit import fit
from ontogeny.bridge.models import chats, load_model, save_model
from ontogeny.bridge.packing import Packed, Told, pack, pieces, row_width
from ontogeny.bridge.rollouts import ROW, Episode, Player
from ontogeny.environments.playable import Playable, playable
from ontogeny.infer.scoring import score
from ontogeny.model.transformer import Transformer
from ontogeny.objectives.batch import Batch, Rollouts
from ontogeny.objectives.policy_gradient import GRPO, group_advantages
from ontogeny.plan.memory import Load
from ontogeny.plan.optimization import OverRollouts
from ontogeny.rollout.rolled import Row, mean, row, write_rows
from ontogeny.run.work import Made, Work
from ontogeny.text.tokenizer import Tokenizer

MOST_UNJUDGED = 0.05
"""Share of the groups so far with a reward that is no finite number; one is always let pass."""


def reinforce(
    config: OverRollouts, work: Work, parent: Artifact, tasks: Sequence[Artifact] = ()
) -> Made:
    """Trains `parent` by rollout and update; writes the model and the record of its rollouts.

    Args:
        tasks: what brings the environments called `tasks/NAME`.

    Raises:
        InputError: when a task with its answer exceeds the model's context.
    """
    model, tokenizer = load_model(parent)
    model.to(device(config.device))
    reference = load_model(parent)[0].to(model.device) if config.beta else None
    worlds = playable(config.environments, tasks)
    seed = work.named_seed("rollouts")
    steps = RolloutSteps(model, tokenizer, config, seed, reference, worlds, _teller(work))
    objective = GRPO(
        config.clip_low, config.clip_high, config.beta, config.normalise, config.max_tokens
    )
    try:
        counters, speed = fit(work, model, objective, steps, config, config.steps)
    finally:
        steps.player.release()
    model.eval()
    save_model(work.payload, model, parent, chats=chats(parent))
    write_rows(work.payload, steps.rows)
    answers = config.steps * config.prompts * config.group
    width = min(ROW, model.shape.context)
    rates = train_flops_per_token(model.shape, config.adapter, width)
    rates += model.shape.forward_flops_per_token(width) * (1 + (reference is not None))
    return Made(
        metrics={
            "steps": config.steps,
            "answers": answers,
            "skipped_steps": counters.skipped,
            "unjudged_groups": steps.unjudged,
        },
        summary=(
            f"{config.steps} steps of {config.prompts} prompts with {config.group} answers each",
        ),
        notes=(speed.note(), steps.player.note()) if speed is not None else (),
        tokens=counters.tokens,
        flops=counters.tokens * rates,
    )


def _teller(work: Work) -> Callable[[Row], None]:
    """Logs what a step's rollouts were like: reward, the second verdict where there is one."""

    def tell(told: Row) -> None:
        means = {name: mean(told[f"{name}s"]) for name in ("reward", "length")}
        work.log("rollouts", step=told["step"], **means, verified=mean(told["verified"]))

    return tell


class RolloutSteps:
    """Steps that the model plays itself, with each episode's credit beside its group's.

    Args:
        play: what is rolled out in a step.
        reference: a frozen model for the KL term, or None.
        worlds: the environments by name; by default those of the catalogue.
        tell: hears the record of each step that is played.

    Attributes:
        player: plays.
        rows: the record of the steps taken.
        unjudged: groups so far with a reward that is no finite number; they teach nothing.
    """

    def __init__(
        self,
        model: Transformer,
        tokenizer: Tokenizer,
        play: OverRollouts,
        seed: int,
        reference: Transformer | None = None,
        worlds: Mapping[str, Playable] | None = None,
        tell: Callable[[Row], None] = lambda _: None,
    ) -> None:
        self.player = Player(model, tokenizer, play, seed, worlds)
        self.model, self.tokenizer, self.play = model, tokenizer, play
        self.seed, self.reference, self.tell = seed, reference, tell
        self.taken, self.unjudged = 0, 0
        self.rows: list[Row] = []

    def __iter__(self) -> Iterator[list[Batch]]:
        return self

    def __next__(self) -> list[Batch]:
        if self.taken == self.play.steps:
            raise StopIteration
        episodes = self.rollout(self.taken)
        batches = self._batches(episodes)
        self.taken += 1
        self.rows.append(
            row(
                self.taken,
                [each.score for each in episodes],
                [each.trajectory for each in episodes],
            )
        )
        self.tell(self.rows[-1])
        return batches

    def state(self) -> dict[str, Any]:
        """The steps taken and their record; everything else follows from these and the weights."""
        return {"taken": self.taken, "unjudged": self.unjudged, "rows": list(self.rows)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue behind `taken` steps."""
        self.taken = int(state["taken"])
        self.unjudged, self.rows = int(state.get("unjudged", 0)), list(state.get("rows", ()))

    def load(self) -> Load:
        """See `Player.load`."""
        return self.player.load(self.reference is not None)

    def rollout(self, step: int) -> list[Episode]:
        """The episodes of one step, those of one task side by side."""
        return self.player.play(step)

    def _batches(self, episodes: Sequence[Episode]) -> list[Batch]:
        """Micro-batches of at most `micro_rows` rows; credit is shared out before the split."""
        advantage_S = self._credit([each.score for each in episodes])
        told = [each.told() for each in episodes]
        positions = [each.positions for each in told]
        width = row_width(max(positions), self.model.shape.context, ROW)
        found = pieces(positions, width, self.play.micro_rows)
        numbers = [""] if len(found) == 1 else [f" part {n + 1}" for n in range(len(found))]
        return [
            self._batch(episodes[part], told[part], advantage_S[part], width, number)
            for (part, _), number in zip(found, numbers, strict=True)
        ]

    def _credit(self, rewards: Sequence[float]) -> torch.Tensor:
        """advantage_S of a step's episodes.

        Raises:
            InputError: too many groups have a reward that is no finite number.
        """
        reward_GK = torch.tensor(rewards, dtype=torch.float32).view(-1, self.play.group)
        self.unjudged += int((~reward_GK.isfinite()).any(1).sum())
        groups = (self.taken + 1) * len(reward_GK)
        if self.unjudged > max(1.0, MOST_UNJUDGED * groups):
            raise InputError(
                f"{self.unjudged} of {groups} groups have a reward that is no finite number, more "
                f"than {MOST_UNJUDGED:.0%}; repair the judge of these environments "
                f"({', '.join(sorted(self.play.environments))})",
                file="training",
                line=self.taken + 1,
            )
        if self.play.shuffled:
            source = np.random.default_rng(named_seed(self.seed, "shuffle", self.taken))
            reward_GK = torch.from_numpy(source.permuted(reward_GK.numpy(), axis=1))
        return group_advantages(reward_GK, self.play.baseline).flatten()

    def _batch(
        self,
        episodes: Sequence[Episode],
        told: Sequence[Told],
        advantage_S: torch.Tensor,
        width: int,
        number: str,
    ) -> Rollouts:
        packed = pack(told, width, self.tokenizer.pad)
        reward_S = torch.tensor([each.score for each in episodes], dtype=torch.float32)
        return Rollouts(
            packed.tokens_BT,
            packed.targets_BT,
            packed.weights_BT,
            packed.documents,
            f"rollout {self.taken + 1}{number}",
            answer_BT=packed.answer_BT,
            answers=len(told),
            advantage_S=advantage_S,
            reward_S=reward_S.where(reward_S.isfinite(), 0.0),
            sampled_BT=packed.spread([each.log_probs() for each in episodes]),
            reference_BT=self._reference(packed, told),
            turn_BT=packed.turn_BT,
            turns=packed.turns,
        )

    def _reference(self, packed: Packed, told: Sequence[Told]) -> torch.Tensor | None:
        if self.reference is None:
            return None
        scored = score(self.reference, [each.continued() for each in told])
        own = [each.kept(found) for each, (found, _) in zip(told, scored, strict=True)]
        return packed.spread(own)
