"""The manifests of deploy/: valid by Kubernetes' own schemas, and shut."""

import shlex
from pathlib import Path
from typing import Any, Literal

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from distributed.cli import dask_scheduler, dask_worker
from pydantic import BaseModel, ConfigDict
from typer.main import get_command

from sscl_geo.cli import app

ROOT = Path(__file__).parents[1]
KUBERNETES = "1.31"
Raw = dict[str, Any]


def documents() -> list[Any]:
    return [
        pytest.param(document, id=f"{path.stem}-{document['kind']}-{document['metadata']['name']}")
        for path in sorted((ROOT / "deploy").glob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text())
    ]


def pods(document: Raw) -> list[Raw]:
    """Return the templates of all pods that a document makes."""
    spec = document.get("spec", {})
    if document["kind"] == "RayJob":
        cluster = spec["rayClusterSpec"]
        groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
        return [spec["submitterPodTemplate"], *(group["template"] for group in groups)]
    return [spec["template"]] if "template" in spec else []


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class AuthOptions(Strict):
    mode: Literal["token"]
    secretName: str | None = None  # noqa: N815 - KubeRay's names


class HeadGroup(Strict):
    rayStartParams: dict[str, str]  # noqa: N815
    template: Raw


class WorkerGroup(HeadGroup):
    groupName: str  # noqa: N815
    replicas: int
    minReplicas: int  # noqa: N815
    maxReplicas: int  # noqa: N815


class RayClusterSpec(Strict):
    rayVersion: str  # noqa: N815
    authOptions: AuthOptions  # noqa: N815
    headGroupSpec: HeadGroup  # noqa: N815
    workerGroupSpecs: list[WorkerGroup]  # noqa: N815


class RayJobSpec(Strict):
    """The fields of ray.io/v1 RayJob that we use, by KubeRay's API reference (v1.6)."""

    entrypoint: str
    submissionMode: Literal["K8sJobMode", "HTTPMode", "SidecarMode"]  # noqa: N815
    submitterPodTemplate: Raw  # noqa: N815
    shutdownAfterJobFinishes: bool  # noqa: N815
    backoffLimit: int  # noqa: N815
    rayClusterSpec: RayClusterSpec  # noqa: N815


def test_the_image_has_the_ray_that_the_job_names() -> None:
    (job,) = [one.values[0] for one in documents() if one.values[0]["kind"] == "RayJob"]
    version = RayJobSpec.model_validate(job["spec"]).rayClusterSpec.rayVersion
    assert f" ray=={version}\n" in (ROOT / "deploy" / "Dockerfile").read_text()


@pytest.mark.parametrize("document", documents())
def test_a_manifest_is_valid(document: Raw) -> None:
    if document["kind"] == "RayJob":
        RayJobSpec.model_validate(document["spec"])
    else:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
    for template in pods(document):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, **template}
        kubernetes_validate.validate({**pod, "metadata": {"name": "x"}}, KUBERNETES, strict=True)


@pytest.mark.parametrize("document", documents())
def test_pods_have_no_rights_that_they_do_not_need(document: Raw) -> None:
    for template in pods(document):
        spec = template["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert not {"hostNetwork", "hostPID", "hostIPC"} & {*spec}
        for container in spec["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert "memory" in container["resources"]["limits"]
            assert all("value" not in env for env in container.get("env", [])), "a secret in place"


def test_every_pod_is_behind_a_policy_that_lets_only_its_own_kind_in() -> None:
    every = [parameter.values[0] for parameter in documents()]
    policies = [document["spec"] for document in every if document["kind"] == "NetworkPolicy"]
    for document in every:
        for template in pods(document):
            labels = template["metadata"]["labels"]
            mine = [
                policy
                for policy in policies
                if policy["podSelector"]["matchLabels"].items() <= labels.items()
            ]
            assert mine, labels
            assert all(policy["policyTypes"] == ["Ingress"] for policy in mine)
            assert all("from" in rule for policy in mine for rule in policy["ingress"])
    services = [document for document in every if document["kind"] == "Service"]
    assert all("type" not in service["spec"] for service in services), "reached from outside"


def test_the_commands_of_the_manifests_parse() -> None:
    (job,) = (d.values[0] for d in documents() if d.values[0]["kind"] == "RayJob")
    script, *words = shlex.split(job["spec"]["entrypoint"])[1:]
    assert (ROOT / Path(script).relative_to("/opt/sscl_geo")).is_file()
    ours: Any = get_command(app)
    for command, given in [(Path(script).stem, words), *commands("sscl-geo")]:
        ours.commands[command].make_context(command, list(given))
    theirs = {"scheduler": dask_scheduler.main, "worker": dask_worker.main}
    for command, given in commands("dask"):
        theirs[command].make_context(command, list(given))


def commands(program: str) -> list[tuple[str, list[str]]]:
    """Return the commands of containers that start a program, with their words."""
    found = []
    for parameter in documents():
        for template in pods(parameter.values[0]):
            for container in template["spec"]["containers"]:
                words = [*container.get("command", []), *container.get("args", [])]
                if words[:1] == [program]:
                    found.append((words[1], words[2:]))
    return found
