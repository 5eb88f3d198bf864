# SPDX-License-Identifier: MIT
"""Channels: WebSockets, streams of events and POST on the same path, over several workers and across reloads."""
import contextlib
import json
import os
import shutil
import signal
import subprocess
import threading
import time

from harness import PATIENCE, SLUICE, Client, Server, Skip, get, main, need_root, request, wait_for
from test_reload import preload, reload
from test_websocket import LOG, stats, wait_reason
from websocket import BINARY, CLOSE, TEXT, Stream, WebSocket, close_frame, frame


def server(keys=None, workers=2, more=None, **options):
    channel = dict({"websocket": "channel:news", "publish": "any"}, **(keys or {}))
    options.setdefault("steering", {"stall": "off"})
    return Server(routes=dict({"/news": channel}, **(more or {})), workers=workers, log=LOG, **options)


def post(address, body, fields=(), path="/news"):
    with Client(address) as c:
        return c.request(path, "POST", fields, body)


def spread(s, count, path="/news"):
    """So many subscribers, and every worker has some of them."""
    subscribers = [WebSocket(s, path) for _ in range(count)]
    deadline = time.monotonic() + PATIENCE
    while True:
        wait_for(lambda: stats(s)["connections"] >= count, "all are there")
        if all(w["websocket"]["connections"] for w in s.workers()):
            return subscribers
        # A worker that got no CPU for a while is passed over, rightly.
        assert time.monotonic() < deadline, "one worker has none of %d" % count
        before = stats(s)["connections"]
        subscribers.pop(0).close()
        wait_for(lambda: stats(s)["connections"] < before, "it is gone")
        subscribers.append(WebSocket(s, path))


def close_all(subscribers):
    for w in subscribers:
        w.close()


# --- who gets what ---

# A worker stands still between its answer to a subscriber and whatever it does next.
SLOW_C = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

static void wait_after(const char *data, size_t len)
{
	if (memmem(data, len, "HTTP/1.1 101", 12) || memmem(data, len, "event-stream", 12))
		poll(NULL, 0, 100);
}

ssize_t send(int fd, const void *data, size_t len, int flags)
{
	ssize_t (*real)(int, const void *, size_t, int) = dlsym(RTLD_NEXT, "send");
	ssize_t n = real(fd, data, len, flags);

	wait_after(data, len);
	return n;
}

ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
	ssize_t (*real)(int, const struct msghdr *, int) = dlsym(RTLD_NEXT, "sendmsg");
	ssize_t n = real(fd, m, flags);

	for (size_t i = 0; i < m->msg_iovlen; i++)
		wait_after(m->msg_iov[i].iov_base, m->msg_iov[i].iov_len);
	return n;
}
"""


def test_nothing_is_missed_once_the_handshake_is_over():
    """Another worker publishes while the subscriber's has sent its answer and not come to anything else."""
    s = server()
    preload(s, SLOW_C)
    with s:
        for turn in range(4):
            with contextlib.closing((WebSocket if turn % 2 else Stream)(s, "/news")) as subscriber:
                assert post(s.address(), b"%d" % turn).status == 202
                assert subscriber.read() == (TEXT if turn % 2 else "message", b"%d" % turn)
            wait_for(lambda: stats(s)["connections"] == 0, "it is gone")


# One worker cannot watch anything more, for a while, once a subscriber has begun to speak to it.
REFUSED_C = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

static bool is_refusing;
static struct timespec begin;

ssize_t recv(int fd, void *data, size_t len, int flags)
{
	ssize_t (*real)(int, void *, size_t, int) = dlsym(RTLD_NEXT, "recv");
	ssize_t n = real(fd, data, len, flags);

	if (n > 0 && memmem(data, (size_t)n, "deaf", 4) && begin.tv_sec == 0) {
		clock_gettime(CLOCK_MONOTONIC, &begin);
		is_refusing = true;
	}
	return n;
}

int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	int (*real)(int, int, int, struct epoll_event *) = dlsym(RTLD_NEXT, "epoll_ctl");
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	is_refusing = is_refusing && (now.tv_sec - begin.tv_sec) * 1000 + (now.tv_nsec - begin.tv_nsec) / 1000000 < 250;
	if (!is_refusing || op != EPOLL_CTL_ADD)
		return real(epfd, op, fd, event);
	errno = ENOMEM;
	return -1;
}
"""


def test_a_worker_that_cannot_listen_tries_again():
    """It tells who has subscribed meanwhile, rather than let them wait for messages that it never hears."""
    s = server()
    preload(s, REFUSED_C)
    with s:
        with WebSocket(s, "/news?deaf") as subscriber:
            assert subscriber.read_close() == (1013, b"messages were lost")
        wait_for(lambda: "are heard again" in s.stderr(), "it listens")
        subscribers = spread(s, 4)
        subscribers[0].send(frame(TEXT, "all is well"))
        for w in subscribers:
            assert w.read() == (TEXT, b"all is well")
        close_all(subscribers)


def test_all_get_it():
    """Each subscriber of each worker, the sender included, gets each message once, those of one sender in order."""
    with server() as s:
        subscribers = spread(s, 8)
        streams = [Stream(s, "/news") for _ in range(3)]
        for r in streams:
            assert r.response.status == 200 and r.response.get("Content-Type") == "text/event-stream"
            assert r.response.get("Transfer-Encoding") is None and r.response.says_close()
        wait_for(lambda: stats(s)["connections"] == 11, "streams are there")
        count = 300
        for i in range(count):
            subscribers[0].send(frame(TEXT, "a%d" % i))
            subscribers[5].send(frame(TEXT, "b%d" % i))
        for w in subscribers:
            got = [w.read() for _ in range(2 * count)]
            assert all(opcode == TEXT for opcode, _ in got)
            for sender in (b"a", b"b"):
                assert [d for _, d in got if d[:1] == sender] == [b"%s%d" % (sender, i) for i in range(count)]
        for r in streams:
            got = [r.read() for _ in range(2 * count)]
            assert sorted(d for _, d in got) == sorted(b"%s%d" % (x, i) for x in (b"a", b"b") for i in range(count))
        for w in subscribers:
            w.goodbye()
        for r in streams:
            r.close()
        wait_for(lambda: stats(s)["connections"] == 0, "all are gone")
        wait_reason(s, "websocket", 8)
        wait_reason(s, "event_stream", 3)
        assert stats(s)["messages_in"] == 2 * count
        assert stats(s)["messages_out"] == 11 * 2 * count
        assert stats(s)["lost"] == 0 and stats(s)["slow"] == 0


def test_sizes():
    with server({"message": "512k", "frame": "512k", "queue": "64m"}) as s:
        subscribers = spread(s, 4)
        r = Stream(s, "/news")
        wait_for(lambda: stats(s)["connections"] == 5, "the stream is there")
        for n in (0, 1, 125, 126, 65535, 65536, 400000, 524288):
            body = os.urandom(n // 2 + 1).hex()[:n].encode()
            assert post(s, body).status == 202
            for w in subscribers:
                assert w.read() == (TEXT, body), n
            assert r.read() == ("message", body), n
        assert post(s, b"x" * 524289).status == 413
        close_all(subscribers + [r])


def test_post():
    with server({"message": "1000"}) as s, WebSocket(s, "/news") as w, Stream(s, "/news") as r:
        wait_for(lambda: stats(s)["connections"] == 2, "both are there")
        answer = post(s, b"plain")
        assert answer.status == 202 and answer.body == b""
        assert w.read() == (TEXT, b"plain") and r.read() == ("message", b"plain")
        assert post(s, "κόσμε\nzwei\r\ndrei\rvier".encode()).status == 202
        assert w.read() == (TEXT, "κόσμε\nzwei\r\ndrei\rvier".encode())
        assert r.read() == ("message", "κόσμε\nzwei\ndrei\nvier".encode())
        assert post(s, b"\0\xff", {"Content-Type": "application/octet-stream"}).status == 202
        assert w.read() == (BINARY, b"\0\xff") and r.read() == ("binary", b"AP8=")
        assert post(s, b"\xff\xfe").status == 400, "no text"
        assert post(s, b"x" * 1001).status == 413
        with Client(s) as c:
            c.send("POST /news HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nchun\r\n3\r\nked\r\n0\r\n\r\n")
            assert c.read_response().status == 202
            assert w.read() == (TEXT, b"chunked") and r.read() == ("message", b"chunked")
            c.send("POST /news HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n" + "x" * 1024)
            assert c.read_response().status == 413
        with Client(s) as c:
            c.send(request("/news", "POST", body=b"one") + request("/news", "POST", body=b"two"))
            assert [c.read_response().status, c.read_response().status] == [202, 202], "pipelined"
            assert [w.read()[1], w.read()[1]] == [b"one", b"two"]
        with Client(s) as c:
            c.send("POST /news HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\nhalf")
        r = get(s, "/news", method="DELETE")
        assert r.status == 405 and r.get("Allow") == "GET, HEAD, POST"
        assert stats(s)["published"] == 6
        w.goodbye()


def test_who_may_publish():
    more = {
        "/off": {"websocket": "channel:news", "publish": "off"},
        "/default": {"websocket": "channel:news"},
        "/proxied": {"websocket": "channel:news", "publish": "local"},
    }
    with server(more=more) as s:
        assert post(s, b"x", path="/off").status == 403
        assert post(s, b"x", path="/default").status == 202, "this machine"
        assert post(s, b"x", {"Origin": "http://evil"}).status == 403
        with WebSocket(s, "/off") as w:
            w.send(frame(TEXT, "x"))
            assert w.read_close() == (1008, b"may not publish")
            w.at_end()
        with WebSocket(s, "/off") as w:
            assert post(s, b"heard all the same").status == 202
            assert w.read() == (TEXT, b"heard all the same")
            w.goodbye()
    # An address of another machine, as far as the server knows.
    listens = [("127.0.0.1:0", {"proxy_protocol": True})]
    with server(more=more, listens=listens) as s:
        for source, path, status in (
            ("192.0.2.1", "/default", 403),
            ("192.0.2.1", "/news", 202),
            ("127.9.9.9", "/default", 202),
        ):
            with Client(s) as c:
                c.send("PROXY TCP4 %s 192.0.2.2 1 2\r\n" % source)
                assert c.request(path, "POST", body=b"x").status == status, (source, path)


def test_deflate():
    """Compressed once for those that want it, plain for the others."""
    with server({"deflate": True}) as s:
        packed = [WebSocket(s, "/news", offer="permessage-deflate") for _ in range(4)]
        plain, r = spread(s, 4), Stream(s, "/news")
        wait_for(lambda: stats(s)["connections"] == 9, "all are there")
        for i in range(3):
            body = b"message %d, " % i * 1000
            assert post(s, body).status == 202
            for w in packed + plain:
                assert w.read() == (TEXT, body)
            assert r.read() == ("message", body)
        assert post(s, b"short").status == 202
        assert [w.read() for w in packed + plain] == [(TEXT, b"short")] * 8
        assert [w.deflated_count for w in packed + plain] == [3] * 4 + [0] * 4
        close_all(packed + plain + [r])


def test_two_channels():
    with server(more={"/sport": {"websocket": "channel:sport", "publish": "any"}}) as s:
        news, sport = spread(s, 4), spread(s, 4, "/sport")
        assert post(s, b"goal", path="/sport").status == 202
        assert post(s, b"flood").status == 202
        assert [w.read()[1] for w in news] == [b"flood"] * 4
        assert [w.read()[1] for w in sport] == [b"goal"] * 4
        close_all(news + sport)


def test_stream_comments():
    """A quiet stream is kept alive by comments, and its end is noticed."""
    with server({"ping": "50ms"}, workers=1) as s:
        r = Stream(s, "/news")
        while r.data.count(b":\n\n") < 3:
            assert r.fill()
        r.close()
        wait_reason(s, "event_stream")


def test_idle_stream_is_no_request():
    """What a client of a stream still sends is dropped, however much it is."""
    with server(workers=1) as s, Stream(s, "/news") as r:
        assert r.send(b"GET / HTTP/1.1\r\n" * 20000)
        wait_for(lambda: stats(s)["bytes_in"] >= 320000, "it was read")
        assert post(s, b"still here").status == 202
        assert r.read() == ("message", b"still here")


# --- slow subscribers ---


def test_slow_subscriber():
    """Who does not read is told and closed; others miss nothing, and what it held back is let go."""
    with server({"queue": "200k", "close_timeout": "500ms"}, workers=1,
                listens=[("127.0.0.1:0", {"sndbuf": "64k"})]) as s:
        slow, quick = WebSocket(s, "/news", rcvbuf=4096), WebSocket(s, "/news")
        reader = Stream(s, "/news")
        wait_for(lambda: stats(s)["connections"] == 3, "all are there")
        body = b"x" * 50000
        sent = 0
        with Client(s) as c:
            while stats(s)["slow"] == 0:
                assert sent < 500, "nobody was found slow"
                assert c.request("/news", "POST", body=body).status == 202
                sent += 1
                assert quick.read() == (TEXT, body)
                assert reader.read() == ("message", body)
        # The rest of the message that it has a part of, then the reason.
        got = slow.read()
        while got[0] == TEXT:
            assert got[1] == body
            got = slow.read()
        assert got == (CLOSE, b"\x03\xf5too slow"), got
        wait_reason(s, "subscriber_slow")
        assert stats(s)["slow"] == 1
        assert post(s, b"go on").status == 202 and quick.read() == (TEXT, b"go on")
        close_all([slow, quick, reader])


def test_flood():
    """A sender far faster than subscribers read: each gets everything in order, or is told that it has not."""
    with server({"queue": "1m"}, workers=2) as s:
        subscribers = spread(s, 6)
        count, body = 4000, b"y" * 1000
        got, told = {}, []

        def read(w):
            got[w] = 0
            while got[w] < count:
                opcode, payload = w.read()
                if opcode == CLOSE:
                    assert payload[:2] == b"\x03\xf5", payload
                    told.append(w)
                    return
                assert opcode == TEXT and payload == b"%06d" % got[w] + body, (opcode, payload[:60], got[w])
                got[w] += 1

        threads = [threading.Thread(target=read, args=(w,)) for w in subscribers]
        for t in threads:
            t.start()
        subscribers[0].send(b"".join(frame(TEXT, b"%06d" % i + body) for i in range(count)))
        for t in threads:
            t.join(PATIENCE * 3)
        wrong = [n for w, n in got.items() if n != count and w not in told]
        assert len(got) == 6 and not wrong, (list(got.values()), len(told), stats(s))
        assert len(told) == stats(s)["slow"] + stats(s)["told_lost"], (len(told), stats(s))
        print("     %d of 6 got all of %d messages, %d were told" % (6 - len(told), count, len(told)))
        close_all(subscribers)


# --- workers that stand still, die, or change ---


def sockets_of(pid):
    """Inodes of the sockets that a process has open."""
    links = []
    for name in os.listdir("/proc/%d/fd" % pid):
        try:
            links.append(os.readlink("/proc/%d/fd/%s" % (pid, name)))
        except FileNotFoundError:
            pass
    return {link[8:-1] for link in links if link.startswith("socket:[")}


def inode_of(s, client):
    """That of the server's end of a connection."""
    ports = (s.address()[1], client.sock.getsockname()[1])
    with open("/proc/net/tcp") as f:
        next(f)
        for line in f:
            words = line.split()
            if tuple(int(w.rpartition(":")[2], 16) for w in words[1:3]) == ports:
                return words[9]
    raise AssertionError("no connection of port %d" % ports[1])


def test_stopped_worker_stops_nobody():
    """Others go on; the one that slept through more than fits tells its subscribers that they have missed something."""
    need_root()
    with server({"message": "64k"}, workers=2) as s:
        subscribers = spread(s, 8)
        pids = {w["slot"]: w["pid"] for w in s.workers()}
        os.kill(pids[0], signal.SIGSTOP)
        try:
            asleep = sockets_of(pids[0])
            awake = [w for w in subscribers if inode_of(s, w) not in asleep]
            assert 0 < len(awake) < 8, len(awake)
            publisher, body = awake[0], b"z" * 60000
            for i in range(60):
                publisher.send(frame(TEXT, b"%02d" % i + body))
                for w in awake:
                    assert w.read()[1][:2] == b"%02d" % i
        finally:
            os.kill(pids[0], signal.SIGCONT)
        for w in subscribers:
            if w in awake:
                continue
            assert w.read_close() == (1013, b"messages were lost")
            w.send(close_frame(1013))
            w.at_end()
            w.close()
        wait_reason(s, "subscriber_lost", 8 - len(awake))
        told = stats(s)
        assert told["lost"] >= 20 and told["told_lost"] == 8 - len(awake), told
        publisher.send(frame(TEXT, "on"))
        assert [w.read() for w in awake] == [(TEXT, b"on")] * len(awake)
        back = WebSocket(s, "/news")
        assert post(s, b"back").status == 202 and back.read() == (TEXT, b"back")
        close_all(subscribers + [back])


def test_worker_that_dies():
    """Its seat goes to the next one: publishing goes on both ways, as often as it happens."""
    with server(workers=2) as s:
        for _ in range(3):
            pids = {w["slot"]: w["pid"] for w in s.workers()}
            os.kill(pids[1], signal.SIGKILL)
            wait_for(
                lambda: all(w["state"] == "running" for w in s.workers())
                and {w["slot"]: w["pid"] for w in s.workers()}[1] != pids[1],
                "another worker",
            )
            subscribers = spread(s, 6)
            for w in subscribers:
                w.send(frame(TEXT, "x"))
            for w in subscribers:
                assert [w.read() for _ in range(6)] == [(TEXT, b"x")] * 6
            close_all(subscribers)
            wait_for(lambda: stats(s)["connections"] == 0, "all are gone")


class TooSlow(Exception):
    """The machine: the drain was over before anything could be seen of it."""


def test_reload():
    """Old and new workers hear each other; at the end of the drain the old ones' clients are sent away, spread over time."""
    for drain in (2, 6, 20):
        try:
            try_reload(drain)
            return
        except TooSlow:
            print("     once more with a drain limit above %d s" % drain)
    raise AssertionError("nothing could be seen within %d s" % drain)


def try_reload(drain):
    with server(workers=2, timeouts={"drain": "%ds" % drain}) as s:
        old = spread(s, 20)
        stream = Stream(s, "/news")
        wait_for(lambda: stats(s)["connections"] == 21, "all are there")
        began = time.monotonic()
        reload(s)
        new = [WebSocket(s, "/news") for _ in range(6)]
        wait_for(lambda: stats(s)["connections"] == 27, "old and new ones")
        old[0].send(frame(TEXT, "from old"))
        assert [w.read() for w in old + new] == [(TEXT, b"from old")] * 26
        new[0].send(frame(TEXT, "from new"))
        assert [w.read() for w in old + new] == [(TEXT, b"from new")] * 26
        assert post(s, b"by POST").status == 202
        assert [w.read() for w in old + new] == [(TEXT, b"by POST")] * 26
        if time.monotonic() - began > drain * 0.4:
            close_all(old + new + [stream])
            raise TooSlow
        ends = []

        def leave(w):
            got = w.read()
            ends.append(time.monotonic() - began)
            # At the very end of the drain there is no time left for a word.
            assert got == (CLOSE, b"\x03\xe9going away") or (got is None and ends[-1] > drain * 0.95), got
            w.send(close_frame(1001))
            w.close()

        threads = [threading.Thread(target=leave, args=(w,)) for w in old]
        for t in threads:
            t.start()
        for t in threads:
            t.join(PATIENCE + drain)
        assert len(ends) == 20
        assert min(ends) >= drain * 0.45, ends
        # Each at an instant of its own within the second half.
        assert max(ends) - min(ends) > drain * 0.15, ends
        assert [stream.read() for _ in range(3)] == [("message", x) for x in (b"from old", b"from new", b"by POST")]
        assert stream.read() == ("close", b"1001 going away") and stream.read() is None
        wait_for(lambda: stats(s)["connections"] == 6, "the old ones are gone")
        assert post(s, b"last").status == 202
        assert [w.read() for w in new] == [(TEXT, b"last")] * 6
        close_all(old + new)


def test_stop():
    with server(workers=2) as s:
        subscribers = spread(s, 20)
        began = time.monotonic()
        stop = subprocess.Popen(s.command("stop", "-c", s.conf_path), stdout=subprocess.DEVNULL)
        for w in subscribers:
            assert w.read_close() == (1001, b"going away")
            w.send(close_frame(1001))
            w.at_end()
            w.close()
        assert stop.wait(PATIENCE) == 0
        s.proc.wait(PATIENCE)
        assert time.monotonic() - began < PATIENCE


# --- real clients ---

PAGE = """<!doctype html><title>t</title><script>
const seen = [];
function say(x) { seen.push(x); if (seen.length == 5) fetch("/report", {method: "POST", body: JSON.stringify(seen)}); }
const events = new EventSource("/news");
events.onmessage = e => { say("event " + e.data.trim()); next(); };
events.onopen = () => {
  const w = new WebSocket("ws://" + location.host + "/news");
  w.onopen = () => { say("open"); w.send("from the page".padEnd(200)); say(w.extensions.slice(0, 18)); };
  w.onmessage = e => { say("message " + e.data.trim()); next(); };
  w.onclose = e => { say("close " + e.code + " " + e.wasClean); };
  window.w = w;
};
let count = 0;
function next() { if (++count == 2) { window.w.close(1000); events.close(); } }
</script>"""


def test_chromium():
    browser = shutil.which("chromium")
    if not browser:
        raise Skip("needs chromium")
    more = {"/": {"files": "@WWW@"}, "/report": {"websocket": "channel:report", "publish": "any"}}
    with server({"deflate": True}, more=more) as s, WebSocket(s, "/report", timeout=60) as report:
        s.write("index.html", PAGE)
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                   "--user-data-dir=" + os.path.join(s.dir, "profile"), "--remote-debugging-port=0",
                   "http://%s:%d/" % s.address()]
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            seen = json.loads(report.read()[1])
        finally:
            # All of its processes are in the session that this test has started.
            os.killpg(run.pid, signal.SIGKILL)
            run.wait()
        assert sorted(seen) == ["close 1000 true", "event from the page", "message from the page", "open",
                                "permessage-deflate"], seen


NODE = """
const WebSocket = require(process.argv[1]);
const w = new WebSocket(process.argv[2] + "/news"), other = new WebSocket(process.argv[2] + "/news");
const got = [];
let open = 0;
function opened() { if (++open == 2) { w.ping("p"); w.send("text".repeat(100)); w.send(Buffer.from([0, 255])); } }
w.on("open", opened); other.on("open", opened);
w.on("pong", d => got.push("pong " + d));
other.on("message", (d, binary) => { got.push((binary ? "binary " : "text ") + d.length);
  if (got.filter(x => !x.startsWith("pong")).length == 2) w.close(4002, "enough"); });
w.on("close", (code, reason) => { got.push("close " + code + " " + reason); other.terminate();
  console.log(JSON.stringify(got)); });
"""


def test_node_ws():
    """npm's ws, where somebody has put it below build/ (npm install --prefix build/node ws)."""
    module = os.path.join(os.path.dirname(SLUICE), "..", "node", "node_modules", "ws")
    node = shutil.which("node")
    if not node or not os.path.isdir(module):
        raise Skip("needs node and ws below build/node (npm install --prefix build/node ws)")
    with server({"deflate": True}) as s:
        command = [node, "-e", NODE, os.path.abspath(module), "ws://%s:%d" % s.address()]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30, text=True)
        assert sorted(json.loads(done.stdout)) == ["binary 2", "close 4002 enough", "pong p", "text 400"], done.stdout


if __name__ == "__main__":
    main(__name__)
