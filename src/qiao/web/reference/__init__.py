"""The API's reference: OpenAPI 3.1 as JSON, and the same as a page that needs nothing else."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from litestar import MediaType, Request, Response, Router, get
from markupsafe import Markup, escape

STYLE = files(__name__).joinpath("static", "reference.css")
SECURITY = {
    "content-security-policy": "default-src 'none'; style-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
METHODS = ("get", "post", "put", "patch", "delete")


@get("/v1/openapi.json", include_in_schema=False)
async def openapi(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """The whole API as OpenAPI 3.1."""
    return request.app.openapi_schema.to_schema()


@get("/docs", include_in_schema=False, media_type=MediaType.HTML)
async def page(request: Request[Any, Any, Any]) -> Response[str]:
    """The whole API as one page."""
    return Response(
        render(request.app.openapi_schema.to_schema()), media_type=MediaType.HTML, headers=SECURITY
    )


@get("/docs/reference.css", include_in_schema=False)
async def style() -> Response[bytes]:
    return Response(
        STYLE.read_bytes(), headers={**SECURITY, "content-type": "text/css; charset=utf-8"}
    )


reference = Router("/", route_handlers=[openapi, page, style])


def render(document: Mapping[str, Any]) -> str:
    """The page of an OpenAPI document."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for operation in _operations(document):
        groups.setdefault(operation["tag"], []).append(operation)
    schemas = document.get("components", {}).get("schemas", {})
    objects = {name: _fields(schema) for name, schema in sorted(schemas.items())}
    text: str = (
        _templates()
        .get_template("reference.html")
        .render(info=document["info"], groups=groups, objects=objects)
    )
    return text


@cache
def _templates() -> Environment:
    templates = Environment(
        loader=PackageLoader(__name__), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    templates.filters["prose"] = _prose
    templates.filters["label"] = _label
    return templates


def _prose(text: str) -> Markup:
    """Text of a docstring, with what stands between backquotes as code."""
    return Markup(re.sub(r"`+([^`]+)`+", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped


def _label(name: str) -> str:
    """A schema's name as people read it: ``Page of PaymentDocument``."""
    outer, _, inner = name.partition("_")
    return f"{outer} of {inner.rpartition('.')[2].rstrip('_')}" if inner else outer


def _operations(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for path, item in document["paths"].items():
        for method in METHODS:
            if (found := item.get(method)) is None:
                continue
            body = found.get("requestBody", {}).get("content", {}).get("application/json")
            yield {
                "id": f"{method}-{path}".replace("/", "-").replace("{", "").replace("}", ""),
                "method": method.upper(),
                "path": path,
                "tag": found.get("tags", ["Other"])[0],
                "title": found.get("summary", ""),
                "text": found.get("description", ""),
                "parameters": [
                    {**one, "type": _type(one["schema"])} for one in found.get("parameters", [])
                ],
                "body": _type(body["schema"]) if body else None,
                "responses": [
                    (status, one["description"], _answer(one))
                    for status, one in sorted(found["responses"].items())
                ],
            }


def _answer(response: Mapping[str, Any]) -> list[str]:
    return [_type(one["schema"]) for one in response.get("content", {}).values()]


def _fields(schema: Mapping[str, Any]) -> dict[str, Any]:
    required = set(schema.get("required", ()))
    return {
        "text": schema.get("description", ""),
        "enum": schema.get("enum", []),
        "fields": [
            (name, _type(field), name in required, field.get("description", ""))
            for name, field in schema.get("properties", {}).items()
        ],
    }


def _type(schema: Mapping[str, Any]) -> str:
    """What a value may be, in a few words."""
    if "$ref" in schema:
        name: str = schema["$ref"].rpartition("/")[2]
        return name
    for choice in ("oneOf", "anyOf"):
        if choice in schema:
            return " or ".join(_type(one) for one in schema[choice])
    if "enum" in schema:
        return " or ".join(f'"{one}"' for one in schema["enum"])
    kind = schema.get("type", "any")
    if isinstance(kind, list):
        return " or ".join(kind)
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    limits = [
        f"{sign} {_whole(schema[name])}"
        for name, sign in (("minimum", "≥"), ("maximum", "≤"), ("pattern", "matches"))
        if name in schema
    ]
    if "maxLength" in schema:
        limits.append(f"{schema.get('minLength', 0)} to {schema['maxLength']} characters")
    shown = schema.get("format", kind)
    return f"{shown} ({', '.join(limits)})" if limits else str(shown)


def _whole(limit: Any) -> Any:
    return int(limit) if isinstance(limit, float) and limit.is_integer() else limit
