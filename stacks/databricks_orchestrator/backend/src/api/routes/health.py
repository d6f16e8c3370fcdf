"""`/health` and `/metrics`: what machines ask."""

import logging
import socket

from fastapi import APIRouter, Request, Response
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from api.database import schema_revision
from api.metrics import exposition
from api.schemas import HealthView

log = logging.getLogger(__name__)
router = APIRouter(tags=["health"])


@router.get("/health", responses={503: {"model": HealthView}})
def health(request: Request, response: Response) -> HealthView:
    """Asks the database; answers 503 if it gives no answer or has no schema."""
    settings, engine = request.app.state.settings, request.app.state.engine
    view = HealthView(
        status="healthy",
        environment=settings.environment,
        version=settings.app_version,
        host=socket.gethostname(),
        database=engine.dialect.name,
    )
    try:
        view.schema_revision = schema_revision(engine)
        if view.schema_revision is None:
            view.detail = "the database has no schema; run: alembic upgrade head"
    except SQLAlchemyError as error:
        log.warning("health: %s", error)
        # Only the driver's own text: SQLAlchemy's adds the statement and a link.
        view.detail = str(error.orig if isinstance(error, DBAPIError) else error).strip()
    if view.detail is not None:
        view.status = "unhealthy"
        response.status_code = 503
    return view


@router.get("/metrics", include_in_schema=False)
def metrics() -> Response:
    """The metrics for Prometheus."""
    body, content_type = exposition()
    return Response(body, headers={"content-type": content_type})
