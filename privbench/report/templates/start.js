// The choice of the setting and of the score, and links to a cell.
function update() {
  const setting = data.settings[chosen.setting];
  for (const row of document.querySelectorAll("[data-setting]")) {
    const other = row.dataset.metric && metric() && row.dataset.metric !== metric().title;
    row.hidden = Boolean(other || (row.dataset.setting && row.dataset.setting !== setting));
  }
  for (const listener of listeners) listener();
  for (const link of document.querySelectorAll("nav a")) {
    const part = document.querySelector(link.getAttribute("href"));
    link.hidden = part.hidden || (part.id === "tables" && !part.querySelector("table"));
  }
}

const controls = at("controls");
if (data.settings.length > 1) {
  const options = data.settings.map((title, n) => [n, title]);
  choice(controls, "setting", options, chosen.setting, (value) => { chosen.setting = Number(value); update(); }).id = "setting";
}
if (data.metrics.length > 1) {
  const options = data.metrics.map((m, n) => [n, m.title]);
  choice(controls, "score", options, 0, (value) => { chosen.metric = Number(value); update(); }).id = "metric";
}
controls.hidden = !controls.children.length || !records.length;

function follow() {
  const row = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const entry = row && rows.find((one) => one.row === row);
  if (!entry) return;
  search.value = "";
  filter();
  if (!open || open.row !== row) toggle(row, entry.cell);
  row.scrollIntoView({ block: "center" });
}
window.addEventListener("hashchange", follow);

buildTable();
filter();
update();
follow();
