# SPDX-License-Identifier: MIT
"""Other people's servers as back ends of the proxy: nginx, HAProxy, Node, python3 -m http.server, gunicorn.

Each runs in a folder of its own, in the foreground, until it is left.  seen() of those that keep a log gives what they
parsed, one Seen for each request.  One that is not installed skips the test, aloud.
"""
import contextlib
import json
import os
import shutil
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading

from harness import Skip, need_tool, wait_for


class Seen:
    """A request as another server parsed it; `line` without the version."""

    def __init__(self, line, status, length=None, content=None):
        self.line, self.status, self.length, self.content = line, status, length, content

    def __repr__(self):
        return "<%s: %s>" % (self.line[:80], self.status)


def free_port(host="127.0.0.1"):
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as s:
        s.bind((host, 0))
        return s.getsockname()[1]


class Peer:
    """Starts command() in self.dir and waits until self.port accepts."""

    name = "?"

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="sluice-peer-")
        os.chmod(self.dir, 0o755)
        self.port = free_port()
        self.address = ("127.0.0.1", self.port)
        self.server = "127.0.0.1:%d" % self.port
        self.proc = None

    def write(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, "wb") as f:
            f.write(text.encode() if isinstance(text, str) else text)
        return path

    def output(self):
        with open(os.path.join(self.dir, "output"), errors="replace") as f:
            return f.read()

    def answers(self):
        if self.proc.poll() is not None:
            raise AssertionError("%s left with %s:\n%s" % (self.name, self.proc.returncode, self.output()))
        with contextlib.suppress(OSError), socket.create_connection(self.address, 1):
            return True
        return False

    def __enter__(self):
        try:
            command = self.command()
            with open(os.path.join(self.dir, "output"), "wb") as out:
                self.proc = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd=self.dir,
                                             start_new_session=True)
            wait_for(self.answers, "%s serves" % self.name)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *args):
        self.stop()

    def stop(self):
        """Its whole group, since it may have processes of its own; none of them has anything to save."""
        if self.proc is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.proc.pid, signal.SIGKILL)
            self.proc.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


class Nginx(Peer):
    """Two servers: the outer one reads the whole request before it asks the inner one, and logs content and all."""

    name = "nginx"
    CONF = """
daemon off; master_process off; pid nginx.pid; error_log stderr emerg; worker_processes 1;
events { worker_connections 512; }
http {
	log_format seen escape=json '{"line":"$request","status":$status,"content":"$request_body"}';
	access_log off; client_body_buffer_size 4m; client_max_body_size 0; large_client_header_buffers 8 64k;
	keepalive_timeout 60s; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
	uwsgi_temp_path uwsgi; scgi_temp_path scgi; merge_slashes off; ignore_invalid_headers on; proxy_max_temp_file_size 0;
	server {
		listen 127.0.0.1:@PORT@ backlog=511;
		access_log seen.log seen;
		location / { proxy_pass http://unix:@DIR@/inner.sock; }
		location /file/ { alias @DIR@/; }
	}
	server { listen unix:@DIR@/inner.sock; location / { return 200 "$request_uri"; } }
}
"""

    def command(self):
        path = need_tool("nginx")
        text = self.CONF.replace("@PORT@", str(self.port)).replace("@DIR@", self.dir)
        return [path, "-p", self.dir, "-c", self.write("nginx.conf", text), "-e", "stderr"]

    def seen(self):
        out = []
        with contextlib.suppress(FileNotFoundError), open(os.path.join(self.dir, "seen.log"), "rb") as f:
            for text in f.read().split(b"\n")[:-1]:
                entry = json.loads(text.decode("latin-1"), strict=False)
                line = entry["line"].rsplit(" ", 1)[0]
                out.append(Seen(line, entry["status"], len(entry["content"]), entry["content"].encode("latin-1")))
        return out


class Haproxy(Peer):
    """Answers by itself once it has the whole request; logs to a datagram socket of ours."""

    name = "haproxy"
    CONF = """
global
	log @LOG@ len 8192 format raw local0
	tune.bufsize 140000
	nbthread 1
defaults
	mode http
	timeout client 60s
	timeout http-request 20s
	timeout http-keep-alive 60s
	log global
	option dontlognull
	log-format "%ST %[var(txn.len)] %[var(txn.sum)] %r"
frontend f
	bind 127.0.0.1:@PORT@
	option http-buffer-request
	http-request set-var(txn.len) req.body_len
	http-request set-var(txn.sum) req.body,crc32
	http-request return status 200 content-type text/plain lf-string "%[url]"
"""

    def command(self):
        path = need_tool("haproxy")
        # UDP: the kernel's queue of a Unix socket is ten datagrams short, and what finds it full is lost.
        self.log = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.log.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.log.bind(("127.0.0.1", 0))
        self.entries = []
        threading.Thread(target=self.read_log, daemon=True).start()
        text = self.CONF.replace("@PORT@", str(self.port)).replace("@LOG@", "%s:%d" % self.log.getsockname())
        return [path, "-db", "-f", self.write("haproxy.cfg", text)]

    def read_log(self):
        with contextlib.suppress(OSError):
            while True:
                text = self.log.recv(65536).decode("latin-1").strip("\n\0")
                if not text:
                    return
                status, length, crc, line = text.split(" ", 3)
                # It writes some bytes as "#23"; what it could not read at all is <BADREQ>.
                line = re.sub("#([0-9A-F]{2})", lambda m: chr(int(m.group(1), 16)), line.rsplit(" HTTP/", 1)[0])
                self.entries.append(Seen("" if line == "<BADREQ>" else line, int(status),
                                         int(length) if length.isdigit() else None,
                                         int(crc) if crc.isdigit() else None))

    def seen(self):
        return list(self.entries)

    def stop(self):
        super().stop()
        if getattr(self, "log", None):
            with contextlib.suppress(OSError):
                self.log.shutdown(socket.SHUT_RDWR)
            self.log.close()


class PythonServer(Peer):
    """python3 -m http.server: HTTP/1.0, closes behind every answer."""

    name = "http.server"

    def command(self):
        return [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "-d", self.dir, str(self.port)]


class Node(Peer):
    name = "node"
    CODE = r"""
const http = require('http'), crypto = require('crypto');
const server = http.createServer((req, res) => {
	const url = new URL(req.url, 'http://x');
	if (url.pathname === '/sse') {
		res.writeHead(200, {'Content-Type': 'text/event-stream'});
		let n = 0;
		const timer = setInterval(() => {
			res.write(`data: event ${n++}\n\n`);
			if (n === 4) { clearInterval(timer); res.end(); }
		}, 60);
	} else if (url.pathname === '/chunks') {
		for (let i = 0; i < 1000; i++) res.write(`chunk ${i}\n`);
		res.addTrailers({'X-Sum': '1'});
		res.end();
	} else if (url.pathname === '/hints') {
		res.writeEarlyHints({link: '</style.css>; rel=preload'});
		res.end('hinted');
	} else {
		const hash = crypto.createHash('sha256');
		let size = 0;
		req.on('data', (piece) => { hash.update(piece); size += piece.length; });
		req.on('end', () => res.end(JSON.stringify({
			method: req.method, url: req.url, headers: req.headers, sha256: hash.digest('hex'), size,
			trailers: req.trailers})));
	}
});
server.on('upgrade', (req, socket, head) => {
	socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n');
	if (head.length) socket.write(head);
	socket.pipe(socket);
});
server.listen(Number(process.argv[2]), '127.0.0.1');
"""

    def command(self):
        return [need_tool("node"), self.write("server.js", self.CODE), str(self.port)]


class Gunicorn(Peer):
    name = "gunicorn"
    CODE = """
import hashlib, json
def app(environ, start_response):
    if environ['PATH_INFO'] == '/stream':
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return (b'part %d\\n' % i for i in range(500))
    body = environ['wsgi.input'].read()
    text = json.dumps({'method': environ['REQUEST_METHOD'], 'url': environ['RAW_URI'], 'size': len(body),
                       'sha256': hashlib.sha256(body).hexdigest(), 'peer': environ.get('HTTP_X_FORWARDED_FOR'),
                       'host': environ.get('HTTP_HOST')}).encode()
    start_response('200 OK', [('Content-Type', 'application/json'), ('Content-Length', str(len(text)))])
    return [text]
"""

    def command(self):
        path = shutil.which("gunicorn")
        if not path:
            raise Skip("needs the program gunicorn")
        self.write("app.py", self.CODE)
        return [path, "-b", self.server, "-w", "1", "--threads", "2", "-k", "gthread", "app:app"]
