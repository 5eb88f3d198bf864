# SPDX-License-Identifier: MIT
"""What the comparison of web servers gave, as documents: tables, charts, and the configurations of all (make bench)."""
import os

import chart
from common import median
from peer_cases import CASES, LATENCIES
from peer_results import FLOOR, GOALS, losses
from web_peers import SERVERS, configurations

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
COLUMNS = list(SERVERS) + [FLOOR]
CONNECTIONS = (("1", "1"), ("constant", "64"), ("1000", "1,000"), ("10000", "10,000"))
BARS = ("constant", "128", "10k", "browser", "log", "close", "128-close", "pipelined", "idle")


def table(head, rows):
    out = ["| %s |" % " | ".join(head), "|%s" % ("---|" * len(head))]
    return out + ["| %s |" % " | ".join(map(str, row)) for row in rows] + [""]


def number(value):
    return "%.0f" % value if value >= 1000 else "%.3g" % value


def cell(results, case, key, name):
    values = results.values(case, key, name) if case in results.cases else []
    if not values:
        return "-"
    text = number(median(values))
    if len(values) > 1:
        text += " (%s to %s)" % (number(min(values)), number(max(values)))
    return text


def measured(results, names):
    return [n for n in names if n in CASES and results.has(n)]


def against_best(results, case, key):
    best = results.best_peer(case, key)
    if not best:
        return "-"
    return "%.2f of %s, p = %.2g" % (median(results.ratios(case, key, best)), best, results.p(case, key, best))


def cost_table(results):
    rows = []
    for name in measured(results, CASES):
        case = CASES[name]
        if case.quantity in ("cpu_us", "cpu_gb"):
            cells = [cell(results, name, case.quantity, server) for server in COLUMNS]
            label = case.what + (", s for a GB" if case.quantity == "cpu_gb" else "")
            rows.append([label] + cells + [against_best(results, name, case.quantity)])
    return table(["CPU of the server for a request, us"] + COLUMNS + ["sluice is at"], rows)


def rate_table(results):
    rows = []
    for name in measured(results, CASES):
        if CASES[name].quantity in ("cpu_us", "cpu_gb") and results.values(name, "rps"):
            rows.append([CASES[name].what] + [cell(results, name, "rps", server) for server in COLUMNS])
    return table(["requests/s"] + COLUMNS, rows)


def latency_table(results):
    rows = []
    for name in measured(results, ("rate", "128-rate", "close-rate", "mixed")):
        rate = results.values(name, "rate")[0]
        for key in LATENCIES + ("large_p99",) * (name == "mixed"):
            label = "%s; %d/s: %s" % (CASES[name].what, rate, key.replace("large_p99", "p99 of the 1 MiB"))
            rows.append([label] + [cell(results, name, key, server) for server in COLUMNS])
    turns = results.cases.get("rate", {}).get("turns", {})
    checked = {s: t[0]["h2load"] for s, t in turns.items() if t and "h2load" in t[0]}
    for key in LATENCIES if checked else ():
        cells = [number(checked[server][key]) if server in checked else "-" for server in COLUMNS]
        rows.append(["the first once more, by `h2load --rps`: " + key] + cells)
    return table(["ms at a fixed rate"] + COLUMNS, rows)


def size_table(results):
    rows = []
    for name, what in (
        ("instructions", "user instructions, constant reply"),
        ("browser-instructions", "user instructions, 128 B file, a browser's fields"),
        ("memory", "memory (PSS) of an idle connection, B"),
    ):
        for _ in measured(results, [name]):
            rows.append([what] + [cell(results, name, CASES[name].quantity, server) for server in COLUMNS])
    if results.has("memory"):
        rows.append(["memory (PSS) without connections, kB"] + [cell(results, "memory", "rest_kb", s) for s in COLUMNS])
    return table(["other"] + COLUMNS, rows)


def goal_table(results):
    rows = []
    for goal in GOALS:
        target, text, n, result, remark = goal.judge(results)
        rows.append([goal.what, target, text, n or "-", result, remark])
    return table(["goal", "target", "measured", "n", "result", ""], rows)


def loss_lines(results):
    out = ["- %s: %.2f of %s, p = %.2g" % (what, ratio, best, p) for what, ratio, best, p in losses(results, CASES)]
    return out or ["- nothing"]


def setups(results):
    """Which cases were measured by what, when."""
    found = {}
    for name in measured(results, CASES):
        e = results.cases[name]
        found.setdefault((e["machine"], ", ".join(e["versions"]), e["how"]), []).append((e["when"], name))
    for (where, versions, how), cases in found.items():
        whens = sorted(when for when, _ in cases)
        which = "" if len(found) == 1 else " (%s)" % ", ".join(name for _, name in cases)
        yield "%s to %s%s: %s; %s; %s." % (whens[0], whens[-1], which, where, versions, how)


def charts(results):
    """{file name: text}, of what was measured"""
    out = {}
    names = measured(results, BARS)
    if names:
        groups = [
            (
                CASES[n].what.replace("constant reply", "constant").replace("connections", "conn."),
                {s: (results.median(n, "user_us", s), results.median(n, "system_us", s)) for s in results.names(n)},
            )
            for n in names
        ]
        note = "dark: user, light: system"
        out["bench-cpu.svg"] = chart.bars("CPU of the server for a request, microseconds", COLUMNS, groups, note)
    points = [(n, label) for n, label in CONNECTIONS if results.has(n)]
    if len(points) > 1:
        everywhere = [s for s in COLUMNS if all(results.has(n, s) for n, _ in points)]
        series = {s: [results.median(n, "cpu_us", s) for n, _ in points] for s in everywhere}
        title = "CPU of the server for a constant reply, microseconds"
        out["bench-connections.svg"] = chart.lines(title, COLUMNS, [t for _, t in points], series, "connections")
    if results.has("rate"):
        groups = [(k, {s: (results.median("rate", k, s),) for s in results.names("rate")}) for k in LATENCIES]
        title = "ms until the answer, %d requests/s" % results.values("rate", "rate")[0]
        out["bench-latency.svg"] = chart.bars(title, COLUMNS, groups, "open loop, 64 connections")
    return out


def section(results):
    out = [BEGIN, ""] + list(setups(results)) + [""]
    out += ["### Goals", ""] + goal_table(results)
    out += ["### What loses", "", "By the median of the ratios to the best of the others, whatever p says.", ""]
    out += loss_lines(results) + ["", "### Figures", ""]
    out += cost_table(results) + rate_table(results) + latency_table(results) + size_table(results)
    out += ["![%s](%s)" % (name[6:-4], name) for name in charts(results)]
    return "\n".join(out + ["", END])


def configuration_text(workers):
    out = [
        "# Configurations of the benchmarks",
        "",
        "Written by `make bench WRITE=docs/benchmarks.md` ([benchmarks.md](benchmarks.md#beside-other-servers)): what each server "
        "ran with. In the cases about logs a log is added (`tests/bench/web_peers.py`); in front of a back end they have those "
        "of `tests/bench/proxy_peers.py`.",
        "",
    ]
    for name, text in configurations(workers).items():
        out += ["## %s" % name, "", "```text", text.rstrip("\n"), "```", ""]
    return "\n".join(out[:-1]) + "\n"


def write_documents(results, path, workers):
    """The section in the document, charts and configurations beside it."""
    with open(path) as f:
        head, begin, rest = f.read().partition(BEGIN)
    old, end, tail = rest.partition(END)
    if not begin or not end:
        raise SystemExit("%s lacks the lines %s and %s" % (path, BEGIN, END))
    lost = [n for n, case in CASES.items() if not results.has(n) and "| %s" % case.what in old]
    if lost:
        raise SystemExit("%s has figures that are not known here: measure these too: %s" % (path, ",".join(lost)))
    with open(path, "w") as f:
        f.write(head + section(results) + tail)
    folder = os.path.dirname(path)
    for name, text in dict(charts(results), **{"benchmark-peers.md": configuration_text(workers)}).items():
        with open(os.path.join(folder, name), "w") as f:
            f.write(text)
