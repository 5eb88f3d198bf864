# SPDX-License-Identifier: MIT
"""sluice against nginx, side by side in one run (make bench-nginx).

Both run at the same time on the same CPUs with the same number of pinned workers; the load goes to one and then to the
other, in turn, and the order changes with every round.  Printed: median (min-max) of requests/s and of server CPU time
(utime + stime of all its processes) for each request, and the median of the paired ratios.  nginx is set up for speed:
reuseport, sendfile, open_file_cache, no access log, no limit of requests per connection.

    vs_nginx.py [--rounds N] [--seconds N] [--workers N] [--append docs/benchmarks.md]
"""
import argparse
import os
import sys

from common import (
    append_table,
    cpu_seconds,
    fresh_host,
    machine,
    median,
    need_tool,
    on_cpus,
    output_of,
    skipping,
    split_cpus,
    spread,
    wrk,
)
from harness import Server
from web_peers import Nginx, make_www

CASES = [
    ("128 B", "/128", "keep-alive", ()),
    ("10 KiB", "/10k", "keep-alive", ()),
    ("128 B", "/128", "close", ("Connection: close",)),
    ("10 KiB", "/10k", "close", ("Connection: close",)),
]


def measure(peer, target, options, cpus, fields):
    port, session = peer
    url = "http://%s:%d%s" % (fresh_host(), port, target)
    before = cpu_seconds(session)
    result = wrk(url, options.seconds, 64, cpus, fields)
    spent = cpu_seconds(session) - before
    return {
        "rps": result.per_second,
        "cpu_us": spent * 1e6 / max(1, result.requests),
        "errors": result.errors,
    }


def run(options):
    server_cpus, load_cpus = split_cpus(options.workers)
    sluice = Server(
        listens=["0.0.0.0:0"],
        workers=options.workers,
        wrap=on_cpus(server_cpus),
        timeouts={"keepalive": "600s"},
    )
    make_www(sluice.www)
    rows = []
    with sluice, Nginx(sluice.www, options.workers, server_cpus) as nginx:
        steering = sluice.status()["steering"]
        print(
            "%s; %d worker(s) on CPU %s, load on CPU %s; steering %s; %s; %d rounds of %d s"
            % (
                machine(),
                options.workers,
                server_cpus,
                load_cpus,
                steering["policy"] if steering["active"] else "INACTIVE",
                output_of("nginx", "-v"),
                options.rounds,
                options.seconds,
            ),
            flush=True,
        )
        peers = {
            "sluice": (sluice.address()[1], sluice.proc.pid),
            "nginx": (nginx.port, nginx.proc.pid),
        }
        for port, _ in peers.values():
            for target in ("/128", "/10k"):  # caches filled, clocks up
                wrk("http://127.0.0.1:%d%s" % (port, target), 1, 64, load_cpus)
        for size, target, mode, fields in CASES:
            got = {name: [] for name in peers}
            for turn in range(options.rounds):
                order = list(peers) if turn % 2 == 0 else list(peers)[::-1]
                for name in order:
                    got[name].append(measure(peers[name], target, options, load_cpus, fields))
            rows.append(report(size, mode, got))
    return rows


def report(size, mode, got):
    def column(name, key):
        return [m[key] for m in got[name]]

    def ratios(key):
        return [
            a / b if b else float("nan")
            for a, b in zip(column("sluice", key), column("nginx", key))
        ]

    row = {
        "case": "%s, %s" % (size, mode),
        "errors": sum(column("sluice", "errors") + column("nginx", "errors")),
    }
    for name in got:
        row[name + " req/s"] = spread(column(name, "rps"))
        row[name + " us/req"] = spread(column(name, "cpu_us"), "%.2f")
    row["rate ratio"] = spread(ratios("rps"), "%.3f")
    row["cpu ratio"] = spread(ratios("cpu_us"), "%.3f")
    row["is_ahead"] = median(ratios("rps")) > 1 and median(ratios("cpu_us")) < 1
    print(
        "%-18s sluice %s req/s, %s us/req"
        % (row["case"], row["sluice req/s"], row["sluice us/req"])
    )
    print("%-18s nginx  %s req/s, %s us/req" % ("", row["nginx req/s"], row["nginx us/req"]))
    print(
        "%-18s rate x %s, CPU x %s%s%s"
        % (
            "",
            row["rate ratio"],
            row["cpu ratio"],
            "" if row["is_ahead"] else "   <- NOT AHEAD",
            "   ERRORS: %d" % row["errors"] if row["errors"] else "",
        ),
        flush=True,
    )
    return row


def append(path, rows, options):
    keys = [
        "case",
        "sluice req/s",
        "nginx req/s",
        "rate ratio",
        "sluice us/req",
        "nginx us/req",
        "cpu ratio",
    ]
    note = (
        "%s; %s; %d worker(s) each; %d alternating rounds of %d s; `wrk -t1 -c64`; median (min-max); ratio = "
        "sluice / nginx, paired."
        % (machine(), output_of("nginx", "-v"), options.workers, options.rounds, options.seconds)
    )
    append_table(path, "Against nginx", note, keys, rows)


def main():
    cpus = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--workers", type=int, default=max(1, cpus // 2))
    parser.add_argument("--append", metavar="FILE")
    options = parser.parse_args()
    with skipping():
        need_tool("nginx"), need_tool("wrk")
        rows = run(options)
    if options.append:
        append(options.append, rows, options)
    sys.exit(1 if any(row["errors"] for row in rows) else 0)


if __name__ == "__main__":
    main()
