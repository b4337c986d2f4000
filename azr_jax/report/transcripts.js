"use strict";
// Every text of a model goes through textContent; nothing here makes markup from a string.
(() => {
  const PAGE = 20;
  const rows = JSON.parse(document.getElementById("transcripts").textContent);
  const byId = (id) => document.getElementById(id);
  const filters = { run: byId("filter-run"), step: byId("filter-step"), task: byId("filter-task"), outcome: byId("filter-outcome") };
  const search = byId("search");
  const list = byId("list");
  const count = byId("count");
  let shown = 0;

  // Controls that reorder or hide text are written out, so that what is read is what the model wrote.
  const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;
  const visible = (text) =>
    String(text ?? "").replace(/\r\n/g, "\n").replace(HIDDEN, (char) => "[U+" + char.codePointAt(0).toString(16).toUpperCase().padStart(4, "0") + "]");

  for (const row of rows) {
    row.task = `${row.role} ${row.type}`;
    row.text = `${row.prompt}\n${row.response}\n${row.task_id}`.toLowerCase();
  }

  function element(tag, className, text) {
    const made = document.createElement(tag);
    made.className = className;
    made.textContent = visible(text);
    return made;
  }

  for (const [key, select] of Object.entries(filters)) {
    const values = [...new Set(rows.map((row) => String(row[key])))];
    values.sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
    for (const value of values) {
      const option = element("option", "", value);
      option.value = value;
      select.append(option);
    }
    select.hidden = key === "run" && values.length < 2;
    select.addEventListener("change", restart);
  }

  const number = (value) => (typeof value === "number" ? value.toFixed(2) : "-");

  function card(row) {
    const made = document.createElement("details");
    const acc = row.role === "propose" ? `acc ${number(row.acc)}` : "";
    const head = [`step ${row.step}`, row.task, row.language, row.outcome, `reward ${number(row.reward)}`, acc, filters.run.hidden ? "" : row.run];
    made.append(element("summary", row.correct ? "good" : "bad", head.filter(Boolean).join("  ·  ")));
    made.addEventListener("toggle", () => {
      if (made.open && made.childElementCount === 1) {
        made.append(element("h4", "", `${row.task_id}: prompt`), element("pre", "", row.prompt));
        made.append(element("h4", "", `response, ended by ${row.stop_reason}`), element("pre", "", row.response));
      }
    });
    return made;
  }

  function matching() {
    const words = search.value.toLowerCase();
    return rows.filter((row) => row.text.includes(words) && Object.entries(filters).every(([key, select]) => !select.value || select.value === String(row[key])));
  }

  function showMore() {
    const found = matching();
    list.append(...found.slice(shown, shown + PAGE).map(card));
    shown = Math.min(shown + PAGE, found.length);
    count.textContent = `${shown} of ${found.length} shown`;
    byId("more").hidden = shown >= found.length;
  }

  function restart() {
    list.replaceChildren();
    shown = 0;
    showMore();
  }

  let typing = 0;
  search.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(restart, 150);
  });
  byId("more").addEventListener("click", showMore);
  restart();
})();
