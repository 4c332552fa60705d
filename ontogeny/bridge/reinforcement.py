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
from ontogeny.bridge.device import device
from ontogeny.bridge.fit import fit
from ontogeny.bridge.local_policy import LocalPolicy
from ontogeny.bridge.models import chats, load_model, save_model
from ontogeny.bridge.packing import Packed, Said, pack
from ontogeny.environments.asking import Answered, Question, ask_all, question
from ontogeny.environments.environment import Environment
from ontogeny.environments.own import environments_of
from ontogeny.infer.engine import Engine
from ontogeny.infer.scoring import score
from ontogeny.model.transformer import Transformer
from ontogeny.objectives.batch import Batch, Rollouts
from ontogeny.objectives.policy_gradient import GRPO, group_advantages
from ontogeny.plan.optimization import OverRollouts
from ontogeny.run.work import Made, Work
from ontogeny.text.tokenizer import Tokenizer


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
    counters, speed = fit(work, model, objective, steps, config, config.steps)
    model.eval()
    save_model(work.payload, model, parent, chats=chats(parent))
    answers = config.steps * config.prompts * config.group
    rates = model.shape.train_flops_per_token() + model.shape.forward_flops_per_token()
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
        batch = self._batch(answered)
        self.taken += 1
        self.answers += len(answered)
        self.seconds += time.perf_counter() - began
        return [batch]

    def state(self) -> dict[str, int]:
        """The number of steps taken; everything else follows from it and the weights."""
        return {"taken": self.taken}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue behind `taken` steps."""
        self.taken = int(state["taken"])

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
            room = min(self.model.shape.context, -(-longest // 64) * 64)
            self._policy = LocalPolicy(Engine(self.model, slots=len(questions), length=room))
        self._policy.engine.version = self.taken
        return self._policy

    def _batch(self, answered: Sequence[Answered]) -> Rollouts:
        rewards_S = np.array([each.score for each in answered], np.float32)
        reward_GK = torch.from_numpy(rewards_S).view(-1, self.play.group)
        if self.play.shuffled:
            source = np.random.default_rng(named_seed(self.seed, "shuffle", self.taken))
            reward_GK = torch.from_numpy(source.permuted(reward_GK.numpy(), axis=1))
        turns = [each.trajectory.turns[0] for each in answered]
        said = [Said(turn.context, turn.completion.ids) for turn in turns]
        packed = pack(said, _width(said, self.model.shape.context), self.tokenizer.pad)
        return Rollouts(
            packed.tokens_BT,
            packed.targets_BT,
            packed.weights_BT,
            packed.documents,
            f"rollout {self.taken + 1}",
            answer_BT=packed.answer_BT,
            answers=len(said),
            advantage_S=group_advantages(reward_GK, self.play.baseline).flatten(),
            reward_S=torch.tensor([each.score for each in answered], dtype=torch.float32),
            sampled_BT=packed.spread([turn.completion.log_probs for turn in turns]),
            reference_BT=self._reference(packed, said),
        )

    def _reference(self, packed: Packed, said: Sequence[Said]) -> torch.Tensor | None:
        if self.reference is None:
            return None
        pairs = [(each.prompt, each.answer) for each in said]
        return packed.spread([log_probs for log_probs, _ in score(self.reference, pairs)])


def _width(said: Sequence[Said], context: int) -> int:
    """A row that holds the longest answer and some others: the rows' number is no result."""
    return min(context, max(256, max(each.positions for each in said)))
