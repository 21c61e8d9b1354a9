"""`python -m bench`: choose rows, build the lab in a temporary folder, run, print, end everything that was started."""

from __future__ import annotations

import argparse
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from bench import account_rows, own_rows, product, report, rows, selftest
from bench.errors import BenchError
from bench.lab import Lab, build, say

ROWS: Final[dict[str, Callable[[Lab], None]]] = {
    "get": rows.get,
    "post": rows.post,
    "new": rows.new,
    "bulk": rows.bulk,
    "mixed": rows.mixed,
    "slow": rows.slow,
    "half": rows.half,
    "cpu": rows.cpu,
    "start": own_rows.start,
    "memory": own_rows.memory,
    "accounts": account_rows.accounts,
}
FILES: Final = 16384


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Terratunnel beside the reference nginx.")
    parser.add_argument("--rows", default=",".join(ROWS), help=f"some of {','.join(ROWS)} (default: all)")
    parser.add_argument("--cycles", type=int, help="same-cycle ratios per figure (default 5; self-test 3)")
    parser.add_argument("--seconds", type=int, default=1, help="length of a burst (default 1)")
    parser.add_argument("--python", default=sys.executable, help="interpreter for terratunnel (default: this one)")
    build_kind = parser.add_mutually_exclusive_group()
    build_kind.add_argument("--compiled", dest="compiled", action="store_true", default=None)
    build_kind.add_argument("--pure", dest="compiled", action="store_false", default=None)
    parser.add_argument("--json", type=Path, help="also write every value of every cycle to this file")
    parser.add_argument("--strict", action="store_true", help="exit status 1 when a floor is not reached")
    parser.add_argument("--self-test", action="store_true", help="measure an equal and a bad system instead of ours")
    options = parser.parse_args(arguments)
    options.cycles = options.cycles or (3 if options.self_test else 5)
    options.rows = options.rows.split(",")
    if unknown := [name for name in options.rows if name not in ROWS]:
        parser.error(f"no row is called {', '.join(unknown)}; there are {', '.join(ROWS)}")
    return options


def measure(options: argparse.Namespace, folder: Path, stack: ExitStack) -> int:
    """The normal run."""
    lab = build(folder, stack, product.find(options.python, options.compiled), options.cycles, options.seconds)
    lab.start()
    for name in options.rows:
        ROWS[name](lab)
    facts = report.setting(lab)
    print(report.markdown(lab, facts))
    if options.json:
        options.json.write_text(report.as_json(lab, facts), encoding="utf-8")
    return 1 if options.strict and not report.all_met(lab) else 0


def self_test(options: argparse.Namespace, folder: Path, stack: ExitStack) -> int:
    """The run that judges the benchmark itself."""
    wrong = selftest.run(folder, stack, options.cycles, options.seconds)
    for complaint in wrong:
        print(complaint)
    print(f"self-test: {'the benchmark cannot be trusted here' if wrong else 'good and bad are told apart'}")
    return 1 if wrong else 0


def prepare() -> None:
    """Tools are there, file descriptors suffice, and SIGTERM cleans up as Ctrl-C does."""
    if missing := [tool for tool in ("nginx", "wrk") if shutil.which(tool) is None]:
        raise BenchError(f"{' and '.join(missing)} missing: run `apt-get install nginx-light wrk` first.")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES, hard), hard))
    signal.signal(signal.SIGTERM, _terminate)


def main(arguments: Sequence[str]) -> int:
    """Everything happens in one temporary folder and ends with it."""
    options = parse(arguments)
    try:
        prepare()
        with tempfile.TemporaryDirectory(prefix="bench-") as folder, ExitStack() as stack:
            run = self_test if options.self_test else measure
            return run(options, Path(folder), stack)
    except BenchError as error:
        say(f"bench: {error}")
        return 2
    except KeyboardInterrupt:
        say("bench: interrupted")
        return 130


def _terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
