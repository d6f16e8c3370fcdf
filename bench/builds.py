"""The builder's scenarios: a large context, cold builds of the whole stack, and buildah as a second peer."""

import pathlib
import random
import resource
import shutil
import subprocess
import threading
import time

LARGE_FILES = 100_000
LARGE_BYTES = 500_000_000
LARGE_DOCKERFILE = "FROM busybox\nCOPY . /context\n"


def large_context(here):
    """Lays out a context of 100,000 files and 500 MB below `here`; deterministic, and kept for the next run."""
    here = pathlib.Path(here)
    if (here / "done").exists():
        return here / "context"
    shutil.rmtree(here, ignore_errors=True)
    context = here / "context"
    chance = random.Random(7)
    block = chance.randbytes(1 << 20)
    each = LARGE_BYTES // LARGE_FILES
    for number in range(LARGE_FILES):
        folder = context / f"d{number % 100:02}" / f"e{number // 100 % 50:02}"
        if number < 5_000:
            folder.mkdir(parents=True, exist_ok=True)
        start = chance.randrange(len(block) - 2 * each)
        (folder / f"f{number:06}").write_bytes(block[start : start + chance.randrange(1, 2 * each)])
    (context / "Dockerfile").write_text(LARGE_DOCKERFILE)
    (here / "done").touch()
    return context


class Peak:
    """The highest sum of proportional memory, in MiB, of some processes while something runs."""

    def __init__(self, measure):
        self.measure = measure
        self.highest = 0.0

    def during(self, action):
        over = threading.Event()

        def watch():
            while not over.is_set():
                self.highest = max(self.highest, self.measure())
                time.sleep(0.05)

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            action()
        finally:
            over.set()
            watcher.join()
        return self.highest


class Buildah:
    """buildah of the peer lab, with a store of its own; its steps run in a chroot, since crun refuses hybrid control groups."""

    STORE = ["--root", "/opt/data/buildah", "--runroot", "/run/buildah", "--storage-driver", "overlay"]

    def __init__(self, enter):
        """`enter(cwd)` returns the words that enter the lab."""
        self.enter = enter

    def run(self, *args, cwd="/"):
        done = subprocess.run([*self.enter(cwd), "buildah", *self.STORE, *args], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"buildah {' '.join(args)}: exit {done.returncode}\n" + done.stderr[-2000:])
        return done.stdout

    def import_bases(self, names, save):
        """Takes Docker's copies of the base images; `save(name, path)` writes one to a path of the lab."""
        present = self.run("images", "--format", "{{.Name}}:{{.Tag}}").split()
        for name in names:
            if not any(known.endswith("/" + name) for known in present):
                archive = "/share/base-for-buildah.tar"
                save(name, archive)
                self.run("pull", f"docker-archive:{archive}")

    def build(self, tag, *flags, context, cwd):
        # Its own default is above what a machine without CAP_SYS_RESOURCE may ask for.
        limits = []
        for name, kind in (("nofile", resource.RLIMIT_NOFILE), ("nproc", resource.RLIMIT_NPROC)):
            most = resource.getrlimit(kind)[1]
            limits += ["--ulimit", f"{name}={most}:{most}"]
        self.run("bud", "--layers", "--isolation", "chroot", "--pull=never", *limits, "-t", tag, *flags, context, cwd=cwd)
