# SPDX-License-Identifier: MIT
"""What the measurements stand on (tests/bench): the floor, documents that lose nothing, verdicts, charts."""
import contextlib
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "bench"))

import chart  # noqa: E402
import peer_report  # noqa: E402
from document import Document  # noqa: E402
from figures import Figure  # noqa: E402
from harness import SLUICE, TOP, Client, Skip, main, need_root, request  # noqa: E402
from peer_results import GOALS, Results, losses  # noqa: E402


@contextlib.contextmanager
def limit(*words):
    tool = os.path.join(os.path.dirname(SLUICE), "tests/bench/limit")
    proc = subprocess.Popen([tool, "0", *words], stdout=subprocess.PIPE, text=True)
    try:
        yield "127.0.0.1", int(proc.stdout.readline().split()[1])
    finally:
        proc.kill()
        proc.wait()
        proc.stdout.close()


def test_limit_answers_each_head_once():
    head = request("/")
    for size in (0, 5, 128, 10240):
        with limit("2", str(size)) as address, Client(address) as c:
            for cuts in ((), (1,), range(len(head) - 5, len(head)), (len(head) + 3, 2 * len(head) - 1)):
                c.send(head * 2, cuts)
                assert [len(c.read_response().body) for _ in range(2)] == [size, size], (size, cuts)
            c.send(head * 1000)  # more than a socket takes at once
            assert all(len(c.read_response().body) == size for _ in range(1000))
            c.send(head[:-1])
            c.half_close()
            c.assert_closed()  # and nothing for half a head


def test_limit_closes_where_it_is_told_to():
    with limit("1", "5", "close") as address, Client(address) as c:
        r = c.request("/")
        assert r.status == 200 and r.says_close()
        c.assert_closed()


def document(folder, name):
    path = os.path.join(folder, name)
    with open(path, "w") as f:
        f.write("before\n<!-- t: begin --><!-- t: end -->\nafter\n")
    return path


def test_document_keeps_rows_that_another_folder_measured():
    def figure(row, value, note=""):
        return Figure(row, "what", ("<=", 2), [value], "us", {"other": [3.0]}, note=note)

    with tempfile.TemporaryDirectory() as folder:
        path = document(folder, "doc.md")
        first = Document("t", os.path.join(folder, "one"))
        first.add(1, [figure(1, 1.0, "a note")], "make one", ["v1"])
        first.add(7, [figure(7, 7.0, "seven: of it")], "make seven", ["v1"])
        first.write(path)
        second = Document("t", os.path.join(folder, "two"))
        second.add(1, [figure(1, 1.5)], "make one", ["v2"])
        second.write(path)
        with open(path) as f:
            text = f.read()
    assert text.startswith("before\n") and text.endswith("\nafter\n"), text
    assert "| 1.50 us |" in text and "| 1.00 us |" not in text and "a note" not in text, text
    assert "| 7.00 us |" in text and "- Row 7, what: seven: of it" in text and "v1; `make seven`" in text, text


def turns(**servers):
    """cpu_us of each server, turn by turn"""
    return {
        name: [{"cpu_us": v, "user_us": v / 2, "system_us": v / 2, "rps": 1e6 / v} for v in values]
        for name, values in servers.items()
    }


def results(folder, got):
    r = Results(folder)
    r.add("constant", got, "make bench", ["v1"])
    return r


def goal_of(words):
    return next(goal for goal in GOALS if goal.what == words)


def test_goals_and_losses():
    best = goal_of("constant reply: CPU, x the best peer")
    with tempfile.TemporaryDirectory() as folder:
        fast = results(folder, turns(sluice=[6, 7, 6], nginx=[10, 10, 10], h2o=[12, 12, 12], limit=[5, 5, 5]))
        target, text, n, verdict, remark = best.judge(fast)
        assert (target, text, n, verdict) == ("<= 0.70", "0.60 (0.60 to 0.70)", 3, "pass"), (target, text, n, verdict)
        assert remark.startswith("nginx, p = ") and remark.endswith("the floor itself is at 0.50"), remark
        assert goal_of("constant reply: CPU, x the floor").judge(fast)[1:4] == ("1.20 (1.20 to 1.40)", 3, "pass")
        assert not losses(fast, peer_report.CASES)
        assert goal_of("access log on: CPU, x off").judge(fast)[3] == "not measured"

        slow = results(folder, turns(sluice=[11, 11], nginx=[10, 10], limit=[5, 5]))
        assert best.judge(slow)[3] == "FALLS SHORT"
        (what, ratio, who, p), = losses(slow, peer_report.CASES)
        assert (what, round(ratio, 2), who) == ("constant reply, keep-alive (us)", 1.1, "nginx") and 0 < p <= 1


def test_results_are_kept_and_none_is_lost():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "doc.md")
        with open(path, "w") as f:
            f.write("before\n%s\n%s\nafter\n" % (peer_report.BEGIN, peer_report.END))
        out = os.path.join(folder, "out")
        results(out, turns(sluice=[6, 7, 6], nginx=[10, 10, 10], limit=[5, 5, 5])).save()
        peer_report.write_documents(Results(out), path, 1)
        with open(path) as f:
            text = f.read()
        assert text.startswith("before\n") and text.endswith("\nafter\n"), text
        assert "| constant reply, keep-alive | 6 (6 to 7) | 10 (10 to 10) |" in text, text
        assert "![cpu](bench-cpu.svg)" in text and ElementTree.parse(os.path.join(folder, "bench-cpu.svg"))
        with open(os.path.join(folder, "benchmark-peers.md")) as f:
            assert "sendfile on;" in f.read()

        other = Results(os.path.join(folder, "elsewhere"))
        other.add("128", turns(sluice=[6], nginx=[7]), "make bench", ["v1"])
        try:
            peer_report.write_documents(other, path, 1)
        except SystemExit as refused:
            assert "measure these too: constant" in str(refused), refused
        else:
            raise AssertionError("a page lost a case")


def test_bench_of_two_servers():
    need_root()  # a network of its own
    with tempfile.TemporaryDirectory() as folder:
        words = ["--tools", os.path.join(os.path.dirname(SLUICE), "tests/bench"), "--out", folder, "--servers", "sluice,nginx"]
        done = subprocess.run(
            [sys.executable, os.path.join(TOP, "tests/bench/vs_peers.py"), *words]
            + "--cases constant,log --rounds 1 --seconds 0.3".split(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode == 77:
            raise Skip(done.stdout.strip().splitlines()[-1])
        assert done.returncode == 0 and "ERROR" not in done.stdout, done.stdout
        got = Results(folder)
    assert got.names("constant") == ["sluice", "nginx", "limit"] and got.names("log") == ["sluice", "nginx"]
    for case, name in (("constant", "sluice"), ("constant", "nginx"), ("constant", "limit"), ("log", "nginx")):
        assert got.median(case, "rps", name) > 0, (case, name)
    assert "access log on: CPU, x off" in done.stdout and goal_of("access log on: CPU, x off").judge(got)[2] == 1


def test_charts_are_svg():
    names = ["a", "b & c"]
    groups = [("first < second", {"a": (1.0, 2.0), "b & c": (0.5, 0.25)}), ("next", {"a": (0.0, 9.0)})]
    for text in (
        chart.bars("t", names, groups, "user & system"),
        chart.lines("t", names, ["1", "64"], {"a": [3, 40], "b & c": [0.5, 1]}, "x"),
    ):
        root = ElementTree.fromstring(text)
        words = ["".join(e.itertext()) for e in root.iter("{http://www.w3.org/2000/svg}text")]
        assert "b & c" in words, words


if __name__ == "__main__":
    main(__name__)
