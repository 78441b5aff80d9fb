"""An index of packages on loopback, as micropython.org has one, and what may be wrong with one."""

import hashlib
import json
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class PackageIndex:
    """A context manager. ``pages``: what it serves, by path; a test may change it. ``asked``: the paths that were asked for."""

    def __init__(self) -> None:
        self.pages: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.cut: set[str] = set()  # paths whose answers end in the middle
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = urllib.parse.unquote(self.path)
                index.asked.append(path)
                data = index.pages.get(path)
                if data is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data[: len(data) // 2] if path in index.cut else data)

            def log_message(self, *words: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "PackageIndex":
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def add(self, name: str, version: str, files: dict[str, bytes], *, needs=(), form: str = "6", latest: bool = True) -> None:
        """Publish a package. ``form``: "py", or the version of the bytecode that its files are in."""
        hashes = []
        for path, data in files.items():
            found = hashlib.sha256(data).hexdigest()[:8]
            self.pages[f"/file/{found[:2]}/{found}"] = data
            hashes.append([path, found])
        manifest = {"v": 1, "version": version, "hashes": hashes, "deps": [list(need) for need in needs]}
        for each in {version, "latest"} if latest else {version}:
            self.pages[f"/package/{form}/{name}/{each}.json"] = json.dumps(manifest).encode()
        known = json.loads(self.pages.get("/index.json", b'{"v": 2, "packages": []}'))
        known["packages"].append({"name": name, "version": version})
        self.pages["/index.json"] = json.dumps(known).encode()

    def page_of(self, data: bytes) -> str:
        """Return the path that a file of the index has."""
        found = hashlib.sha256(data).hexdigest()[:8]
        return f"/file/{found[:2]}/{found}"
