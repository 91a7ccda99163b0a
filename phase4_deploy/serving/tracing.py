"""OpenTelemetry by flag: one span a request, sent over OTLP/HTTP. Imported only when asked for."""

import contextlib
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from phase4_deploy.serving.account import Usage
from shared.errors import VermeilError


class Tracing:
    """Spans to a collector: method, route, status, tokens; no content, no key, no address."""

    def __init__(self, endpoint: str):
        place = urlsplit(endpoint)
        if place.scheme not in ("http", "https") or not place.hostname:
            raise VermeilError(f"'{endpoint}' is no collector", "e.g. http://localhost:4318")
        if place.path in ("", "/"):
            endpoint = endpoint.rstrip("/") + "/v1/traces"
        self._provider = TracerProvider(resource=Resource.create({"service.name": "vermeil"}))
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint)))
        self._tracer = self._provider.get_tracer("vermeil")

    @contextlib.contextmanager
    def span(self, method: str, headers: Mapping[str, str]) -> Iterator[Span]:
        """The span of one request, part of its caller's trace where `traceparent` names one."""
        caller = TraceContextTextMapPropagator().extract(
            {name: headers[name] for name in ("traceparent", "tracestate") if name in headers}
        )
        # An exception's message may hold content: what is known of it is the status.
        with self._tracer.start_as_current_span(
            method, caller, SpanKind.SERVER, record_exception=False, set_status_on_exception=False
        ) as span:
            yield span

    @staticmethod
    def finish(span: Span, name: str, method: str, route: str, status: int, usage: Usage) -> None:
        """Say what became of the request."""
        span.update_name(f"{method} {route}")
        span.set_attributes(
            {
                "http.request.method": method,
                "http.route": route,
                "http.response.status_code": status,
                "vermeil.request_id": name,
                "gen_ai.usage.input_tokens": usage.prompt_tokens,
                "gen_ai.usage.output_tokens": usage.completion_tokens,
            }
        )
        if status >= 500:
            span.set_status(Status(StatusCode.ERROR))

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()
