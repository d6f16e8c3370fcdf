#!/usr/bin/env python3
"""Soak: starts, execs and removes thousands of containers and hundreds of projects, and looks whether anything grows.

Runs in a world of its own: process, network and mount namespaces, data and run roots in a throw-away directory. What is
compared is the first tenth of the run with the last: latency of each command, memory of the processes that live as long as
the run (the keeper, the shim of a container that stays), files, and what the kernel holds.

    bench/soak.py                      5,000 containers and 200 projects, a few minutes
    bench/soak.py --containers 200 --projects 10
    bench/soak.py --write              records the figures in results.json and RESULTS.md
"""

import argparse
import datetime
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import results

ROOT = pathlib.Path(__file__).resolve().parent.parent
IMAGE = "busybox"
STAYS = "stays"
# So many containers run at any time.
WINDOW = 10
WAITS = "trap 'exit 0' TERM; while :; do sleep 0.2; done"
PROJECT = f"""
name: NAME
services:
  web: {{image: {IMAGE}, command: [sh, -c, "{WAITS}"], ports: ['127.0.0.1:7171:80'], volumes: ['data:/data']}}
  worker: {{image: {IMAGE}, command: [sh, -c, "{WAITS}"], depends_on: [web]}}
volumes: {{data: {{}}}}
"""


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=str(ROOT / "target/release/coracle"))
    parser.add_argument("--containers", type=int, default=5000)
    parser.add_argument("--projects", type=int, default=200)
    parser.add_argument("--write", action="store_true", help="record the figures")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    return parser.parse_args()


def outside(options):
    """Makes the world and runs this file in it."""
    place = pathlib.Path(tempfile.mkdtemp(prefix="soak-"))
    try:
        subprocess.run([options.binary, "save", "-o", place / "image.tar", IMAGE], check=True)
        command = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--propagation", "private", "--mount-proc", "--net"]
        # The first process of the world waits for whoever loses its parent.
        command += ["bash", "-c", '"$@"; exit $?', "bash", sys.executable, __file__, "--inside", str(place)]
        command += ["--binary", options.binary, "--containers", str(options.containers), "--projects", str(options.projects)]
        command += ["--write"] if options.write else []
        environment = dict(os.environ, CORACLE_DATA_ROOT=str(place / "data"), CORACLE_RUN_ROOT=str(place / "run"))
        return subprocess.run(command, env=environment, check=False).returncode
    finally:
        shutil.rmtree(place, ignore_errors=True)


class World:
    """The inside: the binary, and what there is."""

    def __init__(self, options):
        self.binary = options.binary
        self.place = pathlib.Path(options.inside)
        script = f"""
            mkdir {self.place}/cgroup; mount --rbind /sys/fs/cgroup {self.place}/cgroup
            mount -t sysfs sysfs /sys; mount --rbind {self.place}/cgroup /sys/fs/cgroup; umount -l {self.place}/cgroup
            ip link set lo up; ip link add up0 type veth peer name up1; ip link set up1 up
            ip address add 192.0.2.10/24 dev up0; ip link set up0 up; ip route add default via 192.0.2.1"""
        subprocess.run(["bash", "-euc", script], check=True)
        self.run("load", "-i", self.place / "image.tar")
        self.run("run", "--rm", "-v", "/data", IMAGE, "true")
        self.run("run", "-d", "--name", STAYS, "-p", "127.0.0.1:7070:80", IMAGE, "sh", "-c", WAITS)
        self.project("warm")

    def run(self, *words, cwd=None):
        """Runs a command and returns how long it took, ms."""
        began = time.monotonic()
        done = subprocess.run([self.binary, *map(str, words)], cwd=cwd, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"{' '.join(map(str, words))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return (time.monotonic() - began) * 1000

    def container(self, name):
        return self.run("run", "-d", "--name", name, "-v", "/data", IMAGE, "sh", "-c", WAITS), self.run("exec", name, "true")

    def project(self, name):
        folder = self.place / name
        folder.mkdir()
        (folder / "compose.yaml").write_text(PROJECT.replace("NAME", name))
        up = self.run("compose", "up", "-d", cwd=folder)
        executed = self.run("compose", "exec", "-T", "web", "true", cwd=folder)
        down = self.run("compose", "down", "-v", "-t", "5", cwd=folder)
        shutil.rmtree(folder)
        return up, executed, down

    def memory(self):
        """Returns the own memory of the processes that stay, KiB."""
        return sum(own_memory(pid) for pid in self.lasting())

    def lasting(self):
        """Returns the keeper and the shim of the container that stays."""
        inspected = subprocess.run([self.binary, "inspect", STAYS], capture_output=True, text=True, check=True)
        first = pathlib.Path(f"/proc/{json.loads(inspected.stdout)[0]['State']['Pid']}/status").read_text()
        shim = int(next(line.split()[1] for line in first.splitlines() if line.startswith("PPid:")))
        keepers = [int(entry.name) for entry in pathlib.Path("/proc").iterdir() if " keeper _" in command_of(entry)]
        return [shim, *keepers]

    def things(self):
        """Returns everything that could be left behind, by kind."""
        found = {"processes": set(), "mounts": set(), "links": set(), "rules": set(), "descriptors": set()}
        # The world's own: its first process and this one.
        ours = {"1", str(os.getpid())}
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit() and entry.name not in ours and is_of_engine(entry):
                found["processes"].add(f"{entry.name} {command_of(entry)}")
        found["mounts"] = set(pathlib.Path("/proc/self/mountinfo").read_text().splitlines())
        found["links"] = {path.name for path in pathlib.Path("/sys/class/net").iterdir()}
        rules = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
        found["rules"] = {line.strip() for line in rules.splitlines() if 'comment "rules ' not in line}
        for pid in self.lasting():
            found["descriptors"] |= {f"{pid}/{path.name}" for path in pathlib.Path(f"/proc/{pid}/fd").iterdir()}
        roots = [self.place / "data", self.place / "run"]
        found["files"] = {str(path) for root in roots for path in root.rglob("*") if "events" not in path.parts}
        return found


def is_of_engine(process):
    """Returns whether a process is one of a container, or a helper of the binary; one that has ended is none."""
    try:
        state = (process / "stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z" and ("/coracle-" in (process / "cgroup").read_text() or "coracle" in command_of(process))
    except OSError:
        return False


def command_of(process):
    try:
        return (process / "cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def own_memory(pid):
    """Returns what a process alone has, KiB: what it shares depends on who else runs."""
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Private_"))


def tenths(values):
    """Returns the medians of the first and of the last tenth."""
    size = max(1, len(values) // 10)
    return statistics.median(values[:size]), statistics.median(values[-size:])


def inside(options):
    world = World(options)
    before = world.things()
    times = {"run -d": [], "exec": [], "rm -f": [], "compose up": [], "compose exec": [], "compose down": []}
    memory = []
    began = time.monotonic()
    every = max(1, options.containers // 50)
    for number in range(options.containers + WINDOW):
        if number < options.containers:
            ran, executed = world.container(f"soak-{number}")
            times["run -d"].append(ran)
            times["exec"].append(executed)
        if number >= WINDOW:
            times["rm -f"].append(world.run("rm", "-f", "-v", f"soak-{number - WINDOW}"))
        if number % every == 0:
            memory.append(world.memory())
    for number in range(options.projects):
        up, executed, down = world.project(f"project-{number}")
        times["compose up"].append(up)
        times["compose exec"].append(executed)
        times["compose down"].append(down)
        if number % max(1, options.projects // 10) == 0:
            memory.append(world.memory())
    took = time.monotonic() - began
    # Kernels take namespaces and links away later than the command returns.
    for _ in range(20):
        after = world.things()
        left = {kind: sorted(after[kind] - before[kind]) for kind in after if after[kind] - before[kind]}
        if not left:
            break
        time.sleep(0.5)

    counts = f"{options.containers} containers, {options.projects} projects"
    print(f"{counts} in {took:.0f} s")
    rows = []

    def row(name, first, last, unit, runs):
        print(f"{name:28} first tenth {first:8.1f} {unit}, last tenth {last:8.1f} {unit}")
        rows.append({"section": "Soak", "name": f"soak: {name}", "ours": last, "theirs": first, "unit": unit, "runs": runs,
                     "peer": "the first tenth", "date": datetime.date.today().isoformat()})

    for name, values in times.items():
        if values:
            row(name, *tenths(values), "ms", len(values))
    row("memory of keeper and shim", *tenths(memory), "KiB", len(memory))
    total = sum(len(things) for things in left.values())
    row("things left behind", 0, total, "", options.containers + 2 * options.projects)
    for kind, things in left.items():
        print(f"left: {len(things)} {kind}: {things[:10]}")
    world.run("rm", "-f", "-v", STAYS)
    if options.write:
        results.record(rows)
    first, last = tenths(memory)
    return 1 if total or last > first * 1.25 else 0


def main():
    options = arguments()
    options.binary = str(pathlib.Path(options.binary).resolve())
    sys.exit(inside(options) if options.inside else outside(options))


if __name__ == "__main__":
    main()
