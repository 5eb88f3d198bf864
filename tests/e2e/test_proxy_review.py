# SPDX-License-Identifier: MIT
"""Corners of the proxy that a hostile reading of it found: things that happen within other things, ends that come
together, fields that only look harmless.  Each test tells what went wrong before."""
import contextlib
import os
import socket
import tempfile
import threading
import time

from backend import DATE, Backend, Ignorer, pattern_bytes, raw
from harness import Client, main, request, wait_for
from proxy import assert_reason, described, logged, proxy, upstreams


@contextlib.contextmanager
def unix_path():
    with tempfile.TemporaryDirectory(prefix="sluice-e2e-") as folder:
        os.chmod(folder, 0o755)
        yield os.path.join(folder, "b.sock")


# --- requests that begin anew ---


def test_unix_server_that_is_gone_at_once():
    """A kept connection dies, and the fresh one is refused within the same call: the answer was given, and the session
    at its next request, before the event of the dead connection had ended."""
    with unix_path() as path, Backend(path) as b:

        def leave(c, r):
            os.unlink(path)
            return False

        b.on("/leave", leave)
        with proxy([b], workers=1, upstream_keys={"fails": "off"}) as s, Client(s) as c:
            assert c.request("/warm").status == 200
            assert c.request("/leave").status in (502, 503)
            assert c.request("/later").status in (502, 503)
            s.assert_no_worker_died()


def test_content_that_comes_while_another_server_is_asked():
    """A request whose first server closed before any content came is asked elsewhere.  Content that came meanwhile went
    into the queue before the head, or to a connection that was not there."""
    with Backend() as first, Backend(name="spare") as spare:
        first.on("/p", raw(then="close", is_early=True)).on("/slow", raw(then="close", is_early=True))
        servers = [first.server, (spare.server, {"backup": True, "max_connections": 1})]
        with proxy(servers, {"tries": 3}, workers=1, upstream_keys={"queue": 10, "queue_time": "9s"}) as s:
            with Client(s) as busy, Client(s) as c:
                busy.send(request("/slow?ms=1500"))
                wait_for(lambda: [r for r in spare.heads if r.path == "/slow"], "the spare server is busy")
                body = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
                head = "PUT /p HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % len(body)
                c.send(head)
                wait_for(lambda: [r for r in first.heads if r.path == "/p"], "the first server was asked")
                wait_for(lambda: upstreams(s)["b"].get("queued", 1), "the request waits")
                c.send(body[:5])
                time.sleep(0.1)
                c.send(body[5:])
                d = described(c.read_response())
                assert (d["method"], d["target"], d["body_len"]) == ("PUT", "/p", len(body)), d
                assert described(busy.read_response())["backend"] == "spare"
            assert not [r for r in spare.heads if r.path == "/smuggled"]
            spare.assert_nothing_odd()
            s.assert_no_worker_died()


def test_content_that_comes_while_connecting():
    with Backend() as first, Ignorer() as mute:
        first.on("/p", raw(then="close", is_early=True))
        servers = [first.server, (mute.server, {"backup": True})]
        with proxy(servers, {"tries": 3, "connect_timeout": "700ms"}, workers=1) as s, Client(s) as c:
            c.send("PUT /p HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\n")
            wait_for(lambda: [r for r in first.heads if r.path == "/p"], "the first server was asked")
            time.sleep(0.1)
            c.send("hello")
            r = c.read_response("PUT")
            assert r.status in (502, 504), r
            s.assert_no_worker_died()


# --- ends that come together ---


def test_tunnel_that_is_over_at_once():
    """Both ends were there when the tunnel began, so that it was closed before the session had noted who has it."""

    def leave(c, r):
        c.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nbye")
        return False

    def reset(c, r):
        c.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
        return c.reset()

    with Backend() as b, proxy([b], workers=1) as s:
        b.on("/leave", leave).on("/reset", reset)
        for target in ("/leave", "/reset") * 10:
            with Client(s) as c:
                c.send(request(target, fields=[("Connection", "upgrade"), ("Upgrade", "x")]))
                if target == "/leave":
                    c.half_close()
                c.read_all()
        s.assert_no_worker_died()


def test_content_whose_end_meets_a_server_that_is_slow():
    """The last piece of content filled a pipe that the server had yet to empty: the end was never told, so the answer
    had the timeout of a client that sends nothing."""
    size = 8 << 20

    def slow(c, r):
        left = size
        while left:
            piece = c.take(min(left, 262144))
            left -= len(piece)
            c.backend.pause(0.04)
        c.backend.pause(2.5)
        return c.answer(r, "all")

    slow.is_early = True
    with Backend() as b:
        b.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 262144)
        with proxy([b.on("/u", slow)], {"body": "10m"}, workers=1, timeouts={"body": "1s"}) as s, Client(s) as c:
            r = c.request("/u", "POST", body=pattern_bytes(size))
            assert (r.status, r.body) == (200, b"all"), r
            assert described(c.request("/next"))["connection"] == 1, "the connection to the server was not kept"


def test_answer_that_is_there_before_the_request():
    """A server that turns everybody away answers as it accepts; the event that told so was the one of connecting."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(8)
    done = threading.Event()

    def serve():
        held = []
        while not done.is_set():
            try:
                held.append(listener.accept()[0])
            except OSError:
                break
            held[-1].sendall(b"HTTP/1.1 503 Full\r\n" + DATE.encode() + b"Connection: close\r\nContent-Length: 4\r\n\r\nfull")
        for sock in held:
            sock.close()

    threading.Thread(target=serve, daemon=True).start()
    try:
        with proxy(["127.0.0.1:%d" % listener.getsockname()[1]], {"first_byte_timeout": "3s"}, workers=1) as s:
            for _ in range(50):
                began = time.monotonic()
                with Client(s) as c:
                    r = c.request("/")
                assert (r.status, r.body) == (503, b"full"), r
                assert time.monotonic() - began < 2
    finally:
        done.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


if __name__ == "__main__":
    main("__main__")
