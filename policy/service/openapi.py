"""The OpenAPI document and its page, made from the bodies themselves."""

from functools import cache
from html import escape
from typing import Any

import msgspec

from policy.engine import Decision
from policy.service import bodies
from policy.service.problems import ProblemDocument

__all__ = ["document", "page"]

_PROBLEMS = {
    400: "no JSON",
    408: "too slow",
    413: "too large",
    422: "does not fit",
    429: "too many requests",
}
_POSTS: tuple[tuple[str, str, type, type, int], ...] = (
    ("/v1/decide", "Decide at one decision point", bodies.Point, Decision, 200),
    ("/v1/decide_many", "Decide at several points", bodies.Batch, bodies.Answers, 200),
    ("/v1/outcome", "Tell what happened in a session", bodies.Event, bodies.Accepted, 202),
)
_GETS = (
    ("/v1/plan", "The plan in service"),
    ("/v1/model", "The model in service, and the features that it needs"),
    ("/live", "Whether the process answers"),
    ("/ready", "Whether it takes requests"),
)


@cache
def document() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document."""
    types = [t for _, _, *both, _ in _POSTS for t in both]
    _, schemas = msgspec.json.schema_components(
        [*types, ProblemDocument], ref_template="#/components/schemas/{name}"
    )
    paths: dict[str, Any] = {path: {"get": _get(summary)} for path, summary in _GETS}
    for path, summary, body, answer, status in _POSTS:
        paths[path] = {"post": _post(summary, body, answer, status)}
    return {
        "openapi": "3.1.0",
        "info": {"title": "request-uplift", "version": "1"},
        "paths": paths,
        "components": {"schemas": schemas},
    }


@cache
def page() -> bytes:
    """Return the document as a page to read."""
    found = document()
    rows = "".join(
        f"<tr><td><code>{method.upper()} {escape(path)}</code></td><td>{escape(about['summary'])}"
        f"</td></tr>"
        for path, methods in found["paths"].items()
        for method, about in methods.items()
    )
    parts = "".join(
        f"<h3 id='{escape(name)}'>{escape(name)}</h3><p>{escape(schema.get('description', ''))}</p>"
        f"<pre>{escape(msgspec.json.format(msgspec.json.encode(schema), indent=1).decode())}</pre>"
        for name, schema in found["components"]["schemas"].items()
    )
    style = "body{font:15px sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    style += "pre{background:#f4f4f5;padding:.8rem;overflow:auto}td{padding:.2rem 1rem .2rem 0}"
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>request-uplift</title>"
        f"<style>{style}</style><h1>request-uplift</h1><p>Machine-readable: "
        f"<a href='/openapi.json'>/openapi.json</a></p><table>{rows}</table><h2>Bodies</h2>{parts}"
        "</html>"
    ).encode()


def _get(summary: str) -> dict[str, Any]:
    return {
        "summary": summary,
        "responses": {
            "200": {"description": "OK", "content": {"application/json": {"schema": {}}}},
            "503": _problem("not now"),
        },
    }


def _post(summary: str, body: type, answer: type, status: int) -> dict[str, Any]:
    told = {"description": "OK", "content": {"application/json": {"schema": _ref(answer)}}}
    problems = {str(code): _problem(why) for code, why in _PROBLEMS.items()}
    asked = {"required": True, "content": {"application/json": {"schema": _ref(body)}}}
    extra = {"404": _problem("not taken here"), "503": _problem("not now")}
    return {
        "summary": summary,
        "requestBody": asked,
        "responses": {str(status): told} | problems | extra,
    }


def _problem(why: str) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": _ref(ProblemDocument)}}
    return {"description": why, "content": content}


def _ref(kind: type) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}
