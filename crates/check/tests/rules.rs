//! Every rule finds what it is for, at the line where BuildKit says so, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use coracle_check::{BUILDKIT, BaseFacts, Bases, Family, Report, Request, check, find};
use coracle_dockerfile::{IgnoreFile, parse};
use coracle_oci::Platform;

/// An image that sets `PATH`, one that sets a shell, one for another machine, one with a trigger.
struct Images;

impl Bases for Images {
    fn base(&self, image: &str, _platform: Option<&str>) -> Option<BaseFacts> {
        let host = Platform::host();
        let facts = BaseFacts {
            env: vec!["PATH=/bin".to_owned(), "GREETING=hello".to_owned()],
            platform: (host.os, host.architecture),
            ..BaseFacts::default()
        };
        match image {
            "alpine" | "busybox:latest" => Some(facts),
            "shell" => Some(BaseFacts { shell: true, ..facts }),
            "foreign" => Some(BaseFacts { platform: ("linux".to_owned(), "s390x".to_owned()), ..facts }),
            "trigger" => Some(BaseFacts { on_build: vec!["ENV A b".to_owned()], ..facts }),
            _ => None,
        }
    }
}

#[derive(Default)]
struct Given<'a> {
    arguments: &'a [(&'a str, &'a str)],
    ignore: &'a str,
    target: Option<usize>,
    contexts: &'a [&'a str],
}

fn report_with(text: &str, given: &Given<'_>) -> Report {
    let file = parse(Path::new("Dockerfile"), text).expect(text);
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let build_args: BTreeMap<String, String> = given.arguments.iter().map(owned).collect();
    let ignore = IgnoreFile::parse(Path::new(".dockerignore"), given.ignore).expect("well formed");
    let contexts: BTreeSet<String> = given.contexts.iter().map(|name| (*name).to_owned()).collect();
    let platform = Platform::host();
    let request = Request {
        dockerfile: &file,
        build_args: &build_args,
        platform: &platform,
        target: given.target,
        ignore: Some(&ignore),
        contexts: &contexts,
        bases: &Images,
    };
    check(&request).expect("the options are well formed")
}

fn lines(report: &Report) -> Vec<String> {
    report
        .findings
        .iter()
        .map(|finding| {
            assert_eq!(finding.diagnostic.code, finding.rule.id);
            let line = finding.lines.start.line;
            format!("{line} {}: {}", finding.rule.id, finding.diagnostic.message)
        })
        .collect()
}

fn found_with(text: &str, given: &Given<'_>) -> Vec<String> {
    lines(&report_with(text, given))
}

fn found(text: &str) -> Vec<String> {
    found_with(text, &Given::default())
}

/// Files that each rule has something to say about, with all that is said.
#[test]
fn what_is_found() {
    let table: &[(&str, &[&str])] = &[
        ("FROM scratch AS Base\n", &["1 StageNameCasing: Stage name 'Base' should be lowercase"]),
        ("FROM scratch as a\n", &["1 FromAsCasing: 'as' and 'FROM' keywords' casing do not match"]),
        ("from scratch AS a\n", &["1 FromAsCasing: 'AS' and 'from' keywords' casing do not match"]),
        ("FROM scratch\nCOPY a \\\n\n.\n", &["4 NoEmptyContinuation: Empty continuation line"]),
        (
            "From scratch as a\nFROM scratch AS b\n",
            &[
                "1 ConsistentInstructionCasing: Command 'From' should match the case of the command majority (uppercase)",
            ],
        ),
        (
            "from scratch\nCOPY a b\ncopy a c\n",
            &[
                "2 ConsistentInstructionCasing: Command 'COPY' should match the case of the command majority (lowercase)",
            ],
        ),
        (
            "from scratch\nCOPY a b\n",
            &[
                "1 ConsistentInstructionCasing: Command 'from' should match the case of the command majority (uppercase)",
            ],
        ),
        (
            "FROM scratch AS b\nFROM scratch AS b\n",
            &["2 DuplicateStageName: Duplicate stage name \"b\", stage names should be unique"],
        ),
        (
            "FROM scratch AS scratch\nFROM scratch AS context\n",
            &[
                "1 ReservedStageName: Stage name should not use the same name as reserved stage \"scratch\"",
                "2 ReservedStageName: Stage name should not use the same name as reserved stage \"context\"",
            ],
        ),
        (
            "FROM scratch\nCMD run it\nENTRYPOINT run it\n",
            &[
                "2 JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals",
                "3 JSONArgsRecommended: JSON arguments recommended for ENTRYPOINT to prevent unintended behavior related to OS signals",
            ],
        ),
        (
            "FROM scratch\nMAINTAINER me\n",
            &["2 MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label"],
        ),
        (
            "FROM alpine:${tag}${version}\n",
            &[
                "1 InvalidDefaultArgInFrom: Default value for ARG alpine:${tag}${version} results in empty or invalid base image name",
                "1 UndefinedArgInFrom: FROM argument 'tag' is not declared",
                "1 UndefinedArgInFrom: FROM argument 'version' is not declared",
            ],
        ),
        (
            "FROM --platform=$BULIDPLATFORM scratch\n",
            &[
                "1 UndefinedArgInFrom: FROM argument 'BULIDPLATFORM' is not declared (did you mean BUILDPLATFORM?)",
            ],
        ),
        (
            "FROM scratch\nWORKDIR app/\nWORKDIR more\n",
            &[
                "2 WorkdirRelativePath: Relative workdir \"app/\" can have unexpected results if the base image changes",
            ],
        ),
        (
            "FROM alpine\nCOPY $foo .\nARG foo=bar\nRUN echo $foo\n",
            &["2 UndefinedVar: Usage of undefined variable '$foo'"],
        ),
        (
            "FROM alpine\nARG DIR_ASSETS=assets/\nARG DIR_CONFIG=c\nCOPY $DIR_ASSET .\n",
            &["4 UndefinedVar: Usage of undefined variable '$DIR_ASSET' (did you mean $DIR_ASSETS?)"],
        ),
        (
            "FROM alpine\nENV PATH=$PAHT:/tmp/bin\n",
            &["2 UndefinedVar: Usage of undefined variable '$PAHT' (did you mean $PATH?)"],
        ),
        (
            "FROM scratch\nCOPY <<EOF /x\n$what\nEOF\n",
            &["2 UndefinedVar: Usage of undefined variable '$what'"],
        ),
        (
            "FROM scratch\nRUN --mount=type=cache,target=$where true\n",
            &["2 UndefinedVar: Usage of undefined variable '$where'"],
        ),
        (
            "FROM scratch\nENTRYPOINT [\"a\"]\nCMD [\"a\"]\nHEALTHCHECK CMD [\"a\"]\nENTRYPOINT [\"b\"]\nCMD [\"b\"]\nHEALTHCHECK NONE\n",
            &[
                "2 MultipleInstructionsDisallowed: Multiple ENTRYPOINT instructions should not be used in the same stage because only the last one will be used",
                "3 MultipleInstructionsDisallowed: Multiple CMD instructions should not be used in the same stage because only the last one will be used",
                "4 MultipleInstructionsDisallowed: Multiple HEALTHCHECK instructions should not be used in the same stage because only the last one will be used",
            ],
        ),
        (
            "FROM scratch\nENV a b\nLABEL c d\n",
            &[
                "2 LegacyKeyValueFormat: \"ENV key=value\" should be used instead of legacy \"ENV key value\" format",
                "3 LegacyKeyValueFormat: \"LABEL key=value\" should be used instead of legacy \"LABEL key value\" format",
            ],
        ),
        (
            "FROM trigger\n",
            &[
                "1 LegacyKeyValueFormat: \"ENV key=value\" should be used instead of legacy \"ENV key value\" format",
            ],
        ),
        (
            "FROM --platform=$TARGETPLATFORM scratch\n",
            &[
                "1 RedundantTargetPlatform: Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
            ],
        ),
        (
            "FROM scratch\nARG SECRET_PASSPHRASE\nENV SUPER_Secret=foo\nENV apikey=bar sunflower=foo\nENV git_key=\n",
            &[
                "2 SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ARG \"SECRET_PASSPHRASE\")",
                "3 SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ENV \"SUPER_Secret\")",
                "4 SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ENV \"apikey\")",
                "5 SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ENV \"git_key\")",
            ],
        ),
        (
            "ARG IMAGE\nFROM ${IMAGE}x:$IMAGE\n",
            &[
                "2 InvalidDefaultArgInFrom: Default value for ARG ${IMAGE}x:$IMAGE results in empty or invalid base image name",
            ],
        ),
        (
            "FROM --platform=linux/amd64 scratch\n",
            &[
                "1 FromPlatformFlagConstDisallowed: FROM --platform flag should not use constant value \"linux/amd64\"",
            ],
        ),
        (
            "# check=experimental=InvalidDefinitionDescription\n# bar is it\nARG foo=bar\n# Base is it\nFROM scratch AS base\n# bad\nARG a=1 b=2\n",
            &[
                "3 InvalidDefinitionDescription: Comment for ARG should follow the format: `# foo <description>`",
                "5 InvalidDefinitionDescription: Comment for FROM should follow the format: `# base <description>`",
                "7 InvalidDefinitionDescription: Comment for ARG should follow the format: `# <arg_key> <description>`",
            ],
        ),
        (
            "FROM scratch\nEXPOSE 80/TcP 8080/udp\n",
            &["2 ExposeProtoCasing: Defined protocol '80/TcP' in EXPOSE instruction should be lowercase"],
        ),
        (
            "FROM scratch\nEXPOSE 127.0.0.1:80:80 [::1]:81:81 5000:5000 8000\n",
            &[
                "2 ExposeInvalidFormat: EXPOSE instruction should not define an IP address or host-port mapping, found '127.0.0.1:80:80'",
                "2 ExposeInvalidFormat: EXPOSE instruction should not define an IP address or host-port mapping, found '5000:5000'",
                "2 ExposeInvalidFormat: EXPOSE instruction should not define an IP address or host-port mapping, found '[::1]:81:81'",
            ],
        ),
        (
            "FROM shell\nCMD ['a', 'b']\n",
            &[
                "2 MalformedExecForm: The list after CMD is not JSON and is taken as text: strings need double quotes, not single ones",
            ],
        ),
        (
            "FROM scratch\nCOPY [\"a\", \"b\",]\n",
            &["2 MalformedExecForm: The list after COPY is not JSON and is taken as text: trailing comma"],
        ),
        (
            "FROM scratch AS run\n",
            &["1 StageNameIsInstruction: Stage name 'run' is also the instruction RUN"],
        ),
        (
            "FROM scratch AS builder\nFROM scratch\nCOPY --from=bulder a b\n",
            &["3 UnknownStage: there is no stage `bulder`"],
        ),
        (
            "FROM scratch\nRUN --mount=from=later,target=/x true\nFROM scratch AS later\n",
            &["2 UnknownStage: stage `later` comes later in the file"],
        ),
    ];
    let mut said = BTreeSet::new();
    for (text, expected) in table {
        let findings = found(text);
        assert_eq!(findings, *expected, "{text}");
        said.extend(expected.iter().filter_map(|line| line.split([' ', ':']).nth(1)));
    }
    // The two that need an ignore file or a foreign image have tests of their own.
    said.extend(["CopyIgnoredFile", "InvalidBaseImagePlatform"]);
    let all: BTreeSet<&str> = BUILDKIT.iter().map(|rule| rule.id).collect();
    assert_eq!(said, all, "every rule is tested");
}

/// Files that are near to a fault and have none.
#[test]
fn what_is_fine() {
    for text in [
        "FROM scratch AS base\n",
        "from scratch as base\n",
        "FROM scratch AS b1\nFROM scratch AS b2\n",
        "FROM scratch\nFROM scratch AS a\n",
        "FROM scratch\nCOPY a \\\n# comment\n.\n",
        "from scratch\ncopy a b\n",
        "FROM alpine\nRUN <<'EOT'\nenv\nEOT\n",
        "FROM scratch\nCMD [\"a\"]\nENTRYPOINT [\"a\"]\n",
        "FROM scratch\nSHELL [\"/bin/x\"]\nCMD a\n",
        "FROM scratch AS base\nSHELL [\"/bin/x\"]\nFROM base\nENTRYPOINT a\n",
        "FROM shell\nCMD a\n",
        "FROM scratch\nLABEL org.opencontainers.image.authors=\"me\"\n",
        "ARG base=scratch\nFROM $base\n",
        "FROM --platform=$BUILDPLATFORM scratch\n",
        "ARG BUILDPLATFORM=linux/amd64\nFROM --platform=$BUILDPLATFORM scratch\n",
        "ARG DEBUG\nFROM scratch${DEBUG}\n",
        "ARG DEBUG\nFROM scra${DEBUG:-tch}\n",
        "ARG DEBUG=\"\"\nFROM scratch${DEBUG-@bogus}\n",
        "FROM scratch AS a\nWORKDIR /app\nFROM a AS b\nWORKDIR sub/\n",
        "FROM scratch\nWORKDIR /app\nWORKDIR sub\n",
        "FROM scratch\nARG DIR=/x\nWORKDIR $DIR\n",
        "FROM scratch\nARG foo\nCOPY Dockerfile${foo} .\n",
        "FROM alpine AS base\nARG foo=Dockerfile\nFROM base\nCOPY $foo .\n",
        "FROM alpine\nRUN echo $UNKNOWN\nCMD [\"$UNKNOWN\"]\n",
        "FROM alpine\nCOPY $GREETING .\n",
        "FROM unknown\nCOPY $from_the_image .\n",
        "FROM unknown AS a\nFROM a\nCOPY $from_the_image .\n",
        "FROM scratch\nCOPY <<'EOF' /x\n$what\nEOF\n",
        "FROM scratch\nCOPY \\$what '$that' /x\n",
        "FROM scratch AS a\nCMD [\"a\"]\nFROM a AS b\nCMD [\"b\"]\n",
        "FROM scratch\nENV a=b\nLABEL c=d\n",
        "FROM scratch\nENV PUBLIC_KEY=\nARG public_token\nARG SECRET_FILE\nARG AUTH_MODULE_VERSION\nARG monkey\nENV KEYBOARD=de\n",
        "ARG PASSWORD_FOR_NO_STAGE\nFROM scratch\n",
        "ARG VERSION=latest\nFROM busybox:$VERSION\n",
        "ARG VARIANT\nFROM busybox:latest$VARIANT\n",
        "FROM --platform=linux/amd64 scratch AS my_amd64_stage\n",
        "FROM --platform=linux/amd64 scratch AS linux\n",
        "ARG P=linux/amd64\nFROM --platform=$P scratch AS x\n",
        "# bad comment\nARG foo=bar\nFROM scratch\n",
        "# check=experimental=all\n# foo it is\nARG foo=1\n# any\n#\nARG bar=2\nFROM scratch\n# a comment\nCOPY a b\n",
        "FROM scratch\nEXPOSE 80/tcp 81-90/udp 8000\n",
        "FROM scratch\nARG P\nEXPOSE $P\n",
        "FROM scratch\nRUN [ -f x ] && y\n",
        "FROM scratch\nRUN [\"a\", \"b\"]\n",
        "FROM scratch\nCOPY [\"a\", \"b\"]\n",
        "FROM scratch AS runner\n",
        "FROM scratch AS builder\nFROM scratch\nCOPY --from=builder a b\nCOPY --from=nginx a b\nCOPY --from=0 a c\n",
    ] {
        assert_eq!(found(text), [""; 0], "{text}");
    }
}

#[test]
fn files_hidden_by_the_ignore_file() {
    let with = |text: &str, ignore: &str| found_with(text, &Given { ignore, ..Given::default() });
    let text = "FROM scratch\nCOPY Dockerfile .\nADD ./Dockerfile /w\n";
    assert_eq!(
        with(text, "Dockerfile\n"),
        [
            "2 CopyIgnoredFile: Attempting to Copy file \"Dockerfile\" that is excluded by .dockerignore",
            "3 CopyIgnoredFile: Attempting to Add file \"Dockerfile\" that is excluded by .dockerignore",
        ]
    );
    let root = "FROM scratch\nCOPY . .\n";
    assert_eq!(
        with(root, "*\n"),
        ["2 CopyIgnoredFile: Attempting to Copy file \".\" that is excluded by .dockerignore"]
    );
    assert_eq!(with(root, ".*\n"), [""; 0]);
    assert_eq!(with(text, "foobar\n"), [""; 0]);
    assert_eq!(with(text, "**\n!Dockerfile\n"), [""; 0]);
    assert_eq!(with("FROM scratch AS a\nFROM scratch\nCOPY --from=a /foobar /x\n", "foobar\n"), [""; 0]);
    assert_eq!(with("FROM scratch\nADD https://example.org/foobar /x\n", "**\n"), [""; 0]);
    let finding = &report_with(text, &Given { ignore: "# x\nDocker*\n", ..Given::default() }).findings[0];
    assert_eq!(finding.diagnostic.hints[0].0, ".dockerignore:2:1 hides it: `Docker*`");
    assert_eq!(finding.diagnostic.span.as_ref().unwrap().start.column, 6);
}

#[test]
fn foreign_bases() {
    let host = Platform::host();
    let expected = format!(
        "1 InvalidBaseImagePlatform: Base image foreign was pulled with platform \"linux/s390x\", expected \"{}/{}\" for current build",
        host.os, host.architecture
    );
    assert_eq!(found("FROM foreign\n"), [expected]);
    assert_eq!(found("FROM --platform=linux/s390x foreign AS s390x\n"), [""; 0]);
    assert_eq!(found("FROM alpine\n"), [""; 0]);
}

#[test]
fn options_choose() {
    let text = "FROM scratch as base\ncopy a b\n";
    let with = |head: &str| lines(&report_with(&format!("{head}\n{text}"), &Given::default())).len();
    assert_eq!(with("#"), 2);
    assert_eq!(with("# check=skip=all"), 0);
    assert_eq!(with("#check=skip=ConsistentInstructionCasing,FromAsCasing"), 0);
    assert_eq!(with("#check=skip=ConsistentInstructionCasing"), 1);
    let strict = report_with(&format!("#check=skip=FromAsCasing;error=true\n{text}"), &Given::default());
    assert!(strict.fails_the_build());
    let silent = report_with(&format!("#check=skip=all;error=true\n{text}"), &Given::default());
    assert!(!silent.fails_the_build());
    // The argument takes the place of the comment.
    let arguments = [("BUILDKIT_DOCKERFILE_CHECK", "skip=ConsistentInstructionCasing;error=true")];
    let given = Given { arguments: &arguments, ..Given::default() };
    let report = report_with(&format!("#check=skip=all\n{text}"), &given);
    assert_eq!((report.findings.len(), report.fails_the_build()), (1, true));
}

#[test]
fn a_comment_before_an_instruction_skips_there_alone() {
    let text = "FROM scratch\n# check=skip=SecretsUsedInArgOrEnv // on purpose\nENV password=bar\nENV token=x\n# check=skip=all\nARG auth\n# check=skip=JSONArgsRecommended\nCMD x\n# check=skip=MaintainerDeprecated\nMAINTAINER me\n";
    let expected =
        ["4 SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ENV \"token\")"];
    assert_eq!(found(text), expected);
    assert_eq!(
        found("# check=skip=RedundantTargetPlatform\n\nFROM --platform=$TARGETPLATFORM scratch\n"),
        [""; 0]
    );
}

#[test]
fn stages_that_are_not_needed_are_left_alone() {
    let text =
        "FROM scratch AS a\nCOPY $foo .\nFROM scratch AS b\nCOPY $bar .\nFROM b AS c\nCOPY --from=b x y\n";
    let with = |target| found_with(text, &Given { target, ..Given::default() }).len();
    assert_eq!((with(None), with(Some(0)), with(Some(1)), with(Some(2))), (2, 1, 1, 1));
}

#[test]
fn named_contexts_are_no_slips() {
    let text = "FROM scratch AS builder\nFROM bulder\nCOPY --from=bulder a b\n";
    assert_eq!(found_with(text, &Given { contexts: &["bulder"], ..Given::default() }), [""; 0]);
    assert_eq!(found(text).len(), 1);
    // As the builder finds them: in any case, and under an image's other names.
    let text = "FROM Files AS one\nFROM busybox:latest\nCOPY --from=fILES a b\nCOPY --from=one a b\n";
    let contexts = ["files", "docker.io/library/busybox"];
    assert_eq!(found_with(text, &Given { contexts: &contexts, ..Given::default() }), [""; 0]);
}

#[test]
fn faults_and_gaps_are_told() {
    let report = report_with("ARG X\nFROM ${X:?set}\n", &Given::default());
    assert_eq!(report.fault.unwrap().to_string(), "Dockerfile:2:6: X: set");
    let report = report_with("FROM --platform=$BULIDPLATFORM scratch\n", &Given::default());
    assert_eq!(report.fault.unwrap().hints[0].0, "did you mean `$BUILDPLATFORM`?");
    let report = report_with("FROM somewhere/else\nFROM alpine\n", &Given::default());
    assert_eq!(report.unknown_bases, ["somewhere/else"]);
    assert_eq!(report.fault, None);
}

#[test]
fn rules_are_documented() {
    for rule in BUILDKIT {
        assert!(rule.explanation.len() > 60 && rule.explanation.ends_with('.'), "{}", rule.id);
        assert_eq!(find(&rule.id.to_lowercase()), Some(*rule));
        let page = rule.url.is_some() || rule.id == "InvalidBaseImagePlatform";
        assert_eq!(page, rule.family == Family::BuildKit, "{}", rule.id);
    }
}
