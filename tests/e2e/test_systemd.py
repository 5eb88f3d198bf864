# SPDX-License-Identifier: MIT
"""The server under a service manager: what it tells it, sockets it is given, the unit file.

The manager is a datagram socket of the test; listening sockets come as systemd passes them, from descriptor 3 on.
"""
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

from harness import (
    IS_ROOT,
    SLUICE,
    TOP,
    Client,
    Server,
    Skip,
    get,
    main,
    need_bpffs,
    need_ipv6,
    need_root,
    need_tool,
    request,
    wait_for,
)

UNIT = os.path.join(TOP, "scripts", "sluice.service")


class Manager:
    """A service manager's end of $NOTIFY_SOCKET."""

    def __init__(self, address):
        self.messages = []
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind("\0" + address[1:] if address[0] == "@" else address)
        self.sock.setblocking(False)

    def read(self):
        with contextlib.suppress(BlockingIOError):
            while True:
                self.messages.append(dict(x.split("=", 1) for x in self.sock.recv(4096).decode().split("\n") if x))
        return self.messages

    def of(self, key):
        return [m for m in self.read() if key in m]

    def wait(self, key, count=1):
        return wait_for(lambda: len(self.of(key)) >= count and self.of(key), lambda: "%s, got %s" % (key, self.messages))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()


@contextlib.contextmanager
def managed(address=None, env=None, **more):
    s = Server(**more)
    address = address or os.path.join(s.dir, "notify")
    s.env.update({"NOTIFY_SOCKET": address}, **(env or {}))
    with Manager(address) as manager, s:
        yield s, manager


# --- what it tells ---


def check_life(address=None):
    with managed(address, workers=2) as (s, manager):
        ready = manager.wait("READY")
        assert ready[0]["READY"] == "1" and "2 workers" in ready[0]["STATUS"], ready
        assert manager.read()[0] is ready[0] and not manager.of("STOPPING"), manager.messages
        s.proc.send_signal(signal.SIGTERM)
        assert manager.wait("STOPPING")[0]["STOPPING"] == "1"
        s.proc.wait(10)
        assert len(manager.of("READY")) == len(manager.of("STOPPING")) == 1, manager.messages
        assert not manager.of("WATCHDOG"), "nobody asked for it"


def test_ready_and_stopping():
    check_life()


def test_abstract_name():
    check_life("@sluice-test-notify-%d" % os.getpid())


def test_not_ready_before_it_serves():
    """An address that is taken: the manager hears of no readiness."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        s = Server(listens=["127.0.0.1:%d" % taken.getsockname()[1]])
        s.env["NOTIFY_SOCKET"] = os.path.join(s.dir, "notify")
        with Manager(s.env["NOTIFY_SOCKET"]) as manager:
            try:
                assert s.launch().proc.wait(10) == 1
                assert not manager.of("READY"), manager.messages
            finally:
                s.abandon()


def check_reload(manager, ask):
    """RELOADING=1 with the time, then READY=1 again."""
    known = len(manager.read())
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    ask()
    wait_for(lambda: any("READY" in m for m in manager.read()[known:]), lambda: "ready again: %s" % manager.messages)
    reloading, again = manager.messages[known:]
    assert reloading["RELOADING"] == "1" and again["READY"] == "1", manager.messages
    assert before <= int(reloading["MONOTONIC_USEC"]) <= before + 60 * 10**6, reloading
    return again["STATUS"]


def test_reload():
    with managed() as (s, manager):
        assert "generation 1" in manager.wait("READY")[0]["STATUS"]
        assert "generation 2" in check_reload(manager, lambda: s.proc.send_signal(signal.SIGHUP))
        assert "generation 3" in check_reload(manager, lambda: s.cli("reload"))
        # A file with a fault changes nothing, and the manager must not wait for ever.
        with open(s.conf_path, "w") as f:
            f.write("nonsense")
        assert "generation 3" in check_reload(manager, lambda: s.proc.send_signal(signal.SIGHUP))


def test_manager_that_is_not_there():
    s = Server(env={"NOTIFY_SOCKET": "/does/not/exist"})
    with s:
        assert get(s.address(), "/hello").status == 200
        assert "cannot tell the service manager" in s.stderr()


def test_strange_address():
    with Server(env={"NOTIFY_SOCKET": "vsock:2:1"}) as s:
        assert get(s.address(), "/hello").status == 200
        assert "vsock:2:1" in s.stderr()


# --- watchdog ---


def test_watchdog_is_fed():
    with managed(env={"WATCHDOG_USEC": "100000"}) as (_, manager):
        manager.wait("WATCHDOG", 5)


def test_watchdog_of_another_process():
    with managed(env={"WATCHDOG_USEC": "2000", "WATCHDOG_PID": "1"}) as (s, manager):
        manager.wait("READY")
        for _ in range(20):
            get(s.address(), "/hello")
        assert not manager.of("WATCHDOG"), manager.messages


def test_watchdog_starves_when_no_worker_moves():
    with managed(env={"WATCHDOG_USEC": "300000"}, workers=2) as (s, manager):
        manager.wait("WATCHDOG")
        pids = [w["pid"] for w in s.workers()]
        address = s.address()
        try:
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            # Without work nobody can tell a stopped worker from an idle one, and nobody suffers.
            count = len(manager.of("WATCHDOG"))
            manager.wait("WATCHDOG", count + 2)
            clients = [Client(address) for _ in range(8)]
            for c in clients:
                c.send(request("/hello"))
            wait_for(lambda: "watchdog is not fed" in s.stderr(), "it is told")
            count = len(manager.of("WATCHDOG"))
            time.sleep(0.6)  # the span in which nothing may come
            assert len(manager.of("WATCHDOG")) == count, "fed though nobody moves"
            # One that moves is enough: it serves what waits for the other.
            os.kill(pids[0], signal.SIGCONT)
            manager.wait("WATCHDOG", count + 2)
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
        assert all(c.read_response().status == 200 for c in clients)


def test_watchdog_is_fed_while_slots_change_hands():
    """The old worker stands still and the new one waits for its slot: that has a limit of its own."""
    # Fed after 100 ms: more than a busy machine takes from a worker, less than the 250 ms in which nobody has the slot.
    with managed(env={"WATCHDOG_USEC": "200000"}, workers=1, steering={"stall": "off"}) as (s, manager):
        manager.wait("WATCHDOG")
        pid = s.workers()[0]["pid"]
        os.kill(pid, signal.SIGSTOP)
        try:
            count, known = len(manager.of("WATCHDOG")), len(s.stderr())
            assert s.cli("reload").returncode == 0
            said = s.stderr()[known:]
            assert "their slots are taken from them" in said, "nobody had the slot for a while"
            assert len(manager.of("WATCHDOG")) > count and "watchdog is not fed" not in said, said
        finally:
            os.kill(pid, signal.SIGCONT)


# --- sockets ---


def listening(has_reuseport=False, host="127.0.0.1", family=socket.AF_INET):
    """As systemd opens it, which always sets SO_REUSEADDR."""
    s = socket.socket(family, socket.SOCK_STREAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if has_reuseport:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    s.bind((host, 0))
    s.listen(128)
    return s


def activated(socks, pid="$$", wrap=(), **more):
    """A server that gets these sockets."""
    need_tool("bash")
    places = " ".join("%d<&%d" % (3 + i, s.fileno()) for i, s in enumerate(socks))
    script = 'exec %s; export LISTEN_FDS=%d LISTEN_PID=%s; exec "$@"' % (places, len(socks), pid)
    server = Server(wrap=["bash", "-c", script, "bash"] + list(wrap), **more)
    server.pass_fds = tuple(s.fileno() for s in socks)
    return server


def address_of(s):
    return "%s:%d" % s.getsockname()[:2]


def check_activation(has_reuseport):
    with listening(has_reuseport) as sock:
        early = [Client(sock.getsockname()) for _ in range(5)]
        for c in early:
            c.send(request("/hello"))
        with activated([sock], listens=[address_of(sock)], workers=3, steering={"stall": "off"}) as s:
            assert all(c.read_response().body == b"hello" for c in early), "who came before the server"
            clients = [Client(s) for _ in range(60)]
            assert all(c.request("/hello").status == 200 for c in clients)
            listen = s.status()["listen"][0]
            assert listen["address"] == address_of(sock) and listen["shared"] is False, listen
            if s.status()["steering"]["active"]:
                assert listen["steered"] is True, s.stderr()
                live = [w["live"] for w in s.workers()]
                assert max(live) - min(live) <= 5, "every slot has its socket: %s" % live
            for c in early + clients:
                c.close()
            s.wait_live(0)
        # The manager has its socket still: who comes now waits for the next start.
        late = Client(sock.getsockname())
        late.send(request("/hello"))
        with activated([sock], listens=[address_of(sock)], workers=2):
            assert late.read_response().body == b"hello"
            late.close()


def test_socket_with_reuseport():
    check_activation(True)


def test_socket_without_reuseport():
    check_activation(False)


def test_ipv6_socket_and_one_of_ours():
    need_ipv6()
    with listening(host="::1", family=socket.AF_INET6) as six:
        port = six.getsockname()[1]
        with activated([six], listens=["127.0.0.1:0", "[::1]:%d" % port]) as s:
            assert get(s.address(0), "/hello").status == 200
            assert get(("::1", port), "/hello").status == 200


def test_address_that_goes_and_comes_back():
    """Each by a reload; the manager's socket has been there all the time."""
    with listening() as sock:
        with activated([sock], listens=["127.0.0.1:0", address_of(sock)], workers=2) as s:
            assert get(sock.getsockname(), "/hello").status == 200
            with open(s.conf_path, "w") as f:
                f.write(s.text.replace('listen "%s" {\n}\n' % address_of(sock), ""))
            assert s.cli("reload").returncode == 0, s.stderr()
            assert len(s.status()["listen"]) == 1
            late = Client(sock.getsockname())
            late.send(request("/hello"))
            with open(s.conf_path, "w") as f:
                f.write(s.text.replace("workers = 2", "workers = 3"))
            assert s.cli("reload").returncode == 0, s.stderr()
            assert late.read_response().body == b"hello", "who came meanwhile has waited"
            assert all(get(sock.getsockname(), "/hello").status == 200 for _ in range(20))
            late.close()


def test_socket_for_no_address_is_told():
    with listening() as sock, open("/dev/null") as other:
        with activated([sock, other]) as s:
            assert address_of(sock) in s.stderr() and "no listen address" in s.stderr(), s.stderr()
            assert "descriptor 4" in s.stderr(), s.stderr()
            assert get(s.address(), "/hello").status == 200


def test_sockets_for_another_process():
    with listening() as sock:
        with activated([sock], pid=1) as s:
            assert address_of(sock) not in s.stderr(), s.stderr()
            assert get(s.address(), "/hello").status == 200


def test_socket_of_another_user_is_shared():
    """The kernel lets nobody else join root's socket; all workers accept from that one, and no steering."""
    need_root()
    setpriv = need_tool("setpriv")
    with listening() as sock:
        wrap = [setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]
        s = activated([sock], wrap=wrap, listens=[address_of(sock)], workers=2, pin="")
        shutil.copy(SLUICE, s.dir)
        os.chmod(os.path.join(s.dir, "sluice"), 0o755)
        s.command = lambda *words: [os.path.join(s.dir, "sluice")] + list(words)
        os.chown(s.dir, 65534, 65534)
        with s:
            clients = [Client(s) for _ in range(30)]
            assert all(c.request("/hello").status == 200 for c in clients)
            assert s.status()["listen"][0]["shared"] is True, s.status()["listen"]
            for c in clients:
                c.close()
            s.wait_live(0)
            with open(s.conf_path, "w") as f:
                f.write(s.text.replace("workers = 2", "workers = 4"))
            assert s.cli("reload").returncode == 0, s.stderr()
            assert len(s.workers()) == 4 and all(get(s.address(), "/hello").status == 200 for _ in range(20))


# --- the unit ---


def directives():
    with open(UNIT) as f:
        rows = [line.strip() for line in f if re.match(r"[A-Z]\w*=", line)]
    return [tuple(row.split("=", 1)) for row in rows]


def test_unit_is_understood():
    tool = need_tool("systemd-analyze")
    s = Server()  # for its folder
    try:
        path = os.path.join(s.dir, "sluice.service")
        with open(UNIT) as f, open(path, "w") as out:
            out.write(f.read().replace("@PREFIX@/bin/sluice", SLUICE).replace("@PREFIX@", "/usr"))
        done = subprocess.run([tool, "verify", path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        faults = [x for x in done.stdout.splitlines() if "sluice.service" in x and "not found" not in x]
        assert not faults, done.stdout
        done = subprocess.run(
            [tool, "security", "--offline=yes", path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        score = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
        if not score:
            raise Skip("this systemd-analyze rates no files: %s" % done.stdout[-200:])
        print("  exposure %s" % score[1])
        assert float(score[1]) <= 2.7, done.stdout
    finally:
        s.abandon()


def test_capabilities_of_the_unit_are_enough():
    need_bpffs()
    bounding = dict(directives())["CapabilityBoundingSet"].split()
    words = "-all," + ",".join("+" + c.lower()[len("CAP_") :] for c in bounding)
    wrap = [need_tool("setpriv"), "--bounding-set=" + words, "--inh-caps=-all", "--no-new-privs"]
    with Server(wrap=wrap, steering={"required": True}, workers=2, log={"access": "@DIR@/access.log"}) as s:
        assert s.status()["steering"]["active"] is True and s.status()["steering"]["pin"], s.status()["steering"]
        assert get(s.address(), "/hello").status == 200
        pid = s.workers()[0]["pid"]
        with open("/proc/%d/status" % pid) as f:
            text = f.read()
        assert re.search(r"^Uid:\s65534", text, re.M) and re.search(r"^CapBnd:\s0+$", text, re.M), text
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: s.workers()[0]["pid"] not in (0, pid), "another worker")


if __name__ == "__main__":
    if not IS_ROOT:
        print("without root: what needs it is skipped", file=sys.stderr)
    main(__name__)
