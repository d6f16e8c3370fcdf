from pathlib import Path

import pytest

from api.settings import ConfigurationError, ServerSettings, Settings, load


def test_alone_it_uses_a_sqlite_file() -> None:
    assert str(load(Settings).database()) == "sqlite:///./orchestrator.db"


def test_the_url_is_put_together_from_its_parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("p@ss/word:%\n")
    for name, value in {
        "DATABASE_HOST": "database",
        "DATABASE_NAME": "orchestrator_dev",
        "DATABASE_USER": "someone",
        "DATABASE_PASSWORD_FILE": str(tmp_path / "password"),
    }.items():
        monkeypatch.setenv(name, value)
    url = load(Settings).database()
    assert url.drivername == "postgresql+psycopg"
    assert (url.host, url.port, url.database, url.username) == (
        "database",
        5432,
        "orchestrator_dev",
        "someone",
    )
    assert url.password == "p@ss/word:%"
    assert "p@ss" not in str(url)


def test_a_url_may_leave_the_password_to_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hidden")
    monkeypatch.setenv("DATABASE_URL", "postgres://someone@database/orchestrator")
    monkeypatch.setenv("DATABASE_PASSWORD_FILE", str(tmp_path / "password"))
    assert load(Settings).database().password == "hidden"


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"ENVIRONMENT": "test"},
            "ENVIRONMENT='test': input should be 'development', 'staging' or 'production'",
        ),
        ({"DATABASE_PORT": "0"}, "DATABASE_PORT='0': input should be greater than or equal to 1"),
        ({"DEBUG": "maybe"}, "DEBUG='maybe': input should be a valid boolean"),
        ({"DEBUG": "true", "ENVIRONMENT": "production"}, "DEBUG=true is refused with ENVIRONMENT=production"),
        ({"DATABASE_URL": "sqlite://", "DATABASE_HOST": "x"}, "DATABASE_URL and DATABASE_HOST are both set"),
        ({"DATABASE_PASSWORD": "a", "DATABASE_PASSWORD_FILE": "/b"}, "are both set; keep one"),
        ({"DATABASE_URL": "nonsense"}, "DATABASE_URL is not a database address"),
        ({"DATABASE_URL": "mysql://u:sesame@h/d"}, "DATABASE_URL: mysql is not supported"),
        (
            {"DATABASE_HOST": "x", "DATABASE_PASSWORD_FILE": "/nowhere/file"},
            "DATABASE_PASSWORD_FILE=/nowhere/file: No such file or directory",
        ),
    ],
)
def test_bad_values_are_named(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], message: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        load(Settings)
    assert message in str(caught.value)
    assert "sesame" not in str(caught.value)


def test_every_bad_variable_is_listed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVIRONMENT", "x")
    monkeypatch.setenv("DATABASE_PORT", "y")
    with pytest.raises(ConfigurationError, match=r"(?s)ENVIRONMENT='x'.*DATABASE_PORT='y'"):
        load(Settings)


def test_an_empty_variable_means_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_PORT", "")
    assert load(Settings).database_port == 5432


def test_an_empty_password_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("\n")
    monkeypatch.setenv("DATABASE_HOST", "database")
    monkeypatch.setenv("DATABASE_PASSWORD_FILE", str(tmp_path / "password"))
    with pytest.raises(ConfigurationError, match="the file is empty"):
        load(Settings)


def test_the_server_refuses_a_bad_number_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKERS", "${WORKERS}")
    with pytest.raises(ConfigurationError, match=r"WORKERS='\$\{WORKERS\}': input should be a valid integer"):
        load(ServerSettings)
