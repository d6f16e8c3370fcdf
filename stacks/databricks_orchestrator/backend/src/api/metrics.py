"""Prometheus metrics, summed over all worker processes where there are several."""

import os
import time

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
    multiprocess,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUESTS = Counter(
    "orchestrator_http_requests_total", "HTTP requests answered", ["method", "route", "status"]
)
DURATION = Histogram("orchestrator_http_request_duration_seconds", "Time to answer", ["method", "route"])
JOBS_CREATED = Counter("orchestrator_jobs_created_total", "Jobs created")
RUNS_TRIGGERED = Counter("orchestrator_runs_triggered_total", "Runs started")
RUNS_FINISHED = Counter("orchestrator_runs_finished_total", "Runs ended", ["status"])


def exposition() -> tuple[bytes, str]:
    """The metrics in Prometheus' text format, and that format's content type."""
    registry = REGISTRY
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)
    return generate_latest(registry), CONTENT_TYPE_LATEST


class MetricsMiddleware:
    """Counts and times every request by its route's pattern, so that ids make no new series."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = 500
        began = time.perf_counter()

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watch)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            REQUESTS.labels(scope["method"], route, status).inc()
            DURATION.labels(scope["method"], route).observe(time.perf_counter() - began)
