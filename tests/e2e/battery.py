# SPDX-License-Identifier: MIT
"""The table of raw requests: malformed, ambiguous and legal ones, with the verdict that RFC 9110 (semantics),
RFC 9112 (HTTP/1.1 framing) and RFC 3986 (URI) ask for.  Only data; test_battery.py sends it.

Where the RFCs leave the choice, DESIGN.md's stricter one stands ("the guard refuses"); where that is silent too, all
statuses allowed are listed.
"""

KEPT, CLOSED, EITHER = (
    "kept",
    "closed",
    "either",
)  # EITHER: what the last answer's Connection field says

# Limits of the server that the table is sent to.
REQUEST_LINE_MAX = 2048
HEADER_MAX = 8192
HEADER_COUNT_MAX = 40
BODY_MAX = 4096


class Case:
    """expect  one entry for each answer, in order: a status or a tuple of allowed ones
    fate    of the connection after the last answer
    methods of the requests that get those answers, where one is not GET (a HEAD answer has no content)
    half    the client shuts its sending side down behind the last byte
    body    of the first final answer, if it matters
    also    further answer lists that the RFC allows, each with the same fate
    """

    def __init__(self, name, data, expect, fate, ref, methods=(), half=False, body=None, also=()):
        self.name = name
        self.data = data.encode("latin-1") if isinstance(data, str) else data
        self.expect = expect if isinstance(expect, list) else [expect]
        self.fate, self.ref, self.methods, self.half, self.body = fate, ref, methods, half, body
        self.also = also


CASES = []


def case(name, data, expect, fate, ref, **more):
    CASES.append(Case(name, data, expect, fate, ref, **more))


def get(lines="", target="/hello", method="GET", version="HTTP/1.1", host="Host: test\r\n"):
    """A request whose `lines` (each with its end) stand behind Host."""
    return "%s %s %s\r\n%s%s\r\n" % (method, target, version, host, lines)


def post(lines, body, version="HTTP/1.1", target="/hello"):
    return get(lines, target, "POST", version) + body


NEXT = get(target="/smuggled")  # must never be answered where it stands behind doubtful framing
CHUNKS = "5\r\nhello\r\n0\r\n\r\n"


# --- line endings (RFC 9112 2.2): CRLF only ---

case("plain GET", get(), 200, KEPT, "9112 2.1", body=b"hello")
case("bare LF everywhere", "GET /hello HTTP/1.1\nHost: test\n\n", 400, CLOSED, "9112 2.2")
case(
    "bare LF behind the request line",
    "GET /hello HTTP/1.1\nHost: test\r\n\r\n",
    400,
    CLOSED,
    "9112 2.2",
)
case(
    "bare LF behind a field",
    "GET /hello HTTP/1.1\r\nHost: test\nX: y\r\n\r\n",
    400,
    CLOSED,
    "9112 2.2",
)
case(
    "bare LF as the final empty line",
    "GET /hello HTTP/1.1\r\nHost: test\r\n\n",
    400,
    CLOSED,
    "9112 2.2",
)
case("bare LF, simple request with fields", "GET /hello\nHost: test\n\n", 400, CLOSED, "9112 2.2")
case(
    "bare CR behind the request line",
    "GET /hello HTTP/1.1\rHost: test\r\n\r\n",
    400,
    CLOSED,
    "9112 2.2",
)
case(
    "bare CR behind a field",
    "GET /hello HTTP/1.1\r\nHost: test\rX: y\r\n\r\n",
    400,
    CLOSED,
    "9112 2.2",
)
case("bare CR within a value", get("X: a\rb\r\n"), 400, CLOSED, "9112 2.2")
case(
    "bare CR hiding a field (CVE-2023-30589)",
    get("X-Abc: \rxTransfer-Encoding: chunked\r\n") + CHUNKS,
    400,
    CLOSED,
    "9112 2.2",
)
case("CR CR LF behind a field", get("X: a\r\r\n"), 400, CLOSED, "9112 2.2")
case(
    "CR CR LF behind the request line",
    "GET /hello HTTP/1.1\r\r\nHost: test\r\n\r\n",
    400,
    CLOSED,
    "9112 2.2",
)
case("LF CR", "GET /hello HTTP/1.1\n\rHost: test\n\r\n\r", 400, CLOSED, "9112 2.2")
case(
    "bare LF hides Transfer-Encoding",
    get("X: a\nTransfer-Encoding: chunked\r\n", method="POST") + CHUNKS,
    400,
    CLOSED,
    "9112 2.2",
)
case("one empty line before the request line", "\r\n" + get(), 200, KEPT, "9112 2.2")
case("two empty lines before the request line", "\r\n\r\n" + get(), 200, KEPT, "9112 2.2")
case("empty line between requests", get() + "\r\n" + get(), [200, 200], KEPT, "9112 2.2")
case("bare LF before the request line", "\n" + get(), 400, CLOSED, "9112 2.2")
case("bare CR before the request line", "\r" + get(), 400, CLOSED, "9112 2.2")
case("space before the request line", " " + get(), 400, CLOSED, "9112 2.2")
case("space on a line before the request line", " \r\n" + get(), 400, CLOSED, "9112 2.2")
case(
    "white space between request line and fields",
    "GET /hello HTTP/1.1\r\n Host: test\r\n\r\n",
    400,
    CLOSED,
    "9112 2.2",
)
case(
    "tab between request line and fields",
    "GET /hello HTTP/1.1\r\n\tX: y\r\nHost: test\r\n\r\n",
    400,
    CLOSED,
    "9112 2.2",
)

# --- request line (RFC 9112 3) ---

case(
    "two spaces behind the method",
    "GET  /hello HTTP/1.1\r\nHost: test\r\n\r\n",
    400,
    CLOSED,
    "9112 3",
)
case(
    "two spaces behind the target",
    "GET /hello  HTTP/1.1\r\nHost: test\r\n\r\n",
    400,
    CLOSED,
    "9112 3",
)
case("tab between the parts", "GET\t/hello\tHTTP/1.1\r\nHost: test\r\n\r\n", 400, CLOSED, "9112 3")
case(
    "space behind the version", "GET /hello HTTP/1.1 \r\nHost: test\r\n\r\n", 400, CLOSED, "9112 3"
)
case(
    "word behind the version",
    "GET /hello HTTP/1.1 x\r\nHost: test\r\n\r\n",
    (400, 505),
    CLOSED,
    "9112 3",
)
case(
    "space within the target",
    "GET /hel lo HTTP/1.1\r\nHost: test\r\n\r\n",
    (400, 505),
    CLOSED,
    "9112 3.2",
)
case("no target", "GET HTTP/1.1\r\nHost: test\r\n\r\n", 400, CLOSED, "9112 3")
case("empty target", "GET  HTTP/1.1\r\nHost: test\r\n\r\n", 400, CLOSED, "9112 3")
case("no method", "/hello HTTP/1.1\r\nHost: test\r\n\r\n", (400, 501), CLOSED, "9112 3")
case(
    "vertical tab behind the method",
    "GET\x0b/hello HTTP/1.1\r\nHost: test\r\n\r\n",
    400,
    CLOSED,
    "9112 3",
)
case(
    "form feed behind the target",
    "GET /hello\x0cHTTP/1.1\r\nHost: test\r\n\r\n",
    400,
    CLOSED,
    "9112 3",
)
case(
    "NUL within the target", "GET /hel\0lo HTTP/1.1\r\nHost: test\r\n\r\n", 400, CLOSED, "9112 3.2"
)
case("NUL as the first byte", "\0" + get(), 400, CLOSED, "9112 3")
case("only garbage", bytes(range(128, 256)) + b"\r\n\r\n", 400, CLOSED, "9112 3")
case(
    "a TLS ClientHello",
    b"\x16\x03\x01\x00\x2a\x01\x00\x00\x26\x03\x03" + bytes(range(32)) + b"\r\n\r\n",
    400,
    CLOSED,
    "9112 3",
)
case("an SSH banner", "SSH-2.0-OpenSSH_9.2\r\n\r\n", 400, CLOSED, "9112 3")
case(
    "a status line",
    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    (400, 501, 505),
    CLOSED,
    "9112 3",
)

# --- version (RFC 9112 2.3; RFC 9110 15.6.6) ---

case("simple request of HTTP/0.9", "GET /hello\r\n\r\n", (400, 505), CLOSED, "9112 2.3")
case("HTTP/0.9 spelled out", get(version="HTTP/0.9"), 505, CLOSED, "9110 15.6.6")
case("HTTP/1.2", get(version="HTTP/1.2"), 505, CLOSED, "9110 15.6.6")
case("HTTP/2.0", get(version="HTTP/2.0"), 505, CLOSED, "9110 15.6.6")
case("HTTP/3.0", get(version="HTTP/3.0"), 505, CLOSED, "9110 15.6.6")
case("HTTP/9.9", get(version="HTTP/9.9"), 505, CLOSED, "9110 15.6.6")
case("preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 505), CLOSED, "9112 2.3")
case("HTTP/1.10", get(version="HTTP/1.10"), (400, 505), CLOSED, "9112 2.3")
case("HTTP/01.1", get(version="HTTP/01.1"), (400, 505), CLOSED, "9112 2.3")
case("HTTP/1,1", get(version="HTTP/1,1"), (400, 505), CLOSED, "9112 2.3")
case("HTTP/1", get(version="HTTP/1"), (400, 505), CLOSED, "9112 2.3")
case("HTTP/1.", get(version="HTTP/1."), (400, 505), CLOSED, "9112 2.3")
case("HTTP/.1", get(version="HTTP/.1"), (400, 505), CLOSED, "9112 2.3")
case("HTTP/-1.1", get(version="HTTP/-1.1"), (400, 505), CLOSED, "9112 2.3")
case("HTTP / 1.1", get(version="HTTP / 1.1"), (400, 505), CLOSED, "9112 2.3")
case(
    "http/1.1 (the name is case-sensitive)", get(version="http/1.1"), (400, 505), CLOSED, "9112 2.3"
)
case("HTTPS/1.1", get(version="HTTPS/1.1"), (400, 505), CLOSED, "9112 2.3")
case("ICE/1.0", get(version="ICE/1.0"), (400, 505), CLOSED, "9112 2.3")
case("RTSP/1.0", get(version="RTSP/1.0"), (400, 505), CLOSED, "9112 2.3")
case("HTTP/1.x", get(version="HTTP/1.x"), (400, 505), CLOSED, "9112 2.3")
case("an Arabic digit", get(version="HTTP/1.\xd9\xa1"), (400, 505), CLOSED, "9112 2.3")

# --- methods (RFC 9110 9) ---

case(
    "HEAD has no content",
    get(method="HEAD") + get(),
    [200, 200],
    KEPT,
    "9110 9.3.2",
    methods=("HEAD", "GET"),
)
case(
    "HEAD of a missing page",
    get(method="HEAD", target="/missing") + get(),
    [404, 200],
    KEPT,
    "9110 9.3.2",
    methods=("HEAD", "GET"),
)
case("unknown method", get(method="BREW"), (405, 501), EITHER, "9110 9.1")
case("unknown method with '-'", get(method="M-SEARCH"), (405, 501), EITHER, "9110 9.1")
case(
    "unknown method with odd token characters",
    get(method="A!#$%&'*+-.^_`|~9"),
    (405, 501),
    EITHER,
    "9110 9.1",
)
case("lower-case method", get(method="get"), (405, 501), EITHER, "9110 9.1")
case("mixed-case method", get(method="Get"), (405, 501), EITHER, "9110 9.1")
case("method with a bracket", get(method="GE(T"), 400, CLOSED, "9110 5.6.2")
case("method with a colon", get(method="GET:"), 400, CLOSED, "9110 5.6.2")
case("method with NUL", get(method="GE\0T"), 400, CLOSED, "9110 5.6.2")
case("method with a byte above 127", get(method="G\xc9T"), 400, CLOSED, "9110 5.6.2")
case("method with quotes", get(method='"GET"'), 400, CLOSED, "9110 5.6.2")
case("a very long method", get(method="A" * 300), (400, 405, 414, 501), EITHER, "9112 3")
case("DELETE of a file", get(method="DELETE", target="/index.html"), 405, EITHER, "9110 15.5.6")
case(
    "PUT to a file",
    get("Content-Length: 3\r\n", method="PUT", target="/index.html") + "abc",
    405,
    EITHER,
    "9110 15.5.6",
)
case(
    "POST to a file",
    get("Content-Length: 3\r\n", method="POST", target="/index.html") + "abc",
    405,
    EITHER,
    "9110 15.5.6",
)
case("TRACE", get(method="TRACE", target="/index.html"), (405, 501), EITHER, "9110 9.3.8")
case("OPTIONS *", get(method="OPTIONS", target="*"), (200, 204, 405), KEPT, "9110 9.3.7")
case(
    "OPTIONS of a page",
    get(method="OPTIONS", target="/index.html"),
    (200, 204, 405),
    EITHER,
    "9110 9.3.7",
)
case(
    "CONNECT",
    get(method="CONNECT", target="example.com:443", host="Host: example.com:443\r\n"),
    (405, 501),
    EITHER,
    "9110 9.3.6",
)
case(
    "CONNECT with a path",
    get(method="CONNECT", target="/hello"),
    (400, 405, 501),
    EITHER,
    "9112 3.2.3",
)
case(
    "CONNECT without a port",
    get(method="CONNECT", target="example.com"),
    (400, 405, 501),
    EITHER,
    "9112 3.2.3",
)

# --- target forms (RFC 9112 3.2) ---

case("absolute-form", get(target="http://test/hello"), 200, KEPT, "9112 3.2.2", body=b"hello")
case(
    "absolute-form replaces Host",
    get(target="http://other.example/who"),
    200,
    KEPT,
    "9112 3.2.2",
    body=b"other",
)
case(
    "Host alone picks the site",
    get(target="/who", host="Host: other.example\r\n"),
    200,
    KEPT,
    "9110 7.2",
    body=b"other",
)
case(
    "absolute-form: the scheme ignores case", get(target="HTTP://test/hello"), 200, KEPT, "3986 3.1"
)
case(
    "absolute-form: the host ignores case",
    get(target="http://OTHER.Example/who"),
    200,
    KEPT,
    "3986 3.2.2",
    body=b"other",
)
case("absolute-form with a port", get(target="http://test:8080/hello"), 200, KEPT, "9112 3.2.2")
case("absolute-form without a path", get(target="http://test"), 200, KEPT, "9112 3.2.1")
case("absolute-form: a query without a path", get(target="http://test?a=b"), 200, KEPT, "3986 3")
case(
    "absolute-form without Host in 1.1",
    get(target="http://test/hello", host=""),
    400,
    CLOSED,
    "9112 3.2",
)
case(
    "absolute-form without Host in 1.0",
    get(target="http://test/hello", host="", version="HTTP/1.0"),
    200,
    CLOSED,
    "9112 3.2.2",
)
case(
    "absolute-form with an invalid Host",
    get(target="http://test/hello", host="Host: a b\r\n"),
    400,
    CLOSED,
    "9112 3.2",
)
case("absolute-form with an empty host", get(target="http:///hello"), 400, CLOSED, "9110 4.2.1")
case(
    "absolute-form with user information",
    get(target="http://user@test/hello"),
    400,
    CLOSED,
    "9110 4.2.4",
)
case("absolute-form with a bad port", get(target="http://test:8o/hello"), 400, CLOSED, "3986 3.2.3")
case(
    "absolute-form with another scheme",
    get(target="ftp://test/hello"),
    (400, 421),
    CLOSED,
    "9112 3.2.2",
)
case(
    "absolute-form with https on a plain connection",
    get(target="https://test/hello"),
    (200, 400, 421),
    EITHER,
    "9110 7.4",
)
case("absolute-form: fragment", get(target="http://test/hello#x"), 400, CLOSED, "9110 7.1")
case("authority-form with GET", get(target="test:80"), 400, CLOSED, "9112 3.2.3")
case("asterisk-form with GET", get(target="*"), 400, CLOSED, "9112 3.2.4")
case("asterisk-form with a tail", get(target="*/x", method="OPTIONS"), 400, CLOSED, "9112 3.2.4")
case("a relative target", get(target="hello"), 400, CLOSED, "9112 3.2")
case("a target that begins with '?'", get(target="?a=b"), 400, CLOSED, "9112 3.2.1")
case("a fragment", get(target="/hello#top"), 400, CLOSED, "9112 3.2.1")

# --- paths and escapes (RFC 3986) ---

case("query", get(target="/hello?a=b&c=%20"), 200, KEPT, "3986 3.4", body=b"hello")
case("empty query", get(target="/hello?"), 200, KEPT, "3986 3.4", body=b"hello")
case("query with '?' and '/'", get(target="/hello?a=/b?c"), 200, KEPT, "3986 3.4", body=b"hello")
case(
    "dots within a query",
    get(target="/hello?../../etc/passwd"),
    200,
    KEPT,
    "3986 3.4",
    body=b"hello",
)
case("an escaped letter", get(target="/%68ell%6F"), 200, KEPT, "3986 6.2.2.2", body=b"hello")
case("a dot segment", get(target="/./hello"), 200, KEPT, "3986 5.2.4", body=b"hello")
case(
    "a double dot that stays inside",
    get(target="/a/b/../../hello"),
    200,
    KEPT,
    "3986 5.2.4",
    body=b"hello",
)
case(
    "an escaped double dot that stays inside",
    get(target="/a/%2E%2e/hello"),
    200,
    KEPT,
    "3986 5.2.4",
    body=b"hello",
)
case("empty segments", get(target="//hello"), 200, KEPT, "3986 3.3", body=b"hello")
case("sub-delimiters in a path", get(target="/a!$&'()*+,;=:@-._~"), 404, KEPT, "3986 3.3")
case("an escape cut short", get(target="/hello%"), 400, CLOSED, "3986 2.1")
case("an escape of one digit", get(target="/hello%4"), 400, CLOSED, "3986 2.1")
case("an escape that is not hexadecimal", get(target="/hello%zz"), 400, CLOSED, "3986 2.1")
case("an escape %u", get(target="/%u0068ello"), 400, CLOSED, "3986 2.1")
case("an escaped NUL", get(target="/hello%00"), 400, CLOSED, "3986 7.3")
case("an escaped NUL before a suffix", get(target="/index.html%00.png"), 400, CLOSED, "3986 7.3")
case("an escaped CR LF", get(target="/hello%0d%0aX:%20y"), (400, 404), EITHER, "3986 2.1")
case("climbing above the root", get(target="/../etc/passwd"), (400, 403, 404), EITHER, "3986 5.2.4")
case(
    "climbing above the root, escaped",
    get(target="/%2e%2e/etc/passwd"),
    (400, 403, 404),
    EITHER,
    "3986 5.2.4",
)
case(
    "climbing above the root, escaped slash",
    get(target="/..%2f..%2fetc%2fpasswd"),
    (400, 403, 404),
    EITHER,
    "3986 7.3",
)
case(
    "climbing above the root, all escaped",
    get(target="/%2e%2e%2f%2e%2e%2fetc%2fpasswd"),
    (400, 403, 404),
    EITHER,
    "3986 7.3",
)
case(
    "climbing above the root behind a folder",
    get(target="/a/../../etc/passwd"),
    (400, 403, 404),
    EITHER,
    "3986 5.2.4",
)
case(
    "climbing, escaped twice",
    get(target="/%252e%252e/%252e%252e/etc/passwd"),
    (400, 404),
    EITHER,
    "3986 2.4",
)
case(
    "climbing, over-long UTF-8",
    get(target="/%c0%ae%c0%ae/etc/passwd"),
    (400, 404),
    EITHER,
    "3986 7.3",
)
case("climbing, backslashes", get(target="/..\\..\\etc\\passwd"), (400, 404), EITHER, "3986 2")
case(
    "climbing, escaped backslashes",
    get(target="/..%5c..%5cetc%5cpasswd"),
    (400, 404),
    EITHER,
    "3986 7.3",
)
case("climbing, parameters", get(target="/..;/..;/etc/passwd"), (400, 404), EITHER, "3986 3.3")
case(
    "climbing, absolute-form",
    get(target="http://test/../../etc/passwd"),
    (400, 403, 404),
    EITHER,
    "3986 5.2.4",
)
case("three dots", get(target="/.../hello"), 404, KEPT, "3986 3.3")
case("a hidden file", get(target="/.secret"), (403, 404), KEPT, "3986 3.3")
case("DEL in a target", get(target="/hel\x7flo"), 400, CLOSED, "3986 2")
case("a control in a target", get(target="/hel\x01lo"), 400, CLOSED, "3986 2")
case("a raw byte above 127 in a target", get(target="/hel\xc3\xa9lo"), (400, 404), EITHER, "3986 2")
case("quotes and angle brackets in a target", get(target='/"<x>"'), (400, 404), EITHER, "3986 2")
case(
    "a raw '|' in a query, as browsers send it",
    get(target="/hello?a|b"),
    (200, 400),
    EITHER,
    "3986 2",
)

# --- Host (RFC 9110 7.2, RFC 9112 3.2) ---

case("no Host in 1.1", get(host=""), 400, CLOSED, "9112 3.2")
case("no Host in 1.0", get(host="", version="HTTP/1.0"), 200, CLOSED, "9112 3.2")
case("two equal Hosts", get("Host: test\r\n"), 400, CLOSED, "9112 3.2")
case("two different Hosts", get("Host: other.example\r\n"), 400, CLOSED, "9112 3.2")
case(
    "two Hosts in 1.0", get("Host: other.example\r\n", version="HTTP/1.0"), 400, CLOSED, "9112 3.2"
)
case("two Hosts, names in different case", get("hOST: test\r\n"), 400, CLOSED, "9112 3.2")
case("empty Host", get(host="Host:\r\n"), 400, CLOSED, "9112 3.2")
case("Host of white space", get(host="Host: \t \r\n"), 400, CLOSED, "9112 3.2")
case("Host with a space", get(host="Host: te st\r\n"), 400, CLOSED, "9112 3.2")
case("Host with a list", get(host="Host: test, other\r\n"), 400, CLOSED, "9112 3.2")
case("Host with a path", get(host="Host: test/hello\r\n"), 400, CLOSED, "9112 3.2")
case("Host with a query", get(host="Host: test?x\r\n"), 400, CLOSED, "9112 3.2")
case("Host with a fragment", get(host="Host: test#x\r\n"), 400, CLOSED, "9112 3.2")
case("Host with user information", get(host="Host: user@test\r\n"), 400, CLOSED, "9112 3.2")
case("Host with a scheme", get(host="Host: http://test\r\n"), 400, CLOSED, "9112 3.2")
case("Host with a word as port", get(host="Host: test:http\r\n"), 400, CLOSED, "3986 3.2.3")
case("Host with two ports", get(host="Host: test:80:81\r\n"), 400, CLOSED, "3986 3.2.3")
case(
    "Host with a port above 65535",
    get(host="Host: test:65536\r\n"),
    (200, 400),
    EITHER,
    "3986 3.2.3",
)
case("Host with a negative port", get(host="Host: test:-1\r\n"), 400, CLOSED, "3986 3.2.3")
case("Host with only a port", get(host="Host: :80\r\n"), 400, CLOSED, "9110 4.2.1")
case("Host with an open bracket", get(host="Host: [::1\r\n"), 400, CLOSED, "3986 3.2.2")
case("Host with words behind the bracket", get(host="Host: [::1]x\r\n"), 400, CLOSED, "3986 3.2.2")
case("Host with nonsense in brackets", get(host="Host: [xyz]\r\n"), 400, CLOSED, "3986 3.2.2")
case("Host: IPv6 without brackets", get(host="Host: ::1\r\n"), 400, CLOSED, "3986 3.2.2")
case("Host with a bad escape", get(host="Host: te%zzst\r\n"), 400, CLOSED, "3986 3.2.2")
case("Host with angle brackets", get(host="Host: <test>\r\n"), 400, CLOSED, "3986 3.2.2")
case("Host with a backslash", get(host="Host: te\\st\r\n"), 400, CLOSED, "3986 3.2.2")
case("Host with a byte above 127", get(host="Host: t\xe9st\r\n"), 400, CLOSED, "3986 3.2.2")
case("Host with NUL", get(host="Host: te\0st\r\n"), 400, CLOSED, "9110 5.5")
case("Host with a port", get(host="Host: test:8080\r\n"), 200, KEPT, "9110 7.2")
case("Host with an empty port", get(host="Host: test:\r\n"), 200, KEPT, "3986 3.2.3")
case("Host: IPv6", get(host="Host: [::1]:8080\r\n"), 200, KEPT, "3986 3.2.2")
case("Host: IPv4", get(host="Host: 127.0.0.1\r\n"), 200, KEPT, "3986 3.2.2")
case(
    "Host: any case, final dot",
    get(target="/who", host="Host: OTHER.example.\r\n"),
    200,
    KEPT,
    "9110 7.2",
    body=b"other",
)
case("Host with an underscore", get(host="Host: a_b.test\r\n"), 200, KEPT, "3986 3.2.2")
case("Host with white space around it", get(host="Host:\t test \t\r\n"), 200, KEPT, "9112 5.1")
case("Host last", "GET /hello HTTP/1.1\r\nX: y\r\nHost: test\r\n\r\n", 200, KEPT, "9110 7.2")

# --- fields (RFC 9110 5, RFC 9112 5) ---

case("obs-fold", get("X: a\r\n b\r\n"), 400, CLOSED, "9112 5.2")
case("obs-fold with a tab", get("X: a\r\n\tb\r\n"), 400, CLOSED, "9112 5.2")
case("obs-fold of an empty line", get("X: a\r\n \r\n"), 400, CLOSED, "9112 5.2")
case(
    "obs-fold in front of Transfer-Encoding's value",
    get("Transfer-Encoding:\r\n chunked\r\n", method="POST") + CHUNKS,
    400,
    CLOSED,
    "9112 5.2",
)
case("space before the colon", get("X : y\r\n"), 400, CLOSED, "9112 5.1")
case("tab before the colon", get("X\t: y\r\n"), 400, CLOSED, "9112 5.1")
case("space before Host's colon", get(host="Host : test\r\n"), 400, CLOSED, "9112 5.1")
case("a field without a colon", get("nonsense\r\n"), 400, CLOSED, "9112 5")
case("an empty field name", get(": y\r\n"), 400, CLOSED, "9110 5.1")
case("a space within a name", get("X Y: z\r\n"), 400, CLOSED, "9110 5.1")
case("brackets within a name", get("X(Y): z\r\n"), 400, CLOSED, "9110 5.1")
case("'@' within a name", get("X@Y: z\r\n"), 400, CLOSED, "9110 5.1")
case("NUL within a name", get("X\0Y: z\r\n"), 400, CLOSED, "9110 5.1")
case("a byte above 127 within a name", get("X\xe9: z\r\n"), 400, CLOSED, "9110 5.1")
case("DEL within a name", get("X\x7f: z\r\n"), 400, CLOSED, "9110 5.1")
case("NUL within a value", get("X: a\0b\r\n"), 400, CLOSED, "9110 5.5")
case("ESC within a value", get("X: a\x1bb\r\n"), 400, CLOSED, "9110 5.5")
case("BEL within a value", get("X: a\x07b\r\n"), 400, CLOSED, "9110 5.5")
case("vertical tab within a value", get("X: a\x0bb\r\n"), 400, CLOSED, "9110 5.5")
case("form feed within a value", get("X: a\x0cb\r\n"), 400, CLOSED, "9110 5.5")
case("DEL within a value", get("X: a\x7fb\r\n"), 400, CLOSED, "9110 5.5")
case("tab within a value", get("X: a\tb\r\n"), 200, KEPT, "9110 5.5")
case("bytes above 127 within a value", get("X: \xc3\xa9\xff\r\n"), 200, KEPT, "9110 5.5")
case("an empty value", get("X:\r\n"), 200, KEPT, "9110 5.5")
case("no space behind the colon", get("X:y\r\n"), 200, KEPT, "9112 5")
case("colons within a value", get("X: a:b::c\r\n"), 200, KEPT, "9110 5.5")
case("white space around a value", get("X: \t y \t \r\n"), 200, KEPT, "9112 5.1")
case(
    "all characters of a token as a name",
    get("!#$%&'*+-.^_`|~09AZaz: y\r\n"),
    200,
    KEPT,
    "9110 5.6.2",
)
case("a field twice", get("X: a\r\nX: b\r\n"), 200, KEPT, "9110 5.3")
case("quotes left open in a value", get('X: "abc\r\n'), 200, KEPT, "9110 5.5")

# --- Content-Length (RFC 9110 8.6, RFC 9112 6.2, 6.3) ---


def sized(value, name="Content-Length", body="hello", lines=""):
    return post("%s: %s\r\n%s" % (name, value, lines), body)


case("a sized body", sized("5") + get(), [200, 200], KEPT, "9112 6.2", methods=("POST", "GET"))
case("length 0", sized("0", body="") + get(), [200, 200], KEPT, "9112 6.2")
case("leading zeros", sized("0005") + get(), [200, 200], KEPT, "9110 8.6")
case("white space around the length", sized("\t 5 \t") + get(), [200, 200], KEPT, "9112 5.1")
case("the name ignores case", sized("5", "cONTENT-lENGTH") + get(), [200, 200], KEPT, "9110 5.1")
case(
    "a body with GET",
    get("Content-Length: 5\r\n") + "hello" + get(),
    [200, 200],
    KEPT,
    "9110 9.3.1",
)
case(
    "a body that looks like a request",
    sized(str(len(NEXT)), body=NEXT) + get(),
    [200, 200],
    KEPT,
    "9112 6.2",
)
case("POST without a length has no body", post("", "") + get(), [200, 200], KEPT, "9112 6.3")
case("length with '+'", sized("+5") + NEXT, 400, CLOSED, "9110 8.6")
case("length with '-'", sized("-5") + NEXT, 400, CLOSED, "9110 8.6")
case("length -0", sized("-0", body="") + NEXT, 400, CLOSED, "9110 8.6")
case("hexadecimal length", sized("0x5") + NEXT, 400, CLOSED, "9110 8.6")
case("length with a point", sized("5.0") + NEXT, 400, CLOSED, "9110 8.6")
case("length with an exponent", sized("5e0") + NEXT, 400, CLOSED, "9110 8.6")
case("length with a space inside", sized("1 5") + NEXT, 400, CLOSED, "9110 8.6")
case("length with an underscore", sized("1_0") + NEXT, 400, CLOSED, "9110 8.6")
case("length with a word behind", sized("5x") + NEXT, 400, CLOSED, "9110 8.6")
case("length with a parameter", sized("5;a=b") + NEXT, 400, CLOSED, "9110 8.6")
case("length in quotes", sized('"5"') + NEXT, 400, CLOSED, "9110 8.6")
case("a word as length", sized("five") + NEXT, 400, CLOSED, "9110 8.6")
case("empty length", sized("") + NEXT, 400, CLOSED, "9110 8.6")
case("length of a comma", sized(",") + NEXT, 400, CLOSED, "9110 8.6")
case("length with NUL", sized("5\0") + NEXT, 400, CLOSED, "9110 5.5")
case("length with a vertical tab", sized("\x0b5") + NEXT, 400, CLOSED, "9110 5.5")
case("length 2^64", sized("18446744073709551616", body="") + NEXT, (400, 413), CLOSED, "9110 8.6")
case("length 2^64 + 5", sized("18446744073709551621") + NEXT, (400, 413), CLOSED, "9110 8.6")
case("length 2^64 - 1", sized("18446744073709551615", body=""), (400, 413), CLOSED, "9110 8.6")
case("length 2^63", sized("9223372036854775808", body=""), (400, 413), CLOSED, "9110 8.6")
case("length of 60 digits", sized("9" * 60, body=""), (400, 413), CLOSED, "9110 8.6")
case(
    "two different lengths",
    sized("5", lines="Content-Length: 6\r\n") + NEXT,
    400,
    CLOSED,
    "9112 6.3",
)
case(
    "two different lengths, names in different case",
    sized("5", lines="content-length: 0\r\n") + NEXT,
    400,
    CLOSED,
    "9112 6.3",
)
case("a list of different lengths", sized("5, 6") + NEXT, 400, CLOSED, "9112 6.3")
case("two equal lengths", sized("5", lines="Content-Length: 5\r\n"), (200, 400), EITHER, "9112 6.3")
case("a list of equal lengths", sized("5, 5"), (200, 400), EITHER, "9112 6.3")
case(
    "equal lengths spelled differently",
    sized("5", lines="Content-Length: 05\r\n"),
    (200, 400),
    EITHER,
    "9112 6.3",
)
case(
    "space before the colon of the length",
    sized("5", "Content-Length ") + NEXT,
    400,
    CLOSED,
    "9112 5.1",
)
case(
    "Content_Length is another field",
    get("Content_Length: 500\r\n") + get(),
    [200, 200],
    KEPT,
    "9110 5.1",
)

# --- Transfer-Encoding (RFC 9112 6.1, 6.3): every disguise ---


def coded(value, name="Transfer-Encoding", lines="", body=CHUNKS, version="HTTP/1.1"):
    return post("%s: %s\r\n%s" % (name, value, lines), body, version)


case(
    "a chunked body",
    coded("chunked") + get(),
    [200, 200],
    KEPT,
    "9112 7.1",
    methods=("POST", "GET"),
)
case("chunked ignores case", coded("cHuNkEd") + get(), [200, 200], KEPT, "9112 7")
case(
    "the field's name ignores case",
    coded("chunked", "transfer-ENCODING") + get(),
    [200, 200],
    KEPT,
    "9110 5.1",
)
case("white space around chunked", coded("\t chunked \t") + get(), [200, 200], KEPT, "9112 5.1")
case(
    "a chunked body with GET",
    get("Transfer-Encoding: chunked\r\n") + CHUNKS + get(),
    [200, 200],
    KEPT,
    "9110 9.3.1",
)
case(
    "length, then chunked (CL.TE)",
    coded("chunked", lines="").replace("Transfer", "Content-Length: 5\r\nTransfer", 1) + NEXT,
    400,
    CLOSED,
    "9112 6.1",
)
case(
    "chunked, then length (TE.CL)",
    coded("chunked", lines="Content-Length: 5\r\n") + NEXT,
    400,
    CLOSED,
    "9112 6.1",
)
case(
    "chunked with length 0",
    coded("chunked", lines="Content-Length: 0\r\n") + NEXT,
    400,
    CLOSED,
    "9112 6.1",
)
case(
    "chunked with the right length",
    coded("chunked", lines="Content-Length: %d\r\n" % len(CHUNKS)) + NEXT,
    400,
    CLOSED,
    "9112 6.1",
)
case(
    "chunked with a bad length",
    coded("chunked", lines="Content-Length: x\r\n") + NEXT,
    400,
    CLOSED,
    "9112 6.1",
)
case(
    "identity with a length",
    coded("identity", lines="Content-Length: 5\r\n", body="hello") + NEXT,
    (400, 501),
    CLOSED,
    "9112 6.1",
)
case(
    "gzip with a length",
    coded("gzip", lines="Content-Length: 5\r\n", body="hello") + NEXT,
    (400, 501),
    CLOSED,
    "9112 6.1",
)
case("chunked in 1.0", coded("chunked", version="HTTP/1.0") + NEXT, 400, CLOSED, "9112 6.1")
case(
    "chunked in 1.0 with keep-alive",
    coded("chunked", lines="Connection: keep-alive\r\n", version="HTTP/1.0") + NEXT,
    400,
    CLOSED,
    "9112 6.1",
)
case("xchunked", coded("xchunked") + NEXT, (400, 501), CLOSED, "9112 6.1")
case("chunkedx", coded("chunkedx") + NEXT, (400, 501), CLOSED, "9112 6.1")
case("chunk", coded("chunk") + NEXT, (400, 501), CLOSED, "9112 6.1")
case("an unknown coding alone", coded("br") + NEXT, (400, 501), CLOSED, "9112 6.1")
case("gzip alone", coded("gzip") + NEXT, (400, 501), CLOSED, "9112 6.3")
case("identity alone", coded("identity") + NEXT, (400, 501), CLOSED, "9112 6.3")
case("chunked, identity", coded("chunked, identity") + NEXT, (400, 501), CLOSED, "9112 6.3")
case("identity, chunked", coded("identity, chunked") + NEXT, (400, 501), CLOSED, "9112 6.1")
case("chunked, gzip", coded("chunked, gzip") + NEXT, (400, 501), CLOSED, "9112 6.3")
case(
    "gzip, chunked: a coding that is not served",
    coded("gzip, chunked") + NEXT,
    501,
    CLOSED,
    "9112 6.1",
)
case("chunked, chunked", coded("chunked, chunked") + NEXT, 400, CLOSED, "9112 6.1")
case(
    "chunked on two lines",
    coded("chunked", lines="Transfer-Encoding: chunked\r\n") + NEXT,
    400,
    CLOSED,
    "9112 6.1",
)
case(
    "chunked, then x on two lines",
    coded("chunked", lines="Transfer-Encoding: x\r\n") + NEXT,
    (400, 501),
    CLOSED,
    "9112 6.3",
)
case(
    "x, then chunked on two lines",
    coded("x", lines="Transfer-Encoding: chunked\r\n") + NEXT,
    (400, 501),
    CLOSED,
    "9112 6.1",
)
case(
    "identity, then chunked on two lines",
    coded("identity", lines="transfer-encoding: chunked\r\n") + NEXT,
    (400, 501),
    CLOSED,
    "9112 6.1",
)
case("vertical tab before chunked", coded("\x0bchunked") + NEXT, 400, CLOSED, "9110 5.5")
case("form feed behind chunked", coded("chunked\x0c") + NEXT, 400, CLOSED, "9110 5.5")
case("NUL behind chunked", coded("chunked\0") + NEXT, 400, CLOSED, "9110 5.5")
case("a no-break space before chunked", coded("\xa0chunked") + NEXT, (400, 501), CLOSED, "9112 6.1")
case("chunked in quotes", coded('"chunked"') + NEXT, (400, 501), CLOSED, "9112 7")
case("chunked in single quotes", coded("'chunked'") + NEXT, (400, 501), CLOSED, "9112 7")
case("chunked with a parameter", coded("chunked;q=1") + NEXT, (400, 501), CLOSED, "9112 7.1")
case("chunked with a space inside", coded("chun ked") + NEXT, (400, 501), CLOSED, "9112 7")
case("a colon before chunked", coded(": chunked") + NEXT, (400, 501), CLOSED, "9112 7")
case("empty Transfer-Encoding", coded("") + NEXT, (400, 501), CLOSED, "9112 6.1")
case("an empty element before chunked", coded(", chunked"), (200, 400, 501), EITHER, "9110 5.6.1.2")
case("an empty element behind chunked", coded("chunked,"), (200, 400, 501), EITHER, "9110 5.6.1.2")
case(
    "space before the colon of the coding",
    coded("chunked", "Transfer-Encoding ") + NEXT,
    400,
    CLOSED,
    "9112 5.1",
)
case(
    "tab before the colon of the coding",
    coded("chunked", "Transfer-Encoding\t") + NEXT,
    400,
    CLOSED,
    "9112 5.1",
)
case(
    "a space in front of the coding's name",
    coded("chunked", " Transfer-Encoding") + NEXT,
    400,
    CLOSED,
    "9112 2.2",
)
case(
    "the coding behind obs-fold",
    get("X: y\r\n Transfer-Encoding: chunked\r\n", method="POST") + CHUNKS,
    400,
    CLOSED,
    "9112 5.2",
)
case(
    "a space within the coding's name",
    coded("chunked", "Transfer Encoding") + NEXT,
    400,
    CLOSED,
    "9110 5.1",
)
case(
    "Transfer_Encoding is another field",
    coded("chunked", "Transfer_Encoding", "Content-Length: 5\r\n", "hello") + get(),
    [200, 200],
    KEPT,
    "9110 5.1",
)
case(
    "X-Transfer-Encoding is another field",
    coded("chunked", "X-Transfer-Encoding", "Content-Length: 5\r\n", "hello") + get(),
    [200, 200],
    KEPT,
    "9110 5.1",
)

# --- chunks (RFC 9112 7.1) ---


def chunked(body):
    return coded("chunked", body=body)


def bad_chunk(name, body, ref="9112 7.1", expect=400):
    case(name, chunked(body) + NEXT, expect, CLOSED, ref, methods=("POST",))


case(
    "several chunks",
    chunked("1\r\nh\r\n4\r\nello\r\n0\r\n\r\n") + get(),
    [200, 200],
    KEPT,
    "9112 7.1",
)
case(
    "upper-case size", chunked("A\r\n0123456789\r\n0\r\n\r\n") + get(), [200, 200], KEPT, "9112 7.1"
)
case(
    "lower-case size", chunked("a\r\n0123456789\r\n0\r\n\r\n") + get(), [200, 200], KEPT, "9112 7.1"
)
case(
    "size with leading zeros",
    chunked("0005\r\nhello\r\n0\r\n\r\n") + get(),
    [200, 200],
    KEPT,
    "9112 7.1",
)
case(
    "last chunk of several zeros",
    chunked("5\r\nhello\r\n000\r\n\r\n") + get(),
    [200, 200],
    KEPT,
    "9112 7.1",
)
case("only the last chunk", chunked("0\r\n\r\n") + get(), [200, 200], KEPT, "9112 7.1")
case(
    "CR LF within the data",
    chunked("4\r\n\r\n\r\n\r\n0\r\n\r\n") + get(),
    [200, 200],
    KEPT,
    "9112 7.1",
)
case(
    "a chunk extension",
    chunked("5;a=b\r\nhello\r\n0\r\n\r\n") + get(),
    [200, 200],
    KEPT,
    "9112 7.1.1",
)
case(
    "an extension without a value",
    chunked("5;a\r\nhello\r\n0;z\r\n\r\n") + get(),
    [200, 200],
    KEPT,
    "9112 7.1.1",
)
case(
    "a quoted extension",
    chunked('5;a="b;c"\r\nhello\r\n0\r\n\r\n') + get(),
    [200, 200],
    KEPT,
    "9112 7.1.1",
)
case(
    "white space around an extension",
    chunked("5 ; a = b\r\nhello\r\n0\r\n\r\n"),
    (200, 400),
    EITHER,
    "9112 7.1.1",
)
bad_chunk("hexadecimal prefix", "0x5\r\nhello\r\n0\r\n\r\n")
bad_chunk("size with '+'", "+5\r\nhello\r\n0\r\n\r\n")
bad_chunk("size with '-'", "-5\r\nhello\r\n0\r\n\r\n")
bad_chunk("space before the size", " 5\r\nhello\r\n0\r\n\r\n")
bad_chunk("space behind the size", "5 \r\nhello\r\n0\r\n\r\n")
bad_chunk("tab behind the size", "5\t\r\nhello\r\n0\r\n\r\n")
bad_chunk("size with an underscore", "1_0\r\n0123456789abcdef\r\n0\r\n\r\n")
bad_chunk("size that is not hexadecimal", "g\r\nhello\r\n0\r\n\r\n")
bad_chunk("hexadecimal suffix", "5h\r\nhello\r\n0\r\n\r\n")
bad_chunk("no size", "\r\nhello\r\n0\r\n\r\n")
bad_chunk("only an extension", ";a=b\r\nhello\r\n0\r\n\r\n")
bad_chunk("size of 17 digits", "10000000000000005\r\nhello\r\n0\r\n\r\n", expect=(400, 413))
bad_chunk("size of 16 f", "ffffffffffffffff\r\nhello\r\n0\r\n\r\n", expect=(400, 413))
bad_chunk("size 2^63", "8000000000000000\r\nhello\r\n0\r\n\r\n", expect=(400, 413))
bad_chunk("size of 100 digits", "f" * 100 + "\r\nhello\r\n0\r\n\r\n", expect=(400, 413))
bad_chunk("bare LF behind the size", "5\nhello\r\n0\r\n\r\n")
bad_chunk("bare CR behind the size", "5\rhello\r\n0\r\n\r\n")
bad_chunk("bare LF behind the data", "5\r\nhello\n0\r\n\r\n")
bad_chunk("bare CR behind the data", "5\r\nhello\r0\r\n\r\n")
bad_chunk("nothing behind the data", "5\r\nhello0\r\n\r\n")
bad_chunk("data longer than its size", "3\r\nhello\r\n0\r\n\r\n")
bad_chunk("data shorter than its size", "7\r\nhello\r\n0\r\n\r\n")
bad_chunk("bare LF behind an extension", "5;a=b\nhello\r\n0\r\n\r\n", "9112 7.1.1")
bad_chunk("bare LF within an extension", "5;a\nb\r\nhello\r\n0\r\n\r\n", "9112 7.1.1")
bad_chunk("bare CR within an extension", "5;a\rb\r\nhello\r\n0\r\n\r\n", "9112 7.1.1")
bad_chunk("NUL within an extension", "5;a\0b\r\nhello\r\n0\r\n\r\n", "9112 7.1.1")
bad_chunk("bare LF behind the last size", "5\r\nhello\r\n0\n\r\n")
bad_chunk("bare LF as the empty line behind the chunks", "5\r\nhello\r\n0\r\n\n")
bad_chunk("a comma in the size", "5,5\r\nhello\r\n0\r\n\r\n")

# --- trailers (RFC 9112 7.1.2) ---


def trailer(lines):
    return chunked("5\r\nhello\r\n0\r\n" + lines + "\r\n")


case("a trailer", trailer("X-Sum: 1\r\n") + get(), [200, 200], KEPT, "9112 7.1.2")
case("two trailers", trailer("X-Sum: 1\r\nX-Mad: 2\r\n") + get(), [200, 200], KEPT, "9112 7.1.2")
case(
    "Content-Length in a trailer",
    trailer("Content-Length: 50\r\n"),
    (200, 400),
    EITHER,
    "9110 6.5.1",
)
case(
    "Transfer-Encoding in a trailer",
    trailer("Transfer-Encoding: chunked\r\n"),
    (200, 400),
    EITHER,
    "9110 6.5.1",
)
case("Host in a trailer", trailer("Host: other.example\r\n"), (200, 400), EITHER, "9110 6.5.1")
case("a trailer without a colon", trailer("nonsense\r\n") + NEXT, 400, CLOSED, "9112 7.1.2")
case("space before a trailer's colon", trailer("X : y\r\n") + NEXT, 400, CLOSED, "9112 5.1")
case("obs-fold in a trailer", trailer("X: y\r\n z\r\n") + NEXT, 400, CLOSED, "9112 5.2")
case("white space before a trailer", trailer(" X: y\r\n") + NEXT, 400, CLOSED, "9112 2.2")
case("bare LF behind a trailer", trailer("X: y\n") + NEXT, 400, CLOSED, "9112 2.2")
case("NUL in a trailer", trailer("X: a\0b\r\n") + NEXT, 400, CLOSED, "9110 5.5")
case("bare CR in a trailer", trailer("X: a\rb\r\n") + NEXT, 400, CLOSED, "9112 2.2")
case("an empty name in a trailer", trailer(": y\r\n") + NEXT, 400, CLOSED, "9110 5.1")
case(
    "trailers beyond every limit",
    trailer("X: %s\r\n" % ("y" * 100) * 200) + NEXT,
    (400, 413, 431),
    CLOSED,
    "9110 5.4",
)

# --- limits ---

LINE_OVERHEAD = len("GET  HTTP/1.1")

case(
    "longest request line",
    get(target="/hello?" + "a" * (REQUEST_LINE_MAX - LINE_OVERHEAD - 7)),
    200,
    KEPT,
    "9112 3",
)
case(
    "request line one byte too long",
    get(target="/hello?" + "a" * (REQUEST_LINE_MAX - LINE_OVERHEAD - 6)),
    414,
    CLOSED,
    "9110 15.5.15",
)
case("request line far too long", get(target="/" + "a" * 50000), 414, CLOSED, "9110 15.5.15")
case("request line without an end", "GET /" + "a" * (2 * HEADER_MAX), 414, CLOSED, "9110 15.5.15")
case("most fields", get("X: y\r\n" * (HEADER_COUNT_MAX - 1)), 200, KEPT, "6585 5")
case("one field too many", get("X: y\r\n" * HEADER_COUNT_MAX), 431, CLOSED, "6585 5")
case("500 fields", get("X: y\r\n" * 500), 431, CLOSED, "6585 5")
case(
    "a long value within the limit",
    get("X: %s\r\n" % ("y" * (HEADER_MAX - 200))),
    200,
    KEPT,
    "6585 5",
)
case("a value beyond the limit", get("X: %s\r\n" % ("y" * HEADER_MAX)), 431, CLOSED, "6585 5")
case("a name beyond the limit", get("%s: y\r\n" % ("X" * HEADER_MAX)), 431, CLOSED, "6585 5")
case(
    "a head without an end",
    "GET / HTTP/1.1\r\nHost: test\r\nX: " + "y" * 40000,
    431,
    CLOSED,
    "6585 5",
)
case(
    "longest sized body",
    sized(str(BODY_MAX), body="x" * BODY_MAX) + get(),
    [200, 200],
    KEPT,
    "9110 15.5.14",
)
case(
    "sized body one byte too long",
    sized(str(BODY_MAX + 1), body="x" * (BODY_MAX + 1)),
    413,
    CLOSED,
    "9110 15.5.14",
)
case("sized body far too long, not sent", sized("1000000000", body=""), 413, CLOSED, "9110 15.5.14")
case(
    "longest chunked body",
    chunked("%x\r\n%s\r\n0\r\n\r\n" % (BODY_MAX, "x" * BODY_MAX)) + get(),
    [200, 200],
    KEPT,
    "9110 15.5.14",
)
case(
    "chunked body one byte too long",
    chunked("%x\r\n%s\r\n0\r\n\r\n" % (BODY_MAX + 1, "x" * (BODY_MAX + 1))),
    413,
    CLOSED,
    "9110 15.5.14",
)
case(
    "many small chunks, together too long",
    chunked("1\r\nx\r\n" * (BODY_MAX + 1) + "0\r\n\r\n"),
    413,
    CLOSED,
    "9110 15.5.14",
)
case("a chunk of 1 GB announced", chunked("40000000\r\n"), 413, CLOSED, "9110 15.5.14")

# --- Expect (RFC 9110 10.1.1) ---

EXPECT = "Expect: 100-continue\r\nContent-Length: 5\r\n"

case(
    "100-continue, the body comes along",
    post(EXPECT, "hello") + get(),
    [100, 200, 200],
    KEPT,
    "9110 10.1.1",
    also=([200, 200],),
)
case(
    "100-continue ignores case",
    post(EXPECT.replace("100-c", "100-C"), "hello") + get(),
    [100, 200, 200],
    KEPT,
    "9110 10.1.1",
    also=([200, 200],),
)
case(
    "100-continue with a chunked body",
    post("Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n", CHUNKS) + get(),
    [100, 200, 200],
    KEPT,
    "9110 10.1.1",
    also=([200, 200],),
)
case(
    "100-continue without a body",
    get("Expect: 100-continue\r\n"),
    200,
    KEPT,
    "9110 10.1.1",
    also=([100, 200],),
)
case(
    "100-continue in 1.0 is ignored", post(EXPECT, "hello", "HTTP/1.0"), 200, CLOSED, "9110 10.1.1"
)
case(
    "100-continue for a body too long",
    post("Expect: 100-continue\r\nContent-Length: 1000000\r\n", ""),
    413,
    CLOSED,
    "9110 10.1.1",
)
case(
    "an unknown expectation",
    post("Expect: 200-ok\r\nContent-Length: 5\r\n", "hello"),
    417,
    EITHER,
    "9110 15.5.18",
)
case(
    "a known and an unknown expectation",
    post("Expect: 100-continue, x\r\nContent-Length: 5\r\n", "hello"),
    417,
    EITHER,
    "9110 15.5.18",
)

# --- connections (RFC 9112 9) ---

case("Connection: close", get("Connection: close\r\n") + NEXT, 200, CLOSED, "9112 9.6")
case("Connection: Close", get("Connection: Close\r\n") + NEXT, 200, CLOSED, "9112 9.6")
case(
    "Connection: keep-alive, close",
    get("Connection: keep-alive, close\r\n") + NEXT,
    200,
    CLOSED,
    "9112 9.3",
)
case(
    "Connection: close on a second line",
    get("Connection: x\r\nConnection: close\r\n") + NEXT,
    200,
    CLOSED,
    "9112 9.3",
)
case(
    "Connection: close behind an empty element",
    get("Connection: ,, close\r\n") + NEXT,
    200,
    CLOSED,
    "9110 5.6.1.2",
)
case(
    "Connection: closed is another word",
    get("Connection: closed\r\n") + get(),
    [200, 200],
    KEPT,
    "9112 9.3",
)
case(
    "Connection: keep-alive in 1.1",
    get("Connection: keep-alive\r\n") + get(),
    [200, 200],
    KEPT,
    "9112 9.3",
)
case(
    "Connection names an unknown field",
    get("Connection: x\r\nX: y\r\n") + get(),
    [200, 200],
    KEPT,
    "9110 7.6.1",
)
case("empty Connection", get("Connection:\r\n") + get(), [200, 200], KEPT, "9110 7.6.1")
case(
    "Proxy-Connection means nothing",
    get("Proxy-Connection: close\r\n") + get(),
    [200, 200],
    KEPT,
    "9112 C.2.2",
)
case("1.0 closes", get(version="HTTP/1.0") + NEXT, 200, CLOSED, "9112 9.3")
case(
    "1.0 with keep-alive is kept",
    get("Connection: keep-alive\r\n", version="HTTP/1.0") + get(),
    [200, 200],
    KEPT,
    "9112 9.3",
)
case(
    "1.0 with Keep-Alive in another case",
    get("Connection: Keep-Alive\r\n", version="HTTP/1.0") + get(),
    [200, 200],
    KEPT,
    "9112 9.3",
)
case(
    "1.0 with keep-alive and close",
    get("Connection: keep-alive, close\r\n", version="HTTP/1.0") + NEXT,
    200,
    CLOSED,
    "9112 9.3",
)
case(
    "1.0 with close",
    get("Connection: close\r\n", version="HTTP/1.0") + NEXT,
    200,
    CLOSED,
    "9112 9.3",
)
case(
    "1.0 with a sized body",
    post("Content-Length: 5\r\n", "hello", "HTTP/1.0"),
    200,
    CLOSED,
    "9112 6.3",
)
case(
    "1.0 with keep-alive and a sized body",
    post("Content-Length: 5\r\nConnection: keep-alive\r\n", "hello", "HTTP/1.0") + get(),
    [200, 200],
    KEPT,
    "9112 9.3",
)
case("close with a body", sized("5", lines="Connection: close\r\n") + NEXT, 200, CLOSED, "9112 9.6")
case("404 keeps the connection", get(target="/missing") + get(), [404, 200], KEPT, "9112 9.3")
case(
    "404 to a request with a body",
    post("Content-Length: 5\r\n", "hello", target="/x/missing") + get(),
    [(404, 405), 200],
    KEPT,
    "9112 9.3",
)

# --- pipelining (RFC 9112 9.3.2) ---

case("two requests", get() + get(target="/who"), [200, 200], KEPT, "9112 9.3.2", body=b"hello")
case("20 requests", get() * 20, [200] * 20, KEPT, "9112 9.3.2")
case(
    "100 requests of two kinds",
    (get() + get(target="/missing")) * 50,
    [200, 404] * 50,
    KEPT,
    "9112 9.3.2",
)
case(
    "files and texts in turn",
    (get(target="/index.html") + get()) * 10,
    [200] * 20,
    KEPT,
    "9112 9.3.2",
)
case("good, then bad", get() + get("X : y\r\n") + NEXT, [200, 400], CLOSED, "9112 9.3.2")
case(
    "good, missing, then bad",
    get() + get(target="/missing") + get(host="") + NEXT,
    [200, 404, 400],
    CLOSED,
    "9112 9.3.2",
)
case("bad, then good", get("X : y\r\n") + NEXT, 400, CLOSED, "9112 9.3.2")
case(
    "a file, then bad",
    get(target="/index.html") + get(version="HTTP/2.0") + NEXT,
    [200, 505],
    CLOSED,
    "9112 9.3.2",
)
case(
    "bodies between",
    sized("5") + chunked("5\r\nhello\r\n0\r\n\r\n") + get() + sized("3", body="abc"),
    [200] * 4,
    KEPT,
    "9112 9.3.2",
)
case("a sized body, then garbage", sized("5") + "garbage\r\n\r\n", [200, 400], CLOSED, "9112 6.2")
case(
    "a body longer than its length",
    sized("3") + NEXT,
    [200, (400, 501, 405, 404)],
    EITHER,
    "9112 6.2",
)
case(
    "close in the middle",
    get() + get("Connection: close\r\n") + NEXT,
    [200, 200],
    CLOSED,
    "9112 9.6",
)
case(
    "HEAD between",
    get() + get(method="HEAD") + get(),
    [200, 200, 200],
    KEPT,
    "9110 9.3.2",
    methods=("GET", "HEAD", "GET"),
)

# --- upgrade (RFC 9110 7.8) ---

case(
    "an upgrade that is not served",
    get(
        "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
    + get(),
    [200, 200],
    KEPT,
    "9110 7.8",
)
case(
    "an upgrade to h2c",
    get(
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
    )
    + get(),
    [200, 200],
    KEPT,
    "9110 7.8",
)
case(
    "Upgrade without Connection",
    get("Upgrade: websocket\r\n") + get(),
    [200, 200],
    KEPT,
    "9110 7.8",
)
case(
    "an upgrade with a body",
    sized("5", lines="Connection: upgrade\r\nUpgrade: x\r\n") + get(),
    [200, 200],
    KEPT,
    "9110 7.8",
)

# --- half-close and early end (RFC 9112 9.6, 8) ---

case("half-close behind a request", get(), 200, CLOSED, "9112 9.6", half=True, body=b"hello")
case("half-close behind a file", get(target="/index.html"), 200, CLOSED, "9112 9.6", half=True)
case("half-close behind three requests", get() * 3, [200] * 3, CLOSED, "9112 9.6", half=True)
case("half-close behind a body", sized("5"), 200, CLOSED, "9112 9.6", half=True)
case("half-close without a byte", "", [], CLOSED, "9112 9.6", half=True)
case("half-close behind an empty line", "\r\n", [], CLOSED, "9112 2.2", half=True, also=([400],))
case(
    "half-close within the request line",
    "GET /hel",
    [400],
    CLOSED,
    "9112 8",
    half=True,
    also=([], [408]),
)
case(
    "half-close within the fields",
    "GET /hello HTTP/1.1\r\nHost: te",
    [400],
    CLOSED,
    "9112 8",
    half=True,
    also=([], [408]),
)
case(
    "half-close before the final empty line",
    "GET /hello HTTP/1.1\r\nHost: test\r\n",
    [400],
    CLOSED,
    "9112 8",
    half=True,
    also=([], [408]),
)
case(
    "half-close within a sized body",
    post("Content-Length: 50\r\n", "hello"),
    [400],
    CLOSED,
    "9112 8",
    half=True,
    also=([], [408]),
)
case(
    "half-close within a chunk",
    chunked("9\r\nhello"),
    [400],
    CLOSED,
    "9112 8",
    half=True,
    also=([], [408]),
)
case(
    "half-close before the last chunk",
    chunked("5\r\nhello\r\n"),
    [400],
    CLOSED,
    "9112 8",
    half=True,
    also=([], [408]),
)
case(
    "half-close within a second request",
    get() + "GET /hel",
    [200, 400],
    CLOSED,
    "9112 8",
    half=True,
    also=([200], [200, 408]),
)
