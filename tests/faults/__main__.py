"""The simulator by hand: `python -m tests.faults soak|replay|kills`, each with --help."""

import argparse
import os
import sys
import time

from tests.faults.kills import KillsError, kill_often
from tests.faults.schedule import run, shrink
from tests.faults.soak import Account, soak
from tests.faults.stage import stage


def main() -> int:
    """Run a command; 1 if something did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    many = commands.add_parser("soak", help="run many schedules")
    many.add_argument("--schedules", type=int, default=10_000)
    many.add_argument("--first", type=int, default=0, help="the first seed")
    many.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    many.add_argument("--minutes", type=float, default=float("inf"), help="begin none after these")
    one = commands.add_parser("replay", help="run the schedule of a seed and show it")
    one.add_argument("seed", type=int)
    one.add_argument("--shrink", action="store_true", help="look for a shorter one that breaks")
    kills = commands.add_parser("kills", help="kill real processes, then look for what is lost")
    kills.add_argument("--times", type=int, default=200)
    kills.add_argument("--seed", type=int, default=0)
    kills.add_argument("--minutes", type=float, default=float("inf"), help="kill none after these")
    chosen = parser.parse_args()
    if chosen.command == "kills":
        return _kills(chosen.times, chosen.seed, 60 * chosen.minutes)
    if chosen.command == "soak":
        seeds = range(chosen.first, chosen.first + chosen.schedules)
        return _soak(seeds, chosen.processes, 60 * chosen.minutes)
    return _replay(chosen.seed, shrunk=chosen.shrink)


def _soak(seeds: range, processes: int, longest_s: float) -> int:
    started, account = time.monotonic(), Account()
    for account, is_last in soak(seeds, processes, longest_s):
        spent_s = time.monotonic() - started
        left_s = spent_s / max(1, account.schedules) * (len(seeds) - account.schedules)
        if not is_last:
            print(
                f"{account.schedules} of {len(seeds)} schedules, {len(account.broken)} broken, "
                f"about {left_s / 60:.0f} min left",
                flush=True,
            )
    print("\n".join(account.lines()))
    print(f"{(time.monotonic() - started) / 60:.1f} minutes in {processes} processes")
    return int(bool(account.broken or account.never_fired))


def _kills(times: int, seed: int, longest_s: float) -> int:
    started, killed = time.monotonic(), None
    try:
        for killed in kill_often(times, seed, longest_s):
            spent_s = time.monotonic() - started
            left_s = min(spent_s / killed.times * (times - killed.times), longest_s - spent_s)
            kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(killed.kinds.items()))
            print(
                f"{killed.times} of {times} killed ({kinds}), {killed.files} files dropped, "
                f"about {max(left_s, 0) / 60:.0f} min left",
                flush=True,
            )
    except KillsError as lost:
        print(f"after {killed.times if killed else 0} kills: {lost}")
        return 1
    print(f"every upload has its one result; {(time.monotonic() - started) / 60:.1f} minutes")
    return 0


def _replay(seed: int, *, shrunk: bool) -> int:
    with stage() as on:
        report = run(on, seed)
        if shrunk and report.broken:
            report = shrink(on, report)
    print("\n".join(report.trace))
    print(f"actions: {report.actions}")
    print(f"digest {report.digest}: {report.broken or 'everything held'}")
    return int(report.broken is not None)


if __name__ == "__main__":
    sys.exit(main())
