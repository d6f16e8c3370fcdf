"""`/api/runs`: trigger, list, get, finish."""

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from api.metrics import RUNS_FINISHED
from api.models import Run, RunStatus, now
from api.routes.jobs import Database, find_job, start_run
from api.schemas import NewRun, RunEnd, RunView

router = APIRouter(prefix="/api/runs", tags=["runs"])


@router.get("")
def list_runs(
    session: Database,
    job_id: int | None = None,
    status: RunStatus | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> list[RunView]:
    """The latest runs first."""
    query = select(Run).options(joinedload(Run.job)).order_by(Run.id.desc()).limit(limit)
    if job_id is not None:
        query = query.where(Run.job_id == job_id)
    if status is not None:
        query = query.where(Run.status == status)
    return [RunView.model_validate(run) for run in session.scalars(query)]


@router.post("", status_code=201, responses={404: {}})
def trigger_run(new: NewRun, session: Database) -> RunView:
    """Starts a run of a job."""
    return RunView.model_validate(start_run(session, find_job(session, new.job_id)))


@router.get("/{run_id}", responses={404: {}})
def get_run(run_id: int, session: Database) -> RunView:
    """One run."""
    run = session.get(Run, run_id)
    if run is None:
        raise HTTPException(404, f"there is no run {run_id}")
    return RunView.model_validate(run)


@router.post("/{run_id}/finish", responses={404: {}, 409: {}})
def finish_run(run_id: int, end: RunEnd, session: Database) -> RunView:
    """Records how a run ended; a run ends once."""
    # The row is locked so that of two callers only one ends the run.
    run = session.get(Run, run_id, with_for_update=True)
    if run is None:
        raise HTTPException(404, f"there is no run {run_id}")
    if run.status is not RunStatus.RUNNING:
        raise HTTPException(409, f"run {run_id} has already {run.status.value}")
    run.status, run.message, run.finished_at = RunStatus(end.status), end.message, now()
    session.flush()
    RUNS_FINISHED.labels(run.status.value).inc()
    return RunView.model_validate(run)
