// What a mark of a plan's figure says, and the row of the tables that it opens.
function describe(option) {
  add(tip, "strong", option.key);
  for (const line of option.lines) add(tip, "div", line);
}

function openImages(option) {
  const row = [...document.querySelectorAll("td[data-label=split]")].find((cell) => cell.textContent === option.key);
  if (row) row.scrollIntoView({ block: "center" });
}

for (const listener of listeners) listener();
