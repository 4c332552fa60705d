"""Exact checkpoints: everything that a step depends on, or nothing. Knows no stage and no clock.

`step-00000123/` holds model.safetensors, optimizer.safetensors, state.json, one rank-N.json for
each process (its random states and its place in the data) and complete.json with the sha256 of
the others. It is written under a temporary name, every file fsynced, then renamed: a directory
without a right complete.json does not count. Older ones go only after the newer one stands.

Where an adapter learns, model.safetensors holds it (and a scalar head) alone: all else is frozen
and comes from the parent.
"""

from __future__ import annotations

import json
import platform
import random
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ontogeny.base.errors import CorruptArtifact, OntogenyError
from ontogeny.base.files import disk_errors, read_json, sha256, sync_directory
from ontogeny.model.adapted import adapter_of, load_learnt, save_learnt
from ontogeny.model.tensor_file import read_tensors, write_file, write_tensors
from ontogeny.model.transformer import Transformer
from ontogeny.model.weights import load_weights, save_weights
from ontogeny.train.loop import Counters
from ontogeny.train.mesh import meet, world
from ontogeny.train.optimizer import Optimizer
from ontogeny.train.steps import Steps

FORMAT = 1
MARKER = "complete.json"


@dataclass(frozen=True, slots=True)
class Training:
    """Everything a checkpoint holds; `restore` fills these very objects."""

    model: Transformer
    optimizer: Optimizer
    steps: Steps
    counters: Counters


@dataclass(frozen=True, slots=True)
class Restored:
    """What was found.

    Args:
        path: the checkpoint, or None: nothing to continue from.
        ignored: (path, reason) of newer ones that are incomplete or damaged.
        differences: execution, schedule or settings that are not as they were; then equal bytes
            are not promised.
    """

    path: Path | None
    ignored: tuple[tuple[Path, str], ...]
    differences: tuple[str, ...] = ()


class Checkpoints:
    """The checkpoints of one run, in a directory of their own.

    Args:
        directory: created at the first save.
        keep: complete checkpoints that stay.
    """

    def __init__(self, directory: Path, keep: int = 2) -> None:
        assert keep >= 1, keep
        self.directory, self.keep = directory, keep

    def save(self, training: Training) -> Path:
        """Writes the state after the last consumed step; returns when it is safe on disk.

        Raises:
            NoSpace: the disk takes no more; earlier checkpoints stand, the partial one is removed.
            OntogenyError: a weight is no finite number; such a state is never written.
        """
        step = training.counters.step
        final = self.directory / f"step-{step:08d}"
        partial = self.directory / f".partial-step-{step:08d}"
        rank, processes = world()
        _refuse_nan(training)
        with disk_errors(partial):
            try:
                if rank == 0:
                    self.directory.mkdir(parents=True, exist_ok=True)
                    shutil.rmtree(partial, ignore_errors=True)
                    partial.mkdir()
                meet()
                _write_json(partial / f"rank-{rank}.json", _own_state(training))
                meet()
                if rank == 0:
                    self._publish(training, partial, final, processes)
                meet()
            finally:
                if rank == 0:
                    shutil.rmtree(partial, ignore_errors=True)
        return final

    def latest(self) -> Restored:
        """The newest complete checkpoint whose bytes are the written ones."""
        ignored: list[tuple[Path, str]] = []
        for path in sorted(self.directory.glob("step-*"), reverse=True):
            reason = fault(path)
            if reason is None:
                return Restored(path, tuple(ignored))
            ignored.append((path, reason))
        return Restored(None, tuple(ignored))

    def restore(self, training: Training) -> Restored:
        """Puts `training` where the newest complete checkpoint left it, exactly.

        Raises:
            CorruptArtifact: its files are whole but belong to another model, optimizer or program.
        """
        found = self.latest()
        if found.path is None:
            return found
        state = read_json(found.path / "state.json")
        if state.get("format") != FORMAT:
            raise CorruptArtifact(
                f"checkpoint format {state.get('format')!r}, this program reads {FORMAT}; "
                "delete its directory to begin the stage again",
                file=found.path / "state.json",
            )
        _load_learnt(training.model, found.path / "model.safetensors")
        moments = found.path / "optimizer.safetensors"
        try:
            training.optimizer.restore(read_tensors(moments))
        except (KeyError, RuntimeError) as error:
            raise CorruptArtifact(
                f"another optimizer's state ({error}); delete its directory to begin again",
                file=moments,
            ) from error
        for name, value in state["counters"].items():
            setattr(training.counters, name, value)
        own = found.path / f"rank-{world()[0]}.json"
        # a checkpoint of fewer processes: the new ones start from the first one's state
        _restore_own_state(training, read_json(own if own.exists() else own.with_stem("rank-0")))
        then = state["fingerprint"] | _hyper_parameters(state)
        now = fingerprint(training.model) | _hyper_parameters(
            {
                "schedule": asdict(training.optimizer.schedule),
                "settings": asdict(training.optimizer.settings),
            }
        )
        changed = [f"{k}: {then.get(k)} -> {now[k]}" for k in now if then.get(k) != now[k]]
        return Restored(found.path, found.ignored, tuple(changed))

    def _publish(self, training: Training, partial: Path, final: Path, processes: int) -> None:
        hashes = {
            "model.safetensors": _save_learnt(training.model, partial / "model.safetensors"),
            "optimizer.safetensors": write_tensors(
                partial / "optimizer.safetensors", training.optimizer.state()
            ),
            "state.json": _write_json(
                partial / "state.json",
                {
                    "format": FORMAT,
                    "counters": asdict(training.counters),
                    "schedule": asdict(training.optimizer.schedule),
                    "settings": asdict(training.optimizer.settings),
                    "fingerprint": fingerprint(training.model),
                },
            ),
        }
        for rank in range(processes):
            hashes[f"rank-{rank}.json"] = sha256(partial / f"rank-{rank}.json")
        sizes = {name: (partial / name).stat().st_size for name in hashes}
        files = {name: {"sha256": hashes[name], "bytes": sizes[name]} for name in hashes}
        _write_json(partial / MARKER, {"files": files})
        sync_directory(partial)
        if final.exists():
            if fault(final) is None:
                return
            shutil.rmtree(final)
        partial.rename(final)
        sync_directory(self.directory)
        self._remove_old()

    def _remove_old(self) -> None:
        """All but the newest `keep`; renamed first, so that no half-deleted one has a name."""
        for path in sorted(self.directory.glob("step-*"), reverse=True)[self.keep :]:
            condemned = path.with_name(f".removed-{path.name}")
            path.rename(condemned)
            shutil.rmtree(condemned)


def fault(path: Path) -> str | None:
    """Why the checkpoint at `path` does not count, or None if every byte is as written."""
    try:
        files = read_json(path / MARKER)["files"]
        for name, expected in files.items():
            size = (path / name).stat().st_size
            if size != expected["bytes"]:
                return f"{name} has {size} bytes, {expected['bytes']} were written"
            if sha256(path / name) != expected["sha256"]:
                return f"{name} is not as it was written (sha256)"
    except (CorruptArtifact, OSError, KeyError, TypeError, AttributeError) as error:
        return f"incomplete: {getattr(error, 'reason', error)}"
    unlisted = {entry.name for entry in path.iterdir()} - files.keys() - {MARKER}
    return f"{sorted(unlisted)[0]} does not belong to it" if unlisted else None


def _save_learnt(model: Transformer, path: Path) -> str:
    """Writes what learns of `model`; returns the sha256."""
    return (save_weights if adapter_of(model) is None else save_learnt)(model, path)


def _load_learnt(model: Transformer, path: Path) -> None:
    (load_weights if adapter_of(model) is None else load_learnt)(model, path)


def _hyper_parameters(training_state: dict[str, Any]) -> dict[str, str]:
    """Schedule and settings as text: another one makes another run, and `restore` says so."""
    return {
        name: json.dumps(training_state[name], sort_keys=True) for name in ("schedule", "settings")
    }


def fingerprint(model: Transformer) -> dict[str, str]:
    """The execution under which equal bytes are promised."""
    return {
        "device": str(model.device),
        "threads": str(torch.get_num_threads()),
        "processes": str(world()[1]),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
    }


def _write_json(path: Path, value: Any) -> str:
    """Writes and fsyncs `value`; returns the sha256. Raises NoSpace."""
    return write_file(path, [memoryview(json.dumps(value, sort_keys=True).encode())])


def _own_state(training: Training) -> dict[str, Any]:
    """What differs between processes: random states and the place in the data."""
    kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    return {
        "steps": training.steps.state(),
        "python": random.getstate(),
        "numpy": [kind, np.asarray(keys).tolist(), position, has_gauss, gauss],
        "torch": bytes(torch.get_rng_state().tolist()).hex(),
        "cuda": [bytes(s.tolist()).hex() for s in torch.cuda.get_rng_state_all()]
        if torch.cuda.is_available()
        else [],
    }


def _restore_own_state(training: Training, state: dict[str, Any]) -> None:
    training.steps.restore(state["steps"])
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(_byte_tensor(state["torch"]))
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([_byte_tensor(text) for text in state["cuda"]])


def _byte_tensor(text: str) -> torch.Tensor:
    return torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)


def _refuse_nan(training: Training) -> None:
    for name, tensor in training.optimizer.parameters.items():
        if not bool(torch.isfinite(tensor.detach()).all()):
            raise OntogenyError(
                f"{name} holds NaN or infinity after step {training.counters.step}; no checkpoint "
                "is written, the last good one stands; lower peak_lr",
                file="training",
                line=max(training.counters.step, 1),
            )
