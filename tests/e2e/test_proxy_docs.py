# SPDX-License-Identifier: MIT
"""docs/proxy.md is true: its configurations are some, its commands do what the text says, its words are those that
appear, and each of its tables of behaviour is tried row by row.
"""
import contextlib
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading

from backend import DATE, Backend, Ignorer, Refuser, raw
from harness import PATIENCE, SLUICE, TOP, Client, get, main, need_tool, request, text_of, wait_for
from peers import free_port
from proxy import ask, log, proxy, upstream, upstreams

OK = "HTTP/1.1 200 OK\r\n" + DATE
MIB = 1 << 20


DOC = text_of("docs", "proxy.md")


def section(heading):
    return DOC.split("\n## %s\n" % heading)[1].split("\n## ")[0]


def blocks(text):
    return re.findall(r"^```sluice\n(.*?)^```", text, re.M | re.S)


def commands(heading):
    return [line.strip() for line in section(heading).splitlines() if line.startswith("    ")]


def table(heading, first):
    """Rows of the table whose first heading is that, cells without their backquotes."""
    text = section(heading).split("\n| %s |" % first)[1].split("\n\n")[0]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines()[2:]]
    return [[cell.strip().replace("`", "") for cell in row] for row in rows]


# --- configurations and commands ---


def test_configurations():
    folder = tempfile.mkdtemp(prefix="sluice-docs-")
    path = os.path.join(folder, "x.conf")
    try:
        found = blocks(DOC)
        assert len(found) >= 6, len(found)
        for block in found:
            if "listen " not in block:
                block += 'listen ":0" { }\n'
            if "site " not in block:
                block += 'site "*" { route "/" { respond = "x" } }\n'
            with open(path, "w") as f:
                f.write(block)
            run = subprocess.run([SLUICE, "check", "-c", path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                 universal_newlines=True)
            assert run.returncode == 0 and ": correct" in run.stdout, block + run.stdout
    finally:
        shutil.rmtree(folder)


class Terminals:
    """The reader's: commands of the document run in a folder of their own, with free ports in place of those written."""

    def __init__(self, stack):
        need_tool("curl")
        self.dir = tempfile.mkdtemp(prefix="sluice-docs-")
        stack.callback(shutil.rmtree, self.dir)
        stack.callback(self.close)
        self.control = os.path.join(self.dir, "control.sock")
        self.ports = {port: str(free_port()) for port in ("3000", "3001", "8080")}
        self.running = []

    def port(self, written):
        return int(self.ports[written])

    def adapt(self, text):
        return re.sub(r"\b(3000|3001|8080)\b", lambda m: self.ports[m.group()], text)

    def write(self, name, text):
        with open(os.path.join(self.dir, name), "w") as f:
            f.write('control = "%s"  pin = off\n' % self.control + self.adapt(text))

    def words(self, line):
        words = self.adapt(line).split()
        if words[0] == "sluice":
            words[0] = SLUICE
            if words[1] == "proxy":
                words += ["-l", "127.0.0.1:" + self.ports["8080"]]
            if words[1] != "check" and "-c" not in words:
                words += ["--control", self.control]
        return words

    def start(self, line, port):
        """A command that goes on, until its port answers."""
        out = open(os.path.join(self.dir, "output%d" % len(self.running)), "wb")
        with out:
            proc = subprocess.Popen(self.words(line), cwd=self.dir, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
        self.running.append(proc)

        def is_up():
            assert proc.poll() is None, "%s left with %s" % (line, proc.returncode)
            with contextlib.suppress(OSError):
                return get(("127.0.0.1", self.port(port)), "/")
            return None

        wait_for(is_up, line)
        return proc

    def run(self, line):
        done = subprocess.run(self.words(line), cwd=self.dir, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              universal_newlines=True, timeout=60)
        assert done.returncode == 0, "%s\n%s" % (line, done.stderr)
        return done.stdout

    def close(self):
        for proc in self.running:
            if proc.poll() is None:
                proc.send_signal(signal.SIGTERM)
            proc.wait(PATIENCE + 5)


class Asking(threading.Thread):
    """One request after the other."""

    def __init__(self, port):
        super().__init__()
        self.port, self.is_over, self.statuses = port, threading.Event(), []

    def run(self):
        while not self.is_over.is_set():
            self.statuses.append(get(("127.0.0.1", self.port), "/").status)

    def stop(self):
        self.is_over.set()
        self.join()
        return self.statuses


def test_five_minutes():
    lines = commands("In five minutes")
    assert len(lines) == 13, lines
    with contextlib.ExitStack() as stack:
        t = Terminals(stack)
        t.start(lines[0], "3000")
        server = t.start(lines[1], "8080")
        assert t.run(lines[2]).startswith("HTTP/1.1 200 OK"), lines[2]
        assert "upstream app: 1 unchecked" in t.run(lines[3])
        assert t.adapt("127.0.0.1:3000") in t.run(lines[4])
        t.run(lines[5])
        assert server.wait(PATIENCE) == 0
        t.write("app.conf", blocks(section("In five minutes"))[0])
        t.start(lines[6], "3001")
        assert "correct" in t.run(lines[7])
        server = t.start(lines[8], "8080")
        wait_for(lambda: t.run(lines[9]).count(" up ") == 2, "both are found well")
        asking = Asking(t.port("8080"))
        asking.start()
        try:
            assert " drained " in t.run(lines[10])
            wait_for(lambda: drained_is_idle(t, lines[9]), "nothing is under way there")
            count = len(asking.statuses)
            wait_for(lambda: len(asking.statuses) > count + 20, "requests go on")
            assert " drained " not in t.run(lines[11])
        finally:
            statuses = asking.stop()
        assert set(statuses) == {200}, "some were lost"
        t.run(lines[12])
        assert server.wait(PATIENCE) == 0


def drained_is_idle(t, line):
    answer = json.loads(t.run(line + " --json"))
    rows = {s["server"]: s for s in answer["upstreams"][0]["servers"]}
    return rows[t.adapt("127.0.0.1:3001")]["active"] == 0


# --- words ---


def test_words_of_balance_and_state():
    schema = text_of("user", "config", "config_schema.c").split("balances[] = {")[1].split("};")[0]
    assert {row[0] for row in table("Upstreams and balance", "`balance`")} == set(re.findall(r'"(\w+)"', schema))
    report = text_of("user", "proc", "upstream_report.c").split("state_name(")[1].split("\n}")[0]
    assert {row[0] for row in table("Health", "state")} == set(re.findall(r'"(\w+)"', report))


def test_columns_of_sluice_upstream():
    """Each stands in the output, and each word of the paragraph about --json in that."""
    rows = table("`sluice upstream`", "column")
    named = [name for row in rows for name in row[0].split(", ")]
    paragraph = section("`sluice upstream`").split("`--json` has more")[1].split("\n\n")[0]
    more = re.findall(r"`(\w+)`", paragraph)
    assert len(named) == 11 and len(more) == 11, (named, more)
    with Backend() as b, proxy([b]) as s:
        heading = s.cli("upstream").stdout.splitlines()[1].split()
        assert set(heading) == set(named), heading
        entry = upstreams(s)["b"]
        keys = set(entry) | set(entry["servers"][0])
        assert not set(named + more) - keys, set(named + more) - keys


def test_migration_names_keys_that_there_are():
    known = set(re.findall(r"^\| `(\w+)` \|", text_of("docs", "configuration.md"), re.M))
    for heading, first in (("Coming from nginx", "nginx"), ("Coming from HAProxy", "HAProxy")):
        rows = table(heading, first)
        assert len(rows) > 20
        for row in rows:
            for key in re.findall(r"\b([a-z_]+) = ", row[1]):
                assert key in known, row


# --- reasons ---


def reason_table():
    return {row[0]: row[1] for row in table("Logs", "reason")}


def test_every_reason_of_the_proxy_is_explained():
    words = set()
    for path in glob.glob(os.path.join(TOP, "user/app/proxy*.c")) + [os.path.join(TOP, "user/app/upstream_lease.c")]:
        words |= set(re.findall(r'"([a-z]+(?:_[a-z]+)+)"', text_of(path)))
        words |= set(re.findall(r'why = "(.*?)"', text_of(path)))
    words |= set(re.findall(r'"(tunnel\w*)"', text_of("include", "stats_shm.h")))
    assert len(words) > 16, words
    assert not words - set(reason_table()), words - set(reason_table())


def talk(s, target, method="GET", more="", content="", wait=True):
    """One request; the answer's status, or "cut" when it was visibly not whole."""
    with Client(s) as c:
        c.send("%s %s HTTP/1.1\r\nHost: test\r\n%s\r\n%s" % (method, target, more, content))
        if not wait:
            return None
        try:
            r = c.read_response()
        except AssertionError:
            return "cut"
        return "cut" if r is None else r.status


def upgraded(s, target):
    """A tunnel; what came behind the 101 has been read."""
    c = Client(s)
    c.send(request(target, fields=[("Connection", "Upgrade"), ("Upgrade", "x")]))
    assert c.read_response().status == 101
    assert c.take(6) == b"hello "
    return c


def test_reasons():
    """Each word of the table is brought about, and comes with its status."""
    scripts = {
        "/mid": raw(OK + "Content-Length: 10\r\n\r\nhello", 100),
        "/mid-reset": raw(OK + "Content-Length: 10\r\n\r\nhello", 100, then="reset"),
        "/mid-hold": raw(OK + "Content-Length: 10\r\n\r\nhello", then="hold"),
        "/garbage": raw("garbage\r\n\r\n"),
        "/mid-garbage": raw(OK + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", 100, "zzz\r\n"),
        "/unasked": raw("HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"),
    }
    seen = {}
    with contextlib.ExitStack() as stack:
        b, one = stack.enter_context(Backend(scripts=scripts)), stack.enter_context(Backend())
        two = stack.enter_context(Backend())
        refuser, ignorer = stack.enter_context(Refuser()), stack.enter_context(Ignorer())
        limited = {"max_connections": 1}
        extra = (
            upstream("refuse", [refuser.server], fails=0)
            + upstream("ignore", [ignorer.server], fails=0)
            + upstream("drained", [("127.0.0.1:1", {"drain": True})])
            + upstream("full", [(one.server, limited)])
            + upstream("queue", [(two.server, limited)], queue=5, queue_time="100ms")
        )
        short = {"first_byte_timeout": "150ms", "between_timeout": "150ms", "tunnel_timeout": "150ms", "rewrite": "/"}
        routes = {"/short/": short, "/total/": {"total_timeout": "150ms", "rewrite": "/"}, "/small/": {"body": 10},
                  "/big/": {"body": "1g", "between_timeout": "150ms", "rewrite": "/"}}
        for name in ("refuse", "ignore", "drained", "full", "queue"):
            routes["/%s/" % name] = {"proxy": name, "rewrite": "/", "connect_timeout": "150ms", "tries": 1}
        s = stack.enter_context(proxy([b], routes=routes, extra=extra, upstream_keys={"fails": 0}, workers=1,
                                      timeouts={"body": "200ms", "write": "200ms"}))

        def expect(reason, target, status, **more):
            got = talk(s, target, **more)
            wait_for(lambda: [e for e in log(s) if e["target"] == target], "a line of " + target)
            line = [e for e in log(s) if e["target"] == target][0]
            assert line["reason"] == reason, line
            assert got in (status, None), (target, got)
            seen.setdefault(reason, set()).add("cut" if status == "cut" else str(line["status"]))

        expect("done", "/x", 200)
        expect("no_server", "/drained/x", 503)
        expect("loop", "/x?round", 508, more="Via: " + ", ".join(["1.1 sluice"] * 10) + "\r\n")
        expect("connect_refused", "/refuse/x", 502)
        expect("connect_timeout", "/ignore/x", 504)
        expect("first_byte_timeout", "/short/never", 504)
        expect("between_timeout", "/short/mid-hold", "cut")
        expect("total_timeout", "/total/never", 504)
        expect("total_timeout", "/total/mid-hold", "cut")
        expect("upstream_closed", "/close", 502, method="POST")
        expect("upstream_closed", "/mid", "cut")
        expect("upstream_reset", "/reset", 502, method="POST")
        expect("upstream_reset", "/mid-reset", "cut")
        expect("bad_response", "/garbage", 502)
        expect("bad_response", "/mid-garbage", "cut")
        expect("bad_response", "/unasked", 502)
        expect("content too long", "/small/x", 413, method="POST", more="Content-Length: 11\r\n", content="x" * 11)
        expect("body timeout", "/x?slow", 408, method="POST", more="Content-Length: 11\r\n")
        expect("body cut short", "/x?left", None, method="POST", more="Content-Length: 11\r\n", wait=False)
        for name, reason, status in (("full", "queue_full", 503), ("queue", "queue_timeout", 504)):
            with Client(s) as c:
                c.send(request("/%s/slow?ms=400" % name))
                wait_for(lambda: (one if name == "full" else two).heads, "the server is busy")
                expect(reason, "/%s/x" % name, status)
                assert c.read_response().status == 200
        expect("client_abort", "/never", None, wait=False)
        with Client(s) as c:
            c.send(request("/down?size=%d&left" % (50 * MIB)))
            c.take(1000)
            c.reset()
        wait_for(lambda: [e for e in log(s) if "left" in e["target"] and e["reason"] == "client_abort"], "its line")
        seen["client_abort"].add("cut")
        with Client(s, rcvbuf=4096) as c:
            c.send(request("/down?size=%d" % (50 * MIB)))
            wait_for(lambda: [e for e in log(s) if e["reason"] == "write_timeout"], "the client does not read")
            seen["write_timeout"] = {"cut"}
        with Client(s) as c:
            c.send("POST /big/stuck HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % (100 * MIB))
            c.sock.setblocking(False)

            def push():
                with contextlib.suppress(OSError):
                    c.sock.send(b"x" * MIB)
                return [e for e in log(s) if e["target"] == "/big/stuck"]

            line = wait_for(push, "the server does not take it")[0]
            seen[line["reason"]] = {str(line["status"])}
        tunnels(s, seen)
        s.assert_no_worker_died()
    seen["drain"] = drained()
    rare = {"head_too_large", "no_memory"}  # unit tests see to them
    wanted = {word: statuses_of(text) for word, text in reason_table().items() if word not in rare}
    assert seen == wanted, {w: (seen.get(w), wanted.get(w)) for w in set(seen) | set(wanted)
                            if seen.get(w) != wanted.get(w)}


def statuses_of(cell):
    return {"the server's": {"200"}}.get(cell) or set(re.findall(r"\d+|cut", cell))


def tunnels(s, seen):
    def note(target, reason):
        wait_for(lambda: [e for e in log(s) if e["target"] == target], "a line of " + target)
        line = [e for e in log(s) if e["target"] == target][0]
        assert line["reason"] == reason, line
        seen[reason] = {str(line["status"])}

    with upgraded(s, "/upgrade?a") as c:
        c.half_close()
        assert c.read_all() == b" bye"
    note("/upgrade?a", "tunnel")
    with upgraded(s, "/short/upgrade") as c:
        c.read_all()
    note("/short/upgrade", "tunnel_idle")
    upgraded(s, "/upgrade?b").reset()
    note("/upgrade?b", "tunnel_failed")


def drained():
    with Backend(scripts={"/mid-hold": raw(OK + "Content-Length: 10\r\n\r\nhello", then="hold")}) as b:
        with proxy([b], timeouts={"drain": "100ms"}) as s:
            with Client(s) as c:
                c.send(request("/mid-hold"))
                assert c.take(12) == b"HTTP/1.1 200"
                s.proc.send_signal(signal.SIGTERM)
                s.proc.wait(PATIENCE)
            lines = [e for e in log(s) if e["reason"] == "drain"]
            assert len(lines) == 1 and lines[0]["status"] == 200, log(s)
    return {"cut"}


# --- tables of behaviour ---


def test_rewrite():
    rows = table("Rewrite", "route")
    assert len(rows) >= 6
    with Backend() as b:
        for route, rewrite, target, wanted in rows:
            keys = {} if rewrite == "—" else {"rewrite": rewrite}
            with proxy([b], route=keys if route == "/" else None,
                       routes={} if route == "/" else {route: keys}, workers=1) as s:
                assert ask(s.address(), target)["target"] == wanted, (route, rewrite, target)


def test_refused_connections_are_tried_elsewhere_whatever_retry_says():
    with Refuser() as r, Backend() as b:
        keys = {"balance": "rr", "fails": 0}
        with proxy([r, b], {"retry": "off"}, routes={"/once/": {"tries": 1}}, upstream_keys=keys, workers=1) as s:
            assert {get(s.address(), "/x%d" % i).status for i in range(8)} == {200}
            assert {get(s.address(), "/once/%d" % i).status for i in range(8)} == {200, 502}


def test_budget_of_ten():
    """The first ten are free, with retry_percent = 0 there are no more."""
    with Refuser() as r, Backend() as b:
        keys = {"balance": "rr", "fails": 0, "retry_percent": 0}
        with proxy([r, b], upstream_keys=keys, workers=1) as s:
            statuses = [get(s.address(), "/x%d" % i).status for i in range(60)]
            wait_for(lambda: len(log(s)) == 60, "a line of each")
            tries = sum(e["tries"] - 1 for e in log(s))
            assert tries <= 10 and statuses.count(502) > 10, statuses
            assert upstreams(s)["b"]["servers"][0]["retries"] == 10


def test_fields():
    """Rows of the table that no other test is about."""
    with Backend() as b, proxy([b]) as s:
        sent = [("True-Client-IP", "6.6.6.6"), ("X-Real-IP", "6.6.6.6"), ("X-Forwarded-Port", "1"),
                ("X_Forwarded_For", "6.6.6.6"), ("Proxy-Authorization", "x"), ("HTTP2-Settings", "x"),
                ("traceparent", "nonsense"), ("tracestate", "a=b"), ("X-Request-Id", "a b")]
        d = ask(s.address(), "/x", fields=sent)
        assert d["all"]("True-Client-IP") == ["6.6.6.6"]
        for name in ("X-Real-IP", "X-Forwarded-Port", "X_Forwarded_For", "Proxy-Authorization", "HTTP2-Settings",
                     "traceparent", "tracestate"):
            assert not d["all"](name), (name, d["fields"])
        assert re.fullmatch("[0-9a-f]{32}", d["all"]("X-Request-Id")[0])
        wait_for(lambda: log(s), "a line")
        assert log(s)[0]["request_id"] == d["all"]("X-Request-Id")[0]
        assert re.fullmatch("for=127.0.0.1;host=test;proto=http", d["all"]("Forwarded")[0])


if __name__ == "__main__":
    main("__main__")
