target "a" {
  output = ["type=image,push=true", "out", "-", "type=oci,dest=x.tar"]
  cache-from = ["user/app:cache", "type=local,src=path/to/cache"]
  cache-to = [{ type = "registry", ref = "user/app:cache", mode = "max" }]
  attest = ["type=provenance,mode=max", { type = "sbom" }]
  annotations = ["org.opencontainers.image.authors=dvdksn", "index:a=b"]
}
