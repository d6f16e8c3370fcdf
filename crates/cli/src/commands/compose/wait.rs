//! `coracle compose wait`: until containers of services end.

use std::sync::mpsc;

use coracle_engine::{DownOptions, Failure, Result};
use coracle_report::Diagnostic;

use super::options::{self, Session, cancel};
use crate::commands::Done;

/// Options of `coracle compose wait`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Services.
    #[arg(required = true, add = options::services())]
    services: Vec<String>,
    /// Take the project down when the first of them ends.
    #[arg(long)]
    down_project: bool,
}

/// Runs the command: prints how each container ended, and passes the last exit code on.
pub fn run(session: &Session<'_>, args: Args) -> Result<Done> {
    let cancel = cancel()?;
    let (engine, _) = session.engine()?;
    let project = session.open(&engine, &args.services)?;
    let views = engine.projects().service_containers(&project, &args.services)?;
    if views.is_empty() {
        let message =
            format!("no containers of {} in project `{}`", args.services.join(", "), project.name());
        return Err(Failure::user(
            Diagnostic::error("no-container", message).with_hint("coracle compose up -d"),
        ));
    }
    let first = args.down_project;
    let (sender, ends) = mpsc::channel();
    for view in views {
        // Left behind when the first end is enough: they end with the process.
        let (sender, context) = (sender.clone(), session.context.again());
        std::thread::spawn(move || {
            let code = context.quiet_engine().and_then(|engine| engine.containers().wait(&view.record.id));
            let _ = sender.send((view.record.spec.name, code));
        });
    }
    drop(sender);
    let mut last = 0;
    while let Ok((name, code)) = ends.recv() {
        last = code?;
        session.context.printer.data(format!("container \"{name}\" exited with status code {last}"));
        if first {
            break;
        }
    }
    if args.down_project {
        let options = DownOptions { dry_run: session.dry_run, ..DownOptions::default() };
        let plan = engine.projects().down_open(&project, &options, cancel.flag())?;
        if session.dry_run {
            session.show_plan(&plan);
        }
    }
    Ok(if last == 0 { Done::Ok } else { Done::Child(last) })
}
