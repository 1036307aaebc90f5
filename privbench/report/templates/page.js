"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const table = document.getElementById("cells");
  const body = table.tBodies[0];
  const count = document.getElementById("count");
  const rows = [...body.rows];

  const search = document.getElementById("search");
  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.dataset.text;
      row.hidden = !words.every((word) => text.includes(word));
      shown += row.hidden ? 0 : 1;
    }
    close();
    count.textContent = `${shown} of ${rows.length}`;
  };
  search.addEventListener("input", filter);

  const value = (row, at) => {
    const text = row.cells[at].textContent.trim();
    const number = Number(text);
    return text !== "" && !Number.isNaN(number) ? number : text;
  };
  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    if (typeof a === "number") return -1; // numbers before words and gaps
    if (typeof b === "number") return 1;
    return a.localeCompare(b);
  };
  [...table.tHead.rows[0].cells].forEach((head, at) => {
    head.querySelector("button").addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      close();
      rows.sort((a, b) => (down ? -1 : 1) * compare(value(a, at), value(b, at)));
      body.append(...rows);
    });
  });

  let open = null;
  function close() {
    if (!open) return;
    open.row.classList.remove("open");
    open.detail.remove();
    open = null;
  }
  const add = (parent, tag, text) => {
    const node = document.createElement(tag);
    if (text !== undefined) node.textContent = text;
    parent.append(node);
    return node;
  };
  const strip = (parent, label, name) => {
    if (!data.images[name]) return;
    add(parent, "div", label).className = "soft";
    const holder = add(parent, "div");
    holder.className = "strip";
    const image = add(holder, "img");
    image.src = data.images[name];
    image.alt = label;
  };
  const show = (row) => {
    if (open && open.row === row) return close();
    close();
    const cell = data.cells[row.dataset.key];
    const detail = document.createElement("tr");
    detail.className = "detail";
    const whole = add(detail, "td");
    whole.colSpan = row.cells.length;
    const place = add(whole, "div");
    place.className = "place";
    if (cell.why) add(place, "p", cell.why);
    strip(place, "originals", cell.originals);
    strip(place, "reconstructions", cell.recovered);
    add(place, "div", "the command that makes it").className = "soft";
    add(place, "pre", cell.command);
    if (cell.record) {
      const link = add(add(place, "p"), "a", "its record and all its images");
      link.href = cell.record;
    }
    row.after(detail);
    row.classList.add("open");
    open = { row, detail };
  };
  body.addEventListener("click", (event) => {
    const row = event.target.closest("tr[data-key]");
    if (row && !event.target.closest("a")) show(row);
  });

  const follow = () => {
    const row = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!row || !row.dataset.key) return;
    search.value = "";
    filter();
    show(row);
    row.scrollIntoView({ block: "center" });
  };
  window.addEventListener("hashchange", follow);
  filter();
  follow();
})();
