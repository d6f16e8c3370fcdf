//! What the containers of a service will run: its image, command, variables and ports, after the compose files.

use std::collections::BTreeSet;

use coracle_composefile::{NetworkMode, Project, Service};
use coracle_dockerfile::{CommandForm, HealthcheckProbe};
use coracle_oci::HealthCommand;

use super::made::Made;
use super::words::{commands, option};
use crate::knowledge::official::{self, Official};
use crate::project::Subject;

/// A service as it will run.
pub(crate) struct Running<'a> {
    /// The service.
    pub service: &'a Service,
    /// Its build, followed.
    pub made: Option<Made<'a>>,
    /// The image that it rests on: its own, or the base of its build. `None` is `scratch`.
    pub image: Option<String>,
    /// What is known of that.
    pub official: Option<&'static Official>,
    /// Its project.
    pub project: &'a Project,
}

/// Returns the active services as they will run.
pub(crate) fn running<'a>(subject: &Subject<'a>) -> Vec<Running<'a>> {
    let Some(project) = subject.project() else { return Vec::new() };
    project.services.values().map(|service| Running::of(service, project, subject)).collect()
}

impl<'a> Running<'a> {
    fn of(service: &'a Service, project: &'a Project, subject: &Subject<'a>) -> Self {
        let made = subject.build_of(&service.name).map(|build| Made::of(build, subject.images));
        let image = match &made {
            Some(made) => made.base.clone(),
            None => Some(service.image.familiar()),
        };
        let official = image.as_deref().and_then(official::of);
        Self { service, made, image, official, project }
    }

    /// Returns the words that will run, entry point first; `None` when they are the image's and not known.
    pub(crate) fn words(&self) -> Option<Vec<String>> {
        let own = self.service;
        let facts = self.made.as_ref().and_then(|made| made.facts.as_ref());
        let of_form = |form: &CommandForm| match form {
            CommandForm::Exec(words) => words.clone(),
            CommandForm::Shell(text) => commands(text).pop().unwrap_or_default(),
        };
        let made = self.made.as_ref();
        let built_entrypoint = made.and_then(|made| made.entrypoint).map(|(_, form)| of_form(form));
        let entrypoint = own
            .entrypoint
            .clone()
            .or_else(|| built_entrypoint.clone())
            .or_else(|| facts.map(|facts| facts.entrypoint.clone()))
            .unwrap_or_default();
        // A command of the base's is dropped with a new entry point.
        let replaced = own.entrypoint.is_some() || built_entrypoint.is_some();
        let command = own.command.clone().or_else(|| match made.and_then(|made| made.cmd) {
            Some((_, form)) if own.entrypoint.is_none() => Some(of_form(form)),
            Some(_) => None,
            None if replaced => Some(Vec::new()),
            None => facts.map(|facts| facts.cmd.clone()),
        });
        let mut words = entrypoint;
        match command {
            Some(command) => words.extend(command),
            None if words.is_empty() => return None,
            None => {}
        }
        // `sh -c TEXT`
        let text = match words.as_slice() {
            [shell, flag, text, ..] if shell_name(shell) && flag.starts_with('-') && flag.ends_with('c') => {
                Some(text.clone())
            }
            _ => None,
        };
        Some(match text {
            Some(text) => commands(&text).pop().unwrap_or_default(),
            None => words,
        })
    }

    /// Returns every simple command that will run, those of a shell text one by one.
    pub(crate) fn commands(&self) -> Vec<Vec<String>> {
        let own = self.service;
        let made = self.made.as_ref();
        let mut all = Vec::new();
        let add = |all: &mut Vec<Vec<String>>, words: &[String]| {
            all.push(words.to_vec());
            all.extend(words.iter().filter(|word| word.contains(' ')).flat_map(|word| commands(word)));
        };
        for words in own.entrypoint.iter().chain(&own.command) {
            add(&mut all, words);
        }
        let entrypoint = made.and_then(|made| made.entrypoint).filter(|_| own.entrypoint.is_none());
        let command = made.and_then(|made| made.cmd).filter(|_| own.command.is_none());
        for (_, form) in entrypoint.into_iter().chain(command) {
            match form {
                CommandForm::Exec(words) => add(&mut all, words),
                CommandForm::Shell(text) => all.extend(commands(text)),
            }
        }
        all
    }

    /// Returns the name of the program that will run, without its directory; `None` when it is not known.
    pub(crate) fn program(&self) -> Option<String> {
        let words = self.words()?;
        let passed = |word: &String| {
            let name = word.rsplit('/').next().unwrap_or(word);
            word.starts_with('-')
                || matches!(
                    name,
                    "tini" | "dumb-init" | "docker-entrypoint.sh" | "docker-init" | "gosu" | "su-exec"
                )
        };
        let word = words.iter().find(|word| !passed(word))?;
        Some(word.rsplit('/').next().unwrap_or(word).to_owned())
    }

    /// Says whether nginx is what runs.
    pub(crate) fn is_nginx(&self) -> bool {
        match self.program() {
            Some(program) => program == "nginx",
            None => self.official.is_some_and(|official| official.programs.contains(&"nginx")),
        }
    }

    /// Returns the user that the processes will have, without group.
    pub(crate) fn user(&self) -> Option<String> {
        if let Some(user) = &self.service.user {
            return Some(user.split(':').next().unwrap_or_default().to_owned());
        }
        match &self.made {
            Some(made) => made.last.user.clone(),
            None => self.official.map(|official| official.user.to_owned()),
        }
    }

    /// Returns a variable of its environment, the image's included.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        let of_image = || {
            let last = &self.made.as_ref()?.last;
            last.env.contains_key(name).then(|| last.variables.get(name)).flatten()
        };
        self.service.environment.get(name).or_else(of_image).map(String::as_str)
    }

    /// Returns a word of its command with `$NAME` and `${NAME}` replaced, as a shell would; `None` when one is not known.
    pub(crate) fn expanded(&self, word: &str) -> Option<String> {
        let missed = std::cell::Cell::new(false);
        let lookup = |name: &str| {
            let value = self.variable(name).map(str::to_owned);
            missed.set(missed.get() || value.is_none());
            value
        };
        let text = coracle_dockerfile::expand(word, coracle_dockerfile::Escape::Backslash, &lookup).ok()?;
        (!missed.get()).then_some(text)
    }

    /// Returns the ports that its command names.
    pub(crate) fn command_ports(&self) -> BTreeSet<u16> {
        let mut ports = BTreeSet::new();
        for words in self.commands() {
            let named = option(&words, &["--port", "-p", "--PORT", "--server.port", "--http-port"]);
            ports.extend(named.and_then(|port| self.expanded(port)?.parse::<u16>().ok()));
            let addresses = words.iter().filter_map(|word| {
                let word = word.split_once('=').map_or(word.as_str(), |(_, value)| value);
                self.expanded(word)?.rsplit_once(':')?.1.parse::<u16>().ok()
            });
            ports.extend(addresses);
            // `runserver 8000`, `http.server 8000`
            if words.iter().any(|word| word == "runserver" || word == "http.server") {
                ports.extend(words.iter().filter_map(|word| word.parse::<u16>().ok()));
            }
        }
        ports
    }

    /// Returns the ports that something says it serves: its command, `EXPOSE`, `expose`, `ports`, its image, a variable.
    pub(crate) fn ports(&self) -> BTreeSet<u16> {
        let mut ports = self.command_ports();
        let own = self.service;
        ports.extend(own.ports.iter().map(|port| port.target));
        let number = |text: &str| text.split(['/', '-']).next().and_then(|port| port.parse::<u16>().ok());
        ports.extend(own.expose.iter().filter_map(|port| number(port)));
        if let Some(made) = &self.made {
            ports.extend(made.exposed.iter().map(|(port, _)| *port));
            if let Some(facts) = &made.facts {
                ports.extend(facts.exposed.iter().filter_map(|port| number(port)));
            }
            let variables = made.last.env.keys().filter(|name| name.contains("PORT"));
            let variables = variables.filter_map(|name| made.last.variables.get(name));
            ports.extend(variables.filter_map(|value| value.parse::<u16>().ok()));
        }
        ports.extend(self.official.into_iter().flat_map(|official| official.ports));
        let variables =
            own.environment.iter().filter(|(name, value)| name.contains("PORT") || value.contains(':'));
        ports.extend(variables.filter_map(|(_, value)| value.rsplit(':').next()?.parse::<u16>().ok()));
        ports
    }

    /// Returns what its health check runs, as text, when it has one that is known.
    pub(crate) fn probe(&self) -> Option<String> {
        if let Some(command) = self.service.healthcheck.as_ref().and_then(|check| check.command.as_ref()) {
            return match command {
                HealthCommand::None => None,
                HealthCommand::Exec(words) => Some(words.join(" ")),
                HealthCommand::Shell(text) => Some(text.clone()),
                HealthCommand::Http(probe) => Some(probe.to_string()),
                HealthCommand::Tcp(probe) => Some(probe.to_string()),
            };
        }
        match self.made.as_ref()?.healthcheck?.1 {
            HealthcheckProbe::None => None,
            HealthcheckProbe::Command(CommandForm::Shell(text)) => Some(text.clone()),
            HealthcheckProbe::Command(CommandForm::Exec(words)) => Some(words.join(" ")),
        }
    }

    /// Says whether a name may be one that it knows although no active service has it: of its host lines, of a name server
    /// of its own, of other projects on a network that is not this one's, of a service that another profile starts.
    pub(crate) fn may_know(&self, host: &str) -> bool {
        let service = self.service;
        let external = |key: &String| self.project.networks.get(key).is_some_and(|network| network.external);
        service.extra_hosts.iter().any(|(name, _)| name == host)
            || service.network_mode != NetworkMode::Networks
            || !service.dns.is_empty()
            || service.networks.keys().any(external)
            || self.project.inactive_services.contains_key(host)
    }

    /// Says whether it shares a network with another service.
    pub(crate) fn meets(&self, other: &Service) -> bool {
        let own = self.service;
        if own.network_mode != other.network_mode {
            return false;
        }
        own.network_mode != NetworkMode::Networks
            || own.networks.keys().any(|key| other.networks.contains_key(key))
    }
}

fn shell_name(word: &str) -> bool {
    matches!(word.rsplit('/').next(), Some("sh" | "bash" | "ash" | "dash" | "zsh"))
}
