//! Shell text as rules see it: every command in the order of the text, with what its success means to the others.

use std::ops::Range;

use super::word::Word;

/// The commands of a shell text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    /// Every simple command, those in functions, loops, conditions and substitutions too, in the order of the text.
    pub commands: Vec<Command>,
    /// Names of the functions that it defines.
    pub functions: Vec<String>,
}

/// A simple command.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    /// `NAME=value` before the program, or alone.
    pub assignments: Vec<Assignment>,
    /// The program and its arguments; none for assignments alone.
    pub words: Vec<Word>,
    /// How many of the words only lead to the program that is run in the end: `sudo -u x`, `env A=b`, `xargs -n 1`.
    pub led: usize,
    /// Redirections.
    pub redirects: Vec<Redirect>,
    /// Its bytes in the snippet, from its first word to its last.
    pub range: Range<usize>,
    /// Its pipeline: a number of its own in the text.
    pub pipeline: usize,
    /// Its place in the pipeline, from 0.
    pub at: usize,
    /// How many commands the pipeline has.
    pub of: usize,
    /// Its list of `&&` and `||`: a number of its own in the text.
    pub list: usize,
    /// How its pipeline is joined to what stands before it in the list.
    pub joint: Joint,
    /// Whether something deals with its failure: it is a condition, negated, or followed by `||`.
    pub handled: bool,
    /// Whether its pipeline is the last of its list.
    pub last: bool,
    /// What stands around it.
    pub around: Around,
}

/// How a pipeline follows the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Joint {
    /// It is the first of its list.
    First,
    /// After `&&`.
    And,
    /// After `||`.
    Or,
}

/// What stands around a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Around {
    /// `( ... )`, or a substitution.
    pub subshell: bool,
    /// `$( ... )`
    pub substitution: bool,
    /// The body of a function.
    pub function: bool,
    /// A loop: its body or its condition.
    pub repeated: bool,
    /// A branch of `if` or `case`.
    pub branch: bool,
    /// The condition of `if`, `while` or `until`.
    pub condition: bool,
    /// It runs beside what follows: `&`.
    pub background: bool,
}

/// `NAME=value`.
#[derive(Clone, Debug)]
pub(crate) struct Assignment {
    /// The name.
    pub name: String,
    /// What stands after `=`; of an array nothing.
    pub value: Word,
}

/// A redirection.
#[derive(Clone, Debug)]
pub(crate) struct Redirect {
    /// What it is.
    pub kind: RedirectKind,
    /// The file, descriptor, text or terminator.
    pub target: Word,
}

/// Kinds of redirections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RedirectKind {
    /// `<`
    Read,
    /// `>`, `>|`, `&>`
    Write,
    /// `>>`, `&>>`
    Append,
    /// `<&`, `>&`
    Duplicate,
    /// `<<END`, with its text.
    Document(String),
    /// `<<<`
    Text,
}

impl Command {
    /// Returns the first word without quotes; empty for assignments alone.
    pub(crate) fn first(&self) -> &str {
        self.words.first().map_or("", |word| word.text.as_str())
    }

    /// Returns the word of the program that is run in the end.
    pub(crate) fn program(&self) -> Option<&Word> {
        self.words.get(self.led)
    }

    /// Returns that program's name without its directories; empty for assignments alone.
    pub(crate) fn name(&self) -> &str {
        self.program().map_or("", Word::file_name)
    }

    /// Returns that program's arguments.
    pub(crate) fn arguments(&self) -> &[Word] {
        self.words.get(self.led + 1..).unwrap_or_default()
    }

    /// Returns the arguments that do not begin with `-`.
    pub(crate) fn plain_arguments(&self) -> impl Iterator<Item = &Word> {
        self.arguments().iter().filter(|word| !word.text.starts_with('-'))
    }

    /// Says whether an argument is one of these.
    pub(crate) fn has_argument(&self, names: &[&str]) -> bool {
        self.arguments().iter().any(|word| names.contains(&word.text.as_str()))
    }

    /// Says whether a long option (`--yes`, `--yes=...`) or a letter among short ones (`y` of `-qy`) is given.
    pub(crate) fn has_option(&self, letters: &str, long: &[&str]) -> bool {
        self.option(letters, long).is_some()
    }

    /// Returns the word of a long option, or that holds a letter of short ones.
    pub(crate) fn option(&self, letters: &str, long: &[&str]) -> Option<&Word> {
        let options = self.arguments().iter().take_while(|word| word.text != "--");
        options.into_iter().find(|word| match word.text.strip_prefix("--") {
            Some(name) => long.contains(&name.split('=').next().unwrap_or(name)),
            None => word.text.strip_prefix('-').is_some_and(|own| own.contains(|c| letters.contains(c))),
        })
    }

    /// Returns the value of an option: `--name=value`, `--name value`, `-n value`, `-nvalue`.
    pub(crate) fn value_of(&self, short: Option<char>, long: &str) -> Option<String> {
        let mut arguments = self.arguments().iter();
        while let Some(word) = arguments.next() {
            if let Some(name) = word.text.strip_prefix("--") {
                if let Some(rest) = name.strip_prefix(long) {
                    return match rest.strip_prefix('=') {
                        Some(value) => Some(value.to_owned()),
                        None if rest.is_empty() => arguments.next().map(|word| word.text.clone()),
                        None => continue,
                    };
                }
            } else if let (Some(short), Some(own)) = (short, word.text.strip_prefix('-'))
                && let Some(value) = own.strip_prefix(short)
            {
                return if value.is_empty() {
                    arguments.next().map(|word| word.text.clone())
                } else {
                    Some(value.to_owned())
                };
            }
        }
        None
    }

    /// Says whether its output goes on to another command.
    pub(crate) fn is_piped(&self) -> bool {
        self.at + 1 < self.of
    }
}

/// Returns how many words only lead to the program that is run in the end.
pub(crate) fn leading(words: &[Word]) -> usize {
    let mut led = 0;
    while let Some(first) = words.get(led) {
        // Options of theirs that take the word after.
        let with_value: &[&str] = match first.file_name() {
            "sudo" | "doas" => &["-u", "-g", "-h", "-p", "-C", "-r", "-t"],
            "env" => &["-u", "-C", "-S"],
            "xargs" => &["-n", "-I", "-P", "-L", "-d", "-E", "-s", "-a"],
            "nice" | "ionice" => &["-n", "-c", "-p"],
            "timeout" => &["-k", "-s"],
            "command" | "exec" | "nohup" | "time" | "eatmydata" | "builtin" | "busybox" => &[],
            _ => break,
        };
        let (env, timeout) = (first.file_name() == "env", first.file_name() == "timeout");
        let mut next = led + 1;
        while let Some(word) = words.get(next) {
            if with_value.contains(&word.text.as_str()) {
                next += 2;
            } else if word.text.starts_with('-') || (env && word.text.contains('=')) {
                next += 1;
            } else {
                break;
            }
        }
        next += usize::from(timeout);
        if next >= words.len() {
            break;
        }
        led = next;
    }
    led
}

impl Script {
    /// Returns the commands that run this program, by its name without directories.
    pub(crate) fn runs<'s>(&'s self, names: &'s [&str]) -> impl Iterator<Item = &'s Command> {
        self.commands.iter().filter(move |command| names.contains(&command.name()))
    }

    /// Returns the commands of a pipeline, in order.
    pub(crate) fn pipeline(&self, command: &Command) -> impl Iterator<Item = &Command> {
        let number = command.pipeline;
        self.commands.iter().filter(move |own| own.pipeline == number)
    }
}
