# SPDX-License-Identifier: MIT
"""Faults of the machine: memory, descriptors, sockets, disks and clocks that fail while files are served and requests go
through the proxy.

faults.c, preloaded, makes every Nth call of a kind fail.  Whatever fails: each answer is right to the last byte, or an
error that says so, or visibly cut; no worker dies; and when the fault is over all is as before, down to the descriptors.

    test_faults.py [NAME...]
"""
import calendar
import collections
import contextlib
import ctypes
import hashlib
import json
import mmap
import os
import socket
import subprocess
import sys
import tempfile
import time

from backend import Backend, pattern, pattern_hash
from harness import (IS_SANITIZED, SLUICE, Client, ProtocolError, Server, Skip, cpu_ticks, get, main, memory_kb, need_bpffs,
                     need_root, need_tool, request, wait_for)
from proxy import log, proxy

SHORT = 100000  # for an error: the call succeeds and moves fewer bytes
EPERM, EINTR, EIO, EAGAIN, ENOMEM, ENFILE, EMFILE, ENOSPC = 1, 4, 5, 11, 12, 23, 24, 28
ECONNABORTED, ENOBUFS, EADDRNOTAVAIL = 103, 105, 99
KINDS = ("malloc mmap accept recv send sendfile splice epoll_ctl epoll_wait socket connect pipe open pread fstat write "
         "recvmsg fork bpf").split()


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
        self.preloaded, self.path = os.path.join(folder, "faults.so"), os.path.join(folder, "faults")
        subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", self.preloaded, source, "-ldl"], check=True)
        with open(self.path, "wb") as f:
            f.truncate(ctypes.sizeof(Table))
        with open(self.path, "r+b") as f:
            self.memory = mmap.mmap(f.fileno(), ctypes.sizeof(Table))
        self.table = Table.from_buffer(self.memory)

    def environment(self):
        """A sanitizer's library must come first; calls that it watches go on to ours, but memory is its own."""
        libraries = [self.preloaded]
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
        more.setdefault("files_cache", {"entries": FILES_CACHED, "valid": "1ms"})
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


FILES_CACHED = 8  # of each worker, the least there is: files are opened and read all the time
SIZES = {"small": 3000, "large": 700000}
MANY, FEW = 40, 6

def test_a_fault_may_end_within_a_call():
    """Of the library itself: it once read `every` twice, and a server under test died of a division by zero."""
    calls = "import os\nfor _ in range(100000):\n  try: [os.close(fd) for fd in os.pipe()]\n  except OSError: pass"
    with tempfile.TemporaryDirectory(prefix="sluice-e2e-") as folder:
        faults = Faults(folder)
        env = dict(os.environ, LD_PRELOAD=faults.preloaded, FAULTS_FILE=faults.path)
        failed = 0
        with subprocess.Popen([sys.executable, "-c", calls], env=env) as caller:
            while caller.poll() is None:
                faults.set("pipe", EMFILE)
                failed += faults.clear().get("pipe", 0)
        assert caller.returncode == 0 and failed, (caller.returncode, failed)


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
    """{slot: how many of which its worker has open}."""
    found = {}
    for w in server.workers():
        kinds = found.setdefault(w["slot"], collections.Counter())
        for fd in os.listdir("/proc/%d/fd" % w["pid"]):
            with contextlib.suppress(FileNotFoundError):
                name = os.readlink("/proc/%d/fd/%s" % (w["pid"], fd)).split(":[")[0]
                kinds["file" if name.startswith(server.www + "/") else name] += 1
    return found


def allowed_descriptors(before):
    """What a worker keeps beyond those: it has served more, or there was no memory for the contents of a file."""
    return before + collections.Counter({"file": FILES_CACHED - before["file"], "socket": 2, "pipe": 2})


class Level:
    """What a server has in use; settled() proves that it has no more than before."""

    def __init__(self, server, address):
        self.server, self.address = server, address
        # Caches fill, pools grow: that is part of the level.
        for _ in range(4):
            self.run_right(2)
        self.settle()
        self.fds = descriptors(server)
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
        now = {}

        def is_as_before():
            now.update(descriptors(self.server))
            return not any(now[slot] - allowed_descriptors(self.fds[slot]) for slot in now)

        wait_for(is_as_before, lambda: "descriptors go: %s, before %s" % (now, self.fds))

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
                total = 0
                for every in each:
                    lines = log_lines(s)
                    faults.set(kind, err, every)
                    verdicts = run_works(address)
                    failed = faults.clear().get(kind, 0)
                    text = "%s, error %d, every %d" % (kind, err, every)
                    bad = {v: n for v, n in verdicts.items() if n and v != RIGHT and v not in allowed}
                    assert not bad, "%s: %s" % (text, verdicts)
                    total += failed
                    print("  %-34s %4d failed, %s" % (text, failed, {v: n for v, n in verdicts.items() if n}), flush=True)
                    assert log_lines(s) - lines < 10, "a flood in the log:\n" + s.stderr()[-3000:]
                    level.settled()
                assert total, "%s, error %d: has not failed once" % (kind, err)
        level.check_memory()
        assert_idle(s)



# --- accepting ---


def test_accept_fails():
    with faulty(workers=1) as (s, faults, backend):
        address = s.address()
        for err, is_shortage in ((EMFILE, True), (ENFILE, True), (ENOBUFS, True), (ENOMEM, True), (EINTR, False),
                                 (ECONNABORTED, False)):
            before = s.total("accept_errors")
            faults.set("accept", err, left=3)
            verdicts = [WORKS[0].run(address) for _ in range(5)]
            assert faults.clear()["accept"] == 3, os.strerror(err)
            # One that was aborted is gone; all others wait until there is room.
            gone = verdicts.count(NOTHING)
            assert 1 <= gone <= 3 if err == ECONNABORTED else gone == 0, (os.strerror(err), verdicts)
            # Where nobody could be sent away to make room, one that waits is told that there is none.
            assert verdicts.count(ERROR) <= (3 if is_shortage else 0), (os.strerror(err), verdicts)
            # Not counted is the one in between that was to tell a client that there is no room.
            counted = s.total("accept_errors") - before
            assert 1 <= counted <= 3 if is_shortage else counted == 0, (os.strerror(err), counted)
        warned = [line for line in s.stderr().splitlines() if "could not be accepted" in line]
        assert len(warned) == 1 and "Too many open files" in warned[0], s.stderr()
        s.wait_live(0)
        assert_idle(s)


def test_no_memory_for_many_connections():
    """Pools cannot grow: who is in is served, who is not is closed and counted."""
    with faulty(workers=1, timeouts={"header": "60s", "keepalive": "60s"}) as (s, faults, backend):
        address = s.address()
        count = 600
        run_works(address)
        faults.set("mmap", ENOMEM)
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(Client(address)) for _ in range(count)]
            served = 0
            for c in clients:
                c.send(request("/f/small"))
            for c in clients:
                r = c.read_response()
                if r is not None and r.status == 200:
                    assert hashlib.sha256(r.body).hexdigest() == pattern_hash(SIZES["small"])
                    served += 1
            assert faults.clear()["mmap"] and 0 < served < count, served
            worker = s.workers()[0]
            assert worker["closed"]["memory"] == count - served, (worker["closed"], served)
            assert "were closed for want of memory" in s.stderr()
            assert log_lines(s) < 12, s.stderr()
            s.wait_live(served)
        s.wait_live(0)
        assert run_works(address)[RIGHT] == len(WORKS) + FEW


# --- the log ---


def assert_log(server, requests):
    """Every line whole; as many as were not lost."""
    lost = server.total("log_lost")
    wait_for(lambda: len(log(server)) + server.total("log_lost") >= requests, "the log is complete")
    lines = log(server)
    assert len(lines) + server.total("log_lost") == requests, (len(lines), lost, requests)
    return server.total("log_lost")


def test_log_write_fails():
    # Of one worker: where a write was cut short, another may append before its rest comes.
    with faulty(workers=1) as (s, faults, backend):
        address, requests = s.address(), 0
        for err, every in ((EINTR, 2), (SHORT, 1), (SHORT, 2), (ENOSPC, 2), (EIO, 1)):
            before = s.total("log_lost")
            faults.set("write", err, every)
            for _ in range(10):
                assert WORKS[0].run(address) == RIGHT
                time.sleep(0.002)
            requests += 10
            wait_for(lambda: len(log(s)) + s.total("log_lost") == requests, "all is written or given up")
            assert faults.clear()["write"]
            lost = assert_log(s, requests) - before
            assert (lost > 0) == (err in (ENOSPC, EIO)), "%d lost, error %d" % (lost, err)
        told = [line for line in s.stderr().splitlines() if "of the access log" in line]
        assert 1 <= len(told) <= 4 and "No space left" in told[0], s.stderr()
        assert log_lines(s) < 8, s.stderr()


def test_full_log_disk():
    """A file system of 64 kB: what does not fit is counted, what is written is whole, and room brings the log back."""
    need_root()
    mount, umount = need_tool("mount"), need_tool("umount")
    s = Server(log={"access": "@DIR@/disk/access.log", "format": "json", "flush": "5ms"})
    disk = os.path.join(s.dir, "disk")
    os.mkdir(disk)
    subprocess.run([mount, "-t", "tmpfs", "-o", "size=64k", "none", disk], check=True)
    try:
        with s, Client(s) as c:
            filler = os.path.join(disk, "filler")
            with open(filler, "wb") as f:
                f.write(bytes(40960))
            for _ in range(300):
                assert c.request("/hello").body == b"hello"
            # One line may have been written in part: its rest waits.
            wait_for(lambda: len(disk_log(disk)) + s.total("log_lost") >= 299, "all is written or given up")
            assert s.total("log_lost") > 100, s.total("log_lost")
            told = [line for line in s.stderr().splitlines() if "of the access log" in line]
            assert 1 <= len(told) <= 4 and "No space left" in told[0], s.stderr()
            os.unlink(filler)
            for _ in range(10):
                assert c.request("/hello").body == b"hello"
            wait_for(lambda: len(disk_log(disk)) + s.total("log_lost") == 310, "the log goes on")
            s.assert_no_worker_died()
    finally:
        subprocess.run([umount, "-l", disk], check=True)
        s.abandon()


def disk_log(disk):
    with open(os.path.join(disk, "access.log"), "rb") as f:
        return [json.loads(line) for line in f.read().split(b"\n")[:-1]]


# --- the clock ---


def date_of(client):
    return calendar.timegm(time.strptime(client.request("/f/small").get("date"), "%a, %d %b %Y %H:%M:%S GMT"))


def test_clock_jumps():
    """The time of day is for dates; what waits does so by a clock that nobody sets."""
    with faulty(timeouts={"header": "1s", "keepalive": "30s"}) as (s, faults, backend):
        address = s.address()
        with Client(address) as kept:
            assert kept.request("/f/small").status == 200
            for days in (1, -1, 3650, -3650, 0, -20000, 36500, 0):
                faults.table.clock_offset_ns = days * 86400 * 10**9
                # Seen with the next second.
                wait_for(lambda: abs(date_of(kept) - time.time() - days * 86400) < 5, "%d days in its Date" % days)
                r = kept.request("/f/small")
                assert hashlib.sha256(r.body).hexdigest() == pattern_hash(SIZES["small"])
                assert run_works(address)[RIGHT] == len(WORKS) + FEW
                # With what the server itself has said of the file it finds it unchanged.
                again = kept.request("/f/small", fields=[("If-None-Match", r.get("etag"))])
                assert again.status == 304, (days, again)
        # A head that does not come: neither at once nor never.
        with Client(address) as slow:
            began = time.monotonic()
            slow.send("GET / HTTP/1.1\r\n")
            time.sleep(0.3)
            faults.table.clock_offset_ns = 86400 * 10**9
            assert slow.read_response().status == 408
            assert 0.9 < time.monotonic() - began < 4, time.monotonic() - began
        faults.table.clock_offset_ns = 0
        s.assert_no_worker_died()
        assert_idle(s)


# --- the master ---


def test_fork_fails():
    """A worker that cannot be started is tried again, with pauses; the other one serves."""
    with faulty() as (s, faults, backend):
        address, victim = s.address(), s.workers()[1]["pid"]
        faults.set("fork", EAGAIN, left=3, is_masters=True)
        os.kill(victim, 9)
        wait_for(lambda: s.workers()[1]["pid"] not in (0, victim), "it is back")
        assert faults.clear()["fork"] == 3
        assert s.stderr().count("did not start: Resource temporarily unavailable") == 3, s.stderr()
        assert run_works(address)[RIGHT] == len(WORKS) + FEW
        # A reload that cannot start anybody changes nothing.
        faults.set("fork", EAGAIN, is_masters=True)
        done = s.cli("reload")
        assert done.returncode != 0 and "Resource temporarily unavailable" in done.stderr, (done.stdout, done.stderr)
        faults.clear()
        assert s.status()["generation"] == 1 and run_works(address)[RIGHT] == len(WORKS) + FEW
        assert s.cli("reload").returncode == 0
        assert s.status()["generation"] > 1 and run_works(address)[RIGHT] == len(WORKS) + FEW


def test_master_without_memory():
    """What is asked of it fails; it does not."""
    if IS_SANITIZED:
        raise Skip("a sanitizer brings an allocator of its own")
    with faulty() as (s, faults, backend):
        address, outcomes = s.address(), {True: 0, False: 0, None: 0}
        for question in ({"command": "status"}, {"command": "steer"}, {"command": "upstream", "action": "show"},
                         {"command": "nonsense"}, {"command": "reload"}):
            for every in (1, 2, 3, 5, 7, 11, 23, 51, 101, 211):
                faults.set("malloc", ENOMEM, every, is_masters=True)
                try:
                    ok = s.ask(question).get("ok")
                except (ValueError, OSError):
                    ok = None  # closed without an answer: not even that could be made
                faults.clear()
                outcomes[ok] += 1
                assert s.proc.poll() is None, "the master is gone:\n" + s.stderr()
                assert get(address, "/f/small").status == 200
        print("  %s" % outcomes, flush=True)
        assert outcomes[True] and outcomes[False]
        assert s.cli("reload").returncode == 0
        assert run_works(address)[RIGHT] == len(WORKS) + FEW


# --- steering ---


def test_nth_bpf_call_is_refused():
    """Whichever it is: it steers, or it says why not, and serves; nothing is left behind."""
    need_bpffs()
    outcomes = {True: 0, False: 0}
    # Of about 64: probes of libbpf, maps, the program, pins, the socket array.
    for nth in (1, 22, 35) if IS_SANITIZED else (1, 19, 22, 31, 35, 49):
        s = Server()
        faults = Faults(s.dir)
        s.env.update(faults.environment())
        # The master is not known yet; nobody else makes such calls.
        faults.set("bpf", EPERM, nth, left=1)
        with s:
            faults.clear()
            active = s.status()["steering"]["active"]
            outcomes[active] += 1
            warned = [line for line in s.stderr().splitlines() if " warn: " in line]
            assert len(warned) <= 1 and (active or "STEERING IS OFF" in warned[0]), s.stderr()
            assert get(s.address(), "/hello").body == b"hello"
    print("  steering %s" % outcomes, flush=True)
    assert outcomes[True] and outcomes[False]


def pin_another(bpftool, path):
    """A map of another shape in the place of ours."""
    words = "type hash key 8 value 8 entries 4 name other".split()
    subprocess.run([bpftool, "map", "create", path] + words, check=True)


def test_pins_of_another():
    """What lies at the place of a pin: the map of somebody else, a folder, or no BPF file system at all."""
    need_bpffs()
    bpftool = need_tool("bpftool")
    for what in ("map", "folder", "elsewhere", "file"):
        s = Server()
        place = os.path.join(s.pin, "steer_slots")
        if what == "map":
            os.mkdir(s.pin)
            pin_another(bpftool, place)
        elif what == "folder":
            os.makedirs(place)
        else:
            pin = os.path.join(s.dir, "pin")
            s.text = s.text.replace(s.pin, pin)
            if what == "file":
                with open(pin, "w"):
                    pass
        try:
            with s:
                assert s.status()["steering"]["active"] is True, s.stderr()
                assert get(s.address(), "/hello").body == b"hello"
                is_pinned = os.path.exists(place) and "steer_config" in os.listdir(s.pin)
                assert is_pinned == (what == "map") and is_pinned == ("maps are not pinned" not in s.stderr()), (
                    what, s.stderr())
                if what == "folder":
                    os.rmdir(place)
                    os.rmdir(s.pin)
        finally:
            s.abandon()


# --- what the kernel does to a read ---


def test_urgent_data():
    """A read ends in front of an urgent byte (tcp(7)) with more behind it, and there is no other event for that."""
    with Server(timeouts={"header": "5s"}) as s, Client(s) as c:
        for _ in range(5):
            began = time.monotonic()
            c.sock.send(b"GET /hello HTTP/1.1\r\nHo")
            c.sock.send(b"!", socket.MSG_OOB)  # taken out of the stream by the kernel
            c.sock.send(b"st: t\r\n\r\n")
            r = c.read_response()
            assert r.status == 200 and r.body == b"hello", r
            assert time.monotonic() - began < 4, "waited for the timeout"


if __name__ == "__main__":
    main(sys.modules[__name__])
