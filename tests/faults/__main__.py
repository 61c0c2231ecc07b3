"""`python -m tests.faults` injects faults into Tidings, and prints how many mails it lost and doubled."""

from __future__ import annotations

import argparse
import random
import shlex
import sys
import time

from tests.faults import million, table
from tests.faults.cases import CASES
from tests.faults.fleet_rounds import Rounds
from tests.faults.run import Run
from tests.servers.postgresql import Server
from tests.servers.rabbitmq import RabbitMq

POINTS = {"sqlite": 1_000, "postgresql": 300}


def main() -> int:
    """Run the harness. The exit code is 1 if an invariant is broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--database", choices=[*POINTS, "both"], default="both")
    parser.add_argument("--points", type=int, help="how often to kill -9 (1,000 on SQLite, 300 on PostgreSQL)")
    parser.add_argument("--seed", type=int, help="of the first round of each fault; the next ones follow")
    parser.add_argument("--case", action="append", choices=[*CASES, "million"], help="this one; may be repeated")
    parser.add_argument("--rounds", type=int, help="so many rounds of each fault instead of points")
    parser.add_argument("--minutes", type=float, help="begin no round after that, for each database")
    parser.add_argument("--readers", type=int, help="in each newsroom (100; a million in the case of that name)")
    parser.add_argument("--kills", type=int, default=20, help="of the case `million`")
    parser.add_argument("--lanes", type=int, default=2, help="rounds at the same time")
    parser.add_argument("--fleet", action="store_true", help="tickers, workers, PostgreSQL and RabbitMQ instead")
    parser.add_argument("--write", action="store_true", help="write the table into docs/guarantees.md")
    asked = parser.parse_args()
    seed = asked.seed if asked.seed is not None else random.SystemRandom().randrange(10**6)
    print(f"seed {seed}", flush=True)
    if asked.fleet:
        return _fleet(asked, seed)
    if asked.case == ["million"]:
        return _million(asked, seed)
    runs = []
    for database in POINTS if asked.database == "both" else [asked.database]:
        if database == "postgresql" and not Server.is_installed():
            print("PostgreSQL is not installed here: left out.")
            continue
        begun = time.monotonic()
        run = Run(
            database=database,
            points=asked.points or POINTS[database],
            seed=seed,
            cases=asked.case,
            rounds=asked.rounds,
            readers=asked.readers or 100,
            lanes=asked.lanes,
            seconds=asked.minutes * 60 if asked.minutes else None,
            say=lambda line: print(line, flush=True),
        )
        run.run()
        runs.append(run)
        print(f"\n{database}: {table.kills(run)} times kill -9, {time.monotonic() - begun:.0f} s\n")
        print(table.report(run), end="\n\n")
        for tally in run.tallies:
            for number in sorted(tally.failed):
                again = f"--database {database} --case {tally.case.name} --seed {number} --rounds 1"
                print(f"again: python -m tests.faults {again}")
        if run.broken:
            print(f"what is left of these rounds: {run.folder}")
    if asked.write:
        arguments = [part for part in sys.argv[1:] if part != "--write"]
        if asked.seed is None:
            arguments += ["--seed", str(seed)]
        table.write(runs, f"make faults ARGS={shlex.quote(' '.join(arguments))}")
    return int(any(run.broken for run in runs))


def _fleet(asked: argparse.Namespace, seed: int) -> int:
    """Run on a fleet: 300 rounds, or the number of rounds or minutes that is given."""
    if not (Server.is_installed() and RabbitMq.is_installed()):
        print("PostgreSQL and RabbitMQ are needed. On Debian: apt install postgresql rabbitmq-server")
        return 2
    rounds = Rounds(
        seed=seed,
        rounds=asked.rounds or 300,
        readers=asked.readers or 120,
        seconds=asked.minutes * 60 if asked.minutes else float("inf"),
        say=lambda line: print(line, flush=True),
    )
    begun = time.monotonic()
    rounds.run(asked.lanes)
    text = rounds.table()
    print(f"\n{text}")
    if asked.write:
        minutes = (time.monotonic() - begun) / 60
        table.write_fleet(text, f"--fleet --seed {seed} --rounds {rounds.rounds} --lanes {asked.lanes}", minutes)
    return int(rounds.is_broken)


def _million(asked: argparse.Namespace, seed: int) -> int:
    """Run on one database. Prints how long it took."""
    database = "sqlite" if asked.database == "both" else asked.database
    result = million.run(
        database=database,
        seed=seed,
        readers=asked.readers or 1_000_000,
        kills=asked.kills,
        say=lambda line: print(line, flush=True),
    )
    print(f"\n{table.million(result)}")
    if asked.write:
        table.write_million(result, f"make faults ARGS='--case million --database {database} --seed {seed}'")
    return int(result.broken)


if __name__ == "__main__":
    sys.exit(main())
