"""Stands in for the API behind Envoy: tells who it was called by, as keygate told it."""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Api(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        told = self.headers.get
        who = f"{told('x-auth-account')} for {told('x-auth-target-account')}, {told('x-auth-environment')}"
        # No key of a client ever comes here; a provider's credential does, where the realm has one.
        credential = told("authorization")
        bearing = f", with {credential}" if credential else ""
        body = f"{self.command} {self.path} by {who}{bearing}".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        # An answer to HEAD has the length of the body and no body: what came behind would be taken for the next answer.
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = answer

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Api).serve_forever()
