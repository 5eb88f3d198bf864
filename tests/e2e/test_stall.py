# SPDX-License-Identifier: MIT
"""Workers that do not move: new connections avoid them, siblings serve their queues, and they come back at once.

    test_stall.py --rate N      connections per second of the load (default 2000; the target is stated at 5000)

Three ways of not moving: stopped in epoll_wait (it says that it waits), stopped inside its loop, and spinning inside
its loop (a preloaded library, compiled here, spins in send(2) as long as a file tells it to).

Where a connection landed is seen at the stalled slot's listening socket, of which a duplicate is taken from the
master: what is in its queue plus what siblings took out of it.
"""
import contextlib
import mmap
import os
import signal
import socket
import struct
import subprocess
import sys
import time

from harness import (
    IS_SANITIZED,
    Client,
    Server,
    Skip,
    get,
    main,
    need_bpffs,
    need_tool,
    proc_stat,
    request,
    wait_for,
)
from load import LIBC, Load, SlotMap
from test_reload import settled

RATE = int(sys.argv[sys.argv.index("--rate") + 1]) if "--rate" in sys.argv else 2000
STALL_S = 0.4
STALL_LIMIT_S = 0.020
RESCUE_LIMIT_S = 0.050
RETURN_LIMIT_S = 0.020
ATTEMPTS = 5  # the limits are shorter than what a busy machine may take from any process
QUIET_S = 0.030  # with more noise than this a good result says little: another attempt
SYS_PIDFD_GETFD = 438
TCP_INFO_UNACKED = 24  # offset of tcpi_unacked: of a listening socket, the connections in its queue

SPIN_C = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static volatile int *flag;

__attribute__((constructor)) static void start(void)
{
	int fd = open(getenv("SPIN_FILE"), O_RDWR);

	flag = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
}

ssize_t send(int fd, const void *data, size_t len, int flags)
{
	static ssize_t (*next)(int, const void *, size_t, int);
	int self = getpid();

	if (!next)
		next = (ssize_t (*)(int, const void *, size_t, int))dlsym(RTLD_NEXT, "send");
	while (flag[0] == self)
		flag[1] = self;
	return next(fd, data, len, flags);
}
"""


# --- looking inside ---


class Queues:
    """Duplicates of the master's listening sockets, one for each slot, in order."""

    def __init__(self, server, workers):
        pidfd = os.pidfd_open(server.proc.pid)
        port = server.address()[1]
        self.socks = []
        try:
            for fd in sorted(int(n) for n in os.listdir("/proc/%d/fd" % server.proc.pid)):
                copy = LIBC.syscall(SYS_PIDFD_GETFD, pidfd, fd, 0)
                if copy < 0:
                    continue
                with contextlib.suppress(OSError):
                    s = socket.socket(fileno=copy)
                    if s.family == socket.AF_INET and s.getsockname()[1] == port:
                        self.socks.append(s)
                        continue
                    s.detach()
                os.close(copy)
        finally:
            os.close(pidfd)
        assert len(self.socks) == workers, "%d listening sockets" % len(self.socks)

    def length(self, slot):
        info = self.socks[slot].getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        return struct.unpack_from("I", info, TCP_INFO_UNACKED)[0]

    def close(self):
        for s in self.socks:
            s.close()


def landed(slots, queues, slot):
    """Connections that the stalled slot was given so far: taken out by siblings or still in its queue."""
    while True:
        before = slots[slot]["rescued"]
        count = queues.length(slot)
        if slots[slot]["rescued"] == before:
            return before + count


class NotCaught(AssertionError):
    """The worker was never stopped where it was to be."""


def stop_when(slots, slot, pid, is_waiting):
    """SIGSTOP, again until it catches the worker asleep (or in its loop); while there is load, that is."""
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline:
        os.kill(pid, signal.SIGSTOP)
        while proc_stat(pid)[0] != "T":
            pass  # it takes microseconds, a sleep here would take the worker's measure
        if bool(slots[slot]["is_waiting"]) == is_waiting:
            return
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.0003)
    raise NotCaught("the worker was never caught %s" % ("asleep" if is_waiting else "awake"))


class Stopped:
    def __init__(self, is_waiting):
        self.is_waiting = is_waiting

    def begin(self, slots, slot, pid):
        self.pid = pid
        stop_when(slots, slot, pid, self.is_waiting)

    def end(self):
        os.kill(self.pid, signal.SIGCONT)


class Spinning:
    """The trigger file's first word is the pid that is to spin, its second the one that does."""

    def __init__(self, server_dir):
        self.path = os.path.join(server_dir, "spin")
        with open(self.path, "wb") as f:
            f.write(bytes(4096))
        self.file = open(self.path, "r+b")
        self.flag = mmap.mmap(self.file.fileno(), 4096)

    def begin(self, slots, slot, pid):
        self.flag[:8] = struct.pack("ii", pid, 0)
        wait_for(lambda: struct.unpack("ii", self.flag[:8])[1] == pid, "the worker spins", 5)

    def end(self):
        self.flag[:8] = bytes(8)


def observe(server, stall):
    """One stall of slot 1 under load; what was seen as a dictionary."""
    workers = server.workers()
    slot, pid = 1, workers[1]["pid"]
    queues, slots = Queues(server, len(workers)), SlotMap(server, len(workers))
    load = Load(server.address(), RATE, STALL_S + 1.1)
    try:
        time.sleep(0.2)  # load of its own accord
        stalls = workers[slot]["stalls"]
        stall.begin(slots, slot, pid)
        began = time.monotonic()
        base = slots[slot]["rescued"]
        while time.monotonic() < began + STALL_LIMIT_S:
            time.sleep(0.001)
        early = landed(slots, queues, slot) - base
        states = set()
        while time.monotonic() < began + STALL_S:
            states.add(server.workers()[slot]["state"])
            time.sleep(0.01)
        total = landed(slots, queues, slot) - base
        left = queues.length(slot)
        accepted = slots[slot]["accepted"]
        moved = time.monotonic()
        stall.end()
        wait_for(lambda: slots[slot]["accepted"] > accepted, "the worker accepts again", 5)
        back = time.monotonic() - moved
    finally:
        stall.end()
        rows = load.result()
        queues.close()
    during = [r for r in rows if began <= r[0] < began + STALL_S]
    late = [r for r in during if r[0] >= began + STALL_LIMIT_S]
    return {
        "errors": [r for r in rows if r[1] is None],
        "arrived_late": len(late),
        "landed_early": early,
        "landed_late": total - early,
        "left": left,
        # What the machine took from the clients, it may have taken from a worker as well.
        "noise": max(r[3] for r in during),
        "slowest": max(r[1] for r in during if r[1] is not None),
        "back": back,
        "stalls": server.workers()[slot]["stalls"] - stalls,
        "states": states,
    }


def judge(name, seen):
    """None when all limits hold, else which does not."""
    share = 100.0 * seen["landed_late"] / max(seen["arrived_late"], 1)
    print(
        "  %s: %d/s; %d of %d late arrivals went to it (%.3f %%), %d before; slowest %.1f ms; back in %.1f ms; noise %.1f ms"
        % (
            name,
            RATE,
            seen["landed_late"],
            seen["arrived_late"],
            share,
            seen["landed_early"],
            seen["slowest"] * 1e3,
            seen["back"] * 1e3,
            seen["noise"] * 1e3,
        ),
        flush=True,
    )
    if seen["landed_late"] > max(1, seen["arrived_late"] // 1000):
        return "share of late arrivals"
    if seen["slowest"] > RESCUE_LIMIT_S + 2 * seen["noise"]:
        return "queued connections wait too long"
    if seen["back"] > RETURN_LIMIT_S + 2 * seen["noise"]:
        return "late return"
    if seen["stalls"] < 1 or "stalled" not in seen["states"]:
        return "not reported as stalled"
    return None


def prove(name, stall, server):
    """One attempt of a few must keep every limit; each of them must lose nothing."""
    quiet, noisy = [], []  # faults
    for _ in range(2 * ATTEMPTS):
        if len(quiet) + len(noisy) == ATTEMPTS:
            break
        try:
            seen = observe(server, stall)
        except NotCaught:
            continue
        assert not seen["errors"], seen["errors"][:3]
        assert seen["left"] == 0, "%d connections wait in the stalled queue" % seen["left"]
        server.wait_live(0, 30)
        fault = judge(name, seen)
        is_quiet = seen["noise"] < QUIET_S
        (quiet if is_quiet else noisy).append(fault)
        if is_quiet and not fault:
            return
    assert not quiet or None in noisy, "%s: %s" % (name, quiet)
    if not quiet + noisy:
        raise Skip("the worker was never caught there")
    if None not in noisy:
        raise Skip("this machine is too busy to measure anything; nothing was lost")


def stalling(**more):
    need_bpffs()
    # The limits are about sluice, not about what else runs here.
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    return Server(workers=4, steering=dict({"required": True}, **more.pop("keys", {})), **more)


# --- tests ---


def test_stopped_in_its_sleep():
    with stalling() as s:
        prove("stopped asleep", Stopped(True), s)


def test_stopped_in_its_loop():
    with stalling() as s:
        prove("stopped awake", Stopped(False), s)


def test_spinning_in_its_loop():
    compiler = need_tool("cc")
    if IS_SANITIZED:
        raise Skip("a sanitizer's library must be the first to load")
    s = stalling()
    try:
        stall = Spinning(s.dir)
        source, library = os.path.join(s.dir, "spin.c"), os.path.join(s.dir, "spin.so")
        with open(source, "w") as f:
            f.write(SPIN_C)
        subprocess.run(
            [compiler, "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True
        )
        s.env.update(LD_PRELOAD=library, SPIN_FILE=stall.path)
    except BaseException:
        s.abandon()
        raise
    with s:
        prove("spinning", stall, s)


def test_policy_hash_avoids_it_too():
    """No score holds a stopped worker back here: what keeps connections away is the mark alone."""
    with stalling(keys={"policy": "hash"}) as s:
        slots, address = SlotMap(s, 4), s.address()
        w = s.workers()[1]
        stop_when(slots, 1, w["pid"], True)
        try:
            # Until one lands there and is noticed; all are answered, that one by a sibling.
            wait_for(
                lambda: get(address, "/hello").status == 200
                and s.workers()[1]["state"] == "stalled",
                "the stopped worker is noticed",
            )
            # The program's clock is a coarse one: to it the stamp gets old a tick or two later than to the master.
            wait_for(
                lambda: time.monotonic_ns() - slots[1]["stamp_ns"] > 60 * 10**6, "an old stamp"
            )
            before = slots[1]["rescued"]
            assert before >= 1
            for _ in range(100):
                assert get(address, "/hello").status == 200
            assert slots[1]["rescued"] == before, "connections still went to the stalled worker"
        finally:
            os.kill(w["pid"], signal.SIGCONT)
        wait_for(lambda: s.workers()[1]["state"] == "running", "the worker is back")
        accepted = slots[1]["accepted"]
        wait_for(
            lambda: get(address, "/hello").status == 200 and slots[1]["accepted"] > accepted,
            "a connection for the worker that is back",
        )
        assert s.workers()[1]["stalls"] >= 1


def test_all_stalled():
    """Plain hash, never a drop: who comes is served when anybody moves again."""
    with stalling() as s:
        address = s.address()
        workers = s.workers()
        for w in workers:
            os.kill(w["pid"], signal.SIGSTOP)
        try:
            first = [Client(address) for _ in range(40)]
            wait_for(
                lambda: all(w["state"] == "stalled" for w in s.workers()), "all are found stalled"
            )
            hashed = s.status()["steering"]["verdicts"]["all_stalled"]
            second = [Client(address) for _ in range(40)]
            assert s.status()["steering"]["verdicts"]["all_stalled"] == hashed + 40
            for c in first + second:
                c.send(request("/hello"))
            # One moves: it serves its own queue and, as the only healthy one, those of all others.
            os.kill(workers[2]["pid"], signal.SIGCONT)
            for c in first + second:
                assert c.read_response().body == b"hello"
            assert s.workers()[2]["live"] == 80
        finally:
            for w in workers:
                os.kill(w["pid"], signal.SIGCONT)
        for c in first + second:
            c.close()
        s.wait_live(0)


def test_stall_kill():
    with stalling(keys={"stall_kill": "1500ms"}) as s:
        w = s.workers()[3]
        os.kill(w["pid"], signal.SIGSTOP)
        clients = [Client(s.address()) for _ in range(8)]  # who waits for it is the proof
        began = time.monotonic()
        wait_for(lambda: s.workers()[3]["pid"] not in (0, w["pid"]), "a successor", 15)
        took = time.monotonic() - began
        assert 1.4 <= took <= 5, "killed after %.1f s" % took
        now = wait_for(
            lambda: s.workers()[3]["state"] == "running" and s.workers()[3], "the successor serves"
        )
        assert (now["stalls"], now["stall_kills"], now["restarts"]) == (1, 1, 1), now
        for c in clients:
            assert c.request("/hello").body == b"hello"
            c.close()
        assert s.total("stall_kills") == 1
        assert "has not moved" in s.stderr()


def wakeups(pid):
    with open("/proc/%d/status" % pid) as f:
        return next(int(line.split()[1]) for line in f if line.startswith("voluntary_ctxt"))


def test_idle_means_asleep():
    """Without connections no worker wakes at all, and the master but for its tick of a second."""
    with stalling() as s:
        for _ in range(20):
            assert get(s.address(), "/hello").status == 200
        s.wait_live(0)
        pids = [w["pid"] for w in s.workers()]
        settled(lambda: [wakeups(p) for p in pids], 1.2)  # timers of those connections
        before = [wakeups(p) for p in [s.proc.pid] + pids]
        time.sleep(2)
        slept = [wakeups(p) - b for p, b in zip([s.proc.pid] + pids, before)]
        print("  wake-ups in 2 s: master %d, workers %s" % (slept[0], slept[1:]), flush=True)
        assert slept[1:] == [0] * len(pids)
        assert slept[0] <= 6


if __name__ == "__main__":
    main(__name__, flags=("--rate", str(RATE)))
