# SPDX-License-Identifier: MIT
"""Figures in a document: rows are kept from run to run below the build folder, and written between two marks."""
import datetime
import json
import os
import re

from common import machine
from figures import HEAD


INDENT = "&nbsp;&nbsp;"


def setup_of(entry):
    return entry.get("setup") or "%s; %s; `%s`" % (entry["machine"], entry["versions"], entry["how"])


def rows_of(section):
    """{number: entry} of the rows that stand in such a part of a document."""
    rows, number = {}, None
    for line in section.splitlines():
        m = re.match(r"Rows ((?:\d+ \([^)]*\)(?:, )?)+): (.*)\.$", line)
        for each, when in re.findall(r"(\d+) \(([^)]*)\)", m.group(1)) if m else ():
            rows[int(each)] = {"lines": [], "notes": [], "when": when, "setup": m.group(2)}
        cells = [c.strip() for c in line.strip("|").split(" | ")] if line.startswith("| ") else [""]
        number = int(cells[0]) if cells[0].isdigit() else number
        if number in rows and len(cells) == len(HEAD):
            rows[number]["lines"].append([c.removeprefix(INDENT) for c in cells])
        note = re.match(r"- Row (\d+), (.*)", line)
        if note and int(note.group(1)) in rows:
            rows[int(note.group(1))]["notes"].append(note.group(2))
    return rows


class Document:
    """The part of a document between <!-- NAME: begin --> and <!-- NAME: end -->, made of numbered rows.

    folder    where the rows of earlier runs are kept, as NAME.json: a run that measures some leaves the others alone
    """

    def __init__(self, name, folder):
        self.begin, self.end = "<!-- %s: begin -->" % name, "<!-- %s: end -->" % name
        self.path = os.path.join(folder, name + ".json")
        self.known = {}
        if os.path.exists(self.path):
            with open(self.path) as f:
                self.known = {int(n): e for n, e in json.load(f).items()}

    def add(self, number, figures, how, versions):
        """Figures of a row in place of older ones; `how` is the command that measures it."""
        self.known[number] = {
            "lines": [list(map(str.strip, line)) for f in figures for line in f.lines()],
            "notes": ["%s: %s" % (f.what.strip(), f.note) for f in figures if f.note],
            "when": datetime.datetime.now().strftime("%Y-%m-%d %H:%M"),
            "how": how,
            "machine": machine(),
            "versions": ", ".join(versions),
        }

    def save(self):
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        with open(self.path, "w") as f:
            json.dump({str(n): self.known[n] for n in sorted(self.known)}, f, indent=1)

    def text(self):
        out = [self.begin, ""]
        rows = sorted(self.known.items())
        setups = {}
        for number, e in rows:
            setups.setdefault(setup_of(e), []).append("%d (%s)" % (number, e["when"]))
        for key, numbers in setups.items():
            out += ["Rows %s: %s." % (", ".join(numbers), key), ""]
        out += ["| %s |" % " | ".join(HEAD), "|%s" % ("---|" * len(HEAD))]
        for _, e in rows:
            for line in e["lines"]:
                cells = list(line)
                if not cells[0]:
                    cells[1] = INDENT + cells[1]
                out.append("| %s |" % " | ".join(cells))
        out += [""]
        for number, e in rows:
            out += ["- Row %d, %s" % (number, note) for note in e["notes"]]
        return "\n".join(out + ["", self.end])

    def write(self, path):
        """Rows that the document has and this folder knows nothing of stay as they are."""
        with open(path) as f:
            old = f.read()
        head, begin, rest = old.partition(self.begin)
        section, end, tail = rest.partition(self.end)
        if not begin or not end:
            raise SystemExit("%s lacks the lines %s and %s" % (path, self.begin, self.end))
        self.known = {**rows_of(section), **self.known}
        with open(path, "w") as f:
            f.write(head + self.text() + tail)
