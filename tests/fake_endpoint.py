"""An OpenAI-compatible HTTP server inside the test, which answers or misbehaves as told."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

# a chat completion, a raw body, an HTTP error (and its body), or "cut" (half an answer)
Reply = dict | bytes | int | tuple[int, dict] | str


def chat(text: str, finish_reason: str = "stop") -> dict[str, Any]:
    """A chat completion of 10 prompt and 5 completion tokens."""
    return {
        "id": "x",
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": finish_reason,
            }
        ],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }


def echo(request: dict) -> Reply:
    return chat(f"echo {request['messages'][-1]['content']}")


def killed(server: "FakeServer", script: str, path: Path) -> int:
    """Kill a process that runs `script` with the server's address and `path`, after a dozen of its requests;
    how many it sent."""
    command = [sys.executable, "-c", script, server.url, str(path)]
    child = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(server.requests) < 12 and time.monotonic() < deadline:
        time.sleep(0.005)
    child.kill()
    assert child.wait() == -signal.SIGKILL
    assert 12 <= len(server.requests) < 40
    return len(server.requests)


class FakeServer:
    """Serves `models` at `url`. Replies come from `script` until it is empty, then from `answer(request)`.
    Keeps what it was sent in `requests`, `paths` and `keys`."""

    def __init__(self) -> None:
        self.answer: Callable[[dict], Reply] = echo
        self.script: list[Reply] = []
        self.models = ["tiny"]
        self.listed = 200  # status of the list of models
        self.requests: list[dict] = []
        self.paths: list[str] = []
        self.keys: list[str] = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> "FakeServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def reply(self, request: dict) -> Reply:
        with self._lock:
            self.requests.append(request)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            scripted = self.script.pop(0) if self.script else None
        try:
            if request["model"] not in self.models:
                return 404
            return self.answer(request) if scripted is None else scripted
        finally:
            with self._lock:
                self._at_once -= 1


def _handler(fake: FakeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._note()
            known = self.path == "/v1/models"
            listed = {"object": "list", "data": [{"id": m, "object": "model"} for m in fake.models]}
            self._send(listed if known and fake.listed == 200 else fake.listed if known else 404)

        def do_POST(self) -> None:
            self._note()
            request = json.loads(self.rfile.read(int(self.headers["content-length"])))
            self._send(fake.reply(request) if self.path == "/v1/chat/completions" else 404)

        def _note(self) -> None:
            fake.paths.append(self.path)
            fake.keys.append(self.headers["authorization"])

        def _send(self, reply: Reply) -> None:
            if isinstance(reply, int):
                reply = (reply, {"detail": f"a scripted {reply}"})  # as FastAPI has it
            status, reply = reply if isinstance(reply, tuple) else (200, reply)
            cut = reply == "cut"
            body = b'{"choi' if cut else reply if isinstance(reply, bytes) else json.dumps(reply).encode()
            try:
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body) + 100 * cut))
                self.end_headers()
                self.wfile.write(body)
            except (BrokenPipeError, ConnectionResetError):  # the client left: timeout, kill
                cut = True
            self.close_connection = self.close_connection or cut

        def log_message(self, *_: object) -> None:
            pass

    return Handler
