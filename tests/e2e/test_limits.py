# SPDX-License-Identifier: MIT
"""Limits of clients: exact over all workers, through reloads and kills, and of no concern to anybody else.

Clients are addresses of 127.0.0.0/8, or what trusted proxies say of them.
"""
import os
import re
import signal

from harness import Client, Server, get, main, need_ipv6, request, wait_for
from proxy import log
from test_reload import reload, write_config

LOG = {"access": "@DIR@/access.log", "format": "json", "flush": "5ms"}
HELLO = request("/hello")


def limited(server, word):
    return server.status()["totals"]["limited"][word]


def wait_limited(server, word, count):
    """Connections are counted when they are closed: the client hears of it before."""
    wait_for(lambda: limited(server, word) == count, lambda: "%d, not %d" % (count, limited(server, word)))


def connect(server, count, source, address=None):
    """Connections that were let in, each after a request, and the statuses of the others."""
    address = address or server.address()
    clients = [Client(address, source=source) for _ in range(count)]
    kept, refused = [], []
    for c in clients:
        c.send(HELLO)
        r = c.read_response()
        assert r is not None, "closed without an answer"
        if r.status == 200:
            kept.append(c)
            continue
        assert r.says_close() and int(r.get("retry-after")) >= 1, r
        c.assert_closed()
        assert not c.was_reset
        refused.append(r.status)
        c.close()
    return kept, refused


def close_all(server, clients, left=0):
    for c in clients:
        c.close()
    server.wait_live(left)


def edit(server, pattern, to):
    text = re.sub(pattern, to, server.text)
    assert text != server.text
    write_config(server, text)


# --- connections ---


def test_connections_of_a_client_over_eight_workers():
    with Server(workers=8, limits={"client_connections": 20}, log=LOG) as s:
        kept, refused = connect(s, 50, "127.0.0.2")
        assert len(kept) == 20 and refused == [429] * 30, (len(kept), refused)
        # Somebody else does not notice.
        others, none = connect(s, 20, "127.0.0.3")
        assert not none and len(others) == 20
        wait_limited(s, "client_connections", 30)
        wait_for(lambda: len(log(s)) == 70, "all lines")
        lines = [e for e in log(s) if e["status"] == 429]
        assert len(lines) == 30
        assert all(e["reason"] == "client_connections" and e["peer"] == "127.0.0.2" for e in lines)
        # One leaves, one comes.
        kept.pop().close()
        s.wait_live(39)
        again, refused = connect(s, 2, "127.0.0.2")
        assert len(again) == 1 and refused == [429]
        close_all(s, kept + again + others)
        assert s.total("accepted") == 50 + 20 + 2
        s.assert_no_worker_died()


def test_what_a_killed_worker_held_is_free_again():
    with Server(workers=4, limits={"client_connections": 24, "total_connections": 40}) as s:
        kept, _ = connect(s, 24, "127.0.0.2")
        for _ in range(3):
            s.wait_live(24)  # those that were refused count until they are closed
            worker = max(s.workers(), key=lambda w: w["live"])
            held = worker["live"]
            assert held > 0
            os.kill(worker["pid"], signal.SIGKILL)
            wait_for(
                lambda: s.workers()[worker["slot"]]["pid"] not in (0, worker["pid"])
                and s.workers()[worker["slot"]]["state"] == "running",
                "another worker",
            )
            s.wait_live(24 - held)
            assert s.status()["limits"]["connections"] == 24 - held
            alive, dead = [], 0
            for c in kept:
                if c.send(HELLO) and c.read_response() is not None:
                    alive.append(c)
                else:
                    dead += 1
            assert dead == held, (dead, held)
            more, refused = connect(s, held + 3, "127.0.0.2")
            assert len(more) == held and refused == [429] * 3, (held, len(more), refused)
            kept = alive + more
        close_all(s, kept)
        assert s.status()["limits"]["connections"] == 0


def test_connections_stay_counted_through_reloads():
    with Server(workers=4, limits={"client_connections": 16, "total_connections": 100}) as s:
        kept, _ = connect(s, 16, "127.0.0.2")
        reload(s)
        for workers in (3, 2, 6):
            edit(s, r"(?m)^workers = .*$", "workers = %d" % workers)
            reload(s)
            s.wait_live(16)
            none, refused = connect(s, 3, "127.0.0.2")
            assert not none and refused == [429] * 3, (workers, len(none), refused)
            assert s.status()["limits"]["connections"] == 16
            for c in kept:
                assert c.request("/hello").status == 200
        # Another size is another table: they are counted anew as they come.
        edit(s, r"client_connections = 16", "client_connections = 16\n\tclients = 1000000")
        reload(s)
        s.wait_live(16)
        none, refused = connect(s, 3, "127.0.0.2")
        assert not none and refused == [429] * 3, (len(none), refused)
        close_all(s, kept)
        again, refused = connect(s, 16, "127.0.0.2")
        assert len(again) == 16 and not refused
        # Without a limit nobody is refused, and what comes back later is counted right.
        edit(s, r"\tclient_connections = 16\n", "")
        reload(s)
        more, refused = connect(s, 10, "127.0.0.2")
        assert not refused
        close_all(s, again + more)


def test_total_of_connections():
    with Server(workers=4, limits={"total_connections": 30}, log=LOG) as s:
        address = s.address()
        kept = []
        for i in range(3):
            kept += connect(s, 10, "127.0.0.%d" % (2 + i), address)[0]
        assert len(kept) == 30
        none, refused = connect(s, 4, "127.0.0.9", address)
        assert not none and refused == [503] * 4
        wait_limited(s, "total_connections", 4)
        for c in kept:
            assert c.request("/hello").status == 200
        close_all(s, kept)
        assert connect(s, 1, "127.0.0.9", address)[1] == []


# --- requests ---


def statuses(server, requests, source):
    """Answers to pipelined requests on connections of their own, in parallel over the workers."""
    address = server.address()
    clients = [Client(address, source=source) for _ in requests]
    for c, text in zip(clients, requests):
        c.send(text)
    counts = {}
    for c, text in zip(clients, requests):
        for _ in range(text.count(b" HTTP/1.1\r\n")):
            r = c.read_response()
            counts[r.status] = counts.get(r.status, 0) + 1
            if r.status == 429:
                assert int(r.get("retry-after")) >= 1, r
        c.close()
    return counts


def test_requests_of_a_client_over_eight_workers():
    limits = {"rate": "1r/m", "burst": 60}
    with Server(workers=8, limits=limits, log=LOG) as s:
        counts = statuses(s, [HELLO * 10] * 40, "127.0.0.2")
        # A request more for each minute that the test has taken: none, unless the machine stands still.
        assert sum(counts.values()) == 400 and 60 <= counts[200] <= 61, counts
        assert statuses(s, [HELLO] * 50, "127.0.0.3") == {200: 50}
        assert limited(s, "rate_limited") == counts[429]
        lines = wait_for(lambda: len(log(s)) == 450 and log(s), "all lines")
        refused = [e for e in lines if e["status"] == 429]
        assert len(refused) == counts[429]
        assert all(e["reason"] == "rate_limited" and e["target"] == "/hello" for e in refused)
        # A reload forgives nothing, nor does the death of a worker.
        reload(s)
        assert statuses(s, [HELLO] * 20, "127.0.0.2").get(200, 0) <= 1
        pid = s.workers()[0]["pid"]
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: s.workers()[0]["pid"] not in (0, pid), "another worker")
        assert statuses(s, [HELLO] * 20, "127.0.0.2").get(200, 0) <= 1


def test_routes_count_for_themselves():
    routes = {
        "/hello": {"respond": "hello"},
        "/other": {"respond": "other"},
        "/login": {"respond": "in", "rate": "1r/h", "burst": 2},
        "/free": {"respond": "free", "rate": "off"},
    }
    with Server(limits={"rate": "1r/h", "burst": 3}, routes=routes) as s, Client(s) as c:
        def ask(target):
            return c.request(target).status

        assert [ask("/hello"), ask("/other"), ask("/nowhere"), ask("/other")] == [200, 200, 404, 429]
        assert [ask("/login"), ask("/login"), ask("/login")] == [200, 200, 429]
        assert [ask("/free")] * 5 == [200] * 5
        assert ask("/nowhere") == 429
        assert s.total("accepted") == 1, "a refusal closed the connection"


def test_a_refused_upload_ends_the_connection():
    with Server(limits={"rate": "1r/h"}) as s, Client(s) as c:
        assert c.request("/hello").status == 200
        c.send("POST /hello HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\nabc")
        r = c.read_response()
        assert r.status == 429 and r.says_close() and 3500 < int(r.get("retry-after")) <= 3600, r
        c.assert_closed()
        assert not c.was_reset


def test_client_that_proxies_name():
    top = 'trusted_proxies = { "127.0.0.5/32" }\n'
    with Server(limits={"rate": "1r/h", "client_connections": 2}, extra=top) as s:
        def ask(source, client):
            with Client(s, source=source) as c:
                return c.request("/hello", fields={"X-Forwarded-For": client}).status

        assert [ask("127.0.0.5", "192.0.2.%d" % i) for i in (1, 2, 1)] == [200, 200, 429]
        assert [ask("127.0.0.5", "192.0.2.66, 192.0.2.%d" % i) for i in (3, 3)] == [200, 429]
        # IPv6 by the /64.
        assert [ask("127.0.0.5", "2001:db8:0:1::%d" % i) for i in (1, 2)] == [200, 429]
        assert ask("127.0.0.5", "2001:db8:0:2::1") == 200
        assert ask("127.0.0.5", "::ffff:192.0.2.1") == 429
        # Somebody else may say what he likes.
        assert [ask("127.0.0.6", "192.0.2.%d" % i) for i in (10, 11)] == [200, 429]
        # A proxy has the connections of many.
        held = [Client(s, source="127.0.0.5") for _ in range(5)]
        for i, c in enumerate(held):
            assert c.request("/hello", fields={"X-Forwarded-For": "192.0.2.%d" % (20 + i)}).status == 200
        close_all(s, held)


def test_client_of_the_proxy_protocol():
    listens = (("127.0.0.1:0", {"proxy_protocol": True}),)
    with Server(listens=listens, limits={"rate": "1r/h"}) as s:
        def ask(client):
            with Client(s) as c:
                c.send(b"PROXY %s 1111 80\r\n" % client + HELLO)
                return c.read_response().status

        assert ask(b"TCP4 192.0.2.1 192.0.2.9") == 200
        assert ask(b"TCP4 192.0.2.2 192.0.2.9") == 200
        assert ask(b"TCP4 192.0.2.1 192.0.2.9") == 429
        assert ask(b"TCP6 2001:db8::1 2001:db8::9") == 200
        assert ask(b"TCP6 2001:db8::2 2001:db8::9") == 429


def test_exempt_networks():
    limits = {"rate": "1r/h", "client_connections": 1, "exempt": ["127.0.0.8/30"]}
    with Server(limits=limits) as s:
        kept, refused = connect(s, 10, "127.0.0.9")
        assert len(kept) == 10 and not refused
        close_all(s, kept)
        assert statuses(s, [HELLO], "127.0.0.12") == {200: 1}
        assert statuses(s, [HELLO], "127.0.0.12") == {429: 1}


def test_ipv6_and_mapped_clients():
    need_ipv6()
    with Server(listens=("[::]:0",), limits={"rate": "1r/h"}) as s:
        port = s.address()[1]
        assert [get(("::1", port), "/hello").status for _ in range(2)] == [200, 429]
        assert [get(("127.0.0.1", port), "/hello").status for _ in range(2)] == [200, 429]


# --- connection and memory ---


def test_age_of_a_connection():
    with Server(limits={"age": "300ms"}, timeouts={"linger": "100ms"}) as s, Client(s) as c:
        assert not c.request("/hello").says_close()
        # The age is the input.
        wait_for(lambda: c.request("/hello").says_close(), "the last answer")
        c.assert_closed()
        s.wait_live(0)
        assert limited(s, "max_age") == 1


def test_memory_for_buffers():
    limits = {"memory": "1m"}
    with Server(workers=1, limits=limits, log=LOG) as s:
        address = s.address()
        # Half a request each: whoever is let in has a buffer from then on.
        clients = [Client(address) for _ in range(120)]
        for c in clients:
            c.send(b"GET /hello HTTP/1.1\r\n")
        wait_for(lambda: limited(s, "memory") + s.workers()[0]["live"] >= 120, "all to have been looked at")
        wait_for(lambda: limited(s, "memory") > 0, "refusals")
        for c in clients:
            c.send(b"Host: test\r\n\r\n")
        answers = [c.read_response() for c in clients]
        counts = {n: sum(r.status == n for r in answers) for n in (200, 503)}
        assert counts[200] + counts[503] == 120 and counts[200] >= 10 and counts[503] >= 10, counts
        for c, r in zip(clients, answers):
            if r.status == 503:
                assert r.says_close() and r.get("retry-after") == "1", r
                c.assert_closed()
                assert not c.was_reset
            else:
                # Who was let in goes on, pool or no pool.
                assert c.request("/hello").status == 200
        assert limited(s, "memory") == counts[503]
        wait_for(lambda: sum(e["reason"] == "memory" for e in log(s)) == counts[503], "their lines")
        for c in clients:
            c.close()
        assert get(address, "/hello").status == 200
        s.assert_no_worker_died()


if __name__ == "__main__":
    main(__name__)
