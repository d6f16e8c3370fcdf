//! A Dockerfile back to text: what is printed reads as the same values (places aside).
//!
//! Continuations are joined and comments within them are gone; comments before instructions stay. Words stand as they
//! were written, so nothing is quoted anew but what a list or a flag had unquoted.

use std::fmt::Write as _;

use crate::instruction::{
    CommandForm, CopySource, FileOptions, Healthcheck, HealthcheckProbe, Heredoc, Instruction, PairForm,
    Statement,
};
use crate::line::heredoc_terminator;
use crate::logical::BLANKS;
use crate::{Dockerfile, Escape, NetworkMode, Run, Security, Stage, Word};

impl Dockerfile {
    /// Returns the file as text.
    pub fn print(&self) -> String {
        let mut printer = Printer { out: String::new(), escape: self.directives.escape };
        let directives = [("syntax", &self.directives.syntax), ("check", &self.directives.check)];
        for (name, value) in directives {
            if let Some(value) = value {
                printer.line(&format!("# {name}={}", value.value));
            }
        }
        if self.directives.escape != Escape::default() {
            printer.line(&format!("# escape={}", self.directives.escape.char()));
        }
        // What follows must not be read as a directive, whatever it looks like.
        printer.line("");
        for statement in &self.globals {
            printer.statement(statement);
        }
        for stage in &self.stages {
            printer.stage(stage);
        }
        printer.out
    }
}

struct Printer {
    out: String,
    escape: Escape,
}

impl Printer {
    fn line(&mut self, text: &str) {
        self.out.push_str(text);
        self.out.push('\n');
    }

    fn comments(&mut self, comments: &[Word]) {
        // An empty comment parts these from those of the instruction before.
        self.line("#");
        for comment in comments {
            self.line(&format!("# {}", comment.value));
        }
    }

    fn stage(&mut self, stage: &Stage) {
        self.comments(&stage.comments);
        let mut line = stage.keyword.value.clone();
        self.flag(&mut line, "platform", stage.platform.as_ref());
        let _ = write!(line, " {}", argument(&stage.image.value));
        if let (Some(word), Some(name)) = (&stage.as_word, &stage.written_name) {
            let _ = write!(line, " {} {}", word.value, name.value);
        }
        self.line(&line);
        for statement in &stage.instructions {
            self.statement(statement);
        }
    }

    fn statement(&mut self, statement: &Statement) {
        self.comments(&statement.comments);
        let (flags, rest, heredocs) = self.parts(&statement.instruction);
        let line = format!("{}{flags} {rest}", statement.keyword.value);
        self.line(line.trim_end_matches(BLANKS));
        for heredoc in heredocs {
            self.out.push_str(&heredoc.content);
            self.line(&heredoc.name);
        }
    }

    /// Returns an instruction's flags, its arguments, and the heredocs that follow.
    fn parts<'i>(&self, instruction: &'i Instruction) -> (String, String, Vec<&'i Heredoc>) {
        let mut flags = String::new();
        let rest = match instruction {
            Instruction::Arg(arguments) => {
                let words = arguments.iter().map(|argument| match &argument.default {
                    None => argument.name.value.clone(),
                    Some(default) => format!("{}={}", argument.name.value, default.value),
                });
                words.collect::<Vec<_>>().join(" ")
            }
            Instruction::Env(pairs) | Instruction::Label(pairs) => {
                let words = pairs.iter().map(|pair| match pair.form {
                    PairForm::Equals => format!("{}={}", pair.name.value, pair.value.value),
                    PairForm::Space => format!("{} {}", pair.name.value, pair.value.value),
                });
                words.collect::<Vec<_>>().join(" ")
            }
            Instruction::Run(run) => {
                self.run_flags(&mut flags, run);
                return (flags, command(&run.command), run.heredocs.iter().collect());
            }
            Instruction::Copy(copy) => {
                self.flag(&mut flags, "from", copy.from.as_ref());
                if copy.parents {
                    flags.push_str(" --parents");
                }
                return self.files(flags, &copy.options, &copy.sources, &copy.dest);
            }
            Instruction::Add(add) => {
                self.flag(&mut flags, "checksum", add.checksum.as_ref());
                if add.keep_git_dir {
                    flags.push_str(" --keep-git-dir");
                }
                if let Some(unpack) = add.unpack {
                    let _ = write!(flags, " --unpack={unpack}");
                }
                return self.files(flags, &add.options, &add.sources, &add.dest);
            }
            Instruction::Workdir(word)
            | Instruction::User(word)
            | Instruction::StopSignal(word)
            | Instruction::Maintainer(word) => word.value.clone(),
            Instruction::OnBuild(trigger) => trigger.text.value.clone(),
            Instruction::Expose(words) => joined(words),
            Instruction::Volume(words) => {
                let plain = words.iter().all(|word| plain(word)) && !joined(words).starts_with('[');
                if plain { joined(words) } else { list(words.iter().map(|word| word.value.as_str())) }
            }
            Instruction::Cmd(CommandForm::Shell(text))
            | Instruction::Entrypoint(CommandForm::Shell(text)) => text.clone(),
            Instruction::Cmd(form) | Instruction::Entrypoint(form) => command(form),
            Instruction::Healthcheck(check) => {
                self.healthcheck_flags(&mut flags, check);
                match &check.probe {
                    HealthcheckProbe::None => "NONE".to_owned(),
                    // Only flags of the instruction itself are looked for.
                    HealthcheckProbe::Command(CommandForm::Shell(text)) => format!("CMD {text}"),
                    HealthcheckProbe::Command(form) => format!("CMD {}", command(form)),
                }
            }
            Instruction::Shell(words) => list(words.iter().map(String::as_str)),
        };
        (flags, argument(&rest), Vec::new())
    }

    fn run_flags(&self, flags: &mut String, run: &Run) {
        for mount in &run.mounts {
            self.value(flags, "mount", &mount.text.value);
        }
        if run.security != Security::Sandbox {
            let _ = write!(flags, " --security={}", run.security.as_str());
        }
        // A default that was written is kept: whether something was written at all is a value too.
        if run.network != NetworkMode::Default || (run.granted.is_some() && run.security == Security::Sandbox)
        {
            let _ = write!(flags, " --network={}", run.network.as_str());
        }
    }

    fn healthcheck_flags(&self, flags: &mut String, check: &Healthcheck) {
        for (name, nanoseconds) in [
            ("interval", check.interval),
            ("timeout", check.timeout),
            ("start-period", check.start_period),
            ("start-interval", check.start_interval),
        ] {
            if nanoseconds != 0 {
                let _ = write!(flags, " --{name}={nanoseconds}ns");
            }
        }
        if check.retries != 0 {
            let _ = write!(flags, " --retries={}", check.retries);
        }
    }

    fn files<'i>(
        &self,
        mut flags: String,
        options: &FileOptions,
        sources: &'i [CopySource],
        dest: &'i Word,
    ) -> (String, String, Vec<&'i Heredoc>) {
        self.flag(&mut flags, "chown", options.chown.as_ref());
        self.flag(&mut flags, "chmod", options.chmod.as_ref());
        if options.link {
            flags.push_str(" --link");
        }
        for pattern in &options.exclude {
            self.value(&mut flags, "exclude", pattern);
        }
        let words: Vec<&str> = sources
            .iter()
            .map(|source| match source {
                CopySource::Path(word) => word.value.as_str(),
                CopySource::Heredoc(heredoc) => heredoc.word.value.as_str(),
            })
            .chain([dest.value.as_str()])
            .collect();
        let heredocs: Vec<&Heredoc> = sources
            .iter()
            .filter_map(|source| match source {
                CopySource::Heredoc(heredoc) => Some(heredoc),
                CopySource::Path(_) => None,
            })
            .collect();
        let text = words.join(" ");
        // A list has no heredocs, so that a path which looks like one can stand in it.
        let fake = heredocs.is_empty() && words.iter().any(|word| heredoc_terminator(word).is_some());
        let plain = words.iter().all(|word| plain(word)) && !text.starts_with('[') && !fake;
        let text = if plain || !heredocs.is_empty() { argument(&text) } else { list(words.into_iter()) };
        (flags, text, heredocs)
    }

    fn flag(&self, flags: &mut String, name: &str, value: Option<&Word>) {
        if let Some(value) = value {
            self.value(flags, name, value);
        }
    }

    /// Writes a flag; what would part or end its value is escaped.
    fn value(&self, flags: &mut String, name: &str, value: &str) {
        let _ = write!(flags, " --{name}=");
        for character in value.chars() {
            if character.is_whitespace() || matches!(character, '"' | '\'') || character == self.escape.char()
            {
                flags.push(self.escape.char());
            }
            flags.push(character);
        }
    }
}

/// Says whether white space parts a word from its neighbours, and nothing else.
fn plain(word: &str) -> bool {
    !word.is_empty() && !word.contains(char::is_whitespace) && !word.ends_with(['\\', '`'])
}

fn joined(words: &[Word]) -> String {
    words.iter().map(|word| word.value.as_str()).collect::<Vec<_>>().join(" ")
}

/// Keeps arguments from being taken for flags.
fn argument(text: &str) -> String {
    if text.starts_with("--") { format!("-- {text}") } else { text.to_owned() }
}

fn command(form: &CommandForm) -> String {
    match form {
        CommandForm::Shell(text) => argument(text),
        CommandForm::Exec(items) => list(items.iter().map(String::as_str)),
    }
}

fn list<'w>(items: impl Iterator<Item = &'w str>) -> String {
    items.map(str::to_owned).collect::<serde_json::Value>().to_string()
}
