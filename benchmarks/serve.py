"""One decision over HTTP, beside empty handlers and beside FastAPI.

    python benchmarks/serve.py [SECONDS [ROUNDS]] [--asleep] [--minutes N]

The bundle of `decide.py` (two boosters of 100 trees of depth 6, 30 features); 32 connections of
wrk, each side for some seconds in turns; medians over the rounds. An empty handler answers the same
nine bytes to whatever comes: behind the service's own connections, and as raw ASGI behind uvicorn
with httptools, the fastest of the servers that are not ours.
wrk is kept awake, for else waking it is part of what is measured (`load.py`); --asleep lets it be.
FastAPI checks the body with pydantic and calls `inplace_predict` twice; left out, with the reason,
where it is not installed. With --minutes, mixed load on the command itself instead (`soak.py`).
Needs wrk (a system package).
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from decide import made
from load import awake, loaded
from soak import soak

UVICORN, EMPTY = "uvicorn, empty handler", "empty handler"
SERVERS = {
    "ours": """
from policy.service.build import build_service
service = build_service(Path(BUNDLE))
""",
    "ours, logging": """
import tempfile
from policy.service.build import build_service
service = build_service(Path(BUNDLE), log=Path(tempfile.mkdtemp()))
""",
    EMPTY: """
from policy.service.answers import Answer
from policy.service.app import Settings
class Empty:
    settings = Settings()
    def answer(self, method, url, headers, body, client):
        return Answer(200, b"application/json", b'{"arm":0}', b"1")
    def close(self):
        pass
service = Empty()
""",
    UVICORN: """
BODY = b'{"arm":0}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"9")]
async def app(scope, receive, send):
    more = True
    while more:
        more = (await receive()).get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})
""",
    "FastAPI, inplace_predict": """
import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel
from policy.bundle import Bundle
model = Bundle.load(BUNDLE).model
boosters = [b.booster for b in model.learner.boosters_.values()]
class Point(BaseModel):
    features: dict[str, float | str | None]
    session_id: int
    page: int = 0
    position: int = 0
app = FastAPI()
@app.post("/v1/decide")
def decide(point: Point) -> dict[str, float]:
    row = model.encoder.transform_row(point.features)[None]
    none, request = (float(b.inplace_predict(row)[0]) for b in boosters)
    return {"arm": float(request > none), "uplift": request - none}
""",
}
OURS = """
import sys
from pathlib import Path
from policy.service.server import serve
BUNDLE = sys.argv[1]
{app}
serve(service, "127.0.0.1", 0, ready=lambda host, port: print(port, flush=True))
"""
THEIRS = """
import gc, socket, sys, uvicorn
from pathlib import Path
BUNDLE = sys.argv[1]
{app}
listening = socket.socket()
listening.bind(("127.0.0.1", 0))
listening.listen(2048)
print(listening.getsockname()[1], flush=True)
config = uvicorn.Config(app, http="httptools", lifespan="off", log_level="error", access_log=False,
                        server_header=False, date_header=False, proxy_headers=False)
gc.collect()
gc.freeze()  # as `policy.service.server` does, here for all
uvicorn.Server(config).run(sockets=[listening])
"""
SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local bodies = {{{bodies}}}
local at = 0
request = function()
  at = at % #bodies + 1
  return wrk.format(nil, "/v1/decide", nil, bodies[at])
end
"""


def main(seconds: int = 5, rounds: int = 5, asleep: bool = False, minutes: int = 0) -> None:
    if shutil.which("wrk") is None:
        print("skipped: wrk is not installed")
        return
    folder = Path(tempfile.mkdtemp())
    _, rows = made(folder / "bundle")
    points, script = bodies(rows), folder / "post.lua"
    script.write_text(SCRIPT.format(bodies=",".join(json.dumps(json.dumps(p)) for p in points)))
    if minutes:
        process, port = started(SERVERS["ours, logging"], folder / "bundle")
        peak, *_ = loaded(port, script, seconds)
        process.kill()
        soak(folder / "bundle", points, folder, minutes, peak)
        return
    environment = None if asleep else awake(folder)
    running = {name: started(app, folder / "bundle") for name, app in SERVERS.items()}
    found: dict[str, list[tuple[float, float]]] = {}
    try:
        for _ in range(rounds):
            for name, server in running.items():
                if server is not None:
                    found.setdefault(name, []).append(
                        measured(server[1], script, seconds, environment)
                    )
    finally:
        for server in running.values():
            if server is not None:
                server[0].kill()
    told(found)


def bodies(rows, count: int = 200) -> list[dict]:
    """Return bodies of decisions."""
    some = rows.take(np.arange(count)).frame
    features = [c for c in some if str(c).startswith(("f_", "c_"))]
    points = []
    for _, row in some.iterrows():
        known = {c: None if row[c] != row[c] else row[c] for c in features}
        place = {c: int(row[c]) for c in ("session_id", "page", "position")}
        points.append({"features": known, **place})
    return points


def started(app: str, bundle: Path) -> tuple[subprocess.Popen, int] | None:
    """Start a server; say why where it cannot be."""
    code = (OURS if "service = " in app else THEIRS).format(app=app)
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(bundle)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    line = process.stdout.readline().strip()
    if not line.isdigit():
        print(f"(left out: {process.stderr.read().strip().splitlines()[-1]})")
        return None
    time.sleep(0.5)
    return process, int(line)


def measured(
    port: int, script: Path, seconds: int, environment: dict[str, str] | None
) -> tuple[float, float]:
    """Return requests per second and the 99th percentile in milliseconds."""
    rate, _, p99, failed = loaded(port, script, seconds, environment)
    if failed:
        raise SystemExit(f"a server refuses, or fails, {failed} requests")
    return rate, p99


def told(found: dict[str, list[tuple[float, float]]]) -> None:
    print(f"{'':>28} {'requests/s':>11} {'p99, ms':>8} {'of empty':>9} {'its p99':>8}", end="")
    print(f" {'of uvicorn, empty':>18}" if UVICORN in found else "")
    for name, runs in found.items():
        rate, p99 = np.median(runs, axis=0)
        ratio, slower = np.median(np.array(runs) / np.array(found[EMPTY]), axis=0)
        print(f"{name:>28} {rate:11,.0f} {p99:8.2f} {ratio:9.2f} {slower:8.2f}", end="")
        if UVICORN in found:
            ratio = np.median(np.array(runs)[:, 0] / np.array(found[UVICORN])[:, 0])
            print(f" {ratio:18.2f}", end="")
        print()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("seconds", nargs="?", type=int, default=5)
    parser.add_argument("rounds", nargs="?", type=int, default=5)
    parser.add_argument("--asleep", action="store_true")
    parser.add_argument("--minutes", type=int, default=0)
    main(**vars(parser.parse_args()))
