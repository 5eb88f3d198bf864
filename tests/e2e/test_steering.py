# SPDX-License-Identifier: MIT
"""Steering as an operator sees it: even counts, and the map, the status and the kernel's sockets agree.

    test_steering.py --full     10,000 connections kept instead of 2,000
"""
import json
import os
import random
import re
import signal
import subprocess
import sys

from harness import (
    Client,
    Server,
    main,
    need_bpffs,
    need_ipv6,
    need_tool,
    raise_descriptor_limit,
    request,
    wait_for,
)

FULL = "--full" in sys.argv
PER_PROCESS = 2500


class Crowd:
    """Connections opened one after another and kept, in as many processes as descriptors ask for."""

    def __init__(self, addresses, count):
        self.children = []
        for start in range(0, count, PER_PROCESS):
            self.open_some(
                addresses, min(PER_PROCESS, count - start), "127.0.0.%d" % (2 + len(self.children))
            )

    def open_some(self, addresses, count, source):
        ready_r, ready_w = os.pipe()
        stop_r, stop_w = os.pipe()
        pid = os.fork()
        if pid == 0:
            for fd in [stop_w, ready_r] + [earlier for _, earlier in self.children]:
                os.close(fd)  # or the end of a sibling's pipe would stay open here
            code = 1
            try:
                raise_descriptor_limit(count + 100)
                kept = []
                for i in range(count):
                    address = addresses[i % len(addresses)]
                    kept.append(Client(address, source=None if ":" in address[0] else source))
                os.write(ready_w, b"1")
                os.read(stop_r, 1)  # until the parent closes its end
                code = 0
            finally:
                os._exit(code)
        os.close(ready_w)
        os.close(stop_r)
        self.children.append((pid, stop_w))
        is_ready = os.read(ready_r, 1) == b"1"
        os.close(ready_r)
        if not is_ready:
            self.close()
            raise AssertionError("not all connections could be opened")

    def close(self):
        # All ends first: each child holds copies of those of the children before it.
        for _, stop_w in self.children:
            os.close(stop_w)
        for pid, _ in self.children:
            os.waitpid(pid, 0)
        self.children = []

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.close()


def steered(**more):
    """Without stall avoidance: on a busy machine workers do stand still for 20 ms, and then an even spread is wrong."""
    need_bpffs()
    keys = dict({"required": True, "stall": "off"}, **more.pop("steering", {}))
    return Server(steering=keys, **more)


def spread(server):
    live = [w["live"] for w in server.workers()]
    return max(live) - min(live), live


def map_live(server):
    """{slot: live} out of `bpftool map dump pinned`, which prints names only where the map has its types."""
    path = os.path.join(server.pin, "steer_slots")
    done = subprocess.run(
        [need_tool("bpftool"), "-j", "map", "dump", "pinned", path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    assert done.returncode == 0, done.stderr
    table = {}
    for entry in json.loads(done.stdout):
        entry = entry.get("formatted", entry)
        table[entry["key"]] = entry["value"]["live"]
    return table


def socket_counts(ports):
    """{pid: established connections} out of ss."""
    counts = {}
    for port in ports:
        done = subprocess.run(
            [need_tool("ss"), "-tnpH", "state", "established", "sport = :%d" % port],
            stdout=subprocess.PIPE,
            universal_newlines=True,
            check=True,
        )
        for line in done.stdout.splitlines():
            for pid in set(re.findall(r"pid=(\d+)", line)):
                counts[int(pid)] = counts.get(int(pid), 0) + 1
    return counts


def assert_all_agree(server, count, ports):
    workers = server.workers()
    by_map, by_ss = map_live(server), socket_counts(ports)
    for w in workers:
        seen = (w["live"], by_map[w["slot"]], by_ss.get(w["pid"], 0))
        assert len(set(seen)) == 1, "slot %d: status %d, map %d, ss %d" % ((w["slot"],) + seen)
    assert sum(w["live"] for w in workers) == count


def even(server, count, limit=2):
    """Opens that many on all addresses, checks, closes, checks again."""
    addresses = [server.address(i) for i in range(len(server.status()["listen"]))]
    for i, (host, port) in enumerate(addresses):
        addresses[i] = ({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port)
    if len(addresses) == 1 and server.status()["listen"][0]["address"].startswith("[::]:"):
        addresses.append(("127.0.0.1", addresses[0][1]))  # dual-stack
    ports = {a[1] for a in addresses}
    with Crowd(addresses, count):
        server.wait_live(count, 30)
        difference, live = spread(server)
        print(
            "  %d connections on %d workers: max - min = %d, live %s"
            % (count, len(live), difference, live),
            flush=True,
        )
        assert difference <= limit, live
        assert_all_agree(server, count, ports)
        verdicts = server.status()["steering"]["verdicts"]
        assert verdicts["steered"] == count, verdicts
        assert sum(verdicts.values()) == server.total("accepted"), (
            "each run has one verdict: %s" % verdicts
        )
    server.wait_live(0, 30)
    assert_all_agree(server, 0, ports)
    server.assert_no_worker_died()


def test_kept_connections_are_even():
    with steered(workers=8) as s:
        even(s, 10000 if FULL else 2000)


def test_hash_for_comparison():
    """The kernel's hash, on the same path: what steering is measured against."""
    with steered(workers=8, steering={"required": True, "policy": "hash"}) as s:
        with Crowd([s.address()], 800):
            s.wait_live(800, 30)
            difference, live = spread(s)
            print(
                "  800 connections hashed on 8 workers: max - min = %d, live %s"
                % (difference, live),
                flush=True,
            )
            assert difference > 2, "a hash that even would be steering"
            verdicts = s.status()["steering"]["verdicts"]
            assert verdicts["hashed"] == 800 and verdicts["steered"] == 0, verdicts
        s.wait_live(0, 30)


def test_ipv6_only():
    need_ipv6()
    with steered(workers=4, listens=[("[::1]:0", {"v6only": True})]) as s:
        even(s, 400)


def test_dual_stack():
    need_ipv6()
    with steered(workers=4, listens=["[::]:0"]) as s:
        even(s, 400)


def test_two_ports_share_the_counts():
    with steered(workers=4, listens=["127.0.0.1:0", "127.0.0.1:0"]) as s:
        even(s, 401)


def test_v4_and_v6_addresses_share_the_counts():
    need_ipv6()
    with steered(workers=4, listens=["127.0.0.1:0", "[::1]:0"]) as s:
        even(s, 401)


def test_counts_after_churn():
    rng = random.Random(7)
    with steered(workers=8) as s:
        address = s.address()
        kept = []
        for _ in range(3000):
            if kept and rng.random() < 0.48:
                c = kept.pop(rng.randrange(len(kept)))
                c.reset() if rng.random() < 0.3 else c.close()
            else:
                kept.append(Client(address))
                if rng.random() < 0.3:
                    kept[-1].send(request("/hello"))
        s.wait_live(len(kept))
        assert_all_agree(s, len(kept), {address[1]})
        for c in kept:
            c.close()
        s.wait_live(0)
        assert_all_agree(s, 0, {address[1]})
        wait_for(lambda: s.total("reserved") == 0, "no reservation outlives its connection")


def test_new_connections_fill_the_gap():
    with steered(workers=4) as s:
        address = s.address()
        first = [Client(address) for _ in range(200)]
        s.wait_live(200)
        victim = s.workers()[2]
        os.kill(victim["pid"], signal.SIGKILL)
        wait_for(
            lambda: s.workers()[2]["pid"] not in (0, victim["pid"])
            and s.workers()[2]["state"] == "running",
            "a new worker on slot 2",
        )
        s.wait_live(200 - victim["live"])
        more = [Client(address) for _ in range(victim["live"])]
        s.wait_live(200)
        difference, live = spread(s)
        assert difference <= 2, live
        for c in first + more:
            c.close()
        s.wait_live(0)


def test_reservations_stand_for_what_is_not_accepted_yet():
    for reservation, wanted in (("30s", 40), ("off", 0)):
        with steered(
            workers=2, steering={"required": True, "reservation": reservation, "stall": "off"}
        ) as s:
            address = s.address()
            pids = [w["pid"] for w in s.workers()]
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            try:
                clients = [Client(address) for _ in range(40)]
                reserved = [w["reserved"] for w in s.workers()]
            finally:
                for pid in pids:
                    os.kill(pid, signal.SIGCONT)
            assert sum(reserved) == wanted, (reservation, reserved)
            assert max(reserved) - min(reserved) <= 1, reserved
            s.wait_live(40)
            assert s.total("reserved") == 0, "accepting cancels the reservation"
            for c in clients:
                c.close()


def test_more_workers_than_cpus_and_one():
    for workers in (1, 16):
        with steered(workers=workers) as s:
            even(s, 160)


def test_map_holds_names():
    with steered(workers=2) as s:
        done = subprocess.run(
            [need_tool("bpftool"), "map", "dump", "pinned", os.path.join(s.pin, "steer_slots")],
            stdout=subprocess.PIPE,
            universal_newlines=True,
            check=True,
        )
        for word in ("live", "stamp_ns", "resv", "is_up"):
            assert '"%s"' % word in done.stdout, done.stdout[:500]
        names = os.listdir(s.pin)
        for name in ("steer_slots", "steer_config", "steer_verdicts"):
            assert name in names, names
        assert all(len(n) <= 15 for n in names if n.startswith("steer_")), names


if __name__ == "__main__":
    main(__name__, flags=("--full",))
