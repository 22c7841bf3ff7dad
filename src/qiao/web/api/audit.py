"""The merchant's audit log: who did what, when and from where. Reading only."""

from datetime import datetime
from typing import Annotated

import msgspec
from litestar import Router, get
from litestar.params import QueryParameter

from qiao.engine.audit import AuditEntry, list_entries
from qiao.engine.key_policy import KeyScope
from qiao.web.access import TheEngine, TheMerchant, needs
from qiao.web.api.documents import Limit, Page, page_of
from qiao.web.api.responses import refusals

Before = Annotated[int | None, QueryParameter(ge=1, le=2**63 - 1)]


class AuditDocument(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the log. ``digest`` covers this row and, through it, every earlier one."""

    sequence: int
    at: datetime
    actor: Annotated[str, msgspec.Meta(description="api_key, command, operator or system")]
    actor_id: str
    origin: str | None
    action: str
    subject_id: str | None
    live: bool | None
    fields: Annotated[list[str], msgspec.Meta(description="the names of what changed")]
    digest: str
    object: str = "audit_entry"


def _document(entry: AuditEntry) -> AuditDocument:
    content = entry.content
    return AuditDocument(
        sequence=entry.sequence,
        at=content.at,
        actor=content.actor_kind,
        actor_id=content.actor_id,
        origin=content.origin,
        action=content.action,
        subject_id=content.subject_id,
        live=content.live,
        fields=content.fields,
        digest=entry.digest,
    )


@get("/audit", responses=refusals(), tags=["Audit"], opt=needs(KeyScope.AUDIT_READ))
async def get_audit(
    engine: TheEngine, merchant: TheMerchant, limit: Limit = 20, before: Before = None
) -> Page[AuditDocument]:
    """The newest first, without what happened in the other mode; ``before`` is a sequence."""
    found = await list_entries(
        engine.database, merchant.merchant_id, live=merchant.live, before=before, limit=limit
    )
    return page_of([_document(one) for one in found], limit)


audit = Router("/", route_handlers=[get_audit])
