# SPDX-License-Identifier: MIT
"""Slow clients: in the head, in the body, in reading, and many that do nothing.  They are cut, each with its reason, and
others are served meanwhile; who is slow only because a server behind us is, is not cut.

Counts only: figures of time are those of `make bench-slow`.
"""
import os
import select
import signal
import threading
import time

from backend import Backend
from harness import Client, Server, get, main, raise_descriptor_limit, request, wait_for
from proxy import log, proxy
from test_limits import LOG, limited

RATES = {"header_rate": "200b", "body_rate": "200b", "write_rate": "2k", "rate_grace": "800ms"}
# Far away: it is the rates that cut here.
PATIENT = {"header": "1m", "body": "1m", "write": "1m", "keepalive": "1m", "linger": "200ms"}
SLOW = 60


class Dripper(threading.Thread):
    """Sends (or reads) one byte on each connection every 100 ms, until all have ended."""

    def __init__(self, clients, texts=None):
        super().__init__(daemon=True)
        self.clients, self.texts, self.is_over = clients, texts, threading.Event()
        self.answers = [b""] * len(clients)

    def run(self):
        left = dict(enumerate(self.clients))
        for step in range(600):
            for i, c in list(left.items()):
                if self.texts:
                    c.send(self.texts[step % len(self.texts) : step % len(self.texts) + 1])
                if self.texts and not select.select([c.sock], [], [], 0)[0]:
                    continue
                try:
                    piece = c.sock.recv(4096 if self.texts else 1)
                except OSError:
                    piece = b""
                self.answers[i] += piece
                if not piece:
                    del left[i]
            if not left or self.is_over.wait(0.1):
                return


def serve_others(server, count=200):
    """Requests of others, on new connections and on a kept one."""
    address = server.address()
    with Client(address, source="127.0.0.3") as kept:
        for _ in range(count // 2):
            assert kept.request("/hello").status == 200
            assert get(address, "/hello").status == 200


def run_slow(server, clients, texts, word):
    """Drips until all are cut; others are served as long as that takes."""
    dripper = Dripper(clients, texts)
    dripper.start()
    serve_others(server)
    wait_for(lambda: limited(server, word) == len(clients), lambda: "%s: %d" % (word, limited(server, word)))
    serve_others(server, 20)
    dripper.is_over.set()
    dripper.join()
    for c in clients:
        c.close()
    lines = lambda: len([e for e in log(server) if e["reason"] == word])
    wait_for(lambda: lines() >= len(clients), lambda: "%d lines with %s" % (lines(), word))
    assert lines() == len(clients), (lines(), word)
    server.assert_no_worker_died()
    return dripper.answers


def test_slow_heads_are_cut():
    with Server(limits=RATES, timeouts=PATIENT, log=LOG) as s:
        clients = [Client(s, source="127.0.0.2") for _ in range(SLOW)]
        for c in clients:
            c.send(b"GET /hello HTTP/1.1\r\nHost: test\r\nX: ")
        answers = run_slow(s, clients, b"y", "header_rate")
        assert all(a.startswith(b"HTTP/1.1 408 ") for a in answers), answers


def test_slow_bodies_are_cut():
    with Server(limits=RATES, timeouts=PATIENT, log=LOG) as s:
        clients = [Client(s, source="127.0.0.2") for _ in range(SLOW)]
        for i, c in enumerate(clients):
            framing = "Content-Length: 100000" if i % 2 else "Transfer-Encoding: chunked"
            c.send("POST /hello HTTP/1.1\r\nHost: test\r\n%s\r\n\r\n%s" % (framing, "" if i % 2 else "10000\r\n"))
        answers = run_slow(s, clients, b"y", "body_rate")
        assert all(a.startswith(b"HTTP/1.1 408 ") for a in answers), answers


def test_slow_readers_are_cut():
    with Server(limits=RATES, timeouts=PATIENT, log=LOG) as s:
        s.write("big.bin", b"x" * (16 << 20))
        clients = [Client(s, source="127.0.0.2", rcvbuf=4096) for _ in range(SLOW)]
        for c in clients:
            c.send(request("/big.bin"))
        run_slow(s, clients, None, "write_rate")
        assert all(e["status"] == 200 for e in log(s) if e["reason"] == "write_rate")


def test_what_is_not_read_does_not_fill_the_kernel():
    """A buffer of the kernel grows to megabytes for each client, and with hundreds of them others pay for it."""
    with Server(workers=1, timeouts=PATIENT) as s:
        s.write("big.bin", b"x" * (32 << 20))
        port = s.address()[1]
        with Client(s, rcvbuf=4096) as c:
            c.send(request("/big.bin"))
            c.take(100)
            # What waits to be sent is in the second half of the fifth column.
            wait_for(lambda: 0 < send_queue(port), "bytes that wait")
            most = 0
            for _ in range(20):
                most = max(most, send_queue(port))
                time.sleep(0.02)
            assert most <= 600 << 10, most


def test_who_reads_fast_and_then_not_at_all_holds_a_bounded_amount():
    """The limit is raised for those who read fast, eightfold, and for 64 of them at the most."""
    places, count, unraised, most = 64, 80, 600 << 10, 1600 << 10
    with Server(workers=1, timeouts=PATIENT) as s:
        s.write("big.bin", b"x" * (32 << 20))
        port = s.address()[1]
        clients = [Client(s, rcvbuf=65536) for _ in range(count)]
        for c in clients:
            c.send(request("/big.bin"))
            c.take(2 << 20)
        wait_for(lambda: len(send_queues(port)) == count and min(send_queues(port)) > 0, "bytes that wait, for all")
        for _ in range(20):
            queues = send_queues(port)
            assert max(queues) <= most, queues
            assert 1 <= len([q for q in queues if q > unraised]) <= places, queues
            time.sleep(0.02)
        for c in clients:
            c.close()
        s.assert_no_worker_died()


def send_queues(port):
    """What waits to be sent, or for its acknowledgement, on each connection to the port."""
    with open("/proc/net/tcp") as f:
        rows = [line.split() for line in f][1:]
    ours = [r for r in rows if r[1].endswith(":%04X" % port) and r[3] == "01"]
    # By the client's address: a table that changes while it is read may have a row twice.
    return list({r[2]: int(r[4].partition(":")[0], 16) for r in ours}.values())


def send_queue(port):
    return max(send_queues(port) or [0])


def test_pipelined_slow_reader():
    with Server(workers=1, limits=RATES, timeouts=PATIENT, log=LOG) as s:
        s.write("part.bin", b"x" * (1 << 20))
        clients = [Client(s, rcvbuf=4096)]
        clients[0].send(request("/part.bin") * 20)
        run_slow(s, clients, None, "write_rate")


def test_who_keeps_the_rate_is_served():
    with Server(limits=RATES, timeouts=PATIENT) as s:
        data = bytes(range(256)) * 4096
        s.write("big.bin", data)
        with Client(s, rcvbuf=16384) as c:
            # Ahead of 200 bytes per second, for longer than the grace.
            for piece in [b"GET /big.bin HTTP/1.1\r\nHost: test\r\n"] + [b"X: " + b"y" * 95 + b"\r\n"] * 12 + [b"\r\n"]:
                c.send(piece)
                time.sleep(0.15)
            r = c.read_response()
            assert r.status == 200 and r.body == data
        assert sum(s.status()["totals"]["limited"].values()) == 0


def test_a_slow_server_is_not_the_clients_fault():
    def read_later(c, r):
        c.backend.pause(2)
        c.read_body(r)
        return c.answer(r, "%d" % r.body_len)

    read_later.is_early = True
    with Backend() as b:
        b.on("/later", read_later)
        with proxy([b], limits=dict(RATES, body="64m"), timeouts=PATIENT) as s:
            body = b"z" * (8 << 20)
            answers = {}

            def ask(name, *words, **more):
                with Client(s) as c:
                    answers[name] = c.request(*words, **more)

            threads = [
                threading.Thread(target=ask, args=("later", "/later", "POST"), kwargs={"body": body}),
                threading.Thread(target=ask, args=("drip", "/drip?count=20&ms=100")),
            ]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            assert answers["later"].status == 200 and answers["later"].body == b"%d" % len(body), answers
            assert answers["drip"].status == 200 and len(answers["drip"].body) == 20
            assert sum(s.status()["totals"]["limited"].values()) == 0, s.status()["totals"]["limited"]


def test_a_stopped_worker_is_not_the_clients_fault():
    with Server(workers=1, limits=RATES, timeouts=PATIENT, steering={"stall": "off"}) as s:
        s.write("big.bin", b"x" * (4 << 20))
        with Client(s) as head, Client(s, rcvbuf=65536) as reader:
            head.send(b"GET /hello HTTP/1.1\r\n")
            reader.send(request("/big.bin"))
            reader.take(100)
            s.wait_live(2)
            pid = s.workers()[0]["pid"]
            os.kill(pid, signal.SIGSTOP)
            try:
                head.send(b"Host: test\r\n\r\n")
                got = threading.Thread(target=lambda: reader.take(1 << 20))
                got.start()
                time.sleep(1.5)  # the stall is the input
            finally:
                os.kill(pid, signal.SIGCONT)
            assert head.read_response().status == 200
            got.join()
            reader.take(2 << 20)


def test_many_that_do_nothing():
    count = 3000
    raise_descriptor_limit(count + 500)
    limits = {"client_connections": count // 4}
    with Server(limits=limits, timeouts=PATIENT) as s:
        address = s.address()
        idle = [Client(address, source="127.0.0.%d" % (10 + i % 4)) for i in range(count)]
        s.wait_live(count)
        serve_others(s, 100)
        # More of the same are refused, and hold nobody up.
        more = [Client(address, source="127.0.0.10") for _ in range(100)]
        answers = [c.read_all() for c in more]
        assert all(a.startswith(b"HTTP/1.1 429 ") for a in answers), set(answers)
        serve_others(s, 100)
        for c in more:
            c.close()
        s.wait_live(count)
        for c in idle[::100]:
            assert c.request("/hello").status == 200
        for c in idle:
            c.close()
        s.wait_live(0)
        s.assert_no_worker_died()


if __name__ == "__main__":
    main(__name__)
