"""Set OpenTelemetry's SDK up, when its own environment variables ask for traces."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version

from opentelemetry import trace

from qiao.domain.errors import InvalidInput

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
REMEDY = "install it: pip install 'qiao[telemetry]', or unset the variable"


@contextmanager
def tracing(environment: Mapping[str, str] | None = None) -> Iterator[None]:
    """Traces are sent while the block runs, and what is left at its end. Raises InvalidInput.

    Without an endpoint of OTLP, or with OTEL_SDK_DISABLED=true, nothing is traced.
    """
    given = os.environ if environment is None else environment
    asked = next((name for name in ENDPOINTS if given.get(name)), None)
    off = given.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if asked is None or off or given.get("OTEL_TRACES_EXPORTER", "otlp") == "none":
        yield
        return
    protocol = given.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or given.get(
        "OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"
    )
    if protocol != "http/protobuf":
        raise InvalidInput(
            f"{protocol} is not spoken here",
            field="OTEL_EXPORTER_OTLP_PROTOCOL",
            remedy="send traces as http/protobuf, to port 4318 of most collectors",
        )
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError:
        raise InvalidInput(
            "OpenTelemetry's exporter is not installed", field=asked, remedy=REMEDY
        ) from None
    resource = Resource.create(
        {
            "service.name": given.get("OTEL_SERVICE_NAME", "qiao"),
            "service.version": version("qiao"),
        }
    )
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        provider.shutdown()
