# SPDX-License-Identifier: MIT
"""Stores at a Redis server: the same semantics as in files, and what happens when the server is away, stands still, is
killed under load, has no memory, or holds what is not ours.

`make check-store ARGS=--redis` and `make crash-store ARGS=--redis` run histories and kills for longer.
"""
import contextlib
import functools
import json
import os
import random
import re
import signal
import threading

import linear
import test_store
from harness import PATIENCE, Client, Server, main, need_root, text_of, wait_for
from proxy import assert_reason
from redis_peer import Redis, section
from store_load import Recorder
from test_sandbox import need_strict
from test_store import in_memory, kill_and_check, listing, put, server, settle, stats

# Every write is on the disk before it is answered.
DURABLE = {"appendonly": "yes", "appendfsync": "always"}
LOG = {"access": "@DIR@/access.log", "format": "json", "flush": "5ms"}


@contextlib.contextmanager
def at(redis, **keys):
    """Stores of test_store.server() are there.  keys: of the section `redis`."""
    before = dict(test_store.place)
    test_store.place.update(keys='redis = "main"', sections=section(redis, **keys))
    try:
        yield redis
    finally:
        test_store.place.update(before)


@contextlib.contextmanager
def durable():
    """Likewise, at a server of its own that has what it answers on the disk."""
    with Redis(DURABLE) as r, at(r, backoff="50ms"):
        yield r


@contextlib.contextmanager
def served(keys="", redis_keys=None, redis_options=None, are_same=True, **more):
    """(redis, server) with a store at "/".  are_same: the workers are those it began with, at the end."""
    with Redis(redis_options) as r, at(r, **(redis_keys or {})), server(keys, **more) as s:
        wait_connected(s)
        yield r, s
        if are_same:
            s.assert_no_worker_died()


def redis_counters(s):
    return s.status()["totals"]["redis"]


def wait_connected(s):
    wait_for(lambda: redis_counters(s)["connections"] == 2 * len(s.workers()), "all workers are connected")


def calls(redis, command):
    """How often the server was given that one, by its own account."""
    m = re.search(r"^cmdstat_%s:calls=(\d+)" % command, redis.command("INFO", "commandstats"), re.M)
    return int(m.group(1)) if m else 0


# --- the same as in files ---


def on_redis(test):
    @functools.wraps(test)
    def run():
        with Redis() as r, at(r):
            test()

    return run


for same in (
    test_store.test_a_resource_is_made_read_replaced_and_deleted,
    test_store.test_methods_are_refused_with_what_is_allowed,
    test_store.test_preconditions_prevent_lost_updates,
    test_store.test_a_route_can_demand_preconditions,
    test_store.test_ranges,
    test_store.test_names_and_types_that_are_not_taken,
    test_store.test_posts_get_names_nobody_guesses,
    test_store.test_names_can_sort_by_time,
    test_store.test_a_collection_is_listed_page_by_page,
    test_store.test_limits_of_size,
    test_store.test_content_in_flight_is_bounded,
    test_store.test_a_client_that_leaves_takes_nothing_along,
):
    globals()[same.__name__] = on_redis(same)
del same


class Twins:
    """The same requests to a store in files, at /f/, and to one at a Redis server, at /r/."""

    names = ["a", "b", "c/1", "c/2", "c/d/e", "c0", "é", 'q"\\']
    types = ["text/plain", "application/json", "a/b; c=\"d\""]

    def __init__(self, client, seed):
        self.client, self.random = client, random.Random(seed)
        self.tags = {"f": ['"x"', '"1-00000000"'], "r": ['"x"', '"1-00000000"']}  # of the same states at the same places

    def condition(self):
        """A function from a store to the value of If-Match or If-None-Match."""
        kind = self.random.randrange(8)
        if kind < 2:
            return lambda store: "*"
        if kind == 2:
            text = self.random.choice(['"abc', "", ",", 'x, "1-2"', "W/", '"" , "\\"', "* , *"])
            return lambda store: text
        picks = [(self.random.choice(["", "", "W/"]), -self.random.randint(1, 4)) for _ in range(self.random.randint(1, 3))]
        between = self.random.choice([",", ", ", " ,\t", ",,"])
        return lambda store: between.join(weak + self.tags[store][max(i, -len(self.tags[store]))] for weak, i in picks)

    def fields(self):
        """Likewise to all fields of a request."""
        made = []
        for name, share in (("If-Match", 0.3), ("If-None-Match", 0.3), ("If-None-Match", 0.05)):
            if self.random.random() < share:
                made.append((name, self.condition()))
        for name in ("If-Unmodified-Since", "If-Modified-Since"):
            if self.random.random() < 0.15:
                date = self.random.choice(["Sun, 06 Nov 1994 08:49:37 GMT", "Mon, 01 Jan 2091 00:00:00 GMT", "soon"])
                made.append((name, lambda store, date=date: date))
        if self.random.random() < 0.1:
            made.append(("Range", lambda store: "bytes=1-2"))
        kind = self.random.choice(self.types)
        return lambda store: [("Content-Type", kind)] + [(name, value(store)) for name, value in made]

    def index(self, store, etag):
        return self.tags[store].index(etag) if etag in self.tags[store] else None

    def seen(self, store, r):
        """An answer, with whatever may differ taken out or made a number of its own."""
        body = r.body
        if r.get("content-type") == "application/json" and body.startswith(b'{"items"'):
            body = json.loads(body)
            for item in body["items"]:
                item.pop("modified", None)
                if "etag" in item:
                    item["etag"] = self.index(store, item["etag"])
        return (r.status, body, self.index(store, r.get("etag")), r.get("content-type"), r.get("content-range"),
                r.get("link"), r.get("allow"), r.get("content-length") if not isinstance(body, dict) else None)  # fmt: skip

    def one(self):
        method = self.random.choices(["GET", "HEAD", "PUT", "DELETE", "PATCH", "LIST"], [25, 5, 40, 15, 1, 14])[0]
        name = "".join("%%%02X" % b for b in self.random.choice(self.names).encode())
        name = name.replace("%2F", "/")
        if method == "LIST":
            method, name = "GET", self.random.choice(["", "c/", "c/d/", "none/"])
            name += self.random.choice(["", "?limit=1", "?limit=3&after=a", "?after=c%2F&limit=2", "?after=c", "?limit=x"])
        body = self.random.choice([b"", b"x", b"\0\xff\r\n", b"y" * 40000]) if method == "PUT" else b""
        fields, answers = self.fields(), {}
        for store in "fr":
            answers[store] = self.client.request("/%s/%s" % (store, name), method, fields(store), body)
        new = {store: r.get("etag") for store, r in answers.items()}
        if method == "PUT" and all(new.values()):
            for store in "fr":
                self.tags[store].append(new[store])
        views = {store: self.seen(store, r) for store, r in answers.items()}
        assert views["f"] == views["r"], (method, name, fields("f"), fields("r"), views)
        return answers["f"].status


def test_both_engines_answer_alike():
    seed = random.randrange(1 << 30)
    print("     seed %d" % seed)
    stores = 'store "f" { path = "@DIR@/db" }\nstore "r" { redis = "main" }\n'
    routes = {"/f/": {"store": "f"}, "/r/": {"store": "r"}}
    with in_memory(), Redis() as r, Server(routes=routes, extra=section(r) + stores) as s, Client(s) as c:
        twins, statuses = Twins(c, seed), set()
        for _ in range(1200):
            statuses.add(twins.one())
        assert statuses >= {200, 201, 204, 304, 400, 404, 405, 412}, statuses


# --- what is kept where ---


def test_what_the_server_holds():
    with served() as (r, s), Client(s) as c:
        etag = put(c, "/c/a", b"one\0", {"Content-Type": "text/x"}).get("etag")
        assert sorted(r.command("KEYS", "*").split("\n")) == ["s:names", "s:r:c/a", "s:serial"]
        assert r.command("ZRANGE", "s:names", "0", "-1") == "c/a"
        assert r.command("HGET", "s:r:c/a", "etag") == etag.strip('"') and r.command("HGET", "s:r:c/a", "type") == "text/x"
        assert r.command("HSTRLEN", "s:r:c/a", "content") == "4"
        assert c.request("/c/a", "DELETE").status == 204
        assert r.command("KEYS", "*") == "s:serial"
        row = stats(s)
        assert row["engine"] == "redis" and row["redis"] == "main" and row["key_prefix"] == "s:" and "pid" not in row, row
        assert "store s: at redis main; 0 reads, 2 changes\n" in s.cli("status").stdout


def test_stores_and_hosts_at_one_server():
    """Two stores have nothing in common but the server; two sluices of one prefix have the same resources."""
    two = 'store "t" { redis = "main"  key_prefix = "u:" }\n'
    with Redis() as r, at(r), server(extra_keys=two) as s:
        with Server(routes={"/": {"store": "t"}}, extra=section(r) + two) as other, Client(s) as a, Client(other) as b:
            etag = put(a, "/x", b"of s").get("etag")
            assert b.request("/x").status == 404 and b.request("/x", "DELETE").status == 404
            with server() as third, Client(third) as d:
                assert d.request("/x").body == b"of s"
                assert put(d, "/x", b"anew", {"If-Match": etag}).status == 204
                assert put(a, "/x", b"late", {"If-Match": etag}).status == 412


def test_the_server_may_forget_the_script():
    """After a restart, or SCRIPT FLUSH: the change is asked for again with the text, once, and made once."""
    with served() as (r, s), Client(s) as c:
        put(c, "/a", b"1")
        assert (calls(r, "evalsha"), calls(r, "eval")) == (1, 1), "the first one brought the script"
        put(c, "/a", b"2")
        assert (calls(r, "evalsha"), calls(r, "eval")) == (2, 1)
        r.command("SCRIPT", "FLUSH")
        body = os.urandom(200000)
        assert put(c, "/a", body, {"If-Match": c.request("/a").get("etag")}).status == 204 and c.request("/a").body == body
        r.command("SCRIPT", "FLUSH")
        assert [i["name"] for i in listing(c, "/")[1]["items"]] == ["a"]
        assert calls(r, "eval") == 3 and r.command("GET", "s:serial") == "3"


def test_what_is_not_ours_is_told_and_never_passed_on():
    with served() as (r, s), Client(s) as c:
        put(c, "/good")
        r.command("SET", "s:r:text", "x")
        r.command("HSET", "s:r:hash", "other", "x")
        r.command("HSET", "s:r:bad", "etag", "1-00000001", "modified", "1", "type", "a/b\r\nX-Evil: 1", "content", "x")
        assert c.request("/text").status == 500 and put(c, "/text").status == 500
        assert c.request("/hash").status == 404
        evil = c.request("/bad")
        assert evil.status == 500 and evil.get("x-evil") is None
        assert listing(c, "/")[1]["items"][0]["name"] == "good"
        r.command("ZADD", "s:names", "0", "bad")
        assert c.request("/").status == 500
        # A name whose value is gone is none.
        r.command("DEL", "s:r:bad")
        assert [i["name"] for i in listing(c, "/")[1]["items"]] == ["good"]
        assert "store s: cannot read: WRONGTYPE" in s.stderr() and stats(s)["failed"] == 4, (stats(s), s.stderr())


def test_a_user_with_no_more_rights_than_the_manual_names():
    rights = re.search(r"ACL SETUSER web (.*)", text_of("docs", "store.md")).group(1)
    assert "~notes:*" in rights and ">secret" in rights, rights
    with Redis() as r:
        r.command("ACL", "SETUSER", "web", *rights.replace("notes:", "s:").split())
        with at(r, user="web", password="secret"), server() as s, Client(s) as c:
            assert put(c, "/a").status == 201 and c.request("/a").status == 200
            assert put(c, "/a", b"2", {"If-Match": "*"}).status == 204
            assert listing(c, "/")[1]["items"] and c.request("/a", "DELETE").status == 204


def test_the_commands_of_the_manual_do_what_it_says():
    with Redis() as r:
        test_store.follow_the_manual(1, {"127.0.0.1:6379": "127.0.0.1:%d" % r.port})


def test_large_listings_end_in_time():
    """Many names, more collections than a page has items, a small `reply`: pages stay within it."""
    with served("value = 1k", {"reply": "4k"}) as (r, s), Client(s) as c:
        for i in range(60):
            put(c, "/d%02d/%s/x" % (i, "y" * 300))
            put(c, "/e%02d" % i + "z" * 300, b"1", {"Content-Type": "t" * 200})
        seen, path, pages = [], "/?limit=1000", 0
        while path:
            head, page = listing(c, path)
            seen += [i["name"] for i in page["items"]]
            link = re.fullmatch(r'<(\?.*)>; rel="next"', head.get("link") or "")
            path, pages = "/" + link.group(1) if link else None, pages + 1
        assert seen == ["d%02d/" % i for i in range(60)] + ["e%02d" % i + "z" * 300 for i in range(60)]
        assert 10 < pages < 60, pages
        r.command("EVAL", "for i = 1, 20000 do redis.call('ZADD', 's:names', 0, 'm/' .. i) end", "0")
        assert [i["name"] for i in listing(c, "/?after=e99&limit=5")[1]["items"]] == ["m/"]


def test_it_works_in_a_strict_sandbox():
    need_root()
    need_strict()
    with served(extra_keys='sandbox = "strict"\n', redis_keys={"backoff": "100ms"}) as (r, s), Client(s) as c:
        for i in range(2):
            assert put(c, "/a", b"x" * 300000).status in (201, 204) and c.request("/a").body == b"x" * 300000
            assert c.request("/", "POST", body=b"y").status == 201 and listing(c, "/")[1]["items"]
            r.kill()
            wait_for(lambda: redis_counters(s)["connections"] == 0, "sluice has noticed")
            r.start()
            wait_connected(s)
        assert "sandbox" not in s.stderr(), s.stderr()


# --- when it is not there ---


def all_kinds(c):
    return {
        "read": c.request("/a"), "list": c.request("/"), "put": put(c, "/a", b"2"), "delete": c.request("/a", "DELETE"),
        "post": c.request("/", "POST", body=b"x"),
    }  # fmt: skip


def test_no_server():
    """Nothing was changed, so all may be asked again: 503.  It serves as soon as there is one."""
    with served(redis_keys={"backoff": "50ms"}, log=LOG) as (r, s), Client(s) as c:
        put(c, "/a")
        r.kill()
        wait_for(lambda: redis_counters(s)["connections"] == 0, "sluice has noticed")
        for kind, answer in all_kinds(c).items():
            assert answer.status == 503 and answer.get("retry-after") == "1", (kind, answer)
        row = stats(s)
        assert row["down"] == 5 and row["lost"] == row["failed"] == row["no_writer"] == 0, row
        c.request("/only-here")
        assert_reason(s, "/only-here", "store_down", 503)
        r.start()
        wait_for(lambda: put(c, "/b").status == 201, "changes are made again", 2)


def test_a_server_that_refuses_for_now():
    with served() as (r, s), Client(s) as c:
        put(c, "/a")
        r.command("REPLICAOF", "127.0.0.1", "1")
        for answer in (put(c, "/a", b"2"), put(c, "/b"), c.request("/a", "DELETE")):
            assert answer.status == 503 and answer.get("retry-after"), answer
        assert c.request("/a").body == b"v"
        r.command("REPLICAOF", "NO", "ONE")
        assert put(c, "/a", b"2").status == 204 and stats(s)["down"] == 3


def test_a_server_without_memory():
    with served() as (r, s), Client(s) as c:
        put(c, "/a")
        put(c, "/b")
        before = r.command("GET", "s:serial")
        r.command("CONFIG", "SET", "maxmemory", "1")
        for answer in (put(c, "/a", b"2"), put(c, "/c"), c.request("/", "POST", body=b"x")):
            assert answer.status == 507, answer
        assert c.request("/a").body == b"v" and c.request("/b", "DELETE").status == 204
        assert listing(c, "/")[1]["items"][0]["name"] == "a"
        assert stats(s)["full"] == 3 and r.command("GET", "s:serial") == before and r.command("ZCARD", "s:names") == "1"
        r.command("CONFIG", "SET", "maxmemory", "0")
        assert put(c, "/c").status == 201


def ask_in_background(s, *requests):
    """Starts them, each on a connection of its own; a function that waits for the answers."""
    answers = [None] * len(requests)

    def run(i, path, method, body):
        with Client(s) as c:
            answers[i] = c.request(path, method, body=body)

    threads = [threading.Thread(target=run, args=(i,) + r, daemon=True) for i, r in enumerate(requests)]
    for t in threads:
        t.start()

    def join():
        for t in threads:
            t.join(PATIENCE)
            assert not t.is_alive(), "no answer"
        return answers

    return join


def test_a_server_that_stands_still():
    """504, which says of a change that nobody knows: this one is made when the server wakes, and only once."""
    with served(redis_keys={"timeout": "200ms"}, log=LOG) as (r, s), Client(s) as c:
        put(c, "/a", b"1")
        evals = calls(r, "evalsha")
        r.kill(signal.SIGSTOP)
        try:
            write, read = ask_in_background(s, ("/a", "PUT", b"2"), ("/read", "GET", b""))()
        finally:
            r.kill(signal.SIGCONT)
        assert (write.status, read.status) == (504, 504) and write.get("retry-after") is None, (write, read)
        wait_for(lambda: c.request("/a").body == b"2", "the change is made")
        assert calls(r, "evalsha") == evals + 1 and stats(s)["timeouts"] == 2, stats(s)
        assert_reason(s, "/read", "store_timeout", 504)


def test_a_server_that_dies_with_changes_in_its_hands():
    """502 for the change, 503 for the read; and it is not sent to the next server."""
    with served(redis_keys={"backoff": "50ms", "timeout": "20s"}) as (r, s), Client(s) as c:
        put(c, "/a", b"1")
        r.kill(signal.SIGSTOP)
        sent = redis_counters(s)["commands"]
        join = ask_in_background(s, ("/a", "PUT", b"2"), ("/new", "PUT", b"2"), ("/a", "DELETE", b""), ("/a", "GET", b""))
        wait_for(lambda: redis_counters(s)["commands"] == sent + 4, "all are on their way")
        r.kill()
        put_, new, delete, read = join()
        assert [x.status for x in (put_, new, delete, read)] == [502, 502, 502, 503], (put_, new, delete, read)
        r.start()
        wait_for(lambda: put(c, "/b").status == 201, "changes are made again")
        assert calls(r, "eval") + calls(r, "evalsha") == 2 and c.request("/new").status == 404
        row = stats(s)
        assert row["lost"] == 3 and row["failed"] == 0, row


def test_a_reload_moves_a_store():
    """From files to a server and back: what was begun at the old workers ends where it began."""
    with in_memory(), served(are_same=False) as (r, s):
        slow = Client(s)
        slow.send(b"PUT /slow HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\n12345")
        with Client(s) as c:
            put(c, "/a", b"at redis")
        files = s.text.replace('store "s" { redis = "main"', 'store "s" { path = "%s/db"' % s.dir)
        assert files != s.text
        with open(s.conf_path, "w") as f:
            f.write(files + 'store "t" { redis = "main" }\n')
        assert s.cli("reload").returncode == 0
        with Client(s) as c:
            assert c.request("/a").status == 404 and put(c, "/b", b"in files").status == 201
        slow.send(b"67890")
        assert slow.read_response().status == 201 and r.command("HGET", "s:r:slow", "content") == "1234567890"
        slow.close()
        rows = s.status()["stores"]
        assert [row["engine"] for row in rows] == ["lmdb", "redis"] and rows[0]["created"] == 1, rows
        with open(s.conf_path, "w") as f:
            f.write(s.text)
        assert s.cli("reload").returncode == 0
        with Client(s) as c:
            assert c.request("/a").body == b"at redis" and c.request("/slow").body == b"1234567890"
        assert stats(s)["engine"] == "redis"
        wait_for(lambda: not s.status()["draining"], "the old workers leave")


# --- many at once ---


def test_a_random_history_is_linearizable():
    with served() as (r, s):
        rec = Recorder(s.address(), seed=random.randrange(1 << 30))
        rec.start(int(os.environ.get("STORE_OPS") or 10000) // 8)
        rec.join()
        assert not rec.notes, rec.notes
        assert linear.check(rec.ops) == []


def test_a_server_that_is_killed_loses_nothing():
    """SIGKILL under load, three times; it comes back with its append-only file."""
    with served(redis_keys={"backoff": "50ms"}, redis_options=DURABLE) as (r, s):
        rec = Recorder(s.address(), seed=random.randrange(1 << 30))
        for _ in range(3):
            kill_and_check(s, rec, r.kill, random.uniform(0.05, 0.25))
            r.start()
            wait_connected(s)
            settle(rec, s)
        assert len(rec.ops) > 100 and linear.check(rec.ops) == [], len(rec.ops)
        assert stats(s)["failed"] == 0, stats(s)


def is_idle(r):
    """Whatever lay in the server's sockets is done: nothing is read in part, and no script has run between two looks."""

    def scripts():
        return calls(r, "evalsha"), calls(r, "eval")

    before = scripts()
    return all(" qbuf=0 " in line for line in r.command("CLIENT", "LIST").split("\n")[:-1]) and scripts() == before


def test_a_server_that_stands_still_under_load_loses_nothing():
    """Whatever was answered with 504 happens when it wakes, or never, and only once."""
    with served(redis_keys={"timeout": "150ms", "backoff": "50ms"}) as (r, s):
        rec = Recorder(s.address(), seed=random.randrange(1 << 30))

        def stall():
            r.kill(signal.SIGSTOP)
            wait_for(lambda: stats(s)["timeouts"] > before, "requests have waited in vain")

        for _ in range(2):
            before = stats(s)["timeouts"]
            kill_and_check(s, rec, stall, random.uniform(0.05, 0.2))
            r.kill(signal.SIGCONT)
            wait_for(lambda: is_idle(r), "it has done what it was given")
            wait_connected(s)
            settle(rec, s)
        assert linear.check(rec.ops) == []
        assert stats(s)["timeouts"] > 0


def test_killed_workers_lose_nothing():
    with served(are_same=False) as (r, s):
        rec = Recorder(s.address(), seed=random.randrange(1 << 30))
        for i in range(3):
            pids = [w["pid"] for w in s.workers()]
            kill_and_check(s, rec, lambda: os.kill(pids[i % len(pids)], signal.SIGKILL), random.uniform(0.01, 0.15))
            wait_for(s.ready, "both workers serve")
            wait_connected(s)
            settle(rec, s)
        assert linear.check(rec.ops) == []


if __name__ == "__main__":
    main(__name__)
