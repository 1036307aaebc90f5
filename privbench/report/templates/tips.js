// What a point of a figure says of its cell.
function describe(cell) {
  add(tip, "strong", `${cell.attack}, ${cell.name}`);
  const images = add(tip, "div", null, { class: "row" });
  for (const at of cell.recovered ? [0, 1] : []) {
    thumb(images, cell.originals, at, 56, "original");
    thumb(images, cell.recovered, at, 56, "reconstruction");
  }
  const [accuracy, low, high] = cell.accuracy.map((x) => x.toFixed(4));
  add(tip, "div", `accuracy ${accuracy} [${low}, ${high}]`);
  for (const m of data.metrics) {
    if (!cell.intervals[m.name]) continue;
    add(tip, "div", `${m.title} ${interval(cell.intervals[m.name], m)}, blind ${fixed(cell.blind[m.name], m)}`);
  }
  if (cell.caveats) add(tip, "div", cell.caveats, { class: "warn" });
  add(tip, "code", cell.command);
}
