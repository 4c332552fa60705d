"""The command line's entry: runs a command, turns mistakes into one line and an exit code."""

from __future__ import annotations

import sys

from ontogeny.base.errors import InputError, NoSpace, OntogenyError
from ontogeny.base.files import DISK_ERRORS
from ontogeny.base.stop import StopRequest
from ontogeny.cli.app import run_app


def main() -> None:
    """Runs `ontogeny ARGUMENTS`; exits 0, or with the code of the error."""
    sys.exit(_exit_code(sys.argv[1:]))


def _exit_code(arguments: list[str]) -> int:
    try:
        if arguments[:1] not in (["run"], ["import"]):
            return run_app(arguments)
        with StopRequest().installed():  # until the command has handlers of its own
            return run_app(arguments)
    except OntogenyError as error:
        return _tell(error)
    except MemoryError:
        return _tell(NoSpace("out of memory; take a smaller --budget or batch", file="memory"))
    except OSError as error:
        if error.filename is None and error.errno not in DISK_ERRORS:
            raise  # a mistake of ours
        reason = f"{error.strerror}; mend that and run the same command again"
        kind = NoSpace if error.errno in DISK_ERRORS else InputError
        return _tell(kind(reason, file=error.filename or "disk"))


def _tell(error: OntogenyError) -> int:
    print(f"error: {error}", file=sys.stderr)
    return error.exit_code


if __name__ == "__main__":
    main()
