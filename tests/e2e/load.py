# SPDX-License-Identifier: MIT
"""Open loops of short and of kept connections, and the pinned map of slots as a program sees it."""
import contextlib
import ctypes
import mmap
import os
import pickle
import platform
import select
import socket
import struct
import time

from harness import Skip

LIBC = ctypes.CDLL(None, use_errno=True)


def try_send(s, line):
    """False while the handshake is not over; what else goes wrong shows at the next read."""
    try:
        s.send(line)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def run_load(address, rate, start, seconds, out):
    """Open loop: one connection with one request at each due time.

    Writes [(arrival, latency or None, error, delay)]; the delay is how late this process came to make the connection.
    """
    poll = select.epoll()
    line = b"GET /hello HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"
    waiting, done = {}, []
    due, step, end = start, 1.0 / rate, start + seconds
    give_up = end + 5

    def finish(fd, latency, error=""):
        s, began, delay = waiting.pop(fd)
        s.close()
        done.append((began, latency, error, delay))

    while True:
        now = time.monotonic()
        while due <= now and due < end:
            s = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            began = time.monotonic()
            s.connect_ex(address)
            waiting[s.fileno()] = (s, began, began - due)
            if not try_send(s, line):
                poll.register(s.fileno(), select.EPOLLIN | select.EPOLLOUT)
            else:
                poll.register(s.fileno(), select.EPOLLIN)
            due += step
            now = time.monotonic()
        if due >= end and (not waiting or now > give_up):
            break
        for fd, events in poll.poll(max(0.0, min(due - now, 0.01)) if due < end else 0.05):
            if events & select.EPOLLOUT and not events & select.EPOLLERR:
                if try_send(waiting[fd][0], line):
                    poll.modify(fd, select.EPOLLIN)
                continue
            try:
                piece = waiting[fd][0].recv(4096)
            except BlockingIOError:
                continue
            except OSError as e:
                finish(fd, None, str(e))
                continue
            if piece:
                finish(fd, time.monotonic() - waiting[fd][1])
            else:
                finish(fd, None, "closed without an answer")
    done += [(began, None, "no answer", delay) for _, began, delay in waiting.values()]
    with os.fdopen(out, "wb") as f:
        pickle.dump(done, f)


class Kept:
    """One kept connection: idle, or with a request on its way."""

    LINE = b"GET /hello HTTP/1.1\r\nHost: t\r\n\r\n"

    def __init__(self, address):
        self.sock = socket.create_connection(address, 10)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self.data, self.is_busy = b"", False

    def ask(self):
        self.data, self.is_busy = b"", True
        self.sock.send(self.LINE)

    def hear(self):
        """True when the answer is complete; an exception when there is none."""
        piece = self.sock.recv(4096)
        if not piece:
            raise OSError("closed without an answer" if self.is_busy else "closed while idle")
        self.data += piece
        head, sep, body = self.data.partition(b"\r\n\r\n")
        if not sep:
            return False
        if not head.startswith(b"HTTP/1.1 200"):
            raise OSError("status %r" % head[:30])
        length = head.lower().partition(b"content-length: ")[2].split(b"\r")[0]
        if len(body) < int(length):
            return False
        self.is_busy = False
        return True

    def says_close(self):
        return b"connection: close" in self.data.lower()


class Crowd:
    """Kept connections that take turns; what happens to them is counted."""

    def __init__(self, address, count):
        self.address = address
        self.poll = select.epoll()
        self.by_fd, self.idle = {}, []
        self.seen = {"requests": 0, "answers": 0, "closes": 0, "idle_closed": 0, "failed": []}
        for _ in range(count):
            self.add()

    def add(self):
        try:
            c = Kept(self.address)
        except OSError as e:
            self.seen["failed"].append("connect: %s" % e)
            return
        self.by_fd[c.sock.fileno()] = c
        self.poll.register(c.sock.fileno(), select.EPOLLIN)
        self.idle.append(c)

    def drop(self, c, why):
        """A client that finds its connection closed while it waits just makes another; a lost request is a failure."""
        if c.is_busy:
            self.seen["failed"].append(why)
        else:
            self.seen["idle_closed"] += 1
        if c in self.idle:
            self.idle.remove(c)
        del self.by_fd[c.sock.fileno()]
        c.sock.close()
        self.add()

    def ask(self):
        if not self.idle:
            return
        c = self.idle.pop(0)
        self.seen["requests"] += 1
        try:
            c.ask()
        except OSError as e:
            self.drop(c, "send: %s" % e)

    def hear(self, wait):
        for fd, _ in self.poll.poll(wait):
            c = self.by_fd.get(fd)
            if c is None:
                continue
            try:
                is_whole = c.hear()
            except BlockingIOError:
                continue
            except (OSError, ValueError) as e:
                self.drop(c, str(e))
                continue
            if not is_whole:
                continue
            self.seen["answers"] += 1
            if c.says_close():
                self.seen["closes"] += 1
                self.drop(c, "")
            else:
                self.idle.append(c)


def run_kept(address, rate, start, seconds, out, connections):
    crowd = Crowd(address, connections)
    due, end = max(start, time.monotonic()), start + seconds
    while due < end:
        now = time.monotonic()
        while due <= now and due < end:
            crowd.ask()
            due += 1.0 / rate
        crowd.hear(max(0.0, min(due - now, 0.01)))
    while any(c.is_busy for c in crowd.by_fd.values()) and time.monotonic() < end + 5:
        crowd.hear(0.05)
    for c in crowd.by_fd.values():
        if c.is_busy:
            crowd.seen["failed"].append("no answer")
        c.sock.close()
    with os.fdopen(out, "wb") as f:
        pickle.dump(crowd.seen, f)


class KeptLoad:
    """Kept connections in a process of their own: `rate` requests a second over `connections` of them."""

    def __init__(self, address, rate, seconds, connections=100):
        r, w = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                os.close(r)
                run_kept(address, rate, time.monotonic(), seconds, w, connections)
                code = 0
            finally:
                os._exit(code)
        os.close(w)
        self.pipe = r

    def result(self):
        with os.fdopen(self.pipe, "rb") as f:
            seen = pickle.load(f)
        os.waitpid(self.pid, 0)
        return seen


class Load:
    def __init__(self, address, rate, seconds, processes=2):
        self.children = []
        start = time.monotonic() + 0.05
        for i in range(processes):
            r, w = os.pipe()
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    os.close(r)
                    offset = i / rate
                    run_load(address, rate / processes, start + offset, seconds, w)
                    code = 0
                finally:
                    os._exit(code)
            os.close(w)
            self.children.append((pid, r))

    def result(self):
        rows = []
        for pid, r in self.children:
            with os.fdopen(r, "rb") as f:
                rows += pickle.load(f)
            os.waitpid(pid, 0)
        self.children = []
        return sorted(rows)


def bpf(command, attr):
    """bpf(2): a descriptor."""
    number = {"x86_64": 321, "aarch64": 280}.get(platform.machine())
    if number is None:
        raise Skip("bpf(2) has no known number on %s" % platform.machine())
    fd = LIBC.syscall(number, command, ctypes.create_string_buffer(attr, len(attr)), len(attr))
    assert fd >= 0, os.strerror(ctypes.get_errno())
    return fd


@contextlib.contextmanager
def counted_runs():
    """The kernel counts the runs of programs meanwhile; unlike the sysctl, nobody else can turn that off."""
    fd = bpf(32, struct.pack("=I", 0))  # BPF_ENABLE_STATS, BPF_STATS_RUN_TIME
    try:
        yield
    finally:
        os.close(fd)


class SlotMap:
    """The pinned steer_slots, mapped: a look at it costs the server nothing."""

    LINE = struct.Struct("=IHHQIIIIIIQQ")
    FIELDS = (
        "epoch current previous stamp_ns live pending is_up cpu pid is_waiting accepted rescued"
    ).split()

    def __init__(self, server, workers):
        path = ctypes.create_string_buffer(os.path.join(server.pin, "steer_slots").encode())
        fd = bpf(7, struct.pack("=QII", ctypes.addressof(path), 0, 0))  # BPF_OBJ_GET
        try:
            self.memory = mmap.mmap(fd, (workers * 64 + 4095) // 4096 * 4096, prot=mmap.PROT_READ)
        finally:
            os.close(fd)

    def __getitem__(self, slot):
        return dict(zip(self.FIELDS, self.LINE.unpack_from(self.memory, slot * 64)))
