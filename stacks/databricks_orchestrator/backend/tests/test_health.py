import subprocess
import sys
from pathlib import Path

from fastapi.testclient import TestClient

from api.application import create_app
from api.settings import Settings

BACKEND = Path(__file__).resolve().parents[1]


def test_health_asks_the_database(client: TestClient) -> None:
    answer = client.get("/health")
    assert answer.status_code == 200
    body = answer.json()
    assert body["status"] == "healthy"
    assert body["environment"] == "development"
    assert body["version"] == "9.9.9"
    assert body["database"] == "sqlite"
    assert body["schema_revision"] == "0002"


def test_health_without_schema_is_503(tmp_path: Path) -> None:
    # Not entered as a context manager: the start-up, which would create the schema, does not run.
    client = TestClient(create_app(Settings(database_url=f"sqlite:///{tmp_path}/empty.db")))
    answer = client.get("/health")
    assert answer.status_code == 503
    assert answer.json()["status"] == "unhealthy"
    assert "alembic_version" in answer.json()["detail"]


def test_health_with_an_unreachable_database_is_503() -> None:
    client = TestClient(create_app(Settings(database_host="127.0.0.1", database_port=1)))
    answer = client.get("/health")
    assert answer.status_code == 503
    assert answer.json()["database"] == "postgresql"
    assert "127.0.0.1" in answer.json()["detail"]


def test_docs_and_openapi(client: TestClient) -> None:
    assert client.get("/docs").status_code == 200
    assert {"/api/jobs", "/api/runs", "/health"} <= set(client.get("/openapi.json").json()["paths"])


def test_metrics_count_by_route(client: TestClient) -> None:
    for job_id in (1, 2, 3):
        client.get(f"/api/jobs/{job_id}")
    body = client.get("/metrics").text
    line = 'orchestrator_http_requests_total{method="GET",route="/api/jobs/{job_id}",status="404"}'
    assert line in body
    assert "/api/jobs/1" not in body


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(BACKEND / "src"), "PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_bad_setting_stops_the_start_and_names_the_variable() -> None:
    result = run_python("import api.main", ENVIRONMENT="prodution")
    assert result.returncode == 1
    assert "ENVIRONMENT='prodution'" in result.stderr
    assert "Traceback" not in result.stderr


def test_metrics_are_summed_over_processes(tmp_path: Path) -> None:
    count = "from api.metrics import JOBS_CREATED; JOBS_CREATED.inc()"
    show = "from api.metrics import exposition; print(exposition()[0].decode())"
    for code in (count, count):
        assert run_python(code, PROMETHEUS_MULTIPROC_DIR=str(tmp_path)).returncode == 0
    assert (
        "orchestrator_jobs_created_total 2.0"
        in run_python(show, PROMETHEUS_MULTIPROC_DIR=str(tmp_path)).stdout
    )
