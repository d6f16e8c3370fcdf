variable "TAG" { default = "latest" }
variable "NUM" { default = 3 }
variable "LIST" { default = ["a", "b"] }
target "_c" {
  args = { A = "1", B = "2" }
  labels = { l = "${TAG}" }
  tags = ["base"]
  platforms = ["linux/amd64", "linux/arm64"]
}
target "mid" {
  inherits = ["_c"]
  args = { B = "3" }
  output = ["type=docker"]
}
target "default" {
  inherits = ["mid", "_c"]
  args = { C = NUM, D = join(",", LIST), E = "$${x}" , F = true, G = 1.50 }
  tags = ["repo:${TAG}", "repo:${TAG}-x"]
  context = "sub"
  dockerfile = "../D"
}
