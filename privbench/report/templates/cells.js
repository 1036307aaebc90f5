// The table of cells: filters by column and by word, sorting, and what a row opens.
const table = at("table");
const search = at("search");
// of missing cells only, the first column is their names
const heading = (column, at) => (records.length || at ? column.name : "cell");
const shownColumns = data.columns.map((column, at) => ({ ...column, name: heading(column, at), at }))
  .filter((column) => !column.empty && column.constant === null);
const short = (name) => name.toLowerCase().replace(/[()]/g, "").replace(/[\s-]+/g, "_");
let rows = [];

function buildTable() {
  const head = add(add(table, "thead"), "tr");
  for (const column of shownColumns) {
    const button = add(add(head, "th"), "button", column.name, { type: "button" });
    button.addEventListener("click", () => sortBy(column));
    add(at("sort"), "option", `${column.name}, ascending`, { value: `${column.at} up` });
    add(at("sort"), "option", `${column.name}, descending`, { value: `${column.at} down` });
  }
  at("sort").addEventListener("change", () => {
    const [place, order] = at("sort").value.split(" ");
    const column = shownColumns.find((c) => String(c.at) === place);
    if (column) sortBy(column, order === "down");
  });
  const body = add(table, "tbody");
  rows = data.cells.map((cell) => buildRow(body, cell));
  const same = data.columns.filter((c) => c.constant !== null && !c.empty);
  at("constant").textContent = same.length ? `All cells: ${same.map((c) => `${c.name} ${c.constant}`).join(", ")}.` : "";
}

function buildRow(body, cell) {
  const kind = cell.missing ? "gap" : cell.caveats ? "doubt" : "";
  const row = add(body, "tr", null, { id: `cell-${cell.key}`, class: kind });
  shownColumns.forEach((column, n) => {
    // the name of a missing cell stands in the first column that is shown
    const text = cell.missing && n === 0 ? cell.values[0] : cell.missing && column.at === 0 ? "" : cell.values[column.at];
    const kinds = column.name === "state" ? "state" : column.number ? "number" : "";
    const field = add(row, "td", n ? text : null, { class: kinds, "data-label": column.name });
    const m = data.metrics.find((one) => one.label === column.name);
    if (m && text) addInterval(field, (cell.intervals || {})[m.name], m);
    if (column.name === "accuracy" && text) addInterval(field, cell.accuracy, { decimals: 4 });
    if (!n) add(field, "button", text || "cell", { type: "button", class: "open", "aria-expanded": "false" });
  });
  row.addEventListener("click", (event) => {
    if (!event.target.closest("a")) toggle(row, cell);
  });
  return { row, cell, text: [...cell.values, cell.name || "", cell.attack || ""].join(" ").toLowerCase() };
}

function addInterval(field, scores, m) {
  if (scores && scores[1] !== undefined) add(field, "small", ` [${fixed(scores[1], m)}, ${fixed(scores[2], m)}]`);
}

const numberOf = (text) => (text === "" ? NaN : Number(text.replace(/,(?=\d{3})/g, "")));
const isNumber = (text) => !Number.isNaN(numberOf(text));

// A test of a row for a word of the filter; a text where the word names no column.
function condition(quoted) {
  if (quoted.startsWith('"')) {
    const phrase = ` ${quoted.replaceAll('"', "")} `; // whole words: "gaussian 1" is not gaussian 1.5
    return ({ text }) => ` ${text} `.includes(phrase);
  }
  const word = quoted.replaceAll('"', "");
  const parts = /^([\w.-]+?)(<=|>=|!=|=|<|>)(.+)$/.exec(word);
  if (!parts) {
    if (!isNumber(word)) return ({ text }) => text.includes(word);
    return ({ cell }) => cell.values.some((value) => numberOf(value) === numberOf(word));
  }
  const [, name, sign, wanted] = parts;
  const column = data.columns.findIndex((c) => short(c.name) === name);
  const at = column >= 0 ? column : data.columns.findIndex((c) => short(c.name).startsWith(name));
  if (at < 0) return `no column ${name}: ${data.columns.filter((c) => !c.empty).map((c) => short(c.name)).join(", ")}`;
  const options = isNumber(wanted) ? [wanted] : wanted.split(",");
  if ("<>".includes(sign[0]) && !isNumber(wanted)) return `${name}${sign}${wanted}: type a number`;
  const equal = (value) => options.some((option) => (isNumber(option)
    ? numberOf(option) === numberOf(value) : option === value.toLowerCase()));
  const limit = numberOf(wanted);
  const than = (value) => ({ "<": numberOf(value) < limit, ">": numberOf(value) > limit,
    "<=": numberOf(value) <= limit, ">=": numberOf(value) >= limit })[sign];
  return ({ cell }) => {
    const value = cell.values[at];
    return sign === "=" ? equal(value) : sign === "!=" ? !equal(value) : than(value);
  };
}

function filter() {
  const tests = (search.value.toLowerCase().match(/(?:"[^"]*"?|[^\s"])+/g) || []).map(condition);
  const wrong = tests.find((test) => typeof test === "string");
  let shown = 0;
  for (const entry of rows) {
    const kept = !wrong && tests.every((test) => test(entry));
    entry.row.hidden = !kept;
    shown += kept;
  }
  closeDetail();
  at("count").textContent = wrong || `${shown} of ${rows.length}`;
}
search.addEventListener("input", filter);

function sortBy(column, wanted) {
  const heads = [...table.tHead.rows[0].cells];
  const head = heads[shownColumns.indexOf(column)];
  const down = wanted === undefined ? head.getAttribute("aria-sort") === "ascending" : wanted;
  for (const other of heads) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  closeDetail();
  const value = ({ cell }) => {
    const text = cell.values[column.at];
    return isNumber(text) ? numberOf(text) : text;
  };
  const turn = down ? -1 : 1;
  const order = (a, b) => { // numbers before words before gaps, in either direction
    const [first, second] = [a, b].map((v) => (typeof v === "number" ? 0 : v ? 1 : 2));
    if (first !== second) return first - second;
    return turn * (first ? a.localeCompare(b) : a - b);
  };
  rows.sort((a, b) => order(value(a), value(b)));
  table.tBodies[0].append(...rows.map(({ row }) => row));
}

let open = null;
function closeDetail() {
  if (!open) return;
  open.row.classList.remove("open");
  open.row.querySelector(".open").setAttribute("aria-expanded", "false");
  open.detail.remove();
  open = null;
}

function toggle(row, cell) {
  const again = open && open.row === row;
  closeDetail();
  if (again) return;
  const detail = document.createElement("tr");
  detail.className = "detail";
  const place = add(detail, "td", null, { colspan: shownColumns.length });
  if (cell.why) add(place, "p", cell.why);
  if (cell.recovered) detailImages(place, cell);
  add(place, "div", "the command that makes it", { class: "soft" });
  add(place, "pre", cell.command);
  if (cell.record) add(add(place, "p"), "a", "its record", { href: `${cell.record}/record.json` });
  row.after(detail);
  row.classList.add("open");
  row.querySelector(".open").setAttribute("aria-expanded", "true");
  open = { row, detail };
}

function detailImages(place, cell) {
  const line = add(place, "div", null, { class: "row" });
  data.indices[cell.index].slice(0, 12).forEach((index, at) => {
    const figure = add(line, "figure");
    thumb(figure, cell.originals, at, 44, `original ${index}`);
    add(figure, "br");
    thumb(figure, cell.recovered, at, 44, `reconstruction ${index}`);
  });
  const all = add(place, "button", `all ${data.indices[cell.index].length} images`, { type: "button" });
  all.addEventListener("click", () => openImages(cell, true));
}
