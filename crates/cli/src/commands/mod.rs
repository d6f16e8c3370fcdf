//! One file a command; this one parses the command line, calls the command and turns its end into an exit code.

pub mod attach;
pub mod bake;
pub mod base;
pub mod boot;
pub mod build;
pub mod builder;
pub mod check;
pub mod commit;
pub mod completions;
pub mod compose;
pub mod config;
pub mod container;
pub mod cp;
pub mod create;
mod detach_keys;
pub mod diff;
pub mod doctor;
pub mod down;
pub mod env;
pub mod events;
pub mod exec;
pub mod explain;
pub mod export;
mod flag_error;
mod further_args;
pub mod graph;
pub mod images;
pub mod import;
pub mod inspect;
pub mod install;
pub mod keeper;
mod kernel_args;
pub mod kill;
pub mod load;
mod log_lines;
mod log_options;
pub mod logs;
pub mod network;
mod networks_arg;
mod origins;
pub mod pause;
pub mod port;
pub mod ps;
pub mod push;
pub mod reap;
pub mod rename;
pub mod restart;
pub mod rm;
pub mod rmi;
pub mod run;
pub mod save;
pub mod sbom;
pub mod start;
pub mod stats;
pub mod stop;
pub mod tag;
mod target;
pub mod top;
pub mod up;
pub mod update;
pub mod volume;
pub mod wait;
mod why;

use std::process::ExitCode;

use coracle_engine::{Failure, Fault, Result};

use crate::arguments::Command;
use crate::command_line::{self, Refusal};
use crate::context::Context;
use crate::diagnostics;
use crate::printer::Printer;
use crate::roots::Roots;

/// How a command ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// Everything was done: exit code 0.
    Ok,
    /// Something was not as the user wished, and has been said: exit code 1.
    Findings,
    /// A child's exit code is passed on.
    Child(i32),
}

/// Runs the command line and returns the exit code: 0 done, 1 the user's input or project, 2 ours.
pub fn run() -> ExitCode {
    completions::answer();
    let printer = Printer;
    let words: Vec<_> = std::env::args_os().collect();
    let arguments = match command_line::read(&words) {
        Ok(arguments) => arguments,
        Err(Refusal::Shown(error)) => {
            // Help and version go to standard output and are no failure; clap knows which is which.
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()));
        }
        Err(Refusal::Wrong(diagnostic)) => {
            diagnostics::print(printer, &diagnostic);
            return ExitCode::from(1);
        }
    };
    let roots = Roots::choose(arguments.data_root, arguments.run_root);
    if needs_world(&arguments.command)
        && let Err(failure) = roots.enter(printer)
    {
        return report(printer, &failure);
    }
    let context = Context { printer, data_root: roots.data, run_root: roots.run };
    match dispatch(&context, arguments.command) {
        Ok(Done::Ok) => ExitCode::SUCCESS,
        Ok(Done::Findings) => ExitCode::from(1),
        Ok(Done::Child(code)) => ExitCode::from(u8::try_from(code & 0xff).unwrap_or(u8::MAX)),
        Err(failure) => report(printer, &failure),
    }
}

/// Says whether a command works on containers, images, networks or volumes.
fn needs_world(command: &Command) -> bool {
    !matches!(
        command,
        Command::Completions(_)
            | Command::Explain(_)
            | Command::Doctor(doctor::Args { store: false, .. })
            | Command::Check(_)
            | Command::Config(_)
            | Command::Env(_)
            | Command::Graph(_)
    )
}

fn report(printer: Printer, failure: &Failure) -> ExitCode {
    for diagnostic in &failure.diagnostics {
        diagnostics::print(printer, diagnostic);
    }
    ExitCode::from(match failure.fault {
        Fault::User => 1,
        Fault::Ours => 2,
        Fault::Container(code) => code,
    })
}

fn dispatch(context: &Context, command: Command) -> Result<Done> {
    match command {
        Command::Up(args) => up::run(context, args),
        Command::Down(args) => down::run(context, args),
        Command::Build(args) => build::run(context, *args),
        Command::Builder(command) => builder::run(context, command),
        Command::Bake(args) => bake::run(context, *args),
        Command::Run(args) => run::run(context, *args),
        Command::Create(args) => create::run(context, *args),
        Command::Ps(args) => ps::run(context, args),
        Command::Push(args) => push::run(context, args),
        Command::Logs(args) => logs::run(context, args),
        Command::Exec(args) => exec::run(context, args),
        Command::Start(args) => start::run(context, args),
        Command::Stop(args) => stop::run(context, args),
        Command::Attach(args) => attach::run(context, args),
        Command::Commit(args) => commit::run(context, args),
        Command::Container(command) => container::run(context, *command),
        Command::Diff(args) => diff::run(context, args),
        Command::Import(args) => import::run(context, args),
        Command::Port(args) => port::run(context, args),
        Command::Rename(args) => rename::run(context, args),
        Command::Update(args) => update::run(context, args),
        Command::Restart(args) => restart::run(context, args),
        Command::Kill(args) => kill::run(context, args),
        Command::Pause(args) => pause::run(context, args, true),
        Command::Unpause(args) => pause::run(context, args, false),
        Command::Top(args) => top::run(context, args),
        Command::Stats(args) => stats::run(context, args),
        Command::Events(args) => events::run(context, args),
        Command::Cp(args) => cp::run(context, args),
        Command::Wait(args) => wait::run(context, args),
        Command::Rm(args) => rm::run(context, args),
        Command::Doctor(args) => doctor::run(context, args),
        Command::Inspect(args) => inspect::run(context, args),
        Command::Export(args) => export::run(context, args),
        Command::Images(args) => images::run(context, args),
        Command::Sbom(args) => sbom::run(context, args),
        Command::Save(args) => save::run(context, args),
        Command::Load(args) => load::run(context, args),
        Command::Rmi(args) => rmi::run(context, args),
        Command::Tag(args) => tag::run(context, args),
        Command::Volume(command) => volume::run(context, command),
        Command::Network(command) => network::run(context, command),
        Command::Base(command) => base::run(context, command),
        Command::Graph(graph) => graph::run(context, graph),
        Command::Config(args) => config::run(context, args),
        Command::Check(args) => check::run(context, *args),
        Command::Explain(args) => explain::run(context, args),
        Command::Env(command) => env::run(context, command),
        Command::Compose(args) => compose::run(context, *args),
        Command::Completions(args) => completions::run(context, args),
        Command::Boot(args) => boot::run(context, args),
        Command::Install(args) => install::install(context, args),
        Command::Uninstall(args) => install::uninstall(context, args),
        Command::Keeper(args) => keeper::run(context, args),
        Command::Reap(args) => reap::run(context, args),
    }
}

/// Runs `action` on each name, says what failed, and goes on with the rest, as Docker does.
fn each<T>(context: &Context, names: &[String], mut action: impl FnMut(&str) -> Result<T>) -> Done {
    let mut done = Done::Ok;
    for name in names {
        match action(name) {
            Ok(_) => context.printer.data(name),
            Err(failure) => {
                failure
                    .diagnostics
                    .iter()
                    .for_each(|diagnostic| diagnostics::print(context.printer, diagnostic));
                done = Done::Findings;
            }
        }
    }
    done
}
