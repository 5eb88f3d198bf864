# SPDX-License-Identifier: MIT
"""A small name server on UDP and TCP (RFC 1035, 2782), for names that a test makes up and changes while others ask."""
import contextlib
import socket
import struct
import threading

A, AAAA, SRV = 1, 28, 33
NOERROR, SERVFAIL, NXDOMAIN = 0, 2, 3


def encode_name(name):
    return b"".join(bytes([len(p)]) + p.encode() for p in name.rstrip(".").split(".")) + b"\0"


def decode_name(data, at):
    parts = []
    while data[at]:
        parts.append(data[at + 1 : at + 1 + data[at]].decode("latin-1"))
        at += 1 + data[at]
    return ".".join(parts).lower(), at + 1


def encode_record(kind, value):
    if kind == A:
        return socket.inet_aton(value)
    if kind == AAAA:
        return socket.inet_pton(socket.AF_INET6, value)
    priority, weight, port, target = value
    return struct.pack("!HHH", priority, weight, port) + encode_name(target)


class NameServer:
    """records  {(name, kind): [value]}; a name without any record does not exist
    ttl      of every answer, seconds
    is_mute  answers nothing; is_broken  answers SERVFAIL
    """

    def __init__(self, records=None, ttl=1):
        self.records, self.ttl = dict(records or {}), ttl
        self.is_mute = self.is_broken = False
        self.asked = []
        # An address that no client has: no port of it is taken by a connection that once was.
        self.tcp = socket.socket()
        self.tcp.bind(("127.0.0.53", 0))
        self.tcp.listen(16)
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(self.tcp.getsockname())
        self.server = "%s:%d" % self.tcp.getsockname()
        for run in (self.serve_udp, self.serve_tcp):
            threading.Thread(target=run, daemon=True).start()

    def set(self, name, kind, *values):
        self.records[name.lower(), kind] = list(values)

    def remove(self, name):
        for key in [k for k in self.records if k[0] == name.lower()]:
            del self.records[key]

    def asked_for(self, name):
        return [k for n, k in self.asked if n == name.lower()]

    def answer(self, query):
        ident, _, count = struct.unpack("!HHH", query[:6])
        name, end = decode_name(query, 12)
        kind = struct.unpack("!H", query[end : end + 2])[0]
        self.asked.append((name, kind))
        if self.is_mute or count != 1:
            return None
        values = self.records.get((name, kind), [])
        exists = any(n == name for n, _ in self.records)
        code = SERVFAIL if self.is_broken else NOERROR if exists else NXDOMAIN
        values = [] if self.is_broken else values
        head = struct.pack("!HHHHHH", ident, 0x8580 | code, 1, len(values), 0, 0)
        body = query[12 : end + 4]
        for value in values:
            data = encode_record(kind, value)
            body += b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, self.ttl, len(data)) + data
        return head + body

    def serve_udp(self):
        with contextlib.suppress(OSError):
            while True:
                query, peer = self.udp.recvfrom(4096)
                if not query:
                    return
                reply = self.answer(query)
                if reply:
                    self.udp.sendto(reply, peer)

    def serve_tcp(self):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.tcp.accept()
                with sock, contextlib.suppress(OSError, struct.error, IndexError):
                    sock.settimeout(5)
                    query = sock.recv(4096)
                    reply = self.answer(query[2:])
                    if reply:
                        sock.sendall(struct.pack("!H", len(reply)) + reply)

    def __enter__(self):
        return self

    def __exit__(self, *args):
        for s in (self.udp, self.tcp):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
            s.close()
