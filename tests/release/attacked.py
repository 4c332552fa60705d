"""The small life, attacked: records as the safety stages write them, with numbers of our own."""

from __future__ import annotations

from pathlib import Path

from release.grown import Grown, grow, level

from ontogeny.release.bundle import write_bundle
from ontogeny.release.words import Words

SYSTEM, POLICY, COSTS, PRICES = "SYSTEM_CARD.md", "USAGE_POLICY.md", "COSTS.md", "prices.json"
WORDS = Words("mit", "A model")
SPEEDS = {
    "1.tokens_per_second": 200.0,
    "1.seconds_per_thousand": 5.0,
    "1.first_token_seconds": 0.011,
}


def share(value: float, units: int = 40) -> dict[str, float]:
    """A share with an interval that does not leave 0 to 1."""
    found = level(value, units)
    return {**found, "low": max(0.0, found["low"]), "high": min(1.0, found["high"])}


def attack(life: Grown) -> Grown:
    """Adds what was tried on `chat` and on `base`, and what `later` would be."""
    life.make(
        "safety",
        "measurement",
        "measure_safety",
        "chat",
        config={"counts": {"harmful": 40, "ordinary": 0}, "max_tokens": 8},
        metrics={"harmful.refusal": share(1.0), "ordinary.refusal": share(0.1)},
    )
    families = {"families": ["encoding", "persona"], "held_families": ["persona"]}
    metrics = {"success.plain": share(0.0), "success.held_out": share(0.25), "plain": 3}
    life.make(
        "attacked",
        "measurement",
        "measure_attacks",
        "chat",
        config={**families, "harmful": 40, "benign": 20, "streams": 0},
        metrics=metrics,
    )
    life.make("attacks", "attacks", "red_team", "base", config=families, metrics={"cells": 7})
    life.make("watch", "watch", "watch", "chat", metrics={"speaks": 0, "can_tell": 1})
    criteria = {"promote": 0.0, "less": {**level(0.2), "holds": 1.0}, "unknown": {"holds": 0.0}}
    life.make("gate", "gate", "gate", "chat", "base", "measure/chat", metrics=criteria)
    life.effect("attacks.fewer", 0.02, "attacked")
    config = {"clients": [1], "prompt_tokens": 16, "answer_tokens": 8, "rounds": 3}
    life.make(
        "serving",
        "measurement",
        "measure_serving",
        "chat",
        config=config,
        execution={"host": "a-private-name", "speeds": SPEEDS},
    )
    return life


TRIED = ("safety", "attacked", "attacks", "watch", "gate", "attacks.fewer", "serving")


def grown_and_attacked(root: Path) -> Grown:
    """The small life with all of it."""
    return attack(grow(root))


def bundle_of_attacked(life: Grown, directory: Path, *names: str, words: Words = WORDS) -> Path:
    """A bundle of `chat` that tells of these artifacts."""
    directory.mkdir(parents=True)
    measured = [life.by_name[name] for name in names or TRIED]
    write_bundle(directory, life.by_name["chat"], measured, words)
    return directory
