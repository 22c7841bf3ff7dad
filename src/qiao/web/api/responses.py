"""How the API's refusals look in OpenAPI."""

from litestar.openapi.datastructures import ResponseSpec

from qiao.web.problems import Problem


def refusals(*statuses: int) -> dict[int, ResponseSpec]:
    """Problem details for these statuses; 400, 401 and 503 may come anywhere."""
    return {
        status: ResponseSpec(
            data_container=Problem,
            generate_examples=False,
            description=DESCRIPTIONS[status],
            media_type="application/problem+json",
        )
        for status in (400, 401, *statuses, 503)
    }


DESCRIPTIONS = {
    400: "The request is wrong; `field` and `remedy` say where and what to do. Nothing changed.",
    401: "The API key is missing, unknown or revoked.",
    404: "There is no such thing, for this merchant and in this key's mode.",
    409: "The request contradicts what is already there. Nothing changed.",
    413: "The body is larger than 64 KiB.",
    503: "The database does not answer, or every account that could serve is out of order"
    " (`no_route`); the same request, with its key, may be sent again after `Retry-After`.",
}
