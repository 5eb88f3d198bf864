# SPDX-License-Identifier: MIT
"""What a store costs (make bench-store): reads, durable changes alone and together, commits for each change.

Every row: median (least-most) of n runs.  CPU is that of all processes of the server, for each request.  A change is
answered when the disk has: two waits for it in each commit, one for the pages and one for the page that makes them valid,
the first of them counted by strace where that is to be had.  The folder lies below $TMPDIR (/tmp): it should be a disk.

With --redis the store is at a redis-server that writes its append-only file before it answers; its CPU is shown apart.
"""
import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

from common import TICKS_PER_S, cpu_seconds, cpu_ticks, machine, need_tool, skipping, spread, wrk  # first: it says where the others lie
from harness import Client, wait_for

import test_store
import test_store_redis

PUT_SCRIPT = """
local count = 0
local body = string.rep("x", %d)
request = function()
    count = count + 1
    return wrk.format("PUT", "/w/" .. (count %% 1000), nil, body)
end
"""


def run(s, url, seconds, connections, script=None, redis=None):
    def cpus():
        return cpu_seconds(s.proc.pid), cpu_ticks(redis.proc.pid) / TICKS_PER_S if redis else 0

    before, cpu = test_store.stats(s), cpus()
    r = wrk(url, seconds, connections, script=script)
    after, cpu = test_store.stats(s), [b - a for a, b in zip(cpu, cpus())]
    if r.errors:
        raise AssertionError("%d errors:\n%s" % (r.errors, r.text))
    delta = {k: after.get(k, 0) - before.get(k, 0) for k in ("changes", "commits", "commit_us")}
    delta["redis_us"] = cpu[1] * 1e6 / max(r.requests, 1)
    return r, cpu[0] * 1e6 / max(r.requests, 1), delta


def row(name, runs, has_redis):
    rates, costs = [r.per_second for r, _, _ in runs], [c for _, c, _ in runs]
    text = "| %s | %s | %s |" % (name, spread(rates), spread(costs, "%.1f"))
    changes = sum(d["changes"] for _, _, d in runs)
    commits = sum(d["commits"] for _, _, d in runs)
    if has_redis:
        text += " %s |" % spread([d["redis_us"] for _, _, d in runs], "%.1f")
    elif commits:
        text += " %.2f | %.1f |" % (changes / commits, sum(d["commit_us"] for _, _, d in runs) / commits / 1000)
    else:
        text += " - | - |"
    print(text, flush=True)


def is_traced(pid):
    with open("/proc/%d/status" % pid) as f:
        return not re.search(r"^TracerPid:\t0$", f.read(), re.M)


def count_syncs(s, url, script):
    """Calls of fdatasync and of writes to the synchronous descriptor, for each commit, while the load runs."""
    if not shutil.which("strace"):
        return None
    pid = test_store.stats(s)["pid"]
    with tempfile.NamedTemporaryFile("w+") as out:
        tracer = subprocess.Popen(["strace", "-f", "-c", "-o", out.name, "-p", str(pid)], stderr=subprocess.DEVNULL)
        wait_for(lambda: is_traced(pid), "strace is attached")
        _, _, delta = run(s, url, 2, 64, script)
        tracer.send_signal(signal.SIGINT)
        tracer.wait()
        # % time, seconds, usecs/call, calls, errors (if there were any), name
        rows = [line.split() for line in out.read().splitlines()]
        syncs = sum(int(row[3]) for row in rows if row and row[-1] in ("fdatasync", "fsync"))
    return syncs, delta


COLD = ((1024, 400), (65536, 100), (1 << 20, 20))  # bytes, values


def cold_reads():
    """The first read of values that are not in memory: how long it stops the worker, beside a read that finds them."""
    with test_store.server("size = 256m  value = 2m", workers=1) as s:
        path = s.dir + "/db"
        with Client(s) as c:
            for size, count in COLD:
                for i in range(count):
                    assert test_store.put(c, "/%d-%03d" % (size, i), os.urandom(size)).status == 201
        kept = tempfile.mkdtemp(prefix="sluice-cold-")
        os.chmod(kept, 0o777)
        subprocess.check_call(["cp", "-a", path, kept])
    with test_store.server("size = 256m  value = 2m", path=kept + "/db", workers=1) as s, Client(s) as c:
        # Now: at the start the server itself has read all of it.
        fd = os.open(kept + "/db/data.mdb", os.O_RDONLY)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)
        for size, count in COLD:
            times = []
            for _ in range(2):
                # Names far from each other: read-ahead shall not have brought them.
                began = [(time.perf_counter(), c.request("/%d-%03d" % (size, i)), time.perf_counter())
                         for i in range(0, count, 4)]  # fmt: skip
                times.append([(b - a) * 1e3 for a, _, b in began])
            print("first read of %d bytes that are not in memory: %s ms; in memory: %s ms" % (
                size, spread(times[0], "%.2f"), spread(times[1], "%.2f")), flush=True)  # fmt: skip
    shutil.rmtree(kept)


def measure(options, redis):
    last = "of redis-server |\n|---" if redis else "changes/commit | ms/commit |\n|---|---"
    print("| what | requests/s | CPU us/request | %s|---|---|---|" % last)
    with test_store.server("" if redis else "size = 256m", workers=options.workers) as s:
        url = "http://%s:%d" % s.address()
        with Client(s) as c:
            for size in (100, 1024, 65536):
                assert test_store.put(c, "/r%d" % size, b"x" * size).status == 201
        for size in (100, 1024, 65536):
            row("read %d bytes, 64 connections" % size,
                [run(s, "%s/r%d" % (url, size), options.seconds, 64, None, redis) for _ in range(options.n)], redis)  # fmt: skip
        for size, connections in ((65536, 8), (1024, 1), (1024, 8), (1024, 64)):
            script = os.path.join(s.dir, "put.lua")
            with open(script, "w") as f:
                f.write(PUT_SCRIPT % size)
            row("durable PUT of %d bytes, %d connection%s" % (size, connections, "s" if connections > 1 else ""),
                [run(s, url, options.seconds, connections, script, redis) for _ in range(options.n)], redis)  # fmt: skip
        counted = None if redis else count_syncs(s, url, script)
        if counted and counted[1]["commits"]:
            syncs, delta = counted
            print("under strace, 64 connections: %d fdatasync() in %d commits of %d changes, %.3f for each change" % (
                syncs, delta["commits"], delta["changes"], syncs / delta["changes"]))  # fmt: skip


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--n", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--redis", action="store_true", help="the store is at a redis-server")
    options = parser.parse_args()
    with skipping():
        need_tool("wrk")
    print("%s; n %d, %d s each" % (machine(), options.n, options.seconds))
    with test_store_redis.durable() if options.redis else contextlib.nullcontext() as redis:
        measure(options, redis)
    if not options.redis:
        cold_reads()


if __name__ == "__main__":
    main()
