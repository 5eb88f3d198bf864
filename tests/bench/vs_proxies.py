# SPDX-License-Identifier: MIT
"""sluice as a reverse proxy against nginx and HAProxy, side by side in one run (make bench-proxy).

    make bench-proxy                            all rows
    make bench-proxy ROWS=1,2 QUICK=1           some of them, shorter and with fewer repetitions
    make bench-proxy WRITE=docs/benchmarks.md   and into the document, rows measured now in place of older ones

All run at the same time in front of the same back end, on the same CPUs with as many workers or threads each; the load
goes to one after the other, and the order changes with every round.  CPU time is utime + stime of all processes of a
proxy.  A line "x the better" is the ratio to the better of the others (by its median), turn by turn.  Exit status 1
where a row could not be measured; a target that was missed is a result, not an error.
"""
import argparse
import contextlib
import os
import socket
import sys
import time
import traceback

from common import machine, median, own_network, skipping, split_cpus, wrk
from document import Document
from figures import Figure, print_figure, print_head
from harness import Skip, raise_descriptor_limit, wait_for
from proxy_peers import PROXIES, Backend, load_of, need_proxies, set_tools, upstream_count, versions
from steer_peers import tool

GOAL = 0.7  # CPU of the better of the others
CONNECTIONS = 64
MIB, GIB = 1 << 20, 1 << 30
UPGRADE = b"GET /tunnel HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"


class Bench:
    def __init__(self, options):
        self.options = options
        self.names = options.proxies.split(",")
        self.subject, self.others = self.names[0], self.names[1:]
        self.floor = "relay"  # no peer: what the kernel takes for itself
        self.cpus, self.load_cpus = split_cpus(options.workers)
        self.rounds = options.rounds or (3 if options.quick else 5)
        self.seconds = options.seconds or (2 if options.quick else 4)
        self.slowest = None  # requests/s of the slowest at saturation

    @contextlib.contextmanager
    def proxies(self, names=None):
        """All of them, in front of one back end."""
        with contextlib.ExitStack() as stack:
            back = stack.enter_context(Backend(self.load_cpus))
            self.back_port = back.port
            yield {
                name: stack.enter_context(PROXIES[name](back.port, self.options.workers, self.cpus))
                for name in names or self.names
            }

    def in_turn(self, measure, names=None):
        """{name: [what measure(proxy) returned, round by round]}"""
        names = names or self.names
        got = {name: [] for name in names}
        with self.proxies(names) as proxies:
            for name in names:
                wrk("http://127.0.0.1:%d/small" % proxies[name].port, 1, CONNECTIONS, self.load_cpus)
            for turn in range(self.rounds):
                for name in names if turn % 2 == 0 else names[::-1]:
                    got[name].append(measure(proxies[name]))
        return got

    # figures

    def figure(self, row, what, got, key, unit, form):
        peers = {n: [m[key] for m in got[n]] for n in got if n != self.subject}
        return Figure(row, what, None, [m[key] for m in got[self.subject]], unit, peers, form)

    def turn_by_turn(self, got, key, other):
        """Ours and that of another, whose turn was next to it."""
        return [a[key] / b[key] for a, b in zip(got[self.subject], got[other]) if b[key]]

    def ratio(self, row, what, got, key):
        """Against the better of the others."""
        better = min(self.others, key=lambda n: median([m[key] for m in got[n]]))
        values = self.turn_by_turn(got, key, better)
        return Figure(row, "%s: x the better, %s" % (what, better), ("<=", GOAL), values, form="%.3f")


def saturate(bench, proxy):
    before, began = proxy.cpu_s(), time.monotonic()
    result = wrk("http://127.0.0.1:%d/small" % proxy.port, bench.seconds, CONNECTIONS, bench.load_cpus)
    spent, took = proxy.cpu_s() - before, time.monotonic() - began
    if result.errors:
        raise AssertionError("wrk at %s:\n%s" % (proxy.name, result.text))
    return {
        "rps": result.per_second,
        "cpu_us": spent * 1e6 / result.requests,
        "busy": 100 * spent / took / bench.options.workers,
    }


def row_small(bench, row):
    """Small answers on 64 keep-alive connections, as many as go through."""
    got = bench.in_turn(lambda proxy: saturate(bench, proxy), bench.names + [bench.floor])
    bench.slowest = min(median([m["rps"] for m in got[name]]) for name in bench.names)
    rate = bench.figure(row, "small answers, keep-alive, 64 connections", got, "rps", "req/s", "%.0f")
    rate.note = "CPUs of the proxy in use: " + ", ".join(
        "%s %.0f %%" % (n, median([m["busy"] for m in turns])) for n, turns in got.items()
    )
    yield rate
    yield bench.figure(row, "CPU of the proxy for each", got, "cpu_us", "us", "%.2f")
    yield bench.ratio(row, "CPU for each", got, "cpu_us")
    above = bench.turn_by_turn(got, "cpu_us", bench.floor)
    yield Figure(row, "CPU for each: x the floor, a relay that reads no HTTP", None, above, form="%.3f")


def row_latency(bench, row):
    """Small answers at half the rate that the slowest of them can do."""
    if not bench.slowest:
        with bench.proxies() as proxies:
            bench.slowest = min(saturate(bench, p)["rps"] for p in proxies.values())
    rate = int(bench.slowest / 2)

    def measure(proxy):
        before = proxy.cpu_s()
        said = load_of("openload", (proxy.port, rate, bench.seconds, 0, CONNECTIONS), bench.load_cpus)
        return {
            "p50": said["fast"]["p50_ms"],
            "p99": said["fast"]["p99_ms"],
            "cpu_us": (proxy.cpu_s() - before) * 1e6 / said["made"],
        }

    got = bench.in_turn(measure)
    yield bench.figure(row, "p50 at %d requests/s, open loop, keep-alive" % rate, got, "p50", "ms", "%.3f")
    yield bench.figure(row, "p99", got, "p99", "ms", "%.3f")
    yield bench.figure(row, "CPU of the proxy for each", got, "cpu_us", "us", "%.2f")
    yield bench.ratio(row, "CPU for each", got, "cpu_us")


def bodies(bench, proxy, direction, size, count, connections):
    before = proxy.cpu_s()
    said = load_of("bulkload", (proxy.port, direction, size, count, connections), bench.load_cpus)
    return {
        "cpu": (proxy.cpu_s() - before) * 1e9 / said["bytes"],
        "speed": said["bytes"] / said["seconds"] / 1e9,
    }


def row_bodies(direction, size, count, connections):
    what = "%s %s" % ("1 MiB" if size == MIB else "1 GiB", "down" if direction == "down" else "up")

    def row_of(bench, row):
        wanted = max(1, count // 4) if bench.options.quick else count

        got = bench.in_turn(lambda proxy: bodies(bench, proxy, direction, size, wanted, connections))
        yield bench.figure(
            row, "bodies of %s, %d connection(s)" % (what, connections), got, "speed", "GB/s", "%.2f"
        )
        yield bench.figure(row, "CPU of the proxy for a GB", got, "cpu", "s", "%.3f")
        yield bench.ratio(row, "CPU for a GB", got, "cpu")

    row_of.__doc__ = "Bodies of %s." % what
    return row_of


# --- tunnels ---


def open_tunnels(proxy, count):
    tunnels = []
    for first in range(0, count, 100):
        batch = [socket.create_connection(("127.0.0.1", proxy.port)) for _ in range(min(100, count - first))]
        for s in batch:
            s.sendall(UPGRADE)
        for s in batch:
            s.settimeout(20)
            head = b""
            while b"\r\n\r\n" not in head:
                piece = s.recv(4096)
                if not piece:
                    raise AssertionError("%s opens no tunnel: %r" % (proxy.name, head))
                head += piece
            if not head.startswith(b"HTTP/1.1 101 "):
                raise AssertionError("%s answers an upgrade with %r" % (proxy.name, head))
        tunnels += batch
    return tunnels


def close_all(tunnels, port):
    for s in tunnels:
        s.close()
    wait_for(lambda: upstream_count(port) < 10, "the tunnels are closed", 30)


def works(tunnel):
    tunnel.sendall(b"still there")
    return tunnel.recv(100) == b"still there"


def tunnel_memory(bench, name, count):
    """In processes of its own, because memory that an allocator has once it seldom gives back."""
    with Backend(bench.load_cpus) as back:
        with PROXIES[name](back.port, bench.options.workers, bench.cpus) as proxy:
            close_all(open_tunnels(proxy, 50), back.port)  # every path touched once
            memory, files = proxy.pss_kb(), proxy.descriptor_count()
            tunnels = open_tunnels(proxy, count)
            got = {
                "bytes": (proxy.pss_kb() - memory) * 1024 / count,
                "files": (proxy.descriptor_count() - files) / count,
            }
            if not all(works(t) for t in tunnels[:: max(1, count // 20)]):
                raise AssertionError("a tunnel of %s is dead" % name)
            close_all(tunnels, back.port)
            return got


def row_tunnels(bench, row):
    """Idle tunnels: 101, then silence."""
    count = 1000 if bench.options.quick else 5000
    if raise_descriptor_limit(4 * count) < 3 * count:  # a proxy has two for each, or with pipes more
        raise Skip("needs %d descriptors" % (3 * count))
    got = {name: [] for name in bench.names}
    for _ in range(bench.rounds):
        for name in bench.names:
            got[name].append(tunnel_memory(bench, name, count))
    what = "%d idle tunnels: memory (PSS) for each" % count
    yield bench.figure(row, what, got, "bytes", "bytes", "%.0f")
    yield bench.figure(row, "descriptors for each", got, "files", "", "%.2f")


ROWS = {
    1: row_small,
    2: row_latency,
    3: row_bodies("down", MIB, 4000, 8),
    4: row_bodies("up", MIB, 4000, 8),
    5: row_bodies("down", GIB, 4, 1),
    6: row_bodies("up", GIB, 4, 1),
    7: row_tunnels,
}


def run_row(bench, number):
    """(figures, False when something broke)"""
    figures = []
    try:
        for figure in ROWS[number](bench, number):
            figure.row = number if not figures else ""
            figures.append(figure)
            print_figure(figure)
        return figures, True
    except Skip as why:
        note, is_fine = "skipped: %s" % why, True
    except Exception as e:
        traceback.print_exc(file=sys.stdout)
        note, is_fine = "ERROR: %s" % str(e).split("\n")[0][:200], False
    figures.append(Figure(number, ROWS[number].__doc__.rstrip("."), None, [], note=note))
    print_figure(figures[-1])
    return figures, is_fine


def parse_options():
    cpus = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", default="")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--seconds", type=int, default=0)
    parser.add_argument("--workers", type=int, default=max(1, cpus // 2))
    parser.add_argument("--proxies", default="sluice,nginx,haproxy", help="the first is held against the others")
    parser.add_argument("--tools", default="build/release/tests/bench")
    parser.add_argument("--write", metavar="FILE")
    return parser.parse_args()


def main():
    options = parse_options()
    bench = Bench(options)
    set_tools(options.tools)
    with skipping():
        need_proxies(bench.names)
        for program in ("backend", "relay", "openload", "bulkload"):
            tool(program)
    own_network()
    print(
        "%s; %d worker(s) on CPU %s, load and back end on CPU %s; %s; load average %s"
        % (
            machine(),
            options.workers,
            bench.cpus,
            bench.load_cpus,
            ", ".join(versions(bench.names)),
            os.getloadavg(),
        )
    )
    print_head()
    document = Document("bench-proxy", options.tools)
    how = "make bench-proxy%s" % (" QUICK=1" if options.quick else "")
    is_fine = True
    for number in [int(n) for n in options.rows.replace(",", " ").split()] or sorted(ROWS):
        figures, went_well = run_row(bench, number)
        document.add(number, figures, how, versions(bench.names))
        is_fine = is_fine and went_well
    if bench.subject == "sluice":  # the document's lines do not say whose they are
        document.save()
        if options.write:
            document.write(options.write)
    sys.exit(0 if is_fine else 1)


if __name__ == "__main__":
    main()
