"""What goes over the wire."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints

from api.models import RunStatus

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
Description = Annotated[str, StringConstraints(strip_whitespace=True, max_length=500)]
Message = Annotated[str, StringConstraints(max_length=10_000)]


class NewJob(BaseModel):
    """A job to create."""

    name: Name
    description: Description = ""


class JobView(BaseModel):
    """A job as the API shows it."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    description: str
    created_at: datetime


class NewRun(BaseModel):
    """A run to start."""

    job_id: int


class RunEnd(BaseModel):
    """How a run ended."""

    status: Literal[RunStatus.SUCCEEDED, RunStatus.FAILED]
    message: Message = ""


class RunView(BaseModel):
    """A run as the API shows it."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    job_id: int
    job_name: str
    status: RunStatus
    message: str
    started_at: datetime
    finished_at: datetime | None


class HealthView(BaseModel):
    """How the API and its database are."""

    status: Literal["healthy", "unhealthy"]
    environment: str
    version: str
    host: str
    database: str
    schema_revision: str | None = None
    detail: str | None = None
