# SPDX-License-Identifier: MIT
"""`sluice load` against a real server, and against one that misbehaves.  Counts are compared, never speed."""
import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
import xml.dom.minidom

from harness import SLUICE, Server, main, wait_for


def load(url, *words, status=0):
    done = subprocess.run(
        [SLUICE, "load", url, "--json", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=60,
    )
    assert done.returncode == status, "%s: %d\n%s%s" % (words, done.returncode, done.stdout, done.stderr)
    return json.loads(done.stdout) if done.stdout else done.stderr


def url_of(address, path="/hello"):
    return "http://%s:%d%s" % (address[0], address[1], path)


def faults(result):
    return {name: count for name, count in result["errors"].items() if count}


@contextlib.contextmanager
def peer(answer):
    """A server of one thread for each connection: answer(socket) does as it likes; yields (address, sources)."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    sources = []

    def serve(sock):
        with contextlib.suppress(OSError), sock:
            answer(sock)

    def accept():
        with contextlib.suppress(OSError):
            while True:
                sock, source = listener.accept()
                sources.append(source[0])
                threading.Thread(target=serve, args=(sock,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname(), sources
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def read_head(sock):
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(65536)
        if not piece:
            raise OSError("end")
        data += piece
    return data


def always(response, closes=False):
    def answer(sock):
        while True:
            read_head(sock)
            sock.sendall(response)
            if closes:
                return

    return answer


# --- it counts what happened ---


def check_mode(server, connects, *words):
    before = sum(w["requests"] for w in server.workers())
    got = load(url_of(server.address()), "connections=20", "duration=300ms", *words)
    assert not faults(got) and got["statuses"]["2xx"] == got["answered"] == got["latency_ms"]["count"], got
    served = sum(w["requests"] for w in server.workers()) - before
    # What was asked before the end is answered behind it, and counts too.
    assert got["answered"] == served, (got, served)
    assert connects(got), got
    server.wait_live(0)
    return got


def test_keepalive():
    with Server() as server:
        check_mode(server, lambda g: g["connects"] == 20)
        check_mode(server, lambda g: g["connects"] == 20, "pipeline=16")
        check_mode(server, lambda g: g["connects"] == 20, "processes=1")


def test_close():
    with Server() as server:
        check_mode(server, lambda g: g["connects"] == g["answered"] >= 20, "mode=close")


def test_burst():
    with Server() as server:
        got = check_mode(server, lambda g: g["connects"] == 20, "mode=burst")
        assert got["answered"] == 20, got


def test_hold():
    """Each connection asks once and stays: what the server ends meanwhile is lost."""
    with Server() as server:
        got = check_mode(server, lambda g: g["connects"] == 20, "mode=hold")
        assert got["answered"] == 20, got
    with Server(timeouts={"keepalive": "100ms"}) as server:
        got = load(url_of(server.address()), "mode=hold", "connections=20", "duration=600ms")
        assert faults(got) == {"lost": 20}, got


def test_rate():
    """Due is due: as many as the rate says, answered or not."""
    with Server() as server:
        got = check_mode(server, lambda g: g["connects"] <= 20, "rate=1000", "arrivals=even")
        assert 299 <= got["answered"] <= 301, got
        got = check_mode(server, lambda g: g["connects"] == g["answered"], "rate=400", "mode=close")
        assert 60 <= got["answered"] <= 190, got  # 120, six standard deviations


def test_warmup_does_not_count():
    with Server() as server:
        got = load(url_of(server.address()), "rate=1000", "arrivals=even", "duration=200ms", "warmup=300ms")
        assert 199 <= got["answered"] <= 201 and not faults(got), got
        assert sum(w["requests"] for w in server.workers()) >= 498


def test_a_stalled_server_is_not_left_out():
    """Coordinated omission: what falls due while nobody answers has waited, though it was not sent."""
    with Server(workers=1, steering={"stall": "off"}) as server:
        pid = server.workers()[0]["pid"]
        stall = threading.Timer(0.2, os.kill, (pid, signal.SIGSTOP))
        go_on = threading.Timer(0.7, os.kill, (pid, signal.SIGCONT))
        stall.start(), go_on.start()
        got = load(
            url_of(server.address()), "rate=500", "arrivals=even", "connections=4", "duration=1s", "processes=1"
        )
        go_on.join()
        assert not faults(got) and 499 <= got["answered"] <= 501, got
        # A half of all have waited, on average a quarter of a second.
        assert got["latency_ms"]["max"] > 300 and got["latency_ms"]["p90"] > 100, got["latency_ms"]
        assert got["late_ms"]["max"] > 200, got["late_ms"]


def test_mix():
    with Server() as server:
        path = os.path.join(server.dir, "mix")
        with open(path, "w") as f:
            f.write("# weights\n3 GET /hello\n1 HEAD /hello  # no content\n\n1 POST /hello 1k\n")
        got = load(url_of(server.address()), "mix=" + path, "rate=2000", "duration=500ms")
        counts = {k["request"]: k["answered"] for k in got["kinds"]}
        assert set(counts) == {"GET /hello", "HEAD /hello", "POST /hello"}, counts
        assert sum(counts.values()) == got["answered"] and not faults(got), got
        assert 0.5 < counts["GET /hello"] / got["answered"] < 0.7, counts


def test_sources():
    with peer(always(b"HTTP/1.1 204 No Content\r\n\r\n")) as (address, sources):
        got = load(url_of(address), "sources=10", "connections=20", "duration=100ms")
        assert not faults(got) and set(sources) == {"127.0.0.%d" % i for i in range(1, 11)}, (got, sources)
    assert "127.0.0.0/8" in load("http://[::1]:9/", "sources=2", status=2)


# --- answers of every kind ---


def test_framings():
    for response, closes in (
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", False),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello", True),
        (b"HTTP/1.0 200 OK\r\n\r\nto the end", True),
    ):
        with peer(always(response, closes)) as (address, _):
            got = load(url_of(address), "connections=4", "duration=100ms")
            assert not faults(got) and got["answered"] >= 4, (response, got)
            assert (got["connects"] > 4) == closes or got["answered"] == 4, (response, got)


def test_faults():
    for answer, name in (
        (always(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe", True), "closed"),
        (lambda sock: read_head(sock), "closed"),
        (always(b"HTTP/1.1 200 OK\nContent-Length: 0\n\n"), "bad_answer"),
        (always(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"), "bad_answer"),
        (lambda sock: sock.recv(1) and time.sleep(5), "timeout"),
        # Whether the request had come by then makes the difference between an end and a reset.
        (lambda sock: sock.close(), "closed reset"),
    ):
        with peer(answer) as (address, _):
            got = load(url_of(address), "connections=2", "duration=300ms", "timeout=100ms", status=1)
            assert got["answered"] == 0 and set(name.split()) & set(faults(got)), (name, got)
            assert set(faults(got)) <= {*name.split(), "reset", "timeout"}, (name, got)


def test_nobody_there():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        for words in ((), ("rate=1000",), ("mode=burst",)):
            got = load(url_of(s.getsockname()), "duration=200ms", *words, status=1)
            assert got["answered"] == 0 and set(faults(got)) == {"connect"}, got
            # Refused at once is no reason to ask as often as one can.
            assert got["errors"]["connect"] < 20000, got


def test_unsent():
    """More falls due than the connections there are can carry."""
    with peer(lambda sock: [read_head(sock), time.sleep(0.3)]) as (address, _):
        words = ["connections=2", "processes=1", "rate=100", "arrivals=even", "duration=200ms", "timeout=500ms"]
        got = load(url_of(address), *words, status=1)
        assert got["errors"]["unsent"] >= 10 and got["answered"] == 0, got
        assert sum(faults(got).values()) == 20, got


def test_interrupted():
    """SIGINT ends it early, and what there is is reported."""
    with Server() as server:
        words = [SLUICE, "load", url_of(server.address()), "duration=60s", "--json"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, universal_newlines=True) as proc:
            wait_for(lambda: sum(w["requests"] for w in server.workers()) > 100, "requests")
            proc.send_signal(signal.SIGINT)
            out = proc.communicate(timeout=20)[0]
        got = json.loads(out)
        assert got["answered"] > 100 and not faults(got) and proc.returncode == 0, got
        assert got["seconds"] < 50, "the time is that of the load"


# --- what it is told ---


def test_chart():
    with Server() as server:
        path = os.path.join(server.dir, "chart.svg")
        load(url_of(server.address()), "duration=100ms", "--plot", path)
        assert xml.dom.minidom.parse(path).documentElement.tagName == "svg"


def test_usage():
    for words, expected in (
        (["http://127.0.0.1:1/", "conections=4"], "did you mean 'connections'"),
        (["http://127.0.0.1:1/", "connections=0"], "connections=0"),
        (["http://127.0.0.1:1/", "rate=x"], "rate=x"),
        (["http://127.0.0.1:1/", "duration"], "is not KEY=VALUE"),
        (["http://127.0.0.1:1/", "pipeline=4", "rate=10"], "pipeline"),
        (["http://127.0.0.1:1/", "mode=burst", "rate=10"], "burst"),
        (["http://127.0.0.1:1/", "mix=/nonexistent"], "cannot read '/nonexistent'"),
        (["http://127.0.0.1:1/", "header=none"], "header=none"),
        (["https://127.0.0.1:1/"], "is no http:// URL"),
        (["http:///x"], "has no host"),
        (["http://127.0.0.1:1/a b"], "a blank"),
    ):
        said = load(words[0], *words[1:], status=2)
        assert expected in said and "sluice help load" in said, (words, said)


if __name__ == "__main__":
    main(__name__)
