# SPDX-License-Identifier: MIT
"""Upgrade: another program in the place of the one that runs, and no client notices.

The process that a test starts is the first master; who it is at the moment, `status` says.  All of them belong to the
session of the first, so the end of every test shows that none is left.
"""
import contextlib
import ctypes
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

import backend
import datagrams
import nameserver
import proxy
import redis_peer
from harness import (
    IS_SANITIZED,
    PATIENCE,
    SLUICE,
    Client,
    Server,
    Skip,
    get,
    is_alive,
    main,
    need_bpffs,
    need_root,
    raise_descriptor_limit,
    request,
    session_pids,
    wait_for,
)
from load import KeptLoad, Load
from test_reload import (
    FAIL_C,
    assert_counts,
    assert_verdicts,
    children,
    control,
    make_holdable,
    preload,
    reload,
    set_key,
    settled,
    shown,
    wait_drained,
    write_config,
)
from test_systemd import Manager, activated, address_of, listening
from websocket import WebSocket, frame

LIBC = ctypes.CDLL(None, use_errno=True)
PIDFD_GETFD = 438
TCP_NOTSENT_LOWAT = 25


class Upgraded(Server):
    """A server whose master changes: stopped by its control socket, and its first process may be gone long before."""

    def stop(self, sig=None, timeout=None):
        began = time.monotonic()
        session = self.proc.pid
        if not os.path.exists(self.dir):
            return 0  # stopped and inspected already
        done = control(self, "stop")
        assert done.returncode == 0, done.stderr + self.stderr()
        assert self.proc.wait(PATIENCE) == 0, "a master that was followed ends with success"
        try:
            self.assert_gone(session, patience=2)
            self.assert_clean_stderr()
        finally:
            self.abandon()
        return time.monotonic() - began


def proxied(backends, **more):
    """proxy.proxy() with a server of this kind."""
    s = proxy.proxy(backends, **more)
    s.__class__ = Upgraded
    return s


def upgrade(server, *words):
    """`sluice upgrade --json`; what it reports."""
    done = server.cli("upgrade", "--json", *words)
    assert done.returncode == 0, done.stdout + done.stderr + server.stderr()
    report = json.loads(done.stdout)
    assert server.status()["pid"] == report["pid"], "the new master answers"
    return report


def master(server):
    return server.status()["pid"]


def files_of(pid):
    return len(os.listdir("/proc/%d/fd" % pid))


def script(server, name, text):
    path = os.path.join(server.dir, name)
    with open(path, "w") as f:
        f.write("#!/bin/sh\n" + text + "\n")
    os.chmod(path, 0o755)
    return path


# --- it serves ---


def test_another_master_serves():
    with Upgraded(workers=2) as s, Client(s) as kept:
        first, pins = master(s), sorted(os.listdir(s.pin)) if s.pin else []
        for _ in range(7):
            assert kept.request("/hello").status == 200
        # A request is counted when its reply has ended, which its client does not wait for.
        wait_for(lambda: s.status()["totals"]["requests"] == 7, "all of them are counted")
        before = s.status()
        report = upgrade(s)
        assert report["generation"] == 2 and report["moved"] == 1 and report["warnings"] == [], report
        assert report["workers"] == {"before": 2, "after": 2} and report["binary"] == SLUICE, report
        assert report["pid"] != first and report["version"] == before["version"], report
        assert s.proc.wait(PATIENCE) == 0, "the old master ends when its workers have gone"
        assert kept.request("/hello").status == 200 and get(s.address(), "/hello").body == b"hello"
        after = s.status()
        assert after["generation"] == 2 and all(w["generation"] == 2 for w in after["workers"])
        wait_for(lambda: s.status()["totals"]["requests"] == 9, "counters go on")
        assert after["totals"]["accepted"] == before["totals"]["accepted"] + 1
        assert after["uptime_s"] >= before["uptime_s"], "so does the life of the server"
        if s.pin:
            assert sorted(os.listdir(s.pin)) == pins and after["steering"]["pin"] == s.pin
            assert_verdicts(s)
        assert reload(s)["generation"] == 3 and kept.request("/hello").status == 200
        done = s.cli("upgrade")
        assert done.returncode == 0 and "serves after" in done.stdout and "moved" in done.stdout, done
        assert kept.request("/hello").status == 200
        wait_drained(s)
        assert_counts(s, 1)


def test_signal():
    with Upgraded(workers=2) as s, Client(s) as kept:
        assert kept.request("/hello").status == 200
        first = master(s)
        s.proc.send_signal(signal.SIGUSR2)
        wait_for(lambda: master(s) != first, "another master")
        assert s.proc.wait(PATIENCE) == 0 and kept.request("/hello").status == 200


def test_program_at_another_path():
    """What was started with it is what the next upgrade takes, whatever has become of the file since."""
    with Upgraded(workers=1) as s:
        other = os.path.join(s.dir, "other")
        shutil.copy(SLUICE, other)
        assert upgrade(s, "--binary", "./other")["binary"] == s.dir + "/./other"
        assert os.readlink("/proc/%d/exe" % master(s)) == other
        shutil.copy(SLUICE, other + ".new")
        os.rename(other + ".new", other)
        assert os.readlink("/proc/%d/exe" % master(s)).endswith(" (deleted)")
        upgrade(s)
        assert os.readlink("/proc/%d/exe" % master(s)) == other
        assert get(s.address(), "/hello").status == 200


def test_server_of_one_line():
    """Without a file: the arguments say it all."""
    s = Upgraded(pin="")
    s.write("index.html", "x")
    with open(s.stdout_path, "wb") as out, open(s.stderr_path, "wb") as err:
        s.proc = subprocess.Popen(
            [SLUICE, "files", s.www, "-l", "127.0.0.1:0", "--control", s.control],
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
    try:
        wait_for(s.ready, "it serves")
        first = master(s)
        done = control(s, "upgrade")
        assert done.returncode == 0 and master(s) != first, done
        assert get(s.address(), "/").body == b"x"
        s.stop()
    finally:
        s.abandon()


def test_other_configuration():
    with Upgraded(workers=2, listens=["127.0.0.1:0", "127.0.0.2:0"]) as s:
        kept = [Client(s.address(i)) for i in (0, 1)]
        for c in kept:
            assert c.request("/hello").status == 200
        gone = s.address(1)
        for count, routes in ((4, "/new"), (1, "/hello"), (3, "/new")):
            text = re.sub('"/(hello|new)"', '"%s"' % routes, s.text).replace('"127.0.0.2:0"', '"127.0.0.3:0"')
            write_config(s, text)
            before = len(s.workers())
            set_key(s, "workers", count)
            assert upgrade(s)["workers"] == {"before": before, "after": count}
            assert len(s.workers()) == count
            for c in kept:
                assert c.request(routes).status == 200, "connections outlive their address"
        assert get(s.address(1), "/new").status == 200 and s.address(1)[0] == "127.0.0.3"
        with contextlib.suppress(ConnectionRefusedError):
            Client(gone)
            raise AssertionError("an address that is gone still takes connections")
        if s.pin:
            assert_verdicts(s)
        wait_drained(s)
        assert shown(s) == 2
        write_config(s, s.text.replace(s.control, s.control + "2"))
        done = control(s, "upgrade")
        assert done.returncode == 0 and "'control' cannot change" in done.stdout, done


def listening_option(pid, port, level, option):
    """Of the sockets that a process listens with at that port: {value}."""
    found = set()
    process = os.pidfd_open(pid)
    for name in os.listdir("/proc/%d/fd" % pid):
        fd = LIBC.syscall(PIDFD_GETFD, process, int(name), 0)
        with contextlib.suppress(OSError), socket.socket(fileno=fd) if fd >= 0 else contextlib.nullcontext() as s:
            if s and s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and s.getsockname()[1] == port:
                found.add(s.getsockopt(level, option))
    os.close(process)
    return found


def test_options_of_sockets_follow_the_file():
    """What a socket has is told to the new master, or it would think there is nothing to change."""
    need_root()
    with Upgraded(listens=[("127.0.0.1:0", {"unsent": "64k", "defer_accept": "2s", "nodelay": True})]) as s:
        port = s.address()[1]
        assert listening_option(master(s), port, socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT) == {65536}
        changes = (
            ("unsent = 64k", "unsent = off", TCP_NOTSENT_LOWAT),
            ("defer_accept = 2s", "defer_accept = off", socket.TCP_DEFER_ACCEPT),
            ("nodelay = true", "nodelay = false", socket.TCP_NODELAY),
        )
        # One after the other: where anything has changed, all are set.
        for given, wanted, option in changes:
            assert given in s.text, s.text
            write_config(s, s.text.replace(given, wanted))
            upgrade(s)
            assert listening_option(master(s), port, socket.IPPROTO_TCP, option) == {0}, wanted


def test_what_operators_have_set_stays():
    need_bpffs()
    with Upgraded(workers=2, steering={"policy": "least"}) as s:
        for words in (("policy", "rr"), ("weight", "1", "300"), ("drain", "0")):
            assert s.cli("steer", *words).returncode == 0
        upgrade(s)
        assert s.status()["steering"]["policy"] == "rr"
        assert [w["weight"] for w in s.workers()] == [0, 300]
        assert s.cli("steer", "undrain", "0").returncode == 0
        assert [w["weight"] for w in s.workers()] == [100, 300]


def under_load(s, times, rate=500):
    address = s.address()
    raise_descriptor_limit(4096)
    rate = 200 if IS_SANITIZED else rate
    span = 1 + times * (1.2 if IS_SANITIZED else 0.3)
    kept, load = KeptLoad(address, rate, span, 50), Load(address, rate, span)
    accepted = requests = 0
    for _ in range(times):
        upgrade(s)
        totals = s.status()["totals"]
        assert totals["accepted"] >= accepted and totals["requests"] >= requests, "totals never go back"
        accepted, requests = totals["accepted"], totals["requests"]
        time.sleep(0.1)  # load of its own accord in between
    rows, seen = load.result(), kept.result()
    bad = [r for r in rows if r[2]]
    assert not bad, "%d of %d: %s" % (len(bad), len(rows), bad[:5])
    assert not seen["failed"] and not seen["closes"] and not seen["idle_closed"], seen
    wait_drained(s)
    s.wait_live(0)
    totals = s.status()["totals"]
    assert totals["accepted"] == len(rows) + 50, (totals["accepted"], len(rows))
    print("     %d new, %d kept requests, %d upgrades" % (len(rows), seen["requests"], times))


def test_under_load():
    with Upgraded(workers=2) as s:
        under_load(s, 6)
        if s.pin:
            assert_verdicts(s)


def test_without_steering():
    with Upgraded(workers=2, steering={"enabled": False}) as s:
        under_load(s, 2, 200)
        assert s.status()["steering"]["active"] is False


def test_datagrams_without_steering():
    """Sockets of both programs are open for a while, the kernel gives datagrams to all of them, and all are read."""
    udp = ("127.0.0.1", datagrams.free_udp_port())
    extra = datagrams.udp_listen("%s:%d" % udp, udp="echo")
    with Upgraded(workers=2, steering={"enabled": False}, timeouts={"drain": "3s"}, extra=extra) as s, contextlib.ExitStack() as stack:
        flows = [stack.enter_context(datagrams.udp_client(udp)) for _ in range(16)]
        for turn in range(3):
            for flow in flows:
                assert datagrams.ask(flow, b"%d" % turn) == b"%d" % turn
            if turn == 0:
                upgrade(s)


def test_without_pins():
    with Upgraded(workers=2, pin="", extra='pin = "off"\n') as s:
        under_load(s, 2, 200)
        assert s.status()["steering"].get("pin") is None


def test_sockets_of_a_service_manager():
    with listening() as sock:
        s = activated([sock], listens=["127.0.0.1:0", address_of(sock)], workers=2)
        s.__class__ = Upgraded
        with s:
            assert get(sock.getsockname(), "/hello").status == 200
            full = s.text
            upgrade(s)
            write_config(s, full.replace('listen "%s" {\n}\n' % address_of(sock), ""))
            upgrade(s)
            assert len(s.status()["listen"]) == 1
            late = Client(sock.getsockname())
            late.send(request("/hello"))
            write_config(s, full)
            upgrade(s)
            assert late.read_response().body == b"hello", "who came meanwhile has waited"
            assert all(get(sock.getsockname(), "/hello").status == 200 for _ in range(10))
            late.close()


def test_service_manager():
    s = Upgraded(workers=2)
    s.env.update(NOTIFY_SOCKET=os.path.join(s.dir, "notify"), WATCHDOG_USEC="100000")
    with Manager(s.env["NOTIFY_SOCKET"]) as manager:
        s.launch()
        manager.wait("READY")
        wait_for(s.ready, "it answers")
        known = len(manager.read())
        report = upgrade(s)
        wait_for(lambda: any("READY" in m for m in manager.read()[known:]), lambda: "ready again: %s" % manager.messages)
        words = [m for m in manager.messages[known:] if "WATCHDOG" not in m]
        assert [sorted(m)[0] for m in words] == ["MONOTONIC_USEC", "MAINPID", "READY"], words
        assert words[1]["MAINPID"] == str(report["pid"]) and "generation 2" in words[2]["STATUS"], words
        s.proc.wait(PATIENCE)
        fed = len(manager.of("WATCHDOG"))
        manager.wait("WATCHDOG", fed + 3)
        s.stop()
        assert manager.wait("STOPPING")


# --- it fails, and nothing has changed ---


@contextlib.contextmanager
def unchanged(s):
    """Around an upgrade that fails."""
    before = s.status()
    pids = session_pids(s.proc.pid)
    files = files_of(before["pid"])
    yield
    now = s.status()
    assert now["pid"] == before["pid"] and now["generation"] == before["generation"], now
    assert [w["pid"] for w in now["workers"]] == [w["pid"] for w in before["workers"]]
    wait_for(lambda: sorted(session_pids(s.proc.pid)) == sorted(pids), "no process is left over")
    wait_for(lambda: files_of(before["pid"]) == files, "no descriptor is left over")
    if s.pin:
        assert "steer_new" not in os.listdir(s.pin)
    assert get(s.address(), "/hello").status == 200


def refused(s, expected, *words, ask=None):
    with unchanged(s):
        done = ask(s, "upgrade") if ask else s.cli("upgrade", *words)
        assert done.returncode == 1 and not done.stdout, done
        assert re.search(expected, done.stderr), "%r in %r" % (expected, done.stderr)
        assert "not upgraded, nothing has changed" in s.stderr()


def test_programs_that_fail():
    with Upgraded(workers=2) as s, Client(s) as kept:
        assert kept.request("/hello").status == 200
        get(s.address(), "/hello")
        refused(s, "cannot execute '/does/not/exist': No such file", "--binary", "/does/not/exist")
        refused(s, "cannot execute .*: Permission denied", "--binary", s.conf_path)
        data = os.path.join(s.dir, "data")
        shutil.copy(s.conf_path, data)
        os.chmod(data, 0o755)
        refused(s, "cannot execute .*: Exec format error", "--binary", data)
        says = script(s, "says", "echo the library is missing >&2; exit 3")
        refused(s, "(?s)the library is missing\n.*ended with status 3", "--binary", says)
        assert "the library is missing" in s.stderr(), "the log has it too"
        refused(s, "killed by signal 11", "--binary", script(s, "crashes", "kill -SEGV $$"))
        refused(s, "ended with status 0", "--binary", script(s, "ends", "exit 0"))
        # It knows nothing of us and starts as ever.
        refused(s, "another sluice answers", "--binary", script(s, "old", 'unset SLUICE_UPGRADE_FD; exec %s "$@"' % SLUICE))
        refused(s, r"not ready in time \(0.3 s\)", "--binary", script(s, "hangs", "exec sleep 1000"), "--timeout", "300ms")
        refused(s, "killed by signal 9", "--binary", script(s, "closes", "exec 9>&- 8>&- 7>&-; kill -KILL $$"))
        # Much to say: neither of us waits for the other.
        refused(s, "ended with status 1", "--binary", script(s, "talks", "yes nonsense | head -c 300000 >&2; exit 1"))
        assert kept.request("/hello").status == 200
        assert upgrade(s)["generation"] > 2, "numbers of attempts that failed are not given again"
        assert kept.request("/hello").status == 200


def test_configuration_that_fails():
    with Upgraded(workers=2) as s, socket.socket() as other:
        good = s.text
        write_config(s, good.replace("workers = 2", "workers = many") + "nonsense = 1\n")
        refused(s, r"(?s)sluice\.conf:1: error.*nonsense.*2 errors", ask=control)
        other.bind(("127.0.0.1", 0))
        other.listen()
        text = address_of(other)
        write_config(s, good.replace("workers = 2", "workers = 3") + 'listen "127.0.0.1:0" { }\nlisten "%s" { }\n' % text)
        refused(s, r"(?s)sluice\.conf:\d+: cannot bind '%s': Address already in use.*cannot be put to work" % text)
        write_config(s, good + 'log { access = "/proc/no.log" }\n')
        refused(s, "cannot open access log")
        write_config(s, good)
        upgrade(s)


def test_worker_that_cannot_start():
    s = Upgraded(workers=2)
    fail = os.path.join(s.dir, "fail")
    # Not of the master, which needs it too: where nobody but root may look the workers do not see it.
    preload(s, FAIL_C, FAIL_FILE=fail)
    with s, Client(s) as kept:
        assert kept.request("/hello").status == 200
        with open(fail, "w"):
            os.chmod(fail, 0o644)
        refused(s, "Too many open files")
        os.unlink(fail)
        upgrade(s)
        assert kept.request("/hello").status == 200


def waits_in_its_sandbox(pid):
    with open("/proc/%d/status" % pid) as f:
        text = f.read()
    return "State:\tS" in text and "Seccomp:\t2" in text


def test_go_that_comes_too_late():
    """A new worker dies between 'ready' and 'go': there is nothing left to go on with, and nobody tries."""
    s = Upgraded(workers=2)
    hold = make_holdable(s)
    with s, Client(s) as kept:
        assert kept.request("/hello").status == 200
        if not waits_in_its_sandbox(s.workers()[0]["pid"]):
            raise Skip("without a sandbox nobody sees from outside that a worker is ready")
        first = master(s)
        with open(hold, "w"):
            pass
        asking = subprocess.Popen([SLUICE, "upgrade", "--control", s.control], stderr=subprocess.PIPE, text=True)
        wait_for(lambda: "starts as pid" in s.stderr(), "it starts")
        pid = int(re.findall(r"starts as pid (\d+)", s.stderr())[-1])
        wait_for(lambda: len(children(pid)) == 2, "it has all descriptors, and workers")
        workers = sorted(children(pid))
        os.kill(first, signal.SIGSTOP)
        os.unlink(hold)
        wait_for(lambda: all(waits_in_its_sandbox(w) for w in workers), "they are ready")
        # One that does not move keeps its master for a second more.
        os.kill(workers[0], signal.SIGSTOP)
        os.kill(workers[1], signal.SIGKILL)
        wait_for(lambda: "cannot take over: a new worker" in s.stderr(), "it gives up")
        os.kill(first, signal.SIGCONT)
        said = asking.communicate(timeout=PATIENCE)[1]
        assert asking.returncode == 1 and "a new worker" in said, said
        wait_for(lambda: not is_alive(pid) and not is_alive(workers[0]), "nothing of it is left")
        said = s.stderr()
        assert "taken back" in said, "the word was given"
        assert "1 workers of generation 2 did not end in time" in said, "it has lived on to the end of its workers"
        assert master(s) == first and kept.request("/hello").status == 200
        assert_counts(s, 1)
        upgrade(s)
        assert kept.request("/hello").status == 200


# The new master takes the slots, and its order to the old one (struct upgrade_leave) is late.
LATE_ORDER_C = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/socket.h>
#include <unistd.h>

ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
	ssize_t (*real)(int, const struct msghdr *, int) = dlsym(RTLD_NEXT, "sendmsg");

	if (m->msg_iov[0].iov_len == 518 && *(const char *)m->msg_iov[0].iov_base == 'H')
		usleep(100000);
	return real(fd, m, flags);
}
"""


def test_workers_that_see_the_change_before_their_master():
    """One under load stops by itself as soon as the slot is another's; its word must not get lost on the way."""
    s = Upgraded(workers=1)
    preload(s, LATE_ORDER_C)
    with s, Client(s) as kept, Client(s) as half:
        # Its end would say it too: this keeps it.
        half.send("GET /hello HTTP/1.1\r\n")
        s.wait_live(2)
        asking = subprocess.Popen([SLUICE, "upgrade", "--json", "--control", s.control], stdout=subprocess.PIPE)
        while asking.poll() is None:
            assert kept.request("/hello").status == 200
        report = json.loads(asking.communicate()[0])
        assert asking.returncode == 0 and report["took_ms"] >= 100, report
        assert "do not move" not in s.stderr(), s.stderr()
        half.send("Host: test\r\n\r\n")
        assert half.read_response().status == 200


def stop_in_its_start(s, first, pid):
    """Stops the new master where it stands; True when the first is the server still."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        # Who accepts on the control socket is who would have to be killed to end the server.
        with contextlib.suppress(OSError, ValueError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as c:
            c.settimeout(0.1)
            c.connect(s.control)
            c.sendall(b'{"command":"status"}\n')
            return json.loads(c.makefile().read())["status"]["pid"] == first
    return False


def test_new_master_that_is_killed():
    """As long as the old one answers nothing has happened; later the end of the new one is the end of the server."""
    turns, kills = 10, 0
    udp = ("127.0.0.1", datagrams.free_udp_port())
    extra = datagrams.udp_listen("%s:%d" % udp, udp="echo", timeout="100ms")
    with Upgraded(workers=2, extra=extra) as s, Client(s) as kept, datagrams.udp_client(udp) as flow:

        def flow_kept():
            """How often a datagram of a flow went where that flow was, this one included."""
            assert datagrams.ask(flow, b"x") == b"x"
            listen = s.status()["udp"]["listen"][0]
            return listen["verdicts"]["kept"] if listen["steered"] else None

        assert kept.request("/hello").status == 200
        began = time.monotonic()
        upgrade(s)
        # So long does it take on this machine at the moment: the kills shall come all along it.
        span = time.monotonic() - began
        for turn in range(turns):
            first, known, count = master(s), s.stderr().count("starts as pid"), flow_kept()
            asked = subprocess.Popen(
                [SLUICE, "upgrade", "--control", s.control], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            wait_for(lambda: s.stderr().count("starts as pid") > known, "it starts")
            pid = int(re.findall(r"starts as pid (\d+)", s.stderr())[-1])
            time.sleep(span * turn / turns)
            is_killed = stop_in_its_start(s, first, pid)
            with contextlib.suppress(ProcessLookupError):
                if is_killed:
                    os.kill(pid, signal.SIGKILL)
                os.kill(pid, signal.SIGCONT)
            out, err = asked.communicate(timeout=PATIENCE)
            if is_killed:
                kills += 1
                assert asked.returncode == 1 and "killed by signal 9" in err and master(s) == first, (out, err)
            else:
                assert asked.returncode == 0 and master(s) == pid, (out, err)
            assert kept.request("/hello").status == 200
            assert get(s.address(), "/hello").status == 200
            now = flow_kept()
            assert not is_killed or count is None or now == count + 1, "the program that placed the flow is in force"
            wait_drained(s)
            wait_for(lambda: s.status()["udp"]["live"] == 0, "the flow's session is over")
            assert_counts(s, 1)
        print("     %d of %d killed, %d of these took slots back" % (kills, turns, s.stderr().count("taken back")))
        assert kills >= 2
        flow_kept()
        upgrade(s)
        assert kept.request("/hello").status == 200
        if s.pin:
            assert_verdicts(s)


# --- in company ---


def test_while_a_reload_runs():
    with Upgraded(workers=2) as s, Client(s) as c:
        done = {}

        def ask(word):
            done[word] = s.cli(*word.split())

        for turn in range(3):
            first = master(s)
            both = [threading.Thread(target=ask, args=(w,)) for w in ("reload --json", "upgrade --json", "upgrade")]
            for t in both:
                t.start()
                time.sleep(0.002 * turn)
            for t in both:
                t.join()
            assert master(s) != first
            upgrades = [done["upgrade --json"], done["upgrade"]]
            assert any(d.returncode == 0 for d in upgrades), upgrades
            said = done["reload --json"]
            assert said.returncode == 0 or "another master serves now" in said.stderr, said
            for d in upgrades:
                assert d.returncode == 0 or "another" in d.stderr, d
            assert c.request("/hello").status == 200
        wait_drained(s)
        assert_counts(s, 1)


def test_stop_while_it_runs():
    for delay in (0, 0.01, 0.03, 0.05):
        with Upgraded(workers=2) as s, Client(s) as c:
            assert c.request("/hello").status == 200
            asked = subprocess.Popen(
                [SLUICE, "upgrade", "--control", s.control], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            time.sleep(delay)
            s.stop()
            assert asked.wait(PATIENCE) in (0, 1)
            c.read_all()


def open_tunnel(c):
    c.send("GET /upgrade HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    assert c.read_response().status == 101
    assert c.take(6) == b"hello "


def echo(c, text):
    c.send(text)
    assert c.take(len(text)) == text


def test_tunnels_stay_and_end_at_the_drain_limit():
    """Through several upgrades: each old master waits for its own, and the last one shows all of them."""
    with backend.Backend(name="b") as b:
        with proxied([b], timeouts={"drain": "4s", "close_spread": "10ms"}, workers=2) as s:
            first, second = Client(s), Client(s)
            open_tunnel(first)
            report = upgrade(s)
            began = time.monotonic()
            assert report["draining"] == {"workers": 1, "connections": 1}, report
            open_tunnel(second)
            one = master(s)
            upgrade(s)
            reload(s)
            upgrade(s)
            for c in (first, second):
                echo(c, b"still here")
            assert s.proc.poll() is None and is_alive(one), "masters wait for their workers"
            status = s.status()
            assert [d["connections"] for d in status["draining"] if d["connections"]] == [1, 1], status["draining"]
            assert sorted(d["generation"] for d in status["draining"] if d["connections"]) == [1, 2], status["draining"]
            assert_counts(s, 2)
            second.close()
            first.read_all()
            took = time.monotonic() - began
            assert 2 < took < 4 + PATIENCE / 2, took
            assert s.proc.wait(PATIENCE) == 0
            wait_drained(s)
            wait_for(lambda: not is_alive(one), "the second master has gone too")
            totals = s.status()["totals"]
            assert totals["closed"]["drain"] == 1 and totals["closed"]["tunnel"] == 1, totals["closed"]
            assert_counts(s, 0)


def test_stop_with_old_workers():
    with backend.Backend(name="b") as b:
        with proxied([b], timeouts={"drain": "30s"}, workers=2) as s, Client(s) as c:
            open_tunnel(c)
            upgrade(s)
            echo(c, b"one")
            began = time.monotonic()
            done = s.cli("stop", "--now")
            assert done.returncode == 0, done
            assert time.monotonic() - began < 5, "old masters hear of it"
            assert s.proc.wait(PATIENCE) == 0
            s.assert_gone(s.proc.pid, patience=2)
            s.assert_clean_stderr()
            s.__class__ = Server
            s.stop = s.abandon


def test_old_master_that_is_killed():
    """Its workers leave as those of any master that dies; the server goes on and keeps their counts."""
    with backend.Backend(name="b") as b:
        with proxied([b], timeouts={"drain": "1s"}, workers=2) as s, Client(s) as kept, Client(s) as c:
            assert kept.request("/x").status == 200
            open_tunnel(c)
            upgrade(s)
            echo(c, b"one")
            wait_for(lambda: s.status()["totals"]["requests"] == 2, "both are counted")
            s.proc.kill()
            s.proc.wait()
            wait_drained(s)
            assert kept.request("/x").status == 200
            c.read_all()
            wait_for(lambda: s.status()["totals"]["requests"] == 3, "what they counted stays")
            upgrade(s)
            assert kept.request("/x").status == 200
            wait_for(lambda: len(session_pids(s.proc.pid)) == 3, "old workers have gone")
            assert control(s, "stop").returncode == 0
            s.assert_gone(s.proc.pid, patience=2)
            s.__class__ = Server
            s.stop = s.abandon


def test_what_a_killed_master_had_open_is_not_counted_on():
    with Upgraded(routes={"/": {"websocket": "echo"}}, workers=1) as s, WebSocket(s.address()) as kept:
        kept.send(frame(1, b"one"))
        assert kept.read()[-1] == b"one"
        upgrade(s)
        assert s.status()["totals"]["websocket"]["connections"] == 1
        s.proc.kill()
        s.proc.wait()
        wait_for(lambda: not s.status()["draining"], "its generation is gone")
        assert s.status()["totals"]["websocket"]["connections"] == 0
        assert s.status()["totals"]["websocket"]["opened"] == 1
        kept.close()
        wait_for(lambda: len(session_pids(s.proc.pid)) == 2, "so are its workers")
        assert control(s, "stop").returncode == 0
        s.assert_gone(s.proc.pid, patience=2)
        s.__class__ = Server
        s.stop = s.abandon


def test_requests_at_any_point_of_their_head():
    with Upgraded(workers=2) as s:
        whole = request("/hello")
        clients = [Client(s.address()) for _ in range(len(whole))]
        for i, c in enumerate(clients):
            c.send(whole[:i])
        wait_for(lambda: s.total("accepted") == len(clients), "all are in")
        upgrade(s)
        assert_counts(s, len(clients))
        for i, c in enumerate(clients):
            c.send(whole[i:] + whole)
            for _ in range(2):
                r = c.read_response()
                assert r is not None and r.status == 200 and not r.says_close(), (i, r)
        assert s.proc.wait(PATIENCE) == 0
        s.wait_live(len(clients))
        assert_counts(s, len(clients))


def test_questions_on_the_way():
    """Who has connected to the control socket, and asked half of a question, is answered: by the new master."""
    with Upgraded(workers=2) as s:
        halves = [b"", b'{"comm', b'{"command":"status"}']
        clients = []
        for half in halves * 3:
            c = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            c.settimeout(PATIENCE)
            c.connect(s.control)
            c.sendall(half)
            clients.append((c, half))
        assert s.status()["generation"] == 1, "all of them have been accepted"
        stop = threading.Event()
        seen = []

        def ask():
            while not stop.is_set():
                seen.append(s.status()["generation"])

        asking = threading.Thread(target=ask)
        asking.start()
        for _ in range(4):
            upgrade(s)
        stop.set()
        asking.join()
        for c, half in clients:
            c.sendall(b'{"command":"status"}\n'[len(half) :])
            answer = json.loads(c.makefile().read())
            assert answer["ok"] and answer["status"]["generation"] == 5, answer
            c.close()
        assert seen == sorted(seen) and len(seen) > 4, seen


def test_upstreams():
    with backend.Backend(name="one") as one, backend.Backend(name="two") as two:
        with proxied([one, two], workers=2, check={"path": "/", "interval": "100ms"}) as s, Client(s) as kept:
            assert s.cli("upstream", "drain", "b", two.server).returncode == 0
            for _ in range(5):
                assert kept.request("/x").status == 200
            slow, gate = Client(s), backend.gated(one)
            slow.send(request("/gate"))
            wait_for(lambda: proxy.upstreams(s)["b"]["by_name"][one.server][0]["active"] == 1, "under way")
            upgrade(s)
            assert proxy.states(s)[two.server] == "drained", "what the operator has done stays"
            row = proxy.upstreams(s)["b"]["by_name"][one.server][0]
            assert row["requests"] == 6 and row["active"] == 1, row
            upgrade(s)
            for _ in range(4):
                assert kept.request("/x").status == 200
            gate.set()
            assert slow.read_response().status == 200
            wait_drained(s)

            def row():
                return proxy.upstreams(s)["b"]["by_name"][one.server][0]

            wait_for(lambda: row()["requests"] == 10 and row()["active"] == 0, lambda: "counts: %s" % row())


def test_a_redis_by_name_is_known_without_asking_again():
    with nameserver.NameServer() as dns, redis_peer.Redis() as redis:
        dns.set("cache.test", nameserver.A, "127.0.0.1")
        text = 'resolvers = { "%s" }\n' % dns.server + redis_peer.section(redis, server="cache.test:%d" % redis.port)
        with Upgraded(workers=2, routes={"/": redis_peer.route()}, extra=text) as s:
            wait_for(lambda: get(s.address(), "/PING").status == 200, "the name is resolved")
            dns.is_mute = True
            for _ in range(2):
                upgrade(s)
                wait_for(lambda: get(s.address(), "/PING").status == 200, "the next master knows the address")
            dns.is_mute = False


def writers_of(s, path):
    """Processes of this server, of earlier masters too, that have the file open."""
    pids = []
    for pid in session_pids(s.proc.pid):
        # One that has just left has none.
        with contextlib.suppress(OSError):
            names = os.listdir("/proc/%d/fd" % pid)
            if any(os.readlink("/proc/%d/fd/%s" % (pid, name)) == path for name in names):
                pids.append(pid)
    return pids


def test_log_is_opened_anew_by_old_workers_too():
    with backend.Backend(name="b") as b:
        log = {"access": "@DIR@/a.log", "format": "combined", "flush": "5ms"}
        with proxied([b], workers=1, log=log) as s, Client(s) as c:
            gate = backend.gated(b)
            c.send(request("/gate"))
            wait_for(lambda: b.connection_count >= 1, "under way")
            upgrade(s)
            path = os.path.join(s.dir, "a.log")
            os.rename(path, path + ".1")
            assert s.cli("reopen").returncode == 0
            wait_for(lambda: not writers_of(s, path + ".1"), "the old worker has it too")
            gate.set()
            assert c.read_response().status == 200
            wait_for(lambda: os.path.exists(path) and "/gate" in open(path).read(), "its line is in the new one")
            assert os.path.getsize(path + ".1") == 0


# --- another version ---


def patched(s, name, texts):
    """This program with texts of its own changed: as if the layouts they stand for had."""
    path = os.path.join(s.dir, name)
    with open(SLUICE, "rb") as f:
        data = f.read()
    for old, new in texts.items():
        assert data.count(old) >= 1 and len(old) == len(new), "the program has %r" % old
        data = data.replace(old, new)
    with open(path, "wb") as f:
        f.write(data)
    os.chmod(path, 0o755)
    return path


def test_other_layouts():
    """What both would have to map alike is made anew; connections stay where they are and are asked to come back."""
    with backend.Backend(name="b") as b:
        with proxied([b], workers=2, routes={"/hello": {"respond": "hello"}}) as s:
            idle, busy, gate = Client(s), Client(s), backend.gated(b)
            assert idle.request("/hello").status == busy.request("/hello").status == 200
            busy.send(request("/gate"))
            wait_for(lambda: b.connection_count >= 1, "under way")
            wait_for(lambda: s.status()["totals"]["requests"] == 2, "both are counted")
            before = s.status()["totals"]
            other = patched(s, "other", {b"sluice-layout-": b"sluice-LAYOUT-", b"closed.rebalance": b"Closed.rebalance"})
            report = upgrade(s, "--binary", other)
            totals = s.status()["totals"]
            assert totals["requests"] == before["requests"] == 2 and totals["draining"] == 2, totals
            assert report["moved"] == 0 and not report["warnings"], report
            assert get(s.address(), "/hello").status == 200 and get(s.address(), "/x").status == 200
            gate.set()
            for r in (busy.read_response(), idle.request("/hello")):
                assert r.status == 200 and r.says_close(), r
            for c in (idle, busy):
                c.assert_closed()
                c.close()
            assert s.proc.wait(PATIENCE) == 0
            wait_drained(s)
            s.wait_live(0)
            wait_for(lambda: s.status()["totals"]["requests"] == 6, "old workers count by name")
            if s.pin:
                steering = s.status()["steering"]
                assert steering["verdicts"]["no_socket"] == steering["verdicts"]["bad_config"] == 0, steering
            # And back again.
            upgrade(s, "--binary", SLUICE)
            assert get(s.address(), "/hello").status == 200


def ids_of(s):
    """Maps and programs of this server; others may run beside it."""
    ids = set()
    for pid in session_pids(s.proc.pid):
        for fd in os.listdir("/proc/%d/fdinfo" % pid):
            with contextlib.suppress(OSError), open("/proc/%d/fdinfo/%s" % (pid, fd)) as f:
                ids.update(re.findall(r"(?:map|prog)_id:\s*\d+", f.read()))
    return ids


def test_50_upgrades_leave_nothing_behind():
    times = 10 if IS_SANITIZED else 50
    with Upgraded(workers=2, log={"access": "@DIR@/a.log"}) as s, Client(s) as c:
        def state():
            return files_of(master(s)), [files_of(w["pid"]) for w in s.workers()], len(ids_of(s))

        first = settled(state)
        upgrade(s)
        wait_drained(s)
        wait_for(lambda: len(session_pids(s.proc.pid)) == 3, "one master and its workers")
        before = settled(state)
        assert before[0] == first[0], "a master that follows has no more than one that started: %s, %s" % (before, first)
        for _ in range(times):
            upgrade(s)
            assert c.request("/hello").status == 200
        wait_drained(s)
        wait_for(lambda: len(session_pids(s.proc.pid)) == 3, "one master and its workers")

        def is_same():
            files, workers, objects = state()
            # The connection may have come to the other one.
            return files == before[0] and sum(workers) == sum(before[1]) and objects == before[2]

        wait_for(is_same, lambda: "descriptors and BPF objects: %s, before %s" % (state(), before))
        with open("/proc/%d/status" % master(s)) as f:
            print("     %s, %d kB" % (before, int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))))
        assert s.status()["generation"] == times + 2
        assert_counts(s, 1)
        if s.pin:
            assert_verdicts(s)


if __name__ == "__main__":
    main(__name__)
