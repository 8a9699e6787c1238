"""The forms of what can be done to a data set: each a sentence, a few fields and a verb.

Every result is a new version or a new data set; what was there before stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from studio.data.model import KEPT_CODES, DataSet
from studio.ui import units
from studio.ui import widgets as w
from studio.ui.data.faults import name_of
from studio.ui.data.look import kind_name
from studio.ui.data.work import MERGE
from studio.ui.i18n import say

CONVERTIBLE = ("alpaca", "sharegpt", "openai")


def page(lang: str, found: DataSet, others: Sequence[DataSet]) -> str:
    """Return a form for each operation that fits; `others` are sets it may be merged with."""
    cards = [
        _form(lang, found, "deduplicate", [_choice(lang, "by", ("exact", "text"), "deduplicate")]),
        _form(lang, found, "filter", _filter(lang)),
        _form(lang, found, "split", _split(lang, found), name=False),
        _form(
            lang,
            found,
            "sample",
            [
                _number(lang, "rows", _few(found), least=1, most=max(1, found.rows - 1)),
                _number(lang, "seed", 42, least=0),
            ],
        ),
    ]
    if found.kind in CONVERTIBLE:
        kinds = [kind for kind in CONVERTIBLE if kind != found.kind]
        options = [(kind, kind_name(lang, kind)) for kind in kinds]
        cards.append(_form(lang, found, "convert", [_select(lang, "kind", options)]))
    cards.append(_merge(lang, found, others))
    key = "data.change.of_sample" if found.built_in else "data.change.kept"
    lead = w.note(say(lang, key, name=found.name))
    return f'{lead}<div class="l-ops">{"".join(cards)}</div>'


def _few(found: DataSet) -> int:
    """Return how many rows a first trial needs, of as many as there are."""
    return max(1, min(1000, found.rows // 2))


def _filter(lang: str) -> list[str]:
    drops = "".join(
        f'<label class="l-check"><input type="checkbox" name="drop" value="{code}">'
        f"{w.esc(say(lang, 'data.op.filter.drop', what=name_of(lang, code)))}</label>"
        for code in sorted(KEPT_CODES)
    )
    return [
        _number(lang, "min_chars", None, least=0),
        _number(lang, "max_chars", None, least=1),
        _text(lang, "contains", wide=True),
        _text(lang, "matches", wide=True, code=True),
        f'<label class="l-check l-wide"><input type="checkbox" name="exclude">'
        f"{w.esc(say(lang, 'data.field.exclude'))}</label>",
        f'<div class="l-wide">{drops}</div>',
    ]


def _split(lang: str, found: DataSet) -> list[str]:
    return [
        _number(lang, "val", 0.1, least=0, step="any"),
        _number(lang, "seed", 42, least=0),
        _text(lang, "train_name", hint=f"{found.name}-train"),
        _text(lang, "val_name", hint=f"{found.name}-val"),
    ]


def _merge(lang: str, found: DataSet, others: Iterable[DataSet]) -> str:
    boxes = "".join(
        f'<label class="l-check"><input type="checkbox" name="names" value="{w.esc(item.key)}">'
        f'<span>{w.esc(item.name)} <span class="l-muted">'
        f"{w.esc(say(lang, 'data.rows_n', n=units.number(item.rows)))}</span></span></label>"
        for item in others
    )
    if not boxes:
        none = w.note(say(lang, "data.op.merge.none", kind=kind_name(lang, found.kind)))
        return w.card(say(lang, "data.op.merge.title"), none)
    body = [f'<div class="l-wide">{boxes}</div>']
    body.append(_text(lang, "as_name", wide=True, hint=f"{found.name}-more", required=True))
    return _form(lang, found, MERGE, body, name=False)


def _form(lang: str, found: DataSet, op: str, body: Sequence[str], *, name: bool = True) -> str:
    if name:
        hint = f"{found.name}-own" if found.built_in else say(lang, "data.field.next_version")
        body = [*body, _text(lang, "as_name", wide=True, hint=hint)]
    told = w.esc(say(lang, f"data.op.{op}.text"))
    return (
        f'<section class="l-card l-op" data-gathered data-op="{op}"><header>'
        f"<h3>{w.esc(say(lang, f'data.op.{op}.title'))}</h3></header><p>{told}</p>"
        f'<input type="hidden" name="op" value="{op}">'
        f'<input type="hidden" name="set" value="{w.esc(found.key)}">'
        f'<div class="l-op-fields">{"".join(body)}</div>'
        f'<footer><button type="button" class="l-button" data-act="apply" data-gather '
        f'data-value=""><span>{w.esc(say(lang, f"data.op.{op}.verb"))}</span></button></footer>'
        "</section>"
    )


def _number(
    lang: str,
    name: str,
    value: float | None,
    *,
    least: float | None = None,
    most: float | None = None,
    step: str = "1",
) -> str:
    shown = "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    limits = "" if least is None else f' min="{least:g}"'
    limits += "" if most is None else f' max="{most}"'
    return (
        f"<label>{w.esc(say(lang, f'data.field.{name}'))}"
        f'<input type="number" name="{name}" step="{step}" value="{shown}"{limits}></label>'
    )


def _text(
    lang: str,
    name: str,
    *,
    wide: bool = False,
    hint: str = "",
    required: bool = False,
    code: bool = False,
) -> str:
    kind = ' class="l-wide"' if wide else ""
    needed = " required" if required else ""
    mono = ' class="l-mono"' if code else ""
    return (
        f"<label{kind}>{w.esc(say(lang, f'data.field.{name}'))}"
        f'<input type="text" name="{name}"{mono} placeholder="{w.esc(hint)}" spellcheck="false" '
        f'autocomplete="off"{needed}></label>'
    )


def _choice(lang: str, name: str, values: Iterable[str], op: str) -> str:
    return _select(lang, name, [(v, say(lang, f"data.op.{op}.{name}.{v}")) for v in values])


def _select(lang: str, name: str, options: Iterable[tuple[str, str]]) -> str:
    items = "".join(
        f'<option value="{w.esc(value)}">{w.esc(text)}</option>' for value, text in options
    )
    return (
        f'<label class="l-wide">{w.esc(say(lang, f"data.field.{name}"))}'
        f'<select name="{name}">{items}</select></label>'
    )
