# SPDX-License-Identifier: MIT
"""Reloads, upgrades and crashes under load, in numbers (make bench-reload, make bench-crash; root).

    make bench-reload RELOADS=1000 UPGRADES=50          rows 1 to 3, beside nginx with reuseport and HAProxy
    make bench-crash KILLS=100                          rows 4 to 6
    make bench-reload WRITE=docs/benchmarks.md          and into the document, in place of older ones

New connections with one request each, RATE a second, and requests on kept connections beside them.  Failed is what a
client sees: refused, reset, closed without an answer, a status other than 200, no answer.  All of it happens in a
network namespace of its own.  Exit status 1 where something was not as it should be.
"""
import argparse
import contextlib
import os
import signal
import sys
import time

from common import children_of, machine, output_of, skipping  # also finds the harness

import steer_peers
from document import Document
from figures import Figure, print_figure, print_head
from harness import SLUICE, Server, Skip, is_alive, need_bpffs, wait_for
from lifetime import all_run, can_upgrade, kill_known, netstat, need_own_network, stop_successor
from load import KeptLoad
from steer_peers import HaproxyMaster, Load, Nginx, Slots, holders
from test_steering import Crowd

REQUIRED = {"required": True}
KEPT = {"rate": 500, "connections": 100}
KILL_PAUSE_S = 0.25  # each of 8 workers lives for two seconds: none is restarted with a delay


class Successive(Server):
    """Its master may be another process at the end."""

    def stop(self, *args, **more):
        try:
            stop_successor(self)
        finally:
            self.abandon()


# --- reloads and upgrades ---


class SluiceUnder:
    """What is done to sluice; each is over when its call returns."""

    def __init__(self):
        self.server = Successive(workers=4, steering=REQUIRED)

    def __enter__(self):
        self.server.start()
        self.port = self.server.address()[1]
        self.can_upgrade = can_upgrade(self.server)
        return self

    def __exit__(self, kind, error, trace):
        if kind is None:
            self.server.wait_live(0)
        return self.server.__exit__(kind, error, trace)

    def run(self, word):
        done = self.server.cli(word)
        assert done.returncode == 0, done.stderr

    def reload(self):
        self.run("reload")

    def upgrade(self):
        self.run("upgrade")


class PeerUnder:
    """The same by a signal; only the log would tell when such a reload has taken place.  For HAProxy each is an
    upgrade: its master executes its binary anew."""

    can_upgrade = False

    def __init__(self, peer, number):
        self.peer, self.number = peer, number

    def __enter__(self):
        self.peer.__enter__()
        self.port = self.peer.port
        return self

    def __exit__(self, *args):
        return self.peer.__exit__(*args)

    def reload(self):
        self.peer.proc.send_signal(self.number)


class Daemon(Nginx):
    """One that nobody waits for: only such a one takes an upgrade."""

    def text(self):
        return super().text().replace("daemon off;", "daemon on;")


class NginxUnder(PeerUnder):
    """An upgrade as its manual says: the new master starts beside the old one, which is then asked to leave."""

    can_upgrade = True

    def __init__(self):
        super().__init__(Daemon(4, True), signal.SIGHUP)

    def master(self):
        try:
            with open(os.path.join(self.peer.dir, "pid")) as f:
                return int(f.read())
        except (OSError, ValueError):  # just being written
            return None

    def reload(self):
        os.kill(wait_for(self.master, "a master"), self.number)

    def upgrade(self):
        old = wait_for(self.master, "a master")
        os.kill(old, signal.SIGUSR2)
        new = wait_for(lambda: self.master() not in (None, old) and self.master(), "a new master")
        wait_for(lambda: len(children_of(new)) >= self.peer.workers, "its workers")
        os.kill(old, signal.SIGQUIT)
        # A new master takes no order to upgrade as long as its parent is there.
        wait_for(lambda: not is_alive(old), "the old master is gone", 30)

    def __exit__(self, *args):
        pid = self.master()
        if pid:
            os.kill(pid, signal.SIGTERM)
            wait_for(lambda: not is_alive(pid), "nginx is gone")
        return super().__exit__(*args)


def under_load(server, steps, pause, rate):
    """Does the steps, one each `pause`, while clients come; what they saw."""
    seconds = len(steps) * pause + 1
    kept = KeptLoad(("127.0.0.1", server.port), KEPT["rate"], seconds, KEPT["connections"])
    took = []
    with Load(server.port, rate, seconds) as load:
        time.sleep(0.5)  # load of its own accord
        due = time.monotonic()
        for step in steps:
            began = time.monotonic()
            step()
            took.append(time.monotonic() - began)
            due += pause
            time.sleep(max(0, due - time.monotonic()))
        return load.result(), kept.result(), took


def mixed(reload, upgrade, reloads, upgrades):
    """Upgrades evenly among the reloads."""
    steps = [reload] * reloads
    for i in range(upgrades):
        steps.insert((i + 1) * reloads // upgrades + i, upgrade)
    return steps


def reload_rows(options):
    servers = [("sluice", SluiceUnder(), options.reloads)]
    fewer = min(options.reloads, options.peer_reloads)
    few_upgrades = min(options.upgrades, options.peer_upgrades)
    with contextlib.suppress(Skip):
        servers.append(("nginx reuseport, %d reloads, %d upgrades" % (fewer, few_upgrades), NginxUnder(), fewer))
    with contextlib.suppress(Skip):
        servers.append(("haproxy, %d reloads" % fewer, PeerUnder(HaproxyMaster(4, "on"), signal.SIGUSR2), fewer))
    fresh, kept, closed, notes = {}, {}, {}, []
    for name, server, reloads in servers:
        with server:
            upgrades = (options.upgrades if name == "sluice" else few_upgrades) if server.can_upgrade else 0
            steps = mixed(server.reload, getattr(server, "upgrade", None), reloads, upgrades)
            new, old, took = under_load(server, steps, options.pause, options.rate)
        # Where the load itself is starved, it runs out of descriptors: what was not made did not fail.
        local = new["faults"]["local"]
        fresh[name], kept[name] = [new["failed"] - local], [len(old["failed"])]
        closed[name] = [old["idle_closed"] + old["closes"]]
        notes.append("%s %d and %d" % (name.split(",")[0], new["made"] - local, old["requests"]))
        if name == "sluice":
            what = "%d reloads, %d upgrades" % (reloads, upgrades)
            slowest = "slowest step %.0f ms" % (max(took) * 1e3)
        if new["failed"] or old["failed"]:
            print("    %s: %s, for up to %.1f s, load up to %.1f s late; kept: %s" % (
                name, new["faults"], new["unanswered_s"], new["late_ms"] / 1e3, old["failed"][:5]
            ), flush=True)
    note = "connections and requests made: %s; %s" % (", ".join(notes), slowest)
    for number, text, seen, target in (
        (1, "%s at %d conn/s: new connections failed" % (what, options.rate), fresh, ("=", 0)),
        (2, "requests failed on kept connections, %d a second" % KEPT["rate"], kept, ("=", 0)),
        (3, "kept connections closed or reset while idle", closed, ("=", 0)),
    ):
        peers = {name: values for name, values in seen.items() if name != "sluice"}
        yield Figure(
            number, text, target, seen["sluice"], form="%.0f", peers=peers, note=note if number == 1 else ""
        ).worst_counts()


# --- crashes ---


def differences(server, port):
    """Sum over the workers: what status, the map and ss say of each."""
    workers = server.workers()
    slots = Slots(server, len(workers))
    held = {}
    for pid in holders(port).values():
        held[pid] = held.get(pid, 0) + 1
    total = 0
    for w in workers:
        seen = (w["live"], slots[w["slot"]]["live"], held.get(w["pid"], 0))
        total += max(seen) - min(seen)
    return total


def kill_all(server, port, kills, pause):
    """Connections that died with the workers, of both loads."""
    dead, due = set(), time.monotonic()
    for i in range(kills):
        pid = wait_for(lambda: server.workers()[i % 8]["pid"], "a worker in slot %d" % (i % 8))
        killed = kill_known(pid, {port})
        assert killed, "the worker was gone"
        dead |= {name for name, _ in killed[1]}
        due += pause
        time.sleep(max(0, due - time.monotonic()))
    return dead


def crash_rows(options):
    refused = netstat("TCPMigrateReqFailure")
    long = {"header": "1h", "keepalive": "1h"}
    with Server(workers=8, steering=REQUIRED, timeouts=long) as server, Crowd([server.address()], 200):
        port = server.address()[1]
        seconds = options.kills * KILL_PAUSE_S + 2
        with Load(port, options.rate, seconds) as new, Load(port, KEPT["rate"], seconds, keep=100) as kept:
            time.sleep(0.5)
            dead = kill_all(server, port, options.kills, KILL_PAUSE_S)
            wait_for(lambda: all_run(server), "all workers run", 30)
            counts = []
            seen = [new.result(), kept.result()]
        failed = [name for load in seen for name in load["failed_from"]]
        made_and_failed = sum(load["failed"] - load["faults"]["local"] for load in seen)
        assert len(failed) >= made_and_failed, "more failed than could be noted"
        with Crowd([server.address()], 200):
            with contextlib.suppress(AssertionError):
                wait_for(lambda: counts.append(differences(server, port)) or counts[-1] == 0, "they agree", 5)
            held = server.total("live")
            assert held >= 200, "%d connections: nothing is shown" % held
    lost = [name for name in failed if name not in dead]
    note = "of %d connections and %d requests on kept ones; %d failed, %d had been accepted by workers that died" % (
        seen[0]["made"], seen[1]["made"], len(failed), len(dead)
    )
    what = "%d SIGKILLs at %d conn/s, %d kept requests/s: lost but not accepted" % (
        options.kills, options.rate, KEPT["rate"]
    )
    yield Figure(4, what, ("=", 0), [len(lost)], form="%.0f", note=note)
    note = "sum over workers of the differences, with %d connections open" % held
    yield Figure(5, "status and map against ss afterwards", ("=", 0), [counts[-1]], form="%.0f", note=note)
    migrated = netstat("TCPMigrateReqFailure") - refused
    yield Figure(6, "TCPMigrateReqFailure", ("=", 0), [migrated], form="%.0f")


# --- the run ---


def parse_options():
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=["reload", "crash"])
    parser.add_argument("--reloads", type=int, default=1000)
    parser.add_argument("--upgrades", type=int, default=50)
    parser.add_argument("--peer-reloads", type=int, default=100, help="of nginx and HAProxy, at most")
    parser.add_argument("--peer-upgrades", type=int, default=10, help="of nginx, at most")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--rate", type=int, help="new connections a second (reload 5000, crash 3000)")
    parser.add_argument("--pause", type=float, default=0.2, help="seconds from one reload to the next")
    parser.add_argument("--tools", default="build/release/tests/bench")
    parser.add_argument("--write", metavar="FILE")
    options = parser.parse_args()
    options.rate = options.rate or {"reload": 5000, "crash": 3000}[options.part]
    return options


def main():
    options = parse_options()
    steer_peers.TOOLS = options.tools
    with skipping():
        need_bpffs()
        need_own_network()
    print("%s; %s; load average %s" % (machine(), ", ".join(steer_peers.versions()), os.getloadavg()))
    print_head()
    began = time.monotonic()
    figures = []
    for figure in (reload_rows if options.part == "reload" else crash_rows)(options):
        print_figure(figure)
        figures.append(figure)
    how = {
        "reload": "make bench-reload RELOADS=%d UPGRADES=%d" % (options.reloads, options.upgrades),
        "crash": "make bench-crash KILLS=%d" % options.kills,
    }[options.part]
    print("%.0f s; %s" % (time.monotonic() - began, how))
    document = Document("bench-lifecycle", options.tools)
    versions = [output_of(SLUICE, "version").split("\n")[0]] + steer_peers.versions()
    for figure in figures:
        document.add(figure.row, [figure], how, versions)
    document.save()
    if options.write:
        document.write(options.write)
    sys.exit(0 if all(f.verdict() == "pass" for f in figures) else 1)


if __name__ == "__main__":
    main()
