"""A process that serves the small model with a ledger until it is killed or told to stop."""

import signal
import sys
from pathlib import Path

from serve.running import live

from ontogeny.serve.recording import Recorder


def main() -> None:
    """`rated_server LEDGER`; says its port."""
    recorder = Recorder(Path(sys.argv[1]))
    with live(recorder=recorder) as server:
        print(server.port, flush=True)
        signal.sigwait({signal.SIGTERM})
    sys.exit(0 if recorder.close() else 1)


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    main()
