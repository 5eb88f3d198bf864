# SPDX-License-Identifier: MIT
"""Routes to a Redis server over WebSocket, with a real redis-server behind: channels, commands, limits, faults, clients."""
import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time

from harness import IS_SANITIZED, PATIENCE, SLUICE, Client, Server, Skip, get, main, memory_kb, need_root, wait_for
from proxy import assert_reason
from redis_peer import Redis, route, section, served
from test_faults import Faults
from test_redis import LOG, Listener, counters
from test_reload import reload
from test_websocket import stats, wait_reason
from websocket import BINARY, CLOSE, PING, PONG, TEXT, WebSocket, close_frame, frame, handshake


@contextlib.contextmanager
def sockets(address, *paths, **options):
    opened = [WebSocket(address, path, **options) for path in paths]
    try:
        yield opened
    finally:
        for w in opened:
            w.close()


def answer(address, path, extra=(), **options):
    with Client(address) as c:
        c.send(handshake(path, extra=extra, **options)[0])
        return c.read_response()


def message(channel, text):
    return (TEXT, json.dumps({"SUBSCRIBE": ["message", channel, text]}, separators=(",", ":")).encode())


# --- channels ---


def test_forms():
    routes = {"/": route(), "/p/": route("SUBSCRIBE", "PSUBSCRIBE", key_prefix="app:")}
    paths = ("/SUBSCRIBE/a", "/subscribe/a/b.json", "/SUBSCRIBE/a.txt", "/SUBSCRIBE/a.bin", "/PSUBSCRIBE/a*", "/p/SUBSCRIBE/a",
             "/p/PSUBSCRIBE/*.txt")  # fmt: skip
    with served(routes) as (address, redis, _), sockets(address, *paths) as (one, two, text, raw, pattern, inside, inside_p):
        redis.command("PUBLISH", "a", 'x "y"\n')
        assert one.read() == two.read() == (TEXT, b'{"SUBSCRIBE":["message","a","x \\"y\\"\\n"]}')
        assert text.read() == (TEXT, b'x "y"\n') and raw.read() == (BINARY, b'x "y"\n')
        assert pattern.read() == (TEXT, b'{"PSUBSCRIBE":["pmessage","a*","a","x \\"y\\"\\n"]}')
        redis.command("EVAL", r"redis.call('PUBLISH', 'a', '\255\0')", "0")
        assert one.read() == two.read() == (TEXT, b'{"SUBSCRIBE":["message","a",{"base64":"/wA="}]}')
        assert text.read() == raw.read() == (BINARY, b"\xff\0")
        redis.command("PUBLISH", "b", "of b")
        assert two.read() == message("b", "of b")
        redis.command("PUBLISH", "a", "")
        assert text.read() == (TEXT, b"") and raw.read() == (BINARY, b"")
        redis.command("PUBLISH", "app:a", "within")
        assert inside.read() == message("a", "within") and inside_p.read() == (TEXT, b"within")
        assert one.read() == message("a", ""), "and nothing of app:a"


def test_one_subscription_for_all():
    """WebSockets and streams of all forms share it; each gets everything once and in order; with the last it ends."""
    with served(workers=2) as (address, redis, s):
        paths = ["/SUBSCRIBE/news", "/SUBSCRIBE/news.txt", "/SUBSCRIBE/news/more"] * 6
        with sockets(address, *paths) as opened:
            streams = [Listener(address, "/SUBSCRIBE/news.txt") for _ in range(4)]
            wait_for(lambda: counters(s)["subscribers"] == 22, "all are there")
            busy = sum(1 for w in s.workers() if w["redis"]["subscribers"])
            assert redis.command("PUBSUB", "NUMSUB", "news") == "news\n%d" % busy
            script = "for i = 1, 500 do redis.call('PUBLISH', 'news', i) end"
            redis.command("EVAL", script, "0")
            for i in range(1, 501):
                for path, w in zip(paths, opened):
                    assert w.read() == ((TEXT, b"%d" % i) if path.endswith(".txt") else message("news", str(i)))
                for x in streams:
                    assert x.event() == b"data: %d" % i
            for x in streams:
                x.close()
            for w in opened:
                w.goodbye()
        wait_for(lambda: counters(s)["subscribers"] == 0 and stats(s)["connections"] == 0, "all have left")
        wait_for(lambda: redis.command("PUBSUB", "CHANNELS") == "", "no subscription is left")
        wait_for(lambda: counters(s)["channels"] == 0, "no channel is left")


def test_that_come_and_go():
    """In the middle of it all: before the server has answered, before the handshake was answered, without a goodbye."""
    with served(workers=2) as (address, redis, s), sockets(address, "/SUBSCRIBE/a.txt") as (stays,):
        for i in range(20):
            half = Client(address)
            half.send(handshake("/SUBSCRIBE/" + "ab"[i % 2])[0])
            half.close()
            with sockets(address, "/SUBSCRIBE/b", "/SUBSCRIBE/a.txt") as (one, two):
                redis.command("PUBLISH", "a", str(i))
                assert two.read() == stays.read() == (TEXT, b"%d" % i)
                one.reset()
        wait_for(lambda: counters(s)["subscribers"] == 1 and stats(s)["connections"] == 1, "one is left")
        wait_for(lambda: redis.command("PUBSUB", "CHANNELS") == "a", "and one channel")


def test_who_is_let_in():
    routes = {
        "/": route("SUBSCRIBE"),
        "/open/": route("SUBSCRIBE", "GET", origins=["https://a.example"]),
        "/none/": route("GET"),
    }
    with served(routes, log=LOG) as (address, _, s):
        for path, extra, options, status in (
            ("/none/SUBSCRIBE/a", (), {}, 403),
            ("/PSUBSCRIBE/a", (), {}, 403),
            ("/SUBSCRIBE", (), {}, 400),
            ("/SUBSCRIBE/a.raw", (), {}, 400),
            ("/SUBSCRIBE/a", (), {"key": "short"}, 400),
            ("/SUBSCRIBE/a", (), {"version": "8"}, 426),
            ("/SUBSCRIBE/a", ("Origin: http://evil",), {}, 403),
            ("/SUBSCRIBE/a", ("Origin: https://a.example",), {}, 403),
            ("/", ("Origin: http://evil",), {}, 403),
            ("/open/SUBSCRIBE/a", ("Origin: https://b.example",), {}, 403),
        ):
            r = answer(address, path, extra, **options)
            assert r.status == status, (path, extra, r.status)
            assert status != 426 or r.get("Sec-WebSocket-Version") == "13"
        assert_reason(s, "/open/SUBSCRIBE/a", "origin_not_allowed", 403)
        for path, origin in (("/SUBSCRIBE/a", "http://test"), ("/open/SUBSCRIBE/a", "https://a.example"), ("/open/", "http://test")):
            with WebSocket(address, path, extra=["Origin: " + origin]) as w:
                w.goodbye()
        assert get(address, "/open/GET/a", [("Upgrade", "websocket"), ("Connection", "upgrade")]).status == 200, "no need to"


def test_limits_of_every_websocket():
    routes = {"/": route(ping="100ms", pong_timeout="200ms", close_timeout="200ms", message="200b", frame="200b", deflate=True)}
    with served(routes, log=LOG) as (address, redis, s):
        with WebSocket(address, "/SUBSCRIBE/a") as w:
            assert w.read() == (PING, b"")
            w.send(frame(PONG) + frame(PING, b"p"))
            got = [w.read()]
            while got[-1] != (PONG, b"p"):
                got.append(w.read())
            w.send(frame(TEXT, "x"))
            while got[-1][0] != CLOSE:
                got.append(w.read())
            assert got[-1] == (CLOSE, b"\x03\xf0takes no messages"), got
        with WebSocket(address, "/SUBSCRIBE/a") as w:
            w.send(frame(TEXT, "x" * 201))
            assert w.read_close() == (1009, b"frame too long")
        with WebSocket(address, "/SUBSCRIBE/a.txt", offer="permessage-deflate") as w:
            redis.command("PUBLISH", "a", "news " * 100)
            assert w.read() == (TEXT, b"news " * 100) and w.deflated_count == 1
            w.goodbye(4000)
        with WebSocket(address, "/SUBSCRIBE/a") as w:
            wait_reason(s, "websocket_silent")
            assert w.read() == (PING, b"") and w.read() is None


def test_slow_subscriber():
    """Dropped with a reason; others, streams among them, have everything."""
    routes = {"/": route(stream_buffer="64k", close_timeout="500ms")}
    with served(routes, log=LOG, listens=[("127.0.0.1:0", {"sndbuf": "64k"})]) as (address, redis, s):
        with WebSocket(address, "/SUBSCRIBE/a.txt", rcvbuf=4096) as slow, WebSocket(address, "/SUBSCRIBE/a.txt") as fast:
            stream = Listener(address, "/SUBSCRIBE/a.txt")
            size = 20000
            for _ in range(300):
                redis.command("EVAL", "return redis.call('PUBLISH', 'a', string.rep('x', %d))" % size, "0")
                assert len(fast.read()[1]) == size and len(stream.event()) == size + 6
                if stats(s)["slow"]:
                    break
            got = slow.read()
            while got[0] == TEXT:
                got = slow.read()
            assert got == (CLOSE, b"\x03\xf5too slow"), got
            wait_reason(s, "subscriber_slow")
            redis.command("PUBLISH", "a", "still")
            assert fast.read() == (TEXT, b"still") and stream.event() == b"data: still"
            stream.close()


def test_more_than_can_be_passed_on():
    """Redis sends faster than many subscribers can be served: less is read from it, and nobody misses anything."""
    routes = {"/": route(stream_buffer="16m")}
    with served(routes) as (address, redis, s), sockets(address, *["/SUBSCRIBE/a.txt"] * 40) as opened:
        faults = []

        def read(w):
            for i in range(2000):
                got = w.read()
                if got[1][:5] != b"%05d" % i:
                    faults.append((i, got[1][:20]))
                    return

        threads = [threading.Thread(target=read, args=(w,)) for w in opened]
        for t in threads:
            t.start()
        redis.command("EVAL", "for i = 0, 1999 do redis.call('PUBLISH', 'a', string.format('%05d', i) .. string.rep('x', 3000)) end", "0")
        for t in threads:
            t.join(PATIENCE * 2)
        assert not faults and not any(t.is_alive() for t in threads), (faults, stats(s))


# --- the server behind ---


def test_server_lost_and_back():
    with served(options={"backoff": "100ms"}, log=LOG) as (address, redis, s):
        with sockets(address, "/SUBSCRIBE/a", "/PSUBSCRIBE/a", "/SUBSCRIBE/a.txt") as (one, pattern, text):
            redis.kill()
            wait_for(lambda: answer(address, "/SUBSCRIBE/b").status == 503, "no new ones")
            redis.start()
            assert one.read() == (TEXT, b'{"SUBSCRIBE":["gap","messages may have been lost"]}')
            assert pattern.read() == (TEXT, b'{"PSUBSCRIBE":["gap","messages may have been lost"]}')
            assert text.read_close() == (1013, b"messages were lost"), "text has no room for a word of ours"
            redis.command("PUBLISH", "a", "again")
            assert one.read() == message("a", "again")
            with WebSocket(address, "/SUBSCRIBE/a.txt") as back:
                redis.command("PUBLISH", "a", "and again")
                assert back.read() == (TEXT, b"and again")


def test_reload():
    """Those of old workers stay until their time to leave has come, hear everything, and are told."""
    with served(workers=2, log=LOG, timeouts={"drain": "1s", "close_spread": "500ms"}) as (address, redis, s):
        with sockets(address, *["/SUBSCRIBE/a.txt"] * 8) as old:
            began = time.monotonic()
            reload(s)
            with WebSocket(address, "/SUBSCRIBE/a.txt") as new:
                redis.command("PUBLISH", "a", "both")
                assert new.read() == (TEXT, b"both")
                heard = 0
                for w in old:
                    got = w.read()
                    if got == (TEXT, b"both"):
                        heard += 1
                        got = w.read()
                    took = time.monotonic() - began
                    # At the very end of the drain there is no time left for a word.
                    assert got == (CLOSE, b"\x03\xe9going away") or (got is None and took > 0.95), (got, took)
                    assert took > 0.45, "closed after %.2f s" % took
                    w.send(close_frame(1001))
                assert heard == 8 or time.monotonic() - began > 1.5, "only %d of 8 heard it" % heard
                redis.command("PUBLISH", "a", "one")
                assert new.read() == (TEXT, b"one")
        s.first_pids = {w["slot"]: w["pid"] for w in s.workers()}


# --- commands ---


def ask(w, *words):
    w.send(frame(TEXT, json.dumps(words)))
    opcode, text = w.read()
    assert opcode == TEXT
    return json.loads(text)


def test_commands():
    with served() as (address, redis, s), sockets(address, "/", "/.json") as (w, other):
        assert ask(w, "SET", "a", "one") == {"SET": [True, "OK"]}
        assert ask(other, "get", "a") == {"get": "one"}
        assert ask(w, "SET", "n", 41) == {"SET": [True, "OK"]} and ask(w, "INCR", "n") == {"INCR": 42}
        assert ask(w, "SET", "bin", {"base64": "AP8="}) == {"SET": [True, "OK"]}
        assert ask(w, "GET", "bin") == {"GET": {"base64": "AP8="}} and redis.command("STRLEN", "bin") == "2"
        assert ask(w, "SET", "nul", "a\0b") == {"SET": [True, "OK"]} and ask(w, "GET", "nul") == {"GET": "a\0b"}
        assert ask(w, "SET", "e", "") == {"SET": [True, "OK"]} and ask(w, "MGET", "e", "no") == {"MGET": ["", None]}
        assert ask(w, "INCR", "a") == {"INCR": [False, "ERR value is not an integer or out of range"]}
        for text in ("", "x", "[]", "{}", '["GET", true]', '["GET", 1.5]', '["GET", {"base64": "?"}]', '[["GET"]]', '["G ET"]',
                     '["GET", "a"] x', "[1.0]", '[{"base64": "R0VU"}, "a"', "[" * 5000):  # fmt: skip
            w.send(frame(TEXT, text))
            name, _, rest = w.read()[1].partition(b":")
            assert rest == b'[false,"ERR not_a_command"]}', (text, rest)
        w.send(frame(TEXT, json.dumps(["GET"] + ["k"] * 2000)))
        assert w.read() == (TEXT, b'{"":[false,"ERR not_a_command"]}')
        w.send(frame(BINARY, '["GET","a"]'))
        assert w.read_close() == (1003, b"expected text")
        assert ask(other, "GET", "a") == {"GET": "one"}


def test_commands_that_may_not():
    routes = {"/": route("GET", "SUBSCRIBE"), "/p/": route(key_prefix="app:")}
    with served(routes) as (address, redis, s), sockets(address, "/", "/p/") as (w, inside):
        for words, why in (
            (("SET", "a", "b"), "command_not_allowed"),
            (("set", "a", "b"), "command_not_allowed"),
            (("SUBSCRIBE", "a"), "command_forbidden"),
            (("MULTI",), "command_forbidden"),
        ):
            assert ask(w, *words) == {words[0]: [False, "ERR " + why]}, words
        assert ask(w, "GET", "a") == {"GET": None}
        for words, why in (
            (("MULTI",), "command_forbidden"),
            (("BLPOP", "a", 0), "command_forbidden"),
            (("XREAD", "BLOCK", "0", "STREAMS", "s", "0"), "command_waits"),
            (("KEYS", "*"), "keys_unknown"),
            (("FLUSHALL",), "keys_unknown"),
            (("CONFIG", "GET", "x"), "command_not_allowed"),
        ):
            assert ask(inside, *words) == {words[0]: [False, "ERR " + why]}, words
        assert ask(inside, "SET", "k", "v") == {"SET": [True, "OK"]}
        assert redis.command("KEYS", "*") == "app:k"
        assert counters(s)["refused"] == 10


def test_many_commands_at_once():
    """All are answered in their order, while the client reads nothing at first."""
    listens = [("127.0.0.1:0", {"sndbuf": "64k"})]
    with served(options={"connections": 4}, listens=listens) as (address, redis, s), sockets(address, "/", rcvbuf=4096) as (w,):
        redis.command("EVAL", "redis.call('SET', 'big', string.rep('x', 100000))", "0")
        commands = []
        for i in range(1500):
            commands.append(["ECHO", str(i)] if i % 3 else ["GET", "big"] if i % 2 else ["NO", str(i)])
        sender = threading.Thread(target=w.send, args=(b"".join(frame(TEXT, json.dumps(c)) for c in commands),))
        pid, seen = s.workers()[0]["pid"], [0]
        before = memory_kb(pid)

        def is_quiet():
            seen.append(counters(s)["commands"])
            return seen[-1] == seen[-2] > 0

        sender.start()
        wait_for(is_quiet, "it waits for the client")
        assert seen[-1] < 1000, "it has asked for %d" % seen[-1]
        # All answers are 25 MB.
        assert IS_SANITIZED or memory_kb(pid) < before + 10000, (before, memory_kb(pid))
        for c in commands:
            got = json.loads(w.read()[1])
            wanted = c[1] if c[0] == "ECHO" else "x" * 100000 if c[0] == "GET" else [False, None]
            if c[0] == "NO":
                got[c[0]][1] = None
            assert got == {c[0]: wanted}, (c, str(got)[:100])
        sender.join(PATIENCE)
        w.goodbye()


def test_commands_without_a_server():
    with served(options={"timeout": "200ms", "backoff": "100ms"}) as (address, redis, s), sockets(address, "/", "/") as (w, gone):
        redis.kill(signal.SIGSTOP)
        assert ask(w, "GET", "a") == {"GET": [False, "ERR redis_timeout"]}
        gone.send(frame(TEXT, '["GET","a"]') * 5)
        gone.reset()
        redis.kill()
        wait_for(lambda: ask(w, "GET", "a") == {"GET": [False, "ERR redis_down"]}, "down")
        redis.start()
        wait_for(lambda: ask(w, "GET", "a") == {"GET": None}, "an answer")
        wait_for(lambda: stats(s)["connections"] == 1, "the other one is gone")


# --- faults of the machine ---


def try_one(address, path):
    """Whatever comes of it."""
    try:
        with WebSocket(address, path, timeout=0.3, offer="permessage-deflate") as w:
            if path == "/r/":
                w.send(b"".join(frame(TEXT, json.dumps(c)) for c in (["SET", "a", "x" * 3000], ["GET", "a"], ["NO"]) * 10))
            elif path == "/news":
                w.send(frame(TEXT, "x" * 3000) * 5)
            get(address, "/r/PUBLISH/a/" + "x" * 500)
            for _ in range(5):
                w.read()
    except (AssertionError, OSError):
        pass


def try_all(address):
    """Channels in every form, commands, and messages that go to other hosts; each twice at the same time."""
    paths = ("/r/SUBSCRIBE/a", "/r/SUBSCRIBE/a/b.txt", "/r/PSUBSCRIBE/a*", "/r/", "/news", "/r/SUBSCRIBE/sluice:news") * 2
    threads = [threading.Thread(target=try_one, args=(address, path)) for path in paths]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


def test_faults():
    """Memory and calls that fail, one in so many: no worker dies, and afterwards all is as it should be."""
    need_root()
    routes = {"/r/": route(deflate=True), "/news": {"websocket": "channel:news", "publish": "any", "deflate": True}}
    folder = tempfile.mkdtemp(prefix="sluice-e2e-")
    try:
        faults = Faults(folder)
        with Redis() as redis:
            extra = section(redis, backoff="20ms", timeout="200ms") + 'channel "news" { redis = "main" }\n'
            with Server(workers=1, routes=routes, extra=extra, env=faults.environment()) as s:
                faults.table.skip_pid = s.proc.pid
                address = s.address()
                for kind, err, everies in (("malloc", 12, (2, 5, 17, 53)), ("send", 32, (7,)), ("write", 32, (7,)), ("recv", 104, (9,)),
                                           ("epoll_ctl", 12, (7,)), ("socket", 24, (2,)), ("connect", 110, (2,))):  # fmt: skip
                    for every in everies:
                        faults.set(kind, err, every)
                        try_all(address)
                        redis.command("CLIENT", "KILL", "TYPE", "pubsub")
                        faults.clear()
                # Redis knows first: a worker that has not yet seen that it was cut off still counts the channel.
                wait_for(lambda: redis.command("PUBSUB", "NUMSUB", "sluice:news") == "sluice:news\n1", "subscribed again")
                wait_for(lambda: stats(s)["remote_channels"] == 1 and counters(s)["connections"] >= 4, "connected again")
                with sockets(address, "/r/SUBSCRIBE/a.txt", "/r/", "/news") as (ear, mouth, news):
                    assert ask(mouth, "PUBLISH", "a", "all is well")["PUBLISH"] >= 1
                    assert ear.read() == (TEXT, b"all is well")
                    redis.command("PUBLISH", "sluice:news", "here too")
                    assert news.read() == (TEXT, b"here too")
                wait_for(lambda: counters(s)["subscribers"] == 0 and stats(s)["connections"] == 0, "nothing is left")
                wait_for(lambda: counters(s)["channels"] == 1, "but the channel")
                s.assert_no_worker_died()
    finally:
        shutil.rmtree(folder)


# --- real clients ---


def test_python_websockets():
    try:
        import websockets
    except ImportError:
        raise Skip("needs Debian's python3-websockets")

    async def talk(address, redis):
        url = "ws://%s:%d" % address
        async with websockets.connect(url + "/SUBSCRIBE/news") as w, websockets.connect(url + "/SUBSCRIBE/news.bin") as raw:
            redis.command("PUBLISH", "news", "κόσμε " * 20)
            assert json.loads(await w.recv()) == {"SUBSCRIBE": ["message", "news", "κόσμε " * 20]}
            assert await raw.recv() == ("κόσμε " * 20).encode()
            await asyncio.wait_for(await w.ping(b"x"), PATIENCE)
            await w.send("anything")
            try:
                await w.recv()
            except websockets.ConnectionClosed as e:
                assert e.rcvd.code == 1008, e
        async with websockets.connect(url) as w:
            for words in (["SET", "a", "b"], ["GET", "a"]):
                await w.send(json.dumps(words))
            assert json.loads(await w.recv()) == {"SET": [True, "OK"]} and json.loads(await w.recv()) == {"GET": "b"}

    for deflate in (False, True):
        with served({"/": route(deflate=deflate)}) as (address, redis, _):
            asyncio.run(asyncio.wait_for(talk(address, redis), PATIENCE * 2))


NODE = """
const WebSocket = require(process.argv[1]);
const ear = new WebSocket(process.argv[2] + "/SUBSCRIBE/news"), mouth = new WebSocket(process.argv[2]);
const got = [];
let open = 0;
function opened() { if (++open == 2) mouth.send(JSON.stringify(["PUBLISH", "news", "hello ".repeat(50)])); }
ear.on("open", opened); mouth.on("open", opened);
mouth.on("message", d => { got.push(String(d)); mouth.close(); });
ear.on("message", d => { got.push(JSON.parse(d).SUBSCRIBE[2].length); ear.close(4002, "enough"); });
ear.on("close", (code, reason) => { got.push("close " + code + " " + reason); console.log(JSON.stringify(got)); });
"""


def test_node_ws():
    """npm's ws, where somebody has put it below build/ (npm install --prefix build/node ws)."""
    module = os.path.join(os.path.dirname(SLUICE), "..", "node", "node_modules", "ws")
    node = shutil.which("node")
    if not node or not os.path.isdir(module):
        raise Skip("needs node and ws below build/node (npm install --prefix build/node ws)")
    with served({"/": route(deflate=True)}) as (address, _, _):
        command = [node, "-e", NODE, os.path.abspath(module), "ws://%s:%d" % address]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30, text=True)
        got = json.loads(done.stdout)
        assert sorted(map(str, got)) == ["300", "close 4002 enough", '{"PUBLISH":1}'], done.stdout


if __name__ == "__main__":
    main(__name__)
