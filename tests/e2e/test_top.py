# SPDX-License-Identifier: MIT
"""`sluice top` on terminals of several kinds and sizes, and as plain lines."""
import ctypes
import os
import platform
import re
import signal
import subprocess
import tempfile

from harness import SLUICE, Client, Server, Skip, main, need_bpffs, wait_for
from terminal import Terminal

KINDS = ("xterm-256color", "vt100")
SIZES = ((80, 24), (132, 43))
TITLES = "slot cpu pid state live resv wght conn/s req/s p50 p99 stalls".split()


def top(server, *options, **terminal):
    return Terminal(server.command("top", "-c", server.conf_path, *options), **terminal)


def need_steering(server):
    steering = server.status()["steering"]
    if not steering["active"]:
        raise Skip("nothing steers here: %s" % steering["why"])


def fetch(server, count=1):
    with Client(server) as c:
        for _ in range(count):
            assert c.request("/hello").status == 200


def assert_table(text, pids, columns):
    """Titles and rows stand under each other, as wide as the terminal at most."""
    lines = text.split("\n")
    assert all(len(line) <= columns for line in lines), text
    titles = next(i for i, line in enumerate(lines) if line.split()[:1] == ["slot"])
    assert lines[titles].split()[: len(TITLES)] == TITLES, lines[titles]
    ends = [m.end() for m in re.finditer(r"\S+", lines[titles])][: len(TITLES)]
    for slot, pid in enumerate(pids):
        words = list(re.finditer(r"\S+", lines[titles + 1 + slot]))
        assert len(words) >= len(TITLES), lines[titles + 1 + slot]
        assert words[0].group() == str(slot) and words[2].group() == str(pid), lines[titles + 1 + slot]
        for i, title in enumerate(TITLES):
            if title == "state":
                assert words[i].start() == lines[titles].index("state"), text
            else:
                assert words[i].end() == ends[i], "%s of slot %d:\n%s" % (title, slot, text)
    assert lines[titles + 1 + len(pids)].split()[0] == "total", text


# --- the screen ---


def test_shows_all_on_each_terminal():
    with Server(workers=3) as server:
        pids = [w["pid"] for w in server.workers()]
        for kind in KINDS:
            for columns, lines in SIZES:
                with top(server, "--interval", "200ms", kind=kind, columns=columns, lines=lines) as t:
                    t.wait_text("q quit", "total")
                    fetch(server, 5)
                    t.wait(lambda s: re.search(r"\d(us|ms)", s), "a time of a request")
                    text = t.screen.text()
                    assert_table(text, pids, columns)
                    for start in ("sluice", "steering", "history"):
                        assert t.screen.line(start), "%s on\n%s" % (start, text)
                    assert len(text.split("\n")) == lines
                    assert "every 0.2s" in text.split("\n")[-1]
                    t.press("p")
                    t.wait_text("┌─ policy ─", "│  least", "─┘")
                    t.press("pq")
                    assert t.wait_exit() == 0
                    t.assert_restored()


def test_colours_where_they_are_wanted():
    with Server() as server:
        for kind, env, has_colours in (
            ("xterm-256color", {}, True),
            ("xterm-256color", {"NO_COLOR": ""}, True),
            ("xterm-256color", {"NO_COLOR": "1"}, False),
            ("vt100", {}, False),
        ):
            with top(server, kind=kind, env=env) as t:
                t.wait_text("q quit")
                t.press("q")
                t.wait_exit()
                assert bool(t.screen.colours) == has_colours, (kind, env, t.screen.colours)


def test_sparkline_suits_the_locale():
    with Server() as server, Client(server) as c:
        c.request("/hello")
        for locale, step in (("C.UTF-8", "█"), ("C", "#")):
            with top(server, locale=locale, columns=120) as t:
                t.wait(lambda s: step in (t.screen.line("history") or ""), "a sparkline with " + step)
                t.wait(lambda s: step in (t.screen.line("0") or "") + (t.screen.line("1") or ""), "a bar")
                if locale == "C":
                    assert all(b < 0x80 for b in t.raw), "bytes beyond ASCII"


def test_numbers_are_the_servers():
    with Server(workers=2) as server:
        held = [Client(server) for _ in range(6)]
        for c in held:
            c.request("/hello")
        with top(server, "--interval", "100ms") as t:
            t.wait(lambda s: (t.screen.line("total") or "").split()[1:2] == ["6"], "6 connections")
            for slot, w in enumerate(server.workers()):
                assert t.screen.line(str(slot)).split()[4] == str(w["live"])
            most, mean = max(w["live"] for w in server.workers()), 3
            assert "imbalance %.2f" % (most / mean) in t.screen.line("steering")
            for c in held:
                c.close()
            t.wait(lambda s: (t.screen.line("total") or "").split()[1:2] == ["0"], "no connections")
            assert "imbalance -" in t.screen.line("steering")


def test_resizes():
    with Server(workers=2) as server:
        pids = [w["pid"] for w in server.workers()]
        with top(server, "--interval", "10s") as t:
            t.wait_text("q quit")
            for columns, lines in ((132, 43), (40, 8), (80, 24), (250, 60), (80, 12)):
                t.resize(columns, lines)
                t.wait(
                    lambda s: "q quit" in s.split("\n")[-1] and t.screen.line("total"),
                    "a table of %dx%d" % (columns, lines),
                )
                if columns >= 80:
                    assert_table(t.screen.text(), pids, columns)
            t.resize(20, 5)
            t.wait_text("too small")
            t.resize(1, 1)
            t.resize(80, 24)
            t.wait_text("q quit", "total")
            t.press("q")
            assert t.wait_exit() == 0
            t.assert_restored()


def test_more_slots_than_lines():
    with Server(workers=24) as server:
        with top(server, "--interval", "10s") as t:
            t.wait_text("q quit", " of 24")
            assert t.screen.line("0") and not t.screen.line("23")
            t.press("G")
            t.wait(lambda s: t.screen.line("23"), "the last slot")
            assert not t.screen.line("0")
            assert t.screen.line("total")
            t.press("\x1b[5~" * 3)  # PgUp
            t.wait(lambda s: t.screen.line("0"), "the first slot")


# --- keys ---


def test_switches_the_policy():
    with Server(steering={"policy": "least"}) as server:
        need_steering(server)
        with top(server, "--interval", "200ms") as t:
            t.wait_text("q quit")
            t.press("p")
            t.wait_text("policy ", "current")
            t.press("\x1b")
            t.wait(lambda s: "current" not in s, "no menu")
            assert server.status()["steering"]["policy"] == "least"
            t.press("p")
            t.wait_text("current")
            t.press("k\r")
            wait_for(lambda: server.status()["steering"]["policy"] == "hash", "policy hash")
            t.wait(lambda s: (t.screen.line("steering") or "").split()[1] == "hash", "the new policy")
            t.press("p")
            t.wait_text("current")
            t.press("\x1bOB\x1bOB\r")  # arrows: least, then the one behind it
            wait_for(lambda: server.status()["steering"]["policy"] not in ("hash", "least"), "another")
            t.press("q")
            assert t.wait_exit() == 0


def test_drains_the_selected_slot():
    with Server(workers=3) as server:
        need_steering(server)

        def weights():
            return [w["weight"] for w in server.workers()]

        with top(server, "--interval", "200ms") as t:
            t.wait_text("q quit")
            t.press("jjjjk")  # not beyond the last
            t.press("d")
            wait_for(lambda: weights() == [100, 0, 100], "slot 1 drained")
            t.wait(lambda s: "drained" in (t.screen.line("1") or ""), "slot 1 drained on the screen")
            assert "open slots 2 of 3" in t.screen.line("steering")
            t.press("d")
            wait_for(lambda: weights() == [100, 100, 100], "slot 1 back")
            t.wait(lambda s: "running" in (t.screen.line("1") or ""), "slot 1 back on the screen")


def test_help_interval_and_other_keys():
    with Server() as server:
        with top(server) as t:
            t.wait_text("every 1s")
            t.press("h")
            t.wait_text("standard deviation", "drain the selected slot")
            t.press(" ")
            t.wait(lambda s: "standard deviation" not in s, "no help")
            for interval in ("2s", "5s", "10s", "0.5s", "1s"):
                t.press("r")
                t.wait_text("every " + interval)
            t.press("zZ1\t\x00\x7f\x1b[Z\x1b[20~")
            t.press("\x03")  # the line's SIGINT
            assert t.wait_exit() == 0
            t.assert_restored()


# --- ends ---


def test_server_goes_away():
    with Server() as server:
        with top(server, "--interval", "200ms") as t:
            t.wait_text("q quit")
            server.cli("stop")
            assert t.wait_exit() == 1
            t.assert_restored()
            assert "no sluice answers at '%s'" % server.control in t.screen.text()
        server.start()


def test_server_comes_back():
    with Server() as server:
        with top(server, "--interval", "200ms") as t:
            t.wait_text("q quit")
            # Two seconds would be too long on a busy machine: the name is gone for a moment only.
            os.rename(server.control, server.control + ".away")
            t.wait_text("no sluice answers")
            os.rename(server.control + ".away", server.control)
            t.wait(lambda s: "no sluice answers" not in s and "q quit" in s, "the server again")
            t.press("q")
            assert t.wait_exit() == 0


def test_no_server():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "none.sock")
        with Terminal([SLUICE, "top", "--control", path]) as t:
            assert t.wait_exit() == 1
            assert "no sluice answers at '%s'" % path in t.screen.text().replace("\n", "")
            assert b"\x1b" not in t.raw


def test_signals_restore_the_terminal():
    with Server() as server:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            with top(server, "--interval", "10s") as t:
                t.wait_text("q quit")
                t.signal(number)
                assert t.wait_exit() == 0
                t.assert_restored()


def test_terminal_goes_away():
    with Server() as server:
        with top(server, "--interval", "10s") as t:
            t.wait_text("q quit")
            t.hang_up()
            t.proc.wait(10)


# --- plain lines ---


def test_once():
    with Server(workers=2) as server:
        fetch(server, 3)
        pids = [w["pid"] for w in server.workers()]
        done = server.cli("top", "--once", "--interval", "100ms")
        assert done.returncode == 0 and not done.stderr, done.stderr
        assert_table(done.stdout.rstrip("\n"), pids, 80)
        assert "\x1b" not in done.stdout
        # One sample: no rates, and the times are those since the start.
        done = server.cli("top", "--once", "--interval", "0")
        assert_table(done.stdout.rstrip("\n"), pids, 80)
        total = done.stdout.split("\n")[-2].split()
        assert total[0] == "total" and total[3:5] == ["-", "-"], total
        assert total[5].endswith("s") and total[6].endswith("s"), total
        server.cli("stop")
        done = server.cli("top", "--once")
        assert done.returncode == 1 and "no sluice answers" in done.stderr
        server.start()


def test_terminal_that_cannot_place_text():
    with Server(workers=2) as server:
        for kind in ("dumb", "no-such-terminal"):
            with top(server, "--interval", "200ms", kind=kind, columns=100, lines=100) as t:
                t.wait(lambda s: s.count("total") >= 2, "two views")
                assert b"\x1b" not in t.raw
                t.signal(signal.SIGINT)
                t.wait_exit()


def test_pipe():
    with Server() as server:
        p = subprocess.Popen(
            server.command("top", "-c", server.conf_path, "--interval", "100ms"), stdout=subprocess.PIPE
        )
        try:
            lines = []
            while sum(line.startswith(b"total") for line in lines) < 3:
                lines.append(p.stdout.readline())
            assert not any(b"\x1b" in line for line in lines)
        finally:
            p.stdout.close()  # as head does: it ends by SIGPIPE
            assert p.wait(10) in (-signal.SIGPIPE, 1)


# --- the kernel's own count ---


class RunsCounted:
    """BPF_ENABLE_STATS for as long as it is open: nothing of the machine stays changed."""

    def __enter__(self):
        number = {"x86_64": 321, "aarch64": 280}.get(platform.machine())
        if not number:
            raise Skip("no number of bpf(2) for %s" % platform.machine())
        libc = ctypes.CDLL(None, use_errno=True)
        attr = (ctypes.c_uint32 * 32)()
        self.fd = libc.syscall(number, 32, attr, 4)  # BPF_ENABLE_STATS, BPF_STATS_RUN_TIME is 0
        if self.fd < 0:
            raise Skip("the kernel refuses BPF_ENABLE_STATS: %s" % os.strerror(ctypes.get_errno()))
        return self

    def __exit__(self, *args):
        os.close(self.fd)


def test_verdicts_are_the_runs():
    need_bpffs()
    with RunsCounted(), Server(workers=2) as server:
        need_steering(server)
        for _ in range(50):
            fetch(server)
        steering = server.status()["steering"]
        assert steering["runs"] == steering["program_runs"] >= 50, steering
        done = server.cli("top", "--once", "--interval", "100ms")
        assert "= program runs" in done.stdout, done.stdout
        # As root with the map at hand, a count that is wrong shows.
        forge_verdicts(server, 1000)
        done = server.cli("top", "--once", "--interval", "0")
        assert "= program runs" not in done.stdout, done.stdout


def forge_verdicts(server, count):
    """Writes another number of `steered` into the map of all CPUs, by hand."""
    path = os.path.join(server.pin, "steer_verdicts")
    words = ["0x%02x" % b for b in count.to_bytes(8, "little") + bytes(56)]
    subprocess.run(
        ["bpftool", "map", "update", "pinned", path, "key", "0", "0", "0", "0", "value"] + words,
        check=True,
        env=dict(os.environ, PATH=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"),
    )


if __name__ == "__main__":
    main(__name__)
