# SPDX-License-Identifier: MIT
"""The proxy as clients and back ends see it: requests, content both ways, framing, 1xx, tunnels, fields, addresses."""
import contextlib
import hashlib
import os
import re
import signal
import socket
import struct
import subprocess
import tempfile
import threading

from backend import DATE, Backend, pattern_bytes, pattern_hash, raw
from harness import SLUICE, Client, get, main, need_ipv6, request, wait_for
from peers import free_port
from proxy import ask, assert_reason, described, proxy

MIB = 1 << 20


@contextlib.contextmanager
def one(route=None, scripts=None, **more):
    """(address, backend, server) of one back end behind one route."""
    with Backend(scripts=scripts) as b, proxy([b], route, **more) as s:
        yield s.address(), b, s
        s.assert_no_worker_died()
        b.assert_nothing_odd()


def chunked(body, size=1000, trailers=""):
    out = b"".join(b"%x\r\n%s\r\n" % (len(body[i : i + size]), body[i : i + size]) for i in range(0, len(body), size))
    return out + b"0\r\n" + trailers.encode() + b"\r\n"


def post_chunked(target, body, size=1000, trailers="", fields=""):
    head = "POST %s HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n%s\r\n" % (target, fields)
    return head.encode() + chunked(body, size, trailers)


# --- requests and answers ---


def test_methods():
    with one() as (address, _, _), Client(address) as c:
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"):
            assert described(c.request("/m", method))["method"] == method
        r = c.request("/m", "HEAD")
        assert r.status == 200 and int(r.get("content-length")) > 0 and r.body == b""
        assert described(c.request("/after"))["target"] == "/after"


def test_targets_and_fields_arrive_as_they_were():
    with one() as (address, _, _):
        fields = [("X-One", "1"), ("x-two", "a, b"), ("X-One", "again"), ("X-Empty", ""), ("Cookie", "a=b; c=d"),
                  ("User-Agent", 'x "y"'), ("Accept", "*/*")]
        d = ask(address, "/a/b%20c?d=e&f=%2F", fields=fields)
        assert d["target"] == "/a/b%20c?d=e&f=%2F"
        got = [tuple(f) for f in d["fields"]]
        assert [f for f in got if f in fields] == fields, got


def test_fields_are_written_in_one_form_whatever_they_came_in():
    """Lines in the usual form are copied in one piece; none that is not, and none that is left out, may slip in there."""
    lines = [
        ("X-A: 1", "X-A: 1"), ("X-B:2", "X-B: 2"), ("X-C:  3", "X-C: 3"), ("X-D: 4 ", "X-D: 4"), ("X-E:\t5", "X-E: 5"),
        ("X-F: 6\t", "X-F: 6"), ("X-G:", "X-G: "), ("X-H: ", "X-H: "), ("X-I:   ", "X-I: "), ("X-J: 10", "X-J: 10"),
        ("Connection: x-gone, close", None), ("X-K: a  b", "X-K: a  b"), ("X-Gone: 12", None), ("X-L: 13", "X-L: 13"),
        ("Proxy-Authorization: x", None), ("TE: gzip", None), ("X-M: :", "X-M: :"), ("X-N::", "X-N: :"),
        ("X-O: 16", "X-O: 16"), ("Via: 1.1 p", None), ("X-P: last", "X-P: last"),
    ]  # fmt: skip
    with one(workers=1) as (address, b, _):
        for first in range(len(lines)):
            turned = lines[first:] + lines[:first]
            with Client(address) as c:
                c.send("GET /x HTTP/1.1\r\nHost: a\r\n" + "".join(came + "\r\n" for came, _ in turned) + "\r\n")
                described(c.read_response())
                raw_head = list(b.open.values())[0].raw.split(b"\r\n\r\n")[-2].decode()
            wanted = [goes for _, goes in turned if goes]
            assert raw_head.split("\r\n")[2 : 2 + len(wanted)] == wanted, raw_head
            assert "X-Gone" not in raw_head and "Proxy-Auth" not in raw_head and "TE:" not in raw_head, raw_head
            b.close_idle()
            wait_for(lambda: not b.open, "closed")


def test_statuses():
    with one() as (address, _, _), Client(address) as c:
        for code in (200, 201, 202, 206, 301, 302, 400, 401, 403, 404, 409, 416, 429, 500, 501, 502, 503, 504, 599):
            r = c.request("/status?code=%d&body=b%d" % (code, code))
            assert (r.status, r.body) == (code, b"b%d" % code), r


def test_answers_without_content():
    scripts = {
        "/204": raw("HTTP/1.1 204 No Content\r\n" + DATE + "\r\n", then="keep"),
        "/304": raw("HTTP/1.1 304 Not Modified\r\n" + DATE + 'ETag: "x"\r\nContent-Length: 500\r\n\r\n', then="keep"),
        "/head": raw("HTTP/1.1 200 OK\r\n" + DATE + "Content-Length: 500\r\n\r\n", then="keep"),
        "/head-chunked": raw("HTTP/1.1 200 OK\r\n" + DATE + "Transfer-Encoding: chunked\r\n\r\n", then="keep"),
        "/empty": raw("HTTP/1.1 200 OK\r\n" + DATE + "Content-Length: 0\r\n\r\n", then="keep"),
    }
    with one(scripts=scripts) as (address, b, _), Client(address) as c:
        r = c.request("/204")
        assert r.status == 204 and r.get("content-length") is None
        r = c.request("/304")
        assert r.status == 304 and r.get("etag") == '"x"'
        r = c.request("/head", "HEAD")
        assert r.status == 200 and r.get("content-length") == "500", r.fields
        assert c.request("/head-chunked", "HEAD").status == 200
        r = c.request("/empty")
        assert r.status == 200 and r.get("content-length") == "0" and r.body == b""
        assert described(c.request("/after"))["target"] == "/after"
        assert b.connection_count == 1, "a well-framed answer keeps the connection"


def test_keep_alive_and_pool():
    with one(workers=1) as (address, b, _):
        for _ in range(50):
            assert get(address, "/x").status == 200
        assert b.connection_count == 1, b.connection_count
        with Client(address) as c:
            for _ in range(50):
                assert c.request("/y").status == 200
        assert b.connection_count == 1, b.connection_count


def test_pool_is_bounded():
    with one(workers=1, upstream_keys={"keepalive": 2}) as (address, b, _):
        clients = [Client(address) for _ in range(6)]
        for c in clients:
            c.send(request("/slow?ms=200"))
        for c in clients:
            assert c.read_response().status == 200
            c.close()
        assert b.most_open == 6, b.most_open
        wait_for(lambda: len(b.open) == 2, lambda: "2 kept connections, got %d" % len(b.open))


def test_idle_connections_are_closed():
    with one(workers=1, upstream_keys={"keepalive_time": "200ms"}) as (address, b, _):
        assert get(address, "/x").status == 200
        wait_for(lambda: not b.open, "the idle connection is closed")
        assert get(address, "/x").status == 200 and b.connection_count == 2


def test_requests_per_pooled_connection():
    with one(workers=1, upstream_keys={"keepalive_requests": 5}) as (address, b, _):
        for _ in range(20):
            assert get(address, "/x").status == 200
        assert b.connection_count == 4, b.connection_count


def test_no_pool():
    with one(workers=1, upstream_keys={"keepalive": 0}) as (address, b, _):
        for _ in range(3):
            assert get(address, "/x").status == 200
        assert b.connection_count == 3, b.connection_count
        wait_for(lambda: not b.open, "no connection is kept")


def test_connections_that_the_back_end_closed_are_not_used():
    with one(workers=1) as (address, b, s):
        for i in range(20):
            assert get(address, "/x", method="POST").status == 200, i
            b.close_idle()
            wait_for(lambda: not b.open, "closed")
        assert b.connection_count == 20, b.connection_count


def test_pipelining():
    with one() as (address, b, _), Client(address) as c:
        targets = ["/slow?ms=60&n=0"] + ["/p?n=%d" % i for i in range(1, 30)]
        c.send(b"".join(request(t) for t in targets))
        assert [described(c.read_response())["target"] for _ in targets] == targets
        # Content in between.
        c.send(b"".join(request("/hash", "POST", body=b"%d" % i) + post_chunked("/hash", b"c%d" % i)
                        for i in range(10)))
        for i in range(10):
            for body in (b"%d" % i, b"c%d" % i):
                assert c.read_response().body.decode() == hashlib.sha256(body).hexdigest()


def test_http_10_clients():
    with one() as (address, _, _):
        with Client(address) as c:
            c.send("GET /down?size=5000&framing=chunked HTTP/1.0\r\nHost: test\r\n\r\n")
            r = c.read_response()
            assert r.get("transfer-encoding") is None and r.body == pattern_bytes(5000), r.fields
            c.assert_closed()
        with Client(address) as c:
            c.send("GET /x HTTP/1.0\r\n\r\n")
            assert described(c.read_response())["target"] == "/x"


# --- content ---


def test_content_up():
    with one(limits={"body": "16m"}) as (address, _, _), Client(address) as c:
        for size in (1, 100, 16384, 32768, 50000, 65300, 65536, 65537, 98304, 1 << 20, 5000001):
            body = pattern_bytes(size)
            wanted = pattern_hash(size)
            assert c.request("/hash", "POST", body=body).body.decode() == wanted, size
            for step in (size, 65521, 8192 if size > 100000 else 7):
                c.send(post_chunked("/hash", body if step > 7 else body[:5000], step))
                got = c.read_response().body.decode()
                assert got == (wanted if step > 7 else hashlib.sha256(body[:5000]).hexdigest()), (size, step)


def test_content_down():
    with one() as (address, _, _), Client(address) as c:
        for size in (0, 1, 100, 16384, 32768, 50000, 65300, 65536, 65537, 98304, 1 << 20, 5000001):
            for more in ("", "&framing=chunked", "&framing=chunked&chunk=7" if size < 70000 else "&framing=chunked",
                         "&framing=chunked&chunk=65537", "&framing=close"):
                r = c.request("/down?size=%d%s" % (size, more))
                assert r.status == 200 and hashlib.sha256(r.body).hexdigest() == pattern_hash(size), (size, more)


def test_sized_stays_sized():
    with one() as (address, b, _), Client(address) as c:
        r = c.request("/down?size=200000")
        assert r.get("content-length") == "200000" and r.get("transfer-encoding") is None
        d = described(c.request("/x", "POST", body=b"hello"))
        assert (d["framing"], d["body_len"]) == ("sized", 5), d
        c.send(post_chunked("/x", b"hello"))
        assert described(c.read_response())["framing"] == "chunked"
        d = described(c.request("/x", "POST"))
        assert d["all"]("content-length") in (["0"], []), d


def test_large_content_both_ways_at_once():
    """Several clients, sized and chunked: the hashes must be right, and nobody waits for ever for the other side."""
    failures = []

    def client(address, i):
        size = 6 * MIB + i * 12345
        try:
            with Client(address, timeout=20) as c:
                if i % 2:
                    r = c.request("/down?size=%d%s" % (size, "&framing=chunked" if i % 4 == 1 else ""))
                    got = hashlib.sha256(r.body).hexdigest()
                else:
                    body = pattern_bytes(size)
                    c.send(request("/hash", "POST", body=body) if i % 4 else post_chunked("/hash", body, 50000))
                    got = c.read_response().body.decode()
                if got != pattern_hash(size):
                    failures.append((i, "wrong hash"))
        except (AssertionError, OSError) as e:
            failures.append((i, e))

    with one(limits={"body": "64m"}) as (address, _, s):
        threads = [threading.Thread(target=client, args=(address, i)) for i in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert not failures, failures
        s.wait_live(0)


def test_content_limit_of_a_route():
    with one(routes={"/big/": {"body": "2m"}, "/small/": {"body": 10}}) as (address, b, s):
        body = b"x" * (MIB + MIB // 2)
        with Client(address) as c:
            c.send(request("/x", "POST", body=body))
            assert c.read_response().status == 413
        assert ask(address, "/big/x", "POST", body=body)["body_len"] == len(body)
        assert ask(address, "/small/x", "POST", body=b"x" * 10)["body_len"] == 10
        with Client(address) as c:
            c.send(request("/small/y", "POST", body=b"x" * 11))
            assert c.read_response().status == 413
        with Client(address) as c:
            c.send(post_chunked("/small/z", b"x" * 11))
            assert c.read_response().status == 413
        assert not any(r.path in ("/small/y", "/x") for r in b.heads), b.heads
        assert not any(r.path == "/small/z" for r in b.requests), b.requests


def test_trailers():
    scripts = {"/t": raw("HTTP/1.1 200 OK\r\n" + DATE + "Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n"
                         "5\r\nhello\r\n0\r\nX-Sum: abc\r\nX-More: d\r\nContent-Length: 9\r\n\r\n", then="keep")}
    with one(scripts=scripts) as (address, b, _):
        with Client(address) as c:
            c.send(request("/t", fields=[("TE", "trailers"), ("Connection", "TE")]))
            c.send(request("/after"))
            data = b""
            while b'"/after"' not in data:
                assert c.fill(), data
                data, c.data = data + c.data, b""
            m = re.search(rb"\r\n\r\n5\r\nhello\r\n0\r\n(.*?)\r\n\r\nHTTP/1.1 200", data, re.S)
            assert m, data[:500]
            assert sorted(m.group(1).split(b"\r\n")) == [b"X-More: d", b"X-Sum: abc"], m.group(1)
        with Client(address) as c:
            c.send(post_chunked("/x", b"hello", trailers="X-Sum: 1\r\nX-Mad: 2\r\nHost: evil\r\n"))
            r = c.read_response()
            assert r.status in (200, 400), r
            c.send(post_chunked("/x", b"hello", trailers="X-Sum: 1\r\nX-Mad: 2\r\n"))
            if r.status == 200:
                d = described(r)
                assert d["trailers"] == [["X-Sum", "1"], ["X-Mad", "2"]], d["trailers"]
                d = described(c.read_response())
                assert d["trailers"] == [["X-Sum", "1"], ["X-Mad", "2"]], d["trailers"]
                assert not [f for f in d["fields"] if f[0].lower() in ("x-sum", "x-mad")]


# --- interim answers, expectations, early answers ---


def test_interim_answers():
    hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n"
    final = "HTTP/1.1 200 OK\r\n" + DATE + "Content-Length: 2\r\n\r\nok"
    scripts = {"/hints": raw(hints, hints, 50, final, then="keep")}
    with one(scripts=scripts) as (address, _, _):
        with Client(address) as c:
            for _ in range(3):
                c.send(request("/hints"))
                answers = [c.read_response() for _ in range(3)]
                assert [r.status for r in answers] == [103, 103, 200], answers
                assert answers[0].get("link") == "</a.css>; rel=preload" and answers[0].get("x-hop") is None
                assert answers[2].body == b"ok"
        with Client(address) as c:  # RFC 9110 15.2: never to a client of 1.0
            c.send("GET /hints HTTP/1.0\r\nHost: test\r\n\r\n")
            assert c.read_response().status == 200


def test_expectations():
    with one() as (address, b, _):
        head = "POST %s HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        with Client(address) as c:  # the back end asks for the content
            c.send(head % "/expect")
            assert c.read_response().status == 100
            c.send("hello")
            r = c.read_response()
            r = c.read_response() if r.status == 100 else r
            assert described(r)["body_len"] == 5
            # It does not, but the content comes along all the same.
            c.send(head % "/expect" + "hello")
            r = c.read_response()
            assert described(c.read_response() if r.status == 100 else r)["body_len"] == 5
        with Client(address) as c:  # it refuses
            c.send(head % "/refuse")
            r = c.read_response()
            assert r.status == 417, r
        assert not any(r.path == "/refuse" for r in b.requests)


def test_early_answers():
    with one(limits={"body": "64m"}) as (address, b, s):
        # The back end answers at once and closes; the client is still sending.
        with Client(address) as c:
            c.send(request("/early", "POST", fields=[("Content-Length", str(8 * MIB))]) + b"x" * MIB)
            r = c.read_response()
            assert (r.status, r.body) == (403, b"early"), r
        # It goes on reading: what it reads is the whole content, and the answer is its.
        with Client(address) as c:
            body = pattern_bytes(3 * MIB)
            c.send(request("/early?keep", "POST", body=body))
            assert c.read_response().status == 403
            if not c.is_eof:
                with contextlib.suppress(AssertionError):
                    assert c.request("/after").status == 200
        wait_for(lambda: not [r for r in b.requests if r.path == "/early"] or
                 [r for r in b.requests if r.path == "/early"][-1].digest.hexdigest() == pattern_hash(3 * MIB),
                 "the content is whole or cut, never mixed")
        assert get(address, "/x").status == 200
        s.wait_live(0)


# --- tunnels ---


def upgrade(address, data=b"", target="/upgrade", protocol="echo"):
    c = Client(address)
    c.send("GET %s HTTP/1.1\r\nHost: test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: %s\r\n"
           "Sec-WebSocket-Key: abc\r\n\r\n" % (target, protocol))
    if data:
        c.send(data)
    r = c.read_response()
    assert r.status == 101, r
    assert "upgrade" in r.tokens("connection") and r.get("upgrade") == protocol, r.fields
    return c


def test_tunnel():
    with one() as (address, b, s):
        c = upgrade(address, protocol="websocket")
        assert c.take(6) == b"hello "  # came along with the 101
        for size in (1, 10, 70000, 3 * MIB):
            body = pattern_bytes(size)
            thread = threading.Thread(target=c.send, args=(body,))
            thread.start()
            assert c.take(size) == body, size
            thread.join()
        # Half-close: the other direction goes on until it ends by itself.
        c.send(b"last")
        c.half_close()
        assert c.read_all() == b"last bye"
        assert not c.was_reset
        c.close()
        # Bytes right behind the request belong to the tunnel.
        with upgrade(address, b"early") as c:
            assert c.take(11) == b"hello early"
            c.half_close()
            assert c.read_all() == b" bye"
        s.wait_live(0)
        wait_for(lambda: not b.open, "the back end's connections end")


def test_tunnel_ends_with_either_side():
    with one() as (address, b, s):
        c = upgrade(address)
        c.take(6)
        c.reset()  # the client dies
        s.wait_live(0)
        wait_for(lambda: not b.open, "the back end's end is closed")
        c = upgrade(address)
        c.take(6)
        b.close_idle()  # the back end closes
        assert c.read_all() in (b"", b" bye")
        c.close()
        s.wait_live(0)


def test_tunnel_timeout():
    with one({"tunnel_timeout": "300ms"}) as (address, b, s), upgrade(address) as c:
        c.take(6)
        c.send(b"x")
        assert c.take(1) == b"x"
        c.read_all()
        c.close()
        s.wait_live(0)
        assert_reason(s, "/upgrade", "tunnel_idle", 101)


def test_no_tunnel():
    """An upgrade that is refused, asked for nowhere, or sent with content is an ordinary exchange."""
    with one() as (address, b, _), Client(address) as c:
        fields = [("Connection", "Upgrade"), ("Upgrade", "x")]
        assert described(c.request("/plain", fields=fields))["target"] == "/plain"
        d = described(c.request("/plain", fields=[("Upgrade", "x")]))
        assert not d["all"]("upgrade"), d
        d = described(c.request("/plain", fields=[("Connection", "Upgrade"), ("Upgrade", "h2c")]))
        assert not d["all"]("upgrade"), d
        r = c.request("/upgrade")  # the back end answers 426, for no upgrade was asked for
        assert r.status == 426, r


# --- fields ---


def test_hop_by_hop_fields():
    scripts = {"/hop": raw("HTTP/1.1 200 OK\r\n" + DATE + "Connection: keep-alive, x-secret\r\nX-Secret: 1\r\n"
                           "Keep-Alive: timeout=5\r\nProxy-Connection: x\r\nX-Fine: 2\r\nContent-Length: 2\r\n\r\nok",
                           then="keep")}
    with one(scripts=scripts) as (address, _, _):
        d = ask(address, "/x", fields=[("Connection", "x-hop, close"), ("X-Hop", "1"), ("Keep-Alive", "9"),
                                       ("X-End", "2"), ("Proxy-Connection", "close"), ("TE", "gzip")])
        names = {f[0].lower() for f in d["fields"]}
        assert "x-end" in names
        assert not names & {"x-hop", "keep-alive", "proxy-connection", "te"}, names
        r = get(address, "/hop")
        assert r.get("x-fine") == "2" and r.get("x-secret") is None and r.get("keep-alive") is None, r.fields


def test_forwarding_fields():
    with one() as (address, _, _):
        d = ask(address, "/x", host="shop.example:8080")
        assert d["all"]("host") == ["shop.example:8080"]
        assert d["all"]("x-forwarded-for") == ["127.0.0.1"]
        assert d["all"]("x-forwarded-proto") == ["http"]
        assert d["all"]("x-forwarded-host") == ["shop.example:8080"]
        assert re.match(r"1\.1 \S", d["all"]("via")[0]), d["all"]("via")
        assert re.fullmatch(r"[\w-]{16,}", d["all"]("x-request-id")[0])
        # A client whom nobody trusts is not believed.
        d = ask(address, "/x", fields=[("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-Proto", "https"),
                                       ("X-Forwarded-Host", "evil"), ("Forwarded", "for=6.6.6.6")])
        assert d["all"]("x-forwarded-for") == ["127.0.0.1"]
        assert d["all"]("x-forwarded-proto") == ["http"]
        assert d["all"]("x-forwarded-host") == ["test"]
        assert not any("6.6.6.6" in v for v in d["all"]("forwarded")), d["all"]("forwarded")
        assert ask(address, "/x", fields=[("Via", "1.0 fred")])["all"]("via")[0].startswith("1.0 fred")


def test_forwarding_fields_of_a_trusted_proxy():
    with one(top='trusted_proxies = { "127.0.0.1/32" }\n') as (address, _, _):
        d = ask(address, "/x", fields=[("X-Forwarded-For", "6.6.6.6, 7.7.7.7"), ("X-Forwarded-Proto", "https"),
                                       ("X-Forwarded-Host", "shop.example")])
        chain = ", ".join(d["all"]("x-forwarded-for"))
        assert [a.strip() for a in chain.split(",")] == ["6.6.6.6", "7.7.7.7", "127.0.0.1"], chain
        assert d["all"]("x-forwarded-proto") == ["https"]
        assert d["all"]("x-forwarded-host") == ["shop.example"]
        with Client(address, source="127.0.0.2") as c:  # not in the list
            d = described(c.request("/x", fields=[("X-Forwarded-For", "6.6.6.6")]))
            assert d["all"]("x-forwarded-for") == ["127.0.0.2"]


def test_request_ids_and_traces():
    with one(top='trusted_proxies = { "127.0.0.1/32" }\n') as (address, _, s):
        d = ask(address, "/x", fields=[("X-Request-Id", "abc-123")])
        assert d["all"]("x-request-id") == ["abc-123"]
        trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        d = ask(address, "/x", fields=[("traceparent", trace), ("tracestate", "a=b")])
        got = d["all"]("traceparent")
        assert len(got) == 1 and got[0].split("-")[1] == trace.split("-")[1], got
        assert d["all"]("tracestate") == ["a=b"]
        ids = {ask(address, "/x")["all"]("x-request-id")[0] for _ in range(20)}
        assert len(ids) == 20, "every request has an id of its own"


def test_host_modes():
    with one(routes={"/server/": {"host": "server"}, "/fixed/": {"host": "app.example"}}) as (address, b, _):
        assert ask(address, "/x", host="shop.example")["all"]("host") == ["shop.example"]
        assert ask(address, "/server/x", host="shop.example")["all"]("host") == [b.server]
        d = ask(address, "/fixed/x", host="shop.example")
        assert d["all"]("host") == ["app.example"] and d["all"]("x-forwarded-host") == ["shop.example"]


def test_rewrite():
    routes = {"/strip/": {"rewrite": "/"}, "/old/": {"rewrite": "/new/"}, "/bare": {"rewrite": "/x"}}
    with one(routes=routes) as (address, _, _):
        for target, wanted in (
            ("/keep/a?b", "/keep/a?b"),
            ("/strip/a?b", "/a?b"),
            ("/strip/", "/"),
            ("/strip/?q", "/?q"),
            ("/old/a/b%20c?d=%2F", "/new/a/b%20c?d=%2F"),
            ("/bare", "/x"),
            ("/bare/y", "/x/y"),
            ("/strip//evil.example/x", "/evil.example/x"),
            ("/strip/a/../b", "/b"),
        ):
            got = ask(address, target)["target"]
            assert got == wanted, (target, got)


def test_set_add_remove():
    route = {
        "request_set": ["X-Set: new", "X-Fresh: 1"],
        "request_add": ["X-Add: two"],
        "request_remove": ["X-Gone", "Cookie"],
        "response_set": ["Server: hidden", "X-Frame-Options: DENY"],
        "response_add": ["Set-Cookie: b=2"],
        "response_remove": ["X-Powered-By"],
    }
    scripts = {"/r": raw("HTTP/1.1 200 OK\r\n" + DATE + "Server: leaky/1.0\r\nX-Powered-By: x\r\nSet-Cookie: a=1\r\n"
                         "Content-Length: 2\r\n\r\nok", then="keep")}
    with one(route, scripts) as (address, _, _):
        d = ask(address, "/x", fields=[("X-Set", "old"), ("x-set", "older"), ("X-Add", "one"), ("X-Gone", "1"),
                                       ("Cookie", "a=b"), ("X-Stay", "1")])
        assert d["all"]("x-set") == ["new"] and d["all"]("x-fresh") == ["1"]
        assert d["all"]("x-add") == ["one", "two"], d["all"]("x-add")
        assert not d["all"]("x-gone") and not d["all"]("cookie") and d["all"]("x-stay") == ["1"]
        r = get(address, "/r")
        assert r.all("server") == ["hidden"] and r.all("x-frame-options") == ["DENY"], r.fields
        assert r.all("set-cookie") == ["a=1", "b=2"] and not r.all("x-powered-by"), r.fields


def test_fields_of_our_own_can_be_set_and_removed():
    """Set or removed, they are there once or not at all: two of a name are a riddle to the server."""
    ours = ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded", "Via", "X-Request-Id"]
    routes = {"/set/": {"request_set": [n + ": mine" for n in ours]}, "/no/": {"request_remove": ours}}
    with one(routes=routes) as (address, _, _):
        sent = [(n, "theirs") for n in ours]
        d = ask(address, "/set/x", fields=sent)
        assert [d["all"](n) for n in ours] == [["mine"]] * len(ours), d["fields"]
        d = ask(address, "/no/x", fields=sent)
        assert not any(d["all"](n) for n in ours), d["fields"]
        d = ask(address, "/x", fields=sent)
        assert [len(d["all"](n)) for n in ours] == [1] * len(ours), d["fields"]


def test_date_is_added():
    scripts = {"/d": raw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", then="keep"),
               "/own": raw("HTTP/1.1 200 OK\r\n" + DATE + "Content-Length: 2\r\n\r\nok", then="keep")}
    with one(scripts=scripts) as (address, _, _):
        assert get(address, "/d").get("date")  # the client's parser refuses a wrong one
        assert get(address, "/own").get("date") == "Sun, 06 Nov 1994 08:49:37 GMT"


# --- PROXY protocol ---


def v2_header(source, port, family=0x11, command=0x21):
    body = socket.inet_aton(source) + socket.inet_aton("10.0.0.1") + struct.pack("!HH", port, 80)
    return b"\r\n\r\n\0\r\nQUIT\n" + bytes((command, family)) + struct.pack("!H", len(body)) + body


def test_proxy_protocol_in():
    with one(listens=[("127.0.0.1:0", {"proxy_protocol": True})]) as (address, _, s):
        for header, peer in (
            (b"PROXY TCP4 1.2.3.4 10.0.0.1 1111 80\r\n", "1.2.3.4"),
            (b"PROXY TCP6 2001:db8::1 2001:db8::2 1111 80\r\n", "2001:db8::1"),
            (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
            (v2_header("1.2.3.5", 2222), "1.2.3.5"),
            (v2_header("1.2.3.5", 2222, command=0x20), "127.0.0.1"),
        ):
            for cuts in ((), range(1, len(header) + 5)):
                with Client(address) as c:
                    c.send(header + request("/x"), cuts)
                    d = described(c.read_response())
                    assert d["all"]("x-forwarded-for") == [peer], (header, d["all"]("x-forwarded-for"))
                    assert c.request("/again").status == 200
        for bad in (request("/none"), b"PROXY TCP4 1.2.3.4\r\n" + request("/none"),
                    b"PROXY TCP4 1.2.3.4 10.0.0.1 1 99999\r\n" + request("/none"),
                    b"PROXY " + b"x" * 200 + b"\r\n", b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0"):
            with Client(address) as c:
                c.send(bad)
                assert not re.search(rb"HTTP/1.1 2", c.read_all()), bad
        s.wait_live(0)


def test_proxy_protocol_out():
    for version in ("v1", "v2"):
        with Backend(has_preface=True) as b:
            prefaces = []
            serve = b.script_of

            def note(r, b=b, prefaces=prefaces, serve=serve):
                prefaces.append(b.open[r.connection].preface)
                return serve(r)

            b.script_of = note
            with proxy([b], upstream_keys={"send_proxy": version}) as s:
                address = s.address()
                ports = []
                for _ in range(3):
                    with Client(address) as c:
                        ports.append(c.sock.getsockname()[1])
                        assert c.request("/x").status == 200
                for port, preface in zip(ports, prefaces):
                    if version == "v1":
                        assert preface == b"PROXY TCP4 127.0.0.1 127.0.0.1 %d %d" % (port, address[1]), preface
                    else:
                        assert preface[12:14] == b"\x21\x11", preface
                        source, _, sport, dport = struct.unpack("!4s4sHH", preface[16:28])
                        assert (socket.inet_ntoa(source), sport, dport) == ("127.0.0.1", port, address[1])
                assert len(prefaces) == 3
                b.assert_nothing_odd()


# --- where servers are ---


def test_unix_socket():
    with tempfile.TemporaryDirectory(prefix="sluice-unix-") as folder:
        os.chmod(folder, 0o755)
        with Backend(os.path.join(folder, "app.sock")) as b, proxy([b]) as s:
            for _ in range(5):
                d = ask(s.address(), "/x", "POST", body=b"hello")
                assert d["target"] == "/x" and d["body_len"] == 5 and d["all"]("host") == ["test"]
            with Client(s) as c:
                assert c.request("/down?size=3000000").body == pattern_bytes(3000000)
            b.assert_nothing_odd()


def test_ipv6():
    need_ipv6()
    with Backend(("::1", 0)) as b, proxy([b], listens=["[::1]:0"]) as s:
        d = ask(s.address(), "/x")
        assert d["all"]("x-forwarded-for") == ["::1"], d["all"]("x-forwarded-for")
        b.assert_nothing_odd()


def test_one_line_command():
    """sluice proxy TO"""
    with Backend() as b, tempfile.TemporaryDirectory(prefix="sluice-one-") as folder:
        port, control = free_port(), os.path.join(folder, "control.sock")
        for to in (str(b.address[1]), b.server, "http://" + b.server, "http://" + b.server + "/"):
            proc = subprocess.Popen([SLUICE, "proxy", to, "-l", "127.0.0.1:%d" % port, "--control", control],
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
            try:
                def is_up():
                    assert proc.poll() is None, proc.stdout.read()
                    with contextlib.suppress(OSError):
                        return get(("127.0.0.1", port), "/x")
                    return None

                assert wait_for(is_up, "sluice proxy %s serves" % to).status == 200
            finally:
                proc.send_signal(signal.SIGTERM)
                proc.wait(20)
                proc.stdout.close()


if __name__ == "__main__":
    main(__name__)
