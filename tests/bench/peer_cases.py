# SPDX-License-Identifier: MIT
"""What web servers are asked for side by side, and what one turn of that gives (make bench).

A case is something that is done to one server after the other, again and again; a turn at one server gives a dict of
figures.  All times of a server are utime + stime of all its processes, with what they did to accept and to close.
"""
import contextlib
import json
import statistics
import subprocess
import tempfile
from types import SimpleNamespace

import vs_proxies
from callgrind import ask, difference, profile_of, total, under_callgrind
from common import TICKS_PER_S, ahead_of_others, fresh_host, on_cpus, output_of, waited_s
from guard import BROWSER, CURL, FEW, MANY
from harness import SLUICE, need_tool, request, wait_for
from proxy_peers import PROXIES
from web_peers import SERVERS, Limit

IDLE = 10000
LATENCIES = ("p50", "p99", "p99.9")


class Case:
    """A closed loop: each connection asks again when it has its answer.

    limit       bytes of the floor's reply, None where it has no part
    needs       "files", "log" or nothing: what a server must be able to do
    connections, pipeline, mode, fields     of the load
    """

    unit, quantity = "us", "cpu_us"  # what a server is judged by: the less the better

    def __init__(self, what, target, limit=None, needs="", connections=64, pipeline=1, mode="keepalive", fields=()):
        self.what, self.target, self.limit, self.needs = what, target, limit, needs
        self.connections, self.pipeline, self.mode, self.fields = connections, pipeline, mode, fields

    @contextlib.contextmanager
    def servers(self, bench):
        """{name: server}: all that have a part in it, running."""
        with contextlib.ExitStack() as stack:
            out = {}
            for name in bench.names:
                make = SERVERS[name]
                if self.needs == "files" and not make.serves_files or self.needs == "log" and not make.writes_log:
                    continue
                server = make(bench.www, bench.workers, bench.cpus, has_log=self.needs == "log")
                out[name] = stack.enter_context(server)
            if self.limit is not None:
                out["limit"] = stack.enter_context(
                    Limit(bench.workers, bench.cpus, self.limit, self.mode == "close")
                )
            yield out

    def run(self, bench):
        """{name: [figures of each turn]}, in turn; the order changes with every round"""
        with self.servers(bench) as servers:
            got = {name: [] for name in servers}
            for server in servers.values():  # caches filled, clocks up
                self.load(bench, server, 0.2)
            for turn in range(bench.rounds):
                for name in list(servers)[:: 1 if turn % 2 == 0 else -1]:
                    got[name].append(self.turn(bench, servers[name]))
                    servers[name].empty_log()
        return got

    def turn(self, bench, server):
        return self.load(bench, server, bench.seconds * (2 if self.connections >= IDLE else 1))

    def load(self, bench, server, seconds, more=()):
        before = server.cpu()
        words = ["connections=%d" % self.connections, "pipeline=%d" % self.pipeline, "mode=" + self.mode]
        words += ["header=%s: %s" % field for field in self.fields]
        said = sluice_load(bench, server, self.target, seconds, words + list(more))
        user, system = (b - a for a, b in zip(before, server.cpu()))
        count = max(1, said["answered"])
        return {
            "rps": said["per_second"],
            "user_us": user * 1e6 / count,
            "system_us": system * 1e6 / count,
            "cpu_us": max(user + system, 1 / TICKS_PER_S) * 1e6 / count,  # less cannot be told
            "said": said,
        }


def load_words(bench, server, target, seconds, words):
    url = "http://%s:%d%s" % (fresh_host(), server.port, target)
    own = ["--json", "processes=%d" % len(bench.load_cpus), "duration=%dms" % (seconds * 1000)]
    return on_cpus(bench.load_cpus) + [SLUICE, "load", url] + own + list(words)


def sluice_load(bench, server, target, seconds, words):
    done = subprocess.run(
        load_words(bench, server, target, seconds, words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=seconds + 60,
    )
    if done.returncode:
        raise AssertionError("load at %s: %s" % (server.name, done.stderr))
    said = json.loads(done.stdout)
    wrong = {k: n for k, n in dict(said["errors"], **said["statuses"]).items() if n and k != "2xx"}
    if wrong:
        raise AssertionError("load at %s: %s" % (server.name, wrong))
    return said


def established(server):
    """Connections that it has; asked in a way that stays quick with 10,000."""
    done = subprocess.run(
        [need_tool("ss"), "-tnH", "state", "established", "sport = :%d" % server.port], stdout=subprocess.PIPE, check=True
    )
    return done.stdout.count(b"\n")


@contextlib.contextmanager
def idle_connections(bench, server, count):
    """So many that had an answer and then say nothing."""
    words = ["mode=hold", "connections=%d" % count]
    held = subprocess.Popen(
        load_words(bench, server, "/hello", 600, words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

    def are_there():
        if held.poll() is not None:
            raise AssertionError("%s: the load that holds connections ended" % server.name)
        return established(server) >= count

    try:
        wait_for(are_there, "%d idle connections at %s" % (count, server.name), 30)
        yield
    finally:
        held.kill()
        held.wait()
    wait_for(lambda: established(server) == 0, "%s has closed them" % server.name, 30)


class Bodies(Case):
    unit, quantity = "s/GB", "cpu_gb"

    def turn(self, bench, server):
        got = super().turn(bench, server)
        return dict(got, cpu_gb=got["cpu_us"] / 1e6 * 1e9 / (1 << 20), gbps=got["rps"] * (1 << 20) / 1e9)


class Logged(Case):
    """Each server twice, with a log and without: by turns, so that what else goes on meanwhile is the same for both."""

    PARTS = (False, True, True, False, True, False, False, True)

    @contextlib.contextmanager
    def servers(self, bench):
        with super().servers(bench) as servers, contextlib.ExitStack() as stack:
            for name, server in servers.items():
                server.twin = stack.enter_context(SERVERS[name](bench.www, bench.workers, bench.cpus))
            yield servers

    def turn(self, bench, server):
        got = {False: [], True: []}
        for has_log in self.PARTS:
            got[has_log].append(self.load(bench, server if has_log else server.twin, bench.seconds * 2 / len(self.PARTS)))
        mean = {
            has_log: {k: statistics.mean(p[k] for p in parts) for k in ("rps", "user_us", "system_us", "cpu_us")}
            for has_log, parts in got.items()
        }
        ratio = mean[True]["cpu_us"] / mean[False]["cpu_us"]
        return dict(got[True][-1], **mean[True], log_ratio=ratio)


class ManyIdle(Case):
    """The same 64 connections alone, and among 10,000."""

    def turn(self, bench, server):
        alone = super().turn(bench, server)
        with idle_connections(bench, server, IDLE - self.connections):
            got = super().turn(bench, server)
        return dict(got, alone_rps=alone["rps"], rps_ratio=got["rps"] / alone["rps"])


class Memory(Case):
    unit, quantity = "B", "bytes"

    def run(self, bench):
        """Once, for it does not depend on luck; servers of their own: what an allocator has once it seldom gives back."""
        with self.servers(bench) as servers:
            return {name: [self.turn(bench, server)] for name, server in servers.items()}

    def turn(self, bench, server):
        with idle_connections(bench, server, 200):  # every path touched once
            pass
        before = server.pss_kb()
        with idle_connections(bench, server, IDLE):
            return {"bytes": (server.pss_kb() - before) * 1024 / IDLE, "rest_kb": before}


def latencies(said):
    return {name: said[name] for name in LATENCIES}


class FixedRate(Case):
    """An open loop: requests are due at random, and their times count from then."""

    unit, quantity = "ms", "p99.9"

    def __init__(self, what, target, saturated, is_checked=False, **more):
        """saturated: the case that says how much they can do; is_checked: once by h2load as well"""
        super().__init__(what, target, **more)
        self.saturated, self.is_checked = saturated, is_checked

    def run(self, bench):
        self.rate = bench.half_of_slowest(self.saturated)
        with ahead_of_others():
            got = super().run(bench)
            if self.is_checked:
                self.cross_check(bench, got)
        return got

    def turn(self, bench, server):
        seconds, before = bench.seconds * 1.5, waited_s(server.proc.pid)
        got = self.load(bench, server, seconds, ["rate=%d" % self.rate, "warmup=300ms"])
        waited = (waited_s(server.proc.pid) - before) * 1e3 / seconds
        return dict(got, rate=self.rate, waited_ms=waited, **latencies(got["said"]["latency_ms"]))

    def cross_check(self, bench, got):
        """Once by a load generator that is not ours."""
        with self.servers(bench) as servers:
            for name in [n for n in ("sluice", "nginx") if n in servers]:
                got[name][0]["h2load"] = h2load(bench, servers[name], self.target, self.connections, self.rate)


def h2load(bench, server, target, connections, rate):
    """Quantiles in ms at a fixed rate; it counts from when it sends."""
    with tempfile.NamedTemporaryFile("r") as log:
        words = [need_tool("h2load"), "--h1", "-t1", "-c%d" % connections, "-D2", "--rps=%g" % (rate / connections)]
        url = "http://%s:%d%s" % (fresh_host(), server.port, target)
        text = output_of(*on_cpus(bench.load_cpus), *words, "--log-file=" + log.name, url)
        times = sorted(int(line.split("\t")[2]) for line in log if line.split("\t")[1] == "200")
    if not times:
        raise AssertionError("h2load at %s: %s" % (server.name, text))
    return {n: times[int(len(times) * float(n[1:]) / 100)] / 1e3 for n in LATENCIES}


class Mixed(FixedRate):
    """One request in a hundred is for 1 MiB; what that does to the others."""

    MIX = "99 GET /128\n1 GET /1m\n"

    def run(self, bench):
        self.rate = bench.half_of_slowest(self.saturated) // 2
        with tempfile.NamedTemporaryFile("w") as f:
            f.write(self.MIX)
            f.flush()
            self.mix = f.name
            with ahead_of_others():
                return Case.run(self, bench)

    def turn(self, bench, server):
        got = self.load(bench, server, bench.seconds * 2, ["rate=%d" % self.rate, "warmup=300ms", "mix=" + self.mix])
        small, large = got["said"]["kinds"]
        return dict(got, rate=self.rate, large_p99=large["latency_ms"]["p99"], **latencies(small["latency_ms"]))


class Instructions(Case):
    """Of user space, under callgrind, as guard.py counts them."""

    unit, quantity = "instructions", "instructions"

    def run(self, bench):
        # sluice's are those of guard.py: without the steering, whose program callgrind cannot look into.
        got = {}
        for name in bench.names:
            if self.needs != "files" or SERVERS[name].serves_files:
                few, many = (self.profile(bench, SERVERS[name], count) for count in (FEW, FEW + MANY))
                got[name] = [{"instructions": total(difference(many, few, MANY))}]
        return got

    def profile(self, bench, make, count):
        data = request(self.target, fields=self.fields or CURL, host="www.example.org")
        with tempfile.TemporaryDirectory() as folder:
            more = {"extra": 'sandbox = "off"\n'} if make.name == "sluice" else {}
            server = make(bench.www, 1, bench.cpus, wrap=under_callgrind(folder), **more)
            with server:
                pid = server.worker_pid()
                ask(("127.0.0.1", server.port), pid, data, count)
            return profile_of(folder, pid)


class Proxied:
    """Before a back end that all share (vs_proxies.py); the floor is a relay that reads no HTTP, for small replies only."""

    def __init__(self, what, quantity, unit, measure, has_floor=False):
        self.what, self.quantity, self.unit, self.measure = what, quantity, unit, measure
        self.has_floor = has_floor

    def run(self, bench):
        own = SimpleNamespace(
            proxies=",".join(n for n in bench.names if n in PROXIES),
            workers=bench.workers,
            rounds=bench.rounds,
            seconds=max(1, int(bench.seconds)),
            quick=bench.is_quick,
        )
        proxies = vs_proxies.Bench(own)
        names = proxies.names + [proxies.floor] * self.has_floor
        got = proxies.in_turn(lambda proxy: self.measure(proxies, proxy), names)
        return {"limit" if name == proxies.floor else name: turns for name, turns in got.items()}


def large_bodies(bench, proxy):
    got = vs_proxies.bodies(bench, proxy, "down", 1 << 20, 200 if bench.options.quick else 2000, 8)
    return {"cpu_gb": got["cpu"], "gbps": got["speed"]}


CASES = {
    "constant": Case("constant reply, keep-alive", "/hello", limit=5),
    "128": Case("128 B file, keep-alive", "/128", 128, "files"),
    "10k": Case("10 KiB file, keep-alive", "/10k", 10 << 10, "files"),
    "1m": Bodies("1 MiB file, keep-alive, 8 connections", "/1m", None, "files", connections=8),
    "close": Case("constant reply, a connection for each", "/hello", 5, mode="close"),
    "128-close": Case("128 B file, a connection for each", "/128", 128, "files", mode="close"),
    "1": Case("constant reply, 1 connection", "/hello", 5, connections=1),
    "1000": Case("constant reply, 1,000 connections", "/hello", 5, connections=1000),
    "10000": Case("constant reply, 10,000 connections", "/hello", 5, connections=IDLE),
    "pipelined": Case("constant reply, 16 pipelined", "/hello", 5, pipeline=16),
    "128-pipelined": Case("128 B file, 16 pipelined", "/128", 128, "files", pipeline=16),
    "browser": Case("128 B file, a browser's fields (1 KiB)", "/128", 128, "files", fields=BROWSER),
    "log": Logged("128 B file, a browser's fields, access log", "/128", None, "log", fields=BROWSER),
    "idle": ManyIdle("constant reply, 64 of 10,000 connections active", "/hello", 5),
    "rate": FixedRate("constant reply, half of what the slowest can do", "/hello", "constant", True, limit=5),
    "128-rate": FixedRate("128 B file, half of what the slowest can do", "/128", "128", limit=128, needs="files"),
    "close-rate": FixedRate(
        "constant reply, a connection for each, half of what the slowest can do", "/hello", "close", limit=5, mode="close"
    ),
    "mixed": Mixed("128 B, and 1 MiB once in 100, a quarter of what the slowest can do", "/128", "128", needs="files"),
    "proxy": Proxied("small reply by the proxy, 64 connections", "cpu_us", "us", vs_proxies.saturate, True),
    "proxy-1m": Proxied("1 MiB by the proxy, 8 connections", "cpu_gb", "s/GB", large_bodies),
    "memory": Memory("an idle connection, of 10,000", "/hello"),
    "instructions": Instructions("constant reply", "/hello"),
    "browser-instructions": Instructions("128 B file, a browser's fields (1 KiB)", "/128", None, "files", fields=BROWSER),
}
SATURATED = {case.saturated for case in CASES.values() if isinstance(case, FixedRate)}
