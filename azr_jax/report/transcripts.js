"use strict";
// Every text of a model goes through textContent; nothing here makes markup from a string.
(() => {
  const PAGE = 25;
  const byId = (id) => document.getElementById(id);
  const rows = JSON.parse(byId("transcripts").textContent);
  const KEYS = { run: "run", step: "step", role: "role", type: "type", outcome: "outcome", stop: "stop_reason" };
  const filters = Object.fromEntries(Object.keys(KEYS).map((name) => [name, byId(`filter-${name}`)]));
  const search = byId("search");
  const order = byId("order");
  const list = byId("list");
  let matches = rows;
  let shown = 0;

  // Controls that reorder or hide text are written out, so that what is read is what the model wrote.
  const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]|[\u{e0000}-\u{e007f}]/gu;
  const visible = (text) =>
    String(text ?? "").replace(/\r\n/g, "\n").replace(HIDDEN, (char) => "[U+" + char.codePointAt(0).toString(16).toUpperCase().padStart(4, "0") + "]");
  const number = (value) => (typeof value === "number" ? value.toFixed(2) : "-");

  for (const row of rows) row.text = `${row.prompt}\n${row.response}\n${row.task_id}`.toLowerCase();

  function element(tag, className, text) {
    const node = document.createElement(tag);
    node.className = className;
    node.textContent = visible(text);
    return node;
  }

  // The text, with the searched words marked.
  function marked(tag, text, words) {
    const node = element(tag, "", "");
    const whole = visible(text);
    const lower = whole.toLowerCase();
    let from = 0;
    if (words && lower.length === whole.length) {
      for (let at = lower.indexOf(words); at >= 0; at = lower.indexOf(words, from)) {
        node.append(whole.slice(from, at), element("mark", "", whole.slice(at, at + words.length)));
        from = at + words.length;
      }
    }
    node.append(whole.slice(from));
    return node;
  }

  function side(title, text, words) {
    const node = element("div", "", "");
    node.append(element("h4", "", title), marked("pre", text, words));
    return node;
  }

  for (const [name, select] of Object.entries(filters)) {
    const values = [...new Set(rows.map((row) => String(row[KEYS[name]])))];
    values.sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
    for (const value of values) {
      const option = element("option", "", value);
      option.value = value;
      select.append(option);
    }
    select.parentElement.hidden = name === "run" && values.length < 2;
    select.addEventListener("change", restart);
  }

  function card(row) {
    const node = document.createElement("details");
    const summary = element("summary", "", "");
    const run = filters.run.parentElement.hidden ? "" : `${row.run} · `;
    summary.append(
      element("span", "num", `step ${row.step}`),
      element("span", "", `${run}${row.role} ${row.type}`),
      element("span", row.correct ? "chip good" : "chip bad", `${row.correct ? "✓" : "✗"} ${row.outcome}`),
      element("span", "num", `reward ${number(row.reward)}`),
      element("span", "num", row.role === "propose" ? `acc ${number(row.acc)}` : ""),
      element("span", "peek", row.response.slice(0, 160)),
    );
    node.append(summary);
    node.addEventListener("toggle", () => {
      if (!node.open || node.childElementCount > 1) return;
      const pair = element("div", "pair", "");
      const words = search.value.toLowerCase();
      pair.append(side(`prompt · ${row.task_id} · ${row.language}`, row.prompt, words), side(`response · ended by ${row.stop_reason}`, row.response, words));
      node.append(pair);
    });
    return node;
  }

  const ORDERS = {
    newest: (a, b) => b.step - a.step,
    low: (a, b) => (a.reward ?? 0) - (b.reward ?? 0),
    high: (a, b) => (b.reward ?? 0) - (a.reward ?? 0),
  };

  function matching() {
    const words = search.value.toLowerCase();
    const wanted = Object.entries(filters).filter(([, select]) => select.value);
    const chosen = rows.filter((row) => wanted.every(([name, select]) => select.value === String(row[KEYS[name]])) && row.text.includes(words));
    return ORDERS[order.value] ? chosen.sort(ORDERS[order.value]) : chosen;
  }

  function showMore() {
    list.append(...matches.slice(shown, shown + PAGE).map(card));
    shown = Math.min(shown + PAGE, matches.length);
    byId("count").textContent = `${shown} of ${matches.length} shown`;
    byId("more").hidden = shown >= matches.length;
  }

  function restart() {
    matches = matching();
    list.replaceChildren();
    shown = 0;
    showMore();
  }

  let typing = 0;
  search.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(restart, 150);
  });
  order.addEventListener("change", restart);
  byId("more").addEventListener("click", showMore);
  restart();
})();
