# SPDX-License-Identifier: MIT
"""Sends the table of battery.py: each request whole, cut in the middle, and byte by byte.

Judged are the statuses in order, what happens to the connection, and that a good request on a fresh connection is
answered right after a bad one; at the end, that no connection is counted any more and no worker died.

    test_battery.py [NAME...]                   against a sluice of its own
    test_battery.py --against HOST:PORT         the whole requests against another server, for comparison
"""
import sys

import battery
from battery import CASES, CLOSED, EITHER, KEPT, NEXT
from harness import Client, Server, get, main, request

PROBE = request("/probe")
TAIL = NEXT.encode()


def make_server():
    limits = {
        "request_line": battery.REQUEST_LINE_MAX,
        "header": battery.HEADER_MAX,
        "header_count": battery.HEADER_COUNT_MAX,
        "body": battery.BODY_MAX,
    }
    sites = {
        "*": {
            "/": {"files": "@WWW@"},
            "/hello": {"respond": "hello"},
            "/probe": {"respond": "probe"},
            "/who": {"respond": "default"},
        },
        "other.example": {"/": {"respond": "other"}},
    }
    server = Server(limits=limits, sites=sites)
    server.write("index.html", "<p>index</p>\n")
    server.write(".secret", "secret\n")
    return server


def whole(case):
    return ()


def last_cut(case):
    """Behind a request that asks for the end nothing may follow (RFC 9112 9.6): a server need not wait for it, and a
    late byte would be answered by a reset.  So what follows there goes along with the request's last byte.
    """
    last = case.expect[-1] if case.expect else 0
    if case.fate == CLOSED and last == 200 and case.data.endswith(TAIL):
        return len(case.data) - len(TAIL) - 1
    return len(case.data)


def halves(case):
    return (min(len(case.data) // 2, last_cut(case)),)


def single_bytes(case):
    """Every byte alone; of a long request the first and last hundred, the rest in 500 pieces."""
    size = len(case.data)
    cuts = set(range(1, size))
    if size > 2000:
        step = max(1, size // 500)
        cuts = {i for i in cuts if i < 100 or i > size - 100 or i % step == 0}
    return [i for i in sorted(cuts) if i <= last_cut(case)]


def is_expected(case, statuses):
    for wanted in [case.expect] + list(case.also):
        if len(wanted) == len(statuses) and all(
            s in (w if isinstance(w, tuple) else (w,)) for w, s in zip(wanted, statuses)
        ):
            return True
    return False


def read_answers(client, case):
    """All answers up to the end of the stream, or, on a connection that stays, as many final ones as expected."""
    if case.fate == CLOSED:
        return client.read_responses(case.methods)
    answers = []
    finals = 0
    while finals < len([w for w in case.expect if w != 100]):
        r = client.read_response(case.methods[finals] if finals < len(case.methods) else "GET")
        if r is None:
            break
        answers.append(r)
        finals += r.status >= 200
    return answers


def judge(address, case, cut):
    """What is wrong, or None."""
    with Client(address) as client:
        client.send(case.data, cut(case))
        if case.half:
            client.half_close()
        answers = read_answers(client, case)
        statuses = [r.status for r in answers]
        if not is_expected(case, statuses):
            return "answers %s instead of %s" % (statuses, case.expect)
        finals = [r for r in answers if r.status >= 200]
        if case.body is not None and finals[0].body != case.body:
            return "content %r instead of %r" % (finals[0].body[:60], case.body)
        if any(r.says_close() for r in finals[:-1]):
            return "an answer before the last one says close"
        says_close = bool(finals) and finals[-1].says_close()
        if case.fate == KEPT and says_close:
            return "the last answer says close"
        if case.fate == CLOSED or says_close:
            if finals and not says_close and not case.half and b"HTTP/1.0\r\n" not in case.data:
                return "closed without saying so"
            client.assert_closed()
            return "closed by reset" if client.was_reset else None
        client.send(PROBE)
        r = client.read_response()
        if r is None:
            return "closed without saying so"
        if r.status != 200 or r.body != b"probe":
            return "the next request got %r %r" % (r, r.body[:60])
    return None


def run_table(address, cut):
    failures = []
    for case in CASES:
        try:
            why = judge(address, case, cut)
        except (AssertionError, OSError) as e:
            why = "%s: %s" % (type(e).__name__, e)
        if why is None:
            fresh = get(address, "/hello")
            if fresh is None or fresh.status != 200 or fresh.body != b"hello":
                why = "a good request behind it got %r" % fresh
        if why is not None:
            failures.append(case)
            print(
                "  FAIL (%s) %s [RFC %s]: %s" % (cut.__name__, case.name, case.ref, why), flush=True
            )
    print(
        "  %s: %d of %d as RFC 9110 and 9112 ask"
        % (cut.__name__, len(CASES) - len(failures), len(CASES)),
        flush=True,
    )
    assert not failures, "%d of %d requests of the battery" % (len(failures), len(CASES))


def run_against_sluice(cut):
    with make_server() as server:
        run_table(server.address(), cut)
        server.wait_live(0)
        server.assert_no_worker_died()


def test_table_is_sound():
    names = [c.name for c in CASES]
    assert len(names) == len(set(names)), "a name twice"
    assert len(names) >= 170, len(names)
    assert all(c.ref and c.fate in (KEPT, CLOSED, EITHER) for c in CASES)


def test_requests_whole():
    run_against_sluice(whole)


def test_requests_cut_in_the_middle():
    run_against_sluice(halves)


def test_requests_byte_by_byte():
    run_against_sluice(single_bytes)


if __name__ == "__main__":
    if "--against" in sys.argv:
        host, _, port = sys.argv[sys.argv.index("--against") + 1].rpartition(":")
        run_table((host, int(port)), whole)
    else:
        main(__name__)
