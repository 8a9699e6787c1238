"""The frame of the edit desk: pictures with their mask, prompt, settings, the button, the result.

It is sent once; `assets/js/image.js` fills and collects it, live places keep the result, the worker
and the gallery current. What a guest may not do is not drawn.
"""

from __future__ import annotations

from collections.abc import Sequence

from studio.images.request import Limits
from studio.ui import widgets as w
from studio.ui.i18n import LANGS, say
from studio.ui.image.samples import SAMPLES

ACCEPTED = "image/png,image/jpeg,image/webp,image/gif,image/bmp"
EXAMPLES: dict[str, tuple[str, ...]] = {
    "background": ("lake",),
    "sign": ("shop",),
    "clothes": ("anna",),
    "style": ("lake",),
    "together": ("anna", "ben"),
    "object": ("table",),
    "night": ("shop",),
    "remove": ("table",),
}
"""What one may ask for, and the sample pictures that suit it when none was given."""
SIZES = ("512x512", "1024x1024", "1184x896", "896x1184", "1376x768", "768x1376")
SHAPES = ("1:1", "1:1", "4:3", "3:4", "16:9", "9:16")


def desk(lang: str, limits: Limits, *, operator: bool) -> str:
    """Return the whole desk for one kind of visitor."""
    batch = _batch(lang) if operator else ""
    return (
        f'<div class="l-img" data-image-desk data-most="{limits.max_pictures}" '
        f'data-largest="{limits.max_bytes}">'
        f'<div class="l-img-ask">{_pictures(lang, limits)}{_words(lang, limits)}'
        f"{_more(lang, limits)}{_launch(lang)}</div>"
        f'<div class="l-img-answer" data-image-answer>'
        f"{w.live('image/now', every_s=1)}</div></div>"
        f"{batch}{_gallery(lang)}"
    )


# the left half ----------------------------------------------------------------------------------


def _pictures(lang: str, limits: Limits) -> str:
    said = {key: w.esc(say(lang, f"image.drop.{key}")) for key in ("title", "choose", "samples")}
    hint = w.esc(
        say(
            lang,
            "image.drop.hint",
            most=limits.max_pictures,
            mb=round(limits.max_bytes / 2**20),
            mp=round(limits.max_pixels / 1e6),
        )
    )
    samples = "".join(
        f'<button type="button" data-image-sample="{name}" '
        f'title="{w.esc(say(lang, f"image.sample.{name}"))}">'
        f'<img src="ladder/image/sample/{name}?small=1" loading="lazy" '
        f'alt="{w.esc(say(lang, f"image.sample.{name}"))}"></button>'
        for name in SAMPLES
    )
    tried = f'<div class="l-img-samples" data-image-samples><span>{said["samples"]}</span>'
    tried = f"{tried}{samples}</div>"
    again = w.esc(say(lang, "image.again.use"))
    return (
        f'<section class="l-img-pictures">'
        f'<div class="l-drop l-img-drop" data-image-drop>{w.icon("image")}<b>{said["title"]}</b>'
        f'<button type="button" class="l-button" data-image-choose>{w.icon("upload")}'
        f"<span>{said['choose']}</span></button><small>{hint}</small>"
        f'<input type="file" multiple accept="{ACCEPTED}" data-image-file '
        f'aria-label="{said["choose"]}"></div>'
        f'<div class="l-img-stage" data-image-stage hidden>'
        f'<div class="l-img-frame" data-image-frame><img data-image-first alt="'
        f'{w.esc(say(lang, "image.picture_n", n=1))}"><canvas data-image-mask></canvas>'
        f'<i class="l-img-ring" data-image-ring hidden></i></div></div>'
        f"{_tools(lang)}"
        f'<div class="l-img-row"><ol class="l-img-slots" data-image-slots hidden></ol>'
        f'<button type="button" class="l-img-add" data-image-choose data-image-add hidden>'
        f"{w.icon('plus')}<span>{w.esc(say(lang, 'image.slot.add'))}</span></button>"
        f"{tried}</div>"
        f'<div class="l-note l-tone-accent l-img-again" data-image-again hidden>{w.icon("history")}'
        f'<span data-image-again-said></span><button type="button" class="l-button small" '
        f"data-image-again-use>{again}</button></div>"
        f'<p class="l-note l-tone-bad" data-image-told hidden role="alert"></p>'
        "</section>"
    )


def _tools(lang: str) -> str:
    """Return the tools that draw a mask over the first picture."""

    def tool(name: str, icon: str) -> str:
        said = w.esc(say(lang, f"image.mask.{name}"))
        return (
            f'<button type="button" class="l-button small" data-image-tool="{name}" '
            f'aria-pressed="false" title="{w.esc(say(lang, f"image.mask.{name}_help"))}">'
            f"{w.icon(icon)}<span>{said}</span></button>"
        )

    def act(name: str, icon: str) -> str:
        said = w.esc(say(lang, f"image.mask.{name}"))
        return (
            f'<button type="button" class="l-tool" data-image-mask-{name} title="{said}" '
            f'aria-label="{said}" disabled>{w.icon(icon)}</button>'
        )

    size = w.esc(say(lang, "image.mask.size"))
    return (
        f'<div class="l-img-tools" data-image-tools role="group" hidden '
        f'aria-label="{w.esc(say(lang, "image.mask.label"))}">'
        f"{tool('brush', 'pencil')}{tool('box', 'square')}{tool('erase', 'minus')}"
        f'<label title="{size}"><i class="l-img-dot" aria-hidden="true"></i><input type="range" '
        f'min="1" max="30" value="8" data-image-size aria-label="{size}"></label>'
        f"{act('undo', 'undo')}{act('clear', 'trash')}"
        f"<small>{w.esc(say(lang, 'image.mask.hint'))}</small></div>"
    )


def _words(lang: str, limits: Limits) -> str:
    chips = "".join(
        f'<div class="l-img-chips" data-image-examples="{code}" lang="{code}"'
        f"{'' if code == lang else ' hidden'}>{_chips(code)}</div>"
        for code in LANGS
    )
    other = next(code for code in LANGS if code != lang)
    swap = (
        f'<button type="button" class="l-img-swap" data-image-swap="{other}" '
        f'data-own="{lang}" lang="{other}">{w.esc(say(other, "image.examples_in"))}</button>'
    )
    return (
        '<section class="l-img-words"><label class="l-img-label" for="image-prompt">'
        f"{w.esc(say(lang, 'image.prompt'))}</label>"
        f'<textarea id="image-prompt" rows="3" maxlength="{limits.max_prompt_chars}" '
        f'data-image-value="prompt" '
        f'placeholder="{w.esc(say(lang, "image.prompt_hint"))}"></textarea>'
        f'<div class="l-img-examples"><span>{w.esc(say(lang, "image.examples"))}</span>{swap}</div>'
        f"{chips}</section>"
    )


def _chips(lang: str) -> str:
    return "".join(
        f'<button type="button" data-samples="{" ".join(samples)}" '
        f'data-image-example="{w.esc(say(lang, f"image.example.{name}"))}" '
        f'title="{w.esc(say(lang, f"image.example.{name}"))}">'
        f"{w.esc(say(lang, f'image.short.{name}'))}</button>"
        for name, samples in EXAMPLES.items()
    )


def _more(lang: str, limits: Limits) -> str:
    auto = w.esc(say(lang, "image.more.size_auto", mp=1))
    sizes = f'<option value="auto">{auto}</option>' + "".join(
        f'<option value="{size}">{shape} · {size.replace("x", " × ")}</option>'
        for size, shape in zip(SIZES, SHAPES, strict=True)
        if _pixels(size) <= limits.max_output_pixels
    )
    sizes += f'<option value="own">{w.esc(say(lang, "image.more.size_own"))}</option>'
    width, height = (w.esc(say(lang, f"image.more.{side}")) for side in ("width", "height"))
    own = (
        f'<span class="l-img-own" data-image-own hidden>'
        f'<input type="number" data-image-width min="64" step="32" value="1024" '
        f'aria-label="{width}"><i>×</i><input type="number" data-image-height min="64" step="32" '
        f'value="1024" aria-label="{height}"></span>'
    )
    counts = [str(n) for n in range(1, min(4, limits.max_n) + 1)]
    fields = (
        _field(
            lang,
            "negative_prompt",
            f'<input type="text" id="image-negative_prompt" data-image-value="negative_prompt" '
            f'maxlength="{limits.max_prompt_chars}">',
            wide=True,
        )
        + _field(
            lang,
            "num_inference_steps",
            f'<input type="number" id="image-num_inference_steps" min="2" '
            f'max="{limits.max_steps}" step="1" inputmode="numeric" '
            f'data-image-value="num_inference_steps">',
        )
        + _field(
            lang,
            "true_cfg_scale",
            '<input type="number" id="image-true_cfg_scale" min="1" max="20" step="0.5" '
            'inputmode="decimal" data-image-value="true_cfg_scale">',
        )
        + _field(
            lang,
            "size",
            f'<select id="image-size" data-image-value="size">{sizes}</select>{own}',
        )
        + _field(
            lang,
            "seed",
            _switch(lang, "seed", ("random", "kept"))
            + '<input type="number" id="image-seed" min="0" step="1" inputmode="numeric" '
            "data-image-seed hidden>",
        )
        + _field(lang, "n", _switch(lang, "n", counts, plain=True))
    )
    loras = (
        f'<div class="l-img-loras" data-image-loras hidden><span class="l-img-label">'
        f"{w.esc(say(lang, 'image.more.loras'))}</span><div></div></div>"
    )
    return (
        f'<details class="l-fold l-img-more" data-image-more><summary>{w.icon("sliders")}'
        f"{w.esc(say(lang, 'image.more.title'))}<small data-image-more-said></small></summary>"
        f'<div><div class="l-img-fields">{fields}</div>{loras}</div></details>'
    )


def _launch(lang: str) -> str:
    return (
        '<div class="l-launch l-img-launch"><button type="button" class="l-button primary big" '
        f"data-image-edit>{w.icon('wand')}<span>{w.esc(say(lang, 'image.edit'))}</span></button>"
        f"{w.live('image/worker', every_s=3, show='imageWorker')}</div>"
    )


def _field(lang: str, name: str, control: str, *, wide: bool = False) -> str:
    more = " l-wide" if wide else ""
    return (
        f'<div class="l-img-field{more}"><label for="image-{name}">'
        f"{w.esc(say(lang, f'image.more.{name}'))}</label>{control}"
        f"<small>{w.esc(say(lang, f'image.more.{name}_help'))}</small></div>"
    )


def _switch(lang: str, name: str, choices: Sequence[str], *, plain: bool = False) -> str:
    buttons = "".join(
        f'<button type="button" data-image-pick="{name}" data-value="{choice}" '
        f'aria-pressed="{"false" if number else "true"}">'
        f"{choice if plain else w.esc(say(lang, f'image.more.{name}_{choice}'))}</button>"
        for number, choice in enumerate(choices)
    )
    label = w.esc(say(lang, f"image.more.{name}"))
    return f'<div class="l-switch" role="group" aria-label="{label}">{buttons}</div>'


def _pixels(size: str) -> int:
    width, _, height = size.partition("x")
    return int(width) * int(height)


# below ------------------------------------------------------------------------------------------


def _batch(lang: str) -> str:
    said = {
        key: w.esc(say(lang, f"image.batch.{key}"))
        for key in ("title", "about", "folder", "folder_hint", "or", "files", "start")
    }
    return (
        f'<details class="l-fold l-img-batch" data-image-batch><summary>{w.icon("layers")}'
        f"<span>{said['title']}</span><small>{said['about']}</small></summary><div>"
        f'<div class="l-inline-form"><label class="l-grow">{said["folder"]}'
        f'<input type="text" data-image-folder spellcheck="false" '
        f'placeholder="{said["folder_hint"]}"></label>'
        f"<span>{said['or']}</span>"
        f'<button type="button" class="l-button" data-image-many>{w.icon("upload")}'
        f"<span>{said['files']}</span></button>"
        f'<input type="file" multiple accept="{ACCEPTED}" data-image-many-file hidden>'
        f'<button type="button" class="l-button primary" data-image-batch-start>{w.icon("play")}'
        f"<span>{said['start']}</span></button></div>"
        f'<p class="l-sub" data-image-many-said></p>'
        f"{w.live('image/batches', every_s=2)}</div></details>"
    )


def _gallery(lang: str) -> str:
    return (
        f'<section class="l-img-gallery"><div class="l-head"><h2 class="l-h2">{w.icon("history")}'
        f"{w.esc(say(lang, 'image.gallery.title'))}</h2></div>"
        f"{w.live('image/gallery', every_s=4, limit='24')}"
        f"<div data-image-end></div></section>"
    )
