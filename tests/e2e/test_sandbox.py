# SPDX-License-Identifier: MIT
"""The sandbox of workers and monitor, from outside: what is on, what it says, what goes on under it.

tests/unit/test_sandbox.c tries what it forbids.  That all of the server's own paths work with it is shown by every
other end-to-end test: the harness takes a refused system call for a fault.
"""
import ctypes
import os
import platform
import re
import signal
import sys

from harness import IS_SANITIZED, SLUICE, Client, Server, Skip, get, main, need_root, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))
LANDLOCK_CREATE_RULESET = 444
SECCOMP = {"x86_64": 317, "aarch64": 277, "riscv64": 277}.get(platform.machine())


def mode(word):
    return 'sandbox = "%s"\n' % word


def facts(pid):
    with open("/proc/%d/status" % pid) as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def need_sandbox(status):
    if not status["sandbox"]["seccomp"] or not status["sandbox"]["landlock"]:
        raise Skip("this kernel has not all of it: %s" % status["sandbox"]["why"])


def need_strict():
    """Which is an error where the kernel lacks a part."""
    if ctypes.CDLL(None).syscall(LANDLOCK_CREATE_RULESET, None, 0, 1) < 1:
        raise Skip("this kernel has no Landlock")


def without(calls, **more):
    need_root()
    wrap = [sys.executable, os.path.join(HERE, "without_calls.py"), ",".join(map(str, calls))]
    return Server(wrap=wrap, **more)


def warnings(s):
    return [x for x in s.stderr().splitlines() if re.search(r"\bwarn: .*sandbox", x)]


def test_it_is_on_by_itself():
    with Server() as s:
        said = s.status()["sandbox"]
        need_sandbox(s.status())
        assert said["mode"] == "auto" and said["seccomp"] is True and said["no_new_privs"] is True, said
        assert said["landlock"] >= 1 and said["refused"] == 0 and said["why"] is None, said
        for w in s.workers():
            f = facts(w["pid"])
            assert f["Seccomp"] == "2" and f["NoNewPrivs"] == "1", f
            if os.geteuid() == 0:
                for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
                    assert int(f[name], 16) == 0, (name, f[name])
        assert not warnings(s) and "sandbox" not in s.cli("status").stdout


def test_strict_serves_the_same():
    need_strict()
    with Server(extra=mode("strict")) as s:
        need_sandbox(s.status())
        s.write("a.txt", "x" * 300000)
        assert get(s.address(), "/a.txt").body == b"x" * 300000
        assert get(s.address(), "/hello").body == b"hello"
        assert get(s.address(), "/a.txt", {"Range": "bytes=5-9"}).body == b"xxxxx"
        assert s.status()["sandbox"]["mode"] == "strict"
        s.assert_no_worker_died()


def test_off_is_off_and_says_so():
    with Server(extra=mode("off")) as s:
        said = s.status()["sandbox"]
        assert said["mode"] == "off" and not said["seccomp"] and said["landlock"] == 0, said
        assert said["no_new_privs"] is True, said
        assert all(facts(w["pid"])["Seccomp"] == "0" for w in s.workers())
        assert not warnings(s) and re.search(r"^sandbox .*turned off", s.cli("status").stdout, re.M)


def test_kernel_without_landlock():
    with without([LANDLOCK_CREATE_RULESET]) as s:
        assert get(s.address(), "/hello").status == 200
        said = s.status()["sandbox"]
        assert said["landlock"] == 0 and said["seccomp"] is True and "Landlock" in said["why"], said
        assert len(warnings(s)) == 1, s.stderr()
        assert "no Landlock" in s.cli("status").stdout


def test_kernel_without_any_of_it():
    if not SECCOMP:
        raise Skip("no number of seccomp for this processor")
    with without([LANDLOCK_CREATE_RULESET, SECCOMP]) as s:
        assert get(s.address(), "/hello").status == 200
        said = s.status()["sandbox"]
        assert said["landlock"] == 0 and said["seccomp"] is False and said["no_new_privs"] is True, said
        assert len(warnings(s)) == 1, s.stderr()


def test_strict_without_landlock_is_an_error():
    s = without([LANDLOCK_CREATE_RULESET], extra=mode("strict")).launch()
    try:
        assert s.proc.wait(20) == 1
        assert re.search(r"error: .*sandbox.*Landlock", s.stderr()), s.stderr()
        s.assert_gone(s.proc.pid)
    finally:
        s.abandon()


def test_killed_by_it_is_told_and_made_good():
    with Server(workers=2) as s:
        pid = s.workers()[0]["pid"]
        os.kill(pid, signal.SIGSYS)
        wait_for(
            lambda: s.workers()[0]["pid"] not in (0, pid) and s.workers()[0]["state"] == "running",
            "another worker",
        )
        assert re.search(r"worker 0 \(pid %d\) killed by its sandbox" % pid, s.stderr()), s.stderr()
        assert get(s.address(), "/hello").status == 200
        s.assert_clean_stderr = lambda: None  # for that very line


def switch_link(link, target):
    os.symlink(target, link + ".new")
    os.rename(link + ".new", link)


def test_release_switched_by_a_link():
    routes = {"/": {"files": "@DIR@/current"}, "/hello": {"respond": "hello"}}
    s = Server(routes=routes, files_cache={"valid": "10ms"})
    for n in ("1", "2"):
        os.makedirs(os.path.join(s.dir, "releases", n))
        with open(os.path.join(s.dir, "releases", n, "a.txt"), "w") as f:
            f.write("release " + n)
    switch_link(os.path.join(s.dir, "current"), "releases/1")
    with s:
        need_sandbox(s.status())
        assert get(s.address(), "/a.txt").body == b"release 1"
        switch_link(os.path.join(s.dir, "current"), "releases/2")
        wait_for(lambda: get(s.address(), "/a.txt").body == b"release 2", "the next release")
        assert not warnings(s)


def test_folder_replaced_by_another():
    """Its rule is about the old one, which goes on being served: better than 403 for everything."""
    if IS_SANITIZED:
        raise Skip("under sanitizers all files may be read")
    routes = {"/": {"files": "@DIR@/site"}, "/hello": {"respond": "hello"}}
    s = Server(routes=routes, workers=1, files_cache={"valid": "10ms"})
    for n in ("site", "next"):
        os.makedirs(os.path.join(s.dir, n))
        with open(os.path.join(s.dir, n, "a.txt"), "w") as f:
            f.write(n)
    with s:
        need_sandbox(s.status())
        assert get(s.address(), "/a.txt").body == b"site"
        os.rename(os.path.join(s.dir, "site"), os.path.join(s.dir, "old"))
        os.rename(os.path.join(s.dir, "next"), os.path.join(s.dir, "site"))

        def is_noticed():
            assert get(s.address(), "/a.txt").body == b"site", "the old one is served"
            return warnings(s)

        wait_for(is_noticed, "it is told")
        assert get(s.address(), "/a.txt").body == b"site"
        assert len(warnings(s)) == 1 and "/site" in warnings(s)[0], warnings(s)
        # A reload makes the rules anew.
        assert s.cli("reload").returncode == 0, s.stderr()
        assert get(s.address(), "/a.txt").body == b"next"


def test_long_listing():
    """qsort() of much asks how much memory there is."""
    need_strict()
    with Server(routes={"/": {"files": "@WWW@", "listing": True}}, extra=mode("strict")) as s:
        for i in range(3000):
            s.write("file-%04d" % i, "")
        assert get(s.address(), "/").body.count(b"file-") >= 3000
        s.assert_no_worker_died()


def test_log_knows_the_time_zone():
    """Its file is out of reach by the time of the first line."""
    zone = next((z for z in ("Asia/Kolkata", "Asia/Tokyo") if os.path.exists("/usr/share/zoneinfo/" + z)), None)
    if not zone:
        raise Skip("no time zones are installed")
    with Server(workers=1, log={"access": "@DIR@/access.log", "flush": "10ms"}, env={"TZ": ":" + zone}) as s:
        get(s.address(), "/hello")
        path = os.path.join(s.dir, "access.log")
        wait_for(lambda: os.path.getsize(path) > 0, "a line")
        with open(path) as f:
            line = f.read()
        assert ("+0530]" if zone == "Asia/Kolkata" else "+0900]") in line, line


def test_descriptors_run_out():
    """The acceptor's reserve is opened anew again and again: /dev/null is within the fence."""
    need_strict()
    wrap = ["sh", "-c", 'ulimit -n 64; exec "$@"', "sh"]
    with Server(workers=1, wrap=wrap, extra=mode("strict")) as s:
        address = s.address()
        clients = [Client(address) for _ in range(100)]
        wait_for(lambda: s.workers()[0]["accept_pauses"] > 0, "the limit is felt")
        for c in clients:
            c.close()
        s.wait_live(0)
        assert get(address, "/hello").status == 200
        s.assert_no_worker_died()


if __name__ == "__main__":
    if not os.path.exists(SLUICE):
        sys.exit("there is no %s (run make)" % SLUICE)
    main(__name__)
