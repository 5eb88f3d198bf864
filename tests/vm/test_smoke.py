# SPDX-License-Identifier: MIT
"""The server on this kernel, in a minute: steered where the kernel can, degraded with one warning where it cannot.

Made for the guests of tests/vm/run; `scripts/run-tests vm build/release` runs it on the kernel at hand.
"""
import json
import os
import signal
import socket
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))

from harness import (  # noqa: E402
    Client,
    Server,
    Skip,
    main,
    need_bpffs,
    need_tool,
    raise_descriptor_limit,
    wait_for,
)

WORKERS = 8
KEPT = 2000
SYNS = 256
HELD = 5
LEAST = (5, 10)  # Linux of which steering is promised


def kernel():
    return tuple(int(n) for n in os.uname().release.split(".")[:2])


def start(header="10m", **steering):
    """All that ends by itself gets more time than emulated CPUs could need."""
    need_bpffs()
    steering = dict({"stall": "30s", "reservation": "30s"}, **steering)
    return Server(workers=WORKERS, steering=steering, timeouts={"header": header, "keepalive": "10m"})


def need_steering(server):
    if not server.status()["steering"]["active"]:
        raise Skip("no steering on Linux %d.%d" % kernel())


def lives(server):
    return [w["live"] for w in server.workers()]


def open_kept(server, count):
    raise_descriptor_limit(count + 200)
    address = server.address()
    return [Client(address) for _ in range(count)]


def close_all(server, clients):
    for c in clients:
        c.close()
    server.wait_live(0)


def test_starts__steers_or_says_once_why_not():
    with start() as server:
        with Client(server.address()) as c:
            assert c.request("/hello").status == 200
        is_active = server.status()["steering"]["active"]
        warnings = [line for line in server.stderr().splitlines() if " warn: STEERING" in line]
        print("  Linux %s: steering %s; %s" % (os.uname().release, "on" if is_active else "off", warnings), flush=True)
        if kernel() >= LEAST:
            assert is_active, server.stderr()
        assert len(warnings) == (0 if is_active else 1), server.stderr()


def test_status__has_its_json():
    with start() as server:
        done = server.cli("status", "--json")
        assert done.returncode == 0, done.stderr
        status = json.loads(done.stdout)
        assert len(status["workers"]) == WORKERS
        for w in status["workers"]:
            missing = set("slot cpu pid state live reserved accepted requests".split()) - set(w)
            assert not missing, missing
        assert {"policy", "active", "verdicts"} <= set(status["steering"])


def test_required__is_an_error_only_where_there_is_no_steering():
    with start() as server:
        is_active = server.status()["steering"]["active"]
    required = start(required=True)
    if is_active:
        with required as server:
            assert server.status()["steering"]["active"]
        return
    required.launch()
    code = required.proc.wait(60)
    text = required.stderr()
    required.abandon()
    assert code not in (0, -signal.SIGSEGV, -signal.SIGABRT) and "steering" in text, (code, text)


def test_spread__2000_one_after_another():
    with start() as server:
        clients = open_kept(server, KEPT)
        server.wait_live(KEPT)
        live = lives(server)
        print("  %d connections: max - min = %d, live %s" % (KEPT, max(live) - min(live), live), flush=True)
        if server.status()["steering"]["active"]:
            assert max(live) - min(live) <= 2, live
        else:
            assert min(live) > 0, live  # hashed, but each worker serves
        close_all(server, clients)


def burst(server, count):
    """Shares of the workers in `count` SYNs sent while all of them are stopped."""
    address = server.address()
    before = {w["slot"]: w["accepted"] for w in server.workers()}
    pids = [w["pid"] for w in server.workers()]
    socks = [socket.socket() for _ in range(count)]
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        for s in socks:
            s.setblocking(False)
            s.connect_ex(address)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    wait_for(lambda: server.total("accepted") - sum(before.values()) == count, "all are accepted")
    return [w["accepted"] - before[w["slot"]] for w in server.workers()], socks


def test_burst__256_syns_spread_before_any_accept():
    with start() as server:
        need_steering(server)
        clients = open_kept(server, WORKERS * HELD)
        server.wait_live(len(clients))
        wait_for(lambda: server.total("reserved") == 0, "no reservation is left")
        got, socks = burst(server, SYNS)
        print("  max/mean %.2f, %s" % (max(got) * WORKERS / SYNS, got), flush=True)
        assert max(got) * WORKERS <= SYNS * 1.1, got
        wait_for(lambda: server.total("reserved") == 0, "the accepts cancel every reservation")
        for s in socks:
            s.close()
        close_all(server, clients)


def test_hash__is_kept_as_asked():
    with start(policy="hash") as server:
        clients = open_kept(server, SYNS)
        server.wait_live(SYNS)
        live = lives(server)
        print("  %d connections hashed: %s" % (SYNS, live), flush=True)
        assert min(live) > 0, live
        close_all(server, clients)


def test_verdicts__sum_to_the_connections():
    with start() as server:
        need_steering(server)
        before = server.status()["steering"]["verdicts"]
        for _ in range(100):
            with Client(server.address()) as c:
                assert c.request("/hello").status == 200
        after = server.status()["steering"]["verdicts"]
        delta = {k: after[k] - before[k] for k in after if after[k] != before[k]}
        assert delta.get("steered") == 100 and sum(delta.values()) == 100, delta


def write_sysctl(name, value):
    with open("/proc/sys/net/ipv4/" + name, "r+", encoding="ascii") as f:
        old = f.read().strip()
        f.seek(0)
        f.write(value)
    return old


def test_syn_cookies__count_once():
    """With cookies for every SYN the program runs twice a connection; only the first run reserves, no account drifts."""
    # The ACK may choose another worker than the SYN did, whose reservation time retires.  And a stray ACK of a
    # connection that is over may pass for a cookie's and open one that nobody has: the header timeout ends it.
    with start(header="30s", reservation="500ms") as server:
        old = write_sysctl("tcp_syncookies", "2")
        try:
            clients = open_kept(server, SYNS)
            server.wait_live(SYNS)
        finally:
            write_sysctl("tcp_syncookies", old)
        live = lives(server)
        verdicts = server.status()["steering"]["verdicts"]
        print("  %s %s" % (live, {k: v for k, v in verdicts.items() if v}), flush=True)
        if server.status()["steering"]["active"]:
            assert verdicts["cookie_ack"] == SYNS, verdicts
        wait_for(lambda: server.total("reserved") == 0, "no reservation is left")
        close_all(server, clients)
        after = server.status()["steering"]["verdicts"]["cookie_ack"] - verdicts["cookie_ack"]
        if after:
            print("  %d stray ACKs passed for cookies" % after, flush=True)


def test_crash__of_a_worker_loses_no_waiting_connection():
    with start() as server:
        victim = server.workers()[3]
        got = set()
        pids = [w["pid"] for w in server.workers()]
        address = server.address()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            clients = [Client(address) for _ in range(80)]  # wait in the queues
            os.kill(victim["pid"], signal.SIGKILL)
        finally:
            for pid in pids:
                if pid != victim["pid"]:
                    os.kill(pid, signal.SIGCONT)
        for c in clients:
            got.add(c.request("/hello").status)
        assert got == {200}, got
        wait_for(lambda: server.workers()[3]["pid"] not in (0, victim["pid"]), "the slot has a worker again")
        close_all(server, clients)


def test_pins__print_the_names_of_the_fields():
    with start() as server:
        need_steering(server)
        done = subprocess.run(
            [need_tool("bpftool"), "map", "dump", "pinned", os.path.join(server.pin, "steer_slots")],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert '"live"' in done.stdout, done.stdout[:300]


def test_reload__waits_and_serves_on():
    with start() as server:
        done = server.cli("reload")
        if "unknown command" in done.stderr:
            raise Skip("this sluice has no reload")
        assert done.returncode == 0, done.stderr
        with Client(server.address()) as c:
            assert c.request("/hello").status == 200


if __name__ == "__main__":
    main(__name__)
