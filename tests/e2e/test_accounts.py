# SPDX-License-Identifier: MIT
"""Accounts that do not drift: floods, connections that never complete, and workers that are killed under load.

    test_accounts.py --full     10^6 connections and 100 kills instead of 9,000 and 15

Runs in a network namespace of its own, so that sysctls and spoofed packets disturb nobody.
"""
import contextlib
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import time

from harness import Client, Server, Skip, get, main, need_bpffs, need_tool, proc_stat, wait_for
from load import LIBC, Load, SlotMap
from test_steering import assert_all_agree

FULL = "--full" in sys.argv
WORKERS = 8
CLONE_NEWNET = 0x40000000
FORGOTTEN_S = 2.0
UNEVEN_MAX = 1.3
QUEUE_S = 0.01  # a worker that is to be killed is stopped for so long before, for its queue to fill


def enter_namespace():
    """Once for the whole file."""
    need_bpffs()
    if enter_namespace.is_done:
        return
    ip = need_tool("ip")
    if LIBC.unshare(CLONE_NEWNET):
        raise Skip("cannot make a network namespace")
    subprocess.run([ip, "link", "set", "lo", "up"], check=True)
    # An answer to a spoofed SYN must have a way to go, or nothing is kept of it.
    subprocess.run([ip, "route", "add", "10.0.0.0/8", "dev", "lo"], check=True)
    sysctl("core/somaxconn", "65535")
    sysctl("ipv4/tcp_max_syn_backlog", "1000000")
    sysctl("ipv4/ip_local_port_range", "2000 65000")
    enter_namespace.is_done = True


enter_namespace.is_done = False


def sysctl(name, value):
    with open("/proc/sys/net/" + name, "w") as f:
        f.write(value)


def accounting(backlog=65535, keys=None, steering=None, **more):
    enter_namespace()
    sysctl("ipv4/tcp_syncookies", "1")
    return Server(
        workers=WORKERS,
        listens=[("127.0.0.1:0", dict({"backlog": backlog}, **(keys or {})))],
        steering=dict({"required": True}, **(steering or {})),
        **more
    )


def verdicts_sum_to_runs(server):
    s = server.status()["steering"]
    assert sum(s["verdicts"].values()) == s["runs"]


# --- floods ---


def folded(total):
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


class Spoofer:
    """SYNs from 10.x.y.z, which answers nothing: no handshake ever completes."""

    def __init__(self, address):
        self.raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self.to = address
        self.packet = bytearray(40)
        target = socket.inet_aton(address[0])
        struct.pack_into(
            "!BBHHHBBH4s4s", self.packet, 0, 0x45, 0, 40, 0, 0, 64, 6, 0, bytes(4), target
        )
        struct.pack_into("!HHIIBBHHH", self.packet, 20, 0, address[1], 0, 0, 0x50, 2, 65535, 0, 0)
        # Everything but source address, source port and sequence number, pseudo header included.
        words = struct.unpack("!10H", self.packet[20:40]) + struct.unpack("!2H", target) + (6, 20)
        self.base = folded(sum(words))
        self.count = 0

    def send(self):
        n = self.count
        source, port, seq = 0x0A000001 + n // 60000, 1024 + n % 60000, n * 2654435761 & 0xFFFFFFFF
        total = self.base + (source >> 16) + (source & 0xFFFF) + port + (seq >> 16) + (seq & 0xFFFF)
        struct.pack_into("!I", self.packet, 12, source)
        struct.pack_into("!H", self.packet, 20, port)
        struct.pack_into("!I", self.packet, 24, seq)
        struct.pack_into("!H", self.packet, 36, ~folded(total) & 0xFFFF)
        self.raw.sendto(self.packet, self.to)
        self.count += 1

    def close(self):
        self.raw.close()


def flood(cookies, backlog):
    """50,000 spoofed SYNs, every 25th followed by a real connection that stays."""
    with accounting(backlog) as s:
        sysctl("ipv4/tcp_syncookies", cookies)
        address = s.address()
        slots = SlotMap(s, WORKERS)
        spoofer, kept, peak = Spoofer(address), [], 0
        try:
            while spoofer.count < 50000:
                spoofer.send()
                if spoofer.count % 25 == 0:
                    kept.append(Client(address))
                if spoofer.count % 1000 == 0:
                    peak = max(peak, sum(w["reserved"] for w in s.workers()))
            end = time.monotonic()
            wait_for(lambda: s.total("reserved") == 0, "no reservation is left", FORGOTTEN_S)
            took = time.monotonic() - end
            # The words in the map go too, not only what the clock makes of them.
            wait_for(
                lambda: all(
                    slots[i]["current"] + slots[i]["previous"] == 0 for i in range(WORKERS)
                ),
                "no reservation is left in the map",
                FORGOTTEN_S,
            )
            s.wait_live(len(kept))
            live = [w["live"] for w in s.workers()]
            uneven = max(live) * WORKERS / sum(live)
            verdicts = s.status()["steering"]["verdicts"]
            print(
                "  cookies %s: 50000 spoofed SYNs, %d reservations at most, gone after %.2f s; "
                "%d real ones, max/mean %.3f; %d by cookie"
                % (cookies, peak, took, len(kept), uneven, verdicts["cookie_ack"]),
                flush=True,
            )
            assert uneven <= UNEVEN_MAX, live
            assert peak > 1000, "nothing was reserved, and nothing shown"
            assert_all_agree(s, len(kept), {address[1]})
            # Of a connection that carried nothing, the last ACK is as good a cookie as the first: the kernel may make
            # a second connection of it, which would be here until its request is overdue.
            for c in kept:
                assert c.request("/hello").body == b"hello"
            verdicts_sum_to_runs(s)
        finally:
            for c in kept:
                c.close()
            spoofer.close()
        s.wait_live(0)
        return verdicts["cookie_ack"], len(kept)


def test_flood_without_cookies():
    assert flood("0", 65535)[0] == 0


def test_flood_with_cookies_when_full():
    """A short queue of half-open connections fills at once; what comes then is served by cookies."""
    assert flood("1", 64)[0] > 0


def test_flood_with_cookies_always():
    by_cookie, real = flood("2", 65535)
    assert by_cookie == real


# --- connections that never complete ---


def test_connections_that_send_nothing():
    """TCP_DEFER_ACCEPT: the handshake is done, the worker is not told before there is data."""
    with accounting(keys={"defer_accept": "10s"}) as s:
        address = s.address()
        clients = [Client(address) for _ in range(400)]
        reserved = [w["reserved"] for w in s.workers()]
        assert sum(reserved) == 400 and max(reserved) - min(reserved) <= 1, reserved
        assert s.total("live") == 0
        wait_for(lambda: s.total("reserved") == 0, "no reservation is left", FORGOTTEN_S)
        # Late comers: their reservations are over, others' must not be cancelled for them.
        others = [Client(address) for _ in range(80)]
        assert s.total("reserved") == 80
        for c in others:
            assert c.request("/hello").body == b"hello"
        for c in clients[:200]:
            assert c.request("/hello").body == b"hello"
        s.wait_live(280)
        assert s.total("reserved") == 0, [(w["live"], w["reserved"], w["accepted"], w["rescued"]) for w in s.workers()]
        for c in clients + others:
            c.close()
        s.wait_live(0)
        verdicts_sum_to_runs(s)


# --- kills ---


def stop_and_kill(slots, slot, pid):
    """Kills the worker: how many connections it had accepted and not closed, and how many were in its queue."""
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: (proc_stat(pid) or "T")[0] in "TZX", "the worker has stopped")
    time.sleep(QUEUE_S)
    line = slots[slot]
    os.kill(pid, signal.SIGKILL)
    return line["live"], line["current"] + line["previous"]


def kill_round(server, slots, rng, kills, rate, seconds):
    """Load with kills in it: connections (made, lost, that may be lost, in the queues of the killed)."""
    load = Load(server.address(), rate, seconds)
    may_lose = queued = done = 0
    began = time.monotonic()
    while done < kills:
        time.sleep(max(0.0, began + 0.1 + seconds * 0.8 * done / kills - time.monotonic()))
        running = [w for w in server.workers() if w["state"] == "running"]
        if not running:
            continue
        w = rng.choice(running)
        # One more: accepted by the kernel, and not counted yet when the process stopped.
        live, waiting = stop_and_kill(slots, w["slot"], w["pid"])
        may_lose += live + 1
        queued += waiting
        done += 1
    rows = load.result()
    lost = [r for r in rows if r[1] is None]
    silent = [r for r in lost if r[2] == "no answer"]
    assert not silent, "%d connections hang: nobody took them over" % len(silent)
    return len(rows), len(lost), may_lose, queued


def are_all_running(server):
    return all(w["state"] in ("running", "stalled") for w in server.workers())


def test_kills_under_load():
    need_tool("ss")
    rounds, kills, rate, seconds = (20, 5, 5000, 10) if FULL else (3, 5, 2000, 1.5)
    rng = random.Random(3)
    sums = [0, 0, 0, 0]
    with accounting() as s:
        slots = SlotMap(s, WORKERS)
        for _ in range(rounds):
            seen = kill_round(s, slots, rng, kills, rate, seconds)
            sums = [a + b for a, b in zip(sums, seen)]
            wait_for(lambda: are_all_running(s), "all workers run again", 30)
            s.wait_live(0)
            kept = [Client(s.address()) for _ in range(200)]
            s.wait_live(200)
            assert_all_agree(s, 200, {s.address()[1]})
            for client in kept:
                client.close()
            s.wait_live(0)
        restarts = s.total("restarts")
        wait_for(lambda: s.total("reserved") == 0, "no reservation is left", FORGOTTEN_S)
        verdicts_sum_to_runs(s)
        total, lost, may_lose, queued = sums
        print(
            "  %d connections, %d kills: %d lost (at most %d had been accepted by the killed, %d waited in their "
            "queues); map, status and ss agree after each of %d rounds; %d served by siblings"
            % (total, rounds * kills, lost, may_lose, queued, rounds, s.total("rescued")),
            flush=True,
        )
        assert queued > 0, "no queue outlived its worker: nothing shown"
        assert restarts == rounds * kills
        assert lost <= may_lose, "%d lost, %d had been accepted" % (lost, may_lose)


def queue_outlives_worker(stall):
    """What waits for a stopped worker is answered after its death: by its successor, or by siblings before."""
    with accounting(steering={"stall": stall}) as s:
        address = s.address()
        slots = SlotMap(s, WORKERS)
        for _ in range(3):  # the second and third death in a row are followed by a pause
            w = s.workers()[2]
            os.kill(w["pid"], signal.SIGSTOP)
            wait_for(lambda: proc_stat(w["pid"])[0] == "T", "the worker has stopped")
            clients = [Client(address) for _ in range(WORKERS * 10)]
            for c in clients:
                c.send(b"GET /hello HTTP/1.1\r\nHost: t\r\n\r\n")
            assert slots[2]["live"] == 0
            os.kill(w["pid"], signal.SIGKILL)
            for c in clients:
                assert c.read_response().body == b"hello"
                c.close()
            wait_for(lambda: are_all_running(s), "all workers run again", 30)
            s.wait_live(0)


def test_queue_outlives_its_worker():
    queue_outlives_worker("off")


def test_siblings_serve_a_dead_workers_queue():
    queue_outlives_worker("20ms")


if __name__ == "__main__":
    main(__name__, flags=("--full",))
