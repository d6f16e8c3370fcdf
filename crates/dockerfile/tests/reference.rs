//! The rules of the reference's text, each with an example of its kind: format, directives, forms, flags.

use std::path::Path;

use coracle_dockerfile::{
    CommandForm, CopySource, Dockerfile, Escape, HealthcheckProbe, Instruction, MountKind, PairForm, Sharing,
    parse,
};

fn read(text: &str) -> Dockerfile {
    parse(Path::new("Dockerfile"), text).expect(text)
}

/// Returns the one instruction after `FROM x`.
fn one(text: &str) -> Instruction {
    let mut file = read(&format!("FROM x\n{text}\n"));
    let mut instructions = std::mem::take(&mut file.stages[0].instructions);
    assert_eq!(instructions.len(), 1, "{text}");
    instructions.remove(0).instruction
}

fn shell(text: &str) -> CommandForm {
    match one(text) {
        Instruction::Run(run) => run.command,
        Instruction::Cmd(form) | Instruction::Entrypoint(form) => form,
        other => panic!("{other:?}"),
    }
}

#[test]
fn format() {
    // Instructions in any case; comments on lines of their own; white space before both means nothing.
    let file =
        read("        # a comment\n    from x\n  RUN echo hello\nRun echo world\n# between\n\tcmd [\"a\"]\n");
    let texts: Vec<_> = file.stages[0].instructions.iter().map(|statement| statement.text.as_str()).collect();
    assert_eq!(texts, ["RUN echo hello", "Run echo world", "cmd [\"a\"]"]);
    // A `#` within a line is an argument.
    assert_eq!(shell("RUN echo 'we are # one'"), CommandForm::Shell("echo 'we are # one'".to_owned()));
    // White space in arguments stays, comments in continuations go, so do they at the line's beginning.
    let text = "RUN echo \"\\\n     hello\\\n# gone\n   # too\n     world\"";
    assert_eq!(shell(text), CommandForm::Shell("echo \"     hello     world\"".to_owned()));
    // A doubled escape ends no line; blanks after the escape do not matter.
    assert_eq!(shell("RUN a \\\\"), CommandForm::Shell("a \\\\".to_owned()));
    assert_eq!(shell("RUN a \\  \n b"), CommandForm::Shell("a  b".to_owned()));
    // The escape may stand alone, and the file may end within a line.
    assert_eq!(shell("\\\nRUN \\\n\\\na"), CommandForm::Shell("a".to_owned()));
    assert_eq!(shell("RUN a \\"), CommandForm::Shell("a".to_owned()));
}

#[test]
fn directives() {
    let syntax = |text: &str| read(&format!("{text}\nFROM x\n")).directives.syntax.map(|word| word.value);
    for same in [
        "#syntax=docker/dockerfile:1",
        "# syntax =docker/dockerfile:1",
        "#\tsyntax= docker/dockerfile:1",
        "# syntax = docker/dockerfile:1",
        "#\t  sYnTaX=docker/dockerfile:1  ",
        "\u{feff}# syntax=docker/dockerfile:1",
        "#!/usr/bin/env build\n# syntax=docker/dockerfile:1",
        "# check=skip=all\n# syntax=docker/dockerfile:1",
    ] {
        assert_eq!(syntax(same).as_deref(), Some("docker/dockerfile:1"), "{same:?}");
    }
    for none in [
        "# syntax \\\n# =docker/dockerfile:1",
        "# About my file\n# syntax=docker/dockerfile:1",
        "# unknowndirective=value\n# syntax=docker/dockerfile:1",
        "\n# syntax=docker/dockerfile:1",
        "ARG x\n# syntax=docker/dockerfile:1",
        "#\n# syntax=docker/dockerfile:1",
        "# syntax=",
        "# 1syntax=docker/dockerfile:1",
    ] {
        assert_eq!(syntax(none), None, "{none:?}");
    }
    for twice in ["escape=`", "check=skip=all"] {
        let text = format!("# {twice}\n# {twice}\nFROM x\n");
        assert_eq!(parse(Path::new("Dockerfile"), &text).unwrap_err().code, "duplicate-directive");
    }
    let file = read("# escape=`\n\nFROM x\nCOPY testfile.txt c:\\\nRUN dir c:\\\n");
    assert_eq!(file.directives.escape, Escape::Backtick);
    assert_eq!(file.stages[0].instructions.len(), 2);
    // With the backslash, the same lines are one.
    let file = read("FROM x\nCOPY testfile.txt c:\\\\\nCOPY a c:\\\nRUN dir c:\\\n");
    assert_eq!(file.stages[0].instructions.len(), 2);
}

#[test]
fn exec_and_shell_forms() {
    let exec = |items: &[&str]| CommandForm::Exec(items.iter().map(|item| (*item).to_owned()).collect());
    assert_eq!(
        shell("RUN [\"/bin/bash\", \"-c\", \"echo hello\"]"),
        exec(&["/bin/bash", "-c", "echo hello"])
    );
    assert_eq!(
        shell("RUN [\"c:\\\\windows\\\\system32\\\\tasklist.exe\"]"),
        exec(&["c:\\windows\\system32\\tasklist.exe"])
    );
    // Not JSON, so a text for the shell.
    for text in ["[\"c:\\windows\\tasklist.exe\"]", "['echo', 'hi']", "[ \"$x\" = y ]", "[\"a\"", "[\"a\"] b"]
    {
        assert_eq!(shell(&format!("RUN {text}")), CommandForm::Shell(text.to_owned()));
    }
    for text in ["CMD []", "ENTRYPOINT []"] {
        assert_eq!(shell(text), CommandForm::Exec(Vec::new()));
    }
    for text in ["CMD [1]", "RUN [\"a\", null]", "ENTRYPOINT [[\"a\"]]", "COPY [\"a\", 1]"] {
        let error = parse(Path::new("Dockerfile"), &format!("FROM x\n{text}\n")).unwrap_err();
        assert_eq!(error.code, "bad-json", "{text}");
    }
}

#[test]
fn pairs() {
    let pairs = |text: &str| match one(text) {
        Instruction::Env(pairs) | Instruction::Label(pairs) => {
            pairs.into_iter().map(|pair| (pair.name.value, pair.value.value, pair.form)).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    let own = |name: &str, value: &str, form| (name.to_owned(), value.to_owned(), form);
    let (equals, space) = (PairForm::Equals, PairForm::Space);
    assert_eq!(
        pairs("ENV MY_NAME=\"John Doe\" MY_DOG=Rex\\ The\\ Dog \\\n    MY_CAT=fluffy"),
        [
            own("MY_NAME", "\"John Doe\"", equals),
            own("MY_DOG", "Rex\\ The\\ Dog", equals),
            own("MY_CAT", "fluffy", equals),
        ]
    );
    assert_eq!(pairs("ENV ONE TWO= THREE=world"), [own("ONE", "TWO= THREE=world", space)]);
    assert_eq!(pairs("ENV a  b \"c\" "), [own("a", "b \"c\"", space)]);
    assert_eq!(pairs("ENV a = b"), [own("a", "= b", space)]);
    assert_eq!(
        pairs("LABEL \"com.example.vendor\"=\"ACME Incorporated\""),
        [own("\"com.example.vendor\"", "\"ACME Incorporated\"", equals)]
    );
    assert_eq!(pairs("LABEL a="), [own("a", "", equals)]);
    assert_eq!(pairs("LABEL a='b\\' c=d"), [own("a", "'b\\'", equals), own("c", "d", equals)]);
}

#[test]
fn copies() {
    let copy = |text: &str| match one(text) {
        Instruction::Copy(copy) => copy,
        other => panic!("{other:?}"),
    };
    let paths = |text: &str| {
        let copy = copy(text);
        let sources = copy.sources.iter().map(|source| match source {
            CopySource::Path(word) => word.value.clone(),
            CopySource::Heredoc(heredoc) => format!("<{}>{}", heredoc.name, heredoc.content),
        });
        sources.chain([copy.dest.value.clone()]).collect::<Vec<_>>()
    };
    assert_eq!(
        paths("COPY file1.txt file2.txt /usr/src/things/"),
        ["file1.txt", "file2.txt", "/usr/src/things/"]
    );
    assert_eq!(paths("COPY [\"arr[[]0].txt\", \"/a b/\"]"), ["arr[[]0].txt", "/a b/"]);
    // Quotes hold nothing together here; that takes the list.
    assert_eq!(paths("COPY \"a b\" /c"), ["\"a", "b\"", "/c"]);
    assert_eq!(
        paths(
            "COPY <<robots.txt <<-\"humans.txt\" more /usr/share/\n(robots)\nrobots.txt\n\t(humans)\n\thumans.txt"
        ),
        ["<robots.txt>(robots)\n", "<humans.txt>(humans)\n", "more", "/usr/share/"]
    );
    let flags = copy(
        "COPY --from=build --chown=$U:$G --chmod=u=rwX,go=rX --link --parents --exclude=*.txt --exclude=**/*.md a b",
    );
    assert_eq!(flags.from.expect("given").value, "build");
    assert_eq!(flags.options.chmod.expect("given").value, "u=rwX,go=rX");
    assert_eq!(flags.options.exclude.len(), 2);
    assert!(flags.options.link && flags.parents);
    let quoted = copy("COPY --chown='a b' --exclude=\"c d\" --from=x\\ y a b");
    assert_eq!(quoted.options.chown.expect("given").value, "a b");
    assert_eq!(quoted.options.exclude[0].value, "c d");
    assert_eq!(quoted.from.expect("given").value, "x y");
    assert_eq!(paths("COPY -- --odd /x"), ["--odd", "/x"]);
}

#[test]
fn heredocs() {
    let bodies = |text: &str| match one(text) {
        Instruction::Run(run) => run
            .heredocs
            .into_iter()
            .map(|heredoc| (heredoc.name, heredoc.content, heredoc.expand))
            .collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let own = |name: &str, content: &str, expand| (name.to_owned(), content.to_owned(), expand);
    assert_eq!(bodies("RUN <<EOT bash\n  set -ex\nEOT"), [own("EOT", "  set -ex\n", true)]);
    assert_eq!(
        bodies("RUN <<FILE1 cat > f1 && <<FILE2 cat > f2\n1\nFILE1\n2\nFILE2"),
        [own("FILE1", "1\n", true), own("FILE2", "2\n", true)]
    );
    assert_eq!(bodies("RUN 3<<EMPTY\nEMPTY"), [own("EMPTY", "", true)]);
    assert_eq!(bodies("RUN <<-X\n\ta\n\t\tb\n\tX"), [own("X", "a\nb\n", true)]);
    assert_eq!(bodies("RUN <<-'X'\n\ta\nX"), [own("X", "a\n", false)]);
    assert_eq!(bodies("RUN <<eo'f'\na\neof"), [own("eof", "a\n", false)]);
    assert_eq!(bodies("RUN <<eo\\'f\na\neo'f"), [own("eo'f", "a\n", true)]);
    assert_eq!(bodies("RUN <<'e'o\\'f\na\neo'f"), [own("eo'f", "a\n", false)]);
    assert_eq!(bodies("RUN <<'one two'\na\none two"), [own("one two", "a\n", false)]);
    assert_eq!(bodies("RUN <<$EOF\n$EOF"), [own("$EOF", "", true)]);
    assert_eq!(bodies("RUN <<  EOF > foo\nEOF"), [own("EOF", "", true)]);
    assert_eq!(bodies("RUN <<A\n# stays\n\nFROM no\n\\\nA"), [own("A", "# stays\n\nFROM no\n\\\n", true)]);
    assert_eq!(bodies("RUN cat <<EOF\r\na\r\nEOF\r"), [own("EOF", "a\r\n", true)]);
    for none in
        ["RUN \"<<X\"", "RUN echo it's <<X", "RUN cat <<<X", "RUN a<<X", "RUN [\"<<X\"]", "RUN echo \\<<X"]
    {
        assert_eq!(bodies(none), [], "{none}");
    }
    let Instruction::OnBuild(trigger) = one("ONBUILD RUN <<A <<B\n1\nA\n2\nB") else { panic!("ONBUILD") };
    assert_eq!(trigger.text.value, "RUN <<A <<B\n1\nA\n2\nB");
}

#[test]
fn mounts() {
    let mount = |text: &str| match one(&format!("RUN --mount={text} true")) {
        Instruction::Run(mut run) => run.mounts.remove(0).kind,
        other => panic!("{other:?}"),
    };
    assert!(matches!(mount("target=/x"), MountKind::Bind { writable: false, .. }));
    assert!(matches!(mount("target=/x,rw=false"), MountKind::Bind { writable: false, .. }));
    assert!(matches!(mount("dst=/x,readwrite"), MountKind::Bind { writable: true, .. }));
    assert!(matches!(mount("type=CACHE,target=/x,ro"), MountKind::Cache { read_only: true, .. }));
    let locked = mount("type=cache,target=/x,sharing=LOCKED,mode=0755");
    let MountKind::Cache { sharing: Sharing::Locked, owner, .. } = locked else { panic!("{locked:?}") };
    assert_eq!(owner.mode, Some(0o755));
    assert!(matches!(mount("type=tmpfs,target=/x,size=1.5k,rw"), MountKind::Tmpfs { size: Some(1536), .. }));
    assert!(matches!(mount("type=secret,src=key,required=T"), MountKind::Secret { required: true, .. }));
    assert!(matches!(mount("type=ssh,required=0"), MountKind::Ssh { required: false, .. }));
    let quoted = mount("type=bind,\\\"source=a,b\\\",target=/x");
    let MountKind::Bind { source: Some(source), .. } = quoted else { panic!("{quoted:?}") };
    assert_eq!(source.value, "a,b");
}

#[test]
fn mounts_with_variables_are_read_later() {
    let file = read("FROM x\nRUN --mount=type=cache,target=/x,uid=$U,sharing=$S,id=$I true\n");
    let Instruction::Run(run) = &file.stages[0].instructions[0].instruction else { panic!("RUN") };
    let lookup = |name: &str| Some(if name == "U" { "1000" } else { "private" }.to_owned());
    let mount =
        run.mounts[0].resolved(&file.source, &|word| file.expand(word, &lookup)).expect("it is whole now");
    let MountKind::Cache { sharing: Sharing::Private, owner, id: Some(id), .. } = mount.kind else {
        panic!("cache")
    };
    assert_eq!((owner.uid, id.value.as_str()), (Some(1000), "$I"));
    let bad = run.mounts[0].resolved(&file.source, &|word| file.expand(word, &|_| Some("no".to_owned())));
    assert_eq!(
        bad.unwrap_err().to_string(),
        "Dockerfile:2:49: `sharing` is shared, private or locked, not `no`"
    );
}

#[test]
fn the_others() {
    let Instruction::Healthcheck(check) = one(
        "HEALTHCHECK --interval=5m --timeout=3s --start-period=0s CMD curl -f http://localhost/ || exit 1",
    ) else {
        panic!("HEALTHCHECK")
    };
    assert_eq!((check.interval, check.timeout, check.retries), (300_000_000_000, 3_000_000_000, 0));
    assert!(matches!(check.probe, HealthcheckProbe::Command(CommandForm::Shell(_))));
    let Instruction::Volume(paths) = one("VOLUME /var/log /var/db") else { panic!("VOLUME") };
    assert_eq!(paths.len(), 2);
    let Instruction::User(user) = one("USER patrick:\"a b\"") else { panic!("USER") };
    assert_eq!(user.value, "patrick:\"a b\"");
    let Instruction::Workdir(path) = one("WORKDIR  /a b ") else { panic!("WORKDIR") };
    assert_eq!(path.value, "/a b");
    let Instruction::Arg(arguments) = one("ARG a=\"b c\" d e=") else { panic!("ARG") };
    let values: Vec<_> =
        arguments.iter().map(|argument| argument.default.as_ref().map(|word| word.value.as_str())).collect();
    assert_eq!(values, [Some("\"b c\""), None, Some("")]);
    let Instruction::Expose(ports) = one("EXPOSE 80/tcp 80/udp") else { panic!("EXPOSE") };
    assert_eq!(ports.len(), 2);
    let Instruction::Shell(words) = one("SHELL [\"powershell\", \"-command\"]") else { panic!("SHELL") };
    assert_eq!(words, ["powershell", "-command"]);
    let Instruction::OnBuild(trigger) = one("ONBUILD ADD . /app/src") else { panic!("ONBUILD") };
    assert_eq!(trigger.text.value, "ADD . /app/src");
    let file = read(
        "ARG CODE_VERSION=latest\nFROM --platform=$BUILDPLATFORM base:${CODE_VERSION} AS Extras\nFROM extras\n",
    );
    assert_eq!(file.stages[0].platform.as_ref().expect("given").value, "$BUILDPLATFORM");
    assert_eq!(file.stage_index("EXTRAS"), Some(0));
}

#[test]
fn durations_may_be_empty_or_signed() {
    let Instruction::Healthcheck(check) = one("HEALTHCHECK --interval= --timeout=+1s --retries= CMD x")
    else {
        panic!("HEALTHCHECK")
    };
    assert_eq!((check.interval, check.timeout, check.retries), (0, 1_000_000_000, 0));
}

#[test]
fn after_a_shebang_escape_means_nothing() {
    let file = read("#!/usr/bin/env build\n# escape=x\nFROM a\nRUN x \\\n y\n");
    assert_eq!((file.directives.escape, file.stages[0].instructions.len()), (Escape::Backslash, 1));
}
