# SPDX-License-Identifier: MIT
"""Who may have failed: each failure of the chaos run is explained by an event, or it counts.

A failure is explained when, and only when,

    killed      its connection was one of those that a killed worker had at that instant
    server      it went to a back end in trouble, and the access log says so: status and reason fit the kind of trouble,
                the server is that one, and the request was one that may not be repeated where the proxy could have
    drained     it was cut, and logged as such, when the drain limit of an old worker was over (tunnels: within the
                last part of it; the line may have died with the worker)
    away        it was refused at the address that comes and goes while that was, or may have been, away

    late        a client process got no CPU just then, and the answer is one about time: 408, cut at the drain limit, slow

Wrong bytes, a wrong status, a connection closed while idle by a worker that lives, and a request that hangs are never explained.
"""
import collections
import glob
import json
import os
import re

from chaos_world import BETWEEN_S, CONNECT_S, DRAIN_S, EXTRA, FIRST_BYTE_S, LOG_FLUSH_S, TRIES

CUT = ("eof", "reset")
# What a trouble of the back end is called in the log.
REASONS = {
    "kill": {"upstream_closed", "upstream_reset", "connect_refused"},
    "freeze": {"first_byte_timeout", "between_timeout", "send_timeout", "connect_timeout"},
    "reload": {"upstream_closed", "upstream_reset"},
}
REPEATED = {"upstream_closed", "upstream_reset", "connect_refused"}
PROXIED = ("shaky", "py", "web")
PLAIN_S = 10  # what no back end in trouble has to do with, clients that are slow themselves included
TUNNEL_REASONS = {"tunnel", "tunnel_failed", "drain"}


def log_lines(folder):
    """{number of a request: its lines}"""
    lines = collections.defaultdict(list)
    for path in glob.glob(os.path.join(folder, "access.log*")):
        with open(path, "rb") as f:
            for text in f:
                entry = json.loads(text)
                m = re.search(r"[?&]r=([\d-]+)", entry["target"] or "")
                if m:
                    lines[m.group(1)].append(entry)
    return lines


class Ledger:
    """`slack`: seconds by which this machine may be late."""

    def __init__(self, chronicle, lines, slack):
        self.log, self.lines, self.slack = chronicle, lines, slack
        self.explained = collections.Counter()
        self.wrong = []
        self.late = []
        self.killed = collections.defaultdict(list)
        for at, held in chronicle.kills:
            for key in held:
                self.killed[key].append(at)

    def judge(self, records):
        self.late = [(r["t0"], r["t1"]) for r in records if r["kind"] == "late"]
        for r in records:
            if r["kind"] == "late":
                continue
            if r["out"] == "ok":
                self.check_version(r)
            else:
                why = self.explain(r)
                if why:
                    self.explained[why] += 1
                else:
                    self.add("failed", r, self.lines.get(r["id"]))
        return self

    def add(self, what, r, more=""):
        self.wrong.append((what, r, more))

    # --- explanations ---

    def explain(self, r):
        if r["kind"] == "harness":
            return None
        if r["out"] in CUT + ("closed while idle",) and self.was_killed(r):
            return "killed"
        if r["out"] == "refused" and r["server"] == EXTRA[1] and self.was_away(r):
            return "away"
        if r["out"] not in CUT + ("status",):
            return None
        if r["kind"].endswith("tunnel"):
            return self.tunnel(r)
        if self.was_drained(r):
            return "drained"
        if self.is_late(r) and self.is_about_time(r):
            return "late"
        return self.server(r)

    def is_late(self, r):
        return any(at < r["t1"] and to > r["began"] for at, to in self.late)

    def is_about_time(self, r):
        entry = self.reason(r)
        return (r["out"] == "status" and r.get("status") == 408) or (entry is not None and entry["reason"] == "drain")

    def was_killed(self, r):
        times = self.killed.get((r["client"], r["server"]), ())
        return any(r["began"] <= at <= r["t1"] for at in times)

    def was_away(self, r):
        return any(r["began"] <= to + self.slack and r["t1"] >= at for at, to in self.log.extra)

    def reason(self, r):
        """The only line of the request; None: there is none, or not one."""
        entries = self.lines.get(r["id"], ())
        return entries[0] if len(entries) == 1 else None

    def was_drained(self, r):
        entry = self.reason(r)
        return entry is not None and entry["reason"] == "drain" and self.is_at_limit(r, DRAIN_S)

    def is_at_limit(self, r, least):
        """Old workers that began to leave while it was under way have waited that long."""
        return any(
            r["began"] <= to and at + least - 0.1 <= r["t1"] <= to + DRAIN_S + self.slack
            for at, to in self.log.leaves
        )

    def tunnel(self, r):
        entry = self.reason(r)
        if not self.lines.get(r["id"]) and self.is_at_limit(r, DRAIN_S / 2):
            # The client may have seen its end a moment after the worker's.
            return "tunnel drained" if self.is_line_lost(r["t1"] - LOG_FLUSH_S - self.slack, r["t1"]) else None
        if entry is None or entry["reason"] not in TUNNEL_REASONS:
            return None
        if entry["reason"] == "drain":
            if self.is_at_limit(r, DRAIN_S / 2):
                return "tunnel drained"
            return "late" if self.is_late(r) else None
        if any(kind == "kill" and entry["server"] == server and self.meets(r, at, to)
               for at, to, server, kind in self.log.faults):
            return "server"
        return None

    def is_line_lost(self, since, until):
        """A killed worker takes the lines of its last moments with it: of those before its stop, if it stood still."""
        kills = [at for at, _ in self.log.kills]
        ends = kills + [begin for begin, to in self.log.stops if any(begin <= at <= to for at in kills)]
        return any(since <= at <= until + LOG_FLUSH_S + self.slack for at in ends)

    def meets(self, r, at, to):
        return r["t0"] <= to + self.slack and r["t1"] >= at

    def server(self, r):
        """A back end was in trouble: the log says which one, and how it showed."""
        entry = self.reason(r)
        if r["kind"] not in PROXIED or entry is None:
            return None
        if r["out"] == "status" and (r.get("status") not in (502, 504) or entry["status"] != r["status"]):
            return None
        kinds = {
            kind for at, to, server, kind in self.log.faults if server == entry["server"] and self.meets(r, at, to)
        }
        if not any(entry["reason"] in REASONS[kind] for kind in kinds):
            return None
        # Not a byte of an answer came, and it may be repeated: then it must have been, while there was a try left.
        is_repeatable = r["method"] in ("GET", "HEAD") and r["out"] == "status" and entry["reason"] in REPEATED
        if is_repeatable and entry["tries"] < TRIES:
            return None
        return "server"

    # --- what was answered ---

    def check_version(self, r):
        if r["kind"] != "version":
            return
        at, to = self.log.versions.get(r["version"], (float("inf"), 0))
        # A worker that stood still answers by what it knew, once it goes on.
        ends = [to] + [end for begin, end in self.log.stops if begin <= to + self.slack and end >= to]
        if not (at <= r["t1"] and r["t0"] <= max(ends) + self.slack):
            self.add("version", r, "version %d was in force from %.3f to %.3f" % (r["version"], at, to))

    def check_log(self, records):
        """Each answer has one line, with its status, but for those that are lost."""
        lost = 0
        for r in records:
            if r["out"] != "ok" or not r["target"] or r["method"] == "tunnel" or r.get("status") == 101:
                continue
            entries = self.lines.get(r["id"], [])
            if not entries and self.is_line_lost(r["t0"], r["t1"]):
                lost += 1
            elif len(entries) != 1:
                self.add("log: %d lines" % len(entries), r, entries)
            elif entries[0]["status"] != r["status"]:
                self.add("log: status", r, entries)
        return lost

    def longest(self, records, stretch):
        """{kind: seconds} of the slowest, and those beyond what the configuration allows."""
        server = TRIES * (CONNECT_S + FIRST_BYTE_S) + 2 * BETWEEN_S
        limits = collections.defaultdict(lambda: PLAIN_S * stretch, {kind: server + 2 * stretch for kind in PROXIED})
        found = {}
        for r in records:
            if r["kind"].endswith("tunnel") or r["kind"] in ("idle", "late"):
                continue
            took = r["t1"] - r["t0"]
            found[r["kind"]] = max(found.get(r["kind"], 0), took)
            if (took > limits[r["kind"]] and not self.is_late(r)) or r["out"] == "hung":
                self.add("took %.1f s" % took, r, self.lines.get(r["id"]))
        return found
