# SPDX-License-Identifier: MIT
"""Web servers side by side: sluice, nginx, HAProxy, h2o, lighttpd as Debian has them, and limit.c, the floor.

Each is set up for speed: as many workers or threads as it has CPUs, a listening socket for each worker where the server
can, sendfile, open files kept, keep-alive without end, no log unless the case is about logs.  All serve the same folder;
a constant reply comes from the configuration where the server has such a thing (sluice, nginx, HAProxy), else from a file
of as many bytes.  HAProxy serves no files, and its log goes over a socket only: it has no part in those cases.
"""
import os
import re
import shutil

import steer_peers
from common import cpu_split, memory_kb, on_cpus, output_of, session_pids
from harness import SLUICE, Server, get, need_tool
from steer_peers import Announced, Peer, tool

CONSTANT = "hello"


class Web:
    """What the measurements need of any of them; `session` is the id of its processes' session."""

    serves_files = writes_log = True
    log_path = None

    def cpu(self):
        """(user, system) seconds of all its processes so far"""
        return cpu_split(self.proc.pid)

    def pss_kb(self):
        return sum(memory_kb(pid, "Pss") for pid in session_pids(self.proc.pid))

    def empty_log(self):
        if self.log_path:
            os.truncate(self.log_path, 0)

    def worker_pid(self):
        """Of the first process that serves."""
        return self.proc.pid


class Sluice(Server, Web):
    name = "sluice"

    def __init__(self, www, workers, cpus, has_log=False, wrap=(), extra=""):
        super().__init__(
            listens=["0.0.0.0:0"],
            workers=workers,
            www=www,
            routes={"/": {"files": www}, "/hello": {"respond": CONSTANT}},
            steering={"enabled": False} if wrap else None,
            timeouts={"keepalive": "600s"},
            log={"access": "@DIR@/access.log"} if has_log else None,
            wrap=list(wrap) + on_cpus(cpus),
            extra=extra,
        )
        self.log_path = os.path.join(self.dir, "access.log") if has_log else None

    def start(self):
        super().start()
        self.port = self.address()[1]
        return self

    def worker_pid(self):
        return self.workers()[0]["pid"]


class WebPeer(Peer, Web):
    """With words in front of its command line it stays root: callgrind's file is root's."""

    def __init__(self, www, workers, cpus, has_log=False, wrap=()):
        super().__init__(workers)
        self.www, self.cpus, self.wrap = www, cpus, list(wrap)
        self.log_path = os.path.join(self.dir, "access.log") if has_log else None
        if has_log:  # lighttpd opens it when it is nobody already
            with open(self.log_path, "w"):
                shutil.chown(self.log_path, "nobody")

    def command(self):
        return self.wrap + on_cpus(self.cpus) + self.words()

    def answers(self):
        if self.proc.poll() is not None:
            raise AssertionError("%s left with %d: see %s" % (self.name, self.proc.returncode, self.config))
        return super().answers()


class Nginx(WebPeer):
    name = program = "nginx"

    def text(self):
        return """daemon off;
user nobody nogroup;
worker_processes %(workers)d;
worker_rlimit_nofile 20000;
pid %(dir)s/pid;
error_log /dev/null;
events {
	worker_connections 16384;
	multi_accept on;
}
http {
	access_log %(log)s;
	sendfile on;
	tcp_nopush on;
	open_file_cache max=1000 inactive=600s;
	open_file_cache_valid 60s;
	keepalive_requests 1000000000;
	keepalive_timeout 600s;
	include /etc/nginx/mime.types;
	server {
		listen %(port)d reuseport backlog=4096;
		root %(www)s;
		location = /hello { return 200 "hello"; }
	}
}
""" % dict(vars(self), log="%s combined buffer=64k flush=1s" % self.log_path if self.log_path else "off")

    def words(self):
        return [need_tool("nginx"), "-c", self.config, "-e", "/dev/null"]

    def worker_pid(self):
        return self.pids()[0]


class Haproxy(WebPeer):
    name = program = "haproxy"
    serves_files = writes_log = False

    def text(self):
        return """global
	nbthread %(workers)d
	no strict-limits
	ulimit-n 20000
	maxconn 15000
defaults
	mode http
	option http-keep-alive
	timeout client 600s
	timeout http-request 60s
	timeout http-keep-alive 600s
	timeout connect 5s
	timeout server 60s
frontend f
	bind 0.0.0.0:%(port)d backlog 4096
	http-request return status 200 content-type text/plain string hello hdr Date "Thu, 01 Jan 1970 00:00:00 GMT"
""" % vars(self)

    def words(self):
        return [need_tool("haproxy"), "-db", "-q", "-f", self.config]


class H2o(WebPeer):
    name = program = "h2o"

    def text(self):
        return """user: %(user)s
num-threads: %(workers)d
max-connections: 16000
tcp-fastopen: 0
http1-request-timeout: 600
error-log: /dev/null
%(log)slisten: %(port)d
hosts:
  default:
    paths:
      /:
        file.dir: %(www)s
        file.etag: "ON"
""" % dict(
            vars(self),
            user="root" if self.wrap else "nobody",
            log="access-log: %s\n" % self.log_path if self.log_path else "",
        )

    def words(self):
        return [need_tool("h2o"), "-m", "worker", "-c", self.config]


class Lighttpd(WebPeer):
    """Its counter of requests on a connection has 16 bits."""

    name = program = "lighttpd"

    def text(self):
        return """server.port = %(port)d
server.document-root = "%(www)s"
%(drop)sserver.max-fds = 20000
server.max-connections = 16000
server.max-worker = %(processes)d
server.listen-backlog = 4096
server.event-handler = "linux-sysepoll"
server.network-backend = "sendfile"
server.max-keep-alive-requests = 65535
server.max-keep-alive-idle = 600
server.max-read-idle = 600
server.errorlog = "/dev/null"
mimetype.assign = ("" => "application/octet-stream")
%(log)s""" % dict(
            vars(self),
            drop="" if self.wrap else 'server.username = "nobody"\nserver.groupname = "nogroup"\n',
            processes=self.workers if self.workers > 1 else 0,
            log='server.modules = ("mod_accesslog")\naccesslog.filename = "%s"\n' % self.log_path if self.log_path else "",
        )

    def words(self):
        return [need_tool("lighttpd"), "-D", "-f", self.config]


class Limit(Announced, Web):
    """limit.c: what the kernel takes for itself."""

    name = "limit"
    writes_log = False

    def __init__(self, workers, cpus, size=len(CONSTANT), is_closing=False):
        self.words = on_cpus(cpus) + [tool("limit"), "0", str(workers), str(size)] + ["close"] * is_closing


SERVERS = {s.name: s for s in (Sluice, Nginx, Haproxy, H2o, Lighttpd)}


def make_www(folder):
    """The files that all of them serve."""
    for name, size in (("hello", None), ("128", 128), ("10k", 10 << 10), ("1m", 1 << 20)):
        with open(os.path.join(folder, name), "wb") as f:
            f.write(CONSTANT.encode() if size is None else b"x" * size)
    os.chmod(folder, 0o755)


def versions(names):
    out = [output_of(SLUICE, "version").split("\n")[0]] if "sluice" in names else []
    out += [v for v in steer_peers.versions() if v.split("/")[0].lower() in names]
    if "h2o" in names:
        out.append("h2o/" + output_of("h2o", "--version").split("\n")[0].split()[-1])
    if "lighttpd" in names:
        out.append(output_of(need_tool("lighttpd"), "-v").split()[0])
    return out


def configurations(workers):
    """{name: text}, with places in words instead of paths of this run."""
    out = {}
    for name, make in SERVERS.items():
        server = make("/srv/www", workers, [0])
        text = server.text if name == "sluice" else server.text()
        server.abandon() if name == "sluice" else os.rmdir(server.dir)
        text = text.replace(server.dir, "/run/DIR").replace(str(getattr(server, "port", "none")), "8080")
        out[name] = re.sub(r"sluice-test-\d+-\d+", "bench", text)
    return out
