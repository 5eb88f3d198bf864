# SPDX-License-Identifier: MIT
"""The table of ambiguous request streams, each with the verdict: what the client is answered, and exactly which
requests reach the back end.  And the table of ambiguous answers of a back end.  Only data; test_smuggling.py sends it.

The marker: where framing is in doubt a request for /smuggled stands behind it.  One parser takes it for a request,
another for content; it must never be answered on its own, nor reach the back end, unless the verdict says so.

Limits of the server that the streams are sent to are those of LIMITS.
"""

KEPT, CLOSED = "kept", "closed"  # of the client's connection, behind the last answer

LIMITS = {"request_line": 2048, "header": 8192, "header_count": 40, "body": 65536}


class Stream:
    """answers  a status, or a tuple of allowed ones, for each final answer in order
    sent     (method, target, body) of every request that must reach the back end, in order
    maybe    targets of which an incomplete request may reach the back end: its head was good, its content not
    half     the client shuts its sending side down behind the last byte
    methods  of the requests answered, where one is not GET
    fields   {name: value or None} that the first request at the back end must have (None: must not)
    """

    def __init__(self, name, data, answers, fate, sent, ref, maybe=(), half=False, methods=(), fields=None):
        self.name, self.ref = name, ref
        self.data = data.encode("latin-1") if isinstance(data, str) else data
        self.answers = answers if isinstance(answers, list) else [answers]
        self.fate, self.sent, self.maybe, self.half, self.methods = fate, sent, maybe, half, methods
        self.fields = fields or {}


STREAMS = []


def good(name, data, sent, ref, answers=None, fate=KEPT, **more):
    """Understood: all of it reaches the back end."""
    STREAMS.append(Stream(name, data, answers or [200] * len(sent), fate, sent, ref, **more))


def bad(name, data, ref, status=400, **more):
    """Refused, and the connection with it: nothing of it reaches the back end as a whole request."""
    STREAMS.append(Stream(name, data, status, CLOSED, more.pop("sent", []), ref, **more))


def head(lines="", target="/p", method="GET", version="HTTP/1.1", host="Host: test\r\n"):
    """A request without content; `lines` (each with its end) stand behind Host."""
    return "%s %s %s\r\n%s%s\r\n" % (method, target, version, host, lines)


def post(lines, body, version="HTTP/1.1", target="/p", method="POST"):
    return head(lines, target, method, version) + body


GET_P = ("GET", "/p", b"")
AFTER = head(target="/after")  # legal behind what is understood
GET_AFTER = ("GET", "/after", b"")
MARK = head(target="/smuggled")
HELLO = ("POST", "/p", b"hello")
CHUNKS = "5\r\nhello\r\n0\r\n\r\n"


def sized(value, body="hello", lines="", name="Content-Length", **more):
    return post("%s: %s\r\n%s" % (name, value, lines), body, **more)


def coded(value, body=CHUNKS, lines="", name="Transfer-Encoding", **more):
    return post("%s: %s\r\n%s" % (name, value, lines), body, **more)


# --- understood framing, to be sure that the table can fail ---

good("two requests", head() + AFTER, [GET_P, GET_AFTER], "9112 9.3.2")
good("a sized body, then a request", sized(5) + AFTER, [HELLO, GET_AFTER], "9112 6.2")
good("a chunked body, then a request", coded("chunked") + AFTER, [HELLO, GET_AFTER], "9112 7.1")
good("a request as content, sized", sized(len(MARK), MARK) + AFTER, [("POST", "/p", MARK.encode()), GET_AFTER],
     "9112 6.2")
good("a request as content, chunked", coded("chunked", "%x\r\n%s\r\n0\r\n\r\n" % (len(MARK), MARK)) + AFTER,
     [("POST", "/p", MARK.encode()), GET_AFTER], "9112 7.1")
good("length 0", sized(0, "") + AFTER, [("POST", "/p", b""), GET_AFTER], "9112 6.2")
good("no length", post("", "") + AFTER, [("POST", "/p", b""), GET_AFTER], "9112 6.3")
good("twenty in a row", head() * 20 + AFTER, [GET_P] * 20 + [GET_AFTER], "9112 9.3.2")

# --- Content-Length with Transfer-Encoding (RFC 9112 6.1) ---

bad("CL.TE: the length covers the marker", post("Content-Length: %d\r\nTransfer-Encoding: chunked\r\n"
    % (5 + len(MARK)), "0\r\n\r\n" + MARK), "9112 6.1")
bad("TE.CL: the length ends before the marker", post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
    "%x\r\n%s\r\n0\r\n\r\n" % (len(MARK), MARK)), "9112 6.1")
bad("CL.TE with length 0", post("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", CHUNKS + MARK), "9112 6.1")
bad("TE.CL with the right length", coded("chunked", lines="Content-Length: %d\r\n" % len(CHUNKS)) + MARK, "9112 6.1")
bad("CL.TE, TE spelled oddly", post("Content-Length: 5\r\ntRANSFER-eNCODING: Chunked\r\n", CHUNKS + MARK), "9112 6.1")
bad("TE.CL, a bad length", coded("chunked", lines="Content-Length: x\r\n") + MARK, "9112 6.1")
bad("TE.CL, an empty length", coded("chunked", lines="Content-Length:\r\n") + MARK, "9112 6.1")
bad("CL.TE in GET", head("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n") + CHUNKS + MARK, "9112 6.1")
bad("CL.TE, many fields between", post("Content-Length: 5\r\n" + "X: y\r\n" * 20 + "Transfer-Encoding: chunked\r\n",
    CHUNKS + MARK), "9112 6.1")
bad("identity with a length", coded("identity", "hello", "Content-Length: 5\r\n") + MARK, "9112 6.1", (400, 501))
bad("CL.TE in 1.0", post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", CHUNKS + MARK, "HTTP/1.0"), "9112 6.1")
bad("CL.TE behind a good request", head() + post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", CHUNKS + MARK),
    "9112 6.1", [200, 400], sent=[GET_P])

# --- Transfer-Encoding in disguise (RFC 9112 6.1, 6.3) ---

for value, ref, status in (
    ("xchunked", "9112 7", (400, 501)),
    ("chunkedx", "9112 7", (400, 501)),
    ("chunk", "9112 7", (400, 501)),
    ("x-chunked", "9112 7", (400, 501)),
    ("identity", "9112 6.3", (400, 501)),
    ("gzip", "9112 6.3", (400, 501)),
    ("chunked, identity", "9112 6.3", (400, 501)),
    ("identity, chunked", "9112 6.1", (400, 501)),
    ("chunked, gzip", "9112 6.3", (400, 501)),
    ("gzip, chunked", "9112 6.1", 501),
    ("chunked, chunked", "9112 6.1", 400),
    ("chunked;q=1", "9112 7", (400, 501)),
    ("chunked; ", "9112 7", (400, 501)),
    ('"chunked"', "9112 7", (400, 501)),
    ("'chunked'", "9112 7", (400, 501)),
    ("chun ked", "9112 7", (400, 501)),
    ("chunked chunked", "9112 7", (400, 501)),
    ("chunked\tx", "9112 7", (400, 501)),
    (": chunked", "9112 7", (400, 501)),
    ("[chunked]", "9112 7", (400, 501)),
    ("", "9112 6.1", (400, 501)),
    ("chunked\x0b", "9110 5.5", 400),
    ("\x0bchunked", "9110 5.5", 400),
    ("\x0cchunked", "9110 5.5", 400),
    ("chunked\0", "9110 5.5", 400),
    ("chunked\x85", "9112 7", (400, 501)),
    ("\xa0chunked", "9112 7", (400, 501)),
    ("chunked\r", "9112 2.2", 400),
    ("\rchunked", "9112 2.2", 400),
    ("\nchunked", "9112 2.2", 400),
    ("\r\n chunked", "9112 5.2", 400),
    ("chunked\r\n , identity", "9112 5.2", 400),
):
    bad("coding %r" % value, coded(value) + MARK, ref, status)
    if value in ("xchunked", "identity", "\x0bchunked", "\r\n chunked", "chunked, identity"):
        bad("coding %r beside a length" % value, coded(value, "hello", "Content-Length: 5\r\n") + MARK, ref, status)

good("coding in upper case", coded("CHUNKED") + AFTER, [HELLO, GET_AFTER], "9112 7")
good("coding between tabs", coded("\tchunked\t ") + AFTER, [HELLO, GET_AFTER], "9112 5.1")
bad("an empty element behind the coding", coded("chunked,") + MARK, "9110 5.6.1.2")
good("an empty element before the coding", coded(", chunked") + AFTER, [HELLO, GET_AFTER], "9110 5.6.1.2")
bad("two lines: chunked, chunked", coded("chunked", lines="Transfer-Encoding: chunked\r\n") + MARK, "9112 6.1")
bad("two lines: chunked, x", coded("chunked", lines="Transfer-Encoding: x\r\n") + MARK, "9112 6.3", (400, 501))
bad("two lines: x, chunked", coded("x", lines="Transfer-Encoding: chunked\r\n") + MARK, "9112 6.1", (400, 501))
bad("two lines: identity, chunked", coded("identity", lines="transfer-encoding: chunked\r\n") + MARK, "9112 6.1",
    (400, 501))
bad("two lines: chunked, empty, then a length", coded("chunked", lines="Transfer-Encoding:\r\nContent-Length: 5\r\n")
    + MARK, "9112 6.1")
bad("coding in 1.0", coded("chunked", version="HTTP/1.0") + MARK, "9112 6.1")
bad("coding in 1.0 with keep-alive", coded("chunked", lines="Connection: keep-alive\r\n", version="HTTP/1.0") + MARK,
    "9112 6.1")
bad("space before the colon", coded("chunked", name="Transfer-Encoding ") + MARK, "9112 5.1")
bad("tab before the colon", coded("chunked", name="Transfer-Encoding\t") + MARK, "9112 5.1")
bad("space before the colon, beside a length", coded("chunked", "hello", "Content-Length: 5\r\n", "Transfer-Encoding ")
    + MARK, "9112 5.1")
bad("a space before the name", coded("chunked", name=" Transfer-Encoding") + MARK, "9112 2.2")
bad("a NUL before the name", coded("chunked", name="\0Transfer-Encoding") + MARK, "9110 5.1")
bad("a NUL within the name", coded("chunked", name="Transfer-\0Encoding") + MARK, "9110 5.1")
bad("a no-break space behind the name", coded("chunked", name="Transfer-Encoding\xa0") + MARK, "9110 5.1")
bad("hidden behind a bare CR (CVE-2023-30589)", post("X: \rTransfer-Encoding: chunked\r\n", CHUNKS + MARK), "9112 2.2")
bad("hidden behind a bare LF", post("X: y\nTransfer-Encoding: chunked\r\n", CHUNKS + MARK), "9112 2.2")
bad("hidden in a folded line", post("X: y\r\n Transfer-Encoding: chunked\r\n", CHUNKS + MARK), "9112 5.2")
bad("hidden in the first folded line", "POST /p HTTP/1.1\r\n Transfer-Encoding: chunked\r\nHost: test\r\n\r\n" + CHUNKS
    + MARK, "9112 2.2")
good("Transfer_Encoding is another field", coded("chunked", "hello", "Content-Length: 5\r\n", "Transfer_Encoding")
     + AFTER, [HELLO, GET_AFTER], "9110 5.1")
good("X-Transfer-Encoding is another field", coded("chunked", "hello", "Content-Length: 5\r\n", "X-Transfer-Encoding")
     + AFTER, [HELLO, GET_AFTER], "9110 5.1")
good("Transfer-Encoding-X is another field", coded("chunked", "", "", "Transfer-Encoding-X") + AFTER,
     [("POST", "/p", b""), GET_AFTER], "9110 5.1")

# --- Content-Length (RFC 9110 8.6, RFC 9112 6.3) ---

for value in ("+5", "-5", "-0", "0x5", "5.0", "5e0", "1 5", "5 5", "1_0", "5x", "5;a=b", '"5"', "five", "", ",", "5,",
              ",5", "5, 6", "5\0", "\x0b5", "5\x0c", "5\r", "5\xa0", "\xb2", "%35", "5\t5", "5\r\n 5", "0 5"):
    bad("length %r" % value, sized(value) + MARK, "9110 8.6")
for value in ("18446744073709551616", "18446744073709551621", "18446744073709551615", "9223372036854775808",
              "4294967301", "340282366920938463463374607431768211461", "9" * 60):
    bad("length %s" % value[:24], sized(value) + MARK, "9110 8.6", (400, 413))
good("length with leading zeros", sized("0005") + AFTER, [HELLO, GET_AFTER], "9110 8.6")
good("length between tabs", sized("\t5 \t") + AFTER, [HELLO, GET_AFTER], "9112 5.1")
for name, lines in (
    ("different", "Content-Length: 6\r\n"),
    ("different, the second 0", "Content-Length: 0\r\n"),
    ("different, in other case", "content-length: 0\r\n"),
    ("the second bad", "Content-Length: x\r\n"),
    ("the second empty", "Content-Length:\r\n"),
):
    bad("two lengths: %s" % name, sized(5, lines=lines) + MARK, "9112 6.3")
for name, value, lines in (
    ("two equal lengths", "5", "Content-Length: 5\r\n"),
    ("a list of equal lengths", "5, 5", ""),
    ("equal lengths spelled differently", "5", "Content-Length: 05\r\n"),
):
    bad(name, sized(value, lines=lines) + MARK, "9112 6.3")
bad("space before the length's colon", sized(5, name="Content-Length ") + MARK, "9112 5.1")
bad("a length hidden behind a bare CR", head("X: \rContent-Length: %d\r\n" % len(MARK)) + MARK, "9112 2.2")
bad("a length hidden behind a bare LF", head("X: y\nContent-Length: %d\r\n" % len(MARK)) + MARK, "9112 2.2")
bad("a length in a folded line", head("X: y\r\n Content-Length: %d\r\n" % len(MARK)) + MARK, "9112 5.2")
good("Content_Length is another field", head("Content_Length: %d\r\n" % len(AFTER)) + AFTER, [GET_P, GET_AFTER],
     "9110 5.1")
good("Content-Length with GET", head("Content-Length: 5\r\n") + "hello" + AFTER, [("GET", "/p", b"hello"), GET_AFTER],
     "9110 9.3.1")
good("Content-Length with DELETE", head("Content-Length: 5\r\n", method="DELETE") + "hello" + AFTER,
     [("DELETE", "/p", b"hello"), GET_AFTER], "9110 9.3.5")
good("Content-Length with HEAD", head("Content-Length: 5\r\n", method="HEAD") + "hello" + AFTER,
     [("HEAD", "/p", b"hello"), GET_AFTER], "9110 9.3.2", methods=("HEAD", "GET"))
good("chunks with GET", head("Transfer-Encoding: chunked\r\n") + CHUNKS + AFTER, [("GET", "/p", b"hello"), GET_AFTER],
     "9110 9.3.1")
good("chunks with OPTIONS", head("Transfer-Encoding: chunked\r\n", method="OPTIONS") + CHUNKS + AFTER,
     [("OPTIONS", "/p", b"hello"), GET_AFTER], "9110 9.3.7")

# --- content longer and shorter than announced (RFC 9112 6.3, 8) ---

good("a length that ends within the content", sized(5, "hello" + AFTER), [HELLO, GET_AFTER], "9112 6.2")
good("garbage behind the content", sized(5, "hellogarbage\r\n\r\n"), [HELLO], "9112 6.2", [200, 400], CLOSED)
good("a request line's tail behind the content", sized(5, "helloXGET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n"),
     [HELLO, ("XGET", "/smuggled", b"")], "9112 6.2")
for name, data in (("sized", sized(500, "hello" + MARK)), ("chunk", coded("chunked", "1f4\r\nhello" + MARK)),
                   ("behind a chunk", coded("chunked", "5\r\nhello\r\n")),
                   ("before the final line", coded("chunked", "5\r\nhello\r\n0\r\n")),
                   ("within a trailer", coded("chunked", "5\r\nhello\r\n0\r\nX: y"))):
    bad("content cut short: %s" % name, data, "9112 8", maybe=("/p",), half=True)
bad("content cut short behind a good request", head() + sized(500, MARK), "9112 8", [200, 400], sent=[GET_P],
    maybe=("/p",), half=True)

# --- chunks (RFC 9112 7.1): the head is good, so an incomplete request may have gone ---


def bad_chunk(name, body, status=400, ref="9112 7.1"):
    bad("chunks: " + name, coded("chunked", body) + MARK, ref, status, maybe=("/p",), methods=("POST",))


def good_chunk(name, body, ref="9112 7.1", content=b"hello"):
    good("chunks: " + name, coded("chunked", body) + AFTER, [("POST", "/p", content), GET_AFTER], ref)


for name, body in (
    ("0x5", "0x5\r\nhello\r\n0\r\n\r\n"),
    ("+5", "+5\r\nhello\r\n0\r\n\r\n"),
    ("-5", "-5\r\nhello\r\n0\r\n\r\n"),
    ("a space before the size", " 5\r\nhello\r\n0\r\n\r\n"),
    ("a space behind the size", "5 \r\nhello\r\n0\r\n\r\n"),
    ("a tab behind the size", "5\t\r\nhello\r\n0\r\n\r\n"),
    ("a vertical tab behind the size", "5\x0b\r\nhello\r\n0\r\n\r\n"),
    ("a NUL behind the size", "5\0\r\nhello\r\n0\r\n\r\n"),
    ("not hexadecimal", "g\r\nhello\r\n0\r\n\r\n"),
    ("a letter behind the size", "5h\r\nhello\r\n0\r\n\r\n"),
    ("an underscore", "1_0\r\n0123456789abcdef\r\n0\r\n\r\n"),
    ("a point", "5.0\r\nhello\r\n0\r\n\r\n"),
    ("a comma", "5,5\r\nhello\r\n0\r\n\r\n"),
    ("no size", "\r\nhello\r\n0\r\n\r\n"),
    ("only an extension", ";a=b\r\nhello\r\n0\r\n\r\n"),
    ("a size in quotes", '"5"\r\nhello\r\n0\r\n\r\n'),
    ("bare LF behind the size", "5\nhello\r\n0\r\n\r\n"),
    ("bare CR behind the size", "5\rhello\r\n0\r\n\r\n"),
    ("CR CR LF behind the size", "5\r\r\nhello\r\n0\r\n\r\n"),
    ("bare LF behind the data", "5\r\nhello\n0\r\n\r\n"),
    ("bare CR behind the data", "5\r\nhello\r0\r\n\r\n"),
    ("two other bytes behind the data", "5\r\nhelloxx0\r\n\r\n"),
    ("nothing behind the data", "5\r\nhello0\r\n\r\n"),
    ("more data than the size", "3\r\nhello\r\n0\r\n\r\n"),
    ("less data than the size", "7\r\nhello\r\n0\r\n\r\n"),
    ("bare LF behind the last size", "5\r\nhello\r\n0\n\r\n"),
    ("bare LF as the final line", "5\r\nhello\r\n0\r\n\n"),
    ("bare CR as the final line", "5\r\nhello\r\n0\r\n\rX"),
    ("the last size is 0x0", "5\r\nhello\r\n0x0\r\n\r\n"),
    ("the last size is -0", "5\r\nhello\r\n-0\r\n\r\n"),
    ("extension: bare LF at its end", "5;a\nhello\r\n0\r\n\r\n"),
    ("extension: bare LF inside", "5;a\nb\r\nhello\r\n0\r\n\r\n"),
    ("extension: bare LF hides a chunk", "5;\n5\r\nhello\r\n0\r\n\r\n"),
    ("extension: bare CR inside", "5;a\rb\r\nhello\r\n0\r\n\r\n"),
    ("extension: NUL inside", "5;a\0b\r\nhello\r\n0\r\n\r\n"),
    ("extension: bare LF behind the last size", "5\r\nhello\r\n0;\n\r\n"),
):
    bad_chunk(name, body)
for name, size in (("17 digits", "10000000000000005"), ("16 f", "f" * 16), ("2^63", "8000000000000000"),
                   ("2^32 + 5", "100000005"), ("100 digits", "f" * 100), ("100 zeros", "0" * 100 + "5")):
    bad_chunk("size of %s" % name, "%s\r\nhello\r\n0\r\n\r\n" % size, (400, 413))
good_chunk("leading zeros", "0005\r\nhello\r\n0\r\n\r\n")
good_chunk("a last size of several zeros", "5\r\nhello\r\n000\r\n\r\n")
good_chunk("upper and lower case", "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", content=b"0123456789" * 2)
good_chunk("an extension is not passed on", "5;a=b\r\nhello\r\n0;c\r\n\r\n", "9112 7.1.1")
good_chunk("a quoted extension with a fake end", '5;a="b;c\\"d"\r\nhello\r\n0\r\n\r\n', "9112 7.1.1")
good_chunk("one byte each", "".join("1\r\n%s\r\n" % c for c in "hello") + "0\r\n\r\n")
good_chunk("CRLF as data", "4\r\n\r\n\r\n\r\n0\r\n\r\n", content=b"\r\n\r\n")
good_chunk("a last chunk as data", "5\r\n0\r\n\r\n\r\n0\r\n\r\n", content=b"0\r\n\r\n")
good_chunk("only the last chunk", "0\r\n\r\n", content=b"")

# --- trailers (RFC 9112 7.1.2, RFC 9110 6.5.1): never become fields, never framing ---


def trailer(lines):
    return coded("chunked", "5\r\nhello\r\n0\r\n" + lines + "\r\n")


good("a trailer", trailer("X-Sum: 1\r\n") + AFTER, [HELLO, GET_AFTER], "9112 7.1.2", fields={"X-Sum": None})
for name, line in (
    ("Content-Length", "Content-Length: %d" % len(AFTER)),
    ("Transfer-Encoding", "Transfer-Encoding: chunked"),
    ("Host", "Host: evil"),
    ("Connection", "Connection: close"),
    ("Upgrade", "Upgrade: h2c"),
    ("X-Forwarded-For", "X-Forwarded-For: 6.6.6.6"),
    ("X-Forwarded-Proto", "X-Forwarded-Proto: https"),
    ("X-Forwarded-Host", "X-Forwarded-Host: evil"),
    ("Forwarded", "Forwarded: for=6.6.6.6"),
    ("Cookie", "Cookie: a=b"),
    ("Authorization", "Authorization: Basic eDp5"),
    ("Expect", "Expect: 100-continue"),
    ("Trailer", "Trailer: Content-Length"),
):
    good("a trailer %s" % name, trailer(line + "\r\n") + AFTER, [HELLO, GET_AFTER], "9110 6.5.1")
for name, lines in (("without a colon", "nonsense\r\n"), ("space before the colon", "X : y\r\n"),
                    ("folded", "X: y\r\n z\r\n"), ("bare LF", "X: y\n"), ("bare CR", "X: a\rb\r\n"),
                    ("NUL", "X: a\0b\r\n"), ("an empty name", ": y\r\n"), ("a space first", " X: y\r\n"),
                    ("bare LF hides a request", "X: y\n\n" + MARK)):
    bad("a trailer %s" % name, trailer(lines) + MARK, "9112 7.1.2", maybe=("/p",), methods=("POST",))
bad("trailers without end", trailer("X: %s\r\n" % ("y" * 100) * 200) + MARK, "6585 5", (400, 413, 431), maybe=("/p",))

# --- line ends and controls (RFC 9112 2.2, RFC 9110 5.5) ---

bad("bare LF everywhere", "GET /p HTTP/1.1\nHost: test\n\n" + MARK, "9112 2.2")
bad("bare LF behind the request line", "GET /p HTTP/1.1\nHost: test\r\n\r\n" + MARK, "9112 2.2")
bad("bare LF as the final line", "GET /p HTTP/1.1\r\nHost: test\r\n\n" + MARK, "9112 2.2")
bad("LF LF ends the head for some", head("X: y\n\nGET /smuggled HTTP/1.1\r\nHost: x\r\n"), "9112 2.2")
bad("bare CR behind the request line", "GET /p HTTP/1.1\rHost: test\r\n\r\n" + MARK, "9112 2.2")
bad("bare CR in a value", head("X: a\rb\r\n") + MARK, "9112 2.2")
bad("CR CR LF", head("X: a\r\r\n") + MARK, "9112 2.2")
bad("CR CR LF as the final line", "GET /p HTTP/1.1\r\nHost: test\r\n\r\r\n" + MARK, "9112 2.2")
bad("a fold", head("X: a\r\n b\r\n") + MARK, "9112 5.2")
bad("a fold of a tab", head("X: a\r\n\tb\r\n") + MARK, "9112 5.2")
bad("a fold of Host", "GET /p HTTP/1.1\r\nHost:\r\n test\r\n\r\n" + MARK, "9112 5.2")
for name, byte in (("NUL", "\0"), ("ESC", "\x1b"), ("vertical tab", "\x0b"), ("DEL", "\x7f"), ("BS", "\x08")):
    bad("%s in a value" % name, head("X: a%sb\r\n" % byte) + MARK, "9110 5.5")
for name, byte in (("NUL", "\0"), ("space", " "), ("a byte above 127", "\xe9"), ("'('", "("), ("'@'", "@"),
                   ("'{'", "{"), ("DEL", "\x7f"), ("'/'", "/"), ("CR", "\r"), ("'\"'", '"')):
    bad("%s in a name" % name, head("X%sY: z\r\n" % byte) + MARK, "9110 5.1")
bad("a field without a colon", head("nonsense\r\n") + MARK, "9112 5")
bad("an empty name", head(": y\r\n") + MARK, "9110 5.1")
good("an empty line before each request", "\r\n" + head() + "\r\n" + AFTER, [GET_P, GET_AFTER], "9112 2.2")
good("all of a token as a name", head("!#$%&'*+-.^_`|~09AZaz: y\r\n") + AFTER, [GET_P, GET_AFTER], "9110 5.6.2")
good("bytes above 127 in a value", head("X: \xc3\xa9\xff\r\n") + AFTER, [GET_P, GET_AFTER], "9110 5.5",
     fields={"X": "\xc3\xa9\xff"})

# --- request lines and versions (RFC 9112 2.3, 3) ---

for name, line in (
    ("HTTP/0.9", "GET /p\r\n\r\n"),
    ("HTTP/0.9 with fields", "GET /p\r\nHost: test\r\n\r\n"),
    ("HTTP/0.9 spelled out", head(version="HTTP/0.9")),
    ("HTTP/1.2", head(version="HTTP/1.2")),
    ("HTTP/2.0", head(version="HTTP/2.0")),
    ("HTTP/1.10", head(version="HTTP/1.10")),
    ("HTTP/01.1", head(version="HTTP/01.1")),
    ("HTTP/1", head(version="HTTP/1")),
    ("http/1.1", head(version="http/1.1")),
    ("HTTP/1.1 and a space", head(version="HTTP/1.1 ")),
    ("two versions", head(version="HTTP/1.1 HTTP/1.1")),
    ("two spaces", "GET  /p HTTP/1.1\r\nHost: test\r\n\r\n"),
    ("a tab between", "GET\t/p HTTP/1.1\r\nHost: test\r\n\r\n"),
    ("a space in the target", "GET /p /q HTTP/1.1\r\nHost: test\r\n\r\n"),
    ("a version in the target", "GET /p HTTP/1.0 HTTP/1.1\r\nHost: test\r\n\r\n"),
    ("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("a space first", " " + head()),
    ("NUL first", "\0" + head()),
    ("NUL in the target", head(target="/p\0q")),
    ("DEL in the target", head(target="/p\x7fq")),
    ("a control in the target", head(target="/p\x01q")),
    ("a CR in the target", head(target="/p\rq")),
):
    bad("request line: " + name, line + MARK, "9112 3", (400, 505))

# --- methods (RFC 9110 9): a token is passed on, anything else refused ---

for method in ("BREW", "M-SEARCH", "get", "Get", "A!#$%&'*+-.^_`|~9", "PROPFIND", "X" * 32):
    good("method %s" % method[:20], head(method=method) + AFTER, [(method, "/p", b""), GET_AFTER], "9110 9.1")
for method in ("GE(T", "GET:", "GE\0T", "G\xc9T", '"GET"', "", "GET\x0b"):
    bad("method %r" % method, head(method=method) + MARK, "9110 5.6.2")
bad("a very long method", head(method="A" * 300) + MARK, "9112 3", 501)
bad("CONNECT", head(method="CONNECT", target="test:80", host="Host: test:80\r\n") + MARK, "9110 9.3.6", 501)
bad("CONNECT with a path", head(method="CONNECT") + MARK, "9112 3.2.3", (400, 405, 501))
# What it echoes would be the fields that we add: never passed on (RFC 9110 9.3.8).
good("TRACE", head(method="TRACE") + AFTER, [GET_AFTER], "9110 9.3.8", [405, 200])
bad("CONNECT with content", head("Content-Length: %d\r\n" % len(MARK), method="CONNECT", target="test:80",
    host="Host: test:80\r\n") + MARK, "9110 9.3.6", (400, 405, 501))

# --- targets (RFC 9112 3.2, RFC 3986) ---

good("absolute-form", head(target="http://test/p?q") + AFTER, [("GET", "/p?q", b""), GET_AFTER], "9112 3.2.2",
     fields={"Host": "test"})
good("absolute-form replaces Host", head(target="http://real/p", host="Host: fake\r\n") + AFTER, [GET_P, GET_AFTER],
     "9112 3.2.2", fields={"Host": "real"})
good("absolute-form with a port", head(target="http://real:81/p", host="Host: fake\r\n") + AFTER, [GET_P, GET_AFTER],
     "9112 3.2.2", fields={"Host": "real:81"})
good("absolute-form without a path", head(target="http://test") + AFTER, [("GET", "/", b""), GET_AFTER], "9112 3.2.1")
good("absolute-form: a query without a path", head(target="http://test?q=/x") + AFTER,
     [("GET", "/?q=/x", b""), GET_AFTER], "3986 3")
good("asterisk-form is about the server itself", head(target="*", method="OPTIONS") + AFTER, [GET_AFTER], "9112 3.2.4",
     [204, 200])
for name, target in (
    ("absolute-form with an empty host", "http:///p"),
    ("absolute-form with user information", "http://user@test/p"),
    ("absolute-form with a password", "http://u:p@test/p"),
    ("absolute-form with a bad port", "http://test:8o/p"),
    ("absolute-form with a space in the host", "http://te%20st/p#x"),
    ("absolute-form of another scheme", "ftp://test/p"),
    ("absolute-form without slashes", "http:test/p"),
    ("absolute-form with a backslash", "http:\\\\test\\p"),
    ("asterisk with GET", "*"),
    ("authority with GET", "test:80"),
    ("relative", "p"),
    ("a query alone", "?q"),
    ("a fragment", "/p#x"),
    ("an escape cut short", "/p%"),
    ("an escape of one digit", "/p%4"),
    ("not hexadecimal", "/p%zz"),
    ("an escaped NUL", "/p%00"),
    ("an escaped NUL before a suffix", "/private%00.png"),
):
    bad("target: " + name, head(target=target) + MARK, "9112 3.2", (400, 421))
bad("absolute-form with two Hosts", head("Host: other\r\n", target="http://test/p") + MARK, "9112 3.2")
bad("absolute-form without Host", head(target="http://test/p", host="") + MARK, "9112 3.2")
for target in ("/../private", "/..%2fprivate", "/%2e%2e/private", "/%2e%2e%2fprivate", "/a/../../private"):
    bad("target above the root: " + target, head(target=target) + MARK, "3986 5.2.4")
# /private is answered by the server itself: no spelling of it may reach the back end.
for target in ("/private", "/a/../private", "/a/%2e%2e/private", "/a/..%2fprivate", "//private", "/./private",
               "/%70rivate", "/private/", "/private?x", "/a/b/../../private/x", "/private/./x", "/x/..//private"):
    good("target of the server's own: " + target, head(target=target) + AFTER, [GET_AFTER], "3986 6.2.2", [200, 200])
# A path goes on as it came, unless segments were removed from it: then what was decided on does.
for target, sent in (("/a/../p", "/p"), ("/a/%2e%2e/p", "/p"), ("//p", "/p"), ("/./p", "/p"), ("/private/../p", "/p"),
                     ("/p/.", "/p/"), ("/a/../%41%20", "/A%20"), ("/%70", None), ("/a%2fb", None), ("/p%20q", None),
                     ("/%7Euser", None), ("/p;a=b", None), ("/%252e%252e/private", None), ("/%0d%0aX:%20y", None),
                     ("/p?q=/../private", None), ("/p?", None), ("/%c0%ae%c0%ae/private", None),
                     ("/p?a%0d%0ab", None), ("/..\\private", None), ("/a\\..\\private", None), ('/"<x>"', None),
                     ("/a|b", None), ("/a^b`c", None), ("/{x}", None)):
    good("target " + target, head(target=target) + AFTER, [("GET", sent or target, b""), GET_AFTER], "3986 6.2.2")
bad("a byte above 127 in the target", head(target="/p\xc3\xa9") + MARK, "3986 2")
bad("a target too long", head(target="/" + "a" * 5000) + MARK, "9110 15.5.15", 414)

# --- Host (RFC 9112 3.2) ---

for name, host in (
    ("none", ""),
    ("two equal ones", "Host: test\r\nHost: test\r\n"),
    ("two different ones", "Host: test\r\nHost: other\r\n"),
    ("two, in different case", "Host: test\r\nhOST: other\r\n"),
    ("empty", "Host:\r\n"),
    ("white space", "Host: \t\r\n"),
    ("with user information", "Host: user@test\r\n"),
    ("a list", "Host: test, other\r\n"),
    ("a list without space", "Host: test,other:80:80\r\n"),
    ("with a space", "Host: test other\r\n"),
    ("with a tab", "Host: test\tother\r\n"),
    ("with a path", "Host: test/p\r\n"),
    ("with a query", "Host: test?p\r\n"),
    ("with a scheme", "Host: http://test\r\n"),
    ("a word as port", "Host: test:http\r\n"),
    ("two ports", "Host: test:80:81\r\n"),
    ("a negative port", "Host: test:-1\r\n"),
    ("a port with a sign", "Host: test:+80\r\n"),
    ("only a port", "Host: :80\r\n"),
    ("an open bracket", "Host: [::1\r\n"),
    ("words behind the bracket", "Host: [::1]x\r\n"),
    ("IPv6 without brackets", "Host: ::1\r\n"),
    ("NUL", "Host: te\0st\r\n"),
    ("a byte above 127", "Host: t\xe9st\r\n"),
    ("a backslash", "Host: te\\st\r\n"),
    ("space before the colon", "Host : test\r\n"),
    ("folded", "Host: test\r\n .other\r\n"),
):
    bad("Host: " + name, head(host=host) + MARK, "9112 3.2")
bad("Host: two in 1.0", head("Host: other\r\n", version="HTTP/1.0") + MARK, "9112 3.2")
good("Host: with a port", head(host="Host: test:8080\r\n") + AFTER, [GET_P, GET_AFTER], "9110 7.2",
     fields={"Host": "test:8080"})
good("Host: in upper case", head(host="Host: TEST\r\n") + AFTER, [GET_P, GET_AFTER], "9110 7.2")
good("Host: IPv6", head(host="Host: [::1]:80\r\n") + AFTER, [GET_P, GET_AFTER], "9110 7.2", fields={"Host": "[::1]:80"})
good("Host: none in 1.0", head(host="", version="HTTP/1.0"), [GET_P], "9112 3.2", fate=CLOSED)
good("Host: X-Host and the like are other fields", head("X-Host: a\r\nHost-X: b\r\n") + AFTER, [GET_P, GET_AFTER],
     "9110 5.1")

# --- Connection (RFC 9110 7.6.1): what it names is not passed on; what framing and routing need stays ---

good("Connection names a field", head("Connection: x-hop\r\nX-Hop: 1\r\nX-End: 2\r\n") + AFTER, [GET_P, GET_AFTER],
     "9110 7.6.1", fields={"X-Hop": None, "X-End": "2"})
good("Connection names Host", head("Connection: host\r\n") + AFTER, [GET_P, GET_AFTER], "9110 7.6.1",
     fields={"Host": "test"})
good("Connection names Content-Length", sized(5, lines="Connection: content-length\r\n") + AFTER, [HELLO, GET_AFTER],
     "9110 7.6.1")
good("Connection names Transfer-Encoding", coded("chunked", lines="Connection: transfer-encoding\r\n") + AFTER,
     [HELLO, GET_AFTER], "9110 7.6.1")
good("Connection names Transfer-Encoding and close", coded("chunked", lines="Connection: transfer-encoding, close\r\n")
     + MARK, [HELLO], "9110 7.6.1", fate=CLOSED)
good("Connection names X-Forwarded-For", head("Connection: x-forwarded-for\r\nX-Forwarded-For: 6.6.6.6\r\n") + AFTER,
     [GET_P, GET_AFTER], "9110 7.6.1", fields={"X-Forwarded-For": "127.0.0.1"})
good("Connection names X-Forwarded-Proto and Forwarded", head("Connection: x-forwarded-proto, forwarded, via\r\n")
     + AFTER, [GET_P, GET_AFTER], "9110 7.6.1", fields={"X-Forwarded-Proto": "http"})
good("Connection names Cookie", head("Connection: cookie\r\nCookie: a=b\r\n") + AFTER, [GET_P, GET_AFTER], "9110 7.6.1",
     fields={"Cookie": None})
good("Connection twice", head("Connection: x-a\r\nConnection: x-b\r\nX-A: 1\r\nX-B: 2\r\n") + AFTER, [GET_P, GET_AFTER],
     "9110 7.6.1", fields={"X-A": None, "X-B": None})
good("Connection with nonsense", head("Connection: ,, ;x, \"y\"\r\n") + AFTER, [GET_P, GET_AFTER], "9110 7.6.1")
good("hop-by-hop fields", head("Keep-Alive: 5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\nTrailer: X\r\n")
     + AFTER, [GET_P, GET_AFTER], "9110 7.6.1", fields={"Keep-Alive": None, "Proxy-Connection": None})
good("close", head("Connection: close\r\n") + MARK, [GET_P], "9112 9.6", fate=CLOSED)
good("close among others", head("Connection: x, close\r\n") + MARK, [GET_P], "9112 9.6", fate=CLOSED)
good("1.0 closes", head(version="HTTP/1.0") + MARK, [GET_P], "9112 9.3", fate=CLOSED)
good("1.0 with keep-alive", head("Connection: keep-alive\r\n", version="HTTP/1.0") + AFTER, [GET_P, GET_AFTER],
     "9112 9.3")
good("1.0 with content", sized(5, version="HTTP/1.0") + MARK, [HELLO], "9112 6.3", fate=CLOSED)
good("Proxy-Connection: close means nothing", head("Proxy-Connection: close\r\n") + AFTER, [GET_P, GET_AFTER],
     "9112 C.2.2")

# --- forwarding fields of a client that nobody trusts ---

for name, value in (("X-Forwarded-For", "127.0.0.1, 10.0.0.1"), ("X-Forwarded-Proto", "https"),
                    ("X-Forwarded-Host", "evil"), ("Forwarded", "for=6.6.6.6;host=evil"), ("X-Real-IP", "6.6.6.6")):
    good("a client's own %s" % name, head("%s: %s\r\n" % (name, value)) + AFTER, [GET_P, GET_AFTER], "7239 8.1")
good("two X-Forwarded-For", head("X-Forwarded-For: 6.6.6.6\r\nx-forwarded-for: 7.7.7.7\r\n") + AFTER,
     [GET_P, GET_AFTER], "7239 8.1", fields={"X-Forwarded-For": "127.0.0.1"})

# To a server that hands fields on as environment variables '_' is '-' (RFC 3875 4.1.18).
for name in ("X_Forwarded_For", "X-Forwarded_Host", "x_real_ip", "Content_Length", "Transfer_Encoding", "Content_Type",
             "X_Request_Id", "X-Forwarded-Port", "X-Real-Ip"):
    good("nobody's %s" % name, head("%s: 6\r\n" % name) + AFTER, [GET_P, GET_AFTER], "7239 8.1", fields={name: None})
good("an underscore of one's own", head("X_Own: 1\r\n") + AFTER, [GET_P, GET_AFTER], "9110 5.1", fields={"X_Own": "1"})

# --- Upgrade and Expect (RFC 9110 7.8, 10.1.1) ---

good("an upgrade that the back end refuses", head("Connection: upgrade\r\nUpgrade: chat\r\n") + AFTER,
     [GET_P, GET_AFTER], "9110 7.8")
good("h2c", head("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n") + AFTER,
     [GET_P, GET_AFTER], "9110 7.8", fields={"HTTP2-Settings": None, "Upgrade": None})
good("Upgrade that Connection does not name", head("Upgrade: websocket\r\n") + AFTER, [GET_P, GET_AFTER], "9110 7.8",
     fields={"Upgrade": None})
good("an upgrade with content", sized(5, lines="Connection: upgrade\r\nUpgrade: x\r\n") + AFTER, [HELLO, GET_AFTER],
     "9110 7.8")
good("an upgrade in 1.0", head("Connection: upgrade, keep-alive\r\nUpgrade: x\r\n", version="HTTP/1.0") + AFTER,
     [GET_P, GET_AFTER], "9110 7.8", fields={"Upgrade": None})
good("100-continue, the content comes along", sized(5, lines="Expect: 100-continue\r\n") + AFTER, [HELLO, GET_AFTER],
     "9110 10.1.1")
good("100-continue, chunked", coded("chunked", lines="Expect: 100-Continue\r\n") + AFTER, [HELLO, GET_AFTER],
     "9110 10.1.1")
good("100-continue without content", head("Expect: 100-continue\r\n") + AFTER, [GET_P, GET_AFTER], "9110 10.1.1")
good("100-continue in 1.0", sized(5, lines="Expect: 100-continue\r\n", version="HTTP/1.0"), [HELLO], "9110 10.1.1",
     fate=CLOSED)
for value in ("200-ok", "100-continue, x", "100-continue=", "x\t100-continue"):
    bad("Expect: %r" % value, sized(5, lines="Expect: %s\r\n" % value) + MARK, "9110 15.5.18", 417)

# --- limits: where one parser stops, no other may go on ---

bad("fields without end", head("X: %s\r\n" % ("y" * 9000)) + MARK, "6585 5", 431)
bad("too many fields", head("X: y\r\n" * 50) + MARK, "6585 5", 431)
bad("a length beyond the limit", sized(65537, "x" * 65537) + MARK, "9110 15.5.14", 413)
bad("chunks beyond the limit", coded("chunked", "10001\r\n%s\r\n0\r\n\r\n" % ("x" * 65537)) + MARK, "9110 15.5.14", 413,
    maybe=("/p",))
bad("small chunks beyond the limit", coded("chunked", "100\r\n%s\r\n" % ("x" * 256) * 257 + "0\r\n\r\n") + MARK,
    "9110 15.5.14", 413, maybe=("/p",))
good("the longest content", sized(65536, "x" * 65536) + AFTER, [("POST", "/p", b"x" * 65536), GET_AFTER],
     "9110 15.5.14")

# --- answers of a back end: nothing behind an answer may become the answer to somebody else's request ---

DATE = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
OK = "HTTP/1.1 200 OK\r\n" + DATE
EVIL = OK + "Content-Length: 4\r\n\r\nevil"


class Answer:
    """data      what the back end sends, whatever it was asked, before it closes (hold: before it falls silent)
    expect   (status, content) at the client; None for the content: any; status None: the connection ends, or the
             content is cut so that the client can see it
    """

    def __init__(self, name, data, status, body, ref, method="GET", hold=False, also=()):
        self.name, self.data, self.status, self.body, self.ref = name, data.encode("latin-1"), status, body, ref
        self.method, self.hold, self.also = method, hold, also


ANSWERS = []


def answer(name, data, status, body, ref, **more):
    ANSWERS.append(Answer(name, data, status, body, ref, **more))


answer("sized", OK + "Content-Length: 5\r\n\r\nhello", 200, b"hello", "9112 6.2")
answer("chunked", OK + "Transfer-Encoding: chunked\r\n\r\n" + CHUNKS, 200, b"hello", "9112 7.1")
answer("until close", OK + "\r\nhello", 200, b"hello", "9112 6.3")
answer("1.0, until close", "HTTP/1.0 200 OK\r\n\r\nhello", 200, b"hello", "9112 6.3")
answer("a second answer behind a sized one", OK + "Content-Length: 5\r\n\r\nhello" + EVIL, 200, b"hello", "9112 9.3.2",
       hold=True)
answer("a second answer behind a chunked one", OK + "Transfer-Encoding: chunked\r\n\r\n" + CHUNKS + EVIL, 200, b"hello",
       "9112 9.3.2", hold=True)
answer("a second answer behind 204", "HTTP/1.1 204 No Content\r\n" + DATE + "\r\n" + EVIL, 204, b"", "9112 6.3",
       hold=True)
answer("204 that announces content", "HTTP/1.1 204 No Content\r\n" + DATE + "Content-Length: %d\r\n\r\n" % len(EVIL)
       + EVIL, 204, b"", "9112 6.3", hold=True, also=((502, None),))
answer("204 with chunks", "HTTP/1.1 204 No Content\r\n" + DATE + "Transfer-Encoding: chunked\r\n\r\n" + CHUNKS, 204,
       b"", "9112 6.3", hold=True, also=((502, None),))
answer("304 with a length and content", "HTTP/1.1 304 Not Modified\r\n" + DATE + "Content-Length: %d\r\n\r\n"
       % len(EVIL) + EVIL, 304, b"", "9112 6.3", hold=True)
answer("content behind an answer to HEAD", OK + "Content-Length: %d\r\n\r\n" % len(EVIL) + EVIL, 200, b"", "9112 6.3",
       method="HEAD", hold=True)
answer("chunks behind an answer to HEAD", OK + "Transfer-Encoding: chunked\r\n\r\n" + CHUNKS, 200, b"", "9112 6.3",
       method="HEAD", hold=True)
answer("length and coding", OK + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS + EVIL, 502, None,
       "9112 6.3")
for value in ("5, 6", "+5", "-5", "0x5", "5x", "", "18446744073709551621", "5;a", "five"):
    answer("length %r" % value, OK + "Content-Length: %s\r\n\r\nhello" % value + EVIL, 502, None, "9112 6.3")
answer("two different lengths", OK + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!" + EVIL, 502, None,
       "9112 6.3")
answer("two equal lengths", OK + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello", "9112 6.3",
       also=((502, None),))
for value in ("xchunked", "chunked, chunked", "chunked, identity", "identity, chunked", "\x0bchunked", "gzip", ""):
    answer("coding %r" % value, OK + "Transfer-Encoding: %s\r\n\r\n" % value + CHUNKS, 502, None, "9112 6.3")
answer("coding in 1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS, 502, None, "9112 6.1")
for name, chunks in (("0x5", "0x5\r\nhello\r\n0\r\n\r\n"), ("bare LF", "5\nhello\n0\n\n"), ("no size", "\r\nhello\r\n"),
                     ("no CRLF", "5\r\nhello0\r\n\r\n"), ("overflow", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
                     ("cut", "5\r\nhel"), ("no last chunk", "5\r\nhello\r\n"), ("a bad trailer", "0\r\nx\r\n\r\n")):
    answer("chunks: %s" % name, OK + "Transfer-Encoding: chunked\r\n\r\n" + chunks, None, None, "9112 7.1",
           also=((502, None),))
answer("a length beyond the content", OK + "Content-Length: 50\r\n\r\nhello", None, None, "9112 8", also=((502, None),))
answer("a bare LF in a field", OK + "X: a\nSet-Cookie: evil\r\nContent-Length: 0\r\n\r\n", 502, None, "9112 2.2")
answer("a bare CR in a field", OK + "X: a\rSet-Cookie: evil\r\nContent-Length: 0\r\n\r\n", 502, None, "9112 2.2")
answer("a NUL in a field", OK + "X: a\0b\r\nContent-Length: 0\r\n\r\n", 502, None, "9110 5.5")
answer("a folded field", OK + "X: a\r\n b\r\nContent-Length: 0\r\n\r\n", 502, None, "9112 5.2")
answer("space before a colon", OK + "Content-Length : 5\r\n\r\nhello", 502, None, "9112 5.1")
answer("a field without a colon", OK + "nonsense\r\n\r\n", 502, None, "9112 5")
answer("garbage", "garbage\r\n\r\n", 502, None, "9112 4")
answer("a request", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 502, None, "9112 4")
answer("an SSH banner", "SSH-2.0-OpenSSH_9.2\r\n", 502, None, "9112 4")
answer("HTTP/0.9", "<html>hello</html>", 502, None, "9112 4")
answer("HTTP/2.0", "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", 502, None, "9112 2.3")
answer("status 20", "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n", 502, None, "9112 4")
answer("status 2000", "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", 502, None, "9112 4")
answer("status 99", "HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n", 502, None, "9112 4")
answer("status of letters", "HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n", 502, None, "9112 4")
answer("an empty line first", "\r\n" + OK + "Content-Length: 5\r\n\r\nhello", 502, None, "9112 2.2",
       also=((200, b"hello"),))
answer("no phrase", "HTTP/1.1 200 \r\n" + DATE + "Content-Length: 5\r\n\r\nhello", 200, b"hello", "9112 4")
answer("no phrase, no space", "HTTP/1.1 200\r\n" + DATE + "Content-Length: 5\r\n\r\nhello", 200, b"hello", "9112 4",
       also=((502, None),))
answer("a head of 1 MB", OK + "X: %s\r\n" % ("y" * 1000) * 1000 + "\r\n", 502, None, "9110 5.4")
answer("a field of 1 MB", OK + "X: %s\r\n\r\n" % ("y" * 1000000), 502, None, "9110 5.4")
answer("a status line of 1 MB", "HTTP/1.1 200 " + "y" * 1000000 + "\r\n\r\n", 502, None, "9110 5.4")
answer("101 that nobody asked for", "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
       + EVIL, 502, None, "9110 15.2.2")
answer("103, then the answer", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK + "Content-Length: 5\r\n\r\nhello",
       200, b"hello", "9110 15.2")
answer("100 that nobody asked for, then the answer", "HTTP/1.1 100 Continue\r\n\r\n" + OK
       + "Content-Length: 5\r\n\r\nhello", 200, b"hello", "9110 15.2.1")
answer("1xx with a length", "HTTP/1.1 103 Early Hints\r\nContent-Length: %d\r\n\r\n" % len(EVIL) + OK
       + "Content-Length: 5\r\n\r\nhello", 200, b"hello", "9112 6.3", also=((502, None),))
answer("1xx without end", "HTTP/1.1 103 Early Hints\r\n\r\n" * 2000, 502, None, "9110 15.2")
answer("nothing", "", 502, None, "9112 8")
answer("half a status line", "HTTP/1.1 2", 502, None, "9112 8")
answer("half a head", OK + "X: y\r\n", 502, None, "9112 8")
