"""The OpenAPI document and its page, made from the bodies themselves."""

from html import escape
from typing import Any, NamedTuple

import msgspec

from policy.engine import Decision, DecisionEngine
from policy.problem import Limits
from policy.service import bodies
from policy.service.problems import ProblemDocument

__all__ = ["document", "page"]

_PROBLEMS = {
    400: "no JSON",
    401: "the token is missing or wrong",
    404: "not taken here",
    408: "too slow",
    413: "too large",
    422: "does not fit",
    429: "too many callers",
    431: "too large a head",
    500: "the service failed",
    503: "not now",
}
_OF_ALL = (400, 408, 429, 431, 500)
_OF_BODIES = (413, 422)


class _Post(NamedTuple):
    path: str
    summary: str
    body: str
    answer: type
    status: int = 200
    problems: tuple[int, ...] = ()
    owner: bool = False


_POSTS = (
    _Post("/v1/decide", "Decide at one decision point", "Point", Decision),
    _Post("/v1/decide_many", "Decide at several points", "Batch", bodies.Answers),
    _Post(
        "/v1/outcome",
        "Tell what happened in a session",
        *("Event", bodies.Accepted),
        status=202,
        problems=(404, 503),
    ),
    _Post(
        "/admin/reload",
        "Take another bundle into service",
        *("Reload", bodies.Reloaded),
        problems=(401, 404),
        owner=True,
    ),
)
_GETS: tuple[tuple[str, str, str, tuple[int, ...]], ...] = (
    ("/v1/plan", "The plan in service", "application/json", ()),
    ("/v1/model", "The model in service, and the features it needs", "application/json", ()),
    ("/live", "Whether the process answers", "application/json", ()),
    ("/ready", "Whether it takes requests", "application/json", (503,)),
    ("/metrics", "What was counted, as Prometheus reads it", "text/plain", ()),
    ("/openapi.json", "This document", "application/json", ()),
    ("/docs", "This document, to read", "text/html", ()),
)


def document(engine: DecisionEngine) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of a service that decides with an engine.

    Its points have the features of the engine's model, so it changes with a reload.
    """
    points = bodies.Points.of(engine)
    asked = (points.one, points.many, bodies.Event, bodies.Reload)
    answers = (post.answer for post in _POSTS)
    _, schemas = msgspec.json.schema_components(
        [*asked, *answers, ProblemDocument], ref_template="#/components/schemas/{name}"
    )
    schemas["Point"] |= _identified(engine)
    paths: dict[str, Any] = {
        path: {"get": _get(summary, kind, problems)} for path, summary, kind, problems in _GETS
    }
    paths |= {post.path: {"post": _post(post)} for post in _POSTS}
    return {
        "openapi": "3.1.0",
        "info": {"title": "request-uplift", "version": "1"},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"owner": {"type": "http", "scheme": "bearer"}},
        },
    }


def _identified(engine: DecisionEngine) -> dict[str, Any]:
    """Return the demand that a session be known, where the plan limits what it gets."""
    if engine.rule.limits == Limits():
        return {}
    given = {"not": {"type": "null"}}
    names = ("session_id", "state")
    return {"anyOf": [{"required": [name], "properties": {name: given}} for name in names]}


def page(engine: DecisionEngine) -> bytes:
    """Return the document as a page to read."""
    found = document(engine)
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


def _get(summary: str, kind: str, problems: tuple[int, ...]) -> dict[str, Any]:
    told = {"200": {"description": "OK", "content": {kind: {"schema": {}}}}}
    return {"summary": summary, "responses": told | _problems((*_OF_ALL, *problems))}


def _post(post: _Post) -> dict[str, Any]:
    content = {"application/json": {"schema": _ref(post.answer.__name__)}}
    told = {str(post.status): {"description": "OK", "content": content}}
    body = {"application/json": {"schema": _ref(post.body)}}
    asked = {"required": not post.owner, "content": body}  # the owner may just say: read it again
    return {
        "summary": post.summary,
        "requestBody": asked,
        "responses": told | _problems((*_OF_ALL, *_OF_BODIES, *post.problems)),
    } | ({"security": [{"owner": []}]} if post.owner else {})


def _problems(codes: tuple[int, ...]) -> dict[str, Any]:
    return {str(code): _problem(_PROBLEMS[code]) for code in sorted(codes)}


def _problem(why: str) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": _ref(ProblemDocument.__name__)}}
    return {"description": why, "content": content}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
