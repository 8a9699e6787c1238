"""vLLM Router: one OpenAI-compatible address in front of several servers.

It keeps conversations on the server that has their prefix in its cache, repeats a request that a
dead server did not answer, and takes servers that are not up yet: it listens as soon as one is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from studio.core.errors import RecipeInvalid
from studio.core.spec import Command, EndpointSpec, Placement, Probe, Scrape, StopStep
from studio.engines.engine import Engine, ServerConfig, knob
from studio.envs.catalog import ROUTER

PATIENCE = (
    "--disable-circuit-breaker",
    *("--retry-max-retries", "8", "--retry-initial-backoff-ms", "100"),
    *("--retry-backoff-multiplier", "1.7"),
)
"""Repeat a request for up to 6 s, longer than the health checks need to notice a dead server.

With the tool's own settings (5 tries in 0.4 s) cache_aware asks the dead server again and again and
gives up. Its circuit breaker counts answers as well: two requests that a server answers with 500
shut every server out for a minute.
"""
METRICS_SHIFT = 10000
"""The router tells its figures on a second port: this much above its own."""


class RouterConfig(ServerConfig):
    """Settings of the router; names are those of `vllm-router`."""

    worker_urls: list[str] = knob(
        title="Servers",
        help="Addresses of the servers it hands requests to, such as http://127.0.0.1:8001. "
        "They may still be starting.",
        zh=("后端地址", "请求转发到的服务地址，例如 http://127.0.0.1:8001。可以还在启动中。"),
        min_length=1,
    )
    policy: Literal["cache_aware", "consistent_hash", "power_of_two", "round_robin", "random"] = (
        knob(
            "cache_aware",
            title="Policy",
            help="cache_aware sends a prompt to the server that has its beginning in the prefix "
            "cache; consistent_hash keeps a session (header X-Session-ID) on one server; the "
            "others only balance.",
            zh=(
                "分发策略",
                "cache_aware 把请求发给前缀缓存里已有其开头的服务；consistent_hash 让同一会话"
                "（请求头 X-Session-ID）固定在一个服务上；其余策略只做负载均衡。",
            ),
        )
    )
    models: list[str] = knob(
        [],
        title="Model names",
        help="What the servers offer, for the chat's menu. Empty: they are asked.",
        zh=("模型名称", "后端提供的模型名，用于对话页的菜单。留空则向后端查询。"),
        group="expert",
    )
    health_check_endpoint: str = knob(
        "/health",
        title="Health path",
        help="A server is in use while this path answers 200.",
        zh=("健康检查路径", "该路径返回 200 时才向这个服务转发。"),
        group="server",
        pattern=r"^/",
    )
    health_check_interval_secs: int = knob(
        1,
        title="Health check every (s)",
        help="Seconds between two checks. Fewer notice a dead or a recovered server sooner.",
        zh=("健康检查间隔（秒）", "两次检查之间的秒数。越小，越快发现服务故障或恢复。"),
        group="server",
        ge=1,
    )
    health_failure_threshold: int = knob(
        2,
        title="Failures until it is out",
        help="So many failed checks in a row take a server out of use until it recovers.",
        zh=("判定故障的次数", "连续失败这么多次后停止向该服务转发，恢复后自动加回。"),
        group="expert",
        ge=1,
    )
    worker_startup_timeout_secs: int = knob(
        3600,
        title="Wait for servers (s)",
        help="The router gives up when no server is up after this long.",
        zh=("等待后端启动（秒）", "超过这个时间仍没有任何后端就绪，路由器就退出。"),
        group="expert",
        ge=1,
    )
    request_timeout_secs: int = knob(
        1800,
        title="Longest request (s)",
        help="An answer that takes longer is cut off.",
        zh=("单次请求上限（秒）", "超过这个时间的回答会被中断。"),
        group="expert",
        ge=1,
    )


class Router(Engine[RouterConfig]):
    """`vllm-router`: load balancing that knows about prefix caches."""

    id = "router"
    title = "vLLM Router"
    env = ROUTER
    Config = RouterConfig
    serves = True

    def command(self, config: RouterConfig, place: Placement) -> Command:
        """Return `vllm-router --worker-urls ...`.

        No `--api-key`: with it the router would put the key on requests that came without one.
        Clients' keys are handed on and checked by the servers.
        """
        head = place.interpreter.program("vllm-router", "vllm_router.launch_router")
        port = place.port or 0
        argv = [*head, "--host", config.host, "--port", str(port)]
        argv += ["--worker-urls", *(url.rstrip("/") for url in config.worker_urls)]
        argv += ["--policy", config.policy]
        argv += ["--prometheus-port", str(port + METRICS_SHIFT)]
        argv += ["--health-check-endpoint", config.health_check_endpoint]
        argv += ["--health-check-interval-secs", str(config.health_check_interval_secs)]
        argv += ["--health-failure-threshold", str(config.health_failure_threshold)]
        argv += ["--health-success-threshold", "1", *PATIENCE]
        argv += ["--worker-startup-timeout-secs", str(config.worker_startup_timeout_secs)]
        argv += ["--worker-startup-check-interval", "2"]
        argv += ["--request-timeout-secs", str(config.request_timeout_secs)]
        env = {}
        if place.interpreter.pythonpath:
            env["PYTHONPATH"] = ":".join(place.interpreter.pythonpath)
        if config.api_key:
            env["STUDIO_ENDPOINT_KEY"] = config.api_key
        return Command(argv=(*argv, *config.extra_args), env=env)

    def check(self, config: RouterConfig, root: Path) -> None:
        """Refuse addresses that are none, and a port that leaves no room for the figures."""
        for url in config.worker_urls:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.netloc or len(parts.path) > 1:
                raise RecipeInvalid(
                    f"{url} is not the address of a server.",
                    hint="Write it like http://127.0.0.1:8001, without /v1.",
                )
        if config.port is not None and config.port + METRICS_SHIFT > 65535:
            raise RecipeInvalid(
                f"port = {config.port}: the router tells its figures {METRICS_SHIFT} above it.",
                hint="Choose a port below 55536.",
            )

    def probe(self, config: RouterConfig) -> Probe:
        """Ready when at least one server is healthy; waiting for it may take long."""
        return Probe(path="/readiness", timeout_s=config.worker_startup_timeout_secs + 60.0)

    def stop(self, config: RouterConfig) -> tuple[StopStep, ...]:
        """SIGTERM: it finishes what is under way."""
        return (StopStep(signal="SIGTERM", to="group", grace_s=10, label="terminate"),)

    def endpoint(self, config: RouterConfig) -> EndpointSpec:
        """Whatever its servers offer."""
        return EndpointSpec(kind="chat", models=tuple(config.models), routes=True)

    def scrape(self, config: RouterConfig) -> Scrape:
        """Requests, repeats and errors so far; requests under way and healthy servers now."""
        return Scrape(
            prefixes=(
                "vllm_router_processed_requests_total",
                "vllm_router_retries_total",
                "vllm_router_request_errors_total",
                "vllm_router_running_requests",
                "vllm_router_worker_health",
            ),
            port_shift=METRICS_SHIFT,
        )
