# SPDX-License-Identifier: MIT
"""Limits that hosts share by a Redis server: two sluices stand for two hosts, with a real redis-server between them."""
import contextlib
import os
import re
import signal
import time

from harness import (
    IS_SANITIZED,
    Client,
    Server,
    get,
    is_alive,
    main,
    need_root,
    request,
    session_pids,
    text_of,
    wait_for,
)
from redis_peer import Redis, section
from test_limits import HELLO, LOG, limited, log
from test_monitor import is_listening
from test_reload import reload, write_config
from test_sandbox import need_strict
from test_upgrade import Upgraded, upgrade

# Rates so low that a test sees the burst only.
SLOW = {"rate": "1r/m", "burst": 20, "sync": "20ms"}
# A busy machine is no lost Redis: only tests that lose one want to know soon.
TIMES = {"timeout": "5s", "backoff": "200ms", "connect_timeout": "5s"}
FAULT_TIMES = {"timeout": "200ms", "backoff": "200ms", "connect_timeout": "200ms"}


@contextlib.contextmanager
def hosts(redis, limits, count=2, keys=None, kind=Server, start_redis=True, top="", **more):
    with contextlib.ExitStack() as stack:
        if start_redis:
            stack.enter_context(redis)
        servers = []
        for _ in range(count):
            extra = top + section(redis, **(keys or TIMES))
            s = Server(limits=dict({"redis": "main"}, **limits), extra=extra, **more)
            s.__class__ = kind
            servers.append(stack.enter_context(s))
        for s in servers:
            if start_redis:
                wait_known(s)
        yield servers
        for s in servers:
            if s.status()["generation"] == 1:
                s.assert_no_worker_died()


def shared(server):
    return server.status()["limits"]["shared"]


def wait_known(server, known=True):
    """By an answer, not by the moment that a server has at its start to find out."""

    def is_so():
        s = shared(server)
        return s["known"] and s["round_trip_us"] > 0 if known else not s["known"]

    wait_for(is_so, lambda: "known: %s; %s\n%s" % (known, shared(server), server.stderr()))


def wait_word(server, text, timeout=None):
    wait_for(lambda: text in server.stderr(), lambda: "%r in\n%s" % (text, server.stderr()), timeout)


def admitted(server, tries, source, target="/hello"):
    """How many of that many requests at once."""
    with Client(server, source=source) as c:
        c.send(request(target) * tries)
        statuses = [c.read_response().status for _ in range(tries)]
    assert set(statuses) <= {200, 429}, statuses
    return statuses.count(200)


def use_up(server, source, burst):
    """All that the client has; the others can know of it."""
    before = shared(server)["reports"]
    assert admitted(server, burst + 5, source) == burst
    wait_for(lambda: shared(server)["reports"] > before, "a report")


def assert_hears(server, source, target="/hello"):
    """It has nothing left: known here soon after the first request has been told of, long before it has had a burst."""
    had = 0
    before = shared(server)["raised"]
    while admitted(server, 1, source, target) == 1:
        had += 1
        assert had < 10, "no word of the others: %s" % shared(server)
        # The word may be of another client, of a part only, or lost with an answer that came too late: then there is more.
        until = time.monotonic() + 0.5
        while shared(server)["raised"] == before and time.monotonic() < until:
            time.sleep(0.01)
        before = shared(server)["raised"]
    assert had > 0, "nobody knows of a client before he comes"
    assert admitted(server, 5, source, target) == 0


# --- they share ---


def test_two_hosts_of_four_workers_keep_the_rate():
    rate, burst, span = 100, 50, 3.0
    lag = 1.0 if IS_SANITIZED else 0.3  # 20 ms, and what this machine has to do besides
    limits = {"rate": "%dr/s" % rate, "burst": burst, "sync": "20ms"}
    with Redis() as redis, hosts(redis, limits, workers=4, start_redis=False) as servers:
        for s in servers:
            wait_known(s)
        clients = [Client(s, source="127.0.0.2") for s in servers for _ in range(4)]
        counts, began, passed = {}, time.monotonic(), 0
        while passed < span:
            for c in clients:
                c.send(HELLO * 10)
            for c in clients:
                for _ in range(10):
                    status = c.read_response().status
                    counts[status] = counts.get(status, 0) + 1
            passed = time.monotonic() - began
        for c in clients:
            c.close()
        assert set(counts) == {200, 429}, counts
        most = rate * passed + 2 * (burst + 2 * lag * rate)
        least = 0.6 * rate * passed  # if this machine stands still, the burst is all that a client can save
        assert least <= counts[200] <= most, (counts, least, most, passed)
        # Each for itself, it would have been twice that.
        assert IS_SANITIZED or most < 2 * (burst + rate * passed), "the bound says nothing"
        assert all(shared(s)["raised"] > 0 and shared(s)["untold"] == 0 for s in servers), [shared(s) for s in servers]
        # Somebody else has all of his.
        assert admitted(servers[0], burst, "127.0.0.3") == burst


def test_what_is_had_at_one_host_is_gone_at_the_others():
    routes = {
        "/hello": {"respond": "hello"},
        "/own": {"respond": "own", "rate": "2r/m", "burst": 3},
        "/free": {"respond": "f", "rate": "off"},
    }
    keys = dict(TIMES, database=3)
    with hosts(Redis(), SLOW, count=3, routes=routes, keys=keys) as (a, b, c):
        use_up(a, "127.0.0.2", 20)
        assert_hears(b, "127.0.0.2")
        assert_hears(c, "127.0.0.2")
        # A route of its own counts for itself, there too.
        assert admitted(a, 5, "127.0.0.2", "/own") == 3
        assert admitted(b, 5, "127.0.0.2", "/free") == 5
        assert admitted(b, 21, "127.0.0.3") == 20


def test_keys():
    routes = {"/hello": {"respond": "hello"}, "/own": {"respond": "own", "rate": "1r/s"}}
    redis = Redis()
    with hosts(redis, dict(SLOW, key_prefix="x:"), count=1, routes=routes, listens=("127.0.0.1:0", "[::1]:0")) as (s,):
        use_up(s, "127.0.0.2", 20)
        assert admitted(s, 1, "127.0.0.2", "/own") == 1
        assert get(s.address(1), "/hello").status == 200
        wait_for(lambda: redis.command("DBSIZE") == "3", "three keys")
        found = redis.command("KEYS", "*").split()
        assert {"x:0:127.0.0.2", "x:0:::"} < set(found), found
        own = (set(found) - {"x:0:127.0.0.2", "x:0:::"}).pop()
        assert re.fullmatch(r"x:[0-9a-f]{5,8}:127\.0\.0\.2", own), own
        # Paid after 20 minutes, or a second; kept for 10 s more.
        # One connection for the host: redis-cli has the other.
        assert len(re.findall(r"(?m)^id=", redis.command("CLIENT", "LIST"))) == 2, redis.command("CLIENT", "LIST")
        assert 1190 < int(redis.command("TTL", "x:0:127.0.0.2")) <= 1210
        assert int(redis.command("PTTL", own)) <= 11000
        now = int(redis.command("TIME").split()[0])
        assert 1180e6 < int(redis.command("GET", "x:0:127.0.0.2")) - now * 1e6 <= 1202e6


def test_many_clients():
    """More than one command takes."""
    count, top = 1000, 'trusted_proxies = { "127.0.0.5" }\n'
    redis = Redis()
    with hosts(redis, dict(SLOW, burst=2), top=top) as servers:
        texts = [request("/hello", fields={"X-Forwarded-For": "10.%d.%d.1" % (i >> 8, i & 255)}) for i in range(count)]

        def ask(server, times):
            with Client(server, source="127.0.0.5") as c:
                c.send(b"".join(t * times for t in texts))
                return [c.read_response().status for _ in range(count * times)].count(200)

        assert ask(servers[0], 3) == 2 * count
        wait_for(lambda: shared(servers[0])["reports"] >= count, lambda: "all reports; %s" % shared(servers[0]))
        assert redis.command("DBSIZE") == str(count)
        assert ask(servers[1], 1) == count
        wait_for(lambda: shared(servers[1])["raised"] == count, lambda: "word of all; %s" % shared(servers[1]))
        assert ask(servers[1], 1) == 0
        assert all(shared(s)["untold"] == shared(s)["failures"] == 0 for s in servers)


def test_a_user_with_no_other_rights():
    redis = Redis()
    with redis:
        rights = re.search(r"(?m)^    (ACL SETUSER web on >secret .*)$", text_of("docs", "redis.md")).group(1)
        redis.command(*rights.split())
        redis.command("ACL", "SETUSER", "none", "on", ">secret", "~*", "+get")
        redis.command("ACL", "SETUSER", "half", "on", ">secret", "~*", "+evalsha", "+eval", "+set", "+time")
        keys = dict(TIMES, user="web", password="secret")
        with hosts(redis, SLOW, keys=keys, start_redis=False) as (a, b):
            wait_known(a)
            use_up(a, "127.0.0.2", 20)
            assert_hears(b, "127.0.0.2")
        with hosts(redis, SLOW, count=1, keys=dict(keys, user="none"), start_redis=False) as (s,):
            wait_word(s, "limits: redis main is of no use (NOPERM")
            assert not shared(s)["known"] and shared(s)["failures"] > 0
        with hosts(redis, SLOW, count=1, keys=dict(keys, user="half"), start_redis=False) as (s,):
            wait_known(s)
            admitted(s, 1, "127.0.0.2")
            wait_word(s, "limits: redis main is of no use (")
            assert shared(s)["failures"] > 0 and shared(s)["reports"] == 0


def test_a_script_that_is_gone_is_sent_again():
    redis = Redis()
    with hosts(redis, SLOW) as (a, b):
        redis.command("SCRIPT", "FLUSH")
        use_up(a, "127.0.0.2", 20)
        redis.command("SCRIPT", "FLUSH")
        assert_hears(b, "127.0.0.2")
        assert all(shared(s)["failures"] == 0 and shared(s)["untold"] == 0 for s in (a, b))
        # Nonsense is replaced.
        redis.command("RPUSH", "sluice:rate:0:127.0.0.8", "x")
        redis.command("SET", "sluice:rate:0:127.0.0.9", "x")
        for source in ("127.0.0.8", "127.0.0.9"):
            use_up(a, source, 20)
            assert_hears(b, source)
        assert all(shared(s)["failures"] == 0 for s in (a, b))


# --- Redis fails ---


def lose(redis, how):
    if how == "killed":
        redis.kill()
    else:
        redis.kill(signal.SIGSTOP)


def find(redis, how):
    if how == "killed":
        redis.start()
    else:
        redis.kill(signal.SIGCONT)


def test_fail_open():
    redis = Redis()
    with hosts(redis, SLOW, keys=FAULT_TIMES) as (a, b):
        for n, how in enumerate(("killed", "stopped", "killed")):
            source = "127.0.1.%d" % (10 * n)
            lose(redis, how)
            # At once, and with nothing known for a while: nobody waits, and each host has its own count.
            began = time.monotonic()
            assert [admitted(s, 25, source) for s in (a, b)] == [20, 20]
            assert time.monotonic() - began < 3, "a fifth of a second for each would have been ten"
            for s in (a, b):
                wait_known(s, False)
            assert [admitted(s, 25, "127.0.1.%d" % (10 * n + 1)) for s in (a, b)] == [20, 20]
            wait_word(a, "each host counts for itself")
            assert "redis main IS OF NO USE: this host counts for itself" in a.cli("status").stdout
            find(redis, how)
            began = time.monotonic()
            for s in (a, b):
                wait_known(s)
            assert IS_SANITIZED or time.monotonic() - began < 3
            # What was had meanwhile stays had, where it was had.
            assert admitted(a, 5, source) == 0
            use_up(a, "127.0.1.%d" % (10 * n + 2), 20)
            assert_hears(b, "127.0.1.%d" % (10 * n + 2))
        counts = shared(a)
        assert counts["untold"] >= 60 and counts["connects"] >= 3 and counts["connect_failures"] > 0, counts


def test_fail_closed():
    routes = {"/hello": {"respond": "hello"}, "/free": {"respond": "free", "rate": "off"}}
    limits = dict(SLOW, fail_open=False, exempt=["127.0.0.77"])
    redis = Redis()
    with hosts(redis, limits, count=1, keys=FAULT_TIMES, routes=routes, log=LOG) as (s,):
        for n, how in enumerate(("killed", "stopped")):
            source = "127.0.1.%d" % n
            assert admitted(s, 1, source) == 1
            lose(redis, how)
            wait_known(s, False)
            with Client(s, source=source) as c:
                for _ in range(3):
                    r = c.request("/hello")
                    assert r.status == 503 and r.get("retry-after") == "1", (r.status, r.fields)
                assert c.request("/free").status == 200
            assert get(s, "/free").status == 200
            with Client(s, source="127.0.0.77") as c:
                assert c.request("/hello").status == 200
            assert "requests with a rate are refused" in s.cli("status").stdout
            find(redis, how)
            wait_known(s)
            assert admitted(s, 25, source) == 19
        assert limited(s, "rate_unknown") == 6
        wait_word(s, "limited requests are refused")
        lines = wait_for(lambda: [e for e in log(s) if e["status"] == 503][5:] and log(s), "their lines")
        assert all(e["reason"] == "rate_unknown" for e in lines if e["status"] == 503)


def test_closed_from_the_start():
    redis = Redis()
    with hosts(redis, dict(SLOW, fail_open=False), count=1, start_redis=False) as (s,):
        # It has a moment to connect.
        wait_for(lambda: get(s, "/hello").status == 503, "a refusal")
        # A reload does not open it.
        reload(s)
        assert get(s, "/hello").status == 503
        redis.start()
        try:
            wait_known(s)
            assert get(s, "/hello").status in (200, 429)
        finally:
            redis.stop()


def test_lines_of_the_log_are_few():
    redis = Redis()
    with hosts(redis, SLOW, count=1, keys=dict(FAULT_TIMES, backoff="20ms")) as (s,):
        began = time.monotonic()
        for _ in range(6):
            redis.kill()
            wait_known(s, False)
            redis.start()
            wait_known(s)
        wait_for(lambda: s.stderr().rstrip().endswith("again"), "the last word")
        took = time.monotonic() - began
        lines = [line for line in s.stderr().splitlines() if "limits: " in line]
        assert 1 <= len(lines) <= took + 2, (took, lines)


# --- processes ---


def test_a_sharer_that_dies_or_stands_still():
    with hosts(Redis(), dict(SLOW, fail_open=False), keys=FAULT_TIMES) as (a, b):
        pid = shared(a)["pid"]
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: shared(a)["pid"] not in (0, pid), "another sharer")
        wait_word(a, "the sharer works again")
        use_up(a, "127.0.0.2", 20)
        assert_hears(b, "127.0.0.2")
        pid = shared(a)["pid"]
        os.kill(pid, signal.SIGSTOP)
        wait_for(lambda: get(a, "/hello").status == 503, "what it knew has expired")
        os.kill(pid, signal.SIGCONT)
        wait_for(lambda: get(a, "/hello").status != 503, "it works again")


def test_reloads_and_an_upgrade():
    limits = {"rate": "100000r/s", "burst": 100000, "sync": "20ms", "fail_open": False}
    routes = {"/hello": {"respond": "hello"}, "/own": {"respond": "own", "rate": "1r/m", "burst": 20}}
    redis = Redis()
    with redis, hosts(redis, limits, kind=Upgraded, routes=routes, start_redis=False) as (a, b):
        for s in (a, b):
            wait_known(s)
        clients = [Client(a, source="127.0.0.3") for _ in range(4)]

        def use():
            for c in clients:
                assert c.request("/hello").status == 200

        with contextlib.ExitStack() as stack:
            for c in clients:
                stack.enter_context(c)
            assert admitted(a, 25, "127.0.0.2", "/own") == 20
            for change in ("", "workers = 3", "workers = 1"):
                if change:
                    write_config(a, re.sub(r"(?m)^workers = .*$", change, a.text))
                use()
                reload(a)
                use()
                assert admitted(a, 5, "127.0.0.2", "/own") == 0
            # Other memory for the clients: what it has forgotten the others know.
            write_config(a, a.text.replace("limits {", "limits {\n\tclients = 1000000"))
            reload(a)
            use()
            wait_for(lambda: admitted(a, 1, "127.0.0.2", "/own") == 0, "word of what it had")
            use()
            upgrade(a)
            use()
            wait_for(lambda: admitted(a, 1, "127.0.0.2", "/own") == 0, "word of what it had")
            assert_hears(b, "127.0.0.2", "/own")
            assert limited(a, "rate_unknown") == 0
        # No more of it, and again.
        write_config(a, a.text.replace('redis = "main"', ""))
        reload(a)
        assert a.status()["limits"]["shared"] is None
        assert admitted(a, 5, "127.0.0.2", "/own") == 0
        write_config(a, a.text.replace("limits {", 'limits {\n\tredis = "main"'))
        reload(a)
        wait_known(a)


def test_old_workers_are_heard_of_until_they_are_gone():
    """Half a request keeps its old worker, and is admitted there."""
    with hosts(Redis(), SLOW, timeouts={"drain": "20s"}) as (a, b):
        with Client(a, source="127.0.0.2") as c:
            # The first one, so that the connection is accepted before.
            assert c.request("/hello").status == 200
            c.send(HELLO[:-2])
            pid = shared(a)["pid"]
            reload(a)
            assert shared(a)["pid"] not in (0, pid)
            before = shared(a)["reports"]
            # What the old one admits counts as one more of the client.
            c.send(HELLO[-2:])
            assert c.read_response().status == 200
            wait_for(lambda: shared(a)["reports"] > before, lambda: "a report by the old sharer; %s" % shared(a))
        wait_for(lambda: not os.path.exists("/proc/%d" % pid), "the old sharer has gone with the last old worker")
        assert admitted(b, 20, "127.0.0.2") >= 1
        wait_for(lambda: shared(b)["raised"] > 0, "word of the two that were had at the other")


def test_it_is_confined():
    """Where every system call that is on no list kills, and however Redis is to be reached."""
    need_root()
    need_strict()
    with Redis(unix=True) as redis:
        for n, server in enumerate((redis.path, "localhost:%d" % redis.port)):
            keys = dict(FAULT_TIMES, server=server)
            with hosts(redis, SLOW, keys=keys, start_redis=False, top='sandbox = "strict"\n') as (a, b):
                for s in (a, b):
                    wait_known(s)
                pid = shared(a)["pid"]
                with open("/proc/%d/status" % pid) as f:
                    status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
                assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2" and int(status["CapEff"], 16) == 0
                assert "0" not in status["Uid"].split(), status["Uid"]
                assert not [fd for fd in os.listdir("/proc/%d/fd" % pid) if is_listening(pid, fd)]
                redis.kill()
                wait_known(a, False)
                redis.start()
                wait_known(a)
                wait_known(b)
                use_up(a, "127.0.0.%d" % (2 + n), 20)
                assert_hears(b, "127.0.0.%d" % (2 + n))
                assert shared(a)["pid"] == pid


def test_a_killed_master_takes_it_along():
    with Redis() as redis:
        s = Server(limits=dict(SLOW, redis="main"), extra=section(redis)).start()
        try:
            pids = session_pids(s.proc.pid)
            assert shared(s)["pid"] in pids and len(pids) == 4, pids
            s.proc.kill()
            s.proc.wait()
            wait_for(lambda: not any(is_alive(p) for p in pids), lambda: "the end of %s" % pids)
        finally:
            s.abandon()


def test_another_redis():
    """A Unix socket, and a reload from one to the other."""
    first, second = Redis(unix=True), Redis()
    with first, second, hosts(first, SLOW, count=1, keys={"server": first.path}, start_redis=False) as (s,):
        wait_known(s)
        use_up(s, "127.0.0.2", 20)
        assert first.command("EXISTS", "sluice:rate:0:127.0.0.2") == "1"
        write_config(s, s.text.replace(first.path, "127.0.0.1:%d" % second.port))
        reload(s)
        wait_known(s)
        use_up(s, "127.0.0.3", 20)
        assert second.command("KEYS", "*") == "sluice:rate:0:127.0.0.3"


def test_documented():
    table = re.search(r"#define LIMIT_SHARE_COUNTS\(X\)(.*?)\n\n", text_of("include", "limits_shm.h"), re.S).group(1)
    fields = re.findall(r"^\tX\((\w+)\)", table, re.M) + ["redis", "pid", "known", "fail_open", "round_trip_us"]
    chapter = text_of("docs", "redis.md").split("\n## Limits that hosts share\n")[1].split("\n## ")[0]
    for field in fields:
        assert "`%s`" % field in chapter, field
    assert "\n| `rate_unknown` | 503 |" in text_of("docs", "configuration.md")


if __name__ == "__main__":
    main(__name__)
