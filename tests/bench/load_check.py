# SPDX-License-Identifier: MIT
"""`sluice load` beside wrk and h2load, on the same server in one run (make bench-load).

Closed loop: requests a second that each gets out of the server.  Open loop: the latency that each reports at the same
fixed rate.  h2load counts from when it sends, so it is below the others where a request has to wait for its turn.
"""
import argparse
import json
import re
import subprocess

from common import median, on_cpus, output_of, own_network, skipping, split_cpus, wrk
from figures import Figure, print_figure, print_head
from harness import SLUICE, Server, need_tool

CONNECTIONS = 64
UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


def run(words, cpus):
    done = subprocess.run(
        on_cpus(cpus) + words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, timeout=120
    )
    if done.returncode:
        raise AssertionError("%s:\n%s" % (words, done.stdout))
    return done.stdout


def sluice_load(url, seconds, rate, cpus):
    words = [SLUICE, "load", url, "--json", "processes=1", "connections=%d" % CONNECTIONS, "duration=%ds" % seconds]
    got = json.loads(run(words + (["rate=%d" % rate, "arrivals=even"] if rate else []), cpus))
    if any(got["errors"].values()):
        raise AssertionError("sluice load: %s" % got["errors"])
    return {"rps": got["per_second"], "mean": got["latency_ms"]["mean"], "max": got["latency_ms"]["max"]}


def h2load(url, seconds, rate, cpus):
    words = [need_tool("h2load"), "--h1", "-t1", "-c%d" % CONNECTIONS, "-D%d" % seconds]
    if rate:
        words += ["--rps=%g" % (rate / CONNECTIONS)]
    text = run(words + [url], cpus)
    times = re.search(r"time for request:\s+\S+\s+([\d.]+)(\w+)\s+([\d.]+)(\w+)", text)
    return {
        "rps": float(re.search(r"([\d.]+) req/s", text).group(1)),
        "max": float(times.group(1)) * UNITS[times.group(2)],
        "mean": float(times.group(3)) * UNITS[times.group(4)],
    }


def wrk_load(url, seconds, rate, cpus):
    result = wrk(url, seconds, CONNECTIONS, cpus)
    if result.errors:
        raise AssertionError("wrk:\n" + result.text)
    return {"rps": result.per_second}


def in_turn(tools, rounds, *args):
    got = {name: [] for name in tools}
    for turn in range(rounds):
        for name in list(tools) if turn % 2 == 0 else list(tools)[::-1]:
            got[name].append(tools[name](*args))
    return got


def figure(row, what, got, key, unit, form="%.3f"):
    peers = {n: [m[key] for m in turns] for n, turns in got.items() if n != "sluice load"}
    return Figure(row, what, None, [m[key] for m in got["sluice load"]], unit, peers, form)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    options = parser.parse_args()
    with skipping():
        need_tool("wrk"), need_tool("h2load")
    own_network()
    own, others = split_cpus(1)
    print("%s; %s" % (output_of("wrk", "-v").split("\n")[0], output_of("h2load", "--version")))
    with Server(workers=1, wrap=on_cpus(own)) as server:
        url = "http://127.0.0.1:%d/hello" % server.address()[1]
        closed = {"sluice load": sluice_load, "wrk": wrk_load, "h2load": h2load}
        print_head()
        got = in_turn(closed, options.rounds, url, options.seconds, 0, others)
        print_figure(figure(1, "closed loop, %d connections" % CONNECTIONS, got, "rps", "req/s", "%.0f"))
        rate = int(min(median([m["rps"] for m in turns]) for turns in got.values()) / 4)
        got = in_turn({n: closed[n] for n in ("sluice load", "h2load")}, options.rounds, url, options.seconds, rate, others)
        print_figure(figure(2, "open loop, %d requests/s: made" % rate, got, "rps", "req/s", "%.0f"))
        print_figure(figure("", "mean latency", got, "mean", "ms"))
        print_figure(figure("", "greatest latency", got, "max", "ms"))


if __name__ == "__main__":
    main()
