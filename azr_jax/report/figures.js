"use strict";
// Shows the values under the pointer; the pictures need no script.
(() => {
  const places = JSON.parse(document.getElementById("places").textContent);
  const number = (value, share) => (share ? `${(100 * value).toFixed(1)}%` : String(Number(value.toPrecision(4))));

  function append(parent, tag, className, text) {
    const element = document.createElement(tag);
    element.className = className;
    element.textContent = text ?? "";
    parent.append(element);
    return element;
  }

  // The point of a curve at the step that is nearest to the wanted one.
  function nearest(points, step) {
    let low = 0;
    let high = points.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (points[middle][0] < step) low = middle + 1;
      else high = middle;
    }
    if (low > 0 && step - points[low - 1][0] < points[low][0] - step) low -= 1;
    return points[low];
  }

  function line(tip, curve, step, share) {
    const point = nearest(curve.points, step);
    if (!point || point[0] !== step) return;
    const row = append(tip, "div", "");
    const dot = append(row, "i", curve.pattern ? "hatched" : "");
    dot.style.backgroundColor = curve.color;
    append(row, "span", "", curve.label);
    const band = curve.band.find((values) => values[0] === step);
    const range = band ? ` (${number(band[1], share)} - ${number(band[2], share)})` : "";
    append(row, "span", "", number(point[1], share) + range);
  }

  function show(plot, cursor, tip, event) {
    const area = plot.getBoundingClientRect();
    const x = (event.clientX - area.left) / area.width;
    const y = (event.clientY - area.top) / area.height;
    const panel = places[plot.dataset.figure][plot.dataset.panel];
    const [left, top, right, bottom] = panel.box;
    const inside = x >= left && x <= right && y >= top && y <= bottom;
    const curves = inside ? panel.curves.filter((curve) => curve.points.length) : [];
    cursor.hidden = tip.hidden = curves.length === 0;
    if (!curves.length) return;
    const [first, last] = panel.steps;
    const wanted = first + ((x - left) / (right - left)) * (last - first);
    const candidates = curves.map((curve) => nearest(curve.points, wanted)[0]);
    const step = candidates.reduce((best, other) => (Math.abs(other - wanted) < Math.abs(best - wanted) ? other : best));
    const at = left + ((step - first) / (last - first)) * (right - left);
    cursor.style.left = `${100 * at}%`;
    cursor.style.top = `${100 * top}%`;
    cursor.style.height = `${100 * (bottom - top)}%`;
    tip.replaceChildren();
    append(tip, "b", "", `${panel.x} ${step}`);
    for (const curve of curves) line(tip, curve, step, panel.share);
    tip.style.top = `${100 * top}%`;
    const beyond = at > 0.6;
    tip.style.left = beyond ? "auto" : `calc(${100 * at}% + 12px)`;
    tip.style.right = beyond ? `calc(${100 * (1 - at)}% + 12px)` : "auto";
  }

  for (const plot of document.querySelectorAll(".plot")) {
    const cursor = append(plot, "div", "cursor");
    const tip = append(plot, "div", "tip");
    cursor.hidden = tip.hidden = true;
    plot.addEventListener("pointermove", (event) => show(plot, cursor, tip, event));
    plot.addEventListener("pointerleave", () => (cursor.hidden = tip.hidden = true));
  }
})();
