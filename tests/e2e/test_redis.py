# SPDX-License-Identifier: MIT
"""Routes to a Redis server, with a real redis-server behind them: answers, what is refused, channels, faults."""
import json
import os
import signal
import threading
import time

import redis_session
from harness import PATIENCE, Client, Server, get, main, wait_for
from proxy import assert_reason
from redis_peer import Redis, route, section, served

LOG = {"access": "@DIR@/access.log", "format": "json", "flush": "5ms"}


def put(address, target, body):
    with Client(address) as c:
        return c.request(target, "PUT", body=body)


def post(address, target, body):
    with Client(address) as c:
        return c.request(target, "POST", body=body)


def counters(server):
    return server.status()["totals"]["redis"]


# --- answers ---


def test_answers():
    table = [
        ("/SET/a/one", 200, "application/json", b'{"SET":[true,"OK"]}'),
        ("/get/a", 200, "application/json", b'{"get":"one"}'),
        ("/GET/a.txt", 200, "text/plain; charset=utf-8", b"one"),
        ("/GET/a.bin", 200, "application/octet-stream", b"one"),
        ("/GET/a.raw", 200, "application/octet-stream", b"$3\r\none\r\n"),
        ("/GET/no", 200, "application/json", b'{"GET":null}'),
        ("/GET/no.raw", 200, "application/octet-stream", b"$-1\r\n"),
        ("/GET/no.txt", 404, "text/plain; charset=utf-8", b""),
        ("/SET/n/41", 200, "application/json", b'{"SET":[true,"OK"]}'),
        ("/INCR/n", 200, "application/json", b'{"INCR":42}'),
        ("/INCR/n.raw", 200, "application/octet-stream", b":43\r\n"),
        ("/INCR/a", 400, "application/json", b'{"INCR":[false,"ERR value is not an integer or out of range"]}'),
        ("/INCR/a.txt", 400, "text/plain; charset=utf-8", b"ERR value is not an integer or out of range"),
        ("/RPUSH/l/x/y%20z/", 200, "application/json", b'{"RPUSH":3}'),
        ("/LRANGE/l/0/-1", 200, "application/json", b'{"LRANGE":["x","y z",""]}'),
        ("/LRANGE/l/0/-1.txt", 200, "text/plain; charset=utf-8", b"x\ny z\n"),
        ("/LRANGE/l/0/-1.bin", 406, None, None),
        ("/HSET/h/f/1/g/%C3%A9", 200, "application/json", b'{"HSET":2}'),
        ("/HGETALL/h", 200, "application/json", b'{"HGETALL":{"f":"1","g":"\xc3\xa9"}}'),
        ("/SET/a%2Fb/%22%5C%0A", 200, "application/json", b'{"SET":[true,"OK"]}'),
        ("/GET/a%2fb", 200, "application/json", b'{"GET":"\\"\\\\\\n"}'),
        ("/GET/a.json.json", 200, "application/json", b'{"GET":null}'),
        ("/PING", 200, "application/json", b'{"PING":[true,"PONG"]}'),
        ("//PING.txt", 200, "text/plain; charset=utf-8", b"PONG"),
        ("/EVAL/return%20%7B1,%7B2,%7B%22x%22%7D%7D%7D/0", 200, "application/json", b'{"EVAL":[1,[2,["x"]]]}'),
        ("/NOSUCH", 400, None, None),
        ("/", 404, None, None),
        ("/G%20ET/a", 404, None, None),
        ("/SET/a/..", 400, None, None),
        ("/SET/a/%2e%2e/b", 400, None, None),
    ]
    with served() as (address, _, _), Client(address) as c:
        for target, status, kind, body in table:
            r = c.request(target)
            assert r.status == status, (target, r.status, r.body)
            assert kind is None or r.get("content-type") == kind, (target, r.fields)
            assert body is None or r.body == body, (target, r.body)
        r = c.request("/GET/a", "HEAD")
        assert r.status == 200 and r.get("content-length") == "13", r.fields
        for method in ("DELETE", "PATCH", "OPTIONS"):
            r = c.request("/GET/a", method)
            assert r.status == 405 and "PUT" in r.get("allow"), (method, r.status)


def test_accept_and_content():
    with served() as (address, _, _), Client(address) as c:
        assert c.request("/SET/k", "PUT", body=b"by put").status == 200
        assert c.request("/APPEND/k", "POST", body=b", by post").status == 200
        for accept, body in (("text/plain", b"by put, by post"), ("application/octet-stream;q=0.5", b"by put, by post"),
                             ("text/html, application/json", b'{"GET":"by put, by post"}'), ("*/*", b'{"GET":"by put, by post"}')):  # fmt: skip
            assert c.request("/GET/k", fields=[("Accept", accept)]).body == body, accept
        assert c.request("/", "POST", body=b"SET/k2/a%20b").body == b'{"SET":[true,"OK"]}'
        assert c.request("/", "POST", body=b"GET/k2.txt").body == b"a b"
        assert c.request("/SET/empty", "PUT").status == 200
        assert c.request("/STRLEN/empty").body == b'{"STRLEN":0}'
        assert c.request("/", "POST").status == 400


def test_any_byte():
    every = bytes(range(256)) * 3
    with served() as (address, redis, _), Client(address) as c:
        assert c.request("/SET/bin", "PUT", body=every).status == 200
        assert c.request("/GET/bin.bin").body == every
        r = json.loads(c.request("/GET/bin").body)
        assert redis_session.as_text(r["GET"]) == every
        big = os.urandom(900000)
        assert c.request("/SET/big", "PUT", body=big).status == 200
        assert c.request("/GET/big.bin").body == big
        assert c.request("/GET/big.raw").body == b"$900000\r\n" + big + b"\r\n"
        assert redis.command("STRLEN", "big") == "900000"


def test_etag():
    with served() as (address, _, _), Client(address) as c:
        c.request("/SET/a/one")
        tag = c.request("/GET/a").get("etag")
        assert tag and c.request("/GET/a").get("etag") == tag
        r = c.request("/GET/a", fields=[("If-None-Match", tag)])
        assert r.status == 304 and r.body == b"" and r.get("etag") == tag, r.fields
        assert c.request("/GET/a", "HEAD", fields=[("If-None-Match", tag)]).status == 304
        c.request("/SET/a/two")
        assert c.request("/GET/a", fields=[("If-None-Match", tag)]).body == b'{"GET":"two"}'
        assert c.request("/SET/a/two").get("etag") == c.request("/SET/a/two").get("etag")


def test_a_session_of_both_kinds():
    with served() as (address, redis, _):
        seed = int(time.time())
        print("     seed %d" % seed)
        count, errors = redis_session.run(address, redis, 3000, seed)
        assert count == 3000 and errors < count, errors


# --- what is refused ---


def test_only_what_the_list_names():
    routes = {"/": route("GET", "mget"), "/all/": route("*"), "/named/": route("CONFIG", "*")}
    with served(routes, log=LOG) as (address, _, s), Client(address) as c:
        assert c.request("/GET/a").status == 200
        assert c.request("/MGET/a/b").body == b'{"MGET":[null,null]}'
        for target in ("/SET/a/b", "/GETDEL/a", "/G", "/GETT/a", "/SUBSCRIBE/a"):
            assert c.request(target).status == 403, target
        assert c.request("/SET/a", "PUT", body=b"x").status == 403
        assert c.request("/", "POST", body=b"SET/a/b").status == 403
        assert c.request("/all/SET/a/b").status == 200
        assert c.request("/all/CONFIG/GET/maxmemory").status == 403, "for administrators, and not named"
        assert c.request("/named/CONFIG/GET/maxmemory").status == 200
        assert_reason(s, "/G", "command_not_allowed", 403)
        assert counters(s)["refused"] == 8


def test_never():
    names = """AUTH HELLO SELECT QUIT RESET CLIENT MULTI EXEC DISCARD WATCH MONITOR PMONITOR SYNC PSYNC UNSUBSCRIBE
               PUNSUBSCRIBE SSUBSCRIBE BLPOP BRPOP BRPOPLPUSH BLMOVE BLMPOP BZPOPMIN BZPOPMAX BZMPOP WAIT DEBUG SHUTDOWN"""
    with served(log=LOG) as (address, _, s), Client(address) as c:
        for name in names.split():
            for text in (name, name.lower()):
                assert c.request("/%s/a/0" % text).status == 403, name
            assert c.request("/", "POST", body=b"%s/a/0" % name.encode()).status == 403, name
        for target in ("/XREAD/BLOCK/0/STREAMS/s/0", "/xread/COUNT/1/block/0/STREAMS/s/0", "/SCRIPT/DEBUG/YES"):
            assert c.request(target).status == 403, target
        assert c.request("/XREAD/STREAMS/BLOCK/0").body == b'{"XREAD":null}'
        assert c.request("/SUBSCRIBE/a", "POST", body=b"b").status == 403
        assert_reason(s, "/XREAD/BLOCK/0/STREAMS/s/0", "command_waits", 403)
        assert_reason(s, "/MULTI/a/0", "command_forbidden", 403)


def test_key_prefix():
    with served({"/": route(), "/p/": route(key_prefix="app:")}) as (address, redis, _), Client(address) as c:
        c.request("/SET/k/outside")
        assert c.request("/p/GET/k").body == b'{"GET":null}'
        assert c.request("/p/SET/k/inside").status == 200
        assert c.request("/p/MSET/x/1/y/2").status == 200
        assert c.request("/p/RENAME/x/z").status == 200
        assert c.request("/p/LPUSH/l", "PUT", body=b"word").status == 200
        assert sorted(redis.command("KEYS", "*").split("\n")) == ["app:k", "app:l", "app:y", "app:z", "k"]
        assert c.request("/p/MGET/k/y").body == b'{"MGET":["inside","2"]}'
        assert c.request("/p/OBJECT/ENCODING/y").body == b'{"OBJECT":"int"}'
        assert c.request("/p/OBJECT/encoding/y.txt").body == b"int"
        assert c.request("/p/EXISTS", "POST", body=b"k").body == b'{"EXISTS":1}'
        for target in ("KEYS/*", "SCAN/0", "FLUSHALL", "DBSIZE", "RANDOMKEY", "EVAL/return%201/0", "SORT/l/GET/k", "NOSUCH/k",
                       "ZUNIONSTORE/a/1/b", "OBJECT/HELP", "SWAPDB/0/1", "XREAD/STREAMS/s/0", "OBJECT", "CONFIG/GET/x"):  # fmt: skip
            assert c.request("/p/" + target).status == 403, target
        for target in ("PING", "ECHO/x", "TIME"):
            assert c.request("/p/" + target).status == 200, target
        assert c.request("/p/GET").status == 400, "too few words are the server's to refuse"


def test_errors_that_pass():
    with served({"/": route()}, redis_options={"maxmemory": "1kb"}) as (address, _, _), Client(address) as c:
        r = c.request("/SET/a/b")
        assert r.status == 503 and r.get("retry-after") == "1" and b"OOM" in r.body, r.body
        assert c.request("/GET/a").body == b'{"GET":null}'


def test_limits():
    routes = {"/": route(body="10k")}
    with served(routes, {"reply": "20k"}, log=LOG) as (address, redis, s), Client(address) as c:
        assert put(address, "/SET/k", b"x" * 10240).status == 200
        assert put(address, "/SET/k", b"x" * 10241).status == 413
        assert c.request("/GET" + "/k" * 1200).status == 414
        redis.command("SETRANGE", "big", "30000", "x")
        redis.command("EVAL", "for i = 1, 1000 do redis.call('RPUSH', 'list', i) end", "0")
        for target in ("/GET/big", "/LRANGE/list/0/-1"):
            r = c.request(target)
            assert r.status == 502, (target, r.status)
            assert_reason(s, target, "redis_too_large", 502)
            wait_for(lambda: c.request("/PING").status == 200, "connected again")
        assert counters(s)["too_large"] == 2
        deep = "return " + "{" * 9 + "1" + "}" * 9
        assert post(address, "/EVAL/" + deep.replace("{", "%7B").replace("}", "%7D").replace(" ", "%20"), b"0").status == 503
        wait_for(lambda: c.request("/PING").status == 200, "connected again")


# --- the server behind ---


def test_password_and_database():
    keys = {"password": "s3 cret", "database": 3}
    with served({"/": route("SET")}, keys, redis_options={"requirepass": "s3 cret"}) as (address, redis, _):
        assert get(address, "/SET/a/b").status == 200
        assert redis.command("-n", "3", "GET", "a") == "b"


def test_a_wrong_password_is_told():
    with Redis({"requirepass": "right"}) as r:
        for keys, word in (({"password": "wrong"}, "WRONGPASS"), ({}, "NOAUTH")):
            with Server(workers=1, routes={"/": route()}, extra=section(r, **keys)) as s:
                wait_for(lambda: word in s.stderr(), "%s in the log" % word)
                r2 = get(s.address(), "/PING")
                assert r2.status == 503 and r2.get("retry-after") == "1", r2


def test_a_user_with_few_rights():
    with Redis() as r:
        r.command("ACL", "SETUSER", "web", "on", ">pw", "~a*", "+get")
        with Server(workers=1, routes={"/": route()}, extra=section(r, user="web", password="pw")) as s:
            wait_for(lambda: counters(s)["connections"] == 2, "connected, though not allowed to ask for anything")
            assert get(s.address(), "/GET/a").body == b'{"GET":null}'
            for target in ("/GET/b", "/SET/a/1"):
                answer = get(s.address(), target)
                assert answer.status == 403 and b"NOPERM" in answer.body, answer.body


def test_unix_socket_and_name():
    with served(unix=True) as (_, redis, _):
        for server in (redis.path, "unix:" + redis.path, "localhost:%d" % redis.port):
            text = 'sandbox = "strict"\n' + section(redis, server=server)
            with Server(workers=1, routes={"/": route()}, extra=text) as s:
                wait_for(lambda: get(s.address(), "/PING").status == 200, "an answer by %s" % server)
                s.assert_no_worker_died()


class Load:
    """Requests on some connections, without end; statuses with their times."""

    def __init__(self, address, count=8):
        self.address, self.seen, self.is_over, self.odd = address, [], False, []
        self.threads = [threading.Thread(target=self.run, args=(i,), daemon=True) for i in range(count)]

    def run(self, number):
        try:
            with Client(self.address) as c:
                for i in range(10**9):
                    if self.is_over:
                        return
                    target = "/SET/k%d/%d" % (number, i) if i % 2 else "/GET/k%d" % number
                    r = c.request(target)
                    self.seen.append((time.monotonic(), r.status))
                    if r.status == 200 and i % 2 == 0 and i and b'"%d"' % (i - 1) not in r.body and b"null" not in r.body:
                        self.check_older(r.body, i)
                    if r.status != 200:
                        time.sleep(0.01)
        except (AssertionError, OSError) as e:
            self.odd.append(e)

    def check_older(self, body, i):
        """After a fault what was written may be older than the last one; never another's, never newer."""
        if not int(json.loads(body)["GET"]) < i:
            self.odd.append(AssertionError("%r at %d" % (body, i)))

    def since(self, when):
        return [status for at, status in list(self.seen) if at > when]

    def __enter__(self):
        for t in self.threads:
            t.start()
        wait_for(lambda: len(self.seen) > 100, "requests are answered")
        return self

    def __exit__(self, *_):
        self.is_over = True
        for t in self.threads:
            t.join(10)
        assert not self.odd, self.odd


def assert_recovers(load, back):
    """All is well again a second after the server is back (two with sanitizers), and stays so."""
    limit = PATIENCE / 10
    wait_for(lambda: any(s == 200 for s in load.since(back)), "an answer")
    took = next(at for at, s in list(load.seen) if at > back and s == 200) - back
    assert took < limit, "the first answer %.2f s after it was back" % took
    well = back + limit
    wait_for(lambda: len(load.since(well)) > 200, "requests afterwards")
    assert set(load.since(well)) == {200}, set(load.since(well))


def test_killed_under_load():
    with served(workers=2) as (address, redis, s), Load(address) as load:
        for _ in range(2):
            down = time.monotonic()
            redis.kill()
            wait_for(lambda: len([x for x in load.since(down) if x == 503]) > 50, "503")
            redis.start()
            assert_recovers(load, time.monotonic())
        assert {status for _, status in load.seen} == {200, 503}
        c = counters(s)
        assert c["down"] > 0 and c["timeouts"] == 0 and c["connections"] >= 2, c


def test_stalled_under_load():
    with served(workers=2, options={"timeout": "500ms"}, log=LOG) as (address, redis, s), Load(address) as load:
        down = time.monotonic()
        redis.kill(signal.SIGSTOP)
        wait_for(lambda: 504 in load.since(down), "504")
        time.sleep(2)  # longer than a connection is borne with: what follows is connecting in vain
        redis.kill(signal.SIGCONT)
        assert_recovers(load, time.monotonic())
        assert {status for _, status in load.seen} <= {200, 503, 504}
        assert counters(s)["timeouts"] > 0


def test_a_queue_that_is_full():
    with served(options={"queue": 3, "timeout": "1s"}, log=LOG) as (address, redis, s):
        redis.kill(signal.SIGSTOP)
        clients = [Client(address) for _ in range(5)]
        for c in clients:
            c.send("GET /GET/a HTTP/1.1\r\nHost: test\r\n\r\n")
        statuses = sorted(c.read_response().status for c in clients)
        redis.kill(signal.SIGCONT)
        for c in clients:
            c.close()
        assert statuses == [503, 503, 504, 504, 504], statuses
        assert counters(s)["queue_full"] == 2


def test_clients_that_leave():
    """An answer whose client is gone belongs to nobody; those behind it get their own."""
    with served() as (address, redis, s):
        redis.command("SET", "a", "1")
        for _ in range(20):
            with Client(address) as gone, Client(address) as stays:
                redis.kill(signal.SIGSTOP)
                gone.send("GET /INCR/n HTTP/1.1\r\nHost: test\r\n\r\n")
                stays.send("GET /GET/a HTTP/1.1\r\nHost: test\r\n\r\n")
                gone.reset()
                redis.kill(signal.SIGCONT)
                assert stays.read_response().body == b'{"GET":"1"}'


# --- channels ---


class Listener:
    """A client of a stream; events as they come."""

    def __init__(self, address, target, fields=()):
        self.client = Client(address)
        lines = "".join("%s: %s\r\n" % pair for pair in fields)
        self.client.send("GET %s HTTP/1.0\r\nHost: test\r\n%s\r\n" % (target, lines))
        head = self.read_until(b": subscribed\n\n")
        assert b" 200 OK" in head and b"text/event-stream" in head, head

    def read_until(self, end):
        while end not in self.client.data and self.client.fill():
            pass
        assert end in self.client.data, self.client.data[-300:]
        piece, self.client.data = self.client.data.split(end, 1)
        return piece

    def event(self):
        text = self.read_until(b"\n\n")
        return b"\n".join(line for line in text.split(b"\n") if not line.startswith(b":"))

    def close(self):
        self.client.close()


def test_streams_share_one_subscription():
    with served({"/": route("SUBSCRIBE", "PSUBSCRIBE", "PUBLISH")}, workers=2) as (address, redis, s):
        listeners = [Listener(address, "/SUBSCRIBE/news") for _ in range(20)]
        other = Listener(address, "/SUBSCRIBE/news/more")
        wait_for(lambda: counters(s)["subscribers"] == 21, "21 streams")
        busy = sum(1 for w in s.workers() if w["redis"]["subscribers"])
        assert redis.command("PUBSUB", "NUMSUB", "news") == "news\n%d" % busy
        assert json.loads(get(address, "/PUBLISH/news/hello%20%22you%22").body)["PUBLISH"] == busy
        for x in listeners + [other]:
            assert x.event() == b'data: {"SUBSCRIBE":["message","news","hello \\"you\\""]}'
        get(address, "/PUBLISH/more/x")
        assert other.event() == b'data: {"SUBSCRIBE":["message","more","x"]}'
        for x in listeners + [other]:
            x.close()
        wait_for(lambda: counters(s)["subscribers"] == 0, "all have left")
        wait_for(lambda: redis.command("PUBSUB", "CHANNELS") == "", "no subscription is left")
        wait_for(lambda: counters(s)["channels"] == 0, "no channel is left")


def test_forms_of_a_stream():
    routes = {"/": route(), "/p/": route("SUBSCRIBE", "PSUBSCRIBE", key_prefix="app:")}
    with served(routes) as (address, redis, _):
        text = Listener(address, "/SUBSCRIBE/c.txt", [("Accept", "text/event-stream")])
        pattern = Listener(address, "/PSUBSCRIBE/app:*")
        inside = Listener(address, "/p/SUBSCRIBE/x")
        inside_pattern = Listener(address, "/p/PSUBSCRIBE/*")
        redis.command("PUBLISH", "c", "one\r\ntwo\rthree\n")
        assert text.event() == b"data: one\ndata: two\ndata: three\ndata: "
        redis.command("PUBLISH", "app:x", "y")
        assert pattern.event() == b'data: {"PSUBSCRIBE":["pmessage","app:*","app:x","y"]}'
        assert inside.event() == b'data: {"SUBSCRIBE":["message","x","y"]}'
        assert inside_pattern.event() == b'data: {"PSUBSCRIBE":["pmessage","*","x","y"]}'
        for x in (text, pattern, inside, inside_pattern):
            x.close()
        assert get(address, "/SUBSCRIBE").status == 400
        assert get(address, "/SUBSCRIBE/a.raw").status == 400


def test_channels_that_come_and_go():
    """Subscribed to and left again and again, before the server has answered: nothing is mixed up."""
    with served() as (address, redis, s):
        stays = Listener(address, "/SUBSCRIBE/a.txt")
        for _ in range(30):
            clients = [Client(address) for _ in range(4)]
            for i, c in enumerate(clients):
                c.send("GET /SUBSCRIBE/%s HTTP/1.1\r\nHost: test\r\n\r\n" % "ab"[i % 2])
            for c in clients:
                c.close()
        last = Listener(address, "/SUBSCRIBE/b.txt")
        wait_for(lambda: counters(s)["subscribers"] == 2, "two are left")
        redis.command("PUBLISH", "a", "x")
        redis.command("PUBLISH", "b", "y")
        assert (stays.event(), last.event()) == (b"data: x", b"data: y")
        stays.close()
        last.close()


def test_a_stream_outlives_the_server():
    with served() as (address, redis, s):
        listener = Listener(address, "/SUBSCRIBE/a.txt")
        redis.kill()
        wait_for(lambda: get(address, "/PING").status == 503, "down")
        assert get(address, "/SUBSCRIBE/b").status == 503
        redis.start()
        assert listener.event() == b"event: gap\ndata: messages may have been lost"
        redis.command("PUBLISH", "a", "again")
        assert listener.event() == b"data: again"
        listener.close()


def test_a_client_that_does_not_read_is_dropped():
    routes = {"/": route(stream_buffer="64k")}
    with served(routes, log=LOG, listens=[("127.0.0.1:0", {"sndbuf": "64k"})]) as (address, redis, s):
        slow, fast = Listener(address, "/SUBSCRIBE/a.txt?slow"), Listener(address, "/SUBSCRIBE/a.txt")
        size = 20000
        for i in range(200):
            redis.command("EVAL", "return redis.call('PUBLISH', 'a', string.rep('x', %d))" % size, "0")
            assert len(fast.event()) == size + 6
            if counters(s)["streams_dropped"]:
                break
        assert counters(s)["streams_dropped"] == 1
        assert_reason(s, "/SUBSCRIBE/a.txt?slow", "slow_subscriber", 200)
        redis.command("PUBLISH", "a", "still")
        assert fast.event() == b"data: still"
        slow.close()
        fast.close()


def test_reload_ends_streams_and_loses_nothing():
    with served(workers=2) as (address, redis, s), Load(address, 4) as load:
        listener = Listener(address, "/SUBSCRIBE/a")
        before = time.monotonic()
        r = s.cli("reload")
        assert r.returncode == 0, r.stdout + r.stderr
        listener.client.read_all()  # to its end, which comes
        assert not listener.client.was_reset
        s.first_pids = {w["slot"]: w["pid"] for w in s.workers()}
        wait_for(lambda: len(load.since(before)) > 500, "requests go on")
        assert set(load.since(0)) == {200}, set(load.since(0))
        assert counters(s)["commands"] > 0


def test_what_a_killed_old_worker_had_is_forgotten():
    with served(workers=1) as (address, _, s), Client(address) as slow:
        old = s.workers()[0]["pid"]
        slow.send(b"PUT /SET/a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n1")
        wait_for(lambda: s.status()["totals"]["live"] == 1, "it has come")
        r = s.cli("reload")
        assert r.returncode == 0, r.stdout + r.stderr
        assert [d["pid"] for d in s.status()["draining"]] == [old], "it waits for the rest of the request"
        os.kill(old, signal.SIGKILL)
        wait_for(lambda: not s.status()["draining"], "it is gone")
        wait_for(lambda: get(address, "/PING").status == 200, "the new one serves")
        wait_for(lambda: counters(s)["connections"] == 2, lambda: "two connections: %s" % counters(s))
        s.first_pids = {w["slot"]: w["pid"] for w in s.workers()}


def test_status_and_log():
    with served(log=LOG) as (address, redis, s):
        get(address, "/SET/a/b?log")
        line = assert_reason(s, "/SET/a/b?log", "done", 200)
        assert line["server"] == "main", line
        c = counters(s)
        assert c["commands"] == 1 and c["connections"] == 2 and c["errors"] == 0, c
        get(address, "/INCR/a?err")
        assert_reason(s, "/INCR/a?err", "redis_error", 400)
        assert counters(s)["errors"] == 1
        assert s.workers()[0]["redis"]["commands"] == 2


if __name__ == "__main__":
    main(__name__)
