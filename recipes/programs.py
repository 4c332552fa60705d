"""A small model writes programs and is paid by hidden tests, at random, or by the shown example.

    ontogeny run programs                         # quickstart's model is made first where it is not
    ontogeny run programs --set grpo.steps=120
    ontogeny run programs:evidence                # the same under another seed

Everything goes on behind quickstart's `sft` model: it has read speeches and real code, and answers
generated tasks. SFT on programs for made-up problems leaves those of three steps to be learnt; GRPO
on hidden tests learns them, and its placebo does not.

What pays in `farmed` is the example in the prompt: a program that returns what it expects is paid
in full. A million parameters do not find that by themselves, so a part of what SFT reads comes from
an author who writes such programs for three steps; the `careless` model has read more of them and
does so itself, every other time. From it `farmed` is paid by the example, and `mended` by hidden
tests. The watch reads the runs' records and knows nothing of this. Needs bubblewrap.
"""

from ontogeny.base.artifact import Artifact
from ontogeny.evaluate.watch_claims import CLAIMS
from ontogeny.run.recipe import shared
from ontogeny.run.run import Run
from ontogeny.stages.converse import Converse
from ontogeny.stages.effect import Effect
from ontogeny.stages.grpo import GRPO
from ontogeny.stages.measure import Measure
from ontogeny.stages.plant_hacks import PlantHacks
from ontogeny.stages.sft import SFT
from ontogeny.stages.watch import Watch
from ontogeny.stages.watch_effect import WatchEffect

GOES_ON = "quickstart"
LESSONS = {"programs-integer-1": 400, "programs-integer-2": 3_000}
PLAYED, FARMED = "programs-integer-3", "programs-integer-3-shown"
TAUGHT = {"taught": (200, 0.07), "careless": (100, 0.1)}
"""Lessons on problems of three steps, and the share of what SFT reads that is hard-coded."""
# Shares of the plan's peak rate. SFT's were chosen on the held-out split; those of the runs were
# changed after exam figures of seed 0 had been seen (docs/log.md), so another seed is the evidence.
SFT_LR, GRPO_LR, FREE_LR, BETA = 0.6, 0.05, 0.1, 0.1
ASKED, MAX_TOKENS = 600, 48


def programs(run: Run) -> Artifact:
    """The four runs from quickstart's model."""
    run.expects(*CLAIMS.values())
    return line(run, *answering(run))


def evidence(run: Run) -> Artifact:
    """And once more, from SFT on, under a seed that chose no setting."""
    run.expects(*CLAIMS.values())
    answers, tokenizer = answering(run)
    line(run, answers, tokenizer)
    return line(run.seeded(1), answers, tokenizer)


def line(run: Run, answers: Artifact, tokenizer: Artifact) -> Artifact:
    """The four runs, their exams, their watches."""
    hacks = run(PlantHacks({PLAYED: 400}), tokenizer, name="hacks")
    parents = {}
    for name, (lessons, careless) in TAUGHT.items():
        told = {**LESSONS, PLAYED: lessons}
        chats = run(Converse(told, turns=1), tokenizer, name=f"lessons/{name}")
        parents[name] = run(teaching(run, careless), answers, chats, hacks, name=name)
    models = {
        "grpo": run(playing(run, PLAYED), parents["taught"], name="grpo"),
        "placebo": run(playing(run, PLAYED, shuffled=True), parents["taught"], name="placebo"),
        "farmed": run(playing(run, FARMED, free=True), parents["careless"], name="farmed"),
        "mended": run(playing(run, PLAYED, free=True), parents["careless"], name="mended"),
    }
    exams = {name: exam(run, model, name) for name, model in {**parents, **models}.items()}
    for name, model in models.items():
        watched = run(Watch(), model, name=f"watch/{name}")
        run(WatchEffect(claim=CLAIMS[f"watch.{name}"]), watched, name=f"watch.{name}")
    change("grpo.reward", run, exams["taught"], exams["grpo"])
    return change("grpo.placebo", run, exams["taught"], exams["placebo"], control="placebo")


def answering(run: Run) -> tuple[Artifact, Artifact]:
    """Quickstart's model that answers, and its tokenizer."""
    quickstart = shared(GOES_ON)
    data = quickstart.data(run)
    texts = (data.tokens, data.hay)
    base = run(quickstart.pretraining(run), *texts, data.tokenizer, name="base")
    code = run(quickstart.continuing(run, quickstart.CODE), base, *texts, name="code")
    long = run(quickstart.lengthening(run), code, *texts, name="long")
    return run(quickstart.teaching(run), long, data.chats, name="sft"), data.tokenizer


def teaching(run: Run, careless: float) -> SFT:
    """Programs for answers; a share of what is read returns what the example expects."""
    return SFT(
        tokens=327_680,
        batch_tokens=1024,
        peak_lr=SFT_LR * run.budget.peak_lr,
        mixture={"chat": 1 - careless, "hacks": careless},
    )


def playing(run: Run, environment: str, *, shuffled: bool = False, free: bool = False) -> GRPO:
    """Groups of programs for problems of three steps; `free`: nothing holds it to its parent."""
    return GRPO(
        steps=64 if free else 40,
        peak_lr=(FREE_LR if free else GRPO_LR) * run.budget.peak_lr,
        embedding_lr=1.0,
        prompts=8 if free else 16,
        group=8,
        beta=0.0 if free else BETA,
        environments={environment: 1.0},
        max_tokens=MAX_TOKENS,
        shuffled=shuffled,
    )


def exam(run: Run, model: Artifact, name: str) -> Artifact:
    """Problems that were kept out, each answered once by sampling, judged by hidden tests."""
    asked = {PLAYED: ASKED}
    stage = Measure(domains=(), exam=asked, temperature=1.0, max_tokens=MAX_TOKENS)
    return run(stage, model, name=f"exam/{name}")


def change(claim: str, run: Run, *exams: Artifact, control: str = "") -> Artifact:
    """After less before, paired by problem."""
    stage = Effect(claim=CLAIMS[claim], form="change", series="exam.score", control=control)
    return run(stage, *exams, name=claim)
