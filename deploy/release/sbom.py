#!/usr/bin/env python3
"""Writes the bill of materials of the program, CycloneDX 1.5 as JSON: python3 deploy/release/sbom.py FILE [TARGET]

TARGET is what the program is built for, on a machine of the same kind; x86_64-unknown-linux-gnu unless it is said. The bill is made by cargo-cyclonedx
(cargo install cargo-cyclonedx --locked) and held against what cargo says it builds: what is missing is an error, and
what is too much, optional crates that are not used, is taken out. What serves the build alone has the scope "excluded";
what only tests use is not in it.
"""

import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run(*command):
    """What a command prints, run in the folder of the package."""
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"`{' '.join(command)}` failed: see above.")
    return done.stdout


def built(target):
    """Every crate that cargo builds for that target, as (name, version)."""
    tree = run("cargo", "tree", "--locked", "--target", target, "--edges", "normal,build", "--prefix", "none", "--format", "{p}")
    words = (line.split(" ") for line in tree.splitlines())
    return {(name, version.removeprefix("v")) for name, version, *_ in words} - {("", "")}


def listed(target):
    """The bill as cargo-cyclonedx makes it."""
    made = ROOT / "keygate_bin.cdx.json"
    try:
        run("cargo", "cyclonedx", "--quiet", "--format", "json", "--spec-version", "1.5", "--describe", "binaries", "--target", target)
        text = made.read_text()
    finally:
        made.unlink(missing_ok=True)
    # Where the folder lies is nobody's business, and would make each bill another.
    return json.loads(text.replace(f"path+file://{ROOT}", "path+file:///keygate"))


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__.strip().splitlines()[0])
    file, target = pathlib.Path(sys.argv[1]), (sys.argv[2:] or ["x86_64-unknown-linux-gnu"])[0]
    # The moment of the commit in place of now, and no random number: one commit has one bill.
    os.environ.setdefault("SOURCE_DATE_EPOCH", run("git", "log", "-1", "--format=%ct").strip())

    wanted, bill = built(target), listed(target)
    known = lambda component: (component["name"], component["version"])
    program = bill["metadata"]["component"]
    missing = wanted - {known(component) for component in [program, *bill["components"]]}
    if missing:
        sys.exit(f"The bill lacks what cargo builds: {', '.join('@'.join(crate) for crate in sorted(missing))}.")

    bill["components"] = [component for component in bill["components"] if known(component) in wanted]
    kept = {component["bom-ref"] for component in [program, *bill["components"]]}
    bill["dependencies"] = [one for one in bill["dependencies"] if one["ref"] in kept]
    for one in bill["dependencies"]:
        if "dependsOn" in one:
            one["dependsOn"] = [ref for ref in one["dependsOn"] if ref in kept]
    file.write_text(json.dumps(bill, indent=2) + "\n")


main()
