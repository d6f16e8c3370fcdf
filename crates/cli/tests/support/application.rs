//! The reference stack's application as its users reach it: over HTTP.

use serde_json::{Value, json};

use super::{Answer, SOON, Stack, eventually, get, request, unique};

/// The application under one address.
#[derive(Clone, Debug)]
pub struct Application {
    url: String,
}

impl Application {
    /// Returns the application at an address such as `https://localhost:8443`.
    pub fn at(url: impl Into<String>) -> Self {
        Self { url: url.into() }
    }

    /// Returns its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Gets a path.
    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        get(&format!("{}{path}", self.url))
    }

    /// Posts JSON to a path.
    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        request("POST", &format!("{}{path}", self.url), Some(body))
    }

    /// Fails unless page, API, documentation and health answer.
    #[track_caller]
    pub fn answers(&self, environment: &str) {
        let page = self.get("/").is(200);
        assert!(page.body.contains("<div id=\"root\">"), "{page}");
        let health = self.get("/health").is(200).json();
        assert_eq!(health["status"], "healthy", "{health}");
        assert_eq!(health["environment"], environment, "{health}");
        assert_eq!(health["database"], "postgresql", "{health}");
        let docs = self.get("/docs").is(200);
        assert!(docs.body.contains("swagger"), "{docs}");
        self.get("/api/jobs").is(200).json();
        self.get("/api/jobs/999999").is(404);
    }

    /// Waits until the API is healthy again.
    #[track_caller]
    pub fn answers_again(&self) -> Value {
        eventually("the proxy reaches the API", SOON * 2, || {
            let answer = self.get("/health");
            if answer.status == 200 { Ok(answer.json()) } else { Err(answer.to_string()) }
        })
    }

    /// Returns whether a job of this name is listed.
    #[track_caller]
    pub fn has_job(&self, name: &str) -> bool {
        let jobs = self.get("/api/jobs").is(200).json();
        jobs.as_array().is_some_and(|jobs| jobs.iter().any(|job| job["name"] == name))
    }

    /// Creates a job, triggers it and ends its run, looks its row up in the stack's PostgreSQL, and returns the
    /// job's name.
    #[track_caller]
    pub fn job_from_end_to_end(&self, stack: &Stack, database: &str) -> String {
        let name = unique("job");
        let job = self.post("/api/jobs", &json!({"name": name})).is(201).json();
        let run = self.post(&format!("/api/jobs/{}/runs", job["id"]), &json!({})).is(201).json();
        assert_eq!(run["status"], "running", "{run}");
        let end = json!({"status": "succeeded", "message": "done by a test"});
        let finish = format!("/api/runs/{}/finish", run["id"]);
        self.post(&finish, &end).is(200);
        self.post(&finish, &end).is(409);
        assert_eq!(runs_of(stack, database, &name), "succeeded done by a test");
        name
    }
}

/// Returns state and message of each run of a job, as PostgreSQL has them.
#[track_caller]
pub fn runs_of(stack: &Stack, database: &str, job: &str) -> String {
    let query = format!(
        "select runs.status || ' ' || runs.message from runs join jobs on jobs.id = runs.job_id \
         where jobs.name = '{job}' order by runs.id"
    );
    stack.query(database, &query).to_lowercase()
}
