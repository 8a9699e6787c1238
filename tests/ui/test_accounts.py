"""Accounts, sessions and the throttle."""

import hashlib
import importlib.util
import stat
from pathlib import Path

import pytest

from studio.core.errors import HomeUnusable, NotFound, StudioError
from studio.ui.door import accounts
from studio.ui.door.accounts import (
    Account,
    Accounts,
    Throttle,
    add_account,
    read_accounts,
    read_secret,
)

KEY = b"k" * 32


def test_the_right_password_opens_a_session_and_a_wrong_one_does_not():
    door = Accounts([Account.make("ann", "rungs and rails")], KEY)
    session, wait = door.log_in("ann", "rungs and rails", "1.2.3.4")
    assert session and wait == 0
    found = door.who(session)
    assert found is not None and (found.name, found.role) == ("ann", "operator")
    assert door.log_in("ann", "rungs", "1.2.3.4") == (None, 0.0)
    assert door.log_in("nobody", "rungs and rails", "1.2.3.4") == (None, 0.0)


def test_a_session_cannot_be_forged_prolonged_or_used_elsewhere(monkeypatch: pytest.MonkeyPatch):
    account = Account.make("ann", "rungs and rails")
    door = Accounts([account], KEY)
    session, _ = door.log_in("ann", "rungs and rails", "")
    assert session is not None
    name, until, seal = session.split(".")
    for wrong in ("", "x", "a.b", "a.b.c", f"{name}.{int(until) + 1}.{seal}", session[:-1] + "0z"):
        assert door.who(wrong) is None
    assert Accounts([account], b"j" * 32).who(session) is None
    assert Accounts([Account.make("ann", "new password")], KEY).who(session) is None
    assert Accounts([], KEY).who(session) is None
    monkeypatch.setattr(accounts.time, "time", lambda: int(until) + 1)
    assert door.who(session) is None


def test_wrong_passwords_make_one_wait_and_the_right_one_does_not_help_then():
    door = Accounts([Account.make("ann", "rungs and rails")], KEY)
    waits = [door.log_in("ann", "wrong", "1.2.3.4")[1] for _ in range(accounts.FREE_TRIES)]
    assert waits[:-1] == [0.0] * (accounts.FREE_TRIES - 1) and waits[-1] > 0
    session, wait = door.log_in("ann", "rungs and rails", "5.6.7.8")
    assert session is None and wait > 0


def test_the_throttle_forgets_the_oldest_and_stays_small(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(accounts, "REMEMBERED_KEYS", 3)
    throttle = Throttle()
    for number in range(10):
        throttle.failed([f"name {number}"])
    assert len(throttle._tries) == 3


def test_waits_double_up_to_a_minute():
    throttle = Throttle()
    waits = [throttle.failed(["name ann"]) for _ in range(15)]
    assert waits[4:8] == [1.0, 2.0, 4.0, 8.0] and waits[-1] == accounts.LONGEST_WAIT_S


def test_accounts_are_kept_privately_and_without_the_password(tmp_path: Path):
    assert read_accounts(tmp_path) == []
    add_account(tmp_path, Account.make("ann", "rungs and rails"))
    add_account(tmp_path, Account.make("gus", "just looking", "guest"))
    add_account(tmp_path, Account.make("ann", "another one"))
    assert [(a.name, a.role) for a in read_accounts(tmp_path)] == [
        ("gus", "guest"),
        ("ann", "operator"),
    ]
    path = tmp_path / "accounts.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "another one" not in path.read_text()
    accounts.remove_account(tmp_path, "gus")
    with pytest.raises(NotFound):
        accounts.remove_account(tmp_path, "gus")


def test_a_damaged_accounts_file_lets_nobody_in(tmp_path: Path):
    (tmp_path / "accounts.json").write_text("[{")
    with pytest.raises(HomeUnusable, match="Nobody is let in"):
        read_accounts(tmp_path)


def test_the_secret_is_made_once_and_is_private(tmp_path: Path):
    secret = read_secret(tmp_path)
    assert len(secret) == 32 and read_secret(tmp_path) == secret
    assert stat.S_IMODE((tmp_path / "secret.key").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("name", "password"), [("a b", "long enough"), ("ann", "short"), ("", "x")]
)
def test_poor_names_and_passwords_are_refused(name: str, password: str):
    with pytest.raises(StudioError):
        Account.make(name, password)


def test_a_guess_at_a_password_costs_16_mib_and_its_time():
    spec = importlib.util.find_spec(accounts.__name__)
    assert spec is not None and spec.loader is not None
    shipped = importlib.util.module_from_spec(spec)  # other tests hash in no time
    spec.loader.exec_module(shipped)
    account = shipped.Account.make("ann", "rungs and rails")
    salt = bytes.fromhex(account.salt)
    key = hashlib.scrypt(b"rungs and rails", salt=salt, n=2**14, r=8, p=1)
    assert account.digest == key.hex() and len(salt) == 16
    assert account.knows("rungs and rails") and not account.knows("rungs and rail")


def test_names_may_be_chinese():
    account = Account.make("王芳", "rungs and rails")
    door = Accounts([account], KEY)
    session, _ = door.log_in("王芳", "rungs and rails", "")
    assert session is not None and session.isascii() and door.who(session) == account
