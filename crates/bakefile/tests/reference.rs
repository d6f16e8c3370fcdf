//! The examples of the bake reference: what `--print` shows of each.

#![allow(
    clippy::unwrap_used,
    clippy::needless_raw_string_hashes,
    clippy::format_push_string,
    reason = "a test fails by panicking, and a table reads better when its rows are alike"
)]

use coracle_bakefile::{Input, World, load};
use serde_json::{Value, json};

fn world(environment: &[(&str, &str)]) -> World {
    World {
        environment: environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        platform: "linux/amd64".to_owned(),
        home: "/home/user".to_owned(),
        now: "2026-01-31T12:00:00Z".parse().unwrap(),
    }
}

fn input(name: &str, text: &str) -> Input {
    Input { name: name.into(), text: text.to_owned() }
}

fn print(text: &str, asked: &[&str], set: &[&str], environment: &[(&str, &str)]) -> Value {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let definition = load(&[input("docker-bake.hcl", text)], &world(environment));
    let definition = definition.unwrap_or_else(|error| panic!("{error}: {error:?}"));
    definition.select(&owned(asked), &owned(set)).unwrap_or_else(|error| panic!("{error}")).to_json()
}

fn value(expression: &str) -> Value {
    let text = format!("target \"x\" {{\n args = {{ v = jsonencode({expression}) }}\n}}");
    let printed = print(&text, &["x"], &[], &[]);
    serde_json::from_str(&printed["target"]["x"]["args"]["v"].as_str().unwrap().replace("$${", "${")).unwrap()
}

fn error(text: &str, asked: &str) -> String {
    match load(&[input("docker-bake.hcl", text)], &world(&[])) {
        Err(error) => format!("{error} {}", hints(&error)),
        Ok(definition) => {
            let error = definition.select(&[asked.to_owned()], &[]).unwrap_err();
            format!("{error} {}", hints(&error))
        }
    }
}

fn hints(error: &coracle_report::Diagnostic) -> String {
    error.hints.iter().map(|hint| hint.0.clone()).chain(error.notes.clone()).collect::<Vec<_>>().join("; ")
}

#[test]
fn groups_targets_and_inheritance() {
    let text = r#"
group "default" { targets = ["db", "webapp-dev"] }
variable "TAG" { default = "latest" }
target "webapp-dev" {
  dockerfile = "Dockerfile.webapp"
  tags = ["docker.io/username/webapp:${TAG}"]
  args = { a = "1", b = 2, c = null, d = true }
}
target "webapp-release" {
  inherits = ["webapp-dev"]
  platforms = ["linux/amd64", "linux/arm64"]
  args = { b = "3" }
}
target "db" { dockerfile = "Dockerfile.db" }
"#;
    assert_eq!(
        print(text, &[], &[], &[("TAG", "dev")]),
        json!({
            "group": {"default": {"targets": ["db", "webapp-dev"]}},
            "target": {
                "db": {"context": ".", "dockerfile": "Dockerfile.db"},
                "webapp-dev": {
                    "context": ".", "dockerfile": "Dockerfile.webapp",
                    "args": {"a": "1", "b": "2", "d": "true"},
                    "tags": ["docker.io/username/webapp:dev"],
                },
            },
        })
    );
    assert_eq!(
        print(
            text,
            &["webapp-release"],
            &["webapp-release.args.a=9", "*.tags=x", "*.tags=y", "*.platform+=linux/s390x"],
            &[]
        ),
        json!({
            "group": {"default": {"targets": ["webapp-release"]}},
            "target": {
                "webapp-release": {
                    "context": ".", "dockerfile": "Dockerfile.webapp",
                    "args": {"a": "9", "b": "3", "d": "true"},
                    "tags": ["x", "y"],
                    "platforms": ["linux/amd64", "linux/arm64", "linux/s390x"],
                },
            },
        })
    );
}

#[test]
fn matrices_make_targets_and_their_group() {
    let text = r#"
target "app" {
  name = "app-${tgt}-${replace(item.version, ".", "-")}"
  matrix = { tgt = ["lint", "build"], item = [{ version = "1.0" }, { version = "2.0" }] }
  target = tgt
  args = { VERSION = item.version }
}
"#;
    let printed = print(text, &["app"], &[], &[]);
    let names: Vec<&String> = printed["target"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["app-build-1-0", "app-build-2-0", "app-lint-1-0", "app-lint-2-0"]);
    assert_eq!(printed["target"]["app-lint-2-0"]["args"]["VERSION"], "2.0");
    assert_eq!(printed["group"]["default"]["targets"], json!(["app"]));
}

#[test]
fn entries_are_printed_as_buildx_prints_them() {
    let text = r#"
target "default" {
  output = ["type=docker", { type = "local", dest = "out" }, "./dir"]
  cache-from = ["user/app:cache", { type = "local", src = "c" }]
  cache-to = ["type=registry,ref=r,mode=max"]
  secret = ["id=aws,src=/f", { id = "K", env = "KEY" }, "type=env,id=E"]
  ssh = ["default", { id = "key", paths = ["a", "b"] }]
  attest = ["type=provenance,mode=max", { type = "sbom" }]
  contexts = { base = "docker-image://alpine", src = "target:other" }
  network = "host"
  no-cache = true
}
target "other" { output = ["x"] }
"#;
    assert_eq!(
        print(text, &[], &[], &[]),
        json!({
            "group": {"default": {"targets": ["default"]}},
            "target": {
                "default": {
                    "attest": [{"mode": "max", "type": "provenance"}, {"type": "sbom"}],
                    "context": ".",
                    "contexts": {"base": "docker-image://alpine", "src": "target:other"},
                    "dockerfile": "Dockerfile",
                    "cache-from": [{"ref": "user/app:cache", "type": "registry"}, {"src": "c", "type": "local"}],
                    "cache-to": [{"mode": "max", "ref": "r", "type": "registry"}],
                    "secret": [{"id": "aws", "src": "/f"}, {"id": "K", "env": "KEY"}, {"id": "E"}],
                    "ssh": [{"id": "default"}, {"id": "key", "paths": ["a", "b"]}],
                    "output": [{"type": "docker"}, {"dest": "out", "type": "local"}, {"dest": "./dir", "type": "local"}],
                    "no-cache": true,
                    "network": "host",
                    "entitlements": ["network.host"],
                },
                "other": {"context": ".", "dockerfile": "Dockerfile", "output": [{"type": "cacheonly"}]},
            },
        })
    );
}

#[test]
fn json_says_the_same_as_hcl() {
    let text = r#"{
  "variable": {"FOO": {"default": "bar", "type": "string"}},
  "group": {"default": {"targets": ["app"]}},
  "target": {"app": {"args": {"v": "${upper(FOO)}", "p": "a\/b\ud83d\ude00"}, "tags": ["x:${FOO}"]}}
}"#;
    let definition = load(&[input("docker-bake.json", text)], &world(&[])).unwrap();
    let printed = definition.select(&[], &[]).unwrap().to_json();
    assert_eq!(printed["target"]["app"]["args"], json!({"v": "BAR", "p": "a/b\u{1f600}"}));
    assert_eq!(printed["target"]["app"]["tags"], json!(["x:bar"]));
}

#[test]
fn a_later_file_lies_over_an_earlier() {
    let files = [
        input(
            "docker-bake.hcl",
            "variable \"V\" { default = \"1\" }\ntarget \"a\" {\n args = { x = V, y = \"y\" }\n tags = [\"one\"]\n}",
        ),
        input(
            "docker-bake.override.hcl",
            "variable \"V\" { default = \"2\" }\ntarget \"a\" {\n args = { y = \"z\" }\n tags = [\"two\"]\n}",
        ),
    ];
    let printed = load(&files, &world(&[])).unwrap().select(&["a".to_owned()], &[]).unwrap().to_json();
    assert_eq!(printed["target"]["a"]["args"], json!({"x": "2", "y": "z"}));
    assert_eq!(printed["target"]["a"]["tags"], json!(["two"]));
}

#[test]
fn variables_have_types_and_take_texts_and_json() {
    let text = r#"
variable "TAGS" {
  type = list(string)
  default = ["latest"]
}
variable "N" { default = 3 }
variable "M" { type = map(number) }
variable "O" { default = null }
variable "P" {
  default = "x"
  validation {
    condition = P != "" && P != "bad"
    error_message = "P must not be ${P}"
  }
}
target "default" {
  tags = [for tag in TAGS : "app:${tag}"]
  args = { n = N + 1, m = M == null ? "none" : M.a * 2, o = O, p = P }
}
"#;
    let args = |environment: &[(&str, &str)]| print(text, &[], &[], environment)["target"]["default"].clone();
    assert_eq!(args(&[])["args"], json!({"n": "4", "m": "none", "p": "x"}));
    let set = args(&[("TAGS", "dev,latest,2"), ("N", "5"), ("M", "a=4"), ("O", "o")]);
    assert_eq!(set["args"], json!({"n": "6", "m": "8", "o": "o", "p": "x"}));
    assert_eq!(set["tags"], json!(["app:dev", "app:latest", "app:2"]));
    let set = args(&[("TAGS_JSON", "[\"a,b\"]"), ("TAGS", "no")]);
    assert_eq!(set["tags"], json!(["app:a,b"]));
    let wrong = load(&[input("f.hcl", text)], &world(&[("P", "bad")])).unwrap_err();
    assert_eq!(wrong.message, "P must not be bad");
    assert!(load(&[input("f.hcl", text)], &world(&[("N", "many")])).unwrap_err().message.contains("number"));
}

#[test]
fn the_users_functions_templates_and_references() {
    let text = r#"
function "increment" {
  params = [number]
  result = number + 1
}
function "all" {
  params = []
  variadic_params = rest
  result = join("-", rest)
}
base = "alpine"
target "a" {
  args = {
    n = "${increment(123)}"
    r = all("x", "y", ["z"]...)
    t = "%{ for v in ["a", "b"] ~}
 ${v}, %{ endfor ~}
 end"
    c = "%{ if base == "alpine" }yes%{ else }no%{ endif }"
  }
  dockerfile-inline = <<-EOT
    FROM ${base}
    RUN echo $${x}
  EOT
}
target "b" {
  args = target.a.args
  tags = [target.a.args.n, "${target.a.args["r"]}"]
  description = BAKE_LOCAL_PLATFORM
}
"#;
    let printed = print(text, &["a", "b"], &[], &[]);
    let a = &printed["target"]["a"];
    assert_eq!(a["args"]["n"], "124");
    assert_eq!(a["args"]["c"], "yes");
    assert_eq!(a["dockerfile-inline"], "FROM alpine\nRUN echo $${x}\n");
    assert_eq!(printed["target"]["b"]["tags"][0], "124");
    assert_eq!(printed["target"]["b"]["description"], "linux/amd64");
}

#[test]
fn functions_answer_as_the_reference_says() {
    for (expression, answer) in [
        (r#"upper("a")"#, json!("A")),
        (r#"title("hello big world")"#, json!("Hello Big World")),
        (r#"replace("a.b.c", ".", "-")"#, json!("a-b-c")),
        (r#"regex_replace("v1.2", "v([0-9]+)", "$1")"#, json!("1.2")),
        (r#"regex("([a-z]+)([0-9]+)", "ab12")"#, json!(["ab", "12"])),
        (r#"regexall("[0-9]+", "1a22")"#, json!(["1", "22"])),
        (r#"split(",", "a,b")"#, json!(["a", "b"])),
        (r#"concat([1], [2, 3])"#, json!([1, 2, 3])),
        (r#"contains(["a"], "a")"#, json!(true)),
        (r#"length({a = 1})"#, json!(1)),
        (r#"lookup({a = 1}, "b", 2)"#, json!(2)),
        (r#"merge({a = 1}, {a = 2, b = 3})"#, json!({"a": 2, "b": 3})),
        (r#"keys({b = 1, a = 2})"#, json!(["a", "b"])),
        (r#"coalesce(null, "x")"#, json!("x")),
        (r#"can(nope)"#, json!(false)),
        (r#"try(nope, "y")"#, json!("y")),
        (r#"format("%s-%03d-%.2f-%q-%v", "a", 7, 1.5, "b", true)"#, json!("a-007-1.50-\"b\"-true")),
        (r#"formatlist("%s:%s", ["a", "b"], "t")"#, json!(["a:t", "b:t"])),
        (r#"timestamp()"#, json!("2026-01-31T12:00:00Z")),
        (r#"timeadd("2026-01-31T12:00:00Z", "1h30m")"#, json!("2026-01-31T13:30:00Z")),
        (r#"formatdate("DD MMM YYYY", timestamp())"#, json!("31 Jan 2026")),
        (r#"unixtimestampparse(0).year"#, json!(1970)),
        (r#"md5("")"#, json!("d41d8cd98f00b204e9800998ecf8427e")),
        (r#"sha1("")"#, json!("da39a3ee5e6b4b0d3255bfef95601890afd80709")),
        (r#"substr(sha256(""), 0, 8)"#, json!("e3b0c442")),
        (r#"base64decode(base64encode("hi"))"#, json!("hi")),
        (r#"urlencode("a b/c")"#, json!("a+b%2Fc")),
        (r#"jsondecode("{\"a\": [1]}").a[0]"#, json!(1)),
        (r#"csvdecode("a,b\n1,2")"#, json!([{"a": "1", "b": "2"}])),
        (r#"cidrhost("10.0.0.0/8", 5)"#, json!("10.0.0.5")),
        (r#"cidrnetmask("172.16.0.0/12")"#, json!("255.240.0.0")),
        (r#"cidrsubnet("10.0.0.0/8", 8, 2)"#, json!("10.2.0.0/16")),
        (
            r#"cidrsubnets("10.1.0.0/16", 4, 4, 8, 4)"#,
            json!(["10.1.0.0/20", "10.1.16.0/20", "10.1.32.0/24", "10.1.48.0/20"]),
        ),
        (r#"range(3)"#, json!([0, 1, 2])),
        (r#"range(5, 1, -2)"#, json!([5, 3])),
        (r#"reverse("abc")"#, json!("cba")),
        (r#"reverselist([1, 2])"#, json!([2, 1])),
        (r#"sort(["b", "a"])"#, json!(["a", "b"])),
        (r#"distinct([1, 1, 2])"#, json!([1, 2])),
        (r#"flatten([[1, [2]], 3])"#, json!([1, 2, 3])),
        (r#"element(["a", "b"], 3)"#, json!("b")),
        (r#"slice([1, 2, 3], 1, 3)"#, json!([2, 3])),
        (r#"index_of(["a", "b"], "b")"#, json!(1)),
        (r#"setunion(["b"], ["a", "b"])"#, json!(["a", "b"])),
        (r#"setproduct(["a"], [1, 2])"#, json!([["a", 1], ["a", 2]])),
        (r#"parseint("ff", 16)"#, json!(255)),
        (r#"max(1, 3, 2) + min(4, 2)"#, json!(5)),
        (r#"pow(2, 10)"#, json!(1024)),
        (r#"floor(-1.5) + ceil(1.2) + abs(-1)"#, json!(1)),
        (r#"indent(2, "a\nb")"#, json!("a\n  b")),
        (r#"trimsuffix(trimprefix("xay", "x"), "y")"#, json!("a")),
        (r#"basename("/a/b.c") == "b.c" && dirname("/a/b.c") == "/a""#, json!(true)),
        (r#"sanitize("a.b/c")"#, json!("a_b_c")),
        (r#"homedir()"#, json!("/home/user")),
        (r#"semvercmp("1.2.3", ">=1.2, <2")"#, json!(true)),
        (r#"uuidv5("dns", "www.example.com")"#, json!("2ed6657d-e927-568b-95e1-2665a8aea6a2")),
        (r#"zipmap(["a"], [1])"#, json!({"a": 1})),
        (r#"convert("3", number) + 1"#, json!(4)),
        (r#"[for k, v in {a = 1, b = 2} : "${k}${v}" if v > 1]"#, json!(["b2"])),
        (r#"{for v in ["a", "b", "a"] : v => v...}"#, json!({"a": ["a", "a"], "b": ["b"]})),
        (r#"[{n = 1}, {n = 2}][*].n"#, json!([1, 2])),
        (r#"[{n = 1}, {n = 2}].*.n"#, json!([1, 2])),
        (r#"!false || nope"#, json!(true)),
        (r#"7 % 4 == 3 ? "y" : "n""#, json!("y")),
    ] {
        assert_eq!(value(expression), answer, "{expression}");
    }
}

#[test]
fn errors_say_where_and_what_was_meant() {
    for (text, part) in [
        (
            "target \"a\" {\n  tag = [\"x\"]\n}",
            "docker-bake.hcl:2:3: a target has no attribute `tag` did you mean `tags`?",
        ),
        (
            "target \"a\" {\n  tags = [\"${TAGG}\"]\n}\nvariable \"TAG\" {}",
            "docker-bake.hcl:2:14: there is no variable `TAGG` did you mean `TAG`?",
        ),
        (
            "target \"a\" {\n  tags = [uper(\"x\")]\n}",
            "docker-bake.hcl:2:11: there is no function `uper` did you mean `upper`?",
        ),
        ("target \"a\" {\n  tags = \"x\"\n}", "docker-bake.hcl:2:10: `tags`: a list of strings is needed"),
        ("targt \"a\" {}", "docker-bake.hcl:1:1: unknown block `targt` did you mean `target`?"),
        ("target \"b\" {\n", "docker-bake.hcl:1:13: invalid block body"),
        ("target \"aa\" {}", "there is no target `a`"),
        (
            "variable \"x\" { default = y }\nvariable \"y\" { default = x }\ntarget \"a\" {}",
            "depends on itself",
        ),
        ("target \"a\" { inherits = [\"b\"] }\ntarget \"b\" { inherits = [\"a\"] }", "inherits from itself"),
        (
            "target \"a\" { contexts = { x = \"target:b\" } }\ntarget \"b\" { contexts = { x = \"target:a\" } }",
            "is a context of itself",
        ),
        (
            "function \"f\" {\n params = []\n result = f()\n}\ntarget \"a\" { tags = [f()] }",
            "more than 64 deep",
        ),
        ("target \"a\" { tags = [for x in range(0, 1000000000) : \"${x}\"] }", "a range has at most"),
        ("target \"a\" { matrix = { x = range(1000), y = range(1000) } \n name = \"a${x}${y}\" }", ": "),
        ("target \"a\" { name = \"b\" }", ": "),
    ] {
        let found = error(text, "a");
        assert!(found.contains(part), "{text}\n{found}");
    }
}

#[test]
fn work_that_multiplies_is_bounded() {
    let mut text = String::from("variable \"v0\" { default = \"xxxxxxxxxxxxxxxx\" }\n");
    for at in 1..60 {
        let before = at - 1;
        text.push_str(&format!("variable \"v{at}\" {{ default = \"${{v{before}}}${{v{before}}}\" }}\n"));
    }
    let found = load(&[input("f.hcl", &text)], &world(&[])).unwrap_err();
    assert_eq!(found.code, "bake-too-much");
    let deep = format!("x = {}1{}", "(".repeat(100_000), ")".repeat(100_000));
    assert_eq!(load(&[input("f.hcl", &deep)], &world(&[])).unwrap_err().code, "bake-syntax");
    let deep = format!("{{\"x\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(load(&[input("f.json", &deep)], &world(&[])).unwrap_err().code, "bake-syntax");
    let loops = "x = [for a in range(9999) : [for b in range(9999) : [for c in range(9999) : c]]]";
    assert_eq!(load(&[input("f.hcl", loops)], &world(&[])).unwrap_err().code, "bake-too-much");
}
