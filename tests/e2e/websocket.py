# SPDX-License-Identifier: MIT
"""A raw WebSocket client: what it sends may break every rule, what it gets is read strictly (RFC 6455)."""
import base64
import hashlib
import os
import struct
import zlib

from harness import Client, parse_head

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def handshake(path, host="test", key=None, extra=(), version="13"):
    key = key or base64.b64encode(os.urandom(16)).decode()
    lines = [
        "GET %s HTTP/1.1" % path,
        "Host: %s" % host,
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: %s" % key,
        "Sec-WebSocket-Version: %s" % version,
    ]
    return ("\r\n".join(lines + list(extra)) + "\r\n\r\n").encode(), key


def accept_of(key):
    return base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()


def frame(opcode, payload=b"", fin=True, rsv=0, mask=b"\1\2\3\4", length=None, form=None):
    """`length`: announced in place of the true one; `form`: 7, 16 or 64 bits in place of the shortest."""
    payload = payload.encode() if isinstance(payload, str) else payload
    n = len(payload) if length is None else length
    form = form or (7 if n < 126 else 16 if n < 65536 else 64)
    bit = 0x80 if mask else 0
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    if form == 7:
        head += bytes([bit | n])
    elif form == 16:
        head += bytes([bit | 126]) + struct.pack(">H", n)
    else:
        head += bytes([bit | 127]) + struct.pack(">Q", n)
    if mask:
        whole = mask * (len(payload) // 4 + 1)
        payload = (int.from_bytes(payload, "big") ^ int.from_bytes(whole[: len(payload)], "big")).to_bytes(
            len(payload), "big"
        )
        head += mask
    return head + payload


def deflated(data, level=6, wbits=-15):
    """As permessage-deflate sends it (RFC 7692 7.2.1)."""
    z = zlib.compressobj(level, zlib.DEFLATED, wbits)
    packed = z.compress(data) + z.flush(zlib.Z_SYNC_FLUSH)
    assert packed.endswith(b"\0\0\xff\xff")
    return packed[:-4]


def close_frame(code=None, reason=b"", **kw):
    return frame(CLOSE, b"" if code is None else struct.pack(">H", code) + reason, **kw)


class WebSocket(Client):
    """After its handshake.  read() gives (opcode, payload); at the end of the stream None."""

    def __init__(self, address, path="/", extra=(), timeout=None, rcvbuf=None, early=b"", source=None, offer=None):
        super().__init__(address, timeout=timeout, rcvbuf=rcvbuf, source=source)
        self.deflated_count = 0
        offers = ["Sec-WebSocket-Extensions: " + offer] if offer else []
        request, key = handshake(path, extra=list(extra) + offers)
        self.send(request + early)
        while b"\r\n\r\n" not in self.data:
            assert self.fill(), "no answer to the handshake: %r" % self.data
        head, _, self.data = self.data.partition(b"\r\n\r\n")
        self.response = parse_head(head)
        assert self.response.status == 101, "%d: %r" % (self.response.status, head)
        assert self.response.get("Sec-WebSocket-Accept") == accept_of(key)
        assert self.response.get("Upgrade") == "websocket"
        assert self.response.tokens("Connection") == ["upgrade"]
        self.has_deflate = self.response.get("Sec-WebSocket-Extensions") is not None
        assert offer or not self.has_deflate, "an extension that nobody offered"

    def need(self, n):
        while len(self.data) < n:
            if not self.fill():
                assert not self.data, "the stream ends within a frame: %r" % self.data[:50]
                return False
        return True

    def read(self):
        if not self.need(2):
            return None
        first, n = self.data[0], self.data[1]
        is_deflated = first & 0x40 and self.has_deflate and first & 15 < 8
        assert first & 0x70 == (0x40 if is_deflated else 0), "reserved bits from the server: %#x" % first
        assert first & 0x80, "a fragment from the server"
        assert n & 0x80 == 0, "a masked frame from the server"
        at = 2
        if n == 126:
            self.need(4)
            n = struct.unpack(">H", self.data[2:4])[0]
            assert n > 125, "not the shortest form"
            at = 4
        elif n == 127:
            self.need(10)
            n = struct.unpack(">Q", self.data[2:10])[0]
            assert n > 65535, "not the shortest form"
            at = 10
        assert self.need(at + n)
        payload, self.data = self.data[at : at + n], self.data[at + n :]
        if is_deflated:
            # 4 KiB: what the server has promised, and no byte of an earlier message.
            payload = zlib.decompressobj(-12).decompress(payload + b"\0\0\xff\xff")
            self.deflated_count += 1
        if first & 15 >= 8:
            assert n < 126, "a long control frame from the server"
        if first & 15 == TEXT:
            payload.decode()
        return first & 15, payload

    def read_close(self):
        """The next frame is a close frame, behind which the stream ends: (code or None, reason)."""
        got = self.read()
        assert got and got[0] == CLOSE, "expected a close frame, got %r" % (got,)
        code, reason = (None, b"") if not got[1] else (struct.unpack(">H", got[1][:2])[0], got[1][2:])
        reason.decode()
        return code, reason

    def at_end(self):
        got = self.read()
        assert got is None, "behind the close frame came %r" % (got,)
        assert not self.was_reset, "reset in place of an end"

    def goodbye(self, code=1000):
        self.send(close_frame(code))
        assert self.read_close() == (code, b"")
        self.at_end()
        self.close()


class Stream(Client):
    """A stream of events (text/event-stream).  read() gives (type, data), or None at the end."""

    def __init__(self, address, path="/", extra=(), timeout=None):
        super().__init__(address, timeout=timeout)
        lines = ["GET %s HTTP/1.1" % path, "Host: test", "Accept: text/event-stream"] + list(extra)
        self.send("\r\n".join(lines) + "\r\n\r\n")
        while b"\r\n\r\n" not in self.data:
            assert self.fill(), "no answer: %r" % self.data
        head, _, self.data = self.data.partition(b"\r\n\r\n")
        self.response = parse_head(head)

    def read(self):
        while True:
            while b"\n\n" not in self.data:
                if not self.fill():
                    assert not self.data, "the stream ends within an event: %r" % self.data
                    return None
            event, _, self.data = self.data.partition(b"\n\n")
            kind, data = "message", None
            for line in event.split(b"\n"):
                if line.startswith(b":"):
                    continue
                name, _, value = line.partition(b": ")
                if name == b"event":
                    kind = value.decode()
                elif name == b"data":
                    data = value if data is None else data + b"\n" + value
                else:
                    raise AssertionError("line %r" % line)
            if data is not None:
                return kind, data
