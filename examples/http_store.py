#!/usr/bin/env python3
"""A store of sessions behind HTTP, as a whole: MCP_STORE=http://127.0.0.1:7420/sessions. In memory, to be put before a database.

GET    the value with its ETag, or 404
PUT    keeps it for Cache-Control: max-age=SECONDS, if If-Match names the present ETag, or If-None-Match: * and there is none; else 412
"""
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

kept, lock = {}, threading.Lock()  # path -> (number of the version, value, when its time is up)


class Store(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer in one piece
    disable_nagle_algorithm = True

    def present(self):
        version, value, until = kept.get(self.path, (None, None, 0))
        return (version, value) if until > time.monotonic() else (None, None)

    def do_GET(self):
        with lock:
            version, value = self.present()
        self.answer(404) if version is None else self.answer(200, version, value)

    def do_PUT(self):
        value = self.rfile.read(int(self.headers["Content-Length"]))
        seconds = int(self.headers["Cache-Control"].split("=")[1])
        with lock:
            version, _ = self.present()
            if self.headers.get("If-Match", f'"{version}"') != f'"{version}"' or ("If-None-Match" in self.headers and version is not None):
                return self.answer(412)
            version = time.time_ns()  # never given out again, also after a restart
            kept[self.path] = (version, value, time.monotonic() + seconds)
        self.answer(204, version)

    def answer(self, status, version=None, value=b""):
        self.send_response(status)  # with Date, by which the servers know the store's time
        if version is not None:
            self.send_header("ETag", f'"{version}"')
        if status != 204:
            self.send_header("Content-Length", str(len(value)))
        self.end_headers()
        self.wfile.write(value)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 7420), Store).serve_forever()
