target "a" {
  tags = ["x"]
  args = { A = "1" }
  output = ["type=docker"]
  platforms = ["linux/amd64"]
}
target "b" { inherits = ["a"] }
group "default" { targets = ["a", "b"] }
