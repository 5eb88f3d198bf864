# SPDX-License-Identifier: MIT
"""Rows 1 to 4 and 14: who gets how many connections, and whether the counts are true."""
import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time

import burst
import test_rebalance
from common import need_tool
from figures import Figure
from harness import Client, Server, Skip, raise_descriptor_limit, wait_for
from steer_peers import LIBC, Load, Nginx, Slots, held_by, tool
from test_steering import Crowd, map_live, socket_counts

CLONE_NEWNET = 0x40000000


# --- 1: burst ---


def sluice_burst(server):
    kept = burst.make_uneven(server)
    wait_for(lambda: server.total("reserved") == 0, "no reservation is left")
    got, _ = burst.burst(server)
    for c in kept:
        c.close()
    server.wait_live(0)
    return max(got) / (burst.SYNS / burst.WORKERS)


def nginx_burst(nginx):
    """The same with what ss shows; all workers are equal here, which is to the peer's advantage."""
    pids = nginx.pids()
    socks = [socket.socket() for _ in range(burst.SYNS)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        for s in socks:
            s.setblocking(False)
            s.connect_ex(("127.0.0.1", nginx.port))
        time.sleep(0.1)  # the lag that is measured, not a wait
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    wait_for(lambda: sum(held_by(nginx.port, pids).values()) == burst.SYNS, "all are accepted")
    worst = max(held_by(nginx.port, pids).values())
    for s in socks:
        s.close()
    wait_for(lambda: not sum(held_by(nginx.port, pids).values()), "all are closed")
    return worst / (burst.SYNS / burst.WORKERS)


def row_1(options):
    """256 SYNs at once, 8 workers of which one is 3 connections lighter, accept 100 ms late: max/mean."""
    settings = {
        "least": {"policy": "least", "stall": "off"},
        "policy hash": {"policy": "hash", "stall": "off"},
        "least without reservations": {"policy": "least", "reservation": "off", "stall": "off"},
        "least, stall = 20ms: the first to go on serves the others' queues": {"policy": "least"},
    }
    got = {name: [] for name in settings}
    with contextlib.ExitStack() as stack:
        servers = {
            name: stack.enter_context(
                Server(workers=burst.WORKERS, steering=dict(keys, required=True))
            )
            for name, keys in settings.items()
        }
        peers = {}
        with contextlib.suppress(Skip):
            for name, is_reuseport in (("nginx", False), ("nginx reuseport", True)):
                peers[name] = stack.enter_context(Nginx(burst.WORKERS, is_reuseport))
                got[name] = []
        for _ in range(options.repeat(10, 5)):
            for name, server in servers.items():
                got[name].append(sluice_burst(server))
            for name, nginx in peers.items():
                got[name].append(nginx_burst(nginx))
    least = got.pop("least")
    yield Figure(
        1, "256-SYN burst, 8 workers, accept lag 100 ms: max/mean", ("<=", 1.10), least, peers=got
    )


# --- 2: long-lived ---


def crowd_of(server, count):
    with Crowd([server.address()], count):
        server.wait_live(count, 60)
        live = [w["live"] for w in server.workers()]
    server.wait_live(0, 60)
    return max(live) - min(live)


def nginx_crowd(nginx, count):
    pids = nginx.pids()
    with Crowd([("127.0.0.1", nginx.port)], count):
        wait_for(lambda: sum(held_by(nginx.port, pids).values()) == count, "all are accepted", 60)
        held = held_by(nginx.port, pids).values()
    wait_for(lambda: not sum(held_by(nginx.port, pids).values()), "all are closed", 60)
    return max(held) - min(held)


def row_2(options):
    """Long-lived connections, opened one after another by several processes: max - min over 8 workers."""
    count = options.pick(10000, 2000)
    keys = {"workers": 8, "timeouts": {"header": "600s", "keepalive": "600s"}}
    got = {"least": [], "policy hash": []}
    with contextlib.ExitStack() as stack:
        servers = {
            "least": stack.enter_context(Server(steering={"required": True}, **keys)),
            "policy hash": stack.enter_context(
                Server(steering={"required": True, "policy": "hash"}, **keys)
            ),
        }
        peers = {}
        with contextlib.suppress(Skip):
            for name, is_reuseport in (("nginx", False), ("nginx reuseport", True)):
                peers[name] = stack.enter_context(Nginx(8, is_reuseport))
                got[name] = []
        for _ in range(options.repeat(5, 2)):
            for name, server in servers.items():
                got[name].append(crowd_of(server, count))
            for name, nginx in peers.items():
                got[name].append(nginx_crowd(nginx, count))
    least = got.pop("least")
    yield Figure(
        2,
        "%d long-lived connections, 8 workers: max - min" % count,
        ("<=", 2),
        least,
        peers=got,
        form="%.0f",
    ).worst_counts()


# --- 3: flood ---


def in_own_network(job):
    """job() in a child with a network namespace of its own; what it returns (JSON) or raises comes back."""
    r, w = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        answer = {"error": "no answer"}
        try:
            os.close(r)
            if LIBC.unshare(CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "unshare")
            subprocess.run([need_tool("ip"), "link", "set", "lo", "up"], check=True)
            answer = {"value": job()}
        except Skip as why:
            answer = {"skip": str(why)}
        except BaseException as e:
            answer = {"error": "%s: %s" % (type(e).__name__, e)}
        finally:
            os.write(w, json.dumps(answer).encode())
            sys.stdout.flush()
            os._exit(0)
    os.close(w)
    with os.fdopen(r) as f:
        text = f.read()
    os.waitpid(pid, 0)
    answer = json.loads(text)
    if "skip" in answer:
        raise Skip(answer["skip"])
    if "error" in answer:
        raise AssertionError(answer["error"])
    return answer["value"]


def set_sysctl(name, text):
    with open("/proc/sys/net/" + name, "w") as f:
        f.write(str(text))


def reserved_by(slots, count):
    """What the map holds, retired or not: proof that the flood was seen."""
    return sum(slots[i]["current"] + slots[i]["previous"] for i in range(count))


def one_flood(server, syns, seconds):
    port, workers = server.address()[1], 8
    slots = Slots(server, workers)
    before = [w["accepted"] for w in server.workers()]
    kept, peak = [], 0
    command = [tool("synflood"), str(port), str(syns), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as flood:
        while flood.poll() is None:
            for _ in range(10):
                kept.append(Client(("127.0.0.1", port)))
            peak = max(peak, reserved_by(slots, workers))
            time.sleep(0.01)
        assert flood.returncode == 0, "synflood failed"
    ended = time.monotonic()
    wait_for(lambda: server.total("reserved") == 0, "no reservation is left", 20)
    took = time.monotonic() - ended
    server.wait_live(len(kept))
    got = [w["accepted"] - b for w, b in zip(server.workers(), before)]
    for c in kept:
        # Not close(): with tcp_syncookies = 2 a FIN sent twice is a valid cookie to a listener whose connection is
        # over already, and the kernel makes a connection of it that has no client.
        c.reset()
    server.wait_live(0)
    return {"gone_s": took, "ratio": max(got) * workers / sum(got), "peak": peak, "real": sum(got)}


def flooded(cookies, syns, seconds, rounds, policy):
    set_sysctl("ipv4/tcp_syncookies", cookies)
    set_sysctl("core/somaxconn", 65535)
    set_sysctl("ipv4/tcp_max_syn_backlog", 1000000)
    raise_descriptor_limit(20000)
    listens = [("127.0.0.1:0", {"backlog": 65535})]
    with Server(
        listens=listens,
        workers=8,
        steering={"required": True, "policy": policy},
        timeouts={"header": "600s"},
    ) as server:
        return [one_flood(server, syns, seconds) for _ in range(rounds)]


def row_3(options):
    """Spoofed SYNs in a network namespace of its own, real connections opened and kept meanwhile."""
    syns, seconds, rounds = 50000, options.pick(3, 1.5), options.repeat(5, 2)
    for cookies in (0, 1, 2):
        seen = in_own_network(lambda: flooded(cookies, syns, seconds, rounds, "least"))
        hashed = in_own_network(lambda: flooded(cookies, syns, seconds, rounds, "hash"))
        what = "%d spoofed SYNs in %g s, tcp_syncookies = %d: " % (syns, seconds, cookies)
        note = "at most %d reservations seen, %d to %d real connections a round" % (
            max(s["peak"] for s in seen),
            min(s["real"] for s in seen),
            max(s["real"] for s in seen),
        )
        if not max(s["peak"] for s in seen):
            raise AssertionError("the flood was not seen: nothing was reserved")
        yield Figure(
            3,
            what + "reservations back to 0",
            ("<=", 2),
            [s["gone_s"] for s in seen],
            "s",
            note=note,
        ).worst_counts()
        yield Figure(
            3,
            "  max/mean of real connections meanwhile",
            ("<=", 1.3),
            [s["ratio"] for s in seen],
            peers={"policy hash": [s["ratio"] for s in hashed]},
        )


# --- 4: true counts ---


def kill_some(server, kills):
    """Kills workers in turn, each as soon as it runs; two of the 8 are left alone and keep what they hold."""
    killed = slot = 0
    while killed < kills:
        worker = server.workers()[slot % 6]
        slot += 1
        if worker["state"] == "running" and worker["pid"]:
            os.kill(worker["pid"], signal.SIGKILL)
            killed += 1
        time.sleep(0.02)  # the rate of the kills
    return killed


def differences(server):
    """Sum over the workers of what map, status and ss disagree about."""
    port = server.address()[1]
    by_map, by_ss = map_live(server), socket_counts({port})
    return sum(
        abs(by_map[w["slot"]] - by_ss.get(w["pid"], 0)) + abs(w["live"] - by_map[w["slot"]])
        for w in server.workers()
    )


def all_run(server):
    return all(w["state"] == "running" for w in server.workers())


def row_4(options):
    """Connections and SIGKILLs in five parts; connections are held open throughout; compared after each."""
    total, parts = options.pick(1000000, 100000), 5
    values, failed, kills, crowds = [], 0, 0, []
    with Server(
        workers=8,
        steering={"required": True},
        timeouts={"header": "1h", "keepalive": "1h"},
    ) as server, contextlib.ExitStack() as stack:
        for part in range(parts):
            crowds.append(stack.enter_context(Crowd([server.address()], 200)))
            with Load(server.address()[1], -64, 0, total // parts) as load:
                kills += kill_some(server, 100 // parts)
                failed += load.result()["failed"]
            wait_for(lambda: all_run(server), "all workers run", 30)
            crowds.append(stack.enter_context(Crowd([server.address()], 200)))
            held = [w["live"] for w in server.workers()]
            wait_for(lambda: server.total("reserved") == 0, "no reservation is left")
            with contextlib.suppress(AssertionError):
                wait_for(lambda: differences(server) == 0, "map and ss agree", 5)
            values.append(differences(server))
        assert sum(held) > 100, "hardly a connection was held: nothing is shown"
    yield Figure(
        4,
        "map and status against ss after %d connections, %d SIGKILLs" % (total, kills),
        ("=", 0),
        values,
        form="%.0f",
        note="sum over workers of the differences; %d connections held at the end; %d lost by the kills"
        % (sum(held), failed),
    ).worst_counts()


# --- 14: rebalancing ---


def rebalance_once():
    connections = test_rebalance.CONNECTIONS
    with Server(workers=4, steering={"rebalance": "auto", "required": True}) as server:
        test_rebalance.set_weight(server, 0, 300)
        clients = [Client(server.address()) for _ in range(connections)]
        server.wait_live(connections)
        before = test_rebalance.live(server)
        test_rebalance.set_weight(server, 0, 100)
        began = time.monotonic()
        failed = closed = 0
        while test_rebalance.spread(test_rebalance.live(server)) >= 0.1:
            if time.monotonic() - began > 30:
                break
            left = []
            for c in clients:
                c.send(b"GET /hello HTTP/1.1\r\nHost: t\r\n\r\n")
            for c in clients:
                answer = None
                with contextlib.suppress(AssertionError, OSError):
                    answer = c.read_response()
                failed += not answer or answer.status != 200
                if answer and not answer.says_close():
                    left.append(c)
                else:
                    c.close()
                    closed += 1
            clients = left
        took = time.monotonic() - began
        for c in clients:
            c.close()
        server.wait_live(0)
    return {"s": took, "failed": failed, "skew": max(before) / min(before), "closed": closed}


def row_14(options):
    """600 keep-alive connections, three times as many on one of 4 workers, a request on each in turn."""
    test_rebalance.prepare()
    seen = [rebalance_once() for _ in range(options.repeat(5, 3))]
    yield Figure(
        14,
        "skew 3x on keep-alive connections: until SD < 10 % of the mean",
        ("<=", 10),
        [s["s"] for s in seen],
        "s",
        note="skew %.1fx; at most %d of 600 were asked to come back (Connection: close)"
        % (min(s["skew"] for s in seen), max(s["closed"] for s in seen)),
    ).worst_counts()
    yield Figure(
        14,
        "  failed requests meanwhile",
        ("=", 0),
        [s["failed"] for s in seen],
        form="%.0f",
    ).worst_counts()


ROWS = {1: row_1, 2: row_2, 3: row_3, 4: row_4, 14: row_14}
