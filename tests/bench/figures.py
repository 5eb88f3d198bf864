# SPDX-License-Identifier: MIT
"""Figures with n and spread, the Mann-Whitney U test, and the tables they are printed in."""
import collections
import math

from common import median


class Figure:
    """One line of the table: what was measured again and again, and what it should have been.

    values    one for each repetition; empty: `note` says why there is none
    target    (operator, number), or None where the line is for comparison only
    peers     {name: values}: what others, or other settings, did in the same run, turn by turn
    """

    def __init__(self, row, what, target, values, unit="", peers=None, form="%.2f", note=""):
        self.row, self.what, self.target, self.values = row, what, target, list(values)
        self.unit, self.peers, self.form, self.note = unit, peers or {}, form, note
        self.reference = None
        self.is_worst = False

    def worst_counts(self):
        """Judged by the worst repetition: where a single loss is one too many, a median hides it."""
        self.is_worst = True
        return self

    def against(self, name, factor, less=True):
        """The target is a multiple of a peer's median in this very run."""
        self.reference = (name, factor)
        self.target = ("<=" if less else ">=", factor * median(self.peers[name]))
        return self

    def judged_value(self):
        if not self.is_worst:
            return median(self.values)
        return min(self.values) if self.target[0] == ">=" else max(self.values)

    def verdict(self):
        if not self.values:
            return "not measured"
        if self.target is None:
            return "-"
        operator, limit = self.target
        value = self.judged_value()
        is_met = {"<=": value <= limit, ">=": value >= limit, "=": value == limit}[operator]
        return "pass" if is_met else "FELL SHORT"

    def number(self, value):
        return self.form % value

    def target_text(self):
        if self.target is None:
            return "-"
        text = "%s %s %s" % (self.target[0], self.number(self.target[1]), self.unit)
        if self.reference:
            text += " (%s x %s)" % (self.reference[1], self.reference[0])
        return text.replace("  ", " ").strip()

    def columns(self, values):
        """median, spread, n"""
        if not values:
            return "-", "-", "0"
        span = "%s-%s" % (self.number(min(values)), self.number(max(values)))
        return ("%s %s" % (self.number(median(values)), self.unit)).strip(), span, str(len(values))

    def lines(self):
        """Rows of the table: its own and one for each peer."""
        yield (str(self.row), self.what, self.target_text(), *self.columns(self.values), self.verdict())
        for name, values in self.peers.items():
            verdict = "-"
            if self.values and values:
                verdict = "p = %.3g" % mann_whitney(self.values, values)
            yield ("", "  " + name, "", *self.columns(values), verdict)


HEAD = ("#", "what", "target", "median", "spread", "n", "result")


def print_figure(figure):
    for line in figure.lines():
        print("%-3s %-70s %-24s %14s %20s %4s  %s" % line, flush=True)
    if figure.note:
        print("    (%s)" % figure.note, flush=True)


def print_head():
    print("%-3s %-70s %-24s %14s %20s %4s  %s" % HEAD, flush=True)


def markdown(figures):
    out = ["| %s |" % " | ".join(HEAD), "|%s" % ("---|" * len(HEAD))]
    notes = []
    for figure in figures:
        for line in figure.lines():
            cells = [c.strip() for c in line]
            if not cells[0]:
                cells[1] = "&nbsp;&nbsp;" + cells[1]
            out.append("| %s |" % " | ".join(cells))
        if figure.note:
            notes.append("- %s, %s: %s" % (figure.row, figure.what, figure.note))
    return "\n".join(out + ([""] + notes if notes else [])) + "\n"


# --- significance ---


def mann_whitney(a, b):
    """Two-sided p of the Mann-Whitney U test: exact where n is small and there are no ties, else by the normal
    approximation with corrections for ties and continuity."""
    n, m = len(a), len(b)
    ranks, ties = ranked(list(a) + list(b))
    u = sum(ranks[:n]) - n * (n + 1) / 2
    u = min(u, n * m - u)
    if not ties and n * m <= 400:
        counts = u_counts(n, m)
        return min(1.0, 2.0 * sum(counts[: int(u) + 1]) / sum(counts))
    total = n + m
    spread = n * m / 12.0 * (total + 1 - sum(t**3 - t for t in ties) / (total * (total - 1.0)))
    if spread <= 0:
        return 1.0
    z = max(0.0, n * m / 2.0 - u - 0.5) / math.sqrt(spread)
    return math.erfc(z / math.sqrt(2))


def ranked(values):
    """(rank of each value, sizes of the groups of equals)"""
    order = sorted(values)
    first = {}
    for i, v in enumerate(order):
        first.setdefault(v, i)
    counts = collections.Counter(order)
    return [first[v] + (counts[v] + 1) / 2 for v in values], [c for c in counts.values() if c > 1]


def u_counts(n, m):
    """How many of all orders of n and m values have each U."""
    table = [[None] * (m + 1) for _ in range(n + 1)]
    for i in range(n + 1):
        for j in range(m + 1):
            if not i or not j:
                table[i][j] = [1]
                continue
            sums = [0] * (i * j + 1)
            for u, c in enumerate(table[i - 1][j]):
                sums[u + j] += c
            for u, c in enumerate(table[i][j - 1]):
                sums[u] += c
            table[i][j] = sums
    return table[n][m]
