//! The rules, in the order of their families.

use coracle_report::Severity;

use crate::{Family, Rule};

pub(crate) static STAGE_NAME_CASING: Rule = Rule {
    id: "StageNameCasing",
    family: Family::BuildKit,
    severity: Severity::Warning,
    title: "Stage names should be lowercase",
    explanation: "Stage names are compared without regard to case. Lower-case names tell them apart from instructions at a glance: write `FROM alpine AS builder`, not `AS BuilderBase`.",
    url: Some("https://docs.docker.com/go/dockerfile/rule/stage-name-casing/"),
    ..Rule::PLAIN
};

pub(crate) static FROM_AS_CASING: Rule = Rule {
    id: "FromAsCasing",
    family: Family::BuildKit,
    severity: Severity::Warning,
    title: "The 'as' keyword should match the case of the 'from' keyword",
    explanation: "Keywords may be written in either case, but `FROM image as name` mixes both in one line. Write `FROM image AS name` or `from image as name`.",
    url: Some("https://docs.docker.com/go/dockerfile/rule/from-as-casing/"),
    ..Rule::PLAIN
};

pub(crate) static NO_EMPTY_CONTINUATION: Rule = Rule {
    id: "NoEmptyContinuation",
    family: Family::BuildKit,
    severity: Severity::Warning,
    title: "Empty continuation lines will become errors in a future release",
    explanation: "An empty line after a line that goes on is passed over today, and hides where the instruction ends. Remove it, or put a comment line (`#`) in its place.",
    url: Some("https://docs.docker.com/go/dockerfile/rule/no-empty-continuation/"),
    ..Rule::PLAIN
};

pub(crate) static CONSISTENT_INSTRUCTION_CASING: Rule = Rule {
    id: "ConsistentInstructionCasing",
    family: Family::BuildKit,
    severity: Severity::Warning,
    title: "All commands within the Dockerfile should use the same casing (either upper or lower)",
    explanation: "A file is easier to read when all instructions are written in one case. Those in the minority are reported; by convention all are upper case.",
    url: Some("https://docs.docker.com/go/dockerfile/rule/consistent-instruction-casing/"),
    ..Rule::PLAIN
};

pub(crate) static DUPLICATE_STAGE_NAME: Rule = Rule {
    id: "DuplicateStageName",
    aliases: &["DL3024"],
    family: Family::BuildKit,
    severity: Severity::Warning,
    title: "Stage names should be unique",
    explanation: "When two stages share a name, later `FROM` and `--from` mean the one that comes last before them, which is easily not the one that was meant. Give each stage a name of its own.",
    url: Some("https://docs.docker.com/go/dockerfile/rule/duplicate-stage-name/"),
    ..Rule::PLAIN
};

pub(crate) static RESERVED_STAGE_NAME: Rule = Rule {
    id: "ReservedStageName",
    family: Family::BuildKit,
    severity: Severity::Warning,
    title: "Reserved words should not be used as stage names",
    explanation: "`scratch` means no base at all and `context` means the build's files. A stage of such a name cannot be told from them.",
    url: Some("https://docs.docker.com/go/dockerfile/rule/reserved-stage-name/"),
    ..Rule::PLAIN
};

pub(crate) static JSON_ARGS_RECOMMENDED: Rule = Rule {
    id: "JSONArgsRecommended",
    aliases: &["DL3025"],
    family: Family::BuildKit,
    severity: Severity::Warning,
    title: "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals",
    explanation: "In the shell form the container's first process is a shell, which does not pass SIGTERM on: the program is killed instead of stopped. Write `CMD [\"program\", \"argument\"]`. Where a shell is wanted, say so with `SHELL` or `[\"/bin/sh\", \"-c\", \"...\"]`.",
    url: Some("https://docs.docker.com/go/dockerfile/rule/json-args-recommended/"),
    ..Rule::PLAIN
};

pub(crate) static MAINTAINER_DEPRECATED: Rule = Rule {
    id: "MaintainerDeprecated",
    aliases: &["DL4000"],
    family: Family::BuildKit,
    severity: Severity::Warning,
    title: "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
    explanation: "Write `LABEL org.opencontainers.image.authors=\"name@example.org\"`, which tools can read.",
    url: Some("https://docs.docker.com/go/dockerfile/rule/maintainer-deprecated/"),
    ..Rule::PLAIN
};

pub(crate) static UNDEFINED_ARG_IN_FROM: Rule = Rule {
    id: "UndefinedArgInFrom",
    family: Family::BuildKit,
    severity: Severity::Warning,
    title: "FROM command must use declared ARGs",
    explanation: "A variable in `FROM` must be declared by an `ARG` before the first `FROM`, or be a predefined one such as `BUILDPLATFORM`. Otherwise it is empty.",
    url: Some("https://docs.docker.com/go/dockerfile/rule/undefined-arg-in-from/"),
    ..Rule::PLAIN
};

pub(crate) static WORKDIR_RELATIVE_PATH: Rule = Rule {
    id: "WorkdirRelativePath",
    aliases: &["DL3000"],
    family: Family::BuildKit,
    severity: Severity::Warning,
    title: "Relative workdir without an absolute workdir declared within the build can have unexpected results if the base image changes",
    explanation: "A relative `WORKDIR` goes on from wherever the base image stands. Begin with an absolute one, such as `WORKDIR /app`.",
    url: Some("https://docs.docker.com/go/dockerfile/rule/workdir-relative-path/"),
    ..Rule::PLAIN
};

pub(crate) static UNDEFINED_VAR: Rule = Rule {
    id: "UndefinedVar",
    family: Family::BuildKit,
    severity: Severity::Warning,
    title: "Variables should be defined before their use",
    explanation: "A variable that no `ARG`, no `ENV` and no base image defines is empty. Define it before it is used, or correct its name.",
    url: Some("https://docs.docker.com/go/dockerfile/rule/undefined-var/"),
    ..Rule::PLAIN
};

pub(crate) static MULTIPLE_INSTRUCTIONS_DISALLOWED: Rule = Rule {
    id: "MultipleInstructionsDisallowed",
    aliases: &["DL3012", "DL4003", "DL4004"],
    family: Family::BuildKit,
    severity: Severity::Warning,
    title: "Multiple instructions of the same type should not be used in the same stage",
    explanation: "Of several `CMD`, `ENTRYPOINT` or `HEALTHCHECK` in a stage only the last counts. Remove the others.",
    url: Some("https://docs.docker.com/go/dockerfile/rule/multiple-instructions-disallowed/"),
    ..Rule::PLAIN
};

pub(crate) static LEGACY_KEY_VALUE_FORMAT: Rule = Rule {
    id: "LegacyKeyValueFormat",
    family: Family::BuildKit,
    severity: Severity::Warning,
    title: "Legacy key/value format with whitespace separator should not be used",
    explanation: "`ENV name value` takes all of the line as one value, and is kept for old files only. Write `ENV name=value`, with quotes where the value holds blanks.",
    url: Some("https://docs.docker.com/go/dockerfile/rule/legacy-key-value-format/"),
    ..Rule::PLAIN
};

pub(crate) static INVALID_BASE_IMAGE_PLATFORM: Rule = Rule {
    id: "InvalidBaseImagePlatform",
    family: Family::BuildKit,
    severity: Severity::Warning,
    title: "Base image platform does not match expected target platform",
    explanation: "The image that `FROM` gave is for another platform than the one that is built for; its programs will run slowly under emulation, or not at all. Fetch it again for the right platform, or say which one is meant with `FROM --platform`.",
    ..Rule::PLAIN
};

pub(crate) static REDUNDANT_TARGET_PLATFORM: Rule = Rule {
    id: "RedundantTargetPlatform",
    family: Family::BuildKit,
    severity: Severity::Warning,
    title: "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
    explanation: "A stage is built for the target platform unless `--platform` says otherwise. Leave the flag out.",
    url: Some("https://docs.docker.com/go/dockerfile/rule/redundant-target-platform/"),
    ..Rule::PLAIN
};

pub(crate) static SECRETS_USED_IN_ARG_OR_ENV: Rule = Rule {
    id: "SecretsUsedInArgOrEnv",
    family: Family::BuildKit,
    severity: Severity::Warning,
    title: "Sensitive data should not be used in the ARG or ENV commands",
    explanation: "Values of `ARG` and `ENV` stay in the image's history and configuration, where whoever has the image can read them. Give secrets to a step with `RUN --mount=type=secret`, and to a container when it starts.",
    url: Some("https://docs.docker.com/go/dockerfile/rule/secrets-used-in-arg-or-env/"),
    ..Rule::PLAIN
};

pub(crate) static INVALID_DEFAULT_ARG_IN_FROM: Rule = Rule {
    id: "InvalidDefaultArgInFrom",
    family: Family::BuildKit,
    severity: Severity::Warning,
    title: "Default value for global ARG results in an empty or invalid base image name",
    explanation: "Without build arguments this `FROM` names no image, so a plain build fails. Give the `ARG` a default that works.",
    url: Some("https://docs.docker.com/go/dockerfile/rule/invalid-default-arg-in-from/"),
    ..Rule::PLAIN
};

pub(crate) static FROM_PLATFORM_FLAG_CONST_DISALLOWED: Rule = Rule {
    id: "FromPlatformFlagConstDisallowed",
    aliases: &["DL3029"],
    family: Family::BuildKit,
    severity: Severity::Warning,
    title: "FROM --platform flag should not use a constant value",
    explanation: "A constant platform makes the file build for that platform only. Leave the flag out, use `$BUILDPLATFORM`, or name the stage after its platform where a constant is meant.",
    url: Some("https://docs.docker.com/go/dockerfile/rule/from-platform-flag-const-disallowed/"),
    ..Rule::PLAIN
};

pub(crate) static COPY_IGNORED_FILE: Rule = Rule {
    id: "CopyIgnoredFile",
    family: Family::BuildKit,
    severity: Severity::Warning,
    title: "Attempting to Copy file that is excluded by .dockerignore",
    explanation: "What an ignore file hides is not in the build context, so that the step will not find it. Correct the ignore file or the source.",
    url: Some("https://docs.docker.com/go/dockerfile/rule/copy-ignored-file/"),
    ..Rule::PLAIN
};

pub(crate) static INVALID_DEFINITION_DESCRIPTION: Rule = Rule {
    id: "InvalidDefinitionDescription",
    family: Family::BuildKit,
    severity: Severity::Warning,
    title: "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is not intended to be a description comment, add an empty line or comment between the instruction and the comment.",
    explanation: "`--call=outline` and `--call=targets` show the comment before an `ARG` or a stage as its description when it begins with the name.",
    url: Some("https://docs.docker.com/go/dockerfile/rule/invalid-definition-description/"),
    experimental: true,
    ..Rule::PLAIN
};

pub(crate) static EXPOSE_PROTO_CASING: Rule = Rule {
    id: "ExposeProtoCasing",
    family: Family::BuildKit,
    severity: Severity::Warning,
    title: "Protocol in EXPOSE instruction should be lowercase",
    explanation: "The name of a protocol means the same in either case, and all other tools write it in lower case: `EXPOSE 80/tcp`.",
    url: Some("https://docs.docker.com/go/dockerfile/rule/expose-proto-casing/"),
    ..Rule::PLAIN
};

pub(crate) static EXPOSE_INVALID_FORMAT: Rule = Rule {
    id: "ExposeInvalidFormat",
    family: Family::BuildKit,
    severity: Severity::Warning,
    title: "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a future release",
    explanation: "`EXPOSE` names ports of the container only. Where a port is published on the host is said when the container starts: `-p 8080:80`.",
    url: Some("https://docs.docker.com/go/dockerfile/rule/expose-invalid-format/"),
    ..Rule::PLAIN
};

pub(crate) static MALFORMED_EXEC_FORM: Rule = Rule {
    id: "MalformedExecForm",
    family: Family::Dockerfile,
    severity: Severity::Warning,
    title: "Lists of arguments should be JSON",
    explanation: "A list in brackets that is not JSON (single quotes, a trailing comma) is handed to the shell as text, which then looks for a program called `[python,`. Write `[\"program\", \"argument\"]`, with double quotes.",
    ..Rule::PLAIN
};

pub(crate) static STAGE_NAME_IS_INSTRUCTION: Rule = Rule {
    id: "StageNameIsInstruction",
    family: Family::Dockerfile,
    severity: Severity::Warning,
    title: "Stage names should not be names of instructions",
    explanation: "`FROM alpine AS run` reads as if a `RUN` began. Give the stage another name.",
    ..Rule::PLAIN
};

pub(crate) static UNKNOWN_STAGE: Rule = Rule {
    id: "UnknownStage",
    aliases: &["DL3022", "DL3023"],
    family: Family::Dockerfile,
    severity: Severity::Error,
    title: "--from and from= should name a stage or an image that can be meant",
    explanation: "The name is that of no earlier stage, but of a later one, of the stage itself, of a number beyond the stages, or one letter off a stage's name.",
    ..Rule::PLAIN
};

/// The rules that `build --check` asks for.
pub static BUILDKIT: &[&Rule] = &[
    &STAGE_NAME_CASING,
    &FROM_AS_CASING,
    &NO_EMPTY_CONTINUATION,
    &CONSISTENT_INSTRUCTION_CASING,
    &DUPLICATE_STAGE_NAME,
    &RESERVED_STAGE_NAME,
    &JSON_ARGS_RECOMMENDED,
    &MAINTAINER_DEPRECATED,
    &UNDEFINED_ARG_IN_FROM,
    &WORKDIR_RELATIVE_PATH,
    &UNDEFINED_VAR,
    &MULTIPLE_INSTRUCTIONS_DISALLOWED,
    &LEGACY_KEY_VALUE_FORMAT,
    &INVALID_BASE_IMAGE_PLATFORM,
    &REDUNDANT_TARGET_PLATFORM,
    &SECRETS_USED_IN_ARG_OR_ENV,
    &INVALID_DEFAULT_ARG_IN_FROM,
    &FROM_PLATFORM_FLAG_CONST_DISALLOWED,
    &COPY_IGNORED_FILE,
    &INVALID_DEFINITION_DESCRIPTION,
    &EXPOSE_PROTO_CASING,
    &EXPOSE_INVALID_FORMAT,
    &MALFORMED_EXEC_FORM,
    &STAGE_NAME_IS_INSTRUCTION,
    &UNKNOWN_STAGE,
];
