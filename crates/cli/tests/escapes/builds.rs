//! Attacks by build steps: mounts of `RUN`, what is cleaned up after them, and privileges that were not given.

use std::fs;

use crate::World;

/// CVE-2024-23651: a mount shows a part of what two steps share, and the part is exchanged for a link.
#[test]
fn cve_2024_23651_parts_of_shared_files_stay_inside() {
    let Some(world) = World::new() else { return };
    let canary = world.text("canary");
    // The link stays where it was laid: the race is won already.
    let lay =
        format!("RUN --mount=type=cache,id=c,target=/c rm -rf /c/sub; ln -s {canary} /c/sub; ls -l /c\n");
    world.build(&["--no-cache"], &lay).ok();
    for steps in [
        "RUN --mount=type=cache,id=c,target=/c/sub/deep touch /c/sub/deep/written; cat /c/sub/song; true\n"
            .to_owned(),
        format!(
            "{lay}RUN --mount=type=cache,id=c,target=/c --mount=type=tmpfs,target=/c/sub/made cat /c/sub/song; touch /c/sub/made/x; true\n"
        ),
        format!(
            "RUN mkdir /d && ln -s {canary} /d/sub\nFROM base\nRUN --mount=type=bind,from=1,source=d/sub,target=/m,rw cat /m/song; touch /m/written; true\n"
        ),
        format!(
            "RUN mkdir /d && ln -s {canary} /d/sub\nFROM base\nRUN --mount=type=cache,from=1,source=/d/sub,target=/m,id=d cat /m/song; touch /m/written; true\n"
        ),
        format!(
            "RUN ln -s {canary} /d\nFROM base\nCOPY --from=1 /d /copied\nRUN cat /copied/song; cat /copied\n"
        ),
    ] {
        let tried = world.build(&["--no-cache"], &steps);
        world.canary_sings();
        let said = tried.stdout.clone() + &tried.stderr;
        assert!(!said.contains("sings"), "{tried}");
    }
    // While it changes.
    let swap = format!(
        "RUN --mount=type=cache,id=c,target=/c for n in $(seq 300); do rm -rf /c/sub; mkdir /c/sub; rm -rf /c/sub; ln -s {canary} /c/sub; done\n"
    );
    let context = world.path("swap");
    fs::create_dir(&context).unwrap();
    fs::copy(world.path("context/root.tar"), context.join("root.tar")).unwrap();
    fs::write(context.join("Dockerfile"), format!("FROM scratch\nADD root.tar /\n{swap}")).unwrap();
    let swapping = world
        .call(&["build", "--no-cache", "--progress", "plain", "--network", "none", context.to_str().unwrap()])
        .start();
    for _ in 0..3 {
        let tried = world.build(&["--no-cache"], "RUN --mount=type=cache,id=c,target=/c --mount=type=tmpfs,target=/c/sub/x touch /c/sub/x/y; cat /c/sub/song; true\n");
        assert!(!(tried.stdout.clone() + &tried.stderr).contains("sings"), "{tried}");
        world.canary_sings();
    }
    swapping.finish();
}

/// CVE-2024-23652: what was made as the place of a mount is taken away through a link that the step laid.
#[test]
fn cve_2024_23652_nothing_of_the_host_is_cleaned_up() {
    let Some(world) = World::new() else { return };
    let canary = world.text("canary");
    fs::write(world.path("canary/bar"), "").unwrap();
    fs::create_dir(world.path("canary/baz")).unwrap();
    let steps = format!(
        "RUN --mount=type=tmpfs,target=/foo/baz --mount=type=bind,from=base,source=etc/passwd,target=/foo/bar \
            mv /foo /moved; ln -s {canary} /foo; ls -l /\n\
         RUN --mount=type=cache,target=/one/two/baz mv /one/two /one/x; ln -s {canary} /one/two; true\n\
         RUN --mount=type=secret,id=none,target=/sec/bar mv /sec /sec2; ln -s {canary} /sec; true\n"
    );
    world.build(&["--no-cache"], &steps);
    let names = world.canary().0;
    assert_eq!(names, ["bar", "baz", "song"], "a clean-up reached the host");
    // The control: those are what a clean-up by their paths would take.
    assert_eq!(fs::metadata(world.path("canary/bar")).unwrap().len(), 0);
    fs::remove_file(world.path("canary/bar")).unwrap();
    fs::remove_dir(world.path("canary/baz")).unwrap();
}

/// CVE-2024-23653: a step has all privileges although nobody gave them.
#[test]
fn cve_2024_23653_privileges_are_given_by_who_builds() {
    let Some(world) = World::new() else { return };
    let step = "RUN --security=insecure mount -t tmpfs x /tmp && echo it-mounted\n";
    let refused = world.build(&[], step);
    assert_eq!(refused.code(), 1, "{refused}");
    assert!(refused.stderr.contains("security.insecure"), "{refused}");
    assert!(!(refused.stdout.clone() + &refused.stderr).contains("\nit-mounted"), "{refused}");
    // A frontend of the Dockerfile's own choice is not run at all.
    let context = world.path("context");
    let text = fs::read_to_string(context.join("Dockerfile")).unwrap();
    fs::write(context.join("Dockerfile"), format!("# syntax=evil/frontend:1\n{text}")).unwrap();
    let again = world.call(&["build", "--progress", "plain", "--network", "none"]).args([&context]).run();
    assert!(again.code() == 1 && again.stderr.contains("runs no other"), "{again}");
    let given = world.build(&["--allow", "security.insecure"], step).ok();
    assert!((given.stdout.clone() + &given.stderr).contains("it-mounted"), "{given}");
}
