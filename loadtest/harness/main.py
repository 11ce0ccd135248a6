"""The command line of loadtest/run."""

import argparse
import pathlib
import shutil
import sys

from . import machine, provider, report, scale
from .added import added
from .compare import compare
from .material import Material
from .proxies import service
from .scenarios import SCENARIOS, Bench, failing_softly

# What gives figures and no verdict.
FIGURES = ("compare", "added", "scale")
WORK = pathlib.Path(__file__).resolve().parents[2] / "target/loadtest"


def say(text):
    print(text, flush=True)


def main():
    parser = argparse.ArgumentParser(prog="loadtest/run")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"{', '.join(SCENARIOS)}, compare, added, scale; all by default")
    parser.add_argument("--quick", action="store_true", help="short runs: whether it works at all")
    parser.add_argument("--seconds", type=int, help="length of a scenario (15; 5 with --quick)")
    parser.add_argument("--rate", type=int, help="requests/s of the k6 scenarios (500; 200 with --quick)")
    parser.add_argument("--storm", type=int, default=provider.STORM, help="made-up key ids a second (10000)")
    parser.add_argument("--reps", type=int, help="repetitions of the comparison (5; 1 with --quick)")
    parser.add_argument("--measure", type=int, help="seconds of one measurement of the comparison (3; 1 with --quick)")
    parser.add_argument("--rounds", type=int, help="rounds of `added` (300; 20 with --quick)")
    parser.add_argument("--report", help="folder of the report (target/loadtest/report); `loadtest` for one to be committed")
    parser.add_argument("--consumers", type=int, nargs="+", help="sizes of `scale` (1000 to 1000000; 1000 10000 with --quick)")
    arguments = parser.parse_args()
    wanted = arguments.scenarios or [*SCENARIOS, *FIGURES]
    unknown = [name for name in wanted if name not in SCENARIOS and name not in FIGURES]
    if unknown:
        parser.error(f"no such scenario: {', '.join(unknown)}")
    choose = lambda given, usual, quick: given or (quick if arguments.quick else usual)

    facts = machine.describe()
    for name, value in facts.items():
        say(f"{name}: {value}")
    folder = WORK / "run"
    shutil.rmtree(folder, ignore_errors=True)
    material = Material(folder / "material")
    results, rows, extra, sizes = {}, [], [], []
    with service(folder) as upstream:
        bench = Bench(material, upstream, folder, choose(arguments.seconds, 15, 5), choose(arguments.rate, 500, 200), arguments.storm)
        for name in wanted:
            say(f"\n{name}")
            with failing_softly(results, name):
                if name == "compare":
                    rows = compare(material, upstream, folder, choose(arguments.measure, 3, 1), choose(arguments.reps, 5, 1), say)
                    continue
                if name == "added":
                    live = (1, 10_000) if arguments.quick else (1, 10_000, 1_000_000)
                    extra = added(material, upstream, folder, choose(arguments.rounds, 300, 20), say, live)
                    continue
                if name == "scale":
                    for consumers in choose(arguments.consumers, [1000, 10_000, 100_000, 1_000_000], [1000, 10_000]):
                        sizes.append(scale.measure(1000, consumers, 2, "json", folder / "scale", say=say))
                    continue
                results[name] = SCENARIOS[name](bench)
            for fact in results[name]["facts"]:
                say(f"  {fact}")
            say("  passed" if results[name]["passed"] else "  FAILED")
        for name in results.keys() & set(FIGURES):
            say(f"  {name} FAILED\n  " + "\n  ".join(results[name]["facts"]))
    folder = pathlib.Path(arguments.report).resolve() if arguments.report else WORK / "report"
    say(f"\n{report.write(folder, facts, results, rows, extra, sizes)}")
    sys.exit(0 if all(result["passed"] for result in results.values()) else 1)


if __name__ == "__main__":
    main()
