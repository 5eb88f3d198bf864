# SPDX-License-Identifier: MIT
"""Subscribers of one channel (make bench-channel): 10,000 WebSockets on all workers, one message reaches all of them.

Printed: user memory of an idle subscriber (private memory of all workers, smaps_rollup; not the kernel's for its socket), and
for each of several messages the time from the POST until the last subscriber has it, as one process sees it that reads
them all, on the same CPUs; the CPU time of the workers for one message.  Exit status 1 above 1,536 bytes, or above 200 ms for the median.
"""
import argparse
import os
import select
import statistics
import sys
import time

from common import TICKS_PER_S, memory_kb, skipping
from harness import Client, Server, Skip, cpu_ticks, raise_descriptor_limit, request
from websocket import WebSocket, frame

MEMORY_BOUND = 1536
TIME_BOUND_MS = 200


def memory(pids):
    return sum(memory_kb(pid, "Private_Dirty") for pid in pids) * 1024


def subscribe(server, count):
    address = server.address()
    return [WebSocket(address, "/news", source="127.0.0.%d" % (2 + i // 20000)) for i in range(count)]


def wait_count(server, count):
    deadline = time.monotonic() + 60
    while sum(w["websocket"]["connections"] for w in server.workers()) != count:
        if time.monotonic() > deadline:
            raise AssertionError("not %d subscribers" % count)
        time.sleep(0.05)


def deliver(publisher, poll, sockets, body):
    """(ms until the first, until the last one has all of it)"""
    wanted = len(frame(1, body, mask=None))
    missing = dict.fromkeys(sockets, wanted)
    first = None
    began = time.perf_counter()
    publisher.send(request("/news", "POST", body=body))
    while missing:
        events = poll.poll(10)
        if not events:
            raise AssertionError("%d of %d got nothing for 10 s" % (len(missing), len(sockets)))
        for fd, _ in events:
            missing[fd] -= len(os.read(fd, 65536))
            if missing[fd] == 0:
                del missing[fd]
                first = first or time.perf_counter()
    ended = time.perf_counter()
    assert publisher.read_response().status == 202
    return (first - began) * 1000, (ended - began) * 1000


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--subscribers", type=int, default=10000)
    parser.add_argument("--workers", type=int, default=max(2, len(os.sched_getaffinity(0))))
    parser.add_argument("--messages", type=int, default=9)
    parser.add_argument("--size", type=int, default=100)
    parser.add_argument("--log", action="store_true", help="with an access log, for which a connection keeps its request")
    options = parser.parse_args()
    with skipping():
        if raise_descriptor_limit(options.subscribers + 200) < options.subscribers + 200:
            raise Skip("needs %d descriptors" % (options.subscribers + 200))
    routes = {"/news": {"websocket": "channel:news", "ping": "off"}}
    log = {"access": "@DIR@/access.log"} if options.log else None
    with Server(routes=routes, workers=options.workers, log=log) as s:
        pids = [w["pid"] for w in s.workers()]
        for w in subscribe(s, 200):  # every code path touched once
            w.close()
        wait_count(s, 0)
        empty = memory(pids)
        clients = subscribe(s, options.subscribers)
        wait_count(s, options.subscribers)
        each = (memory(pids) - empty) / options.subscribers
        shares = [w["websocket"]["connections"] for w in s.workers()]
        print(
            "%d subscribers on %d workers (%s): %.0f bytes of private memory each"
            % (options.subscribers, options.workers, " + ".join(map(str, shares)), each),
            flush=True,
        )
        poll = select.epoll()
        for w in clients:
            w.sock.setblocking(False)
            poll.register(w.sock.fileno(), select.EPOLLIN)
        sockets = [w.sock.fileno() for w in clients]
        ticks = sum(cpu_ticks(pid) for pid in pids)
        with Client(s) as publisher:
            times = [
                deliver(publisher, poll, sockets, b"%04d" % i + b"x" * (options.size - 4))
                for i in range(options.messages)
            ]
        for first, last in times:
            print("first after %.1f ms, all after %.1f ms" % (first, last))
        spent_ms = (sum(cpu_ticks(pid) for pid in pids) - ticks) * 1000 / TICKS_PER_S / options.messages
        after = (memory(pids) - empty) / options.subscribers
        told = [w["websocket"] for w in s.workers()]
        assert sum(t["messages_out"] for t in told) == options.messages * options.subscribers
        assert not sum(t["slow"] + t["lost"] for t in told)
        median = statistics.median(last for _, last in times)
        print(
            "%d bytes: all after %.1f ms (median of %d); %.0f ms of CPU time in all workers for one; "
            "%.0f bytes of memory each afterwards; load of the machine %.1f"
            % (options.size, median, options.messages, spent_ms, after, os.getloadavg()[0])
        )
        for w in clients:
            w.close()
        wait_count(s, 0)
    is_good = max(each, after) <= MEMORY_BOUND and median <= TIME_BOUND_MS
    print("%s: bounds are %d bytes and %d ms" % ("ok" if is_good else "TOO MUCH", MEMORY_BOUND, TIME_BOUND_MS))
    sys.exit(0 if is_good else 1)


if __name__ == "__main__":
    main()
