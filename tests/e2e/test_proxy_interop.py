# SPDX-License-Identifier: MIT
"""Real servers behind the proxy: python3 -m http.server, Node, nginx, HAProxy, gunicorn.  One that is not installed is
skipped, aloud.
"""
import hashlib
import json
import time

from backend import Backend, pattern_bytes, pattern_hash
from harness import Client, get, main, request, wait_for
from peers import Gunicorn, Haproxy, Nginx, Node, PythonServer
from proxy import proxy

SIZE = 3000001


def assert_nothing_left(server):
    server.wait_live(0)
    server.assert_no_worker_died()


def test_python_http_server():
    """HTTP/1.0: every answer ends with the connection, and HEAD, 304 and errors too."""
    with PythonServer() as peer:
        peer.write("big.bin", pattern_bytes(SIZE))
        peer.write("a.txt", "hello")
        with proxy([peer]) as s, Client(s) as c:
            for _ in range(5):
                r = c.request("/a.txt")
                assert (r.status, r.body) == (200, b"hello") and not r.says_close(), r.fields
            assert c.request("/big.bin").body == pattern_bytes(SIZE)
            r = c.request("/a.txt", "HEAD")
            assert r.status == 200 and r.get("content-length") == "5"
            assert c.request("/a.txt", fields=[("If-Modified-Since", "Fri, 01 Jan 2100 00:00:00 GMT")]).status == 304
            assert c.request("/missing").status == 404
            assert c.request("/a.txt", "POST", body=b"x").status == 501
            c.close()
            assert_nothing_left(s)


def read_events(client, count):
    """Server-sent events as they come: [(text, time)]."""
    while b"\r\n\r\n" not in client.data:
        assert client.fill()
    client.data = client.data.split(b"\r\n\r\n", 1)[1]
    events = []
    while len(events) < count:
        while client.data.count(b"data: event") <= len(events):
            assert client.fill(), client.data
        events.append((b"event %d" % len(events), time.monotonic()))
    return events


def test_node():
    with Node() as peer, proxy([peer], {"body": "64m"}, workers=1) as s:
        address = s.address()
        with Client(address) as c:
            body = pattern_bytes(SIZE)
            for method in ("POST", "PUT", "PATCH", "DELETE"):
                d = json.loads(c.request("/x?a=%20b", method, body=body).body)
                assert (d["method"], d["size"], d["sha256"]) == (method, SIZE, pattern_hash(SIZE)), d
                assert d["url"] == "/x?a=%20b" and d["headers"]["x-forwarded-for"] == "127.0.0.1"
            c.send("POST /x HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
                   "5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n")
            d = json.loads(c.read_response().body)
            assert d["size"] == 5 and d["trailers"] == {"x-sum": "7"}, d
            assert c.request("/x", "HEAD").status == 200
            assert c.request("/x").status == 200
        with Client(address) as c:  # interim answers of a real server
            c.send(request("/hints"))
            r = c.read_response()
            assert r.status == 103 and "preload" in r.get("link"), r
            assert c.read_response().body == b"hinted"
        with Client(address) as c:  # 1000 small chunks, and a trailer
            c.send(request("/chunks"))
            data = b""
            while not data.endswith(b"\r\n\r\n") or b"\r\n0\r\n" not in data:
                assert c.fill()
                data, c.data = data + c.data, b""
            assert b"chunk 999\n" in data and data.endswith(b"\r\n0\r\nX-Sum: 1\r\n\r\n"), data[-100:]
        with Client(address) as c:  # 60 ms apart at the server: they must not come all at once
            c.send(request("/sse"))
            events = read_events(c, 4)
            assert events[-1][1] - events[0][1] > 0.1, [t - events[0][1] for _, t in events]
        with Client(address) as c:
            c.send("GET /ws HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
            assert c.read_response().status == 101
            for _ in range(3):
                c.send(b"x" * 100000)
                assert c.take(100000) == b"x" * 100000
            c.half_close()
            assert c.read_all() == b""
        assert_nothing_left(s)


def test_events_come_one_by_one():
    """The server sends the next event only after the client has the one before: one held back would be a deadlock."""
    with Backend() as b, proxy([b]) as s, Client(s) as c:
        c.send(request("/sse?count=20"))
        while b"\r\n\r\n" not in c.data:
            assert c.fill()
        c.data = c.data.split(b"\r\n\r\n", 1)[1]
        for i in range(20):
            while b"event %d\n\n" % i not in c.data:
                assert c.fill()
            b.tick()
        while not c.data.endswith(b"0\r\n\r\n"):
            assert c.fill()


def test_nginx():
    with Nginx() as peer:
        peer.write("big.bin", pattern_bytes(SIZE))
        with proxy([peer], {"body": "64m"}, workers=1) as s, Client(s) as c:
            for _ in range(3):
                r = c.request("/file/big.bin")
                assert hashlib.sha256(r.body).hexdigest() == pattern_hash(SIZE)
                r = c.request("/file/big.bin", fields=[("Range", "bytes=1000000-1000999")])
                assert r.status == 206 and r.body == pattern_bytes(1001000)[1000000:], r
                etag = c.request("/file/big.bin", "HEAD").get("etag")
                assert c.request("/file/big.bin", fields=[("If-None-Match", etag)]).status == 304
                r = c.request("/any?x", "POST", body=pattern_bytes(SIZE))
                assert (r.status, r.body) == (200, b"/any?x"), r
            assert c.request("/file/none").status == 404
            c.close()
            assert_nothing_left(s)


def test_haproxy():
    with Haproxy() as peer, proxy([peer], workers=1) as s:
        for _ in range(3):
            with Client(s) as c:
                for i in range(10):
                    r = c.request("/x%d" % i, "POST", body=b"hello")
                    assert (r.status, r.body) == (200, b"/x%d" % i), r

        def logged():
            return [e for e in peer.seen() if e.line.startswith("POST /x")]

        wait_for(lambda: len(logged()) >= 30, "its log has all of them")
        assert len(logged()) == 30 and all(e.length == 5 for e in logged()), logged()
        assert_nothing_left(s)


def test_gunicorn():
    with Gunicorn() as peer, proxy([peer], {"body": "64m"}, workers=1) as s, Client(s) as c:
        for size in (0, 5, SIZE):
            d = json.loads(c.request("/x%20y?q", "POST", body=pattern_bytes(size), host="shop.example").body)
            assert (d["size"], d["sha256"]) == (size, pattern_hash(size)), d
            assert (d["host"], d["peer"], d["url"]) == ("shop.example", "127.0.0.1", "/x%20y?q"), d
        c.send("POST /x HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
        assert json.loads(c.read_response().body)["size"] == 5
        r = c.request("/stream")
        assert r.body == b"".join(b"part %d\n" % i for i in range(500))
        assert c.request("/x", "HEAD").status == 200
        c.close()
        assert_nothing_left(s)


def test_proxy_behind_proxy():
    """Two of our own in a row: each adds itself, and content passes both."""
    with Backend() as b, proxy([b], {"body": "64m"}) as inner, proxy(["%s:%d" % inner.address()], {"body": "64m"}) as s:
        with Client(s) as c:
            body = pattern_bytes(SIZE)
            assert c.request("/hash", "POST", body=body).body.decode() == pattern_hash(SIZE)
            assert c.request("/down?size=%d&framing=chunked" % SIZE).body == body
            d = json.loads(c.request("/x").body)
            via = ", ".join(v for n, v in d["fields"] if n.lower() == "via")
            assert via.count("1.1 ") == 2, via
        b.assert_nothing_odd()


def test_restarted_server():
    """A server that is started anew is served again, though the kept connections are dead."""
    with PythonServer() as peer, proxy([peer], upstream_keys={"fails": 0}) as s:
        peer.write("a.txt", "hello")
        assert get(s.address(), "/a.txt").status == 200
        peer.proc.kill()
        peer.proc.wait()
        wait_for(lambda: get(s.address(), "/a.txt").status == 502, "it is gone")
        port, again = peer.port, PythonServer()
        again.port, again.address, again.server = port, ("127.0.0.1", port), peer.server
        with again:
            again.write("a.txt", "again")
            r = get(s.address(), "/a.txt")
            assert (r.status, r.body) == (200, b"again"), r


if __name__ == "__main__":
    main(__name__)
