"""report.md, results.json and the plots."""

import html
import json

from .compare import JOBS, PROXIES

COLOURS = {"portcullis": "#2a6fdb", "floor": "#111827", "haproxy": "#9aa5b1", "nginx": "#5f9e6e", "envoy": "#c58b2a"}


def bars(title, unit, groups, series):
    """A bar chart as SVG. `groups`: names; `series`: {name: {group: value}}."""
    width, height, left, top = 1040, 320, 60, 44
    highest = max((v for values in series.values() for v in values.values()), default=1) or 1
    step = (width - left - 20) / max(1, len(groups))
    bar = step * 0.8 / max(1, len(series))
    floor = height - 40
    y = lambda value: floor - (floor - top) * value / highest
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="{left}" y="20" font-size="14">{html.escape(title)} ({html.escape(unit)})</text>',
    ]
    for tick in range(5):
        value = highest * tick / 4
        out.append(f'<line x1="{left}" x2="{width - 20}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#ddd"/>'
                   f'<text x="{left - 6}" y="{y(value) + 4:.1f}" text-anchor="end" fill="#555">{value:.3g}</text>')
    for number, (name, values) in enumerate(series.items()):
        colour = COLOURS.get(name, "#c58b2a")
        x = width - 20 - 110 * (len(series) - number)
        out.append(f'<rect x="{x}" y="28" width="10" height="10" fill="{colour}"/><text x="{x + 14}" y="37">{html.escape(name)}</text>')
        for place, group in enumerate(groups):
            if (value := values.get(group)) is None:
                continue
            at = left + step * place + step * 0.1 + bar * number
            out.append(f'<rect x="{at:.1f}" y="{y(value):.1f}" width="{bar * 0.92:.1f}" height="{floor - y(value):.1f}" fill="{colour}">'
                       f'<title>{html.escape(name)}, {html.escape(group)}: {value:.4g} {html.escape(unit)}</title></rect>')
    for place, group in enumerate(groups):
        out.append(f'<text x="{left + step * (place + 0.5):.1f}" y="{floor + 18}" text-anchor="middle">{html.escape(group)}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"


def comparison(rows):
    """The table of a comparison; ratios are between the lowest CPU times, as noise only ever adds."""
    best = {(row["job"], row["proxy"]): min(row["cpu_us"]) for row in rows}
    lines = [
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
        lines.append(
            f"| {row['job']} | {row['proxy']} | {lowest:.1f} ({', '.join(f'{v:.1f}' for v in row['cpu_us'])}) | {floor} | {ratio('haproxy')} | "
            f"{ratio('nginx')} | {ratio('envoy')} | {row['per_second']} | {row['p50_us']:.0f} | {row['p99_us']:.0f} | {row['load_us']:.1f} | "
            f"{row['memory'] / 2**20:.0f} | {row['failed']} |"
        )
    return lines


def sizes_table(sizes):
    lines = [
        "| consumers, one HS256 credential each | file MiB | ready s | resident MiB | bytes a consumer | after reloads MiB | reload s "
        "| longest request ms: between, during reloads | failed |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    least = min(sizes, key=lambda size: size["consumers"])
    for size in sizes:
        more = size["consumers"] - least["consumers"]
        each = f"{(size['memory'][0] - least['memory'][0]) / more:.0f}" if more else "–"
        lines.append(
            f"| {size['consumers']:,} | {size['file_bytes'] / 2**20:.1f} | {size['ready_s']:.2f} | {size['memory'][0] / 2**20:.0f} | {each} | "
            f"{', '.join(f'{m / 2**20:.0f}' for m in size['memory'][1:])} | {', '.join(f'{t:.2f}' for t in size['reload_s'])} | "
            f"{size['quiet_ms']['longest']:.1f}, {size['reload_ms']['longest']:.1f} | {len(size['failed'])} |"
        )
    return lines


def write(folder, machine, scenarios, rows, added, sizes):
    folder.mkdir(parents=True, exist_ok=True)
    # The plots beside the report, out of the way of the load tests themselves.
    plots = folder / "plots"
    plots.mkdir(exist_ok=True)
    (plots / "results.json").write_text(
        json.dumps({"machine": machine, "scenarios": scenarios, "comparison": rows, "added": added, "sizes": sizes}, indent=1) + "\n"
    )
    text = ["# Load test", ""]
    text += [f"- {name}: {value}" for name, value in machine.items()]
    if scenarios:
        text += ["", "## Scenarios", "", "| scenario | verdict | |", "| --- | --- | --- |"]
        text += [
            f"| {name} | {'passed' if result['passed'] else '**failed**'} | "
            + "<br>".join(fact.replace("|", "\\|").replace("\n", " ") for fact in result["facts"]) + " |"
            for name, result in scenarios.items()
        ]
    if rows:
        text += ["", "## The same job, proxy by proxy", "", *comparison(rows), ""]
        groups = [job.name for job in JOBS if any(row["job"] == job.name for row in rows)]
        for name, title, unit, value in [
            ("cpu", "CPU of a request", "µs, lowest of all repetitions", lambda row: min(row["cpu_us"])),
            ("throughput", "Throughput of one CPU", "requests/s, median", lambda row: row["per_second"]),
            ("p99", "p99 at saturation, 32 connections", "µs, median", lambda row: row["p99_us"]),
        ]:
            series = {proxy: {row["job"]: value(row) for row in rows if row["proxy"] == proxy} for proxy in PROXIES}
            (plots / f"{name}.svg").write_text(bars(title, unit, groups, series))
            text += [f"![{title}](plots/{name}.svg)", ""]
    if added:
        text += [
            "", "## What authentication adds to a request", "",
            "µs of CPU a request, slices in turns with the gateway's own open route (`loadtest/harness/added.py`).", "",
            "| route and tokens | least | median | added, 95 % |", "| --- | --- | --- | --- |",
            *(f"| {name} | {least:.1f} | {median:.1f} | {more:+.2f} ± {error:.2f} |" for name, least, median, more, error in added), "",
        ]
    if sizes:
        text += ["", "## Large configurations", "", "1,000 routes with a jwt plugin each, JSON, under 200 requests/s.", "", *sizes_table(sizes), ""]
        groups = [f"{size['consumers']:,}" for size in sizes]
        for name, title, unit, value in [
            ("memory", "Resident memory", "MiB, after the start", lambda size: size["memory"][0] / 2**20),
            ("reload", "Reload until the new configuration serves", "s, median", lambda size: sorted(size["reload_s"])[len(size["reload_s"]) // 2]),
        ]:
            series = {"portcullis": {group: value(size) for group, size in zip(groups, sizes)}}
            (plots / f"{name}.svg").write_text(bars(title, unit, groups, series))
            text += [f"![{title}](plots/{name}.svg)", ""]
    (folder / "REPORT.md").write_text("\n".join(text).rstrip() + "\n")
    return folder / "REPORT.md"
