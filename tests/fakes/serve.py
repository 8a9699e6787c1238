"""Answers 200 on every path of a port, after a delay in seconds; ends on SIGTERM."""

import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

time.sleep(float(sys.argv[2]) if len(sys.argv) > 2 else 0)


class Yes(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()


HTTPServer(("127.0.0.1", int(sys.argv[1])), Yes).serve_forever()
