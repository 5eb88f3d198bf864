# SPDX-License-Identifier: MIT
"""A store under many clients, checked (make check-store OPS=100000, make crash-store KILLS=100).

    history   random requests over 8 connections; every key's history must be linearizable
    crashes   under the same load workers, the writer, or the master with all of them are killed by SIGKILL, each at a
              random instant; what was acknowledged must be there, and the history over all crashes linearizable

With --redis the store is at a redis-server that writes its append-only file before it answers, and that one is killed in
the writer's place, or with all the others.  Folders lie below $TMPDIR (/tmp): it should be a disk.  Exit status 1 when anything is lost.
"""
import argparse
import collections
import contextlib
import os
import random
import signal
import sys
import time

from common import machine
from harness import wait_for

import linear
import test_store
import test_store_redis
from linear import UNKNOWN
from store_load import Recorder


def tell(rec, seconds):
    kinds = collections.Counter((op.kind, op.result if op.result in ("ok", "no", UNKNOWN) else "value") for op in rec.ops)
    print("%d requests in %.1f s (%.0f/s): %s" % (
        len(rec.ops), seconds, len(rec.ops) / seconds,
        ", ".join("%d %s %s" % (n, k, r) for (k, r), n in sorted(kinds.items()))))  # fmt: skip
    if rec.notes:
        print("not answered clearly: %s" % ", ".join("%d %s %s" % (n, k, w) for (k, w), n in sorted(rec.notes.items(), key=str)))


def judge(rec):
    began = time.monotonic()
    found = linear.check(rec.ops)
    print("%d keys checked in %.1f s: %s" % (
        len({op.key for op in rec.ops}), time.monotonic() - began,
        "linearizable" if not found else "NOT linearizable: %r" % found[:3]))  # fmt: skip
    return not found


def history(options):
    with test_store.server(workers=options.workers) as s:
        rec = Recorder(s.address(), options.connections, options.keys, options.seed)
        began = time.monotonic()
        rec.start(options.ops // options.connections)
        rec.join()
        took = time.monotonic() - began
        tell(rec, took)
        st = test_store.stats(s)
        if "commits" in st:
            print_commits(st)
        return judge(rec)


def print_commits(st):
    print("%d changes in %d commits (%.2f each, at most %d), %.2f ms a commit" % (
        st["changes"], st["commits"], st["changes"] / st["commits"], st["batch_max"],
        st["commit_us"] / st["commits"] / 1000))  # fmt: skip


class Crashes:
    victims = ("writer", "worker", "all")

    def __init__(self, options):
        self.options = options
        self.server = test_store.server(workers=options.workers)
        self.first = self.server
        self.path = self.server.dir + "/db"
        self.address = None
        self.servers = [self.server]

    def start(self):
        self.server.start()
        self.address = self.server.address()

    def kill(self, victim):
        s = self.server
        if victim == "writer":
            os.kill(wait_for(lambda: test_store.stats(s)["pid"], "a writer"), signal.SIGKILL)
        elif victim == "worker":
            os.kill(random.choice([w["pid"] for w in s.workers() if w["pid"]]), signal.SIGKILL)
        else:
            test_store.kill_all(s)

    def again(self, victim):
        if victim == "all":
            if self.server is not self.first:
                self.server.abandon()
            self.server = test_store.server(path=self.path, workers=self.options.workers)
            self.start()
        else:
            wait_for(self.server.ready, "all workers serve")

    def run(self):
        options = self.options
        self.start()
        rec = Recorder(lambda: self.address, options.connections, options.keys, options.seed)
        began = time.monotonic()
        victims = collections.Counter()
        try:
            for i in range(options.kills):
                victim = self.victims[i % len(self.victims)]
                victims[victim] += 1
                rec.start()
                time.sleep(random.uniform(0.0, 0.3))
                self.kill(victim)
                time.sleep(0.02)
                rec.stop()
                self.again(victim)
                test_store.settle(rec, self.server)
            tell(rec, time.monotonic() - began)
            print("killed: %s" % ", ".join("%d times %s" % (n, v) for v, n in victims.items()))
            return judge(rec)
        finally:
            self.server.abandon()
            self.first.abandon()


class RedisCrashes(Crashes):
    victims = ("redis", "worker", "all")

    def __init__(self, options, redis):
        super().__init__(options)
        self.redis = redis

    def kill(self, victim):
        if victim != "worker":
            self.redis.kill()
        if victim != "redis":
            super().kill(victim)

    def again(self, victim):
        if victim != "worker":
            self.redis.start()
        super().again(victim)
        test_store_redis.wait_connected(self.server)


def run(options):
    with test_store_redis.durable() if options.redis else contextlib.nullcontext() as redis:
        if options.what == "history":
            return history(options)
        return (RedisCrashes(options, redis) if redis else Crashes(options)).run()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("history", "crashes"))
    parser.add_argument("--ops", type=int, default=100000)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--keys", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--redis", action="store_true", help="the store is at a redis-server")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    options = parser.parse_args()
    print("%s, seed %d" % (machine(), options.seed))
    random.seed(options.seed)
    sys.exit(0 if run(options) else 1)


if __name__ == "__main__":
    main()
