// Live places: what a route answers, drawn again and again. They rest while they cannot be seen.
//
//   <div data-ladder-live="machine" data-every="2" data-show="strip">
//
//   ladder.views.name = (element, data)   how a [data-ladder-live data-show="name"] is drawn
//   ladder.morph(element, html)           change what differs, keep focus, scroll and open details;
//                                         an element may be given for the HTML of its children
//   ladder.adopt(element)                 begin to look after a place, or hear of its new address
//   ladder.refresh(element)               look at once
(() => {
  const { ladder } = window;
  const $$ = (selector) => [...document.querySelectorAll(selector)];

  const LOOK_MS = 1000;
  const places = new WeakMap();
  // Tells at once what comes into sight; browsers may be late about it inside scrolling columns,
  // so a resting place also looks by itself now and then.
  const seen = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const place = places.get(target);
      if (place && isIntersecting) wake(place);
    }
  });

  function inSight(element) {
    if (element.checkVisibility && !element.checkVisibility()) return false;
    const { top, bottom } = element.getBoundingClientRect();
    return bottom >= 0 && top <= window.innerHeight;
  }

  ladder.views = {
    html(element, data) {
      if (data.html === undefined) return;
      if (data.version !== undefined && element.dataset.version === String(data.version)) return;
      element.dataset.version = data.version ?? "";
      ladder.morph(element, data.html);
      element.classList.add("l-filled");
      element.dispatchEvent(new CustomEvent("ladder:shown", { bubbles: true }));
    },
  };

  ladder.adopt = (element) => {
    const { ladderLive: route, first = "" } = element.dataset;
    const known = places.get(element);
    if (!known) {
      places.set(element, { element, route, first, timer: 0, busy: false, fails: 0 });
      seen.observe(element);
    } else if (known.route !== route || known.first !== first) {
      // Gradio keeps an element and gives it another address: begin anew.
      Object.assign(known, { route, first, fails: 0 });
      if (first) element.dataset.query = first;
      delete element.dataset.version;
      anew(known);
    }
  };

  async function wake(place) {
    const { element } = place;
    clearTimeout(place.timer);
    if (!element.isConnected) return;
    if (document.hidden || place.busy) return;
    if (!inSight(element)) {
      place.timer = setTimeout(() => wake(place), LOOK_MS);
      return;
    }
    place.busy = true;
    place.again = false;
    const data = element.dataset;
    const { ladderLive: route, query: asked = "" } = data;
    const current = () => data.ladderLive === route && (data.query ?? "") === asked;
    let final = false;
    try {
      const values = asked ? JSON.parse(asked) : {};
      if (data.version) values.have = data.version;
      const answer = await ladder.get(route, values);
      await released(element);
      if (element.isConnected && current()) {
        ladder.views[data.show || "html"]?.(element, answer);
        final = answer.final;
      } else place.again = true; // something else is wanted by now: this answer is late
      place.fails = 0;
    } catch {
      place.fails += 1;
    } finally {
      place.busy = false;
    }
    if (place.again && !place.fails) return void wake(place);
    if (final) return;
    const wait = Number(data.every || 2) * 1000 * Math.min(2 ** place.fails, 8);
    place.timer = setTimeout(() => wake(place), wait);
  }

  // While an answer is on its way, what is wanted may change: it is asked for when that one is here.
  function anew(place) {
    if (place.busy) place.again = true;
    else wake(place);
  }

  ladder.refresh = (element) => {
    const place = places.get(element);
    if (place) anew(place);
  };

  // Nothing is drawn anew between the press and the release of a button in it: the release would
  // fall on whatever had taken its place.
  const PRESS_MS = 3000;
  const TAP_MS = 60; // a finger's click comes a little after it has left
  let pressed = null;
  let release = () => {};
  let free = null;
  document.addEventListener("pointerdown", ({ target }) => {
    release();
    pressed = target;
    free = new Promise((resolve) => {
      const mine = release = () => {
        if (release === mine) pressed = null;
        resolve();
      };
      setTimeout(mine, PRESS_MS);
    });
  }, true);
  for (const kind of ["pointerup", "pointercancel"]) {
    document.addEventListener(kind, () => setTimeout(release, TAP_MS), true);
  }
  const released = (element) => (pressed && element.contains(pressed) ? free : null);

  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) for (const element of $$("[data-ladder-live]")) ladder.refresh(element);
  });

  // ---- change in place ------------------------------------------------------------------------

  ladder.morph = (element, wanted) => {
    let fresh = wanted;
    if (typeof wanted === "string") {
      fresh = document.createElement(element.tagName);
      fresh.innerHTML = wanted;
    }
    children(element, fresh);
  };

  function children(old, fresh) {
    const want = [...fresh.childNodes];
    want.forEach((node, index) => {
      const have = old.childNodes[index];
      if (!have) old.append(node);
      else if (have.nodeType !== node.nodeType || have.nodeName !== node.nodeName
        || (have.id ?? "") !== (node.id ?? "")) have.replaceWith(node);
      else if (node.nodeType !== Node.ELEMENT_NODE) {
        if (have.nodeValue !== node.nodeValue) have.nodeValue = node.nodeValue;
      } else same(have, node);
    });
    while (old.childNodes.length > want.length) old.lastChild.remove();
  }

  function same(have, node) {
    for (const { name } of [...have.attributes]) {
      const kept = name === "open" && have.tagName === "DETAILS";
      if (!node.hasAttribute(name) && !kept) have.removeAttribute(name);
    }
    for (const { name, value } of node.attributes) {
      if (have.getAttribute(name) !== value) have.setAttribute(name, value);
    }
    const typing = have === document.activeElement && /INPUT|TEXTAREA|SELECT/.test(have.tagName);
    if (!typing && !have.hasAttribute("data-ladder-keep")) children(have, node);
  }
})();
