# SPDX-License-Identifier: MIT
"""Start, stop, crash: what is in flight is finished, nothing is left, a dead worker comes back, poverty is survived."""
import contextlib
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import time

from harness import (
    Client,
    IS_ROOT,
    PATIENCE,
    ProtocolError,
    SLUICE,
    Server,
    Skip,
    cpu_ticks,
    get,
    is_alive,
    main,
    need_bpffs,
    need_root,
    need_tool,
    request,
    session_pids,
    wait_for,
)

BIG = 8 << 20
POOR = ("-bpf", "-sys_admin", "-perfmon", "-net_admin")


def start_download(server, target="/big.bin"):
    c = Client(server, rcvbuf=16384)
    c.send(request(target))
    while b"\r\n\r\n" not in c.data:
        assert c.fill()
    return c


def drains(sig):
    with Server(timeouts={"drain": "20s"}) as s:
        s.write("big.bin", b"x" * BIG)
        address = s.address()
        idle = Client(address)
        assert idle.request("/hello").status == 200
        busy = [start_download(s) for _ in range(4)]
        s.proc.send_signal(sig)
        assert idle.read_all() == b"", "an idle connection is closed"

        def is_closed_to_others():
            try:
                with socket.create_connection(address, 1) as c:
                    c.sendall(request("/hello"))
                    return not c.recv(100)
            except OSError:
                return True

        wait_for(is_closed_to_others, "nobody new is served")
        for c in busy:
            r = c.read_response()
            assert r.status == 200 and len(r.body) == BIG, "what is in flight is finished: %r" % r
            c.assert_closed()
        took = s.stop(None)
        assert took < 10, "it left only after %.1f s" % took


def test_sigterm_drains():
    drains(signal.SIGTERM)


def test_sigint_drains():
    drains(signal.SIGINT)


def test_answers_say_close_while_draining():
    with Server(timeouts={"drain": "20s", "body": "20s"}) as s:
        c = Client(s)
        c.send(b"POST /hello HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhe")
        s.wait_live(1)
        s.proc.send_signal(signal.SIGTERM)
        wait_for(lambda: is_refused(s), "draining")
        c.send(b"llo")
        r = c.read_response()
        assert r is not None and r.status == 200 and r.says_close(), r and r.fields
        c.assert_closed()
        s.stop(None)


def is_refused(server):
    try:
        return any(w["state"] == "draining" for w in server.status()["workers"])
    except (OSError, ValueError):
        return True


def test_drain_has_a_limit():
    with Server(timeouts={"drain": "500ms", "write": "60s"}) as s:
        s.write("big.bin", b"x" * BIG)
        stuck = start_download(s)
        took = s.stop(signal.SIGTERM)
        assert 0.3 < took < 8, took
        stuck.close()


def test_sigquit_stops_at_once():
    with Server(timeouts={"drain": "60s"}) as s:
        s.write("big.bin", b"x" * BIG)
        stuck = start_download(s)
        took = s.stop(signal.SIGQUIT)
        assert took < 5, took
        stuck.close()


def test_second_signal_stops_at_once():
    with Server(timeouts={"drain": "60s"}) as s:
        s.write("big.bin", b"x" * BIG)
        stuck = start_download(s)
        s.proc.send_signal(signal.SIGTERM)
        wait_for(lambda: is_refused(s), "draining")
        took = s.stop(signal.SIGTERM)
        assert took < 5, took
        stuck.close()


def test_stop_command_waits():
    with Server() as s:
        assert get(s.address(), "/hello").status == 200
        s.status()
        done = s.cli("stop")
        assert done.returncode == 0, done
        wait_for(lambda: s.proc.poll() is not None, "the master has left", 2)
        s.stop(None)


def test_commands_without_a_server_say_so():
    s = Server()
    try:
        s.launch()
        s.start_and_stop = None
        wait_for(s.ready, "ready")
        s.proc.send_signal(signal.SIGTERM)
        s.proc.wait(PATIENCE)
        for words in (("status",), ("status", "--json"), ("stop",)):
            done = s.cli(*words)
            assert done.returncode != 0 and s.control in done.stderr, done
            assert not done.stdout.strip(), done.stdout
    finally:
        s.abandon()


def test_status_in_both_forms():
    with Server(workers=3) as s:
        get(s.address(), "/hello")
        done = s.cli("status", "--json")
        assert done.returncode == 0, done
        status = json.loads(done.stdout)
        for w in status["workers"]:
            for key in ("slot", "cpu", "pid", "state", "live", "reserved", "accepted", "requests"):
                assert key in w, (key, w)
        assert sorted(w["slot"] for w in status["workers"]) == [0, 1, 2]
        assert sum(w["requests"] for w in status["workers"]) == 1
        steering = status["steering"]
        assert steering["policy"] == "least" and isinstance(steering["active"], bool)
        assert isinstance(steering["verdicts"], dict)
        assert re.fullmatch(r"127\.0\.0\.1:\d+", status["listen"][0]["address"])
        text = s.cli("status")
        assert text.returncode == 0 and all(
            str(w["pid"]) in text.stdout for w in status["workers"]
        ), text
        by_control = subprocess.run(
            [SLUICE, "status", "--json", "--control", s.control], stdout=subprocess.PIPE
        )
        assert json.loads(by_control.stdout)["workers"][0]["pid"] == status["workers"][0]["pid"]


def test_workers_are_confined():
    need_root()
    with Server(workers=2) as s:
        cpus = []
        for w in s.workers():
            with open("/proc/%d/status" % w["pid"]) as f:
                facts = dict(
                    line.split(":\t", 1) for line in f.read().splitlines() if ":\t" in line
                )
            assert (
                set(facts["Uid"].split()) == {"65534"} and "0" not in facts["Gid"].split()
            ), facts["Uid"]
            assert (
                int(facts["CapEff"], 16)
                == int(facts["CapPrm"], 16)
                == int(facts["CapBnd"], 16)
                == 0
                or int(facts["CapEff"], 16) == int(facts["CapPrm"], 16) == 0
            ), facts["CapEff"]
            assert facts["NoNewPrivs"].strip() == "1"
            print("  worker %d: Seccomp %s" % (w["slot"], facts["Seccomp"].strip()))
            assert facts["Cpus_allowed_list"].strip() == str(w["cpu"]), facts["Cpus_allowed_list"]
            cpus.append(w["cpu"])
        assert len(set(cpus)) == min(2, len(os.sched_getaffinity(0))), cpus


def test_killed_master_takes_its_workers_along():
    s = Server().start()
    try:
        pids = [w["pid"] for w in s.workers()]
        with Client(s) as c:
            assert c.request("/hello").status == 200
            s.proc.kill()
            s.proc.wait(PATIENCE)
            wait_for(lambda: not any(is_alive(p) for p in pids), "the workers leave")
            assert c.read_all() == b""
        # What it left behind (pins, the control socket) is no obstacle to the next one.
        again = Server(config=s.text, pin=s.pin, www=s.www)
        again.control = s.control
        with again:
            assert get(again.address(), "/hello").status == 200
            assert again.status()["steering"]["active"] == bool(s.pin) or not IS_ROOT
    finally:
        s.abandon()


def test_killed_worker_comes_back():
    # A busy machine stops workers for longer than `stall`, and then others are chosen.
    with Server(workers=4, steering={"stall": "off"}) as s:
        clients = [Client(s) for _ in range(40)]
        assert all(c.request("/hello").status == 200 for c in clients)
        s.wait_live(40)
        victim = s.workers()[1]
        assert victim["live"] > 0, "the test needs connections on slot 1"
        os.kill(victim["pid"], signal.SIGKILL)
        wait_for(
            lambda: s.workers()[1]["pid"] not in (0, victim["pid"])
            and s.workers()[1]["state"] == "running",
            "a new worker on slot 1",
        )
        lost = 0
        for c in clients:
            try:
                c.send(request("/hello"))
                r = c.read_response()
            except ProtocolError:
                r = None
            lost += r is None
        assert lost == victim["live"], "%d connections lost, %d were the victim's" % (
            lost,
            victim["live"],
        )
        s.wait_live(40 - lost)
        w = s.workers()
        assert w[1]["live"] == 0 and w[1]["restarts"] == 1, w[1]
        assert sum(x["restarts"] for x in w) == 1
        more = [Client(s) for _ in range(lost)]
        assert all(c.request("/hello").status == 200 for c in more)
        if s.status()["steering"]["active"]:
            live = [x["live"] for x in s.workers()]
            assert max(live) - min(live) <= 2, "the new worker is filled up again: %s" % live
        for c in clients + more:
            c.close()
        s.wait_live(0)


def test_connections_in_the_queue_of_a_killed_worker_are_served():
    """The listening sockets are the master's: a queue outlives the worker that would have accepted from it."""
    with Server(workers=1) as s:
        address = s.address()
        pid = s.workers()[0]["pid"]
        os.kill(pid, signal.SIGSTOP)
        wait_for(lambda: stopped(pid), "the worker is stopped")
        clients = [Client(address) for _ in range(50)]
        for c in clients:
            c.send(request("/hello"))
        os.kill(pid, signal.SIGKILL)
        for c in clients:
            r = c.read_response()
            assert r is not None and r.status == 200, "lost in the queue"


def stopped(pid):
    with open("/proc/%d/stat" % pid) as f:
        return f.read().rpartition(")")[2].split()[0] == "T"


def test_worker_killed_again_and_again():
    with Server(workers=2) as s:
        for turn in range(4):
            pid = s.workers()[0]["pid"]
            if pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            wait_for(
                lambda: s.workers()[0]["pid"] not in (0, pid)
                and s.workers()[0]["state"] == "running",
                "worker 0 is back for the %d. time" % (turn + 1),
                30,
            )
            assert get(s.address(), "/hello").status == 200
        assert s.workers()[0]["restarts"] == 4 and s.workers()[1]["restarts"] == 0


def test_errors_of_a_file_come_all_at_once():
    text = """workers = many
controll = "/run/x"
listen "127.0.0.1:99999" { }
listen "127.0.0.1:0" { baklog = 5 }
steering { policy = "leest" stall = 20parsecs }
site "*" { route "nope" { files = "/does/not/exist" } }
timeouts { header = -1s }
"""
    s = Server(config=text)
    try:
        with open(s.conf_path, "w") as f:
            f.write(text)
        done = s.cli("check")
        assert done.returncode != 0
        said = done.stderr + done.stdout
        for line in (1, 2, 3, 4, 5, 6, 7):
            assert re.search(r"sluice\.conf:%d\b" % line, said), "line %d is not blamed:\n%s" % (
                line,
                said,
            )
        for hint in ("control", "backlog", "least"):
            assert hint in said, "%s is not offered:\n%s" % (hint, said)
        run = s.cli("run")
        assert (
            run.returncode != 0
            and run.stderr.replace("sluice run:", "sluice check:") == done.stderr
        ), (run.stderr, done.stderr)
        missing = subprocess.run(
            [SLUICE, "check", "-c", "/does/not/exist"],
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            universal_newlines=True,
        )
        assert missing.returncode != 0 and "/does/not/exist" in missing.stderr
    finally:
        s.abandon()


def test_good_file_passes_the_check():
    s = Server()
    try:
        with open(s.conf_path, "w") as f:
            f.write(s.text)
        done = s.cli("check")
        assert done.returncode == 0, done
    finally:
        s.abandon()


def test_wrong_command_lines():
    for words in (
        ["nonsense"],
        ["run", "--nonsense"],
        ["files"],
        ["files", "/does/not/exist"],
        ["status", "x"],
    ):
        done = subprocess.run(
            [SLUICE] + words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=20
        )
        assert done.returncode not in (0, -6, -11) and done.stderr, words
    for words in (["--help"], ["--version"]):
        done = subprocess.run(
            [SLUICE] + words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=20
        )
        assert done.returncode == 0 and done.stdout, words


def test_address_in_use():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        s = Server(listens=["127.0.0.1:%d" % taken.getsockname()[1]]).launch()
        try:
            assert s.proc.wait(PATIENCE) != 0
            assert (
                "127.0.0.1:%d" % taken.getsockname()[1] in s.stderr() and "in use" in s.stderr()
            ), s.stderr()
            s.assert_gone(s.proc.pid)
        finally:
            s.abandon()


def test_second_server_on_the_same_control_socket():
    with Server() as s:
        second = Server(config=s.text, pin=s.pin, www=s.www)
        try:
            second.launch()
            assert (
                second.proc.wait(PATIENCE) != 0
            ), "it would take over the first one's control socket and pins"
            assert second.stderr().strip()
        finally:
            second.pin = ""
            second.abandon()
        assert get(s.address(), "/hello").status == 200
        assert s.status()["workers"]
        assert not s.pin or os.path.isdir(s.pin), "the first one's pins are gone"


def test_without_root():
    s = Server(pin="")
    if IS_ROOT:
        setpriv = need_tool("setpriv")
        shutil.copy(SLUICE, s.dir)
        os.chmod(os.path.join(s.dir, "sluice"), 0o755)
        s.command = lambda *words: [os.path.join(s.dir, "sluice")] + list(words)
        s.wrap = [
            setpriv,
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--inh-caps=-all",
            "--bounding-set=-all",
        ]
        os.chown(s.dir, 65534, 65534)
    with s:
        s.write("a.txt", "content")
        assert get(s.address(), "/a.txt").body == b"content"
        status = s.status()
        assert status["steering"]["active"] is False
        with Client(s) as c:
            assert c.request("/hello").status == 200
            s.wait_live(1)
        s.wait_live(0)


def poor(**more):
    """A server that is root and may not load BPF."""
    need_root()
    return Server(wrap=[need_tool("setpriv"), "--bounding-set=" + ",".join(POOR)], **more)


def test_without_bpf_it_serves_and_warns_once():
    with poor(workers=2) as s:
        status = s.status()
        assert status["steering"]["active"] is False, status["steering"]
        warnings = [
            x for x in s.stderr().splitlines() if re.search(r"\bwarn", x) and "steer" in x.lower()
        ]
        assert len(warnings) == 1, s.stderr()
        clients = [Client(s) for _ in range(20)]
        assert all(c.request("/hello").status == 200 for c in clients)
        s.wait_live(20)
        for c in clients:
            c.close()
        s.wait_live(0)
        assert sum(w["accepted"] for w in s.workers()) == 20


def test_required_steering_without_bpf_is_an_error():
    s = poor(steering={"required": True}).launch()
    try:
        assert s.proc.wait(PATIENCE) != 0
        assert re.search(r"\berror", s.stderr()) and "steer" in s.stderr().lower(), s.stderr()
        s.assert_gone(s.proc.pid)
    finally:
        s.abandon()


def test_required_steering_with_bpf():
    need_bpffs()
    with Server(steering={"required": True}) as s:
        assert s.status()["steering"]["active"] is True
        assert sorted(os.listdir(s.pin)), "nothing is pinned"


def test_disabled_steering():
    with Server(steering={"enabled": False}) as s:
        assert s.status()["steering"]["active"] is False
        assert get(s.address(), "/hello").status == 200


def test_out_of_descriptors():
    limit = 64
    wrap = ["sh", "-c", 'ulimit -n %d; exec "$@"' % limit, "sh"]
    if IS_ROOT:
        wrap = [need_tool("setpriv"), "--bounding-set=-sys_resource"] + wrap
    with Server(workers=1, wrap=wrap) as s:
        address = s.address()
        pid = s.workers()[0]["pid"]
        clients = [Client(address) for _ in range(2 * limit)]
        wait_for(
            lambda: s.workers()[0]["accept_pauses"]
            + s.workers()[0]["accept_errors"]
            + s.workers()[0]["closed"]["refused"]
            > 0,
            "the limit is felt",
        )
        before = cpu_ticks(pid)
        select.select([], [], [], 1.0)  # the span that is measured
        ticks = cpu_ticks(pid) - before
        assert ticks <= 0.2 * os.sysconf("SC_CLK_TCK"), (
            "%d ticks in one second: something spins" % ticks
        )
        served = 0
        for c in clients[:20]:
            c.send(request("/hello"))
            c.sock.settimeout(PATIENCE)
            r = c.read_response()
            served += r is not None and r.status == 200
        assert served >= 15, "connections that are in go on: %d" % served
        for c in clients:
            c.close()
        s.wait_live(0)
        for _ in range(5):
            assert get(address, "/hello").status == 200
        s.assert_no_worker_died()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_files_command_needs_no_file():
    """`sluice files DIR -l ADDR`: on its default control socket, so not where a server already has it."""
    if os.path.exists("/run/sluice/control.sock"):
        raise Skip("a server has /run/sluice/control.sock")
    need_root()
    s = Server(pin="")
    s.write("index.html", "served without a file")
    address = ("127.0.0.1", free_port())
    with open(s.stdout_path, "wb") as out:
        proc = subprocess.Popen(
            [SLUICE, "files", s.www, "-l", "%s:%d" % address],
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:

        def says_where():
            with open(s.stdout_path) as out:
                text = out.read()
            assert proc.poll() is None, text
            return "%s:%d" % address in text

        wait_for(says_where, "it says where it serves")
        assert get(address, "/").body == b"served without a file"
        proc.send_signal(signal.SIGTERM)
        assert proc.wait(PATIENCE) == 0
        assert not session_pids(proc.pid)
        assert not os.path.exists("/run/sluice/control.sock")
    finally:
        if proc.poll() is None:
            proc.kill()
            proc.wait()
        s.abandon()


def test_burst_of_starts_and_stops():
    began = time.monotonic()
    for _ in range(5):
        with Server(workers=2):
            pass
    assert time.monotonic() - began < 30


if __name__ == "__main__":
    main(__name__)
