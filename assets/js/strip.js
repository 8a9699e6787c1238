// The machine strip in the page's head: a meter for every card, for the CPU and the memory, each with
// what it says in full; a click goes to the run that holds the card, or to the machine.
(() => {
  const { ladder } = window;

  const text = (name, content, className = "") => {
    const node = document.createElement(name);
    node.className = className;
    node.textContent = content;
    return node;
  };

  function meter(kind, label, fill, load, wrong) {
    const node = text("button", "", `l-meter l-meter-${kind}`);
    node.type = "button";
    if (wrong) node.dataset.wrong = "";
    const track = text("span", "", "l-meter-track");
    const inside = text("i", "", "");
    inside.style.width = `${Math.round(fill * 1000) / 10}%`;
    inside.style.setProperty("--load", load ?? 0.5);
    track.append(inside);
    node.append(text("b", label), track);
    return node;
  }

  function tip(title, facts, extra = []) {
    const node = text("span", "", "l-tip");
    node.append(text("strong", title));
    for (const [key, value] of facts) {
      const line = text("span", "", "l-tip-line");
      line.append(text("span", key), text("span", value));
      node.append(line);
    }
    node.append(...extra);
    return node;
  }

  ladder.views.strip = (element, data) => {
    const fresh = document.createElement("div");
    for (const card of data.cards) {
      const node = meter("card", card.label, card.fill, card.load, card.wrong);
      const who = card.holders.map(({ run, name }) => {
        const line = text("span", name, run ? "l-tip-run" : "l-tip-other");
        return line;
      });
      if (!who.length && card.fill < 0.02) who.push(text("span", ladder.say("strip.free"), "l-tip-other"));
      if (card.wrong) who.unshift(text("span", card.wrong, "l-tip-wrong"));
      const run = card.holders.find((holder) => holder.run)?.run;
      if (run) node.dataset.ladderOpen = "runs", node.dataset.run = run;
      else node.dataset.ladderOpen = "machine";
      node.setAttribute("aria-label", `${card.title}, ${card.facts.map((f) => f.join(" ")).join(", ")}`
        + (who.length ? `, ${who.map((n) => n.textContent).join(", ")}` : ""));
      node.append(tip(card.title, card.facts, who));
      fresh.append(node);
    }
    if (!data.cards.length) {
      const none = text("span", ladder.say("strip.no_cards"), "l-meter-none");
      none.title = ladder.say("strip.no_cards_hint");
      fresh.append(none);
    }
    const cpu = meter("host", ladder.say("strip.cpu"), data.cpu.fill, 0.5, "");
    cpu.append(tip(ladder.say("strip.cpu"), [[ladder.say("strip.load"), data.cpu.text]]));
    const ram = meter("host", ladder.say("strip.ram"), data.ram.fill, 0.5, data.ram.wrong);
    ram.append(tip(ladder.say("strip.ram"), [[data.ram.wrong || ladder.say("strip.ram"), data.ram.text]]));
    for (const node of [cpu, ram]) node.dataset.ladderOpen = "machine";
    fresh.append(cpu, ram);
    ladder.morph(element, fresh);
    element.dataset.cards = data.cards.length;
  };

  document.addEventListener("DOMContentLoaded", () => {
    const strip = document.querySelector("#ladder-strip");
    if (!strip) return;
    Object.assign(strip.dataset, { ladderLive: "machine", every: "2", show: "strip" });
    ladder.adopt(strip);
  });
})();
