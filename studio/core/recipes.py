"""Recipes: YAML files that say an engine and the settings that matter. Read, check, write back."""

from __future__ import annotations

import copy
import difflib
import io
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from studio.core.errors import NotFound, RecipeInvalid
from studio.core.plain_yaml import NotPlain, read_plain
from studio.core.settings import ROOT

M = TypeVar("M", bound=BaseModel)
_OWN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")


class Bilingual(BaseModel):
    """A sentence in both languages."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    en: str
    zh: str

    def __getitem__(self, lang: str) -> str:
        """Return the sentence in `lang`, English when it is another language."""
        return self.zh if lang.startswith("zh") else self.en


class Recipe(BaseModel):
    """One recipe file. `settings` are checked by the engine it names, not here."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    engine: str
    title: Bilingual
    about: Bilingual
    cards: int | list[int] | None = None
    """How many idle cards, or which ones; None lets the engine say."""
    first: bool = False
    """Offered first to somebody who has never run anything."""
    settings: dict[str, Any] = Field(default_factory=dict)
    name: str = Field("", exclude=True)
    path: Path | None = Field(None, exclude=True)


def check_settings(model: type[M], values: Any, where: str) -> M:
    """Validate settings; raise RecipeInvalid with one sentence per fault and a 'did you mean'."""
    if not isinstance(values, dict):
        raise RecipeInvalid(
            f"{where} must be a mapping of names to values, not {_kind(values)}.",
            hint="Write one `name: value` per line.",
        )
    try:
        return model.model_validate(values)
    except ValidationError as error:
        faults = [_sentence(item, list(model.model_fields)) for item in error.errors()]
        raise RecipeInvalid(
            f"{where}: {' '.join(faults)}",
            hint="Correct the settings and launch again; nothing was started.",
        ) from error


def read_recipe(path: Path) -> Recipe:
    """Read one file; raise NotFound or RecipeInvalid with the line where it goes wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise NotFound(f"There is no recipe {path}.", hint="`recipes` lists them.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeInvalid(f"{path} cannot be read: {error}.") from error
    recipe = check_settings(Recipe, _parse(text, path), str(path.name))
    return recipe.model_copy(update={"name": _name(path), "path": path})


def write_settings(path: Path, settings: dict[str, Any]) -> None:
    """Change the settings of a recipe file in place; comments and order stay."""
    from ruamel.yaml import YAML  # heavy, and needed only when somebody saves

    yaml = YAML()
    tree = yaml.load(path.read_text(encoding="utf-8"))
    kept = tree.setdefault("settings", {})
    for name in set(kept) - set(settings):
        del kept[name]
    for name, value in settings.items():
        if name not in kept or kept[name] != value:
            kept[name] = value
    buffer = io.StringIO()
    yaml.dump(tree, buffer)
    path.write_text(buffer.getvalue(), encoding="utf-8")


def write_recipe(path: Path, recipe: Recipe) -> None:
    """Write a recipe as a file that `read_recipe` reads back, whole or not at all."""
    from ruamel.yaml import YAML  # heavy, and needed only when somebody saves

    yaml = YAML()
    yaml.default_flow_style = False
    tree = recipe.model_dump(mode="json", exclude_defaults=True)
    buffer = io.StringIO()
    buffer.write(f"# {recipe.title.en}\n#   python app.py run {_name(path)}\n")
    yaml.dump(tree, buffer)
    half = path.with_name(f".{path.name}.half")
    half.write_text(buffer.getvalue(), encoding="utf-8")
    half.replace(path)


class Recipes:
    """The shipped recipes and the user's own; read when asked for, kept while unchanged."""

    def __init__(self, own: Path, shipped: Path = ROOT / "recipes") -> None:
        self._folders = (shipped, own)
        self._kept: dict[Path, tuple[float, Recipe]] = {}

    def list(self, engine: str | None = None) -> list[Recipe]:
        """Return the recipes that can be read, by name; broken ones raise only in `get`."""
        found = {}
        for folder in self._folders:
            for path in sorted(folder.rglob("*.yaml")):
                try:
                    recipe = self._read(path)
                except RecipeInvalid:
                    continue
                if engine is None or recipe.engine == engine:
                    found[recipe.name] = recipe
        return [found[name] for name in sorted(found)]

    def get(self, name: str) -> Recipe:
        """Return a recipe by its name (`vllm/smoke`) or by the path of its file."""
        if name.endswith((".yaml", ".yml")):
            return self._read(Path(name))
        for folder in reversed(self._folders):
            path = folder / f"{name}.yaml"
            if path.resolve().is_relative_to(folder.resolve()) and path.is_file():
                return self._read(path)
        names = [recipe.name for recipe in self.list()]
        raise NotFound(
            f"There is no recipe {name}.", hint=did_you_mean(name, names) or "`recipes` lists them."
        )

    def save(self, name: str, recipe: Recipe) -> Recipe:
        """Write one of the user's own recipes as `<engine>/<name>`; raise RecipeInvalid.

        A recipe of that name that is the user's own is replaced; a shipped one is not hidden.
        """
        if not _OWN_NAME.fullmatch(name):
            raise RecipeInvalid(
                f"{name!r} is not a name for a recipe.",
                hint="Use letters, digits, dots, dashes and underscores, at most 60.",
            )
        shipped, own = self._folders
        full = f"{recipe.engine}/{name}"
        if (shipped / f"{full}.yaml").exists():
            raise RecipeInvalid(
                f"{full} is a recipe that comes with the studio.", hint="Choose another name."
            )
        path = own / f"{full}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_recipe(path, recipe)
        return self._read(path)

    def _read(self, path: Path) -> Recipe:
        try:
            stamp = path.stat().st_mtime
        except OSError:
            return read_recipe(path)
        kept = self._kept.get(path)
        if kept is None or kept[0] != stamp:
            kept = self._kept[path] = (stamp, read_recipe(path))
        return kept[1]


def parse_overrides(pairs: list[str]) -> dict[str, Any]:
    """Turn `key=value` words of the command line into settings; values are read as YAML."""
    found: dict[str, Any] = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or not key:
            raise RecipeInvalid(
                f"{pair!r} is not of the form key=value.", hint="Example: max_model_len=2048"
            )
        found[key.strip()] = _parse(value, Path("the command line"))
    return found


def parse_yaml(text: str, where: str) -> Any:
    """Read YAML; raise RecipeInvalid with the line where it goes wrong."""
    return _parse(text, Path(where))


def did_you_mean(wrong: str, known: list[str]) -> str:
    """Return 'Did you mean x?' for the nearest known word, or nothing."""
    near = difflib.get_close_matches(wrong, known, n=1, cutoff=0.6)
    return f"Did you mean {near[0]}?" if near else ""


def _parse(text: str, path: Path) -> Any:
    try:
        return copy.deepcopy(_plain(text))  # the caller may change what it gets
    except NotPlain:
        return _parse_slowly(text, path)


@lru_cache(maxsize=512)
def _plain(text: str) -> Any:
    return read_plain(text)


def _parse_slowly(text: str, path: Path) -> Any:
    from ruamel.yaml.error import MarkedYAMLError, YAMLError  # heavy: not for the first page

    try:
        return copy.deepcopy(_tree(text))
    except MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise RecipeInvalid(
            f"{path}{line} is not YAML: {error.problem or error.context}.",
            hint="Check the indentation and the quotes there.",
        ) from error
    except YAMLError as error:
        raise RecipeInvalid(f"{path} is not YAML: {error}.") from error


@lru_cache(maxsize=512)
def _tree(text: str) -> Any:
    from ruamel.yaml import YAML  # heavy, and needed only for what is not plain

    return YAML(typ="safe", pure=True).load(text)


def _sentence(item: Any, known: list[str]) -> str:
    name = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        guess = did_you_mean(str(item["loc"][-1]), known)
        return f"{name} is not a setting here. {guess}".strip()
    if item["type"] == "missing":
        return f"{name} is missing."
    return f"{name} = {item['input']!r}: {_lower(item['msg'])}."


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _kind(value: Any) -> str:
    names = {list: "a list", str: "a text", type(None): "nothing", bool: "a yes/no"}
    return names.get(type(value), "a number" if isinstance(value, (int, float)) else "something")


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"
