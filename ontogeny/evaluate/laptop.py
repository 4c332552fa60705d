"""The twelve claims about a life on a laptop, registered before anything is measured.

Knows no recipe. `recipes/quickstart.py` measures them; what a claim needs a control for is decided
by its `evidence` alone.
"""

from __future__ import annotations

from ontogeny.evaluate.claims import Claim

CLAIMS = {
    claim.name: claim
    for claim in (
        Claim(
            "base.bpb",
            "held-out speeches; the null value is what xz -9e needs after the training text",
            "bits a byte",
            "at_most",
            1.45,
            null=None,
        ),
        Claim(
            "continue.gain",
            "held-out code: nats a token less than the control that read as much English instead",
            "nats a token",
            "at_least",
            0.5,
            needs_control=True,
        ),
        Claim(
            "continue.forgetting",
            "held-out speeches: nats a token more than the same control",
            "nats a token",
            "at_most",
            0.05,
            needs_control=True,
        ),
        Claim(
            "context.needle",
            "one fact found in 1,000 tokens by a model that finds it in 240; the null value is "
            "a guess",
            "share right",
            "at_least",
            0.8,
            null=0.04,
        ),
        Claim(
            "context.short_loss",
            "held-out speeches in windows of the old context: nats a token more than before",
            "nats a token",
            "at_most",
            0.02,
        ),
        Claim(
            "sft.format",
            "exam answers of the asked form, ended by the model; the null value is its parent's",
            "share well formed",
            "at_least",
            0.95,
            null=None,
        ),
        Claim(
            "wash.recovered",
            "held-out speeches: share of SFT's damage won back, against the model before SFT "
            "given the same wash",
            "share",
            "at_least",
            0.5,
            needs_control=True,
        ),
        Claim(
            "wash.kept",
            "exam answers of the asked form, after the wash less before; the null value is the "
            "loss of all that SFT gained",
            "share well formed",
            "at_least",
            -0.02,
            null=None,
        ),
        Claim(
            "dpo.winrate",
            "fresh problems decided between DPO and its parent, each sampled once: share that "
            "DPO wins",
            "share",
            "at_least",
            0.6,
            null=0.5,
        ),
        Claim(
            "dpo.kl",
            "KL from the parent on the answers DPO samples",
            "nats a token",
            "at_most",
            0.05,
        ),
        Claim(
            "grpo.reward",
            "share of 1,000 fresh problems solved by sampling, after GRPO less before",
            "share right",
            "at_least",
            0.1,
        ),
        Claim(
            "grpo.placebo",
            "the same with the rewards dealt out at random among the answers to each prompt",
            "share right",
            "within",
            0.05,
            needs_control=True,
        ),
    )
}
