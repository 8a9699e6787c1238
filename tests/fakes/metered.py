"""A server that tells figures like vLLM: PORT [SLOW_S]. Every look finds one more answer.

With SLOW_S its figures take so long to come. `POST /reset` makes its counters start over.
"""

import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAGE = """# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{{engine="0",model_name="m"}} 2.0
vllm:num_requests_running{{engine="1",model_name="m"}} 3.0
vllm:kv_cache_usage_perc{{engine="0",model_name="m"}} 0.25
vllm:kv_cache_usage_perc{{engine="1",model_name="m"}} 0.5
vllm:generation_tokens_total{{engine="0",model_name="m"}} {tokens}
vllm:request_success_total{{engine="0",finished_reason="stop",model_name="m"}} {answers}
vllm:time_to_first_token_seconds_bucket{{engine="0",le="0.1",model_name="m"}} 0.0
vllm:time_to_first_token_seconds_bucket{{engine="0",le="0.25",model_name="m"}} {answers}
vllm:time_to_first_token_seconds_bucket{{engine="0",le="+Inf",model_name="m"}} {answers}
vllm:iteration_tokens_total_bucket{{engine="0",le="1.0",model_name="m"}} 7.0
python_gc_objects_collected_total{{generation="0"}} 4242.0
"""
slow = float(sys.argv[2]) if len(sys.argv) > 2 else 0
answers = [0]
lock = threading.Lock()


class Metered(BaseHTTPRequestHandler):
    def do_GET(self):
        text = ""
        if self.path == "/metrics":
            time.sleep(slow)
            with lock:
                answers[0] += 1
                text = PAGE.format(tokens=10.0 * answers[0], answers=float(answers[0]))
        self.send_response(200)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def do_POST(self):
        answers[0] = 0
        self.send_response(200)
        self.end_headers()


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Metered).serve_forever()
