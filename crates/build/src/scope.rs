//! Which variables an instruction sees: `ENV` over `ARG`, build arguments, platform arguments.

use std::collections::BTreeSet;

use coracle_oci::Platform;
use indexmap::IndexMap;

use crate::BuildRequest;

/// The variables of proxies, which need no `ARG` and do not decide a step's result.
pub(crate) const PROXIES: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// The `PATH` of a container whose image sets none.
pub(crate) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Arguments in the order of their declaration; `None` is declared without a value.
pub(crate) type Arguments = IndexMap<String, Option<String>>;

/// Returns the platform arguments, which a stage sees once it declares them.
pub(crate) fn platform_arguments(request: &BuildRequest, target: &str) -> Arguments {
    let mut all = Arguments::new();
    for (prefix, platform) in [("BUILD", &Platform::host()), ("TARGET", &request.platform)] {
        let variant = platform.variant.clone().unwrap_or_default();
        all.insert(format!("{prefix}PLATFORM"), Some(platform.to_string()));
        all.insert(format!("{prefix}OS"), Some(platform.os.clone()));
        all.insert(format!("{prefix}OSVERSION"), Some(String::new()));
        all.insert(format!("{prefix}ARCH"), Some(platform.architecture.clone()));
        all.insert(format!("{prefix}VARIANT"), Some(variant));
    }
    all.insert("TARGETSTAGE".to_owned(), Some(target.to_owned()));
    for (name, value) in &mut all {
        if let Some(given) = request.build_args.get(name) {
            *value = Some(given.clone());
        }
    }
    all
}

/// Returns the value of `NAME` in a list of `NAME=value`.
pub(crate) fn variable<'e>(env: &'e [String], name: &str) -> Option<&'e str> {
    env.iter().find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='))
}

/// Sets a variable in a list of `NAME=value`, in its old place if it has one.
pub(crate) fn set_variable(env: &mut Vec<String>, name: &str, value: &str) {
    let entry = format!("{name}={value}");
    let old = env.iter_mut().find(|old| old.strip_prefix(name).is_some_and(|rest| rest.starts_with('=')));
    match old {
        Some(old) => *old = entry,
        None => env.push(entry),
    }
}

/// Returns what an instruction sees under `name`. Of `ENV` and `ARG` the later one in the stage wins, as in
/// BuildKit: `later` holds the arguments that were declared, with a value, after the `ENV` of their name.
pub(crate) fn look_up(
    env: &[String],
    arguments: &Arguments,
    later: &BTreeSet<String>,
    name: &str,
) -> Option<String> {
    let argument = || arguments.get(name).cloned().flatten();
    if later.contains(name) {
        return argument();
    }
    variable(env, name).map(str::to_owned).or_else(argument)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_of_env_and_arg_wins() {
        let mut env = vec!["A=1".to_owned(), "AB=2".to_owned()];
        let arguments: Arguments = [("A".to_owned(), Some("x".to_owned())), ("C".to_owned(), None)].into();
        let none = BTreeSet::new();
        assert_eq!(look_up(&env, &arguments, &none, "A").as_deref(), Some("1"));
        assert_eq!(look_up(&env, &arguments, &["A".to_owned()].into(), "A").as_deref(), Some("x"));
        assert_eq!(look_up(&env, &arguments, &none, "C"), None);
        set_variable(&mut env, "A", "3");
        set_variable(&mut env, "D", "=4");
        assert_eq!(env, ["A=3", "AB=2", "D==4"]);
        assert_eq!(variable(&env, "D"), Some("=4"));
    }
}
