"""deploy/kubernetes fits the code: commands, ports, probes, settings, grace periods, the autoscaler's queries."""

import re
from typing import Any

import kubernetes_validate
import pytest
import yaml
from django.db import connection
from django.urls import resolve

from demo.stack import ROOT
from tests.support.factories import make_job

FOLDER = ROOT / "deploy" / "kubernetes"
CONTAINERFILE = (ROOT / "deploy" / "container" / "Containerfile").read_text()
FILES = sorted(FOLDER.glob("*.yaml"))
PRE_STOP = 10
PODS = ("web", "worker", "release")


def objects() -> list[dict[str, Any]]:
    return [each for file in FILES for each in yaml.safe_load_all(file.read_text())]


def found(kind: str, name: str) -> dict[str, Any]:
    [one] = [each for each in objects() if each["kind"] == kind and each["metadata"]["name"] == name]
    return one


def pod(component: str) -> dict[str, Any]:
    workload = found("Job" if component == "release" else "Deployment", f"legwork-{component}")
    spec: dict[str, Any] = workload["spec"]["template"]["spec"]
    return spec


def container(component: str) -> dict[str, Any]:
    [only] = pod(component)["containers"]
    return dict(only)


def triggers() -> list[dict[str, Any]]:
    """By the age of the oldest due job, and by the number of running jobs."""
    both: list[dict[str, Any]] = found("ScaledObject", "legwork-worker")["spec"]["triggers"]
    assert len(both) == 2
    return both


def test_kubernetes_takes_the_objects_and_knows_each_of_their_fields() -> None:
    unknown = set()
    for each in objects():
        try:
            kubernetes_validate.validate(each, kubernetes_validate.latest_version(), strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            unknown.add(each["kind"])
    assert unknown == {"Kustomization", "ScaledObject", "TriggerAuthentication"}


def test_kustomize_lists_every_file_but_the_release() -> None:
    listed = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]
    assert {*listed, "release.yaml", "kustomization.yaml"} == {file.name for file in FILES}


@pytest.mark.parametrize("component", ["worker", "release"])
def test_a_pod_runs_the_process_of_the_procfile(component: str) -> None:
    procfile = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines())
    assert " ".join(container(component)["command"]) == procfile[component]


def test_the_image_s_own_command_is_the_web_process_of_the_procfile() -> None:
    assert "command" not in container("web")
    [command] = re.findall(r"^CMD \[(.*?)\]", CONTAINERFILE, re.MULTILINE | re.DOTALL)
    [web] = re.findall(r"^web: (.*)$", (ROOT / "Procfile").read_text(), re.MULTILINE)
    assert " ".join(re.findall(r'"([^"]+)"', command)) == web.replace("${PORT:-8000}", "8000")


@pytest.mark.parametrize("component", PODS)
def test_a_pod_may_do_nothing_but_its_work(component: str) -> None:
    [user] = re.findall(r"^USER (\d+)", CONTAINERFILE, re.MULTILINE)
    assert pod(component)["securityContext"]["runAsUser"] == int(user)
    assert pod(component)["securityContext"]["runAsNonRoot"] is True
    assert pod(component)["automountServiceAccountToken"] is False
    allowed = container(component)["securityContext"]
    assert allowed["readOnlyRootFilesystem"]
    assert not allowed["allowPrivilegeEscalation"]
    assert allowed["capabilities"] == {"drop": ["ALL"]}
    assert container(component)["resources"]["limits"]["memory"]
    mounts = {mount["name"] for mount in container(component)["volumeMounts"]}
    assert mounts == {volume["name"] for volume in pod(component)["volumes"]}


@pytest.mark.parametrize("component", PODS)
def test_every_pod_has_the_same_settings(component: str) -> None:
    sources = [next(iter(source.values()))["name"] for source in container(component)["envFrom"]]
    assert sources == ["legwork", "legwork"]


def test_every_setting_is_one_of_ours() -> None:
    documented = (ROOT / "docs/operations/settings.md").read_text()
    names = set(found("ConfigMap", "legwork")["data"])
    names |= set(re.findall(r"--from-literal=(\w+)", (ROOT / "docs/operations/kubernetes.md").read_text()))
    assert len(names) > 10
    assert {name for name in names if f"`{name}" not in documented} == set()


@pytest.mark.parametrize("probe", ["livenessProbe", "startupProbe", "readinessProbe"])
def test_a_probe_asks_what_exists_as_a_request_that_is_answered(probe: str) -> None:
    asked = container("web")[probe]["httpGet"]
    assert resolve(asked["path"])
    assert asked["port"] == container("web")["ports"][0]["name"]
    headers = {header["name"]: header["value"] for header in asked["httpHeaders"]}
    assert headers["Host"] in found("ConfigMap", "legwork")["data"]["ALLOWED_HOSTS"].split(",")
    assert headers["X-Forwarded-Proto"] == "https"


def test_a_web_pod_is_killed_only_for_its_own_process() -> None:
    assert container("web")["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container("web")["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_the_service_leads_to_the_port_of_the_image() -> None:
    [port] = container("web")["ports"]
    assert f"EXPOSE {port['containerPort']}\n" in CONTAINERFILE
    service = found("Service", "legwork-web")["spec"]
    assert service["ports"][0]["targetPort"] == port["name"]
    labels = found("Deployment", "legwork-web")["spec"]["template"]["metadata"]["labels"]
    assert service["selector"].items() <= labels.items()


def test_pods_get_the_time_that_their_end_takes() -> None:
    grace = int(found("ConfigMap", "legwork")["data"]["WORKER_GRACE"])
    assert pod("worker")["terminationGracePeriodSeconds"] >= grace + 10
    assert container("web")["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", str(PRE_STOP)]
    [requests_end] = re.findall(r'"--timeout-graceful-shutdown", "(\d+)"', CONTAINERFILE)
    assert pod("web")["terminationGracePeriodSeconds"] >= PRE_STOP + int(requests_end) + 5


@pytest.mark.parametrize("component", ["web", "worker"])
def test_a_drained_node_takes_pods_one_after_the_other(component: str) -> None:
    budget = found("PodDisruptionBudget", f"legwork-{component}")["spec"]
    labels = found("Deployment", f"legwork-{component}")["spec"]["template"]["metadata"]["labels"]
    assert budget["selector"]["matchLabels"].items() <= labels.items()
    assert budget.get("minAvailable", budget.get("maxUnavailable")) == 1


def test_the_autoscaler_alone_decides_how_many_workers_there_are() -> None:
    scaled = found("ScaledObject", "legwork-worker")["spec"]
    assert scaled["scaleTargetRef"]["name"] == "legwork-worker"
    assert "replicas" not in found("Deployment", "legwork-worker")["spec"]
    assert scaled["minReplicaCount"] >= 1
    for trigger in triggers():
        secret = found("TriggerAuthentication", trigger["authenticationRef"]["name"])["spec"]["secretTargetRef"][0]
        assert secret["key"] == "DATABASE_URL"


@pytest.mark.django_db
def test_the_autoscaler_s_queries_tell_how_long_jobs_have_waited_and_how_many_run() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("KEDA asks PostgreSQL.")
    assert [answer(trigger) for trigger in triggers()] == [0, 0]
    make_job("running")
    make_job(status="queued")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE jobs_job SET run_at = now() - interval '90 s' WHERE status = 'queued'")
    assert [answer(trigger) for trigger in triggers()] == [90, 1]


@pytest.mark.django_db
def test_the_autoscaler_s_queries_read_an_index() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("KEDA asks PostgreSQL.")
    for trigger in triggers():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute("EXPLAIN " + trigger["metadata"]["query"])
            assert "Index" in "\n".join(row[0] for row in cursor.fetchall())


def answer(trigger: dict[str, Any]) -> float:
    with connection.cursor() as cursor:
        cursor.execute(trigger["metadata"]["query"])
        [(value,)] = cursor.fetchall()
    return float(value)
