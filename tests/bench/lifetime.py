# SPDX-License-Identifier: MIT
"""For what kills, reloads and upgrades servers: the kernel's counters, and who had which connection when it died."""
import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time

from common import own_network
from harness import Skip, proc_stat, session_pids, wait_for

PIDFD_GETFD = 438
LIBC = ctypes.CDLL(None, use_errno=True)


def need_own_network():
    """Ports and the kernel's counters are nobody else's from now on."""
    if not own_network():
        raise Skip("needs a network namespace")


def netstat(name):
    """A counter of /proc/net/netstat, of this process's network."""
    with open("/proc/self/net/netstat") as f:
        lines = [line.split() for line in f]
    for names, values in zip(lines[::2], lines[1::2]):
        if name in names:
            return int(values[names.index(name)])
    raise Skip("the kernel does not count %s" % name)


class ProcessHandle:
    """A process that cannot be confused with another one of the same number."""

    def __init__(self, pid):
        self.pid = pid
        self.fd = os.pidfd_open(pid)

    def signal(self, number):
        """False: it is gone."""
        try:
            signal.pidfd_send_signal(self.fd, number)
        except ProcessLookupError:
            return False
        return True

    def close(self):
        os.close(self.fd)

    def connections(self, ports):
        """{("client's address:port", server's port)} of the clients' connections that it has."""
        found = set()
        for name in os.listdir("/proc/%d/fd" % self.pid):
            fd = LIBC.syscall(PIDFD_GETFD, self.fd, int(name), 0)
            if fd < 0:
                continue
            try:
                s = socket.socket(fileno=fd)
            except OSError:
                os.close(fd)
                continue
            with s, contextlib.suppress(OSError):
                if s.family in (socket.AF_INET, socket.AF_INET6) and s.getsockname()[1] in ports:
                    found.add(("%s:%d" % s.getpeername()[:2], s.getsockname()[1]))
        return found


def kill_known(pid, ports):
    """SIGKILL; (when, connections that died with it), or None if it was gone.

    It stands still before it dies: no instruction of it runs in between, so what it has is known exactly, and it dies
    as it would have without.
    """
    with contextlib.suppress(ProcessLookupError, FileNotFoundError), contextlib.closing(ProcessHandle(pid)) as process:
        if not process.signal(signal.SIGSTOP):
            return None
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and (proc_stat(pid) or "Z")[0] not in "TZX":
            time.sleep(0.0005)
        held, at = process.connections(ports), time.monotonic()
        return (at, held) if process.signal(signal.SIGKILL) else None
    return None


def can_upgrade(server):
    """Whether this sluice has the sub-command."""
    done = subprocess.run(server.command("help"), stdout=subprocess.PIPE, universal_newlines=True)
    return "\n  upgrade" in done.stdout


def stop_successor(server):
    """`sluice stop`: by whoever is the master now, which need not be the process that was started; nothing is left."""
    session = server.proc.pid
    done = server.cli("stop")
    assert done.returncode == 0, done.stderr
    assert server.proc.wait(20) == 0, "exit status %d" % server.proc.returncode
    wait_for(lambda: not session_pids(session), lambda: "processes left: %s" % session_pids(session), 10)
    server.assert_gone(session)
    server.assert_clean_stderr()


def all_run(server):
    return all(w["state"] == "running" and w["pid"] for w in server.workers())
