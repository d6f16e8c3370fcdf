//! One instruction that changes only an image's configuration, as `commit --change` and `import --change` take it.

use coracle_dockerfile::{EnvPair, Escape, Instruction, Word, expand, expand_words, parse_trigger};
use coracle_oci::{Empty, ImageConfig};
use coracle_report::Diagnostic;

use crate::configuration::{arguments, expose, health_check, is_signal, ports};
use crate::paths::absolute;
use crate::scope::set_variable;

/// Where the text was written, for messages.
const ORIGIN: &str = "--change";

/// Applies the text of one instruction to a configuration. Variables in it are those of the configuration.
///
/// Taken are CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, SHELL, STOPSIGNAL, USER, VOLUME and WORKDIR.
pub fn change(image: &mut ImageConfig, text: &str) -> Result<(), Diagnostic> {
    let first = text.split_whitespace().next().unwrap_or_default();
    if first.eq_ignore_ascii_case("onbuild") {
        let trigger = text.trim_start()[first.len()..].trim();
        parse_trigger(ORIGIN, trigger)?;
        image.config.on_build.push(trigger.to_owned());
        return Ok(());
    }
    let instruction = parse_trigger(ORIGIN, text).map_err(|error| refused(text, &error.message))?.instruction;
    let env = image.config.env.clone();
    let look_up = |name: &str| {
        env.iter().find_map(|entry| entry.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
    };
    let value = |word: &Word| {
        expand(&word.value, Escape::default(), &look_up).map_err(|error| refused(text, &error.to_string()))
    };
    let pairs = |pairs: &[EnvPair]| -> Result<Vec<(String, String)>, Diagnostic> {
        pairs.iter().map(|pair| Ok((value(&pair.name)?, value(&pair.value)?))).collect()
    };
    let config = &mut image.config;
    match &instruction {
        Instruction::Cmd(form) => config.cmd = Some(arguments(config, form)),
        Instruction::Entrypoint(form) => config.entrypoint = Some(arguments(config, form)),
        Instruction::Env(list) => {
            for (name, value) in pairs(list)? {
                set_variable(&mut config.env, &name, &value);
            }
        }
        Instruction::Label(list) => config.labels.extend(pairs(list)?),
        Instruction::Expose(words) => {
            for word in words {
                let expanded = expand_words(&word.value, Escape::default(), &look_up)
                    .map_err(|error| refused(text, &error.to_string()))?;
                for word in expanded {
                    expose(config, &ports(&word).map_err(|why| refused(text, &why))?);
                }
            }
        }
        Instruction::Healthcheck(check) => config.healthcheck = Some(health_check(check)),
        Instruction::Shell(list) => config.shell = Some(list.clone()),
        Instruction::StopSignal(word) => {
            let signal = value(word)?;
            if !is_signal(&signal) {
                return Err(refused(text, &format!("there is no signal `{signal}`")));
            }
            config.stop_signal = Some(signal);
        }
        Instruction::User(word) => config.user = value(word)?,
        Instruction::Volume(words) => {
            for word in words {
                config.volumes.insert(value(word)?, Empty {});
            }
        }
        Instruction::Workdir(word) => config.working_dir = absolute(&config.working_dir, &value(word)?),
        Instruction::Run(_)
        | Instruction::Copy(_)
        | Instruction::Add(_)
        | Instruction::Arg(_)
        | Instruction::OnBuild(_)
        | Instruction::Maintainer(_) => {
            let why = format!("{} changes more than the configuration", instruction.keyword());
            return Err(refused(text, &why));
        }
    }
    Ok(())
}

fn refused(text: &str, why: &str) -> Diagnostic {
    Diagnostic::error("bad-change", format!("`{text}` cannot be applied: {why}")).with_hint(
        "take CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, SHELL, STOPSIGNAL, USER, VOLUME or WORKDIR",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_change_the_configuration() {
        let mut image = ImageConfig::scratch();
        for text in [
            "CMD [\"serve\", \"-v\"]",
            "ENTRYPOINT run it",
            "ENV A=1 B=\"two words\"",
            "ENV C=$A/x",
            "EXPOSE 80 53/udp",
            "LABEL tier=front",
            "ONBUILD RUN make",
            "STOPSIGNAL SIGQUIT",
            "user www",
            "VOLUME /data",
            "WORKDIR /srv",
            "WORKDIR app",
            "HEALTHCHECK --interval=5s CMD true",
        ] {
            change(&mut image, text).unwrap_or_else(|error| panic!("{text}: {}", error.message));
        }
        let config = &image.config;
        assert_eq!(config.cmd.as_deref().unwrap(), ["serve", "-v"]);
        assert_eq!(config.entrypoint.as_deref().unwrap(), ["/bin/sh", "-c", "run it"]);
        assert_eq!(config.env, ["A=1", "B=two words", "C=1/x"]);
        assert_eq!(config.exposed_ports.keys().collect::<Vec<_>>(), ["53/udp", "80/tcp"]);
        assert_eq!(config.on_build, ["RUN make"]);
        assert_eq!((config.user.as_str(), config.working_dir.as_str()), ("www", "/srv/app"));
        assert_eq!(config.healthcheck.as_ref().unwrap().interval, 5_000_000_000);
    }

    #[test]
    fn what_makes_files_is_refused() {
        for text in ["RUN true", "COPY a b", "FROM x", "NOPE", "", "EXPOSE x", "STOPSIGNAL NONE", "ARG A"] {
            let mut image = ImageConfig::scratch();
            let error = change(&mut image, text).expect_err(text);
            assert!(!error.hints.is_empty() && image == ImageConfig::scratch(), "{text}");
        }
    }
}
