# SPDX-License-Identifier: MIT
"""sluice against webdis, in front of the same redis-server, side by side in one run (make bench-redis).

Both run at the same time on the same CPU, sluice with one worker, webdis with one thread; the load goes to one and then to
the other, in turn, and the order changes with every round.  Printed: median (min-max) of requests/s and of CPU time (user
and system, of the HTTP server alone, not of Redis) for each request, and the median of the paired ratios.  Neither has an
access log; webdis logs errors only.

    vs_webdis.py [--rounds N] [--seconds N] [--connections N] [--write FILE]
"""
import argparse
import json
import os
import sys
import urllib.request

from common import cpu_seconds, machine, median, need_tool, on_cpus, own_network, skipping, split_cpus, spread, wrk
from harness import Server
from redis_peer import Redis, route, section
from steer_peers import Peer

GOAL = 2.0  # requests of sluice in the CPU time of one of webdis
CASES = [
    ("GET of 8 bytes", "/GET/small"),
    ("GET of 1 KiB", "/GET/large"),
    ("GET of 8 bytes, raw", "/GET/small.raw"),
    ("SET", "/SET/k/value"),
    ("MGET of 10", "/MGET" + "/small" * 10),
]


class Webdis(Peer):
    program = "webdis"

    def __init__(self, redis, cpus):
        super().__init__(1)
        self.redis, self.cpus = redis, cpus

    def text(self):
        return json.dumps({"redis_host": "127.0.0.1", "redis_port": self.redis.port, "http_host": "127.0.0.1",
                           "http_port": self.port, "threads": 1, "pool_size": 2, "daemonize": False, "websockets": False,
                           "database": 0, "verbosity": 0, "logfile": os.path.join(self.dir, "log")})  # fmt: skip

    def command(self):
        return on_cpus(self.cpus) + [need_tool("webdis"), self.config]

    def answers(self):
        assert self.proc.poll() is None, "webdis left"
        # It sends no Date, so the strict client of the tests would refuse its answers.
        try:
            with urllib.request.urlopen("http://127.0.0.1:%d/PING" % self.port, timeout=1) as r:
                return r.status == 200
        except OSError:
            return False


def measure(port, session, target, options, cpus):
    before = cpu_seconds(session)
    r = wrk("http://127.0.0.1:%d%s" % (port, target), options.seconds, options.connections, cpus)
    return {"rps": r.per_second, "cpu_us": (cpu_seconds(session) - before) * 1e6 / max(1, r.requests), "errors": r.errors}


def report(name, got):
    def column(who, key):
        return [m[key] for m in got[who]]

    ratios = [w / s for s, w in zip(column("sluice", "cpu_us"), column("webdis", "cpu_us"))]
    rates = [s / w for s, w in zip(column("sluice", "rps"), column("webdis", "rps"))]
    cells = [name] + [spread(column(who, "cpu_us"), "%.2f") for who in got] + [spread(column(who, "rps")) for who in got]
    errors = sum(column("sluice", "errors") + column("webdis", "errors"))
    row = "| " + " | ".join(cells + [spread(ratios, "%.2f"), spread(rates, "%.2f")]) + " |"
    print(row + ("  ERRORS: %d" % errors if errors else ""), flush=True)
    return row, median(ratios), errors


def run(options):
    server_cpus, load_cpus = split_cpus(1)
    rows, worst, errors = [], float("inf"), 0
    with Redis() as redis:
        sluice = Server(workers=1, wrap=on_cpus(server_cpus), routes={"/": route("GET", "SET", "MGET", "PING")},
                        extra=section(redis))  # fmt: skip
        os.sched_setaffinity(redis.proc.pid, load_cpus)
        redis.command("SET", "small", "12345678")
        redis.command("SET", "large", "x" * 1024)
        with sluice, Webdis(redis, server_cpus) as webdis:
            peers = {"sluice": (sluice.address()[1], sluice.proc.pid), "webdis": (webdis.port, webdis.proc.pid)}
            head = "%s; server on CPU %s, load and redis-server on CPU %s; %d connections; %d rounds of %d s" % (
                machine(), server_cpus, load_cpus, options.connections, options.rounds, options.seconds)  # fmt: skip
            print(head + "\n", flush=True)
            rows += ["| | sluice, us/req | webdis, us/req | sluice, req/s | webdis, req/s | per CPU second | rate |",
                     "|---|---|---|---|---|---|---|"]  # fmt: skip
            print("\n".join(rows), flush=True)
            for name, target in CASES:
                got = {who: [] for who in peers}
                for turn in range(options.rounds):
                    for who in list(peers) if turn % 2 == 0 else list(peers)[::-1]:
                        got[who].append(measure(*peers[who], target, options, load_cpus))
                row, ratio, failed = report(name, got)
                rows, worst, errors = rows + [row], min(worst, ratio), errors + failed
    if options.write:
        with open(options.write, "w") as f:
            f.write(head + "\n\n" + "\n".join(rows) + "\n")
    print("\nrequests per CPU second, as a multiple of webdis: at least %.2f (goal %.1f)" % (worst, GOAL))
    return 0 if worst >= GOAL and not errors else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--write", help="the table to this file")
    options = parser.parse_args()
    with skipping():
        for program in ("webdis", "wrk", "redis-server"):
            need_tool(program)
    own_network()
    return run(options)


if __name__ == "__main__":
    sys.exit(main())
