# SPDX-License-Identifier: MIT
"""What the measurements share: CPU sets, load programs, CPU time of process groups, medians."""
import contextlib
import ctypes
import datetime
import glob
import itertools
import os
import re
import statistics
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))

import harness  # noqa: E402,F401
from harness import Skip, cpu_ticks, memory_kb, need_tool, proc_stat, session_pids  # noqa: E402,F401

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
CLONE_NEWNET = 0x40000000
CONGESTION = "/proc/sys/net/ipv4/tcp_congestion_control"


@contextlib.contextmanager
def skipping():
    """What cannot run here ends the program with 77, aloud."""
    try:
        yield
    except Skip as why:
        print("SKIP: %s" % why)
        sys.exit(77)


def own_network():
    """From here on this process and its children have a loopback of their own, with the kernel's settings; whether so.

    What the machine has set must not decide a comparison.  The algorithm is reno: others are not allowed to everybody in
    a namespace, one that paces (bbr) costs a timer for each 64 KB, and on a loopback nothing is ever lost.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() != 0 or libc.unshare(CLONE_NEWNET) != 0:
        print("no network namespace for this: the machine's loopback, with its settings")
        return False
    subprocess.run([need_tool("ip"), "link", "set", "lo", "up"], check=True)
    with open(CONGESTION, "w") as f:
        f.write("reno")
    return True


@contextlib.contextmanager
def ahead_of_others():
    """What is started within runs before all other work of the machine: server and load alike; whether so.

    At a fixed rate the longest waits are those for a CPU that something else has: milliseconds, a whole turn of the
    scheduler, whoever serves.  Not for a load that saturates: nothing else would run on its CPU.  Newer kernels keep
    50 ms of each second for other work all the same, so a busy machine still shows in the tail.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        print("no real-time priority for this: times depend on what else the machine does")
        yield False
        return
    try:
        yield True
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def split_cpus(workers):
    """(CPUs of the server, CPUs of the load): apart where there are enough, else the load shares the last one."""
    cpus = sorted(os.sched_getaffinity(0))
    return cpus[:workers], cpus[workers:] or cpus[-1:]


def on_cpus(cpus):
    return [need_tool("taskset"), "-c", ",".join(map(str, cpus))]


def cpu_seconds(session):
    """utime + stime of all processes of a session."""
    return sum(cpu_ticks(pid) for pid in session_pids(session)) / TICKS_PER_S


def cpu_split(session):
    """(user, system) seconds of all processes of a session."""
    stats = [s for s in (proc_stat(pid) for pid in session_pids(session)) if s]
    return sum(int(s[11]) for s in stats) / TICKS_PER_S, sum(int(s[12]) for s in stats) / TICKS_PER_S


def waited_s(session):
    """Seconds in which all threads of a session were ready, and something else had their CPU."""
    total = 0
    for pid in session_pids(session):
        for path in glob.glob("/proc/%d/task/*/schedstat" % pid):
            with contextlib.suppress(OSError), open(path) as f:
                total += int(f.read().split()[1])
    return total / 1e9


def children_of(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
        return [int(x) for x in f.read().split()]


TURNS = itertools.count(1)


def fresh_host():
    """An address of the loopback for this turn: ports that the last one left in TIME_WAIT are no hindrance."""
    turn = next(TURNS)
    return "127.1.%d.%d" % (turn // 250, 1 + turn % 250)


class WrkResult:
    def __init__(self, text):
        self.text = text
        self.requests = int(re.search(r"(\d+) requests in", text).group(1))
        self.per_second = float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1))
        m = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
        self.errors = sum(map(int, m.groups())) if m else 0
        m = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
        self.errors += int(m.group(1)) if m else 0
        m = re.search(r"wrong bodies: (\d+)", text)
        self.wrong = int(m.group(1)) if m else 0


def wrk(url, seconds, connections=64, cpus=None, fields=(), script=None):
    words = (on_cpus(cpus) if cpus else []) + [
        need_tool("wrk"),
        "-t1",
        "-c%d" % connections,
        "-d%ds" % seconds,
    ]
    for field in fields:
        words += ["-H", field]
    if script:
        words += ["-s", script]
    done = subprocess.run(
        words + [url],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        timeout=seconds + 60,
    )
    if done.returncode:
        raise AssertionError("wrk failed:\n" + done.stdout)
    return WrkResult(done.stdout)


def median(values):
    return statistics.median(values)


def spread(values, form="%.0f"):
    return (form + " (" + form + "-" + form + ")") % (median(values), min(values), max(values))


def append_table(path, title, note, keys, rows):
    """A section of today at the end of a document; `rows` are dicts."""
    with open(path, "a") as f:
        f.write("\n## %s, %s\n\n%s\n\n" % (title, datetime.date.today(), note))
        f.write("| %s |\n|%s\n" % (" | ".join(keys), "---|" * len(keys)))
        for row in rows:
            f.write("| %s |\n" % " | ".join(str(row[k]) for k in keys))


def output_of(*words):
    try:
        done = subprocess.run(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True
        )
    except FileNotFoundError:
        return ""
    return done.stdout.strip()


def machine():
    model = ""
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    with open(CONGESTION) as f:
        congestion = f.read().strip()
    return "Linux %s, %d x %s, tcp %s" % (
        os.uname().release,
        len(os.sched_getaffinity(0)),
        model or os.uname().machine,
        congestion,
    )
