# SPDX-License-Identifier: MIT
"""A real redis-server of one's own, and sluice in front of it.

Redis    redis-server on a free port in a folder of its own, without persistence; may be killed, stopped and started
served   a sluice with one redis, "main", and routes to it
"""
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile

from harness import PATIENCE, Server, need_tool, value, wait_for
from peers import free_port


class Redis:
    """options: of the command line, as in {"requirepass": "x"}; unix: a socket besides the port."""

    def __init__(self, options=None, unix=False):
        self.program = need_tool("redis-server")
        self.cli_program = need_tool("redis-cli")
        self.options, self.proc = dict(options or {}), None
        self.dir = tempfile.mkdtemp(prefix="sluice-redis-")
        os.chmod(self.dir, 0o755)
        self.port = free_port()
        self.path = os.path.join(self.dir, "redis.sock") if unix else None

    def start(self):
        words = [self.program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.dir, "--save", "",
                 "--appendonly", "no", "--logfile", os.path.join(self.dir, "log")]  # fmt: skip
        if self.path:
            words += ["--unixsocket", self.path, "--unixsocketperm", "777"]
        for name, text in self.options.items():
            words += ["--" + name, text]
        self.proc = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        wait_for(self.answers, "redis-server answers")
        return self

    def answers(self):
        assert self.proc.poll() is None, "redis-server left with %s" % self.proc.returncode
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as s:
                s.sendall(b"PING\r\n")
                return s.recv(100)[:5] in (b"+PONG", b"-NOAU")
        except OSError:
            return False

    def kill(self, sig=signal.SIGKILL):
        self.proc.send_signal(sig)
        if sig == signal.SIGKILL:
            self.proc.wait()

    def command(self, *words):
        """What redis-cli prints."""
        auth = self.options.get("requirepass")
        env = dict(os.environ, **({"REDISCLI_AUTH": auth} if auth else {}))
        r = subprocess.run([self.cli_program, "-p", str(self.port), *words], stdout=subprocess.PIPE, check=True, env=env)
        return r.stdout.decode(errors="surrogateescape").rstrip("\n")

    def monitor(self, channel):
        """A subscription, by the protocol itself; read() gives the next message."""
        return Ear(self.port, channel)

    def stop(self):
        if self.proc and self.proc.poll() is None:
            self.proc.send_signal(signal.SIGCONT)
            self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_):
        self.stop()


class Ear:
    def __init__(self, port, channel):
        self.sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.file = self.sock.makefile("rb")
        self.sock.sendall(b"SUBSCRIBE %s\r\n" % channel.encode())
        assert [self.file.readline() for _ in range(6)][5] == b":1\r\n"

    def read(self):
        parts = []
        assert self.file.readline() == b"*3\r\n"
        for _ in range(3):
            n = int(self.file.readline()[1:])
            parts.append(self.file.read(n + 2)[:-2])
        return parts[2]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.sock.close()


def section(redis, **keys):
    keys.setdefault("server", "127.0.0.1:%d" % redis.port)
    return 'redis "main" {\n%s}\n' % "".join("\t%s = %s\n" % (k, value(v)) for k, v in keys.items())


def route(*allow, **keys):
    return dict({"redis": "main", "allow": list(allow or ["*"])}, **keys)


@contextlib.contextmanager
def served(routes=None, options=None, workers=1, unix=False, redis_options=None, **more):
    """(address, redis, server).  options: keys of the section `redis`."""
    with Redis(redis_options, unix) as r:
        extra = section(r, **(options or {})) + more.pop("extra", "")
        with Server(workers=workers, routes=routes or {"/": route()}, extra=extra, **more) as s:
            wait_for(lambda: s.status()["totals"]["redis"]["connections"] >= workers, "sluice is connected")
            yield s.address(), r, s
            s.assert_no_worker_died()
