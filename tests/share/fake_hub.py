"""A hub on this machine: what its client asks of the real one to make repositories, commit, list and download.

Large files go as git-lfs batches (https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md), downloads are
redirected to another path with ranges, as on the real one.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlparse

TOKEN = "hf_of_the_test"


@dataclass
class Repository:
    private: bool
    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)  # path → lfs or regular, content
    commits: int = 0

    @property
    def head(self) -> str:
        return hashlib.sha1(f"{self.commits}".encode()).hexdigest()


@dataclass
class Hub:
    """The hub's state, and how it misbehaves: ``requests`` as (method, path, range), bytes by SHA-256."""

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    threshold: int = 1024  # bytes from which a file is a large one
    part: int | None = None  # bytes of a part of an upload in several; None: all in one
    cut_after: int | None = None  # bytes of a download after which the connection breaks
    ignores_ranges: bool = False
    fail: dict[str, int] = field(default_factory=dict)  # a piece of a path → the status it gives
    flip: bool = False  # a byte of each download is another

    def count(self, method: str, piece: str) -> int:
        return sum(one == method and piece in path for one, path, _ in self.requests)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: Any) -> None:
        pass

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, value: Any, status: int = 200, **headers: str) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def refuse(self, status: int, code: str = "", message: str = "") -> None:
        self.answer({"error": message or code}, status, **({"X_Error_Code": code} if code else {}))

    @property
    def may_write(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def serve(self) -> None:
        path = unquote(urlparse(self.path).path)
        self.hub.requests.append((self.command, path, self.headers.get("Range")))
        for piece, status in self.hub.fail.items():
            if piece in path:
                self.body()
                self.refuse(status, message="out of order")
                return
        for pattern, name in ROUTES:
            match = re.fullmatch(pattern, path)
            if match:
                getattr(self, name)(*match.groups())
                return
        self.body()
        self.refuse(404, message=f"the fake hub has no {path}")

    do_GET = do_POST = do_PUT = do_HEAD = serve  # noqa: N815 - http.server's names

    def repository(self, name: str, *, write: bool = False) -> Repository | None:
        found = self.hub.repositories.get(name)
        if found is None or (found.private and not self.may_write):
            self.refuse(404, "RepoNotFound", "Repository not found")
            return None
        if write and not self.may_write:
            self.refuse(403, message="you have no right to write here")
            return None
        return found

    def create(self) -> None:
        asked = json.loads(self.body())
        if not self.may_write:
            self.refuse(401, message="Invalid username or password.")
            return
        name = f"{asked.get('organization', 'me')}/{asked['name']}"
        known = name in self.hub.repositories
        if not known:
            self.hub.repositories[name] = Repository(asked.get("visibility") == "private" or bool(asked.get("private")))
        self.answer({"url": f"{self.hub.url}/{name}", "id": name}, 409 if known else 200)

    def validate(self) -> None:
        assert json.loads(self.body())["content"].startswith("---")
        self.answer({"errors": [], "warnings": []})

    def info(self, name: str, revision: str) -> None:
        repository = self.repository(name)
        if repository is not None:
            if revision not in ("", "main", repository.head):
                self.refuse(404, "RevisionNotFound")
            else:
                self.answer({"id": name, "sha": repository.head, "siblings": [], "tags": [], "private": False})

    def described(self, path: str, kind: str, content: bytes) -> dict[str, Any]:
        git = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
        made: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": git}
        if kind == "lfs":
            sha256 = hashlib.sha256(content).hexdigest()
            made["lfs"] = {"oid": sha256, "size": len(content), "pointerSize": 134}
        return made

    def tree(self, name: str, revision: str) -> None:
        repository = self.repository(name)
        if repository is not None:
            self.answer([self.described(path, *file) for path, file in repository.files.items()])

    def paths(self, name: str, revision: str) -> None:
        body = self.body()
        wanted = json.loads(body)["paths"] if body.startswith(b"{") else []
        if not wanted:
            wanted = [unquote(part.partition("=")[2]) for part in body.decode().split("&") if part.startswith("paths=")]
        repository = self.repository(name)
        if repository is not None:
            self.answer([self.described(p, *repository.files[p]) for p in wanted if p in repository.files])

    def preupload(self, name: str, revision: str) -> None:
        asked = json.loads(self.body())["files"]
        if self.repository(name, write=True) is not None:
            modes = ["lfs" if file["size"] >= self.hub.threshold else "regular" for file in asked]
            told = [
                {"path": file["path"], "uploadMode": mode, "shouldIgnore": False}
                for file, mode in zip(asked, modes, strict=True)
            ]
            self.answer({"files": told})

    def batch(self, name: str) -> None:
        asked = json.loads(self.body())
        if self.repository(name, write=True) is None:
            return
        told = []
        for one in asked["objects"]:
            entry = {"oid": one["oid"], "size": one["size"]}
            if one["oid"] not in self.hub.objects:
                upload: dict[str, Any] = {"href": f"{self.hub.url}/lfs/{one['oid']}"}
                if self.hub.part is not None:
                    parts = -(-one["size"] // self.hub.part)
                    numbered = {str(i + 1): f"{self.hub.url}/lfs/{one['oid']}/part/{i}" for i in range(parts)}
                    upload = {
                        "href": f"{self.hub.url}/lfs/{one['oid']}/complete",
                        "header": {"chunk_size": str(self.hub.part), **numbered},
                    }
                entry["actions"] = {"upload": upload, "verify": {"href": f"{self.hub.url}/lfs/{one['oid']}/verify"}}
            told.append(entry)
        self.answer({"transfer": "multipart" if self.hub.part else "basic", "objects": told})

    def upload(self, oid: str) -> None:
        content = self.body()
        if hashlib.sha256(content).hexdigest() != oid:
            self.refuse(400, message="another checksum")
            return
        self.hub.objects[oid] = content
        self.answer({})

    def upload_part(self, oid: str, number: str) -> None:
        self.hub.objects[f"{oid}.{number}"] = self.body()
        self.answer({}, ETag=f'"{number}"')

    def complete(self, oid: str) -> None:
        parts = json.loads(self.body())["parts"]
        content = b"".join(self.hub.objects.pop(f"{oid}.{part['partNumber'] - 1}") for part in parts)
        assert hashlib.sha256(content).hexdigest() == oid
        self.hub.objects[oid] = content
        self.answer({})

    def verify(self, oid: str) -> None:
        asked = json.loads(self.body())
        if len(self.hub.objects.get(oid, b"")) == asked["size"]:
            self.answer({})
        else:
            self.refuse(404, message="not here")

    def commit(self, name: str, revision: str) -> None:
        lines = [json.loads(line) for line in self.body().splitlines()]
        repository = self.repository(name, write=True)
        if repository is None:
            return
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                repository.files[value["path"]] = ("regular", base64.b64decode(value["content"]))
            elif line["key"] == "lfsFile":
                repository.files[value["path"]] = ("lfs", self.hub.objects[value["oid"]])
        repository.commits += 1
        url = f"{self.hub.url}/{name}/commit/{repository.head}"
        self.answer({"commitUrl": url, "commitOid": repository.head, "success": True, "hookOutput": ""})

    def resolve(self, name: str, revision: str, path: str) -> None:
        repository = self.repository(name)
        if repository is None:
            return
        if path not in repository.files:
            self.refuse(404, "EntryNotFound")
            return
        content = repository.files[path][1]
        etag = hashlib.sha256(content).hexdigest()
        self.hub.objects[etag] = content
        self.answer(
            b"", 302, Location=f"{self.hub.url}/cdn/{etag}", X_Repo_Commit=repository.head, X_Linked_ETag=f'"{etag}"',
            X_Linked_Size=str(len(content)), ETag=f'"{etag}"',
        )  # fmt: skip

    def cdn(self, oid: str) -> None:
        content = self.hub.objects[oid]
        if self.hub.flip:
            content = content[:-1] + bytes([content[-1] ^ 1])
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        start = 0 if asked is None or self.hub.ignores_ranges else int(asked.group(1))
        rest = content[start:]
        ranged = asked is not None and not self.hub.ignores_ranges
        self.send_response(206 if ranged else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.send_header("ETag", f'"{oid}"')
        if ranged:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.hub.cut_after is not None and self.hub.cut_after < len(rest):
            self.wfile.write(rest[: self.hub.cut_after])
            self.wfile.flush()
            self.hub.fail["/cdn/"] = 500  # until the test says otherwise
            self.close_connection = True
            self.connection.shutdown(2)
            return
        self.wfile.write(rest)


_NAME = r"([\w.\-]+/[\w.\-]+)"
ROUTES = (
    (r"/api/repos/create", "create"),
    (r"/api/validate-yaml", "validate"),
    (rf"/api/models/{_NAME}/revision/([^/]+)", "info"),
    (rf"/api/models/{_NAME}()", "info"),
    (rf"/api/models/{_NAME}/tree/([^/]+)", "tree"),
    (rf"/api/models/{_NAME}/paths-info/([^/]+)", "paths"),
    (rf"/api/models/{_NAME}/preupload/([^/]+)", "preupload"),
    (rf"/api/models/{_NAME}/commit/([^/]+)", "commit"),
    (rf"/{_NAME}\.git/info/lfs/objects/batch", "batch"),
    (r"/lfs/(\w+)", "upload"),
    (r"/lfs/(\w+)/part/(\d+)", "upload_part"),
    (r"/lfs/(\w+)/complete", "complete"),
    (r"/lfs/(\w+)/verify", "verify"),
    (rf"/{_NAME}/resolve/([^/]+)/(.+)", "resolve"),
    (r"/cdn/(\w+)", "cdn"),
)


@contextmanager
def running() -> Iterator[Hub]:
    """A hub that serves on a port of this machine until the block ends."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OfThisHub", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
