"""The manifests for KubeRay: fields that its resource has (ray.io/v1), and a command that bebr has. None is applied."""

from __future__ import annotations

import itertools
import re
import shlex
from pathlib import Path

import yaml

from bebr.cluster.ray_local import ENVIRONMENT
from tests.commands import run

DOCUMENTS = list(yaml.safe_load_all((Path(__file__).parents[2] / "deploy" / "kuberay.yaml").read_text()))
CLUSTER, JOB, POLICY = DOCUMENTS

# Of KubeRay's ray-operator/apis/ray/v1/raycluster_types.go: those that are there, and those that must be.
CLUSTER_FIELDS = {
    *("headGroupSpec", "workerGroupSpecs", "rayVersion", "enableInTreeAutoscaling", "autoscalerOptions"),
    *("headServiceAnnotations", "suspend"),
}
HEAD_FIELDS = {"serviceType", "headService", "enableIngress", "rayStartParams", "template"}
WORKER_FIELDS = {
    *("groupName", "replicas", "minReplicas", "maxReplicas", "numOfHosts", "rayStartParams", "template"),
    "scaleStrategy",
}
WORKER_NEEDS = {"groupName", "minReplicas", "maxReplicas", "rayStartParams", "template"}


def container(template: dict) -> dict:
    (only,) = template["spec"]["containers"]
    return only


def test_kinds():
    kinds = [(one["apiVersion"], one["kind"]) for one in DOCUMENTS]
    assert kinds == [("ray.io/v1", "RayCluster"), ("batch/v1", "Job"), ("networking.k8s.io/v1", "NetworkPolicy")]
    assert all(set(one) == {"apiVersion", "kind", "metadata", "spec"} for one in DOCUMENTS)


def test_the_cluster_has_fields_of_the_resource():
    spec = CLUSTER["spec"]
    assert {"headGroupSpec"} <= set(spec) <= CLUSTER_FIELDS
    head, (workers,) = spec["headGroupSpec"], spec["workerGroupSpecs"]
    assert {"rayStartParams", "template"} <= set(head) <= HEAD_FIELDS
    assert set(workers) >= WORKER_NEEDS and set(workers) <= WORKER_FIELDS
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]
    for group in (head, workers):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        assert set(container(group["template"])) <= {"name", "image", "env", "envFrom", "resources", "volumeMounts"}
        environment = {one["name"]: one["value"] for one in container(group["template"])["env"]}
        assert environment["RAY_worker_niceness"] == ENVIRONMENT["RAY_worker_niceness"]
        asked = "RAY_health_check_period_ms"  # not as often as on one machine: a network is between
        assert int(environment[asked]) >= int(ENVIRONMENT[asked])
    volumes = {one["name"] for one in workers["template"]["spec"]["volumes"]}
    assert {one["name"] for one in container(workers["template"])["volumeMounts"]} == volumes


def test_the_job_begins_what_there_is_room_for(monkeypatch):
    (text,) = container(JOB["spec"]["template"])["args"]
    exec_, program, *words = shlex.split(text)
    assert (exec_, program) == ("exec", "/opt/bebr/bin/bebr")
    options = dict(itertools.pairwise(words))
    # Of a pod that is no node: a driver that names port 6379 wants the sockets of a node of its own, and crashes.
    assert options["--address"] == f"ray://{CLUSTER['metadata']['name']}-head-svc:10001"
    shards, replicas, roots, mib = (int(options[f"--{name}"]) for name in ("shards", "replicas", "roots", "leaf-mb"))
    (workers,) = CLUSTER["spec"]["workerGroupSpecs"]
    memory = re.fullmatch(r"(\d+)Gi", container(workers["template"])["resources"]["limits"]["memory"])
    assert memory is not None and shards * replicas * mib <= workers["replicas"] * int(memory[1]) * 1024
    assert replicas <= workers["replicas"] and roots <= workers["replicas"]
    ports = [one["port"] for one in POLICY["spec"]["ingress"][1]["ports"]]
    assert ports == [7777 + number for number in range(roots)]
    said = run(*(word for word in words if word != "--insecure"), "--help")
    assert said.exit_code == 0 and all(word in said.stdout for word in words if word.startswith("--"))


def test_who_may_reach_whom_is_said_of_all_pods():
    name = {"ray.io/cluster": CLUSTER["metadata"]["name"]}
    assert POLICY["spec"]["podSelector"]["matchLabels"] == name
    assert JOB["spec"]["template"]["metadata"]["labels"] == name
