"""The same launch as a container: every argument survives, keys stay out, the YAML is one."""

from __future__ import annotations

import itertools
import shlex
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from studio.core.errors import RecipeInvalid
from studio.core.ids import new_id
from studio.core.spec import Command, Interpreter, Placement, Probe, Resources, RunSpec
from studio.engines.llamafactory_api import LlamaFactoryApi
from studio.engines.sglang import Sglang
from studio.engines.vllm import Vllm
from studio.export.compose import compose
from studio.export.container import Mounts, contain, docker_run, image_of
from studio.export.forms import as_nginx, forms

PLACE = Placement(
    interpreter=Interpreter(name="it", python="/envs/it/bin/python"),
    port=8001,
    root="/repo",
    has_gpu=True,
)
EXTRA = (
    *("--lora-modules", "sql=/data/lora/sql", "zh=/other/sql"),
    *("--speculative-config", '{"model": "/data/draft", "num_speculative_tokens": 3}'),
    *("--chat-template", "/data/it's $5.jinja", "--root-path", "/api"),
    *("--limit-mm-per-prompt", '{"image": 4}', "--enable-prefix-caching"),
)
SERVICE = {
    *("image", "entrypoint", "command", "restart", "ipc", "ports", "volumes", "environment"),
    *("env_file", "working_dir", "configs", "healthcheck", "deploy"),
}


def spec_of(
    engine, settings: dict, *, gpus: int = 1, pinned=None, place=PLACE, **fields
) -> RunSpec:
    config = engine.Config(**settings)
    return RunSpec(
        id=new_id(),
        name=fields.pop("name", "it"),
        title="It",
        engine=engine.id,
        config=config.model_dump(mode="json"),
        command=engine.command(config, place),
        resources=Resources(num_gpus=gpus, gpu_ids=pinned),
        serves=True,
        probe=engine.probe(config),
        endpoint=engine.endpoint(config),
        host=getattr(config, "host", "127.0.0.1"),
        port=place.port,
        env_name=engine.env.name,
        created_at=time.time(),
        **fields,
    )


def vllm(settings: dict | None = None, **fields) -> RunSpec:
    given = {"model": "/data/qwen", "extra_args": list(EXTRA), **(settings or {})}
    return spec_of(Vllm(), given, **fields)


def docker_words(spec: RunSpec) -> list[str]:
    """Return the words that a shell makes of the script's `docker run`."""
    shown = docker_run(spec).replace("docker run", "printf '%s\\n' docker run", 1)
    shown = shown.replace("set -eu", "set -eu; HF_HOME=/cache")
    done = subprocess.run(["bash", "-c", shown], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_every_argument_survives_but_address_port_and_paths() -> None:
    spec = vllm()
    argv = list(spec.command.argv[spec.command.argv.index("serve") + 1 :])
    expected = {
        "/data/qwen": "/models/qwen",
        "127.0.0.1": "0.0.0.0",
        "8001": "8000",
        "sql=/data/lora/sql": "sql=/models/sql",
        "zh=/other/sql": "zh=/models/sql-2",
        EXTRA[4]: '{"model": "/models/draft", "num_speculative_tokens": 3}',
        "/data/it's $5.jinja": "/models/it's $5.jinja",
    }
    wanted = [expected.get(word, word) for word in argv]
    assert list(contain(spec).args) == wanted
    words = docker_words(spec)
    assert words[words.index("serve") + 1 :] == wanted
    service = yaml.safe_load(compose(spec))["services"]["it"]
    assert [word.replace("$$", "$") for word in service["command"]] == wanted
    assert contain(spec).mounts == {
        "/data/qwen": "/models/qwen",
        "/data/lora/sql": "/models/sql",
        "/other/sql": "/models/sql-2",
        "/data/draft": "/models/draft",
        "/data/it's $5.jinja": "/models/it's $5.jinja",
    }


def test_docker_run_on_named_cards() -> None:
    words = docker_words(vllm({"host": "0.0.0.0"}, gpus=2, pinned=(2, 3)))
    pairs = list(itertools.pairwise(words))
    assert ("--gpus", '"device=2,3"') in pairs and ("--runtime", "nvidia") in pairs
    assert ("--publish", "8001:8000") in pairs and "--ipc=host" in words
    assert ("--volume", "/data/qwen:/models/qwen:ro") in pairs
    assert ("--env", "HF_HUB_OFFLINE=1") in pairs
    assert ("--entrypoint", "vllm") in pairs and ("--restart", "unless-stopped") in pairs


def test_docker_run_on_any_cards_says_that_docker_takes_the_first() -> None:
    text = docker_run(vllm(gpus=2))
    assert "--gpus 2 " in text and "name them with --gpus '\"device=0,1\"'" in text
    assert "--publish 127.0.0.1:8001:8000" in text


def test_a_hub_model_brings_its_cache_and_mirror() -> None:
    spec = vllm({"model": "Qwen/Qwen2.5-7B-Instruct", "extra_args": []})
    words = docker_words(spec)
    pairs = list(itertools.pairwise(words))
    assert ("--volume", "/cache:/root/.cache/huggingface") in pairs
    assert ("--env", "HF_ENDPOINT") in pairs and ("--env", "HF_TOKEN") in pairs
    assert "HF_HUB_OFFLINE" not in docker_run(spec) and contain(spec).mounts == {}
    service = yaml.safe_load(compose(spec))["services"]["it"]
    assert service["environment"]["HF_ENDPOINT"] is None, "handed over from the shell"
    assert service["volumes"] == ["${HF_HOME:-${HOME}/.cache/huggingface}:/root/.cache/huggingface"]


def test_the_key_is_in_no_form_but_its_file_is_named() -> None:
    spec = vllm({"api_key": "s3cret"})
    for text in (docker_run(spec), compose(spec)):
        assert "s3cret" not in text
        assert "it.env must hold VLLM_API_KEY" in text
    assert "--env-file it.env" in docker_run(spec)
    assert yaml.safe_load(compose(spec))["services"]["it"]["env_file"] == ["it.env"]


@pytest.mark.parametrize("pinned", [None, (4, 5)])
def test_compose_has_the_shape_of_the_specification(pinned) -> None:
    tree = yaml.safe_load(compose(vllm(gpus=2, pinned=pinned)))
    assert set(tree) == {"name", "services"}
    service = tree["services"]["it"]
    assert set(service) <= SERVICE
    assert service["image"].startswith("vllm/vllm-openai:v")
    assert service["entrypoint"] == ["vllm", "serve"]
    assert all(isinstance(word, str) for word in service["command"]), "8000 is no number here"
    assert all(isinstance(value, str) for value in service["environment"].values())
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]
    chosen = {"count": 2} if pinned is None else {"device_ids": ["4", "5"]}
    assert device == {"driver": "nvidia", **chosen, "capabilities": ["gpu"]}
    assert service["healthcheck"]["test"][:3] == ["CMD", "python3", "-c"]
    compile(service["healthcheck"]["test"][3], "healthcheck", "exec")
    assert service["volumes"][0] == {
        "type": "bind",
        "source": "/data/qwen",
        "target": "/models/qwen",
        "read_only": True,
    }


def test_llamafactory_brings_its_yaml() -> None:
    settings = {
        "model_name_or_path": "/data/qwen",
        "adapter_name_or_path": "/data/lora,/other/lora",
        "template": "qwen",
        "api_key": "s3cret",
    }
    spec = spec_of(LlamaFactoryApi(), settings)
    tree = yaml.safe_load(compose(spec))
    assert yaml.safe_load(tree["configs"]["api_yaml"]["content"]) == {
        "model_name_or_path": "/models/qwen",
        "adapter_name_or_path": "/models/lora,/models/lora-2",
        "template": "qwen",
        "infer_backend": "huggingface",
        "infer_dtype": "auto",
    }
    service = tree["services"]["it"]
    assert service["configs"] == [{"source": "api_yaml", "target": "/studio/api.yaml"}]
    assert service["environment"]["API_PORT"] == "8000"
    assert service["environment"]["API_HOST"] == "0.0.0.0"
    assert "s3cret" not in compose(spec) + docker_run(spec)
    assert service["image"] == "hiyouga/llamafactory:0.9.5"


def test_the_script_writes_the_engines_files(tmp_path: Path) -> None:
    settings = {"model_name_or_path": "/data/qwen", "template": "qwen"}
    text = docker_run(spec_of(LlamaFactoryApi(), settings)).replace("docker run", "echo", 1)
    subprocess.run(["bash", "-c", text], cwd=tmp_path, check=True, capture_output=True)
    written = yaml.safe_load((tmp_path / "it/api.yaml").read_text())
    assert written["model_name_or_path"] == "/models/qwen"


def test_sglang_on_two_cards_keeps_its_key_to_itself() -> None:
    settings = {"model_path": "/data/qwen", "tp_size": 2, "api_key": "s3cret"}
    spec = spec_of(Sglang(), settings, gpus=2)
    argv = spec.command.argv
    wanted = {"/data/qwen": "/models/qwen", "127.0.0.1": "0.0.0.0", "8001": "8000"}
    tail = argv[argv.index("sglang.launch_server") + 1 :]
    assert contain(spec).args == tuple(wanted.get(word, word) for word in tail)
    assert contain(spec).image.startswith("lmsysorg/sglang:v")
    service = yaml.safe_load(compose(spec))["services"]["it"]
    assert service["entrypoint"] == ["python3", "-m", "sglang.launch_server"]
    assert "./it/sglang.yaml:/studio/sglang.yaml:ro" in service["volumes"]
    for text in (docker_run(spec), compose(spec)):
        assert "s3cret" not in text
        assert "# it/sglang.yaml must hold" in text and '#   api-key: "..."' in text


def test_replicas_get_disjoint_cards_and_a_router() -> None:
    tree = yaml.safe_load(compose(vllm(gpus=2), copies=2))
    services = tree["services"]
    assert list(services) == ["it-1", "it-2", "router"]
    cards = [
        services[name]["deploy"]["resources"]["reservations"]["devices"][0]["device_ids"]
        for name in ("it-1", "it-2")
    ]
    assert cards == [["0", "1"], ["2", "3"]]
    assert "ports" not in services["it-1"] and services["router"]["ports"] == [
        "127.0.0.1:8001:8000"
    ]
    command = services["router"]["command"]
    at = command.index("--worker-urls")
    assert command[at + 1 : at + 3] == ["http://it-1:8000", "http://it-2:8000"]
    assert "vllm-router==" in services["router"]["entrypoint"][2]
    with pytest.raises(RecipeInvalid, match="shared out evenly"):
        compose(vllm(gpus=1, pinned=(3,)), copies=2)


def test_without_cards_the_cpu_image_is_taken() -> None:
    place = PLACE.model_copy(update={"has_gpu": False})
    spec = vllm(gpus=0, place=place)
    assert image_of(spec).startswith("vllm/vllm-openai-cpu:v")
    assert "--gpus" not in docker_run(spec) and "deploy" not in compose(spec)
    settings = {"model_name_or_path": "/data/qwen", "template": "qwen"}
    assert set(forms(spec_of(LlamaFactoryApi(), settings, gpus=0))) == {"sh"}


def test_what_has_no_image_is_only_a_script() -> None:
    spec = RunSpec(
        id=new_id(),
        name="t",
        title="Training",
        engine="llamafactory-train",
        command=Command(argv=("x",)),
        created_at=0,
    )
    assert set(forms(spec)) == {"sh"}
    with pytest.raises(RecipeInvalid, match="no container image for Training"):
        docker_run(spec)


def test_every_form_of_one_launch() -> None:
    spec = vllm({"api_key": "k"})
    found = forms(spec, copies=2)
    assert list(found) == ["sh", "docker", "compose"]
    assert shlex.join(spec.command.argv) in found["sh"]
    assert '"Bearer k" 1;' in as_nginx(spec, [("127.0.0.1", 8001)])


def test_paths_of_one_name_get_two_places() -> None:
    mounts = Mounts()
    assert mounts.rewrite("/a/qwen/") == "/models/qwen"
    assert mounts.rewrite("/b/qwen") == "/models/qwen-2"
    assert mounts.rewrite("/a/qwen") == "/models/qwen"
    assert mounts.rewrite("key=value=/x") == "key=value=/x"
    assert mounts.rewrite("--dtype=auto") == "--dtype=auto"
    assert mounts.rewrite("--chat-template=/t.jinja") == "--chat-template=/models/t.jinja"


def test_the_probe_is_the_health_check() -> None:
    spec = vllm().model_copy(update={"probe": Probe(path="/v1/models")})
    assert "/v1/models" in compose(spec)
