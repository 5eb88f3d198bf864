# SPDX-License-Identifier: MIT
"""Upstreams: who is asked (balance, weights, backup, drain), who is well (checks, ejection), and what names mean."""
import collections
import contextlib
import json
import threading
import time

from backend import Backend, Refuser
from harness import Client, main, request, wait_for
from nameserver import A, AAAA, SRV, NameServer
from peers import free_port
from proxy import ask, described, proxy, states, status_of, upstream, upstreams, wait_state


@contextlib.contextmanager
def several(count, route=None, keys=None, server_keys=None, **more):
    """(address, back ends, server); server_keys: a list of {key: value}, one for each."""
    with contextlib.ExitStack() as stack:
        backends = [stack.enter_context(Backend(name="b%d" % i)) for i in range(count)]
        entries = [(b.server, (server_keys or [{}] * count)[i]) for i, b in enumerate(backends)]
        s = stack.enter_context(proxy(entries, route, upstream_keys=keys, **more))
        yield s.address(), backends, s
        s.assert_no_worker_died()
        for b in backends:
            b.assert_nothing_odd()


def late_place(host="127.0.0.5"):
    """Where a back end will be, later: no connection goes out from this address, so nobody takes the port."""
    return host, free_port(host)


def spread(address, count, target="/x", **more):
    """{back end: requests} of so many, one after the other."""
    return collections.Counter(ask(address, target, **more)["backend"] for _ in range(count))


# --- balance ---


def test_round_robin():
    with several(3, keys={"balance": "rr"}, workers=1) as (address, _, _):
        got = spread(address, 30)
        assert sorted(got.values()) == [10, 10, 10], got


def test_every_balance_reaches_all():
    for balance in ("rr", "least", "p2c", "random", "weighted"):
        with several(3, keys={"balance": balance}) as (address, _, _):
            got = spread(address, 60)
            assert len(got) == 3, (balance, got)


def test_weights():
    for balance in ("weighted", "random"):
        with several(2, keys={"balance": balance}, server_keys=[{"weight": 3}, {"weight": 1}],
                     workers=1) as (address, _, _):
            got = spread(address, 80)
            assert 45 <= got["b0"] <= 74, (balance, got)


def test_least():
    """While one is busy with slow requests, the others get the rest."""
    with several(2, keys={"balance": "least"}) as (address, backends, _):
        slow = [Client(address) for _ in range(4)]
        # One after the other: two workers that choose in the same instant see the same counts.
        for i, c in enumerate(slow):
            c.send(request("/slow?ms=2000"))
            wait_for(lambda: sum(len(b.heads) for b in backends) == i + 1, "it is under way")
        assert [len(b.heads) for b in backends] == [2, 2], "the busy ones are shared by all workers"
        for c in slow:
            c.close()
    with several(2, keys={"balance": "least"}) as (address, backends, _):
        with Client(address) as c:
            c.send(request("/slow?ms=700"))
            wait_for(lambda: sum(len(b.heads) for b in backends) == 1, "it is under way")
            busy = [b.name for b in backends if b.heads][0]
            got = spread(address, 20)
            assert got[busy] == 0, (busy, got)


def test_hash():
    with several(3, keys={"balance": "hash", "hash": "uri"}) as (address, _, _):
        first = {t: ask(address, t)["backend"] for t in ["/u%d" % i for i in range(30)]}
        assert len(set(first.values())) == 3, first
        for t, name in first.items():
            assert ask(address, t)["backend"] == name, t
    with several(3, keys={"balance": "hash", "hash": "header:X-User"}) as (address, _, _):
        for user in ("ann", "bob", "eve", "joe"):
            assert len(spread(address, 6, fields=[("X-User", user)])) == 1
    with several(3, keys={"balance": "hash", "hash": "cookie:id"}) as (address, _, _):
        for user in ("ann", "bob"):
            got = {ask(address, "/x%d" % i, fields=[("Cookie", "a=%d; id=%s; b=2" % (i, user))])["backend"]
                   for i in range(6)}
            assert len(got) == 1, got
    with several(3, keys={"balance": "hash", "hash": "ip"}) as (address, _, _):
        assert len(spread(address, 10)) == 1


def test_hash_by_clients_of_a_balancer_in_front():
    """Behind a trusted proxy the client is whom that one names, or all requests would go to one server."""
    top = 'trusted_proxies = { "127.0.0.1/32" }\n'
    with several(3, keys={"balance": "hash", "hash": "ip"}, top=top) as (address, _, _):
        def of(client, **more):
            return ask(address, "/x", fields=[("X-Forwarded-For", client)], **more)["backend"]
        first = {client: of(client) for client in ["192.0.2.%d" % i for i in range(1, 21)]}
        assert len(set(first.values())) == 3, first
        for client, name in first.items():
            assert of("6.6.6.6, " + client) == name, "what stands left of it anybody may have written"
            both = [("X-Forwarded-For", client), ("Forwarded", "for=192.0.2.77")]
            assert ask(address, "/x", fields=both)["backend"] == name, "X-Forwarded-For counts"
            alone = [("Forwarded", "for=" + client)]
            assert ask(address, "/x", fields=alone)["backend"] == name
    with several(3, keys={"balance": "hash", "hash": "ip"}) as (address, _, _):
        got = {ask(address, "/x", fields=[("X-Forwarded-For", "192.0.2.%d" % i)])["backend"] for i in range(20)}
        assert len(got) == 1, "nobody is trusted: %s" % got


def test_hash_moves_only_what_must_move():
    with several(4, keys={"balance": "hash", "hash": "uri"}) as (address, backends, s):
        targets = ["/u%d" % i for i in range(60)]
        before = {t: ask(address, t)["backend"] for t in targets}
        assert s.cli("upstream", "drain", "b", backends[0].server).returncode == 0
        after = {t: ask(address, t)["backend"] for t in targets}
        assert "b0" not in after.values()
        moved = [t for t in targets if before[t] != "b0" and before[t] != after[t]]
        assert not moved, moved


def test_backup():
    with several(3, keys={"balance": "rr"}, server_keys=[{}, {}, {"backup": True}]) as (address, backends, s):
        assert set(spread(address, 12)) == {"b0", "b1"}
        for b in backends[:2]:
            assert s.cli("upstream", "drain", "b", b.server).returncode == 0
        assert set(spread(address, 6)) == {"b2"}
        assert s.cli("upstream", "undrain", "b", backends[0].server).returncode == 0
        assert set(spread(address, 6)) == {"b0"}


# --- drain ---


def test_drain():
    with several(2, keys={"balance": "rr"}, workers=1) as (address, backends, s):
        with Client(address) as slow:
            slow.send(request("/slow?ms=400"))
            wait_for(lambda: any(b.heads for b in backends), "it is under way")
            busy = [b for b in backends if b.heads][0]
            run = s.cli("upstream", "drain", "b", busy.server)
            assert run.returncode == 0, run.stdout + run.stderr
            assert states(s)[busy.server] == "drained", states(s)
            assert spread(address, 10)[busy.name] == 0
            assert described(slow.read_response())["backend"] == busy.name, "what is under way ends in peace"
        run = s.cli("upstream", "undrain", "b", busy.server)
        assert run.returncode == 0, run.stdout + run.stderr
        assert spread(address, 10)[busy.name] == 5
        for words in (("drain", "b", "127.0.0.1:1"), ("drain", "nobody", busy.server), ("drain", "b")):
            run = s.cli("upstream", *words)
            assert run.returncode != 0 and run.stderr, words


def test_all_drained():
    with several(1) as (address, backends, s):
        assert s.cli("upstream", "drain", "b", backends[0].server).returncode == 0
        assert status_of(address) == 503
        assert s.cli("upstream", "undrain", "b", backends[0].server).returncode == 0
        assert status_of(address) == 200


def test_drained_by_the_configuration():
    with several(2, keys={"balance": "rr"}, server_keys=[{}, {"drain": True}]) as (address, backends, s):
        assert set(spread(address, 6)) == {"b0"}
        assert states(s)[backends[1].server] == "drained"


# --- what is shown ---


def test_what_is_shown():
    with several(2, keys={"balance": "rr"}, workers=1) as (address, backends, s):
        for i in range(10):
            assert status_of(address, "/x%d" % i) == 200
        shown = upstreams(s)["b"]
        assert shown["balance"] == "rr"
        assert [x["server"] for x in shown["servers"]] == [b.server for b in backends]
        assert [x["requests"] for x in shown["servers"]] == [5, 5], shown
        assert all(x["active"] == 0 for x in shown["servers"]), shown
        in_status = s.status().get("upstreams")
        assert in_status and in_status[0]["name"] == "b", in_status
        run = s.cli("upstream")
        assert run.returncode == 0 and all(b.server in run.stdout for b in backends), run.stdout
        run = s.cli("status", "--json")
        assert json.loads(run.stdout)["upstreams"], run.stdout[:500]


# --- active checks ---


class Health:
    """A script for the checks: answers as `status` says, and counts."""

    def __init__(self):
        self.status, self.count, self.hosts = "200 OK", 0, set()

    def __call__(self, c, r):
        self.count += 1
        self.hosts.add(r.get("host"))
        if self.status is None:
            return False
        return c.answer(r, "x", status=self.status, should_close=True)


def test_http_checks():
    health = Health()
    check = {"type": "http", "path": "/health", "interval": "100ms", "timeout": "100ms", "rise": 2, "fall": 2}
    with Backend(name="one", scripts={"/health": health}) as one, Backend(name="two") as two:
        two.on("/health", Health())
        with proxy([one, two], check=check, upstream_keys={"balance": "rr"}) as s:
            address = s.address()
            wait_state(s, one, "up")
            wait_state(s, two, "up")
            assert health.hosts == {one.server}, health.hosts
            for status in ("500 No", "404 No", None):
                health.status = status
                wait_state(s, one, "down")
                assert set(spread(address, 10)) == {"two"}
                health.status = "204 Fine"
                wait_state(s, one, "up")
                assert set(spread(address, 10)) == {"one", "two"}
            # Once for the host, not once for each worker: about ten a second.
            at, began = health.count, time.monotonic()
            wait_for(lambda: time.monotonic() > began + 0.6, "0.6 s")
            assert 2 <= health.count - at <= 14, health.count - at
            one.assert_nothing_odd()


def test_http_checks_expect_a_status():
    health = Health()
    health.status = "302 Found"
    check = {"path": "/health", "interval": "100ms", "timeout": "100ms", "rise": 1, "fall": 1, "status": "200-299",
             "host": "health.example"}
    with Backend(scripts={"/health": health}) as b, proxy([b], check=check) as s:
        wait_state(s, b, "down")
        assert status_of(s.address()) == 503
        health.status = "299 Fine"
        wait_state(s, b, "up")
        assert status_of(s.address()) == 200
        assert health.hosts == {"health.example"}, health.hosts


def test_tcp_checks():
    place = late_place()
    check = {"type": "tcp", "interval": "100ms", "timeout": "100ms", "rise": 1, "fall": 1}
    with Backend(name="other") as other:
        with proxy(["%s:%d" % place, other], check=check, upstream_keys={"balance": "rr"}) as s:
            wait_state(s, "%s:%d" % place, "down")
            wait_state(s, other, "up")
            assert set(spread(s.address(), 6)) == {"other"}
            with Backend(place, name="late") as late:
                wait_state(s, late, "up")
                assert set(spread(s.address(), 6)) == {"late", "other"}
            wait_state(s, "%s:%d" % place, "down")
            assert set(spread(s.address(), 6)) == {"other"}


def test_check_that_hangs():
    check = {"path": "/never", "interval": "100ms", "timeout": "100ms", "rise": 1, "fall": 1}
    with Backend() as b, proxy([b], check=check) as s:
        wait_state(s, b, "down")
        began = time.monotonic()
        assert status_of(s.address()) == 503
        assert time.monotonic() - began < 1, "no_server is said at once"


# --- passive health ---


def test_ejection():
    keys = {"balance": "rr", "fails": 2, "eject_time": "500ms"}
    with Refuser() as r, Backend() as b, proxy([r, b], upstream_keys=keys, workers=1) as s:
        address = s.address()
        for _ in range(8):
            assert status_of(address) == 200  # repeated at the other
        assert states(s)[r.server] == "ejected", states(s)
        failures = upstreams(s)["b"]["by_name"][r.server][0]["failures"]
        for _ in range(8):
            assert status_of(address) == 200
        assert upstreams(s)["b"]["by_name"][r.server][0]["failures"] == failures, "nobody asks it"
        wait_for(lambda: states(s)[r.server] != "ejected", "it is forgiven", 5)
        assert upstreams(s)["b"]["by_name"][r.server][0]["ejections"] == 1


def test_ejection_of_a_server_that_times_out():
    keys = {"balance": "rr", "fails": 2, "eject_time": "5s"}
    with Backend(name="bad") as bad, Backend(name="good") as good:
        bad.default = bad.scripts["/never"]
        with proxy([bad, good], {"first_byte_timeout": "100ms"}, upstream_keys=keys, workers=1) as s:
            statuses = [status_of(s.address(), "/x%d" % i) for i in range(20)]
            assert statuses.count(504) == 2 and set(statuses) == {200, 504}, statuses
            assert states(s)[bad.server] == "ejected", states(s)


def test_ejection_by_errors():
    keys = {"balance": "rr", "error_percent": 50, "eject_time": "5s", "fails": 0}
    with Backend(name="bad") as bad, Backend(name="good") as good:
        bad.default = lambda c, r: c.answer(r, "no", status="500 No")
        with proxy([bad, good], upstream_keys=keys, workers=1) as s:
            statuses = [status_of(s.address(), "/x%d" % i) for i in range(100)]
            assert states(s)[bad.server] == "ejected", states(s)
            assert 10 <= statuses.count(500) <= 40, statuses.count(500)
            assert statuses[-20:] == [200] * 20, statuses


def test_the_last_server_is_asked_all_the_same():
    """Ejection is a guess; with nobody else left the server is tried rather than refused, or refused at once."""
    keys = {"fails": 1, "eject_time": "200ms"}
    with Refuser() as r, proxy([r], upstream_keys=keys, workers=1) as s:
        for _ in range(5):
            began = time.monotonic()
            assert status_of(s.address()) in (502, 503)
            assert time.monotonic() - began < 1
    place = late_place()
    with proxy(["%s:%d" % place], upstream_keys=keys, workers=1) as s:
        for _ in range(5):
            status_of(s.address())
        with Backend(place):
            wait_for(lambda: status_of(s.address()) == 200, "it is asked again")


def test_slow_start():
    check = {"type": "tcp", "interval": "50ms", "timeout": "100ms", "rise": 1, "fall": 1}
    place = late_place()
    with Backend(name="old") as old:
        servers = [("%s:%d" % place, {"slow_start": "60s"}), (old.server, {})]
        with proxy(servers, check=check, upstream_keys={"balance": "weighted"}, workers=1) as s:
            wait_state(s, "%s:%d" % place, "down")
            with Backend(place, name="new") as new:
                wait_state(s, new, "up")
                got = spread(s.address(), 60)
                assert got["new"] < 20, "just up, it gets its share by and by: %s" % got


# --- pools of several workers ---


def test_connections_of_several_workers():
    """At equal load all workers together need hardly more connections than one does."""
    most = {}
    for workers in (1, 2):
        with Backend() as b, proxy([b], workers=workers) as s:
            address = s.address()
            stopping = threading.Event()

            def client(address=address, stopping=stopping):
                with Client(address) as c:
                    while not stopping.is_set():
                        assert c.request("/slow?ms=3").status == 200

            threads = [threading.Thread(target=client) for _ in range(8)]
            for t in threads:
                t.start()
            wait_for(lambda b=b: len(b.requests) > 300, "300 requests")
            stopping.set()
            for t in threads:
                t.join()
            most[workers] = b.most_open
    assert most[1] <= 9 and most[2] <= 1.25 * 8, most


# --- names ---


@contextlib.contextmanager
def named(records, servers, keys=None, ttl=1, **more):
    """(address, name server, server) with `servers` in the upstream."""
    with NameServer(records, ttl) as dns:
        top = 'resolvers = { "%s" }\n' % dns.server
        with proxy(servers, upstream_keys=dict({"balance": "rr"}, **(keys or {})), top=top, **more) as s:
            yield s.address(), dns, s


def on_addresses(stack, port, *hosts):
    return [stack.enter_context(Backend((h, port), name=h)) for h in hosts]


def test_name():
    with contextlib.ExitStack() as stack:
        port = late_place("127.0.0.2")[1]
        on_addresses(stack, port, "127.0.0.2")
        with named({("app.test", A): ["127.0.0.2"]}, ["app.test:%d" % port]) as (address, dns, s):
            wait_for(lambda: status_of(address) == 200, "the name is known")
            d = ask(address)
            assert d["backend"] == "127.0.0.2" and d["all"]("host") == ["test"], d
            entry = upstreams(s)["b"]["servers"][0]
            assert entry["server"] == "app.test:%d" % port and "127.0.0.2" in entry["address"], entry


def test_host_of_a_named_server():
    """host = "server": its name, which a server of many sites goes by, and not the address that was found."""
    with contextlib.ExitStack() as stack:
        port = late_place("127.0.0.2")[1]
        on_addresses(stack, port, "127.0.0.2")
        records = {("app.test", A): ["127.0.0.2"], ("_http._tcp.app.test", SRV): [(1, 1, port, "app.test")]}
        for server, host in (("app.test:%d" % port, "app.test:%d" % port), ("srv:_http._tcp.app.test", "app.test")):
            with named(records, [server], route={"host": "server"}) as (address, dns, s):
                wait_for(lambda: status_of(address) == 200, "the name is known")
                assert ask(address)["all"]("host") == [host]


def test_name_with_several_addresses_that_change():
    with contextlib.ExitStack() as stack:
        port = late_place("127.0.0.2")[1]
        on_addresses(stack, port, "127.0.0.2", "127.0.0.3", "127.0.0.4")
        name = "app.test"
        with named({(name, A): ["127.0.0.2", "127.0.0.3"]}, ["app.test:%d" % port],
                   {"resolve": "1s"}) as (address, dns, s):
            wait_for(lambda: status_of(address) == 200, "the name is known")
            assert set(spread(address, 12)) == {"127.0.0.2", "127.0.0.3"}
            dns.set(name, A, "127.0.0.3", "127.0.0.4")  # one goes, one comes
            wait_for(lambda: set(spread(address, 6)) == {"127.0.0.3", "127.0.0.4"}, "the new answer is followed")
            dns.is_broken = True  # while the name server is ill, what it said last stands
            asked = len(dns.asked)
            wait_for(lambda: len(dns.asked) > asked + 1, "it was asked again")
            assert set(spread(address, 12)) == {"127.0.0.3", "127.0.0.4"}


def test_name_that_does_not_resolve_at_start():
    """It delays nobody and stops nothing; once it resolves it is used."""
    with contextlib.ExitStack() as stack:
        port = late_place("127.0.0.2")[1]
        on_addresses(stack, port, "127.0.0.2")
        other = stack.enter_context(Backend(name="other"))
        began = time.monotonic()
        with named({("else.test", A): ["127.0.0.9"]}, ["late.test:%d" % port, other.server],
                   {"resolve": "1s"}) as (address, dns, s):
            assert time.monotonic() - began < 5
            assert set(spread(address, 6)) == {"other"}
            assert states(s)["late.test:%d" % port] == "unresolved", states(s)
            dns.set("late.test", A, "127.0.0.2")
            wait_for(lambda: "127.0.0.2" in spread(address, 4), "the name is used once it resolves")


def test_only_a_name_that_does_not_resolve():
    with named({}, ["nowhere.test:80"]) as (address, dns, s):
        began = time.monotonic()
        assert status_of(address) == 503
        assert time.monotonic() - began < 1
        wait_for(lambda: dns.asked_for("nowhere.test"), "it was asked for")


def test_mute_name_server():
    with contextlib.ExitStack() as stack:
        other = stack.enter_context(Backend(name="other"))
        with NameServer() as dns:
            dns.is_mute = True
            began = time.monotonic()
            with proxy(["app.test:80", other.server], top='resolvers = { "%s" }\n' % dns.server) as s:
                assert time.monotonic() - began < 5, "nobody waits for it"
                assert set(spread(s.address(), 6)) == {"other"}


def test_ipv6_name():
    with contextlib.ExitStack() as stack:
        try:
            b = stack.enter_context(Backend(("::1", 0), name="six"))
        except OSError:
            return  # test_proxy.py says aloud that there is no IPv6
        with named({("app.test", AAAA): ["::1"]}, ["app.test:%d" % b.address[1]]) as (address, _, _):
            wait_for(lambda: status_of(address) == 200, "the name is known")
            assert ask(address)["backend"] == "six"


def test_srv():
    with contextlib.ExitStack() as stack:
        one, two = (stack.enter_context(Backend(("127.0.0.2", 0), name=n)) for n in ("one", "two"))
        name = "_http._tcp.app.test"
        records = {
            (name, SRV): [(1, 10, one.address[1], "a.test"), (1, 10, two.address[1], "b.test")],
            ("a.test", A): ["127.0.0.2"],
            ("b.test", A): ["127.0.0.2"],
        }
        with named(records, ["srv:" + name], {"resolve": "1s"}) as (address, dns, s):
            wait_for(lambda: status_of(address) == 200, "the name is known")
            wait_for(lambda: set(spread(address, 6)) == {"one", "two"}, "both targets are asked")
            dns.set(name, SRV, (1, 10, two.address[1], "b.test"))
            wait_for(lambda: set(spread(address, 6)) == {"two"}, "the new answer is followed")


# --- several ---


def test_two_upstreams():
    with Backend(name="one") as one, Backend(name="two") as two:
        with proxy([one], routes={"/two/": {"proxy": "second"}}, extra=upstream("second", [two.server])) as s:
            address = s.address()
            assert ask(address, "/x")["backend"] == "one" and ask(address, "/two/x")["backend"] == "two"
            assert set(upstreams(s)) == {"b", "second"}


if __name__ == "__main__":
    main(__name__)
