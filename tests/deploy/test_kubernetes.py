"""The templates for Kubernetes: Kubeflow's and Kubernetes' own models know every field, and the pods have no rights."""

import json
import shlex
from pathlib import Path

import jsonschema
import pytest
import yaml
from kubeflow_trainer_api import models
from torch.distributed.run import get_args_parser
from yamllint import linter
from yamllint.config import YamlLintConfig

from firstlight.cli.entry import parse

DEPLOY = Path(__file__).parents[2] / "deploy"
TEMPLATES = sorted(DEPLOY.glob("*.yaml"))
STYLE = YamlLintConfig("{extends: default, rules: {line-length: {max: 120}}}")
SCHEMA = yaml.safe_load(Path(__file__).with_name("rayjob_schema.yaml").read_text("utf-8"))


def documents(name: str) -> dict[str, dict]:
    """The documents of a template, by their kinds."""
    return {document["kind"]: document for document in yaml.safe_load_all((DEPLOY / name).read_text("utf-8"))}


def unknown(given: object, understood: object, place: str = "") -> list[str]:
    """The fields of a document that its model dropped, because it does not know them."""
    if isinstance(given, dict):
        known = understood if isinstance(understood, dict) else {}
        lost = [f"{place}.{name}" for name in given if name not in known]
        return lost + [
            field for name in given if name in known for field in unknown(given[name], known[name], f"{place}.{name}")
        ]
    if isinstance(given, list):
        return [field for pair in zip(given, understood, strict=True) for field in unknown(*pair, place)]
    return []


def check(model: str, document: dict) -> None:
    """Check a document, its types included, with the model of Kubernetes' or Kubeflow's API."""
    understood = getattr(models, model).from_dict(json.loads(json.dumps(document)))
    assert unknown(document, understood.to_dict()) == []


def pods() -> dict[str, dict]:
    """All pod templates."""
    [replicated] = documents("trainjob.yaml")["TrainingRuntime"]["spec"]["template"]["spec"]["replicatedJobs"]
    found = {"training": replicated["template"]["spec"]["template"]}
    job = documents("rayjob.yaml")["RayJob"]["spec"]
    cluster = job["rayClusterSpec"]
    found |= {"submitter": job["submitterPodTemplate"], "head": cluster["headGroupSpec"]["template"]}
    return found | {group["groupName"]: group["template"] for group in cluster["workerGroupSpecs"]}


PODS = pods()


@pytest.mark.parametrize("file", TEMPLATES, ids=lambda file: file.name)
def test_yamllint_has_nothing_to_say(file):
    assert [str(problem) for problem in linter.run(file.read_text("utf-8"), STYLE)] == []


@pytest.mark.parametrize("kind", ["TrainingRuntime", "TrainJob"])
def test_kubeflow_knows_every_field_of_the_training(kind):
    check(f"TrainerV1alpha1{kind}", documents("trainjob.yaml")[kind])


def test_a_field_that_does_not_exist_is_found_wherever_it_is():
    job = documents("trainjob.yaml")["TrainJob"]
    job["spec"]["trainer"]["resourcesPerNode"]["claims"] = [{"name": "a", "wrong": 1}]
    with pytest.raises(AssertionError, match="resourcesPerNode.claims.wrong"):
        check("TrainerV1alpha1TrainJob", job)


def test_the_job_uses_the_runtime_beside_it_in_whose_container_kubeflow_puts_it():
    found = documents("trainjob.yaml")
    runtime, job = found["TrainingRuntime"], found["TrainJob"]
    reference = job["spec"]["runtimeRef"]
    assert (reference["kind"], reference["name"]) == (runtime["kind"], runtime["metadata"]["name"])
    [replicated] = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    assert replicated["name"] == "node"
    assert replicated["template"]["metadata"]["labels"] == {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}
    assert [container["name"] for container in PODS["training"]["spec"]["containers"]] == ["node"]


def test_what_the_job_runs_exists_in_torchrun_and_in_train():
    trainer = documents("trainjob.yaml")["TrainJob"]["spec"]["trainer"]
    program, *words = [*trainer["command"], *trainer["args"]]
    assert program == "torchrun"
    known = get_args_parser().parse_args(words)
    assert (known.module, known.training_script, known.max_restarts) == (True, "firstlight", 3)
    command = parse(known.training_script_args)
    assert (str(command.source), command.resume, str(command.out)) == ("/pictures", "auto", "/runs/photos-1")


def test_kuberay_knows_every_field_of_the_prediction():
    jsonschema.validate(documents("rayjob.yaml")["RayJob"], SCHEMA)
    with pytest.raises(jsonschema.ValidationError, match="dashboard"):
        wrong = documents("rayjob.yaml")["RayJob"]
        wrong["spec"]["rayClusterSpec"]["headGroupSpec"]["dashboard"] = True
        jsonschema.validate(wrong, SCHEMA)


def test_what_the_ray_job_runs_exists_in_predict():
    program, *words = shlex.split(documents("rayjob.yaml")["RayJob"]["spec"]["entrypoint"])
    assert program == "firstlight"
    command = parse(words)
    assert (str(command.model), command.engine, command.address) == ("/model", "ray", "auto")


def test_ray_is_reached_only_with_a_token_and_only_by_its_own_pods():
    found = documents("rayjob.yaml")
    cluster = found["RayJob"]["spec"]["rayClusterSpec"]
    assert cluster["authOptions"]["mode"] == "token"
    assert (cluster["headGroupSpec"]["serviceType"], cluster["headGroupSpec"]["enableIngress"]) == ("ClusterIP", False)
    policy = found["NetworkPolicy"]["spec"]
    assert policy["policyTypes"] == ["Ingress"]
    assert all(rule["from"] for rule in policy["ingress"])
    selected = policy["podSelector"]["matchLabels"].items()
    for name in ("submitter", "head", "workers"):
        assert selected <= PODS[name]["metadata"]["labels"].items()
    assert "kind: Secret" not in (DEPLOY / "rayjob.yaml").read_text("utf-8"), "it is made with kubectl"


@pytest.mark.parametrize("name", PODS)
def test_kubernetes_knows_every_field_of_a_pod(name):
    check("IoK8sApiCoreV1PodTemplateSpec", PODS[name])


@pytest.mark.parametrize("name", PODS)
def test_a_pod_has_no_rights_that_it_does_not_need(name):
    spec = PODS[name]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    assert not any("hostPath" in volume for volume in spec["volumes"])
    for container in spec["containers"]:
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["readOnlyRootFilesystem"] is True
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert not container["image"].endswith(":latest")
        for mount in container["volumeMounts"]:
            assert mount.get("readOnly", False) == (mount["name"] in ("model", "pictures"))


def test_every_container_has_limits():
    trainer = documents("trainjob.yaml")["TrainJob"]["spec"]["trainer"]
    given = [trainer["resourcesPerNode"]]
    given += [
        container["resources"] for name in PODS if name != "training" for container in PODS[name]["spec"]["containers"]
    ]
    for resources in given:
        assert resources["limits"].keys() >= {"cpu", "memory"}
        assert resources["requests"].keys() >= {"cpu", "memory"}


@pytest.mark.parametrize("name", PODS)
def test_everything_that_is_mounted_is_a_volume(name):
    spec = PODS[name]["spec"]
    volumes = {volume["name"] for volume in spec["volumes"]}
    assert {mount["name"] for container in spec["containers"] for mount in container["volumeMounts"]} == volumes
