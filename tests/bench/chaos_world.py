# SPDX-License-Identifier: MIT
"""What the chaos run is made of: back ends, and a server whose configuration changes.

Everything runs in a network namespace that only this run has (lifetime.py), so ports are fixed.  The back ends are
groups of servers; at most one server of a group is in trouble at a time, so a request always has a server to go to.
"""
import contextlib
import os
import shutil
import signal
import subprocess
import time

import steer_peers
from backend import BackendProcess, Stoppable, pattern_bytes
from common import children_of, need_tool
from harness import Server, is_alive, section, wait_for
from proxy import upstream, upstreams
from steer_peers import tool

FIXED = [("127.0.0.1", 8080), ("::1", 8081)]
EXTRA = ("127.0.0.1", 8082)  # comes and goes
PORTS = {8080, 8081, 8082}

# Limits of the configuration, in seconds; what a request may take follows from them (chaos_ledger.py).
DRAIN_S = 6
CONNECT_S = 1
FIRST_BYTE_S = 3
BETWEEN_S = 3
LOG_FLUSH_S = 0.05
TRIES = 3
DELAY_MS = 200  # of what the back ends answer to /slow: something is under way when one of them dies

FILES = {"f%d" % size: size for size in (0, 1, 100, 10000, 100003, 1000003, 3000001)}


# --- back ends ---


class WireBackend(Stoppable):
    """backend.c at a port of its own."""

    def __init__(self, port):
        self.port, self.server = port, "127.0.0.1:%d" % port

    def start(self):
        self.proc = subprocess.Popen(
            [tool("backend"), str(self.port), str(DELAY_MS)], stdout=subprocess.PIPE, universal_newlines=True
        )
        assert self.proc.stdout.readline().startswith("port"), "backend.c does not start"


class PythonBackend(BackendProcess):
    """backend.py, whose bodies both sides hash."""

    def __init__(self, port):
        super().__init__("p%d" % port, port)
        self.kill()


class NginxBackend(steer_peers.Peer):
    """Serves the same files as the server itself."""

    program = "nginx"

    def __init__(self, port, www):
        super().__init__(2)
        self.port, self.server, self.www = port, "127.0.0.1:%d" % port, www

    def text(self):
        return """daemon off;
user nobody nogroup;
worker_processes 2;
pid %(dir)s/pid;
error_log /dev/null;
events { worker_connections 4096; }
http {
	access_log off;
	keepalive_timeout 600s;
	keepalive_requests 1000000;
	client_body_temp_path %(dir)s/body;
	server {
		listen 127.0.0.1:%(port)d reuseport;
		location / { root %(www)s; }
	}
}
""" % {"dir": self.dir, "port": self.port, "www": self.www}

    def command(self):
        return [need_tool("nginx"), "-c", self.config, "-e", "/dev/null"]

    def answers(self):
        with contextlib.suppress(OSError):
            return steer_peers.get(("127.0.0.1", self.port), "/f1").status == 200

    def start(self):
        self.__enter__()

    def pids(self):
        return [self.proc.pid] + children_of(self.proc.pid)

    def all(self, number):
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def freeze(self):
        self.all(signal.SIGSTOP)

    def thaw(self):
        self.all(signal.SIGCONT)

    def reload(self):
        self.proc.send_signal(signal.SIGHUP)

    def kill(self):
        pids = self.pids()
        self.all(signal.SIGKILL)
        self.proc.wait()
        wait_for(lambda: not any(map(is_alive, pids)), "nginx is gone")

    def close(self):
        shutil.rmtree(self.dir, ignore_errors=True)


class Group:
    """Servers behind one upstream.  `is_busy`: one of them is in trouble, or has not come back for good yet."""

    def __init__(self, name, members, has_trouble=True, check=None, **keys):
        self.name, self.members, self.has_trouble, self.check, self.keys = name, members, has_trouble, check, keys
        self.is_busy = False

    def text(self):
        return upstream(
            self.name, [m.server for m in self.members], self.check, retry_percent=1000, keepalive=32, **self.keys
        )


def groups(www):
    check = {"path": "/", "interval": "200ms", "timeout": "500ms", "rise": 2, "fall": 2}
    return [
        Group("steady", [WireBackend(9001)], has_trouble=False),
        Group("shaky", [WireBackend(9101 + i) for i in range(3)], check=check, eject_time="1s"),
        Group("py", [PythonBackend(9201 + i) for i in range(2)], fails=3, eject_time="500ms"),
        Group("web", [NginxBackend(9301 + i, www) for i in range(2)], balance="rr", fails=3, eject_time="500ms"),
    ]


# --- the server ---


class Variant:
    """One state of the configuration."""

    def __init__(self, workers=6, version=1, has_extra=True, is_rebalancing=False):
        self.workers, self.version = workers, version
        self.has_extra, self.is_rebalancing = has_extra, is_rebalancing

    def but(self, **changes):
        return Variant(**dict(vars(self), **changes))

    def __str__(self):
        return "version=%d workers=%d extra=%d rebalance=%d" % (
            self.version, self.workers, self.has_extra, self.is_rebalancing,
        )


class World:
    """The server and its back ends; what happens to them is the business of chaos_events.py."""

    def __init__(self, variant):
        self.server = Server(config="")
        for name, size in FILES.items():
            self.server.write(name, pattern_bytes(size))
        self.groups = groups(self.server.www)
        self.variant = variant
        self.server.text = self.render(variant)

    def render(self, v):
        s = self.server
        out = ["workers = %d\ncontrol = \"%s\"\npin = \"%s\"\nuser = \"nobody\"\n" % (v.workers, s.control, s.pin)]
        out.append(section("steering", {"required": True, "rebalance": "auto" if v.is_rebalancing else "off"}))
        for host, port in FIXED + ([EXTRA] if v.has_extra else []):
            out.append(section("listen", {}, "%s:%d" % ("[%s]" % host if ":" in host else host, port)))
        out += [g.text() for g in self.groups]
        routes = {"/files/": {"files": s.www}, "/version": {"respond": "version %d" % v.version}}
        for g in self.groups:
            routes["/%s/" % g.name] = {
                "proxy": g.name,
                "rewrite": "/",
                "body": "64m",
                "tries": TRIES,
                "connect_timeout": "%ds" % CONNECT_S,
                "first_byte_timeout": "%ds" % FIRST_BYTE_S,
                "between_timeout": "%ds" % BETWEEN_S,
            }
        out.append('site "*" {\n%s}\n' % "".join(section("route", keys, prefix) for prefix, keys in routes.items()))
        out.append(section("timeouts", {"drain": "%ds" % DRAIN_S, "header": "5s", "body": "5s", "write": "10s"}))
        log = {"access": s.dir + "/access.log", "format": "json", "flush": "%dms" % (LOG_FLUSH_S * 1000)}
        out.append(section("log", log))
        return "".join(out)

    def __enter__(self):
        self.started = []
        try:
            for g in self.groups:
                for m in g.members:
                    m.start()
                    self.started.append(m)
            self.server.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *args):
        self.server.abandon()
        for m in self.started:
            with contextlib.suppress(Exception):
                m.thaw()
            with contextlib.suppress(Exception):
                m.kill()
            with contextlib.suppress(AttributeError):
                m.close()

    def write_config(self, text):
        with open(self.server.conf_path, "w") as f:
            f.write(text)

    def status(self):
        return self.server.status()

    def master(self):
        return self.status()["pid"]

    def is_well(self, group):
        """All servers of the group are asked."""
        with contextlib.suppress(KeyError):
            states = {e["server"]: e["state"] for e in upstreams(self.server)[group.name]["servers"]}
            return all(states[m.server] in ("up", "unknown") for m in group.members)
        return False


def now():
    return time.monotonic()
