"""Traffic in a process of its own, which may be killed or told to stop after some requests.

python served_users.py STORE MODEL DIRECTORY [SIGNAL REQUESTS]
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from ontogeny.base.errors import OntogenyError
from ontogeny.base.events import Events
from ontogeny.base.stop import StopRequest
from ontogeny.base.store import Store
from ontogeny.feedback.users import Crowd
from ontogeny.run.work import Work
from ontogeny.stages import traffic
from ontogeny.stages.traffic import Traffic

CROWD = Crowd(
    users=4,
    requests=12,
    questions=10,
    tasks=("vowels-3",),
    open_share=0.3,
    bored=1.0,
    spam=3,
    private=0.2,
)
STAGE = Traffic(crowd=CROWD, max_tokens=4)


def main(root: str, model: str, directory: str, signal: str = "0", after: str = "0") -> int:
    """The exit code of a stage that was stopped, or 0."""
    ask, asked = traffic.post, 0

    def ask_and_signal(*told: Any) -> Any:
        nonlocal asked
        said = ask(*told)
        asked += 1
        if asked == int(after):
            os.kill(os.getpid(), int(signal))
        return said

    traffic.post = ask_and_signal
    artifact = Store.open(Path(root)).resolve(model)
    with StopRequest().installed() as stop:
        try:
            STAGE(Work("played", Path(directory), 3, Events(), stop), artifact)
        except OntogenyError as error:
            return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
