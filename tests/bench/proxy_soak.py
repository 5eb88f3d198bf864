# SPDX-License-Identifier: MIT
"""Millions of proxied requests of mixed kinds (make soak-proxy): no byte wrong, nothing lost, nothing leaked.

    proxy_soak.py [--requests 1000000] [--connections 300] [--proxy sluice]

mixload.c and backend.c make every body from a seed and compare it byte by byte at the other end, in both directions;
what is drawn, and how often, stands in mixload.c.  Between the parts of the load the proxy is left alone until its
pool to the back end is empty (it closes idle connections after 2 s); then descriptors, pipes and memory of its
processes are read.  After the first part nothing may grow.  24 million requests: --requests 24000000.
"""
import argparse
import json
import os
import subprocess
import sys
import time

from common import machine, memory_kb, skipping
from document import Document
from figures import Figure, print_figure, print_head
from harness import wait_for
from proxy_peers import PROXIES, Backend, client_count, need_proxies, set_tools, upstream_count, versions
from steer_peers import tool

PARTS = 10  # and one before them
IDLE_S = 2
# For each process: noise of allocators, and a pool of pipes whose size depends on how many were once in use at a time.
GROWTH = {"descriptors": 4, "pipes": 64, "rss_kb": 2048, "private_kb": 1024}
FAILURES = []


def fail(what):
    FAILURES.append(what)
    print("FAIL " + what, flush=True)


def descriptors(pid):
    """(pipes, all others) that a process has open"""
    kinds = []
    for fd in os.listdir("/proc/%d/fd" % pid):
        try:
            kinds.append(os.readlink("/proc/%d/fd/%s" % (pid, fd)))
        except FileNotFoundError:
            pass
    pipes = sum(1 for k in kinds if k.startswith("pipe:"))
    return pipes, len(kinds) - pipes


def look_at(pids):
    """{what: [of each process]}"""
    files = [descriptors(pid) for pid in pids]
    return {
        "descriptors": [others for _, others in files],
        "pipes": [pipes for pipes, _ in files],
        "rss_kb": [memory_kb(pid, "Rss") for pid in pids],
        "private_kb": [memory_kb(pid, "Private_Dirty") for pid in pids],
    }


def run_part(port, count, options, seed):
    words = [tool("mixload"), str(port), str(count), str(options.connections), str(seed)]
    done = subprocess.run(words, stdout=subprocess.PIPE, universal_newlines=True, timeout=3600)
    if not done.stdout:
        raise AssertionError("mixload failed with %d" % done.returncode)
    return json.loads(done.stdout)


def settle(proxy, back):
    """Nobody is connected any more: what is open now is open for good."""
    try:
        wait_for(lambda: client_count(proxy.port) == 0, "clients' connections are closed", 20)
        wait_for(lambda: upstream_count(back.port) == 0, "idle connections to the back end are closed", IDLE_S + 20)
    except AssertionError as e:
        fail(str(e))


def compare(before, after):
    for key, most in GROWTH.items():
        for a, b in zip(before[key], after[key]):
            if b - a > most:
                fail("%s of a process grew from %d to %d" % (key, a, b))


def soak(proxy, back, options):
    """(sums of mixload's results, {what: (after the first part, at the end)})"""
    first, totals = None, {"kinds": {}, "faults": {}}
    for part in range(PARTS + 1):
        count = max(1, options.requests // PARTS)
        said = run_part(proxy.port, count, options, options.seed + part)
        settle(proxy, back)
        pids = proxy.worker_pids()
        now = look_at(pids)
        print(
            "part %2d: %d requests, %.0f/s, %d failed; %s"
            % (
                part,
                said["requests"],
                said["per_second"],
                said["failed"],
                ", ".join("%s %s" % item for item in now.items()),
            ),
            flush=True,
        )
        if said["failed"]:
            fail("part %d, seed %d: %s" % (part, options.seed + part, said["faults"]))
        for key in ("requests", "seconds", "bytes_down", "bytes_up", "failed"):
            totals[key] = totals.get(key, 0) + said[key]
        for key in ("kinds", "faults"):
            for name, n in said[key].items():
                totals[key][name] = totals[key].get(name, 0) + n
        if first is None:
            first, first_pids = now, pids
    if pids != first_pids:
        fail("processes changed from %s to %s" % (first_pids, pids))
    compare(first, now)
    return totals, first, now


def check_back_end(back):
    stats = back.stats()
    print("back end: %s" % stats)
    for key in ("wrong", "malformed"):
        if stats[key]:
            fail("the back end saw %d %s requests" % (stats[key], key))
    return stats


def figures_of(totals, first, last, stats, options):
    what = "requests of mixed kinds through %s, %d connections" % (options.proxy, options.connections)
    yield Figure(10, what, None, [totals["requests"]], "", form="%.0f")
    speed = totals["requests"] / totals["seconds"]
    yield Figure("", "requests/s, load and back end on the same CPUs", None, [speed], "", form="%.0f")
    gigabytes = (totals["bytes_down"] + totals["bytes_up"]) / 1e9
    yield Figure("", "bodies compared", None, [gigabytes], "GB", form="%.1f")
    wrong = totals["faults"]["wrong bytes"] + totals["faults"]["answer to another request"] + stats["wrong"]
    yield Figure("", "bodies with a wrong byte, either way", ("=", 0), [wrong], form="%.0f")
    others = totals["failed"] - totals["faults"]["wrong bytes"] - totals["faults"]["answer to another request"]
    yield Figure("", "requests that failed or hung", ("=", 0), [others], form="%.0f")
    for key, most in GROWTH.items():
        values = [b - a for a, b in zip(first[key], last[key])]
        name = "growth of each process: %s" % key.replace("_", ", ")
        yield Figure("", name, ("<=", most), values, form="%.0f").worst_counts()


def parse_options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=1000000)
    parser.add_argument("--connections", type=int, default=300)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--proxy", default="sluice", choices=sorted(PROXIES))
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--tools", default="build/release/tests/bench")
    parser.add_argument("--write", metavar="FILE")
    return parser.parse_args()


def main():
    options = parse_options()
    set_tools(options.tools)
    with skipping():
        need_proxies([options.proxy])
        tool("backend"), tool("mixload")
    print("%s; %s; seed %d" % (machine(), ", ".join(versions([options.proxy])), options.seed), flush=True)
    with Backend() as back:
        with PROXIES[options.proxy](back.port, options.workers, idle_s=IDLE_S) as proxy:
            totals, first, last = soak(proxy, back, options)
            stats = check_back_end(back)
    print("kinds: %s" % totals["kinds"])
    print_head()
    figures = list(figures_of(totals, first, last, stats, options))
    for figure in figures:
        print_figure(figure)
    if options.proxy == "sluice":
        how = 'make soak-proxy ARGS="--requests %d"' % options.requests
        document = Document("bench-proxy", options.tools)
        document.add(10, figures, how, versions([options.proxy]))
        document.save()
        if options.write:
            document.write(options.write)
    print("soak: %d failures" % len(FAILURES))
    sys.exit(1 if FAILURES else 0)


if __name__ == "__main__":
    main()
