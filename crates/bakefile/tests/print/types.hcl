variable "PORTS" {
  type = list(number)
  default = [80, 443]
}
variable "M" {
  type = map(string)
  default = { a = "b" }
}
variable "O" {
  type = object({ n = string, p = optional(number) })
  default = { n = "x" }
}
variable "EMPTY" {}
target "default" {
  args = { P = PORTS[1] + 1, M = M.a, O = jsonencode(O), E = EMPTY, S = "${length(PORTS)}" }
}
