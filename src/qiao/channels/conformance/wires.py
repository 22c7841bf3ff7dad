"""How the other side reads what an operation sent."""

from qiao.channels.conformance.driving import Run
from qiao.channels.conformance.harness import ConformanceHarness
from qiao.channels.conformance.vocabulary import Understood
from qiao.domain.outcomes import AgreementPending, Pending


def understood(harness: ConformanceHarness, result: Run) -> list[Understood]:
    """Every request of a run as understood; the action alone where the run asked nothing."""
    if result.requests:
        return [harness.understand(request) for request in result.requests]
    if isinstance(result.outcome, Pending | AgreementPending) and result.outcome.action:
        return [harness.understand(result.outcome.action)]
    return []
