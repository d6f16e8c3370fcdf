//! The matcher of ignore files against the cases that Docker's own matcher is tested with, one by one.

use std::path::Path;

use coracle_dockerfile::{Glob, IgnoreFile};
use proptest::prelude::*;

fn hidden(rules: &[&str], path: &str) -> bool {
    let file =
        IgnoreFile::parse(Path::new(".dockerignore"), &rules.join("\n")).expect("the rules are well formed");
    file.verdict(path).is_hidden()
}

/// One pattern, one path, whether the path or one of its parents matches.
#[test]
fn one_pattern() {
    let table = [
        ("**", "file", true),
        ("**/", "file", true),
        ("**", "dir/file", true),
        ("**/", "dir/file", true),
        ("**/**", "dir/file", true),
        ("dir/**", "dir/file", true),
        ("dir/**", "dir/dir2/file", true),
        ("dir/**", "dir", false),
        ("**/dir", "dir", true),
        ("**/dir", "dir/file", true),
        ("**/dir2/*", "dir/dir2/file", true),
        ("**/dir2/**", "dir/dir2/dir3/file", true),
        ("**file", "file", true),
        ("**file", "dir/file", true),
        ("**file", "dir/dir/file", true),
        ("**file", "dir/otherfile", true),
        ("**/file", "dir/dir/file", true),
        ("**/file", "dir/otherfile", false),
        ("**/file*", "dir/dir/file", true),
        ("**/file*", "dir/dir/file.txt", true),
        ("**/file*txt", "dir/dir/file.txt", true),
        ("**/file*.txt*", "dir/dir/file.txt", true),
        ("**/**/*.txt", "dir/dir/file.txt", true),
        ("**/**/*.txt2", "dir/dir/file.txt", false),
        ("**/*.txt", "file.txt", true),
        ("a**/*.txt", "a/file.txt", true),
        ("a**/*.txt", "a/dir/dir/file.txt", true),
        ("a/*.txt", "a/dir/file.txt", false),
        ("a/*.txt", "a/file.txt", true),
        ("a/*.txt**", "a/file.txt", true),
        ("a[b-d]e", "ae", false),
        ("a[b-d]e", "ace", true),
        ("a[b-d]e", "aae", false),
        ("a[^b-d]e", "aze", true),
        (".*", ".foo", true),
        (".*", "foo", false),
        ("abc.def", "abcdef", false),
        ("abc.def", "abc.def", true),
        ("abc.def", "abcZdef", false),
        ("abc?def", "abcZdef", true),
        ("abc?def", "abcdef", false),
        ("a\\\\", "a\\", true),
        ("**/foo/bar", "foo/bar", true),
        ("**/foo/bar", "dir/dir2/foo/bar", true),
        ("abc/**", "abc", false),
        ("abc/**", "abc/def/ghi", true),
        ("**/.foo", ".foo", true),
        ("**/.foo", "bar.foo", false),
        ("a(b)c/def", "a(b)c/def", true),
        ("a(b)c/def", "a(b)c/xyz", false),
        ("a.|)$(}+{bc", "a.|)$(}+{bc", true),
        ("dist/*.whl", "dist/tool-2.4.0rc3.dev36+g08acad9-py3-none-any.whl", true),
        ("a\\*b", "a*b", true),
        ("a\\*b", "ab", false),
        ("a*", "ab/c", true),
        ("a*/b", "abc/b", true),
        ("a*/b", "a/c/b", false),
        ("a*b*c*d*e*/f", "axbxcxdxexxx/f", true),
        ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", false),
        ("a*b?c*x", "abxbbxdbxebxczzx", true),
        ("a*b?c*x", "abxbbxdbxebxczzy", false),
        ("ab[^e-g]", "abc", true),
        ("a?b", "a☺b", true),
        ("a[^a]b", "a☺b", true),
        ("a???b", "a☺b", false),
        ("[a-ζ]*", "α", true),
        ("*[a-ζ]", "A", false),
        ("a?b", "a/b", false),
        ("a*b", "a/b", false),
        ("[\\]a]", "]", true),
        ("[\\-]", "-", true),
        ("[x\\-]", "x", true),
        ("[x\\-]", "z", false),
        ("*x", "xxx", true),
    ];
    for (pattern, path, expected) in table {
        assert_eq!(hidden(&[pattern], path), expected, "{pattern} {path}");
    }
}

#[test]
fn several_patterns() {
    let table: [(&[&str], &str, bool); 12] = [
        (&["**", "!util/docker/web"], "util/docker/web/foo", false),
        (&["**", "!util/docker/web", "util/docker/web/foo"], "util/docker/web/foo", true),
        (&["**", "!dist/*.whl"], "dist/tool+x.whl", false),
        (&["!fileutils.go", "*.go"], "fileutils.go", true),
        (&["*.go", "!fileutils.go"], "fileutils.go", false),
        (&["docs", "!docs/README.md"], "docs/README.md", false),
        (&["docs/", "!docs/README.md"], "docs/README.md", false),
        (&["docs/*", "!docs/README.md"], "docs/README.md", false),
        (&["docs", "  !docs/README.md"], "docs/README.md", false),
        (&["docs", "!docs/README.md  "], "docs/README.md", false),
        (&["/test", "! /test/shown"], "test/shown", false),
        (&["# test", "x"], "# test", false),
    ];
    for (rules, path, expected) in table {
        assert_eq!(hidden(rules, path), expected, "{rules:?} {path}");
    }
}

#[test]
fn what_is_malformed_is_refused() {
    for pattern in ["[", "[^", "[a", "[^bc", "a[", "[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "!", "\\", "x\\"]
    {
        assert!(IgnoreFile::parse(Path::new(".dockerignore"), pattern).is_err(), "{pattern}");
    }
}

/// The same pattern written as a regular expression, which is slower and simpler.
fn as_regex(pattern: &str) -> regex::Regex {
    let mut out = String::from("(?s)\\A");
    let mut rest = pattern;
    while let Some(character) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("**") {
            let after = after.strip_prefix('/').unwrap_or(after);
            out.push_str(if after.is_empty() { ".*" } else { "(?:.*/)?" });
            rest = after;
            continue;
        }
        match character {
            '*' => out.push_str("[^/]*"),
            '?' => out.push_str("[^/]"),
            other => out.push_str(&regex::escape(&other.to_string())),
        }
        rest = &rest[character.len_utf8()..];
    }
    regex::Regex::new(&(out + "\\z")).expect("a translated pattern is an expression")
}

proptest! {
    #[test]
    fn matches_what_the_expression_matches(pattern in "[ab/][ab*?/]{0,8}", path in "[ab/]{0,10}") {
        let glob = Glob::ignore(&pattern).expect("no brackets");
        prop_assert_eq!(glob.matches(&path), as_regex(&pattern).is_match(&path));
    }

    #[test]
    fn what_is_below_a_hidden_directory_is_hidden_unless_the_walk_enters(
        rules in prop::collection::vec("!?[ab*]{1,3}(/[ab*]{1,3}){0,2}", 1..5),
        path in "[ab](/[ab]){0,2}",
        below in "[ab](/[ab]){0,2}",
    ) {
        let file = IgnoreFile::parse(Path::new(".dockerignore"), &rules.join("\n")).expect("well formed");
        if file.verdict(&path).is_hidden() && !file.may_show_below(&path) {
            let below = format!("{path}/{below}");
            prop_assert!(file.verdict(&below).is_hidden());
        }
    }

    #[test]
    fn an_absent_rule_changes_nothing(
        rules in prop::collection::vec("!?[ab*]{1,3}(/[ab*]{1,3}){0,2}", 0..4),
        path in "[ab](/[ab]){0,2}",
    ) {
        let text = rules.join("\n");
        let noisy: Vec<String> = rules.iter().map(|rule| format!("# c\n\n  {rule}/ \r\n")).collect();
        let noisy = noisy.concat();
        let plain = IgnoreFile::parse(Path::new("x"), &text).expect("well formed");
        let noisy = IgnoreFile::parse(Path::new("x"), &noisy).expect("well formed");
        prop_assert_eq!(plain.verdict(&path).is_hidden(), noisy.verdict(&path).is_hidden());
    }
}
