//! A cut line to one instruction.

use std::ops::Range;

use coracle_report::Diagnostic;

use crate::command::{command_form, duration, json_list};
use crate::instruction::{
    AddFiles, Argument, CommandForm, CopyFiles, CopySource, EnvPair, FileOptions, Healthcheck,
    HealthcheckProbe, Heredoc, Instruction, NetworkMode, OnBuild, PairForm, Run, Security,
};
use crate::line::Line;
use crate::stage::cover;
use crate::{Mount, Spanned, Word, mount};

/// `FROM`'s parts.
pub(crate) struct From {
    pub image: Word,
    pub name: Option<Word>,
    pub platform: Option<Word>,
    /// The word `AS` as written.
    pub as_word: Option<Word>,
}

impl Line<'_> {
    /// Reads the line as `FROM`.
    pub(crate) fn from(&self) -> Result<From, Diagnostic> {
        let platform = self.value("platform");
        let mut words = self.words().into_iter();
        let Some(image) = words.next() else {
            return Err(self.error("missing-argument", "FROM needs an image or a stage"));
        };
        let (as_word, name) = match (words.next(), words.next(), words.next()) {
            (None, ..) => (None, None),
            (Some(word), Some(name), None) if word.eq_ignore_ascii_case("as") => (Some(word), Some(name)),
            _ => {
                let error = self.error("bad-from", "FROM takes an image, or an image, AS and a name");
                return Err(error.with_hint("write `FROM image AS name`"));
            }
        };
        if let Some(name) = &name {
            let lower = name.to_ascii_lowercase();
            let legal = lower.starts_with(|c: char| c.is_ascii_lowercase())
                && lower.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c));
            if !legal {
                let message = format!("`{}` is no stage name", name.value);
                let error = self.source.error("bad-stage-name", message, &name.span);
                return Err(error.with_hint(
                    "a stage name begins with a letter and holds letters, digits, `-`, `_` and `.`",
                ));
            }
        }
        Ok(From { image, name, platform, as_word })
    }

    /// Reads the line as an instruction other than `FROM`. `heredocs` are those of [`Line::heredoc_words`].
    pub(crate) fn instruction(&self, heredocs: Vec<Heredoc>) -> Result<Instruction, Diagnostic> {
        Ok(match self.keyword {
            "ARG" => Instruction::Arg(self.arguments()?),
            "ENV" => Instruction::Env(self.pairs()?),
            "LABEL" => Instruction::Label(self.pairs()?),
            "RUN" => Instruction::Run(self.run(heredocs)?),
            "COPY" => Instruction::Copy(self.copy(heredocs)?),
            "ADD" => Instruction::Add(self.add(heredocs)?),
            "WORKDIR" => Instruction::Workdir(self.single("a path")?),
            "USER" => Instruction::User(self.single("a user")?),
            "STOPSIGNAL" => Instruction::StopSignal(self.single("a signal")?),
            "MAINTAINER" => Instruction::Maintainer(self.single("a name")?),
            "EXPOSE" => Instruction::Expose(self.some_words("a port")?),
            "VOLUME" => Instruction::Volume(self.volumes()?),
            "CMD" => Instruction::Cmd(self.command()?),
            "ENTRYPOINT" => Instruction::Entrypoint(self.command()?),
            "HEALTHCHECK" => Instruction::Healthcheck(self.healthcheck()?),
            "SHELL" => Instruction::Shell(self.shell()?),
            "ONBUILD" => Instruction::OnBuild(self.on_build(heredocs)?),
            other => return Err(self.error("misplaced-instruction", format!("{other} cannot stand here"))),
        })
    }

    fn single(&self, what: &str) -> Result<Word, Diagnostic> {
        if self.rest.is_empty() {
            return Err(self.error("missing-argument", format!("{} needs {what}", self.keyword)));
        }
        Ok(self.rest_word())
    }

    fn some_words(&self, what: &str) -> Result<Vec<Word>, Diagnostic> {
        self.single(what)?;
        Ok(self.words())
    }

    fn list_or_words(&self, what: &str) -> Result<Vec<Word>, Diagnostic> {
        match json_list(self.rest_text()).map_err(|reason| self.bad_json(&reason))? {
            Some(list) => {
                let place = self.rest_word();
                Ok(list.into_iter().map(|item| place.with(item)).collect())
            }
            None => self.some_words(what),
        }
    }

    fn volumes(&self) -> Result<Vec<Word>, Diagnostic> {
        let mut paths = self.list_or_words("a path")?;
        for path in &mut paths {
            path.value = path.trim().to_owned();
            if path.is_empty() {
                return Err(self.source.error("missing-argument", "VOLUME has an empty path", &path.span));
            }
        }
        if paths.is_empty() {
            return Err(self.error("missing-argument", "VOLUME needs a path"));
        }
        Ok(paths)
    }

    fn bad_json(&self, reason: &str) -> Diagnostic {
        self.error("bad-json", format!("this is not a JSON list of strings: {reason}"))
            .with_hint(format!("write `{} [\"program\", \"argument\"]`", self.keyword))
    }

    fn arguments(&self) -> Result<Vec<Argument>, Diagnostic> {
        self.single("a name")?;
        let mut arguments = Vec::new();
        for range in self.logical.words(self.rest.clone(), self.escape) {
            let word = self.logical.word(self.source, range.clone());
            let argument = match word.find('=') {
                None => Argument { name: word, default: None },
                Some(equals) => {
                    let (name, value) = self.cut_pair(range, equals);
                    Argument { name, default: Some(value) }
                }
            };
            if argument.name.is_empty() {
                return Err(self.source.error(
                    "bad-argument",
                    "ARG needs a name before `=`",
                    &argument.name.span,
                ));
            }
            arguments.push(argument);
        }
        Ok(arguments)
    }

    fn cut_pair(&self, range: Range<usize>, equals: usize) -> (Word, Word) {
        let at = range.start + equals;
        (self.logical.word(self.source, range.start..at), self.logical.word(self.source, at + 1..range.end))
    }

    fn pairs(&self) -> Result<Vec<EnvPair>, Diagnostic> {
        self.single("a name and a value")?;
        let ranges = self.logical.words(self.rest.clone(), self.escape);
        let first = ranges.first().cloned().unwrap_or_default();
        if !self.logical.text()[first].contains('=') {
            // The old form: white space parts name and value, whatever stands in quotes.
            let name = self.logical.blank_words(self.rest.clone()).into_iter().next().unwrap_or_default();
            let value = self.logical.trim(name.end..self.rest.end);
            let name = self.logical.word(self.source, name);
            if value.is_empty() {
                return Err(self
                    .error("missing-argument", format!("{} needs a value", self.keyword))
                    .with_hint(format!("write `{} {}=value`", self.keyword, name.value)));
            }
            let value = self.logical.word(self.source, value);
            return Ok(vec![EnvPair { name, value, form: PairForm::Space }]);
        }
        let mut pairs = Vec::new();
        for range in ranges {
            let text = &self.logical.text()[range.clone()];
            let Some(equals) = text.find('=') else {
                let span = self.logical.span(self.source, range);
                let error = self.source.error("bad-pair", format!("`{text}` has no `=`"), &span);
                return Err(error.with_hint("a value with spaces needs quotes: name=\"a b\""));
            };
            let (name, value) = self.cut_pair(range, equals);
            if name.is_empty() {
                return Err(self.source.error("bad-pair", "a name is missing before `=`", &name.span));
            }
            pairs.push(EnvPair { name, value, form: PairForm::Equals });
        }
        Ok(pairs)
    }

    fn command(&self) -> Result<CommandForm, Diagnostic> {
        if self.rest.is_empty() {
            let error = self.error("missing-argument", format!("{} needs a command", self.keyword));
            return Err(if self.keyword == "RUN" {
                error
            } else {
                error.with_hint(format!("`{} []` clears the one of the base", self.keyword))
            });
        }
        command_form(self.rest_text()).map_err(|reason| self.bad_json(&reason))
    }

    fn run(&self, heredocs: Vec<Heredoc>) -> Result<Run, Diagnostic> {
        let mut mounts: Vec<Mount> = Vec::new();
        for flag in self.flags.iter().filter(|flag| flag.name == "mount") {
            if let Some(value) = &flag.value {
                mounts.push(mount::parse(self.source, value)?);
            }
        }
        let network = match self.value("network") {
            None => NetworkMode::Default,
            Some(word) => match word.as_str() {
                "default" => NetworkMode::Default,
                "none" => NetworkMode::None,
                "host" => NetworkMode::Host,
                other => {
                    let message = format!("`--network` is default, none or host, not `{other}`");
                    return Err(self.source.error("bad-flag", message, &word.span));
                }
            },
        };
        let security = match self.value("security") {
            None => Security::Sandbox,
            Some(word) => match word.as_str() {
                "sandbox" => Security::Sandbox,
                "insecure" => Security::Insecure,
                other => {
                    let message = format!("`--security` is sandbox or insecure, not `{other}`");
                    return Err(self.source.error("bad-flag", message, &word.span));
                }
            },
        };
        if let Some(flag) = self.flags.iter().find(|flag| flag.name == "device") {
            let message = "`RUN --device` is not in the stable Dockerfile syntax and not supported";
            let error = self.source.error("unsupported-flag", message, &flag.span);
            return Err(error.with_hint(
                "give the device to a container: `coracle run --device`; or use `RUN --security=insecure`, which sees all devices",
            ));
        }
        let granted = self.flags.iter().find(|flag| matches!(flag.name, "network" | "security"));
        let granted = granted.map(|flag| flag.span.clone());
        let command = self.command()?;
        if command == CommandForm::Exec(Vec::new()) {
            return Err(self.error("missing-argument", "RUN needs a command"));
        }
        Ok(Run { mounts, network, security, granted, command, heredocs })
    }

    fn files(&self, heredocs: Vec<Heredoc>) -> Result<(Vec<CopySource>, Word, FileOptions), Diagnostic> {
        let mut words = self.list_or_words("a source and a destination")?;
        let dest = words.pop();
        let Some(dest) = dest.filter(|_| !words.is_empty()) else {
            let message = format!("{} needs at least one source and a destination", self.keyword);
            return Err(self.error("missing-argument", message));
        };
        if heredocs.iter().any(|heredoc| heredoc.word.span == dest.span) {
            return Err(self.source.error("bad-heredoc", "the destination cannot be a heredoc", &dest.span));
        }
        let mut heredocs = heredocs.into_iter().peekable();
        let sources = words
            .into_iter()
            .map(|word| match heredocs.next_if(|heredoc| heredoc.word == word) {
                Some(heredoc) => CopySource::Heredoc(heredoc),
                None => CopySource::Path(word),
            })
            .collect();
        if let Some(heredoc) = heredocs.next() {
            let message = format!("in {}, a heredoc's name has no white space around or in it", self.keyword);
            let error = self.source.error("bad-heredoc", message, &heredoc.word.span);
            return Err(error.with_hint("write `<<name`, with the file's name"));
        }
        let options = FileOptions {
            chown: self.value("chown"),
            chmod: self.value("chmod"),
            link: self.switch("link")?.unwrap_or(false),
            exclude: self.values("exclude"),
        };
        Ok((sources, dest, options))
    }

    fn copy(&self, heredocs: Vec<Heredoc>) -> Result<CopyFiles, Diagnostic> {
        let (sources, dest, options) = self.files(heredocs)?;
        let from = self.value("from");
        if let (Some(from), true) = (&from, sources.iter().any(|s| matches!(s, CopySource::Heredoc(_)))) {
            return Err(self.source.error(
                "bad-heredoc",
                "a heredoc cannot be combined with `--from`",
                &from.span,
            ));
        }
        Ok(CopyFiles { from, sources, dest, options, parents: self.switch("parents")?.unwrap_or(false) })
    }

    fn add(&self, heredocs: Vec<Heredoc>) -> Result<AddFiles, Diagnostic> {
        let (sources, dest, options) = self.files(heredocs)?;
        Ok(AddFiles {
            sources,
            dest,
            options,
            checksum: self.value("checksum"),
            keep_git_dir: self.switch("keep-git-dir")?.unwrap_or(false),
            unpack: self.switch("unpack")?,
        })
    }

    fn healthcheck(&self) -> Result<Healthcheck, Diagnostic> {
        let text = self.rest_text();
        let length = text.find(char::is_whitespace).unwrap_or(text.len());
        let kind = &text[..length];
        let arguments = self.logical.trim(self.rest.start + length..self.rest.end);
        let probe = match kind.to_ascii_uppercase().as_str() {
            "NONE" if arguments.is_empty() => HealthcheckProbe::None,
            "NONE" => return Err(self.error("bad-healthcheck", "HEALTHCHECK NONE takes no arguments")),
            "CMD" if arguments.is_empty() => {
                return Err(self.error("missing-argument", "HEALTHCHECK CMD needs a command"));
            }
            "CMD" => match command_form(&self.logical.text()[arguments]) {
                Ok(CommandForm::Exec(list)) if list.is_empty() => {
                    return Err(self.error("missing-argument", "HEALTHCHECK CMD needs a command"));
                }
                form => HealthcheckProbe::Command(form.map_err(|reason| self.bad_json(&reason))?),
            },
            _ => {
                let error = self.error("bad-healthcheck", "HEALTHCHECK is followed by CMD or NONE");
                return Err(error.with_hint("write `HEALTHCHECK --interval=30s CMD command`"));
            }
        };
        let retries = match self.value("retries").filter(|word| !word.is_empty()) {
            None => 0,
            Some(word) => word.parse::<u32>().map_err(|_| {
                let message = format!("`--retries` is a number, not `{}`", word.value);
                self.source.error("bad-flag", message, &word.span)
            })?,
        };
        Ok(Healthcheck {
            probe,
            interval: self.duration("interval")?,
            timeout: self.duration("timeout")?,
            start_period: self.duration("start-period")?,
            start_interval: self.duration("start-interval")?,
            retries: retries.into(),
        })
    }

    fn duration(&self, name: &str) -> Result<u64, Diagnostic> {
        let Some(word) = self.value(name).filter(|word| !word.is_empty()) else {
            return Ok(0);
        };
        match duration(word.strip_prefix('+').unwrap_or(&word)) {
            Some(0) => Ok(0),
            Some(nanoseconds) if nanoseconds >= 1_000_000 => Ok(nanoseconds),
            Some(_) => {
                let message = format!("`--{name}` must be at least 1ms");
                Err(self.source.error("bad-duration", message, &word.span))
            }
            None => {
                let message = format!("`--{name}` is not a duration: `{}`", word.value);
                let error = self.source.error("bad-duration", message, &word.span);
                Err(error.with_hint("durations look like 30s, 1m30s or 500ms"))
            }
        }
    }

    fn shell(&self) -> Result<Vec<String>, Diagnostic> {
        match json_list(self.rest_text()) {
            Ok(Some(list)) if !list.is_empty() => Ok(list),
            Ok(_) | Err(_) => {
                let error = self.error("bad-json", "SHELL needs a JSON list of strings");
                Err(error.with_hint("write `SHELL [\"/bin/bash\", \"-c\"]`"))
            }
        }
    }

    fn on_build(&self, heredocs: Vec<Heredoc>) -> Result<OnBuild, Diagnostic> {
        let text = self.single("an instruction")?;
        let nested = self.nested()?;
        if matches!(nested.keyword, "ONBUILD" | "FROM" | "MAINTAINER") {
            let message = format!("{} cannot be a trigger of ONBUILD", nested.keyword);
            return Err(self.source.error("bad-onbuild", message, &nested.keyword_span()));
        }
        let full = heredocs
            .iter()
            .fold(text.value.clone(), |text, heredoc| format!("{text}\n{}{}", heredoc.content, heredoc.name));
        let span = cover(&nested.keyword_span(), &text.span);
        let trigger = nested.instruction(heredocs)?;
        Ok(OnBuild { text: text.with(full), trigger: Box::new(Spanned::new(trigger, span)) })
    }
}
