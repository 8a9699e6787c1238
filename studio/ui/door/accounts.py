"""Who may come in: accounts in the home, passwords as scrypt hashes, sessions as signed cookies.

Nothing here knows about HTTP. With no account at all everybody is the operator `local`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from studio.core.errors import HomeUnusable, NotFound, StudioError

Role = Literal["operator", "guest"]

SESSION_S = 7 * 24 * 3600
"""How long a login lasts."""
FREE_TRIES = 5
"""Wrong passwords per name or address before waiting begins."""
LONGEST_WAIT_S = 60.0
REMEMBERED_KEYS = 5000
SCRYPT_COST = 2**14
"""Of one guess at a password: 16 MiB and 40 ms."""

_NAME = re.compile(r"[\w.@-]{1,64}")


@dataclass(frozen=True)
class Account:
    """One person who may log in. The password is not in here, only its salted hash."""

    name: str
    role: Role
    salt: str = field(repr=False)
    digest: str = field(repr=False)

    @classmethod
    def make(cls, name: str, password: str, role: Role = "operator") -> Account:
        """Return an account for a name and a password; raise StudioError when they cannot do."""
        if not _NAME.fullmatch(name):
            raise StudioError(
                f"{name!r} cannot be an account name.",
                hint="Use up to 64 letters, digits, dots, dashes, underscores or @.",
            )
        if len(password) < 8:
            raise StudioError("The password is too short.", hint="Use at least 8 characters.")
        salt = secrets.token_hex(16)
        return cls(name, role, salt, _scrypt(password, salt))

    def knows(self, password: str) -> bool:
        """Tell whether this is the password. Takes about 40 ms, on purpose."""
        return hmac.compare_digest(self.digest, _scrypt(password, self.salt))


class Accounts:
    """The accounts that are in force, and the key that signs their sessions."""

    def __init__(self, accounts: Iterable[Account], secret: bytes) -> None:
        self._by_name = {account.name: account for account in accounts}
        self._secret = secret
        self._throttle = Throttle()
        self.cookie = "ladder_session_" + hashlib.sha256(secret).hexdigest()[:8]
        """Named by home: cookies do not tell ports apart, and one host may have two studios."""

    def __bool__(self) -> bool:
        return bool(self._by_name)

    def log_in(self, name: str, password: str, address: str) -> tuple[str | None, float]:
        """Return a session for the right password, else None; and the seconds to wait, if any.

        The wait grows with wrong passwords, for the name and for the address alike.
        """
        keys = (f"name {name}", f"address {address}")
        wait = self._throttle.wait_s(keys)
        if wait > 0:
            return None, wait
        account = self._by_name.get(name, _NOBODY)
        if account.knows(password) and account is not _NOBODY:
            self._throttle.forget(keys)
            return self._sign(account, int(time.time()) + SESSION_S), 0.0
        return None, self._throttle.failed(keys)

    def who(self, session: str) -> Account | None:
        """Return whose session this is; None when it is forged, old or of somebody removed."""
        try:
            name64, until, _ = session.split(".")
            name = base64.urlsafe_b64decode(name64 + "=" * (-len(name64) % 4)).decode()
            account = self._by_name[name]
            good = hmac.compare_digest(session, self._sign(account, int(until)))
        except (ValueError, KeyError):
            return None
        return account if good and int(until) > time.time() else None

    def _sign(self, account: Account, until: int) -> str:
        """Tie name and end to the password's hash, so that a new password ends old sessions."""
        name = base64.urlsafe_b64encode(account.name.encode()).decode().rstrip("=")
        head = f"{name}.{until}"  # no padding: browsers and clients quote a "=" in a cookie
        text = f"{head}.{account.digest}".encode()
        return f"{head}.{hmac.new(self._secret, text, hashlib.sha256).hexdigest()}"


class Throttle:
    """Remembers wrong passwords for a while, in bounded memory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tries: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wait_s(self, keys: Iterable[str]) -> float:
        """Return the seconds until the next try is heard."""
        now = time.monotonic()
        with self._lock:
            return max((self._tries.get(key, (0, 0.0))[1] - now for key in keys), default=0.0)

    def failed(self, keys: Iterable[str]) -> float:
        """Count a wrong password and return the wait that follows from it."""
        now, longest = time.monotonic(), 0.0
        with self._lock:
            for key in keys:
                count = self._tries.pop(key, (0, 0.0))[0] + 1
                over = count - FREE_TRIES
                wait = min(2.0**over, LONGEST_WAIT_S) if over >= 0 else 0.0
                self._tries[key] = (count, now + wait)
                longest = max(longest, wait)
            while len(self._tries) > REMEMBERED_KEYS:
                self._tries.popitem(last=False)
        return longest

    def forget(self, keys: Iterable[str]) -> None:
        """Start again from nothing after a right password."""
        with self._lock:
            for key in keys:
                self._tries.pop(key, None)


def read_accounts(home: Path) -> list[Account]:
    """Return the accounts kept in the home; empty when there are none."""
    path = home / "accounts.json"
    try:
        return [Account(**row) for row in json.loads(path.read_text())]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError) as error:
        raise HomeUnusable(
            f"The accounts in {path} cannot be read: {error}.",
            hint="Nobody is let in while that is so. Mend the file, or remove it and add "
            "the accounts again.",
        ) from error


def add_account(home: Path, account: Account) -> None:
    """Keep an account, replacing one of the same name."""
    others = [other for other in read_accounts(home) if other.name != account.name]
    _write_private(home / "accounts.json", json.dumps([asdict(a) for a in [*others, account]]))


def remove_account(home: Path, name: str) -> None:
    """Forget an account; its sessions end at the next start. Raise NotFound."""
    accounts = read_accounts(home)
    left = [account for account in accounts if account.name != name]
    if len(left) == len(accounts):
        raise NotFound(f"There is no account {name}.")
    _write_private(home / "accounts.json", json.dumps([asdict(a) for a in left]))


def read_secret(home: Path) -> bytes:
    """Return the home's signing key, made on first use and readable by its owner only."""
    path = home / "secret.key"
    try:
        secret = bytes.fromhex(path.read_text().strip())
    except FileNotFoundError:
        secret = b""
    except ValueError:
        secret = b""
    if len(secret) < 32:
        secret = secrets.token_bytes(32)
        _write_private(path, secret.hex())
    return secret


def _write_private(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    os.replace(temporary, path)


def _scrypt(password: str, salt: str) -> str:
    key = hashlib.scrypt(password.encode(), salt=bytes.fromhex(salt), n=SCRYPT_COST, r=8, p=1)
    return key.hex()


_NOBODY = Account("", "guest", "00" * 16, "")
"""Checked when the name is unknown, so that the time taken does not tell."""
