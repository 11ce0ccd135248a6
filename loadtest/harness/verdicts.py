"""Rows of the table of targets: what, the target, the figure, the verdict, and how it was measured.

A row passes when the figure with its whole error is within the limit, and fails when even the figure less its error is beyond it. In
between, and where the measurement cannot carry a verdict, it is `undecided` and says why. `stated` has no limit. A row is `out of reach`
where what the gateway is built on was measured beside it and, doing nothing of its own, is beyond the limit already.
"""

PASSED, FAILED, UNDECIDED, STATED, OUT_OF_REACH = VERDICTS = ("passed", "failed", "undecided", "stated", "out of reach")


def row(what, target, figure, verdict, how, note="", **numbers):
    return {"what": what, "target": target, "figure": figure + (f"; {note}" if note else ""), "verdict": verdict, "how": how, "numbers": numbers}


def decide(value, error, limit):
    if value - error > limit:
        return FAILED, ""
    if value + error > limit:
        return UNDECIDED, f"the error reaches over the limit of {limit:g}"
    return PASSED, ""


def difference(what, limit, measured, how, unit="µs", note="", least=None):
    """At most `limit` more than something else. An error larger than the limit carries no verdict but a failure. `least`: what the same
    adds to what the gateway is built on."""
    value, error = measured
    verdict, why = decide(value, error, limit)
    if verdict == PASSED and error > limit:
        verdict, why = UNDECIDED, "the error is larger than the limit"
    if least and verdict != PASSED:
        why = f"the same adds {least[0]:+.2f} ± {least[1]:.2f} {unit} to bare Pingora"
        verdict = OUT_OF_REACH if decide(*least, limit)[0] == FAILED else verdict
    notes = "; ".join(filter(None, [note, why]))
    return row(what, f"+{limit:g} {unit} at most", f"{value:+.2f} ± {error:.2f} {unit}", verdict, how, notes, value=value, error=error, limit=limit)


def ratio(what, limit, measured, how, of, note="", least=None, built_on="bare Pingora alone"):
    """At most `limit` times something else. `least`: what the gateway is built on, alone, times the same."""
    value, error = measured
    verdict, why = decide(value, error, limit)
    if least and verdict != PASSED:
        why = f"{built_on} is {least[0]:.3f} ± {least[1]:.3f} ×, so that no less can be had"
        verdict = OUT_OF_REACH if decide(*least, limit)[0] == FAILED else verdict
    notes = "; ".join(filter(None, [note, why]))
    return row(f"{what}, beside {of}", f"{limit:g} × at most", f"{value:.3f} ± {error:.3f} ×", verdict, how, notes, value=value, error=error, limit=limit)


def bound(what, target, value, limit, unit, how, note=""):
    """At most `limit`, of something that is read off and has no error worth the name."""
    return row(what, target, f"{value:.4g} {unit}", PASSED if value <= limit else FAILED, how, note, value=value, limit=limit)


def stated(what, figure, how, **numbers):
    return row(what, "stated", figure, STATED, how, **numbers)


def shown(one):
    return f"{one['verdict'].upper() if one['verdict'] == FAILED else one['verdict']:9} {one['what']}: {one['figure']} ({one['target']})"
