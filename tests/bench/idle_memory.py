# SPDX-License-Identifier: MIT
"""User memory of idle keep-alive connections (make bench-idle): 10,000 held, each after one request.

Printed: difference of RSS and of private memory (smaps_rollup) of all workers, for each connection, cold (first time)
and again after all were closed and opened anew.  The sockets' kernel memory is not in it.
Exit status 1 above 512 bytes.
"""
import argparse
import os
import sys

from common import memory_kb, skipping
from harness import Client, Server, Skip, raise_descriptor_limit, request

BOUND = 512


def memory(pids):
    return {
        key: sum(memory_kb(pid, key) for pid in pids) * 1024
        for key in ("Rss", "Private_Dirty", "Shared_Dirty")
    }


def hold(server, count, per_source=20000):
    address = server.address()
    clients = []
    for i in range(count):
        c = Client(address, source="127.0.0.%d" % (2 + i // per_source))
        c.send(request("/128"))
        r = c.read_response()
        assert r.status == 200 and len(r.body) == 128
        clients.append(c)
    return clients


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--connections", type=int, default=10000)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    with skipping():
        if raise_descriptor_limit(options.connections + 200) < options.connections + 200:
            raise Skip("needs %d descriptors" % (options.connections + 200))
    with Server(workers=options.workers, timeouts={"keepalive": "600s"}) as s:
        s.write("128", b"x" * 128)
        pids = [w["pid"] for w in s.workers()]
        for c in hold(s, 200):  # every code path touched once
            c.close()
        s.wait_live(0)
        empty = memory(pids)
        worst = 0
        for turn in ("first", "again"):
            clients = hold(s, options.connections)
            s.wait_live(options.connections, 30)
            full = memory(pids)
            each = {k: (full[k] - empty[k]) / options.connections for k in full}
            private = each["Private_Dirty"] + max(0, each["Shared_Dirty"])
            worst = max(worst, private)
            print(
                "%s: %d idle connections on %d workers: %.0f bytes of private memory each, RSS %.0f bytes each "
                "(workers' RSS %.1f -> %.1f MiB)"
                % (
                    turn,
                    options.connections,
                    options.workers,
                    private,
                    each["Rss"],
                    empty["Rss"] / 2**20,
                    full["Rss"] / 2**20,
                ),
                flush=True,
            )
            for c in clients:
                c.close()
            s.wait_live(0, 30)
    print("%s: %.0f bytes, bound %d" % ("ok" if worst <= BOUND else "TOO MUCH", worst, BOUND))
    sys.exit(worst > BOUND)


if __name__ == "__main__":
    main()
