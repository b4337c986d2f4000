"""A Cloud Storage for tests: buckets in memory behind the part of its JSON API that gcsfs and TensorStore use.

The clients are the real ones; `environment()` points them here.
"""

from __future__ import annotations

import base64
import contextlib
import http.server
import itertools
import json
import struct
import sys
import threading
import urllib.parse
from collections.abc import Callable, Iterator

WRITTEN = "2026-01-01T00:00:00.000Z"


class Storage:
    """Objects by (bucket, name), each (content, generation). `refuse(verb, name)` is a status to answer with, or 0."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], tuple[bytes, int]] = {}
        self.refuse: Callable[[str, str], int] = lambda verb, name: 0
        self.lock = threading.Lock()
        self.generations = itertools.count(1)
        self.uploads: dict[str, list] = {}
        self.url = ""

    def names(self, prefix: str = "") -> list[str]:
        """BUCKET/NAME of all objects whose name in that form begins so."""
        with self.lock:
            return sorted(name for pair in self.objects if (name := "/".join(pair)).startswith(prefix))

    def environment(self) -> dict[str, str]:
        """What makes gcsfs and TensorStore talk to this storage."""
        return {
            "STORAGE_EMULATOR_HOST": self.url,
            "TENSORSTORE_GCS_HTTP_URL": self.url,
            "FSSPEC_GCS_TOKEN": "anon",
            "FSSPEC_GS_TOKEN": "anon",
            # Zonal buckets are asked for over gRPC, which there is none of here.
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
            "GOOGLE_CLOUD_PROJECT": "fake",
        }


@contextlib.contextmanager
def serving() -> Iterator[Storage]:
    """A storage on a port of this machine."""
    storage = Storage()
    handler = type("Handler", (_Handler,), {"storage": storage})
    with _Server(("127.0.0.1", 0), handler) as server:
        storage.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield storage
        finally:
            server.shutdown()
            thread.join()


class _Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed, or that heard enough, is no error."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    storage: Storage

    def log_message(self, *words: object) -> None:
        """Says nothing."""

    def _answer(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _answer_json(self, content: object) -> None:
        self._answer(200, json.dumps(content).encode(), Content_Type="application/json")

    def _fail(self, status: int, message: str) -> None:
        content = {"error": {"code": status, "message": message, "errors": [{"reason": message, "message": message}]}}
        self._answer(status, json.dumps(content).encode(), Content_Type="application/json")

    def _handle(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        query = {key: values[0] for key, values in urllib.parse.parse_qs(url.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        words = [urllib.parse.unquote(word) for word in url.path.strip("/").split("/")]
        if words[0] == "download":
            del words[0]
        if words[:3] == ["upload", "storage", "v1"]:
            self._upload(words[4], query, body)
        elif words[:1] == ["resumed"]:
            self._resumed(words[1], body)
        elif words[:3] == ["storage", "v1", "b"] and len(words) >= 4:
            self._object(words[3], words[5:], query)
        else:
            self._fail(404, f"Not Found: {self.path}")

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _handle

    def _object(self, bucket: str, words: list[str], query: dict[str, str]) -> None:
        storage = self.storage
        if not words:
            return self._list(bucket, query) if self.path.split("?")[0].endswith("/o") else self._fail(404, "Not Found")
        if "rewriteTo" in words:
            place = words.index("rewriteTo")
            return self._rewrite((bucket, words[0]), (words[place + 2], words[place + 4]))
        if "moveTo" in words:
            return self._move(bucket, words[0], words[words.index("moveTo") + 2])
        name = "/".join(words)
        if status := storage.refuse(self.command, f"{bucket}/{name}"):
            return self._fail(status, "refused")
        with storage.lock:
            content = storage.objects.get((bucket, name))
            if content and self.command == "DELETE":
                del storage.objects[bucket, name]
        if content is None:
            return self._fail(404, f"No such object: {bucket}/{name}")
        if self.command == "DELETE":
            return self._answer(204)
        content, generation = content
        if query.get("alt") != "media":
            return self._answer_json(_resource(bucket, name, content, generation))
        self._media(content, generation, query)

    def _media(self, content: bytes, generation: int, query: dict[str, str]) -> None:
        if query.get("ifGenerationNotMatch") == str(generation):
            return self._answer(304)
        first, last, status = 0, len(content) - 1, 200
        if wanted := self.headers.get("Range"):
            start, _, end = wanted.removeprefix("bytes=").partition("-")
            first = int(start) if start else max(0, len(content) - int(end))
            last, status = min(int(end), last) if start and end else last, 206
            if first >= len(content):
                return self._fail(416, "Requested range not satisfiable")
        part = content[first : last + 1]
        headers = {"x_goog_generation": str(generation), "x_goog_hash": f"crc32c={_crc32c(content)}"}
        if status == 206:
            headers = {"x_goog_generation": str(generation)}
            headers["Content_Range"] = f"bytes {first}-{last}/{len(content)}"
        self._answer(status, part, **headers)

    def _list(self, bucket: str, query: dict[str, str]) -> None:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        items, prefixes = [], set()
        with self.storage.lock:
            entries = sorted((name, kept) for (place, name), kept in self.storage.objects.items() if place == bucket)
        for name, (content, generation) in entries:
            if not name.startswith(prefix) or not query.get("startOffset", "") <= name:
                continue
            if "endOffset" in query and name >= query["endOffset"]:
                continue
            rest = name[len(prefix) :]
            if delimiter and delimiter in rest:
                prefixes.add(prefix + rest.split(delimiter)[0] + delimiter)
            else:
                items.append(_resource(bucket, name, content, generation))
        self._answer_json({"kind": "storage#objects", "items": items, "prefixes": sorted(prefixes)})

    def _rewrite(self, source: tuple[str, str], target: tuple[str, str]) -> None:
        with self.storage.lock:
            content = self.storage.objects.get(source)
        if content is None:
            return self._fail(404, f"No such object: {'/'.join(source)}")
        resource = self._store(*target, content[0], {})
        return self._answer_json({"kind": "storage#rewriteResponse", "done": True, "resource": resource})

    def _move(self, bucket: str, name: str, target: str) -> None:
        with self.storage.lock:
            content = self.storage.objects.pop((bucket, name), None)
        if content is None:
            return self._fail(404, f"No such object: {bucket}/{name}")
        return self._answer_json(self._store(bucket, target, content[0], {}))

    def _store(self, bucket: str, name: str, content: bytes, query: dict[str, str]) -> dict[str, str] | None:
        with self.storage.lock:
            current = self.storage.objects.get((bucket, name), (b"", 0))[1]
            if query.get("ifGenerationMatch", str(current)) != str(current):
                return None
            generation = next(self.storage.generations)
            self.storage.objects[bucket, name] = (content, generation)
        return _resource(bucket, name, content, generation)

    def _upload(self, bucket: str, query: dict[str, str], body: bytes) -> None:
        kind, name = query.get("uploadType", "media"), query.get("name", "")
        if kind == "multipart":
            boundary = self.headers["Content-Type"].split("boundary=")[1].strip('"').encode()
            described, content = body.split(b"--" + boundary)[1:3]
            name = json.loads(described.replace(b"\r\n", b"\n").split(b"\n\n", 1)[1])["name"]
            body = content.replace(b"\r\n\r\n", b"\n\n", 1).split(b"\n\n", 1)[1].removesuffix(b"\n")
        if status := self.storage.refuse("POST", f"{bucket}/{name}"):
            return self._fail(status, "refused")
        if kind == "resumable":
            upload = f"upload-number-{next(self.storage.generations):020}"
            self.storage.uploads[upload] = [bucket, name, b""]
            return self._answer(200, Location=f"{self.storage.url}/resumed/{upload}")
        resource = self._store(bucket, name, body, query)
        return self._answer_json(resource) if resource else self._fail(412, "Precondition Failed")

    def _resumed(self, upload: str, body: bytes) -> None:
        kept = self.storage.uploads[upload]
        kept[2] += body
        if self.headers["Content-Range"].endswith("/*"):
            return self._answer(308, Range=f"bytes=0-{len(kept[2]) - 1}")
        return self._answer_json(self._store(*kept, {}))


def _resource(bucket: str, name: str, content: bytes, generation: int) -> dict[str, str]:
    return {
        "kind": "storage#object",
        "id": f"{bucket}/{name}/{generation}",
        "bucket": bucket,
        "name": name,
        "generation": str(generation),
        "metageneration": "1",
        "size": str(len(content)),
        "crc32c": _crc32c(content),
        "timeCreated": WRITTEN,
        "updated": WRITTEN,
        "storageClass": "STANDARD",
    }


def _crc32c(content: bytes) -> str:
    """Base64 of the big-endian checksum, as Cloud Storage gives it."""
    import google_crc32c

    return base64.b64encode(struct.pack(">I", google_crc32c.value(content))).decode()
