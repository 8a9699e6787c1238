"""Figures in words: names, units, definitions and the sentences of verdicts and comparisons.

What a figure is stands in `studio.bench.definitions`; here it is said in a language. Knows nothing
of Gradio, so the command line, reports and plots say the same.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from studio.bench.definitions import SHARE, definition
from studio.bench.said import Said
from studio.ui import units
from studio.ui.i18n import say, words

_BEFORE_DIGIT = re.compile(r"([\u4e00-\u9fff])(\d)")
"""Chinese is written with a space before a number."""


def label(lang: str, name: str) -> str:
    """Return a figure's whole name: `Time to first token, P90`."""
    return _named(lang, name, "label", ", " if lang == "en" else "，")


def short(lang: str, name: str) -> str:
    """Return a figure's name for the head of a column: `TTFT P90`."""
    return _named(lang, name, "short", " ")


def unit(name: str) -> str:
    """Return the unit as it is shown: `ms`, `tok/s`, `%`; empty for a count."""
    told = definition(name).unit
    return "%" if told == SHARE else told


def axis(lang: str, name: str) -> str:
    """Return a figure's name with its unit, for an axis: `TTFT P90 (ms)`."""
    told, held = short(lang, name), unit(name)
    return f"{told} ({held})" if held and held not in told else told


def formula(lang: str, name: str) -> str:
    """Return how a figure is defined, in a sentence or two; empty for one nobody has words for."""
    what = definition(name)
    if not what.known:
        return ""
    text = say(lang, f"measures.formula.{what.base}")
    if not what.statistic:
        return text
    stop = "。" if lang == "zh" else "."
    part = say(lang, f"measures.statistic.{what.statistic}")
    told = say(lang, f"measures.statistic_said.{what.statistic}")
    joint = f"{part}：{told}" if lang == "zh" else f"{part}: {told}"
    return f"{text} {joint}{stop}".replace("。 ", "。")


def condition(lang: str, name: str) -> str:
    """Return the name of a condition: `Users at once`; as it is where nobody has words for it."""
    key = f"measures.condition.{name}"
    return say(lang, key) if key in words(lang) else name


def shown(name: str, value: float | None, *, with_unit: bool = True) -> str:
    """Return a value as people read it: `254 ms`, `4,216 tok/s`, `98.3 %`, a dash for none."""
    if value is None or not math.isfinite(value):
        return units.number(None)
    if definition(name).unit == SHARE:
        percent = f"{value * 100:.1f}".rstrip("0").rstrip(".")
        return f"{percent} %" if with_unit else percent
    whole = int(value) if float(value).is_integer() and abs(value) < 1_000_000 else value
    return units.number(whole, unit(name) if with_unit else "")


def change(percent: float | None) -> str:
    """Return a difference in percent with its sign: `+49.3 %`."""
    if percent is None or not math.isfinite(percent):
        return "–"
    if abs(percent) >= 1000:
        percent = round(percent, 2 - math.floor(math.log10(abs(percent))))
    digits = 1 if abs(percent) < 100 else 0
    return f"{percent:+,.{digits}f} %".replace("-", "\N{MINUS SIGN}")


def between(interval: tuple[float, float] | None) -> str:
    """Return the interval of a ratio in percent of the base: `+45.1 % … +53.4 %`."""
    if interval is None:
        return units.number(None)
    low, high = ((end - 1) * 100 for end in interval)
    return f"{change(low)} … {change(high)}"


def sentence(lang: str, said: Said) -> str:
    """Return one sentence of a verdict or a comparison, its figures written out.

    A comparison of one row has shorter words, where `<key>_one` has any.
    """
    alone = f"{said.key}_one"
    key = alone if said.values.get("rows") == 1 and alone in words(lang) else said.key
    text = say(lang, key, **{k: _value(lang, k, v) for k, v in said.values.items()})
    return _BEFORE_DIGIT.sub(r"\1 \2", text) if lang == "zh" else text


def sentences(lang: str, said: Iterable[Said]) -> list[str]:
    """Return the sentences of a verdict or a comparison, in order."""
    return [sentence(lang, one) for one in said]


def _named(lang: str, name: str, kind: str, joint: str) -> str:
    what = definition(name)
    if not what.known:
        return name
    text = say(lang, f"measures.{kind}.{what.base}")
    if not what.statistic:
        return text
    return f"{text}{joint}{say(lang, f'measures.statistic.{what.statistic}')}"


def _value(lang: str, key: str, value: Any) -> str:
    """Write one value of a sentence: a load, a metric, limits, a list of names, a number."""
    if isinstance(value, Mapping):
        if key == "limits":
            return _joined(lang, [f"{_limit(k)} ≤ {_number(v)} ms" for k, v in value.items()])
        kind, n = next(iter(value.items()))
        return say(lang, f"measures.load.{kind}{'_one' if n == 1 else ''}", n=_number(n))
    if key == "metric":
        return label(lang, str(value))
    if key == "what":
        return condition(lang, str(value))
    if key == "names":
        return _joined(lang, [condition(lang, name) for name in value])
    if key == "interval":
        return between(value)
    if key in ("low", "high") and isinstance(value, (int, float)):
        return change(value)
    return _number(value) if isinstance(value, (int, float)) else str(value)


def _limit(limit: str) -> str:
    """Return the short name of a limit: `ttft_ms` is `TTFT`."""
    return {"ttft_ms": "TTFT", "tpot_ms": "TPOT", "e2el_ms": "E2E"}.get(limit, limit)


def _number(value: float) -> str:
    return units.number(int(value) if float(value).is_integer() else value)


def _joined(lang: str, parts: list[str]) -> str:
    return ("、" if lang == "zh" else ", ").join(parts)
