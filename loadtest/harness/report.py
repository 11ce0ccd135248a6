"""report.md, results.json and the plots."""

import json

from . import verdicts
from .compare import JOBS, PROXIES
from .plots import bars, lines

def comparison(rows):
    """The table of a comparison; ratios are between the lowest CPU times, as noise only ever adds."""
    best = {(row["job"], row["proxy"]): min(row["cpu_us"]) for row in rows}
    text = [
        "| job | proxy | CPU µs/request: lowest (all) | × floor | × HAProxy | × nginx | × Envoy | requests/s | p50 µs | p99 µs | load side µs | MiB | failed |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        lowest = min(row["cpu_us"])

        def ratio(other, job=row["job"]):
            base = best.get((job, other))
            return f"{lowest / base:.2f}" if base else "–"

        # Every job is compared with the framework's bare proxying; refusals and short connections with their own.
        floor = ratio("floor", row["job"] if (row["job"], "floor") in best else "none")
        text.append(
            f"| {row['job']} | {row['proxy']} | {lowest:.1f} ({', '.join(f'{v:.1f}' for v in row['cpu_us'])}) | {floor} | {ratio('haproxy')} | "
            f"{ratio('nginx')} | {ratio('envoy')} | {row['per_second']} | {row['p50_us']:.0f} | {row['p99_us']:.0f} | {row['load_us']:.1f} | "
            f"{row['memory'] / 2**20:.0f} | {row['failed']} |"
        )
    return text


def sizes_table(sizes):
    text = [
        "| consumers, one HS256 credential each | file MiB | ready s: JSON, YAML, SQLite | resident MiB | bytes a consumer "
        "| after reloads, and 10 s later MiB | peak at a reload MiB | reload s | longest request ms: between, during reloads | failed |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    least = min(sizes, key=lambda size: size["consumers"])
    for size in sizes:
        more = size["consumers"] - least["consumers"]
        each = f"{(size['memory'][0] - least['memory'][0]) / more:.0f}" if more else "–"
        ready = ", ".join(f"{size[key]:.2f}" if size.get(key) else "–" for key in ("ready_s", "yaml_ready_s", "sqlite_ready_s"))
        text.append(
            f"| {size['consumers']:,} | {size['file_bytes'] / 2**20:.1f} | {ready} | {size['memory'][0] / 2**20:.0f} | {each} | "
            f"{', '.join(f'{m / 2**20:.0f}' for m in [*size['memory'][1:], size['settled']])} | {size['peak'] / 2**20:.0f} | "
            f"{', '.join(f'{t:.2f}' for t in size['reload_s'])} | "
            f"{size['quiet_ms']['longest']:.1f}, {size['reload_ms']['longest']:.1f} | {len(size['failed'])} |"
        )
    return text


class Report:
    """Parts of the report in the order they are written; the plots beside it, out of the way of the load tests themselves."""

    def __init__(self, folder):
        self.folder, self.text = folder, []
        (folder / "plots").mkdir(parents=True, exist_ok=True)

    def add(self, *paragraphs):
        self.text += [*paragraphs, ""]

    def plot(self, name, title, drawn):
        (self.folder / f"plots/{name}.svg").write_text(drawn)
        self.add(f"![{title}](plots/{name}.svg)")

    def targets(self, rows):
        count = {verdict: sum(row["verdict"] == verdict for row in rows) for verdict in verdicts.VERDICTS}
        cell = lambda text: text.replace("|", "\\|").replace("\n", " ")
        self.add("## Targets", "", ", ".join(f"{number} {verdict}" for verdict, number in count.items()) + ". *Undecided*: the figure is there, and what keeps it "
                 "from being a verdict. *Out of reach*: what the gateway is built on, measured beside it, is beyond the target alone. Figures with ± are means with their 95 % interval.", "",
                 "| | what | target | figure | verdict |", "| --- | --- | --- | --- | --- |",
                 *(f"| {number} | {cell(row['what'])} | {cell(row['target'])} | {cell(row['figure'])} | "
                   f"{'**failed**' if row['verdict'] == 'failed' else row['verdict']} |" for number, row in enumerate(rows, 1)))
        # Rows that were measured together share their method.
        methods = {}
        for number, row in enumerate(rows, 1):
            methods.setdefault(row["how"], []).append(str(number))
        self.add("How each was measured:", "", *(f"- {', '.join(numbers)}: {how}" for how, numbers in methods.items()))

    def scenarios(self, scenarios):
        self.add("## Scenarios", "", "| scenario | verdict | |", "| --- | --- | --- |", *(
            f"| {name} | {'passed' if result['passed'] else '**failed**'} | "
            + "<br>".join(fact.replace("|", "\\|").replace("\n", " ") for fact in result["facts"]) + " |"
            for name, result in scenarios.items()))

    def comparison(self, rows):
        self.add("## The same job, proxy by proxy", "", *comparison(rows))
        groups = [job.name for job in JOBS if any(row["job"] == job.name for row in rows)]
        for name, title, unit, value in [
            ("cpu", "CPU of a request", "µs, lowest of all repetitions", lambda row: min(row["cpu_us"])),
            ("throughput", "Throughput of one CPU", "requests/s, median", lambda row: row["per_second"]),
            ("p99", "p99 at saturation, 32 connections", "µs, median", lambda row: row["p99_us"]),
        ]:
            series = {proxy: {row["job"]: value(row) for row in rows if row["proxy"] == proxy} for proxy in PROXIES}
            self.plot(name, title, bars(title, unit, groups, series))

    def added(self, added):
        self.add("## What authentication adds to a request", "",
                 "µs of CPU a request, slices in turns with the gateway's own open route and the same tokens (`loadtest/harness/added.py`); what is added, in the fastest third of the rounds.", "",
                 "| route and tokens | least | median | added, 95 % |", "| --- | --- | --- | --- |",
                 *(f"| {name} | {least:.1f} | {median:.1f} | {more:+.2f} ± {error:.2f} |" for name, least, median, more, error in added))

    def latency(self, points):
        names = list(next(iter(points.values())))
        self.add("## Latency at fixed rates", "", "Median and p99 in µs, from when a request was due; medians over the slices.", "",
                 f"| requests/s | {' | '.join(names)} |", "| --- |" + " --- |" * len(names),
                 *(f"| {rate} | " + " | ".join(f"{points[rate][name][0]:.0f}, {points[rate][name][1]:.0f}" for name in names) + " |" for rate in points))
        for place, name in enumerate(("p50", "p99")):
            series = {who: [(rate, points[rate][who][place]) for rate in points] for who in names}
            self.plot(f"latency-{name}", f"Latency under load, {name}", lines(f"Latency under load, {name}", "µs", "requests a second", series))

    def sizes(self, sizes):
        self.add("## Large configurations", "", "1,000 routes with a jwt plugin each, under 200 requests/s; reloads of JSON.", "", *sizes_table(sizes))
        mib, count = (lambda value: value / 2**20), (lambda size: size["consumers"])
        memory = {"after the start": lambda s: s["memory"][0], "10 s after reloads": lambda s: s["settled"], "peak at a reload": lambda s: s["peak"]}
        series = {name: [(count(size), mib(value(size))) for size in sizes] for name, value in memory.items()}
        self.plot("memory", "Resident memory", lines("Resident memory", "MiB", "consumers", series, True))
        series = {"reload, median": [(count(size), sorted(size["reload_s"])[len(size["reload_s"]) // 2]) for size in sizes]}
        for name, key in [("start from JSON", "ready_s"), ("start from YAML", "yaml_ready_s"), ("start from SQLite", "sqlite_ready_s")]:
            if made := [(count(size), size[key]) for size in sizes if size.get(key)]:
                series[name] = made
        self.plot("reload", "Until the configuration serves", lines("Until the configuration serves", "s", "consumers", series, True))

    def hits(self, points):
        self.add("## Signatures found among those verified before", "",
                 f"{points[0]['tokens']:,} RS256 tokens, drawn by Zipf's law (exponent 1): {points[0]['requests']:,} requests, after as many to fill the cache.", "",
                 "| `verified_token_cache_size` | hit ratio | with room for all | CPU µs/request | resident MiB |", "| --- | --- | --- | --- | --- |",
                 *(f"| {p['size']} | {p['ratio']:.1%} | {p['most']:.1%} | {p['cpu_us']:.1f} | {p['memory'] / 2**20:.0f} |" for p in points))
        named = {place: point["size"] for place, point in enumerate(points)}
        series = {name: [(place, point[key] * 100) for place, point in enumerate(points)] for name, key in [("hit ratio", "ratio"), ("room for all", "most")]}
        self.plot("hits", "Hit ratio", lines("Hit ratio", "%", "verified_token_cache_size", series, named=named))

    def soak(self, series):
        self.add("## Half load, a reload every second", "", "| until s | requests | errors | p50 ms | p99 ms | longest ms | resident MiB | CPUs, other work |",
                 "| --- | --- | --- | --- | --- | --- | --- | --- |", *(
                     f"| {s['at']:.0f} | {s['requests']} | {s['errors']} | {s['p50'] or 0:.2f} | {s['p99']:.2f} | {s['longest'] or 0:.1f} | "
                     f"{(s['memory'] or 0) / 2**20:.1f} | {s['others'] or 0:.0%} |" for s in series))
        for name, title, unit, shown in [
            ("soak-latency", "Half load: latency", "ms", {"p50": "p50", "p99": "p99"}), ("soak-memory", "Half load: resident memory", "MiB", {"resident": "memory"}),
        ]:
            of = lambda one, key: one[key] / (2**20 if key == "memory" else 1)
            drawn = {label: [(one["at"], of(one, key)) for one in series if one[key] is not None] for label, key in shown.items()}
            self.plot(name, title, lines(title, unit, "seconds", drawn))


def write(folder, machine, scenarios, rows, measured):
    """REPORT.md in `folder`. `measured`: what the measurements gave, by their names."""
    report = Report(folder)
    raw = json.dumps({"machine": machine, "targets": rows, "scenarios": scenarios, **measured}, indent=1) + "\n"
    (folder / "plots/results.json").write_text(raw)
    report.add("# Load test", "", *(f"- {name}: {value}" for name, value in machine.items()))
    if rows:
        report.targets(rows)
    if scenarios:
        report.scenarios(scenarios)
    for name in ("comparison", "added", "latency", "sizes", "hits", "soak"):
        if measured.get(name):
            getattr(report, name)(measured[name])
    (folder / "REPORT.md").write_text("\n".join(report.text).rstrip() + "\n")
    return folder / "REPORT.md"
