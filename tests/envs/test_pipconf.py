"""pip's configuration reaches uv, in pip's order of precedence and under uv's names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from studio.envs.pipconf import config_files, translate


def test_a_machine_with_a_mirror_local_wheels_and_a_certificate():
    text = """
    [global]
    index-url = https://mirror.example/simple
    extra-index-url = file:///one file:///two
    find-links =
        /wheels
        https://files.example/wheels
    cert = /etc/own.crt
    trusted-host = mirror.example
    timeout = 60.5
    proxy = user:secret@proxy.example:3128
    """.replace("    ", "", 1).replace("\n    ", "\n")
    found = translate([text], {}, exists=lambda path: path in ("/wheels", "/etc/own.crt"))
    assert found.env == {
        "UV_DEFAULT_INDEX": "https://mirror.example/simple",
        "UV_INDEX": "file:///one file:///two",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": "/wheels,https://files.example/wheels",
        "UV_INSECURE_HOST": "mirror.example",
        "UV_HTTP_TIMEOUT": "60",
        "SSL_CERT_FILE": "/etc/own.crt",
        "HTTPS_PROXY": "http://user:secret@proxy.example:3128",
        "HTTP_PROXY": "http://user:secret@proxy.example:3128",
    }
    assert found.args == ()
    assert "secret" not in " ".join(found.used)


def test_later_files_win_then_install_then_variables():
    files = ["[global]\nindex-url = a\ntimeout = 1\n", "[global]\nindex-url = b\n"]
    assert translate(files, {}).env["UV_DEFAULT_INDEX"] == "b"
    files.insert(0, "[install]\nindex_url = c\n")
    assert translate(files, {}).env["UV_DEFAULT_INDEX"] == "c"
    found = translate(files, {"PIP_INDEX_URL": "d", "PIP_DEFAULT_TIMEOUT": ""})
    assert found.env["UV_DEFAULT_INDEX"] == "d"
    assert found.env["UV_HTTP_TIMEOUT"] == "1", "an empty variable does not count"


@pytest.mark.parametrize("taken", ["UV_DEFAULT_INDEX", "UV_INDEX_URL"])
def test_uv_variables_are_never_overridden(taken: str):
    assert "UV_DEFAULT_INDEX" not in translate(["[global]\nindex-url=a\n"], {taken: "mine"}).env


def test_a_missing_wheel_folder_is_left_out_with_a_warning():
    found = translate(["[global]\nfind-links = /gone\n"], {}, exists=lambda path: False)
    assert "UV_FIND_LINKS" not in found.env
    assert "/gone" in found.warnings[0]


def test_a_broken_file_is_a_warning_and_the_others_count():
    found = translate(["what is this", "[global]\nretries = 9\n"], {})
    assert found.env["UV_HTTP_RETRIES"] == "9"
    assert len(found.warnings) == 1


def test_without_a_certificate_the_systems_own_are_trusted_where_there_are_any():
    assert translate([], {}, exists=lambda path: True).env == {"UV_SYSTEM_CERTS": "1"}
    assert translate([], {}, exists=lambda path: False).env == {}
    assert translate([], {"SSL_CERT_FILE": "/x"}, exists=lambda path: True).env == {}


def test_no_index_is_an_option():
    assert translate([], {"PIP_NO_INDEX": "true"}).args == ("--no-index",)
    assert translate([], {"PIP_NO_INDEX": "0"}).args == ()


def test_where_pip_looks():
    home, prefix = Path("/home/me"), Path("/venv")
    files = config_files({"PIP_CONFIG_FILE": "/own.conf"}, home, prefix)
    assert [str(path) for path in files] == [
        "/etc/xdg/pip/pip.conf",
        "/etc/pip.conf",
        "/home/me/.pip/pip.conf",
        "/home/me/.config/pip/pip.conf",
        "/venv/pip.conf",
        "/own.conf",
    ]
    assert config_files({"PIP_CONFIG_FILE": os.devnull}, home, prefix) == []
