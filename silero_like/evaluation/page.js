"use strict";
// A table of utterances that sorts by any column, searches, filters and shows more at a press of a button.
const PAGE = 50;
const byId = id => document.getElementById(id);
const make = (tag, name, text) => {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text !== undefined) element.textContent = text;
  return element;
};
const player = address => Object.assign(make("audio"), { controls: true, preload: "none", src: address });
function options(select, names) {
  for (const name of [...new Set(names)].sort()) select.append(make("option", "", name));
}
// rows have a domain and a key, in which the search looks. columns: [title, value that sorts, text that is shown, class];
// where there is no text, fill(row, cell) makes the content. passes(row) filters, tie(row) orders equals, the largest first;
// first is the number of the column that sorts at the start. Returns what to call when `passes` has changed.
function explore({ rows, columns, fill, passes = () => true, tie = () => 0, first = 0 }) {
  let sort = first, descending = true, shown = PAGE, found = rows;
  function line(r) {
    const row = make("tr");
    for (const [title, , show, name] of columns) {
      const cell = make("td", name, show ? show(r) : undefined);
      if (show) cell.dataset.title = title;
      else fill(r, cell);
      row.append(cell);
    }
    return row;
  }
  function draw() {
    document.querySelector("#utterances tbody").replaceChildren(...found.slice(0, shown).map(line));
    byId("count").textContent = `${Math.min(shown, found.length)} of ${found.length}`;
    byId("more").hidden = shown >= found.length;
    document.querySelectorAll("#utterances th").forEach((th, i) =>
      i === sort ? th.setAttribute("aria-sort", descending ? "descending" : "ascending") : th.removeAttribute("aria-sort"));
    byId("sort").value = `${sort} ${descending}`;
  }
  function update() {
    const query = byId("search").value.toLowerCase(), domain = byId("domain").value, value = columns[sort][1];
    found = rows.filter(r => (!domain || r.domain === domain) && r.key.includes(query) && passes(r));
    found.sort((a, b) => {
      const x = value(a), y = value(b);
      return (x < y ? -1 : x > y ? 1 : 0) * (descending ? -1 : 1) || tie(b) - tie(a);
    });
    shown = PAGE;
    draw();
  }
  columns.forEach(([title, , , name], i) => {
    const th = make("th", name.includes("number") ? "number" : ""), button = make("button", "", title);
    button.type = "button";
    button.onclick = () => { descending = i === sort ? !descending : typeof columns[i][1](rows[0]) === "number"; sort = i; update(); };
    th.append(button);
    document.querySelector("#utterances thead tr").append(th);
    for (const down of [true, false]) {
      const option = make("option", "", `${title} ${down ? "↓" : "↑"}`);
      option.value = `${i} ${down}`;
      byId("sort").append(option);
    }
  });
  options(byId("domain"), rows.map(r => r.domain));
  byId("sort").onchange = event => { const [i, down] = event.target.value.split(" "); sort = +i; descending = down === "true"; update(); };
  byId("search").oninput = update;
  byId("domain").addEventListener("change", update);
  byId("more").onclick = () => { shown += PAGE; draw(); };
  update();
  return update;
}
