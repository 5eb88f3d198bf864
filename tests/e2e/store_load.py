# SPDX-License-Identifier: MIT
"""Concurrent clients of a store who write down what they asked and what they were told.

Recorder  runs random requests on a number of connections until told to stop, or each has made its share; its `ops` are
          for linear.check().  Whatever ends without a clear answer is UNKNOWN until barrier() says that it is settled.
"""
import random
import socket
import threading
import time

from linear import UNKNOWN, Op

ANSWER_S = 30


class Gone(Exception):
    """The connection ended before its answer."""


class Connection:
    """As small as it gets: this is to make a hundred thousand requests."""

    def __init__(self, address):
        self.sock = socket.create_connection(address, timeout=ANSWER_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data = b""

    def close(self):
        self.sock.close()

    def fill(self):
        try:
            piece = self.sock.recv(65536)
        except OSError as e:
            raise Gone(str(e))
        if not piece:
            raise Gone("end of stream")
        self.data += piece

    def request(self, method, path, fields=b"", body=b""):
        """(status, etag, content)"""
        head = b"%s %s HTTP/1.1\r\nHost: t\r\n%s" % (method, path, fields)
        if method in (b"PUT", b"POST"):
            head += b"Content-Length: %d\r\n" % len(body)
        try:
            self.sock.sendall(head + b"\r\n" + body)
        except OSError as e:
            raise Gone(str(e))
        while b"\r\n\r\n" not in self.data:
            self.fill()
        head, _, self.data = self.data.partition(b"\r\n\r\n")
        status, length, etag = int(head[9:12]), 0, None
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b": ")
            if name == b"Content-Length":
                length = int(value)
            elif name == b"ETag":
                etag = value
        while len(self.data) < length:
            self.fill()
        content, self.data = self.data[:length], self.data[length:]
        return status, etag, content


RESULTS = {
    ("put", 201): "ok", ("put", 204): "ok",
    ("create", 201): "ok", ("create", 412): "no",
    ("swap", 204): "ok", ("swap", 412): "no",
    ("delete", 204): "ok", ("delete", 404): "no",
}  # fmt: skip


class Client:
    def __init__(self, recorder, number, seed):
        self.recorder, self.number = recorder, number
        self.random = random.Random(seed * 1000 + number)
        self.count = 0
        self.seen = {}  # key -> (value, etag), as this client knows it
        self.connection = None

    def connect(self):
        if self.connection is None:
            self.connection = Connection(self.recorder.address())

    def drop(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def choose(self, key):
        kind = self.random.choices(self.recorder.kinds, self.recorder.weights)[0]
        return "create" if kind == "swap" and key not in self.seen else kind

    def ask(self, kind, key, value):
        """(result, expected, etag)"""
        path, expected = self.recorder.path + key.encode(), None
        if kind == "read":
            status, etag, content = self.connection.request(b"GET", path)
            if status == 200:
                return content.partition(b" ")[0].decode(), None, etag
            return (None if status == 404 else UNKNOWN), None, None
        if kind == "delete":
            status, etag, _ = self.connection.request(b"DELETE", path)
        else:
            fields = b""
            if kind == "create":
                fields = b"If-None-Match: *\r\n"
            elif kind == "swap":
                expected, known = self.seen[key]
                fields = b"If-Match: %s\r\n" % known
            status, etag, _ = self.connection.request(b"PUT", path, fields, value.encode() + self.recorder.padding)
        result = RESULTS.get((kind, status))
        if result is None:
            self.recorder.note(kind, status)
            # 503 says that nothing was done: it is as if it had not been asked.
            return (None if status == 503 else UNKNOWN), expected, etag
        return result, expected, etag

    def one(self):
        key = self.random.choice(self.recorder.keys)
        kind = self.choose(key)
        self.count += 1
        value = "%d.%d" % (self.number, self.count)
        expected = self.seen[key][0] if kind == "swap" else None
        begin = time.monotonic_ns()
        etag = None
        try:
            self.connect()
            begin = time.monotonic_ns()
            result, expected, etag = self.ask(kind, key, value)
        except (Gone, OSError) as e:
            self.recorder.note(kind, "gone")
            self.drop()
            result = UNKNOWN
            time.sleep(0.002)
            if self.connection is None and isinstance(e, ConnectionRefusedError):
                return
        end = time.monotonic_ns()
        # A read without an answer tells nothing.
        if result is (UNKNOWN if kind == "read" else None):
            return
        self.recorder.add(Op(kind, key, value if kind != "read" else None, expected, result, begin, end))
        if kind == "read" and result is not None:
            self.seen[key] = (result, etag)
        elif result == "ok" and kind != "delete":
            self.seen[key] = (value, etag)
        elif kind != "read" or result is None:
            self.seen.pop(key, None)

    def run(self, count):
        try:
            while not self.recorder.is_stopping and count != 0:
                self.one()
                count -= 1
        except Exception as e:  # told by join()
            self.recorder.errors.append(e)
        finally:
            self.drop()


class Recorder:
    kinds = ["read", "put", "swap", "create", "delete"]
    weights = [40, 25, 20, 5, 10]

    def __init__(self, address, connections=8, keys=16, seed=1, path=b"/", size=0):
        self.address = address if callable(address) else lambda: address
        self.keys = ["k%d" % i for i in range(keys)]
        self.path = path
        self.padding = b" " + b"x" * size if size else b""
        self.clients = [Client(self, i, seed) for i in range(connections)]
        self.ops, self.errors, self.notes = [], [], {}
        self.lock = threading.Lock()
        self.is_stopping = False
        self.threads = []

    def add(self, op):
        self.ops.append(op)  # atomic enough: the interpreter's lock

    def note(self, kind, what):
        with self.lock:
            self.notes[kind, what] = self.notes.get((kind, what), 0) + 1

    def start(self, count=-1):
        self.is_stopping = False
        self.threads = [threading.Thread(target=c.run, args=(count,), daemon=True) for c in self.clients]
        for t in self.threads:
            t.start()

    def join(self):
        for t in self.threads:
            t.join(120)
            if t.is_alive():
                raise AssertionError("a client hangs")
        if self.errors:
            raise self.errors[0]

    def stop(self):
        self.is_stopping = True
        self.join()

    def barrier(self):
        """Nobody is asking and who was asked has answered or is dead: what is unknown has happened by now, or never."""
        now = time.monotonic_ns()
        self.ops = [op._replace(end=now) if op.result == UNKNOWN and op.end > self.settled_ns() else op for op in self.ops]
        self.last_barrier_ns = now

    def settled_ns(self):
        return getattr(self, "last_barrier_ns", 0)

    def read_all(self):
        """One read of each key, on a connection of its own: what a crash has left."""
        c = Connection(self.address())
        for key in self.keys:
            begin = time.monotonic_ns()
            status, _, content = c.request(b"GET", self.path + key.encode())
            if status not in (200, 404):
                raise AssertionError("%d for a read at rest" % status)
            value = content.partition(b" ")[0].decode() if status == 200 else None
            self.add(Op("read", key, None, None, value, begin, time.monotonic_ns()))
        c.close()
