"""Results may change only together with a stage's VERSION.

`tests/support/golden.json` holds, for each stage of the tiny life, the version and a digest of what
it made. Where arithmetic may differ between processors a number with a tolerance stands instead.
After a deliberate change: raise VERSION and run `python tests/stages/test_golden.py STORE`.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

LOADED = ("conversations", "pairs", "tasks")
SAME_DATA, AFTER_SAMPLING = 2e-3, 3e-2
SAMPLED = ("dpo", "grpo", "reward_model", "measure")
"""Read what a model sampled: another processor's last bits draw other tokens (seen: 1 %)."""
GOLDEN = Path(__file__).parents[1] / "support" / "golden.json"


def made_by(store: Path, stage: str) -> tuple[Path, dict[str, Any]]:
    """The directory and record of what `stage` made."""
    for path in store.glob("artifacts/*/record.json"):
        record = json.loads(path.read_text())
        if record["stage"] == stage:
            return path.parent, record
    raise LookupError(stage)


def digest(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def last_loss(store: Path, name: str) -> float:
    """The smoothed loss that the training of `name` ended with."""
    events = [json.loads(line) for line in (store / "events.jsonl").read_text().splitlines()]
    told = [event for event in events if event.get("stage") == name and "loss" in event]
    assert told[-1]["done"] == told[-1]["total"]
    return float(told[-1]["loss"])


def named(store: Path, name: str) -> dict[str, Any]:
    """The record of the artifact called `name`."""
    identity = json.loads((store / "names" / f"{name}.json").read_text())["id"]
    record: dict[str, Any] = json.loads(
        (store / "artifacts" / identity / "record.json").read_text()
    )
    return record


def observed(store: Path) -> dict[str, dict[str, Any]]:
    """Version and result of every stage in `store`; of what is sampled, the version alone."""
    stages = {json.loads(p.read_text())["stage"] for p in store.glob("artifacts/*/record.json")}
    results = {stage: {"version": made_by(store, stage)[1]["version"]} for stage in stages}
    for stage, value in (_exact(store) | _near(store)).items():
        results[stage] |= value
    return results


def _exact(store: Path) -> dict[str, dict[str, Any]]:
    """Bytes that are the same on every machine."""
    corpus, _ = made_by(store, "prepare")
    tables = [pq.read_table(corpus / f"{name}.parquet") for name in ("train", "heldout")]
    rows = [table.select(["domain", "text"]).to_pylist() for table in tables]
    tokenizer, _ = made_by(store, "train_tokenizer")
    content = [path.read_bytes() for path in sorted(tokenizer.iterdir()) if path.suffix != ".json"]
    vocabulary = json.loads((tokenizer / "tokenizer.json").read_text())["model"]
    parts = {
        "prepare": [json.dumps(rows).encode()],
        "train_tokenizer": [json.dumps(vocabulary, sort_keys=True).encode(), *content],
    }
    made = ("encode", "haystacks", "converse", "contrasts", "play", "teach")
    for stage in (*made, *(f"load_{each}" for each in LOADED)):
        directory, _ = made_by(store, stage)
        files = [*directory.rglob("*.npy"), *directory.rglob("*.jsonl")]
        parts[stage] = [path.read_bytes() for path in sorted(files)]
    return {stage: {"exact": digest(*each)} for stage, each in parts.items()}


def _near(store: Path) -> dict[str, dict[str, Any]]:
    """Numbers that the last bits of a processor's arithmetic hardly move."""
    yardstick = made_by(store, "yardstick")[1]["metrics"]
    bits = made_by(store, "bits_per_byte")[1]["metrics"]["english.bpb"]["estimate"]
    nats = {
        name: named(store, f"measure/{name}")["metrics"]["english.nats"]["estimate"]
        for name in ("dpo", "grpo")
    }
    numbers = {
        "yardstick": yardstick["english.xz_after_training"],
        "pretrain": bits,
        "bits_per_byte": bits,
        "effect": made_by(store, "effect")[1]["metrics"]["effect"]["estimate"],
        "continue_pretrain": last_loss(store, "more"),
        "extend_context": last_loss(store, "long"),
        "sft": last_loss(store, "sft"),
        "wash": last_loss(store, "wash"),
        "dpo": last_loss(store, "dpo"),
        "grpo": nats["grpo"],
        "reward_model": last_loss(store, "reward"),
        "measure": nats["dpo"],
    }
    return {stage: {"near": number} for stage, number in numbers.items()}


def test_results_change_only_with_their_version(finished: Path) -> None:
    golden = json.loads(GOLDEN.read_text())
    found = observed(finished)
    assert found.keys() == golden.keys()
    for stage, expected in golden.items():
        result = found[stage]
        assert result["version"] == expected["version"], f"{stage}: update golden.json"
        if "near" in expected:
            within = AFTER_SAMPLING if stage in SAMPLED else SAME_DATA
            assert result["near"] == pytest.approx(expected["near"], rel=within), stage
        elif "exact" in expected:
            assert result["exact"] == expected["exact"], f"{stage}: raise its version"


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(observed(Path(sys.argv[1])), indent=1, sort_keys=True) + "\n")
