# SPDX-License-Identifier: MIT
"""The access log: lines that parse, whatever a client sends; as many as requests; rotation by SIGUSR1."""
import datetime
import json
import os
import re
import signal
import threading

from harness import Client, Server, get, main, request, wait_for

COMBINED = re.compile(
    rb"(?P<peer>[0-9a-fA-F.:]+) - - \[(?P<time>\d\d/[A-Z][a-z][a-z]/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] "
    rb'"(?P<request>(?:[^"\\]|\\.)*)" (?P<status>\d{3}) (?P<bytes>\d+|-) '
    rb'"(?P<referer>(?:[^"\\]|\\.)*)" "(?P<agent>(?:[^"\\]|\\.)*)" (?P<reason>\S.*?) '
    rb"(?P<seconds>\d+\.\d{6}) (?P<slot>\d+)\Z"
)
EVIL = b"\x22 200 1 \x22-\x22 \\ \xc3\xa9\xff\t<script>"


def make_server(form, **more):
    s = Server(log={"access": "@DIR@/access.log", "format": form, "flush": "50ms"}, **more)
    os.chmod(s.dir, 0o755)
    return s


def lines(server, name="access.log"):
    try:
        with open(os.path.join(server.dir, name), "rb") as f:
            data = f.read()
    except FileNotFoundError:
        return []
    return data.split(b"\n")[:-1] if data else []


def wait_lines(server, count, name="access.log"):
    wait_for(
        lambda: len(lines(server, name)) >= count,
        lambda: "%d lines, got %d" % (count, len(lines(server, name))),
    )
    got = lines(server, name)
    assert len(got) == count, "%d lines instead of %d" % (len(got), count)
    return got


def send_some(address):
    """Returns how many answers (and lines) that makes."""
    fields = [("User-Agent", EVIL.decode("latin-1")), ("Referer", "http://x/\x22\\")]
    with Client(address) as c:
        assert c.request("/hello?a=%22b", fields=fields).status == 200
        assert c.request("/missing%0a%0dfake", fields=fields).status in (400, 404)
    with Client(address) as c:
        assert c.request("/a.txt", "HEAD").status == 200
        assert c.request("/a.txt").body == b"content"
    with Client(address) as c:
        c.send(b'GET /"evil\\ HTTP/1.1\r\nHost: test\r\n\r\n')
        c.read_response()
    with Client(address) as c:
        c.send(b'nonsense \x00\x1b[31m "\\\r\n\r\n')
        assert c.read_response().status == 400
    return 6


def test_combined_lines():
    with make_server("combined") as s:
        s.write("a.txt", "content")
        got = wait_lines(s, send_some(s.address()))
        for line in got:
            m = COMBINED.match(line)
            assert m, line
            assert all(32 <= b < 127 for b in line), "only printable ASCII: %r" % line
            datetime.datetime.strptime(m.group("time").decode(), "%d/%b/%Y:%H:%M:%S %z")
        by_request = {COMBINED.match(line).group("request"): COMBINED.match(line) for line in got}
        m = by_request[b"GET /a.txt HTTP/1.1"]
        assert (m.group("status"), m.group("bytes"), m.group("peer")) == (
            b"200",
            b"7",
            b"127.0.0.1",
        )
        assert by_request[b"HEAD /a.txt HTTP/1.1"].group("bytes") in (b"0", b"-")
        m = by_request[b"GET /hello?a=%22b HTTP/1.1"]
        assert (
            rb"\x22 200 1 \x22-\x22 \x5C \xC3\xA9\xFF\x09<script>".lower()
            == m.group("agent").lower()
        ), m.group("agent")


def test_json_lines():
    with make_server("json") as s:
        s.write("a.txt", "content")
        got = wait_lines(s, send_some(s.address()))
        objects = [json.loads(line.decode("utf-8")) for line in got]
        assert all(isinstance(o, dict) for o in objects)
        assert all(o["status"] in (200, 400, 404) for o in objects), objects
        assert {o["status"] for o in objects} == {200, 400} or {o["status"] for o in objects} == {
            200,
            400,
            404,
        }
        agents = [str(v) for o in objects for v in o.values() if "<script>" in str(v)]
        assert agents and all(a.startswith('" 200 1 "-" \\ ') and "\t" in a for a in agents), agents


def test_as_many_lines_as_requests():
    with make_server("combined") as s:
        s.write("a.txt", "content")
        address = s.address()

        def client(number):
            with Client(address) as c:
                c.send(request("/t%d" % number) * 250)
                for _ in range(250):
                    assert c.read_response().status == 404

        threads = [threading.Thread(target=client, args=(i,)) for i in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        got = wait_lines(s, 2000)
        assert s.total("requests") == 2000
        for i in range(8):
            assert sum(b"GET /t%d HTTP" % i in line for line in got) == 250
        assert all(COMBINED.match(line) for line in got)


def test_nothing_is_lost_at_the_stop():
    s = Server(log={"access": "@DIR@/access.log", "flush": "60s"}).start()
    try:
        for _ in range(10):
            get(s.address(), "/hello")
        s.proc.send_signal(signal.SIGTERM)
        s.proc.wait(20)
        assert len(lines(s)) == 10, lines(s)
    finally:
        s.abandon()


def test_reopened_on_sigusr1():
    with make_server("combined") as s:
        address = s.address()
        for _ in range(5):
            get(address, "/before")
        wait_lines(s, 5)
        path = os.path.join(s.dir, "access.log")
        os.rename(path, path + ".1")
        s.proc.send_signal(signal.SIGUSR1)
        wait_for(lambda: os.path.exists(path), "the log is made anew")

        def is_settled():
            get(address, "/probe")
            return any(b"/probe" in line for line in lines(s))

        wait_for(is_settled, "lines go to the new file")
        # Each worker hands over on its own: ask until both write to the new file, then none writes to the old one.
        wait_for(
            lambda: is_settled()
            and {COMBINED.match(x).group("slot") for x in lines(s)} == {b"0", b"1"},
            "both workers write to the new file",
        )
        old = len(lines(s, "access.log.1"))
        before = len(lines(s))
        for _ in range(20):
            get(address, "/after")
        wait_for(
            lambda: sum(b"/after" in x for x in lines(s)) == 20, "20 lines more in the new file"
        )
        assert len(lines(s, "access.log.1")) == old and len(lines(s)) >= before + 20
        assert len(lines(s)) + old == s.total("requests")
        s.assert_no_worker_died()


def test_log_on_standard_output():
    with Server(log={"access": "-", "flush": "50ms"}) as s:
        get(s.address(), "/hello")

        def has_line():
            with open(s.stdout_path, "rb") as f:
                return b"GET /hello HTTP/1.1" in f.read()

        wait_for(has_line, "a line on standard output")


if __name__ == "__main__":
    main(__name__)
