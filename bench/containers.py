"""The scenarios of single containers: beside runc, fifty at once, a log read back, the throughput of networks."""

import concurrent.futures
import json
import pathlib
import shutil
import subprocess
import time

LINES = "1000000"
IPERF_IMAGE = "bench-iperf"
IPERF_PORT = {"ours": 15201, "theirs": 15202}
SECONDS = 3


class Runc:
    """The lab's runc on the bundle that Docker gives it, but without a network: what a container costs at the least."""

    NAME = "bench-runc"

    def __init__(self, peers, enter, docker):
        """`peers` is the lab's folder, `enter` gives the words that run a program inside, `docker` runs its client."""
        self.enter = enter
        self.bundle = peers / "share" / "runc-bundle"
        shutil.rmtree(self.bundle, ignore_errors=True)
        self.bundle.mkdir(parents=True)
        root = pathlib.Path("/")
        container = docker("run", "-d", "--network", "none", "busybox", "sleep", "600", cwd=root).strip()
        try:
            pid = (peers / "sock" / "docker.pid").read_text().strip()
            tasks = pathlib.Path(f"/proc/{pid}/root/run/docker/containerd/daemon/io.containerd.runtime.v2.task/moby")
            if not tasks.exists():
                tasks = pathlib.Path(f"/proc/{pid}/root/run/containerd/io.containerd.runtime.v2.task/moby")
            spec = json.loads((tasks / container / "config.json").read_text())
            docker("export", "-o", "/share/runc-bundle/root.tar", container, cwd=root)
        finally:
            docker("rm", "-f", container, cwd=root)
        (self.bundle / "rootfs").mkdir()
        subprocess.run(["tar", "-C", self.bundle / "rootfs", "-xf", self.bundle / "root.tar"], check=True)
        spec["root"] = {"path": "rootfs"}
        spec["process"]["args"] = ["true"]
        spec.pop("hooks", None)
        # Files of the container that made the bundle are gone by now.
        spec["mounts"] = [mount for mount in spec["mounts"] if mount["type"] != "bind"]
        spec["linux"]["cgroupsPath"] = f"/{self.NAME}"
        for namespace in spec["linux"]["namespaces"]:
            namespace.pop("path", None)
        (self.bundle / "config.json").write_text(json.dumps(spec))

    def run(self):
        done = subprocess.run(
            [*self.enter("/share/runc-bundle"), "runc", "run", self.NAME], stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        if done.returncode != 0:
            raise RuntimeError(f"runc: exit {done.returncode}\n{done.stderr[-500:]}")


def fifty(action):
    """Runs `action` fifty times at once and waits for all."""
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        for done in [pool.submit(action) for _ in range(50)]:
            done.result()


def log(side, name):
    """Writes a million lines in a container and reads them back; `side(*words)` runs a command of one side."""
    try:
        side("run", "--name", name, "busybox", "seq", LINES)
        text = side("logs", name)
        if text.count("\n") < int(LINES):
            raise RuntimeError(f"{name}: the log has {text.count(chr(10))} lines")
    finally:
        side("rm", "-f", name)


def build_iperf(coracle, docker, share, inside):
    """Builds the image with iperf3 on both sides; `share` is the lab's share, `inside` the same folder seen from inside."""
    folder = share / "iperf"
    folder.mkdir(exist_ok=True)
    lines = ["FROM python:3.11-slim", "RUN apt-get update && apt-get install -y --no-install-recommends iperf3"]
    (folder / "Dockerfile").write_text("\n".join(lines) + "\n")
    coracle("build", "-q", "-t", IPERF_IMAGE, str(folder))
    docker("build", "-q", "-t", IPERF_IMAGE, ".", cwd=inside / "iperf")


def gigabits(text):
    return json.loads(text)["end"]["sum_received"]["bits_per_second"] / 1e9


class Throughput:
    """A server with iperf3 in a container on a network of its own; clients in a container, on the host, on another host."""

    def __init__(self, side, which):
        self.side, self.which = side, which
        self.names = [f"bench-iperf-{which}-server", f"bench-iperf-{which}-client"]
        self.network = f"bench-iperf-{which}"
        self.port = IPERF_PORT[which]

    def start(self):
        self.stop()
        self.side("network", "create", self.network)
        publish = ["-p", f"{self.port}:5201"]
        self.side("run", "-d", "--name", self.names[0], "--network", self.network, *publish, IPERF_IMAGE, "iperf3", "-s")
        self.side("run", "-d", "--name", self.names[1], "--network", self.network, IPERF_IMAGE, "sleep", "3600")
        time.sleep(1)

    def stop(self):
        for words in (("rm", "-f", *self.names), ("network", "rm", self.network)):
            try:
                self.side(*words)
            except Exception:  # It was not there.
                pass

    def bridge(self):
        return gigabits(self.side("exec", self.names[1], "iperf3", "-c", self.names[0], "-t", str(SECONDS), "-J"))

    def published(self, *enter, address="127.0.0.1"):
        words = [*enter, "iperf3", "-c", address, "-p", str(self.port), "-t", str(SECONDS), "-J"]
        return gigabits(subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True).stdout)


class OtherHost:
    """A network namespace that stands for another host, a veth pair away."""

    NAME, ADDRESS, OURS = "bench-other", "198.18.77.2", "198.18.77.1"

    def __enter__(self):
        self.__exit__()
        for words in (
            f"ip netns add {self.NAME}",
            f"ip link add bench-veth0 type veth peer name bench-veth1 netns {self.NAME}",
            f"ip address add {self.OURS}/30 dev bench-veth0",
            "ip link set bench-veth0 up",
            f"ip -n {self.NAME} address add {self.ADDRESS}/30 dev bench-veth1",
            f"ip -n {self.NAME} link set bench-veth1 up",
            f"ip -n {self.NAME} route add default via {self.OURS}",
        ):
            subprocess.run(words.split(), check=True)
        return self

    def __exit__(self, *_):
        subprocess.run(["ip", "netns", "del", self.NAME], stderr=subprocess.DEVNULL, check=False)
        subprocess.run(["ip", "link", "del", "bench-veth0"], stderr=subprocess.DEVNULL, check=False)

    def enter(self):
        return ["ip", "netns", "exec", self.NAME]


def throughputs(ours, theirs, runs):
    """Yields rows of throughput: name, ours, theirs in Gbit/s, medians of interleaved runs."""
    import statistics

    sides = [Throughput(ours, "ours"), Throughput(theirs, "theirs")]
    try:
        for side in sides:
            side.start()
        with OtherHost() as other:
            for name, measure in (
                ("throughput, bridge", lambda side: side.bridge()),
                ("throughput, published port, from the host", lambda side: side.published()),
                ("throughput, published port, from another host", lambda side: side.published(*other.enter(), address=other.OURS)),
            ):
                rates = ([], [])
                for _ in range(runs):
                    for index, side in enumerate(sides):
                        rates[index].append(measure(side))
                yield name, statistics.median(rates[0]), statistics.median(rates[1]), runs
    finally:
        for side in sides:
            side.stop()
