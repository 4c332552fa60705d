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


def observed(store: Path) -> dict[str, dict[str, Any]]:
    """Version and result of every stage in `store`."""
    results: dict[str, dict[str, Any]] = {}
    corpus, record = made_by(store, "prepare")
    tables = [pq.read_table(corpus / f"{name}.parquet") for name in ("train", "heldout")]
    rows = [table.select(["domain", "text"]).to_pylist() for table in tables]
    results["prepare"] = {"version": record["version"], "exact": digest(json.dumps(rows).encode())}
    tokenizer, record = made_by(store, "train_tokenizer")
    content = [path.read_bytes() for path in sorted(tokenizer.iterdir()) if path.suffix != ".json"]
    vocabulary = json.loads((tokenizer / "tokenizer.json").read_text())["model"]
    results["train_tokenizer"] = {
        "version": record["version"],
        "exact": digest(json.dumps(vocabulary, sort_keys=True).encode(), *content),
    }
    tokens, record = made_by(store, "encode")
    results["encode"] = {
        "version": record["version"],
        "exact": digest(*(path.read_bytes() for path in sorted(tokens.rglob("*.npy")))),
    }
    yardstick = made_by(store, "yardstick")[1]
    results["yardstick"] = {
        "version": yardstick["version"],
        "near": yardstick["metrics"]["english.xz_after_training"],
    }
    measured = made_by(store, "bits_per_byte")[1]
    results["pretrain"] = {
        "version": made_by(store, "pretrain")[1]["version"],
        "near": measured["metrics"]["english.bpb"]["estimate"],
    }
    return results


def test_results_change_only_with_their_version(finished: Path) -> None:
    golden = json.loads(GOLDEN.read_text())
    found = observed(finished)
    assert found.keys() == golden.keys()
    for stage, expected in golden.items():
        result = found[stage]
        assert result["version"] == expected["version"], f"{stage}: update golden.json"
        if "near" in expected:
            assert result["near"] == pytest.approx(expected["near"], rel=2e-3), stage
        else:
            assert result["exact"] == expected["exact"], f"{stage}: raise its version"


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(observed(Path(sys.argv[1])), indent=1, sort_keys=True) + "\n")
