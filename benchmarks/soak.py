"""Minutes of mixed load on `request-uplift serve`: is memory flat, does anything fail.

    python benchmarks/serve.py --minutes N

The command as it is run in production (decisions, events and exploration logged, segments archived,
a quota, the owner's token), and 32 connections of wrk at 70 % of the rate that it answers single
decisions at. Of 1,000 requests 945 are a decision, 10 ten decisions, 44 an outcome, 1 the metrics;
every ten seconds the bundle is reloaded. Sessions are 20,000 that come back. Each minute tells what
the server holds in memory, the requests that failed, and the latency of all.
"""

import http.client
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from load import loaded

SHARE, SESSIONS, RELOAD_SECONDS = 0.7, 20_000, 10
TOKEN = "a-token-of-the-benchmark"
SCRIPT = """
local ffi = require("ffi")
ffi.cdef("typedef struct {long s, us;} moment; int gettimeofday(moment*, void*);")
local moment = ffi.new("moment")
local function now()
  ffi.C.gettimeofday(moment, nil)
  return tonumber(moment.s) + tonumber(moment.us) / 1e6
end
local points, places = {%(points)s}, {%(places)s}
local rate, start, sent, due = %(rate)f, now(), 0, 0
local kind = {["Content-Type"] = "application/json"}
local owner = {["Authorization"] = "Bearer %(token)s"}
local function point()
  return points[1 + sent %% #points] .. math.random(%(sessions)d) .. "}"
end
function delay()  -- milliseconds until the next request is due, whoever sends it
  due = due + 1
  return math.max(0, math.floor((start + due / rate - now()) * 1000 + 0.5))
end
function request()
  sent = sent + 1
  if sent %% math.floor(rate * %(reload)d) == 0 then
    return wrk.format("POST", "/admin/reload", owner, "{}")
  end
  local which = sent %% 1000
  if which == 0 then return wrk.format("GET", "/metrics") end
  if which %% 100 == 1 then
    local many = {}
    for k = 1, 10 do many[k] = point() end
    return wrk.format("POST", "/v1/decide_many", kind,
                      '{"points":[' .. table.concat(many, ",") .. "]}")
  end
  if which <= 46 then
    local place = places[1 + sent %% #places] .. math.random(%(sessions)d) .. "}"
    return wrk.format("POST", "/v1/outcome", kind, place)
  end
  return wrk.format("POST", "/v1/decide", kind, point())
end
"""


def soak(bundle: Path, points: list[dict], folder: Path, minutes: int, peak: float) -> None:
    """Load a server for some minutes at a share of its peak rate; print a line a minute."""
    script = folder / "mixed.lua"
    script.write_text(mixed(points, SHARE * peak))
    (folder / "token").write_text(TOKEN)
    options = ("--log", folder / "log", "--admin-token", folder / "token", "--explore", "0.05")
    print(f"{SHARE:.0%} of {peak:,.0f} requests/s")
    print(f"{'minute':>6} {'requests/s':>11} {'p50, ms':>8} {'p99, ms':>8} {'failed':>7} {'MB':>7}")
    with served(bundle, *options, "--qps", "500") as (process, port):
        for minute in range(1, minutes + 1):
            rate, p50, p99, failed = loaded(port, script, 60)
            told = f"{minute:6} {rate:11,.0f} {p50:8.2f} {p99:8.2f} {failed:7}"
            print(f"{told} {resident(process.pid):7.1f}", flush=True)
        metrics = asked(port, "/metrics")
    for line in metrics.splitlines():
        if line.startswith(("uplift_log_", "uplift_answers_total")):
            print(line)


def mixed(points: list[dict], rate: float) -> str:
    """Return wrk's script; each body is open at its end, where a session is put in."""

    def opened(body: dict) -> str:
        return json.dumps(json.dumps(body)[:-1] + ', "session_id": ')

    bodies = [{k: v for k, v in point.items() if k != "session_id"} for point in points]
    events = [
        {"page": body["page"], "position": body["position"], "values": {"gmv": 9.5}}
        for body in bodies
    ]
    return SCRIPT % {
        "points": ",".join(map(opened, bodies)),
        "places": ",".join(map(opened, events)),
        "rate": rate,
        "reload": RELOAD_SECONDS,
        "sessions": SESSIONS,
        "token": TOKEN,
    }


@contextmanager
def served(bundle: Path, *options: object) -> Iterator[tuple[subprocess.Popen, int]]:
    """Run the command on a free port."""
    program = Path(sys.executable).with_name("request-uplift")
    command = [*map(str, (program, "serve", bundle, "--port", "0", *options))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            found = re.search(r"http://.+:(\d+)", process.stdout.readline())
            if found is None:
                raise SystemExit("the server did not start")
            yield process, int(found[1])
        finally:
            process.terminate()


def resident(pid: int) -> float:
    """Return the megabytes that a process holds in memory."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


def asked(port: int, path: str) -> str:
    """Return what the server answers to a GET."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path)
    return connection.getresponse().read().decode()
