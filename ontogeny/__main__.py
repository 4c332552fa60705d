"""The command line's entry: runs a command, turns mistakes into one line and an exit code."""

from __future__ import annotations

import os
import sys

from ontogeny.base.errors import InputError, NoSpace, OntogenyError
from ontogeny.base.files import DISK_ERRORS
from ontogeny.cli.app import run_app


def main() -> None:
    """Runs `ontogeny ARGUMENTS`; exits 0, or with the code of the error."""
    sys.exit(_exit_code(sys.argv[1:]))


def _exit_code(arguments: list[str]) -> int:
    try:
        return run_app(arguments)
    except OntogenyError as error:
        return _tell(error)
    except MemoryError:
        return _tell(NoSpace("out of memory; take a smaller --budget or batch", file="memory"))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0  # the reader of our output (head, less) has seen enough
    except KeyboardInterrupt:
        return _tell(InputError("interrupted before anything was begun", file="run"))
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        return _tell(
            NoSpace(f"{os.strerror(error.errno)}; free some space", file=error.filename or "disk")
        )


def _tell(error: OntogenyError) -> int:
    print(f"error: {error}", file=sys.stderr)
    return error.exit_code


if __name__ == "__main__":
    main()
