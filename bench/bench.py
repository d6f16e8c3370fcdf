#!/usr/bin/env python3
"""Side-by-side benchmark: Coracle against Docker Engine, BuildKit and Compose, interleaved in one run.

    bench/bench.py [--runs N] [--only NAME]... [--write]

Each scenario is run in turn on both sides, N times after one warm-up; the table holds medians and their ratio (ours /
theirs: below 1 we are faster). --write records the rows in bench/results.json and writes bench/RESULTS.md anew from it.

Needs root, target/release/coracle, the base images in Coracle's store, and the peer lab (bench/peers.sh, which makes
itself). Both sides build from the same base file systems: Coracle's stand-ins are exported and imported into Docker, with the
host's CA bundle added there, because a build in Docker has no other way to trust a TLS-inspecting proxy.
"""

import argparse
import datetime
import functools
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import builds
import checks
import containers
import projects
import results

ROOT = pathlib.Path(__file__).resolve().parent.parent
STACK = ROOT / "stacks" / "databricks_orchestrator"
CORACLE = os.environ.get("CORACLE_BIN", str(ROOT / "target" / "release" / "coracle"))
PEERS = pathlib.Path(os.environ.get("PEERS", "/opt/peers"))
SOCKET = f"unix://{PEERS}/sock/docker.sock"
ENVIRONMENT = "staging"
CA_BUNDLE = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
CA_VARIABLES = ["SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "CURL_CA_BUNDLE"]
BASES = ["python:3.11-slim", "node:22-alpine", "nginx:1.28-alpine", "postgres:15-alpine", "prom/prometheus", "busybox"]


MEMORY = ["peak memory, 100,000 files", "memory of the engine, stack up"]
THROUGHPUT = "throughput"
# Rows for which the stack need not be built.
STACKLESS = [
    "run --rm, bridge", "run --rm, no network", "run --rm, bridge, runc without network", "50 containers at once", "1e6 log lines",
    "1e6 log lines, written and read back", THROUGHPUT, "compose config, 50 services", "up, 20 services to running",
    "up, 20 services, nothing to do", "check 1,000 Dockerfiles, hadolint", "100,000 files, unchanged", "100,000 files, COPY cold",
    "peak memory, 100,000 files",
]


class Failed(Exception):
    """A command that had to succeed did not."""


def run(args, cwd=ROOT, env=None, quiet=True):
    """Runs a command to its end and returns its standard output."""
    done = subprocess.run(args, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=quiet, text=True)
    if done.returncode != 0:
        tail = "\n".join((done.stderr or "").splitlines()[-15:])
        raise Failed(f"{' '.join(map(str, args))}: exit {done.returncode}\n{tail}")
    return done.stdout or ""


def coracle(*args, cwd=ROOT):
    return run([CORACLE, *args], cwd=cwd)


def enter(cwd):
    """Returns the words that run a program inside the lab's tree; `cwd` lies under the lab's share.

    nsenter is all that stands between: no shell, so that the peer is not charged for our way in.
    """
    pid = (PEERS / "sock" / "docker.pid").read_text().strip()
    return ["nsenter", "-m", "-t", pid, f"--wdns={cwd}", "env", "DOCKER_HOST=unix:///sockdir/docker.sock"]


def docker(*args, cwd=ROOT):
    """Runs the lab's own docker client inside the lab's tree."""
    return run([*enter(cwd), "docker", *args])


def let_both_forward():
    """Docker's packet filter drops what it does not know; a side by side run needs both engines to reach the network."""
    subprocess.run(["nft", "chain ip filter FORWARD { policy accept; }"], check=False, capture_output=True)


class Sides:
    """The two sides' copies of the stack; Docker's lies in the lab's share."""

    def __init__(self):
        self.ours = pathlib.Path(tempfile.mkdtemp(prefix="coracle-bench-"))
        self.theirs_outside = PEERS / "share" / "bench"
        self.theirs = pathlib.Path("/share/bench")
        shutil.rmtree(self.theirs_outside, ignore_errors=True)
        ignore = shutil.ignore_patterns("node_modules", "__pycache__", "*.txt.generated")
        for target in (self.ours / "stack", self.theirs_outside / "stack"):
            shutil.copytree(STACK, target, ignore=ignore)
            # Both stacks are up at once at times: each has a port of its own.
            settings = target / f".env.{ENVIRONMENT}"
            port = 18090 if target.is_relative_to(self.ours) else 18091
            settings.write_text(settings.read_text() + f"\nHTTP_PORT={port}\n")
            for example in (target / "secrets").glob("*.example"):
                secret = example.with_name(example.name.removesuffix(".example"))
                secret.write_text("bench-password\n")
                secret.chmod(0o644)

        self.large = builds.large_context(PEERS / "share" / "large")
        for root in (self.ours, self.theirs_outside):
            projects.fifty_services(root / "fifty")
            projects.twenty_services(root / "twenty", "busybox:latest")
        texts = checks.dockerfiles(ROOT / "tests" / "equality" / "cases", sorted(STACK.rglob("Dockerfile")))
        self.dockerfiles = checks.thousand(self.ours / "thousand", texts)

    def edit(self, counter):
        """Changes one line of the backend on both sides."""
        for root in (self.ours, self.theirs_outside):
            source = root / "stack" / "backend" / "src" / "api" / "main.py"
            text = source.read_text().splitlines()
            text = [line for line in text if not line.startswith("# bench ")] + [f"# bench {counter}"]
            source.write_text("\n".join(text) + "\n")

    def close(self):
        shutil.rmtree(self.ours, ignore_errors=True)
        shutil.rmtree(self.theirs_outside, ignore_errors=True)


def import_bases():
    """Gives Docker the very base images that Coracle uses."""
    share = PEERS / "share" / "bases"
    share.mkdir(parents=True, exist_ok=True)
    present = docker("images", "--format", "{{.Repository}}:{{.Tag}}", cwd=pathlib.Path("/")).split()
    for base in BASES:
        name = base if ":" in base else f"{base}:latest"
        if name in present:
            continue
        print(f"giving Docker {base}", file=sys.stderr)
        folder = share / name.replace("/", "_").replace(":", "_")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        container = coracle("create", base, "true").strip()
        try:
            with open(folder / "root.tar", "wb") as out:
                subprocess.run([CORACLE, "export", container], stdout=out, check=True)
        finally:
            coracle("rm", "-f", container)
        image = json.loads(coracle("inspect", "--type", "image", base))[0]
        (folder / "ca.crt").write_bytes(CA_BUNDLE.read_bytes() if CA_BUNDLE.exists() else b"")
        (folder / "Dockerfile").write_text(dockerfile(image["Config"]))
        docker("build", "-q", "-t", name, ".", cwd=pathlib.Path("/share/bases") / folder.name)


def dockerfile(config):
    """Returns the Dockerfile that makes Docker's copy of a base."""
    lines = ["FROM scratch", "ADD root.tar /", "COPY ca.crt /host-ca.crt"]
    lines += [f"ENV {name}=/host-ca.crt" for name in CA_VARIABLES]
    for variable in config.get("Env") or []:
        name, _, value = variable.partition("=")
        lines.append(f"ENV {name}={json.dumps(value)}")
    for key, word in (("Entrypoint", "ENTRYPOINT"), ("Cmd", "CMD")):
        if config.get(key):
            lines.append(f"{word} {json.dumps(config[key])}")
    lines += [f"VOLUME {json.dumps([path])}" for path in config.get("Volumes") or {}]
    if config.get("WorkingDir"):
        lines.append(f"WORKDIR {config['WorkingDir']}")
    if config.get("User"):
        lines.append(f"USER {config['User']}")
    if config.get("StopSignal"):
        lines.append(f"STOPSIGNAL {config['StopSignal']}")
    return "\n".join(lines) + "\n"


def timed(action):
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def compose(sides, *args):
    files = ["-f", "docker-compose.yml", "-f", f"docker-compose.{ENVIRONMENT}.yml", "--env-file", f".env.{ENVIRONMENT}"]
    return docker("compose", *files, *args, cwd=sides.theirs / "stack")


def stack(sides, verb, *args):
    return coracle(verb, ENVIRONMENT, *args, cwd=sides.ours / "stack")


def processes(patterns):
    """Yields the folder below /proc of every process whose command line holds one of `patterns`."""
    for folder in pathlib.Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if any(pattern in command for pattern in patterns) and "bench.py" not in command:
            yield folder


def count(patterns):
    return len(list(processes(patterns)))


def pss(patterns):
    """Returns the proportional memory, in MiB, of every process whose command line holds one of `patterns`."""
    total = 0
    for folder in processes(patterns):
        try:
            for line in (folder / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
        except OSError:
            continue
    return total / 1024


def scenarios(sides):
    """Returns name -> (section, prepare, ours, theirs, runs factor); prepare runs before each measured pair, unmeasured."""
    root = pathlib.Path("/")
    nothing = lambda: None
    edits = iter(range(1, 1_000_000))

    def build(*flags):
        return (
            lambda: coracle("build", "-t", "bench-backend", "--target", "production", *flags, str(sides.ours / "stack" / "backend")),
            lambda: docker("build", "-t", "bench-backend", "--target", "production", *flags, "backend", cwd=sides.theirs / "stack"),
        )

    buildah = builds.Buildah(enter)

    def bud(*flags):
        return lambda: buildah.build("bench-backend", "--target", "production", *flags, context="backend", cwd=sides.theirs / "stack")

    def large(*flags):
        return (
            lambda: coracle("build", "-t", "bench-large", *flags, str(sides.large)),
            lambda: docker("build", "-t", "bench-large", *flags, "/share/large/context", cwd=root),
        )

    def forget():
        """Takes every build cache away, so that a build is as the first one."""
        coracle("builder", "prune", "--all", "--force")
        docker("builder", "prune", "--all", "--force", cwd=root)

    def down():
        stack(sides, "down", "-v")
        compose(sides, "down", "-v")

    def twenty(*args):
        return (
            lambda: coracle("compose", *args, cwd=sides.ours / "twenty"),
            lambda: docker("compose", *args, cwd=sides.theirs / "twenty"),
        )

    def twenty_down():
        for side in twenty("down", "-t", "1"):
            side()

    def finds(*words):
        """Runs a linter over the thousand; it ends with 0 or 1 and must have found something."""
        done = subprocess.run([*words, *sides.dockerfiles], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode not in (0, 1) or "DL3006" not in done.stdout:
            raise Failed(f"{words[0]}: exit {done.returncode}\n{done.stderr[-500:]}")

    def lint():
        finds(checks.hadolint(PEERS / "hadolint"))

    def check():
        finds(CORACLE, "check")

    up = (lambda: stack(sides, "up", "--no-build"), lambda: compose(sides, "up", "-d", "--wait", "--no-build"))
    lines = ["seq", "1", "1000000"]
    at_root = lambda *words: docker(*words, cwd=root)
    runc = functools.cache(lambda: containers.Runc(PEERS, enter, docker))
    single = {
        "run --rm, bridge": (nothing, lambda: coracle("run", "--rm", "busybox", "true"),
                             lambda: docker("run", "--rm", "busybox", "true", cwd=root), 3),
        "run --rm, no network": (nothing, lambda: coracle("run", "--rm", "--network", "none", "busybox", "true"),
                                 lambda: docker("run", "--rm", "--network", "none", "busybox", "true", cwd=root), 3),
        "run --rm, bridge, runc without network": (runc, lambda: coracle("run", "--rm", "busybox", "true"), lambda: runc().run(), 3),
        "50 containers at once": (
            nothing,
            lambda: containers.fifty(lambda: coracle("run", "--rm", "busybox", "true")),
            lambda: containers.fifty(lambda: at_root("run", "--rm", "busybox", "true")),
            1,
        ),
        "1e6 log lines, written and read back": (
            nothing, lambda: containers.log(coracle, "bench-log"), lambda: containers.log(at_root, "bench-log"), 1,
        ),
        "1e6 log lines": (nothing, lambda: coracle("run", "--rm", "busybox", *lines),
                          lambda: docker("run", "--rm", "busybox", *lines, cwd=root), 1),
        "exec": (nothing, lambda: coracle("exec", "-T", ENVIRONMENT, "backend", "true", cwd=sides.ours / "stack"),
                 lambda: compose(sides, "exec", "-T", "backend", "true"), 3),
    }
    building = {
        "build backend and frontend, cold": (
            nothing,
            lambda: stack(sides, "build", "--no-cache", "backend", "frontend"),
            lambda: compose(sides, "build", "--no-cache", "backend", "frontend"),
            1,
        ),
        "build backend, cold": (nothing, *build("--no-cache"), 1),
        "build backend, cold, buildah": (nothing, build("--no-cache")[0], bud("--no-cache"), 1),
        "build backend, cached, buildah": (nothing, build()[0], bud(), 1),
        "build backend, one line changed, buildah": (lambda: sides.edit(next(edits)), build()[0], bud(), 1),
        "100,000 files, unchanged": (nothing, *large(), 1),
        "100,000 files, COPY cold": (forget, *large(), 1),
        "build backend, cached": (nothing, *build(), 2),
        "build backend, one line changed": (lambda: sides.edit(next(edits)), *build(), 1),
    }
    whole = {
        "compose config, 50 services": (
            nothing,
            lambda: coracle("compose", "config", cwd=sides.ours / "fifty"),
            lambda: run([*enter(sides.theirs / "fifty"), "docker-compose", "config"]),
            3,
        ),
        "up, 20 services to running": (twenty_down, *twenty("up", "-d"), 1),
        "up, 20 services, nothing to do": (nothing, *twenty("up", "-d"), 2),
        "up to all healthy": (down, *up, 1),
        "up, nothing to do": (nothing, *up, 2),
    }
    checking = {"check 1,000 Dockerfiles, hadolint": (nothing, check, lint, 1)}
    table = {}
    # Those that need the stack up come after those that bring it up.
    for section, rows in (("Building", building), ("Checking", checking), ("Projects", whole), ("Containers", single)):
        table |= {name: (section, *row) for name, row in rows.items()}
    return table


def measure(wanted, runs):
    """Returns rows: dictionaries of section, name, ours, theirs, unit, runs."""
    rows = []
    sides = Sides()
    try:
        table = scenarios(sides)
        unknown = [name for name in wanted if name not in table and name not in (*MEMORY, THROUGHPUT)]
        if unknown:
            raise Failed(f"no such row: {', '.join(unknown)}; rows are\n  " + "\n  ".join([*table, *MEMORY, THROUGHPUT]))
        if not wanted or any(name not in STACKLESS for name in wanted):
            print("building the stack on both sides", file=sys.stderr)
            stack(sides, "build")
            compose(sides, "build")
        if "exec" in wanted:
            stack(sides, "up", "--no-build")
            compose(sides, "up", "-d", "--wait", "--no-build")
        for name, (section, prepare, ours, theirs, factor) in table.items():
            if wanted and name not in wanted:
                continue
            times = ([], [])
            try:
                for number in range(runs * factor + 1):
                    prepare()
                    # The order alternates, so that neither side always finds the warm cache.
                    order = ((0, ours), (1, theirs)) if number % 2 else ((1, theirs), (0, ours))
                    for side, action in order:
                        spent = timed(action)
                        if number:
                            times[side].append(spent)
            except (Failed, RuntimeError) as error:
                # One row that cannot be measured costs no other.
                print(f"{name}: not measured: {error}", file=sys.stderr)
                continue
            medians = [statistics.median(side) for side in times]
            rows.append({"section": section, "name": name, "ours": medians[0] * 1000, "theirs": medians[1] * 1000, "unit": "ms", "runs": len(times[0])})
            print(f"{name}: {medians[0]*1000:.0f} ms, Docker {medians[1]*1000:.0f} ms, ratio {medians[0]/medians[1]:.2f}", file=sys.stderr)
        if not wanted or "peak memory, 100,000 files" in wanted:
            coracle("builder", "prune", "--all", "--force")
            docker("builder", "prune", "--all", "--force", cwd=pathlib.Path("/"))
            ours = builds.Peak(lambda: pss([CORACLE])).during(lambda: coracle("build", "-t", "bench-large", str(sides.large)))
            patterns = ["dockerd", "containerd", "docker build", "docker-buildx"]
            copy = lambda: docker("build", "-t", "bench-large", "/share/large/context", cwd=pathlib.Path("/"))
            theirs = builds.Peak(lambda: pss(patterns)).during(copy)
            rows.append({"section": "Building", "name": "peak memory, 100,000 files", "ours": ours, "theirs": theirs, "unit": "MiB PSS", "runs": 1})
            print(f"peak memory: {ours:.0f} MiB, Docker {theirs:.0f} MiB", file=sys.stderr)
        if not wanted or "memory of the engine, stack up" in wanted:
            stack(sides, "up", "--no-build")
            compose(sides, "up", "-d", "--wait", "--no-build")
            ours = pss([" shim run ", " keeper "])
            theirs = pss(["dockerd", "containerd", "docker-proxy"])
            rows.append({"section": "Containers", "name": "memory of the engine, stack up", "ours": ours, "theirs": theirs, "unit": "MiB PSS", "runs": 1})
            shims = max(1, count([" shim run "]))
            each = (pss([" shim run "]) / shims, pss(["containerd-shim"]) / max(1, count(["containerd-shim"])))
            rows.append({"section": "Containers", "name": "memory of one shim", "ours": each[0], "theirs": each[1], "unit": "MiB PSS", "runs": shims})
        if not wanted or THROUGHPUT in wanted:
            containers.build_iperf(coracle, docker, PEERS / "share", pathlib.Path("/share"))
            at_root = lambda *words: docker(*words, cwd=pathlib.Path("/"))
            for name, ours, theirs, number in containers.throughputs(coracle, at_root, max(3, runs)):
                print(f"{name}: {ours:.1f} Gbit/s, Docker {theirs:.1f}", file=sys.stderr)
                rows.append({"section": "Networks", "name": name, "ours": ours, "theirs": theirs, "unit": "Gbit/s", "runs": number})
    finally:
        # Also after a failure: neither side's stack may stay up.
        twenty = (lambda: coracle("compose", "down", "-t", "1", cwd=sides.ours / "twenty"), lambda: docker("compose", "down", "-t", "1", cwd=sides.theirs / "twenty"))
        for down in (lambda: stack(sides, "down", "-v"), lambda: compose(sides, "down", "-v"), *twenty):
            try:
                down()
            except Failed as error:
                print(error, file=sys.stderr)
        sides.close()
    return rows


def render(rows):
    lines = ["| what | Coracle | peer | ratio | unit | runs |", "|---|---|---|---|---|---|"]
    for row in rows:
        ratio = row["ours"] / row["theirs"]
        lines.append(f"| {row['name']} | {results.number(row['ours'])} | {results.number(row['theirs'])} | {ratio:.2f} | {row['unit']} | {row['runs']} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=5, help="measured runs of each scenario (some run two or three times as often)")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="only this scenario; may be given again")
    parser.add_argument("--write", action="store_true", help="record the rows in bench/results.json and bench/RESULTS.md")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("error: run this as root")
    run([str(ROOT / "bench" / "peers.sh"), "up"], quiet=False)
    let_both_forward()
    version = docker("version", "--format", "{{.Server.Version}}", cwd=pathlib.Path("/")).strip()
    composed = docker("compose", "version", "--short", cwd=pathlib.Path("/")).strip()
    import_bases()
    if not options.only or any("buildah" in name for name in options.only):
        save = lambda name, path: docker("save", "-o", path, name, cwd=pathlib.Path("/"))
        builds.Buildah(enter).import_bases([base if ":" in base else f"{base}:latest" for base in BASES[:1]], save)
    rows = measure(options.only, options.runs)
    text = render(rows)
    print(text)
    if options.write:
        today = datetime.date.today().isoformat()
        for row in rows:
            name = row["name"]
            docker_s = f"Docker {version}, Compose {composed}" if row["section"] == "Projects" else f"Docker {version}"
            others = [other for other in ("hadolint", "buildah", "runc") if other in name]
            row["peer"] = others[0] if others else docker_s
            row["date"] = today
        results.record(rows)


if __name__ == "__main__":
    try:
        main()
    except Failed as error:
        sys.exit(f"error: {error}")
