"""What can go wrong between the studio and an endpoint, each with a code that a page can translate.

`EndpointFailed` is an `EndpointDown`: its English sentence is complete in itself. A page that
speaks another language looks `code` up among its words and fills in `facts`.
"""

from __future__ import annotations

from studio.core.errors import EndpointDown

SENTENCES: dict[str, tuple[str, str]] = {
    "refused": (
        "Nothing answers at {where}.",
        "The server may have stopped: look at its run, or start it again.",
    ),
    "unknown_host": ("There is no host named {host}.", "Check the address for a typing error."),
    "unreachable": (
        "{where} cannot be reached: {reason}.",
        "Check the address, the network and the firewall.",
    ),
    "connect_timeout": (
        "{where} did not pick up within {seconds} s.",
        "Check the address; a firewall in between may swallow the request.",
    ),
    "first_timeout": (
        "{where} sent nothing for {seconds} s.",
        "It may be overloaded or still loading. Try again, or look at its log.",
    ),
    "gap_timeout": (
        "{where} fell silent for {seconds} s in the middle of the answer.",
        "What had arrived is kept. Look at the server's log, then try again.",
    ),
    "key": (
        "{where} refuses the API key.",
        "Give the key that the server was started with.",
    ),
    "model": (
        "{where} does not know the model {model}.",
        "Choose one of the models it lists.",
    ),
    "path": (
        "{where} answers, but offers no chat at {path}.",
        "The address of an OpenAI-compatible server usually ends in /v1.",
    ),
    "context": (
        "The conversation is too long for this model: {reason}",
        "Send fewer turns of history, lower max tokens, or start a new chat.",
    ),
    "rejected": (
        "{where} rejected the request: {reason}",
        "Change the settings it complains about and try again.",
    ),
    "busy": ("{where} has too many requests at the moment.", "Wait a little and try again."),
    "server": (
        "{where} failed (HTTP {status}): {reason}",
        "The cause is in the server's log.",
    ),
    "cut": (
        "{where} closed the connection in the middle of the answer.",
        "What had arrived is kept. The server may have crashed: look at its log.",
    ),
    "garbled": (
        "{where} sent something that is not a chat answer: {reason}",
        "Check that the address belongs to an OpenAI-compatible server.",
    ),
    "tls": (
        "No secure connection to {where}: {reason}.",
        "Check http:// against https://, and the certificate (SSL_CERT_FILE names your own CA).",
    ),
    "proxy": (
        "The proxy {proxy} refused the connection: {reason}.",
        "Check HTTP_PROXY, HTTPS_PROXY and NO_PROXY.",
    ),
    "address": (
        "{url} is not an address of a server.",
        "Write it like http://127.0.0.1:11434/v1.",
    ),
    "no_models": (
        "{where} lists no models.",
        "Load a model on that server first.",
    ),
}


class EndpointFailed(EndpointDown):
    """An endpoint that does not answer as it should; `code` names the situation."""

    def __init__(self, code: str, **facts: object) -> None:
        message, hint = SENTENCES[code]
        super().__init__(message.format(**facts), hint=hint.format(**facts))
        self.code = code
        self.facts = facts


class Cancelled(Exception):
    """The caller closed the exchange; not an error, and never shown."""
