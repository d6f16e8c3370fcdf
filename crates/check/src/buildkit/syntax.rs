//! Rules that ask only how a file is written.

use coracle_dockerfile::{
    CommandForm, Dockerfile, HealthcheckProbe, Instruction, KEYWORDS, Stage, Statement, Word,
};
use coracle_report::Span;

use super::rules;
use crate::Options;
use crate::finding::Collector;

/// Checks the whole file.
pub(crate) fn check(file: &Dockerfile, options: &Options, collector: &mut Collector<'_>) {
    for span in &file.blank_continuations {
        let place = collector.last_line(span);
        let hint = format!("the empty line is line {}: remove it", span.start.line);
        let message = "Empty continuation line".to_owned();
        collector.add(options, &rules::NO_EMPTY_CONTINUATION, (&place, &place), message, [hint]);
    }
    for statement in &file.globals {
        description_of_arguments(statement, options, collector);
    }
    for stage in &file.stages {
        from(stage, options, collector);
        for statement in &stage.instructions {
            instruction(statement, options, collector);
        }
    }
    names(file, options, collector);
    casing(file, options, collector);
}

fn from(stage: &Stage, options: &Options, collector: &mut Collector<'_>) {
    let options = options.before(&stage.comments);
    let Some(name) = &stage.written_name else {
        return;
    };
    if name.value != name.to_lowercase() {
        let message = format!("Stage name '{}' should be lowercase", name.value);
        let hint = format!("write `{}`", name.to_lowercase());
        collector.add(&options, &rules::STAGE_NAME_CASING, (&name.span, &stage.span), message, [hint]);
    }
    if let Some(word) = &stage.as_word {
        let keyword = &stage.keyword.value;
        let wanted = if *keyword == keyword.to_lowercase() {
            Some(word.to_lowercase())
        } else if *keyword == keyword.to_uppercase() {
            Some(word.to_uppercase())
        } else {
            None
        };
        if let Some(wanted) = wanted.filter(|wanted| *wanted != word.value) {
            let message = format!("'{}' and '{keyword}' keywords' casing do not match", word.value);
            let hint = format!("write `{wanted}`");
            collector.add(&options, &rules::FROM_AS_CASING, (&word.span, &stage.span), message, [hint]);
        }
    }
    let names = stage.name.as_ref().map(|name| name.value.as_str());
    describe("FROM", names.as_slice(), &stage.comments, &stage.span, &options, collector);
}

fn description_of_arguments(statement: &Statement, options: &Options, collector: &mut Collector<'_>) {
    if let Instruction::Arg(arguments) = &statement.instruction {
        let names: Vec<&str> = arguments.iter().map(|argument| argument.name.value.as_str()).collect();
        let options = options.before(&statement.comments);
        describe("ARG", &names, &statement.comments, &statement.span, &options, collector);
    }
}

fn describe(
    instruction: &str,
    names: &[&str],
    comments: &[Word],
    lines: &Span,
    options: &Options,
    collector: &mut Collector<'_>,
) {
    let (Some(comment), Some(first)) = (comments.last(), names.first()) else {
        return;
    };
    if names.contains(&comment.split(' ').next().unwrap_or_default()) {
        return;
    }
    let name = if names.len() > 1 { "<arg_key>" } else { first };
    let message = format!("Comment for {instruction} should follow the format: `# {name} <description>`");
    let rule = &rules::INVALID_DEFINITION_DESCRIPTION;
    collector.add(options, rule, (&comment.span, lines), message, []);
}

fn instruction(statement: &Statement, options: &Options, collector: &mut Collector<'_>) {
    description_of_arguments(statement, options, collector);
    let options = options.before(&statement.comments);
    let shell_text = |form: &CommandForm| match form {
        CommandForm::Shell(text) => coracle_dockerfile::list_fault(text),
        CommandForm::Exec(_) => None,
    };
    let fault = match &statement.instruction {
        Instruction::Maintainer(_) => {
            let message = "Maintainer instruction is deprecated in favor of using label".to_owned();
            let hint = "write `LABEL org.opencontainers.image.authors=\"...\"`".to_owned();
            let place = (&statement.keyword.span, &statement.span);
            collector.add(&options, &rules::MAINTAINER_DEPRECATED, place, message, [hint]);
            None
        }
        Instruction::Run(run) => shell_text(&run.command),
        Instruction::Cmd(form) | Instruction::Entrypoint(form) => shell_text(form),
        Instruction::Healthcheck(check) => match &check.probe {
            HealthcheckProbe::Command(form) => shell_text(form),
            HealthcheckProbe::None => None,
        },
        Instruction::Copy(copy) => list_as_words(&copy.dest, &statement.text),
        Instruction::Add(add) => list_as_words(&add.dest, &statement.text),
        Instruction::Volume(paths) => paths.last().and_then(|last| list_as_words(last, &statement.text)),
        _ => None,
    };
    if let Some(reason) = fault {
        let keyword = &statement.keyword.value;
        let message = format!("The list after {keyword} is not JSON and is taken as text: {reason}");
        let hint = format!("write `{keyword} [\"...\", \"...\"]`");
        let place = (&statement.span, &statement.span);
        collector.add(&options, &rules::MALFORMED_EXEC_FORM, place, message, [hint]);
    }
}

/// Returns what is wrong with a list of paths that was read as words.
fn list_as_words(last: &Word, text: &str) -> Option<String> {
    if !last.ends_with(']') {
        return None;
    }
    let list = text.find(" [\"").or_else(|| text.find(" ['"))?;
    coracle_dockerfile::list_fault(text[list..].trim())
}

fn names(file: &Dockerfile, options: &Options, collector: &mut Collector<'_>) {
    for (index, stage) in file.stages.iter().enumerate() {
        let (Some(name), Some(written)) = (&stage.name, &stage.written_name) else {
            continue;
        };
        let place = (&written.span, &stage.span);
        if matches!(name.as_str(), "context" | "scratch") {
            let message =
                format!("Stage name should not use the same name as reserved stage {:?}", name.value);
            collector.add(options, &rules::RESERVED_STAGE_NAME, place, message, []);
        }
        if let Some(first) = file.stages[..index].iter().find(|earlier| earlier.is_called(name)) {
            let message = format!("Duplicate stage name {:?}, stage names should be unique", name.value);
            let hint = format!("the name was given first at {}", first.span);
            collector.add(options, &rules::DUPLICATE_STAGE_NAME, place, message, [hint]);
        }
        if let Some(keyword) = KEYWORDS.into_iter().find(|keyword| keyword.eq_ignore_ascii_case(name)) {
            let message = format!("Stage name '{}' is also the instruction {keyword}", name.value);
            let options = options.before(&stage.comments);
            collector.add(&options, &rules::STAGE_NAME_IS_INSTRUCTION, place, message, []);
        }
    }
}

fn casing(file: &Dockerfile, options: &Options, collector: &mut Collector<'_>) {
    let keywords: Vec<(&Word, &Span)> = file
        .stages
        .iter()
        .flat_map(|stage| {
            let own = std::iter::once((&stage.keyword, &stage.span));
            own.chain(stage.instructions.iter().map(|statement| (&statement.keyword, &statement.span)))
        })
        .collect();
    let lower = keywords.iter().filter(|(word, _)| word.value == word.to_lowercase()).count();
    let upper = keywords.iter().filter(|(word, _)| word.value == word.to_uppercase()).count();
    for (word, lines) in keywords {
        let (wanted, case) = if lower > upper {
            (word.to_lowercase(), "lowercase")
        } else {
            (word.to_uppercase(), "uppercase")
        };
        if word.value != wanted {
            let message =
                format!("Command '{}' should match the case of the command majority ({case})", word.value);
            let hint = format!("write `{wanted}`");
            let place = (&word.span, lines);
            collector.add(options, &rules::CONSISTENT_INSTRUCTION_CASING, place, message, [hint]);
        }
    }
}
