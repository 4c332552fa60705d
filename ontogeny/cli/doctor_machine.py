"""What `ontogeny doctor` says of the machine, Python, packages and the environment.

Imports no package that may be missing: this part answers where hardly anything is installed.
"""

from __future__ import annotations

import asyncio
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

from ontogeny.base import machine
from ontogeny.base.errors import SandboxRefused
from ontogeny.base.requirements import Found, requirements
from ontogeny.cli.amounts import counted, size_text
from ontogeny.cli.finding import Finding
from ontogeny.rollout.sandbox.limits import Limits
from ontogeny.rollout.sandbox.pool import Sandbox

DISTRIBUTION = "ontogeny"
NEEDED_EXTRA = "quickstart"
TESTED = ((3, 11), (3, 12))
NEEDED_MEMORY = 1_500_000_000
"""Bytes: quickstart's largest stage held 1.37 GB at two threads."""
NEEDED_DISK = 500_000_000
"""Bytes: quickstart with its evidence is 0.2 GB, a stage's checkpoints and 64 MB in hand beside."""
NEEDED_TEMPORARY = 64_000_000


def hardware(store: Path, root: Path = machine.ROOT) -> Iterator[Finding]:
    """Processors, memory, container limits and the disk on which the store lies or would lie.

    `root` is the file system that the operating system tells them by.
    """
    section = "machine"
    yield Finding(section, "ok", f"{platform.system()} {platform.release()}, {platform.machine()}")
    found, limits = machine.processors(root), machine.limits(root)
    cores = f"{counted(found.cores, 'core')}, " if found.cores is not None else ""
    yield Finding(
        section, "ok", f"{found.model}: {cores}{counted(found.threads, 'thread')} for this process"
    )
    if limits.processors is not None and limits.processors < found.threads:
        wanted = max(1, int(limits.processors))
        yield Finding(
            section,
            "note",
            f"the container allows {limits.processors:.1f} processors of {found.threads}",
            f"OMP_NUM_THREADS={wanted} keeps threads from waiting for one another",
        )
    yield _memory(machine.memory(root)[0], machine.available_memory(root), limits)
    yield _disk(store)


def python(version: tuple[int, int] | None = None) -> Iterator[Finding]:
    """Whether this Python is one that we test."""
    here = version or sys.version_info[:2]
    text = f"Python {platform.python_version() if version is None else '.'.join(map(str, here))}"
    tested = " and ".join(f"{major}.{minor}" for major, minor in TESTED)
    if here in TESTED:
        yield Finding("python", "ok", f"{text}, {sys.executable}")
    elif here < TESTED[0]:
        yield Finding("python", "problem", f"{text} is too old", f"take Python {tested}")
    else:
        yield Finding("python", "note", f"{text} is not tested", f"{tested} are")


def packages(distribution: str = DISTRIBUTION) -> Iterator[Finding]:
    """Every required package, then a line for each extra."""
    section = "packages"
    try:
        found = requirements(distribution)
    except metadata.PackageNotFoundError:
        yield Finding(
            section,
            "problem",
            f"{distribution} is not installed, so nobody knows what it needs",
            "`pip install .` in the checkout",
        )
        return
    yield Finding(section, "ok", f"{distribution} {metadata.version(distribution)}")
    yield from package_findings(found, distribution)


def package_findings(found: list[Found], distribution: str) -> Iterator[Finding]:
    """What is to be said of these requirements."""
    section = "packages"
    for each in found:
        if each.requirement.extra is None:
            if each.fits:
                yield Finding(section, "ok", _about(each))
            else:
                yield Finding(section, "problem", _about(each), f"`{_install(each)}`")
    extras: dict[str, list[Found]] = {}
    for each in found:
        if each.requirement.extra is not None:
            extras.setdefault(each.requirement.extra, []).append(each)
    for extra, parts in sorted(extras.items()):
        lacking = [_about(each) for each in parts if not each.fits]
        if not lacking:
            here = ", ".join(f"{each.requirement.name} {each.version}" for each in parts)
            yield Finding(section, "ok", f"extra {extra}: {here}")
            continue
        yield Finding(
            section,
            "problem" if extra == NEEDED_EXTRA else "note",
            f"extra {extra}: {', '.join(lacking)}",
            f"`pip install '{distribution}[{extra}]'`",
        )


def environment(variables: Mapping[str, str], threads: int) -> Iterator[Finding]:
    """Variables that change how runs go, and the directories that other libraries write to."""
    section = "environment"
    told = variables.get("OMP_NUM_THREADS")
    if told is None:
        yield Finding(section, "ok", "OMP_NUM_THREADS is not set: torch takes every core")
    elif not told.isdecimal() or int(told) < 1:
        yield Finding(section, "note", f"OMP_NUM_THREADS={told} is no number", "unset it")
    elif int(told) > threads:
        text = f"OMP_NUM_THREADS={told}, but this process may use {counted(threads, 'thread')}"
        yield Finding(section, "note", text, f"set it to {threads} or unset it")
    else:
        yield Finding(section, "ok", f"OMP_NUM_THREADS={told}")
    visible = variables.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        text = f"CUDA_VISIBLE_DEVICES={visible!r} limits which GPUs are seen"
        yield Finding(section, "note", text, "unset it to see all")
    yield _home(variables)
    yield _temporary()


def sandbox() -> Iterator[Finding]:
    """Whether programs that a model wrote can be run here, found by opening a sandbox."""
    section = "sandbox"
    try:
        tier, abi = asyncio.run(_tier())
    except SandboxRefused as error:
        text = f"programs that a model wrote do not run here; {error.reason}"
        yield Finding(section, "note", text)
        return
    contained = f"programs that a model wrote are contained (tier {tier}, Landlock ABI {abi})"
    if tier == 1:
        yield Finding(section, "ok", f"{contained}; a control group bounds their memory")
        return
    remedy = "start as root, or by `systemd-run --user --scope -p Delegate=yes`"
    text = f"{contained}; without a control group only each process's memory is bounded"
    yield Finding(section, "note", text, remedy)


async def _tier() -> tuple[int, int]:
    # small, so that the question whether memory suffices is not asked here
    async with Sandbox(Limits(processes=1, memory_bytes=1 << 27)) as opened:
        return opened.tier, opened.landlock


def _memory(total: int | None, available: int | None, limits: machine.Limits) -> Finding:
    words = [f"{size_text(total)} of memory" if total is not None else "memory unknown"]
    if available is not None:
        words.append(f"{size_text(available)} available")
    if limits.memory is not None:
        words.append(f"the container allows {size_text(limits.memory)}")
    text = ", ".join(words)
    if available is not None and available < NEEDED_MEMORY:
        remedy = f"quickstart needs {size_text(NEEDED_MEMORY)}: end other programs, raise the limit"
        return Finding("machine", "problem", text, remedy)
    return Finding("machine", "ok", text)


def _disk(store: Path) -> Finding:
    where = machine.nearest(store)
    free = machine.free_space(store)
    text = f"{size_text(free)} free at {where.absolute()}"
    if not os.access(where, os.W_OK):
        return Finding(
            "machine", "problem", f"{text}, where we may not write", "choose another --store"
        )
    if free < NEEDED_DISK:
        remedy = f"quickstart needs {size_text(NEEDED_DISK)}: free some, or choose another --store"
        return Finding("machine", "problem", text, remedy)
    return Finding("machine", "ok", text)


def _about(found: Found) -> str:
    wanted = found.requirement
    name = f"{wanted.name}{wanted.clauses}"
    if found.version is None:
        return f"{name} is missing"
    if not found.fits:
        return f"{wanted.name} {found.version} is not {wanted.clauses}"
    return f"{wanted.name} {found.version} ({wanted.clauses or 'any'})"


def _install(found: Found) -> str:
    return f"pip install '{found.requirement.name}{found.requirement.clauses}'"


def _home(variables: Mapping[str, str]) -> Finding:
    home = variables.get("HOME")
    if home and os.access(home, os.W_OK) and Path(home).is_dir():
        return Finding("environment", "ok", f"HOME {home} can be written")
    return Finding(
        "environment",
        "note",
        f"HOME {home or 'is not set'}{' cannot be written' if home else ''}",
        "ontogeny writes nothing there; pip and other libraries may: set HOME to a directory of "
        "yours",
    )


def _temporary() -> Finding:
    remedy = "ontogeny does without, pip does not: set TMPDIR to a directory with room"
    try:
        directory = tempfile.gettempdir()
        free = machine.free_space(Path(directory))
    except OSError as error:
        text = f"no directory for temporary files ({error.strerror or error})"
        return Finding("environment", "note", text, remedy)
    text = f"{size_text(free)} free for temporary files in {directory}"
    if free < NEEDED_TEMPORARY:
        return Finding("environment", "note", text, remedy)
    return Finding("environment", "ok", text)
