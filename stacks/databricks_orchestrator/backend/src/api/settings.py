"""Settings: read from the environment once, checked before anything else happens."""

import sys
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

Port = Annotated[int, Field(ge=1, le=65535)]

DEFAULT_DATABASE_URL = "sqlite:///./orchestrator.db"


class ConfigurationError(Exception):
    """A setting that cannot be used; the text names the variable."""


class Settings(BaseSettings):
    """What the application needs to know; each field is an environment variable of that name."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    environment: Literal["development", "staging", "production"] = "development"
    app_title: str = "Orchestrator"
    app_version: str = "0.0.0"
    debug: bool = False
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    # Either one URL, or the parts; with neither, a SQLite file in the working directory.
    database_url: str | None = None
    database_host: str | None = None
    database_port: Port = 5432
    database_name: str = "orchestrator"
    database_user: str = "postgres"
    database_password: SecretStr | None = None
    database_password_file: Path | None = None
    database_pool_size: Annotated[int, Field(ge=1, le=100)] = 5

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.debug and self.environment == "production":
            raise ValueError("DEBUG=true is refused with ENVIRONMENT=production")
        if self.database_url is not None and self.database_host is not None:
            raise ValueError("DATABASE_URL and DATABASE_HOST are both set; keep one of them")
        if self.database_password is not None and self.database_password_file is not None:
            raise ValueError("DATABASE_PASSWORD and DATABASE_PASSWORD_FILE are both set; keep one of them")
        self.database()  # reads the password's file now, so that a missing one stops the start
        return self

    def database(self) -> URL:
        """Composes the address of the database, the driver and the password included."""
        if self.database_host is not None:
            url = URL.create(
                "postgresql",
                username=self.database_user,
                host=self.database_host,
                port=self.database_port,
                database=self.database_name,
            )
        else:
            try:
                url = make_url(self.database_url or DEFAULT_DATABASE_URL)
            except ArgumentError:
                # The value itself may hold a password, so it is not repeated here.
                raise ValueError(
                    "DATABASE_URL is not a database address (dialect://user@host/name)"
                ) from None
        if url.drivername in ("postgres", "postgresql"):
            url = url.set(drivername="postgresql+psycopg")
        if url.get_backend_name() not in ("postgresql", "sqlite"):
            raise ValueError(
                f"DATABASE_URL: {url.get_backend_name()} is not supported; use postgresql or sqlite"
            )
        if url.get_backend_name() == "postgresql":
            password = self._password()
            if password is not None:
                url = url.set(password=password)
        return url

    def _password(self) -> str | None:
        if self.database_password_file is not None:
            try:
                password = self.database_password_file.read_text(encoding="utf-8").strip()
            except OSError as error:
                reason = error.strerror or error
                raise ValueError(f"DATABASE_PASSWORD_FILE={self.database_password_file}: {reason}") from None
            if not password:
                raise ValueError(f"DATABASE_PASSWORD_FILE={self.database_password_file}: the file is empty")
            return password
        return self.database_password.get_secret_value() if self.database_password is not None else None


class ServerSettings(BaseSettings):
    """What gunicorn.conf.py needs to know."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    workers: Annotated[int, Field(ge=1, le=64)] = 4
    worker_connections: Annotated[int, Field(ge=1)] = 1000
    max_requests: Annotated[int, Field(ge=0)] = 1000
    max_requests_jitter: Annotated[int, Field(ge=0)] = 50
    graceful_timeout: Annotated[int, Field(ge=1, le=600)] = 20
    log_level: Literal["debug", "info", "warning", "error"] = "info"


AnySettings = TypeVar("AnySettings", bound=BaseSettings)


def load(kind: type[AnySettings]) -> AnySettings:
    """Reads the environment, or raises one ConfigurationError that lists every bad variable."""
    try:
        return kind()
    except ValidationError as error:
        lines = [_describe(problem) for problem in error.errors(include_url=False, include_context=False)]
        raise ConfigurationError(
            "configuration error:\n" + "\n".join(f"  {line}" for line in lines)
        ) from None


def settings_or_exit() -> Settings:
    """Reads the application's settings; a bad one ends the process with a message, not a traceback."""
    return _or_exit(Settings)


def server_settings_or_exit() -> ServerSettings:
    """Reads gunicorn's settings; a bad one ends the process with a message, not a traceback."""
    return _or_exit(ServerSettings)


def _or_exit(kind: type[AnySettings]) -> AnySettings:
    try:
        return load(kind)
    except ConfigurationError as error:
        sys.exit(str(error))


def _describe(problem: dict) -> str:
    message = problem["msg"].removeprefix("Value error, ")
    if not problem["loc"]:
        return message
    variable = str(problem["loc"][0]).upper()
    shown = "" if "PASSWORD" in variable or "URL" in variable else f"={problem['input']!r}"
    return f"{variable}{shown}: {message[:1].lower()}{message[1:]}"
