"""Horizontal bars with their names beside or above them and their values at the end.

Bars lie on their side so that a name may be as long as it has to be, in any language. Each group
has a heading that says what its bars have in common.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from studio.ui.charts import look
from studio.ui.charts.interval import Spread

PITCH_PX, NARROW_PITCH_PX = 34, 50
BAR_PX = 20
HEADING_PX = 34
WIDEST_NAME = 280
NAME_SIZE = 12.5
TITLE_LETTERS = 50
INNER_PX = 320
"""Width of the plot on a telephone, of 400 px and less."""
BOTTOM_PX, BARE_PX = 50, 14


@dataclass(frozen=True)
class Part:
    """A piece of a stacked bar."""

    name: str
    value: float
    colour: str


@dataclass(frozen=True)
class Bar:
    """One bar. Without a value only `text` is shown: it failed, or was not measured."""

    name: str
    value: Spread | None
    text: str
    colour: str
    hover: str = ""
    aside: str = ""
    """Said after the value, quietly: a difference, what it means."""
    ideal: float | None = None
    """Where the bar would end if all went as arithmetic wants it."""
    parts: tuple[Part, ...] = ()
    tone: str = "--l-ink"


@dataclass(frozen=True)
class Group:
    """Bars under one heading; with `scale` they have a scale of their own."""

    heading: str
    bars: tuple[Bar, ...]
    scale: float | None = None
    mark: tuple[float, str] | None = None
    """A dashed line across the group's bars and its words."""


def figure(
    groups: Sequence[Group],
    *,
    keep: str,
    narrow: bool,
    title: str = "",
    limit: tuple[float, str] | None = None,
) -> dict[str, Any]:
    """Return the figure. `title` is that of the value axis; without one there are no ticks.

    `limit` is a dashed red line through everything, with its words.
    """
    return _Rows(groups, narrow, title, limit).figure(keep)


class _Rows:
    def __init__(
        self, groups: Sequence[Group], narrow: bool, title: str, limit: tuple[float, str] | None
    ) -> None:
        self.groups = groups
        self.narrow = narrow
        self.title = title
        self.limit = limit
        self.pitch = NARROW_PITCH_PX if narrow else PITCH_PX
        self.words: list[dict[str, Any]] = []
        self.shapes: list[dict[str, Any]] = []
        self.data: list[dict[str, Any]] = []
        bars = [bar for group in groups for bar in group.bars]
        widest = max((look.text_px(bar.name, NAME_SIZE) for bar in bars), default=0)
        self.left = 12 if narrow else round(min(widest, WIDEST_NAME)) + 18
        self.right = 12 if narrow else round(max(map(_told_px, bars), default=0)) + 20
        self.top = 24 if limit else 6

    def figure(self, keep: str) -> dict[str, Any]:
        at = 0.0
        for group in self.groups:
            if group.heading:
                self._heading(group.heading, at)
                at += HEADING_PX
            begin = at
            for bar in group.bars:
                self._bar(bar, at + self.pitch - BAR_PX / 2 - 6, group.scale)
                at += self.pitch
            if group.mark:
                self._mark(group, begin, at)
        bottom = BOTTOM_PX if self.title else BARE_PX
        if self.limit:
            self._limit(*self.limit)
        lines = look.wrapped(self.title, TITLE_LETTERS) if self.narrow else []
        if lines:  # may be wider than the axis is long
            bottom += 16 * (len(lines) - 1)
            self.words.append(
                look.words_at(
                    "<br>".join(lines),
                    0,
                    0,
                    color="--l-ink-2",
                    xref="paper",
                    yref="paper",
                    xanchor="left",
                    yanchor="top",
                    yshift=-24,
                    align="left",
                )
            )
        extent = self._extent()
        layout = look.layout(
            keep=keep,
            height=round(at + self.top + bottom),
            left=self.left,
            right=self.right,
            barmode="overlay",
            bargap=0,
            annotations=self.words,
            shapes=self.shapes,
            xaxis=look.axis(
                range=[0, extent],
                title=look.x_title(self.title) if self.title and not self.narrow else None,
                showticklabels=bool(self.title),
                showgrid=bool(self.title),
                nticks=4 if self.narrow else None,  # wide: as many as have room
                tickangle=0,
                fixedrange=True,
            ),
            yaxis=look.axis(range=[at, 0], showticklabels=False, showgrid=False, fixedrange=True),
            dragmode=False,
        )
        layout["margin"] |= {"t": self.top, "b": bottom}
        return {"data": self.data, "layout": layout}

    def _extent(self) -> float:
        if not self.title and any(group.scale for group in self.groups):
            return 1.0
        bars = [bar for group in self.groups for bar in group.bars]
        ends = [bar.value.high for bar in bars if bar.value]
        ends += [bar.ideal for bar in bars if bar.ideal]
        ends += [self.limit[0]] if self.limit else []
        return max(ends, default=1.0) * 1.01 or 1.0

    def _heading(self, text: str, at: float) -> None:
        self.words.append(
            look.words_at(
                f"<b>{text}</b>",
                0,
                at + HEADING_PX - (18 if self.narrow else 8),
                color="--l-ink-2",
                font={"size": 12.5},
                xref="paper",
                xanchor="left",
                yanchor="middle",
                xshift=0 if self.narrow else 8 - self.left,
            )
        )

    def _bar(self, bar: Bar, at: float, scale: float | None) -> None:
        factor = 1 / scale if scale else 1.0
        end = 0.0
        if bar.value is not None:
            self._fill(bar, at, factor)
            end = max(bar.value.high if bar.value.n > 1 else bar.value.value, 0) * factor
        aside = f"  <span style='font-weight:400'>{bar.aside}</span>" if bar.aside else ""
        told = f"<b>{bar.text}</b>{aside}" if bar.value else bar.text
        size = {"size": NAME_SIZE}
        if self.narrow:  # both on a line of their own above the bar
            above = {"xref": "paper", "yanchor": "bottom", "yshift": BAR_PX / 2 + 1}
            room = INNER_PX - _told_px(bar)
            name = look.words_at(
                look.short(bar.name, room, NAME_SIZE), 0, at, font=size, xanchor="left", **above
            )
            value = look.words_at(
                told, 1, at, font=size, xanchor="right", bgcolor="--l-surface", **above
            )
        else:
            name = look.words_at(
                look.short(bar.name, WIDEST_NAME, NAME_SIZE),
                0,
                at,
                font=size,
                xref="paper",
                xanchor="right",
                xshift=-8,
            )
            value = look.words_at(
                told,
                end,
                at,
                font=size,
                bgcolor="--l-surface",
                borderpad=1,
                xanchor="left",
                xshift=6,
            )
        name["font"]["color"], value["font"]["color"] = "--l-ink", bar.tone
        self.words += [name, value]
        if bar.ideal:
            self.shapes.append(
                _upright(bar.ideal * factor, at - 14, at + 14, "--l-ink", 2, "solid")
            )

    def _fill(self, bar: Bar, at: float, factor: float) -> None:
        assert bar.value is not None
        shared: dict[str, Any] = {
            "type": "bar",
            "orientation": "h",
            "y": [at],
            "width": BAR_PX,
            "hovertext": [bar.hover or f"{bar.name}: {bar.text}"],
            "hoverinfo": "text",
            "cliponaxis": False,
        }
        base = 0.0
        for part in bar.parts:
            self.data.append(
                shared
                | {
                    "x": [part.value * factor],
                    "base": [base],
                    "name": part.name,
                    "marker": {"color": part.colour, "line": {"width": 0}},
                }
            )
            base += part.value * factor
        whole = shared | {
            "x": [bar.value.value * factor],
            "name": bar.name,
            "marker": {"color": "rgba(0,0,0,0)" if bar.parts else bar.colour, "line": {"width": 0}},
        }
        error = look.bars([bar.value.scaled(factor)])
        if error:
            whole["error_x"] = {**error, "color": "--l-ink-2", "thickness": 1.25}
        self.data.append(whole)

    def _mark(self, group: Group, begin: float, end: float) -> None:
        assert group.mark is not None
        value, text = group.mark
        at = value / (group.scale or 1.0)
        self.shapes.append(_upright(at, begin - 2, end, "--l-muted", 1.25, "dot"))
        self.words.append(
            look.words_at(
                text, at, begin - 4, font={"size": 11}, xanchor="center", yanchor="bottom"
            )
        )

    def _limit(self, value: float, text: str) -> None:
        line = _upright(value, 0, 1, "--l-bad", 1.5, "dash") | {"yref": "paper"}
        self.shapes.append(line)
        self.words.append(
            look.words_at(
                text,
                value,
                1,
                color="--l-bad-text",
                yref="paper",
                yanchor="bottom",
                xanchor="right",
                xshift=4,
            )
        )


def _told_px(bar: Bar) -> float:
    return look.text_px(bar.text, NAME_SIZE) + look.text_px(bar.aside, NAME_SIZE) + 14


def _upright(
    x: float, low: float, high: float, colour: str, width: float, dash: str
) -> dict[str, Any]:
    line = {"color": colour, "width": width, "dash": dash}
    ends = {"x0": x, "x1": x, "y0": low, "y1": high}
    return {"type": "line", "layer": "above", **ends, "line": line}
