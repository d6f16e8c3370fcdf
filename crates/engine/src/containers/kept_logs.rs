//! Logs of containers that an `up` replaced: kept for a while, so that what the earlier one said last can still be read.
//!
//! ```text
//! <data>/kept-logs/<project>/<service>/<id>/kept.json       whose it is
//! <data>/kept-logs/<project>/<service>/<id>/container.log   and its segments
//! ```
//!
//! Of each service the last five are kept, for a week; a `down` drops them.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coracle_container::{ContainerId, ContainerRecord, ContainerState};
use coracle_runtime::LogQuery;
use coracle_store::layout;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Containers, LABEL_PROJECT, LABEL_SERVICE, LogLine, LogRequest, directory_names};
use crate::{During, Result, stored};

/// How many logs of one service are kept.
const KEPT: usize = 5;
/// How long.
const AGE: Duration = Duration::from_hours(7 * 24);

/// The log of a container that was replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptLog {
    /// The container.
    pub id: ContainerId,
    /// Its name.
    pub name: String,
    /// Its project.
    pub project: String,
    /// Its service.
    pub service: String,
    /// When the container was made.
    pub created: Timestamp,
    /// When it was replaced.
    pub replaced: Timestamp,
    /// Its exit code, if that is known.
    #[serde(default)]
    pub code: Option<i32>,
}

impl Containers<'_> {
    /// Keeps the log of a project's container that is about to be erased.
    pub(super) fn keep_log(&self, record: &ContainerRecord) -> Result<()> {
        let label = |name: &str| record.spec.labels.get(name).cloned();
        let (Some(project), Some(service)) = (label(LABEL_PROJECT), label(LABEL_SERVICE)) else {
            return Ok(());
        };
        let paths = self.engine.runtime.paths();
        let from = paths.log(&record.id);
        let Some(from) = from.parent().filter(|directory| directory.exists()) else { return Ok(()) };
        let code = match self.state(&record.id)? {
            ContainerState::Exited { code, .. } => Some(code),
            _ => None,
        };
        let kept = KeptLog {
            id: record.id.clone(),
            name: record.spec.name.clone(),
            project,
            service,
            created: record.created,
            replaced: Timestamp::now(),
            code,
        };
        let place = self.kept_place(&kept);
        let parent = place.parent().unwrap_or(&place);
        std::fs::create_dir_all(parent).during("making the directory of kept logs")?;
        std::fs::rename(from, &place).during("keeping a container's log")?;
        stored::write_fast(&place.join("kept.json"), &kept).during("keeping a container's log")?;
        self.drop_old_logs(&kept.project, Timestamp::now())
    }

    /// Returns the kept logs of a project's services (none means all), oldest first.
    pub fn kept_logs(&self, project: &str, services: &[String]) -> Result<Vec<KeptLog>> {
        let directory = self.kept_directory(project);
        let mut logs = Vec::new();
        for service in directory_names(&directory)? {
            for id in directory_names(&directory.join(&service))? {
                // One that another command drops right now is not there.
                let record = stored::read::<KeptLog>(&directory.join(&service).join(id).join("kept.json"));
                logs.extend(record.ok().flatten());
            }
        }
        logs.retain(|log| services.is_empty() || services.contains(&log.service));
        logs.sort_by_key(|log| log.replaced);
        Ok(logs)
    }

    /// Gives the lines of a kept log to `sink`.
    pub fn read_kept_log(
        &self,
        log: &KeptLog,
        request: &LogRequest,
        cancel: &AtomicBool,
        sink: &mut dyn FnMut(LogLine),
    ) -> Result<()> {
        let query =
            LogQuery { follow: false, tail: request.tail, since: request.since, until: request.until };
        let current = self.kept_place(log).join("container.log");
        self.engine
            .runtime
            .kept_log(&current, &query, &mut |entry| {
                sink(LogLine::of(entry));
                !cancel.load(Ordering::Relaxed)
            })
            .during(format_args!("reading the log that {} left", log.name))
    }

    /// Drops the kept logs of a project's services; none means all of them.
    pub fn drop_kept_logs(&self, project: &str, services: &[String]) -> Result<()> {
        let directory = self.kept_directory(project);
        if services.is_empty() {
            return remove(&directory);
        }
        for service in services {
            remove(&directory.join(layout::encode(service)))?;
        }
        Ok(())
    }

    /// Drops the kept logs of all projects that were left before `before`; returns how many.
    pub fn prune_kept_logs(&self, before: Timestamp) -> Result<usize> {
        let mut count = 0;
        for project in directory_names(&self.engine.layout.kept_logs())? {
            let Some(project) = layout::decode(&project) else { continue };
            for log in self.kept_logs(&project, &[])?.iter().filter(|log| log.replaced < before) {
                remove(&self.kept_place(log))?;
                count += 1;
            }
        }
        Ok(count)
    }

    fn drop_old_logs(&self, project: &str, now: Timestamp) -> Result<()> {
        let logs = self.kept_logs(project, &[])?;
        for (number, log) in logs.iter().enumerate() {
            let newer = logs[number + 1..].iter().filter(|other| other.service == log.service).count();
            if newer >= KEPT || log.replaced + AGE < now {
                remove(&self.kept_place(log))?;
            }
        }
        Ok(())
    }

    fn kept_directory(&self, project: &str) -> PathBuf {
        self.engine.layout.kept_logs().join(layout::encode(project))
    }

    fn kept_place(&self, log: &KeptLog) -> PathBuf {
        self.kept_directory(&log.project).join(layout::encode(&log.service)).join(log.id.as_str())
    }
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(crate::Failure::ours("removing kept logs", &error))
        }
        _ => Ok(()),
    }
}
