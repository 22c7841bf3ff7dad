"""Pages of a simulated wallet, and answers in JSON."""

from functools import cache
from typing import Any

import msgspec
from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; form-action *; base-uri 'none'; "
    "frame-ancestors 'none'"
)


def json_answer(value: Any, *, status: int = 200) -> web.Response:
    return web.Response(
        status=status, body=msgspec.json.encode(value), content_type="application/json"
    )


def page(package: str, name: str, **values: Any) -> web.Response:
    """The template ``name`` of the simulator that ``package`` is, filled in."""
    text = _templates(package).get_template(name).render(**values)
    return web.Response(
        text=text, content_type="text/html", headers={"content-security-policy": POLICY}
    )


@cache
def _templates(package: str) -> Environment:
    return Environment(loader=PackageLoader(package), autoescape=True, undefined=StrictUndefined)
