"""The files of a bundle on disk: which there may be, their sha256 list, reading each once.

Knows nothing of what is in them. The list is what `sha256sum -c` reads, in one spelling only:
lower-case digits, two blanks, the path, a line feed, sorted by path.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ontogeny.base import files
from ontogeny.base.artifact import RECORD
from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.release.evidence import CONFIG, FILE, FOLDER, WEIGHTS
from ontogeny.release.price import PRICES

CARD, LICENCES, SUMS = "README.md", "LICENSES.md", "SHA256SUMS"
SYSTEM, POLICY, COSTS = "SYSTEM_CARD.md", "USAGE_POLICY.md", "COSTS.md"
BILL = "bom.cdx.json"
SIGNATURE = "model.sig"
"""Over every other file, the list of sums included, which therefore cannot list it."""
GENERATION, TEMPLATE, TOKENIZER_CONFIG = (
    "generation_config.json",
    "chat_template.jinja",
    "tokenizer_config.json",
)
OF_MODEL = (TEMPLATE, CONFIG, WEIGHTS, "tokenizer.json", TOKENIZER_CONFIG)
"""Files that are the model artifact's own, byte for byte."""
REQUIRED = {*OF_MODEL, GENERATION, CARD, LICENCES} - {TEMPLATE}
"""Open weights that only continue text come without a chat template."""
LATER = {SYSTEM, POLICY, COSTS, PRICES, BILL}
"""Files that bundles had not from the beginning; which of them there must be, the card says."""
LARGEST_BYTES = 64 << 20  # of any file but the weights
AGAIN = "get the bundle again"

_LINE = re.compile(r"([0-9a-f]{64})  ([^\x00-\x1f\\]+)")


@dataclass(frozen=True)
class Files:
    """A bundle's directory whose every byte is as its list says, small files held in memory."""

    directory: Path
    sums: Mapping[str, str]
    held: Mapping[str, bytes]
    size: int
    list_sha256: str

    def __getitem__(self, name: str) -> bytes:
        """The bytes of a file that were hashed; not of the weights."""
        return self.held[name]


def write_sums(directory: Path) -> None:
    """Writes SHA256SUMS over every file below `directory`."""
    found = (path for path in directory.rglob("*") if path.is_file())
    names = sorted(str(path.relative_to(directory)) for path in found)
    listed = [name for name in names if name not in (SUMS, SIGNATURE)]
    lines = [f"{files.sha256(directory / name)}  {name}\n" for name in listed]
    (directory / SUMS).write_bytes("".join(lines).encode())


def read_files(directory: Path) -> Files:
    """Everything in a bundle's directory, each file hashed and compared with the list.

    Raises:
        InputError: there is no such directory, or it has no list.
        CorruptArtifact: naming the first file that is missing, extra, no regular file, or of other
            bytes than were written; or the line of the list that is not one of ours.
    """
    present = present_files(directory)
    text, list_sha256, size = _hashed(directory / SUMS, keep=True)
    sums = _read_sums(text, directory / SUMS)
    for name in sorted(present ^ sums.keys()):
        what = f"is missing; {AGAIN}" if name in sums else f"is not listed in {SUMS}; remove it"
        raise CorruptArtifact(f"this file {what}", file=directory / name)
    held = {}
    for name, expected in sorted(sums.items()):
        data, actual, count = _hashed(directory / name, keep=name != WEIGHTS)
        if actual != expected:
            raise CorruptArtifact(
                f"sha256 {actual[:12]}..., {SUMS} says {expected[:12]}...; {AGAIN}",
                file=directory / name,
            )
        held[name] = data
        size += count
    return Files(directory, sums, held, size, list_sha256)


def present_files(directory: Path) -> set[str]:
    """The paths of all files but the list and the signature, none of them opened.

    Raises:
        InputError: there is no such directory, or it has no list.
        CorruptArtifact: naming the first thing that is no regular file in one of two directories.
    """
    if not directory.is_dir():
        raise InputError("no such directory; give that of a bundle", file=directory)
    if not os.path.lexists(directory / SUMS):
        raise InputError(f"no bundle: there is no {SUMS} in it", file=directory)
    if os.path.lexists(directory / RECORD):
        raise InputError(
            "an artifact in a store, which guards it; `ontogeny export` makes a bundle of it",
            file=directory,
        )
    found = set()
    for folder, prefix in ((directory, ""), (directory / FOLDER, f"{FOLDER}/")):
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            reason = f"cannot be read ({error.strerror}); {AGAIN}"
            raise CorruptArtifact(reason, file=folder) from None
        for entry in entries:
            mode = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISREG(mode):
                found.add(prefix + entry.name)
            elif prefix or entry.name != FOLDER or not stat.S_ISDIR(mode):
                what = "a symbolic link" if stat.S_ISLNK(mode) else "no regular file"
                raise CorruptArtifact(f"{what}; remove it", file=folder / entry.name)
    return found - {SUMS, SIGNATURE}


def _read_sums(data: bytes, path: Path) -> dict[str, str]:
    """Path -> sha256, read strictly."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise CorruptArtifact(f"not UTF-8; {AGAIN}", file=path) from None
    sums: dict[str, str] = {}
    last = ""
    *lines, rest = text.split("\n")
    for number, line in enumerate([*lines, rest] if rest else lines, start=1):
        found = _LINE.fullmatch(line)
        if found is None or number > len(lines):
            reason = "no line of 64 lower-case hex digits, two blanks, a path, a line feed"
            raise CorruptArtifact(f"{reason}; {AGAIN}", file=path, line=number)
        name = found[2]
        if name not in REQUIRED | LATER | {TEMPLATE} and not FILE.fullmatch(name):
            reason = f"'{name}' is no file that a bundle has; {AGAIN}"
            raise CorruptArtifact(reason, file=path, line=number)
        if name <= last:
            reason = f"'{name}' does not follow the path before it in order; {AGAIN}"
            raise CorruptArtifact(reason, file=path, line=number)
        sums[name], last = found[1], name
    for name in sorted(REQUIRED - sums.keys()):
        raise CorruptArtifact(f"does not list {name}; {AGAIN}", file=path, line=len(lines) + 1)
    return sums


def _hashed(path: Path, *, keep: bool) -> tuple[bytes, str, int]:
    """(bytes if kept, sha256, size) of one regular file; what is hashed is what is used."""
    try:
        with open_once(path) as file:
            size = os.fstat(file.fileno()).st_size
            if keep and size > LARGEST_BYTES:
                raise CorruptArtifact(f"{size:,} bytes, too many for this file", file=path)
            total, kept = hashlib.sha256(), []
            while block := file.read(files.READ_BYTES):
                total.update(block)
                if keep:
                    kept.append(block)
    except OSError as error:
        raise CorruptArtifact(f"cannot be read ({error.strerror}); {AGAIN}", file=path) from None
    return b"".join(kept), total.hexdigest(), size


def open_once(path: Path) -> BinaryIO:
    """`path` opened for reading; a link is refused, a pipe does not wait."""
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")
