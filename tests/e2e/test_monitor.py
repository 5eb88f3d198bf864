# SPDX-License-Identifier: MIT
"""The monitor process: names and health of upstream servers, once for the host.  A name server and back ends within."""
import http.server
import os
import signal
import socket
import struct
import threading

from harness import IS_ROOT, Server, is_alive, main, session_pids, wait_for


class NameServer:
    """Answers A questions from a table that may change; AAAA has no answers."""

    def __init__(self):
        self.table, self.questions = {}, 0
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while True:
            data, peer = self.sock.recvfrom(512)
            if not data:
                return
            self.questions += 1
            self.sock.sendto(self.answer(data), peer)

    def answer(self, q):
        labels, at = [], 12
        while q[at]:
            labels.append(q[at + 1 : at + 1 + q[at]].decode())
            at += 1 + q[at]
        kind = struct.unpack(">H", q[at + 1 : at + 3])[0]
        addresses = self.table.get(".".join(labels).lower())
        rows = [socket.inet_aton(a) for a in addresses or ()] if kind == 1 else []
        flags = 0x8180 if addresses is not None else 0x8183
        out = q[:2] + struct.pack(">HHHHH", flags, 1, len(rows), 0, 0) + q[12 : at + 5]
        for row in rows:
            out += b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 1, 4) + row
        return out

    def text(self):
        return "127.0.0.1:%d" % self.sock.getsockname()[1]

    def close(self):
        self.sock.sendto(b"", self.sock.getsockname())
        self.thread.join()
        self.sock.close()


class BackEnd:
    """A server whose status can be chosen; it remembers what it was asked."""

    def __init__(self, address=("127.0.0.1", 0)):
        self.status, self.requests = 200, []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.requests.append((self.path, dict(self.headers)))
                self.send_response(outer.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass

        self.http = http.server.ThreadingHTTPServer(address, Handler)
        self.http.daemon_threads = True
        self.address = self.http.server_address
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def text(self):
        return "%s:%d" % self.address

    def close(self):
        self.http.shutdown()
        self.http.server_close()


def upstream(*servers, check="", keys=""):
    lines = "".join("\tserver \"%s\" { %s }\n" % s for s in servers)
    return 'upstream "app" {\n%s%s%s}\n' % (keys, lines, "\tcheck { %s }\n" % check if check else "")


def resolvers(dns):
    return 'resolvers = { "%s" }\n' % dns.text()


def rows(server):
    answer = server.ask({"command": "upstream", "action": "show"})
    assert answer["ok"], answer
    return answer["upstreams"][0]["servers"]


def states(server):
    return [(r["address"], r["state"]) for r in rows(server)]


def monitor_pid(server):
    """The child of the master that is no worker; None while there is none."""
    workers = {w["pid"] for w in server.workers()}
    pids = [p for p in session_pids(server.proc.pid) if p != server.proc.pid and p not in workers]
    return pids[0] if len(pids) == 1 else None


QUICK = "interval = 50ms  timeout = 1s  rise = 2  fall = 2"


def test_no_monitor_where_there_is_nothing_to_do():
    with Server(extra=upstream(("127.0.0.1:9", ""))) as server:
        assert session_pids(server.proc.pid) and len(session_pids(server.proc.pid)) == 3
        assert states(server) == [("127.0.0.1:9", "unknown")]


def test_health_by_status():
    back = BackEnd()
    with Server(extra=upstream((back.text(), ""), check='path = "/up"  ' + QUICK)) as server:
        wait_for(lambda: states(server) == [(back.text(), "up")], lambda: states(server))
        path, headers = back.requests[0]
        assert path == "/up" and headers["Host"] == back.text(), back.requests[0]
        assert headers["User-Agent"] == "sluice-check" and headers["Connection"] == "close"
        back.status = 503
        wait_for(lambda: states(server) == [(back.text(), "down")], lambda: states(server))
        assert rows(server)[0]["check_error"] == "status 503"
        back.status = 204
        wait_for(lambda: states(server) == [(back.text(), "up")], lambda: states(server))
        assert rows(server)[0]["check_error"] == ""
        text = server.stderr()
        assert text.count("upstream app: server %s is down: status 503" % back.text()) == 1, text
        assert text.count("upstream app: server %s is up again" % back.text()) == 1, text
        status = server.status()["upstreams"]
        assert status[0]["name"] == "app" and status[0]["servers"][0]["state"] == "up", status
        assert "upstream app: 1 up;" in server.cli("status").stdout
    back.close()


def test_health_of_a_dead_server():
    back = BackEnd()
    with Server(extra=upstream((back.text(), ""), check="type = tcp  " + QUICK)) as server:
        wait_for(lambda: states(server) == [(back.text(), "up")], lambda: states(server))
        back.close()
        wait_for(lambda: states(server) == [(back.text(), "down")], lambda: states(server))
        assert rows(server)[0]["check_error"] == "connect refused"


def test_checks_come_once_for_the_host():
    back = BackEnd()
    with Server(workers=8, extra=upstream((back.text(), ""), check=QUICK)) as server:
        wait_for(lambda: len(back.requests) >= 8, "checks")
        asked = len(back.requests)  # before the other count: the next one may come in between
        checks = rows(server)[0]["checks"]
        assert checks >= asked - 1, (checks, asked)
    back.close()


def test_names_come_and_go():
    dns = NameServer()
    text = resolvers(dns) + upstream(("app.test:8080", "weight = 4"), keys="\tresolve = 1s\n")
    with Server(extra=text) as server:
        wait_for(lambda: "does not resolve: no such name" in server.stderr(), server.stderr)
        assert states(server) == [(None, "unresolved")]
        dns.table["app.test"] = ["192.0.2.1", "192.0.2.2"]
        both = [("192.0.2.1:8080", "unknown"), ("192.0.2.2:8080", "unknown")]
        wait_for(lambda: states(server) == both, lambda: states(server))
        assert [r["weight"] for r in rows(server)] == [4, 4]
        dns.table["app.test"] = ["192.0.2.2", "192.0.2.3"]
        changed = [("192.0.2.3:8080", "unknown"), ("192.0.2.2:8080", "unknown")]
        wait_for(lambda: states(server) == changed, lambda: states(server))
        # An outage of the name server changes nothing.
        asked = dns.questions
        dns.table.clear()
        wait_for(lambda: dns.questions >= asked + 4, "questions")
        assert states(server) == changed
    dns.close()


def test_a_silent_name_server_delays_nobody():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        back = BackEnd()
        text = 'resolvers = { "127.0.0.1:%d" }\n' % silent.getsockname()[1]
        text += upstream(("app.test:80", ""), (back.text(), ""), check=QUICK)
        with Server(extra=text) as server:
            wanted = [(None, "unresolved"), (back.text(), "up")]
            wait_for(lambda: states(server) == wanted, lambda: states(server), timeout=5)
            took = server.stop()
            assert took < 3, took
        back.close()


def test_drain_and_undrain():
    one, other = ("127.0.0.1:9", ""), ("127.0.0.2:9", "drain = true")
    with Server(extra=upstream(one, other)) as server:
        assert [s for _, s in states(server)] == ["unknown", "drained"]
        done = server.cli("upstream", "drain", "app", "127.0.0.1:9")
        assert done.returncode == 0, done
        assert [s for _, s in states(server)] == ["drained", "drained"]
        assert server.cli("upstream", "undrain", "app", "127.0.0.2:9").returncode == 0
        assert [s for _, s in states(server)] == ["drained", "unknown"]
        for words, expected in (
            (("drain", "ap", "127.0.0.1:9"), "did you mean app"),
            (("drain", "app", "127.0.0.1:99"), "has no server '127.0.0.1:99'"),
        ):
            done = server.cli("upstream", *words)
            assert done.returncode != 0 and expected in done.stderr, done
        for question in ({"action": "dance"}, {"action": "drain"}, {"action": "drain", "upstream": 7}):
            answer = server.ask(dict(question, command="upstream"))
            assert answer["ok"] is False and answer["error"], answer


def test_killed_monitor_is_replaced():
    back = BackEnd()
    with Server(extra=upstream((back.text(), ""), check=QUICK)) as server:
        wait_for(lambda: states(server) == [(back.text(), "up")], lambda: states(server))
        for _ in range(2):
            old = wait_for(lambda: monitor_pid(server), "the monitor")
            os.kill(old, signal.SIGKILL)
            wait_for(lambda: monitor_pid(server) not in (None, old), "another monitor")
            # What was known is still known.
            assert states(server) == [(back.text(), "up")]
        seen = len(back.requests)
        wait_for(lambda: len(back.requests) > seen, "checks of the new one")
        server.assert_no_worker_died()
        assert "monitor (pid %d) killed by signal 9" % old in server.stderr()
    back.close()


def test_monitor_is_confined():
    with Server(extra=upstream(("127.0.0.1:9", ""), check=QUICK)) as server:
        pid = wait_for(lambda: monitor_pid(server), "the monitor")
        wait_for(lambda: "is down" in server.stderr(), server.stderr)
        with open("/proc/%d/status" % pid) as f:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
        assert status["NoNewPrivs"] == "1"
        assert int(status["CapEff"], 16) == 0 or not IS_ROOT
        if IS_ROOT:
            assert "0" not in status["Uid"].split(), status["Uid"]
        listening = [f for f in os.listdir("/proc/%d/fd" % pid) if is_listening(pid, f)]
        assert not listening, listening


def is_listening(pid, fd):
    """Is that descriptor a listening TCP socket?"""
    try:
        name = os.readlink("/proc/%d/fd/%s" % (pid, fd))
    except FileNotFoundError:
        return False
    with open("/proc/%d/net/tcp" % pid) as f:
        inodes = {line.split()[9] for line in f.readlines()[1:] if line.split()[3] == "0A"}
    return name.startswith("socket:[") and name[8:-1] in inodes


def test_killed_master_takes_all_along():
    """Also after monitor and worker have been replaced, when each was forked while the other was there."""
    server = Server(extra=upstream(("127.0.0.1:9", ""), check=QUICK)).start()
    try:
        old = wait_for(lambda: monitor_pid(server), "the monitor")
        os.kill(old, signal.SIGKILL)
        wait_for(lambda: monitor_pid(server) not in (None, old), "another monitor")
        pid = server.workers()[0]["pid"]
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: server.workers()[0]["pid"] not in (0, pid), "another worker")
        wait_for(lambda: monitor_pid(server), "the monitor")
        pids = session_pids(server.proc.pid)
        assert len(pids) == 4, pids
        server.proc.kill()
        server.proc.wait()
        wait_for(lambda: not any(is_alive(p) for p in pids), lambda: "the end of %s" % pids)
    finally:
        server.abandon()


def test_stuck_monitor_does_not_keep_the_server():
    server = Server(extra=upstream(("127.0.0.1:9", ""), check=QUICK)).start()
    try:
        pid = wait_for(lambda: monitor_pid(server), "the monitor")
        os.kill(pid, signal.SIGSTOP)
        took = server.stop()
        # A second of patience, then it is killed.
        assert 0.9 < took < 4, took
    finally:
        server.abandon()


def test_named_server_needs_no_check():
    """A name from /etc/hosts; the monitor runs for it alone."""
    with Server(extra=upstream(("localhost:9", ""))) as server:
        wait_for(lambda: ("127.0.0.1:9", "unknown") in states(server), lambda: states(server))
        assert monitor_pid(server)


if __name__ == "__main__":
    main(__name__)
