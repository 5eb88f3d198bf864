# SPDX-License-Identifier: MIT
"""UDP: flows that stay where their session is, whatever happens to the server; name servers behind it."""
import json
import os
import re
import signal
import socket
import subprocess
import time

from datagrams import Flows, Nsd, Witness, ask, free_udp_port, udp_client, udp_listen, upstream
from harness import IS_SANITIZED, PATIENCE, Server, get, main, need_bpffs, need_ipv6, need_tool, text_of, wait_for
from test_reload import reload, set_key, write_config

CLOSED = "127.0.0.1:9"  # nothing listens there: an ICMP error answers


# A machine that is busy stops workers for longer than `stall`: who is chosen is then another matter.
CALM = {"stall": "off"}


def address_of(s, index=0):
    host, _, port = s.status()["udp"]["listen"][index]["address"].rpartition(":")
    host = host.strip("[]")
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), int(port)


def udp_server(*extra, **keys):
    keys.setdefault("listens", ("127.0.0.1:0",))
    return Server(extra="".join(extra), **keys)


def assert_adds_up(s):
    """Every datagram ends in one counter, every run of the program in one verdict."""
    u = {}

    def look():
        u.update(s.status()["udp"])
        return (u["in"] == u["echoed"] + u["forwarded"] + sum(u["dropped"].values())
                and u["echoed"] + u["replies"] == u["out"] + u["held_back"] + u["send_busy"] + u["send_failed"]
                and u["sessions"] == u["live"] + u["draining"] + sum(u["ended"].values()))

    # What was sent is counted when the call that sent it has returned: a client may have it earlier.
    wait_for(look, lambda: "counters that add up: %s" % u)
    return u


def total_verdicts(s):
    seen = {}
    for listen in s.status()["udp"]["listen"]:
        for name, count in listen["verdicts"].items():
            seen[name] = seen.get(name, 0) + count
    return seen


# --- echo ---


def test_echo():
    with udp_server(udp_listen("127.0.0.1:0", udp="echo")) as s:
        with udp_client(address_of(s)) as c:
            for data in (b"x", b"", b"y" * 1472, b"z" * 9000, b"w" * 65507):
                c.send(data)
                assert c.recv(65536) == data
        u = assert_adds_up(s)
        assert u["in"] == u["echoed"] == 5 and u["live"] == 1, u
        assert sum(w["live"] for w in s.workers()) == 1
        assert get(s.address(), "/hello").status == 200


def test_only_udp():
    """A server without listen and site."""
    text = 'control = "@DIR@/control.sock"\nworkers = 2\npin = "off"\n' + udp_listen("127.0.0.1:0", udp="echo")
    with Server(config=text, pin="") as s:
        with udp_client(address_of(s)) as c:
            assert ask(c, b"hello") == b"hello"


def test_joined_datagrams():
    """One system call of the client, many datagrams, which stay joined on their way through (UDP_SEGMENT, UDP_GRO)."""
    with udp_server(udp_listen("127.0.0.1:0", udp="echo")) as s, udp_client(address_of(s)) as c:
        c.setsockopt(socket.IPPROTO_UDP, 103, 1000)
        c.send(b"".join(b"%04d" % i * 250 for i in range(20)) + b"tail")
        assert [c.recv(2000)[:4] for _ in range(21)] == [b"%04d" % i for i in range(20)] + [b"tail"]
        u = assert_adds_up(s)
        assert u["in"] == u["out"] == 21, u
        assert u["joined"] == u["segmented"] == 21, u


# --- where it goes ---


def test_new_flows_go_where_there_are_fewest():
    need_bpffs()
    with udp_server(udp_listen("127.0.0.1:0", udp="echo"), workers=4, steering=CALM) as s:
        clients = [udp_client(address_of(s)) for _ in range(80)]
        for c in clients:  # all at once: no worker has counted any of them when the next one comes
            c.send(b"x")
        for c in clients:
            assert c.recv(10) == b"x"
        live = [w["udp"]["live"] for w in s.workers()]
        assert sum(live) == 80 and max(live) - min(live) <= 2, live
        # The slots' own lines agree, and nothing stays reserved.
        wait_for(lambda: [w["live"] for w in s.workers()] == live, "the slots show their sessions")
        assert total_verdicts(s)["placed"] == 80
        assert s.cli("steer", "drain", "0").returncode == 0
        more = [udp_client(address_of(s)) for _ in range(12)]
        for c in more:
            assert ask(c, b"y") == b"y"
        now = [w["udp"]["live"] for w in s.workers()]
        assert now[0] == live[0] and sum(now) == 92, (live, now)
        for c in clients + more:
            assert ask(c, b"z") == b"z"
        assert [w["udp"]["live"] for w in s.workers()] == now
        for c in clients + more:
            c.close()


def test_reply_comes_from_where_it_was_sent():
    with Witness() as w:
        text = udp_listen("0.0.0.0:0", udp="proxy app") + upstream("app", w.server)
        with udp_server(text) as s:
            port = address_of(s)[1]
            for host in ("127.0.0.1", "127.0.0.7", "127.1.2.3"):
                # Connected: what came from another address would not be seen.
                with udp_client((host, port)) as c:
                    assert ask(c, b"who").endswith(b" who")
            assert_adds_up(s)


def test_ipv6_and_dual_stack():
    need_ipv6()
    with Witness("::1") as w:
        text = udp_listen("[::]:0", udp="proxy app") + upstream("app", w.server)
        with udp_server(text) as s:
            port = address_of(s)[1]
            for host in ("::1", "127.0.0.1", "127.0.0.9"):
                with udp_client((host, port)) as c:
                    for i in range(3):
                        assert ask(c, b"%d" % i).endswith(b" %d" % i)
            u = assert_adds_up(s)
            assert u["sessions"] == 3 and len({p for _, p in w.seen}) == 3, (u, w.seen)
            if any(x["steered"] for x in u["listen"]):
                v = total_verdicts(s)
                assert v["placed"] == 3 and v["kept"] == 6, v


# --- sessions ---


def test_replies_end_a_session():
    with Witness(answer=lambda data, port: [data] * int(data)) as w:
        text = udp_listen("127.0.0.1:0", udp="proxy app", replies=2) + upstream("app", w.server)
        with udp_server(text, log={"access": "@DIR@/access.log", "format": "json", "flush": "10ms"}) as s:
            with udp_client(address_of(s)) as c:
                for _ in range(3):
                    c.send(b"2")
                    assert c.recv(10) == c.recv(10) == b"2"
                wait_for(lambda: s.status()["udp"]["ended"]["done"] == 3, "three sessions have ended")
                c.send(b"1")
                assert c.recv(10) == b"1"
                assert s.status()["udp"]["live"] == 1
            u = assert_adds_up(s)
            assert u["sessions"] == 4 and len({p for _, p in w.seen}) > 1, (u, w.seen)
            lines = wait_for(lambda: open(os.path.join(s.dir, "access.log")).read(), "the log is written").splitlines()
            entry = json.loads(lines[0])
            assert (entry["method"], entry["reason"], entry["server"]) == ("UDP", "done", w.server), entry
            assert entry["bytes_sent"] == 2 and entry["request"] == 1, entry


def test_silence_ends_a_session():
    with Witness(answer=lambda data, port: [] if data == b"quiet" else [data]) as w:
        text = udp_listen("127.0.0.1:0", udp="proxy app", timeout="300ms") + upstream("app", w.server)
        with udp_server(text) as s:
            with udp_client(address_of(s)) as c, udp_client(address_of(s)) as d:
                assert ask(c, b"x") == b"x"
                d.send(b"quiet")
                ended = lambda: s.status()["udp"]["ended"]
                wait_for(lambda: ended()["idle"] == ended()["no_reply"] == 1, lambda: "both end: %s" % ended())
                assert ask(c, b"y") == b"y"
            assert assert_adds_up(s)["sessions"] == 3


def test_limits_of_sessions():
    text = udp_listen("127.0.0.1:0", udp="echo", sessions=3) + udp_listen("127.0.0.1:0", udp="echo", sessions_total=8)
    with udp_server(text, workers=2) as s:
        for index, most in ((0, 6), (1, 8)):
            clients = [udp_client(address_of(s, index), timeout=0.05) for _ in range(12)]
            answered = 0
            for c in clients:
                before = s.status()["udp"]["in"]
                c.send(b"x")
                # Answered or not, it is read before the next one comes.
                wait_for(lambda: s.status()["udp"]["in"] > before, "it is read")
                try:
                    answered += c.recv(10) == b"x"
                except socket.timeout:
                    pass
            # Of all workers at all addresses: those of the first one count for the second.
            assert answered == (most if index == 0 else 2), (index, answered)
            for c in clients:
                c.close()
        u = assert_adds_up(s)
        assert u["dropped"]["sessions"] == 6 and u["dropped"]["sessions_total"] == 10, u


def test_amplification_limit():
    with Witness(answer=lambda data, port: [b"r" * 100] * 8) as w:
        text = (
            udp_listen("127.0.0.1:0", udp="proxy app", amplification=3, verified=["127.0.0.2"])
            + upstream("app", w.server)
        )
        with udp_server(text) as s:
            with udp_client(address_of(s)) as c, udp_client(address_of(s), source="127.0.0.2") as d:
                d.send(b"q" * 100)
                assert [len(d.recv(200)) for _ in range(8)] == [100] * 8
                c.send(b"q" * 100)
                assert [len(c.recv(200)) for _ in range(3)] == [100] * 3
                wait_for(lambda: s.status()["udp"]["held_back"] == 5, "the rest is held back")
                c.settimeout(0.05)
                try:
                    raise AssertionError("%d bytes too many" % len(c.recv(200)))
                except socket.timeout:
                    pass
            assert_adds_up(s)


def test_only_the_server_is_listened_to():
    """What is sent to a session's socket by anybody else never reaches the client."""
    with Witness() as w, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        with udp_server(udp_listen("127.0.0.1:0", udp="proxy app") + upstream("app", w.server)) as s:
            with udp_client(address_of(s)) as c:
                port = int(ask(c, b"x").split()[0])
                stranger.sendto(b"forged", ("127.0.0.1", port))
                wait_for(lambda: s.status()["udp"]["strays"] == 1, "the stranger's datagram is counted")
                for data in (b"y", b"z"):
                    assert ask(c, data) == b"%d %s" % (port, data)
                # The second datagram of the session has connected the socket: the kernel lets no stranger in.
                stranger.sendto(b"forged", ("127.0.0.1", port))
                assert ask(c, b"w") == b"%d w" % port
                assert s.status()["udp"]["strays"] == 1


# --- servers that fail ---


def test_refused_datagrams_go_to_another_server():
    with Witness() as w:
        text = udp_listen("127.0.0.1:0", udp="proxy app") + upstream("app", CLOSED, w.server, balance="rr", fails=2)
        with udp_server(text, workers=1) as s:
            clients = [udp_client(address_of(s), timeout=0.1) for _ in range(8)]
            for c in clients:
                for _ in range(50):  # the first may be lost: it is gone when the ICMP error comes
                    try:
                        assert ask(c, b"x").endswith(b" x")
                        break
                    except socket.timeout:
                        pass
                else:
                    raise AssertionError("no answer")
                c.close()
            u = assert_adds_up(s)
            assert 1 <= u["server_errors"] <= 3, u
            servers = s.status()["upstreams"][0]["servers"]
            assert [x["ejections"] for x in servers] == [1, 0], servers


def test_no_server_at_all():
    with udp_server(udp_listen("127.0.0.1:0", udp="proxy app", timeout="200ms") + upstream("app", CLOSED)) as s:
        with udp_client(address_of(s)) as c:
            for _ in range(3):
                c.send(b"x")
                time.sleep(0.02)
        wait_for(lambda: s.status()["udp"]["ended"]["refused"], "the session ends")
        u = assert_adds_up(s)
        assert u["server_errors"] >= 1 and u["replies"] == 0, u


def test_one_way_is_spread():
    with Witness(answer=lambda *_: []) as a, Witness(answer=lambda *_: []) as b:
        text = udp_listen("127.0.0.1:0", udp="proxy log", one_way=True) + upstream("log", a.server, b.server, balance="rr")
        with udp_server(text, workers=2, steering=CALM) as s:
            with udp_client(address_of(s)) as c:
                for i in range(100):
                    c.send(b"%d" % i)
            wait_for(lambda: len(a.seen) + len(b.seen) == 100, lambda: "%d, %d" % (len(a.seen), len(b.seen)))
            assert 45 <= len(a.seen) <= 55, (len(a.seen), len(b.seen))
            u = assert_adds_up(s)
            assert u["sessions"] == 0 and u["forwarded"] == 100, u
            if u["listen"][0]["steered"]:
                assert total_verdicts(s)["spread"] == 100
                assert [w["udp"]["in"] for w in s.workers()] == [50, 50]


# --- reload ---


def test_flows_stay_through_100_reloads():
    """Numbered flows, begun before and in between: each datagram is answered through the session that the flow began."""
    need_bpffs()
    count = 25 if IS_SANITIZED else 100
    with Witness() as w:
        text = udp_listen("127.0.0.1:0", udp="proxy app") + upstream("app", w.server)
        with udp_server(text, workers=2, timeouts={"drain": "10m"}, steering=CALM) as s:
            flows = Flows(address_of(s), 16)
            for i in range(count):
                if i % 4 == 0:
                    set_key(s, "workers", (2, 3, 1, 4)[i // 4 % 4])
                if i % 10 == 5:
                    flows.more(4)
                reload(s)
            flows.stop()
            answered = sum(f.received for f in flows.flows)
            assert not flows.faults and not flows.moved and not flows.lost, (flows.faults[:3], flows.moved, flows.lost)
            v = total_verdicts(s)
            assert v["placed"] == len(flows.flows) and v["kept_old"] > v["kept"] / 10, v
            assert v["placed"] + v["kept"] + v["kept_old"] == sum(v.values()) == answered, (v, answered)
            assert_adds_up(s)
            print("    %d datagrams of %d flows over %d reloads" % (answered, len(flows.flows), count))


def test_flows_move_at_the_drain_limit_and_lose_nothing():
    need_bpffs()
    with Witness() as w:
        text = udp_listen("127.0.0.1:0", udp="proxy app") + upstream("app", w.server)
        with udp_server(text, timeouts={"drain": "1s"}, steering=CALM) as s:
            flows = Flows(address_of(s), 20, pause=0.002)
            wait_for(lambda: all(f.received > 20 for f in list(flows.flows)), "every flow is under way")
            for turn in (1, 2):
                reload(s)
                wait_for(lambda: not s.status()["draining"], "the old workers end", PATIENCE + 5)
                # With the next datagram of each, which may come after the next reload, or never.
                wait_for(lambda: flows.moved >= 20 * turn, lambda: "%d flows have moved" % flows.moved)
            flows.stop()
            assert not flows.faults and not flows.lost, (flows.faults[:3], flows.lost)
            assert flows.moved == 40, flows.moved
            assert total_verdicts(s)["replaced"] == 40


def test_address_that_goes_and_comes():
    with Witness() as w:
        port = free_udp_port()
        app = upstream("app", w.server)
        listen = udp_listen("127.0.0.1:%d" % port, udp="proxy app")
        with udp_server(app, listen, timeouts={"drain": "30s"}) as s:
            with udp_client(("127.0.0.1", port)) as c, udp_client(("127.0.0.1", port)) as d:
                session = ask(c, b"x").split()[0]
                write_config(s, s.text.replace(listen, ""))
                report = reload(s)
                assert report["listen"]["removed"] == ["127.0.0.1:%d (UDP)" % port], report
                assert report["udp"]["draining"] == 1, report
                # What was there goes on, and nobody new comes.
                assert ask(c, b"y").split()[0] == session
                d.settimeout(0.2)
                d.send(b"z")
                try:
                    raise AssertionError("answered: %r" % d.recv(10))
                except (socket.timeout, ConnectionRefusedError):
                    pass
                write_config(s, s.text + listen)
                reload(s)
                d.settimeout(PATIENCE)
                # Another program, whose table knows nothing of the flow.
                assert ask(d, b"z").endswith(b" z")


def test_worker_that_dies():
    with Witness() as w:
        text = udp_listen("127.0.0.1:0", udp="proxy app") + upstream("app", w.server)
        with udp_server(text, workers=2) as s:
            clients = [udp_client(address_of(s)) for _ in range(10)]
            for c in clients:
                ask(c, b"x")
            victim = s.workers()[0]
            os.kill(victim["pid"], signal.SIGKILL)
            # The socket is the master's too: what comes now waits for the next worker of the slot.
            for c in clients:
                assert ask(c, b"y").endswith(b" y")
            wait_for(lambda: s.workers()[0]["state"] == "running", "another worker serves")
            assert s.status()["udp"]["live"] == 10
            for c in clients:
                c.close()


def test_without_bpf():
    with Witness() as w:
        text = udp_listen("127.0.0.1:0", udp="proxy app") + upstream("app", w.server)
        with udp_server(text, steering={"enabled": False}) as s:
            clients = [udp_client(address_of(s)) for _ in range(10)]
            for count in (2, 2, 3, 1):
                set_key(s, "workers", count)
                reload(s)
                for c in clients:
                    assert ask(c, b"x").endswith(b" x")
            assert not s.status()["udp"]["listen"][0]["steered"]
            for c in clients:
                c.close()


def test_configuration_faults():
    cases = (
        ('udp = "prox app"', "expected \"echo\", or \"proxy NAME\""),
        ('udp = "proxy ap"', "did you mean 'app'"),
        ("timeout = 1s", "has no mode"),
        ("udp = echo  replies = 2", "'replies' goes with replies of a server"),
        ("udp = echo  one_way = true", "'one_way' goes with"),
        ("udp = echo  verified = { \"::1\" }", "without amplification"),
        ('udp = "proxy sock"', "takes no datagrams"),
    )
    with udp_server() as s:
        before = s.text
        for keys, message in cases:
            write_config(
                s,
                before
                + 'listen_udp "127.0.0.1:0" { %s }\n' % keys
                + upstream("app", CLOSED)
                + upstream("sock", "unix:/run/x.sock"),
            )
            done = s.cli("check")
            assert done.returncode != 0 and message in done.stdout + done.stderr, (keys, done.stdout + done.stderr)
        write_config(s, before)


def test_the_manual_names_every_counter():
    # Outside of blocks of code, whose fences are quotes too.
    told = "".join(text_of("docs", "udp.md").split("```")[::2])
    told = {word for quoted in re.findall(r"`([^`]+)`", told) for word in re.findall(r"\w+", quoted)}
    with udp_server(udp_listen("127.0.0.1:0", udp="echo")) as s:
        u = s.status()["udp"]
        groups = (u.pop("dropped"), u.pop("ended"), u.pop("listen")[0]["verdicts"], u)
        for names in map(set, groups):
            assert names and names <= told, names - told


# --- name servers ---


def dig(address, *words):
    done = subprocess.run(
        [need_tool("dig"), "@" + address[0], "-p", str(address[1]), "+time=5", "+tries=1", "+noall", "+answer"] + list(words),
        stdout=subprocess.PIPE,
        universal_newlines=True,
        timeout=30,
    )
    assert done.returncode == 0, done
    return done.stdout


def test_name_server():
    need_tool("nsd")
    with Nsd() as nsd:
        text = udp_listen("127.0.0.1:0", udp="proxy dns", replies=1, timeout="2s") + upstream("dns", nsd.server)
        with udp_server(text) as s:
            address = address_of(s)
            assert "192.0.2.80" in dig(address, "www.example.test", "A")
            assert "2001:db8::80" in dig(address, "www.example.test", "AAAA")
            big = dig(address, "+bufsize=4096", "+ignore", "big.example.test", "TXT")
            assert "j" * 200 in big, big
            wait_for(lambda: s.status()["udp"]["ended"]["done"] == 3, "each query is a session")
            assert_adds_up(s)


def full_queues():
    """Datagrams that the kernel has dropped since it started for want of room at their receiver, whoever that was."""
    with open("/proc/net/snmp") as f:
        names, values = [line.split() for line in f if line.startswith("Udp:")]
    return int(values[names.index("RcvbufErrors")])


def test_dnsperf():
    need_tool("dnsperf")
    need_tool("nsd")
    with Nsd() as nsd:
        text = udp_listen("127.0.0.1:0", udp="proxy dns", timeout="2s") + upstream("dns", nsd.server)
        with udp_server(text) as s:
            host, port = address_of(s)
            queries = os.path.join(s.dir, "queries")
            with open(queries, "w") as f:
                f.write("www.example.test A\nwww.example.test AAAA\n")
            dropped = full_queues()
            done = subprocess.run(
                ["dnsperf", "-s", host, "-p", str(port), "-d", queries, "-l", "2", "-c", "16", "-q", "64"],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                universal_newlines=True,
                timeout=60,
            )
            values = dict(
                (k.strip(), v.split()[0]) for k, _, v in (x.partition(":") for x in done.stdout.splitlines()) if v.strip()
            )
            u = assert_adds_up(s)
            # The queues of dnsperf and of the name server are their own.
            lost, dropped = int(values["Queries sent"]) - int(values["Queries completed"]), full_queues() - dropped
            assert lost <= dropped, "%s\n%s\n%d dropped at full queues" % (done.stdout, u, dropped)
            # One more where dnsperf probes its sockets.
            assert u["in"] >= int(values["Queries sent"]) and not sum(u["dropped"].values()), u
            print("    %s queries/s through sluice" % values["Queries per second"])


if __name__ == "__main__":
    main(__name__)
