"""A real vLLM that cannot start says why, and the relaunch it is offered starts."""

from __future__ import annotations

import pytest

from e2e.conftest import answer, endpoint_of, ready, stopped
from studio.core.spec import State
from studio.engines.explain import explain
from studio.studio import Studio

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]


def test_too_long_a_context_is_explained_mended_and_served(real_studio: Studio, samples) -> None:
    failed = real_studio.launch_recipe("vllm/smoke", {"max_model_len": 999999})
    failed = real_studio.jobs.wait(failed.id, timeout_s=600)
    assert failed.state is State.FAILED
    why = explain(failed)
    assert why.key == "context", why
    assert "User-specified max_model_len (999999)" in why.lines[0]
    assert why.fixes[0].changes == {"max_model_len": 2048}
    run = ready(real_studio, real_studio.relaunch(failed.id, why.fixes[0].changes))
    assert run.spec.relaunch_of == failed.id
    assert run.spec.config == {**failed.spec.config, "max_model_len": 2048}
    text, _, _ = answer(endpoint_of(real_studio, run), samples[0]["instruction"])
    assert text == samples[0]["output"]
    stopped(real_studio, run)
