group "default" { targets = ["all"] }
group "all" { targets = ["a", "inner", "b"] }
group "inner" { targets = ["b", "c"] }
target "a" { target = "a" }
target "b" { target = "b" }
target "c" { target = "c" }
