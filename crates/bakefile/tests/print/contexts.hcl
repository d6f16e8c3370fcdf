target "default" {
  contexts = { base = "target:base", alpine = "docker-image://alpine:3", src = "../src", empty = "" }
  tags = ["x"]
}
target "base" {
  dockerfile-inline = "FROM scratch"
  tags = ["unwanted"]
  output = ["type=docker"]
}
