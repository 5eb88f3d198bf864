# SPDX-License-Identifier: MIT
"""Modules: what the examples in tests/modules do behind a server, what a wrong one does to it, and how one is replaced.

They are built by `make tests`; those that are no modules are built here.
"""
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time

from harness import IS_SANITIZED, SLUICE, TOP, Client, ProtocolError, Server, Skip, get, main, memory_kb, wait_for
from test_sandbox import need_sandbox, need_strict
from test_upgrade import Upgraded, upgrade

MODULES = os.path.join(os.path.dirname(SLUICE), "tests", "modules")
PERIOD = bytes(range(251))


def module(name):
    path = os.path.join(MODULES, name + ".so")
    if not os.path.exists(path):
        raise Skip("there is no %s (run make tests)" % path)
    return path


def served(name, prefix="/", keys=None, kind=Server, **more):
    """A server whose routes below `prefix` are the module's."""
    more.setdefault("workers", 1)
    routes = {prefix: dict({"module": module(name)}, **(keys or {}))}
    if prefix != "/":
        routes["/"] = {"respond": "apart"}
    return kind(routes=routes, **more)


def counts(server, index=0):
    return server.status()["modules"][index]


def build(folder, name, text, *flags):
    """A shared object of this source."""
    source, path = os.path.join(folder, name + ".c"), os.path.join(folder, name + ".so")
    with open(source, "w") as f:
        f.write(text)
    words = [os.environ.get("CC", "cc"), "-shared", "-fPIC", "-w", "-I", os.path.join(TOP, "include"), "-o", path, source]
    subprocess.run(words + list(flags), check=True)
    return path


SAYS = """
#include <sluice/handler.h>
static void on_request(struct sluice_request *r) { sluice_reply(r, 200, "text/plain", "%s", %d); }
static const struct sluice_route routes[] = { { .on_request = on_request } };
const struct sluice_module sluice_module = { SLUICE_HEAD, .name = "says", SLUICE_ROUTES(routes)%s };
"""


def says(word, more=""):
    return SAYS % (word, len(word), more)


@contextlib.contextmanager
def folder():
    """One that everybody may look into."""
    with tempfile.TemporaryDirectory(prefix="sluice-module-") as path:
        os.chmod(path, 0o755)
        yield path


# --- the examples ---


def test_hello_in_every_form_of_request():
    with served("hello", keys={"module_args": "you"}) as s, Client(s) as c:
        r = c.request("/")
        assert (r.status, r.body, r.get("content-type")) == (200, b"hello, you\n", "text/plain"), r
        r = c.request("/any/where", "HEAD")
        assert (r.status, r.get("content-length"), r.body) == (200, "11", b"")
        assert c.request("/", "BREW").body == b"hello, you\n"
        # Content nobody takes is dropped, and the connection goes on.
        assert c.request("/", "POST", body=b"x" * 100000).status == 200
        c.send(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n" * 16)
        assert [c.read_response().body for _ in range(16)] == [b"hello, you\n"] * 16
        c.send(b"GET / HTTP/1.0\r\n\r\n")
        r = c.read_response()
        assert r.says_close() and r.body == b"hello, you\n"
        c.assert_closed()
        assert counts(s)["requests"] == 21 and counts(s)["errors"] == 0, counts(s)


def test_log_and_status_have_it():
    with served("hello", log={"access": "@DIR@/access", "format": "json", "flush": "1ms"}) as s:
        assert get(s.address(), "/x").status == 200
        path = os.path.join(s.dir, "access")
        wait_for(lambda: os.path.exists(path) and os.path.getsize(path), "a line in the log")
        with open(path) as f:
            line = json.loads(f.readline())
        assert (line["target"], line["status"], line["body_sent"], line["reason"]) == ("/x", 200, 13, "done"), line
        assert "module %s: 1 requests, 0 in flight" % module("hello") in s.cli("status").stdout


def pour(c, data, pieces=None):
    """Sends in a thread of its own."""
    def send():
        for piece in pieces or (data,):
            c.send(piece)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    return thread


def is_steady(number):
    before = number()
    time.sleep(0.1)
    return number() == before


def read_slowly(c, count):
    got = bytearray()
    while len(got) < count:
        time.sleep(0.002)
        got += c.take(min(count - len(got), 131072))
    return bytes(got)


def test_echo_streams_and_holds_back():
    data = os.urandom(1 << 20) * 32
    with served("echo", keys={"body": "1g"}) as s:
        pid = s.workers()[0]["pid"]
        with Client(s, rcvbuf=65536) as c:
            before = memory_kb(pid)
            head = "POST / HTTP/1.1\r\nHost: t\r\nContent-Type: x/y\r\nContent-Length: %d\r\n\r\n" % len(data)
            thread = pour(c, None, [head.encode(), data])
            # Nobody reads: it takes what fits into buffers, and no more.
            wait_for(lambda: s.total("bytes_in") > 65536 and is_steady(lambda: s.total("bytes_in")), "it reads no more")
            assert thread.is_alive() and s.total("bytes_in") < len(data), "all of it was taken in"
            grown = memory_kb(pid) - before
            assert grown < 2000 or IS_SANITIZED, "%d kB for one request" % grown
            while b"\r\n\r\n" not in c.data:
                c.fill()
            head, c.data = c.data.split(b"\r\n\r\n", 1)
            assert b"Content-Type: x/y" in head
            assert read_slowly(c, len(data)) == data
            thread.join()
        with Client(s) as c:
            chunk = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (data[i:i + 7777] for i in range(0, 3000000, 7777)))
            pour(c, None, [b"PUT / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n", chunk, b"0\r\n\r\n"])
            r = c.read_response()
            assert "chunked" in r.tokens("transfer-encoding") and r.body == data[:len(r.body)] and len(r.body) > 2990000
            assert c.request("/", "POST").body == b""
        assert counts(s)["aborted"] == 0 and counts(s)["in_flight"] == 0, counts(s)


def test_echo_within_the_limits_of_all():
    with served("echo", keys={"body": "10"}, timeouts={"body": "200ms"}) as s:
        with Client(s) as c:
            c.send(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
            # It has begun its answer at once, so that is what the client gets after the word to go on.
            assert c.read_response().status == 100
            c.send(b"abcd")
            assert c.read_response().body == b"abcd"
            assert c.request("/", "POST", body=b"x" * 11).status == 413
            c.assert_closed()
        with Client(s) as c:
            c.send(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nab")
            # Half an answer and no more content: the client sees that it is cut.
            while c.fill():
                pass
            assert c.was_reset and counts(s)["aborted"] == 1


def check_pattern(c, count):
    """Byte i is i modulo 251; how fast it came does not matter."""
    pattern, at = PERIOD * 4200, 0
    while at < count:
        if not c.data:
            assert c.fill(), "end after %d of %d" % (at, count)
        piece, c.data = c.data, b""
        shift = at % 251
        assert piece == pattern[shift:shift + len(piece)], "other bytes at %d" % at
        at += len(piece)
    assert at == count


def test_a_gigabyte_made_as_it_is_taken():
    size = 1 << (26 if IS_SANITIZED else 30)
    with served("generate") as s:
        pid = s.workers()[0]["pid"]
        with Client(s) as c:
            before = memory_kb(pid)
            c.send("GET /%d HTTP/1.1\r\nHost: t\r\n\r\n" % size)
            while b"\r\n\r\n" not in c.data:
                c.fill()
            head, c.data = c.data.split(b"\r\n\r\n", 1)
            assert b"Content-Length: %d" % size in head
            # Others have their turn meanwhile.
            assert get(s.address(), "/10").body == PERIOD[:10]
            check_pattern(c, size)
            grown = memory_kb(pid) - before
            assert grown < 2000 or IS_SANITIZED, "%d kB" % grown
            assert c.request("/chunked/1000").body == (PERIOD * 4)[:1000]
            assert c.request("/held/100000", "HEAD").get("content-length") == "100000"
            assert c.request("/held/100000").body == (PERIOD * 399)[:100000]


def test_what_is_lent_comes_back_from_who_does_not_read():
    with served("generate", timeouts={"write": "200ms"}) as s:
        with Client(s, rcvbuf=4096) as c:
            c.send(b"GET /held/1000000000 HTTP/1.1\r\nHost: t\r\n\r\n")
            wait_for(lambda: counts(s)["aborted"] == 1, "it is given up")
        assert get(s.address(), "/balance").body == b"even\n"
        assert counts(s)["in_flight"] == 0


def test_answers_in_the_order_of_their_time():
    with served("later", "/later/") as s:
        began, clients = time.monotonic(), []
        for ms in (300, 200, 100):
            clients.append(Client(s))
            clients[-1].send("GET /later/after/%d HTTP/1.1\r\nHost: t\r\n\r\n" % ms)
        for c, ms in ((clients[2], 100), (clients[1], 200), (clients[0], 300)):
            assert c.read_response().body == b"now\n"
            assert time.monotonic() - began >= ms / 1000, "%d ms: too early" % ms
            c.close()
        first = int(get(s.address(), "/later/ticks").body)
        wait_for(lambda: int(get(s.address(), "/later/ticks").body) > first, "its own timer strikes")
        # A client that is gone gets no answer, and the module is told.
        with Client(s) as c:
            c.send(b"GET /later/after/600000 HTTP/1.1\r\nHost: t\r\n\r\n")
            wait_for(lambda: counts(s)["in_flight"] == 1, "it waits")
            assert get(s.address(), "/").body == b"apart", "others are served meanwhile"
            c.reset()
        wait_for(lambda: counts(s)["aborted"] == 1 and counts(s)["in_flight"] == 0, "it is aborted")
        assert "module later: has started" in s.stderr()


def test_a_table_of_methods_and_paths():
    with served("router", "/api") as s, Client(s) as c:
        assert c.request("/api/notes").body == b""
        assert c.request("/api/notes/one", "PUT", body=b"first").status == 201
        assert c.request("/api/notes/one", "PUT", body=b"second").status == 204
        assert c.request("/api/notes/a/b", "PUT", body=b"x").status == 201
        assert c.request("/api/notes/one").body == b"second"
        assert c.request("/api/notes").body == b"one\na/b\n"
        assert c.request("/api/notes/none").status == 404
        assert c.request("/api/notes/one", "DELETE").status == 204
        assert c.request("/api/notes").body == b"a/b\n"
        r = c.request("/api/notes", "PUT", body=b"x")
        assert r.status == 405 and r.get("allow") == "GET, HEAD, OPTIONS", r.fields
        r = c.request("/api/notes/one", "OPTIONS")
        assert r.status == 204 and r.get("allow") == "GET, PUT, DELETE, HEAD, OPTIONS", r.fields
        assert c.request("/api/nothing").status == 404 and c.request("/api/nothing", "BREW").status == 501
        assert c.request("/api").status == 404
        said = c.request("/api/any/a%2fb?q=%41", "BREW", {"X-A": "1"}).body.decode()
        want = "BREW /api/any/a/b rest=a/b query=q=%41 host=test client=127.0.0.1 version=11\n"
        assert said.startswith(want) and "X-A: 1\n" in said, said
        assert counts(s)["unrouted"] == 5, counts(s)


# --- what it does wrong ---


def test_mistakes_are_refused_and_counted():
    cases = (
        # path, status, is the answer cut, is it an error
        ("injection", 500, False, True), ("own-length", 500, False, True), ("fields", 500, False, True),
        ("status", 500, False, True), ("too-long", 200, False, False), ("too-short", 200, True, True),
        ("no-begin", 500, False, True), ("twice", 200, True, True), ("cut", 200, True, True),
    )  # fmt: skip
    with served("wrong") as s:
        for path, status, is_cut, _ in cases:
            with Client(s) as c:
                c.send("GET /%s HTTP/1.1\r\nHost: t\r\n\r\n" % path)
                try:
                    r = c.read_response()
                    assert not is_cut and r.status == status, (path, r)
                    assert not r.get("x-bad") and not r.get("set-cookie"), r.fields
                except ProtocolError as e:
                    assert is_cut and "by reset" in str(e), (path, e)
        seen = counts(s)
        assert seen["errors"] == sum(x[3] for x in cases) and seen["mistakes"] >= 7, seen
        assert "module wrong, /injection: a field whose value is none" in s.stderr()
        # Whoever pours without looking is stopped at 16 MiB.
        with Client(s) as c:
            c.send(b"GET /flood HTTP/1.0\r\n\r\n")
            size = 0
            while c.fill():
                size += len(c.data)
                c.data = b""
            assert 15 << 20 < size <= 17 << 20, size
        s.assert_no_worker_died()


def test_one_that_never_answers():
    log = {"access": "@DIR@/access", "format": "json", "flush": "1ms"}
    with served("wrong", keys={"module_timeout": "150ms"}, log=log) as s:
        with Client(s) as c:
            assert c.request("/never").status == 504
            # The connection is as good as before; what comes in content is not held against the module.
            assert c.request("/never", "POST", body=b"x").status == 504
            assert c.request("/ends").body == b"2\n"
            c.send(b"GET /half HTTP/1.1\r\nHost: t\r\n\r\n")
            with contextlib.suppress(ProtocolError):
                assert not c.read_response()
            assert c.was_reset
        assert get(s.address(), "/ends").body == b"3\n"
        seen = counts(s)
        assert (seen["timeouts"], seen["errors"], seen["in_flight"]) == (3, 3, 0), seen
        path = os.path.join(s.dir, "access")

        def reasons():
            with open(path) as f:
                return [json.loads(line)["reason"] for line in f]

        wait_for(lambda: reasons().count("module_timeout") == 3, reasons)


def test_one_that_crashes_takes_its_worker_alone():
    with served("wrong", workers=2) as s:
        pids = [w["pid"] for w in s.workers()]
        for _ in range(2):
            with Client(s) as c:
                c.send(b"GET /crash HTTP/1.1\r\nHost: t\r\n\r\n")
                assert not c.fill()
        wait_for(lambda: sum(w["restarts"] for w in s.workers()) == 2, "workers are started again")
        wait_for(lambda: all(w["state"] == "running" for w in s.workers()), "all serve")
        assert any(w["pid"] not in pids for w in s.workers())
        assert get(s.address(), "/ends").body == b"0\n"
        assert counts(s)["in_flight"] == 0, "what died with them is in flight no more"
        assert s.stderr().count("killed by signal 6") == 2


def test_one_that_blocks_is_seen_to():
    keys = {"stall": "20ms", "stall_kill": "500ms"}
    with served("wrong", workers=2, steering=keys) as s:
        with Client(s) as c:
            c.send(b"GET /block HTTP/1.1\r\nHost: t\r\n\r\n")
            wait_for(lambda: s.total("stalls") >= 1, "it is found stalled")
            assert get(s.address(), "/ends").status == 200, "the other one serves"
            wait_for(lambda: s.total("stall_kills") == 1, "it is killed")
        wait_for(lambda: all(w["state"] == "running" for w in s.workers()), "both serve")


# --- files ---

NOT = (
    ("text", None, "cannot be loaded: "),
    ("symbol", "int x;", "exports no variable sluice_module"),
    ("missing", "void nowhere(void); " + says("x", "};\nvoid f(void) { nowhere(); "), "undefined symbol: nowhere"),
    ("abi", says("x").replace("SLUICE_HEAD", "7, sizeof(struct sluice_module)"),
     "was built for version 7 of the interface, and this server has version 1"),
    ("small", says("x").replace("SLUICE_HEAD", "SLUICE_ABI, 8"), "says that its structs are smaller (8 and "),
    ("nameless", says("x").replace('"says"', '""'), "has no name in sluice_module"),
    ("routes", says("x").replace("{ .on_request = on_request }", "{ .path = \"/a*\", .on_request = on_request }"),
     "route 0 of it (any /a*): a star stands only at the end"),
    ("dies", "#include <stdlib.h>\n__attribute__((constructor)) static void f(void) { abort(); }\n" + says("x"),
     "is killed by signal 6 when it is loaded and checked"),
)  # fmt: skip


def test_files_that_are_no_modules():
    """Each with its line; a reload is refused and the old one goes on."""
    with folder() as where, served("hello") as s:
        good = s.text
        for name, text, why in NOT:
            path = build(where, name, text) if text else os.path.join(where, "text.so")
            if not text:
                with open(path, "w") as f:
                    f.write("no module\n")
            with open(s.conf_path, "w") as f:
                f.write(good.replace(module("hello"), path))
            number = next(i for i, line in enumerate(open(s.conf_path), 1) if path in line)
            done = s.cli("check")
            assert done.returncode == 1 and "%s:%d: error: module: '%s' " % (s.conf_path, number, path) in done.stderr
            assert why in done.stderr, (name, done.stderr)
        done = s.cli("reload")
        assert done.returncode == 1 and "is killed by signal 6" in done.stdout + done.stderr, done
        with open(s.conf_path, "w") as f:
            f.write(good.replace(module("hello"), module("wrong") + '"\nmodule_args = "fail'))
        done = s.cli("reload")
        assert done.returncode == 1, done
        assert "its init returned -1 (Operation not permitted)" in s.stderr()
        assert get(s.address(), "/").body == b"hello, world\n" and s.status()["generation"] == 1
        s.assert_no_worker_died()


def test_a_reload_takes_the_new_file():
    with folder() as where, served("later", "/later/", workers=2) as s:
        path = build(where, "says", says("old"))
        text = s.text.replace('respond = "apart"', 'module = "%s"' % path)
        with open(s.conf_path, "w") as f:
            f.write(text)
        assert s.cli("reload").returncode == 0
        assert get(s.address()).body == b"old"
        with Client(s) as waits, Client(s) as streams:
            waits.send(b"GET /later/after/1500 HTTP/1.1\r\nHost: t\r\n\r\n")
            streams.send(b"GET /later/stream HTTP/1.1\r\nHost: t\r\n\r\n")
            wait_for(lambda: counts(s)["in_flight"] == 2, "both are under way")
            # Written over in place, and not by a new file: those that serve have their copy.
            subprocess.run(["cp", build(where, "next", says("new")), path], check=True)
            assert get(s.address()).body == b"old"
            before = counts(s, 1)["requests"]
            assert s.cli("reload").returncode == 0
            assert get(s.address()).body == b"new"
            assert waits.read_response().body == b"now\n"
            assert streams.read_response().body.endswith(b"line\nbye\n"), "told that its worker ends"
            assert counts(s, 1)["requests"] == before + 1, "counters go on"
        os.unlink(path)
        assert get(s.address()).body == b"new"
        done = s.cli("reload")
        assert done.returncode == 1 and "cannot be loaded: No such file" in done.stderr, done
        # The next worker of this generation does not need it either.
        pids = [w["pid"] for w in s.workers()]
        for pid in pids:
            os.kill(pid, 9)
        wait_for(lambda: all(w["state"] == "running" and w["pid"] not in pids for w in s.workers()), "both are new")
        assert get(s.address()).body == b"new"
        # Of both generations before; those that were killed had no time for it.
        wait_for(lambda: s.stderr().count("module later: has ended") == 4, "old workers have called exit")


def test_an_upgrade_takes_it_along():
    with served("hello", kind=Upgraded) as s:
        assert get(s.address()).status == 200
        upgrade(s)
        assert get(s.address()).body == b"hello, world\n"


# --- the sandbox ---


def maps(pid):
    with open("/proc/%d/maps" % pid) as f:
        return f.read()


def test_the_master_runs_none_of_it():
    with served("hello") as s:
        assert "sluice-module" in maps(s.workers()[0]["pid"])
        assert "sluice-module" not in maps(s.status()["pid"])


def test_it_reads_what_it_may():
    with folder() as where:
        for name in ("may", "may-not"):
            os.mkdir(os.path.join(where, name))
            with open(os.path.join(where, name, "file"), "w") as f:
                f.write("content of " + name)
        may, may_not = (os.path.join(where, x, "file") for x in ("may", "may-not"))
        need_strict()
        with served("wrong", keys={"module_read": [os.path.dirname(may)]}, extra='sandbox = "strict"\n') as s:
            need_sandbox(s.status())
            assert get(s.address(), "/read?" + may).body == b"content of may"
            assert get(s.address(), "/send?" + may).body == b"content of may"
            if not IS_SANITIZED:  # which are let read anything
                r = get(s.address(), "/read?" + may_not)
                assert (r.status, r.body) == (403, b"Permission denied"), r
            assert get(s.address(), "/read?/etc/shadow").status == 403
            s.assert_no_worker_died()


# --- the header ---

CPP = """
#include <sluice/handler.h>
namespace {
void on_request(sluice_request *r) { sluice_reply(r, 200, "text/plain", "c++", 3); }
int init(sluice_instance *in) { return in->worker == 0 && sluice_has(in->api, log) ? 0 : -1; }
const sluice_route routes[] = { { "GET", "/", on_request, nullptr, nullptr, nullptr, nullptr } };
}
const struct sluice_module sluice_module = { SLUICE_HEAD, "cpp", SLUICE_ROUTES(routes), nullptr, init, nullptr, nullptr };
"""


def test_it_is_for_c_and_for_cpp():
    clang = shutil.which("clang")
    if not clang:
        raise Skip("needs clang")
    flags = ["-Wall", "-Wextra", "-Werror", "-I", os.path.join(TOP, "include")]
    with folder() as where:
        for standard in ("c99", "c11"):
            source = os.path.join(where, "a.c")
            with open(source, "w") as f:
                f.write("#include <sluice/handler.h>\nint x;\n")
            subprocess.run([clang, "-std=" + standard, "-pedantic", "-fsyntax-only", *flags, source], check=True)
        source, path = os.path.join(where, "a.cc"), os.path.join(where, "a.so")
        with open(source, "w") as f:
            f.write(CPP)
        for standard in ("c++11", "c++20"):
            subprocess.run([clang, "-std=" + standard, "-fsyntax-only", "-pedantic", *flags, source], check=True)
        subprocess.run([clang, "-shared", "-fPIC", "-nostdlib++", *flags, "-o", path, source], check=True)
        with Server(routes={"/": {"module": path}}, workers=1) as s:
            assert get(s.address()).body == b"c++"


if __name__ == "__main__":
    main(__name__)
