"""The connection to the database, and the bringing up to date of its schema."""

import fcntl
from collections.abc import Iterator
from pathlib import Path

from alembic import command
from alembic.config import Config
from fastapi import Request
from sqlalchemy import URL, Engine, create_engine, text
from sqlalchemy.orm import Session, sessionmaker

BACKEND_ROOT = Path(__file__).resolve().parents[2]

# Seconds that a request waits for the database before it is answered with an error.
CONNECT_TIMEOUT = 3
POOL_TIMEOUT = 5


def make_engine(url: URL, *, pool_size: int = 5, echo: bool = False) -> Engine:
    """Makes the engine; no connection is opened before the first use."""
    if url.get_backend_name() == "sqlite":
        return create_engine(
            url, echo=echo, connect_args={"check_same_thread": False, "timeout": POOL_TIMEOUT}
        )
    return create_engine(
        url,
        echo=echo,
        pool_size=pool_size,
        pool_timeout=POOL_TIMEOUT,
        pool_pre_ping=True,  # a database that was restarted is noticed before a request fails
        connect_args={"connect_timeout": CONNECT_TIMEOUT},
    )


def make_sessions(engine: Engine) -> sessionmaker[Session]:
    """Makes the factory of sessions."""
    return sessionmaker(engine, expire_on_commit=False)


def get_session(request: Request) -> Iterator[Session]:
    """Gives a request its session, committed if the request succeeds."""
    with request.app.state.sessions.begin() as session:
        yield session


def schema_revision(engine: Engine) -> str | None:
    """Asks the database which migration it is at; raises if it cannot be asked."""
    with engine.connect() as connection:
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def upgrade_sqlite(url: URL) -> None:
    """Brings a SQLite file up to date; with PostgreSQL the one-shot service `migrate` does that."""
    config = Config(BACKEND_ROOT / "alembic.ini")
    config.attributes["url"] = url
    if not url.database or url.database == ":memory:":
        raise ValueError(
            "DATABASE_URL: a SQLite database in memory is not shared between connections; use a file"
        )
    # Several workers start at once; only one may create the tables.
    with open(f"{url.database}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command.upgrade(config, "head")
