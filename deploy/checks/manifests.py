"""Looks over the YAML of a deploy folder: it parses, Kubernetes and compose files keep to their schemas, and what they
refer to is there.

Usage: manifests.py DEPLOY    prints one line an offence, then a line on what was looked at; exit code 1 on an offence
"""

import json
import sys
from pathlib import Path

import compose_spec
import kubernetes_validate
import yaml

# The oldest release that the manifests are for, and the newest whose schemas the package has.
KUBERNETES = ["1.30", kubernetes_validate.latest_version()]
# Kinds of operators and of kustomize: there is no schema of them in the package.
FOREIGN_GROUPS = {"monitoring.coreos.com", "kustomize.config.k8s.io"}

offences = []


def offence(path, what):
    offences.append(f"{path}: {what}")


def documents(path):
    """The documents of a file, the empty ones left out."""
    try:
        return [document for document in yaml.safe_load_all(path.read_text()) if document is not None]
    except yaml.YAMLError as error:
        offence(path, f"is no YAML: {' '.join(str(error).split())}")
        return []


def check_kubernetes(path, document):
    """A document against the schema of its kind; unknown fields are errors. Whether there was a schema."""
    if document.get("apiVersion", "").split("/")[0] in FOREIGN_GROUPS:
        return False
    name = f"{document.get('kind')} {document.get('metadata', {}).get('name')}"
    for version in KUBERNETES:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            place = ".".join(str(part) for part in error.absolute_path)
            offence(path, f"{name}, Kubernetes {version}: {place}: {error.message}")
        except kubernetes_validate.SchemaNotFoundError as error:
            offence(path, f"{name}: {error.message}")
    return True


def check_kustomization(path, document):
    """Everything that it names is a file, or a folder with a kustomization."""
    named = document.get("resources", []) + document.get("components", [])
    for generator in document.get("configMapGenerator", []):
        named += generator.get("files", [])
    for name in named:
        place = path.parent / name
        if not place.is_file() and not (place / "kustomization.yaml").is_file():
            offence(path, f"names {name}, which is not there")
    listed = {(path.parent / name).resolve() for name in document.get("resources", [])}
    for beside in path.parent.glob("*.yaml"):
        if beside != path and beside.resolve() not in listed:
            offence(path, f"does not name {beside.name}")


def check_selectors(documents_of):
    """Services, budgets and policies select pods that there are."""
    pods = []
    for _, document in documents_of:
        template = document.get("spec", {}).get("template")
        if template:
            pods.append(template["metadata"]["labels"])
    for path, document in documents_of:
        kind, spec = document.get("kind"), document.get("spec", {})
        selector = {
            "Service": spec.get("selector"),
            "PodDisruptionBudget": spec.get("selector", {}).get("matchLabels"),
            "NetworkPolicy": spec.get("podSelector", {}).get("matchLabels"),
        }.get(kind)
        # Added to all by the kustomization.
        wanted = {key: value for key, value in (selector or {}).items() if key != "app.kubernetes.io/part-of"}
        if wanted and not any(wanted.items() <= labels.items() for labels in pods):
            offence(path, f"{kind} {document['metadata']['name']} selects no pod")


def check_compose(path, document):
    """The specification, and what the specification's parser leaves out: names of services, and files."""
    try:
        compose_spec.PyCompose.from_json(json.dumps(document)).validate()
    except Exception as error:  # the parser has no class of its own
        offence(path, " ".join(str(error).split()))
        return
    services = document["services"]
    for name, service in services.items():
        for other in service.get("depends_on", {}):
            if other not in services:
                offence(path, f"{name} depends on {other}, which is no service")
        build = service.get("build")
        if build:
            dockerfile = path.parent / build["context"] / build.get("dockerfile", "Dockerfile")
            if not dockerfile.is_file():
                offence(path, f"{name} is built from {dockerfile}, which is not there")
        for option in service.get("security_opt", []):
            if option.startswith("seccomp=./") and not (path.parent / option.removeprefix("seccomp=")).is_file():
                offence(path, f"{name}: {option} is not there")
    for name, config in document.get("configs", {}).items():
        if not (path.parent / config["file"]).is_file():
            offence(path, f"config {name} is {config['file']}, which is not there")


def main(deploy):
    looked = {"YAML files": 0, "Kubernetes documents": 0, "compose files": 0}
    paths = sorted(path for path in deploy.rglob("*") if path.suffix in (".yaml", ".yml"))
    kubernetes = []
    for path in paths:
        looked["YAML files"] += 1
        for document in documents(path):
            if path.name == "compose.yaml":
                looked["compose files"] += 1
                check_compose(path, document)
            elif path.name == "kustomization.yaml":
                check_kustomization(path, document)
            elif isinstance(document, dict) and "kind" in document and "apiVersion" in document:
                looked["Kubernetes documents"] += check_kubernetes(path, document)
                kubernetes.append((path, document))
    check_selectors(kubernetes)
    for what in offences:
        print(what)
    print(", ".join(f"{count} {what}" for what, count in looked.items()))
    # Nothing to look at is a wrong folder, not a clean one.
    return 1 if offences or not all(looked.values()) else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1])))
