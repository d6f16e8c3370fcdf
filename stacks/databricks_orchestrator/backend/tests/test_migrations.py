"""The migrations against a real database file, and against the models."""

import sqlite3
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import make_url

from api.database import BACKEND_ROOT, make_engine, upgrade_sqlite
from api.models import Base


def config(url: str) -> Config:
    made = Config(BACKEND_ROOT / "alembic.ini")
    made.attributes["url"] = make_url(url)
    return made


def test_the_migrations_give_the_tables_that_the_models_expect(database_url: str) -> None:
    upgrade_sqlite(make_url(database_url))
    engine = make_engine(make_url(database_url))
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_up_down_up(database_url: str) -> None:
    command.upgrade(config(database_url), "head")
    command.downgrade(config(database_url), "base")
    command.upgrade(config(database_url), "head")


def test_starter_jobs_are_taken_over(database_url: str, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "test.db") as connection:
        connection.execute("CREATE TABLE starter_jobs (name TEXT PRIMARY KEY, description TEXT NOT NULL)")
        connection.execute("INSERT INTO starter_jobs VALUES ('ingest', 'brings data in')")
    command.upgrade(config(database_url), "head")
    with sqlite3.connect(tmp_path / "test.db") as connection:
        assert connection.execute("SELECT name, description FROM jobs").fetchall() == [
            ("ingest", "brings data in")
        ]
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert "starter_jobs" not in tables
