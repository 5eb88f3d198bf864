# SPDX-License-Identifier: MIT
"""What the comparison of web servers gave (make bench): kept as JSON below the build folder, and judged here.

{case: {"turns": {server: [figures of each turn]}, "when", "how", "machine", "versions"}}

Ratios are of neighbouring turns; p is that of a two-sided Mann-Whitney U test between the turns of two servers.
"""
import datetime
import json
import os

from common import machine, median
from figures import mann_whitney

SUBJECT, FLOOR = "sluice", "limit"


class Results:
    def __init__(self, folder):
        self.path = os.path.join(folder, "peers.json")
        self.cases = {}
        if os.path.exists(self.path):
            with open(self.path) as f:
                self.cases = json.load(f)

    def add(self, case, turns, how, versions):
        self.cases[case] = {
            "turns": {n: [{k: v for k, v in t.items() if k != "said"} for t in got] for n, got in turns.items()},
            "when": datetime.datetime.now().strftime("%Y-%m-%d %H:%M"),
            "how": how,
            "machine": machine(),
            "versions": versions,
        }

    def save(self):
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        with open(self.path, "w") as f:
            json.dump(self.cases, f, indent=1)

    def has(self, case, name=SUBJECT):
        return bool(self.cases.get(case, {}).get("turns", {}).get(name))

    def names(self, case):
        return [n for n, turns in self.cases[case]["turns"].items() if turns]

    def values(self, case, key, name=SUBJECT):
        return [t[key] for t in self.cases[case]["turns"].get(name, ()) if key in t]

    def median(self, case, key, name=SUBJECT):
        return median(self.values(case, key, name))

    def best_peer(self, case, key):
        """Of the others, not of the floor: the one with the least."""
        peers = [n for n in self.names(case) if n not in (SUBJECT, FLOOR) and self.values(case, key, n)]
        return min(peers, key=lambda n: self.median(case, key, n)) if peers else None

    def ratios(self, case, key, other, name=SUBJECT):
        return [a / b for a, b in zip(self.values(case, key, name), self.values(case, key, other)) if b]

    def p(self, case, key, other, name=SUBJECT):
        return mann_whitney(self.values(case, key, name), self.values(case, key, other))


class Goal:
    """`values(results)` gives (values, what they were held against), or None where there is nothing."""

    def __init__(self, what, operator, limit, case, values, form="%.2f"):
        self.what, self.operator, self.limit, self.case, self.values, self.form = what, operator, limit, case, values, form

    def judge(self, results):
        """(goal, measured, n, result, remark)"""
        target = "%s %s" % (self.operator, self.form % self.limit)
        got = results.has(self.case) and self.values(results)
        if not got or not got[0]:
            return target, "-", 0, "not measured", ""
        values, remark = got
        now = median(values)
        is_met = now <= self.limit if self.operator == "<=" else now >= self.limit
        text = self.form % now
        if len(values) > 1:
            text += " (%s to %s)" % (self.form % min(values), self.form % max(values))
        return target, text, len(values), "pass" if is_met else "FALLS SHORT", remark


def against(case, key, other):
    """Ratios to another server; "best": to the best of them."""

    def values(results):
        name = results.best_peer(case, key) if other == "best" else other
        if not name or not results.values(case, key, name):
            return None
        remark = "" if name == FLOOR else "%s, p = %.2g" % (name, results.p(case, key, name))
        if other == "best" and results.values(case, key, FLOOR):
            remark += "; the floor itself is at %.2f" % median(results.ratios(case, key, name, FLOOR))
        return results.ratios(case, key, name), remark

    return values


def inverse(case, key, other):
    def values(results):
        got = against(case, key, other)(results)
        return got and ([1 / v for v in got[0]], got[1])

    return values


def own(case, key):
    return lambda results: (results.values(case, key), "")


GOALS = [
    Goal("constant reply: CPU, x the floor", "<=", 1.25, "constant", against("constant", "cpu_us", FLOOR)),
    Goal("constant reply: CPU, x the best peer", "<=", 0.7, "constant", against("constant", "cpu_us", "best")),
    Goal("128 B file: CPU, x the floor", "<=", 1.25, "128", against("128", "cpu_us", FLOOR)),
    Goal("128 B file: CPU, x the best peer", "<=", 0.7, "128", against("128", "cpu_us", "best")),
    Goal("constant reply, 16 pipelined: requests per CPU second, x nginx", ">=", 4, "pipelined",
         inverse("pipelined", "cpu_us", "nginx")),
    Goal("128 B file, 16 pipelined: requests per CPU second, x nginx", ">=", 4, "128-pipelined",
         inverse("128-pipelined", "cpu_us", "nginx")),
    Goal("constant reply, a connection for each: CPU, x nginx", "<=", 0.8, "close", against("close", "cpu_us", "nginx")),
    Goal("128 B file, a connection for each: CPU, x nginx", "<=", 0.8, "128-close",
         against("128-close", "cpu_us", "nginx")),
    Goal("1 MiB file: CPU for a GB, x nginx", "<=", 1, "1m", against("1m", "cpu_gb", "nginx")),
    Goal("proxy, small: CPU, x the better of nginx and HAProxy", "<=", 0.7, "proxy", against("proxy", "cpu_us", "best")),
    Goal("64 of 10,000 connections active: requests/s, x those of 64 alone", ">=", 0.95, "idle", own("idle", "rps_ratio")),
    Goal("p99.9 at half of saturation, x the best peer", "<=", 1, "rate", against("rate", "p99.9", "best")),
    Goal("user instructions, browser's fields, file from the cache, log on", "<=", 6000, "guard",
         own("guard", "instructions"), "%.0f"),
    Goal("user memory of an idle connection, bytes", "<=", 512, "memory", own("memory", "bytes"), "%.0f"),
    Goal("access log on: CPU, x off", "<=", 1.05, "log", own("log", "log_ratio")),
]


def losses(results, cases):
    """Where somebody else was better: [(what, ratio, who, p)], by the quantity that a case is about."""
    out = []
    for name, case in cases.items():
        if not results.has(name):
            continue
        best = results.best_peer(name, case.quantity)
        if best:
            ratio = median(results.ratios(name, case.quantity, best))
            if ratio > 1:
                out.append(("%s (%s)" % (case.what, case.unit), ratio, best, results.p(name, case.quantity, best)))
    return out
