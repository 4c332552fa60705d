"""DPO, PPO and GRPO from the same model, on the same tasks, beside what each of them costs.

    ontogeny run preferences                      # makes what it needs of quickstart, or finds it
    ontogeny run preferences:evidence             # and a placebo, and a reward model pushed too far

Everything starts from quickstart's `wash` model. Its preference pairs, the best and the worst of
eight answers to 2,000 tasks, are what DPO and the reward model learn from. PPO judged by the
reward model, PPO judged by the verifier and GRPO judged by the verifier sample 4,096 answers each
while they learn. All are measured on the same fresh problems: the verifier's score, what the
reward model says, how far they went from where they started, what they cost.
"""

from ontogeny.base.artifact import Artifact
from ontogeny.evaluate.claims import Claim
from ontogeny.run.recipe import shared
from ontogeny.run.run import Run
from ontogeny.stages.dpo import DPO
from ontogeny.stages.drift import Drift
from ontogeny.stages.effect import Effect
from ontogeny.stages.grpo import GRPO
from ontogeny.stages.measure_rewards import MeasureRewards
from ontogeny.stages.pairs import Pairs
from ontogeny.stages.ppo import PPO
from ontogeny.stages.reward_model import RewardModel
from ontogeny.stages.standings import Standings

GOES_ON = "quickstart"
QUICKSTART = shared(GOES_ON)
PLAYED = dict.fromkeys(("largest-5", "first-3", "last-3", "longest-3"), 1.0)
FRESH = dict.fromkeys(PLAYED, 250)
SPLIT = "exam"
PAIR_TASKS, ROUNDS, ANSWERS, TOKENS = 500, 32, 128, 8
# Shares of the plan's peak rate, found as docs/reward_and_ppo.md tells.
REWARD_LR, DPO_LR, PPO_LR, GRPO_LR = 0.35, 0.014, 0.087, 0.042
VERIFIER_KL, REWARD_KL, GRPO_BETA = 0.05, 1.0, 0.12

CLAIMS = {
    claim.name: claim
    for claim in (
        Claim(
            "reward.accuracy",
            "held-out pairs whose better answer gets more from the reward model",
            "share of pairs",
            "at_least",
            0.6,
            null=0.5,
        ),
        *(
            Claim(
                f"{arm}.score",
                f"{words}: fresh problems answered right, less those of the model before",
                "share right",
                "at_least",
                target,
            )
            for arm, words, target in (
                ("dpo", "DPO on the pairs", 0.02),
                ("ppo-reward", "PPO judged by the reward model", 0.05),
                ("ppo-verifier", "PPO judged by the verifier", 0.1),
                ("grpo-verifier", "GRPO judged by the verifier", 0.1),
            )
        ),
        Claim(
            "placebo.score",
            "PPO on the verifier's scores dealt out at random: answered right, less before",
            "share right",
            "within",
            0.03,
            needs_control=True,
        ),
        Claim(
            "pushed.score",
            "PPO on the reward model with no cost of leaving the parent: answered right, less "
            "before; a reward that rises while this falls is over-optimised",
            "share right",
            "at_most",
            0.0,
            needs_control=True,
        ),
        Claim(
            "pushed.reward",
            "the same: what the reward model says, less before",
            "reward",
            "at_least",
            0.3,
            needs_control=True,
        ),
    )
}


def preferences(run: Run) -> Artifact:
    """Reward model, DPO, PPO, GRPO, side by side."""
    run.expects(*CLAIMS.values())
    _, pairs, judge, arms, measured = line(run)
    return standings(run, pairs, judge, arms, measured)


def evidence(run: Run) -> Artifact:
    """The same with the placebo and the arm that is pushed."""
    run.expects(*CLAIMS.values())
    wash, pairs, judge, arms, measured = line(run)
    more = {
        "pushed": run(proximal(run, 0.0), wash, judge, name="arm/pushed"),
        "placebo": run(proximal(run, VERIFIER_KL, shuffled=True), wash, name="arm/placebo"),
    }
    for name, model in more.items():
        measured |= measure(run, name, wash, model, judge)
    for name, series in (("placebo", "score"), ("pushed", "score"), ("pushed", "reward")):
        change(run, f"{name}.{series}", series, measured, name, control=f"arm/{name}")
    return standings(run, pairs, judge, arms | more, measured)


def line(
    run: Run,
) -> tuple[Artifact, Artifact, Artifact, dict[str, Artifact], dict[str, Artifact]]:
    """Where all begin, the pairs, the reward model, the arms and their measurements by name."""
    wash = beginning(run)
    asked = Pairs(environments=dict.fromkeys(PLAYED, PAIR_TASKS))
    pairs = run(asked, wash, name="pairs")
    peak = run.budget.peak_lr
    judge = run(RewardModel(peak_lr=REWARD_LR * peak, epochs=2), wash, pairs, name="reward")
    accuracy = Effect(claim=CLAIMS["reward.accuracy"], form="level", series="pairs.right")
    run(accuracy, judge, name="reward.accuracy")
    arms = {
        "wash": wash,
        "dpo": run(DPO(peak_lr=DPO_LR * peak, beta=0.1), wash, pairs, name="dpo"),
        "ppo-reward": run(proximal(run, REWARD_KL), wash, judge, name="ppo/reward"),
        "ppo-verifier": run(proximal(run, VERIFIER_KL), wash, name="ppo/verifier"),
        "grpo-verifier": run(grouped(run), wash, name="grpo/verifier"),
    }
    measured: dict[str, Artifact] = {}
    for name, model in arms.items():
        measured |= measure(run, name, wash, model, judge)
        if name != "wash":
            change(run, f"{name}.score", "score", measured, name)
    return wash, pairs, judge, arms, measured


def beginning(run: Run) -> Artifact:
    """Quickstart's model behind its wash round, by quickstart's own stages."""
    data = QUICKSTART.data(run)
    texts = (data.tokens, data.hay)
    base = run(QUICKSTART.pretraining(run), *texts, data.tokenizer, name="base")
    code = run(QUICKSTART.continuing(run, QUICKSTART.CODE), base, *texts, name="code")
    long = run(QUICKSTART.lengthening(run), code, *texts, name="long")
    sft = run(QUICKSTART.teaching(run), long, data.chats, name="sft")
    washed: Artifact = run(QUICKSTART.washing(run), sft, data.tokens, data.chats, name="wash")
    return washed


def proximal(run: Run, kl: float, *, shuffled: bool = False) -> PPO:
    """So many rounds of one answer to each task."""
    return PPO(
        steps=ROUNDS,
        peak_lr=PPO_LR * run.budget.peak_lr,
        prompts=ANSWERS,
        epochs=2,
        environments=PLAYED,
        max_tokens=TOKENS,
        kl=kl,
        shuffled=shuffled,
    )


def grouped(run: Run) -> GRPO:
    """So many rounds of eight answers to each task, as in quickstart."""
    return GRPO(
        steps=ROUNDS,
        peak_lr=GRPO_LR * run.budget.peak_lr,
        embedding_lr=1.0,
        prompts=ANSWERS // 8,
        beta=GRPO_BETA,
        environments=PLAYED,
        max_tokens=TOKENS,
    )


def measure(
    run: Run, name: str, before: Artifact, model: Artifact, judge: Artifact
) -> dict[str, Artifact]:
    """Fresh problems judged twice, and the divergence from where it began."""
    judged = MeasureRewards(environments=FRESH, split=SPLIT, max_tokens=TOKENS)
    drift = Drift(environments=FRESH, max_tokens=TOKENS)
    return {
        f"judged/{name}": run(judged, model, judge, name=f"judged/{name}"),
        f"drift/{name}": run(drift, before, model, name=f"drift/{name}"),
    }


def change(
    run: Run, claim: str, series: str, measured: dict[str, Artifact], name: str, control: str = ""
) -> None:
    """What the arm called `name` changed, problem by problem."""
    form = Effect(claim=CLAIMS[claim], form="change", series=f"answers.{series}", control=control)
    run(form, measured["judged/wash"], measured[f"judged/{name}"], name=claim)


def standings(
    run: Run,
    pairs: Artifact,
    judge: Artifact,
    arms: dict[str, Artifact],
    measured: dict[str, Artifact],
) -> Artifact:
    """The table."""
    shown = [measured[f"{kind}/{name}"] for name in arms for kind in ("judged", "drift")]
    table: Artifact = run(
        Standings(arms=tuple(arms)), *arms.values(), *shown, pairs, judge, name="standings"
    )
    return table
