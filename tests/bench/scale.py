# SPDX-License-Identifier: MIT
"""How the cost of a request, and of none, grows with what a server has (make bench-scale; docs/scale.md).

Instructions of user space for a request, under callgrind, while one thing grows: routes, sites, fields, bytes of the
head, servers behind the proxy, idle connections.  Times of the server for files that grow.  CPU and memory of workers
that have nothing to do, as their number grows.  Everything but times and memory is the same on a busy machine.

    scale.py [--rows routes,files] [--seconds N]
"""
import argparse
import concurrent.futures
import contextlib
import os
import socket
import sys
import tempfile
import time

from callgrind import ask, difference, profile_of, settled, total, under_callgrind
from common import cpu_split, machine, median, need_tool, on_cpus, own_network, skipping, split_cpus, wrk
from guard import CURL
from harness import Server, memory_kb, raise_descriptor_limit, request
from proxy_peers import Backend, set_tools

FEW, MANY = 50, 400
HELLO = {"respond": "hello"}
HOST = "www.example.org"


class Point:
    """One size of what grows: a configuration, and what is asked of it."""

    def __init__(self, target="/hello", fields=CURL, host=HOST, idle=0, servers=0, **server):
        self.data = request(target, fields=fields, host=host)
        self.idle, self.servers, self.server = idle, servers, dict({"routes": {"/hello": HELLO}}, **server)

    def profile(self, count):
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
            backs = [stack.enter_context(Backend()) for _ in range(self.servers)]
            lines = ['server "127.0.0.1:%d" { }' % back.port for back in backs]
            extra = 'sandbox = "off"\n' + ('upstream "back" { %s }\n' % "\n".join(lines) if lines else "")
            server = Server(
                workers=1,
                wrap=under_callgrind(folder),
                steering={"enabled": False},
                timeouts={"keepalive": "600s", "header": "600s"},
                extra=extra,
                **self.server,
            )
            with server:
                pid, address = server.workers()[0]["pid"], server.address()
                for _ in range(self.idle):
                    stack.enter_context(socket.create_connection(address))
                    settled(pid)  # accepted one by one, in every run
                ask(address, pid, self.data, count)
            return profile_of(folder, pid)

    def instructions(self):
        few = max(FEW, 2 * self.servers)  # each has a connection by then
        return total(difference(self.profile(few + MANY), self.profile(few), MANY))


def routes(count):
    """The last one that is looked at: the shortest prefix."""
    table = {"/route-%04d/" % i: HELLO for i in range(count - 1)}
    return Point("/", routes=dict(table, **{"/": HELLO}))


def sites(count):
    return Point(host="site-%04d.example.org" % (count - 1),
                 sites={"site-%04d.example.org" % i: {"/hello": HELLO} for i in range(count)})


def wildcards(count):
    return Point(host="a.w-%04d.example.org" % (count - 1),
                 sites={"*.w-%04d.example.org" % i: {"/hello": HELLO} for i in range(count)})


def fields(count):
    return Point(fields=[("X-Field-%02d" % i, "a value of 22 bytes, so") for i in range(count)])


def head_bytes(count):
    return Point(fields=[("Cookie", "c" * count)])


def servers(count):
    return Point("/small", routes={"/small": {"proxy": "back"}}, servers=count)


def idle(count):
    return Point(idle=count)


SWEEPS = {
    "routes": ("routes of a site, the last one matches", routes, (1, 10, 100, 1000)),
    "sites": ("sites with a name each", sites, (1, 10, 100, 1000)),
    "wildcards": ("sites with a wildcard each, the last one matches", wildcards, (1, 10, 100, 1000)),
    "fields": ("fields of 36 bytes", fields, (1, 8, 32, 90)),
    "head": ("bytes of one field", head_bytes, (100, 1000, 4000, 8000)),
    "servers": ("servers behind the proxy, policy least", servers, (1, 10, 100)),
    "idle": ("idle connections", idle, (0, 1000, 10000)),
}


def sweep(name):
    what, make, sizes = SWEEPS[name]
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        costs = list(pool.map(lambda size: make(size).instructions(), sizes))
    print("| %s | %s |" % (what, " | ".join("%d" % size for size in sizes)))
    print("|---|%s" % ("---|" * len(sizes)))
    print("| user instructions for a request | %s |\n" % " | ".join("%.0f" % cost for cost in costs), flush=True)


# --- times ---


def files(options):
    """CPU of the server for a file, and for a GB of such files."""
    own, load = split_cpus(1)
    sizes = (0, 1 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 16 << 20)
    rows = []
    with Server(workers=1, wrap=on_cpus(own), timeouts={"keepalive": "600s"}) as server:
        for size in sizes:
            server.write("f%d" % size, b"x" * size)
            url = "http://127.0.0.1:%d/f%d" % (server.address()[1], size)
            costs = []
            wrk(url, 1, 8, load)
            for _ in range(options.rounds):
                before = sum(cpu_split(server.proc.pid))
                result = wrk(url, options.seconds, 8, load)
                costs.append((sum(cpu_split(server.proc.pid)) - before) / result.requests)
            rows.append((size, median(costs), min(costs), max(costs)))
    print("| bytes of the file | %s |" % " | ".join("%d" % size for size, *_ in rows))
    print("|---|%s" % ("---|" * len(rows)))
    print("| CPU, us | %s |" % " | ".join("%.1f (%.1f to %.1f)" % tuple(1e6 * c for c in cost) for _, *cost in rows))
    per_gb = ["%.3f" % (cost[0] * 1e9 / size) if size else "-" for size, *cost in rows]
    print("| CPU for a GB, s | %s |\n" % " | ".join(per_gb), flush=True)


def workers(options):
    """Workers that have nothing to do."""
    rows = []
    for count in (1, 8, 32, 128):
        with Server(workers=count) as server:
            pids = [w["pid"] for w in server.workers()]
            before, began = sum(cpu_split(server.proc.pid)), time.monotonic()
            time.sleep(options.seconds * 3)
            spent = (sum(cpu_split(server.proc.pid)) - before) / (time.monotonic() - began)
            private = median([memory_kb(pid) for pid in pids])
            pss = sum(memory_kb(pid, "Pss") for pid in pids + [server.proc.pid])
            asked = []
            for _ in range(20):
                at = time.monotonic()
                server.status()
                asked.append((time.monotonic() - at) * 1e3)
            rows.append((count, "%.2f" % (100 * spent), "%d" % private, "%d" % pss, "%.1f" % median(asked)))
    columns = list(zip(*rows))
    print("| workers without load | %s |" % " | ".join(map(str, columns[0])))
    print("|---|%s" % ("---|" * len(rows)))
    for what, cells in zip(("CPU of all, % of one", "private memory of one, kB", "memory (PSS) of all, kB", "status, ms"), columns[1:]):
        print("| %s | %s |" % (what, " | ".join(cells)))
    print(flush=True)


def kernel_memory():
    """What the kernel keeps for a connection of the server that waits, by the sizes of its objects."""
    names = ("TCP", "sock_inode_cache", "filp", "dentry", "eventpoll_epi")
    sizes = {}
    with open("/proc/slabinfo") as f:
        for line in f:
            words = line.split()
            if words[0] in names:
                sizes[words[0]] = int(words[3])
    known = ", ".join("%s %d" % (n, sizes[n]) for n in names if n in sizes)
    print("kernel memory of an idle connection (this end): %d bytes (%s)\n" % (sum(sizes.values()), known))


TIMES = {"files": files, "workers": workers}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tools", default="build/release/tests/bench")
    parser.add_argument("--rows", default="", help="some of: " + ",".join([*SWEEPS, *TIMES]))
    parser.add_argument("--seconds", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    rows = options.rows.replace(",", " ").split() or [*SWEEPS, *TIMES]
    unknown = [name for name in rows if name not in (*SWEEPS, *TIMES)]
    if unknown:
        parser.error("no such row: %s" % " ".join(unknown))
    set_tools(options.tools)
    with skipping():
        need_tool("valgrind"), need_tool("wrk")
    raise_descriptor_limit(12000)
    own_network()
    print(machine() + "\n")
    for name in rows:
        if name in SWEEPS:
            sweep(name)
        else:
            TIMES[name](options)
    if os.access("/proc/slabinfo", os.R_OK):
        kernel_memory()
    sys.exit(0)


if __name__ == "__main__":
    main()
