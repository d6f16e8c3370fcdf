"""`/api/jobs`: create, list, get, trigger."""

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from api.database import get_session
from api.metrics import JOBS_CREATED, RUNS_TRIGGERED
from api.models import Job, Run
from api.schemas import JobView, NewJob, RunView

router = APIRouter(prefix="/api/jobs", tags=["jobs"])
# The scope ends before the answer goes out: a client that has read it finds its row committed.
Database = Annotated[Session, Depends(get_session, scope="function")]


def find_job(session: Session, job_id: int) -> Job:
    """Finds a job, or answers 404."""
    job = session.get(Job, job_id)
    if job is None:
        raise HTTPException(404, f"there is no job {job_id}")
    return job


def start_run(session: Session, job: Job) -> Run:
    """Records that a job runs from now on."""
    run = Run(job=job)
    session.add(run)
    session.flush()
    RUNS_TRIGGERED.inc()
    return run


@router.get("")
def list_jobs(session: Database) -> list[JobView]:
    """All jobs, by name."""
    return [JobView.model_validate(job) for job in session.scalars(select(Job).order_by(Job.name))]


@router.post("", status_code=201, responses={409: {}})
def create_job(new: NewJob, session: Database) -> JobView:
    """Creates a job; names are unique."""
    job = Job(name=new.name, description=new.description)
    session.add(job)
    try:
        session.flush()
    except IntegrityError:
        raise HTTPException(409, f"there is already a job named {new.name!r}") from None
    JOBS_CREATED.inc()
    return JobView.model_validate(job)


@router.get("/{job_id}", responses={404: {}})
def get_job(job_id: int, session: Database) -> JobView:
    """One job."""
    return JobView.model_validate(find_job(session, job_id))


@router.post("/{job_id}/runs", status_code=201, responses={404: {}})
def trigger_job(job_id: int, session: Database) -> RunView:
    """Starts a run of the job."""
    return RunView.model_validate(start_run(session, find_job(session, job_id)))
