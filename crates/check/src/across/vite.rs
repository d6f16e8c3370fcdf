//! Development servers of pages behind a proxy.

use std::path::Path;

use coracle_report::Span;

use super::upstream::proxied;
use crate::image::{Running, running};
use crate::project::{Check, Findings, Run, Subject};
use crate::{Family, Rule};

pub(super) static CHECK: Check =
    Check { rules: &[&VITE_BEHIND_PROXY, &API_BESIDE_PROXY], run: Run::Subject(run) };

static VITE_BEHIND_PROXY: Rule = Rule {
    id: "ViteBehindProxy",
    family: Family::Across,
    title: "Vite's development server behind a proxy is not told of the proxy's names",
    explanation: "Vite answers only for `localhost`, addresses, and names in `server.allowedHosts`: through a proxy, under any other name, it answers 403 (\"Blocked request. This host is not allowed\"). Hot reload's websocket asks the port that Vite listens on, unless `server.hmr.clientPort` says which one people see. Set both in `vite.config`.",
    example: Some((
        "export default defineConfig({ plugins: [react()] })",
        "export default defineConfig({\n  server: { allowedHosts: ['app.example.org'], hmr: { clientPort: 80 } },\n  plugins: [react()],\n})",
    )),
    ..Rule::PLAIN
};

static API_BESIDE_PROXY: Rule = Rule {
    id: "ApiBesideProxy",
    family: Family::Across,
    title: "The page is told to ask the API on `localhost`, although a proxy serves both",
    explanation: "The browser reads this address, not the container: `localhost` is each visitor's own machine, and another port is another origin, which the API must allow by CORS and which must be published. A proxy that serves page and API under one address needs neither: use a relative path such as `/api`.",
    example: Some(("VITE_API_URL: http://localhost:8000", "VITE_API_URL: /api")),
    ..Rule::PLAIN
};

/// Variables that a page is built or served with.
const PAGE: [&str; 6] = ["VITE_", "REACT_APP_", "NEXT_PUBLIC_", "NUXT_PUBLIC_", "PUBLIC_", "VUE_APP_"];

fn run(subject: &Subject<'_>, findings: &mut Findings) {
    let Some(loaded) = subject.loaded else { return };
    let all = running(subject);
    let proxied = proxied(subject, &all);
    for one in &all {
        let name = &one.service.name;
        let Some((proxy, place)) = proxied.get(name).and_then(|places| places.first()) else { continue };
        if let Some((config, span)) = vite(one, subject) {
            let known = ["allowedHosts", "__VITE_ADDITIONAL_SERVER_ALLOWED_HOSTS"];
            let told = known.iter().any(|word| config.contains(word))
                || one.service.environment.contains_key("__VITE_ADDITIONAL_SERVER_ALLOWED_HOSTS");
            let hot = config.contains("hmr") || config.contains("clientPort");
            let missing = match (told, hot) {
                (true, _) => None,
                (false, true) => Some("allowedHosts"),
                (false, false) => Some("allowedHosts` and `hmr.clientPort"),
            };
            if let Some(missing) = missing {
                let message = format!(
                    "Vite is reached through `{proxy}` and `server` has no `{missing}`: other names than localhost get 403"
                );
                findings
                    .add(&VITE_BEHIND_PROXY, &span, message)
                    .of(name)
                    .also(place, "the proxy")
                    .hint("server: { allowedHosts: ['app.example.org'], hmr: { clientPort: 80 } }");
            }
        }
        for (variable, value) in &one.service.environment {
            if !PAGE.iter().any(|prefix| variable.starts_with(prefix)) {
                continue;
            }
            let local = ["http://localhost", "http://127.0.0.1", "https://localhost"];
            let Some(prefix) = local.iter().find(|prefix| value.starts_with(**prefix)) else { continue };
            let rest = &value[prefix.len()..];
            let port = rest.strip_prefix(':').map(|rest| rest.split('/').next().unwrap_or(rest));
            let Some(port) = port.and_then(|port| port.parse::<u16>().ok()) else { continue };
            // Only when that is a port which a service behind the same proxy serves, and not the proxy's own.
            let api = all.iter().find(|other| {
                other.service.name != *name
                    && proxied
                        .get(&other.service.name)
                        .is_some_and(|places| places.iter().any(|(of, _)| of == proxy))
                    && other.ports().contains(&port)
            });
            let Some(api) = api else { continue };
            let span = loaded
                .span_of(&["services", name, "environment", variable])
                .unwrap_or_else(|| one.service.span.clone());
            let message = format!(
                "`{variable}={value}` passes by the proxy `{proxy}`, which serves `{}` too",
                api.service.name
            );
            findings
                .add(&API_BESIDE_PROXY, &span, message)
                .of(name)
                .also(
                    &proxied[&api.service.name][0].1,
                    format!("`{proxy}` proxies to `{}`", api.service.name),
                )
                .hint("use a relative path such as `/api`");
        }
    }
}

/// Returns Vite's configuration, if a service runs its development server.
fn vite(one: &Running<'_>, subject: &Subject<'_>) -> Option<(String, Span)> {
    let context = one.made.as_ref()?.build.context.as_deref()?;
    let words: Vec<Vec<String>> = one.commands();
    let direct = words.iter().any(|words| words.iter().any(|word| word == "vite"));
    let script = words.iter().find_map(|words| {
        match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["npm" | "pnpm" | "yarn" | "bun", "run", name, ..]
            | ["npm", name @ "start", ..]
            | ["pnpm" | "yarn", name, ..] => Some((*name).to_owned()),
            _ => None,
        }
    });
    let scripted = script.is_some_and(|name| {
        super::packages::Package::read(context, subject.files)
            .and_then(|package| package.scripts.get(&name).cloned())
            .is_some_and(|script| {
                script.split_whitespace().next() == Some("vite") && !script.contains("build")
            })
    });
    if !direct && !scripted {
        return None;
    }
    let names = ["vite.config.ts", "vite.config.js", "vite.config.mts", "vite.config.mjs"];
    let path =
        names.iter().map(|name| Path::new(context).join(name)).find(|path| subject.files.is_file(path))?;
    let text = subject.files.text(&path)?;
    let line =
        text.lines().position(|line| line.contains("defineConfig(") || line.contains("export default"));
    let number = line.map_or(1, |line| line as u32 + 1);
    Some((text, Span::at(path, number, 1)))
}
