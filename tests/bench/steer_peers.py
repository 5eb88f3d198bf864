# SPDX-License-Identifier: MIT
"""What the steering is measured with and against: load, the pinned maps as memory, nginx, HAProxy."""
import contextlib
import ctypes
import json
import mmap
import os
import platform
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile

from common import children_of, need_tool, output_of
from harness import Skip, get, wait_for

TOOLS = os.environ.get("BENCH_TOOLS", "build/release/tests/bench")
LIBC = ctypes.CDLL(None, use_errno=True)
SYS_BPF = {"x86_64": 321, "aarch64": 280}
BPF_OBJ_GET = 7


def tool(name):
    path = os.path.join(TOOLS, name)
    if not os.path.exists(path):
        raise Skip("needs %s (make bench-tools)" % path)
    return os.path.abspath(path)


# --- load ---


class Load:
    """openload in the background; result() waits for it.  Leaving the block ends it."""

    def __init__(self, port, rate, seconds, slow_every=0, wrap=(), keep=0):
        words = [tool("openload"), str(port), str(rate), str(seconds), str(slow_every), str(keep)]
        self.proc = subprocess.Popen(
            list(wrap) + words, stdout=subprocess.PIPE, universal_newlines=True
        )

    def result(self, timeout=600):
        text, _ = self.proc.communicate(timeout=timeout)
        if self.proc.returncode:
            raise AssertionError("openload failed with %s" % self.proc.returncode)
        return json.loads(text)

    def __enter__(self):
        return self

    def __exit__(self, *args):
        if self.proc.poll() is None:
            self.proc.kill()
            self.proc.wait()
        self.proc.stdout.close()


def run_load(port, rate, seconds, slow_every=0):
    with Load(port, rate, seconds, slow_every) as load:
        return load.result()


# --- maps ---


class MapMemory:
    """A pinned map, mapped: to look at it, or to write into it, costs the server nothing."""

    def __init__(self, path, size, is_writable=False):
        number = SYS_BPF.get(platform.machine())
        if number is None:
            raise Skip("bpf(2) has no known number on %s" % platform.machine())
        name = ctypes.create_string_buffer(path.encode())
        attr = ctypes.create_string_buffer(struct.pack("=QII", ctypes.addressof(name), 0, 0), 16)
        fd = LIBC.syscall(number, BPF_OBJ_GET, attr, 16)
        if fd < 0:
            raise AssertionError("%s: %s" % (path, os.strerror(ctypes.get_errno())))
        prot = mmap.PROT_READ | (mmap.PROT_WRITE if is_writable else 0)
        try:
            self.memory = mmap.mmap(fd, (size + 4095) // 4096 * 4096, prot=prot)
        finally:
            os.close(fd)
        self.size = size


class Slots(MapMemory):
    LINE = struct.Struct("=IHHQIIIIIIQ")
    NAMES = "epoch current previous stamp_ns live pending is_up cpu pid is_waiting accepted".split()

    def __init__(self, server, count, is_writable=False):
        super().__init__(os.path.join(server.pin, "steer_slots"), count * 64, is_writable)

    def __getitem__(self, slot):
        return dict(zip(self.NAMES, self.LINE.unpack_from(self.memory, slot * 64)))


def set_weight(server, slot, weight):
    weights = MapMemory(os.path.join(server.pin, "steer_weights"), 4 * 256, True)
    weights.memory[slot * 4 : slot * 4 + 4] = struct.pack("=I", weight)
    weights.memory.close()


def set_policy(server, number):
    config = MapMemory(os.path.join(server.pin, "steer_config"), 40, True)
    config.memory[0:4] = struct.pack("=I", number)
    config.memory.close()


@contextlib.contextmanager
def counted_runs():
    """The kernel counts runs of BPF programs, and their time, inside this block."""
    path = "/proc/sys/kernel/bpf_stats_enabled"
    try:
        with open(path) as f:
            before = f.read()
        with open(path, "w") as f:
            f.write("1")
    except OSError as e:
        raise Skip("the kernel does not count runs of BPF programs: %s" % e)
    try:
        yield
    finally:
        with open(path, "w") as f:
            f.write(before)


def program_stats(server):
    """(runs, ns) of the program of the first address"""
    shown = subprocess.run(
        [need_tool("bpftool"), "-j", "prog", "show", "pinned", server.pin + "/steer_prog_0"],
        stdout=subprocess.PIPE,
        universal_newlines=True,
        check=True,
    )
    entry = json.loads(shown.stdout)
    return entry.get("run_cnt", 0), entry.get("run_time_ns", 0)


# --- peers ---


class Announced:
    """A program of ours that prints "port N" once it listens: `words` start it."""

    def __enter__(self):
        self.proc = subprocess.Popen(
            self.words, stdout=subprocess.PIPE, universal_newlines=True, start_new_session=True
        )
        self.port = int(self.proc.stdout.readline().split()[1])
        return self

    def __exit__(self, *args):
        self.proc.kill()
        self.proc.wait()
        self.proc.stdout.close()


class Peer:
    """Another server in a folder of its own, in a session of its own; ended by its pid."""

    program = ""

    def __init__(self, workers, env=None):
        need_tool(self.program)
        self.workers = workers
        self.env = dict(os.environ, **(env or {}))
        self.dir = tempfile.mkdtemp(prefix="sluice-bench-")
        os.chmod(self.dir, 0o755)
        with socket.socket() as s:
            s.bind(("0.0.0.0", 0))
            self.port = s.getsockname()[1]
        self.config = os.path.join(self.dir, "conf")

    def __enter__(self):
        with open(self.config, "w") as f:
            f.write(self.text())
        self.proc = subprocess.Popen(
            self.command(), start_new_session=True, env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            wait_for(self.answers, "%s answers" % self.program)
        except AssertionError:
            self.__exit__()
            raise
        return self

    def answers(self):
        with contextlib.suppress(OSError):
            return get(("127.0.0.1", self.port), "/hello").status == 200

    def pids(self):
        return children_of(self.proc.pid)

    def __exit__(self, *args):
        self.proc.terminate()
        try:
            self.proc.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.proc.pid, signal.SIGKILL)  # its own session, so its own group
            self.proc.wait(5)
        shutil.rmtree(self.dir, ignore_errors=True)


class Nginx(Peer):
    program = "nginx"

    def __init__(self, workers, is_reuseport, env=None):
        super().__init__(workers, env)
        self.is_reuseport = is_reuseport

    def text(self):
        names = "".join("env %s;\n" % n for n in self.env if n.startswith(("SLOW_", "LD_PRELOAD")))
        return """daemon off;
%(names)suser nobody nogroup;
worker_processes %(workers)d;
worker_rlimit_nofile 20000;
pid %(dir)s/pid;
error_log /dev/null;
events { worker_connections 16384; }
http {
	access_log off;
	keepalive_timeout 600s;
	client_header_timeout 600s;
	server {
		listen %(port)d %(reuseport)s backlog=4096;
		location / { return 200 "hello"; }
	}
}
""" % {
            "names": names,
            "workers": self.workers,
            "dir": self.dir,
            "port": self.port,
            "reuseport": "reuseport" if self.is_reuseport else "",
        }

    def command(self):
        return [need_tool("nginx"), "-c", self.config, "-e", "/dev/null"]


class Haproxy(Peer):
    program = "haproxy"

    def __init__(self, workers, queue, env=None):
        super().__init__(workers, env)
        self.queue = queue

    def text(self):
        return """global
	nbthread %d
	maxconn 8000
	tune.listener.multi-queue %s
defaults
	mode http
	timeout client 60s
	timeout http-request 60s
	timeout connect 5s
	timeout server 60s
frontend f
	bind 0.0.0.0:%d backlog 4096
	http-request return status 200 content-type text/plain string hello hdr Date "Thu, 01 Jan 1970 00:00:00 GMT"
""" % (self.workers, self.queue, self.port)

    def command(self):
        return [need_tool("haproxy"), "-db", "-q", "-f", self.config]


class HaproxyMaster(Haproxy):
    """With a master process, which takes SIGUSR2 for a reload and hands its sockets to the new worker."""

    def text(self):
        return super().text().replace("global\n", "global\n\thard-stop-after 10s\n", 1)

    def command(self):
        return [need_tool("haproxy"), "-W", "-db", "-q", "-f", self.config]


def haproxy_queues():
    """Which settings of tune.listener.multi-queue this HAProxy has: `fair` came with 2.9."""
    m = re.search(r"version (\d+)\.(\d+)", output_of("haproxy", "-v"))
    if not m:
        return []
    return ["on", "fair"] if (int(m.group(1)), int(m.group(2))) >= (2, 9) else ["on"]


def versions():
    return [
        v
        for v in (
            output_of("nginx", "-v").replace("nginx version: ", ""),
            output_of("haproxy", "-v").split("-")[0].replace("HAProxy version ", "HAProxy/"),
        )
        if v
    ]


# --- who holds which connection ---


def holders(port):
    """{client's port: pid} of the established connections of that server port, out of ss."""
    done = subprocess.run(
        [need_tool("ss"), "-tnpH", "state", "established", "sport = :%d" % port],
        stdout=subprocess.PIPE,
        universal_newlines=True,
        check=True,
    )
    table = {}
    for line in done.stdout.splitlines():
        m = re.search(r"(\S+:\d+)\s+users:.*?pid=(\d+)", line)
        if m:
            table[m.group(1)] = int(m.group(2))
    return table


def held_by(port, pids):
    """Connections of each of the processes"""
    counts = dict.fromkeys(pids, 0)
    for pid in holders(port).values():
        counts[pid] = counts.get(pid, 0) + 1
    return counts
