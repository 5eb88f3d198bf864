# SPDX-License-Identifier: MIT
"""Stores: HTTP's own semantics on them, many clients at once, and what is left when a process or all of them are killed.

Those in files; test_store_redis.py runs what is the same for all of them at a Redis server, too.  `make check-store` and `make crash-store` run histories and kills for longer.
"""
import contextlib
import functools
import json
import os
import random
import re
import select
import signal
import subprocess
import tempfile
import time

import linear
from harness import (PATIENCE, SLUICE, TOP, Client, Server, Skip, is_alive, main, need_root, need_tool, text_of,
                     wait_for)
from linear import UNKNOWN, Op
from store_load import Connection, Gone, Recorder
from test_reload import children, make_holdable
from test_sandbox import need_strict
from test_upgrade import Upgraded

# Where server() has its store, and the sections that takes.
place = {"keys": 'path = "@DIR@/db"', "sections": ""}


def server(keys="", route=None, path=None, extra_keys="", **more):
    """A store at "/"; `path` names another folder."""
    text = place["sections"] + 'store "s" { %s  %s }\n' % (place["keys"], keys)
    if path:
        text = text.replace("@DIR@/db", path)
    return Server(routes={"/": dict({"store": "s"}, **(route or {}))}, extra=extra_keys + text, **more)


@contextlib.contextmanager
def in_memory():
    """Folders of servers on a file system whose fsync() costs nothing, where there is one: for tests of what is said."""
    before = tempfile.tempdir
    if os.access("/dev/shm", os.W_OK | os.X_OK):
        tempfile.tempdir = "/dev/shm"
    try:
        yield
    finally:
        tempfile.tempdir = before


def quick(test):
    @functools.wraps(test)
    def run():
        with in_memory():
            test()

    return run


def stats(s):
    return s.status()["stores"][0]


def put(c, path, body=b"v", fields=()):
    return c.request(path, "PUT", fields, body)


# --- resources ---


@quick
def test_a_resource_is_made_read_replaced_and_deleted():
    with server() as s, Client(s) as c:
        assert c.request("/a").status == 404
        r = put(c, "/a", b"one", {"Content-Type": "text/plain; charset=utf-8"})
        assert r.status == 201 and re.fullmatch(r'"[0-9a-f]+-[0-9a-f]{8}"', r.get("etag")), r
        g = c.request("/a")
        assert (g.status, g.body, g.get("content-type")) == (200, b"one", "text/plain; charset=utf-8"), g
        assert g.get("etag") == r.get("etag") and g.get("last-modified") == r.get("last-modified")
        h = c.request("/a", "HEAD")
        assert h.status == 200 and h.get("content-length") == "3" and h.get("etag") == r.get("etag")
        second = put(c, "/a", b"two!")
        assert second.status == 204 and second.get("etag") not in (None, r.get("etag"))
        g = c.request("/a")
        assert (g.body, g.get("content-type")) == (b"two!", "application/octet-stream")
        assert c.request("/a", "DELETE").status == 204
        assert c.request("/a", "DELETE").status == 404 and c.request("/a").status == 404
        put(c, "/empty", b"")
        c.send(b"PUT /empty HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n")
        assert c.read_response().status in (201, 204)
        assert c.request("/empty").body == b""
        counted = stats(s)
        assert counted["deleted"] == 1 and counted["missing"] == 3 and counted["reads"] >= 4, counted


@quick
def test_methods_are_refused_with_what_is_allowed():
    with server() as s, Client(s) as c:
        cases = (
            ("PATCH", "/a", 405, "PUT"), ("POST", "/a", 405, "PUT"), ("PUT", "/", 405, "POST"),
            ("PUT", "/c/", 405, "POST"), ("DELETE", "/c/", 405, "POST"), ("OPTIONS", "/a", 204, "PUT"),
            ("OPTIONS", "/c/", 204, "POST"),
        )  # fmt: skip
        for method, path, status, allowed in cases:
            r = c.request(path, method, body=b"x" if method in ("PATCH", "POST", "PUT") else b"")
            assert r.status == status and allowed in r.get("allow") and "PATCH" not in r.get("allow"), (method, r)
        assert c.request("/a", "BREW").status == 501


@quick
def test_preconditions_prevent_lost_updates():
    with server() as s, Client(s) as c:
        first = put(c, "/a", b"1").get("etag")
        cases = (
            ("PUT", {"If-None-Match": "*"}, 412), ("PUT", {"If-Match": '"other"'}, 412),
            ("PUT", {"If-Match": "W/" + first}, 412), ("DELETE", {"If-Match": '"other"'}, 412),
            ("PUT", {"If-None-Match": '"x", %s' % first}, 412),
            ("PUT", {"If-Unmodified-Since": "Sun, 06 Nov 1994 08:49:37 GMT"}, 412),
            ("PUT", [("If-Match", '"x"'), ("If-Match", '"y"')], 412),
        )  # fmt: skip
        for method, fields, status in cases:
            r = c.request("/a", method, fields, b"2" if method == "PUT" else b"")
            assert r.status == status, (method, fields, r)
            assert c.request("/a").body == b"1"
        # Lines of two fields are joined, and the second must not disturb the first.
        both = [("If-Match", '"x"'), ("If-Match", first), ("If-None-Match", '"y"'), ("If-None-Match", '"z"')]
        changed = put(c, "/a", b"1", both)
        assert changed.status == 204
        assert put(c, "/a", b"2", [("If-Match", '"x"'), ("If-Match", changed.get("etag"))]).status == 204
        assert put(c, "/a", b"3", {"If-Match": first}).status == 412
        assert put(c, "/a", b"3", {"If-Match": "*"}).status == 204
        assert put(c, "/new", b"3", {"If-Match": "*"}).status == 412
        assert put(c, "/new", b"3", {"If-None-Match": "*"}).status == 201
        now = c.request("/new").get("etag")
        assert c.request("/gone", "DELETE", {"If-Match": now}).status == 404
        assert c.request("/new", "DELETE", {"If-Match": now}).status == 204
        etag = c.request("/a").get("etag")
        r = c.request("/a", fields={"If-None-Match": etag})
        assert r.status == 304 and r.get("etag") == etag and r.get("content-type") is None
        date = c.request("/a").get("last-modified")
        for since, status in ((date, 304), ("Sun, 06 Nov 1994 08:49:37 GMT", 200), ("", 200), ("soon", 200)):
            assert c.request("/a", fields={"If-Modified-Since": since}).status == status, since
        assert c.request("/a", fields={"If-Match": '"other"'}).status == 412
        # What would fail anyway fails with that (RFC 9110 13.2.1).
        assert c.request("/gone", fields={"If-Match": "*"}).status == 404


@quick
def test_a_route_can_demand_preconditions():
    with server(route={"require_match": True}) as s, Client(s) as c:
        assert put(c, "/a").status == 428
        assert put(c, "/a", b"v", {"If-None-Match": "*"}).status == 201
        assert c.request("/a", "DELETE").status == 428
        assert c.request("/", "POST", body=b"x").status == 201
        assert c.request("/a", "DELETE", {"If-Match": c.request("/a").get("etag")}).status == 204
        assert stats(s)["unconditional"] == 2


@quick
def test_ranges():
    with server() as s, Client(s) as c:
        body = bytes(range(256)) * 200
        etag = put(c, "/a", body).get("etag")
        r = c.request("/a", fields={"Range": "bytes=5-9"})
        assert (r.status, r.body, r.get("content-range")) == (206, body[5:10], "bytes 5-9/51200"), r
        r = c.request("/a", fields={"Range": "bytes=-40000", "If-Range": etag})
        assert r.status == 206 and r.body == body[-40000:]
        assert c.request("/a", fields={"Range": "bytes=0-1", "If-Range": '"x"'}).body == body
        assert c.request("/a", fields={"Range": "bytes=0-1,4-5"}).body == body
        r = c.request("/a", fields={"Range": "bytes=99999-"})
        assert r.status == 416 and r.get("content-range") == "bytes */51200"


@quick
def test_names_and_types_that_are_not_taken():
    with server() as s, Client(s) as c:
        cases = (
            ("/%ff", {}, 400), ("/%01", {}, 400), ("/" + "x" * 511, {}, 201), ("/" + "x" * 512, {}, 414),
            ("/%ed%a0%80", {}, 400), ("/caf%c3%a9", {}, 201), ("/t", {"Content-Type": "x" * 256}, 400),
            ("/t", {"Content-Range": "bytes 0-0/1"}, 400), ("/t", {"Content-Encoding": "gzip"}, 415),
            ("/t", {"Content-Type": "a/\xe9"}, 400),
        )  # fmt: skip
        for path, fields, status in cases:
            r = put(c, path, b"v", fields)
            assert r.status == status, (path[:40], fields, r)
        assert c.request("/caf%C3%A9").body == b"v"


# --- collections ---


@quick
def test_posts_get_names_nobody_guesses():
    with server() as s, Client(s) as c:
        names = []
        for i in range(20):
            r = c.request("/notes/", "POST", {"Content-Type": "text/plain"}, b"note %d" % i)
            assert r.status == 201 and re.fullmatch(r"/notes/[0-9a-z]{26}", r.get("location")), r
            names.append(r.get("location"))
            g = c.request(r.get("location"))
            assert g.body == b"note %d" % i and g.get("etag") == r.get("etag")
        assert len(set(names)) == 20 and len({n[:12] for n in names}) == 20 and names != sorted(names)
        assert c.request("/x" * 248 + "/", "POST", body=b"v").status == 414


@quick
def test_names_can_sort_by_time():
    with server(route={"names": "time"}) as s:
        with Client(s) as c:
            names = [c.request("/", "POST", body=b"x").get("location") for _ in range(30)]
        assert names == sorted(names) and len({n[-10:] for n in names}) == 30


def listing(c, path):
    r = c.request(path)
    assert r.status == 200 and r.get("content-type") == "application/json", r
    return r, json.loads(r.body)


@quick
def test_a_collection_is_listed_page_by_page():
    names = ["a", 'b"q', "c\\d", "d e", "é", "z"] + ["n%03d" % i for i in range(30)]
    with server() as s, Client(s) as c:
        assert listing(c, "/none/")[1] == {"items": []}
        for n in names:
            path = "/c/" + "".join("%%%02x" % b for b in n.encode())
            assert put(c, path, n.encode(), {"Content-Type": 'text/plain; x="y"'}).status == 201
        for n in ("sub/1", "sub/2", "sub/deep/3", "sub0", "su"):
            put(c, "/c/" + n)
        wanted = sorted([n.encode() for n in names + ["sub/", "sub0", "su"]])
        for limit in (1, 2, 7, 100):
            seen, path = [], "/c/?limit=%d" % limit
            while path:
                r, page = listing(c, path)
                assert len(page["items"]) <= limit
                seen += page["items"]
                link = re.fullmatch(r'<(\?.*)>; rel="next"', r.get("link") or "")
                assert (link is not None) == ("next" in page), r
                if link:
                    assert page["next"] == page["items"][-1]["name"]
                path = "/c/" + link.group(1) if link else None
            assert [i["name"].encode() for i in seen] == wanted, (limit, seen)
        item = [i for i in seen if i["name"] == "a"][0]
        g = c.request("/c/a")
        assert (item["size"], item["type"], item["etag"]) == (1, 'text/plain; x="y"', g.get("etag")), item
        assert [i for i in seen if i["name"] == "sub/"] == [{"name": "sub/"}]
        assert [i["name"] for i in listing(c, "/c/sub/")[1]["items"]] == ["1", "2", "deep/"]
        for query in ("limit=0", "limit=1001", "limit=x", "after=%f", "after=%ff", "after=a/b", "after=/", "limit="):
            assert c.request("/c/?" + query).status == 400, query
        assert c.request("/c/?after=" + "x" * 600).status == 400
        assert listing(c, "/c/?other=1&after=z&limit=3")[1]["items"][0]["name"] == "é"
        h = c.request("/c/", "HEAD")
        assert h.status == 200 and int(h.get("content-length")) > 1000


# --- limits ---


@quick
def test_limits_of_size():
    with server("value = 64k  memory = 1m") as s, Client(s) as c:
        assert put(c, "/a", b"x" * 65536).status == 201
        with Client(s) as d:
            assert put(d, "/a", b"x" * 65537).status == 413
        with Client(s) as d:
            d.send(b"PUT /a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(5):
                d.send(b"4000\r\n" + b"y" * 16384 + b"\r\n")
            assert d.read_response().status == 413
        d = Client(s)
        d.send(b"PUT /b HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n")
        d.send(b"".join(b"%x\r\n%s\r\n" % (n, b"z" * n) for n in (1, 5000, 30000, 30535)) + b"0\r\n\r\n")
        assert d.read_response().status == 201
        d.close()
        assert c.request("/b").body == b"z" * 65536 and c.request("/a").body == b"x" * 65536


@quick
def test_content_in_flight_is_bounded():
    """Uploads that stand still hold memory: those beyond the bound are refused, and the others end well."""
    with server("value = 512k  memory = 1m", workers=1) as s:
        slow = [Client(s) for _ in range(3)]
        for i, c in enumerate(slow):
            c.send(b"PUT /%d HTTP/1.1\r\nHost: t\r\nContent-Length: 500000\r\n\r\n" % i + b"x")
        refused = select.select([c.sock for c in slow], [], [], PATIENCE)[0]
        assert len(refused) == 1, refused
        for c in slow:
            if c.sock is refused[0]:
                r = c.read_response()
                assert r.status == 503 and r.get("retry-after") and stats(s)["busy"] == 1, r
        for c in slow:
            if c.sock is not refused[0]:
                c.send(b"x" * 499999)
                assert c.read_response().status == 201
        with Client(s) as c:
            assert put(c, "/again", b"x" * 500000).status == 201
        for c in slow:
            c.close()


@quick
def test_a_client_that_leaves_takes_nothing_along():
    """An upload that is cut off changes nothing, and what it held is free again."""
    with server("value = 512k  memory = 1m", workers=1) as s:
        for _ in range(8):
            with Client(s) as c:
                c.send(b"PUT /a HTTP/1.1\r\nHost: t\r\nContent-Length: 500000\r\n\r\n" + b"x" * 1000)
                c.reset()
        s.wait_live(0)
        with Client(s) as c:
            assert c.request("/a").status == 404 and put(c, "/a", b"x" * 500000).status == 201


def fill(s, size=20000):
    """Puts until the store is full; names."""
    with Client(s) as c:
        for i in range(2000):
            r = put(c, "/f%d" % i, b"x" * size)
            if r.status != 201:
                return i, r
    raise AssertionError("never full")


@quick
def test_a_full_store_says_so_and_can_be_emptied():
    log = {"access": "@DIR@/a.log", "format": "json", "flush": "10ms"}
    with server("size = 1m", workers=1, log=log) as s:
        for _ in range(3):
            count, r = fill(s)
            assert r.status == 507 and 20 < count < 60, (count, r)
            with Client(s) as c:
                assert c.request("/f0").status == 200 and put(c, "/one-more", b"x" * 20000).status == 507
                for i in range(count):
                    assert c.request("/f%d" % i, "DELETE").status == 204, i
                assert listing(c, "/")[1]["items"] == []
        assert stats(s)["full"] == 6

        def reasons():
            with open(s.dir + "/a.log") as f:
                return [json.loads(line)["reason"] for line in f if '"status":507' in line.replace(" ", "")]

        wait_for(lambda: reasons() == ["store_full"] * 6, lambda: "the log has the reason: %s" % reasons())


@quick
def test_a_full_disk_says_so_and_heals():
    need_root()
    with server("size = 64m", workers=1) as s:
        pass
    folder = s.dir + "-disk"
    os.mkdir(folder)
    try:
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=777", "x", folder], stderr=subprocess.DEVNULL).returncode:
            raise Skip("cannot mount a small disk here")
        try:
            with server("size = 64m", workers=1, path=folder + "/db") as s:
                count, r = fill(s)
                assert r.status == 507 and count > 20, (count, r)
                with Client(s) as c:
                    assert c.request("/f%d" % (count - 1)).status == 200
                subprocess.check_call(["mount", "-o", "remount,size=8m", folder])
                with Client(s) as c:
                    assert put(c, "/again", b"x" * 20000).status == 201
                s.assert_no_worker_died()
        finally:
            subprocess.check_call(["umount", folder])
    finally:
        os.rmdir(folder)


# --- starting ---


def fails_to_start(s, word):
    s.launch()
    code = s.proc.wait(PATIENCE)
    text = s.stderr()
    s.abandon()
    assert code == 1 and word in text and "store s: " in text, (code, text)


@quick
def test_what_is_wrong_with_the_files_is_said_at_the_start():
    def spoil(name, data):
        s = server()
        os.makedirs(s.dir + "/db", exist_ok=True)
        with open(s.dir + "/db/" + name, "wb") as f:
            f.write(data)
        os.chmod(s.dir + "/db/" + name, 0o666)
        os.chmod(s.dir + "/db", 0o777)
        return s

    fails_to_start(spoil("data.mdb", b"this is no store\n" * 1000), "is damaged, or no store")
    s = server()
    with s, Client(s) as c:
        for i in range(50):
            put(c, "/%d" % i, b"x" * 30000)
        with open(s.dir + "/db/data.mdb", "rb") as f:
            whole = f.read()
    fails_to_start(spoil("data.mdb", whole[: len(whole) // 2]), "damaged")
    if os.geteuid() == 0:
        s = server()
        os.mkdir(s.dir + "/db", 0o700)
        fails_to_start(s, "cannot open '%s/db': Permission denied, as user nobody" % s.dir)
    s = server()
    s.text += 'store "t" { path = "@DIR@/other" }\n'.replace("@DIR@", s.dir)
    os.symlink(s.dir + "/db", s.dir + "/other")
    os.mkdir(s.dir + "/db")
    os.chmod(s.dir + "/db", 0o777)
    s.launch()
    assert s.proc.wait(PATIENCE) == 1 and "is the folder of another store" in s.stderr(), s.stderr()
    s.abandon()


@quick
def test_check_finds_faults():
    with server() as s:
        cases = (
            ('store "s" { }', "has no path"), ('store "s" { path = "/nonexistent/x/y" }', "cannot be made"),
            ('store "s" { path = "@DIR@/sluice.conf" }', "is not a folder"),
            ('store "t" { path = "@DIR@/db" }', "there is no store 's'"),
            ('store "s" { path = "@DIR@/db" size = 1k }', "size"),
            ('store "s" { path = "@DIR@/a" }\nstore "u" { path = "@DIR@/a/" }', "one for each"),
        )  # fmt: skip
        for text, word in cases:
            with open(s.dir + "/other.conf", "w") as f:
                f.write('listen "127.0.0.1:0" { }\n%s\nsite "*" { route "/" { store = "s" } }\n' % text.replace("@DIR@", s.dir))
            r = subprocess.run([SLUICE, "check", "-c", s.dir + "/other.conf"], stdout=-1, stderr=-1, text=True)
            assert r.returncode == 1 and word in r.stderr + r.stdout, (text, r)


@quick
def test_it_works_in_a_strict_sandbox():
    """Where every system call that is on no list kills: all that a worker and a writer do with a store."""
    need_root()
    need_strict()
    with server("size = 1m", extra_keys='sandbox = "strict"\n') as s:
        count, _ = fill(s)
        with Client(s) as c:
            assert c.request("/f1", fields={"Range": "bytes=0-9"}).body == b"x" * 10
            for i in range(count):
                c.request("/f%d" % i, "DELETE")
            assert c.request("/", "POST", body=b"x" * 300000).status == 201 and listing(c, "/")[1]["items"]
        victim = s.workers()[0]["pid"]
        os.kill(victim, signal.SIGKILL)
        wait_for(lambda: stats(s)["readers_cleared"] == 1, "the place of a dead reader is cleared")
        wait_for(s.ready, "another worker serves")
        with open(s.conf_path, "w") as f:
            f.write(s.text.replace("size = 1m", "size = 8m"))
        assert s.cli("reload").returncode == 0
        assert fill(s)[0] > 2 * count
        row = stats(s)
        with open("/proc/%d/status" % row["pid"]) as f:
            assert re.search(r"^Seccomp:\t2$", f.read(), re.M) and row["sandboxed"] is True and row["restarts"] == 0
        assert "sandbox" not in s.stderr(), s.stderr()


def test_a_reload_that_fails_leaves_the_writer():
    """The writer of the generation that fails was shown for a moment; the one that goes on writing is not forgotten."""
    s = server()
    hold = make_holdable(s)
    with s, Client(s) as c:
        first = wait_for(lambda: stats(s)["pid"], "a writer")
        before = children(s.proc.pid)
        with open(hold, "w"):
            pass
        asking = subprocess.Popen([SLUICE, "reload", "--control", s.control], stderr=subprocess.PIPE, text=True)
        second = wait_for(lambda: ({stats(s)["pid"]} - {0, first} or {0}).pop(), "another writer is ready")
        os.kill((children(s.proc.pid) - before - {second}).pop(), signal.SIGKILL)
        os.unlink(hold)
        said = asking.communicate(timeout=PATIENCE)[1]
        assert asking.returncode == 1 and "killed by signal 9" in said, said
        wait_for(lambda: not is_alive(second), "the writer of what failed ends")
        wait_for(lambda: stats(s)["pid"] == first, "the first is shown again")
        assert "NO WRITER" not in s.cli("status").stdout
        assert put(c, "/a").status == 201 and stats(s)["restarts"] == 0


@quick
def test_a_reload_keeps_the_store():
    """A larger size, another store beside it; changes go on, and what old workers began ends well."""
    with server("size = 1m") as s:
        count, _ = fill(s)
        # An upload that began before.
        slow = Client(s)
        slow.send(b"PUT /slow HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\n12345")
        with open(s.conf_path, "w") as f:
            text = s.text.replace("size = 1m", "size = 16m")
            f.write(text + 'store "t" { path = "%s/other" }\n' % s.dir)
        r = s.cli("reload")
        assert r.returncode == 0, r
        with Client(s) as c:
            for i in range(count + 100):
                assert put(c, "/g%d" % i, b"x" * 20000).status == 201, i
            for i in range(count + 100):
                assert c.request("/g%d" % i, "DELETE").status == 204
            for i in range(count):
                assert c.request("/f%d" % i, "DELETE").status == 204
            # Room enough for the old configuration, but the file is larger than what its processes have mapped.
            slow.send(b"67890")
            r = slow.read_response()
            assert r and r.status == 201, r
            assert c.request("/slow").body == b"1234567890"
        slow.close()
        rows = s.status()["stores"]
        assert [x["name"] for x in rows] == ["s", "t"] and rows[0]["created"] > 2 * count and rows[0]["full"] == 1, rows
        wait_for(lambda: not s.status()["draining"], "the old workers leave")


def follow_the_manual(number, here):
    """docs/store.md, its five minutes, with its configuration of that number: each command prints the status behind it."""
    text = text_of("docs", "store.md")
    conf = re.findall("^```sluice\n(.*?)^```", text, re.M | re.S)[number]
    script = re.search("^```sh\n(.*?)^```", text, re.M | re.S).group(1)
    need_tool("curl")
    own = 'control = "@DIR@/control.sock"\nworkers = 1\npin = off\n'
    if os.geteuid() == 0:
        own += 'user = "nobody"\n'
    for there, instead in dict(here, **{"127.0.0.1:8080": "127.0.0.1:0"}).items():
        assert conf.count(there) == 1, (conf, there)
        conf = conf.replace(there, instead)
    with Server(config=own + conf, pin="") as s:
        wanted = re.findall(r"# (\d{3})$", script, re.M)
        script = script.replace("127.0.0.1:8080", "%s:%d" % s.address()).replace("/tmp/", s.dir + "/")
        done = subprocess.run(["bash", "-eu", "-c", script], stdout=-1, stderr=-1, text=True, timeout=60)
        assert done.returncode == 0 and done.stdout.split() == wanted and len(wanted) == 12, done


@quick
def test_the_commands_of_the_manual_do_what_it_says():
    follow_the_manual(0, {"/tmp/notes": "@DIR@/notes"})


def test_the_words_of_the_manual_are_those_there_are():
    names = [name for name in os.listdir(os.path.join(TOP, "user", "app")) if name.startswith("store")]
    words = set(re.findall(r'"(store_\w+)"', "".join(text_of("user", "app", name) for name in names)))
    told = set(re.findall(r"^\| \d[\d, ]* \| `(\w+)` \|", text_of("docs", "store.md"), re.M))
    assert len(words) > 5 and words == told, words ^ told


# --- many at once ---


def test_the_checker_finds_what_is_wrong():
    def ops(*rows):
        return [Op(kind, "k", v, e, r, b, x) for kind, v, e, r, b, x in rows]

    good = (
        ops(("put", "1", None, "ok", 0, 9), ("read", None, None, "1", 3, 4), ("read", None, None, "1", 10, 11)),
        ops(("put", "1", None, "ok", 0, 9), ("read", None, None, None, 3, 4)),
        ops(("put", "1", None, UNKNOWN, 0, 9), ("read", None, None, None, 10, 11)),
        ops(("put", "1", None, UNKNOWN, 0, 9), ("read", None, None, "1", 10, 11)),
        ops(("put", "1", None, "ok", 0, 1), ("swap", "2", "1", "ok", 2, 9), ("swap", "3", "1", "no", 2, 9)),
        ops(("create", "1", None, "ok", 0, 5), ("create", "2", None, "no", 0, 5), ("delete", None, None, "ok", 6, 7)),
    )
    bad = (
        ops(("put", "1", None, "ok", 0, 1), ("read", None, None, None, 2, 3)),  # lost
        ops(("put", "1", None, "ok", 0, 1), ("put", "2", None, "ok", 2, 3), ("read", None, None, "1", 4, 5)),  # stale
        ops(("put", "1", None, "ok", 0, 9), ("read", None, None, "1", 1, 2), ("read", None, None, None, 3, 4)),  # back
        ops(("put", "1", None, "ok", 0, 1), ("swap", "2", "1", "ok", 2, 9), ("swap", "3", "1", "ok", 2, 9)),  # lost update
        ops(("create", "1", None, "ok", 0, 5), ("create", "2", None, "ok", 0, 5)),
        ops(("delete", None, None, "ok", 0, 1)),
        ops(("put", "1", None, UNKNOWN, 0, 1), ("read", None, None, None, 2, 3), ("read", None, None, "1", 4, 5)),
    )
    for history in good:
        assert linear.check(history) == [], history
    for history in bad:
        assert linear.check(history), history


def test_a_random_history_is_linearizable():
    with server() as s:
        rec = Recorder(s.address(), seed=random.randrange(1 << 30))
        rec.start(int(os.environ.get("STORE_OPS") or 2000) // 8)
        rec.join()
        assert not rec.notes, rec.notes
        assert linear.check(rec.ops) == []
        counted = stats(s)
        assert counted["commits"] <= counted["changes"] and counted["batch_max"] > 1, counted


# --- killed ---


def kill_and_check(s, rec, victim, seconds):
    rec.start()
    time.sleep(seconds)  # the instant is the point, nobody waits for anything
    victim()
    time.sleep(0.02)
    rec.stop()


def settle(rec, s):
    """A change that is answered: what was on its way before it is done, or lost."""

    def is_done():
        try:
            c = Connection(s.address())
            status = c.request(b"PUT", b"/settled", b"", b"x")[0]
            c.close()
            return status in (201, 204)
        except (OSError, Gone):
            return False

    wait_for(is_done, "changes are made again")
    rec.barrier()
    rec.read_all()


def test_a_killed_writer_loses_nothing():
    with server() as s:
        rec = Recorder(s.address(), seed=random.randrange(1 << 30))
        for i in range(4):
            pid = wait_for(lambda: stats(s)["pid"], "a writer")
            kill_and_check(s, rec, lambda: os.kill(pid, signal.SIGKILL), random.uniform(0.01, 0.15))
            settle(rec, s)
        assert linear.check(rec.ops) == []
        assert stats(s)["restarts"] == 4 and "killed by signal 9" in s.stderr()
        s.assert_no_worker_died()


def test_killed_workers_lose_nothing():
    with server() as s:
        rec = Recorder(s.address(), seed=random.randrange(1 << 30))
        for i in range(4):
            pids = [w["pid"] for w in s.workers()]
            kill_and_check(s, rec, lambda: os.kill(pids[i % len(pids)], signal.SIGKILL), random.uniform(0.01, 0.15))
            wait_for(s.ready, "both workers serve")
            settle(rec, s)
        assert linear.check(rec.ops) == []
        wait_for(lambda: stats(s)["readers_cleared"] >= 3, "places of dead readers are cleared")


def kill_all(s):
    os.killpg(s.proc.pid, signal.SIGKILL)
    s.proc.wait()


def test_an_upgrade_and_reloads_lose_nothing():
    """Under load another program takes over, twice with a reload between: writers of several generations take turns."""
    s = server()
    s.__class__ = Upgraded
    with s:
        rec = Recorder(s.address(), seed=random.randrange(1 << 30))
        rec.start()
        for word in ("upgrade", "reload", "upgrade"):
            done = s.cli(word)
            assert done.returncode == 0, done
        rec.stop()
        rec.read_all()
        assert not rec.notes and len(rec.ops) > 50, (rec.notes, len(rec.ops))
        assert linear.check(rec.ops) == []


def test_all_killed_lose_nothing():
    first = server()
    path = first.dir + "/db"
    rec = None
    servers = []
    try:
        for i in range(3):
            s = first if i == 0 else server(path=path)
            servers.append(s)
            s.start()
            address = s.address()
            if rec is None:
                rec = Recorder(lambda: address, seed=random.randrange(1 << 30))
            else:
                settle(rec, s)
            kill_and_check(s, rec, lambda: kill_all(s), random.uniform(0.05, 0.2))
        s = server(path=path)
        servers.append(s)
        s.start()
        address = s.address()
        settle(rec, s)
        assert linear.check(rec.ops) == []
        s.stop()
    finally:
        for s in servers:
            s.abandon()


def test_reads_go_on_without_a_writer_and_changes_are_refused_in_time():
    with server("timeout = 300ms") as s, Client(s) as c:
        put(c, "/a", b"1")
        pid = stats(s)["pid"]
        os.kill(pid, signal.SIGSTOP)
        try:
            r = put(c, "/a", b"2")
            assert r.status == 504 and c.request("/a").body == b"1", r
        finally:
            os.kill(pid, signal.SIGCONT)
        # It was handed over, and is made when the writer wakes.
        wait_for(lambda: c.request("/a").body == b"2", "the change is made")
        assert stats(s)["timeouts"] == 1


if __name__ == "__main__":
    main(__name__)
