# SPDX-License-Identifier: MIT
"""Sends the streams of smuggling.py through the proxy, whole, halved and byte by byte, and holds what the back end
parsed against the verdicts: these requests, no more, no less, each with the fields that the proxy owes it.

The back end is the strict recorder of backend.py, then nginx, then HAProxy, which must see what the recorder saw.  And
the other way round: the answers of smuggling.py, none of which may become the answer to another request.

    test_smuggling.py [NAME...]
"""
import contextlib
import urllib.parse
import zlib

import smuggling
from backend import Backend, raw, script_expect
from harness import Client, ProtocolError, Server, get, main, request, value, wait_for
from peers import Haproxy, Nginx
from smuggling import ANSWERS, CLOSED, KEPT, STREAMS


def make_server(server, **route):
    """Everything to the back end but /private, which the server answers itself."""
    keys = "\tserver %s { }\n" % value(server)
    return Server(
        routes={"/": dict({"proxy": "b"}, **route), "/private": {"respond": "private"}},
        limits=smuggling.LIMITS,
        extra='upstream "b" {\n\tfails = 0\n%s}\n' % keys,
    )


# --- how streams are cut ---


def whole(stream):
    return ()


def halves(stream):
    return (len(stream.data) // 2,)


def last_cut(stream):
    """What stands behind the last request that is served goes along with its last byte: see test_battery.py."""
    mark = smuggling.MARK.encode()
    if stream.fate == CLOSED and stream.answers[-1] == 200 and stream.data.endswith(mark):
        return len(stream.data) - len(mark) - 1
    return len(stream.data)


def single_bytes(stream):
    """Every byte alone; of a long stream the first and last hundred, the rest in 200 pieces."""
    size = len(stream.data)
    cuts = range(1, size)
    if size > 1000:
        step = max(1, size // 200)
        cuts = [i for i in cuts if i < 100 or i > size - 100 or i % step == 0]
    return [i for i in cuts if i <= last_cut(stream)]


# --- one stream ---


def fits(wanted, statuses):
    return len(wanted) == len(statuses) and all(
        s in (w if isinstance(w, tuple) else (w,)) for w, s in zip(wanted, statuses)
    )


class Result:
    """What the client got: final answers before the sync, and what became of the connection."""

    def __init__(self):
        self.finals, self.is_closed, self.was_reset, self.says_close = [], False, False, False

    def statuses(self):
        return [r.status for r in self.finals]


def exchange(address, stream, cuts, sync):
    """Sends the stream, then, on the connection or on a new one, a request for `sync`: what was sent before it has been
    parsed when its answer is there.
    """
    result = Result()
    with Client(address) as client:
        client.send(stream.data, cuts)
        if stream.half:
            client.half_close()
        wanted = None if stream.fate == CLOSED else len(stream.answers)
        while wanted is None or len(result.finals) < wanted:
            n = len(result.finals)
            r = client.read_response(stream.methods[n] if n < len(stream.methods) else "GET")
            if r is None:
                break
            if r.status >= 200:
                result.finals.append(r)
        result.says_close = bool(result.finals) and result.finals[-1].says_close()
        if wanted is None or client.is_eof or result.says_close:
            client.assert_closed()
            result.is_closed, result.was_reset = True, client.was_reset
        else:
            client.send(request(sync))
            while True:
                r = client.read_response()
                if r is None or sync.encode() in r.body:
                    break
                if r.status >= 200:
                    result.finals.append(r)
            result.is_closed = r is None
    if result.is_closed:
        r = get(address, sync)
        assert r is not None and r.status == 200, "a good request behind it got %r" % r
    return result


def judge(stream, result, got):
    """What is wrong with the answers and the requests at the back end, or None."""
    if fits(stream.answers, result.statuses()) and stream.sent == got:
        if stream.fate == KEPT and result.is_closed:
            return "the connection was closed"
        if stream.fate == CLOSED and result.was_reset:
            return "closed by reset"
        return None

    def short(requests):
        return [(method, target, content[:40]) for method, target, content in requests]

    return "answers %s instead of %s; at the back end %s instead of %s" % (
        result.statuses(), stream.answers, short(got), short(stream.sent)
    )


# --- the recorder ---


def resolved(target):
    """Where a back end that decodes and resolves dots would look."""
    path = urllib.parse.unquote(target.partition("?")[0], "latin-1")
    out = []
    for part in path.split("/"):
        if part == "..":
            out = out[:-1]
        elif part not in ("", "."):
            out.append(part)
    return "/" + "/".join(out)


def check_fields(r):
    """The fields that the proxy owes every request, whatever the client sent."""
    for name, wanted in (
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-Proto", "http"),
    ):
        if r.all(name) != [wanted]:
            return "%s is %s instead of %s" % (name, r.all(name), wanted)
    if len(r.all("X-Forwarded-Host")) > 1 or "evil" in r.get("X-Forwarded-Host", ""):
        return "X-Forwarded-Host is %s" % r.all("X-Forwarded-Host")
    if any("6.6.6.6" in v or "evil" in v for v in r.all("Forwarded")):
        return "Forwarded is %s" % r.all("Forwarded")
    if len(r.all("X-Request-Id")) != 1:
        return "X-Request-Id is %s" % r.all("X-Request-Id")
    if not r.all("Via"):
        return "no Via"
    return None


def check_wanted_fields(stream, r):
    for name, wanted in stream.fields.items():
        if r.all(name) != ([] if wanted is None else [wanted]):
            return "the back end got %s %s instead of %r" % (name, r.all(name), wanted)
    return None


def check_stream(address, backend, stream, cuts, number, late):
    """What is wrong, or None.  The recorder's lists are emptied first: what comes late shows in the next stream's, and
    the end of an incomplete request may: `late` has the targets of those before.
    """
    sync = "/sync-%d" % number
    backend.clear()
    result = exchange(address, stream, cuts, sync)
    requests, partial = list(backend.requests), list(backend.partial)
    got = [r.key() for r in requests if r.target != sync]
    if len(got) != len(requests) - 1:
        return "the sync came %d times" % (len(requests) - len(got))
    if backend.odd or backend.cut:
        return "ODD: %s" % (backend.odd + backend.cut)
    for r in partial:
        if r.path not in tuple(stream.maybe) + late:
            return "a piece of %r reached the back end" % r
    for r in requests + partial:
        why = check_fields(r)
        if why:
            return "%r: %s" % (r, why)
        if resolved(r.target).startswith("/private") and "%25" not in r.target:
            return "%r is the server's own" % r
    why = judge(stream, result, got)
    return why or (check_wanted_fields(stream, requests[0]) if stream.fields and got else None)


class Late:
    """Everything a recorder ever saw, for the sum at the end."""

    def __init__(self, backend):
        self.total, self.syncs, self.odd = 0, 0, []
        note = backend.note

        def count(where, what):
            note(where, what)
            with backend.lock:
                if where == "requests":
                    self.total += 1
                    self.syncs += what.target.startswith("/sync-")
                elif where in ("odd", "cut"):
                    self.odd.append(what)

        backend.note = count


def run_streams(cut):
    failures = []
    with Backend() as backend:
        backend.default = script_expect
        late = Late(backend)
        judged = 0
        with make_server(backend.server) as server:
            address = server.address()
            before = ()
            for number, stream in enumerate(STREAMS):
                try:
                    why = check_stream(address, backend, stream, cut(stream), number, before)
                except (AssertionError, OSError) as e:
                    why = "%s: %s" % (type(e).__name__, e)
                judged += len([r for r in backend.requests if not r.target.startswith("/sync-")])
                before = tuple(stream.maybe)
                if why is not None:
                    failures.append(stream)
                    print("  FAIL (%s) %s [RFC %s]: %s" % (cut.__name__, stream.name, stream.ref, why), flush=True)
            server.wait_live(0)
            server.assert_no_worker_died()
        # The proxy is gone and every connection has ended: what was still under way has been parsed by now.
        wait_for(lambda: not backend.open, "the recorder's connections end")
        assert not late.odd, late.odd[0]
        if not failures:
            assert late.total - late.syncs == judged, (
                "%d requests at the back end, %d of them part of a verdict" % (late.total - late.syncs, judged)
            )
            assert late.syncs == len(STREAMS), late.syncs
    print("  %s: %d of %d streams as they should be, %d requests at the back end"
          % (cut.__name__, len(STREAMS) - len(failures), len(STREAMS), late.total - late.syncs), flush=True)
    assert not failures, "%d of %d streams" % (len(failures), len(STREAMS))


def test_tables_are_sound():
    names = [s.name for s in STREAMS]
    assert len(names) == len(set(names)), [n for n in names if names.count(n) > 1]
    assert len(STREAMS) >= 170, len(STREAMS)
    assert all(s.ref and s.fate in (KEPT, CLOSED) for s in STREAMS)
    # Refused ones must outnumber by far, and none of them may wait for the marker.
    assert sum(not s.sent for s in STREAMS) > 150
    assert not any(k[:2] == ("GET", "/smuggled") for s in STREAMS for k in s.sent)
    assert len({a.name for a in ANSWERS}) == len(ANSWERS) >= 60


def test_recorder_is_strict():
    """The instrument itself: what it must call odd, and what not."""
    ok = b"GET /p HTTP/1.1\r\nHost: test\r\n\r\n"
    for data, is_odd in (
        (ok, False),
        (ok * 3, False),
        (b"POST /p HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n" + ok, False),
        (b"GET /p HTTP/1.0\r\nHost: test\r\n\r\n", True),
        (b"GET /p HTTP/1.1\r\n\r\n", True),
        (b"GET /p HTTP/1.1\nHost: test\n\n", True),
        (b"GET http://test/p HTTP/1.1\r\nHost: test\r\n\r\n", True),
        (ok.replace(b"\r\n\r\n", b"\r\nHost: test\r\n\r\n"), True),
        (ok.replace(b"\r\n\r\n", b"\r\nX : y\r\n\r\n"), True),
        (ok.replace(b"\r\n\r\n", b"\r\nX: y\r\n z\r\n\r\n"), True),
        (ok.replace(b"\r\n\r\n", b"\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n"), True),
        (ok.replace(b"\r\n\r\n", b"\r\nContent-Length: 05\r\n\r\nhello"), True),
        (ok.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), True),
        (ok.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n"), True),
        (ok.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n0;a\r\n\r\n"), True),
        (ok.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nHost: x\r\n\r\n"), True),
        (b"hello", False),
        (b"\r\n" + ok, True),
    ):
        with Backend() as backend:
            with Client(backend.address) as c:
                c.send(data)
                c.half_close()
                c.read_all()
            wait_for(lambda b=backend: not b.open, "it ends")
            assert bool(backend.odd) == is_odd, (data, backend.odd, backend.requests)
            assert bool(backend.cut) == (data == b"hello"), data


def test_streams_whole():
    run_streams(whole)


def test_streams_in_halves():
    run_streams(halves)


def test_streams_byte_by_byte():
    run_streams(single_bytes)


# --- nginx and HAProxy behind the proxy ---


def same_request(sent, seen):
    method, target, content = sent
    if seen.line != "%s %s" % (method, target):
        return False
    if seen.status != 200:  # refused by the peer, for its own reasons, without a look at the content
        return True
    if seen.length != len(content):
        return False
    return not content or seen.content in (content, zlib.crc32(content))


def is_what_it_saw(stream, seen, maybe):
    """`seen` is what the verdict says, with incomplete requests in between where it allows those."""
    rest = list(stream.sent)
    for entry in seen:
        if rest and same_request(rest[0], entry):
            rest.pop(0)
        elif entry.line.partition(" ")[2] not in maybe:
            return False
    return not rest


def run_peer(kind):
    """The same streams with another server as the back end: it logs what the recorder recorded."""
    failures = []
    with kind() as peer:
        with make_server(peer.server) as server:
            address = server.address()
            at, late = 0, ()
            for number, stream in enumerate(STREAMS):
                sync = "GET /sync-%d" % number
                why = None
                try:
                    exchange(address, stream, (), sync[4:])
                    wait_for(lambda s=sync: any(e.line == s for e in peer.seen()[at:]), "its log has the sync")
                except (AssertionError, OSError) as e:
                    why = "%s: %s" % (type(e).__name__, e)
                seen = [e for e in peer.seen()[at:] if e.line != sync]
                at = len(peer.seen())
                # It may log the end of an incomplete request a little late.
                if why is None and not is_what_it_saw(stream, seen, tuple(stream.maybe) + late):
                    why = "it saw %s instead of %s" % (seen, stream.sent)
                late = tuple(stream.maybe)
                if why is not None:
                    failures.append(stream)
                    print("  FAIL (%s) %s: %s" % (kind.name, stream.name, why[:500]), flush=True)
            server.assert_no_worker_died()
        everything = peer.seen()
    assert all(e.line.partition(" ")[2] in late for e in everything[at:]), everything[at:]
    assert sum(e.line.startswith("GET /sync-") for e in everything) == len(STREAMS)
    print("  %s: %d of %d streams as they should be, %d requests" % (
        kind.name, len(STREAMS) - len(failures), len(STREAMS), len(everything) - len(STREAMS)), flush=True)
    assert not failures, "%d of %d streams" % (len(failures), len(STREAMS))


def test_nginx_sees_the_same():
    run_peer(Nginx)


def test_haproxy_sees_the_same():
    run_peer(Haproxy)


# --- answers ---


def read_answer(client, method):
    """(status, content); status None when the client can see that it was cut."""
    try:
        while True:
            r = client.read_response(method)
            if r is None:
                return None, None
            if r.status >= 200:
                return r.status, r.body
    except ProtocolError as e:
        assert "end of stream" in str(e) or "no line" in str(e), e
        return None, None


def check_answer(address, a, path, number):
    with Client(address) as c:
        c.send(request(path, a.method))
        got = read_answer(c, a.method)
        allowed = ((a.status, a.body),) + tuple(a.also)
        if not any(s == got[0] and (b is None or b == got[1]) for s, b in allowed):
            return "%s %r instead of %s" % (got[0], (got[1] or b"")[:60], allowed)
        # Whoever asks next, here or elsewhere, gets an answer of his own.
        if got[0] is not None and not c.is_eof:
            sync = "/own-%d" % number
            c.send(request(sync))
            with contextlib.suppress(ProtocolError):
                r = c.read_response()
                if r is not None and (r.status != 200 or sync.encode() not in r.body):
                    return "the next answer on the connection is %r %r" % (r, r.body[:60])
    for i in range(3):
        sync = "/other-%d-%d" % (number, i)
        r = get(address, sync)
        if r is None or r.status != 200 or sync.encode() not in r.body:
            return "a later request was answered with %r %r" % (r, r and r.body[:60])
    return None


def test_answers_of_rude_back_ends():
    failures = []
    scripts = {"/a%d" % i: raw(a.data, then="hold" if a.hold else "close") for i, a in enumerate(ANSWERS)}
    with Backend(scripts=scripts) as backend, make_server(backend.server, first_byte_timeout="3s") as server:
        address = server.address()
        for i, a in enumerate(ANSWERS):
            try:
                why = check_answer(address, a, "/a%d" % i, i)
            except (AssertionError, OSError) as e:
                why = "%s: %s" % (type(e).__name__, e)
            if why is not None:
                failures.append(a)
                print("  FAIL %s [RFC %s]: %s" % (a.name, a.ref, why), flush=True)
        server.assert_no_worker_died()
        backend.assert_nothing_odd()
    print("  %d of %d answers as they should be" % (len(ANSWERS) - len(failures), len(ANSWERS)), flush=True)
    assert not failures, "%d of %d answers" % (len(failures), len(ANSWERS))


if __name__ == "__main__":
    main(__name__)
