# SPDX-License-Identifier: MIT
"""An open loop of short connections, and the pinned map of slots as a program sees it."""
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


class SlotMap:
    """The pinned steer_slots, mapped: a look at it costs the server nothing."""

    LINE = struct.Struct("=IHHQIIIIIIQQ")
    FIELDS = (
        "epoch current previous stamp_ns live pending is_up cpu pid is_waiting accepted rescued"
    ).split()
    SYS_BPF = {"x86_64": 321, "aarch64": 280}

    def __init__(self, server, workers):
        path = ctypes.create_string_buffer(os.path.join(server.pin, "steer_slots").encode())
        attr = ctypes.create_string_buffer(struct.pack("=QII", ctypes.addressof(path), 0, 0), 16)
        number = self.SYS_BPF.get(platform.machine())
        if number is None:
            raise Skip("bpf(2) has no known number on %s" % platform.machine())
        fd = LIBC.syscall(number, 7, attr, 16)  # BPF_OBJ_GET
        assert fd >= 0, os.strerror(ctypes.get_errno())
        try:
            self.memory = mmap.mmap(fd, (workers * 64 + 4095) // 4096 * 4096, prot=mmap.PROT_READ)
        finally:
            os.close(fd)

    def __getitem__(self, slot):
        return dict(zip(self.FIELDS, self.LINE.unpack_from(self.memory, slot * 64)))
