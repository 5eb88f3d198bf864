# SPDX-License-Identifier: MIT
"""WebSocket endpoints as clients see them: the handshake, then the categories of the Autobahn suite as cases of their own."""
import asyncio
import os
import time

from harness import (
    PATIENCE,
    Client,
    Server,
    Skip,
    get,
    main,
    wait_for,
)
from proxy import log
from websocket import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    WebSocket,
    accept_of,
    close_frame,
    deflated,
    frame,
    handshake,
)

LOG = {"access": "@DIR@/access.log", "format": "json", "flush": "5ms"}


def server(keys=None, **more):
    echo = dict({"websocket": "echo"}, **(keys or {}))
    return Server(routes={"/": echo}, workers=1, log=LOG, **more)


def wait_reason(s, reason, count=1):
    lines = wait_for(
        lambda: [x for x in log(s) if x["reason"] == reason][count - 1 :],
        lambda: "%s in %s" % (reason, [x["reason"] for x in log(s)]),
    )
    assert wait_for(
        lambda: sum(w["closed"][reason] for w in s.workers()) >= count, "counter of %s" % reason
    )
    return lines[0]


def stats(s):
    each = [w["websocket"] for w in s.workers()]
    return {k: sum(w[k] for w in each) for k in each[0]}


# --- the handshake (RFC 6455 4) ---


def test_handshake():
    assert accept_of("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "the RFC's own example"
    with server() as s:
        with WebSocket(s, early=frame(TEXT, "early")) as w:
            assert w.read() == (TEXT, b"early"), "what came behind the request's head"
            w.goodbye()
        with WebSocket(s, extra=["Sec-WebSocket-Protocol: a, b", "Sec-WebSocket-Extensions: permessage-deflate"]) as w:
            assert w.response.get("Sec-WebSocket-Protocol") is None, "nobody chose one"
            assert w.response.get("Sec-WebSocket-Extensions") is None
            w.goodbye()
        line = wait_reason(s, "websocket", 2)
        assert line["status"] == 101


def test_handshake_refused():
    good = handshake("/")[0].decode()
    cases = [
        (good.replace("Version: 13", "Version: 8"), 426),
        (good.replace("Sec-WebSocket-Version: 13\r\n", ""), 426),
        (good.replace("Sec-WebSocket-Version: 13\r\n", "Sec-WebSocket-Version: 13\r\n" * 2), 426),
        (good.replace("Sec-WebSocket-Key: ", "Sec-WebSocket-Key: x"), 400),
        (handshake("/", key="AAAA")[0].decode(), 400),
        (handshake("/", key="!!!!!!!!!!!!!!!!!!!!!!==")[0].decode(), 400),
        (good.replace("Upgrade: websocket\r\n", ""), 426),
        (good.replace("Upgrade: websocket", "Upgrade: h2c"), 426),
        (good.replace("Connection: Upgrade", "Connection: keep-alive"), 426),
        (good.replace("HTTP/1.1", "HTTP/1.0"), 426),
        (good.replace("GET /", "PUT /"), 405),
        (good.replace("GET /", "POST /"), 405),
        (good.replace("Host:", "Content-Length: 3\r\nHost:") + "abc", 426),
    ]
    with server() as s:
        for text, status in cases:
            with Client(s) as c:
                c.send(text)
                r = c.read_response()
                assert r.status == status, "%d instead of %d for %r" % (r.status, status, text)
                if status == 426:
                    assert r.get("Upgrade") == "websocket" and r.get("Sec-WebSocket-Version") == "13"
        r = get(s, "/")
        assert r.status == 426, "without an upgrade"
        assert get(s, "/", method="HEAD").status == 426
        assert get(s, "/", {"Accept": "text/event-stream"}).status == 426, "an echo is no stream"
        assert stats(s)["connections"] == 0 and stats(s)["refused"] > 0


def test_origins():
    keys = {"origins": ["https://app.example:8443", "null"]}
    with Server(
        routes={"/own": {"websocket": "echo"}, "/list": dict({"websocket": "echo"}, **keys),
                "/all": {"websocket": "echo", "origins": ["*"]}},
        workers=1,
    ) as s:
        for path, origin, is_welcome in [
            ("/own", None, True),
            ("/own", "http://test", True),
            ("/own", "HTTPS://TEST", True),
            ("/own", "http://test:81", False),
            ("/own", "http://evil", False),
            ("/own", "http://evil.test", False),
            ("/own", "null", False),
            ("/own", "test", False),
            ("/list", "https://app.example:8443", True),
            ("/list", "https://app.example", False),
            ("/list", "null", True),
            ("/list", "http://test", True),
            ("/all", "http://anywhere", True),
        ]:
            extra = ["Origin: " + origin] if origin else []
            with Client(s) as c:
                c.send(handshake(path, extra=extra)[0])
                assert c.read_response().status == (101 if is_welcome else 403), (path, origin)
        with Client(s) as c:
            c.send(handshake("/own", extra=["Origin: http://test", "Origin: http://test"])[0])
            assert c.read_response().status == 403, "two of them are none to trust"


# --- 1: framing ---


def test_framing():
    """Autobahn 1.1 and 1.2: lengths around each form, sent whole, in pieces and by the byte."""
    with server({"message": "256k", "frame": "256k"}) as s, WebSocket(s) as w:
        for opcode, fill in ((TEXT, b"*"), (BINARY, b"\xfe")):
            for n in (0, 1, 125, 126, 127, 128, 65535, 65536, 200000):
                data = frame(opcode, fill * n)
                w.send(data, range(0, len(data), 9973))
                assert w.read() == (opcode, fill * n), n
        data = frame(TEXT, "by the byte" * 12)
        w.send(data, range(len(data)))
        assert w.read() == (TEXT, b"by the byte" * 12)
        w.send(b"".join(frame(TEXT, str(i)) for i in range(2000)))
        assert [w.read()[1] for i in range(2000)] == [b"%d" % i for i in range(2000)], "many in one segment"
        w.send(frame(TEXT, "no mask bytes", mask=b"\0\0\0\0"))
        assert w.read() == (TEXT, b"no mask bytes")
        w.goodbye()


# --- 2: pings and pongs ---


def test_pings():
    with server() as s, WebSocket(s) as w:
        for payload in (b"", b"hello", b"\0\xff\xfe\xfd", b"x" * 125):
            w.send(frame(PING, payload))
            assert w.read() == (PONG, payload)
        w.send(frame(PING, b"by the byte"), range(30))
        assert w.read() == (PONG, b"by the byte")
        w.send(frame(PONG, b"nobody asked"))
        w.send(frame(PONG, b"nobody asked") + frame(PING, b"a") + frame(PING, b"b"))
        assert [w.read(), w.read()] == [(PONG, b"a"), (PONG, b"b")]
        w.send(b"".join(frame(PING, b"%d" % i) for i in range(10)))
        assert [w.read()[1] for i in range(10)] == [b"%d" % i for i in range(10)]
        w.goodbye()
        with WebSocket(s) as w:
            w.send(frame(PING, b"x" * 126))
            assert w.read_close()[0] == 1002
            w.at_end()


# --- 3, 4, and what else frames may not be ---


def expect_failure(s, data, code, before=()):
    with WebSocket(s) as w:
        w.send(data)
        for wanted in before:
            assert w.read() == wanted
        got = w.read_close()[0]
        assert got == code, "%s instead of %s for %r" % (got, code, data[:60])
        w.at_end()


def test_broken_frames():
    """Autobahn 3 (reserved bits), 4 (opcodes), and masks, lengths, fragments of control frames."""
    with server() as s:
        for rsv in range(1, 8):
            expect_failure(s, frame(TEXT, "x", rsv=rsv), 1002)
        expect_failure(s, frame(TEXT, "before") + frame(PING, b"p", rsv=4), 1002, [(TEXT, b"before")])
        expect_failure(s, frame(CLOSE, b"", rsv=2), 1002)
        for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
            expect_failure(s, frame(opcode, b""), 1002)
            expect_failure(s, frame(TEXT, "a") + frame(opcode, b"x") + frame(PING), 1002, [(TEXT, b"a")])
        expect_failure(s, frame(TEXT, "bare", mask=None), 1002)
        expect_failure(s, frame(PING, b"", mask=None), 1002)
        expect_failure(s, frame(TEXT, "x", form=16), 1002)
        expect_failure(s, frame(TEXT, "x", form=64), 1002)
        expect_failure(s, frame(TEXT, "x" * 200, form=64), 1002)
        expect_failure(s, frame(BINARY, b"", length=1 << 63), 1002)
        expect_failure(s, frame(PING, b"p", fin=False), 1002)
        expect_failure(s, frame(CLOSE, b"", fin=False), 1002)
        wait_reason(s, "websocket_error")
        assert stats(s)["failed"] > 30 and stats(s)["connections"] == 0


# --- 5: fragmentation ---


def test_fragmentation():
    with server() as s, WebSocket(s) as w:
        w.send(frame(TEXT, "one ", fin=False) + frame(0, "two"))
        assert w.read() == (TEXT, b"one two")
        w.send(frame(TEXT, "", fin=False) + frame(0, "", fin=False) + frame(0, ""))
        assert w.read() == (TEXT, b"")
        w.send(frame(TEXT, "", fin=False) + frame(0, "middle", fin=False) + frame(0, ""))
        assert w.read() == (TEXT, b"middle")
        w.send(frame(BINARY, b"a", fin=False) + frame(PING, b"in between") + frame(0, b"b"))
        assert w.read() == (PONG, b"in between") and w.read() == (BINARY, b"ab")
        data = frame(TEXT, "by ", fin=False) + frame(PING, b"!") + frame(0, "the ", fin=False) + frame(0, "byte")
        w.send(data, range(len(data)))
        assert w.read() == (PONG, b"!") and w.read() == (TEXT, b"by the byte")
        w.send(b"".join([frame(BINARY, b"x", fin=False)] + [frame(0, b"x", fin=False)] * 5000 + [frame(0, b"x")]))
        assert w.read() == (BINARY, b"x" * 5002)
        w.goodbye()
        expect_failure(s, frame(0, "nothing to go on with"), 1002)
        expect_failure(s, frame(0, "x", fin=False), 1002)
        expect_failure(s, frame(TEXT, "a", fin=False) + frame(TEXT, "b"), 1002)
        expect_failure(s, frame(TEXT, "a", fin=False) + frame(0, "b") + frame(0, "c"), 1002, [(TEXT, b"ab")])


# --- 6: UTF-8 ---

VALID = [
    "Hello-µ@ßöäüàá-UTF-8!!".encode(),
    "κόσμε".encode(),
    b"\x00",
    b"\xc2\x80",
    b"\xe0\xa0\x80",
    b"\xf0\x90\x80\x80",
    b"\x7f",
    b"\xdf\xbf",
    b"\xef\xbf\xbf",
    b"\xf4\x8f\xbf\xbf",
    b"\xed\x9f\xbf",
    b"\xee\x80\x80",
    b"\xef\xbf\xbd",
]
INVALID = [
    b"\x80",
    b"\xbf",
    b"\x80\xbf",
    b"\xc0 ",
    b"\xe0\xa0",
    b"\xf0\x90\x80",
    b"\xc0\xaf",
    b"\xe0\x80\xaf",
    b"\xf0\x80\x80\xaf",
    b"\xc1\xbf",
    b"\xe0\x9f\xbf",
    b"\xf0\x8f\xbf\xbf",
    b"\xed\xa0\x80",
    b"\xed\xbf\xbf",
    b"\xed\xa0\x80\xed\xb0\x80",
    b"\xf4\x90\x80\x80",
    b"\xf8\x88\x80\x80\x80",
    b"\xfe",
    b"\xff",
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
]


def test_utf8():
    with server() as s:
        with WebSocket(s) as w:
            for text in VALID:
                w.send(frame(TEXT, text))
                assert w.read() == (TEXT, text), text
                pieces = [frame(TEXT if i == 0 else 0, text[i : i + 1], fin=False) for i in range(len(text))]
                w.send(b"".join(pieces) + frame(0, b""))
                assert w.read() == (TEXT, text), "cut into fragments: %r" % text
            for data in INVALID:
                w.send(frame(BINARY, data))
                assert w.read() == (BINARY, data)
            w.goodbye()
        for text in INVALID:
            expect_failure(s, frame(TEXT, text), 1007)
        expect_failure(s, frame(TEXT, b"good so far \xf4", fin=False) + frame(0, b"\x90\x80\x80"), 1007)
        # The fault is found as soon as it is there, not with the end of the message.
        expect_failure(s, frame(TEXT, b"\xf4\x90", fin=False), 1007)


# --- 7: closing ---


def test_close():
    with server() as s:
        for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999):
            with WebSocket(s) as w:
                w.send(close_frame(code, b"because"))
                assert w.read_close() == (code, b"because")
                w.at_end()
        for code in (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65535):
            expect_failure(s, close_frame(code), 1002)
        with WebSocket(s) as w:
            w.send(close_frame())
            assert w.read_close() == (None, b"")
            w.at_end()
        with WebSocket(s) as w:
            w.send(close_frame(1000, b"x" * 123))
            assert w.read_close() == (1000, b"x" * 123)
            w.at_end()
        expect_failure(s, frame(CLOSE, b"\3"), 1002)
        expect_failure(s, close_frame(1000, b"x" * 124), 1002)
        expect_failure(s, close_frame(1000, b"\xce\xba\xe1\xbd\xb9\xcf\x83\xed\xa0\x80"), 1007)
        with WebSocket(s) as w:
            w.send(frame(TEXT, "one") + close_frame(1000) + frame(TEXT, "too late") + frame(PING))
            assert w.read() == (TEXT, b"one")
            assert w.read_close() == (1000, b"")
            w.at_end()
        with WebSocket(s) as w:
            w.send(frame(TEXT, "half", fin=False) + close_frame(1001))
            assert w.read_close() == (1001, b"")
            w.at_end()
        assert wait_for(lambda: stats(s)["connections"] == 0, "all are gone")


def test_gone_without_goodbye():
    with server() as s:
        WebSocket(s).close()
        wait_reason(s, "websocket_abort")
        w = WebSocket(s)
        w.send(frame(TEXT, "half", length=100))
        w.reset()
        wait_reason(s, "websocket_abort", 2)
        w = WebSocket(s)
        w.half_close()
        wait_reason(s, "websocket_abort", 3)
        w.close()
        wait_for(lambda: stats(s)["connections"] == 0, "all are gone")


def test_close_timeout():
    """A client that does not answer a close frame, or keeps its side open behind it, is not waited for."""
    with server({"close_timeout": "100ms"}) as s:
        with WebSocket(s) as w:
            w.send(close_frame(1000))
            assert w.read_close()[0] == 1000
            w.at_end()
            began = time.monotonic()
            wait_reason(s, "websocket")
            assert time.monotonic() - began < PATIENCE / 2
            wait_for(lambda: stats(s)["connections"] == 0, "it is gone")


# --- 9, 10: limits ---


def test_limits():
    with server({"message": "1000", "frame": "600"}) as s:
        with WebSocket(s) as w:
            w.send(frame(BINARY, b"x" * 600))
            assert w.read() == (BINARY, b"x" * 600)
            w.send(frame(TEXT, "x" * 600, fin=False) + frame(0, "x" * 400))
            assert w.read() == (TEXT, b"x" * 1000)
            w.goodbye()
        expect_failure(s, frame(TEXT, "x" * 601), 1009)
        expect_failure(s, frame(TEXT, "x" * 600, fin=False) + frame(0, "x" * 401), 1009)
        # Its length says enough, with the first byte: nobody waits for what will not be taken.
        expect_failure(s, frame(BINARY, b"x", length=1 << 40), 1009)
        expect_failure(s, frame(BINARY, b"x", length=601), 1009)
        wait_reason(s, "websocket_error", 4)


def test_large_messages():
    with server({"message": "16m", "frame": "16m"}) as s, WebSocket(s) as w:
        data = os.urandom(4 << 20)
        w.send(frame(BINARY, data))
        assert w.read() == (BINARY, data)
        pieces = [data[i : i + 65536] for i in range(0, len(data), 65536)]
        w.send(
            b"".join(
                frame(BINARY if i == 0 else 0, p, fin=i == len(pieces) - 1) for i, p in enumerate(pieces)
            )
        )
        assert w.read() == (BINARY, data)
        w.goodbye()


def test_who_does_not_read():
    """Echoes that nobody takes: the server stops reading, holds one batch, and gives up after the write timeout."""
    with server({"message": "64k"}, timeouts={"write": "300ms"}) as s:
        w = WebSocket(s, rcvbuf=4096, timeout=1)
        data = frame(BINARY, b"x" * 65000)
        sent = 0
        try:
            while sent < 64 << 20:
                sent += w.sock.send(data)
        except OSError:
            pass
        assert sent < 32 << 20, "%d bytes were taken" % sent
        wait_reason(s, "write_timeout")
        w.close()


# --- keep-alive ---


def test_ping_by_the_server():
    with server({"ping": "100ms", "pong_timeout": "30s"}) as s, WebSocket(s) as w:
        for _ in range(3):
            opcode, payload = w.read()
            assert opcode == PING
            w.send(frame(PONG, payload))
        w.goodbye()
        assert stats(s)["pings"] >= 3


def test_pong_timeout():
    with server({"ping": "500ms", "pong_timeout": "500ms"}) as s:
        silent = WebSocket(s)
        assert silent.read()[0] == PING
        wait_reason(s, "websocket_silent")
        assert silent.read() is None
        silent.close()
        # Whatever comes counts as a sign of life, not only a pong.
        with WebSocket(s) as w:
            for i in range(24):
                w.send(frame(TEXT, str(i)))
                time.sleep(0.05)
            while w.read() != (TEXT, b"23"):
                pass
            w.send(close_frame(1000))
            while w.read()[0] != CLOSE:
                pass


# --- permessage-deflate (RFC 7692) ---

TAKEN = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


def test_deflate_offers():
    with server({"deflate": True}) as s:
        for offer, taken in [
            ("permessage-deflate", TAKEN),
            ("permessage-deflate; client_max_window_bits", TAKEN),
            ("Permessage-Deflate ; server_no_context_takeover;client_no_context_takeover", TAKEN),
            ("permessage-deflate; server_max_window_bits=12; client_max_window_bits=8", TAKEN + "; server_max_window_bits=12"),
            ('permessage-deflate; server_max_window_bits="15"', TAKEN + "; server_max_window_bits=12"),
            ("permessage-deflate; server_max_window_bits=10, permessage-deflate", TAKEN),
            ("x-other, permessage-deflate; unknown, permessage-deflate", TAKEN),
            ("permessage-deflate; server_max_window_bits=10", None),
            ("permessage-deflate; server_max_window_bits", None),
            ("permessage-deflate; server_max_window_bits=16", None),
            ("permessage-deflate; client_max_window_bits=7", None),
            ("permessage-deflate; server_no_context_takeover=1", None),
            ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", None),
            ("permessage-deflate; x", None),
            ("permessage-deflate=1", None),
            ("x-webkit-deflate-frame", None),
        ]:
            with WebSocket(s, offer=offer) as w:
                assert w.response.get("Sec-WebSocket-Extensions") == taken, offer
                w.send(frame(TEXT, "plain all the same"))
                assert w.read() == (TEXT, b"plain all the same")
                w.goodbye()


def test_deflate():
    with server({"deflate": True, "message": "100k", "frame": "100k"}) as s:
        with WebSocket(s, offer="permessage-deflate") as w:
            hello = bytes.fromhex("f248cdc9c90700")
            for data in (
                hello,  # these five are the RFC's own examples, 7.2.3
                bytes.fromhex("00 05 00 fa ff 48 65 6c 6c 6f 00"),
                bytes.fromhex("f348cdc9c9070000"),
                bytes.fromhex("f2480500 0000ffff cac9c90700"),
            ):
                w.send(frame(TEXT, data, rsv=4))
                assert w.read() == (TEXT, b"Hello"), data
            w.send(frame(TEXT, hello[:3], rsv=4, fin=False) + frame(PING, b"p") + frame(0, hello[3:]))
            assert w.read() == (PONG, b"p") and w.read() == (TEXT, b"Hello")
            w.send(frame(BINARY, b"\0", rsv=4))
            assert w.read() == (BINARY, b""), "an empty message"
            assert w.deflated_count == 0, "short ones go as they are"
            text = "κόσμε, the same again and again. ".encode() * 2500
            for _ in range(3):
                w.send(frame(TEXT, deflated(text), rsv=4))
                assert w.read() == (TEXT, text)
            assert w.deflated_count == 3
            noise = os.urandom(60000)
            w.send(frame(BINARY, deflated(noise), rsv=4) + frame(BINARY, noise))
            assert w.read() == (BINARY, noise) and w.read() == (BINARY, noise)
            assert w.deflated_count == 3, "what does not get smaller goes as it is"
            w.goodbye()
        before = stats(s)["failed"]
        for data, code in [
            (frame(TEXT, deflated(b"x" * 200000), rsv=4), 1009),
            (frame(BINARY, deflated(b"\0" * (50 << 20)), rsv=4), 1009),
            (frame(TEXT, deflated(b"\xff"), rsv=4), 1007),
            (frame(BINARY, b"\xff" * 50, rsv=4), 1007),
            (frame(BINARY, hello + b"\1\2\3 and more", rsv=4), 1007),
            (frame(TEXT, b"a", fin=False) + frame(0, hello, rsv=4), 1002),
            (frame(PING, b"", rsv=4), 1002),
            (frame(TEXT, hello, rsv=6), 1002),
        ]:
            with WebSocket(s, offer="permessage-deflate") as w:
                w.send(data)
                got = w.read_close()[0]
                assert got == code, "%s instead of %s for %r" % (got, code, data[:40])
                w.at_end()
        assert stats(s)["failed"] == before + 8
        expect_failure(s, frame(TEXT, hello, rsv=4), 1002)


def test_inflating_leaves_others_their_turn():
    """Half a KiB becomes half a MiB: whoever sends many of those at once does not hold up the whole worker."""
    bomb = frame(BINARY, deflated(b"\0" * (512 << 10)), rsv=4)
    count = 200
    with server({"deflate": True, "message": "512k", "frame": "512k"}) as s, Client(s) as other:
        with WebSocket(s, offer="permessage-deflate") as w:
            assert other.request("/").status == 426
            start = time.monotonic()
            w.send(bomb * count)
            assert other.request("/").status == 426
            waited = time.monotonic() - start
            for _ in range(count):
                assert w.read() == (BINARY, b"\0" * (512 << 10))
            whole = time.monotonic() - start
            assert waited < whole / 2, "answered after %.3f s of %.3f s" % (waited, whole)


# --- real clients ---


def test_python_websockets():
    try:
        import websockets
    except ImportError:
        raise Skip("needs Debian's python3-websockets")

    async def talk(address):
        url = "ws://%s:%d/" % address
        async with websockets.connect(url, max_size=None) as w:
            for text in ("", "hello", "κόσμε", "x" * 60000):
                await w.send(text)
                assert await w.recv() == text
            await w.send(b"\0\xff" * 1000)
            assert await w.recv() == b"\0\xff" * 1000
            await w.send(["frag", "men", "ted"])
            assert await w.recv() == "fragmented"
            await asyncio.wait_for(await w.ping(b"x"), PATIENCE)
            await w.send("x" * 70000)
            try:
                await w.recv()
            except websockets.ConnectionClosed as e:
                assert e.rcvd.code == 1009 and e.sent.code == 1009, e
            else:
                raise AssertionError("a message above the limit came back")
        async with websockets.connect(url) as w:
            await w.close(4001, "reason")
            assert w.close_code == 4001 and w.close_reason == "reason"

    for deflate in (False, True):
        with server({"deflate": deflate}) as s:
            asyncio.run(asyncio.wait_for(talk(s.address()), PATIENCE * 2))
            wait_reason(s, "websocket")


if __name__ == "__main__":
    main(__name__)
