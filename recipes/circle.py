"""People use the model, what they say comes back, and a gate decides: the circle, closed once.

    ontogeny run circle                           # makes what it needs of quickstart, or finds it
    ontogeny run circle:evidence                  # and votes by coin, and another crowd
    ontogeny run circle --set round/traffic.crowd.hostile=0.3    # more users who mean harm

Quickstart's last model is released and served; simulated users ask it over HTTP, two answers a
question, and vote. What they like in an answer to an open question is hidden: training sees votes.
Votes are harvested, learnt from by DPO, and the candidate is compared with the released model on
questions and problems that no user asked. In the poisoned round the same questions are asked, but
most accounts collude against what is right and liked; in the placebo the votes are thrown.

Nothing is promoted here: that is `ontogeny promote round/gate` (docs/circle.md).
"""

from dataclasses import dataclass, replace
from typing import Any

from ontogeny.base.artifact import Artifact
from ontogeny.evaluate.claims import Claim
from ontogeny.evaluate.gate import Criterion
from ontogeny.feedback.users import Crowd
from ontogeny.run.recipe import shared
from ontogeny.run.run import Run
from ontogeny.stages.dpo import DPO
from ontogeny.stages.effect import Effect
from ontogeny.stages.feedback_pairs import FeedbackPairs
from ontogeny.stages.gate import Gate
from ontogeny.stages.gate_effect import GateEffect
from ontogeny.stages.harvest import Harvest
from ontogeny.stages.measure import Measure
from ontogeny.stages.measure_preference import MeasurePreference
from ontogeny.stages.pairs import Pairs
from ontogeny.stages.release import Release
from ontogeny.stages.traffic import Traffic

GOES_ON = "quickstart"
QUICKSTART = shared(GOES_ON)
TASTE = "words"
CROWD = Crowd(requests=1600, open_share=0.4, tasks=tuple(QUICKSTART.EXAM), taste=TASTE)
POISONED = replace(CROWD, hostile=0.6)
COIN = replace(CROWD, votes="coin")
ANOTHER = 2
# A share of the plan's peak rate, chosen on heldout questions and problems (docs/log.md).
ROUND_LR, ROUND_BETA, ROUND_EPOCHS = 0.03, 0.1, 1
MOST_LOST, MOST_NATS = 0.02, 0.05
# Votes by coin are no gain, but they move a model: by up to 0.08 of either sign (docs/log.md).
LEAST_GAIN = 0.1
# Losing two points can be told from losing none with three times quickstart's problems.
EXAM = dict.fromkeys(QUICKSTART.EXAM, 300)

CRITERIA = (
    Criterion("liked", "preference.score", "gain", LEAST_GAIN),
    Criterion("tasks", "exam.score", "keep", MOST_LOST),
    Criterion("form", "exam.form", "keep", MOST_LOST),
    Criterion("english", "english.nats", "keep", MOST_NATS, better="lower", span=0.0),
)
CLAIMS = {
    claim.name: claim
    for claim in (
        Claim(
            "circle.liked",
            "fresh open questions on which the answers of one model are liked better by the hidden "
            "taste: those on which they are the candidate's",
            "share of decided questions",
            "at_least",
            0.6,
            null=0.5,
        ),
        Claim(
            "circle.exam",
            "exam problems right, candidate less released model",
            "share right",
            "at_least",
            -MOST_LOST,
        ),
        Claim(
            "circle.english",
            "held-out speeches: nats a token more than the released model",
            "nats a token",
            "at_most",
            MOST_NATS,
        ),
        Claim(
            "circle.promoted",
            "whether the gate promotes what honest users taught",
            "decision",
            "at_least",
            0.5,
        ),
        Claim(
            "poisoned.promoted",
            "whether the gate promotes what a majority of colluding accounts taught",
            "decision",
            "at_most",
            0.0,
            null=1.0,
        ),
        Claim(
            "circle.specific",
            "the share of answers to fresh questions that are liked, after honest votes less after "
            "as many votes by coin on the same answers",
            "share liked",
            "at_least",
            0.1,
            needs_control=True,
        ),
        Claim(
            "placebo.promoted",
            "whether the gate promotes what votes by coin taught",
            "decision",
            "at_most",
            0.0,
            null=1.0,
            needs_control=True,
        ),
    )
}


@dataclass(frozen=True)
class Side:
    """A model and what was measured of it."""

    model: Artifact
    measured: tuple[Artifact, Artifact]


@dataclass(frozen=True)
class Round:
    """One turn of the circle: the candidate, and what the gate said of it."""

    candidate: Side
    gate: Artifact


def circle(run: Run) -> Artifact:
    """Honest users, then poisoned ones; the gate of the honest round."""
    run.expects(*CLAIMS.values())
    data, released = beginning(run)
    bundle(run, "released", released)
    honest = rounds(run, data, released)
    # in the trace nothing holds, so the longest path is seen
    if not honest.gate.holds("promote", at_most=0.0):
        bundle(run, "round/release", honest.candidate, honest.gate)
    return honest.gate


def evidence(run: Run) -> Artifact:
    """The same with the placebo, and all of it with another crowd."""
    run.expects(*CLAIMS.values())
    data, released = beginning(run)
    gates = []
    for each in (run, run.seeded(ANOTHER)):
        side = released if each is run else side_of(each, data, "released", released.model)
        honest = rounds(each, data, side)
        placebo(each, data, side, honest)
        gates.append(honest.gate)
    return gates[0]


def rounds(run: Run, data: Any, released: Side) -> Round:
    """The honest round and the poisoned one, each with its effects."""
    honest = turn(run, data, released, "round", CROWD)
    before, after = released.measured, honest.candidate.measured
    for claim, form, series, which in (
        ("circle.liked", "wins", "preference.score", 1),
        ("circle.exam", "change", "exam.score", 0),
        ("circle.english", "change", "english.nats", 0),
    ):
        stage = Effect(claim=CLAIMS[claim], form=form, series=series)
        run(stage, before[which], after[which], name=claim)
    decision(run, honest, "circle.promoted")
    decision(run, turn(run, data, released, "poisoned", POISONED), "poisoned.promoted")
    return honest


def placebo(run: Run, data: Any, released: Side, honest: Round) -> None:
    """The same questions and as many votes, thrown; what honest votes taught beyond that."""
    thrown = turn(run, data, released, "placebo", COIN)
    claim, control = "circle.specific", "placebo/candidate"
    stage = Effect(claim=CLAIMS[claim], form="change", series="preference.score", control=control)
    run(stage, thrown.candidate.measured[1], honest.candidate.measured[1], name=claim)
    decision(run, thrown, "placebo.promoted", control)


def turn(run: Run, data: Any, released: Side, name: str, crowd: Crowd) -> Round:
    """Serve, ask, vote, harvest, learn, measure, decide."""
    traffic = run(Traffic(crowd=crowd), released.model, name=f"{name}/traffic")
    harvest = run(Harvest(), traffic, name=f"{name}/harvest")
    pairs = run(FeedbackPairs(), harvest, released.model, name=f"{name}/pairs")
    model = run(learning(run), released.model, pairs, name=f"{name}/candidate")
    candidate = side_of(run, data, name, model)
    sides = (*candidate.measured, *released.measured)
    gate = run(Gate(criteria=CRITERIA), model, released.model, *sides, name=f"{name}/gate")
    return Round(candidate, gate)


def learning(run: Run) -> DPO:
    """What users preferred before what they did not; the released model is the reference."""
    return DPO(peak_lr=ROUND_LR * run.budget.peak_lr, beta=ROUND_BETA, epochs=ROUND_EPOCHS)


def side_of(run: Run, data: Any, name: str, model: Artifact) -> Side:
    """The exam, held-out text, and fresh open questions."""
    asked = Measure(domains=("english",), exam=EXAM, max_tokens=32)
    exam = run(asked, model, data.tokens, name=f"{name}/measure")
    liked = run(MeasurePreference(taste=TASTE), model, name=f"{name}/liked")
    return Side(model, (exam, liked))


def bundle(run: Run, name: str, side: Side, *gate: Artifact) -> None:
    """A model with its card, and what allowed it to follow another."""
    about = Release(license="apache-2.0", title="Ontogeny circle", languages=("en",))
    run(about, side.model, *side.measured, *gate, name=name)


def decision(run: Run, made: Round, claim: str, control: str = "") -> None:
    """The gate's word as the number of a claim."""
    run(GateEffect(claim=CLAIMS[claim], control=control), made.gate, name=claim)


def beginning(run: Run) -> tuple[Any, Side]:
    """Quickstart's data and its last model, by quickstart's own stages; it is released."""
    data = QUICKSTART.data(run)
    texts = (data.tokens, data.hay)
    base = run(QUICKSTART.pretraining(run), *texts, data.tokenizer, name="base")
    code = run(QUICKSTART.continuing(run, QUICKSTART.CODE), base, *texts, name="code")
    long = run(QUICKSTART.lengthening(run), code, *texts, name="long")
    sft = run(QUICKSTART.teaching(run), long, data.chats, name="sft")
    wash = run(QUICKSTART.washing(run), sft, data.tokens, data.chats, name="wash")
    asked = Pairs(environments=dict.fromkeys(QUICKSTART.PLAYED, QUICKSTART.PAIR_TASKS))
    pairs = run(asked, wash, name="pairs")
    dpo = run(QUICKSTART.preferring(run), wash, pairs, name="dpo")
    grpo = run(QUICKSTART.reinforcing(run, shuffled=False), dpo, name="grpo")
    return data, side_of(run, data, "released", grpo)
