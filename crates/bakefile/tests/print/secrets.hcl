target "default" {
  secret = ["id=aws,src=src/aws", { id = "TOKEN", type = "env", env = "GH" }]
  shm-size = "128m"
  ulimits = ["nofile=1024:1024"]
  extra-hosts = { h = "1.2.3.4" }
  network = "host"
  entitlements = ["security.insecure"]
  no-cache-filter = ["a", "b", "a"]
  pull = true
  no-cache = false
  call = "check"
  description = "what"
}
