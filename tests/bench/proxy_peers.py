# SPDX-License-Identifier: MIT
"""What the reverse proxy is measured with and against: the back end, and sluice, nginx and HAProxy in front of it.

All three do the same work for a request: they keep connections to the back end, set Host, X-Forwarded-For and
X-Forwarded-Proto, write no log, and let bodies of any size through as they come.  Beyond that each is set up for speed.
"""
import json
import os
import subprocess

import steer_peers
from common import children_of, cpu_seconds, memory_kb, on_cpus, output_of, session_pids
from harness import SLUICE, Server, get, need_tool, wait_for
from steer_peers import Announced, Peer, tool

KEEP = 256  # idle connections to the back end that a worker may keep


class Backend:
    """backend.c, on a CPU of the load."""

    def __init__(self, cpus=None, delay_ms=0):
        self.words = (on_cpus(cpus) if cpus else []) + [tool("backend"), "0", str(delay_ms)]

    def __enter__(self):
        self.proc = subprocess.Popen(self.words, stdout=subprocess.PIPE, universal_newlines=True)
        self.port = int(self.proc.stdout.readline().split()[1])
        return self

    def stats(self):
        return json.loads(get(("127.0.0.1", self.port), "/stats").body)

    def __exit__(self, *args):
        self.proc.kill()
        self.proc.wait()
        self.proc.stdout.close()


class Proxy:
    """What the measurements need of any of them."""

    def cpu_s(self):
        return cpu_seconds(self.proc.pid)

    def pss_kb(self):
        return sum(memory_kb(pid, "Pss") for pid in session_pids(self.proc.pid))

    def descriptor_count(self):
        return sum(len(os.listdir("/proc/%d/fd" % pid)) for pid in session_pids(self.proc.pid))


class Sluice(Server, Proxy):
    name = "sluice"

    def __init__(self, back_port, workers=1, cpus=None, idle_s=600, extra=""):
        back = 'upstream "back" {\n\tkeepalive = %d\n\tkeepalive_time = %ds\n\tserver "127.0.0.1:%d" { }\n}\n' % (
            KEEP,
            idle_s,
            back_port,
        )
        super().__init__(
            listens=["0.0.0.0:0"],
            workers=workers,
            routes={"/": {"proxy": "back", "body": "2g"}},
            timeouts={"keepalive": "600s"},
            wrap=on_cpus(cpus) if cpus else (),
            extra=back + extra,
        )

    def start(self):
        super().start()
        self.port = self.address()[1]
        wait_for(lambda: get(("127.0.0.1", self.port), "/hello").status == 200, "sluice proxies")
        return self

    def worker_pids(self):
        return [w["pid"] for w in self.workers()]


class ProxyPeer(Peer, Proxy):
    def __init__(self, back_port, workers=1, cpus=None, idle_s=600):
        Peer.__init__(self, workers)
        self.back_port, self.cpus, self.idle_s = back_port, cpus, idle_s

    def command(self):
        return (on_cpus(self.cpus) if self.cpus else []) + super().command()

    def answers(self):
        if self.proc.poll() is not None:
            raise AssertionError("%s left with %d: see %s" % (self.name, self.proc.returncode, self.config))
        return super().answers()


class Nginx(ProxyPeer, steer_peers.Nginx):
    """Neither responses nor requests by way of a file; buffers as large as pay (measured: 64 KiB)."""

    name = "nginx"

    def __init__(self, back_port, workers=1, cpus=None, idle_s=600):
        ProxyPeer.__init__(self, back_port, workers, cpus, idle_s)

    def text(self):
        return """daemon off;
user nobody nogroup;
worker_processes %(workers)d;
worker_rlimit_nofile 20000;
pid %(dir)s/pid;
error_log /dev/null;
events { worker_connections 16384; }
http {
	access_log off;
	keepalive_timeout 600s;
	keepalive_requests 1000000000;
	client_max_body_size 0;
	client_body_buffer_size 64k;
	client_body_temp_path %(dir)s/body;
	proxy_temp_path %(dir)s/proxy;
	proxy_http_version 1.1;
	proxy_request_buffering off;
	proxy_max_temp_file_size 0;
	proxy_buffers 16 64k;
	proxy_busy_buffers_size 256k;
	proxy_send_timeout 1h;
	upstream back {
		server 127.0.0.1:%(back_port)d;
		keepalive %(keep)d;
		keepalive_requests 1000000000;
		keepalive_timeout %(idle_s)ds;
	}
	server {
		listen %(port)d reuseport backlog=4096;
		proxy_set_header Host $host;
		proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
		proxy_set_header X-Forwarded-Proto $scheme;
		location / {
			proxy_pass http://back;
			proxy_set_header Host $host;
			proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
			proxy_set_header X-Forwarded-Proto $scheme;
			proxy_set_header Connection "";
		}
		location /tunnel {
			proxy_pass http://back;
			proxy_set_header Upgrade $http_upgrade;
			proxy_set_header Connection "upgrade";
			proxy_read_timeout 1h;
		}
	}
}
""" % dict(vars(self), keep=KEEP)

    def worker_pids(self):
        return children_of(self.proc.pid)


class Haproxy(ProxyPeer, steer_peers.Haproxy):
    """Bodies by splice where it thinks that this pays.  More connections would want more than 20,000 descriptors."""

    name = "haproxy"

    def __init__(self, back_port, workers=1, cpus=None, idle_s=600):
        ProxyPeer.__init__(self, back_port, workers, cpus, idle_s)

    def text(self):
        return """global
	nbthread %(workers)d
	maxconn 7500
defaults
	mode http
	option http-keep-alive
	option splice-auto
	option forwardfor
	http-reuse always
	timeout client 600s
	timeout http-request 60s
	timeout http-keep-alive 600s
	timeout connect 5s
	timeout server 600s
	timeout tunnel 1h
listen f
	bind 0.0.0.0:%(port)d backlog 4096
	http-request set-header X-Forwarded-Proto http
	server back 127.0.0.1:%(back_port)d pool-max-conn -1 pool-purge-delay %(idle_s)ds
""" % vars(self)

    def worker_pids(self):
        return [self.proc.pid]


class Relay(Announced, Proxy):
    """relay.c, which reads nothing of what it passes on: the floor, one process however many workers others have."""

    name = "relay"

    def __init__(self, back_port, workers=1, cpus=None, idle_s=600):
        self.words = (on_cpus(cpus) if cpus else []) + [tool("relay"), "0", str(back_port)]


PROXIES = {p.name: p for p in (Sluice, Nginx, Haproxy, Relay)}


def versions(names):
    out = [output_of(SLUICE, "version").split("\n")[0]] if "sluice" in names else []
    return out + [v for v in steer_peers.versions() if v.split("/")[0].lower() in names]


def need_proxies(names):
    for name in names:
        if name not in ("sluice", "relay"):
            need_tool(name)


def connection_count(port, side="remote", states=("01",)):
    """Sockets with that port on one side, whoever holds them, out of /proc/net/tcp; 01 is established."""
    column, ending = (2 if side == "remote" else 1), ":%04X" % port
    with open("/proc/net/tcp") as f:
        lines = [line.split() for line in f]
    return sum(1 for words in lines if words[column].endswith(ending) and words[3] in states)


def upstream_count(port):
    """Connections that somebody has to a back end at that port."""
    return connection_count(port)


def client_count(port):
    """Connections of clients that a proxy at that port has, half-closed ones included."""
    return connection_count(port, "local", ("01", "08"))


def load_of(program, words, cpus, timeout=600):
    """Runs a load program and returns its JSON; a failed request is an error of the run."""
    done = subprocess.run(
        on_cpus(cpus) + [tool(program)] + [str(w) for w in words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=timeout,
    )
    try:
        said = json.loads(done.stdout)
    except ValueError:
        raise AssertionError("%s %s: %d %s" % (program, words, done.returncode, done.stderr))
    if said["failed"]:
        raise AssertionError("%s %s: %s\n%s" % (program, words, done.stdout, done.stderr))
    return said


def set_tools(folder):
    steer_peers.TOOLS = folder
    os.environ["BENCH_TOOLS"] = folder
