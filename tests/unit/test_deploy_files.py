"""Containers and Kubernetes: nothing of it runs here, so every name that one file uses of another is looked up."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from outbound_guard.config import Config, load, policy_of
from outbound_guard.metrics import server

ROOT = Path(__file__).resolve().parents[2]
CONTAINERS, KUBERNETES = ROOT / "deploy/containers", ROOT / "deploy/kubernetes"
FILE = CONTAINERS / "Containerfile"
LABELS = {"app.kubernetes.io/name": "outbound-guard"}
MANIFESTS = sorted(set(KUBERNETES.glob("*.yaml")) - {KUBERNETES / "kustomization.yaml"})


def documents() -> list[dict[str, Any]]:
    return [one for file in MANIFESTS for one in yaml.safe_load_all(file.read_text())]


def kind(name: str, called: str = "outbound-guard") -> dict[str, Any]:
    (found,) = (one for one in documents() if one["kind"] == name and one["metadata"]["name"] == called)
    return found


def pod() -> dict[str, Any]:
    spec: dict[str, Any] = kind("StatefulSet")["spec"]["template"]["spec"]
    return spec


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CONTAINERS / "compose.yaml").read_text())
    return found


def usable(source: Path, folder: Path) -> Config:
    """The configuration as the product reads it; the secrets lie in `folder` instead."""
    text = source.read_text().replace("@POD@", "outbound-guard-0")
    secrets = folder / "secrets"
    for name in re.findall(r'"/run/secrets/([^"]+)"', text):
        (secrets / name).parent.mkdir(parents=True, exist_ok=True)
        (secrets / name).write_text("anna:$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g\n")
    certificate = trustme.CA().issue_cert("guard.example.net")
    for end, blob in (("crt", certificate.cert_chain_pems[0]), ("key", certificate.private_key_pem)):
        for file in secrets.glob(f"*/tls.{end}"):
            file.write_bytes(blob.bytes())
    (folder / "guard.toml").write_text(text.replace("/run/secrets/", f"{secrets}/"))
    policy = re.search(r'^file = "(.*)"', text, re.M)
    assert policy
    (folder / policy[1]).parent.mkdir(exist_ok=True)
    shutil.copy(source.parent / policy[1], folder / policy[1])
    return load(folder / "guard.toml")


@pytest.mark.parametrize("folder", [CONTAINERS / "guard", KUBERNETES], ids=lambda path: path.name)
def test_the_product_takes_their_configuration(folder: Path, tmp_path: Path) -> None:
    config = usable(folder / "outbound-guard.toml", tmp_path)
    policy_of(config)
    # In a container of its own, 127.0.0.1 is nobody else's.
    listening = [*(one.address for one in config.listener), config.console.address, config.metrics.address]
    assert all(address.startswith("0.0.0.0:") for address in listening)
    exposed = re.search(r"^EXPOSE (.*)$", FILE.read_text(), re.M)
    assert exposed
    assert {address.rpartition(":")[2] for address in listening} <= set(exposed[1].split())


def test_the_containerfile_copies_what_is_there() -> None:
    text = FILE.read_text().replace("\\\n", " ")
    copied = [word for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.M) for word in line.split()[:-1]]
    assert len(copied) >= 6
    assert [name for name in copied if not (ROOT / name).exists()] == []
    ignored = (CONTAINERS / "Containerfile.dockerignore").read_text().split()
    assert [name for name in copied if name.rstrip("/") in ignored] == []
    assert 'CMD ["serve"]' in text
    assert "127.0.0.1:9109/healthz" in text


def test_compose_names_only_what_there_is() -> None:
    file = compose()
    services = file["services"]
    text = (CONTAINERS / "compose.yaml").read_text()
    for name, service in services.items():
        assert set(service.get("depends_on", {})) <= set(services), name
        assert set(service["networks"]) <= set(file["networks"]), name
        assert set(service.get("secrets", ())) <= set(file["secrets"]), name
        for volume in service.get("volumes", ()):
            source, target, *_ = volume.split(":")
            assert target.startswith("/")
            assert (CONTAINERS / source).exists() if "/" in source else source in file["volumes"], volume
    for waited in services["guard"]["depends_on"]:
        assert "healthcheck" in services[waited]
    needed = set(re.findall(r"\$\{(\w+)", text))
    given = set(re.findall(r"^(\w+)=", (CONTAINERS / ".env.example").read_text(), re.M))
    assert needed == given
    assert {Path(service["build"]["dockerfile"]) for service in services.values() if "build" in service} == {
        FILE.relative_to(ROOT)
    }
    assert (CONTAINERS / services["guard"]["build"]["context"]).resolve() == ROOT


def test_secrets_of_read_only_containers_are_files() -> None:
    # Compose mounts a file, and copies anything else into the container: "container rootfs is marked read-only".
    file = compose()
    secrets = {name for service in file["services"].values() if service.get("read_only") for name in service["secrets"]}
    assert secrets
    for name in secrets:
        source = file["secrets"][name]
        assert set(source) == {"file"}, name
        # Made by whoever installs it, as the page says, and no file of the project.
        made = source["file"].removeprefix("./")
        page = (ROOT / "docs/installation.md").read_text()
        assert f">{made})" in page
        assert f"chown -R 10001:10001 guard {made}" in page
        assert f"/deploy/containers/{made}" in (ROOT / ".gitignore").read_text().splitlines()


def test_the_containers_find_each_other(tmp_path: Path) -> None:
    services = compose()["services"]
    config = usable(CONTAINERS / "guard/outbound-guard.toml", tmp_path)
    assert "valkey" in services
    assert config.state.url.startswith("redis://valkey:6379/")
    database = re.fullmatch(r"postgresql://(\w+)@(\w+):5432/(\w+)", config.ledger.url)
    assert database
    told = services[database[2]]["environment"]
    assert (told["POSTGRES_USER"], told["POSTGRES_DB"]) == (database[1], database[3])
    assert told["POSTGRES_PASSWORD"] == services["guard"]["environment"]["PGPASSWORD"]
    scraped = yaml.safe_load((CONTAINERS / "prometheus.yml").read_text())
    (job,) = scraped["scrape_configs"]
    assert job["static_configs"][0]["targets"] == [f"guard:{config.metrics.address.rpartition(':')[2]}"]
    # The rules know the job by its name, and lie where they are mounted.
    assert (
        job["job_name"]
        == yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"][0]["job_name"]
    )
    mounted = {volume.split(":")[1]: volume.split(":")[0] for volume in services["prometheus"]["volumes"]}
    for rules in scraped["rule_files"]:
        folder, name = rules.split("/")
        assert (CONTAINERS / mounted[f"/etc/prometheus/{folder}"] / name).is_file()
    source = yaml.safe_load((CONTAINERS / "grafana.yml").read_text())["datasources"][0]
    assert source["url"] == "http://prometheus:9090"
    boards = yaml.safe_load((ROOT / "deploy/grafana/provisioning/dashboards/outbound_guard.yml").read_text())
    where = boards["providers"][0]["options"]["path"]
    assert any(volume.split(":")[1] == where for volume in services["grafana"]["volumes"])


def test_valkey_has_the_settings_that_the_page_asks_for() -> None:
    page = (
        (ROOT / "docs/operations.md")
        .read_text()
        .partition("\nOn each server:\n")[2]
        .partition("\nA user of its own")[0]
    )
    asked = re.findall(r"^    ([a-z-]+) +(\S+)", page, re.M)
    assert [name for name, _ in asked] == ["maxmemory-policy", "set-max-intset-entries", "appendonly"]
    command = " ".join(compose()["services"]["valkey"]["command"])
    for name, value in asked:
        assert f" --{name} {value} " in command, name


def test_kustomization_names_what_there_is() -> None:
    file = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
    (generated,) = file["configMapGenerator"]
    assert [name for name in (*file["resources"], *generated["files"]) if not (KUBERNETES / name).is_file()] == []
    assert file["namespace"] == kind("Namespace")["metadata"]["name"]
    # Everything but the example is applied.
    assert {one.name for one in MANIFESTS} == {*file["resources"], "secret.example.yaml"}
    images = {one["image"] for one in (*pod()["containers"], *pod()["initContainers"])}
    assert images == {one["name"] for one in file["images"]}


def test_volumes_secrets_and_settings_fit_together(tmp_path: Path) -> None:
    spec, config = pod(), usable(KUBERNETES / "outbound-guard.toml", tmp_path)
    volumes = {one["name"]: one for one in spec["volumes"]}
    volumes |= {one["metadata"]["name"]: one for one in kind("StatefulSet")["spec"]["volumeClaimTemplates"]}
    for container in (*spec["containers"], *spec["initContainers"]):
        assert {one["name"] for one in container["volumeMounts"]} <= set(volumes)
    mounts = {one["name"]: one["mountPath"] for one in spec["containers"][0]["volumeMounts"]}
    assert Path(config.server.data_dir).is_relative_to(mounts["data"])
    assert (volumes["template"]["configMap"]["name"],) == tuple(
        one["name"] for one in yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())["configMapGenerator"]
    )
    text = (KUBERNETES / "outbound-guard.toml").read_text()
    for volume in ("secrets", "tls"):
        secret = kind("Secret", volumes[volume]["secret"]["secretName"])
        named = set(re.findall(rf'"{mounts[volume]}/([^"]+)"', text))
        assert named, volume
        assert named <= set(secret["stringData"]), volume
    for one in spec["containers"][0]["env"]:
        reference = one["valueFrom"].get("secretKeyRef")
        assert reference is None or reference["key"] in kind("Secret", reference["name"])["stringData"]
    # The first container writes the configuration where the second looks for it.
    (script,) = spec["initContainers"][0]["args"]
    found = re.search(r"OUTBOUND_GUARD_CONFIG=(\S+)", FILE.read_text())
    assert found
    assert f"/template/outbound-guard.toml >{found[1]}" in script
    assert Path(found[1]).parent == Path(mounts["configuration"])
    assert spec["securityContext"]["fsGroup"] == spec["securityContext"]["runAsUser"] == 10001
    assert "--uid 10001 --gid 10001" in FILE.read_text()


def test_ports_and_probes_are_those_of_the_product(tmp_path: Path) -> None:
    config = usable(KUBERNETES / "outbound-guard.toml", tmp_path)
    (guard,) = pod()["containers"]
    ports = {one["name"]: str(one["containerPort"]) for one in guard["ports"]}
    listening = [*(one.address for one in config.listener), config.console.address, config.metrics.address]
    assert sorted(ports.values()) == sorted(address.rpartition(":")[2] for address in listening)
    for one in documents():
        if one["kind"] == "Service":
            assert {port["targetPort"] for port in one["spec"]["ports"]} <= set(ports)
    pages = set(re.findall(r'"(/[\w/]+)"', Path(server.__file__).read_text()))
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        probe = guard[name]["httpGet"]
        assert probe["path"] in pages, name
        assert probe["port"] == "metrics"
    # What preStop may take, and what serve takes after it.
    command = guard["lifecycle"]["preStop"]["exec"]["command"]
    assert command[0] == "timeout"
    assert int(command[1]) + 25 <= pod()["terminationGracePeriodSeconds"]


def test_everything_means_the_same_pods() -> None:
    stateful = kind("StatefulSet")["spec"]
    assert stateful["template"]["metadata"]["labels"] == LABELS
    assert stateful["serviceName"] == kind("Service", "outbound-guard-pods")["metadata"]["name"]
    assert kind("Service", "outbound-guard-pods")["spec"]["clusterIP"] == "None"
    selectors = [
        stateful["selector"]["matchLabels"],
        kind("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        kind("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        *(one["spec"]["selector"] for one in documents() if one["kind"] == "Service"),
    ]
    assert selectors == [LABELS] * 6
    named = {port["port"] for rule in kind("NetworkPolicy")["spec"]["ingress"] for port in rule["ports"]}
    assert named == {one["name"] for one in pod()["containers"][0]["ports"]}


LINTERS = {
    "hadolint": (FILE,),
    "kubernetes-validate": ("--strict", *MANIFESTS),
    "check-jsonschema": ("--builtin-schema", "vendor.compose-spec", CONTAINERS / "compose.yaml"),
}


@pytest.mark.parametrize("program", LINTERS)
def test_linters_have_nothing_to_say(program: str) -> None:
    found = shutil.which(program, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if not found:
        pytest.skip(f"{program} is not installed (docs/installation.md)")
    done = subprocess.run([found, *map(str, LINTERS[program])], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
