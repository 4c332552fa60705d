"""A store with a life of a few artifacts, published as a run publishes them, in milliseconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ontogeny.base.artifact import Artifact, Record, describe_files
from ontogeny.base.identity import digest
from ontogeny.base.store import Store
from ontogeny.evaluate.claims import Claim
from ontogeny.report.life import Life, Named

CLAIMS = (
    Claim("base.bpb", "bits against xz", "bits a byte", "at_most", 1.45, null=None),
    Claim("continue.gain", "code", "nats a token", "at_least", 0.5, needs_control=True),
    Claim("dpo.winrate", "wins", "share", "at_least", 0.6, null=0.5),
)
EXECUTION = {
    "finished": "2026-11-21T09:00:00+00:00",
    "host": "a-private-name",
    "platform": "Linux-6.18-x86_64",
    "processors": 2,
    "python": "3.11.7",
    "versions": {"ontogeny": "0.1.0", "torch": "2.13.0"},
    "peak_memory_bytes": 1_500_000_000,
    "notes": [],
}


class Grown:
    """A store that is filled artifact by artifact."""

    def __init__(self, root: Path) -> None:
        self.store = Store.create(root)
        self.made: list[Named] = []

    def make(
        self,
        name: str,
        kind: str,
        stage: str,
        *parents: Artifact,
        seed: int = 0,
        files: dict[str, Any] | None = None,
        **fields: Any,
    ) -> Artifact:
        """Publishes one artifact; `fields` are those of its record."""
        identity = digest([name, stage, seed])[:16]
        payload = self.store.work / identity / "payload"
        payload.mkdir(parents=True)
        for file, value in (files or {}).items():
            (payload / file).write_text(json.dumps(value))
        known: dict[str, Any] = {
            "version": 1,
            "config": {},
            "metrics": {},
            "summary": [f"{name} is done"],
            "cost": {"seconds": 2.0, "tokens": 1e6, "flops": 0.0},
            "code": "c",
            "execution": EXECUTION,
        }
        record = Record(
            id=identity,
            name=name,
            kind=kind,
            stage=stage,
            parents=[parent.id for parent in parents],
            seed=seed,
            files=describe_files(payload),
            **known | fields,
        )
        self.made.append(Named(name, identity))
        return self.store.publish(record)

    def model(self, name: str, stage: str, *parents: Artifact, flops: float = 1e12) -> Artifact:
        """A model that cost so many FLOPs."""
        cost = {"seconds": 60.0, "tokens": 1e6, "flops": flops}
        return self.make(name, "model", stage, *parents, cost=cost)

    def effect(
        self, name: str, value: float, half: float = 0.01, seed: int = 0, **said: Any
    ) -> Artifact:
        """An effect of value +- half."""
        effect = {
            "name": name,
            "estimate": value,
            "low": value - half,
            "high": value + half,
            "null": 0.0,
            "target": 0.5,
            "sense": "at_least",
            "unit": "nats",
            "control": "",
            "meaning": "what it means",
        } | said
        prefix = f"seed-{seed}/" if seed else ""
        metrics = {"effect": effect}
        return self.make(f"{prefix}{name}", "effect", "effect", seed=seed, metrics=metrics)

    def samples(self, name: str, model: Artifact, texts: dict[str, str]) -> Artifact:
        """How a model continues prompts."""
        rows = [{"prompt": prompt, "continuation": text} for prompt, text in texts.items()]
        return self.make(name, "samples", "samples", model, files={"samples.json": rows})

    def life(self, *claims: Claim, seed: int = 0) -> Life:
        """What a run would leave."""
        return Life("quickstart", "10m", seed, tuple(self.made), claims)

    def tell(self, *events: dict[str, Any] | bytes) -> None:
        """Appends to events.jsonl; bytes go in as they are."""
        with open(self.store.events, "ab") as file:
            for event in events:
                line = event if isinstance(event, bytes) else json.dumps(event).encode() + b"\n"
                file.write(line)


@pytest.fixture
def grown(tmp_path: Path) -> Grown:
    """An empty one."""
    return Grown(tmp_path / "life")


@pytest.fixture
def lived(grown: Grown) -> Grown:
    """Text, a base model, a chat model, their samples, effects, a control and another seed."""
    corpus = grown.make("corpus", "corpus", "prepare")
    tokens = grown.make("tokens", "tokens", "encode", corpus)
    base = grown.model("base", "pretrain", tokens, flops=6e12)
    sft = grown.model("sft", "sft", base, corpus, flops=2e12)
    grpo = grown.model("grpo", "grpo", sft, flops=1e12)
    grown.make("measure/base", "measurement", "measure", base, tokens)
    for name, model in (("base", base), ("sft", sft), ("grpo", grpo)):
        grown.samples(f"samples/{name}", model, {"The state": f" of {name}", "2 + 2": " = 4"})
    grown.effect("base.bpb", 1.40, null=1.76, control="")
    grown.effect("continue.gain", 0.8, control="arm/english")
    for seed in (1, 2):
        grown.effect("continue.gain", 0.7 + seed / 100, seed=seed, control="arm/english")
    grown.model("arm/english", "continue_pretrain", base, tokens, flops=3e12)
    base_id, grpo_id = base.id, grpo.id
    for stage, identity, number in (("base", base_id, "loss"), ("grpo", grpo_id, "reward")):
        grown.tell({"event": "began", "stage": stage, "id": identity, "resumed": False})
        for step in range(1, 101):
            told = {"done": step, "total": 100, "unit": "steps", number: 3 / step, "lr": 0.1}
            grown.tell({"event": "progress", "stage": stage, **told})
        grown.tell({"event": "published", "stage": stage, "id": identity})
    return grown


@pytest.fixture
def claims() -> tuple[Claim, ...]:
    """Three claims, the last of which nothing measures."""
    return CLAIMS
