# SPDX-License-Identifier: MIT
"""All that a configuration can have, in one server and in the strictest sandbox: reloads that bring it and take it away,
upgrades, and an end while clients of every kind are there."""
import contextlib
import subprocess
import time

import datagrams
import redis_peer
from harness import PATIENCE, Client, get, main, wait_for
from test_redis import Listener
from test_reload import reload, write_config
from test_sandbox import need_strict
from test_upgrade import Upgraded, upgrade
from websocket import CLOSE, TEXT, Stream, WebSocket, close_frame, frame

DRAIN_S = 4
STRICT = 'sandbox = "strict"\n'
PLAIN = {"/": {"files": "@WWW@"}, "/hello": {"respond": "hello"}}
ALL = dict(
    PLAIN,
    **{
        "/news": {"websocket": "channel:news", "publish": "any"},
        "/redis/": redis_peer.route(),
        "/store/": {"store": "s"},
    }
)
LIMITS = {"client_connections": 500, "total_connections": 1000, "rate": "5000r/s"}


class Everything(Upgraded):
    """With a Redis server and a UDP address of its own; `plain` and `full` are its two configurations."""

    def __init__(self, redis):
        need_strict()
        self.udp = ("127.0.0.1", datagrams.free_udp_port())
        super().__init__(routes=PLAIN, timeouts={"drain": "%ds" % DRAIN_S}, extra=STRICT)
        self.plain = self.text
        full = self.make_config(
            listens=["127.0.0.1:0"],
            workers=2,
            routes=ALL,
            sites=None,
            steering=None,
            limits=LIMITS,
            timeouts={"drain": "%ds" % DRAIN_S},
            log=None,
            files_cache=None,
            extra=STRICT
            + datagrams.udp_listen("%s:%d" % self.udp, udp="echo")
            + redis_peer.section(redis)
            + 'store "s" { path = "@DIR@/db" }\n',
        )
        self.full = full.replace("@DIR@", self.dir).replace("@WWW@", self.www)


def use_plain(s):
    with Client(s) as c:
        assert c.request("/hello").status == 200
        for path in ("/news", "/redis/PING", "/store/a"):
            assert c.request(path).status == 404, path


def use_all(s, word):
    assert get(s.address(), "/hello").status == 200
    wait_for(lambda: get(s.address(), "/redis/PING").status == 200, "Redis answers")
    with Client(s) as c:
        r = c.request("/store/" + word, "PUT", body=word.encode())
        assert r.status in (200, 201, 204), (r.status, r.body)
        assert c.request("/store/" + word).body == word.encode()
    with datagrams.udp_client(s.udp) as flow:
        assert datagrams.ask(flow, word.encode()) == word.encode()
    with contextlib.closing(WebSocket(s, "/news")) as w, contextlib.closing(Stream(s, "/news")) as r, Client(s) as c:
        assert r.response.status == 200
        assert c.request("/news", "POST", body=word.encode()).status == 202
        assert w.read() == (TEXT, word.encode()) and r.read() == ("message", word.encode())


def assert_unharmed(s):
    now = s.status()
    assert now["sandbox"]["mode"] == "strict" and now["sandbox"]["refused"] == 0, now["sandbox"]
    assert sum(w["restarts"] for w in now["workers"]) == 0, s.stderr()


def assert_sent_away(socket, events):
    assert socket.read() == (CLOSE, b"\x03\xe9going away")
    socket.send(close_frame(1001))
    socket.at_end()
    assert events.read() == ("close", b"1001 going away") and events.read() is None
    # Until its client has closed too, a connection is open.
    socket.close()
    events.close()


def test_reloads_bring_it_and_take_it_away():
    with redis_peer.Redis() as redis, Everything(redis) as s, Client(s) as kept:
        use_plain(s)
        for turn, has_all in enumerate((True, True, False, True, False, True)):
            write_config(s, s.full if has_all else s.plain)
            reload(s)
            if has_all:
                use_all(s, "turn%d" % turn)
                assert s.status()["limits"] is not None and len(s.status()["stores"]) == 1
            else:
                use_plain(s)
                assert s.status()["limits"] is None and not s.status()["udp"]["listen"]
            assert kept.request("/hello").status == 200
            assert_unharmed(s)


def test_upgrades():
    with redis_peer.Redis() as redis, Everything(redis) as s, contextlib.ExitStack() as stack:
        write_config(s, s.full)
        reload(s)
        use_all(s, "before")
        socket = stack.enter_context(contextlib.closing(WebSocket(s, "/news")))
        events = stack.enter_context(contextlib.closing(Stream(s, "/news")))
        flow = stack.enter_context(datagrams.udp_client(s.udp))
        listener = Listener(s.address(), "/redis/SUBSCRIBE/a")
        assert datagrams.ask(flow, b"one") == b"one"
        for word in ("first", "second"):
            upgrade(s)
            use_all(s, word)
            assert datagrams.ask(flow, word.encode()) == word.encode()
            with Client(s) as c:
                assert c.request("/store/before").body == b"before"
            assert_unharmed(s)
        listener.client.read_all()  # it comes back by itself
        # Those of the old workers are sent away within their drain limit.
        assert_sent_away(socket, events)
        wait_for(lambda: not s.status()["draining"], "old workers are gone")
        assert_unharmed(s)


def test_stop():
    with redis_peer.Redis() as redis, Everything(redis) as s, contextlib.ExitStack() as stack:
        write_config(s, s.full)
        reload(s)
        wait_for(lambda: get(s.address(), "/redis/PING").status == 200, "Redis answers")
        socket = stack.enter_context(contextlib.closing(WebSocket(s, "/news")))
        events = stack.enter_context(contextlib.closing(Stream(s, "/news")))
        flow = stack.enter_context(datagrams.udp_client(s.udp))
        listener = Listener(s.address(), "/redis/SUBSCRIBE/a")
        assert datagrams.ask(flow, b"one") == b"one"
        socket.send(frame(TEXT, b"last"))
        assert socket.read() == (TEXT, b"last") and events.read() == ("message", b"last")
        began = time.monotonic()
        stop = subprocess.Popen(s.command("stop", "-c", s.conf_path), stdout=subprocess.DEVNULL)
        assert_sent_away(socket, events)
        listener.client.read_all()
        listener.close()
        assert stop.wait(PATIENCE) == 0 and s.proc.wait(PATIENCE) == 0, s.stderr()
        assert time.monotonic() - began < DRAIN_S, "nobody is waited for who has gone"
        s.assert_gone(s.proc.pid)
        s.assert_clean_stderr()
        s.abandon()


if __name__ == "__main__":
    main(__name__)
