# SPDX-License-Identifier: MIT
"""What happens to the server during the chaos run, drawn from a seed, one event after the other.

What an event begins and another instant ends (a worker stopped, a back end gone, a slot drained) is undone later, while
further events happen.  An event that does not do what it should is a failure of its own.  Each one leaves a line in the
timeline, and what explains failures of requests is kept for the ledger:

    kills       (time, {(client's address, server's port)}): connections that a killed worker had
    faults      (from, to, server, kind) of back ends: "kill", "freeze", "reload"
    leaves      (from, to): old workers began to leave in between
    versions    {version: [from, to]}: when it may have answered
    extra       (from, to): when the address that comes and goes may have been away
"""
import contextlib
import heapq
import itertools
import json
import os
import random
import signal
import subprocess
import time

from chaos_world import PORTS, now
from common import need_tool
from harness import session_pids, wait_for
from lifetime import ProcessHandle, can_upgrade, kill_known
from steer_peers import MapMemory

POLICIES = ["least", "least", "hash", "rr", "p2c", "weighted", "cpu", "busy"]
WORKERS = (4, 8)


class Chronicle:
    """What has happened, for the ledger and for people."""

    def __init__(self, path, began):
        self.file = open(path, "w")
        self.began = began
        self.kills, self.faults, self.leaves, self.versions, self.extra = [], [], [], {}, []
        self.stops = []  # (from, to): a process of the server stood still
        self.failures = []
        self.counts = {}

    def note(self, name, what, at=None):
        self.file.write("%9.3f %-18s %s\n" % ((at or now()) - self.began, name, what))
        self.file.flush()

    def fail(self, name, what):
        self.failures.append("%s: %s" % (name, what))
        self.note("FAILED " + name, what.replace("\n", " | "))


class Engine:
    def __init__(self, world, chronicle, seed):
        self.world, self.log = world, chronicle
        self.rng = random.Random(seed)
        self.undos, self.order = [], itertools.count()
        self.is_over = False
        self.stopped = set()
        self.drained = set()
        self.has_upgrade = can_upgrade(world.server)
        self.log.versions[1] = [0, float("inf")]
        self.rotations = 0
        self.upgrades = 0
        self.masters = {world.master(), world.server.proc.pid}

    # --- the course of events ---

    def table(self):
        weighted = [
            (4, self.reload_same), (4, self.reload_workers), (4, self.reload_addresses), (3, self.reload_rebalance),
            (2, self.reload_faulty), (2, self.reload_signal), (2, self.reload_twice), (3, self.reload_and_kill),
            (8, self.kill_worker), (3, self.kill_any), (8, self.stop_worker), (2, self.stop_any),
            (2, self.stop_master),
            (4, self.policy), (3, self.weight), (4, self.drain_slot), (3, self.drain_server),
            (5, self.kill_server), (5, self.freeze_server), (2, self.reload_nginx),
            (2, self.rotate), (2, self.dump_maps), (4, self.rubbish),
        ]
        if self.has_upgrade:
            weighted.append((4, self.upgrade))
        return [event for weight, event in weighted for _ in range(weight)]

    def run(self, end):
        table = self.table()
        while now() < end:
            self.undo_due()
            self.happen(self.rng.choice(table))
            time.sleep(self.rng.uniform(0.02, 0.4))
        self.is_over = True
        self.undo_due(everything=True)

    def happen(self, event):
        name, began = event.__name__, now()
        try:
            what = event()
        except (AssertionError, OSError, subprocess.TimeoutExpired, ValueError, KeyError) as e:
            self.log.fail(name, repr(e)[:2000])
            return
        if what is not None:
            self.log.counts[name] = self.log.counts.get(name, 0) + 1
            self.log.note(name, "%s (%.0f ms)" % (what, (now() - began) * 1e3), began)

    def later(self, seconds, name, undo):
        heapq.heappush(self.undos, (now() + seconds, next(self.order), name, undo))

    def undo_due(self, everything=False):
        while self.undos and (everything or self.undos[0][0] <= now()):
            _, _, name, undo = heapq.heappop(self.undos)
            try:
                self.log.note(name, undo() or "")
            except (AssertionError, OSError, subprocess.TimeoutExpired, ValueError, KeyError) as e:
                self.log.fail(name, repr(e)[:2000])

    def cli(self, *words):
        done = self.world.server.cli(*words, timeout=90)
        assert done.returncode == 0, "sluice %s: %s" % (" ".join(words), done.stderr or done.stdout)

    # --- reload, upgrade ---

    def change(self, variant, command):
        """Puts a variant into the file; `command` makes it the one in force, or says that it did not."""
        before = self.world.variant
        self.world.write_config(self.world.render(variant))
        began = now()
        self.log.versions.setdefault(variant.version, [began, float("inf")])
        if not (before.has_extra and variant.has_extra):
            self.log.extra.append([began, float("inf")])
        is_done = command()
        ended = now()
        if not is_done:
            variant = before
            self.world.write_config(self.world.render(before))
        for version, span in self.log.versions.items():
            if version != variant.version and span[1] == float("inf"):
                span[1] = ended
        if variant.has_extra:
            for span in self.log.extra:
                span[1] = min(span[1], ended)
        self.log.leaves.append((began, ended))
        self.world.variant = variant
        return "%s%s" % (variant, "" if is_done else ", refused")

    def reload_now(self):
        self.cli("reload", "--json")
        return True

    def next_variant(self, **changes):
        v = self.world.variant
        return v.but(version=max(self.log.versions) + 1, **changes)

    def reload_same(self):
        return self.change(self.world.variant, self.reload_now)

    def reload_workers(self):
        return self.change(self.next_variant(workers=self.rng.randint(*WORKERS)), self.reload_now)

    def reload_addresses(self):
        return self.change(self.next_variant(has_extra=not self.world.variant.has_extra), self.reload_now)

    def reload_rebalance(self):
        return self.change(self.next_variant(is_rebalancing=not self.world.variant.is_rebalancing), self.reload_now)

    def reload_faulty(self):
        text = self.world.render(self.world.variant)
        faulty = self.rng.choice([text + "bogus = 1\n", text[: len(text) // 2], text.replace("9001", "99001"), ""])
        before = self.world.status()
        self.world.write_config(faulty)
        try:
            done = subprocess.run(
                self.world.server.command("reload", "--control", self.world.server.control),
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=60,
            )
        finally:
            self.world.write_config(text)
        assert done.returncode == 1 and "error" in done.stderr, done
        after = self.world.status()
        assert after["generation"] == before["generation"], "a faulty file became generation %d" % after["generation"]
        return "%d errors" % done.stderr.count("error")

    def reload_signal(self):
        generation = self.world.status()["generation"]

        def command():
            os.kill(self.world.master(), signal.SIGHUP)
            wait_for(lambda: self.world.status()["generation"] > generation, "the signal is heard", 30)
            return True

        return self.change(self.next_variant(), command)

    def reload_twice(self):
        """Two askers at once, and a signal: the last one finds the file in force."""

        def command():
            # The signal first: the reload that answers the askers is then the last one.
            os.kill(self.world.master(), signal.SIGHUP)
            both = [self.start_reload() for _ in range(2)]
            for proc in both:
                out, err = proc.communicate(timeout=90)
                assert proc.returncode == 0, out + err
            return True

        return self.change(self.next_variant(), command)

    def start_reload(self):
        return subprocess.Popen(
            self.world.server.command("reload", "-c", self.world.server.conf_path),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True,
        )

    def reload_and_kill(self):
        """A process dies in the middle: either generation may come of it."""
        said = []

        def command():
            generation = self.world.status()["generation"]
            proc = self.start_reload()
            time.sleep(self.rng.uniform(0, 0.06))
            said.append(self.kill(self.pick_any()))
            out, err = proc.communicate(timeout=90)
            is_done = self.world.status()["generation"] > generation
            assert is_done == (proc.returncode == 0), "status %d, but generation %s: %s" % (
                proc.returncode, "changed" if is_done else "did not change", out + err
            )
            return is_done

        return self.change(self.next_variant(workers=self.rng.randint(*WORKERS)), command) + "; " + said[0]

    def upgrade(self):
        master = self.world.master()

        def command():
            self.cli("upgrade")
            assert self.world.master() != master, "the master is the same"
            self.masters.add(self.world.master())
            self.upgrades += 1
            return True

        return self.change(self.next_variant(), command)

    # --- processes ---

    def pick_worker(self):
        workers = [w["pid"] for w in self.world.status()["workers"] if w["pid"]]
        return self.rng.choice(workers) if workers else None

    def pick_any(self):
        """Workers of old generations, and those that start; the monitor.  No master, the old ones neither."""
        known = {w["pid"] for w in self.world.status()["workers"]} | self.masters
        others = [pid for pid in session_pids(self.world.server.proc.pid) if pid not in known]
        return self.rng.choice(others) if others else self.pick_worker()

    def kill(self, pid):
        if pid is None:
            return None
        killed = kill_known(pid, PORTS)
        if not killed:
            return "pid %d was gone" % pid
        self.log.kills.append(killed)
        return "pid %d with %d connections" % (pid, len(killed[1]))

    def kill_worker(self):
        return self.kill(self.pick_worker())

    def kill_any(self):
        return self.kill(self.pick_any())

    def stop(self, pid, seconds):
        if pid is None or pid in self.stopped or len(self.stopped) >= 2:
            return None
        try:
            process = ProcessHandle(pid)
        except ProcessLookupError:
            return None
        process.signal(signal.SIGSTOP)
        self.stopped.add(pid)
        span = [now(), float("inf")]
        self.log.stops.append(span)

        def undo():
            process.signal(signal.SIGCONT)
            process.close()
            self.stopped.discard(pid)
            span[1] = now()
            return "pid %d" % pid

        self.later(seconds, "  goes on", undo)
        return "pid %d for %.2f s" % (pid, seconds)

    def stop_worker(self):
        return self.stop(self.pick_worker(), self.rng.uniform(0.02, 1.2))

    def stop_any(self):
        return self.stop(self.pick_any(), self.rng.uniform(0.02, 1.2))

    def stop_master(self):
        """Nobody reaps and nobody answers for a while; in it a worker may die."""
        pid, seconds = self.pick_worker(), self.rng.uniform(0.02, 0.6)
        with contextlib.closing(ProcessHandle(self.world.master())) as master:
            master.signal(signal.SIGSTOP)
            try:
                time.sleep(seconds / 2)
                said = self.kill(pid) if self.rng.random() < 0.5 else "alone"
                time.sleep(seconds / 2)
            finally:
                master.signal(signal.SIGCONT)
        return "for %.2f s, %s" % (seconds, said)

    # --- steering ---

    def policy(self):
        name = self.rng.choice(POLICIES)
        self.cli("steer", "policy", name)
        return name

    def slots(self):
        return self.world.variant.workers

    def weight(self):
        slot, weight = self.rng.randrange(self.slots()), self.rng.choice([1, 50, 100, 300, 1000])
        if slot in self.drained:
            return None
        self.cli("steer", "weight", str(slot), str(weight))
        return "slot %d: %d" % (slot, weight)

    def drain_slot(self):
        slot = self.rng.randrange(self.slots())
        if slot in self.drained or len(self.drained) >= 2:
            return None
        self.cli("steer", "drain", str(slot))
        self.drained.add(slot)

        def undo():
            self.drained.discard(slot)
            # A slot that is gone meanwhile has no weight any more.
            if slot < self.slots():
                self.cli("steer", "undrain", str(slot))
            return "slot %d" % slot

        self.later(self.rng.uniform(0.2, 4), "  undrained", undo)
        return "slot %d" % slot

    def dump_maps(self):
        pin, size = self.world.server.pin, 0
        for name in sorted(os.listdir(pin)):
            if not name.startswith("steer_prog"):
                done = subprocess.run(
                    [need_tool("bpftool"), "-j", "map", "dump", "pinned", os.path.join(pin, name)],
                    stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                )
                assert done.returncode == 0, "bpftool: %s %s" % (name, done.stderr)
                assert json.loads(done.stdout) is not None
                size += len(done.stdout)
        return "%d bytes" % size

    def rubbish(self):
        """Random bytes in the settings, as nobody should write them; then they are put back."""
        pin = self.world.server.pin
        maps = [
            MapMemory(os.path.join(pin, "steer_config"), 40, True),
            MapMemory(os.path.join(pin, "steer_weights"), 4 * self.slots(), True),
        ]
        saved = [bytes(m.memory[: m.size]) for m in maps]
        end, writes = now() + self.rng.uniform(0.02, 0.4), 0
        try:
            while now() < end:
                m = self.rng.choice(maps)
                at = self.rng.randrange(m.size)
                data = self.rng.randbytes(min(self.rng.choice([1, 4, 8, m.size]), m.size - at))
                m.memory[at : at + len(data)] = data
                writes += 1
                time.sleep(0.002)
        finally:
            for m, data in zip(maps, saved):
                m.memory[: m.size] = data
                m.memory.close()
        return "%d writes" % writes

    # --- back ends ---

    def trouble(self, names=None):
        """(group, member) that may have some; the others of the group are well."""
        group = self.rng.choice([g for g in self.world.groups if g.has_trouble and (not names or g.name in names)])
        if group.is_busy or not self.world.is_well(group):
            return None, None
        return group, self.rng.choice(group.members)

    def free(self, group):
        """Not before the server itself sees it so."""

        def undo():
            if self.is_over or self.world.is_well(group):
                group.is_busy = False
                return group.name
            self.later(0.2, "  well again", undo)
            return None

        self.later(0.3, "  well again", undo)

    def kill_server(self):
        group, member = self.trouble()
        if not group:
            return None
        group.is_busy = True
        fault = [now(), float("inf"), member.server, "kill"]
        self.log.faults.append(fault)
        member.kill()

        def undo():
            member.start()
            fault[1] = now()
            self.free(group)
            return member.server

        self.later(self.rng.uniform(0.1, 4), "  server returns", undo)
        return "%s of %s" % (member.server, group.name)

    def freeze_server(self):
        group, member = self.trouble()
        if not group:
            return None
        group.is_busy = True
        fault = [now(), float("inf"), member.server, "freeze"]
        self.log.faults.append(fault)
        member.freeze()

        def undo():
            member.thaw()
            fault[1] = now()
            self.free(group)
            return member.server

        self.later(self.rng.choice([0.3, 1, 2, 4]) * self.rng.uniform(0.5, 1.5), "  server goes on", undo)
        return "%s of %s" % (member.server, group.name)

    def reload_nginx(self):
        group, member = self.trouble(["web"])
        if not group:
            return None
        began = now()
        member.reload()
        self.log.faults.append([began, now() + 1, member.server, "reload"])
        return member.server

    def drain_server(self):
        group, member = self.trouble()
        if not group:
            return None
        group.is_busy = True
        self.cli("upstream", "drain", group.name, member.server)

        def undo():
            self.cli("upstream", "undrain", group.name, member.server)
            self.free(group)
            return member.server

        self.later(self.rng.uniform(0.2, 3), "  server undrained", undo)
        return "%s of %s" % (member.server, group.name)

    # --- the log ---

    def rotate(self):
        self.rotations += 1
        path = os.path.join(self.world.server.dir, "access.log")
        os.rename(path, "%s.%d" % (path, self.rotations))
        os.kill(self.world.master(), signal.SIGUSR1)
        wait_for(lambda: os.path.exists(path), "a new log")
        return "access.log.%d" % self.rotations
