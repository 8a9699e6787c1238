// The log of a run: follows by byte offset, stops following when the reader scrolls up, folds
// progress bars, marks errors, searches. Fed by `ladder`'s poller with the answers of
// /ladder/run/ID/log, so a log of any length costs only what is new.
(() => {
  const MAX_LINES = 4000;
  const BAD = /\b(error|exception|traceback|fatal|fail(ed|ure)?|out of memory|killed)\b/i;
  const WARN = /\bwarn(ing)?\b/i;
  const ANSI = /\x1b\[[0-9;?]*[ -\/]*[@-~]/g;

  const line = (text) => {
    const row = document.createElement("div");
    row.className = text.startsWith("[studio] ")
      ? "l-log-own" : BAD.test(text) ? "l-log-bad" : WARN.test(text) ? "l-log-warn" : "";
    row.textContent = text;
    return row;
  };

  // Keeps only the last state of a line that was rewritten in place.
  const folded = (text) => {
    const bare = text.replace(ANSI, "").replace(/\r+$/, "");
    return bare.slice(bare.lastIndexOf("\r") + 1);
  };

  const setUp = (element) => {
    const frame = element.closest(".l-log");
    const list = frame.querySelector(".l-log-lines");
    const state = { frame, list, follow: true, open: "", last: null, filter: "" };
    const button = frame.querySelector("[data-log-follow]");
    const show = () => button.setAttribute("aria-pressed", String(state.follow));
    state.show = show;
    list.addEventListener("scroll", () => {
      const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 24;
      if (atEnd !== state.follow) { state.follow = atEnd; show(); }
    });
    button.addEventListener("click", () => {
      state.follow = !state.follow;
      show();
      if (state.follow) list.scrollTop = list.scrollHeight;
    });
    const find = frame.querySelector("[data-log-find]");
    let timer = 0;
    find.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => search(state, element.dataset.run, find.value.trim()), 250);
    });
    show();
    return state;
  };

  const search = async (state, run, wanted) => {
    const turn = state.turn = (state.turn ?? 0) + 1; // of two searches the later one counts
    const hits = state.frame.querySelector(".l-log-hits");
    if (!wanted) { hits.hidden = true; hits.replaceChildren(); return; }
    const url = `/ladder/run/${run}/search?q=${encodeURIComponent(wanted)}`;
    const answer = await (await fetch(url)).json();
    if (turn !== state.turn) return;
    const rows = (answer.hits || []).map(([number, text]) => {
      const row = line(text);
      row.prepend(Object.assign(document.createElement("i"), { textContent: number }));
      return row;
    });
    if (!rows.length) rows.push(line(answer.none || "–"));
    hits.replaceChildren(...rows);
    hits.hidden = false;
  };

  const append = (state, text) => {
    const lines = (state.open + text).split("\n");
    state.open = lines.pop();
    const rows = [];
    for (const raw of lines) {
      const bare = folded(raw);
      if (bare.trim() || !raw.includes("\r")) rows.push(line(bare));
    }
    if (state.last) state.last.remove();
    state.last = state.open ? line(folded(state.open)) : null;
    state.list.append(...rows.slice(-MAX_LINES), ...(state.last ? [state.last] : []));
    while (state.list.childElementCount > MAX_LINES) state.list.firstElementChild.remove();
    if (state.follow) state.list.scrollTop = state.list.scrollHeight;
  };

  const view = (element, answer) => {
    const state = (element.logState ||= setUp(element));
    if (state.run !== element.dataset.ladderLive) {
      Object.assign(state, { run: element.dataset.ladderLive, open: "", last: null, follow: true });
      state.list.replaceChildren();
      state.show();
    }
    if (answer.offset === undefined) return;
    if (answer.text) append(state, answer.text);
    element.dataset.query = JSON.stringify({ offset: answer.offset });
  };

  // Asks for fresh curves only when there are any, and only while they can be seen.
  const pulse = (element, answer) => {
    if (element.dataset.version === answer.version) return;
    element.dataset.version = answer.version;
    element.parentElement.querySelector("[data-act=draw]").click();
  };

  const register = () => { Object.assign(window.ladder.views, { log: view, pulse }); };
  if (window.ladder && window.ladder.views) register();
  else document.addEventListener("ladder:ready", register, { once: true });
})();
