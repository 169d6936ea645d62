"""Real node processes for tests: `python -m proxy` on ports that the system chooses, an origin in a thread."""

import contextlib
import http.client
import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import msgspec
import psutil

from contract.messages import Ready, Report

MANAGED = "drills/rulesets/managed.yaml"
BAD = "drills/rulesets/managed-2019-07-02.yaml"
CULPRIT = "waf-xss-2019-07-02"
#: No `=` in it: the text on which the 2019 pattern backtracks for longer than any deadline.
DANGEROUS = json.dumps([{"id": number, "name": f"item {number}"} for number in range(220)]).encode()


def until(condition, what, within_s=5.0):
    """The first true value of `condition()`, or a failure that names `what`."""
    deadline = time.monotonic() + within_s
    while True:
        if value := condition():
            return value
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        time.sleep(0.01)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.paths.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    do_POST = do_GET

    def log_message(self, *_):
        pass


class ThreadedOrigin:
    """Answers everything with 200 `hello`; `paths` is what was asked."""

    def __init__(self):
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self.paths = self._server.paths = []
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def run(*flags, timeout_s=10.0):
    """A node that is expected not to start. Returns (exit code, stderr)."""
    done = subprocess.run(
        [sys.executable, "-m", "proxy", *flags], capture_output=True, text=True, timeout=timeout_s
    )
    return done.returncode, done.stderr


class NodeProcess:
    """One running node. `stop` checks that it ended in good order and left no process behind."""

    def __init__(self, *flags, env=None, name="ams-1"):
        read_end, write_end = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "proxy", "--name", name, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0",
             "--ready-fd", str(write_end), *flags],
            pass_fds=[write_end],
            stderr=subprocess.PIPE,
            env={**os.environ, **(env or {})},
        )  # fmt: skip
        os.close(write_end)
        with open(read_end, "rb") as pipe:
            line = pipe.read()  # to its end: nobody may keep the descriptor
        if not line:
            _, errors = self._process.communicate()
            raise AssertionError(f"the node did not start: {errors.decode()}")
        self.ready = msgspec.json.decode(line, type=Ready)
        assert self.ready.pid == self._process.pid
        self.pid = self.ready.pid
        self.edge = urlsplit(self.ready.urls["edge"])
        self.admin = urlsplit(self.ready.urls["admin"])
        self.family = psutil.Process(self.pid).children(recursive=True)

    @property
    def descendants(self):
        """Forkserver and inspectors, of every generation seen so far, that still run."""
        with contextlib.suppress(psutil.NoSuchProcess):
            known = {process.pid for process in self.family}
            self.family += [
                process
                for process in psutil.Process(self.pid).children(recursive=True)
                if process.pid not in known
            ]
        return [process for process in self.family if _runs(process)]

    def ask(self, path="/", body=None, headers=(), timeout_s=10.0, method=None):
        """One request through the edge on a connection of its own: (status, headers, body)."""
        connection = http.client.HTTPConnection(self.edge.hostname, self.edge.port, timeout=timeout_s)
        try:
            connection.request(
                method or ("POST" if body else "GET"), path, body, {"Host": "shop.example", **dict(headers)}
            )
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def admin_ask(self, path, body=None, headers=(), timeout_s=5.0):
        connection = http.client.HTTPConnection(self.admin.hostname, self.admin.port, timeout=timeout_s)
        try:
            connection.request("POST" if body else "GET", path, body, dict(headers))
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def status(self):
        status, body = self.admin_ask("/status")
        assert status == 200
        return msgspec.json.decode(body, type=Report)

    def kill(self):
        """As a crash would: nothing is cleaned up."""
        self.descendants  # noqa: B018 - noted while its parent lives
        self._process.kill()
        self._process.wait()
        self._process.stderr.close()

    def stop(self):
        """SIGTERM. Returns (seconds until the end, stderr)."""
        if self._process.poll() is not None:
            raise AssertionError(f"ended by itself: {self._process.communicate()[1].decode()}")
        family = self.descendants
        started = time.monotonic()
        self._process.terminate()
        try:
            _, errors = self._process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("did not end within 5 s of SIGTERM") from None
        took_s = time.monotonic() - started
        assert self._process.returncode == 0, errors.decode()
        until(lambda: not any(_runs(process) for process in family), "its inspectors end too")
        return took_s, errors.decode()


def _runs(process):
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False
