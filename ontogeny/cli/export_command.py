"""`ontogeny export`: a model, or a bundle that a recipe made, for other tools."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ontogeny.base import files
from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import COMMAND_LINE, InputError, printable
from ontogeny.base.lineage import with_ancestors
from ontogeny.base.store import Store
from ontogeny.cli.arguments import position
from ontogeny.release.bundle import write_bundle
from ontogeny.release.check import check_bundle
from ontogeny.release.evidence import FOLDER, Evidence
from ontogeny.release.words import Words
from ontogeny.report.life import SUFFIX, read_life, reports_in

LONGEST_ABOUT = 1 << 20


@dataclass(frozen=True)
class Options:
    """What the command line said."""

    to: str
    out: Path | None
    dtype: str | None
    license: str
    about: Path | None


def export(reference: str, root: Path, options: Options) -> None:
    """Writes a model for other tools, checks it, and says how to load it.

    Raises:
        InputError: another format, an option that it does not read, no such artifact, a place that
            is in use, words with a number that cites nothing, a model that the format cannot say.
        CorruptArtifact: an artifact is damaged.
        NoSpace: the disk is full or fails; nothing is left where it would be.
    """
    _check(options)
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
            _fill(directory, store, artifact, options.license, options.about)
    if options.to == "lora":
        print(printable(f"the adapter of {artifact.name} ({artifact.id}) is in {target}"))
    else:
        _tell(artifact, target)


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
    if options.about is not None and options.to != "hf":
        raise _mistake(f"--about is for the card of hf; {options.to} has none", "--about")
    if options.license != "other" and options.to == "lora":
        raise _mistake("--license is for weights with a card; an adapter has none", "--license")


def _mistake(reason: str, option: str) -> InputError:
    return InputError(reason, file=COMMAND_LINE, line=position(option))


@contextlib.contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """A directory that becomes `target` when the block ends well, and nothing when it does not."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with files.disk_errors(target):
            temporary.mkdir()
            yield temporary
            files.sync_tree(temporary)
            os.rename(temporary, target)
            files.sync_directory(target.absolute().parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _require_free(target: Path, *, a_file: bool) -> None:
    if os.path.lexists(target) and not (
        not a_file and target.is_dir() and not target.is_symlink() and not any(target.iterdir())
    ):
        raise InputError("is already there; name another place by --out", file=target)


def _fill(
    directory: Path, store: Store, artifact: Artifact, license_id: str, about: Path | None
) -> None:
    """Writes the bundle's files into an empty directory."""
    if artifact.record.kind == "bundle":
        if license_id != "other" or about is not None:
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
        license=license_id,
        title=f"`{artifact.name}`",
        about=_read(about) if about else "",
        claims=_claims(store, artifact),
        file=str(about),
    )
    write_bundle(directory, artifact, _measured(store, artifact), words)


def _read(about: Path) -> str:
    try:
        data = about.read_bytes()
        if len(data) > LONGEST_ABOUT:
            raise InputError(f"{len(data):,} bytes, too many for a card", file=about)
        return data.decode("utf-8").replace("\r\n", "\n")
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", file=about) from None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError("not UTF-8; save it as UTF-8", file=about, line=line) from None


def _measured(store: Store, model: Artifact) -> list[Artifact]:
    """What the store knows of this model: its measurements and comparisons, and effects.

    Effects of the stages that it came through belong to it as well, and those of the same claims
    under other seeds, since a verdict follows from all of them. What a recipe has made anew
    stands for what it made before under that name.
    """
    named = store.named()
    latest = {
        (each.name, each.record.seed): each
        for each in store.all()[0]
        if each.record.kind in ("measurement", "effect", "comparison")
        and named.get(each.name, each.id) == each.id
    }
    records = {each.id: each.record for each in with_ancestors([model, *latest.values()])}
    evidence = Evidence(model.id, records, {}, 0)
    effects = [each for each in latest.values() if each.record.kind == "effect"]
    own = [each for each in effects if evidence.concerns(each.record)]
    claims = {_claim(each) for each in own}
    seeds = {each.record.seed for each in own}
    others = [each for each in effects if _claim(each) in claims and each.record.seed not in seeds]
    of_model = [
        each
        for each in latest.values()
        if each.record.kind != "effect" and evidence.concerns(each.record)
        if model.id in each.record.parents
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


def _tell(artifact: Artifact, target: Path) -> None:
    """Verifies what was written and says what it is."""
    lines: Sequence[str] = [f"{each.name:<9} {each.line}" for each in check_bundle(target)]
    print(printable(f"{artifact.name} ({artifact.id}) is in {target}"))
    for line in lines:
        print(printable(f"  {line}"))
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
