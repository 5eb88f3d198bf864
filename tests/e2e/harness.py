# SPDX-License-Identifier: MIT
"""What every end-to-end test stands on: a server in a private folder, raw clients, a small runner.

Server    starts sluice with a generated configuration, waits until its control socket answers, and on stop()
          proves that nothing is left: no process, no pin, no control socket, no sanitizer report.
Client    a TCP connection that sends the bytes it is given and parses answers strictly (RFC 9112).
main()    runs the test_* functions of a file and prints "N passed, N failed, N skipped" last.

Standard library only, Python 3.9 or newer.  Nothing here sleeps to synchronise: wait_for() polls a condition.
$SLUICE names the binary; without it build/release/sluice is taken.
"""
import contextlib
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SLUICE = os.path.abspath(os.environ.get("SLUICE") or os.path.join(TOP, "build/release/sluice"))
IS_ROOT = os.geteuid() == 0
IS_SANITIZED = "san-" in SLUICE
BPFFS = "/sys/fs/bpf"
BPF_FS_MAGIC = 0xCAFE4A11
# Seconds until something that must happen has not.
PATIENCE = float(os.environ.get("PATIENCE_S") or (20 if IS_SANITIZED else 10))


class Skip(Exception):
    """This test cannot run here; the message says why."""


class ProtocolError(AssertionError):
    """The server sent something that RFC 9110 or 9112 forbids."""


def text_of(*path):
    """A file of the source."""
    with open(os.path.join(TOP, *path)) as f:
        return f.read()


# --- waiting ---


def wait_for(condition, what, timeout=None):
    """Polls until condition() is true and returns its value; the failure says what it waited for."""
    timeout = PATIENCE if timeout is None else timeout
    deadline = time.monotonic() + timeout
    pause = 0.001
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(
                "waited %.1f s in vain: %s" % (timeout, what() if callable(what) else what)
            )
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


# --- what the machine offers ---


def need_root():
    if not IS_ROOT:
        raise Skip("needs root")


def need_tool(name):
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not path:
        raise Skip("needs the program %s" % name)
    return path


def bpffs_is_mounted():
    """Mounts the file system at its usual place where root finds it missing (as systemd does on every boot)."""
    with open("/proc/mounts") as f:
        if any(line.split()[1:3] == [BPFFS, "bpf"] for line in f):
            return True
    if not IS_ROOT or not os.path.isdir(BPFFS):
        return False
    return (
        subprocess.run(["mount", "-t", "bpf", "bpf", BPFFS], stderr=subprocess.DEVNULL).returncode
        == 0
    )


def need_bpffs():
    need_root()
    if not bpffs_is_mounted():
        raise Skip("needs the BPF file system at %s" % BPFFS)


def need_ipv6():
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as s:
            s.bind(("::1", 0))
    except OSError as e:
        raise Skip("needs IPv6 on the loopback: %s" % e)


def raise_descriptor_limit(wanted):
    """Soft (and as root hard) limit of descriptors up to `wanted`; returns what was reached."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    reached = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft < reached:
        resource.setrlimit(resource.RLIMIT_NOFILE, (reached, hard))
    return max(soft, reached)


# --- processes ---


def proc_stat(pid):
    """Fields of /proc/PID/stat behind the name, from the state on; None when the process is gone."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def is_alive(pid):
    stat = proc_stat(pid)
    return stat is not None and stat[0] not in "ZX"


def cpu_ticks(pid):
    """User plus system time in clock ticks."""
    stat = proc_stat(pid)
    return int(stat[11]) + int(stat[12]) if stat else 0


def session_pids(session):
    """Living processes of a session: the master starts one, whatever it leaves behind belongs to it."""
    pids = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            stat = proc_stat(int(name))
            if stat and int(stat[3]) == session and stat[0] not in "ZX":
                pids.append(int(name))
    return pids


def memory_kb(pid, key="Private_Dirty"):
    """A line of smaps_rollup in kB: what the process alone pays for."""
    with open("/proc/%d/smaps_rollup" % pid) as f:
        for line in f:
            if line.startswith(key + ":"):
                return int(line.split()[1])
    raise AssertionError("no %s for %d" % (key, pid))


# --- configuration ---


def quote(text):
    """A libconfuse string."""
    return '"%s"' % str(text).replace("\\", "\\\\").replace('"', '\\"')


def value(v):
    if isinstance(v, bool):
        return "true" if v else "false"
    if isinstance(v, (int, float)):
        return str(v)
    if isinstance(v, (list, tuple)):
        return "{" + ", ".join(value(x) for x in v) + "}"
    return (
        str(v)
        if re.fullmatch(r"\d+(ms|s|m|h|us|k|m|g|K|M|G|KiB|MiB|GiB|kb|mb)", str(v))
        else quote(v)
    )


def section(name, keys, title=None):
    body = "".join("\t%s = %s\n" % (k, value(v)) for k, v in keys.items())
    return "%s%s {\n%s}\n" % (name, "" if title is None else " " + quote(title), body)


# --- the server ---


class Server:
    """One sluice in a folder of its own.  Use as a context manager; leaving it stops and inspects the server.

    routes    {prefix: {"files": ...}}; default: "/" serves self.www and "/hello" answers "hello"
    listens   addresses, or (address, {key: value}) pairs
    wrap      words put before the command line, to run it with fewer rights or descriptors
    pin       None picks a private folder in bpffs when root can have one; "" gives no pin key at all
    """

    count = 0

    def __init__(
        self,
        listens=("127.0.0.1:0",),
        workers=2,
        routes=None,
        sites=None,
        steering=None,
        limits=None,
        timeouts=None,
        log=None,
        files_cache=None,
        extra="",
        wrap=(),
        pin=None,
        env=None,
        name="t",
        config=None,
        www=None,
    ):
        Server.count += 1
        self.dir = tempfile.mkdtemp(prefix="sluice-e2e-")
        os.chmod(self.dir, 0o755)
        self.own_www = www is None
        self.www = www or os.path.join(self.dir, "www")
        os.makedirs(self.www, exist_ok=True)
        self.control = os.path.join(self.dir, "control.sock")
        self.stderr_path = os.path.join(self.dir, "stderr")
        self.stdout_path = os.path.join(self.dir, "stdout")
        self.conf_path = os.path.join(self.dir, "sluice.conf")
        if pin is None:
            pin = (
                "%s/sluice-test-%d-%d" % (BPFFS, os.getpid(), Server.count)
                if bpffs_is_mounted() and IS_ROOT
                else ""
            )
        self.pin = pin
        self.wrap = list(wrap)
        self.env = dict(os.environ, **(env or {}))
        self.proc = None
        self.pass_fds = ()
        self.expected_exit = 0
        self.text = (
            config
            if config is not None
            else self.make_config(
                listens, workers, routes, sites, steering, limits, timeouts, log, files_cache, extra
            )
        )
        self.text = self.text.replace("@DIR@", self.dir).replace("@WWW@", self.www)

    def make_config(
        self, listens, workers, routes, sites, steering, limits, timeouts, log, files_cache, extra
    ):
        out = ["workers = %s\n" % workers, "control = %s\n" % quote(self.control)]
        if IS_ROOT:
            out.append('user = "nobody"\n')
        if self.pin:
            out.append("pin = %s\n" % quote(self.pin))
        for name, keys in (
            ("steering", steering),
            ("limits", limits),
            ("timeouts", timeouts),
            ("files_cache", files_cache),
            ("log", log),
        ):
            if keys:
                out.append(section(name, keys))
        for entry in listens:
            address, keys = (entry, {}) if isinstance(entry, str) else entry
            out.append(section("listen", keys, address))
        if routes is None:
            routes = {"/": {"files": self.www}, "/hello": {"respond": "hello"}}
        for names, table in (sites or {"*": routes}).items():
            out.append("site %s {\n" % quote(names))
            for prefix, keys in table.items():
                out.append(
                    "".join(
                        "\t" + line + "\n" for line in section("route", keys, prefix).splitlines()
                    )
                )
            out.append("}\n")
        out.append(extra)
        return "".join(out)

    # start

    def command(self, *words):
        return [SLUICE] + list(words)

    def launch(self):
        """Starts the process and returns at once."""
        if not os.access(SLUICE, os.X_OK):
            raise Skip("there is no %s (run make)" % SLUICE)
        with open(self.conf_path, "w") as f:
            f.write(self.text)
        out, err = open(self.stdout_path, "wb"), open(self.stderr_path, "wb")
        with out, err:
            self.proc = subprocess.Popen(
                self.wrap + self.command("run", "-c", self.conf_path),
                stdout=out,
                stderr=err,
                stdin=subprocess.DEVNULL,
                env=self.env,
                start_new_session=True,
                cwd=self.dir,
                pass_fds=self.pass_fds,
            )
        return self

    def start(self):
        self.launch()
        try:
            status = wait_for(
                self.ready, lambda: "the control socket answers; stderr:\n" + self.stderr()
            )
        except AssertionError:
            self.abandon()
            raise
        self.first_pids = {w["slot"]: w["pid"] for w in status["workers"]}
        return self

    def ready(self):
        if self.proc.poll() is not None:
            raise AssertionError(
                "the server left with %s at its start; stderr:\n%s"
                % (self.proc.returncode, self.stderr())
            )
        try:
            status = self.status()
        except (OSError, ValueError):
            return None
        return status if all(w["state"] == "running" for w in status["workers"]) else None

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, error, trace):
        if kind is not None:
            if kind is not Skip:
                print("--- end of the server's stderr\n%s---" % self.stderr()[-4000:])
            self.abandon()
            return False
        self.stop()
        return False

    # talk

    def ask(self, request):
        """One line of JSON to the control socket and one back."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.settimeout(PATIENCE)
            s.connect(self.control)
            s.sendall(json.dumps(request).encode() + b"\n")
            data = b""
            while True:
                piece = s.recv(65536)
                if not piece:
                    break
                data += piece
        return json.loads(data)

    def status(self):
        answer = self.ask({"command": "status"})
        if not answer.get("ok"):
            raise AssertionError("status refused: %r" % answer)
        return answer["status"]

    def cli(self, *words, timeout=60):
        """A sub-command about this server, as an operator types it."""
        return subprocess.run(
            self.command(words[0], "-c", self.conf_path, *words[1:]),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            timeout=timeout,
            env=self.env,
            cwd=self.dir,
        )

    def workers(self):
        return sorted(self.status()["workers"], key=lambda w: w["slot"])

    def total(self, key):
        return sum(w[key] for w in self.workers())

    def address(self, index=0):
        """(host, port) that the kernel gave."""
        host, _, port = self.status()["listen"][index]["address"].rpartition(":")
        return host.strip("[]"), int(port)

    def stderr(self):
        try:
            with open(self.stderr_path, errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def write(self, path, data):
        full = os.path.join(self.www, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as f:
            f.write(data.encode() if isinstance(data, str) else data)
        return full

    # prove

    def wait_live(self, count, timeout=None):
        seen = {}

        def is_reached():
            seen["live"] = [w["live"] for w in self.workers()]
            return sum(seen["live"]) == count

        wait_for(
            is_reached, lambda: "%d live connections, got %s" % (count, seen.get("live")), timeout
        )

    def assert_no_worker_died(self):
        now = {w["slot"]: w["pid"] for w in self.workers()}
        assert now == self.first_pids, "workers changed from %s to %s; stderr:\n%s" % (
            self.first_pids,
            now,
            self.stderr(),
        )

    # stop

    def stop(self, sig=signal.SIGTERM, timeout=None):
        """Signals the master, waits, then proves that nothing is left.  Returns the seconds it took."""
        began = time.monotonic()
        session = self.proc.pid
        if sig is not None:
            self.proc.send_signal(sig)
        try:
            code = self.proc.wait(timeout or PATIENCE + 5)
        except subprocess.TimeoutExpired:
            text = self.stderr()
            self.abandon()
            raise AssertionError("the server did not stop on signal %s; stderr:\n%s" % (sig, text))
        took = time.monotonic() - began
        try:
            self.assert_gone(session)
            self.assert_clean_stderr()
            assert code == self.expected_exit, "exit status %s instead of %s; stderr:\n%s" % (
                code,
                self.expected_exit,
                self.stderr(),
            )
        finally:
            self.abandon()
        return took

    def assert_gone(self, session, has_pins=False, patience=0):
        """`patience`: for a master that is no child of ours, whose socket is closed a moment before it is gone."""
        if patience:
            wait_for(lambda: not session_pids(session), "its processes end", patience)
        left = [p for p in session_pids(session) if is_alive(p)]
        assert not left, "processes left behind: %s" % left
        if self.pin and not has_pins:
            assert not os.path.exists(self.pin), "pins left: %s" % os.listdir(self.pin)
        assert not os.path.exists(self.control), "the control socket is still there"

    def assert_clean_stderr(self):
        for mark in (
            "AddressSanitizer",
            "LeakSanitizer",
            "UndefinedBehavior",
            "runtime error:",
            "BUG_ON",
            " bug ",
            "the sandbox refused",
            "killed by its sandbox",
        ):
            assert mark not in self.stderr(), "%s in stderr:\n%s" % (mark, self.stderr())

    def abandon(self):
        """Whatever happened, nothing of this server outlives it."""
        if self.proc is not None:
            for pid in session_pids(self.proc.pid):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(Exception):
                self.proc.wait(5)
        if self.pin and os.path.isdir(self.pin):
            for root, folders, files in os.walk(self.pin, topdown=False):
                for name in files:
                    os.unlink(os.path.join(root, name))
                for name in folders:
                    os.rmdir(os.path.join(root, name))
            os.rmdir(self.pin)
        if not os.environ.get("SLUICE_KEEP"):
            shutil.rmtree(self.dir, ignore_errors=True)


# --- answers, strictly ---

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9]) ([\t -~]*)\Z")
FIELD_LINE = re.compile(
    rb"(" + TOKEN + rb"):[ \t]*((?:[!-~\x80-\xff](?:[ \t!-~\x80-\xff]*[!-~\x80-\xff])?)?)[ \t]*\Z"
)
HTTP_DATE = re.compile(
    rb"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) "
    rb"\d{4} \d\d:\d\d:\d\d GMT\Z"
)
CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}(;[^\r\n]*)?\Z")


class Response:
    def __init__(self, status, reason, version_minor, fields):
        self.status, self.reason, self.version_minor, self.fields = (
            status,
            reason,
            version_minor,
            fields,
        )
        self.body = b""
        self.is_close_delimited = False

    def all(self, name):
        return [v for n, v in self.fields if n.lower() == name.lower()]

    def get(self, name, default=None):
        values = self.all(name)
        return values[0] if values else default

    def tokens(self, name):
        return [t.strip().lower() for v in self.all(name) for t in v.split(",")]

    def says_close(self):
        return "close" in self.tokens("connection")

    def __repr__(self):
        return "<%d %s, %d bytes>" % (self.status, self.reason, len(self.body))


def parse_head(head):
    """The bytes before the empty line -> Response; refuses everything that a strict reader would."""
    lines = head.split(b"\r\n")
    m = STATUS_LINE.match(lines[0])
    if not m:
        raise ProtocolError("status line %r" % lines[0])
    fields = []
    for line in lines[1:]:
        f = FIELD_LINE.match(line)
        if not f:
            raise ProtocolError("field line %r" % line)
        fields.append((f.group(1).decode("ascii"), f.group(2).decode("latin-1")))
    r = Response(int(m.group(2)), m.group(3).decode("ascii"), int(m.group(1)), fields)
    for name in (
        "content-length",
        "transfer-encoding",
        "date",
        "content-type",
        "location",
        "etag",
        "server",
        "content-range",
        "last-modified",
    ):
        if len(r.all(name)) > 1:
            raise ProtocolError("%s twice" % name)
    if r.get("content-length") is not None:
        if not re.fullmatch(r"[0-9]+", r.get("content-length")):
            raise ProtocolError("content-length %r" % r.get("content-length"))
        if r.get("transfer-encoding") is not None:
            raise ProtocolError("content-length together with transfer-encoding")
    if r.get("date") is not None and not HTTP_DATE.match(r.get("date").encode()):
        raise ProtocolError("date %r" % r.get("date"))
    if r.status >= 200 and r.status < 500 and r.get("date") is None:
        raise ProtocolError("%d without Date (RFC 9110 6.6.1)" % r.status)
    if (r.status < 200 or r.status == 204) and (
        r.get("content-length") or r.get("transfer-encoding")
    ):
        raise ProtocolError("%d announces content" % r.status)
    return r


class Client:
    """A raw connection.  `address` is (host, port) or a Server."""

    takes_trailers = False

    def __init__(self, address, timeout=None, rcvbuf=None, source=None):
        if isinstance(address, Server):
            address = address.address()
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.settimeout(PATIENCE if timeout is None else timeout)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        if source:
            self.sock.bind((source, 0))
        self.sock.connect(address)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data = b""
        self.is_eof = False
        self.was_reset = False

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.close()

    def close(self):
        self.sock.close()

    def reset(self):
        """Closes with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def send(self, data, cuts=()):
        """Sends all, in pieces that begin at the cuts.  A server that closed early is no error here."""
        data = data.encode("latin-1") if isinstance(data, str) else data
        start = 0
        try:
            for cut in list(cuts) + [len(data)]:
                if cut > start:
                    self.sock.sendall(data[start:cut])
                start = max(start, cut)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def half_close(self):
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def fill(self):
        """One more read; False at the end of the stream."""
        if self.is_eof:
            return False
        try:
            piece = self.sock.recv(262144)
        except ConnectionResetError:
            self.was_reset = True
            piece = b""
        except socket.timeout:
            raise AssertionError(
                "nothing for %.1f s; so far %r" % (self.sock.gettimeout(), self.data[:300])
            )
        if not piece:
            self.is_eof = True
            return False
        self.data += piece
        return True

    def take(self, count):
        while len(self.data) < count:
            if not self.fill():
                raise ProtocolError(
                    "end of stream%s after %d of %d bytes"
                    % (" by reset" if self.was_reset else "", len(self.data), count)
                )
        piece, self.data = self.data[:count], self.data[count:]
        return piece

    def take_line(self):
        while b"\r\n" not in self.data:
            if len(self.data) > 65536 or not self.fill():
                raise ProtocolError("no line in %r" % self.data[:200])
        line, self.data = self.data.split(b"\r\n", 1)
        return line

    def read_response(self, method="GET"):
        """The next answer, interim ones included.  None when the stream ends before its first byte."""
        if not self.data and not self.fill():
            return None
        while b"\r\n\r\n" not in self.data:
            if len(self.data) > 65536:
                raise ProtocolError("no end of head in %r" % self.data[:200])
            if not self.fill():
                raise ProtocolError(
                    "end of stream%s inside a head: %r"
                    % (" by reset" if self.was_reset else "", self.data[:200])
                )
        head, self.data = self.data.split(b"\r\n\r\n", 1)
        r = parse_head(head)
        if method == "HEAD" or r.status < 200 or r.status in (204, 304):
            return r
        if "chunked" in r.tokens("transfer-encoding"):
            r.body = self.read_chunked()
        elif r.get("content-length") is not None:
            r.body = self.take(int(r.get("content-length")))
        else:
            while self.fill():
                pass
            r.body, self.data, r.is_close_delimited = self.data, b"", True
        return r

    def read_chunked(self):
        body = b""
        while True:
            line = self.take_line()
            if not CHUNK_SIZE.match(line):
                raise ProtocolError("chunk size %r" % line)
            size = int(line.split(b";")[0], 16)
            if size == 0:
                while self.take_line() != b"":
                    if not self.takes_trailers:
                        raise ProtocolError("trailer")
                return body
            body += self.take(size)
            if self.take(2) != b"\r\n":
                raise ProtocolError("no CRLF behind a chunk")

    def read_all(self):
        """Everything up to the end of the stream."""
        while self.fill():
            pass
        data, self.data = self.data, b""
        return data

    def read_responses(self, methods=()):
        """Answers until the end of the stream."""
        answers = []
        finals = 0
        while True:
            r = self.read_response(methods[finals] if finals < len(methods) else "GET")
            if r is None:
                return answers
            answers.append(r)
            finals += r.status >= 200

    def assert_closed(self):
        assert not self.data, "bytes behind the answer: %r" % self.data[:200]
        assert not self.fill(), "the connection sent more: %r" % self.data[:200]

    def request(self, target="/", method="GET", fields=(), body=b"", host="test"):
        self.send(request(target, method, fields, body, host))
        return self.read_response(method)


def request(target="/", method="GET", fields=(), body=b"", host="test", version="1.1"):
    lines = ["%s %s HTTP/%s" % (method, target, version)]
    if host is not None:
        lines.append("Host: %s" % host)
    lines += ["%s: %s" % pair for pair in (fields.items() if isinstance(fields, dict) else fields)]
    if body:
        lines.append("Content-Length: %d" % len(body))
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (
        body if isinstance(body, bytes) else body.encode()
    )


def get(address, target="/", fields=(), method="GET", host="test"):
    """One request on a connection of its own."""
    with Client(address) as c:
        return c.request(target, method, fields, host=host)


# --- sockets as the kernel sees them ---

TCP_STATES = {
    1: "ESTAB",
    2: "SYN_SENT",
    3: "SYN_RECV",
    4: "FIN_WAIT1",
    5: "FIN_WAIT2",
    6: "TIME_WAIT",
    7: "CLOSE",
    8: "CLOSE_WAIT",
    9: "LAST_ACK",
    10: "LISTEN",
    11: "CLOSING",
    12: "NEW_SYN_RECV",
}


def server_sockets(port, host=None):
    """{state: count} of the sockets whose local port this is, out of /proc/net/tcp and tcp6.

    `host`: only those of this IPv4 address; a client of another address may have the same port as its own.
    """
    counts = {}
    wanted = None if host is None else "%08X" % int.from_bytes(socket.inet_aton(host), sys.byteorder)
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError), open("/proc/net/" + name) as f:
            next(f)
            for line in f:
                words = line.split()
                address, _, number = words[1].rpartition(":")
                if int(number, 16) == port and wanted in (None, address):
                    state = TCP_STATES.get(int(words[3], 16), words[3])
                    counts[state] = counts.get(state, 0) + 1
    return counts


# --- the runner ---


def main(module, flags=()):
    """Runs the test_* functions of a module in the order of their definition; exit status 0, 1, or 77 if all skipped.

    Arguments: names (parts of them) of tests to run; the words in `flags` are left to the tests (sys.argv).
    """
    import __main__

    space = vars(__main__) if module == "__main__" else vars(module)
    wanted = [a for a in sys.argv[1:] if a not in flags and not a.startswith("-")]
    tests = [(n, f) for n, f in space.items() if n.startswith("test_") and callable(f)]
    passed = failed = skipped = 0
    for name, test in tests:
        if wanted and not any(w in name for w in wanted):
            continue
        began = time.monotonic()
        try:
            test()
        except Skip as why:
            skipped += 1
            print("SKIP %s: %s" % (name, why), flush=True)
        except (Exception, KeyboardInterrupt) as e:
            failed += 1
            traceback.print_exc(file=sys.stdout)
            print("FAIL %s: %s" % (name, str(e).split("\n")[0][:300]), flush=True)
            if isinstance(e, KeyboardInterrupt):
                break
        else:
            passed += 1
            print("ok   %s (%.2f s)" % (name, time.monotonic() - began), flush=True)
    print("%d passed, %d failed, %d skipped" % (passed, failed, skipped), flush=True)
    sys.exit(1 if failed else 77 if skipped and not passed else 0)
