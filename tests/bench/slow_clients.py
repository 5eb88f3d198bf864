# SPDX-License-Identifier: MIT
"""Others, while slow clients hold what they can (make bench-slow): 15,000 idle connections, and thousands that send or read
a byte a second and come back whenever they are cut.

    make bench-slow [QUICK=1] [WRITE=docs/benchmarks.md] [ARGS="--idle 15000 --slow 500"]

An open loop of new connections at a fixed rate is measured alone and beside them, turn by turn; its p99 beside them is to
be at most twice that alone.  Then what became of the slow ones: each was cut, under its own word.
"""
import argparse
import os
import selectors
import socket
import subprocess
import sys
import time

from common import machine, skipping
from document import Document
from figures import Figure, print_figure, print_head
from harness import Server, Skip, raise_descriptor_limit, request, wait_for
from proxy_peers import load_of, set_tools
from steer_peers import tool

GOAL = 2.0
PER_PROCESS = 5000
PARTS = 50
LIMITS = {
    "client_connections": PER_PROCESS,
    "header_rate": "200b",
    "body_rate": "200b",
    "write_rate": "200b",
    "rate_grace": "3s",
    "memory": "256m",
}
BIG = "big.bin"
BEGIN = {
    "idle": b"",
    "head": b"GET /hello HTTP/1.1\r\nHost: t\r\nX: ",
    "body": b"POST /hello HTTP/1.1\r\nHost: t\r\nContent-Length: 100000\r\n\r\n",
    "reader": request("/" + BIG),
}
WORDS = {"head": "header_rate", "body": "body_rate", "reader": "write_rate"}


# --- the slow ones: processes of their own ---


class Slow:
    """`count` connections of one kind; prints "ready", then drips a byte a second on each until standard input ends.

    Not on all at the same moment, which nobody does who is slow: a part of them every 20 ms.  Idle ones cost nothing, here
    either: what a crowd takes of the CPUs is taken from those who are measured.
    """

    def __init__(self, kind, port, count, source):
        self.kind, self.to, self.source = kind, ("127.0.0.1", port), source
        self.selector, self.parts = selectors.DefaultSelector(), [set() for _ in range(PARTS)]
        self.selector.register(sys.stdin, selectors.EVENT_READ)
        for _ in range(count):
            self.connect()
        print("ready", flush=True)

    def connect(self):
        s = socket.socket()
        if self.kind == "reader":
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.bind((self.source, 0))
        s.connect(self.to)
        s.setblocking(False)
        s.send(BEGIN[self.kind])
        self.part_of(s).add(s)
        if self.kind != "reader":
            self.selector.register(s, selectors.EVENT_READ)

    def part_of(self, s):
        return self.parts[s.fileno() % PARTS]

    def again(self, s):
        if self.kind != "reader":
            self.selector.unregister(s)
        self.part_of(s).discard(s)
        s.close()
        self.connect()

    def drip(self, s):
        try:
            if self.kind == "reader":
                if not s.recv(1):
                    self.again(s)
            else:
                s.send(b"y")
        except BlockingIOError:
            pass
        except OSError:
            self.again(s)

    def run(self):
        due, tick = time.monotonic(), 0
        while True:
            for key, _ in self.selector.select(None if self.kind == "idle" else max(0, due - time.monotonic())):
                if key.fileobj is sys.stdin:
                    return
                if self.kind == "idle":
                    raise SystemExit("an idle connection was closed")
                self.again(key.fileobj)
            if self.kind != "idle" and time.monotonic() >= due:
                due += 1 / PARTS
                tick += 1
                for s in list(self.parts[tick % PARTS]):
                    self.drip(s)


class Crowd:
    """Those processes; leaving the block ends them."""

    def __init__(self, port, idle, slow):
        self.port, self.children = port, []
        self.plan = [("idle", min(PER_PROCESS, idle - at)) for at in range(0, idle, PER_PROCESS)]
        self.plan += [(kind, slow) for kind in WORDS if slow]

    def __enter__(self):
        for i, (kind, count) in enumerate(self.plan):
            words = [sys.executable, os.path.abspath(__file__), "--child", kind, str(self.port), str(count)]
            child = subprocess.Popen(
                words + ["127.0.3.%d" % (1 + i)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            self.children.append(child)
        for child in self.children:
            if child.stdout.readline() != "ready\n":
                raise AssertionError("a process of slow clients failed")
        return self

    def __exit__(self, *args):
        for child in self.children:
            child.stdin.close()
        for child in self.children:
            child.wait()
        if not args[0] and any(child.returncode for child in self.children):
            raise AssertionError("a process of slow clients failed")


# --- the others ---


def p99(server, port, options):
    said = load_of("openload", (port, options.rate, options.seconds), sorted(os.sched_getaffinity(0)))
    return said["fast"]["p99_ms"]


def limited(server):
    return server.status()["totals"]["limited"]


def rows(server, options):
    port = server.address()[1]
    plans = {
        "%d idle connections" % options.idle: (options.idle, 0),
        "%d heads, bodies and readers each, a byte a second" % options.slow: (0, options.slow),
        "all of them": (options.idle, options.slow),
    }
    p99(server, port, options)  # every path once
    for number, (what, (idle, slow)) in enumerate(plans.items(), 1):
        alone, beside, before = [], [], limited(server)
        for _ in range(options.rounds):
            alone.append(p99(server, port, options))
            with Crowd(port, idle, slow):
                wait_for(lambda: sum(w["live"] for w in server.workers()) >= idle + slow, "all to be there", 60)
                beside.append(p99(server, port, options))
            server.wait_live(0, 60)
        figure = Figure(number, "p99 beside %s" % what, None, beside, "ms", {"alone": alone}, "%.3f")
        yield figure.against("alone", GOAL)
        if slow:
            after = limited(server)
            for word in WORDS.values():
                cut = after[word] - before[word]
                yield Figure("", "cut with %s" % word, (">=", slow * options.rounds), [cut], "", None, "%d")


def parse_options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--idle", type=int, default=15000)
    parser.add_argument("--slow", type=int, default=500, help="of each kind")
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=6, help="more than the grace of 3")
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--tools", default="build/release/tests/bench")
    parser.add_argument("--write", metavar="FILE")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 5)
    return options


def main():
    if sys.argv[1:2] == ["--child"]:
        raise_descriptor_limit(PER_PROCESS + 200)
        Slow(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]).run()
        return
    options = parse_options()
    set_tools(options.tools)
    with skipping():
        if raise_descriptor_limit(20000) < 20000:
            raise Skip("needs 20000 descriptors")
        tool("openload")
    print("%s; load average %s" % (machine(), os.getloadavg()))
    print_head()
    document = Document("bench-slow", options.tools)
    how = "make bench-slow%s" % (" QUICK=1" if options.quick else "")
    has_failed, number, figures = False, 0, {}
    timeouts = {"header": "1m", "body": "1m", "write": "1m", "keepalive": "10m"}
    with Server(workers=options.workers, limits=LIMITS, timeouts=timeouts) as s:
        s.write(BIG, b"x" * (32 << 20))
        for figure in rows(s, options):
            print_figure(figure)
            has_failed |= figure.verdict() == "FELL SHORT"
            number = figure.row or number
            figures.setdefault(number, []).append(figure)
        s.assert_no_worker_died()
    for number, some in figures.items():
        document.add(number, some, how, ["sluice"])
    document.save()
    if options.write:
        document.write(options.write)
    sys.exit(has_failed)


if __name__ == "__main__":
    main()
