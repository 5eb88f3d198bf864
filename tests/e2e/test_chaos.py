# SPDX-License-Identifier: MIT
"""The chaos run (tests/bench/chaos.py): a short one, and its ledger, which has to tell failures apart.

A ledger that explains too much would hide what the run is for; so each of its rules is held against a failure that it
has to explain and against the nearest one that it must not.
"""
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "bench"))

from chaos_events import Chronicle  # noqa: E402
from chaos_ledger import Ledger  # noqa: E402
from chaos_world import DRAIN_S, EXTRA, FIXED, TRIES  # noqa: E402
from harness import SLUICE, TOP, Skip, main, need_bpffs, need_tool  # noqa: E402

SLACK = 0.5
ME = "127.0.0.1:40000"
PORT = FIXED[0][1]


def chronicle():
    """A worker died at 10, a back end was gone from 20 to 22 and another stood still from 30 to 33, old workers were
    left at 40, the address was away from 60 to 61, version 2 took over from version 1 at 70."""
    log = Chronicle(os.devnull, 0)
    log.kills = [(10, {(ME, PORT)})]
    log.faults = [[20, 22, "gone", "kill"], [30, 33, "still", "freeze"]]
    log.leaves = [(40, 40.1)]
    log.extra = [[60, 61]]
    log.versions = {1: [0, 70], 2: [69.9, float("inf")]}
    log.stops = [[69, 71]]
    return log


def record(out, t0, t1, kind="static", method="GET", **more):
    r = {"id": "1-1", "out": out, "t0": t0, "t1": t1, "began": t0, "kind": kind, "method": method, "target": "/x?r=1-1",
         "client": ME, "server": PORT, "note": ""}
    return dict(r, **more)


def line(reason, server="gone", status=502, tries=1):
    return {"1-1": [{"reason": reason, "server": server, "status": status, "tries": tries}]}


def explained(r, lines=None):
    return not Ledger(chronicle(), lines or {}, SLACK).judge([r]).wrong


def test_ledger_killed_worker():
    for out in ("eof", "reset", "closed while idle"):
        assert explained(record(out, 9, 10.1)), out
        assert not explained(record(out, 9, 9.9)), "before the kill"
        assert not explained(record(out, 10.2, 11)), "a connection made after it"
        assert not explained(record(out, 9, 10.1, client="127.0.0.1:40001")), "another's"
        assert not explained(record(out, 9, 10.1, server=FIXED[1][1])), "at another address"
    # What a worker's death does not do.
    for out in ("wrong", "hung", "status", "refused", "no connection", "error"):
        assert not explained(record(out, 9, 10.1, status=500)), out


def test_ledger_back_end():
    proxied = dict(kind="shaky", method="POST", status=502)
    assert explained(record("status", 20.5, 21, **proxied), line("upstream_reset"))
    assert explained(record("reset", 19, 21, **proxied), line("upstream_closed", status=200))
    assert not explained(record("status", 20.5, 21, **proxied), line("upstream_reset", server="well"))
    assert not explained(record("status", 15, 19.9, **proxied), line("upstream_reset")), "before it was gone"
    assert not explained(record("status", 23, 24, **proxied), line("upstream_reset")), "after it was back"
    assert not explained(record("status", 20.5, 21, **proxied)), "no line in the log"
    assert not explained(record("status", 20.5, 21, **dict(proxied, status=500)), line("upstream_reset", status=500))
    assert not explained(record("status", 20.5, 21, **dict(proxied, kind="steady")), line("upstream_reset"))
    assert not explained(record("status", 20.5, 21, **proxied), line("first_byte_timeout")), "it did not stand still"
    assert not explained(record("status", 20.5, 21, **proxied), line("bad_response"))
    assert not explained(record("status", 20.5, 21, **proxied), {"1-1": 2 * line("upstream_reset")["1-1"]})
    slow = dict(proxied, status=504)
    assert explained(record("status", 30.5, 33, **slow), line("first_byte_timeout", "still", 504))
    assert not explained(record("status", 30.5, 33, **slow), line("upstream_closed", "still", 504))


def test_ledger_what_should_have_been_repeated():
    for method in ("GET", "HEAD"):
        r = record("status", 20.5, 21, kind="shaky", method=method, status=502)
        assert not explained(r, line("upstream_reset")), "there was another server"
        assert explained(r, line("upstream_reset", tries=TRIES))
        cut = record("reset", 20.5, 21, kind="shaky", method=method)
        assert explained(cut, line("upstream_reset", status=200)), "the answer had begun"


def test_ledger_drain():
    drained = line("drain", status=200)
    assert explained(record("reset", 39, 40.1 + DRAIN_S), drained)
    assert not explained(record("reset", 39, 40 + DRAIN_S / 2), drained), "too early"
    assert not explained(record("reset", 41, 40.1 + DRAIN_S), drained), "it began after the reload"
    assert not explained(record("reset", 39, 41 + 2 * DRAIN_S), drained), "too late"
    tunnel = dict(kind="steady tunnel", method="tunnel")
    assert explained(record("eof", 39, 40.1 + DRAIN_S / 2, **tunnel), drained)
    assert not explained(record("eof", 39, 39.8 + DRAIN_S / 2, **tunnel), drained), "before its time"
    assert not explained(record("eof", 39, 44, **tunnel), line("tunnel_failed", "well")), "the server was well"
    assert explained(record("eof", 19, 20.1, **tunnel), line("tunnel", "gone"))
    assert not explained(record("eof", 39, 44, **tunnel)), "no line, and nobody died"
    with_kill = chronicle()
    with_kill.kills.append((43.9, set()))
    assert not Ledger(with_kill, {}, SLACK).judge([record("eof", 39, 44, **tunnel)]).wrong, "the line died with the worker"
    assert Ledger(with_kill, {}, SLACK).judge([record("eof", 39, 42.5, **tunnel)]).wrong, "too early, and long before that"


def test_ledger_address_that_is_away():
    extra = dict(server=EXTRA[1])
    assert explained(record("refused", 60.5, 60.6, **extra))
    assert not explained(record("refused", 59, 59.9, **extra)) and not explained(record("refused", 62, 63, **extra))
    assert not explained(record("refused", 60.5, 60.6)), "another address"
    assert not explained(record("reset", 60.5, 60.6, **extra)), "who was let in is served"


def test_ledger_version():
    assert explained(record("ok", 69.8, 69.95, kind="version", version=1))
    assert explained(record("ok", 69.8, 69.95, kind="version", version=2))
    assert not explained(record("ok", 60, 61, kind="version", version=2)), "not in force yet"
    assert explained(record("ok", 71.2, 71.3, kind="version", version=1)), "a worker had stood still until 71"
    assert not explained(record("ok", 72, 73, kind="version", version=1)), "no longer in force"
    assert not explained(record("ok", 72, 73, kind="version", version=9)), "never in force"


def test_ledger_log():
    def wrong(r, lines, log=None):
        ledger = Ledger(log or chronicle(), lines, SLACK)
        lost = ledger.check_log([r])
        return len(ledger.wrong), lost

    r = record("ok", 50, 51, status=200)
    assert wrong(r, line("done", status=200)) == (0, 0)
    assert wrong(r, line("done", status=404)) == (1, 0)
    assert wrong(r, {}) == (1, 0)
    assert wrong(r, {"1-1": 2 * line("done", status=200)["1-1"]}) == (1, 0)
    assert wrong(record("ok", 9, 9.9, status=200), {}) == (0, 1), "in the buffer of a worker that died"
    stopped = chronicle()
    stopped.stops.append([5, 11])
    r = record("ok", 4.8, 4.9, status=200)
    assert wrong(r, {}, stopped) == (0, 1), "it stood still from then on until it died"
    assert wrong(r, {}) == (1, 0)


def test_ledger_client_without_cpu():
    late = {"id": "late", "kind": "late", "out": "late", "t0": 50, "t1": 53}

    def fails(r, lines=None):
        ledger = Ledger(chronicle(), lines or {}, SLACK).judge([late, r])
        ledger.longest([late, r], 1)
        return bool(ledger.wrong)

    assert not fails(record("status", 49, 55, status=408))
    assert fails(record("status", 54, 55, status=408)), "it had the CPU again"
    assert not fails(record("reset", 49, 55), line("drain", status=200))
    assert not fails(record("eof", 49, 55, kind="steady tunnel", method="tunnel"), line("drain", status=200))
    assert not fails(record("ok", 45, 60)) and fails(record("ok", 54, 69))
    # What has nothing to do with time.
    for out in ("eof", "reset", "wrong", "hung", "closed while idle", "refused"):
        assert fails(record(out, 49, 55)), out
    assert fails(record("status", 49, 55, status=502))


def test_ledger_longest():
    ledger = Ledger(chronicle(), {}, SLACK)
    ledger.longest([record("ok", 0, 5), record("ok", 0, 15, kind="shaky"), record("ok", 0, 60, kind="idle")], 1)
    assert not ledger.wrong
    ledger.longest([record("ok", 0, 11), record("ok", 0, 30, kind="shaky"), record("hung", 0, 1)], 1)
    assert len(ledger.wrong) == 3


def test_storm():
    need_bpffs()
    need_tool("nginx")
    tools = os.path.join(os.path.dirname(SLUICE), "tests", "bench")
    if not os.path.exists(os.path.join(tools, "backend")):
        raise Skip("needs %s/backend (make tests)" % tools)
    out = tempfile.mkdtemp(prefix="sluice-chaos-")
    words = ["--seconds", "6", "--seed", "11", "--threads", "10", "--tools", tools, "--out", out]
    try:
        done = subprocess.run(
            [sys.executable, os.path.join(TOP, "tests/bench/chaos.py")] + words,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, timeout=150,
        )
        if done.returncode == 77:
            raise Skip(done.stdout.strip().split("\n")[-1])
        with open(os.path.join(out, "timeline.txt")) as f:
            assert done.returncode == 0, done.stdout + f.read()
    finally:
        shutil.rmtree(out, ignore_errors=True)


if __name__ == "__main__":
    main(__name__)
