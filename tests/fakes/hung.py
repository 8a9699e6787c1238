"""A chat server that takes adapters while it runs, in vLLM's words: PORT."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

hung = {}


class Hung(BaseHTTPRequestHandler):
    def do_GET(self):
        rows = [{"id": "base", "root": "/base", "parent": None}]
        rows += [{"id": name, "root": path, "parent": "base"} for name, path in hung.items()]
        self.reply(json.dumps({"object": "list", "data": rows}))

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/v1/load_lora_adapter":
            hung[body["lora_name"]] = body["lora_path"]
        else:
            del hung[body["lora_name"]]
        self.reply("Success")

    def reply(self, text):
        self.send_response(200)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Hung).serve_forever()
