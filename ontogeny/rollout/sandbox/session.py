"""One episode's jail: its jobs come and go, its /episode stays.

Knows no pool. What an agent may write here it may also have prepared for the next command: run
hidden tests in a fresh job, on the files that `Session.read` gives.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable, Mapping

from ontogeny.base.errors import InputError
from ontogeny.rollout.sandbox.job import WORK, Job, Result
from ontogeny.rollout.sandbox.limits import Limits
from ontogeny.rollout.sandbox.slot import LOST, fits
from ontogeny.rollout.sandbox.worker import Worker, WorkerLost

READ = """
import json, os, stat, sys
names, contents = [], []
os.chmod(sys.argv[1], 0o700)
for folder, folders, files in os.walk(sys.argv[1]):
    for name in folders:  # before the walk goes down into them
        if not os.path.islink(os.path.join(folder, name)):
            os.chmod(os.path.join(folder, name), 0o700)
    for file in files:
        path = os.path.join(folder, file)
        if stat.S_ISREG(os.lstat(path).st_mode):
            os.chmod(path, 0o600)
            with open(path, "rb") as opened:
                contents.append(opened.read())
            names.append([os.path.relpath(path, sys.argv[1]), len(contents[-1])])
header = json.dumps(names).encode()
out = sys.stdout.buffer
out.write(len(header).to_bytes(8, "big") + header)
for content in contents:
    out.write(content)
"""


class Session:
    """Made by `Sandbox.session`; its commands run one after another.

    Attributes:
        lost: the worker died, and /episode with it. Every answer is "lost" from then on: begin a
            new session and repeat the commands.
    """

    def __init__(
        self,
        worker: Worker,
        limits: Limits,
        work_bytes: int,
        work_files: int,
        affords: Callable[[Limits], None],
    ) -> None:
        self._worker, self._limits, self._affords = worker, limits, affords
        self._work_bytes, self._work_files = work_bytes, work_files
        self._turn = asyncio.Lock()

    @property
    def lost(self) -> bool:
        """Whether /episode is gone."""
        return self._worker.lost

    async def run(self, job: Job) -> Result:
        """Runs one command. Cancelling it ends the session.

        Raises:
            InputError: the job's files do not fit.
        """
        limits = job.limits or self._limits
        self._affords(limits)
        fits(job, limits, self._work_bytes)
        async with self._turn:
            try:
                return await self._worker.run(job, limits)
            except WorkerLost:
                return LOST

    async def read(self, directory: str = WORK) -> dict[str, bytes]:
        """All regular files below `directory`, by their paths relative to it.

        Read by a program of ours in a job of its own: what an agent left cannot change it. Links,
        pipes and what lies too deep to be named are left out.

        Raises:
            InputError: the files are too many or too large to be read; no fault of the host's.
        """
        room = self._work_bytes + 512 * self._work_files
        limits = dataclasses.replace(
            self._limits,
            output_bytes=room,
            memory_bytes=max(self._limits.memory_bytes, 3 * room),
            wall_seconds=max(self._limits.wall_seconds, 30.0),
        )
        result = await self.run(Job(READ, arguments=(directory,), limits=limits))
        if result.verdict != "ok":
            raise InputError(f"the files of a session could not be read: {result.verdict}")
        return _unpacked(result.stdout)

    async def write(self, files: Mapping[str, bytes]) -> None:
        """Puts files below /episode; names are relative to it.

        Raises:
            InputError: they do not fit, or an agent made it impossible.
        """
        result = await self.run(Job("", files={f"{WORK}/{name}": f for name, f in files.items()}))
        if result.verdict != "ok":
            raise InputError(f"files could not be put into a session: {result.verdict}")


def _unpacked(content: bytes) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    try:
        place = 8 + int.from_bytes(content[:8], "big")
        for name, size in json.loads(content[8:place]):
            files[str(name)] = content[place : place + int(size)]
            place += int(size)
    except (ValueError, TypeError):
        raise InputError("what a session said of its files cannot be read") from None
    if place != len(content) or any(".." in name.split("/") for name in files):
        raise InputError("what a session said of its files cannot be read")
    return files
