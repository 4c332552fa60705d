"""A process that adds rows to a ledger until it is killed, and says each that was acknowledged."""

import sys
from pathlib import Path

from feedback.ledger_rows import exchange, rating

from ontogeny.feedback.ledger import Ledger


def main() -> None:
    """`ledger_writer PATH PREFIX`."""
    prefix = sys.argv[2]
    with Ledger.open(Path(sys.argv[1])) as ledger:
        for number in range(10**6):
            id_ = f"{prefix}-{number}"
            ledger.add([exchange(id_)], [rating(id_, key=id_)])
            sys.stdout.write(f"{id_}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
