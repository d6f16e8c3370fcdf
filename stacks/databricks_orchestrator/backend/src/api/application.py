"""The making of the application."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from sqlalchemy.exc import OperationalError
from starlette.concurrency import run_in_threadpool

from api.database import make_engine, make_sessions, upgrade_sqlite
from api.metrics import MetricsMiddleware
from api.routes import health, jobs, runs
from api.settings import Settings

log = logging.getLogger(__name__)


def create_app(settings: Settings) -> FastAPI:
    """Puts the application together; the database is not touched before the server starts it."""
    logging.getLogger("api").setLevel(settings.log_level.upper())
    url = settings.database()
    engine = make_engine(url, pool_size=settings.database_pool_size, echo=settings.log_level == "debug")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if url.get_backend_name() == "sqlite":
            await run_in_threadpool(upgrade_sqlite, url)
        yield
        engine.dispose()

    app = FastAPI(
        title=settings.app_title, version=settings.app_version, debug=settings.debug, lifespan=lifespan
    )
    app.state.settings = settings
    app.state.engine = engine
    app.state.sessions = make_sessions(engine)
    app.add_exception_handler(OperationalError, _database_unavailable)
    app.add_middleware(MetricsMiddleware)
    app.include_router(health.router)
    app.include_router(jobs.router)
    app.include_router(runs.router)
    return app


def _database_unavailable(_request: Request, error: Exception) -> JSONResponse:
    log.error("database: %s", error)
    return JSONResponse({"detail": "the database cannot be reached; try again"}, status_code=503)
