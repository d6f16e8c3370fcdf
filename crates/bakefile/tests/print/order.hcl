target "default" {
  name = "n-${a}-${b}"
  matrix = { a = ["1", "2"], b = ["x", "y"] }
}
