"""`ontogeny export --to lora`: the adapter that a model was trained with, for PEFT."""

from __future__ import annotations

from pathlib import Path

from ontogeny import bridge
from ontogeny.base import files
from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.base.store import Store
from ontogeny.model.adapter_file import CONFIG, WEIGHTS, read_adapter

FOLDER = "adapter"
README = """\
# Adapter of {name}

Low-rank differences to the weights of `{base}`, in PEFT's format. Write the base by

    ontogeny export {base} --to hf --out {place}

and load both, from the directory that holds the two:

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM

base = AutoModelForCausalLM.from_pretrained("{place}")
model = PeftModel.from_pretrained(base, "where this file lies")
```
"""


def fill(directory: Path, store: Store, artifact: Artifact) -> None:
    """Writes the adapter's two files and a README into an empty directory.

    Raises:
        InputError: it is no model, or was trained without an adapter.
        CorruptArtifact: a file of the adapter is damaged.
    """
    names = [f"{FOLDER}/{CONFIG}", f"{FOLDER}/{WEIGHTS}"]
    if artifact.record.kind != "model" or not set(names) <= artifact.record.files.keys():
        raise InputError(
            f"'{artifact.name}' was not trained with an adapter; give one whose stage had "
            "adapter=LoRA(...), or --to hf for all weights",
            file=store.root,
        )
    for name in names:
        artifact.file(name)
    read_adapter(artifact.path / FOLDER)
    base = _base(store, artifact)
    if bridge.shape_of(base) != bridge.shape_of(artifact):
        raise InputError(
            f"'{artifact.name}' has other positions than '{base.name}', which the adapter alone "
            "cannot say; give --to hf for all weights",
            file=store.root,
        )
    place = f"{base.name.replace('/', '-')}-hf"
    config = files.read_json(artifact.path / FOLDER / CONFIG)
    files.write_json(directory / CONFIG, config | {"base_model_name_or_path": place})
    (directory / WEIGHTS).write_bytes((artifact.path / FOLDER / WEIGHTS).read_bytes())
    text = README.format(name=artifact.name, base=base.name, place=place)
    (directory / "README.md").write_text(text, encoding="utf-8")


def _base(store: Store, artifact: Artifact) -> Artifact:
    """The model that the adapter was trained on."""
    for parent in artifact.record.parents:
        if store.has(parent) and store.get(parent).record.kind == "model":
            return store.get(parent)
    raise InputError(
        f"the model that '{artifact.name}' was made from is not in the store; make it again, or "
        "give --to hf for all weights",
        file=store.root,
    )
