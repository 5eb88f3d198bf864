#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A random session, by sluice and by redis-cli: both must see the same answers, one after the other.

usage: tests/e2e/redis_session.py [--commands N] [--seed N]

Every command goes to database 0 through sluice and to database 1 through redis-cli, in the same order.  Answers of
sluice are JSON; they are printed here as redis-cli prints them and compared line by line.  Keys are few, so that types
clash at times and errors are among the answers; words hold any byte, and reach sluice in the path, as content, or as a command
that is content.
"""
import argparse
import base64
import json
import random
import subprocess
import sys
from urllib.parse import quote_from_bytes

from harness import Client
from redis_peer import served

BATCH = 200
UNORDERED = {b"SMEMBERS", b"SUNION", b"SINTER", b"SDIFF", b"HGETALL", b"HKEYS", b"HVALS", b"KEYS"}


FAMILIES = {b"INCR": b"n", b"INCRBYFLOAT": b"n", b"LPUSH": b"l", b"RPUSH": b"l", b"LRANGE": b"l", b"LPOP": b"l", b"RPOP": b"l",
            b"LREM": b"l", b"LINDEX": b"l", b"SADD": b"s", b"SREM": b"s", b"SMEMBERS": b"s", b"SISMEMBER": b"s",
            b"SUNION": b"s", b"HSET": b"h", b"HGET": b"h", b"HGETALL": b"h", b"HKEYS": b"h", b"HINCRBY": b"h", b"ZADD": b"z",
            b"ZRANGE": b"z", b"ZSCORE": b"z", b"ZRANK": b"z"}  # fmt: skip

ANY_TYPE = {b"DEL", b"EXISTS", b"TYPE", b"RENAME", b"EXPIRE"}


class Key(bytes):
    """A word that is a key."""


class Session:
    """Commands, from a seed."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def key(self):
        return Key(self.random.choice([b"a", b"b", b"c", b"k/1", b"k 2", b"\xc3\xa9", b"x.json", b"%41"]))

    def word(self):
        r = self.random
        kind = r.randrange(6)
        if kind == 0:
            return str(r.randrange(-50, 50)).encode()
        if kind == 1:
            return bytes(r.randrange(256) for _ in range(r.randrange(12)))
        if kind == 2:
            return r.choice([b"", b".", b"..", b"/", b"a/b", b'"\\', b"\r\n", b"\x00", b"v.txt", b"?x=1&y#z", b"\xff\xfe"])
        return bytes(r.choice(b"abcdefgh") for _ in range(r.randrange(1, 8)))

    def number(self):
        return str(self.random.randrange(-5, 20)).encode()

    def command(self):
        r, key, word, number = self.random, self.key, self.word, self.number
        stream = b"s:%d" % r.randrange(2)
        makers = [
            lambda: [b"SET", key(), word()], lambda: [b"GET", key()], lambda: [b"GETSET", key(), word()],
            lambda: [b"APPEND", key(), word()], lambda: [b"STRLEN", key()], lambda: [b"INCR", key()],
            lambda: [b"INCRBYFLOAT", key(), b"0.5"], lambda: [b"MGET", key(), key(), key()],
            lambda: [b"MSET", key(), word(), key(), word()], lambda: [b"SETRANGE", key(), number(), word()],
            lambda: [b"DEL", key()], lambda: [b"DEL", key()], lambda: [b"EXISTS", key(), key()], lambda: [b"TYPE", key()],
            lambda: [b"RENAME", key(), key()], lambda: [b"LPUSH", key(), word(), word()], lambda: [b"RPUSH", key(), word()],
            lambda: [b"LRANGE", key(), number(), number()], lambda: [b"LPOP", key()], lambda: [b"RPOP", key(), number()],
            lambda: [b"LREM", key(), number(), word()], lambda: [b"SADD", key(), word(), word()],
            lambda: [b"SREM", key(), word()], lambda: [b"SMEMBERS", key()], lambda: [b"SISMEMBER", key(), word()],
            lambda: [b"SUNION", key(), key()], lambda: [b"HSET", key(), word(), word()], lambda: [b"HGET", key(), word()],
            lambda: [b"HGETALL", key()], lambda: [b"HKEYS", key()], lambda: [b"HINCRBY", key(), word(), number()],
            lambda: [b"ZADD", key(), number(), word()], lambda: [b"ZRANGE", key(), number(), number(), b"WITHSCORES"],
            lambda: [b"ZSCORE", key(), word()], lambda: [b"ZRANK", key(), word()],
            lambda: [b"XADD", stream, b"%d-1" % r.randrange(1, 1000), word(), word()],
            lambda: [b"XRANGE", stream, b"-", b"+", b"COUNT", b"5"], lambda: [b"ECHO", word()], lambda: [b"PING"],
            lambda: [b"BITCOUNT", key()], lambda: [b"GETRANGE", key(), number(), number()], lambda: [b"NOSUCH", word()],
            lambda: [b"EVAL", b"return {1,{'x',{false,3},{}},{ok='fine'},{err='ERR bad'}}", b"0"], lambda: [b"DBSIZE"],
            lambda: [b"XTRIM", stream, b"MAXLEN", b"20"], lambda: [b"EXPIRE", key(), b"100000"], lambda: [b"LINDEX", key(), word()],
        ]  # fmt: skip
        words = r.choice(makers)()
        if r.random() < 0.1:
            return words  # whatever its keys hold
        any_type = [b"", b"n", b"l", b"s", b"h", b"z"]
        family = r.choice(any_type) if words[0] in ANY_TYPE else FAMILIES.get(words[0], b"")
        return [family + w if isinstance(w, Key) else w for w in words]

    def request(self, words):
        """The command as a request: how is left to chance, within what a path can hold."""
        is_odd = [b"\x00" in w or w in (b".", b"..") for w in words]
        way = self.random.randrange(3)
        path = "/".join(quote_from_bytes(w, safe="") for w in words)
        if not any(is_odd) and way == 0:
            return self.head("GET", "/" + path + ".json", b"")
        if way == 1 and len(words) > 2 and not any(is_odd[:-1]):
            path = "/".join(quote_from_bytes(w, safe="") for w in words[:-1])
            return self.head("PUT", "/" + path + ".json", words[-1])
        return self.head("POST", "/", path.encode() + b".json")

    @staticmethod
    def head(method, target, body):
        length = "Content-Length: %d\r\n" % len(body) if method != "GET" else ""
        return ("%s %s HTTP/1.1\r\nHost: test\r\n%s\r\n" % (method, target, length)).encode() + body


# --- as redis-cli prints it ---


def printed(text):
    out = '"'
    named = {0x5C: "\\\\", 0x22: '\\"', 10: "\\n", 13: "\\r", 9: "\\t", 7: "\\a", 8: "\\b"}
    for byte in text:
        out += named.get(byte) or (chr(byte) if 32 <= byte < 127 else "\\x%02x" % byte)
    return out + '"'


def is_kind(v, kind):
    return isinstance(v, list) and len(v) == 2 and v[0] is kind


def as_text(v):
    return base64.b64decode(v["base64"]) if isinstance(v, dict) else v.encode()


def shown(v, prefix=""):
    """Lines of one value, as redis-cli --no-raw has them."""
    if v is None:
        return "(nil)\n"
    if is_kind(v, True):
        return as_text(v[1]).decode(errors="surrogateescape") + "\n"
    if is_kind(v, False):
        return "(error) " + as_text(v[1]).decode(errors="surrogateescape") + "\n"
    if isinstance(v, int):
        return "(integer) %d\n" % v
    if not isinstance(v, list):
        return printed(as_text(v)) + "\n"
    if not v:
        return "(empty array)\n"
    width = len(str(len(v)))
    out = ""
    for i, item in enumerate(v):
        out += (prefix if i else "") + "%*d) " % (width, i + 1) + shown(item, prefix + " " * (width + 2))
    return out


def flat(name, v):
    """HGETALL is an object in JSON, if its names allow."""
    if name == b"HGETALL" and isinstance(v, dict):
        return [x for pair in v.items() for x in pair]
    return v


def without_numbers(lines):
    return sorted(line.split(") ", 1)[-1] for line in lines)


# --- both sides ---


def by_cli(redis, commands):
    lines = b"".join(b" ".join(b'"' + b"".join(b"\\x%02x" % c for c in w) + b'"' for w in words) + b"\n" for words in commands)
    r = subprocess.run([redis.cli_program, "--no-raw", "-p", str(redis.port), "-n", "1"], input=lines,
                       stdout=subprocess.PIPE, check=True)  # fmt: skip
    return r.stdout.decode(errors="surrogateescape").split("\n")


def check_answer(words, answer, lines):
    """Takes the lines of this answer off the front."""
    name, v = next(iter(answer.items()))
    assert name.encode() == words[0], (name, words)
    v = flat(words[0], v)
    wanted = shown(v).split("\n")[:-1]
    got = [lines.pop() for _ in wanted]
    if words[0] in UNORDERED:
        wanted, got = without_numbers(wanted), without_numbers(got)
    assert wanted == got, "%r: sluice says %r, redis-cli %r" % (words, wanted, got)


def run(address, redis, count, seed):
    """How many answers were compared, and how many of them were errors."""
    session = Session(seed)
    errors = 0
    with Client(address) as c:
        for done in range(0, count, BATCH):
            commands = [session.command() for _ in range(min(BATCH, count - done))]
            for words in commands:
                c.send(session.request(words))
            answers = []
            for words in commands:
                r = c.read_response()
                assert r.status in (200, 400) and r.body[:1] == b"{", (words, r.status, r.body)
                answers.append(json.loads(r.body))
                errors += r.status == 400
            lines = by_cli(redis, commands)[::-1]
            for words, answer in zip(commands, answers):
                check_answer(words, answer, lines)
            assert [x for x in lines if x] == [], lines[:3]
    return count, errors


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--commands", type=int, default=100000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with served() as (address, redis, _):
        count, errors = run(address, redis, options.commands, options.seed)
        keys = [redis.command("-n", n, "DBSIZE") for n in ("0", "1")]
        assert keys[0] == keys[1], keys
    print("%d answers agree, %d of them errors of the server; seed %d" % (count, errors, options.seed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
