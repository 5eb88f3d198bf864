/* SPDX-License-Identifier: MIT */
/*
 * Streams of responses and what must come of them, with the section that says so.  RFC 9112 unless marked; "policy" is
 * our own choice where the RFCs leave one.  Limits: a status line of 200 bytes, a head of 600, 8 fields, content of 64.
 * C is the answer to GET, H to HEAD.  Lines may be long here: a case is a line.
 */
#ifndef SLUICE_TESTS_RESPONSE_CASES_H
#define SLUICE_TESTS_RESPONSE_CASES_H

#include "http/response.h"

static const struct parse_limits case_limits = {
	.request_line_max = 200,
	.head_max = 600,
	.field_max = 8,
	.body_max = 64,
};

struct response_case {
	const char *section;
	enum http_method method;
	struct span in;
	const char *out;
};

/* clang-format off */
#define OK(fields) "HTTP/1.1 200 OK\r\n" fields "\r\n"
#define OK0(fields) "HTTP/1.0 200 OK\r\n" fields "\r\n"
#define ST(line, fields) "HTTP/1.1 " line "\r\n" fields "\r\n"
#define CHUNKED(body) OK("Transfer-Encoding: chunked\r\n") body
#define C(section, in, out) { section, METHOD_GET, { in, sizeof(in) - 1 }, out },
#define H(section, in, out) { section, METHOD_HEAD, { in, sizeof(in) - 1 }, out },
#define TEN(x) x x x x x x x x x x

static const struct response_case response_cases[] = {
/* status line */
C("4", OK("Content-Length: 5\r\n") "hello", "200 OK 1.1 ka {hello}")
C("4", OK0("Content-Length: 5\r\n") "hello", "200 OK 1.0 close {hello}")
C("4", ST("200 ", "Content-Length: 1\r\n") "x", "200 1.1 ka {x}")
C("policy", ST("200", "Content-Length: 1\r\n") "x", "200 1.1 ka {x}")
C("4", ST("404 Not Found", "Content-Length: 0\r\n"), "404 Not Found 1.1 ka len=0")
C("4", ST("404 Not  \tf\xc3\xbcnd ", "Content-Length: 0\r\n"), "404 Not  \tf\xc3\xbcnd  1.1 ka len=0")
C("4", ST("200  OK", "Content-Length: 0\r\n"), "200  OK 1.1 ka len=0")
C("4", ST("299 :", "Content-Length: 0\r\n"), "299 : 1.1 ka len=0")
C("4", ST("599 X", "Content-Length: 0\r\n"), "599 X 1.1 ka len=0")
C("4", ST("200 HTTP/1.1 200 OK", "Content-Length: 0\r\n"), "200 HTTP/1.1 200 OK 1.1 ka len=0")
C("9110 15", ST("600 X", ""), "! bad status code")
C("9110 15", ST("999 X", ""), "! bad status code")
C("9110 15", ST("099 X", ""), "! bad status code")
C("9110 15", ST("000 X", ""), "! bad status code")
C("4", ST("20 OK", ""), "! bad status code")
C("4", ST("2000 OK", ""), "! bad status code")
C("4", ST("+20 OK", ""), "! bad status code")
C("4", ST("2OO OK", ""), "! bad status code")
C("4", ST("", ""), "! bad status code")
C("4", ST(" 200 OK", ""), "! bad status code")
C("4", ST("200\tOK", ""), "! bad status code")
C("4", ST("200OK", ""), "! bad status code")
C("4", ST("200\0", ""), "! NUL")
C("4", "HTTP/1.1\r\n\r\n", "! bad version")
C("4", "HTTP/1.1  200 OK\r\n\r\n", "! bad status code")
C("4", "HTTP/1.1\t200 OK\r\n\r\n", "! bad version")
C("2.3", "HTTP/2.0 200 OK\r\n\r\n", "! version")
C("2.3", "HTTP/1.2 200 OK\r\n\r\n", "! version")
C("2.3", "HTTP/0.9 200 OK\r\n\r\n", "! version")
C("2.3", "HTTP/9.9 200 OK\r\n\r\n", "! version")
C("2.3", "HTTP/2 200\r\n\r\n", "! bad version")
C("2.3", "HTTP/1.10 200 OK\r\n\r\n", "! bad version")
C("2.3", "HTTP/11 200 OK\r\n\r\n", "! bad version")
C("2.3", "HTTP/1,1 200 OK\r\n\r\n", "! bad version")
C("2.3", "HTTP/a.1 200 OK\r\n\r\n", "! bad version")
C("2.3", "http/1.1 200 OK\r\n\r\n", "! no status line")
C("2.3", "HTTPS/1.1 200 OK\r\n\r\n", "! no status line")
C("policy", "ICY 200 OK\r\n\r\n", "! no status line")
C("policy", "<html>hello</html>", "! no status line")
C("policy", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "! no status line")
C("policy", "HTTP GET", "! no status line")
C("policy", " HTTP/1.1 200 OK\r\n\r\n", "! no status line")
C("policy", "\r\n" OK(""), "! no status line")
C("policy", "\n" OK(""), "! bare LF")
C("policy", "\0", "! NUL")
C("policy", "\x15\x03\x01\x00\x02\x02\x46", "! TLS alert")
C("2.2", "HTTP/1.1 200 OK\nA: b\r\n\r\n", "! bare LF")
C("2.2", "HTTP/1.1 200\nA: b\r\n\r\n", "! bare LF")
C("2.2", "HTTP/1.1\n", "! bare LF")
C("2.2", "HTTP/1.1 200 OK\rA: b\r\n\r\n", "! CR without LF")
C("2.2", "HTTP/1.1 200\rA: b\r\n\r\n", "! CR without LF")
C("2.2", "HTTP/1.1 200 \r\r\n\r\n", "! CR without LF")
C("4", ST("200 O\0K", ""), "! NUL")
C("4", ST("200 O\x01K", ""), "! control character in reason")
C("4", ST("200 OK\x7f", ""), "! control character in reason")
C("4", ST("200 " TEN(TEN("ab")) "\x0b", ""), "! status line too long")
C("policy", ST("200 " TEN("0123456789abcdefg") "12345678901234567", "Content-Length: 0\r\n"), "200 " TEN("0123456789abcdefg") "12345678901234567 1.1 ka len=0")
C("policy", ST("200 " TEN("0123456789abcdefg") "123456789012345678", "Content-Length: 0\r\n"), "! status line too long")
C("4", "HTTP/1.1 200 O", "...")
C("4", "H", "...")
C("4", "HTTP/1.1 200 OK\r\n", "...")
/* fields */
C("5", OK("A:\r\nB: \r\nC:x\r\nD: \tx y\t \r\nContent-Length: 0\r\n"), "200 OK 1.1 ka len=0")
C("5.1", OK("A : b\r\n"), "! white space before colon")
C("5.1", OK("Content-Length : 5\r\n") "hello", "! white space before colon")
C("5.1", OK("Transfer-Encoding\t: chunked\r\n"), "! white space before colon")
C("5", OK(": b\r\n"), "! empty field name")
C("5", OK("A\r\n"), "! field without colon")
C("5", OK("A(b): c\r\n"), "! bad byte in field name")
C("5", OK("A\0: c\r\n"), "! NUL")
C("5", OK("A\n: c\r\n"), "! bare LF")
C("5.5", OK("A: b\0c\r\n"), "! NUL")
C("5.5", OK("A: b\x01" "c\r\n"), "! control character in field")
C("2.2", OK("A: b\n"), "! bare LF")
C("2.2", OK("A: b\rC: d\r\n"), "! CR without LF")
C("2.2", OK("X-Abc: \rxTransfer-Encoding: chunked\r\n"), "! CR without LF")
C("2.2", "HTTP/1.1 200 OK\r\nA: b\r\n\n", "! bare LF")
C("2.2", "HTTP/1.1 200 OK\r\nA: b\r\n\rX", "! CR without LF")
C("5.2", OK("A: b\r\n c\r\n"), "! folded line")
C("5.2", OK("A: b\r\n\tc\r\n"), "! folded line")
C("5.2", OK(" A: b\r\n"), "! folded line")
C("policy", OK("1:\r\n2:\r\n3:\r\n4:\r\n5:\r\n6:\r\n7:\r\nContent-Length: 0\r\n"), "200 OK 1.1 ka len=0")
C("policy", OK("1:\r\n2:\r\n3:\r\n4:\r\n5:\r\n6:\r\n7:\r\n8:\r\n9:\r\n"), "! too many fields")
C("policy", OK("A: " TEN(TEN("abcdef")) "\r\n"), "! fields too long")
C("policy", OK("Set-Cookie: a\r\nSet-Cookie: b\r\nDate: x\r\nServer: y\r\nContent-Length: 0\r\n"), "200 OK 1.1 ka len=0")
/* Content-Length */
C("6.3", OK("Content-Length: 5\r\n") "hel", "200 OK 1.1 ka {hel")
C("6.3", OK("content-length:\t005 \r\n") "hello", "200 OK 1.1 ka {hello}")
C("6.3", OK("Content-Length: +5\r\n") "hello", "! bad Content-Length")
C("6.3", OK("Content-Length: -5\r\n") "hello", "! bad Content-Length")
C("6.3", OK("Content-Length: 0x5\r\n") "hello", "! bad Content-Length")
C("6.3", OK("Content-Length: 5 5\r\n") "hello", "! bad Content-Length")
C("6.3", OK("Content-Length: 5,5\r\n") "hello", "! bad Content-Length")
C("6.3", OK("Content-Length: 5;\r\n") "hello", "! bad Content-Length")
C("6.3", OK("Content-Length:\r\n") "hello", "! bad Content-Length")
C("6.3", OK("Content-Length: 18446744073709551616\r\n"), "! bad Content-Length")
C("policy", OK("Content-Length: 18446744073709551615\r\n"), "! bad Content-Length")
C("6.3", OK("Content-Length: 5\r\nContent-Length: 5\r\n") "hello", "! repeated Content-Length")
C("6.3", OK("Content-Length: 5\r\nContent-Length: 6\r\n") "hello", "! repeated Content-Length")
C("6.3", OK("Content-Length: 0\r\nContent-Length: 5\r\n") "hello", "! repeated Content-Length")
C("policy", OK("Content-Length: 64\r\n"), "200 OK 1.1 ka {")
C("policy", OK("Content-Length: 65\r\n"), "! content too long")
C("6.3", OK("Content-Length: 2\r\n") "hi" OK("Content-Length: 0\r\n"), "200 OK 1.1 ka {hi} & 200 OK 1.1 ka len=0")
C("6.3", OK("Content-Length: 2\r\n") "hi!", "200 OK 1.1 ka {hi} & ! no status line")
/* until the end */
C("6.3", OK("") "all of it" OK(""), "200 OK 1.1 close [all of itHTTP/1.1 200 OK\r\n\r\n")
C("6.3", OK("Connection: keep-alive\r\n") "x", "200 OK 1.1 close [x")
C("6.3", OK0("Connection: keep-alive\r\n") "x", "200 OK 1.0 close [x")
C("6.3", OK(""), "200 OK 1.1 close [")
C("6.3", OK("Content_Length: 2\r\n") "hi", "200 OK 1.1 close [hi")
C("6.3", OK("") TEN("longer than body_max "), "200 OK 1.1 close [" TEN("longer than body_max "))
/* Transfer-Encoding */
C("7.1", CHUNKED("5\r\nhello\r\n0\r\n\r\n"), "200 OK 1.1 ka <hello>")
C("7.1", CHUNKED("0\r\n\r\n"), "200 OK 1.1 ka <>")
C("7.1", CHUNKED("2\r\nhe\r\n03\r\nllo\r\n000\r\n\r\n"), "200 OK 1.1 ka <hello>")
C("7.1", CHUNKED("5\r\n\r\n0\r\n\r\n0\r\n\r\n"), "200 OK 1.1 ka <\r\n0\r\n>")
C("7.1", CHUNKED("A\r\nabcdefghij\r\n0\r\n\r\n") OK("Content-Length: 0\r\n"), "200 OK 1.1 ka <abcdefghij> & 200 OK 1.1 ka len=0")
C("6.1", OK("Transfer-Encoding: CHUNKED \r\n") "0\r\n\r\n", "200 OK 1.1 ka <>")
C("6.3", OK("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n") "0\r\n\r\n", "! Content-Length with Transfer-Encoding")
C("6.3", OK("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n") "0\r\n\r\n", "! Content-Length with Transfer-Encoding")
C("6.1", OK0("Transfer-Encoding: chunked\r\n") "0\r\n\r\n", "! Transfer-Encoding in HTTP/1.0")
C("6.3", OK("Transfer-Encoding: gzip\r\n"), "! last transfer coding is not chunked")
C("6.3", OK("Transfer-Encoding: identity\r\n"), "! last transfer coding is not chunked")
C("6.3", OK("Transfer-Encoding: chunked, gzip\r\n"), "! last transfer coding is not chunked")
C("6.3", OK("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"), "! last transfer coding is not chunked")
C("6.3", OK("Transfer-Encoding:\r\n"), "! last transfer coding is not chunked")
C("6.3", OK("Transfer-Encoding: xchunked\r\n"), "! last transfer coding is not chunked")
C("6.3", OK("Transfer-Encoding: \"chunked\"\r\n"), "! last transfer coding is not chunked")
C("6.3", OK("Transfer-Encoding: chunked;q=1\r\n"), "! last transfer coding is not chunked")
C("6.1", OK("Transfer-Encoding: chunked, chunked\r\n"), "! chunked twice")
C("6.1", OK("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), "! chunked twice")
C("6.1", OK("Transfer-Encoding: gzip, chunked\r\n"), "! unknown transfer coding")
C("policy", OK("Transfer-Encoding: chunked,\r\n"), "! refused by llhttp")
C("6.1", OK("Transfer_Encoding: chunked\r\n") "0\r\n\r\n", "200 OK 1.1 close [0\r\n\r\n")
/* chunks */
C("7.1", CHUNKED("\r\n"), "200 OK 1.1 ka < & ! bad chunk size")
C("7.1", CHUNKED("0x5\r\nhello\r\n"), "200 OK 1.1 ka < & ! bad chunk size")
C("7.1", CHUNKED("-1\r\n"), "200 OK 1.1 ka < & ! bad chunk size")
C("7.1", CHUNKED("5 \r\nhello\r\n"), "200 OK 1.1 ka < & ! bad chunk size")
C("7.1", CHUNKED("5\nhello\r\n"), "200 OK 1.1 ka < & ! bare LF")
C("7.1", CHUNKED("5\rhello\r\n"), "200 OK 1.1 ka < & ! CR without LF")
C("7.1", CHUNKED("5\r\nhelloX"), "200 OK 1.1 ka <hello & ! no CRLF after chunk")
C("7.1", CHUNKED("5\r\nhello\n0\r\n\r\n"), "200 OK 1.1 ka <hello & ! no CRLF after chunk")
C("7.1", CHUNKED("5\r\nhello\rX"), "200 OK 1.1 ka <hello & ! CR without LF")
C("7.1", CHUNKED("00000000000000005\r\nhello\r\n0\r\n\r\n"), "200 OK 1.1 ka < & ! chunk size too long")
C("7.1", CHUNKED("10000000000000000\r\n"), "200 OK 1.1 ka < & ! chunk size too long")
C("policy", CHUNKED("41\r\n"), "200 OK 1.1 ka < & ! content too long")
C("policy", CHUNKED("1\r\nx\r\nffffffffffffffff\r\n"), "200 OK 1.1 ka <x & ! content too long")
C("7.1.1", CHUNKED("5;a=\"b;\\\"c\"\r\nhello\r\n0;b=c\r\n\r\n"), "200 OK 1.1 ka <hello>")
C("7.1.1", CHUNKED("5;a\nhello\r\n0\r\n\r\n"), "200 OK 1.1 ka < & ! bare LF")
C("7.1.1", CHUNKED("5;\r\nhello\r\n0\r\n\r\n"), "200 OK 1.1 ka < & ! chunk size line refused by llhttp")
C("7.1", CHUNKED("5\r\nhe"), "200 OK 1.1 ka <he")
C("7.1", CHUNKED("5\r\nhello\r\n0\r\n"), "200 OK 1.1 ka <hello")
/* trailers */
C("7.1.2", CHUNKED("0\r\nA: b\r\nC:d\r\n\r\n") OK("Content-Length: 0\r\n"), "200 OK 1.1 ka <> (A: b|C: d|) & 200 OK 1.1 ka len=0")
C("7.1.2", CHUNKED("1\r\nx\r\n0\r\nA: \t b c \t\r\nEmpty: \t \r\nNone:\r\n\r\n"), "200 OK 1.1 ka <x> (A: b c|Empty: |None: |)")
C("9110 6.5.1", CHUNKED("0\r\nContent-Length: 30\r\nA: b\r\ntransfer-encoding: chunked\r\nHOST: b\r\nC: d\r\nConnection: close\r\n\r\n"), "200 OK 1.1 ka <> (A: b|C: d|)")
C("7.1.2", CHUNKED("0\r\nA : b\r\n\r\n"), "200 OK 1.1 ka < & ! white space before colon")
C("7.1.2", CHUNKED("0\r\nA: b\n\r\n"), "200 OK 1.1 ka < & ! bare LF")
C("7.1.2", CHUNKED("0\r\nA: b\r\n c\r\n\r\n"), "200 OK 1.1 ka < & ! folded line")
C("7.1.2", CHUNKED("0\r\nHTTP/1.1 200 OK\r\n\r\n"), "200 OK 1.1 ka < & ! bad byte in field name")
C("7.1.2", CHUNKED("0\r\n\n"), "200 OK 1.1 ka < & ! bare LF")
C("7.1.2", CHUNKED("0\r\n1:\r\n2:\r\n3:\r\n4:\r\n5:\r\n6:\r\n7:\r\n8:\r\n9:\r\n\r\n"), "200 OK 1.1 ka < & ! too many fields")
C("7.1.2", CHUNKED("0\r\nA: " TEN(TEN("abcdef")) "\r\n"), "200 OK 1.1 ka < & ! fields too long")
/* no content whatever the fields say */
H("6.3", OK("Content-Length: 5\r\n"), "200 OK 1.1 ka len=5")
H("6.3", OK("Content-Length: 5000\r\n") OK(""), "200 OK 1.1 ka len=5000 & 200 OK 1.1 ka")
H("6.3", OK("Transfer-Encoding: chunked\r\n") OK(""), "200 OK 1.1 ka & 200 OK 1.1 ka")
H("6.3", OK("Transfer-Encoding: gzip\r\n"), "200 OK 1.1 ka")
H("6.3", OK("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), "200 OK 1.1 close")
H("6.3", OK("Content-Length: five\r\n"), "! bad Content-Length")
H("6.3", OK("Content-Length: 5\r\nContent-Length: 5\r\n"), "! repeated Content-Length")
H("6.3", OK0(""), "200 OK 1.0 close")
H("6.3", OK0("Connection: keep-alive\r\nContent-Length: 0\r\n"), "200 OK 1.0 ka len=0")
H("6.3", ST("100 Continue", "") ST("404 X", "Content-Length: 3\r\n"), "100 Continue 1.1 ka & 404 X 1.1 ka len=3")
C("6.3", ST("304 Not Modified", "Content-Length: 5\r\n") OK("Content-Length: 0\r\n"), "304 Not Modified 1.1 ka len=5 & 200 OK 1.1 ka len=0")
C("6.3", ST("304 Not Modified", "Transfer-Encoding: chunked\r\n"), "304 Not Modified 1.1 ka")
C("6.3", ST("304 Not Modified", "Content-Length: x\r\n"), "! bad Content-Length")
C("6.3", ST("304 Not Modified", "") OK("Content-Length: 0\r\n"), "304 Not Modified 1.1 ka & 200 OK 1.1 ka len=0")
C("6.3", ST("204 No Content", "") OK("Content-Length: 0\r\n"), "204 No Content 1.1 ka & 200 OK 1.1 ka len=0")
C("6.3", ST("204 No Content", "Content-Length: 0\r\n"), "204 No Content 1.1 ka len=0")
C("6.3", ST("204 No Content", "Content-Length: 5\r\n"), "204 No Content 1.1 ka len=5")
C("6.1", ST("204 No Content", "Transfer-Encoding: chunked\r\n"), "! Transfer-Encoding without content")
C("6.3", ST("204 No Content", "Content-Length: 5\r\nContent-Length: 5\r\n"), "! repeated Content-Length")
C("9110 15.3.6", ST("205 Reset Content", "Content-Length: 0\r\n"), "205 Reset Content 1.1 ka len=0")
/* interim */
C("9110 15.2", ST("100 Continue", "") OK("Content-Length: 1\r\n") "x", "100 Continue 1.1 ka & 200 OK 1.1 ka {x}")
C("9110 15.2", ST("103 Early Hints", "Link: </a>\r\n") ST("103 Early Hints", "Link: </b>\r\n") ST("204", ""), "103 Early Hints 1.1 ka & 103 Early Hints 1.1 ka & 204 1.1 ka")
C("9110 15.2", ST("102 Processing", "Content-Length: 5\r\n") ST("204", ""), "102 Processing 1.1 ka len=5 & 204 1.1 ka")
C("9110 15.2", ST("100", "Content-Length: 5\r\n") ST("204", ""), "100 1.1 ka len=5 & 204 1.1 ka")
C("9110 15.2", ST("199 X", "Content-Length: 5\r\n") ST("204", ""), "199 X 1.1 ka len=5 & 204 1.1 ka")
C("6.1", ST("100 Continue", "Transfer-Encoding: chunked\r\n"), "! Transfer-Encoding without content")
C("6.3", ST("103 X", "Content-Length: +1\r\n"), "! bad Content-Length")
C("9110 15.2.1", ST("100 Continue", "") "x", "100 Continue 1.1 ka & ! no status line")
/* upgrade */
C("9110 7.8", ST("101 Switching Protocols", "Connection: Upgrade\r\nUpgrade: websocket\r\n") "\x81\x05hello", "101 Switching Protocols 1.1 close upgrade")
C("9110 7.8", ST("101 X", "Upgrade: h2c\r\nConnection: keep-alive\r\nConnection: foo, UPGRADE\r\n"), "101 X 1.1 close upgrade")
C("9110 7.8", ST("101 X", "Connection: upgrade\r\n"), "! 101 without Upgrade")
C("9110 7.8", ST("101 X", "Upgrade: x\r\n"), "! 101 without Upgrade")
C("9110 7.8", ST("101 X", ""), "! 101 without Upgrade")
C("9110 7.8", "HTTP/1.0 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", "! 101 without Upgrade")
C("9110 7.8", ST("101 X", "Connection: upgrade\r\nUpgrade: x\r\nTransfer-Encoding: chunked\r\n"), "! Transfer-Encoding without content")
C("9110 7.8", ST("101 X", "Connection: upgrade\r\nUpgrade: x\r\nContent-Length: 5\r\n") "hello", "101 X 1.1 close upgrade len=5")
C("9110 7.8", ST("426 X", "Connection: upgrade\r\nUpgrade: x\r\nContent-Length: 0\r\n"), "426 X 1.1 ka len=0")
/* persistence */
C("9.3", OK("Connection: close\r\nContent-Length: 0\r\n"), "200 OK 1.1 close len=0")
C("9.3", OK("Connection: foo, Close ,bar\r\nContent-Length: 0\r\n"), "200 OK 1.1 close len=0")
C("9.3", OK("Connection: keep-alive\r\nConnection: close\r\nContent-Length: 0\r\n"), "200 OK 1.1 close len=0")
C("9.3", OK("Connection: closed\r\nContent-Length: 0\r\n"), "200 OK 1.1 ka len=0")
C("9.3", OK0("Connection: Keep-Alive\r\nContent-Length: 0\r\n"), "200 OK 1.0 ka len=0")
C("9.3", OK0("Connection: keep-alive, close\r\nContent-Length: 0\r\n"), "200 OK 1.0 close len=0")
C("9.3", OK0("Content-Length: 0\r\n"), "200 OK 1.0 close len=0")
C("9.3", OK("Connection: close\r\nTransfer-Encoding: chunked\r\n") "0\r\n\r\n", "200 OK 1.1 close <>")
C("9.3", OK("Proxy-Connection: close\r\nContent-Length: 0\r\n"), "200 OK 1.1 ka len=0")
};
/* clang-format on */

#endif
