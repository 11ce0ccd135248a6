"""Bars and lines as SVG."""

import html
import math

COLOURS = {"portcullis": "#2a6fdb", "floor": "#111827", "haproxy": "#9aa5b1", "nginx": "#5f9e6e", "envoy": "#c58b2a"}
# For lines whose names are not those of proxies.
OTHERS = ["#2a6fdb", "#c58b2a", "#5f9e6e", "#111827", "#b8405e", "#9aa5b1"]
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 1040, 320, 60, 20, 44, 40


def opening(title, unit):
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="20" font-size="14">{html.escape(title)} ({html.escape(unit)})</text>',
    ]


def grid(highest):
    """The scale on the left, and where a value is."""
    y = lambda value: HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * value / highest
    out = []
    for tick in range(5):
        value = highest * tick / 4
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#ddd"/>'
                   f'<text x="{LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end" fill="#555">{f"{value:,.0f}" if value >= 100 else f"{value:.3g}"}</text>')
    return out, y


def legend(names, colours):
    x, out = WIDTH - RIGHT - 130 * len(names), []
    for number, name in enumerate(names):
        at = x + 130 * number
        out.append(f'<rect x="{at}" y="28" width="10" height="10" fill="{colours[name]}"/><text x="{at + 14}" y="37">{html.escape(name)}</text>')
    return out


def bars(title, unit, groups, series):
    """`groups`: names; `series`: {name: {group: value}}."""
    scale, y = grid(max((v for values in series.values() for v in values.values()), default=1) or 1)
    step = (WIDTH - LEFT - RIGHT) / max(1, len(groups))
    bar = step * 0.8 / max(1, len(series))
    colours = {name: COLOURS.get(name, "#c58b2a") for name in series}
    out = opening(title, unit) + scale + legend(list(series), colours)
    for number, (name, values) in enumerate(series.items()):
        for place, group in enumerate(groups):
            if (value := values.get(group)) is None:
                continue
            at = LEFT + step * place + step * 0.1 + bar * number
            out.append(f'<rect x="{at:.1f}" y="{y(value):.1f}" width="{bar * 0.92:.1f}" height="{y(0) - y(value):.1f}" fill="{colours[name]}">'
                       f'<title>{html.escape(name)}, {html.escape(group)}: {value:.4g} {html.escape(unit)}</title></rect>')
    for place, group in enumerate(groups):
        out.append(f'<text x="{LEFT + step * (place + 0.5):.1f}" y="{y(0) + 18:.1f}" text-anchor="middle">{html.escape(group)}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"


def lines(title, unit, across, series, logarithmic=False, named=None):
    """`series`: {name: [(x, y)]}; `across`: what x is; `named`: names of the places of x, in place of numbers."""
    points = [point for values in series.values() for point in values]
    place = (lambda x: math.log10(x)) if logarithmic else float
    first, last = min(place(x) for x, _ in points), max(place(x) for x, _ in points)
    scale, y = grid(max(value for _, value in points) or 1)
    at = lambda x: LEFT + 20 + (WIDTH - LEFT - RIGHT - 40) * (place(x) - first) / ((last - first) or 1)
    colours = dict(zip(series, OTHERS * 3))
    out = opening(title, unit) + scale + legend(list(series), colours)
    for name, values in series.items():
        path = " ".join(f"{at(x):.1f},{y(value):.1f}" for x, value in values)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colours[name]}" stroke-width="2"/>')
        out += [f'<circle cx="{at(x):.1f}" cy="{y(value):.1f}" r="3" fill="{colours[name]}"><title>{html.escape(name)}, '
                f'{html.escape(named[x] if named else f"{x:g}")}: {value:.4g} {html.escape(unit)}</title></circle>' for x, value in values]
    places = sorted({x for x, _ in points})
    for x in places[::max(1, len(places) // 12)]:
        text = named[x] if named else f"{x:,.10g}"
        out.append(f'<text x="{at(x):.1f}" y="{y(0) + 16:.1f}" text-anchor="middle">{html.escape(text)}</text>')
    out.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 6}" text-anchor="middle" fill="#555">{html.escape(across)}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"
