# SPDX-License-Identifier: MIT
"""Rows 5 to 8, 13 and 16: workers that die or stall, settings that change, maps full of rubbish."""
import contextlib
import os
import random
import signal
import subprocess
import time

import test_stall
from common import need_tool
from figures import Figure
from harness import Client, Server, wait_for
from load import KeptLoad
from steer_peers import HaproxyMaster, Load, MapMemory, Nginx, Slots, holders, run_load

REQUIRED = {"required": True}


# --- 5, 6: reload, crash ---


KEPT = {"rate": 500, "connections": 100}


@contextlib.contextmanager
def reloading_sluice():
    """(port, reload): a reload has taken place when the call returns."""

    def reload():
        done = server.cli("reload")
        assert done.returncode == 0, done.stderr

    with Server(workers=4, steering=REQUIRED) as server:
        yield server.address()[1], reload
        # Nothing is lost that clients do not see either: who is counted is there.
        server.wait_live(0)


@contextlib.contextmanager
def reloading_peer(peer, number):
    """The same by a signal; only the log would tell when such a reload has taken place."""
    with peer:
        yield peer.port, lambda: peer.proc.send_signal(number)


def reload_under_load(server, reloads, pause, rate):
    """New connections at `rate` a second and kept ones beside them; what clients see while the server reloads."""
    with server as (port, reload):
        seconds = reloads * pause + 1
        kept = KeptLoad(("127.0.0.1", port), KEPT["rate"], seconds, KEPT["connections"])
        with Load(port, rate, seconds) as load:
            time.sleep(0.5)  # load of its own accord
            due = time.monotonic()
            for _ in range(reloads):
                reload()
                due += pause
                time.sleep(max(0, due - time.monotonic()))
            return load.result(), kept.result()


def row_5(options):
    """Reloads under load, the same for all: new connections, and kept ones with a request now and then."""
    reloads, pause, rate = options.pick(1000, 30), options.pick(0.2, 0.3), options.pick(5000, 1500)
    servers = {
        "sluice": lambda: reloading_sluice(),
        "nginx reuseport": lambda: reloading_peer(Nginx(4, True), signal.SIGHUP),
        "haproxy": lambda: reloading_peer(HaproxyMaster(4, "on"), signal.SIGUSR2),
    }
    fresh, kept, closed, notes = {}, {}, {}, []
    for name, make in servers.items():
        new, old = reload_under_load(make(), reloads, pause, rate)
        fresh[name], kept[name] = [new["failed"]], [len(old["failed"])]
        closed[name] = [old["idle_closed"] + old["closes"]]
        notes.append("%s %d and %d" % (name, new["made"], old["requests"]))
    for what, seen, target in (
        ("%d reloads at %d conn/s: new connections failed" % (reloads, rate), fresh, ("=", 0)),
        ("  requests failed on kept connections, %d a second" % KEPT["rate"], kept, ("=", 0)),
        ("  kept connections closed", closed, None),
    ):
        yield Figure(
            5,
            what,
            target,
            seen["sluice"],
            form="%.0f",
            peers={name: values for name, values in seen.items() if name != "sluice"},
            note="connections and requests made: " + ", ".join(notes) if target else "",
        ).worst_counts()


def crash_once(server, slot, rate):
    """SIGSTOP for as long as a queue needs to form, then SIGKILL.  What it had accepted is lost with it."""
    pid = server.workers()[slot]["pid"]
    slots = Slots(server, 4)
    queues = test_stall.Queues(server, 4)
    with Load(server.address()[1], rate, 1.0) as load:
        time.sleep(0.4)  # load of its own accord
        os.kill(pid, signal.SIGSTOP)
        with contextlib.suppress(AssertionError):
            wait_for(lambda: queues.length(slot) >= 20, "a queue", 0.2)
        accepted, queued = slots[slot]["live"], queues.length(slot)
        os.kill(pid, signal.SIGKILL)
        seen = load.result()
    queues.close()
    wait_for(lambda: server.workers()[slot]["pid"] not in (0, pid), "a new worker", 20)
    wait_for(lambda: all(w["state"] == "running" for w in server.workers()), "all run", 20)
    server.wait_live(0)
    return {"beyond": max(0, seen["failed"] - accepted), "queued": queued, "made": seen["made"]}


def row_6(options):
    """A worker killed with connections in its queue.  `stall = off`, so that no sibling has emptied it before."""
    rate, rounds = options.pick(3000, 1500), options.repeat(10, 5)
    got = {}
    for policy in ("least", "hash"):
        steering = dict(REQUIRED, policy=policy, stall="off")
        with Server(workers=4, steering=steering) as server:
            got[policy] = [crash_once(server, i % 4, rate) for i in range(rounds)]
    queued = {policy: [g["queued"] for g in seen] for policy, seen in got.items()}
    yield Figure(
        6,
        "SIGKILL at %d conn/s: lost beyond those accepted" % rate,
        ("=", 0),
        [g["beyond"] for g in got["least"]],
        form="%.0f",
        peers={"policy hash": [g["beyond"] for g in got["hash"]]},
        note="waiting in the killed worker's queue: %d to %d, with hash %d to %d"
        % (min(queued["least"]), max(queued["least"]), min(queued["hash"]), max(queued["hash"])),
    ).worst_counts()


# --- 7, 8: stall ---


@contextlib.contextmanager
def spinning_server(steering):
    """A server whose workers can be made to spin, and what makes them."""
    compiler = need_tool("cc")
    server = Server(workers=4, steering=steering)
    try:
        stall = test_stall.Spinning(server.dir)
        source, library = os.path.join(server.dir, "spin.c"), os.path.join(server.dir, "spin.so")
        with open(source, "w") as f:
            f.write(test_stall.SPIN_C)
        subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        server.env.update(LD_PRELOAD=library, SPIN_FILE=stall.path)
    except BaseException:
        server.abandon()
        raise
    with server:
        yield server, stall


def stall_kinds(steering):
    with Server(workers=4, steering=steering) as server:
        yield "SIGSTOP asleep", server, test_stall.Stopped(True)
    with Server(workers=4, steering=steering) as server:
        yield "SIGSTOP in its loop", server, test_stall.Stopped(False)
    with spinning_server(steering) as (server, stall):
        yield "busy loop", server, stall


def observe(server, stall):
    for attempt in range(5):
        try:
            seen = test_stall.observe(server, stall)
            break
        except AssertionError as e:  # a worker that is hardly ever awake
            if "never caught" not in str(e) or attempt == 4:
                raise
            server.wait_live(0)
    server.wait_live(0)
    return {
        "share": 100.0 * seen["landed_late"] / max(1, seen["arrived_late"]),
        "late": seen["arrived_late"],
        "landed": seen["landed_late"],
        "slowest": seen["slowest"] * 1e3,
        "back": seen["back"] * 1e3,
        "errors": len(seen["errors"]),
    }


@contextlib.contextmanager
def ahead_of_others():
    """The limits are shorter than what any process may lose to others on a busy machine."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, before)


STALLS = {}  # of this run: rows 7 and 8 are the same experiment


def stalls(options):
    if STALLS:
        return STALLS
    test_stall.RATE = options.pick(5000, 2000)
    rounds = options.repeat(5, 3)
    with ahead_of_others():
        for name, server, stall in stall_kinds(REQUIRED):
            STALLS[name] = [observe(server, stall) for _ in range(rounds)]
        steering = dict(REQUIRED, policy="hash", stall="off")
        with Server(workers=4, steering=steering) as server:
            STALLS["hash"] = [observe(server, test_stall.Stopped(True)) for _ in range(rounds)]
    return STALLS


def column(seen, key):
    return [s[key] for s in seen]


def row_7(options):
    """One of 4 workers does not move for 400 ms: who of those that arrive 20 ms into it and later goes to it."""
    got = stalls(options)
    for name, seen in got.items():
        if name == "hash":
            continue
        yield Figure(
            7,
            "%s 400 ms at %d conn/s: share of late arrivals" % (name, test_stall.RATE),
            ("<=", 0.1),
            column(seen, "share"),
            "%",
            form="%.3f",
            peers={"policy hash, no stall avoidance (asleep)": column(got["hash"], "share")},
            note="%d of %d late arrivals in all; %d failed"
            % (sum(column(seen, "landed")), sum(column(seen, "late")), sum(column(seen, "errors"))),
        )


def row_8(options):
    """The same experiment: the slowest answer to a connection that arrived meanwhile, and the first accept after."""
    got = stalls(options)
    for name, seen in got.items():
        if name == "hash":
            continue
        peers = {
            key: {"policy hash, no stall avoidance (asleep)": column(got["hash"], key)}
            for key in ("slowest", "back")
        }
        yield Figure(
            8,
            "%s: slowest answer to those that arrived meanwhile" % name,
            ("<=", 50),
            column(seen, "slowest"),
            "ms",
            form="%.1f",
            peers=peers["slowest"],
        )
        yield Figure(
            8,
            "  its return to service",
            ("<=", 20),
            column(seen, "back"),
            "ms",
            form="%.1f",
            peers=peers["back"],
        )


# --- 13: changed live ---


def steer(server, *words):
    done = server.cli("steer", *words)
    assert done.returncode == 0, "sluice steer %s: %s" % (" ".join(words), done.stderr)


def who_gets(server, count):
    """{slot: connections} of that many new ones, closed again."""
    address = server.address()
    clients = [Client(address) for _ in range(count)]
    for c in clients:
        assert c.request("/hello").status == 200
    table = holders(address[1])
    slot_of = {w["pid"]: w["slot"] for w in server.workers()}
    got = dict.fromkeys(slot_of.values(), 0)
    for c in clients:
        got[slot_of[table["%s:%d" % c.sock.getsockname()]]] += 1
    for c in clients:
        c.close()
    return got


def verdicts(server):
    return server.status()["steering"]["verdicts"]


def change_all(server):
    """Connections that still followed the old setting, after each of four changes."""
    stray = 0
    steer(server, "drain", "2")
    stray += who_gets(server, 20)[2]
    steer(server, "undrain", "2")
    stray += who_gets(server, 20)[2] == 0
    steer(server, "policy", "hash")
    before = verdicts(server)
    who_gets(server, 20)
    after = verdicts(server)
    stray += after["steered"] - before["steered"] + (after["hashed"] == before["hashed"])
    steer(server, "policy", "least")
    before = verdicts(server)
    for slot in range(4):
        steer(server, "weight", str(slot), "1000" if slot == 1 else "1")
    stray += sum(n for slot, n in who_gets(server, 20).items() if slot != 1)
    for slot in range(4):
        steer(server, "weight", str(slot), "100")
    return stray + verdicts(server)["hashed"] - before["hashed"]


def row_13(options):
    """drain, undrain, policy and weight by `sluice steer`, under load; 20 connections after each change."""
    strays, failed, made = [], [], 0
    with Server(workers=4, steering=REQUIRED) as server:
        for _ in range(options.repeat(10, 5)):
            with Load(server.address()[1], 500, options.pick(2, 1.5)) as load:
                strays.append(change_all(server))
                seen = load.result()
            failed.append(seen["failed"])
            made += seen["made"]
            server.wait_live(0)
        server.assert_no_worker_died()
    yield Figure(
        13,
        "policy, weight, drain changed live: connections by the old rule",
        ("=", 0),
        strays,
        form="%.0f",
        note="of 80 a round, opened after `sluice steer` returned",
    ).worst_counts()
    yield Figure(
        13,
        "  connections dropped meanwhile",
        ("=", 0),
        failed,
        form="%.0f",
        note="of %d in all" % made,
    ).worst_counts()


# --- 16: rubbish in the maps ---


def interesting(rng):
    return rng.choice((0, 1, 0xFF, 0x7F, 0x80, rng.randrange(256), rng.randrange(256)))


def scribble(rng, maps, seconds):
    """Random bytes at random places; whole maps now and then."""
    end, writes = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        target = rng.choice(maps)
        at = rng.randrange(target.size)
        length = target.size - at if rng.random() < 0.02 else rng.randrange(1, 9)
        data = bytes(interesting(rng) for _ in range(min(length, target.size - at)))
        target.memory[at : at + len(data)] = data
        writes += 1
        if writes % 50 == 0:
            time.sleep(0.001)  # else the one who writes is all that runs
    return writes


def fuzz_once(server, seed, seconds, rate):
    maps = [
        MapMemory(os.path.join(server.pin, "steer_config"), 40, True),
        MapMemory(os.path.join(server.pin, "steer_weights"), 16, True),
        Slots(server, 4, True),
    ]
    saved = [bytes(m.memory[: m.size]) for m in maps]
    with Load(server.address()[1], rate, seconds) as load:
        writes = scribble(random.Random(seed), maps, seconds)
        seen = load.result()
    # Settings as they were; of the slots all but what the workers wrote meanwhile.
    for target, data in zip(maps, saved):
        target.memory[: target.size] = data
    return seen, writes


def row_16(options):
    """Random bytes into steer_config, steer_weights and steer_slots while connections come in."""
    failed, made, writes, after = [], 0, 0, 0
    with Server(workers=4, steering=REQUIRED) as server:
        for seed in range(options.repeat(5, 3)):
            seen, count = fuzz_once(server, seed, options.pick(4, 1.5), 1000)
            failed.append(seen["failed"])
            made += seen["made"]
            writes += count
            after += run_load(server.address()[1], 500, 0.5)["failed"]
        server.assert_no_worker_died()
    yield Figure(
        16,
        "maps full of random bytes: connections dropped",
        ("=", 0),
        failed,
        form="%.0f",
        note="of %d, at %d writes; %d failed with the contents restored" % (made, writes, after),
    ).worst_counts()


ROWS = {5: row_5, 6: row_6, 7: row_7, 8: row_8, 13: row_13, 16: row_16}
