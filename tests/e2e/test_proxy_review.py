# SPDX-License-Identifier: MIT
"""Corners of the proxy that a hostile reading of it found: things that happen within other things, ends that come
together, fields that only look harmless.  Each test tells what went wrong before."""
import collections
import contextlib
import os
import random
import signal
import socket
import tempfile
import threading
import time

from backend import DATE, Backend, Ignorer, pattern_bytes, raw
from harness import Client, ProtocolError, main, request, wait_for
from peers import free_port
from proxy import described, log, proxy, upstreams


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
        c.backend.pause(1.2)
        return c.answer(r, "all")

    slow.is_early = True
    with Backend() as b:
        b.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 262144)
        with proxy([b.on("/u", slow)], {"body": "10m"}, workers=1, timeouts={"body": "500ms"}) as s, Client(s) as c:
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


# --- fields ---


def test_server_that_is_ourselves():
    """A request went round until its Via no longer fitted, through thousands of connections."""
    port = free_port()
    with proxy(["127.0.0.1:%d" % port], listens=("127.0.0.1:%d" % port,), workers=1) as s:
        with Client(s) as c:
            assert c.request("/round").status == 508
        assert_reason_of_any(s, "/round", "loop", 508)
        assert s.total("accepted") < 20, s.workers()


def assert_reason_of_any(server, target, reason, status):
    wait_for(
        lambda: [e for e in log(server) if (e["target"], e["reason"], e["status"]) == (target, reason, status)],
        "a line of %s with %s" % (target, reason),
    )


def test_upgrades_to_many_things():
    """More Upgrade fields than a reply has room for made the 101 a 500, and the connection a tunnel all the same."""
    many = "".join("Upgrade: x%d\r\n" % i for i in range(60))
    head = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade, x-hop\r\nX-Hop: 1\r\n%s\r\n" % many
    with Backend() as b, proxy([b.on("/t", raw(head + "tunnel", then="close"))], workers=1) as s, Client(s) as c:
        c.send(request("/t", fields=[("Connection", "upgrade"), ("Upgrade", "x1")]))
        r = c.read_response()
        assert r.status == 101 and len(r.all("upgrade")) == 60 and not r.all("x-hop"), r.fields
        c.half_close()
        assert c.read_all() == b"tunnel"


def test_interim_answers_are_not_changed():
    """What a route adds to answers was added to each 1xx as well."""
    hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX-Gone: 1\r\n\r\n"
    answer = "HTTP/1.1 200 OK\r\n" + DATE + "Content-Length: 2\r\n\r\nok"
    route = {"response_add": ["Set-Cookie: a=b"], "response_remove": ["X-Gone"]}
    with Backend() as b, proxy([b.on("/h", raw(hints, answer, then="keep"))], route, workers=1) as s, Client(s) as c:
        first, second = c.request("/h"), c.read_response()
        assert (first.status, first.all("link"), first.all("set-cookie"), first.all("x-gone")) == (103, ["</a>"], [], [])
        assert (second.status, second.all("set-cookie")) == (200, ["a=b"])


def test_names_that_become_others_behind_us():
    """X_User is X-User to a server that hands fields on as environment variables, and Proxy is HTTP_PROXY."""
    route = {"request_set": ["X-User: nobody"], "request_remove": ["X-Secret-Level"]}
    fields = [("X_User", "root"), ("x_secret-level", "9"), ("Proxy", "http://x"), ("X_Other", "1")]
    with Backend() as b, proxy([b], route, workers=1) as s, Client(s) as c:
        d = described(c.request("/", fields=fields))
        names = [n for n, _ in d["fields"]]
        assert d["all"]("x-user") == ["nobody"] and "X_Other" in names, d["fields"]
        assert not {"X_User", "x_secret-level", "Proxy"} & set(names), d["fields"]


# --- the end of workers ---


def test_stop_with_everything_under_way():
    """What is under way is finished while the worker drains; what is not by then is cut, and nothing is left of it."""
    with contextlib.ExitStack() as stack:
        b = stack.enter_context(Backend())
        keys = {"queue": 10, "queue_time": "9s"}
        server = (b.server, {"max_connections": 5})
        s = stack.enter_context(proxy([server], workers=1, upstream_keys=keys, timeouts={"drain": "3s"}))
        clients = [stack.enter_context(Client(s)) for _ in range(7)]
        idle, slow, upload, events, tunnel, waiting, mute = clients
        assert idle.request("/hash").status == 200
        slow.send(request("/slow?ms=1000"))
        upload.send("POST /hash HTTP/1.1\r\nHost: test\r\nContent-Length: 200000\r\n\r\n")
        upload.send(pattern_bytes(100000))
        events.send(request("/sse?count=3"))
        tunnel.send(request("/upgrade", fields=[("Connection", "upgrade"), ("Upgrade", "x")]))
        mute.send(request("/never"))
        wait_for(lambda: len(b.open) == 5, "all of the connections are taken")
        waiting.send(request("/hash?late"))
        assert tunnel.read_response().status == 101
        assert tunnel.take(6) == b"hello "
        wait_for(lambda: upstreams(s)["b"]["queued"] == 1, "one waits in the queue")
        done = threading.Thread(target=s.stop, kwargs={"timeout": 20})
        done.start()
        assert idle.read_response() is None  # the drain has begun
        tunnel.send("still here")
        assert tunnel.take(10) == b"still here"
        upload.send(pattern_bytes(200000)[100000:])
        r = upload.read_response()
        assert r.status == 200 and r.says_close(), r.fields
        assert slow.read_response().status == 200
        assert waiting.read_response().status == 200
        for _ in range(2):
            b.tick()
        assert b"event 2" in events.read_response().body
        assert tunnel.read_all() == b"" and mute.read_all() == b""
        done.join()
        s.stop = lambda *a, **k: None


def test_killed_worker_leaves_no_counts():
    """Its requests and connections are taken off the servers: with max_connections they would be missed for ever."""
    with Backend() as b:
        server = (b.server, {"max_connections": 6})
        keys = {"queue": 20, "queue_time": "9s", "keepalive": 4}
        with proxy([server], workers=2, upstream_keys=keys) as s, contextlib.ExitStack() as stack:
            for _ in range(4):
                for _ in range(20):
                    c = stack.enter_context(Client(s))
                    c.send(request("/never"))
                wait_for(lambda: upstreams(s)["b"]["servers"][0]["active"] == 6, "all places are taken")
                pids = [w["pid"] for w in s.workers()]
                for pid in pids:
                    os.kill(pid, signal.SIGKILL)
                wait_for(
                    lambda: all(w["state"] == "running" and w["pid"] not in pids for w in s.workers()), "others serve", 20
                )
            # Who waited in an accept queue outlived its worker, and is with the server again until it leaves.
            stack.close()

            def is_nothing_left():
                b_now = upstreams(s)["b"]
                return (b_now["servers"][0]["active"], b_now["servers"][0]["connections"], b_now["queued"]) == (0, 0, 0)

            wait_for(is_nothing_left, "nothing of the dead is counted")
            clients = [stack.enter_context(Client(s)) for _ in range(12)]
            for c in clients:
                c.send(request("/slow?ms=100"))
            assert [c.read_response().status for c in clients] == [200] * 12


# --- all of it at once ---


class Rude:
    """Answers with the request's token, in ways that change by the token's seed."""

    is_early = True  # asked before the body was read

    def __init__(self):
        self.lock = threading.Lock()
        self.seen = collections.Counter()

    def __call__(self, c, r):
        token, dice = r.query["t"], random.Random(r.query["t"])
        with self.lock:
            self.seen[r.method, token] += 1
        if dice.random() < 0.5:
            c.read_body(r)
        way = dice.choice(("sized", "sized", "chunked", "chunked", "until", "none", "reset", "half", "tail", "late", "big"))
        if way in ("none", "reset"):
            return c.reset() if way == "reset" else False
        if way == "late":
            c.backend.pause(dice.random() / 20)
        body = token.encode() * (dice.randrange(1, 3) if way != "big" else 20000)
        for _ in range(dice.choice((0, 0, 0, 1, 2))):
            c.send("HTTP/1.1 103 Early Hints\r\nX-Token: %s\r\n\r\n" % token)
        head = "HTTP/1.1 200 OK\r\n" + DATE + "X-Token: %s\r\n" % token
        if way == "until":
            c.send(head + "\r\n")
            c.send(body)
            return c.end_output()
        if way == "chunked":
            c.send(head + "Transfer-Encoding: chunked\r\n\r\n")
            for at in range(0, len(body), 7):
                c.send(b"%x\r\n%s\r\n" % (len(body[at : at + 7]), body[at : at + 7]))
            c.send(b"0\r\n\r\n")
        else:
            text = (head + "Content-Length: %d\r\n\r\n" % len(body)).encode()
            text += body[: len(body) // 2] if way == "half" else body
            # In one piece: against a second answer that comes later, to the next request, no proxy can do anything.
            c.send(text + (head.encode() + b"Content-Length: 5\r\n\r\nWRONG" if way == "tail" else b""))
        if way == "half":
            return False
        if not r.is_complete:
            c.read_body(r)
        return True


def ask_rudely(address, number, dice, problems):
    """A few requests on one connection, in a random manner; every byte that comes back must be of its own request."""
    with Client(address) as c:
        for k in range(dice.randrange(1, 6)):
            token = "%d-%d-%x" % (number, k, dice.getrandbits(40))
            method = dice.choice(("GET", "GET", "POST", "PUT"))
            body = b"" if method == "GET" else b"x" * dice.choice((1, 1000, 70000, 300000))
            manner = dice.random()
            text = request("/r?t=" + token, method, body=body)
            if manner < 0.08:
                c.send(text[: dice.randrange(1, len(text) + 1)])
                return c.reset() if manner < 0.04 else None
            cut = dice.randrange(1, len(text) + 1)
            c.send(text[:cut])
            if manner > 0.8:
                time.sleep(0.01)
            c.send(text[cut:])
            if manner > 0.95:
                c.half_close()
            try:
                r = c.read_response(method)
                while r is not None and r.status < 200:
                    if r.status == 103 and r.get("x-token") != token:
                        problems.append("103 of another request: %s" % r.fields)
                    r = c.read_response(method)
            except ProtocolError as e:
                if "end of stream" not in str(e):
                    problems.append("%s: %s" % (token, e))
                return None
            if r is None or r.says_close() or manner > 0.95:
                return None
            if r.status == 200 and (r.get("x-token") != token or r.body.replace(token.encode(), b"")):
                problems.append("%s got %s %r" % (token, r.fields, r.body[:100]))
    return None


def test_nobody_gets_the_answer_of_another():
    """Rude servers, clients that leave in the middle, repeating, pools, a queue: many seeds of it, and no byte astray."""
    rude, problems = Rude(), []
    with Backend() as a, unix_path() as path, Backend(path, name="u") as u:
        servers = [(x.on("/r", rude).server, {"max_connections": 4}) for x in (a, u)]
        keys = {"queue": 50, "queue_time": "2s", "fails": "off", "retry_percent": 100}
        route = {"between_timeout": "2s", "first_byte_timeout": "2s"}
        with proxy(servers, route, upstream_keys=keys, timeouts={"body": "2s", "linger": "100ms"}) as s:
            address, until = s.address(), time.monotonic() + 2.5

            def work(number):
                dice = random.Random(number)
                while time.monotonic() < until:
                    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                        ask_rudely(address, number, dice, problems)

            threads = [threading.Thread(target=work, args=(n,)) for n in range(12)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            assert not problems, "%d problems, the first: %s" % (len(problems), problems[0])
            assert len(rude.seen) > 100, len(rude.seen)
            s.wait_live(0)
            wait_for(lambda: sum(x["active"] for x in upstreams(s)["b"]["servers"]) == 0, "nothing is under way")
            s.assert_no_worker_died()
        a.assert_nothing_odd()
        u.assert_nothing_odd()
        # The one kept connection that was dead, and the tries of the route; what may not be repeated never was.
        too_often = [e for e in rude.seen.items() if e[1] > (1 if e[0][0] == "POST" else 3)]
        assert not too_often, too_often[:5]


if __name__ == "__main__":
    main("__main__")
