"""`ontogeny export`: a model, or a bundle that a recipe made, for other tools."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ontogeny.base import files
from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import COMMAND_LINE, InputError, printable
from ontogeny.base.lineage import with_ancestors
from ontogeny.base.store import Store
from ontogeny.cli.arguments import position
from ontogeny.release.bundle import write_bundle
from ontogeny.release.check import check_bundle
from ontogeny.release.evidence import FOLDER, Evidence
from ontogeny.release.files import POLICY
from ontogeny.release.numbers import identifier
from ontogeny.release.price import priced
from ontogeny.release.secrets import refuse_secrets
from ontogeny.release.usage_policy import open_places
from ontogeny.release.words import Words
from ontogeny.report.life import SUFFIX, read_life, reports_in

if TYPE_CHECKING:
    from ontogeny.release.signing import PrivateKey

LONGEST_WORDS = 1 << 20
TOLD = ("measurement", "effect", "comparison", "attacks", "watch", "gate")
"""Kinds of artifacts that a model's documents tell of."""


@dataclass(frozen=True)
class Options:
    """What the command line said."""

    to: str
    out: Path | None
    dtype: str | None
    license: str
    about: Path | None
    policy: Path | None = None
    price_per_hour: float | None = None
    currency: str = ""
    sign: Path | None = None


def export(reference: str, root: Path, options: Options) -> None:
    """Writes a model for other tools, checks it, and says how to load it.

    Raises:
        InputError: another format, an option that it does not read, no such artifact, a place that
            is in use, words with a number that cites nothing, a model that the format cannot say.
        CorruptArtifact: an artifact is damaged.
        NoSpace: the disk is full or fails; nothing is left where it would be.
    """
    _check(options)
    owner = _owner(options.sign)
    store = Store.open(root)
    artifact = store.resolve(reference)
    target = options.out or Path(artifact.name.replace("/", "-") + ENDINGS[options.to])
    _require_free(target, a_file=options.to == "gguf")
    files.require_directory(target.absolute().parent)
    if options.to == "gguf":
        from ontogeny.cli import export_gguf

        licence = "" if options.license == "other" else options.license
        export_gguf.export(store, artifact, target, options.dtype or "f16", licence)
        return
    with _whole(target) as directory:
        if options.to == "lora":
            from ontogeny.cli import export_lora

            export_lora.fill(directory, store, artifact)
        else:
            _fill(directory, store, artifact, options)
            refuse_secrets(directory, os.environ)
            if owner is not None:
                owner.sign(directory)
    if options.to == "lora":
        print(printable(f"the adapter of {artifact.name} ({artifact.id}) is in {target}"))
    else:
        _tell(artifact, target, owner)


ENDINGS = {"hf": "-hf", "gguf": ".gguf", "lora": "-lora"}
DTYPES = ("f32", "f16", "q8_0")


def _check(options: Options) -> None:
    """Refuses a format that is not known, and options that it does not read."""
    if options.to not in ENDINGS:
        raise _mistake(f"format '{options.to}' is not known; give {', '.join(ENDINGS)}", "--to")
    if options.dtype is not None and options.to != "gguf":
        raise _mistake(f"--dtype is for gguf; {options.to} has one dtype", "--dtype")
    if options.dtype is not None and options.dtype not in DTYPES:
        raise _mistake(f"--dtype {options.dtype} is not known; give {', '.join(DTYPES)}", "--dtype")
    given = {
        "--about": options.about,
        "--policy": options.policy,
        "--price-per-hour": options.price_per_hour,
        "--currency": options.currency or None,
        "--sign": options.sign,
    }
    for name, value in given.items():
        if value is not None and options.to != "hf":
            raise _mistake(f"{name} is for the bundle of hf, not for {options.to}", name)
    try:
        priced(options.price_per_hour, options.currency)
    except InputError as error:
        name = "--currency" if options.currency else "--price-per-hour"
        raise _mistake(error.reason, name) from None
    if options.license != "other" and options.to == "lora":
        raise _mistake("--license is for weights with a card; an adapter has none", "--license")


def _owner(key: Path | None) -> PrivateKey | None:
    """Whoever signs the bundle; a bad key is told before anything is made."""
    if key is None:
        return None
    from ontogeny.release.signing import PrivateKey

    return PrivateKey(key)


def _mistake(reason: str, option: str) -> InputError:
    return InputError(reason, file=COMMAND_LINE, line=position(option))


@contextlib.contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """A directory that becomes `target` when the block ends well, and nothing when it does not."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    inside = temporary / target.name  # so that what is signed has the name it will have
    try:
        with files.disk_errors(target):
            temporary.mkdir()
            inside.mkdir()
            yield inside
            files.sync_tree(inside)
            os.rename(inside, target)
            files.sync_directory(target.absolute().parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _require_free(target: Path, *, a_file: bool) -> None:
    if os.path.lexists(target) and not (
        not a_file and target.is_dir() and not target.is_symlink() and not any(target.iterdir())
    ):
        raise InputError("is already there; name another place by --out", file=target)


def _fill(directory: Path, store: Store, artifact: Artifact, options: Options) -> None:
    """Writes the bundle's files into an empty directory."""
    if artifact.record.kind == "bundle":
        if options != replace(options, license="other", **_UNSAID):
            raise InputError(
                f"'{artifact.name}' is a bundle with its own licence and words; "
                "export its model to choose others"
            )
        for name in artifact.record.files:
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(artifact.file(name), directory / name)
        return
    if artifact.record.kind != "model":
        raise InputError(
            f"'{artifact.name}' is a {artifact.record.kind}; give a model or a bundle",
            file=store.root,
        )
    words = Words(
        license=options.license,
        title=f"`{artifact.name}`" if identifier(artifact.name) else "A language model",
        about=_read(options.about) if options.about else "",
        claims=_claims(store, artifact),
        file=str(options.about or "about"),
        policy=_policy(options.policy) if options.policy else "",
        policy_file=str(options.policy or "policy"),
        price=priced(options.price_per_hour, options.currency),
    )
    write_bundle(directory, artifact, _measured(store, artifact), words)


_UNSAID: dict[str, Any] = {"about": None, "policy": None, "price_per_hour": None, "currency": ""}
"""What a person says for the documents, where nothing was said."""


def _policy(path: Path) -> str:
    text = _read(path)
    if not text.strip():
        raise InputError("an empty policy; leave --policy out for the template", file=path)
    return text


def _read(path: Path) -> str:
    try:
        data = path.read_bytes()
        if len(data) > LONGEST_WORDS:
            raise InputError(f"{len(data):,} bytes, too many for a document", file=path)
        return data.decode("utf-8").replace("\r\n", "\n")
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", file=path) from None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError("not UTF-8; save it as UTF-8", file=path, line=line) from None


def _measured(store: Store, model: Artifact) -> list[Artifact]:
    """What the store knows of this model: its measurements, attacks, gates, and effects.

    Effects of the stages that it came through belong to it as well, and those of the same claims
    under other seeds, since a verdict follows from all of them. What a recipe has made anew
    stands for what it made before under that name.
    """
    named = store.named()
    latest = {
        (each.name, each.record.seed): each
        for each in store.all()[0]
        if each.record.kind in TOLD and named.get(each.name, each.id) == each.id
    }
    records = {each.id: each.record for each in with_ancestors([model, *latest.values()])}
    evidence = Evidence(model.id, records, {}, 0)
    effects = [each for each in latest.values() if each.record.kind == "effect"]
    own = [each for each in effects if evidence.on_its_way(each.record)]
    claims = {_claim(each) for each in own}
    seeds = {each.record.seed for each in own}
    others = [each for each in effects if _claim(each) in claims and each.record.seed not in seeds]
    of_model = [
        each
        for each in latest.values()
        if each.record.kind != "effect" and evidence.concerns(each.record)
        if model.id in each.record.parents or evidence.subjects(each.id) == {model.id}
    ]
    return [*of_model, *own, *others]


def _claim(effect: Artifact) -> str:
    return str(effect.metrics["effect"]["name"])


def _claims(store: Store, model: Artifact) -> tuple[str, ...]:
    """What the recipes that made this model had claimed."""
    found: dict[str, None] = {}
    for path in sorted(reports_in(store).glob(f"*{SUFFIX}")):
        life = read_life(store, path.name.removesuffix(SUFFIX))
        if model.id in {named.id for named in life.artifacts}:
            found |= dict.fromkeys(claim.name for claim in life.claims)
    return tuple(found)


def _tell(artifact: Artifact, target: Path, owner: PrivateKey | None) -> None:
    """Verifies what was written and says what it is."""
    checks = [each for each in check_bundle(target) if each.name != "signature"]
    lines: Sequence[str] = [f"{each.name:<9} {each.line}" for each in checks]
    if owner is not None:
        lines = [f"signature by the key with the fingerprint {owner.fingerprint}", *lines]
    print(printable(f"{artifact.name} ({artifact.id}) is in {target}"))
    for line in lines:
        print(printable(f"  {line}"))
    if (target / POLICY).exists() and open_places((target / POLICY).read_text(encoding="utf-8")):
        print(f"  note      {POLICY} is a draft; fill in its places and give it by --policy")
    for line in _revealed(target):
        print(printable(f"  {line}"))
    print("load it by")
    for kind in ("ModelForCausalLM", "Tokenizer"):
        print(printable(f"  transformers.Auto{kind}.from_pretrained({str(target)!r})"))


def _revealed(target: Path) -> Iterator[str]:
    """What the records tell of the people who made them: sealed, so it cannot be left out."""
    records = [files.read_json(path) for path in sorted((target / FOLDER).iterdir())]
    hosts = {str(each["execution"].get("host", "")) for each in records} - {""}
    places = {
        spec.partition("path:")[2]
        for each in records
        for spec in map(str, each["config"].get("sources") or ())
        if "path:" in spec
    }
    places |= {
        str(each["config"]["source"])
        for each in records
        if each["stage"] in ("import_weights", "import_adapter")
        and not str(each["config"]["source"]).startswith(("hf:", "package:"))
    }
    for what, found in (("computers", hosts), ("places on your disk", places)):
        if found:
            yield f"note      its records name {what}: {', '.join(sorted(found))}"
