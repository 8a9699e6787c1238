"""How a comparison looks: its head, the way to the votes, who wins, the table, the answers.

Turns what `quality_look` gathered into HTML; nothing here asks, votes or launches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from studio.quality.desk import SideBySide
from studio.quality.summary import Judged, Overview
from studio.quality.table import Cell, Column, Table
from studio.quality.winrate import Bias, WinRate
from studio.ui import measures, units
from studio.ui import widgets as w
from studio.ui.i18n import say
from studio.ui.quality.look import Seen
from studio.ui.quality.room import category
from studio.ui.sentences import translate

MOST_QUESTIONS = 100


def head_html(lang: str, seen: Seen) -> str:
    """Return state, models, progress and buttons of one comparison."""
    title = seen.name or (seen.run.spec.name if seen.run else "")
    facts = [w.badge(lang, seen.state), f"<h3>{w.esc(title)}</h3>"]
    if seen.run is not None:
        facts.append(w.link(say(lang, "quality.run"), "runs", run=seen.run.id))
    line = [f"<span>{w.esc(say(lang, 'quality.started'))} {w.when(lang, seen.begun_at)}</span>"]
    if seen.overview is not None:
        count = say(lang, "quality.asked", n=seen.overview.num_questions)
        line.append(f"<span>{w.esc(count)}</span>")
        failed = sum(model.failed for model in seen.overview.models)
        if failed:
            text = say(lang, "quality.failed_answers", n=failed)
            line.append(w.tag(text, tone="bad", icon_name="alert"))
    far = ""
    if seen.alive:
        share = seen.progress.done / seen.progress.total if seen.progress else None
        text = translate(lang, seen.progress.text) if seen.progress else ""
        far = w.bar(share, label=text)
    return (
        f'<div class="l-study-bar"><div class="l-study-title">{"".join(facts)}</div>'
        f'<div class="l-study-line">{"".join(line)}</div>{far}'
        f'<div class="l-actions">{"".join(_buttons(lang, seen))}</div></div>'
    )


def vote_html(lang: str, seen: Seen, *, open_eyes: bool) -> str:
    """Return the way into the voting room, and what is left out of it."""
    standing = seen.standing
    if standing is None or seen.overview is None or len(seen.overview.models) < 2:
        if seen.overview is not None and len(seen.overview.models) == 1:
            return w.note(say(lang, "quality.one_model"))
        return ""
    notes = [
        say(lang, f"quality.left_out.{key}", n=number)
        for key, number in (("same", standing.same), ("missing", standing.missing))
        if number
    ]
    if not standing.of:
        return w.note(" ".join([say(lang, "quality.nothing_to_vote"), *notes]), icon_name="scale")
    done = standing.voted >= standing.of
    key = "over_again" if done else "go_on" if standing.voted else "begin"
    button = (
        f'<button type="button" class="l-button {"" if done else "primary"}" '
        f'data-room-open="{w.esc(seen.name)}">{w.icon("scale")}'
        f"<span>{w.esc(say(lang, f'quality.vote.{key}'))}</span></button>"
    )
    count = say(lang, "quality.voted", n=standing.voted, of=standing.of)
    lead = (
        f'<div class="l-vote-lead">{button}{w.bar(standing.voted / standing.of, label=count)}</div>'
    )
    eyes = ""
    if not done:
        kind = "close_eyes" if open_eyes else "open_eyes"
        eyes = (
            f'<button type="button" class="l-button quiet small" data-quality-eyes>'
            f"{w.icon('eye')}<span>{w.esc(say(lang, f'quality.{kind}'))}</span></button>"
        )
    about = f'<p class="l-sub">{w.esc(" ".join([say(lang, "quality.vote.about"), *notes]))}</p>'
    return w.card(say(lang, "quality.vote.head"), lead + about, foot=eyes)


def wins_html(lang: str, seen: Seen, *, hidden: bool) -> str:
    """Return who wins against whom, by people and by a judge, each with its interval."""
    overview = seen.overview
    if overview is None:
        return ""
    parts = []
    if overview.num_votes and not hidden:
        body = wins(lang, overview.versus) + _leans(lang, overview.vote_bias, "votes")
        voters = ", ".join(_voter(lang, voter) for voter in overview.voters)
        parts.append(w.card(say(lang, "quality.win.votes"), body, side=w.tag(voters)))
    for judged in overview.judged:
        parts.append(_judge(lang, overview, judged, hidden))
    return "".join(part for part in parts if part)


def wins(lang: str, versus: Mapping[tuple[str, str], WinRate]) -> str:
    """Return a bar for each two models: won, tied, lost, and the rate with its interval."""
    seen, bars = set(), []
    ranked = sorted(versus.items(), key=lambda item: -(item[1].rate or 0))
    for (model, against), rate in ranked:
        if frozenset((model, against)) in seen or not rate.num:
            continue
        seen.add(frozenset((model, against)))
        bars.append(_win(lang, model, against, rate))
    return f'<div class="l-wins">{"".join(bars)}</div>'


def table_html(lang: str, found: Table, *, everything: bool, hidden: bool) -> str:
    """Return models down, figures across; those of votes and judges only when they may be seen."""
    columns = [c for c in found.columns if not (hidden and c.group in ("votes", "judge"))]
    rows = [row for row in found.rows if any(column.key in row.cells for column in columns)]
    if not rows or not columns:
        return ""
    head = "".join(_head(lang, column) for column in columns)
    body = ""
    for row in rows:
        cells = "".join(
            _cell(column, row.cells.get(column.key), found.best(column.key) == row.label)
            for column in columns
        )
        source = f"<small>{w.esc(_short(row.source))}</small>" if row.source else ""
        body += f"<tr><td><b>{w.esc(row.label)}</b>{source}</td>{cells}</tr>"
    html = (
        '<div class="l-scroll"><table class="l-table l-quality-table"><thead><tr>'
        f"<th>{w.esc(say(lang, 'quality.table.model'))}</th>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )
    if any(cell.part for row in rows for cell in row.cells.values()):
        html += f'<p class="l-sub">{w.esc(say(lang, "quality.table.part"))}</p>'
    text = say(lang, "quality.table.one" if everything else "quality.table.all")
    side = (
        f'<button type="button" class="l-button quiet small" data-quality-all>'
        f"{w.esc(text)}</button>"
    )
    return w.card(say(lang, "quality.table.head"), html, side=side)


def answers_html(
    lang: str, rows: Sequence[SideBySide], marks: Mapping[tuple[str, str], float]
) -> str:
    """Return every question with its answers by name; those still to vote on stay shut."""
    if not rows:
        return ""
    items = "".join(_question(lang, row, marks) for row in rows[:MOST_QUESTIONS])
    shut = sum(row.blind for row in rows)
    note = ""
    if shut:
        note = w.note(say(lang, "quality.answers.blind", n=shut), icon_name="eye")
    side = w.tag(units.number(len(rows)))
    body = f'{note}<div class="l-asked">{items}</div>'
    return w.card(say(lang, "quality.answers.head"), body, side=side)


# pieces -----------------------------------------------------------------------------------------


def _buttons(lang: str, seen: Seen) -> list[str]:
    found: list[str] = []
    if seen.alive and seen.run is not None:
        text = say(lang, "quality.stop")
        found.append(w.action(text, "quality-stop", seen.key, icon_name="square", kind="danger"))
        return found
    if not seen.name:
        return found
    left = seen.overview is not None and any(
        model.unasked or model.failed for model in seen.overview.models
    )
    if left:
        text = say(lang, "quality.resume")
        found.append(w.action(text, "quality-resume", seen.name, icon_name="play", kind="primary"))
    for kind, icon in (("report", "chart"), ("journal", "book")):
        text, hint = say(lang, f"study.{kind}"), say(lang, f"study.{kind}_hint")
        found.append(
            f'<a class="l-button" target="_blank" href="ladder/bench/{kind}/{w.esc(seen.name)}" '
            f'title="{w.esc(hint)}">{w.icon(icon)}<span>{w.esc(text)}</span></a>'
        )
    confirm = say(lang, "quality.delete_confirm", name=seen.name)
    found.append(
        w.action(
            say(lang, "study.delete"),
            "quality-delete",
            seen.name,
            icon_name="trash",
            kind="quiet",
            confirm=confirm,
        )
    )
    return found


def _win(lang: str, model: str, against: str, rate: WinRate) -> str:
    parts = "".join(
        f'<i class="l-win-{kind}" style="flex:{number}">{number}</i>'
        for kind, number in (("a", rate.wins), ("tie", rate.ties), ("b", rate.losses))
        if number
    )
    span, share = rate.interval, rate.rate
    if span is None or share is None:
        return ""
    scale = (
        '<div class="l-win-scale" aria-hidden="true"><i style="left:0;right:0"></i>'
        f'<i class="l-win-span" style="left:{span.low * 100:.1f}%;'
        f'width:{(span.high - span.low) * 100:.1f}%"></i><i class="l-win-half" style="left:50%">'
        f'</i><i class="l-win-dot" style="left:{share * 100:.1f}%"></i></div>'
    )
    key = "better" if rate.decided and share > 0.5 else "worse" if rate.decided else "open"
    said = say(lang, f"quality.win.{key}", model=model, against=against)
    figures = say(
        lang,
        "quality.win.figures",
        rate=units.percent(share),
        low=units.percent(span.low),
        high=units.percent(span.high),
        wins=rate.wins,
        ties=rate.ties,
        losses=rate.losses,
    )
    return (
        f'<section class="l-win"><header><b>{w.esc(model)}</b><b>{w.esc(against)}</b></header>'
        f'<div class="l-win-bar" role="img" aria-label="{w.esc(figures)}">{parts}</div>{scale}'
        f"<p>{w.esc(said)}<br><small>{w.esc(figures)}</small></p></section>"
    )


def _judge(lang: str, overview: Overview, judged: Judged, hidden: bool) -> str:
    """Return what one judge made of the answers, and how far it can be trusted."""
    body = ""
    if judged.mode == "pairwise" and not hidden:
        body = wins(lang, overview.judged_versus) + _leans(lang, judged.bias, "judge")
    elif judged.mode == "single" and not hidden:
        body = _scores(lang, overview)
    notes = [say(lang, "quality.judge.num", n=judged.num)]
    for key in ("unreadable", "failed", "disagreed"):
        number = getattr(judged, key)
        if number:
            notes.append(say(lang, f"quality.judge.{key}", n=number, of=judged.pairs))
    if hidden:
        body = w.note(say(lang, "quality.judge.hidden"), icon_name="eye")
    body += f'<p class="l-sub">{w.esc(" · ".join(notes))}</p>'
    title = say(lang, f"quality.judge.{judged.mode}")
    return w.card(title, body, side=w.tag(judged.judge, icon_name="scale"))


def _scores(lang: str, overview: Overview) -> str:
    """Return each model's mean mark, and by category."""
    names = [name for name in overview.categories if any(name in m.scores for m in overview.models)]
    head = [say(lang, "quality.table.model"), say(lang, "quality.judge.score")]
    head += [category(lang, name) for name in names]
    rows = []
    for model in overview.models:
        if model.score is None:
            continue
        span = model.score.interval
        mean = units.number(model.score.mean)
        if span is not None:
            mean += f" ({units.number(span.low)}–{units.number(span.high)})"
        marks = [model.scores.get(name) for name in names]
        rows.append([model.label, mean, *(units.number(m.mean if m else None) for m in marks)])
    return w.rows(head, rows, numeric=range(1, len(head)))


def _leans(lang: str, bias: Bias, who: str) -> str:
    """Return a warning when the side itself decides; empty when it does not."""
    if not bias.leans or bias.rate is None:
        return ""
    side = "left" if bias.rate > 0.5 else "right"
    text = say(lang, f"quality.leans.{who}.{side}", share=units.percent(bias.rate))
    return w.note(text, tone="warn", icon_name="alert")


def _voter(lang: str, voter: str) -> str:
    return say(lang, "quality.me") if voter == "me" else voter


def _head(lang: str, column: Column) -> str:
    group = say(lang, f"quality.group.{column.group}")
    name = column.name
    if column.group != "lm-eval" and column.group != "predict":
        name = measures.axis(lang, column.name)
    more = f" · {column.results}" if column.key.startswith(f"{column.results}/") else ""
    return (
        f'<th class="l-num" title="{w.esc(measures.formula(lang, column.name))}">{w.esc(name)}'
        f"<br><small>{w.esc(group + more)}</small></th>"
    )


def _cell(column: Column, cell: Cell | None, best: bool) -> str:
    if cell is None:
        return '<td class="l-num">–</td>'
    share = column.unit == "share"

    def plain(value: float) -> str:
        return f"{value * 100:.0f}" if share else units.number(float(value))

    text = plain(cell.value) + ("*" if cell.part else "")
    extra = []
    if cell.low is not None and cell.high is not None:
        extra.append(f"{plain(cell.low)}–{plain(cell.high)}")
    if cell.num:
        extra.append(f"n={cell.num}")
    small = f"<small>{w.esc(' · '.join(extra))}</small>" if extra else ""
    mark = " l-best" if best else ""
    return f'<td class="l-num{mark}">{w.esc(text)}{small}</td>'


def _question(lang: str, row: SideBySide, marks: Mapping[tuple[str, str], float]) -> str:
    question = row.question
    tag = w.tag(category(lang, question.category))
    if row.blind:
        icon = w.icon("eye")
        return f'<div class="l-asked-shut">{icon}<span>{w.esc(question.turns[0])}</span>{tag}</div>'
    answers = "".join(
        '<article class="l-room-answer"><header>'
        f"<b>{w.esc(label)}</b>{_mark(lang, marks.get((question.id, label)))}</header>"
        + (
            "".join(f'<div class="l-room-text">{w.esc(text.strip())}</div>' for text in one.turns)
            or f'<div class="l-room-text l-room-none">{w.esc(translate(lang, one.error))}</div>'
        )
        + "</article>"
        for label, one in row.answers.items()
    )
    turns = "".join(f"<p>{w.esc(text)}</p>" for text in question.turns[1:])
    return (
        f'<details class="l-asked-one"><summary>{w.icon("right")}'
        f"<span>{w.esc(question.turns[0])}</span>{tag}</summary>{turns}"
        f'<div class="l-room-answers">{answers}</div></details>'
    )


def _mark(lang: str, mark: float | None) -> str:
    if mark is None:
        return ""
    return w.tag(say(lang, "quality.judge.mark", n=units.number(mark)), icon_name="scale")


def _short(source: str) -> str:
    """Return the last two parts of a path or hub id."""
    return "/".join(source.rstrip("/").split("/")[-2:])
