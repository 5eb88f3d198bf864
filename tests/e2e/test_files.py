# SPDX-License-Identifier: MIT
"""Files served: bytes, ranges (RFC 9110 14), conditions (13), folders, names, types, siblings, nothing from outside."""
import gzip
import hashlib
import os
import re
import selectors
import shutil
import socket
import stat
import tempfile

from harness import Client, IS_ROOT, Server, get, main, request, wait_for

TEXT = b"0123456789abcdefghijklmnopqrstuvwxyz" * 10


def pattern(size, seed=1):
    """Bytes in which every place is told from every other."""
    block = hashlib.sha256(b"%d" % seed).digest()
    out = bytearray()
    while len(out) < size:
        block = hashlib.sha256(block).digest()
        out += block * 1 + b"%08d" % len(out)
    return bytes(out[:size])


def big_pattern(size):
    unit = pattern(1 << 20)
    return b"".join(b"%08d" % i + unit[8:] for i in range(size >> 20))


def test_bytes_and_fields():
    with Server() as s:
        s.write("a.html", TEXT)
        with Client(s) as c:
            r = c.request("/a.html")
            assert (r.status, r.body) == (200, TEXT), r
            assert r.get("content-length") == str(len(TEXT))
            assert r.get("content-type") == "text/html; charset=utf-8", r.fields
            assert re.fullmatch(r'(W/)?"[^"]+"', r.get("etag", "")), r.fields
            assert r.get("last-modified", "").endswith(" GMT") and r.get("accept-ranges") == "bytes"
            h = c.request("/a.html", "HEAD")
            differ = {"date"}
            assert {(n.lower(), v) for n, v in h.fields if n.lower() not in differ} == {
                (n.lower(), v) for n, v in r.fields if n.lower() not in differ
            }, (h.fields, r.fields)
            assert c.request("/hello").body == b"hello"


def test_sizes_around_every_boundary():
    sizes = [
        0,
        1,
        2,
        127,
        128,
        4095,
        4096,
        4097,
        16383,
        16384,
        16385,
        32768,
        65535,
        65536,
        65537,
        131072,
        262143,
        1 << 20,
        (1 << 20) + 1,
        3000000,
    ]
    with Server() as s:
        files = {n: pattern(n, n) for n in sizes}
        for n in sizes:
            s.write("f%d" % n, files[n])
        with Client(s) as c:
            for turn in range(2):  # the second time out of the cache
                for n in sizes:
                    r = c.request("/f%d" % n)
                    assert r.status == 200 and r.body == files[n], (n, turn, r)
            c.send(b"".join(request("/f%d" % n) for n in sizes))
            for n in sizes:
                r = c.read_response()
                assert r.status == 200 and r.body == files[n], ("pipelined", n, r)


def test_folders():
    with Server() as s:
        s.write("index.html", "root")
        s.write("sub/index.html", "sub")
        s.write("empty/x.txt", "x")
        address = s.address()
        assert get(address, "/").body == b"root"
        assert get(address, "/sub/").body == b"sub"
        assert get(address, "/sub/?a=b").body == b"sub"
        r = get(address, "/sub")
        assert r.status in (301, 308) and re.fullmatch(r"(http://test)?/sub/", r.get("location")), (
            r,
            r.fields,
        )
        r = get(address, "/sub?a=b")
        assert r.status in (301, 308) and r.get("location").endswith("/sub/?a=b"), r.fields
        # A redirect never leads to another host: "//evil" would be one.
        r = get(address, "//sub")
        assert r.status in (301, 308, 404) and not (r.get("location") or "/").startswith(
            "//"
        ), r.fields
        for target in (
            "/%2fevil.example/%2e%2e/sub",
            "/\\evil.example/../sub",
            "//evil.example/%2e%2e/sub",
        ):
            location = get(address, target).get("location") or "/"
            assert not re.match(r"(http:)?//(?!test/)|/\\|/%5c", location, re.I), (target, location)
        assert get(address, "/empty/").status == 403
        assert get(address, "/missing").status == 404
        assert get(address, "/missing/").status == 404
        assert get(address, "/index.html/").status == 404
        assert get(address, "/index.html/x").status == 404
        assert "GET" in get(address, "/index.html", method="DELETE").get("allow")


def test_ranges():
    n = len(TEXT)
    single = {
        "bytes=0-0": (0, 0),
        "bytes=0-9": (0, 9),
        "bytes=10-": (10, n - 1),
        "bytes=-1": (n - 1, n - 1),
        "bytes=-10": (n - 10, n - 1),
        "bytes=-100000": (0, n - 1),
        "bytes=0-100000": (0, n - 1),
        "bytes=%d-" % (n - 1): (n - 1, n - 1),
        "bytes= 5-6": (5, 6),
        "BYTES=5-6": (5, 6),
        "bytes=0-18446744073709551615": (0, n - 1),
    }
    ignored = (
        "bytes=5-2",
        "bytes=a-b",
        "bytes=",
        "bytes",
        "items=0-5",
        "bytes=--5",
        "bytes=1-2-3",
        "bytes=0x0-5",
        "bytes=+1-5",
        "0-5",
        "bytes:0-5",
    )
    unsatisfiable = (
        "bytes=%d-" % n,
        "bytes=100000-",
        "bytes=-0",
        "bytes=100000-200000",
        "bytes=18446744073709551615-",
    )
    with Server() as s:
        s.write("a.txt", TEXT)
        with Client(s) as c:
            for text, (first, last) in single.items():
                r = c.request("/a.txt", fields={"Range": text})
                if r.status == 200 and text in ("bytes= 5-6", "bytes=0-18446744073709551615"):
                    continue  # white space, 20 digits: may be ignored
                assert r.status == 206 and r.body == TEXT[first : last + 1], (text, r, r.body)
                assert r.get("content-range") == "bytes %d-%d/%d" % (first, last, n), (
                    text,
                    r.fields,
                )
            for text in ignored:
                r = c.request("/a.txt", fields={"Range": text})
                assert r.status in (200, 416) and (r.status == 416 or r.body == TEXT), (text, r)
                assert text != "bytes=5-2" or r.status == 200 or r.status == 416
            for text in unsatisfiable:
                r = c.request("/a.txt", fields={"Range": text})
                if r.status == 200 and len(text) > 20:
                    continue
                assert r.status == 416 and r.get("content-range") == "bytes */%d" % n, (
                    text,
                    r,
                    r.fields,
                )
            r = c.request("/a.txt", "HEAD", fields={"Range": "bytes=0-4"})
            assert r.status == 200, "Range means something for GET only (RFC 9110 14.2): %r" % r


def parse_multipart(r):
    kind = re.fullmatch(r'multipart/byteranges; ?boundary="?([^"]+)"?', r.get("content-type"))
    assert kind, r.fields
    parts = []
    pieces = r.body.split(b"--" + kind.group(1).encode())
    assert pieces[-1].strip(b"\r\n") == b"--", pieces[-1]
    for piece in pieces[1:-1]:
        head, _, body = piece.partition(b"\r\n\r\n")
        m = re.search(rb"content-range: bytes (\d+)-(\d+)/(\d+)", head, re.I)
        assert m and body.endswith(b"\r\n"), piece
        parts.append((int(m.group(1)), int(m.group(2)), int(m.group(3)), body[:-2]))
    return parts


def test_several_ranges():
    with Server() as s:
        data = pattern(300000)
        s.write("a.txt", TEXT)
        s.write("b.bin", data)
        with Client(s) as c:
            for target, whole in (("/a.txt", TEXT), ("/b.bin", data)):
                n = len(whole)
                r = c.request(target, fields={"Range": "bytes=0-4, 10-14,-3"})
                assert r.status == 206, r
                assert parse_multipart(r) == [
                    (a, b, n, whole[a : b + 1]) for a, b in ((0, 4), (10, 14), (n - 3, n - 1))
                ], r.body
            r = c.request("/a.txt", fields={"Range": "bytes=0-4,100000-"})
            assert r.status == 206 and TEXT[:5] in r.body, "what can be served is: %r" % r
            # A handful of bytes must not buy a multiple of the file.
            r = c.request("/b.bin", fields={"Range": "bytes=" + ",".join(["0-"] * 100)})
            assert r.status in (200, 206, 416) and len(r.body) < 2 * len(data), (r, len(r.body))
            r = c.request(
                "/b.bin",
                fields={"Range": "bytes=" + ",".join("%d-%d" % (i, i) for i in range(1000))},
            )
            assert r.status in (200, 206, 416) and len(r.body) < 2 * len(data), (r, len(r.body))


def test_if_range():
    with Server() as s:
        path = s.write("a.txt", TEXT)
        os.utime(path, (1000000000, 1000000000))
        with Client(s) as c:
            r = c.request("/a.txt")
            tag, date = r.get("etag"), r.get("last-modified")
            assert date == "Sun, 09 Sep 2001 01:46:40 GMT", date
            for condition, status in (
                (tag, 206),
                ('"other"', 200),
                ("W/" + tag, 200),
                (date, 206),
                ("Sun, 09 Sep 2001 01:46:39 GMT", 200),
                ("Sun, 09 Sep 2001 01:46:41 GMT", 200),
                ("nonsense", 200),
            ):
                r = c.request("/a.txt", fields={"Range": "bytes=0-4", "If-Range": condition})
                assert r.status == status, (condition, r)
                assert r.body == (TEXT[:5] if status == 206 else TEXT)


def test_conditions():
    with Server() as s:
        path = s.write("a.txt", TEXT)
        os.utime(path, (1000000000, 1000000000))
        date, before, after = ("Sun, 09 Sep 2001 01:46:%02d GMT" % sec for sec in (40, 39, 41))
        with Client(s) as c:
            tag = c.request("/a.txt").get("etag")
            table = [
                ({"If-None-Match": tag}, 304),
                ({"If-None-Match": "*"}, 304),
                ({"If-None-Match": "W/" + tag}, 304),
                ({"If-None-Match": '"x", %s' % tag}, 304),
                ({"If-None-Match": '"x"'}, 200),
                ({"If-None-Match": '"x,y", "%s"' % tag.strip('"')[:-1]}, 200),
                ({"If-Modified-Since": date}, 304),
                ({"If-Modified-Since": after}, 304),
                ({"If-Modified-Since": before}, 200),
                ({"If-Modified-Since": "yesterday"}, 200),
                ({"If-Modified-Since": "Sunday, 09-Sep-01 01:46:40 GMT"}, 304),
                ({"If-Modified-Since": "Sun Sep  9 01:46:40 2001"}, 304),
                ({"If-None-Match": '"x"', "If-Modified-Since": date}, 200),
                ({"If-None-Match": tag, "If-Modified-Since": before}, 304),
                ({"If-Match": tag}, 200),
                ({"If-Match": "*"}, 200),
                ({"If-Match": '"x"'}, 412),
                ({"If-Match": "W/" + tag}, 412),
                ({"If-Match": '"x", %s' % tag}, 200),
                ({"If-Unmodified-Since": date}, 200),
                ({"If-Unmodified-Since": before}, 412),
                ({"If-Match": tag, "If-Unmodified-Since": before}, 200),
                ({"If-Match": tag, "If-None-Match": tag}, 304),
                ({"If-None-Match": tag, "Range": "bytes=0-4"}, 304),
                ({"If-Match": '"x"', "Range": "bytes=0-4"}, 412),
            ]
            for fields, status in table:
                for method in ("GET", "HEAD"):
                    r = c.request("/a.txt", method, fields)
                    assert r.status == status, (method, fields, r)
                    if status == 304:
                        assert r.get("etag") == tag and r.get("date"), r.fields


def test_nothing_from_outside():
    www = tempfile.mkdtemp(prefix="sluice-e2e-www-")
    try:
        os.chmod(www, 0o755)
        nothing_from_outside(www)
    finally:
        shutil.rmtree(www)


def nothing_from_outside(top):
    os.makedirs(os.path.join(top, "www/sub"))
    with Server(
        www=os.path.join(top, "www"),
        routes={
            "/": {"files": "@WWW@"},
            "/pre/": {"files": "@WWW@/sub"},
            "/links/": {"files": "@WWW@", "symlinks": True},
        },
    ) as s:
        secret = b"the secret of the folder above"
        with open(os.path.join(top, "secret.txt"), "wb") as f:
            f.write(secret)
        s.write("sub/in.txt", "inside")
        s.write("in.txt", "inside")
        os.symlink("../secret.txt", os.path.join(s.www, "out.txt"))
        os.symlink(os.path.join(top, "secret.txt"), os.path.join(s.www, "abs.txt"))
        os.symlink("..", os.path.join(s.www, "up"))
        os.symlink("/", os.path.join(s.www, "root"))
        os.symlink("in.txt", os.path.join(s.www, "link.txt"))
        os.symlink("../in.txt", os.path.join(s.www, "sub", "back.txt"))
        os.symlink("loop", os.path.join(s.www, "loop"))
        ups = (
            "..",
            "%2e%2e",
            "%2E.",
            ".%2e",
            "..%00",
            "%252e%252e",
            "%c0%ae%c0%ae",
            "..;",
            "..%20",
            "..\\",
            "%2e%2e%5c",
            "..%5c",
            "....",
            "....//..",
            "\uff0e\uff0e".encode().decode("latin-1"),
            "..%c0%af",
        )
        slashes = ("/", "%2f", "%2F", "\\", "%5c", "//", "/./", "%252f", "%c0%af")
        targets = ["/" + up + slash + "secret.txt" for up in ups for slash in slashes]
        targets += (
            ["/sub" + t for t in targets]
            + ["/sub/.." + t for t in targets]
            + ["/pre" + t for t in targets]
        )
        targets += [
            "/pre/../in.txt/../../secret.txt",
            "/out.txt",
            "/abs.txt",
            "/up/secret.txt",
            "/root" + top + "/secret.txt",
            "//" + top + "/secret.txt",
            "/file:///etc/passwd",
            "/pre" + top + "/secret.txt",
            "http://test/../secret.txt",
            "/loop",
            "/up/www/in.txt/../../secret.txt",
        ]
        address = s.address()
        for target in targets:
            with Client(address) as c:
                r = c.request(target)
                assert r.status in (400, 403, 404), (target, r)
                assert secret not in r.body and b"root:" not in r.body, target
        assert get(address, "/link.txt").body == b"inside", "a link that stays inside"
        assert (
            get(address, "/sub/back.txt").body == b"inside"
        ), "a link that goes up and stays inside"
        assert get(address, "/pre/back.txt").status in (403, 404), "outside the root of this route"
        assert get(address, "/links/out.txt").body == secret, "links are allowed on this route"
        assert get(address, "/pre/in.txt").body == b"inside"
        s.assert_no_worker_died()


def test_special_files_do_not_hold_a_worker():
    with Server(workers=1) as s:
        os.mkfifo(os.path.join(s.www, "fifo"))
        with socket.socket(socket.AF_UNIX) as u:
            u.bind(os.path.join(s.www, "sock"))
        names = ["fifo", "sock"]
        if IS_ROOT:
            path = s.write("private.txt", "x")
            os.chmod(path, 0o600)
            names.append("private.txt")
            try:
                os.mknod(os.path.join(s.www, "zero"), 0o666 | stat.S_IFCHR, os.makedev(1, 5))
                names.append("zero")
            except OSError:
                pass
        for name in names:
            for turn in range(2):
                r = get(s.address(), "/" + name)
                assert r.status in (403, 404), (name, r)


def test_names():
    with Server() as s:
        names = {
            "a b.txt": "/a%20b.txt",
            "\u00e9t\u00e9.txt": "/%C3%A9t%C3%A9.txt",
            "a+b.txt": "/a+b.txt",
            "100%.txt": "/100%25.txt",
            "q?.txt": "/q%3F.txt",
            "h#.txt": "/h%23.txt",
            "tab\t.txt": "/tab%09.txt",
            "nl\n.txt": "/nl%0A.txt",
            "'\"<>&.txt": "/%27%22%3C%3E%26.txt",
            "x" * 255: "/" + "x" * 255,
            "back\\slash": "/back%5Cslash",
            "co:lon": "/co:lon",
            "\u65e5\u672c": "/%E6%97%A5%E6%9C%AC",
        }
        for name in names:
            s.write(name, name)
        for name, target in names.items():
            r = get(s.address(), target)
            assert r.status == 200 and r.body == name.encode(), (name, r)
        assert get(s.address(), "/" + "x" * 256).status in (404, 414)
        assert get(s.address(), "/" + "d/" * 1000).status in (404, 414)
        assert get(s.address(), "/A%20B.txt").status == 404, "names compare by byte"


def test_hidden_files():
    with Server(routes={"/": {"files": "@WWW@"}, "/all/": {"files": "@WWW@", "hidden": True}}) as s:
        for name in (".htpasswd", ".git/config", "sub/.env", ".well-known/security.txt"):
            s.write(name, "x")
            is_open = name.startswith(".well-known")
            assert get(s.address(), "/" + name).status == (200 if is_open else 404), name
            assert get(s.address(), "/all/" + name).status == 200, name


def test_types():
    table = {
        "a.html": "text/html; charset=utf-8",
        "a.HTML": "text/html; charset=utf-8",
        "a.css": "text/css; charset=utf-8",
        "a.png": "image/png",
        "a.jpg": "image/jpeg",
        "a.svg": "image/svg+xml",
        "a.json": "application/json",
        "a.txt": "text/plain; charset=utf-8",
        "a.wasm": "application/wasm",
        "a.pdf": "application/pdf",
        "a.unknown-thing": "application/octet-stream",
        "README": "application/octet-stream",
        "a.tar.gz": "application/gzip",
        "a.woff2": "font/woff2",
        "a.mp4": "video/mp4",
    }
    with Server() as s:
        for name, kind in table.items():
            s.write(name, "x")
            r = get(s.address(), "/" + name)
            assert r.get("content-type").split(";")[0] == kind.split(";")[0], (name, r.fields)
            assert not kind.startswith("text/") or r.get("content-type") == kind, (name, r.fields)
        s.write("a.js", "x")
        assert get(s.address(), "/a.js").get("content-type") in (
            "text/javascript; charset=utf-8",
            "application/javascript",
            "application/javascript; charset=utf-8",
        )


def test_precompressed_siblings():
    with Server(
        routes={"/": {"files": "@WWW@", "precompressed": True}, "/plain/": {"files": "@WWW@"}}
    ) as s:
        plain = s.write("a.css", b"body{}" * 1000)
        packed = gzip.compress(b"body{}" * 1000)
        s.write("a.css.gz", packed)
        s.write("a.css.br", b"brotli")
        s.write("a.css.zst", b"zstd")
        s.write("old.css", "new")
        os.utime(s.write("old.css.gz", gzip.compress(b"old")), (1, 1))
        address = s.address()
        etags = set()
        for accept, coding, body in (
            (None, None, b"body{}" * 1000),
            ("gzip", "gzip", packed),
            ("br", "br", b"brotli"),
            ("zstd", "zstd", b"zstd"),
            ("GZIP", "gzip", packed),
            ("gzip;q=0", None, b"body{}" * 1000),
            ("gzip;q=0, br", "br", b"brotli"),
            ("identity", None, b"body{}" * 1000),
            ("gzip;q=0.5, br;q=0.4, zstd;q=0", "gzip", packed),
            ("deflate", None, b"body{}" * 1000),
            ("xgzip", None, b"body{}" * 1000),
        ):
            fields = {} if accept is None else {"Accept-Encoding": accept}
            r = get(address, "/a.css", fields)
            assert r.status == 200 and r.get("content-encoding") == coding and r.body == body, (
                accept,
                r,
                r.fields,
            )
            assert "accept-encoding" in r.tokens("vary"), r.fields
            assert r.get("content-type").startswith("text/css"), r.fields
            etags.add((coding, r.get("etag")))
        assert len(etags) == 4 and len({e for _, e in etags}) == 4, (
            "each coding has its own ETag: %s" % etags
        )
        r = get(address, "/a.css", {"Accept-Encoding": "*"})
        assert r.status == 200 and r.get("content-encoding") in ("br", "zstd", "gzip", None)
        r = get(address, "/old.css", {"Accept-Encoding": "gzip"})
        assert r.get("content-encoding") is None and r.body == b"new", (
            "an older sibling is stale: %r" % r.fields
        )
        r = get(address, "/plain/a.css", {"Accept-Encoding": "gzip"})
        assert r.get("content-encoding") is None, "not asked for on this route"
        assert os.path.exists(plain)


def test_big_file_through_a_slow_reader():
    with Server(workers=1) as s:
        data = big_pattern(20 << 20)
        s.write("big.bin", data)
        s.write("small", "small")
        wanted = hashlib.sha256(data).hexdigest()
        address = s.address()
        with Client(address, rcvbuf=262144) as c:
            c.send(request("/big.bin", fields={"Connection": "close"}))
            while b"\r\n\r\n" not in c.data:
                assert c.fill()
            head, rest = c.data.split(b"\r\n\r\n", 1)
            assert b" 200 OK" in head
            digest, count = hashlib.sha256(rest), len(rest)
            while True:
                piece = c.sock.recv(9000)
                if not piece:
                    break
                digest.update(piece)
                count += len(piece)
                if count % 50 == 0:  # others are served meanwhile, by the same worker
                    assert get(address, "/small").body == b"small"
            assert count == len(data) and digest.hexdigest() == wanted, count
        with Client(address) as c:
            assert hashlib.sha256(c.request("/big.bin").body).hexdigest() == wanted
            r = c.request("/big.bin", fields={"Range": "bytes=13333333-20444444"})
            assert r.status == 206 and r.body == data[13333333:20444445]


def test_many_at_once():
    with Server() as s:
        files = [pattern(200000 + i, i) for i in range(20)]
        for i, data in enumerate(files):
            s.write("f%d" % i, data)
        clients = [Client(s.address()) for _ in range(200)]
        got = [b""] * len(clients)
        with selectors.DefaultSelector() as sel:
            for i, c in enumerate(clients):
                c.send(request("/f%d" % (i % 20), fields={"Connection": "close"}))
                c.sock.setblocking(False)
                sel.register(c.sock, selectors.EVENT_READ, i)
            while sel.get_map():
                ready = sel.select(10)
                assert ready, "nothing more arrives"
                for key, _ in ready:
                    piece = key.fileobj.recv(65536)
                    got[key.data] += piece
                    if not piece:
                        sel.unregister(key.fileobj)
                        key.fileobj.close()
        for i, data in enumerate(got):
            head, _, body = data.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ") and body == files[i % 20], (
                i,
                head[:100],
                len(body),
            )
        s.wait_live(0)


def test_changed_replaced_and_removed():
    with Server(workers=1, files_cache={"valid": "20ms"}) as s:
        path = s.write("a.txt", "first")
        address = s.address()
        first = get(address, "/a.txt")
        assert first.body == b"first"
        s.write("b.txt", "replaced")
        os.rename(os.path.join(s.www, "b.txt"), path)
        wait_for(lambda: get(address, "/a.txt").body == b"replaced", "the replaced file is seen")
        r = get(address, "/a.txt", {"If-None-Match": first.get("etag")})
        assert r.status == 200, "another file has another ETag"
        with open(path, "w") as f:
            f.write("written in place, and longer")
        wait_for(
            lambda: get(address, "/a.txt").body == b"written in place, and longer",
            "the written file is seen",
        )
        os.unlink(path)
        wait_for(lambda: get(address, "/a.txt").status == 404, "the removed file is gone")
        s.write("a.txt", "again")
        wait_for(lambda: get(address, "/a.txt").body == b"again", "the new file is there")


def test_file_cut_while_it_is_sent():
    with Server(workers=1) as s:
        path = s.write("big.bin", big_pattern(32 << 20))
        with Client(s, rcvbuf=32768) as c:
            c.send(request("/big.bin"))
            c.take(10000)
            os.truncate(path, 100000)
            count = 10000
            while c.fill():
                count += len(c.data)
                c.data = b""
            assert count < 32 << 20, "the end of the stream tells that something is missing"
        s.wait_live(0)
        s.assert_no_worker_died()
        assert get(s.address(), "/hello").status == 200


def test_listing():
    with Server(routes={"/": {"files": "@WWW@", "listing": True}}) as s:
        for name in ("plain.txt", "<script>alert(1)<", "a&b\"c'd", "sp ace", "q?h#p%", ".hidden"):
            s.write("d/" + name, "x")
        s.write("d/sub/x", "x")
        r = get(s.address(), "/d/")
        assert r.status == 200 and r.get("content-type") == "text/html; charset=utf-8", r.fields
        page = r.body.decode()
        assert "<script>" not in page and "hidden" not in page, page
        links = re.findall(r'href="([^"]*)"', page)
        served = 0
        for link in links:
            if link.startswith("..") or link.startswith("?") or link == "/":
                continue
            target = (
                link
                if link.startswith("/")
                else "/d/" + (link[2:] if link.startswith("./") else link)
            )
            r = get(s.address(), target)
            served += r.status in (200, 403)
        assert served == 6, (served, links)


def test_redirect_and_respond_routes():
    routes = {
        "/": {"files": "@WWW@"},
        "/old/": {"redirect": "https://new.example$uri", "status": 301},
        "/gone": {"respond": "it is gone", "status": 410},
        "/json": {"respond": "{}", "type": "application/json"},
    }
    with Server(routes=routes) as s:
        r = get(s.address(), "/old/x%20y?a=b")
        assert (
            r.status == 301 and r.get("location") == "https://new.example/old/x%20y?a=b"
        ), r.fields
        r = get(s.address(), "/old/%0d%0aX-Evil:%20y")
        assert r.get("x-evil") is None
        r = get(s.address(), "/gone")
        assert (r.status, r.body) == (410, b"it is gone")
        r = get(s.address(), "/json")
        assert r.get("content-type") == "application/json" and r.body == b"{}", r.fields
        assert get(s.address(), "/gonex").status == 404, "a prefix ends at a segment"
        assert get(s.address(), "/gone/x").status == 410


def test_sites():
    sites = {
        "a.example": {"/": {"respond": "a"}},
        "*.example": {"/": {"respond": "wild"}},
        "*.b.example": {"/": {"respond": "wild b"}},
        "*": {"/": {"respond": "default"}},
    }
    with Server(sites=sites) as s:
        for host, body in (
            ("a.example", "a"),
            ("A.EXAMPLE:80", "a"),
            ("a.example.", "a"),
            ("x.example", "wild"),
            ("x.b.example", "wild b"),
            ("x.y.b.example", "wild b"),
            ("b.example", "wild"),
            ("example", "default"),
            ("127.0.0.1", "default"),
            ("[::1]", "default"),
        ):
            r = get(s.address(), "/", host=host)
            assert r.body.decode() == body, (host, r.body)


if __name__ == "__main__":
    main(__name__)
