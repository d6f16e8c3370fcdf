target "base" {
  tags = ["x", "y"]
  args = { A = "1" }
  platforms = ["linux/amd64"]
}
target "default" {
  tags = [for t in target.base.tags : "${t}-dev"]
  args = { A = target.base.args.A }
}
