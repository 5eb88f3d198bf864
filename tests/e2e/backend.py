# SPDX-License-Identifier: MIT
"""Back ends for the tests of the reverse proxy: they read requests in the strictest way, write down what came, and
answer as told, rudely too.

Backend          a listener with a thread for each connection, in the test's own process.  Every request is parsed by
                 the letter of RFC 9112; whatever is not exactly that is kept as ODD and its connection closed: a
                 proxy that re-serialises has no reason to send anything else.
BackendProcess   the same in a process of its own, to be stopped and killed.

A path picks the script that answers (SCRIPTS, and on() for one test's own); every other path is answered with a
description of the request as JSON.  A script gets the connection and the request and says whether to go on.

    backend.py [--name NAME] [--listen ADDR:PORT | --listen unix:PATH]      prints its address, serves until killed
"""
import collections
import contextlib
import hashlib
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.parse

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") ([!-\"$-~]+) HTTP/1\.1\Z")
FIELD_LINE = re.compile(rb"(" + TOKEN + rb"):(?: ([!-~\x80-\xff](?:[\t !-~\x80-\xff]*[!-~\x80-\xff])?)?)?\Z")
AUTHORITY = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|(?:[\w\-.~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+)(?::[0-9]*)?\Z", re.A)
CHUNK_LINE = re.compile(rb"[0-9A-Fa-f]{1,16}\Z")
# Fields that no trailer section may carry (RFC 9110 6.5.1): about framing, routing, and who somebody is.
NO_TRAILERS = {
    "content-length", "transfer-encoding", "host", "connection", "trailer", "te", "upgrade", "expect", "cookie",
    "authorization", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "forwarded", "via", "content-type",
}
HEAD_MAX = 1 << 20
KEPT_MAX = 1 << 20  # bytes of a body that are kept; of the rest only the hash is
BLOCK = hashlib.shake_256(b"sluice").digest(65537)  # an odd length: no two blocks of a body align alike

DATE = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"


class Odd(Exception):
    """The bytes are no request of RFC 9112, or not the strictest spelling of one."""


class Gone(Exception):
    """The stream ended."""


def pattern(size, start=0):
    """Pieces of the content that stands for `size` bytes, from byte `start` on: the same everywhere."""
    at = start
    while at < size:
        offset = at % len(BLOCK)
        piece = BLOCK[offset : offset + min(len(BLOCK) - offset, size - at)]
        yield piece
        at += len(piece)


def pattern_bytes(size):
    return b"".join(pattern(size))


def pattern_hash(size):
    digest = hashlib.sha256()
    for piece in pattern(size):
        digest.update(piece)
    return digest.hexdigest()


class Request:
    def __init__(self, method, target, fields, connection, number):
        self.method, self.target, self.fields = method, target, fields
        self.connection, self.number = connection, number  # number: of this request on its connection, from 1
        self.framing = "none"
        self.body, self.body_len, self.trailers = b"", 0, []
        self.digest = hashlib.sha256()
        self.is_complete = False
        path, _, query = target.partition("?")
        self.path, self.query = path, dict(urllib.parse.parse_qsl(query, keep_blank_values=True))

    def all(self, name):
        return [v for n, v in self.fields if n.lower() == name.lower()]

    def get(self, name, default=None):
        values = self.all(name)
        return values[0] if values else default

    def take(self, piece):
        self.digest.update(piece)
        self.body_len += len(piece)
        if len(self.body) < KEPT_MAX:
            self.body += piece

    def key(self):
        """What a verdict is about."""
        return (self.method, self.target, self.body)

    def describe(self, name):
        return {
            "backend": name,
            "method": self.method,
            "target": self.target,
            "fields": self.fields,
            "framing": self.framing,
            "body_len": self.body_len,
            "sha256": self.digest.hexdigest(),
            "trailers": self.trailers,
            "connection": self.connection,
            "number": self.number,
        }

    def __repr__(self):
        return "<%s %s %d%s>" % (
            self.method, self.target[:80], self.body_len, "" if self.is_complete else " incomplete"
        )


class Connection:
    """One accepted connection; reads strictly."""

    def __init__(self, backend, sock, number, peer):
        self.backend, self.sock, self.number, self.peer = backend, sock, number, peer
        self.data = b""
        self.raw = b""  # the first bytes, for reports
        self.preface = None  # PROXY protocol: the header's bytes
        self.request_count = 0

    # read

    def fill(self):
        try:
            piece = self.sock.recv(262144)
        except OSError:
            piece = b""
        if not piece:
            raise Gone()
        if len(self.raw) < 16384:
            self.raw += piece
        self.data += piece

    def take(self, count):
        while len(self.data) < count:
            self.fill()
        piece, self.data = self.data[:count], self.data[count:]
        return piece

    def take_line(self):
        """A line that ends in CRLF and has no other CR, LF or NUL."""
        while b"\n" not in self.data:
            if len(self.data) > HEAD_MAX:
                raise Odd("endless line")
            self.fill()
        line, self.data = self.data.split(b"\n", 1)
        if not line.endswith(b"\r") or b"\r" in line[:-1] or b"\0" in line:
            raise Odd("line %r" % line[:200])
        return line[:-1]

    def take_fields(self):
        fields = []
        while True:
            line = self.take_line()
            if not line:
                return fields
            m = FIELD_LINE.match(line)
            if not m:
                raise Odd("field line %r" % line[:200])
            fields.append((m.group(1).decode("ascii"), (m.group(2) or b"").decode("latin-1")))

    def read_head(self):
        """The next request without its body; None at the end of the stream."""
        while not self.data:
            try:
                self.fill()
            except Gone:
                return None
        line = self.take_line()
        m = REQUEST_LINE.match(line)
        if not m:
            raise Odd("request line %r" % line[:200])
        self.request_count += 1
        r = Request(m.group(1).decode(), m.group(2).decode(), [], self.number, self.request_count)
        if not (r.target.startswith("/") or (r.target == "*" and r.method == "OPTIONS")):
            raise Odd("target %r" % r.target)
        r.fields = self.take_fields()
        self.check_head(r)
        return r

    @staticmethod
    def check_head(r):
        hosts, lengths, codings = r.all("host"), r.all("content-length"), r.all("transfer-encoding")
        if len(hosts) != 1 or not AUTHORITY.match(hosts[0]):
            raise Odd("Host %r" % hosts)
        if len(lengths) + len(codings) > 1:
            raise Odd("framing twice: %r %r" % (lengths, codings))
        if lengths and not re.fullmatch("0|[1-9][0-9]{0,18}", lengths[0]):
            raise Odd("Content-Length %r" % lengths)
        if codings and codings[0] != "chunked":
            raise Odd("Transfer-Encoding %r" % codings)
        for name in ("keep-alive", "proxy-connection"):
            if r.all(name):
                raise Odd("a hop-by-hop field %s" % name)
        tokens = [t.strip().lower() for v in r.all("connection") for t in v.split(",")]
        if set(tokens) - {"keep-alive", "close", "upgrade", "te"}:
            raise Odd("Connection %r" % tokens)
        if ("upgrade" in tokens) != bool(r.all("upgrade")):
            raise Odd("Upgrade %r with Connection %r" % (r.all("upgrade"), tokens))
        r.framing = "sized" if lengths else "chunked" if codings else "none"

    def read_body(self, r):
        if r.framing == "sized":
            left = int(r.get("content-length"))
            while left > 0:
                if not self.data:
                    self.fill()
                piece, self.data = self.data[:left], self.data[left:]
                r.take(piece)
                left -= len(piece)
        elif r.framing == "chunked":
            self.read_chunks(r)
        r.is_complete = True
        return r

    def read_chunks(self, r):
        while True:
            line = self.take_line()
            if not CHUNK_LINE.match(line):
                raise Odd("chunk size %r" % line[:200])
            left = int(line, 16)
            if left == 0:
                break
            while left > 0:
                if not self.data:
                    self.fill()
                piece, self.data = self.data[:left], self.data[left:]
                r.take(piece)
                left -= len(piece)
            if self.take(2) != b"\r\n":
                raise Odd("no CRLF behind a chunk")
        r.trailers = self.take_fields()
        for name, _ in r.trailers:
            if name.lower() in NO_TRAILERS:
                raise Odd("a trailer %s" % name)

    def read_preface(self):
        """The header of the PROXY protocol, v1 or v2."""
        if self.take(1) == b"P":
            line = b"P" + self.take_line()
            if not line.startswith(b"PROXY "):
                raise Odd("PROXY line %r" % line)
            self.preface = line
            return
        head = b"\r" + self.take(15)
        if head[:12] != b"\r\n\r\n\0\r\nQUIT\n":
            raise Odd("PROXY header %r" % head)
        self.preface = head + self.take(struct.unpack("!H", head[14:])[0])

    # write

    def send(self, data):
        """False when the other side is gone."""
        try:
            self.sock.sendall(data if isinstance(data, bytes) else data.encode("latin-1"))
        except OSError:
            return False
        return True

    def answer(self, request, body=b"", status="200 OK", fields="", should_close=False):
        body = body.encode() if isinstance(body, str) else body
        head = "HTTP/1.1 %s\r\n%s%sContent-Length: %d\r\n%s\r\n" % (
            status, DATE, fields, len(body), "Connection: close\r\n" if should_close else ""
        )
        return self.send(head.encode("latin-1") + (b"" if request.method == "HEAD" else body)) and not should_close

    def reset(self):
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()
        return False

    def end_output(self):
        """FIN, then reads until the other side is gone: what was sent is not lost to a reset."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)
        with contextlib.suppress(Gone):
            while True:
                self.fill()
                self.data = b""
        return False

    def close(self):
        with contextlib.suppress(OSError):
            self.sock.close()

    # serve

    def serve(self):
        request = None
        try:
            if self.backend.has_preface:
                self.read_preface()
            while True:
                request = None
                request = self.read_head()
                if request is None or not self.serve_one(request):
                    return
        except Gone:
            if request is not None and not request.is_complete:
                self.backend.note("partial", request)
            elif request is None and self.data:
                self.backend.note("cut", self.data)
        except Odd as why:
            self.backend.note("odd", "%s; the connection's bytes begin %r" % (why, self.raw[:400]))
        finally:
            self.close()
            self.backend.forget(self)

    def serve_one(self, request):
        self.backend.note("heads", request)
        script = self.backend.script_of(request)
        if script in EARLY or getattr(script, "is_early", False):
            return script(self, request)
        self.read_body(request)
        self.backend.note("requests", request)
        return script(self, request)


# --- scripts: answers by path ---


def script_describe(c, r):
    text = json.dumps(r.describe(c.backend.name))
    return c.answer(r, text, fields="Content-Type: application/json\r\n")


def script_hash(c, r):
    return c.answer(r, r.digest.hexdigest())


def script_status(c, r):
    return c.answer(r, r.query.get("body", "x"), status="%s Because" % r.query["code"])


def script_slow(c, r):
    """?ms=  silence before the answer"""
    c.backend.pause(int(r.query.get("ms", 300)) / 1000)
    return script_describe(c, r)


def script_down(c, r):
    """?size=&framing=sized|chunked|close&chunk=  the pattern"""
    size, framing = int(r.query["size"]), r.query.get("framing", "sized")
    field = {
        "sized": "Content-Length: %d\r\n" % size,
        "chunked": "Transfer-Encoding: chunked\r\n",
        "close": "Connection: close\r\n",
    }[framing]
    ok = c.send("HTTP/1.1 200 OK\r\n" + DATE + field + "\r\n")
    if r.method == "HEAD":
        return ok
    if framing != "chunked":
        return all(c.send(piece) for piece in pattern(size)) and framing == "sized"
    step = int(r.query.get("chunk", 10007))
    for piece in pattern(size):
        for at in range(0, len(piece), step):
            part = piece[at : at + step]
            if not c.send(b"%x\r\n%s\r\n" % (len(part), part)):
                return False
    return c.send(b"0\r\n\r\n")


def script_sse(c, r):
    """?count=  events; each but the first waits until the test calls backend.tick()"""
    c.send("HTTP/1.1 200 OK\r\n" + DATE + "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    for i in range(int(r.query.get("count", 5))):
        if i and not c.backend.ticks.acquire(timeout=10):
            return False
        event = b"data: event %d\n\n" % i
        if not c.send(b"%x\r\n%s\r\n" % (len(event), event)):
            return False
    return c.send(b"0\r\n\r\n")


def script_drip(c, r):
    """?count=&ms=  a sized body, a byte at a time"""
    count, pause = int(r.query.get("count", 5)), int(r.query.get("ms", 50)) / 1000
    c.send("HTTP/1.1 200 OK\r\n" + DATE + "Content-Length: %d\r\n\r\n" % count)
    for _ in range(count):
        c.backend.pause(pause)
        if not c.send(b"."):
            return False
    return True


def script_upgrade(c, r):
    """101 to whatever was asked for; then every byte comes back, and the end too."""
    protocol = r.get("upgrade")
    if protocol is None:
        return c.answer(r, "no upgrade asked", status="426 Upgrade Required")
    c.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: %s\r\n\r\nhello " % protocol)
    with contextlib.suppress(Gone):
        while True:
            if not c.data:
                c.fill()
            data, c.data = c.data, b""
            if not c.send(data):
                return False
    c.send(b" bye")
    c.end_output()
    return False


def script_early(c, r):
    """Answers before it has read the body, then closes (?keep: reads the rest and goes on)."""
    if "keep" in r.query:
        c.answer(r, "early", status="403 Forbidden")
        c.read_body(r)
        c.backend.note("requests", r)
        return True
    c.answer(r, "early", status="403 Forbidden", should_close=True)
    return c.end_output()


def script_expect(c, r):
    """100 when it was asked for, then as usual."""
    if r.get("expect"):
        c.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    c.read_body(r)
    c.backend.note("requests", r)
    return script_describe(c, r)


def script_refuse(c, r):
    """Answers an expectation with 417 and takes no body."""
    c.answer(r, "no", status="417 Expectation Failed", should_close=True)
    return c.end_output()


def script_never(c, r):
    with contextlib.suppress(Gone):
        while True:
            c.fill()
            c.data = b""
    return False


def script_stuck(c, r):
    """Reads nothing more and answers nothing until the back end stops."""
    c.backend.stopping.wait(60)
    return False


def script_close(c, r):
    return False


def script_reset(c, r):
    return c.reset()


SCRIPTS = {
    "/hash": script_hash,
    "/status": script_status,
    "/slow": script_slow,
    "/down": script_down,
    "/sse": script_sse,
    "/drip": script_drip,
    "/upgrade": script_upgrade,
    "/early": script_early,
    "/expect": script_expect,
    "/refuse": script_refuse,
    "/never": script_never,
    "/stuck": script_stuck,
    "/close": script_close,
    "/reset": script_reset,
}
# These are asked before the body was read.
EARLY = {script_early, script_expect, script_refuse, script_stuck}


def raw(*pieces, then="close", is_early=False):
    """A script that sends bytes as they are; numbers among them are pauses in ms.

    then    "close" (FIN), "reset", "keep" (the next request of the connection is read), "hold" (silence, open)
    """

    def script(c, r):
        for piece in pieces:
            if isinstance(piece, (int, float)):
                c.backend.pause(piece / 1000)
            elif not c.send(piece):
                return False
        if then == "reset":
            return c.reset()
        if then == "hold":
            return script_never(c, r)
        return True if then == "keep" else c.end_output()

    script.is_early = is_early
    return script


def gated(backend):
    """Requests for /gate wait at the back end until the event is set."""
    gate = threading.Event()

    def wait(c, r):
        gate.wait(30)
        return c.answer(r, "open")

    backend.on("/gate", wait)
    return gate


# --- the back end ---


class Backend:
    """address: (host, port), or the path of a Unix socket."""

    def __init__(self, address=("127.0.0.1", 0), name="b", scripts=None, has_preface=False, backlog=128):
        self.name, self.scripts, self.has_preface = name, dict(SCRIPTS, **(scripts or {})), has_preface
        self.default = script_describe
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.ticks = threading.Semaphore(0)
        self.open = {}
        self.clear()
        self.connection_count = 0  # accepted, ever
        self.most_open = 0
        if isinstance(address, str):
            family, self.path = socket.AF_UNIX, address
        else:
            family, self.path = socket.AF_INET6 if ":" in address[0] else socket.AF_INET, None
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        if not self.path:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind(address)
        if self.path:
            os.chmod(self.path, 0o666)
        self.sock.listen(backlog)
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def clear(self):
        """Forgets what was recorded."""
        with self.lock:
            self.heads, self.requests, self.partial, self.odd, self.cut = [], [], [], [], []

    @property
    def server(self):
        """As the configuration names it."""
        if self.path:
            return "unix:" + self.path
        host, port = self.sock.getsockname()[:2]
        return "%s:%d" % ("[%s]" % host if ":" in host else host, port)

    @property
    def address(self):
        return self.sock.getsockname()[:2]

    def on(self, path, script):
        self.scripts[path] = script
        return self

    def script_of(self, request):
        return self.scripts.get(request.path, self.default)

    def note(self, where, what):
        with self.lock:
            getattr(self, where).append(what)

    def forget(self, connection):
        with self.lock:
            self.open.pop(connection.number, None)

    def pause(self, seconds):
        """As if the application were at work; ends at once when the test does."""
        self.stopping.wait(seconds)

    def tick(self):
        self.ticks.release()

    def accept(self):
        while not self.stopping.is_set():
            try:
                sock, peer = self.sock.accept()
            except OSError:
                return
            with self.lock:
                if self.stopping.is_set():
                    sock.close()
                    return
                self.connection_count += 1
                c = Connection(self, sock, self.connection_count, peer)
                self.open[c.number] = c
                self.most_open = max(self.most_open, len(self.open))
            if not self.path:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=c.serve, daemon=True).start()

    def close_idle(self):
        """Every open connection gets a FIN, as after the keep-alive time of a server."""
        with self.lock:
            connections = list(self.open.values())
        for c in connections:
            with contextlib.suppress(OSError):
                c.sock.shutdown(socket.SHUT_RDWR)

    def stop(self):
        self.stopping.set()
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        self.close_idle()
        if self.path:
            with contextlib.suppress(OSError):
                os.unlink(self.path)

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.stop()

    def assert_nothing_odd(self):
        assert not self.odd, "%d odd requests reached the back end, the first: %s" % (len(self.odd), self.odd[0])
        assert not self.cut, "a piece of a head reached the back end: %r" % self.cut[0]

    def counts(self):
        return collections.Counter(r.path for r in self.requests)


class Refuser:
    """A port that refuses: bound, never listening, so nobody else gets it."""

    def __init__(self):
        self.sock = socket.socket()
        self.sock.bind(("127.0.0.1", 0))
        self.server = "127.0.0.1:%d" % self.sock.getsockname()[1]

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.sock.close()


class Ignorer:
    """A port where connecting never ends: the accept queue is full and stays so."""

    def __init__(self):
        self.sock = socket.socket()
        self.sock.bind(("127.0.0.1", 0))
        self.sock.listen(0)
        self.server = "127.0.0.1:%d" % self.sock.getsockname()[1]
        self.fillers = []
        for _ in range(4):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(self.sock.getsockname())
            self.fillers.append(s)

    def __enter__(self):
        return self

    def __exit__(self, *args):
        for s in self.fillers + [self.sock]:
            s.close()


class Stoppable:
    """A process, `proc`, whose standard output is a pipe."""

    def pids(self):
        return [self.proc.pid]

    def freeze(self):
        self.proc.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.proc.send_signal(signal.SIGCONT)

    def kill(self):
        self.proc.kill()
        self.proc.wait()
        self.proc.stdout.close()


class BackendProcess(Stoppable):
    """A back end that can be stopped (SIGSTOP), killed, and started again at the same port: so it has an address that
    no connection goes out from, which could take the port in between.
    """

    HOST = "127.0.0.6"

    def __init__(self, name="p", port=0):
        self.name, self.port = name, port
        self.start()

    def start(self):
        self.proc = subprocess.Popen(
            [sys.executable, os.path.abspath(__file__), "--name", self.name, "--listen", self.server],
            stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
        )
        self.port = int(self.proc.stdout.readline())
        return self

    @property
    def server(self):
        return "%s:%d" % (self.HOST, self.port)

    @property
    def address(self):
        return (self.HOST, self.port)

    def __enter__(self):
        return self

    def __exit__(self, *args):
        if self.proc.poll() is None:
            self.kill()


def serve_forever(words):
    options = dict(zip(words[::2], words[1::2]))
    host, _, port = options.get("--listen", "127.0.0.1:0").rpartition(":")
    address = port if host == "unix" else (host.strip("[]"), int(port))
    backend = Backend(address, options.get("--name", "p"), backlog=1024)
    print(backend.path or backend.address[1], flush=True)
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    serve_forever(sys.argv[1:])
