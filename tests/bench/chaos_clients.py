# SPDX-License-Identifier: MIT
"""Clients of all kinds for the chaos run.  They judge what comes (bytes, status), not whether a failure is allowed.

Each process runs threads, each thread one client after the other.  Every request has a number in its target (?r=),
which the access log repeats, and leaves a record; chaos_ledger.py puts both together.
"""
import contextlib
import itertools
import json
import os
import random
import threading
import time

from backend import pattern_bytes, pattern_hash
from chaos_world import EXTRA, FILES, FIXED, now
from harness import Client, ProtocolError, request

SILENCE_S = 25  # longer than everything the configuration allows: the request hangs
TABLE_SIZE = (256 << 10) - 8
UPGRADE = [("Connection", "Upgrade"), ("Upgrade", "x")]


def mix(x):
    """wire_mix() of lib/wire.c"""
    mask = (1 << 64) - 1
    x = (x + 0x9E3779B97F4A7C15) & mask
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & mask
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & mask
    return x ^ x >> 31


class Content:
    """What answers have to be.  Made once, before the processes fork."""

    def __init__(self):
        table = b"".join(mix(i).to_bytes(8, "little") for i in range(0, TABLE_SIZE, 8))
        self.table = table * 9
        self.files = {name: pattern_bytes(size) for name, size in FILES.items()}

    def wire(self, seed, size):
        place = mix(seed) % TABLE_SIZE
        return self.table[place : place + size]


class Broken(Exception):
    """This connection is over, and recorded."""


class Connection:
    def __init__(self, client, address, rcvbuf=None):
        self.client, self.address = client, address
        self.began = now()
        self.busy = None  # record of what is under way
        record = client.record("connect", "", "connect")
        try:
            self.c = Client(address, timeout=SILENCE_S, rcvbuf=rcvbuf)
            self.c.takes_trailers = True  # backend.c sends some
        except (OSError, AssertionError) as e:
            record.update(out="refused" if isinstance(e, ConnectionRefusedError) else "no connection", note=str(e))
            client.finish(record, self)
            raise Broken()
        self.name = "%s:%d" % self.c.sock.getsockname()[:2]

    def close(self):
        self.c.close()

    def fail(self, record, out, note=""):
        record.update(out=out, note=str(note)[:300])
        self.client.finish(record, self)
        self.close()
        raise Broken()

    def lost(self, record, note=""):
        """The stream has ended before the answer has."""
        self.fail(record, "reset" if self.c.was_reset else "eof", note)

    def answer(self, record, method="GET"):
        """The next answer, whatever its status."""
        try:
            r = self.c.read_response(method)
        except ProtocolError as e:
            if self.c.is_eof:
                self.lost(record, "in the middle: %s" % e)
            self.fail(record, "wrong", e)
        except AssertionError as e:
            self.fail(record, "hung", e)
        except OSError as e:
            self.lost(record, e)
        if r is None:
            self.lost(record)
        record.update(status=r.status, closes=r.says_close())
        return r

    def check(self, record, r, status, is_right):
        """Counts it; an answer that is not the expected one ends the connection."""
        if r.status != status:
            self.fail(record, "status", "%d instead of %d: %r" % (r.status, status, r.body[:200]))
        if not is_right(r):
            self.fail(record, "wrong", "%d bytes: %r" % (len(r.body), r.body[:100]))
        if record["kind"] == "version":
            record["version"] = int(r.body.split()[1])
        record["out"] = "ok"
        self.client.finish(record, self)

    def ask(self, target, kind, is_right, method="GET", fields=(), body=b"", status=200):
        """One request and its answer; the connection is still good unless the answer says that it closes."""
        record = self.client.record(method, target, kind)
        if not self.c.send(request(record["target"], method, fields, body, "chaos")):
            self.c.was_reset = True
        r = self.answer(record, method)
        self.check(record, r, status, is_right)
        if r.says_close():
            self.close()
            raise Broken()
        return r

    def assert_idle(self):
        """Nobody may close a connection that waits between two requests."""
        self.c.sock.setblocking(False)
        try:
            piece = self.c.sock.recv(1)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        finally:
            self.c.sock.settimeout(SILENCE_S)
        self.fail(self.client.record("idle", "", "idle"), "wrong" if piece else "closed while idle", piece)


class Chaotic:
    """One thread: clients of random kinds, until the end."""

    def __init__(self, number, seed, content, end, out):
        self.rng = random.Random(seed * 1000 + number)
        self.number, self.content, self.end, self.out = number, content, end, out
        self.count = itertools.count(1)

    def record(self, method, target, kind):
        name = "%d-%d" % (self.number, next(self.count))
        full = "%s%sr=%s" % (target, "&" if "?" in target else "?", name) if target else ""
        return {"id": name, "method": method, "target": full, "kind": kind, "t0": now(), "out": ""}

    def finish(self, record, connection):
        record.update(
            t1=now(), began=connection.began, client=getattr(connection, "name", ""), server=connection.address[1]
        )
        self.out(record)

    def run(self):
        kinds = [
            (8, self.keep_alive), (8, self.close_each), (4, self.pipelined), (3, self.slow_head),
            (3, self.slow_body), (4, self.leaves), (3, self.download), (3, self.upload), (4, self.ranges),
            (3, self.tunnel), (3, self.refused), (3, self.idles), (3, self.extra),
        ]
        table = [visit for weight, visit in kinds for _ in range(weight)]
        while now() < self.end:
            with contextlib.suppress(Broken):
                self.rng.choice(table)()
            time.sleep(self.rng.uniform(0, 0.06))

    # what is asked

    def simple(self):
        """(target, kind, is_right) of a GET"""
        rng, content = self.rng, self.content
        pick = rng.random()
        if pick < 0.25:
            name = rng.choice(["f0", "f1", "f100", "f10000", "f100003"])
            return "/files/" + name, "static", lambda r: r.body == content.files[name]
        if pick < 0.35:
            return "/version", "version", lambda r: r.body.startswith(b"version ")
        if pick < 0.45:
            name = rng.choice(["f1", "f100", "f10000", "f100003"])
            return "/web/" + name, "web", lambda r: r.body == content.files[name]
        if pick < 0.55:
            size = rng.randrange(20000)
            framing = rng.choice(["sized", "chunked", "close"])
            target = "/py/down?size=%d&framing=%s" % (size, framing)
            return target, "py", lambda r: r.body == pattern_bytes(size)
        group = rng.choice(["steady", "steady", "shaky"])
        if pick < 0.65:
            return "/%s/slow" % group, group, lambda r: r.body == b"hello from the back end\n"
        seed, size = rng.randrange(1 << 32), int(2 ** rng.uniform(0, 17))
        target = "/%s/%s/%x/%x" % (group, rng.choice("sc"), seed, size)
        return target, group, lambda r: r.body == content.wire(seed, size)

    def address(self):
        return self.rng.choice(FIXED)

    # kinds of clients

    def keep_alive(self):
        c = Connection(self, self.address())
        for _ in range(self.rng.randrange(2, 12)):
            if self.rng.random() < 0.1:
                self.head(c)
            else:
                c.ask(*self.simple())
            if self.rng.random() < 0.3:
                time.sleep(self.rng.uniform(0, 0.3))
                c.assert_idle()
        c.close()

    def head(self, c):
        name = self.rng.choice(list(FILES))
        is_right = lambda r: r.body == b"" and r.get("content-length") == str(FILES[name])  # noqa: E731
        c.ask("/files/" + name, "static", is_right, method="HEAD")

    def close_each(self):
        target, kind, is_right = self.simple()
        Connection(self, self.address()).ask(target, kind, is_right, fields=[("Connection", "close")])

    def pipelined(self):
        c = Connection(self, self.address())
        asked = [self.simple() for _ in range(self.rng.randrange(2, 7))]
        records = [self.record("GET", target, kind) for target, kind, _ in asked]
        c.c.send(b"".join(request(r["target"], host="chaos") for r in records))
        for i, (record, (_, _, is_right)) in enumerate(zip(records, asked)):
            record["is_pipelined"] = i > 0
            r = c.answer(record)
            c.check(record, r, 200, is_right)
            if r.says_close():
                raise Broken()
        c.close()

    def in_pieces(self, c, record, data, count, pause):
        for i in range(count):
            at, end = len(data) * i // count, len(data) * (i + 1) // count
            if not c.c.send(data[at:end]):
                c.c.was_reset = True
                break
            time.sleep(self.rng.uniform(0, pause))

    def slow_head(self):
        c = Connection(self, self.address())
        target, kind, is_right = self.simple()
        record = self.record("GET", target, kind)
        self.in_pieces(c, record, request(record["target"], host="chaos"), 6, 0.3)
        c.check(record, c.answer(record), 200, is_right)
        c.close()

    def slow_body(self):
        c = Connection(self, self.address())
        size = self.rng.randrange(1, 50000)
        record = self.record("POST", "/py/hash", "py")
        data = request(record["target"], "POST", body=pattern_bytes(size), host="chaos")
        self.in_pieces(c, record, data, 5, 0.4)
        c.check(record, c.answer(record, "POST"), 200, lambda r: r.body.decode() == pattern_hash(size))
        c.close()

    def leaves(self):
        """Goes away in the middle of a head, of a body, of an answer."""
        c = Connection(self, self.address())
        pick = self.rng.randrange(4)
        if pick == 0:
            c.c.send(b"GET /files/f1 HT")
        elif pick == 1:
            c.c.send(b"POST /steady/upload HTTP/1.1\r\nHost: chaos\r\nContent-Length: 100000\r\n\r\nabc")
        elif pick == 2:
            c.c.send(request("/files/f3000001", host="chaos"))
            with contextlib.suppress(AssertionError, OSError):
                c.c.take(50000)
        else:
            c.c.send(request("/shaky/s/1/100000", host="chaos"))
        time.sleep(self.rng.uniform(0, 0.05))
        if self.rng.random() < 0.5:
            c.c.reset()
        else:
            c.close()

    def read_slowly(self, c, record, size, is_right):
        """The body of a sized answer, a piece at a time."""
        pause = self.rng.uniform(0, 1.5) / 20
        for _ in range(20):
            try:
                if len(c.c.data) > size or not c.c.fill() or not c.c.data.startswith(b"HTTP/1.1 200 "):
                    break
            except AssertionError as e:
                c.fail(record, "hung", e)
            except OSError as e:
                c.lost(record, e)
            time.sleep(pause)
        c.check(record, c.answer(record), 200, is_right)

    def download(self):
        # Several segments of the loopback (64 KiB): with less the kernel's own timers decide when more comes.
        c = Connection(self, self.address(), rcvbuf=200000)
        if self.rng.random() < 0.5:
            name = self.rng.choice(["f1000003", "f3000001"])
            folder, kind = self.rng.choice([("/files/", "static"), ("/web/", "web")])
            target, want = folder + name, self.content.files[name]
        else:
            seed, size = self.rng.randrange(1 << 32), self.rng.randrange(1 << 20, 1 << 21)
            kind = self.rng.choice(["steady", "shaky"])
            target, want = "/%s/%s/%x/%x" % (kind, self.rng.choice("sc"), seed, size), self.content.wire(seed, size)
        record = self.record("GET", target, kind)
        c.c.send(request(record["target"], host="chaos"))
        self.read_slowly(c, record, len(want), lambda r: r.body == want)
        c.close()

    def upload(self):
        c = Connection(self, self.address())
        size = int(2 ** self.rng.uniform(0, 21))
        if self.rng.random() < 0.5:
            want = pattern_hash(size)
            body, target, kind, is_right = pattern_bytes(size), "/py/hash", "py", lambda r: r.body.decode() == want
        else:
            seed, kind = self.rng.randrange(1 << 32), self.rng.choice(["steady", "shaky"])
            # Its hash, its length, and whether a byte was wrong.
            body, target, end = self.content.wire(seed, size), "/%s/e/%x" % (kind, seed), b" %x 0\n" % size
            is_right = lambda r: r.body.endswith(end)  # noqa: E731
        if self.rng.random() < 0.5:
            c.ask(target, kind, is_right, "POST", body=body)
        else:
            self.upload_chunked(c, target, kind, is_right, body)
        c.close()

    def upload_chunked(self, c, target, kind, is_right, body):
        record = self.record("POST", target, kind)
        step = max(1, len(body) // self.rng.randrange(1, 20))
        head = request(record["target"], "POST", [("Transfer-Encoding", "chunked")], host="chaos")
        pieces = [body[at : at + step] for at in range(0, len(body), step)]
        c.c.send(head + b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n")
        c.check(record, c.answer(record, "POST"), 200, is_right)

    def ranges(self):
        c = Connection(self, self.address())
        for _ in range(self.rng.randrange(1, 5)):
            name = self.rng.choice(["f10000", "f100003", "f1000003"])
            folder, kind = self.rng.choice([("/files/", "static"), ("/files/", "static"), ("/web/", "web")])
            want = self.content.files[name]
            first = self.rng.randrange(len(want))
            last = self.rng.randrange(first, min(len(want), first + 100000))
            said = "bytes %d-%d/%d" % (first, last, len(want))
            c.ask(
                folder + name, kind,
                lambda r, w=want[first : last + 1], s=said: r.body == w and r.get("content-range") == s,
                fields=[("Range", "bytes=%d-%d" % (first, last))], status=206,
            )
        c.close()

    def refused(self):
        """What the server itself has to refuse; it closes where framing is in doubt."""
        bad = b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"
        line, status = self.rng.choice([
            (bad, 400), (b"GET /\n\n", 400), (b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
            (b"GET /files/none HTTP/1.1\r\nHost: a\r\n\r\n", 404),
            (b"GET /files/../x HTTP/1.1\r\nHost: a\r\n\r\n", 404),
            (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        ])
        c = Connection(self, self.address())
        record = self.record("", "", "refused")
        c.c.send(line)
        c.check(record, c.answer(record), status, lambda r: True)
        c.close()

    def idles(self):
        c = Connection(self, self.address())
        for _ in range(self.rng.randrange(1, 4)):
            c.ask(*self.simple())
            end = min(now() + self.rng.uniform(1, 8), self.end)
            while now() < end:
                time.sleep(0.1)
                c.assert_idle()
        c.close()

    def extra(self):
        """The address that comes and goes."""
        target, kind, is_right = self.simple()
        Connection(self, EXTRA).ask(target, kind, is_right, fields=[("Connection", "close")])

    def tunnel(self):
        c = Connection(self, self.address())
        kind = self.rng.choice(["steady", "shaky"])
        record = self.record("GET", "/%s/tunnel" % kind, kind)
        c.c.send(request(record["target"], fields=UPGRADE, host="chaos"))
        c.check(record, c.answer(record), 101, lambda r: True)
        record = dict(record, method="tunnel", kind=kind + " tunnel", t0=now(), out="")
        end = min(now() + self.rng.uniform(0.1, 12), self.end)
        while True:
            data = self.rng.randbytes(int(2 ** self.rng.uniform(0, 15)))
            try:
                if not c.c.send(data):
                    c.c.was_reset = True
                    c.lost(record)
                if c.c.take(len(data)) != data:
                    c.fail(record, "wrong", "echo")
            except ProtocolError as e:
                c.lost(record, e)
            except AssertionError as e:
                c.fail(record, "hung", e)
            except OSError as e:
                c.lost(record, e)
            if now() > end:
                break
            time.sleep(self.rng.uniform(0, 0.5))
        record["out"] = "ok"
        self.finish(record, c)
        c.close()


def run_threads(first, count, seed, content, end, path):
    with open(path, "w") as f:
        lock = threading.Lock()

        def out(record):
            line = json.dumps(record) + "\n"
            with lock:
                f.write(line)

        def run(number):
            client = Chaotic(number, seed, content, end, out)
            try:
                client.run()
            except Exception as e:  # a mistake of the harness is a failure too
                out({"id": "%d-x" % number, "kind": "harness", "out": "error", "t0": now(), "t1": now(), "began": now(),
                     "client": "", "server": 0, "method": "", "target": "", "note": repr(e)})

        threads = [threading.Thread(target=run, args=(first + i,), daemon=True) for i in range(count)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(max(0.1, end - now() + 4 * SILENCE_S))
        for t in threads:
            if t.is_alive():
                out({"id": "?", "kind": "harness", "out": "hung", "t0": end, "t1": now(), "began": end, "client": "",
                     "server": 0, "method": "", "target": "", "note": "a client has not come to its end"})


class Crowd:
    """Client processes; their records lie in files until the end."""

    def __init__(self, folder, seed, end, processes=2, threads=20):
        content = Content()
        self.paths, self.pids = [], []
        for i in range(processes):
            path = os.path.join(folder, "records.%d" % i)
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    run_threads(1 + i * threads, threads, seed, content, end, path)
                    code = 0
                finally:
                    os._exit(code)
            self.paths.append(path)
            self.pids.append(pid)

    def wait(self):
        """Every record of every client."""
        for pid in self.pids:
            assert os.waitpid(pid, 0)[1] == 0, "a client process failed"
        self.pids = []
        records = []
        for path in self.paths:
            with open(path) as f:
                records += [json.loads(line) for line in f]
        return sorted(records, key=lambda r: r["t0"])

    def abandon(self):
        for pid in self.pids:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
