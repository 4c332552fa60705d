"""Model before + model after -> measurement: how far a stage moved the answers it samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from ontogeny import bridge
from ontogeny.base.artifact import Artifact
from ontogeny.environments.asking import ask_all, questions_of
from ontogeny.environments.own import check_counts, environments_of
from ontogeny.evaluate.series import Series, level, write_series
from ontogeny.rollout.policy import Continuation, score_all
from ontogeny.run.work import Made, Work


@dataclass(frozen=True, kw_only=True)
class Drift:
    """KL(after || before) in nats a token, on answers that `after` samples at temperature 1.

    The estimate is the mean of log p_after - log p_before over its own samples (unbiased).

    Raises:
        InputError: an environment has too few problems in the exam split.
    """

    environments: Mapping[str, int] = field(default_factory=dict)
    max_tokens: int = 24
    slots: int = 128

    stage: ClassVar[str] = "drift"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("model", "model", "tasks*")
    makes: ClassVar[str] = "measurement"

    def __post_init__(self) -> None:
        check_counts(self.environments, "drift")

    def __call__(self, work: Work, before: Artifact, after: Artifact, *own: Artifact) -> Made:
        """Writes series.json: one unit a problem."""
        old, tokenizer = bridge.load_policy(before, slots=1)
        new, _ = bridge.load_policy(after, slots=self.slots)
        worlds = environments_of(self.environments, own)
        counts = [(worlds[name], count) for name, count in self.environments.items()]
        questions = questions_of(counts, "exam", work.named_seed("exam"), tokenizer, "chat")
        answered = ask_all(
            new,
            tokenizer,
            questions,
            max_tokens=self.max_tokens,
            temperature=1.0,
            seed=work.named_seed("drift"),
        )
        said = [each.trajectory.turns[0] for each in answered]
        asked = [Continuation(turn.context, turn.completion.ids) for turn in said]
        nats = [
            sum(turn.completion.log_probs) - likelihood.total()
            for turn, likelihood in zip(said, score_all(old, asked), strict=True)
        ]
        lengths = [float(len(turn.completion.ids)) for turn in said]
        series = Series([each.question.task.id for each in answered], nats, lengths)
        write_series(work.payload, {"kl": series})
        found = level(series, f"kl {work.seed}")
        read = sum(len(each.trajectory.ids()) for each in answered)
        return Made(
            metrics={"kl": {"estimate": found.value, "low": found.low, "high": found.high}},
            summary=(
                f"KL {found.value:.4f} [{found.low:.4f}, {found.high:.4f}] nats a token "
                f"on {len(said):,} sampled answers",
            ),
            tokens=2 * read,
            flops=2 * read * bridge.shape_of(after).forward_flops_per_token(),
        )
