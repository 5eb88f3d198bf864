# SPDX-License-Identifier: MIT
"""What the UDP tests stand on: a server that answers with whom it sees, numbered flows, name servers.

Witness   answers each datagram with the port it came from, in front of its content.  The proxy has one connected socket for
          each session, so that port names the session, and with it the process, that the datagram went through.
Flows     sockets that each send numbered datagrams and hold what comes back against what they sent.
Nsd       a name server from Debian.
"""
import contextlib
import selectors
import socket
import threading
import time

from harness import PATIENCE, need_tool
from peers import Peer


def free_udp_port(host="127.0.0.1"):
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind((host, 0))
        return s.getsockname()[1]


def udp_listen(address, **keys):
    """A section listen_udp, as text."""
    from harness import section

    return section("listen_udp", keys, address)


def upstream(name, *servers, **keys):
    from harness import quote, value

    lines = ["\t%s = %s\n" % (k, value(v)) for k, v in keys.items()]
    return "upstream %s {\n%s%s}\n" % (
        quote(name),
        "".join(lines),
        "".join("\tserver %s { }\n" % quote(s) for s in servers),
    )


class Witness:
    """`answer`: (data, port) -> list of datagrams; `silent`: reads and keeps quiet."""

    def __init__(self, host="127.0.0.1", answer=None, port=0):
        self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.sock.bind((host, port))
        self.port = self.sock.getsockname()[1]
        self.server = ("[%s]:%d" if ":" in host else "%s:%d") % (host, self.port)
        self.answer = answer or (lambda data, port: [b"%d " % port + data])
        self.seen = []
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        while True:
            try:
                data, peer = self.sock.recvfrom(65536)
            except OSError:
                return
            if not data:
                return
            self.seen.append((data, peer[1]))
            for reply in self.answer(data, peer[1]):
                with contextlib.suppress(OSError):
                    self.sock.sendto(reply, peer)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *args):
        # An empty datagram from ourselves ends the thread; closing alone would leave it in recvfrom().
        with socket.socket(self.sock.family, socket.SOCK_DGRAM) as s:
            s.sendto(b"", self.sock.getsockname())
        self.thread.join(PATIENCE)
        self.sock.close()


def udp_client(address, source=None, timeout=None):
    s = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(PATIENCE if timeout is None else timeout)
    if source:
        s.bind((source, 0))
    s.connect(address)
    return s


def ask(s, data, size=65536):
    s.send(data)
    return s.recv(size)


class Flow:
    def __init__(self, address):
        self.sock = udp_client(address)
        self.sock.setblocking(False)
        self.sent = self.received = 0
        self.session = None
        self.sent_at = 0


class Flows(threading.Thread):
    """Each flow asks, waits for the answer, rests for `pause` seconds and asks again, until stop()."""

    def __init__(self, address, count, pause=0.01):
        super().__init__(daemon=True)
        self.address, self.pause = address, pause
        self.lock = threading.Lock()
        self.flows, self.wanted = [], count
        self.faults, self.moved, self.lost = [], 0, 0
        self.is_stopping = False
        self.start()

    def more(self, count):
        with self.lock:
            self.wanted += count

    def ask(self, f, now):
        f.sent += 1
        f.sent_at = now
        f.sock.send(b"%d %d" % (id(f), f.sent))

    def take(self, f):
        session, _, content = f.sock.recv(2048).partition(b" ")
        if content != b"%d %d" % (id(f), f.sent):
            self.faults.append("%r in answer to %d" % (content, f.sent))
        if f.received == f.sent:
            self.faults.append("%r twice" % content)
        if f.session not in (None, session):
            self.moved += 1
        f.session = session
        f.received = f.sent

    def run(self):
        # A thread that dies would leave flows without their answers, and nobody would know why.
        try:
            self.serve()
        except Exception as e:
            self.faults.append("%s, with %d flows waiting" % (repr(e), sum(f.sent != f.received for f in self.flows)))

    def serve(self):
        with selectors.DefaultSelector() as selector:
            while True:
                now = time.monotonic()
                with self.lock:
                    wanted = self.wanted
                while len(self.flows) < wanted and not self.is_stopping:
                    f = Flow(self.address)
                    self.flows.append(f)
                    selector.register(f.sock, selectors.EVENT_READ, f)
                for f in self.flows:
                    if f.sent == f.received and not self.is_stopping and now - f.sent_at >= self.pause:
                        self.ask(f, now)
                    elif f.sent != f.received and now - f.sent_at > PATIENCE:
                        self.lost += 1
                        f.received = f.sent
                # Counted last: stop() may come after some of them have asked.
                if self.is_stopping and all(f.sent == f.received for f in self.flows):
                    return
                for key, _ in selector.select(self.pause):
                    self.take(key.data)

    def stop(self):
        self.is_stopping = True
        self.join(3 * PATIENCE)
        assert not self.is_alive()
        for f in self.flows:
            f.sock.close()
        return self


class Nsd(Peer):
    name = "nsd"
    ZONE = """
$ORIGIN example.test.
$TTL 300
@ IN SOA ns hostmaster 1 3600 600 86400 300
@ IN NS ns
ns IN A 192.0.2.1
www IN A 192.0.2.80
www IN AAAA 2001:db8::80
big IN TXT %s
""" % " ".join('"%s"' % (chr(97 + i) * 200) for i in range(10))
    CONF = """
server:
	ip-address: 127.0.0.1@%(port)d
	port: %(port)d
	username: ""
	chroot: ""
	zonesdir: "%(dir)s"
	pidfile: "%(dir)s/nsd.pid"
	database: ""
	xfrdfile: "%(dir)s/xfrd.state"
	zonelistfile: "%(dir)s/zone.list"
	xfrdir: "%(dir)s"
	server-count: 1
	ipv4-edns-size: 4096
	rrl-ratelimit: 0
remote-control:
	control-enable: no
zone:
	name: example.test
	zonefile: example.test.zone
"""

    def command(self):
        path = need_tool("nsd")
        self.write("example.test.zone", self.ZONE)
        return [path, "-d", "-c", self.write("nsd.conf", self.CONF % {"port": self.port, "dir": self.dir})]
