# SPDX-License-Identifier: MIT
"""Every wait has an end: slow heads, slow bodies, idle connections, clients that do not read, lingering closes.

The waits here are the input (a client that is slow on purpose), never a way to let the server catch up.
"""
import select
import socket
import time

from harness import Client, ProtocolError, Server, get, main, request, server_sockets, wait_for

SHORT = {
    "header": "400ms",
    "body": "400ms",
    "keepalive": "400ms",
    "write": "600ms",
    "linger": "500ms",
}


def closed(server, reason):
    return sum(w["closed"][reason] for w in server.workers())


def seconds_until_end(client):
    began = time.monotonic()
    data = client.read_all()
    return time.monotonic() - began, data


def test_slow_head_gets_408():
    starts = (
        b"G",
        b"GET /hello HT",
        b"GET /hello HTTP/1.1\r\nHost: te",
        b"GET /hello HTTP/1.1\r\nHost: test\r\n",
    )
    with Server(timeouts=dict(SHORT, keepalive="60s")) as s:
        clients, began = [Client(s) for _ in starts], time.monotonic()
        for c, start in zip(clients, starts):
            c.send(start)
        for c, start in zip(clients, starts):
            r = c.read_response()
            took = time.monotonic() - began
            assert r is not None and r.status == 408 and r.says_close(), (start, r)
            assert 0.3 < took < 8, took
            c.assert_closed()
            assert not c.was_reset
            c.close()
        s.wait_live(0)
        assert closed(s, "header_timeout") == 4, s.workers()


def test_dripping_head_gains_no_time():
    with Server(timeouts=dict(SHORT, keepalive="60s")) as s, Client(s) as c:
        began = time.monotonic()
        head = b"GET /hello HTTP/1.1\r\nHost: test\r\nX: " + b"y" * 1000
        for byte in head:
            if select.select([c.sock], [], [], 0.05)[0]:  # the drip: a byte every 50 ms
                break
            c.send(bytes([byte]))
        r = c.read_response()
        took = time.monotonic() - began
        assert r is not None and r.status == 408, r
        assert 0.3 < took < 8, "the timeout counts from the first byte: %.1f s" % took


def test_silent_connection_is_closed():
    with Server(timeouts=SHORT) as s, Client(s) as c:
        took, data = seconds_until_end(c)
        assert 0.3 < took < 8, took
        assert data == b"" or data.startswith(b"HTTP/1.1 408 "), data
        s.wait_live(0)


def test_slow_body_gets_408():
    starts = (
        ("Content-Length: 100", b"hello"),
        ("Transfer-Encoding: chunked", b"9\r\nhello"),
        ("Transfer-Encoding: chunked", b"5\r\nhello\r\n"),
        ("Content-Length: 5", b""),
    )
    with Server(timeouts=dict(SHORT, header="60s", keepalive="60s")) as s:
        clients, began = [Client(s) for _ in starts], time.monotonic()
        for c, (head, start) in zip(clients, starts):
            c.send("POST /hello HTTP/1.1\r\nHost: test\r\n%s\r\n\r\n" % head)
            c.send(start)
        for c, (head, start) in zip(clients, starts):
            r = c.read_response()
            took = time.monotonic() - began
            assert r is not None and r.status == 408 and r.says_close(), (head, r)
            assert 0.3 < took < 8, took
            c.assert_closed()
            c.close()
        s.wait_live(0)
        assert closed(s, "body_timeout") == 4, [w["closed"] for w in s.workers()]


def test_keep_alive_ends():
    with Server(timeouts=SHORT) as s, Client(s) as c:
        assert c.request("/hello").status == 200
        took, data = seconds_until_end(c)
        assert data == b"" and 0.3 < took < 8, (took, data)
        assert not c.was_reset
        s.wait_live(0)
        assert closed(s, "idle") == 1


def test_keep_alive_starts_anew_with_each_request():
    with Server(timeouts=dict(SHORT, keepalive="700ms")) as s, Client(s) as c:
        began = time.monotonic()
        while time.monotonic() - began < 1.4:
            assert c.request("/hello").status == 200
            assert not select.select([c.sock], [], [], 0.3)[0], "closed too early"
        assert s.total("accepted") == 1


def test_second_request_begun_and_not_ended():
    with Server(timeouts=dict(SHORT, keepalive="60s")) as s, Client(s) as c:
        c.send(request("/hello") + b"GET /hel")
        assert c.read_response().status == 200
        r = c.read_response()
        assert r is not None and r.status == 408, r
        c.assert_closed()


def test_client_that_does_not_read():
    with Server(workers=1, timeouts=SHORT) as s:
        s.write("big.bin", b"x" * (64 << 20))
        with Client(s, rcvbuf=4096) as c:
            c.send(request("/big.bin"))
            c.take(1000)
            s.wait_live(0)
            assert closed(s, "write_timeout") == 1, s.workers()[0]["closed"]
        assert get(s.address(), "/hello").status == 200


def test_slow_client_that_reads_is_served():
    with Server(workers=1, timeouts=SHORT) as s:
        data = bytes(range(256)) * (4 << 12)
        s.write("big.bin", data)
        with Client(s, rcvbuf=16384) as c:
            c.send(request("/big.bin", fields={"Connection": "close"}))
            began = time.monotonic()
            got = b""
            while time.monotonic() - began < 1.5:  # far beyond the timeout, a sip every 50 ms
                piece = c.sock.recv(65536)
                assert piece, "cut after %d bytes" % len(got)
                got += piece
                select.select([], [], [], 0.05)
            got += c.read_all()
            assert got.endswith(data) and got.startswith(b"HTTP/1.1 200 "), len(got)


def test_error_reply_survives_an_unfinished_upload():
    with Server(timeouts=dict(SHORT, linger="2s"), limits={"body": 1000}) as s:
        for head in ("Content-Length: 50000000", "Transfer-Encoding: chunked"):
            for _ in range(20):
                with Client(s) as c:
                    c.send("POST /hello HTTP/1.1\r\nHost: test\r\n%s\r\n\r\n" % head)
                    if "chunked" in head:
                        c.send(b"2faf080\r\n")
                    for _ in range(80):
                        if not c.send(b"x" * 65536):
                            break
                    r = c.read_response()
                    assert r is not None and r.status == 413 and r.says_close(), (head, r)
                    c.assert_closed()
                    assert not c.was_reset, "the reply came, then a reset"
        s.assert_no_worker_died()


def test_bad_request_in_front_of_an_upload_survives_too():
    with Server(timeouts=dict(SHORT, linger="2s")) as s:
        for _ in range(20):
            with Client(s) as c:
                c.send(
                    b"POST /hello HTTP/1.1\r\nHost : test\r\nContent-Length: 5000000\r\n\r\n"
                    + b"x" * 3000000
                )
                r = c.read_response()
                assert r is not None and r.status == 400, r
                c.assert_closed()
                assert not c.was_reset


def test_linger_ends():
    with Server(timeouts=SHORT) as s, Client(s) as c:
        port = s.address()[1]
        c.send(b"nonsense\r\n\r\n")
        assert c.read_response().status == 400
        c.assert_closed()
        s.wait_live(0, 5)  # though the client never closes
        wait_for(
            lambda: not set(server_sockets(port)) & {"ESTAB", "CLOSE_WAIT", "FIN_WAIT1"},
            lambda: "its socket goes: %s" % server_sockets(port),
            5,
        )


def test_no_close_wait_is_left():
    with Server(timeouts=dict(SHORT, header="1s", body="1s", keepalive="1s")) as s:
        s.write("big.bin", b"x" * (8 << 20))
        address = s.address()
        kept = []
        starts = [
            b"",
            b"GET",
            request("/hello"),
            request("/hello") * 3,
            request("/big.bin"),
            b"bad\r\n\r\n",
            b"POST /hello HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\nabc",
            request("/hello")[:-2],
        ]
        for turn in range(5):
            for start in starts:
                c = Client(address)
                c.send(start)
                if turn % 2 == 0:
                    c.half_close()
                if turn == 3:
                    c.reset()
                elif turn == 4:
                    c.close()
                else:
                    kept.append(c)
        s.wait_live(0, 15)
        states = {}

        def is_free():
            states.clear()
            states.update(server_sockets(address[1]))
            return not states.get("CLOSE_WAIT") and not states.get("ESTAB")

        wait_for(is_free, lambda: "no CLOSE_WAIT left: %s" % states)
        for c in kept:
            c.close()
        workers = s.workers()
        assert sum(sum(w["closed"].values()) for w in workers) == sum(
            w["accepted"] for w in workers
        ), "every close has exactly one reason: %s" % [w["closed"] for w in workers]
        s.assert_no_worker_died()


def test_half_closed_client_gets_the_whole_file():
    with Server(timeouts=SHORT) as s:
        data = b"0123456789abcdef" * (1 << 16)
        s.write("a.bin", data)
        with Client(s) as c:
            c.send(request("/a.bin"))
            c.half_close()
            r = c.read_response()
            assert r.status == 200 and r.body == data
            c.assert_closed()
            assert not c.was_reset


def test_expect_waits_for_the_interim_answer():
    with Server() as s, Client(s) as c:
        c.send(
            b"POST /hello HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        )
        r = c.read_response()
        assert r.status in (100, 200, 417), r
        assert r.status == 100, "a final answer without the body would have to close: %r" % r
        c.send(b"hello")
        assert c.read_response().status == 200
        assert c.request("/hello").status == 200


def test_interim_answer_comes_in_order():
    """A 100 must not overtake the answers of requests in front of it."""
    with Server() as s, Client(s) as c:
        s.write("big.bin", b"x" * 2000000)
        c.send(
            request("/big.bin") + b"POST /hello HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\n"
            b"Content-Length: 5\r\n\r\n"
        )
        r = c.read_response()
        assert r.status == 200 and len(r.body) == 2000000
        assert c.read_response().status == 100
        c.send(b"hello")
        assert c.read_response().status == 200


def test_client_that_goes_away():
    with Server(workers=1) as s:
        s.write("big.bin", b"x" * (8 << 20))
        for how in ("close", "reset"):
            for _ in range(20):
                c = Client(s, rcvbuf=16384)
                c.send(request("/big.bin"))
                c.take(1000)
                getattr(c, how)()
        s.wait_live(0)
        assert closed(s, "client_abort") == 40, s.workers()[0]["closed"]
        s.assert_no_worker_died()


def test_requests_per_connection():
    with Server(limits={"requests": 3}) as s, Client(s) as c:
        answers = [c.request("/hello") for _ in range(3)]
        assert [r.status for r in answers] == [200] * 3
        assert [r.says_close() for r in answers] == [False, False, True]
        c.assert_closed()
        c.close()
        s.wait_live(0)
        assert closed(s, "max_requests") == 1, [w["closed"] for w in s.workers()]


def test_last_answer_survives_requests_that_were_on_their_way():
    """The server chose the end: what a pipelining client had sent by then must not reset its last answer."""
    with Server(limits={"requests": 2}) as s:
        for _ in range(50):
            with Client(s) as c:
                c.send(request("/hello") * 2)
                c.send(request("/hello") * 3, range(1, 100))
                answers = c.read_responses()
                assert [r.status for r in answers] == [200, 200], answers
                assert answers[1].says_close() and not c.was_reset
        s.assert_no_worker_died()


def test_connections_per_worker():
    with Server(workers=1, limits={"connections": 5}) as s:
        clients = [Client(s) for _ in range(5)]
        assert all(c.request("/hello").status == 200 for c in clients)
        with Client(s) as more:
            more.send(request("/hello"))
            if select.select([more.sock], [], [], 0.2)[0]:  # refused at once, or kept waiting
                try:
                    r = more.read_response()
                except ProtocolError:
                    r = None
                assert r is None or r.status == 503, r
            for c in clients:
                c.close()
        wait_for(lambda: serves(s), "it serves again")


def serves(server):
    try:
        r = get(server.address(), "/hello")
    except (OSError, ProtocolError, socket.timeout):
        return False
    return r is not None and r.status == 200


if __name__ == "__main__":
    main(__name__)
