"""Every contest, one table: `python -m benchmarks` or `make bench`; writes benchmarks/RESULTS.md.

    python -m benchmarks training sampling     only these, and only to the terminal

What is learned per minute takes hours and is a program of its own: `python -m benchmarks.learning`.
"""

import sys
import tempfile
from pathlib import Path

from benchmarks import contests
from benchmarks.results import Row, describe_machine, show, write

RESULTS = Path(__file__).with_name("RESULTS.md")


def main(wanted: list[str]) -> None:
    """Run the contests named; or all of them, and write the results down as they come."""
    unknown = set(wanted) - set(contests.ALL)
    if unknown:
        raise SystemExit(f"no such contest: {', '.join(sorted(unknown))}; there are {', '.join(contests.ALL)}")
    print(describe_machine(), flush=True)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, contest in contests.ALL.items():
            if wanted and name not in wanted:
                continue
            for row in contest(Path(folder)):
                rows.append(row)
                show(row)
                if not wanted:
                    write(RESULTS, rows)


if __name__ == "__main__":
    main(sys.argv[1:])
