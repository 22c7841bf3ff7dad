"""How the API's refusals look in OpenAPI."""

from litestar.openapi.datastructures import ResponseSpec

from qiao.web.problems import Problem


def refusals(*statuses: int) -> dict[int, ResponseSpec]:
    """Problem details for these statuses; those of ANYWHERE may come anywhere."""
    return {
        status: ResponseSpec(
            data_container=Problem,
            generate_examples=False,
            description=DESCRIPTIONS[status],
            media_type="application/problem+json",
        )
        for status in sorted({*ANYWHERE, *statuses})
    }


ANYWHERE = (400, 401, 403, 408, 429, 503, 504)
DESCRIPTIONS = {
    400: "The request is wrong; `field` and `remedy` say where and what to do. Nothing changed.",
    401: "The API key is missing, unknown, revoked or expired, or its signature is not good.",
    403: "The API key lacks the scope for this, or may not be used from this address.",
    404: "There is no such thing, for this merchant and in this key's mode; or it is in an archive"
    " (`archived`).",
    408: "The body did not arrive in time. Nothing changed.",
    409: "The request contradicts what is already there. Nothing changed.",
    413: "The body is larger than 64 KiB.",
    429: "This key asks too often, or this address brought too many wrong keys; see Retry-After.",
    503: "The database does not answer, this server is overloaded, or every account that could"
    " serve is out of order (`no_route`); the same request, with its key, may be sent again after"
    " `Retry-After`.",
    504: "The request's time is over; the same request, with its key, tells what came of it.",
}
