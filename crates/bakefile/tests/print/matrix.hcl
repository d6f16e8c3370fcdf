target "app" {
  name = "app-${tgt}-${replace(item.version, ".", "-")}"
  matrix = { tgt = ["foo", "bar"], item = [{ version = "1.0" }, { version = "2.0" }] }
  target = tgt
  args = { VERSION = item.version, NULL = null }
}
group "default" { targets = ["app"] }
