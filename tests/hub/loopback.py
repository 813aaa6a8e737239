"""A server on this machine that misbehaves on demand, and a hub made of it."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_sum(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass(frozen=True)
class Seen:
    """A request as it came."""

    method: str
    path: str
    range: str


@dataclass
class Loopback:
    """What the server has and does.

    Attributes
    ----------
    files
        Path to content.
    todo
        Path to what becomes of the next requests for it, one after the other; then it is served as it should be.
        "cut" sends half of what was asked for and hangs up, "empty" hangs up after the head, "hang" sends half and
        waits, "wrong" turns the bytes around, a number is an answer's status.
    always
        The same, for all requests.
    ranges
        Whether a part of a file can be asked for.
    seen
        All requests.
    hanging
        Set when a "hang" has sent its half.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    todo: dict[str, list[str | int]] = field(default_factory=dict)
    always: dict[str, str | int] = field(default_factory=dict)
    ranges: bool = True
    seen: list[Seen] = field(default_factory=list)
    hanging: threading.Event = field(default_factory=threading.Event)
    stopped: threading.Event = field(default_factory=threading.Event)
    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def gets(self, path: str = "") -> list[Seen]:
        """The GET requests for a file."""
        return [one for one in self.seen if one.method == "GET" and one.path.endswith(path)]

    def add_repo(self, repo: str, files: dict[str, bytes]) -> None:
        """A model; files whose name ends in .json or .txt are git's, the others large ones."""
        self.repos[repo] = files
        for name, content in files.items():
            for revision in ("main", COMMIT):
                self.files[f"/{repo}/resolve/{revision}/{name}"] = content


def is_large(name: str) -> bool:
    return not name.endswith((".json", ".txt"))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    loopback: Loopback

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        parts = urlsplit(self.path)
        loopback, path = self.loopback, parts.path
        loopback.seen.append(Seen(self.command, path, self.headers.get("Range", "")))
        if path.startswith("/api/models/"):
            self._api(path.removeprefix("/api/models/"), parse_qs(parts.query))
            return
        behaviour: str | int = ""
        if body:
            behaviour = loopback.always.get(path) or (loopback.todo[path].pop(0) if loopback.todo.get(path) else "")
        if isinstance(behaviour, int):
            self._send(behaviour, b"trouble")
        elif path not in loopback.files:
            self._send(404, b"<html>not found</html>", {"X-Error-Code": "EntryNotFound"} if "/resolve/" in path else {})
        else:
            self._file(path, loopback.files[path], behaviour, body)

    def _file(self, path: str, content: bytes, behaviour: str, body: bool) -> None:
        tag = f'"{sha256(content)}"'
        headers = {"ETag": tag, "Accept-Ranges": "bytes"}
        if "/resolve/" in path:
            name = path.partition("/resolve/")[2].partition("/")[2]
            etag = f'"{sha256(content) if is_large(name) else git_sum(content)}"'
            headers |= {
                "ETag": etag,
                "X-Linked-Etag": etag,
                "X-Linked-Size": str(len(content)),
                "X-Repo-Commit": COMMIT,
            }
        start, status = 0, 200
        asked = self.headers.get("Range", "")
        if asked and self.loopback.ranges and self.headers.get("If-Range", tag) == tag:
            start, status = int(asked.removeprefix("bytes=").partition("-")[0]), 206
            if start >= len(content):
                self._send(416, b"")
                return
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        rest = content[start:]
        if behaviour == "wrong":
            rest = rest[::-1]
        if behaviour == "short":
            rest = rest[: len(rest) // 2]
        self._head(status, len(rest), headers)
        if not body:
            return
        if behaviour in ("cut", "hang"):
            self.wfile.write(rest[: len(rest) // 2])
        elif behaviour != "empty":
            self.wfile.write(rest)
            return
        self.wfile.flush()
        if behaviour == "hang":
            self.loopback.hanging.set()
            self.loopback.stopped.wait(60)
        self.close_connection = True

    def _api(self, rest: str, query: dict[str, list[str]]) -> None:
        repo = next((name for name in self.loopback.repos if rest == name or rest.startswith(f"{name}/")), None)
        behaviour = self.loopback.always.get(f"/api/models/{repo or rest}")
        if behaviour == "gated":
            self._send(403, b"", {"X-Error-Code": "GatedRepo"})
        elif isinstance(behaviour, int):
            self._send(behaviour, b"trouble")
        elif repo is None:
            self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
        elif "/tree/" in rest:
            self._json([self._entry(repo, name, "path", "oid") for name in self.loopback.repos[repo]])
        else:
            files = [self._entry(repo, name, "rfilename", "blobId") for name in self.loopback.repos[repo]]
            if "blobs" not in query:
                files = [{"rfilename": file["rfilename"]} for file in files]
            self._json({"id": repo, "modelId": repo, "sha": COMMIT, "siblings": files, "tags": [], "private": False})

    def _entry(self, repo: str, name: str, key: str, blob: str) -> dict[str, Any]:
        content = self.loopback.repos[repo][name]
        entry: dict[str, Any] = {"type": "file", key: name, "size": len(content), blob: git_sum(content)}
        if is_large(name):
            entry["lfs"] = {"oid": sha256(content), "sha256": sha256(content), "size": len(content), "pointerSize": 134}
        return entry

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self._head(status, len(body), headers or {})
        if self.command == "GET":
            self.wfile.write(body)

    def _head(self, status: int, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(length), **headers}.items():
            self.send_header(name, value)
        self.end_headers()


@contextmanager
def serve() -> Iterator[Loopback]:
    loopback = Loopback()
    handler = type("Bound", (Handler,), {"loopback": loopback})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    loopback.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield loopback
    finally:
        loopback.stopped.set()
        server.shutdown()
        server.server_close()
