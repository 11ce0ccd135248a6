"""The command line of loadtest/run."""

import argparse
import pathlib
import shutil
import sys
import time

from . import added, edges, hits, latency, machine, provider, report, rows, scale, soak, stored, verdicts
from .compare import compare
from .material import Material
from .processes import Others
from .driver import driver
from .proxies import service
from .scenarios import SCENARIOS, Bench, failing_softly

# What gives figures, some with a verdict in the table of targets; in the order they run.
MEASURED = ("rows", "latency", "edges", "compare", "added", "hits", "scale", "soak")
WORK = pathlib.Path(__file__).resolve().parents[2] / "target/loadtest"


def say(text):
    print(text, flush=True)


# What a run takes, by its kind. `rounds` are those of slices, in all starts of the processes.
USUAL = dict(seconds=15, rate=500, reps=5, measure=3, rounds=400, row_rounds=320, starts=8, latency_rounds=160, slice=0.5, requests=400_000, soak=1800,
             consumers=[1000, 10_000, 100_000, 1_000_000], live=(1, 10_000, 1_000_000), tokens=100_000, reloads=3)
SHORT = dict(USUAL, seconds=10, reps=2, measure=1, rounds=160, row_rounds=160, latency_rounds=120, slice=0.4, requests=120_000, soak=300,
             consumers=[1000, 10_000, 100_000])
QUICK = dict(SHORT, seconds=5, rate=200, reps=1, rounds=20, row_rounds=12, starts=3, latency_rounds=4, requests=20_000, soak=20,
             consumers=[1000, 10_000], live=(1, 10_000), tokens=10_000, reloads=2)
CHOSEN = ("seconds", "rate", "reps", "measure", "rounds", "row_rounds", "latency_rounds", "starts", "soak", "consumers")


def arguments():
    parser = argparse.ArgumentParser(prog="loadtest/run")
    parser.add_argument("wanted", nargs="*", metavar="NAME", help=f"{', '.join((*SCENARIOS, *MEASURED))}; all by default")
    parser.add_argument("--short", action="store_true", help="fewer repetitions, 100,000 consumers at most, half load for 5 minutes")
    parser.add_argument("--quick", action="store_true", help="whether it works at all; its figures say nothing")
    parser.add_argument("--seconds", type=int, help="length of a scenario (15; 10 with --short; 5 with --quick)")
    parser.add_argument("--rate", type=int, help="requests/s of the k6 scenarios (500; 200 with --quick)")
    parser.add_argument("--storm", type=int, default=provider.STORM, help="made-up key ids a second (10000)")
    parser.add_argument("--reps", type=int, help="repetitions of the comparison (5; 2; 1)")
    parser.add_argument("--measure", type=int, help="seconds of one measurement of the comparison (3; 1; 1)")
    parser.add_argument("--rounds", type=int, help="rounds of `added`, in all starts (400; 160; 20)")
    parser.add_argument("--row-rounds", type=int, help="rounds of `rows`, in all starts (320; 160; 12)")
    parser.add_argument("--latency-rounds", type=int, help="rounds of `latency`, in all starts (48; 48; 4)")
    parser.add_argument("--starts", type=int, help="how often processes are started that are compared (8; 8; 3)")
    parser.add_argument("--soak", type=int, help="seconds of `soak` (1800; 300; 20)")
    parser.add_argument("--report", help="folder of the report (target/loadtest/report); `loadtest` for one to be committed")
    parser.add_argument("--consumers", type=int, nargs="+", help="sizes of `scale` and `rows` (1000 to 1000000; to 100000; to 10000)")
    given = parser.parse_args()
    given.wanted = given.wanted or [*SCENARIOS, *MEASURED]
    unknown = [name for name in given.wanted if name not in SCENARIOS and name not in MEASURED]
    if unknown:
        parser.error(f"no such scenario: {', '.join(unknown)}")
    size = dict(QUICK if given.quick else SHORT if given.short else USUAL)
    size.update({name: getattr(given, name) for name in CHOSEN if getattr(given, name)})
    return given, argparse.Namespace(**size)


class Run:
    """One run: `results` are verdicts of scenarios, `table` the rows of targets, `measured` everything else."""

    def __init__(self, bench, size):
        self.bench, self.size, self.material, self.service, self.folder = bench, size, bench.material, bench.service, bench.folder
        self.results, self.table, self.measured = {}, [], {}

    def one(self, name):
        say(f"\n{name}")
        start, others = time.monotonic(), Others()
        with failing_softly(self.results, name):
            if name in MEASURED:
                getattr(self, name)()
            else:
                self.results[name] = SCENARIOS[name](self.bench)
        if result := self.results.get(name):
            for fact in result["facts"]:
                say(f"  {fact}")
            say("  passed" if result["passed"] else "  FAILED")
        took = self.measured.setdefault("took", {})
        took[name] = {"seconds": time.monotonic() - start, "others": others.share()}
        say(f"  ({took[name]['seconds']:.0f} s, other work meanwhile {took[name]['others']:.0%} of the CPUs)")

    def add(self, found):
        for row in found:
            self.table.append(row)
            say(f"  {verdicts.shown(row)}")

    def parts(self, name, parts):
        """Each for itself: one that cannot be measured does not take the others with it."""
        for part in parts:
            say(f" {part.__name__}")
            place = f"{name}: {part.__name__}"
            with failing_softly(self.results, place):
                self.add(part())
            if place in self.results:
                say("  FAILED\n  " + "\n  ".join(self.results[place]["facts"]))

    def rows(self):
        size = self.size
        self.parts("rows", rows.Rows(self.material, driver(), self.folder, size.row_rounds, size.starts, size.consumers, size.seconds // 3, say).parts())

    def latency(self):
        size = self.size
        found, points = latency.latency(self.material, driver(), self.folder, size.latency_rounds, min(size.starts, 6), size.slice, say)
        self.measured["latency"] = points
        self.add(found)

    def edges(self):
        size = self.size
        self.parts("edges", edges.Edges(self.material, self.folder, size.row_rounds // 4, min(size.starts, 6), say).parts())

    def compare(self):
        self.measured["comparison"] = compare(self.material, self.service, self.folder, self.size.measure, self.size.reps, say)

    def added(self):
        self.measured["added"] = added.added(self.material, driver(), self.folder, self.size.rounds, self.size.starts, say, self.size.live)
        self.add(added.verdicts_of(self.measured["added"]))

    def hits(self):
        self.measured["hits"] = hits.hits(self.material, driver(), self.folder, self.size.tokens, self.size.requests, say)

    def scale(self):
        sizes = self.measured.setdefault("sizes", [])
        for consumers in self.size.consumers:
            sizes.append(scale.measure(1000, consumers, self.size.reloads, "json", self.folder / "scale", 600, say, yaml=True))
            sizes[-1].update(stored.sqlite(consumers, self.service, self.folder / "stored", 600, say))
        self.add(scale.verdicts_of(sizes))

    def soak(self):
        found, self.measured["soak"] = soak.soak(self.bench, self.size.soak, say)
        self.add(found)


def main():
    given, size = arguments()
    facts = machine.describe()
    facts["kind of run"] = "quick: its figures say nothing" if given.quick else "short" if given.short else "whole"
    for name, value in facts.items():
        say(f"{name}: {value}")
    place = pathlib.Path(given.report).resolve() if given.report else WORK / "report"
    folder = WORK / "run"
    shutil.rmtree(folder, ignore_errors=True)
    material = Material(folder / "material")
    with service(folder) as upstream:
        run = Run(Bench(material, upstream, folder, size.seconds, size.rate, given.storm), size)
        for name in given.wanted:
            run.one(name)
            # Anew after each part: what ends a run before its time takes no more than one with it.
            facts["parts"] = "; ".join(f"{part} {took['seconds'] / 60:.1f} min, other work meanwhile {took['others']:.0%} of the CPUs"
                                       for part, took in run.measured["took"].items())
            written = report.write(place, facts, run.results, run.table, run.measured)
    say(f"\n{written}")
    failed = [name for name, result in run.results.items() if not result["passed"]] + [r["what"] for r in run.table if r["verdict"] == verdicts.FAILED]
    for name in failed:
        say(f"failed: {name}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
