// What a mark of a plan's figure says, and the row of the tables that it opens.
function describe(option) {
  add(tip, "strong", option.key);
  for (const line of option.lines) add(tip, "div", line);
}

function openImages(option) {
  const row = [...document.querySelectorAll("td[data-label=split]")].find((cell) => cell.textContent === option.key);
  if (row) row.scrollIntoView({ block: "center" });
}

// Rows of every table that hold all the words.
const search = document.getElementById("search");
function filter() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  const rows = [...document.querySelectorAll("#tables tbody tr")];
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
    shown += !row.hidden;
  }
  document.getElementById("count").textContent = words.length ? `${shown} of ${rows.length} rows` : "";
}
search.addEventListener("input", filter);

for (const listener of listeners) listener();
