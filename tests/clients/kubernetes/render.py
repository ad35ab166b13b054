"""Renders a kustomization with kubectl, holds every object to the schemas of Kubernetes, and prints them as a JSON list.

Usage: render.py DIRECTORY VERSION [VERSION ...]
"""

import json
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import yaml


def main(directory, versions):
    kubectl = Path(sys.executable).with_name("kubectl")
    rendered = subprocess.run([kubectl, "kustomize", directory], check=True, stdout=subprocess.PIPE).stdout
    objects = list(yaml.safe_load_all(rendered))
    for one in objects:
        for version in versions:
            kubernetes_validate.validate(one, version, strict=True)
    json.dump(objects, sys.stdout)


main(sys.argv[1], sys.argv[2:])
