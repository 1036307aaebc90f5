// Every image of the chosen cell, and the chosen image at every strength of its defense.
const images = at("images");
const strengths = images.querySelector(".strengths");
const grid = images.querySelector(".grid");
let imageAt = 0;
const imagePicker = picker(images.querySelector(".picker"), OF_CELL, drawImages);

function imageScores(cell, at) {
  return data.metrics
    .filter((m) => cell.scores[m.name])
    .map((m) => withUnit(cell.scores[m.name][at], m))
    .join(", ");
}

function drawImages(cell) {
  images.hidden = !cell;
  if (!cell) return;
  const indices = data.indices[cell.index];
  imageAt = Math.min(imageAt, indices.length - 1);
  drawGrid(cell, indices);
  selectImage(cell, indices, imageAt);
}

function drawGrid(cell, indices) {
  grid.textContent = "";
  if (!cell.recovered) {
    add(grid, "p", cell.why || "no images");
    return;
  }
  indices.forEach((index, at) => {
    const button = add(grid, "button", null, { type: "button", title: `image ${index}: ${imageScores(cell, at)}` });
    thumb(button, cell.originals, at, 40, `original ${index}`);
    thumb(button, cell.recovered, at, 40, `reconstruction ${index}`);
    button.addEventListener("click", () => selectImage(cell, indices, at));
  });
}

function selectImage(cell, indices, at) {
  imageAt = at;
  [...grid.querySelectorAll("button")].forEach((button, n) => {
    button.setAttribute("aria-pressed", n === at);
    button.tabIndex = n === at ? 0 : -1;
  });
  const blind = data.metrics.filter((m) => cell.blind[m.name] !== undefined && cell.blind[m.name] !== null)
    .map((m) => withUnit(cell.blind[m.name], m)).join(", ");
  images.querySelector(".chosen").textContent =
    `Image ${indices[at]} by ${cell.attack}, ${cell.name}: ${imageScores(cell, at)}` +
    ` (blind baseline over all images: ${blind})`;
  drawStrengths(cell, indices[at]);
}

let lastDefense = null; // which the strip shows while the undefended image is chosen

function drawStrengths(cell, index) {
  if (cell.strength) lastDefense = cell.defense;
  strengths.textContent = "";
  if (!cell.recovered) return;
  const original = add(strengths, "figure");
  thumb(original, cell.originals, imageAt, 112, `original ${index}`);
  add(original, "figcaption", "original");
  const same = records.filter((c) => c.setting === cell.setting && c.attack === cell.attack && c.recovered
    && c.victim === cell.victim && (c.strength === 0 || c.defense === lastDefense));
  const line = same.sort((a, b) => a.strength - b.strength || (a.key === cell.key ? -1 : b.key === cell.key ? 1 : 0))
    .filter((c, n, all) => !n || c.strength !== all[n - 1].strength);
  for (const other of line) {
    const at = data.indices[other.index].indexOf(index);
    if (at < 0) continue;
    const button = add(strengths, "button", null, { type: "button", "aria-pressed": other.key === cell.key });
    thumb(button, other.recovered, at, 112, `reconstruction at strength ${other.strength}`);
    add(button, "div", other.strength ? `${other.strength}` : "no defense");
    const m = metric();
    if (other.scores[m.name]) add(button, "div", withUnit(other.scores[m.name][at], m));
    button.addEventListener("click", () => {
      imagePicker.show(other);
      strengths.querySelector("[aria-pressed=true]").focus({ preventScroll: true });
    });
  }
}

grid.addEventListener("keydown", (event) => {
  const buttons = [...grid.querySelectorAll("button")];
  const here = buttons.indexOf(document.activeElement);
  if (here < 0) return;
  const across = buttons.filter((b) => b.offsetTop === buttons[0].offsetTop).length;
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: across, ArrowUp: -across }[event.key];
  const next = event.key === "Home" ? 0 : event.key === "End" ? buttons.length - 1 : here + step;
  if (!buttons[next]) return;
  event.preventDefault();
  buttons[next].click();
  buttons[next].focus();
});

function openImages(cell, scroll) {
  if (cell.setting !== chosen.setting) {
    chosen.setting = cell.setting;
    at("setting").value = cell.setting;
    update();
  }
  imagePicker.show(cell);
  if (scroll) images.scrollIntoView({ block: "start" });
}

listeners.push(() => {
  const cell = imagePicker.cell();
  const held = records.filter((c) => c.setting === chosen.setting);
  const alike = cell && held.find((c) => c.key === cell.key);
  const first = alike || held.find((c) => c.strength && c.recovered) || held[0];
  if (first) imagePicker.show(first);
  else images.hidden = true;
  const stems = data.files.filter((stem) => stem.startsWith("images-"));
  const host = images.querySelector(".grids");
  host.textContent = stems.length ? "Grids for a paper: " : "";
  stems.forEach((stem) => {
    host.append(`${stem.slice(7)}:`);
    links(host, stem);
  });
});
