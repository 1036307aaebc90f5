// Figures: drawn anew for the width, for the colours of the system, and for another choice.
const tip = at("tip");
const BRIGHT = { "#0072B2": "#56A9E8", "#009E73": "#2CC79A", "#D55E00": "#FF8A3D", "#7A5195": "#B995D6",
  "#8C6D31": "#CFAE63", "#666666": "#B0B0B0" }; // of the same hue, on a dark page
const LETTER = 6.6; // pixels of a letter of a legend, on average
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const drawn = []; // views to finalize before they are drawn anew
const vegaReady = unpack("vega").then((code) => { add(document.head, "script", code); });

// Columns of a legend whose longest label has room; on a phone one, in which it may be cut.
function legendColumns(specification, width) {
  const names = distinct((specification.data?.values || []).map((row) => row.series ?? row.attack)).filter(Boolean);
  const longest = Math.max(1, ...names.map((name) => name.length));
  return Math.max(1, Math.floor(width / (longest * LETTER + 40)));
}

function theme(specification, width) {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(name).trim();
  const [ink, soft, line, paper] = ["--ink", "--soft", "--line", "--paper"].map(of);
  return {
    background: "transparent", font: "system-ui, 'DejaVu Sans', sans-serif", view: { stroke: line },
    axis: { labelColor: ink, titleColor: ink, gridColor: line, gridOpacity: 0.6, domainColor: soft, tickColor: soft,
      labelFontSize: 11, titleFontSize: 12, titleFontWeight: "normal", tickCount: 5 },
    header: { labelColor: ink, labelFontSize: 12, title: null, labelLimit: width / 1.2 },
    legend: { orient: "top", columns: legendColumns(specification, width), labelColor: ink, titleColor: soft,
      labelFontSize: 12, symbolLimit: 60, labelLimit: width - 40 },
    text: { color: ink },
    style: { guide: { color: soft }, undefended: { color: ink },
      halo: { stroke: paper, strokeWidth: 3, strokeOpacity: 0.85 } },
  };
}

// A specification for a width: as many facets in a row as have room.
function fitted(specification, width) {
  const text = JSON.stringify(specification);
  const spec = JSON.parse(dark.matches ? text.replace(/#[0-9A-F]{6}/g, (c) => BRIGHT[c] || c) : text);
  if (!spec.facet) return { ...spec, width: Math.min(Math.max(spec.width, 460), width - 90) };
  const facets = distinct(spec.data.values.map((row) => row.facet)).length;
  spec.columns = Math.min(facets, width >= 960 ? 3 : width >= 600 ? 2 : 1);
  const rows = Boolean(spec.spec.height.step); // of a height, each with a name in front
  spec.spec.width = Math.min(Math.floor(width / spec.columns) - (rows ? 165 : 85), 520);
  if (rows) return spec;
  spec.spec.height = Math.max(190, Math.min(280, spec.spec.width * 0.75));
  return spec;
}

function showTip(cell, x, y) {
  tip.hidden = !cell;
  if (!cell) return;
  tip.textContent = "";
  describe(cell);
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - box.width - 8))}px`;
  const below = y + 14 + box.height < innerHeight;
  tip.style.top = `${below ? y + 14 : Math.max(4, y - box.height - 14)}px`;
}

// Vega hides a tooltip by neither an event nor a value.
const tooltip = (_handler, event, _item, value) => showTip(event && value && byKey.get(value.key), event?.clientX, event?.clientY);
const cellOf = (item) => item && item.datum && byKey.get(item.datum.key);

async function embed(host, specification) {
  await vegaReady;
  if (!host.isConnected) return; // drawn anew meanwhile
  const width = host.clientWidth;
  const options = { actions: false, renderer: "svg", config: theme(specification, width), tooltip };
  const made = await window.vegaEmbed(host, fitted(specification, width), options);
  drawn.push([host, made]);
  made.view.addEventListener("click", (_event, item) => {
    if (cellOf(item)) openImages(cellOf(item), true);
  });
  focusable(host);
}

// The numbers at which a point is drawn, for those who hear the page.
function place(point) {
  const { x, y } = point.__data__.datum;
  const m = metric();
  return m && Number.isFinite(x) && Number.isFinite(y) ? `, ${withUnit(x, m)}, accuracy ${y.toFixed(3)}` : "";
}

// Points of a figure are one stop of the tab key: arrows move between them, Enter opens.
function focusable(host) {
  const points = [...host.querySelectorAll("g.mark-symbol.role-mark path")].filter((point) => cellOf(point.__data__));
  points.forEach((point, n) => {
    const cell = cellOf(point.__data__);
    point.setAttribute("tabindex", n ? -1 : 0);
    point.setAttribute("role", "button");
    point.setAttribute("aria-label", `${cell.attack ? `${cell.attack}, ${cell.name}` : cell.key}${place(point)}: opens it`);
    point.addEventListener("focus", () => {
      const box = point.getBoundingClientRect();
      showTip(cell, box.right, box.bottom);
    });
    point.addEventListener("blur", () => { tip.hidden = true; });
    point.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (event.key === "Enter" || event.key === " ") openImages(cell, true);
      else if (!step || !points[n + step]) return;
      else points[n + step].focus();
      event.preventDefault();
    });
  });
}

function links(parent, stem) {
  if (!data.files.includes(stem)) return;
  add(parent, "span", " ");
  for (const form of ["PNG", "SVG", "PDF"]) {
    add(parent, "a", form, { href: `${stem}.${form.toLowerCase()}` });
    parent.append(" ");
  }
}

function drawCurves() {
  const host = at("curves");
  const across = at("across") || host; // figures of several settings
  for (const [, made] of drawn.splice(0)) made.finalize();
  host.textContent = across.textContent = "";
  tip.hidden = true;
  const setting = data.settings[chosen.setting];
  host.hidden = across.hidden = true; // until one has a figure
  const shown = data.figures.filter(
    (f) => f.metric === (metric() || {}).name && (!f.setting || f.setting === setting));
  for (const section of distinct(shown.map((f) => f.section))) {
    const members = shown.filter((f) => f.section === section);
    const place = members[0].setting ? host : across;
    place.hidden = false;
    add(place, "h2", section);
    for (const figure of members) {
      const holder = add(place, "figure");
      // of a single setting the first line of the page says the same
      if (data.settings.length > 1 || !figure.setting) add(holder, "div", figure.title, { class: "title" });
      const chart = add(holder, "div", null, { class: "chart" });
      const caption = add(holder, "figcaption", figure.caption);
      links(caption, figure.stem);
      embed(chart, figure.chart);
    }
  }
}
listeners.push(drawCurves);

const redraws = [drawCurves]; // called for other colours and for another width
const redraw = () => redraws.forEach((draw) => draw());
dark.addEventListener("change", redraw);

let lastWidth = document.documentElement.clientWidth;
let waiting = 0;
window.addEventListener("resize", () => {
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    if (document.documentElement.clientWidth === lastWidth) return;
    lastWidth = document.documentElement.clientWidth;
    redraw();
  }, 150);
});
