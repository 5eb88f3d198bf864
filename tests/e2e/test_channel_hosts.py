# SPDX-License-Identifier: MIT
"""Channels of several hosts, by way of a real redis-server: two servers stand for two hosts."""
import contextlib
import os
import signal
import threading
import time

from harness import PATIENCE, Server, main, need_root, wait_for
from redis_peer import Redis, section
from test_channel import LOG, close_all, post, spread
from test_reload import reload
from test_upgrade import Upgraded, upgrade
from test_websocket import stats, wait_reason
from websocket import BINARY, CLOSE, TEXT, Stream, WebSocket, close_frame, frame

ROUTE = {"websocket": "channel:news", "publish": "any", "message": "512k", "frame": "512k", "queue": "64m"}


def host(redis, keys="", workers=2, routes=None, more=None, **options):
    """A server with channel "news"; `options`: of its redis."""
    text = section(redis, **options) + 'channel "news" { redis = "main" %s }\n' % keys
    return Server(routes=dict({"/news": ROUTE}, **(routes or {})), workers=workers, log=LOG, steering={"stall": "off"},
                  extra=text, **(more or {}))  # fmt: skip


def wait_joined(*servers, channels=1):
    """Every worker has subscribed, and both of its connections: the other one publishes."""
    for s in servers:
        count = len(s.workers())
        wait_for(lambda: stats(s)["remote_channels"] == channels * count, "every worker has subscribed")
        wait_for(lambda: s.status()["totals"]["redis"]["connections"] == 2 * count, "every worker can publish")


@contextlib.contextmanager
def hosts(keys="", count=2, **options):
    """(redis, servers)"""
    with Redis() as redis, contextlib.ExitStack() as stack:
        servers = [stack.enter_context(host(redis, keys, **options)) for _ in range(count)]
        wait_joined(*servers)
        yield redis, servers


def counted(*servers):
    """Sums over servers of the counters whose names begin with remote_."""
    tables = [stats(s) for s in servers]
    return {k[7:]: sum(t[k] for t in tables) for k in tables[0] if k.startswith("remote_")}


# --- who gets what ---


def test_all_get_it_once():
    """By WebSocket and by POST, of both hosts: each subscriber of each worker once, those of one sender in order."""
    with hosts() as (_, (a, b)):
        here, there = spread(a, 4), spread(b, 4)
        streams = [Stream(s, "/news") for s in (a, b)]
        wait_for(lambda: stats(a)["connections"] + stats(b)["connections"] == 10, "streams are there")
        count = 200
        senders = {b"a": here[0], b"b": here[2], b"c": there[1]}
        for i in range(count):
            for name, w in senders.items():
                w.send(frame(TEXT, name + b"%d" % i))
        for i in range(10):
            assert post(b, b"p%d" % i).status == 202
        total = 3 * count + 10
        for w in here + there:
            got = [w.read() for _ in range(total)]
            assert all(opcode == TEXT for opcode, _ in got)
            for name in senders:
                assert [d for _, d in got if d[:1] == name] == [name + b"%d" % i for i in range(count)], name
            assert sorted(d for _, d in got if d[:1] == b"p") == sorted(b"p%d" % i for i in range(10))
        for r in streams:
            assert len({r.read() for _ in range(total)}) == total
        # Behind everything else: nothing came twice.
        assert post(a, b"last").status == 202
        assert [w.read() for w in here + there] == [(TEXT, b"last")] * 8
        assert [r.read() for r in streams] == [("message", b"last")] * 2
        wait_for(lambda: counted(a, b)["out"] == total + 1, "all are answered for")
        c = counted(a, b)
        # Both workers of the other host have each.
        assert c["in"] == 2 * (total + 1), c
        assert c["failed"] == c["lost"] == c["late"] == c["refused"] == c["gaps"] == 0, c
        close_all(here + there + streams)


def test_any_bytes_and_sizes():
    with hosts() as (_, (a, b)):
        w, r = WebSocket(b, "/news"), Stream(b, "/news")
        sender = WebSocket(a, "/news")
        wait_for(lambda: stats(b)["connections"] == 2, "both are there")
        for n in (0, 1, 125, 126, 65535, 65536, 524288):
            data = os.urandom(n)
            sender.send(frame(BINARY, data))
            assert sender.read() == w.read() == (BINARY, data), n
            assert r.read()[0] == "binary"
            text = data.hex()[:n].encode()
            assert post(a, text).status == 202
            assert sender.read() == w.read() == (TEXT, text), n
            assert r.read() == ("message", text)
        for data in (b"sluice1 no head", b"\r\n\0\xff", b"*3\r\n$7\r\nPUBLISH\r\n"):
            sender.send(frame(BINARY, data))
            assert w.read() == (BINARY, data) and r.read()[0] == "binary"
        close_all([w, r, sender])


def test_other_programs():
    """What redis-cli publishes is a message; what it hears is one behind a line of text; what is no message is counted."""
    with hosts('topic = "app:news"') as (redis, (a, b)):
        w = [WebSocket(a, "/news"), WebSocket(b, "/news")]
        assert redis.command("PUBLISH", "app:news", "κόσμε") == "4", "one subscription for each worker"
        assert [x.read() for x in w] == [(TEXT, "κόσμε".encode())] * 2
        redis.command("EVAL", r"redis.call('PUBLISH', 'app:news', 'x\255')", "0")
        assert [x.read() for x in w] == [(BINARY, b"x\xff")] * 2
        for text in ("'sluice1 '", "'sluice1 ' .. string.rep('0', 70)", "string.rep('x', 524289)"):
            redis.command("EVAL", "redis.call('PUBLISH', 'app:news', %s)" % text, "0")
        head = "'sluice1 ' .. string.rep('0', 16) .. ' ' .. string.rep('0', 15) .. '%d ' .. string.rep('0', 15) .. '%d %s\\n%s'"
        for publisher, serial, kind, data in ((1, 1, "t", r"bad \255"), (1, 1, "t", "one"), (1, 1, "t", "again"), (1, 4, "b", "four"),
                                              (1, 3, "t", "late"), (2, 3, "t", "another")):  # fmt: skip
            redis.command("EVAL", "redis.call('PUBLISH', 'app:news', %s)" % (head % (publisher, serial, kind, data)), "0")
        for x in w:
            assert [x.read() for _ in range(3)] == [(TEXT, b"one"), (BINARY, b"four"), (TEXT, b"another")]
        # Workers without a reader count at their own pace.
        wait_for(lambda: [counted(a, b)[k] for k in ("refused", "late", "lost")] == [4 * 4, 2 * 4, 2 * 4],
                 lambda: "each worker counts: %s" % counted(a, b))
        with redis.monitor("app:news") as heard:
            assert post(a, b"for programs").status == 202
            line, _, data = heard.read().partition(b"\n")
            assert line.split()[0] == b"sluice1" and line.split()[4] == b"t" and data == b"for programs", (line, data)
        close_all(w)


def test_two_channels_and_one_that_stays():
    more = {"/sport": dict(ROUTE, websocket="channel:sport"), "/here": dict(ROUTE, websocket="channel:here")}
    keys = '}\nchannel "sport" { redis = "main"'
    with Redis() as redis, host(redis, keys, routes=more) as a, host(redis, keys, routes=more) as b:
        wait_joined(a, b, channels=2)
        readers = {path: WebSocket(b, path) for path in ("/news", "/sport", "/here")}
        for path in ("/here", "/sport", "/news"):
            assert post(a, path.encode(), path=path).status == 202
        assert readers["/news"].read() == (TEXT, b"/news") and readers["/sport"].read() == (TEXT, b"/sport")
        assert post(b, b"only here", path="/here").status == 202
        assert readers["/here"].read() == (TEXT, b"only here")
        close_all(readers.values())


def test_flood():
    """A sender far faster than Redis: it is read more slowly, and the other host misses nothing."""
    with hosts() as (_, (a, b)):
        w, sender = WebSocket(b, "/news"), WebSocket(a, "/news")
        count, got = 40000, []

        def read():
            while len(got) < count:
                opcode, data = w.read()
                assert opcode == TEXT, (opcode, data)
                got.append(int(data))

        def drop():
            while sender.read()[1] != b"%d" % (count - 1):
                pass

        threads = [threading.Thread(target=f) for f in (read, drop)]
        for t in threads:
            t.start()
        sender.send(b"".join(frame(TEXT, b"%d" % i) for i in range(count)))
        for t in threads:
            t.join(PATIENCE * 3)
        assert got == list(range(count)), (len(got), counted(a), counted(b))
        assert counted(a, b)["failed"] == counted(a, b)["lost"] == 0
        close_all([w, sender])


# --- the server in between ---


class Numbers:
    """Numbers published at one host, one by one, without end; what another has of them."""

    def __init__(self, sender, readers):
        self.sender, self.readers, self.sent, self.is_over, self.faults = sender, readers, 0, False, []
        self.got = {w: [] for w in readers}
        self.threads = [threading.Thread(target=self.read, args=(w,), daemon=True) for w in readers]
        self.threads.append(threading.Thread(target=self.send, daemon=True))

    def send(self):
        while not self.is_over:
            self.sender.send(frame(TEXT, b"%d" % self.sent))
            if self.sender.read() != (TEXT, b"%d" % self.sent):
                self.faults.append("the sender did not get its own %d" % self.sent)
                return
            self.sent += 1
            time.sleep(0.001)

    def read(self, w):
        while True:
            got = w.read()
            if not got or got[0] != TEXT:
                self.faults.append(got)
                return
            if got[1] == b"end":
                return
            self.got[w].append(int(got[1]))

    def __enter__(self):
        for t in self.threads:
            t.start()
        wait_for(lambda: self.all_have(50), "messages get there")
        return self

    def all_have(self, number):
        assert not self.faults, self.faults
        return all(g and g[-1] >= number for g in self.got.values())

    def wait_more(self, what):
        """Everybody has what is sent from now on."""
        now = self.sent
        wait_for(lambda: self.all_have(now + 50), what)

    def __exit__(self, kind, *_):
        self.is_over = True
        self.threads[-1].join(PATIENCE)
        if kind:
            return
        self.sender.send(frame(TEXT, b"end"))
        for t in self.threads:
            t.join(PATIENCE)
        assert not self.faults, self.faults
        for g in self.got.values():
            assert all(x < y for x, y in zip(g, g[1:])), "twice, or out of order"


def test_redis_killed():
    """Local delivery goes on; when it is back, so do the others; what was missed is counted."""
    with hosts(backoff="100ms") as (redis, (a, b)):
        near, far = WebSocket(a, "/news"), spread(b, 2)
        with Numbers(WebSocket(a, "/news"), far) as far_numbers:
            redis.kill()
            wait_for(lambda: counted(a)["failed"] > 20, "what cannot be published is counted")
            wait_for(lambda: counted(a, b)["channels"] == 0, "no worker is subscribed")
            assert post(b, b"999999").status == 202
            wait_for(lambda: all(999999 in g for g in far_numbers.got.values()), "b goes on by itself")
            redis.start()
            back = time.monotonic()
            far_numbers.got = {w: [] for w in far}
            wait_for(lambda: all(far_numbers.got.values()), "messages again")
            print("     again after %.2f s" % (time.monotonic() - back))
            wait_joined(a, b)
            far_numbers.wait_more("all is well")
        numbers = [near.read() for _ in range(far_numbers.sent)]
        assert numbers == [(TEXT, b"%d" % i) for i in range(far_numbers.sent)], "who is near misses nothing"
        c = counted(b)
        assert c["gaps"] == 2 and c["lost"] > 0, c
        assert all(len(g) < far_numbers.sent for g in far_numbers.got.values())
        for s in (a, b):
            assert "redis main: " in s.stderr() and "it answers again" in s.stderr(), s.stderr()
        close_all([near, far_numbers.sender] + far)


def test_redis_stalled():
    """A server that stands still for longer than is borne with: nothing comes twice, nothing behind what followed it."""
    with hosts(timeout="200ms", backoff="100ms") as (redis, (a, b)):
        far = spread(b, 2)
        with Numbers(WebSocket(a, "/news"), far) as n:
            redis.kill(signal.SIGSTOP)
            stopped, before = time.monotonic(), n.sent
            wait_for(lambda: counted(a)["failed"] > 20, "what is not answered is counted")
            wait_for(lambda: time.monotonic() > stopped + 0.7, "the connection is given up", 5)
            wait_for(lambda: n.sent > before + 50, "local delivery goes on")
            redis.kill(signal.SIGCONT)
            n.wait_more("messages again")
        close_all([n.sender] + far)


def test_gap_closes():
    with hosts('on_gap = "close"', backoff="100ms", workers=1) as (redis, (a, b)):
        far, stream = WebSocket(b, "/news"), Stream(b, "/news")
        wait_for(lambda: stats(b)["connections"] == 2, "both are there")
        redis.kill()
        wait_for(lambda: counted(b)["channels"] == 0, "the subscription is lost")
        assert post(b, b"from here").status == 202
        assert far.read() == (TEXT, b"from here") and stream.read() == ("message", b"from here")
        redis.start()
        assert far.read_close() == (1013, b"messages were lost")
        assert stream.read() == ("close", b"1013 messages were lost")
        far.send(close_frame(1013))
        far.at_end()
        close_all([far, stream])
        wait_reason(b, "subscriber_lost", 2)
        wait_joined(a, b)
        with WebSocket(b, "/news") as again:
            assert post(a, b"anew").status == 202
            assert again.read() == (TEXT, b"anew")
            # The serial numbers tell what a publisher could not get through.
            redis.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            redis.command("ACL", "SETUSER", "default", "-publish")
            wait_for(lambda: post(a, b"not beyond").status == 202 and "cannot publish: NOPERM" in a.stderr(), "it is told")
            redis.command("ACL", "SETUSER", "default", "+publish")
            assert post(a, b"beyond").status == 202
            assert again.read_close() == (1013, b"messages were lost")


def test_reload_in_the_middle():
    """Old and new workers of both hosts; nothing is missed, nothing comes twice."""
    with hosts(more={"timeouts": {"drain": "20s"}}) as (_, (a, b)):
        far = spread(b, 2)
        with Numbers(WebSocket(a, "/news"), far) as n:
            for s in (a, b):
                reload(s)
                n.wait_more("messages go on")
            new = WebSocket(b, "/news")
            first = new.read()
            assert first[0] == TEXT
            n.wait_more("messages go on")
        for g in n.got.values():
            assert g == list(range(g[0], n.sent)), "none is missing"
        seen = [int(first[1])]
        while True:
            data = new.read()[1]
            if data == b"end":
                break
            seen.append(int(data))
        assert seen == list(range(seen[0], n.sent))
        assert counted(a, b)["late"] == 0
        close_all([n.sender, new] + far)


def test_upgrade():
    """The programs of one host do not share a bus: for each other they are hosts, until the old one's clients have left."""
    need_root()
    with Redis() as redis, host(redis, workers=1, more={"timeouts": {"drain": "20s"}}) as s:
        s.__class__ = Upgraded
        wait_joined(s)
        old = WebSocket(s, "/news")
        upgrade(s)
        wait_for(lambda: redis.command("PUBSUB", "NUMSUB", "sluice:news") == "sluice:news\n2", "old and new have subscribed")
        new = WebSocket(s, "/news")
        old.send(frame(TEXT, "of the old one"))
        assert old.read() == new.read() == (TEXT, b"of the old one")
        new.send(frame(TEXT, "of the new one"))
        assert post(s, b"last").status == 202
        for w in (old, new):
            assert [w.read() for _ in range(2)] == [(TEXT, b"of the new one"), (TEXT, b"last")]
        close_all([old, new])


def test_redis_is_not_there_at_the_start():
    with Redis() as redis:
        redis.kill()
        with host(redis, backoff="100ms") as a, host(redis, backoff="100ms") as b:
            w = WebSocket(b, "/news")
            assert post(b, b"here").status == 202 and w.read() == (TEXT, b"here")
            redis.start()
            wait_joined(a, b)
            assert post(a, b"there").status == 202 and w.read() == (TEXT, b"there")
            w.close()


def test_a_user_who_may_not():
    """Told once, and tried again with growing pauses, not as fast as it can be refused."""
    with Redis() as redis:
        redis.command("ACL", "SETUSER", "web", "on", ">pw", "~*", "resetchannels", "&other", "+@all")
        with host(redis, workers=1, user="web", password="pw") as s:
            wait_for(lambda: "cannot subscribe: NOPERM" in s.stderr(), "it is told")
            began, before = time.monotonic(), s.status()["totals"]["redis"]["connects"]
            assert post(s, b"x").status == 202
            wait_for(lambda: "cannot publish: NOPERM" in s.stderr(), "that, too")
            wait_for(lambda: time.monotonic() > began + 1, "a second", 5)
            made, took = s.status()["totals"]["redis"]["connects"] - before, time.monotonic() - began
            assert made < 10 + 10 * took, "%d connections in %.1f s" % (made, took)
            assert s.stderr().count("cannot subscribe") == 1 and s.stderr().count("cannot publish") == 1, s.stderr()
            assert counted(s)["failed"] == 1 and counted(s)["channels"] == 0
            redis.command("ACL", "SETUSER", "web", "allchannels")
            wait_joined(s)


if __name__ == "__main__":
    main(__name__)
