from fastapi.testclient import TestClient

from api.application import create_app
from api.settings import Settings


def create(client: TestClient, name: str = "nightly load") -> dict:
    answer = client.post("/api/jobs", json={"name": name, "description": "loads the tables"})
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_a_job_is_created_listed_and_found(client: TestClient) -> None:
    assert client.get("/api/jobs").json() == []
    job = create(client, "  nightly load ")
    assert job["name"] == "nightly load"
    assert job["created_at"].endswith(("Z", "+00:00"))
    create(client, "a report")
    assert [j["name"] for j in client.get("/api/jobs").json()] == ["a report", "nightly load"]
    assert client.get(f"/api/jobs/{job['id']}").json() == job


def test_names_are_unique(client: TestClient) -> None:
    create(client)
    answer = client.post("/api/jobs", json={"name": "nightly load"})
    assert answer.status_code == 409
    assert "nightly load" in answer.json()["detail"]
    assert len(client.get("/api/jobs").json()) == 1


def test_a_job_needs_a_name(client: TestClient) -> None:
    assert client.post("/api/jobs", json={"name": "   "}).status_code == 422
    assert client.post("/api/jobs", json={"name": "x" * 101}).status_code == 422
    assert client.post("/api/jobs", json={}).status_code == 422


def test_a_run_is_triggered_and_finished_once(client: TestClient) -> None:
    job = create(client)
    run = client.post(f"/api/jobs/{job['id']}/runs").json()
    assert (run["status"], run["job_name"], run["finished_at"]) == ("running", "nightly load", None)

    ended = client.post(f"/api/runs/{run['id']}/finish", json={"status": "failed", "message": "no space"})
    assert ended.status_code == 200
    assert (ended.json()["status"], ended.json()["message"]) == ("failed", "no space")
    assert ended.json()["finished_at"] >= run["started_at"]

    again = client.post(f"/api/runs/{run['id']}/finish", json={"status": "succeeded"})
    assert again.status_code == 409
    assert client.get(f"/api/runs/{run['id']}").json()["status"] == "failed"


def test_a_run_cannot_be_finished_as_running(client: TestClient) -> None:
    run = client.post(f"/api/jobs/{create(client)['id']}/runs").json()
    assert client.post(f"/api/runs/{run['id']}/finish", json={"status": "running"}).status_code == 422


def test_runs_are_listed_latest_first_and_filtered(client: TestClient) -> None:
    first, second = create(client, "first"), create(client, "second")
    runs = [client.post("/api/runs", json={"job_id": j["id"]}).json()["id"] for j in (first, second, first)]
    client.post(f"/api/runs/{runs[0]}/finish", json={"status": "succeeded"})

    def listed(query: str = "") -> list[int]:
        return [run["id"] for run in client.get(f"/api/runs{query}").json()]

    assert listed() == runs[::-1]
    assert listed(f"?job_id={first['id']}") == [runs[2], runs[0]]
    assert listed("?status=running") == [runs[2], runs[1]]
    assert listed("?limit=1") == [runs[2]]
    assert client.get("/api/runs?limit=0").status_code == 422


def test_unknown_ids_are_404(client: TestClient) -> None:
    assert client.get("/api/jobs/77").status_code == 404
    assert client.post("/api/jobs/77/runs").status_code == 404
    assert client.post("/api/runs", json={"job_id": 77}).status_code == 404
    assert client.get("/api/runs/77").status_code == 404
    assert client.post("/api/runs/77/finish", json={"status": "succeeded"}).status_code == 404


def test_rows_survive_a_restart(client: TestClient, database_url: str) -> None:
    job = create(client)
    with TestClient(create_app(Settings(database_url=database_url))) as second:
        assert second.get("/api/jobs").json() == [job]


def test_without_a_database_the_answer_is_503() -> None:
    client = TestClient(create_app(Settings(database_host="127.0.0.1", database_port=1)))
    answer = client.get("/api/jobs")
    assert answer.status_code == 503
    assert "database" in answer.json()["detail"]
