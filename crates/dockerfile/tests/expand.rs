//! Variables, quotes and escapes: one table a section of the reference, and the corners that BuildKit's lexer has.

use coracle_dockerfile::{Escape, expand, expand_body, expand_words};

fn environment(name: &str) -> Option<String> {
    let value = match name {
        "variable" | "str" | "string" => "foobarbaz",
        "PWD" => "/home",
        "SHELL" => "bash",
        "KOREAN" => "한국어",
        "NULL" => "",
        "FOO" => "xxyy",
        "STAR" => "xx**",
        "SIGNS" => "()[]{}^$.*?|\\x",
        "MARKS" => "???y",
        "X" => "x",
        "URL" => "http://google.de",
        "HTTP" => "http://",
        "HTTPS" => "https://",
        "GLOB" => "/foo*/*/*.txt",
        "NEEDLE" => "\\*/",
        "PATHS" => "/tmp/tmp/bar.txt",
        "TMP" => "/tmp",
        "ONE" => "/?/",
        "SLASH" => "/",
        "DEEP" => "/a/foo/b/c.txt",
        "VERSION" => "v1.2.3",
        "TARGETVARIANT" => "v7",
        "LINES" => "a1\nb2",
        _ => return None,
    };
    Some(value.to_owned())
}

/// The text, and what it is; `Err` for any error.
fn check(table: &[(&str, Result<&str, ()>)]) {
    for (text, expected) in table {
        let found = expand(text, Escape::Backslash, &environment);
        assert_eq!(found.as_deref().map_err(|_| ()), *expected, "{text} gave {found:?}");
    }
}

#[test]
fn the_references_modifiers() {
    check(&[
        ("${str#f*b}", Ok("arbaz")),
        ("${str##f*b}", Ok("az")),
        ("${string%b*}", Ok("foobar")),
        ("${string%%b*}", Ok("foo")),
        ("${string/ba/fo}", Ok("fooforbaz")),
        ("${string//ba/fo}", Ok("fooforfoz")),
        ("${variable:-word}", Ok("foobarbaz")),
        ("${unset:-word}", Ok("word")),
        ("${NULL:-word}", Ok("word")),
        ("${NULL-word}", Ok("")),
        ("${unset-word}", Ok("word")),
        ("${variable:+word}", Ok("word")),
        ("${NULL:+word}", Ok("")),
        ("${NULL+word}", Ok("word")),
        ("${unset+word}", Ok("")),
        ("${variable}_bar", Ok("foobarbaz_bar")),
        ("\\$foo", Ok("$foo")),
        ("\\${foo}", Ok("${foo}")),
    ]);
}

#[test]
fn quotes_and_escapes() {
    check(&[
        ("he'll'o", Ok("hello")),
        ("he'llo", Err(())),
        ("he\\'llo", Ok("he'llo")),
        ("he\\\\'llo", Err(())),
        ("abc\\tdef", Ok("abctdef")),
        ("\"abc\\tdef\"", Ok("abc\\tdef")),
        ("\"abc\\\\tdef\"", Ok("abc\\tdef")),
        ("'abc\\tdef'", Ok("abc\\tdef")),
        ("hello\\", Ok("hello")),
        ("hello\\\\", Ok("hello\\")),
        ("\"hello", Err(())),
        ("\"hello\\\"", Err(())),
        ("'hello\\'", Ok("hello\\")),
        ("\"''\"", Ok("''")),
        ("'\"hello\"'", Ok("\"hello\"")),
        ("\"he'$PWD'\"", Ok("he'/home'")),
        ("'\\$PWD'", Ok("\\$PWD")),
        ("\"he\\\\$PWD\"", Ok("he\\/home")),
        ("안'녕'하세요", Ok("안녕하세요")),
        ("안녕$KOREAN", Ok("안녕한국어")),
    ]);
}

#[test]
fn names_and_special_parameters() {
    check(&[
        ("$.", Ok("$.")),
        ("he$1x", Ok("hex")),
        ("$999aaa", Ok("aaa")),
        ("${999:-bbb}aaa", Ok("bbbaaa")),
        ("${1}", Ok("")),
        ("$@@@", Ok("@@")),
        ("${@:-bbb}aaa", Ok("bbbaaa")),
        ("${*}", Ok("")),
        ("$#", Ok("")),
        ("${#:-bbb}", Ok("bbb")),
        ("${?:+bbb}", Ok("")),
        ("$-", Ok("")),
        ("$$", Ok("")),
        ("${$:-bbb}", Ok("bbb")),
        ("${!}", Ok("")),
        ("$0", Ok("")),
        ("${}", Err(())),
        ("${.}", Err(())),
        ("${{aaa}", Err(())),
        ("${:}", Err(())),
        ("${:-bbb}", Err(())),
        ("${aaa", Err(())),
        ("${aaa}}", Ok("}")),
        ("${aaa:-bbb}}", Ok("bbb}")),
        ("${aaa:-bbb", Err(())),
        ("${aaa:-${bbb:-ccc}}", Ok("ccc")),
        ("${aaa:-bbb ${foo}", Err(())),
        ("${aaa:-bbb {foo}", Ok("bbb {foo")),
        ("${UNSET:YYY}", Err(())),
        ("${PWD:=000}", Err(())),
        ("${PWD=000}", Err(())),
        ("he${PWD:+${PWD}:}xx", Ok("he/home:xx")),
        ("he${UNSET:-\\$PWD:}xx", Ok("he$PWD:xx")),
        ("he${UNSET:-\\${PWD}z}xx", Ok("he${PWDz}xx")),
        ("${UNSET?}", Err(())),
        ("${NULL?}", Ok("")),
        ("${NULL:?}", Err(())),
        ("${TARGETVARIANT:+-${TARGETVARIANT}}.tar", Ok("-v7.tar")),
    ]);
}

#[test]
fn patterns() {
    check(&[
        // All signs of regular expressions mean themselves; `}` needs an escape only to be no end.
        ("${SIGNS#()[]{\\}^$.\\*\\?|\\\\}", Ok("x")),
        ("${STAR%%\\**}", Ok("xx")),
        ("${FOO#*x*y}", Ok("y")),
        ("${FOO#*}", Ok("xxyy")),
        ("${FOO##*}", Ok("")),
        ("${FOO#$X}", Ok("xyy")),
        ("${FOO#$NULL}", Ok("xxyy")),
        ("${FOO#}", Ok("xxyy")),
        ("${FOO##*x}", Ok("yy")),
        ("${FOO##}", Ok("xxyy")),
        ("${MARKS#?\\?}", Ok("?y")),
        ("${FOO%x}", Ok("xxyy")),
        ("${FOO%}", Ok("xxyy")),
        ("${FOO%y}", Ok("xxy")),
        ("${FOO%%y*}", Ok("xx")),
        ("${FOO:#}", Err(())),
        ("${FOO:%%}", Err(())),
        ("${FOO#\\a}", Err(())),
        ("${unset#x}", Ok("")),
        ("${LINES#*1}", Ok("\nb2")),
        ("${LINES##*2}", Ok("a1\nb2")),
    ]);
}

#[test]
fn replacements() {
    check(&[
        ("${GLOB/$NEEDLE/.} - ${GLOB//$NEEDLE/.}", Ok("/foo.*/*.txt - /foo..*.txt")),
        ("${PATHS/$TMP/} - ${PATHS//$TMP/}", Ok("/tmp/bar.txt - /bar.txt")),
        ("${DEEP/$ONE/$SLASH} - ${DEEP//$ONE/$SLASH}", Ok("/foo/b/c.txt - /foo/c.txt")),
        ("${URL/$HTTP/$HTTPS}", Ok("https://google.de")),
        ("${PATHS//\\//\\/}", Ok("\\/tmp\\/tmp\\/bar.txt")),
        ("${FOO/$NULL/ww}", Ok("wwxxyy")),
        ("${FOO//ww}", Err(())),
        ("${FOO//}", Err(())),
        ("${FOO///}", Ok("xxyy")),
        ("${unset///}", Ok("")),
        ("${FOO//x/$}", Ok("$$yy")),
        ("${FOO/[x]/z}", Ok("xxyy")),
    ]);
}

#[test]
fn words() {
    let table: [(&str, &[&str]); 12] = [
        ("hello", &["hello"]),
        ("hello${unset}bye", &["hellobye"]),
        ("hello\" there  \"", &["hello there  "]),
        ("hello     there", &["hello", "there"]),
        ("hello\\ there", &["hello there"]),
        ("hello\\\" there", &["hello\"", "there"]),
        ("hello\"\\\\there\"", &["hello\\there"]),
        ("hello'\\\\there'", &["hello\\\\there"]),
        ("hello'$there'", &["hello$there"]),
        ("80 $PORTS", &["80", "81", "82"]),
        ("\"$PORTS\"80", &[" 81  82 80"]),
        ("$unset \"\"", &[]),
    ];
    for (text, expected) in table {
        let lookup =
            |name: &str| if name == "PORTS" { Some(" 81  82 ".to_owned()) } else { environment(name) };
        let found = expand_words(text, Escape::Backslash, &lookup).expect(text);
        assert_eq!(found, *expected, "{text}");
    }
    assert!(expand_words("hello\" there", Escape::Backslash, &environment).is_err());
}

#[test]
fn bodies_of_heredocs() {
    for (text, expected) in [
        ("\"quotes in file\"\n", "\"quotes in file\"\n"),
        ("\\\n", "\n"),
        ("\\\\\n", "\\\n"),
        ("\\$\n", "$\n"),
        ("it's $PWD ${unset:-\"q\"}\n", "it's /home \"q\"\n"),
    ] {
        assert_eq!(expand_body(text, Escape::Backtick, &environment).as_deref(), Ok(expected), "{text:?}");
    }
}

#[test]
fn the_escape_directive_changes_the_escape() {
    assert_eq!(expand("`$PWD \\$PWD ``", Escape::Backtick, &environment).as_deref(), Ok("$PWD \\/home `"));
}
