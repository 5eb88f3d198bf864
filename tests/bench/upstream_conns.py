# SPDX-License-Identifier: MIT
"""Connections to the back end at equal load, with one worker and with several (make bench-upstream-conns).

    make bench-upstream-conns [QUICK=1] [WRITE=docs/benchmarks.md] [ARGS="--workers 8"]

A pool for each worker keeps as many connections as that worker once needed at a time, and the sum of such maxima is
more than the maximum of the sum.  Counted are the established sockets to the back end during the load, every 20 ms.
Two loads: a fixed rate of requests that the back end answers after 10 ms, and 64 connections of small answers as fast
as they go.  A proxy is started anew for each turn.  nginx and HAProxy are there for comparison.
"""
import argparse
import os
import threading

from common import machine, median, skipping, split_cpus, wrk
from document import Document
from figures import Figure, print_figure, print_head
from proxy_peers import PROXIES, Backend, load_of, need_proxies, set_tools, upstream_count, versions
from steer_peers import tool

GOAL = 1.2
DELAY_MS = 10


class Sampler:
    """Counts connections to a port until the block is left; what the first quarter saw is left out of `median`."""

    def __init__(self, port):
        self.port, self.counts, self.done = port, [], threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.done.wait(0.02):
            self.counts.append(upstream_count(self.port))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *args):
        self.done.set()
        self.thread.join()

    def result(self):
        return {"median": median(self.counts[len(self.counts) // 4 :]), "most": max(self.counts)}


def fixed_rate(port, options, cpus):
    words = (port, options.rate, options.seconds, 1, 4 * options.rate * DELAY_MS // 1000)
    load_of("openload", words, cpus)


def full_speed(port, options, cpus):
    result = wrk("http://127.0.0.1:%d/small" % port, options.seconds, 64, cpus)
    if result.errors:
        raise AssertionError("wrk:\n" + result.text)


def measure(name, workers, load, options, cpus):
    with Backend(cpus, DELAY_MS) as back:
        with PROXIES[name](back.port, workers) as proxy, Sampler(back.port) as sampler:
            load(proxy.port, options, cpus)
        return sampler.result()


def row(number, what, load, options, names):
    cpus = split_cpus(1)[1]
    counts = (1, options.workers)
    got = {(name, n): [] for name in names for n in counts}
    for turn in range(options.rounds):
        for key in list(got) if turn % 2 == 0 else list(got)[::-1]:
            got[key].append(measure(*key, load, options, cpus))

    def column(name, workers, key):
        return [m[key] for m in got[(name, workers)]]

    def ratios(name, key):
        pairs = zip(column(name, options.workers, key), column(name, 1, key))
        return [a / b for a, b in pairs if b]

    label = "%s: %s, %d workers" % (what, names[0], options.workers)
    others = {"%s, 1 worker" % names[0]: column(names[0], 1, "median")}
    for name in names[1:]:
        for n in counts:
            others["%s, %d worker(s)" % (name, n)] = column(name, n, "median")
    yield Figure(number, label, None, column(names[0], options.workers, "median"), "", others, "%.0f")
    peers = {name: ratios(name, "median") for name in names[1:]}
    yield Figure("", "x one worker", ("<=", GOAL), ratios(names[0], "median"), "", peers)
    peers = {name: ratios(name, "most") for name in names[1:]}
    yield Figure("", "x one worker, at the most", None, ratios(names[0], "most"), "", peers)


def parse_options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--rate", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--seconds", type=int, default=0)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--proxies", default="sluice,nginx,haproxy", help="the goal is the first's")
    parser.add_argument("--tools", default="build/release/tests/bench")
    parser.add_argument("--write", metavar="FILE")
    options = parser.parse_args()
    options.rounds = options.rounds or (2 if options.quick else 5)
    options.seconds = options.seconds or (2 if options.quick else 4)
    return options


def main():
    options = parse_options()
    names = options.proxies.split(",")
    set_tools(options.tools)
    with skipping():
        need_proxies(names)
        tool("backend"), tool("openload")
    print("%s; %s; load average %s" % (machine(), ", ".join(versions(names)), os.getloadavg()))
    print_head()
    document = Document("bench-proxy", options.tools)
    how = "make bench-upstream-conns%s" % (" QUICK=1" if options.quick else "")
    loads = {
        8: ("connections at %d req/s of %d ms" % (options.rate, DELAY_MS), fixed_rate),
        9: ("connections at full speed", full_speed),
    }
    for number, (what, load) in loads.items():
        figures = list(row(number, what, load, options, names))
        for figure in figures:
            print_figure(figure)
        document.add(number, figures, how, versions(names))
    if names[0] == "sluice":
        document.save()
        if options.write:
            document.write(options.write)


if __name__ == "__main__":
    main()
