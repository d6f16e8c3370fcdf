//! `deploy`, hooks, `develop`, `provider`, `models`, `attach`: what is read of them, and what is said.

mod support;

use std::time::Duration;

use coracle_composefile::{DeployMode, RestartPolicy, Service, WatchAction};
use coracle_oci::{HealthCommand, OnUnhealthy};
use support::{loaded, said};

fn service(attributes: &str) -> Service {
    loaded(&format!("services:\n  a:\n    image: a\n{attributes}")).project.services["a"].clone()
}

#[test]
fn hooks_are_read() {
    let service = service(
        "    post_start:\n      - command: [sh, -c, 'echo $$X']\n        user: app\n        privileged: true\n        working_dir: /srv\n        environment: [X=1]\n    pre_stop:\n      - command: ./bye now\n        environment: {Y: two}\n",
    );
    let start = &service.post_start[0];
    assert_eq!(start.command, ["sh", "-c", "echo $X"]);
    assert_eq!((start.user.as_deref(), start.working_dir.as_deref()), (Some("app"), Some("/srv")));
    assert!(start.privileged && start.environment["X"] == "1");
    let stop = &service.pre_stop[0];
    assert_eq!((stop.command.join("|").as_str(), stop.environment["Y"].as_str()), ("./bye|now", "two"));
    let empty = said("services:\n  a:\n    image: a\n    pre_stop: [{command: []}]\n");
    assert!(empty.starts_with("/shop/compose.yml:4:") && empty.contains("has no `command`"), "{empty}");
}

#[test]
fn deploy_is_typed_and_says_what_has_no_effect() {
    let text = "services:\n  a:\n    image: a\n    deploy:\n      mode: global\n      endpoint_mode: vip\n      labels: {x: y}\n      update_config: {parallelism: 2, delay: 5s, order: start-first, failure_action: rollback, monitor: 1m, max_failure_ratio: 0.25}\n      rollback_config: {parallelism: 0}\n      placement: {constraints: [node.role == manager], preferences: [{spread: zone}], max_replicas_per_node: 3}\n      restart_policy: {condition: on-failure, max_attempts: 2, delay: 3s, window: 2m}\n";
    let service = loaded(text).project.services["a"].clone();
    let deploy = &service.deploy;
    assert_eq!((deploy.mode, service.replicas), (DeployMode::Global, 1));
    let update = deploy.update_config.as_ref().unwrap();
    assert_eq!((update.parallelism, update.delay), (Some(2), Some(Duration::from_secs(5))));
    assert_eq!((update.order.as_deref(), update.max_failure_ratio), (Some("start-first"), Some(0.25)));
    let placement = deploy.placement.as_ref().unwrap();
    assert_eq!((placement.spread[0].as_str(), placement.max_replicas_per_node), ("zone", Some(3)));
    assert_eq!(service.restart, RestartPolicy::OnFailure { max_retries: Some(2) });
    assert_eq!(deploy.restart_delay, Some(Duration::from_secs(3)));
    assert_eq!(deploy.restart_window, Some(Duration::from_mins(2)));
    let lines = said(text);
    for (line, attribute) in [(7, "labels"), (8, "update_config"), (9, "rollback_config"), (10, "placement")]
    {
        let expected = format!("/shop/compose.yml:{line}:7: services.a.deploy.{attribute} has no effect");
        assert!(lines.contains(&expected), "{expected}\n{lines}");
    }
    assert_eq!(said("services: {a: {image: a, deploy: {endpoint_mode: dnsrr, mode: replicated}}}\n"), "");
    assert!(said("services: {a: {image: a, deploy: {mode: global-job}}}\n").contains("needs a cluster"));
}

#[test]
fn watches_are_typed() {
    let text = "    develop:\n      watch:\n        - {path: ./src, action: sync+exec, target: /app, ignore: node_modules, include: ['*.py'], initial_sync: true, exec: {command: reload}}\n        - {path: ./Dockerfile, action: rebuild}\n";
    let service = service(text);
    let [sync, rebuild] = &service.watch[..] else { panic!() };
    assert_eq!((sync.action, sync.target.as_deref()), (WatchAction::SyncExec, Some("/app")));
    assert_eq!(sync.path, std::path::Path::new("/shop/src"));
    assert_eq!(
        (sync.ignore.join(","), sync.include.join(",")),
        ("node_modules".to_owned(), "*.py".to_owned())
    );
    assert!(sync.initial_sync && sync.exec.as_ref().is_some_and(|exec| exec.command == ["reload"]));
    assert_eq!(rebuild.action, WatchAction::Rebuild);
    let bare = said("services: {a: {image: a, develop: {watch: [{path: ., action: sync}]}}}\n");
    assert!(bare.contains("needs a `target`"), "{bare}");
}

#[test]
fn providers_need_no_image_and_models_are_not_served() {
    let text = "services:\n  db:\n    provider:\n      type: cloud\n      options: {size: 256, zones: [a, b]}\n  a: {image: a, depends_on: [db], attach: false, models: [llm]}\nmodels: {llm: {model: ai/x}}\n";
    let loaded = loaded(text);
    assert!(!loaded.project.services.contains_key("db"));
    let provider = loaded.project.providers["db"].clone();
    assert_eq!((provider.kind.as_str(), provider.options["zones"].join(",")), ("cloud", "a,b".to_owned()));
    let a = &loaded.project.services["a"];
    assert_eq!((a.provided_by.join(","), a.depends_on.len()), ("db".to_owned(), 0));
    assert!(!a.attach && a.models.contains_key("llm"));
    assert!(said(text).contains("services.a.models has no effect: no AI models are run here"));
    for bad in ["../x", "compose", "-x"] {
        let text = format!("services: {{db: {{provider: {{type: '{bad}'}}}}}}\n");
        assert!(said(&text).contains("provider.type:"), "{bad}");
    }
}

#[test]
fn sctp_ports_are_refused_only_where_they_are_needed() {
    let text = "services:\n  a:\n    image: a\n    ports:\n      - 80:80\n      - 81:81/sctp\n      - {target: 82, protocol: SCTP}\n";
    let service = loaded(text).project.services["a"].clone();
    assert_eq!(service.ports.len(), 1);
    let refused: Vec<String> = service.refusals.iter().map(ToString::to_string).collect();
    assert_eq!(refused.len(), 2, "{refused:?}");
    assert!(refused.iter().all(|refusal| refusal.contains("SCTP ports cannot be published")), "{refused:?}");
}

#[test]
fn probes_that_need_no_program_are_read() {
    let probed = |check: &str| {
        let service = service(&format!("    x-on-unhealthy: restart\n    healthcheck: {check}\n"));
        assert_eq!(service.on_unhealthy, OnUnhealthy::Restart);
        service.healthcheck.unwrap().command.unwrap()
    };
    let http = |text: &str| HealthCommand::Http(text.parse().unwrap());
    let tcp = HealthCommand::Tcp("5432".parse().unwrap());
    assert_eq!(probed("{x-http: ':8080/healthz', interval: 5s}"), http(":8080/healthz"));
    assert_eq!(probed("{test: [HTTP, 'http://127.0.0.1:80/']}"), http("127.0.0.1:80"));
    assert_eq!(probed("{x-tcp: 5432}"), tcp);
    assert_eq!(probed("{test: [TCP, '5432']}"), tcp);
    for (check, why) in [
        ("{x-http: 'https://localhost/'}", "https is not probed"),
        ("{x-tcp: 'db:5432'}", "looks no names up"),
        ("{x-tcp: 5432, test: [CMD, 'true']}", "exclude each other"),
        ("{test: [HTTP]}", "wrong number of arguments"),
        ("{test: [UDP, '53']}", "must begin with"),
    ] {
        let said = said(&format!("services:\n  a:\n    image: a\n    healthcheck: {check}\n"));
        assert!(said.starts_with("/shop/compose.yml:4:") && said.contains(why), "{check}: {said}");
    }
    let wrong = said("services:\n  a:\n    image: a\n    x-on-unhealthy: panic\n");
    assert!(wrong.starts_with("/shop/compose.yml:4:") && wrong.contains("none, kill, restart"), "{wrong}");
}

#[test]
fn options_of_the_log_are_read() {
    let service = service(
        "    logging: {options: {max-size: 1m, max-file: '2', compress: 'false', mode: non-blocking, max-buffer-size: 4m}}\n",
    );
    let logging = service.logging;
    assert_eq!(
        (logging.max_size, logging.max_files, logging.compress),
        (Some(1 << 20), Some(2), Some(false))
    );
    assert_eq!((logging.non_blocking, logging.buffer), (true, Some(4 << 20)));
    let said = |options: &str| {
        said(&format!("services:\n  a:\n    image: a\n    logging:\n      options: {{{options}}}\n"))
    };
    assert!(said("mode: fast").contains("non-blocking"));
    assert!(said("colour: red").contains("`colour` is no option of the log"));
    assert!(said("tag: x").contains("[not-honoured]"));
}
