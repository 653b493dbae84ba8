"""A real server, started by its command on a free port, stopped at the end."""

import http.client
import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

TOKEN = "a-token-of-the-owner"


@dataclass
class Server:
    """A running server and how to ask it."""

    process: subprocess.Popen[str]
    host: str
    port: int

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any, dict[str, str]]:
        """Return status, decoded body and headers of an answer."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=20)
        raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection.request(method, path, raw, headers or {})
        answer = connection.getresponse()
        data, told = answer.read(), {k.lower(): v for k, v in answer.getheaders()}
        connection.close()
        decoded = json.loads(data) if "json" in told.get("content-type", "") else data.decode()
        return answer.status, decoded, told

    @contextmanager
    def connected(self) -> Iterator[tuple[socket.socket, BufferedReader]]:
        """Yield a connection and what reads from it."""
        with (
            socket.create_connection((self.host, self.port), timeout=20) as connection,
            connection.makefile("rb") as reader,
        ):
            yield connection, reader


@contextmanager
def running(*arguments: object) -> Iterator[Server]:
    """Run ``request-uplift serve`` with these arguments on a free port."""
    script = str(Path(sys.executable).with_name("request-uplift"))
    command = [script, "serve", *map(str, arguments), "--port", "0"]
    piped = subprocess.PIPE
    with subprocess.Popen(command, stdout=piped, stderr=piped, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"http://(.+):(\d+)", line)
            assert found, f"{line}{process.stderr.read() if process.stderr else ''}"
            yield Server(process, found[1], int(found[2]))
        finally:
            process.kill()
