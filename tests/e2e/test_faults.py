# SPDX-License-Identifier: MIT
"""Faults of the machine: memory, descriptors, sockets, disks and clocks that fail while files are served and requests go
through the proxy.

faults.c, preloaded, makes every Nth call of a kind fail.  Whatever fails: each answer is right to the last byte, or an
error that says so, or visibly cut; no worker dies; and when the fault is over all is as before, down to the descriptors.

    test_faults.py [NAME...]
"""
import contextlib
import ctypes
import hashlib
import mmap
import os
import random
import resource
import shutil
import socket
import subprocess
import sys
import time

from backend import Backend, pattern, pattern_hash, script_describe
from harness import (BPFFS, SLUICE, Client, ProtocolError, Server, Skip, cpu_ticks, get, main, memory_kb, need_bpffs,
                     need_root, need_tool, proc_stat, request, wait_for)
from proxy import log, proxy

IS_SANITIZED = "san-" in SLUICE
SHORT = 100000  # for an error: the call succeeds and moves fewer bytes
EINTR, EIO, EAGAIN, ENOMEM, ENFILE, EMFILE, ENOSPC = 4, 5, 11, 12, 23, 24, 28
ECONNABORTED, ENOBUFS, EADDRNOTAVAIL = 103, 105, 99
KINDS = ("malloc mmap accept recv send sendfile splice epoll_ctl epoll_wait socket connect pipe open pread fstat write "
         "recvmsg fork").split()


class Row(ctypes.Structure):
    _fields_ = [("every", ctypes.c_uint32), ("err", ctypes.c_int32), ("left", ctypes.c_uint64),
                ("calls", ctypes.c_uint64), ("failed", ctypes.c_uint64), ("is_masters", ctypes.c_uint32),
                ("unused", ctypes.c_uint32)]


class Table(ctypes.Structure):
    _fields_ = [("skip_pid", ctypes.c_uint32), ("unused", ctypes.c_uint32), ("clock_offset_ns", ctypes.c_int64),
                ("rows", Row * len(KINDS))]


class Faults:
    """The table that the preloaded library reads, and how a server is made to load it."""

    def __init__(self, folder):
        compiler = need_tool("cc")
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "faults.c")
        self.library, self.path = os.path.join(folder, "faults.so"), os.path.join(folder, "faults")
        subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", self.library, source, "-ldl"], check=True)
        with open(self.path, "wb") as f:
            f.truncate(ctypes.sizeof(Table))
        with open(self.path, "r+b") as f:
            self.memory = mmap.mmap(f.fileno(), ctypes.sizeof(Table))
        self.table = Table.from_buffer(self.memory)

    def environment(self):
        """A sanitizer's library must come first; calls that it watches go on to ours, but memory is its own."""
        libraries = [self.library]
        if IS_SANITIZED:
            shown = subprocess.run(["ldd", SLUICE], stdout=subprocess.PIPE, universal_newlines=True, check=True).stdout
            libraries = [line.split()[2] for line in shown.splitlines() if "libasan" in line] + libraries
        return {"LD_PRELOAD": ":".join(libraries), "FAULTS_FILE": self.path}

    def set(self, kind, err, every=1, left=1 << 40, is_masters=False):
        row = self.table.rows[KINDS.index(kind)]
        row.every, row.err, row.left, row.is_masters, row.calls, row.failed = 0, err, left, is_masters, 0, 0
        row.every = every

    def clear(self):
        """How often each kind has failed since it was set; no more from now on."""
        for row in self.table.rows:
            row.every = 0
        return {kind: row.failed for kind, row in zip(KINDS, self.table.rows) if row.failed}


@contextlib.contextmanager
def faulty(backends=None, **more):
    """A server with faults to be set, its back end, and "/f/" for files."""
    with Backend() as backend:
        more.setdefault("timeouts", {"header": "3s", "body": "3s", "keepalive": "20s"})
        # So small that files are opened and read all the time.
        more.setdefault("files_cache", {"entries": 4, "valid": "1ms"})
        server = proxy(backends or [backend], {"connect_timeout": "1s"}, {"/f/": {"files": "@WWW@"}},
                       upstream_keys={"fails": 0, "keepalive_requests": 2}, **more)
        faults = Faults(server.dir)
        server.env.update(faults.environment())
        for name, size in SIZES.items():
            server.write(name, b"".join(pattern(size)))
        for i in range(MANY):
            server.write("many/%d" % i, b"%d" % i)
        with server:
            faults.table.skip_pid = server.proc.pid
            yield server, faults, backend


SIZES = {"small": 3000, "large": 700000}
MANY, FEW = 40, 6

# --- one request and its verdict ---

RIGHT, ERROR, CUT, NOTHING = "right", "error", "cut", "nothing"


class Work:
    """A request and the SHA-256 of the only right answer to it."""

    def __init__(self, target, digest, method="GET", body=b""):
        self.target, self.digest, self.method, self.body = target, digest, method, body

    def run(self, address):
        with Client(address, timeout=10) as c:
            try:
                c.send(request(self.target, self.method, body=self.body))
                r = c.read_response()
            except ProtocolError as e:
                # A reset, or an end before the announced length: the client knows.
                assert c.is_eof, e
                return CUT
        if r is None:
            return NOTHING
        if r.status >= 400:
            assert r.status in (500, 502, 503, 504), "%s got %r" % (self.target, r)
            return ERROR
        assert r.status == 200, r
        assert hashlib.sha256(r.body).hexdigest() == self.digest, "wrong bytes for %s" % self.target
        return RIGHT


def text_hash(text):
    return hashlib.sha256(text.encode()).hexdigest()


UPLOAD = b"".join(pattern(150000))
WORKS = [
    Work("/f/small", pattern_hash(SIZES["small"])),
    Work("/f/large", pattern_hash(SIZES["large"])),
    Work("/down?size=2000", pattern_hash(2000)),
    Work("/down?size=600000", pattern_hash(600000)),
    Work("/down?size=300000&framing=chunked", pattern_hash(300000)),
    Work("/hash", text_hash(pattern_hash(150000)), "POST", UPLOAD),
]


def works(rounds):
    """Each of them, and files out of many, so that no cache has them."""
    for n in range(rounds):
        for work in WORKS:
            yield work
        for i in range(FEW):
            yield Work("/f/many/%d" % works.next, text_hash("%d" % works.next))
            works.next = (works.next + 1) % MANY


works.next = 0


def run_works(address, rounds=1):
    verdicts = {RIGHT: 0, ERROR: 0, CUT: 0, NOTHING: 0}
    for work in works(rounds):
        verdicts[work.run(address)] += 1
    return verdicts


# --- before and after ---


def descriptors(server):
    return {w["slot"]: len(os.listdir("/proc/%d/fd" % w["pid"])) for w in server.workers()}


class Level:
    """What a server has in use; settled() proves that it has no more than before."""

    def __init__(self, server, address):
        self.server, self.address = server, address
        # Caches fill, pools grow: that is part of the level.
        for _ in range(4):
            self.run_right(2)
        self.settle()
        self.fds = {slot: count + 4 for slot, count in descriptors(server).items()}
        self.memory = sum(memory_kb(w["pid"]) for w in server.workers())

    def run_right(self, rounds):
        verdicts = run_works(self.address, rounds)
        assert verdicts[RIGHT] == sum(verdicts.values()), "without a fault: %s" % verdicts

    def settle(self):
        self.server.wait_live(0)
        self.server.assert_no_worker_died()

    def settled(self):
        wait_for(lambda: run_works(self.address)[RIGHT] == len(WORKS) + FEW, "all is well again")
        self.run_right(1)
        self.settle()
        now = descriptors(self.server)
        assert all(now[slot] <= self.fds[slot] for slot in now), "descriptors %s, before %s" % (now, self.fds)

    def check_memory(self):
        grown = sum(memory_kb(w["pid"]) for w in self.server.workers()) - self.memory
        assert IS_SANITIZED or grown < 4096, "%d kB more than before" % grown


def assert_idle(server):
    """Nobody spins."""
    pids = [w["pid"] for w in server.workers()]
    before = sum(cpu_ticks(pid) for pid in pids)
    time.sleep(0.2)
    used = sum(cpu_ticks(pid) for pid in pids) - before
    assert used <= 8, "%d ticks of CPU time in 0.2 s of nothing" % used


def log_lines(server):
    return len(server.stderr().splitlines())


# --- the schedule: every Nth call, N from 1 to 7 ---

# kind, errors, which N, verdicts that are allowed beside the right one
SCHEDULE = [
    ("malloc", (ENOMEM,), (2, 3, 5, 7), (ERROR, CUT, NOTHING)),
    ("recv", (EINTR,), (2, 3, 5), ()),
    ("recv", (ENOBUFS, ENOMEM), (3, 5, 7), (ERROR, CUT, NOTHING)),
    ("send", (EINTR, SHORT), (2, 3, 5), ()),
    ("send", (SHORT,), (1,), ()),
    ("send", (ENOBUFS,), (3, 5, 7), (ERROR, CUT, NOTHING)),
    ("sendfile", (EINTR,), (2, 3), ()),
    ("sendfile", (SHORT,), (1, 2), ()),
    ("sendfile", (EIO, ENOMEM), (1, 2, 3), (CUT, NOTHING)),
    ("splice", (EINTR,), (2, 3), ()),
    ("splice", (SHORT,), (1, 2), ()),
    ("splice", (ENOMEM,), (2, 3, 5), (ERROR, CUT, NOTHING)),
    ("epoll_wait", (EINTR,), (2, 3), ()),
    ("epoll_ctl", (ENOMEM, ENOSPC), (1, 2, 3, 5), (ERROR, CUT, NOTHING)),
    ("socket", (EMFILE, ENOBUFS), (1, 2), (ERROR,)),
    ("connect", (EINTR,), (1, 2), ()),
    ("connect", (EADDRNOTAVAIL,), (1, 2), (ERROR,)),
    ("open", (EMFILE, ENFILE, ENOMEM, EIO), (1, 2, 3), (ERROR,)),
    ("pread", (EINTR,), (2, 3), ()),
    ("pread", (SHORT,), (1, 2), ()),
    ("pread", (EIO,), (1, 2), ()),
    ("fstat", (EIO,), (1, 2), (ERROR,)),
]


def test_every_nth_call_fails():
    with faulty() as (s, faults, backend):
        address = s.address()
        # Pipes are kept once there are some: first of all, then.
        faults.set("pipe", EMFILE)
        assert run_works(address)[RIGHT] == len(WORKS) + FEW and faults.clear()["pipe"]
        level = Level(s, address)
        for kind, errors, each, allowed in SCHEDULE:
            if kind == "malloc" and IS_SANITIZED:
                continue
            for err in errors:
                for every in each:
                    lines = log_lines(s)
                    faults.set(kind, err, every)
                    verdicts = run_works(address)
                    failed = faults.clear().get(kind, 0)
                    text = "%s, error %d, every %d" % (kind, err, every)
                    bad = {v: n for v, n in verdicts.items() if n and v != RIGHT and v not in allowed}
                    assert not bad, "%s: %s" % (text, verdicts)
                    assert failed, text + ": has not failed once"
                    print("  %-34s %4d failed, %s" % (text, failed, {v: n for v, n in verdicts.items() if n}), flush=True)
                    assert log_lines(s) - lines < 10, "a flood in the log:\n" + s.stderr()[-3000:]
                    level.settled()
        level.check_memory()
        assert_idle(s)


if __name__ == "__main__":
    main(sys.modules[__name__])
