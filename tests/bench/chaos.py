# SPDX-License-Identifier: MIT
"""Everything at once, at random, and every answer checked (make chaos S=seconds SEED=n, root).

One server with 4 to 8 workers on IPv4, IPv6 and an address that comes and goes, in front of real back ends, under
clients of all kinds (chaos_clients.py), while it is reloaded, upgraded, killed in parts, stopped, tuned and written
rubbish into (chaos_events.py).  What may fail is what an event explains, to the connection (chaos_ledger.py).

The events follow from the seed, not their instants: the same seed is the same kind of storm, not the same drops.  All
that is left of a run lies below --out: the timeline, the records of the clients, the access log, the server's stderr.
The last line is `N passed, N failed, N skipped`; exit status 1 when anything failed, 77 when it cannot run here.
"""
import argparse
import collections
import json
import os
import re
import shutil
import sys
import tempfile
import time
import traceback

from common import machine, memory_kb, skipping  # also finds the harness

import chaos_world
import steer_peers
from chaos_clients import Crowd
from chaos_events import WORKERS, Chronicle, Engine
from chaos_ledger import Ledger, log_lines
from chaos_world import EXTRA, FIXED, PORTS, Variant, World, now
from harness import IS_SANITIZED, Client, Skip, get, need_bpffs, session_pids, wait_for
from lifetime import all_run, can_upgrade, netstat, need_own_network, stop_successor
from proxy_soak import descriptors
from steer_peers import holders

STRETCH = 3 if IS_SANITIZED else 1  # a sanitizer's build is that much slower
SHOWN = 12  # failures printed
MASTER_RSS_KB = 8192
WORKER_RSS_KB = 16384


class Report:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def check(self, name, test):
        """test() raises AssertionError, or returns what is worth saying."""
        try:
            said = test()
        except Skip as why:
            self.skipped += 1
            print("SKIP %s: %s" % (name, why), flush=True)
        except Exception as e:
            if not isinstance(e, AssertionError):
                traceback.print_exc(file=sys.stdout)
            self.failed += 1
            print("FAIL %s: %s" % (name, e), flush=True)
        else:
            self.passed += 1
            print("ok   %s%s" % (name, ": %s" % said if said else ""), flush=True)


# --- the end of the storm ---


def settle(world):
    """As at the beginning: everybody back, one generation, no client."""
    world.write_config(world.render(Variant(version=world.variant.version)))
    done = world.server.cli("reload")
    assert done.returncode == 0, done.stderr
    wait_for(lambda: not world.status()["draining"], "old workers leave", chaos_world.DRAIN_S + 20 * STRETCH)
    for group in world.groups:
        wait_for(lambda g=group: world.is_well(g), "the servers of %s are well" % group.name, 20)
    for slot in range(Variant().workers):
        world.server.cli("steer", "weight", str(slot), "100")
    world.server.cli("steer", "policy", "least")
    wait_for(lambda: all_run(world.server), "all workers run", 20)


def look_at(world):
    """What the processes have open and use when nobody is connected."""
    wait_for(lambda: world.status()["totals"]["live"] == 0, "no connection is left", 20 * STRETCH)
    status = world.status()
    workers = [w["pid"] for w in status["workers"]]
    return {
        "master": descriptors(status["pid"]),
        "rss": memory_kb(status["pid"], "Rss"),
        "workers": [descriptors(pid) for pid in workers],
        "worker_rss": [memory_kb(pid, "Rss") for pid in workers],
        "processes": len(session_pids(world.server.proc.pid)),
    }


def by_ss(pids):
    """{pid: established connections on our ports} as the kernel says."""
    counts = dict.fromkeys(pids, 0)
    for port in PORTS:
        for pid in holders(port).values():
            counts[pid] = counts.get(pid, 0) + 1
    return counts


def counts(world, expected):
    """{slot: live} by status, by the map, by ss: the same, and that many in all."""
    seen = {}

    def is_equal():
        workers = world.server.workers()
        slots = steer_peers.Slots(world.server, len(workers))
        kernel = by_ss([w["pid"] for w in workers])
        seen["status"] = {w["slot"]: w["live"] for w in workers}
        seen["map"] = {w["slot"]: slots[w["slot"]]["live"] for w in workers}
        seen["ss"] = {w["slot"]: kernel[w["pid"]] for w in workers}
        return seen["status"] == seen["map"] == seen["ss"] and sum(seen["ss"].values()) == expected

    wait_for(is_equal, lambda: "%d connections: %s" % (expected, seen), 15)
    return sorted(seen["ss"].values())


def counts_agree(world):
    clients = [Client(address) for address in FIXED + [EXTRA] for _ in range(30)]
    try:
        for c in clients:
            assert c.request("/version").status == 200
        spread = counts(world, len(clients))
    finally:
        for c in clients:
            c.close()
    counts(world, 0)
    return "%d connections on %s, then 0" % (len(clients), spread)


def nothing_leaked(before, after):
    grown = after["processes"] - before["processes"]
    assert grown == 0, "%d processes more than before" % grown
    assert after["master"] == before["master"], "(pipes, others) of the master: %s, before %s" % (
        after["master"], before["master"]
    )
    # A worker keeps connections to back ends, their pipes, and open files for a second.
    most = max(others for _, others in before["workers"])
    for pipes, others in after["workers"]:
        assert others <= most + 8 and pipes <= 64, "(pipes, others) of workers: %s, before %s" % (
            after["workers"], before["workers"]
        )
    if not IS_SANITIZED:  # whose allocator keeps what was freed
        assert after["rss"] <= before["rss"] + MASTER_RSS_KB, "master: %d kB, before %d" % (after["rss"], before["rss"])
        assert max(after["worker_rss"]) <= WORKER_RSS_KB, after["worker_rss"]
    return "master %s, rss %d -> %d kB" % (after["master"], before["rss"], after["rss"])


def died_as_told(world):
    """Nobody died but by our hand."""
    text = world.server.stderr()
    world.server.assert_clean_stderr()
    unwanted = re.compile(r"killed by signal (?!9\b)|exited with status [1-9]")
    others = [line for line in text.splitlines() if unwanted.search(line)]
    assert not others, others[:5]
    return "%d lines, %d killed" % (text.count("\n"), text.count("killed by signal 9"))


def back_ends_are_content(world):
    seen = 0
    for group in world.groups:
        for m in group.members:
            if isinstance(m, chaos_world.WireBackend):
                stats = json.loads(get(("127.0.0.1", m.port), "/stats").body)
                assert stats["wrong"] == stats["malformed"] == 0, (m.server, stats)
                seen += stats["requests"]
    return "%d requests at those that are still there" % seen


# --- the verdict ---


def print_failures(ledger, chronicle):
    for what, r, more in ledger.wrong[:SHOWN]:
        print("  %s: %s" % (what, {k: v for k, v in r.items() if k not in ("t0", "t1", "began")}))
        print("    from %.3f (connected %.3f) to %.3f; log: %s" % (
            r["t0"] - chronicle.began, r["began"] - chronicle.began, r["t1"] - chronicle.began, more
        ))
    if len(ledger.wrong) > SHOWN:
        print("  and %d more" % (len(ledger.wrong) - SHOWN))


def none_left(ledger, words, records):
    def test():
        found = [w for w in ledger.wrong if w[0].startswith(words)]
        assert not found, "%d of %d" % (len(found), records)
        return "of %d" % records

    return test


def judge(report, world, chronicle, records):
    ledger = Ledger(chronicle, log_lines(world.server.dir), slack=0.5 * STRETCH)
    ledger.judge(records)
    lost = ledger.check_log(records)
    slowest = ledger.longest(records, STRETCH)
    kinds = collections.Counter(r["kind"] for r in records)
    print("requests: %s" % ", ".join("%s %d" % item for item in kinds.most_common()))
    print("failures explained: %s; log lines lost with killed workers: %d" % (dict(ledger.explained) or "none", lost))
    if ledger.late:
        print("client processes got no CPU %d times, for up to %.1f s" % (
            len(ledger.late), max(to - at for at, to in ledger.late)
        ))
    print("slowest: %s" % ", ".join("%s %.2f s" % item for item in sorted(slowest.items())))
    report.check("every failure is explained by an event", none_left(ledger, "failed", len(records)))
    report.check("configuration as in force", none_left(ledger, "version", kinds["version"]))
    report.check("each answer is in the log once", none_left(ledger, "log:", len(records)))
    report.check("no request hung", none_left(ledger, "took", len(records)))
    print_failures(ledger, chronicle)
    return ledger


def storm(world, options, chronicle):
    """(records, engine)"""
    end = now() + options.seconds
    crowd = Crowd(options.work, options.seed, end, threads=options.threads)
    try:
        engine = Engine(world, chronicle, options.seed)
        engine.run(end)
        return crowd.wait(), engine
    finally:
        crowd.abandon()


def all_events(chronicle, engine):
    def test():
        assert not chronicle.failures, "%d: %s" % (len(chronicle.failures), "; ".join(chronicle.failures[:3]))
        return "%d" % sum(chronicle.counts.values())

    return test


def upgrades(engine):
    def test():
        if not engine.has_upgrade:
            raise Skip("this server has no sub-command upgrade")
        return "%d" % engine.upgrades

    return test


def run(world, options, report):
    # Inboxes of slots that are gone stay: first as many as there will ever be.
    for workers in WORKERS:
        world.write_config(world.render(Variant(workers)))
        assert world.server.cli("reload").returncode == 0
    if can_upgrade(world.server):
        assert world.server.cli("upgrade").returncode == 0
    settle(world)
    before, refused = look_at(world), netstat("TCPMigrateReqFailure")
    chronicle = Chronicle(os.path.join(options.work, "timeline.txt"), now())
    records, engine = storm(world, options, chronicle)
    print("events: %s" % ", ".join("%s %d" % item for item in sorted(chronicle.counts.items())))
    report.check("every event did what it should", all_events(chronicle, engine))
    report.check("upgrades", upgrades(engine))
    report.check("settles", lambda: settle(world))
    report.check("status, map and ss count the same", lambda: counts_agree(world))
    report.check("nothing leaked", lambda: nothing_leaked(before, look_at(world)))

    def migrations():
        assert netstat("TCPMigrateReqFailure") == refused, netstat("TCPMigrateReqFailure")

    report.check("TCPMigrateReqFailure unchanged", migrations)
    report.check("back ends saw nothing malformed", lambda: back_ends_are_content(world))
    report.check("stops", lambda: stop_successor(world.server))
    report.check("nobody died of anything else, no sanitizer spoke", lambda: died_as_told(world))
    judge(report, world, chronicle, records)


def keep(world, work, out):
    """What a failure is traced with."""
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(work, out)
    for name in os.listdir(world.server.dir):
        if name.startswith(("access.log", "stderr", "sluice.conf")):
            shutil.copy(os.path.join(world.server.dir, name), out)


def parse_options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--threads", type=int, default=32, help="clients of each of the two client processes")
    parser.add_argument("--tools", default="build/release/tests/bench")
    parser.add_argument("--out", default="build/chaos")
    options = parser.parse_args()
    options.out = os.path.abspath(options.out)
    return options


def main():
    options = parse_options()
    steer_peers.TOOLS = options.tools
    # Not on a disk: where others write much, a file takes seconds to write, and no event happens meanwhile.
    if os.access("/dev/shm", os.W_OK):
        tempfile.tempdir = "/dev/shm"
    report = Report()
    with skipping():
        need_bpffs()
        need_own_network()
        world = World(Variant())
    print("%s; seed %d, %.0f s; timeline: %s/timeline.txt" % (machine(), options.seed, options.seconds, options.out))
    began = now()
    with world, tempfile.TemporaryDirectory(prefix="sluice-chaos-") as options.work:
        try:
            run(world, options, report)
        finally:
            keep(world, options.work, options.out)
    print("%.0f s; make chaos S=%.0f SEED=%d" % (now() - began, options.seconds, options.seed))
    print("%d passed, %d failed, %d skipped" % (report.passed, report.failed, report.skipped))
    sys.exit(1 if report.failed else 0)


if __name__ == "__main__":
    main()
