# SPDX-License-Identifier: MIT
"""docs/threat-model.md names the tests that show what it says: all of them exist.  And what no other test shows."""
import contextlib
import glob
import os
import re
import socket
import sys

from harness import TOP, Server, main, need_bpffs, need_root

DOCUMENT = os.path.join(TOP, "docs/threat-model.md")


def sources():
    """{name of a file: its text} of all tests."""
    found = {}
    for pattern in ("tests/e2e/*.py", "tests/unit/*.c", "tests/kernel/*.c", "tests/fuzz/*.c"):
        for path in glob.glob(os.path.join(TOP, pattern)):
            with open(path, encoding="utf-8") as f:
                found[os.path.basename(path)] = f.read()
    return found


def test_every_test_exists():
    with open(DOCUMENT, encoding="utf-8") as f:
        text = f.read()
    files = sources()
    named = re.findall(r"`(test_\w+\.(?:py|c)): (\w+)`", text)
    targets = re.findall(r"`(fuzz_\w+)`", text)
    for name, test in named:
        defined = r"^(def|static void) %s\(" % test
        assert name in files and re.search(defined, files[name], re.M), "there is no %s in %s" % (test, name)
    for target in targets:
        assert target + ".c" in files, "there is no %s" % target
    assert len(named) > 50 and len(set(targets)) > 10


def ask_as(uid, path):
    """What the control socket tells a process of that user."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
                s.settimeout(5)
                s.connect(path)
                with contextlib.suppress(BrokenPipeError):  # it may have been turned away already
                    s.sendall(b'{"command":"status"}\n')
                os.write(w, s.recv(4096))
        except OSError as e:
            os.write(w, str(e).encode())
        finally:
            os._exit(0)
    os.close(w)
    with os.fdopen(r, "rb") as f:
        answer = f.read()
    os.waitpid(pid, 0)
    return answer


def test_control_socket_asks_who_it_is():
    """Its mode keeps others away; where somebody has changed that, the kernel's word about the peer does."""
    need_root()
    with Server() as s:
        assert b"Permission denied" in ask_as(65534, s.control)
        os.chmod(s.control, 0o666)
        answer = ask_as(65534, s.control)
        assert b"not permitted" in answer and b"workers" not in answer, answer
        assert ask_as(0, s.control).startswith(b'{"ok":true')


def test_workers_hold_no_bpf():
    need_bpffs()
    with Server() as s:
        for w in s.workers():
            folder = "/proc/%d/fd" % w["pid"]
            held = [os.readlink(os.path.join(folder, name)) for name in os.listdir(folder)]
            assert not any("bpf" in target for target in held), held
        folder = "/proc/%d/fd" % s.proc.pid
        assert any("bpf" in os.readlink(os.path.join(folder, name)) for name in os.listdir(folder))


if __name__ == "__main__":
    main(sys.modules[__name__])
