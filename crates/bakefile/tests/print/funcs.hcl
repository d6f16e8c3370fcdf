function "inc" {
  params = [n]
  result = n + 1
}
function "tags" {
  params = [name]
  variadic_params = rest
  result = [for t in rest : "${name}:${upper(t)}"]
}
variable "X" { default = "v1.2.3" }
target "default" {
  args = {
    a = inc(41)
    b = regex_replace(X, "^v([0-9]+).*", "$1")
    c = X == "v1.2.3" ? "yes" : "no"
    d = sha256("x")
    e = try(nope, "fallback")
    f = "%{ if X != "" }set%{ else }unset%{ endif }"
    g = jsonencode({ a = [1, 2.5, true], b = null })
    h = sanitize("a.b/c")
    i = trimprefix(X, "v")
    j = formatdate("YYYY", "2020-01-02T03:04:05Z")
    k = length(setproduct(["a", "b"], ["c", "d"]))
    l = format("%05d|%-4s|%q|%.2f", 42, "x", "y", 3.14159)
    m = "${BAKE_LOCAL_PLATFORM}"
    n = 10 / 4
    o = 7 % 3
    p = 1e3
    q = max(1, 5, 3)
    r = base64encode("hi")
    s = split(",", "a,b,c")[1]
    t = { a = 1 }["a"]
    u = <<-EOT
      line one
        line two
    EOT
  }
  tags = tags("app", "x", "y")
}
