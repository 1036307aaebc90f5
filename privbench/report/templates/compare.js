// Two cells, each with all of its seeds, on the images and victims that both have.
const comparison = at("compare");
const sides = [...comparison.querySelectorAll(".picker")].map((host) => picker(host, OF_SETTING, () => compare()));
let scatter = null;
let scatterTurn = 0;

// Cells of the same attack and setting: one for each seed.
const seedsOf = (cell) => records.filter((c) => c.setting === cell.setting && c.attack === cell.attack
  && c.defense === cell.defense && c.strength === cell.strength);
// Cells of an attack and setting whose victim another one has too: scores are of those.
const shared = (cell, other) => seedsOf(cell).filter((c) => seedsOf(other).some((d) => d.victim === c.victim));
const same = (a, b) => seedsOf(a).some((c) => c.key === b.key);

// Mean scores of each shared image over shared victims: [image, A, B].
function pairedImages(a, b, name) {
  const found = new Map();
  for (const one of seedsOf(a)) {
    const other = seedsOf(b).find((c) => c.victim === one.victim);
    if (!other || !one.scores[name] || !other.scores[name]) continue;
    const where = new Map(data.indices[other.index].map((index, at) => [index, at]));
    data.indices[one.index].forEach((index, at) => {
      if (!where.has(index)) return;
      const sums = found.get(index) || [0, 0, 0];
      sums[0] += one.scores[name][at];
      sums[1] += other.scores[name][where.get(index)];
      sums[2] += 1;
      found.set(index, sums);
    });
  }
  return [...found].map(([index, [x, y, n]]) => [index, x / n, y / n]);
}

// Mean difference and Student's t interval over images; null under five images.
function difference(pairs) {
  const values = pairs.map(([, x, y]) => x - y);
  const n = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  if (n < 5) return { mean, n };
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1);
  const half = data.t[n - 1] * Math.sqrt(variance / n);
  return { mean, n, low: mean - half, high: mean + half };
}

const signed = (value, m) => (value > 0 ? "+" : "") + value.toFixed(m.decimals);

function verdict(a, b, m, found) {
  if (same(a, b)) return "A and B are the same cell: choose another one.";
  if (!found.n) return "inconclusive: A and B share no image of the same victim.";
  const level = found.n >= data.few ? "95 %, " : "";
  const shift = `${m.title}: A − B = ${signed(found.mean, m)}`;
  const accuracy = (cell, other) => {
    const held = shared(cell, other);
    return held.reduce((sum, c) => sum + c.accuracy[0], 0) / held.length;
  };
  const cost = `Accuracy: A ${accuracy(a, b).toFixed(4)}, B ${accuracy(b, a).toFixed(4)}.`;
  if (found.low === undefined) return `${shift}; inconclusive: only ${found.n} images in common. ${cost}`;
  const span = `[${signed(found.low, m)}, ${signed(found.high, m)}] (${level}Student's t over ${found.n} images)`;
  const more = found.low > 0 ? m.more : found.high < 0 ? -m.more : 0;
  const who = more > 0 ? "A leaks more than B" : more < 0 ? "B leaks more than A" : "inconclusive";
  const seeds = shared(a, b).length;
  const over = seeds > 1 ? ` Scores are means over ${seeds} seeds.` : "";
  return `${who}. ${shift} ${span}. ${cost}${over}`;
}

function compare() {
  const [a, b] = sides.map((side) => side.cell());
  if (!a || !b || !metric()) return;
  const m = metric();
  const pairs = pairedImages(a, b, m.name);
  comparison.querySelector(".verdict").textContent = verdict(a, b, m, difference(pairs));
  drawPairs(a, b, pairs, m);
  drawScatter();
}

// Records of A and B of one victim that both have, with images.
function ofOneVictim(a, b) {
  for (const one of seedsOf(a)) {
    const other = seedsOf(b).find((c) => c.victim === one.victim && c.recovered);
    if (one.recovered && other) return [one, other];
  }
  return null;
}

// The images on which A and B differ most, as one victim has them.
function drawPairs(cellA, cellB, pairs, m) {
  const row = comparison.querySelector(".row");
  row.textContent = "";
  const shown = same(cellA, cellB) ? null : ofOneVictim(cellA, cellB);
  if (!shown) return;
  const [a, b] = shown;
  if (shared(a, b).length > 1) add(row, "p", `Pictures: seed ${a.seed}; scores: mean over seeds.`, { class: "soft" });
  const widest = [...pairs].sort((p, q) => Math.abs(q[1] - q[2]) - Math.abs(p[1] - p[2])).slice(0, 8);
  for (const [index, x, y] of widest) {
    const [inA, inB] = [a, b].map((cell) => data.indices[cell.index].indexOf(index));
    if (inA < 0 || inB < 0) continue;
    const column = add(row, "figure");
    thumb(column, a.originals, inA, 76, `original ${index}`);
    add(column, "div", `image ${index}`);
    thumb(column, a.recovered, inA, 76, `A, image ${index}`);
    add(column, "div", `A ${fixed(x, m)}`);
    thumb(column, b.recovered, inB, 76, `B, image ${index}`);
    add(column, "div", `B ${fixed(y, m)}`);
  }
}

function drawScatter() {
  const host = comparison.querySelector(".chart");
  const [a, b] = sides.map((side) => side.cell());
  if (scatter) scatter.finalize();
  scatter = null;
  host.textContent = "";
  if (!a || !b || same(a, b) || !metric()) return;
  const m = metric();
  const values = pairedImages(a, b, m.name).map(([index, x, y]) => ({ index, x, y }));
  if (!values.length) return;
  const ends = values.flatMap(({ x, y }) => [x, y]);
  const domain = [Math.min(...ends), Math.max(...ends)];
  const scale = { domain, nice: true, zero: false };
  const specification = {
    width: 300, height: 240,
    layer: [
      { data: { values: [{ x: domain[0], y: domain[0] }, { x: domain[1], y: domain[1] }] },
        mark: { type: "line", style: "guide", strokeDash: [5, 4], strokeWidth: 1 },
        encoding: { x: { field: "x", type: "quantitative" }, y: { field: "y", type: "quantitative" } } },
      { data: { values }, mark: { type: "circle", size: 36, color: "#0072B2", opacity: 0.7 },
        encoding: {
          x: { field: "x", type: "quantitative", scale, title: `A: ${m.title}, an image each` },
          y: { field: "y", type: "quantitative", scale, title: `B: ${m.title}` } } },
    ],
  };
  const width = host.clientWidth;
  const options = { actions: false, renderer: "svg", config: theme(specification, width) };
  const turn = (scatterTurn += 1);
  vegaReady.then(() => {
    if (turn !== scatterTurn) return; // another one was chosen meanwhile
    window.vegaEmbed(host, fitted(specification, width), options).then((made) => { scatter = made; });
  });
}

listeners.push(() => {
  const held = records.filter((c) => c.setting === chosen.setting);
  comparison.hidden = !held.some((c) => !same(held[0], c));
  if (comparison.hidden) return;
  const kept = sides.map((side) => side.cell() && held.find((c) => c.key === side.cell().key));
  const first = kept[0] || held.find((c) => c.strength) || held[0];
  const other = (c) => !same(first, c);
  const rival = (c) => other(c) && c.strength === first.strength && c.defense === first.defense;
  const second = kept[1] || held.find((c) => rival(c) && c.attack !== first.attack)
    || held.find((c) => other(c) && c.attack === first.attack) || held.find(other) || first;
  sides[0].show(first);
  sides[1].show(second);
});
redraws.push(drawScatter);
