"""What describes clusters: the launcher's file and the Kubernetes manifests.

No cloud or Kubernetes is at hand in a test. The launcher's file goes through Ray's own
validator, manifests through KubeRay's schemas (where they lie beside the repository, or where
KUBERAY_CRDS says) and through Ray's own reading of them; and all of them are held to the package:
versions, files, command lines.
"""

from __future__ import annotations

import copy
import os
import re
import shlex
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.pins import LICENCES, PYTHON, RAY, README, TORCH, VERSION
from tests.shell_lines import ROOT, asr_settings

CRDS = Path(os.environ.get("KUBERAY_CRDS", ROOT.parent / "shared" / "kuberay"))


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


# The launcher's file.


@cache
def launcher() -> dict[str, Any]:
    from ray.autoscaler._private.util import prepare_config

    return prepare_config(read("cluster.yaml"))


def test_ray_takes_the_cluster_file() -> None:
    from ray.autoscaler._private.util import validate_config

    validate_config(launcher())


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        ({"idle_timeout": 5}, "idle_timeout"),
        ({"max_workers": -1}, "minimum"),
        ({"head_node_type": "boss"}, "head_node_type"),
    ],
)
def test_the_validator_sees_mistakes(mistake: dict[str, Any], said: str) -> None:
    from ray.autoscaler._private.util import validate_config

    with pytest.raises(Exception, match=said):
        validate_config(launcher() | mistake)


def test_nodes_are_a_head_that_computes_nothing_cpu_nodes_and_spot_gpu_nodes() -> None:
    kinds = launcher()["available_node_types"]
    assert set(kinds) == {"head", "cpu_worker", "gpu_worker"}
    assert kinds["head"]["resources"] == {"CPU": 0}
    assert kinds["head"]["max_workers"] == 0
    assert kinds["cpu_worker"]["min_workers"] == 1
    assert kinds["gpu_worker"]["min_workers"] == 0
    assert kinds["gpu_worker"]["resources"]["GPU"] >= 1
    assert launcher()["max_workers"] == sum(kind["max_workers"] for kind in kinds.values())
    markets = {
        name: kind["node_config"].get("InstanceMarketOptions", {}).get("MarketType")
        for name, kind in kinds.items()
    }
    assert markets == {"head": None, "cpu_worker": None, "gpu_worker": "spot"}
    assert 1 <= launcher()["idle_timeout_minutes"] <= 15
    assert launcher()["provider"]["cache_stopped_nodes"] is False


def test_nodes_run_the_versions_of_the_package() -> None:
    gpu = launcher()["available_node_types"]["gpu_worker"]
    assert launcher()["docker"]["image"] == f"rayproject/ray:{RAY}-{PYTHON}-cpu"
    assert gpu["docker"]["worker_image"] == f"rayproject/ray:{RAY}-{PYTHON}-gpu"
    for commands in (launcher()["worker_setup_commands"], gpu["worker_setup_commands"]):
        text = "\n".join(commands)
        assert f"torch=={TORCH}" in text
        assert "-c /tmp/ray_asr/constraints.txt" in text
    assert "whl/cpu" in "\n".join(launcher()["worker_setup_commands"])
    assert "whl/cu" in "\n".join(gpu["worker_setup_commands"])


def test_what_is_copied_to_nodes_is_there_and_is_all_that_an_installation_needs() -> None:
    mounts: dict[str, str] = launcher()["file_mounts"]
    copied = {local.removeprefix("./") for local in mounts.values() if local.startswith("./")}
    for local in copied:
        assert (ROOT / local).exists(), local
    needed = {"pyproject.toml", "constraints.txt", "ray_asr", "jobs"}
    assert copied == needed | {README, *LICENCES}
    assert mounts["/home/ray/.ray/auth_token"] == "~/.ray/auth_token"


def test_ray_is_started_with_options_that_it_has_and_heard_by_the_head_alone() -> None:
    from ray.scripts.scripts import start

    known = {name for option in start.params for name in option.opts}
    head, worker = launcher()["head_start_ray_commands"], launcher()["worker_start_ray_commands"]
    for command in (head[-1], worker[-1]):
        words = shlex.split(command)
        assert words[:2] == ["ray", "start"]
        assert {word.split("=")[0] for word in words[2:]} <= known
    assert "--dashboard-host=127.0.0.1" in head[-1]
    assert "-e RAY_AUTH_MODE=token" in launcher()["docker"]["run_options"]


@pytest.mark.parametrize("where", ["setup_commands", "head_start_ray_commands"])
def test_commands_of_nodes_are_shell(where: str) -> None:
    for command in launcher()[where]:
        subprocess.run(["bash", "-n", "-c", command], check=True)


# Kubernetes.

MANIFESTS = {
    "RayJob": "jobs/kuberay/rayjob.yaml",
    "RayCluster": "jobs/kuberay/raycluster.yaml",
}


@cache
def manifest(kind: str) -> dict[str, Any]:
    found = read(MANIFESTS[kind])
    assert found["kind"] == kind
    return found


@cache
def cluster_spec() -> dict[str, Any]:
    return manifest("RayCluster")["spec"]


def pods() -> dict[str, dict[str, Any]]:
    """The pod specs by what they are for."""
    spec = cluster_spec()
    groups = {group["groupName"]: group for group in spec["workerGroupSpecs"]}
    return {
        "head": spec["headGroupSpec"]["template"]["spec"],
        **{name: group["template"]["spec"] for name, group in groups.items()},
        "submitter": manifest("RayJob")["spec"]["submitterPodTemplate"]["spec"],
    }


def group(name: str) -> dict[str, Any]:
    return next(g for g in cluster_spec()["workerGroupSpecs"] if g["groupName"] == name)


def container(name: str) -> dict[str, Any]:
    (only,) = pods()[name]["containers"]
    return only


def strict(schema: Any) -> Any:
    """A schema of Kubernetes' as JSON Schema that refuses what Kubernetes would drop unseen."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    ours = {
        key: strict(value)
        for key, value in schema.items()
        if not key.startswith("x-kubernetes") and key not in ("format", "default", "description")
    }
    if ours.get("type") == "object" and "properties" in ours:
        ours.setdefault("additionalProperties", False)
    return ours


@cache
def schema_of(kind: str) -> dict[str, Any]:
    file = CRDS / f"ray.io_{kind.lower()}s.yaml"
    if not file.is_file():
        pytest.skip(f"KubeRay's schemas are not at hand ({CRDS.name})")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    crd = yaml.load(file.read_text(encoding="utf-8"), Loader=loader)
    (served,) = [v for v in crd["spec"]["versions"] if v["name"] == "v1" and v["served"]]
    schema = strict(served["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    return schema


def errors_of(kind: str, object_: Any) -> list[str]:
    import jsonschema

    return [
        error.message for error in jsonschema.Draft7Validator(schema_of(kind)).iter_errors(object_)
    ]


@pytest.mark.parametrize("kind", list(MANIFESTS))
def test_kuberay_knows_every_field(kind: str) -> None:
    assert errors_of(kind, manifest(kind)) == []


def test_the_schema_sees_mistakes() -> None:
    wrong = copy.deepcopy(manifest("RayCluster"))
    wrong["spec"]["workerGroupSpecs"][0]["maxReplica"] = 3
    wrong["spec"]["autoscalerOptions"]["idleTimeoutSeconds"] = "soon"
    said = " ".join(errors_of("RayCluster", wrong))
    assert "maxReplica" in said
    assert "soon" in said


def test_the_job_and_the_cluster_that_stays_are_of_the_same_pods() -> None:
    assert manifest("RayJob")["spec"]["rayClusterSpec"] == cluster_spec()


def test_ray_reads_from_the_manifest_what_pods_have() -> None:
    from ray.autoscaler._private.kuberay.autoscaling_config import (
        _derive_autoscaling_config_from_ray_cr,
    )

    seen = _derive_autoscaling_config_from_ray_cr(
        {"metadata": {"name": "ray-asr", "namespace": "speech"}, "spec": cluster_spec()}
    )
    kinds = seen["available_node_types"]
    assert kinds["headgroup"]["resources"]["CPU"] == 0
    for name in ("cpu", "gpu"):
        assert kinds[name]["resources"]["CPU"] == int(container(name)["resources"]["limits"]["cpu"])
        assert kinds[name]["resources"]["memory"] == 28 * 2**30
        assert kinds[name]["max_workers"] == group(name)["maxReplicas"] > 0
    assert kinds["gpu"]["resources"]["GPU"] == 1
    assert "GPU" not in kinds["cpu"]["resources"]
    assert (kinds["cpu"]["min_workers"], kinds["gpu"]["min_workers"]) == (1, 0)
    assert seen["idle_timeout_minutes"] == 5


@pytest.mark.parametrize("name", ["head", "cpu", "gpu", "submitter"])
def test_a_pod_gets_what_it_asks_for_and_ray_is_told_the_same(name: str) -> None:
    resources = container(name)["resources"]
    assert resources["requests"] == resources["limits"]
    assert {"cpu", "memory"} <= set(resources["limits"])
    if name in ("cpu", "gpu"):
        told = group(name)["rayStartParams"]
        assert told["num-cpus"] == resources["limits"]["cpu"]
        assert told.get("num-gpus", "0") == resources["limits"].get("nvidia.com/gpu", "0")
    options = cluster_spec()["autoscalerOptions"]["resources"]
    assert options["requests"] == options["limits"]


@pytest.mark.parametrize("name", ["head", "cpu", "gpu", "submitter"])
def test_no_pod_is_root_and_only_the_head_may_speak_to_kubernetes(name: str) -> None:
    pod = pods()[name]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 1000  # "ray" in Ray's images
    security = container(name)["securityContext"]
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert pod.get("automountServiceAccountToken", True) is (name == "head")
    assert cluster_spec()["autoscalerOptions"]["securityContext"] == security


@pytest.mark.parametrize("name", ["head", "cpu", "gpu"])
def test_pods_are_asked_whether_they_live_where_ray_answers_without_a_token(name: str) -> None:
    from ray._private.ray_constants import DEFAULT_DASHBOARD_AGENT_LISTEN_PORT
    from ray.dashboard.http_server_agent import PUBLIC_EXACT_PATHS

    for probe in ("readinessProbe", "livenessProbe"):
        asked = container(name)[probe]
        assert asked["httpGet"]["port"] == DEFAULT_DASHBOARD_AGENT_LISTEN_PORT
        assert asked["httpGet"]["path"] in PUBLIC_EXACT_PATHS
    # Cores that compute answer late: that is no reason to kill a pod.
    patience = container(name)["livenessProbe"]
    assert patience["periodSeconds"] * patience["failureThreshold"] >= 300


def test_everything_hears_no_one_outside_and_asks_for_the_token() -> None:
    assert cluster_spec()["authOptions"] == {"mode": "token"}
    assert cluster_spec()["headGroupSpec"]["serviceType"] == "ClusterIP"


def test_pods_may_be_taken_away_but_for_the_head() -> None:
    head = cluster_spec()["headGroupSpec"]
    keep = head["template"]["metadata"]["annotations"]
    assert keep["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
    assert head["rayStartParams"]["num-cpus"] == "0"
    for name in ("cpu", "gpu"):
        pod = pods()[name]
        assert pod["restartPolicy"] == "Never"
        assert pod["terminationGracePeriodSeconds"] >= 30
        assert any("spot" in toleration["key"] or toleration.get("value") == "spot"
                   for toleration in pod["tolerations"])  # fmt: skip
    assert cluster_spec()["enableInTreeAutoscaling"] is True
    assert manifest("RayJob")["spec"]["backoffLimit"] >= 1
    assert manifest("RayJob")["spec"]["shutdownAfterJobFinishes"] is True


@pytest.mark.parametrize("name", ["head", "cpu", "gpu"])
def test_every_pod_has_the_data_and_a_place_for_models(name: str) -> None:
    volumes = {volume["name"]: volume for volume in pods()[name]["volumes"]}
    mounted = {mount["name"]: mount["mountPath"] for mount in container(name)["volumeMounts"]}
    assert set(mounted) == set(volumes)
    assert mounted["data"] == "/data"
    assert mounted["models"] == "/home/ray/.cache"
    claim = read("jobs/kuberay/data.yaml")
    assert claim["kind"] == "PersistentVolumeClaim"
    assert volumes["data"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert {port["name"]: port["containerPort"] for port in container(name)["ports"]}["metrics"]


def test_images_and_ray_are_of_this_version() -> None:
    assert cluster_spec()["rayVersion"] == RAY
    images = {name: container(name)["image"] for name in pods()}
    kinds = {"head": "cpu", "cpu": "cpu", "gpu": "gpu", "submitter": "cpu"}
    assert images == {name: f"ray-asr:{VERSION}-{kind}" for name, kind in kinds.items()}
    head_of_docker = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    for kind in ("cpu", "gpu"):
        assert f"docker build -t ray-asr:{VERSION}-{kind}" in head_of_docker


def entrypoints() -> list[str]:
    """The command of the job, and the one for GPUs that stands in a comment below it."""
    text = (ROOT / MANIFESTS["RayJob"]).read_text(encoding="utf-8")
    commented = re.search(r"# entrypoint: >-\n((?:  #   .*\n)+)", text)
    assert commented
    for_gpus = re.sub(r"\s*#\s+", " ", commented[1])
    return [manifest("RayJob")["spec"]["entrypoint"], for_gpus]


def test_the_jobs_command_is_one_and_fills_the_pods() -> None:
    on_cpus, _ = [shlex.split(command) for command in entrypoints()]
    assert on_cpus[0] == "ray-asr"
    config = asr_settings(on_cpus[1:])
    assert config
    cores = int(group("cpu")["rayStartParams"]["num-cpus"])
    assert cores % config.engine.ncpu == 0
    most = group("cpu")["maxReplicas"] * (cores // config.engine.ncpu)
    assert config.control.max_actors == most - 1  # one core is for reading


def test_the_jobs_command_for_gpus_is_one_and_fills_the_pods() -> None:
    _, on_gpus = [shlex.split(command) for command in entrypoints()]
    config = asr_settings(on_gpus[1:])
    assert config
    assert (config.engine.device, config.job.num_gpus) == ("cuda", 1)
    assert config.control.max_actors == group("gpu")["maxReplicas"]
