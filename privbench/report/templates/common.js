// Data, elements and thumbnails that all parts of the page share.
const at = (id) => document.getElementById(id);

// The text of a packed element: base64 of gzip.
async function unpack(id) {
  if (!window.DecompressionStream) {
    document.querySelector("main").prepend("This browser is too old for the figures and images of this page.");
  }
  const bytes = Uint8Array.from(atob(at(id).textContent), (c) => c.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

const data = JSON.parse(await unpack("data"));
const records = data.cells.filter((cell) => !cell.missing);
const byKey = new Map(data.cells.map((cell) => [cell.key, cell]));
const chosen = { setting: data.first || 0, metric: 0 };
const listeners = []; // called when the setting or the score changes

const metric = () => data.metrics[chosen.metric];

function add(parent, tag, text, fields) {
  const node = document.createElement(tag);
  if (text !== undefined && text !== null) node.textContent = text;
  if (fields) for (const [name, value] of Object.entries(fields)) node.setAttribute(name, value);
  parent.append(node);
  return node;
}

function choice(parent, label, options, selected, change) {
  const holder = add(parent, "label", `${label} `);
  const select = add(holder, "select");
  for (const [value, text] of options) add(select, "option", text, { value });
  select.value = selected;
  select.addEventListener("change", () => change(select.value));
  return select;
}

const fixed = (value, m) => (value === null || value === undefined ? "" : value.toFixed(m.decimals));
const withUnit = (value, m) => (m.unit ? `${fixed(value, m)} ${m.unit}` : `${m.label} ${fixed(value, m)}`);
const distinct = (values) => [...new Set(values)];

function interval([mean, low, high], m) {
  return low === undefined ? fixed(mean, m) : `${fixed(mean, m)} [${fixed(low, m)}, ${fixed(high, m)}]`;
}

const sheetStyle = add(document.head, "style");
const styled = new Set();

function thumb(parent, name, index, size, label) {
  const sheet = data.sheets[name];
  if (!styled.has(name)) {
    styled.add(name);
    sheetStyle.sheet.insertRule(`.s-${name} { background-image: url("${sheet.source}"); }`);
  }
  const scale = size / Math.max(sheet.width, sheet.height);
  const [width, height] = [sheet.width * scale, sheet.height * scale];
  const node = add(parent, "span", null, { class: `thumb s-${name}`, role: "img", "aria-label": label });
  node.style.width = `${width}px`;
  node.style.height = `${height}px`;
  node.style.backgroundSize = `${sheet.columns * width}px auto`;
  const [x, y] = [index % sheet.columns, Math.floor(index / sheet.columns)];
  node.style.backgroundPosition = `${-x * width}px ${-y * height}px`;
  return node;
}

// Selectors of a cell by levels; `change` gets the chosen cell.
const OF_SETTING = [
  ["attack", (c) => c.attack],
  ["defense", (c) => c.defense],
  ["strength", (c) => String(c.strength)],
];
const OF_CELL = [...OF_SETTING, ["seed", (c) => c.victim]];

function picker(host, levels, change) {
  let cell = null;
  const draw = (focus) => {
    host.textContent = "";
    let rest = records.filter((c) => c.setting === chosen.setting);
    for (const [name, value] of levels) {
      const options = distinct(rest.map(value));
      if (name === "strength") options.sort((a, b) => a - b);
      if (options.length > 1 || name === "attack" || name === "defense") {
        const seed = (option) => option.split(" ")[0];
        const twice = (option) => options.filter((other) => seed(other) === seed(option)).length > 1;
        const text = (option) => (name === "seed" && !twice(option) ? seed(option) : option);
        const pairs = options.map((option) => [option, text(option)]);
        const select = choice(host, name, pairs, value(cell), (picked) => set(name, picked));
        select.dataset.level = name;
        if (focus === name) select.focus();
      }
      rest = rest.filter((c) => value(c) === value(cell));
    }
  };
  // keeps what was chosen before where the new choice has it
  const set = (name, picked) => {
    let rest = records.filter((c) => c.setting === chosen.setting);
    for (const [level, value] of levels) {
      const wanted = level === name ? picked : value(cell);
      const kept = rest.filter((c) => value(c) === wanted);
      rest = kept.length ? kept : rest.filter((c) => value(c) === value(rest[0]));
    }
    show(rest[0], name);
  };
  const show = (next, focus) => {
    cell = next;
    draw(focus);
    change(cell);
  };
  return { show, cell: () => cell, strength: (value) => set("strength", String(value)) };
}
