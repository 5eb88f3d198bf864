#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Odd requests, made by a grammar and its violations, through sluice, nginx and HAProxy in front of back ends that record.

What is compared is the verdict on a stream: which requests reached the back end with how much content, in order, and
whether the proxy refused the rest (an answer of its own) or waits for more.  Behind the odd request stands a good one; where
servers differ about whose content that is, one of them can be smuggled through.

    differential.py [--seed N] [--count N] [--all]      prints each class of difference that has no explanation here
"""
import argparse
import collections
import concurrent.futures
import random
import socket
import sys
import time

from backend import Backend
from harness import Server, value
from peers import Peer, need_tool

SILENCE_S = 0.25  # without a word a proxy is taken to wait for more; where verdicts differ it is given ten times that
THREADS = 12

# --- requests ---


class Message:
    """A request in parts, so that each of them can go wrong."""

    def __init__(self, rng, name):
        self.name = name  # in every target, so that the back end can tell whose it is
        self.method, self.target, self.version, self.eol = "GET", "/%s-a" % name, "HTTP/1.1", "\r\n"
        self.before, self.gaps = "", [" ", " "]
        self.fields = [["Host", ": ", "test", "\r\n"], ["X-A", ": ", "b", "\r\n"]]
        self.end, self.body = "\r\n", ""
        kind = rng.choice(("plain", "sized", "chunked", "sized", "chunked"))
        if kind != "plain":
            self.method = "POST"
        if kind == "sized":
            self.body = "hello"
            self.fields.append(["Content-Length", ": ", "5", "\r\n"])
        elif kind == "chunked":
            self.body = "5\r\nhello\r\n0\r\n\r\n"
            self.fields.append(["Transfer-Encoding", ": ", "chunked", "\r\n"])
        self.kind = kind

    def data(self):
        text = self.before + self.method + self.gaps[0] + self.target + self.gaps[1] + self.version + self.eol
        text += "".join("".join(field) for field in self.fields) + self.end + self.body
        return text.encode("latin-1")

    def framing(self):
        """The field that frames it, or None."""
        return self.fields[2] if len(self.fields) > 2 else None


MUTATIONS = []


def mutation(kinds=("plain", "sized", "chunked")):
    def note(function):
        MUTATIONS.append((function.__name__.replace("_", " "), kinds, function))
        return function
    return note


def choose(kinds, name, values, change):
    """A mutation that takes one of `values`: each is a class of its own."""
    for v in values:
        MUTATIONS.append(("%s %r" % (name, v), kinds, lambda m, rng, v=v: change(m, v)))


ALL = ("plain", "sized", "chunked")


def set_part(name):
    return lambda m, v: setattr(m, name, v)


choose(ALL, "method", ("get", "G@T", "GE\x7fT", "", "CONNECT", "TRACE", "OPTIONS", "BREW", "GET\t"), set_part("method"))
choose(ALL, "version", ("HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "HTTP/1.10", "http/1.1", "HTTP/0.9", "", "HTTP/1.1 ", "HTTP/1",
                        "HTTP/1.1\t", "HTTP/01.1", "HTTP /1.1"), set_part("version"))
choose(ALL, "line end", ("\n", "\r", "\r\r\n", "\n\r\n", " \r\n"), set_part("eol"))
choose(ALL, "in front", ("\r\n", "\n", "\r\n\r\n\r\n", " ", "\t", "\0", "\r"), set_part("before"))
choose(ALL, "gap", ("  ", "\t", "\x0b", "\xa0", ""), lambda m, v: m.gaps.__setitem__(0, v))
choose(ALL, "second gap", ("  ", "\t", "\x0c", ""), lambda m, v: m.gaps.__setitem__(1, v))
choose(ALL, "target and", ("#a", "?a b", " b", "\x01", "\x7f", "\x80", "\xff", "\0", "%00", "%", "%zz", "\\..\\x", "/x/..", "/./x", "?%00",
                           "\"", "<>", "[", "|", "{}", "^", "`"), lambda m, v: setattr(m, "target", m.target + v))
choose(ALL, "target in front", ("http://test", "http://other", "http://a@test", "ftp://test", "http:/", "//", "*", "x", "http://test:99999",
                                "HTTP://test", "http://"), lambda m, v: setattr(m, "target", v + m.target))
choose(ALL, "colon", (" : ", "\t: ", ":", ":\t", "", "::", "\x0b: ", "\0: ", "\r\n: "),
       lambda m, v: m.fields[1].__setitem__(1, v))
choose(ALL, "colon of Host", (" : ", ":", "\t:"), lambda m, v: m.fields[0].__setitem__(1, v))
choose(ALL, "name", ("", "X A", "X_A", "(X)", "X\x80", "X\0", "X/A", "\"X\"", " X", "\tX", "X\x7f", "X\n", "X\r", "X:A"),
       lambda m, v: m.fields[1].__setitem__(0, v))
choose(ALL, "value", ("\0", "\x01", "\x7f", "\x80", "\xff", "a\rb", "a\nb", "a\r\n b", "a\r\n\tb", "\r\n b", "a\x0bb", "", "   ", "\"", "a\0b"),
       lambda m, v: m.fields[1].__setitem__(2, v))
choose(ALL, "field end", ("\n", "\r", "\r\r\n", "\n\r", "\r\n\r"), lambda m, v: m.fields[1].__setitem__(3, v))
choose(ALL, "head end", ("\n", "\r\r\n", "\r", " \r\n", "\n\n"), set_part("end"))
choose(ALL, "Host", ("", "a b", "a/b", "a@b", "a:b", "a:99999", "a:", "[::1]", "[::1", "a,b", "a\0", "a\x80", "a?b", "a#b", "%41", "a\\b"),
       lambda m, v: m.fields[0].__setitem__(2, v))
choose(ALL, "Connection", ("close", "Host", "Content-Length", "Transfer-Encoding", "close, keep-alive", "x\0", "TE", "upgrade"),
       lambda m, v: m.fields.append(["Connection", ": ", v, "\r\n"]))
choose(("sized",), "length", ("+5", "-5", "05", "5 ", " 5", "5\t", "0x5", "5, 5", "5,5", "5, 6", "5;", "5.0", "5e0", "", " ", "five",
                              "18446744073709551621", "4294967301", "00000000000000000005", "5 5", "\x0b5", "5\x0c", "\xa05", "6", "4", "0",
                              "5\0", "_5", "5_0", "1_0", "\u00b2"), lambda m, v: m.framing().__setitem__(2, v))
choose(("sized",), "name of the length", ("content-length", "CONTENT-LENGTH", "Content_Length", "Content-Length ", "Content-Lengt\xe8",
                                          "Content-Length\t", " Content-Length", "Content Length", "Content-Length\0", "Content-Length\x0b"),
       lambda m, v: m.framing().__setitem__(0, v))
choose(("chunked",), "coding", ("Chunked", "CHUNKED", "chunked ", " chunked", "\tchunked", "chunked\t", "\x0bchunked", "chunked\x0c", "xchunked",
                                "x-chunked", "chunke", "chunked, identity", "identity, chunked", "gzip, chunked", "chunked, gzip", "chunked;q=1",
                                "\"chunked\"", ",chunked", "chunked,", "chunked chunked", "chunked, chunked", "", "identity", "chunked\0",
                                "\xa0chunked", "chun\u00a0ked", "deflate", "chunked\r\n ", "\r\n chunked"),
       lambda m, v: m.framing().__setitem__(2, v))
choose(("chunked",), "name of the coding", ("transfer-encoding", "Transfer_Encoding", "Transfer-Encoding ", "Transfer-Encoding\t", " Transfer-Encoding",
                                            "Transfer Encoding", "Transfer-Encoding\0", "Transfer-Encoding\x0b", "Transfer-Encodin\xe7"),
       lambda m, v: m.framing().__setitem__(0, v))
choose(("chunked",), "size", ("0x5", "05", "0000000000000000000005", "+5", "-5", " 5", "5 ", "5\t", "5 ;a", "5;a", "5;a=b", "5;a=\"b\"", "5; a", "5;",
                              "5;a\0", "5;a\n", "5;a\rb", "5\x0b", "5_", "10000000000000005", "100000005", "", "g", "5,", "5;a=\"\r\n\"", "\t5", "5\r",
                              "fffffffffffffffffb"),
       lambda m, v: setattr(m, "body", v + m.body[1:]))
choose(("chunked",), "line end in chunks", ("\n", "\r", "\r\r\n", " \r\n", "\n\r", "\r\n "),
       lambda m, v: setattr(m, "body", "5%shello\r\n0\r\n\r\n" % v))
choose(("chunked",), "line end behind a chunk", ("\n", "\r", "", "X\r\n", " \r\n", "\r\nX"),
       lambda m, v: setattr(m, "body", "5\r\nhello%s0\r\n\r\n" % v))
choose(("chunked",), "last chunk", ("0\n\n", "0\r\n\n", "0\n\r\n", "00\r\n\r\n", "000000000000000000000\r\n\r\n", "0;a\r\n\r\n", "0 \r\n\r\n", "0x0\r\n\r\n", "-0\r\n\r\n", "\r\n\r\n",
                                    "0\r\nX: y\r\n\r\n", "0\r\nX : y\r\n\r\n", "0\r\nX\r\n\r\n", "0\r\n X: y\r\n\r\n", "0\r\nContent-Length: 5\r\n\r\n",
                                    "0\r\nTransfer-Encoding: chunked\r\n\r\n", "0\r\nHost: x\r\n\r\n", "0\r\nX: a\0\r\n\r\n", "0\r\nX: a\rb\r\n\r\n", "0\r\nX: y\n\n"),
       lambda m, v: setattr(m, "body", "5\r\nhello\r\n" + v))
choose(ALL, "more field", ("Host: test", "Host: other", "Content-Length: 0", "Content-Length: 5", "Content-Length: 6", "Transfer-Encoding: chunked",
                           "Transfer-Encoding: identity", "Transfer-Encoding: x", "Content-Length", ": x", "X-B: y", "Content-Length : 5",
                           "Transfer-Encoding : chunked", "Expect: x", "Upgrade: h2c", "TE: trailers",
                           "Transfer-Encoding: \x0bchunked", "X: Transfer-Encoding: chunked", "content-length: +0"),
       lambda m, v: m.fields.append([v, "", "", "\r\n"]))
choose(ALL, "first field", (" X: y", "\tX: y", "X", ":", "Transfer-Encoding: chunked", "\x0bX: y"), lambda m, v: m.fields.insert(0, [v, "", "", "\r\n"]))


@mutation()
def no_Host(m, rng):
    del m.fields[0]


@mutation()
def old_version_without_Host(m, rng):
    m.version = "HTTP/1.0"
    del m.fields[0]


@mutation()
def long_value(m, rng):
    m.fields[1][2] = "y" * 3000


@mutation()
def many_fields(m, rng):
    m.fields += [["X-%d" % i, ": ", "y", "\r\n"] for i in range(60)]


@mutation(("sized", "chunked"))
def framed_GET(m, rng):
    m.method = "GET"


@mutation(("sized", "chunked"))
def framed_HTTP_1_0(m, rng):
    m.version = "HTTP/1.0"


class Case:
    def __init__(self, number, seed):
        rng = random.Random("%d/%d" % (seed, number))
        self.name = "c%dz" % number
        message = Message(rng, self.name)
        self.labels = []
        # Every mutation once, in turn; then two at a time.
        count = 1 if number < len(MUTATIONS) else 2
        while len(self.labels) < count:
            label, kinds, change = MUTATIONS[number] if number < len(MUTATIONS) else rng.choice(MUTATIONS)
            while message.kind not in kinds:
                message = Message(rng, self.name)
            try:
                change(message, rng)
            except (AttributeError, IndexError, TypeError):  # the other one took what this one changes
                if number < len(MUTATIONS):
                    raise
            self.labels.append(label)
        behind = "GET /%s-%s HTTP/1.1\r\nHost: test\r\n\r\n"
        self.last = "%s-last" % self.name
        # At least one byte more than any mutated length says stands between the two.
        self.data = message.data() + (behind % (self.name, "mark") + behind % (self.name, "last")).encode()
        self.label = " + ".join(self.labels)


# --- the proxies ---


class NginxProxy(Peer):
    name = "nginx"
    CONF = """
daemon off; master_process off; pid nginx.pid; error_log stderr emerg; worker_processes 1;
events { worker_connections 512; }
http {
	access_log off; client_max_body_size 0; large_client_header_buffers 8 64k; merge_slashes off;
	client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
	keepalive_timeout 20s;
	server {
		listen 127.0.0.1:@PORT@ backlog=511;
		location / { proxy_pass http://@SERVER@; proxy_http_version 1.1; proxy_set_header Host test; proxy_set_header Connection ""; }
	}
}
"""

    def __init__(self, server):
        super().__init__()
        self.to = server

    def command(self):
        path = need_tool("nginx")
        text = self.CONF.replace("@PORT@", str(self.port)).replace("@SERVER@", self.to)
        return [path, "-p", self.dir, "-c", self.write("nginx.conf", text), "-e", "stderr"]


class HaproxyProxy(NginxProxy):
    name = "HAProxy"
    CONF = """
global
	nbthread 1
	tune.bufsize 65536
defaults
	mode http
	timeout client 20s
	timeout server 20s
	timeout connect 5s
	timeout http-request 20s
frontend f
	bind 127.0.0.1:@PORT@
	default_backend b
backend b
	http-request set-header Host test
	server s @SERVER@
"""

    def command(self):
        path = need_tool("haproxy")
        text = self.CONF.replace("@PORT@", str(self.port)).replace("@SERVER@", self.to)
        return [path, "-db", "-f", self.write("haproxy.cfg", text)]


class SluiceProxy:
    name = "sluice"

    def __init__(self, server):
        self.server = Server(
            routes={"/": {"proxy": "b"}},
            limits={"request_line": 8192, "header": 16384, "header_count": 100, "body": "16m"},
            extra='upstream "b" {\n\tfails = 0\n\tserver %s { }\n}\n' % value(server),
        )

    def __enter__(self):
        self.server.start()
        self.address = self.server.address()
        return self

    def __exit__(self, *args):
        return self.server.__exit__(*args)


# --- verdicts ---

REFUSED, WAITS, WHOLE = "refused", "waits", "whole"
ODD = "odd bytes"  # the proxy passed on what the recorder does not take
Verdict = collections.namedtuple("Verdict", "requests end")


def answer_script(c, r):
    return c.answer(r, "ok %s" % r.target, fields="X-Recorded: yes\r\n")


def talk(address, case, silence_s):
    """Everything that comes back until the last request was answered, the end, or silence."""
    got, began = b"", time.monotonic()
    with socket.create_connection(address, 10) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            s.sendall(case.data)
            s.settimeout(silence_s)
            while b"ok /%s" % case.last.encode() not in got and time.monotonic() - began < 10:
                piece = s.recv(65536)
                if not piece:
                    return got, True
                got += piece
        except socket.timeout:
            return got, False
        except OSError:
            return got, True
    return got, False


def judge(proxy, backend, case, silence_s):
    got, has_ended = talk(proxy.address, case, silence_s)
    if silence_s > SILENCE_S:
        time.sleep(0.1)  # what the recorder refuses it notes after the fact
    with backend.lock:
        mine = [r for r in backend.requests if case.name in r.target]
        has_odd = any(case.name in text for text in backend.odd)
    # Paths are one server's to tidy up and another's to leave: which of the three it is must do.
    requests = tuple((r.method, r.target.rpartition("-")[2][:1], r.body_len) for r in mine)
    if has_odd:
        requests += (ODD,)
    if b"ok /%s" % case.last.encode() in got:
        return Verdict(requests, WHOLE)
    # An answer that did not come from the back end is the proxy's own.
    own = got.count(b"HTTP/1.") - got.count(b"X-Recorded: yes")
    return Verdict(requests, REFUSED if own > 0 or has_ended else WAITS)


def run_case(proxies, case):
    verdicts = {name: judge(proxy, backend, case, SILENCE_S) for name, (proxy, backend) in proxies.items()}
    if len(set(verdicts.values())) > 1 or WAITS in (v.end for v in verdicts.values()):
        # Slow is not silent: asked again, with patience; both times count, so names must differ.
        case.data = case.data.replace(case.name.encode(), case.name.encode() + b"y")
        case.name, case.last = case.name + "y", case.name + "y-last"
        verdicts = {name: judge(proxy, backend, case, 10 * SILENCE_S) for name, (proxy, backend) in proxies.items()}
    return case, verdicts


def is_whole(v):
    return v.end == WHOLE


def classify(verdicts):
    """None, or how sluice differs from what the two others agree about."""
    ours, others = verdicts["sluice"], [v for name, v in verdicts.items() if name != "sluice"]
    if all(v.end == REFUSED and not v.requests for v in others) and ours.requests:
        return ACCEPTS
    if all(map(is_whole, others)) and not is_whole(ours):
        return REFUSES
    # What a proxy answers by itself (TRACE) does not reach the back end; what the recorder refuses cannot be compared.
    comparable = [v for v in others if is_whole(v) and ODD not in v.requests]
    if is_whole(ours) and comparable and "TRACE" not in [r[0] for v in comparable for r in v.requests]:
        if all(ours != v for v in comparable):
            return READS
    return None


ACCEPTS, REFUSES, READS = "accepts what both refuse", "refuses what both accept", "reads otherwise than all who accept"

# Differences with a reason, by label; docs/threat-model.md tells them.
EXPLAINED = {
    ACCEPTS: [
        "coding ',chunked'",  # RFC 9110 5.6.1.2: empty elements of a list are ignored; what is passed on is "chunked"
    ],
    REFUSES: [
        # A line ends in CRLF (RFC 9112 2.2 allows to take less, and that is what many have been smuggled by).
        "line end '\\n'", "in front '\\n'", "field end '\\n'", "head end '\\n'", "line end in chunks '\\n'",
        "line end behind a chunk '\\n'", "last chunk '0\\n\\n'", "last chunk '0\\r\\n\\n'", "last chunk '0\\n\\r\\n'",
        "last chunk '0\\r\\nX: y\\n\\n'",
        # One space between the parts of a request line (RFC 9112 3).
        "gap '  '", "second gap '  '",
        # Nothing but digits and an extension on the line of a chunk, at most 16 digits (RFC 9112 7.1).
        "line end in chunks ' \\r\\n'", "size '5 '", "size '5\\t'", "size '5 ;a'", "size '5; a'", "size '5;'", "size '5;a\\x00'",
        "size '0000000000000000000005'", "last chunk '000000000000000000000\\r\\n\\r\\n'", "last chunk '0 \\r\\n\\r\\n'",
        # No control characters in a field (RFC 9110 5.5).
        "value '\\x01'", "value '\\x7f'", "value 'a\\x0bb'", "last chunk '0\\r\\nX: a\\x00\\r\\n\\r\\n'",
        # No space before a colon, no folded line, in trailers neither (RFC 9112 5.1, 5.2).
        "last chunk '0\\r\\nX : y\\r\\n\\r\\n'", "last chunk '0\\r\\n X: y\\r\\n\\r\\n'",
        # Host is a host and a port (RFC 9112 3.2), a target http or https, a version 1.0 or 1.1.
        "Host 'a:b'", "Host 'a:99999'", "Host 'a@b'", "Host 'a,b'", "Host '[::1'", "Host 'a?b'", "Host 'a#b'", "Host 'a\\\\b'",
        "Host 'a\\x80'", "target in front 'ftp://test'", "version 'HTTP/1.2'",
        # An expectation that nobody can meet (RFC 9110 10.1.1: 417).
        "more field 'Expect: x'",
    ],
    READS: [],
}


def unexplained(found):
    """Of several mutations one that is explained is enough."""
    return {
        kind: {label: seen for label, seen in labels.items() if not set(label.split(" + ")) & set(EXPLAINED[kind])}
        for kind, labels in found.items()
    }


def run(seed, count):
    """{class: {label: (case, verdicts)}}, and what sluice sent that the recorder does not take."""
    found = collections.defaultdict(dict)
    with Backend() as a, Backend() as b, Backend() as c:
        for backend in (a, b, c):
            backend.default = answer_script
        with SluiceProxy(a.server) as s, NginxProxy(b.server) as n, HaproxyProxy(c.server) as h:
            proxies = {"sluice": (s, a), "nginx": (n, b), "HAProxy": (h, c)}
            with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
                for case, verdicts in pool.map(lambda i: run_case(proxies, Case(i, seed)), range(count)):
                    kind = classify(verdicts)
                    if kind:
                        found[kind].setdefault(case.label, (case, verdicts))
            s.server.assert_no_worker_died()
            odd = list(a.odd)
    return found, odd


def show(found):
    for kind, labels in sorted(found.items()):
        for label, (case, verdicts) in sorted(labels.items()):
            print("  %s: %s" % (kind, label))
            print("      %r" % case.data[:260])
            for name, v in verdicts.items():
                print("      %-8s %s %s" % (name, v.end, list(v.requests)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=len(MUTATIONS))
    parser.add_argument("--all", action="store_true", help="show explained differences too")
    options = parser.parse_args()
    print("seed %d, %d streams, %d mutations" % (options.seed, options.count, len(MUTATIONS)), flush=True)
    found, odd = run(options.seed, options.count)
    new = unexplained(found)
    for kind, labels in sorted(found.items()):
        print("sluice %s: %d classes, %d not explained" % (kind, len(labels), len(new[kind])))
    show(found if options.all else new)
    for text in odd:
        print("sluice sent something odd: %s" % text)
    return 1 if odd or any(new.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
