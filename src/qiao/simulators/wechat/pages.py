"""Pages of the simulated wallet, and answers in JSON."""

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


def page(name: str, **values: Any) -> web.Response:
    text = _templates().get_template(name).render(**values)
    return web.Response(
        text=text, content_type="text/html", headers={"content-security-policy": POLICY}
    )


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("qiao.simulators.wechat"), autoescape=True, undefined=StrictUndefined
    )
