# SPDX-License-Identifier: MIT
"""Rows 9 to 12 and 15: what steering costs, what it gains where requests differ, whether each run is counted."""
import contextlib
import itertools
import os
import re
import signal
import subprocess
import tempfile
import time

from common import cpu_seconds, need_tool, split_cpus, on_cpus, wrk
from figures import Figure
from harness import Server, Skip, session_pids, wait_for
from steer_peers import (
    Haproxy,
    Load,
    Nginx,
    counted_runs,
    haproxy_queues,
    program_stats,
    run_load,
    set_policy,
    set_weight,
    tool,
)

REQUIRED = {"required": True}


# --- 9: system calls ---


def traced_calls(pids, seconds):
    """{name: calls} of all these processes, counted by strace."""
    with tempfile.NamedTemporaryFile("r") as out:
        words = [need_tool("strace"), "-f", "-c", "-o", out.name, "-e", "trace=bpf,accept4,accept"]
        for pid in pids:
            words += ["-p", str(pid)]
        proc = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for(lambda: all(is_traced(p) for p in pids), "strace is attached")
            time.sleep(seconds)  # how long is counted
        finally:
            proc.send_signal(signal.SIGINT)
            proc.wait(20)
        text = out.read()
    return {m[1]: int(m[0]) for m in re.findall(r"(\d+)(?:\s+\d+)?\s+(bpf|accept4?)\s*$", text, re.M)}


def is_traced(pid):
    with open("/proc/%d/status" % pid) as f:
        return "TracerPid:\t0\n" not in f.read()


def row_9(options):
    """strace on the master and all workers, under load, after a second of warming up."""
    seconds, calls, accepts = options.pick(3, 1), [], 0
    with Server(workers=4, steering=dict(REQUIRED, rebalance="auto")) as server:
        run_load(server.address()[1], 500, 1)
        for _ in range(options.repeat(5, 3)):
            with Load(server.address()[1], 300, seconds + 1) as load:
                seen = traced_calls(session_pids(server.proc.pid), seconds)
                load.result()
            calls.append(seen.get("bpf", 0))
            accepts += seen.get("accept4", 0) + seen.get("accept", 0)
    if not accepts:
        raise AssertionError("strace saw nothing at all: no figure")
    yield Figure(
        9,
        "bpf() calls of all processes in %g s under load" % seconds,
        ("=", 0),
        calls,
        form="%.0f",
        note="calls of accept seen by the same strace: %d" % accepts,
    ).worst_counts()


# --- 10: run time of the program ---


def run_time(server, connections):
    before = program_stats(server)
    run_load_count(server.address()[1], connections)
    after = program_stats(server)
    assert after[0] - before[0] >= connections, "the program did not run"
    return (after[1] - before[1]) / (after[0] - before[0])


def run_load_count(port, connections):
    with Load(port, -16, 0, connections) as load:
        return load.result()


def bpf_stats(rounds):
    """{(policy, slots): [ns]}, and what a program costs that does nothing, as `make bpf-stats` prints them."""
    got, empty = {}, []
    for _ in range(rounds):
        done = subprocess.run(
            [tool("../kernel/bpf_stats")], stdout=subprocess.PIPE, universal_newlines=True
        )
        if done.returncode == 77:
            raise Skip("bpf_stats: %s" % done.stdout.strip())
        assert done.returncode == 0, "bpf_stats failed: %s" % done.stdout
        empty.append(int(re.search(r"does nothing: (\d+)", done.stdout).group(1)))
        for m in re.finditer(r"^(\w+)\s+(\d+)\s+(\d+)\s+(\d+)\s+\d+\s", done.stdout, re.M):
            for slots, ns in zip((8, 64, 256), m.groups()[1:]):
                got.setdefault((m.group(1), slots), []).append(int(ns))
    return got, empty


def in_service(options, slots):
    """The same of a server that answers requests: caches and branch predictors have other things to do."""
    with Server(workers=slots, steering=REQUIRED) as server:
        run_load_count(server.address()[1], 1000)
        count = options.pick(5000, 2000)
        return [run_time(server, count) for _ in range(options.repeat(10, 5))]


def row_10(options):
    """bpf_stats, each value the median of 21 batches of 200 runs; the kernel's own overhead of counting is in it."""
    with counted_runs():
        service = {slots: in_service(options, slots) for slots in (8, 64)}
    got, empty = bpf_stats(options.repeat(3, 1))
    for slots, limit in ((8, 150), (64, 250), (256, None)):
        peers = {"policy " + name: got[name, slots] for name in ("hash", "p2c", "busy")}
        if slots in service:
            peers["least, in a server that answers requests"] = service[slots]
        yield Figure(
            10,
            "a run of the program, %d slots, policy least" % slots,
            ("<=", limit) if limit else None,
            got["least", slots],
            "ns",
            peers,
            "%.0f",
            "a program that does nothing: %d to %d ns" % (min(empty), max(empty)),
        )


# --- 11: cheap uniform traffic ---

TURNS = itertools.count(1)
SETTINGS = {
    "least": dict(REQUIRED, policy="least"),
    "policy hash": dict(REQUIRED, policy="hash"),
    "plain reuseport": {"enabled": False},
}


def cheap_turn(server, seconds, cpus, fields):
    turn = next(TURNS)
    url = "http://127.2.%d.%d:%d/hello" % (turn // 250, 1 + turn % 250, server.address()[1])
    before = cpu_seconds(server.proc.pid)
    result = wrk(url, seconds, 64, cpus, fields)
    spent = cpu_seconds(server.proc.pid) - before
    assert not result.errors, result.text
    return {"rate": result.per_second, "cpu": spent * 1e6 / max(1, result.requests)}


def row_11(options):
    """wrk at the same time of the run at three servers in turn; ratios are paired turn by turn."""
    need_tool("wrk")
    workers = max(1, len(os.sched_getaffinity(0)) // 2)
    server_cpus, load_cpus = split_cpus(workers)
    count, seconds = options.repeat(9, 5), options.pick(2, 1)
    with contextlib.ExitStack() as stack:
        servers = {
            name: stack.enter_context(
                Server(
                    listens=["0.0.0.0:0"],
                    workers=2 * workers,
                    steering=keys,
                    wrap=on_cpus(server_cpus),
                    timeouts={"keepalive": "600s"},
                )
            )
            for name, keys in SETTINGS.items()
        }
        for mode, fields in (("keep-alive", ()), ("close", ("Connection: close",))):
            got = {name: [] for name in servers}
            for turn in range(count):
                order = list(servers) if turn % 2 == 0 else list(servers)[::-1]
                for name in order:
                    got[name].append(cheap_turn(servers[name], seconds, load_cpus, fields))
            yield from cheap_figures(mode, got)


def cheap_figures(mode, got):
    for key, what, limit, unit, form in (
        ("rate", "requests/s", (">=", 0.98), "/s", "%.0f"),
        ("cpu", "CPU time per request", ("<=", 1.02), "us", "%.2f"),
    ):
        values = {name: [g[key] for g in turns] for name, turns in got.items()}
        ratios = [a / b for a, b in zip(values["least"], values["plain reuseport"])]
        yield Figure(
            11,
            "cheap traffic, %s: %s, least / plain reuseport" % (mode, what),
            limit,
            ratios,
            form="%.3f",
        )
        least = values.pop("least")
        yield Figure(11, "  %s, least" % what, None, least, unit, values, form)


# --- 12: bimodal service ---


def bimodal_servers(stack, workers):
    """{name: port}"""
    env = {"LD_PRELOAD": tool("slow.so"), "SLOW_MS": "50"}
    if os.environ.get("SLOW_BURN"):
        env["SLOW_BURN"] = "1"
    routes = {"/hello": {"respond": "hello"}, "/slow": {"respond": "slow"}}
    settings = dict(SETTINGS, busy=dict(REQUIRED, policy="busy"))
    ports = {}
    for name, keys in settings.items():
        server = stack.enter_context(
            Server(workers=workers, steering=keys, routes=routes, env=env)
        )
        ports[name] = server.address()[1]
    peers = {
        "nginx": lambda: Nginx(workers, False, env),
        "nginx reuseport": lambda: Nginx(workers, True, env),
    }
    for queue in haproxy_queues():
        peers["haproxy multi-queue " + queue] = lambda queue=queue: Haproxy(workers, queue, env)
    for name, make in peers.items():
        with contextlib.suppress(Skip):
            ports[name] = stack.enter_context(make()).port
    return ports


def row_12(options):
    """Open loop, a connection for each request, 1 % of them cost their worker 50 ms: p99 of the others."""
    workers, rate, seconds = 4, options.pick(1500, 1000), options.pick(3, 2)
    with contextlib.ExitStack() as stack:
        ports = bimodal_servers(stack, workers)
        got = {name: [] for name in ports}
        lost = {name: 0 for name in ports}
        for turn in range(options.repeat(7, 5)):
            order = list(ports) if turn % 2 == 0 else list(ports)[::-1]
            for name in order:
                seen = run_load(ports[name], rate, seconds, 100)
                got[name].append(seen["fast"]["p99_ms"])
                lost[name] += seen["failed"]
                assert seen["slow"]["n"] and seen["slow"]["p50_ms"] >= 45, "nothing was slow: %s" % seen
    least, busy = got.pop("least"), got.pop("busy")
    note = "%d workers, %d conn/s; failed: %s" % (
        workers,
        rate,
        ", ".join("%s %d" % item for item in lost.items() if item[1]) or "none",
    )
    for name, values in (("least", least), ("busy", busy)):
        yield Figure(
            12,
            "1 %% of requests 50 ms: p99 of the others, %s" % name,
            None,
            values,
            "ms",
            peers=got if name == "least" else {"plain reuseport": got["plain reuseport"]},
            note=note,
        ).against("plain reuseport", 0.5)


# --- 15: every run counted ---


def sum_of_verdicts(server):
    return sum(server.status()["steering"]["verdicts"].values())


def uncounted(server, seconds):
    """Runs without a verdict or verdicts without a run, after a crash, a drain and a change of policy under load."""
    with Load(server.address()[1], 800, seconds) as load:
        victim = server.workers()[1]["pid"]
        os.kill(victim, signal.SIGKILL)
        set_weight(server, 2, 0)
        set_policy(server, 0)
        wait_for(lambda: server.workers()[1]["pid"] not in (0, victim), "a new worker", 20)
        set_weight(server, 2, 100)
        set_policy(server, 77)
        time.sleep(0.1)  # some connections with a policy there is none of
        set_policy(server, 1)
        load.result()
    return abs(sum_of_verdicts(server) - program_stats(server)[0])


def row_15(options):
    """The kernel's run_cnt of the program against the sum of its verdicts."""
    with counted_runs():
        with Server(workers=4, steering=REQUIRED) as server:
            values = [uncounted(server, 1) for _ in range(options.repeat(10, 5))]
            runs, table = program_stats(server)[0], server.status()["steering"]["verdicts"]
    yield Figure(
        15,
        "sum of verdicts - runs of the program",
        ("=", 0),
        values,
        form="%.0f",
        note="%d runs: %s" % (runs, ", ".join("%s %d" % v for v in table.items() if v[1])),
    ).worst_counts()


ROWS = {9: row_9, 10: row_10, 11: row_11, 12: row_12, 15: row_15}
