"""Model + environments -> model: rollouts by the very model being trained, then one step on them.

Every step's tasks, draws and rewards follow from the seed, the number of the step and the weights,
so a run that was killed between rollout and update plays the same rollout again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.base.seeds import named_seed
from ontogeny.bridge.adapters import train_flops_per_token
from ontogeny.bridge.device import device
from ontogeny.bridge.fit import fit
from ontogeny.bridge.local_policy import LocalPolicy
from ontogeny.bridge.models import chats, load_model, save_model
from ontogeny.bridge.packing import Packed, Said, pack, pieces, row_width
from ontogeny.environments.asking import Answered, Question, ask_all, question, release
from ontogeny.environments.environment import Environment
from ontogeny.environments.own import environments_of
from ontogeny.infer.engine import Engine
from ontogeny.infer.scoring import score
from ontogeny.model.transformer import Transformer
from ontogeny.objectives.batch import Batch, Rollouts
from ontogeny.objectives.policy_gradient import GRPO, group_advantages
from ontogeny.plan.memory import Load
from ontogeny.plan.optimization import OverRollouts
from ontogeny.run.work import Made, Work
from ontogeny.text.tokenizer import Tokenizer

ROW = 256
"""Tokens of a row, unless an answer is longer or the context shorter."""
SLOTS = 256
"""Most answers that are sampled at once; the others wait for the first ones to end."""
LOOKED_AT = 16
"""Steps whose questions are looked at before the first, to know how long they are."""


def reinforce(
    config: OverRollouts, work: Work, parent: Artifact, tasks: Sequence[Artifact] = ()
) -> Made:
    """Trains `parent` by rollout and update and writes the model.

    Args:
        tasks: what brings the environments called `tasks/NAME`.

    Raises:
        InputError: when a task with its answer exceeds the model's context.
    """
    model, tokenizer = load_model(parent)
    model.to(device(config.device))
    reference = load_model(parent)[0].to(model.device) if config.beta else None
    worlds = environments_of(config.environments, tasks)
    seed = work.named_seed("rollouts")
    steps = RolloutSteps(model, tokenizer, config, seed, reference, worlds)
    objective = GRPO(
        config.clip_low, config.clip_high, config.beta, config.normalise, config.max_tokens
    )
    try:
        counters, speed = fit(work, model, objective, steps, config, config.steps)
    finally:
        release(worlds.values())
    model.eval()
    save_model(work.payload, model, parent, chats=chats(parent))
    answers = config.steps * config.prompts * config.group
    width = min(ROW, model.shape.context)
    rates = train_flops_per_token(model.shape, config.adapter, width)
    rates += model.shape.forward_flops_per_token(width)
    return Made(
        metrics={"steps": config.steps, "answers": answers, "skipped_steps": counters.skipped},
        summary=(
            f"{config.steps} steps of {config.prompts} prompts with {config.group} answers each",
        ),
        notes=(speed.note(), steps.note()) if speed is not None else (),
        tokens=counters.tokens,
        flops=counters.tokens * rates,
    )


class RolloutSteps:
    """Steps that the model plays itself.

    Args:
        play: what is rolled out in a step.
        reference: a frozen model for the KL term, or None.
        worlds: the environments by name; the generated ones where nothing is given.
    """

    def __init__(
        self,
        model: Transformer,
        tokenizer: Tokenizer,
        play: OverRollouts,
        seed: int,
        reference: Transformer | None = None,
        worlds: Mapping[str, Environment] | None = None,
    ) -> None:
        self.model, self.tokenizer, self.play = model, tokenizer, play
        self.seed, self.reference = seed, reference
        self.taken = 0
        self.seconds, self.answers = 0.0, 0
        self._worlds = worlds if worlds is not None else environments_of(play.environments)
        self._names = sorted(play.environments)
        weights = np.array([play.environments[name] for name in self._names])
        self._shares = weights / weights.sum()
        self._policy: LocalPolicy | None = None

    def __iter__(self) -> Iterator[list[Batch]]:
        return self

    def __next__(self) -> list[Batch]:
        if self.taken == self.play.steps:
            raise StopIteration
        began = time.perf_counter()
        answered = self.rollout(self.taken)
        batches = self._batches(answered)
        self.taken += 1
        self.answers += len(answered)
        self.seconds += time.perf_counter() - began
        return batches

    def state(self) -> dict[str, int]:
        """The number of steps taken; everything else follows from it and the weights."""
        return {"taken": self.taken}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue behind `taken` steps."""
        self.taken = int(state["taken"])

    def load(self) -> Load:
        """The most that a step holds, if every answer takes all its tokens.

        By the questions of a few steps of the run, which depend on no weight.
        """
        looked = range(0, self.play.steps, max(1, self.play.steps // LOOKED_AT))
        drawn = [self._questions(named_seed(self.seed, "step", step)) for step in looked]
        lengths = [[len(each.prompt) + self.play.max_tokens for each in step] for step in drawn]
        longest = min(max(map(max, lengths)), self.model.shape.context)
        width = row_width(longest - 1, self.model.shape.context, ROW)
        answers = [min(most - 1, width) for most in max(lengths, key=sum)] * self.play.group
        slots = min(len(answers), SLOTS)
        return Load(
            rows=pieces(sorted(answers), width, len(answers))[0][1],
            width=width,
            scored=True,
            cached=slots * self._room(longest),
            sampling=slots,
            reference=self.reference is not None,
        )

    def _room(self, longest: int) -> int:
        """Tokens of a slot."""
        return min(self.model.shape.context, -(-longest // 64) * 64)

    def note(self) -> str:
        """How fast the rollouts of this session were."""
        return (
            f"rollouts: {self.answers / max(self.seconds, 1e-9):,.0f} answers/s, "
            f"{self.seconds:.1f} s of sampling and scoring"
        )

    def rollout(self, step: int) -> list[Answered]:
        """The answers of one step, those to one prompt side by side."""
        seed = named_seed(self.seed, "step", step)
        questions = [each for each in self._questions(seed) for _ in range(self.play.group)]
        self.model.eval()
        answered = ask_all(
            self._policy_for(questions),
            self.tokenizer,
            questions,
            max_tokens=self.play.max_tokens,
            temperature=self.play.temperature,
            seed=named_seed(seed, "answers"),
            again=True,
        )
        self.model.train()
        return answered

    def _questions(self, seed: int) -> list[Question]:
        draws = np.random.default_rng(named_seed(seed, "environments")).choice(
            len(self._names), self.play.prompts, p=self._shares
        )
        found: list[Question] = []
        for index, name in enumerate(self._names):
            wanted = int((draws == index).sum())
            world = self._worlds[name]
            tasks = world.tasks("train", wanted, named_seed(seed, name)) if wanted else []
            found += [question(world, task, self.tokenizer, "chat") for task in tasks]
        return found

    def _policy_for(self, questions: Sequence[Question]) -> LocalPolicy:
        """An engine with room for these; kept while it suffices."""
        longest = max(len(each.prompt) for each in questions) + self.play.max_tokens
        if longest > self.model.shape.context:
            raise InputError(
                f"a task takes {longest} tokens with its answer, the model's context is "
                f"{self.model.shape.context}; lower max_tokens or leave the environment out"
            )
        if self._policy is None or self._policy.engine.length < longest:
            slots = min(len(questions), SLOTS)
            engine = Engine(self.model, slots=slots, length=self._room(longest))
            self._policy = LocalPolicy(engine)
        self._policy.engine.version = self.taken
        return self._policy

    def _batches(self, answered: Sequence[Answered]) -> list[Batch]:
        """Micro-batches of at most `micro_rows` rows; credit is shared out before the split."""
        rewards_S = np.array([each.score for each in answered], np.float32)
        reward_GK = torch.from_numpy(rewards_S).view(-1, self.play.group)
        if self.play.shuffled:
            source = np.random.default_rng(named_seed(self.seed, "shuffle", self.taken))
            reward_GK = torch.from_numpy(source.permuted(reward_GK.numpy(), axis=1))
        advantage_S = group_advantages(reward_GK, self.play.baseline).flatten()
        positions = [_said(each).positions for each in answered]
        width = row_width(max(positions), self.model.shape.context, ROW)
        found = pieces(positions, width, self.play.micro_rows)
        numbers = [""] if len(found) == 1 else [f" part {n + 1}" for n in range(len(found))]
        return [
            self._batch(answered[part], advantage_S[part], width, number)
            for (part, _), number in zip(found, numbers, strict=True)
        ]

    def _batch(
        self, answered: Sequence[Answered], advantage_S: torch.Tensor, width: int, number: str
    ) -> Rollouts:
        said = [_said(each) for each in answered]
        packed = pack(said, width, self.tokenizer.pad)
        log_probs = [each.trajectory.turns[0].completion.log_probs for each in answered]
        return Rollouts(
            packed.tokens_BT,
            packed.targets_BT,
            packed.weights_BT,
            packed.documents,
            f"rollout {self.taken + 1}{number}",
            answer_BT=packed.answer_BT,
            answers=len(said),
            advantage_S=advantage_S,
            reward_S=torch.tensor([each.score for each in answered], dtype=torch.float32),
            sampled_BT=packed.spread(log_probs),
            reference_BT=self._reference(packed, said),
        )

    def _reference(self, packed: Packed, said: Sequence[Said]) -> torch.Tensor | None:
        if self.reference is None:
            return None
        pairs = [(each.prompt, each.answer) for each in said]
        return packed.spread([log_probs for log_probs, _ in score(self.reference, pairs)])


def _said(answered: Answered) -> Said:
    turn = answered.trajectory.turns[0]
    return Said(turn.context, turn.completion.ids)
