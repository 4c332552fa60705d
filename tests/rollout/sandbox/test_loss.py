"""A worker that dies is found and replaced; a host that dies takes everything with it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from rollout.sandbox.conftest import Fresh, opened
from rollout.sandbox.processes import below, gone_after, settled, zygote

from ontogeny.rollout.sandbox.job import Job, Result

ATTEMPT = Path(__file__).with_name("attempt.py")


def test_a_job_whose_worker_dies_runs_once_more(fresh: Fresh) -> None:
    blocking = fresh()
    first = zygote(blocking.processes())

    async def killed() -> tuple[Result, float]:
        job = asyncio.ensure_future(
            blocking.sandbox.run(Job("import time; time.sleep(0.8); print(1)"))
        )
        await asyncio.sleep(0.3)
        os.kill(first, signal.SIGKILL)
        started = time.monotonic()
        return await job, time.monotonic() - started

    result, seconds = blocking.wait(killed())
    assert (result.verdict, result.stdout) == ("ok", b"1\n")
    assert seconds < 0.8 + 2
    assert zygote(blocking.processes()) != first


def test_a_job_whose_workers_die_twice_is_lost_and_the_sandbox_goes_on(fresh: Fresh) -> None:
    blocking = fresh()

    async def killed() -> tuple[Result, float]:
        job = asyncio.ensure_future(blocking.sandbox.run(Job("import time; time.sleep(60)")))
        seconds = 0.0
        for _ in range(2):
            # bubblewrap twice, the zygote, the job
            for pid, _ in await asyncio.to_thread(settled, blocking.processes, 4):
                with contextlib.suppress(ProcessLookupError):  # it died with another
                    os.kill(pid, signal.SIGKILL)
            seconds = time.monotonic()
        result = await job
        return result, time.monotonic() - seconds

    result, seconds = blocking.wait(killed())
    assert result.verdict == "lost"
    assert seconds < 2
    assert blocking.run("print(2)").stdout == b"2\n"


def test_a_cancelled_job_is_dead_and_its_place_is_free(fresh: Fresh) -> None:
    blocking = fresh()

    async def cancelled() -> None:
        job = asyncio.ensure_future(blocking.sandbox.run(Job("import time; time.sleep(60)")))
        running = await asyncio.to_thread(settled, blocking.processes, 4)
        job.cancel()
        await asyncio.wait({job})
        assert job.cancelled()
        assert gone_after(running, 0.5)

    blocking.wait(cancelled())
    assert blocking.run("print(3)").stdout == b"3\n"


def test_closing_leaves_no_process(fresh: Fresh) -> None:
    blocking = fresh(workers=2)
    running = blocking.processes()
    assert len(running) == 6
    blocking.close()
    assert gone_after(running, 1)


def test_a_host_killed_hard_leaves_nothing() -> None:
    opened().close()
    environment = {**os.environ, "PYTHONPATH": ":".join(path for path in sys.path if path)}
    spin = "import os\nfor _ in range(2): os.fork()\nos.setsid() if os.getpid() > 1 else 0\n"
    command = [sys.executable, str(ATTEMPT), "nothing", "8", spin + "while True: pass"]
    with subprocess.Popen(command, env=environment) as host:
        # bubblewrap twice, the zygote, four of the job
        running = settled(lambda: below(host.pid), 7)
        host.kill()
        host.wait()
        assert gone_after(running, 2)
