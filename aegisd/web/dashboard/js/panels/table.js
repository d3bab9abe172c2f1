// Tables: rows by key, headers that sort, and a line of words where there is no row.

import { make, setText } from "../dom.js";
import { keyedChildren } from "./keyed.js";

const FEW_COLUMNS = 4; // fit beside each other on a phone

/** Makes a table in a panel.
 *
 * columns: [{ key, label, cell: { make, fill }, number?, heads?, sorts? }]; a column that heads has
 * the row's name, one that sorts has a button in its header. rowData(item) gives data attributes of
 * the row. onSort(key) is called by those buttons.
 */
export function createTable({ labelledBy, columns, keyOf, rowData = () => ({}), onSort }) {
  // The roles repeat what the elements mean: browsers forget it where the style makes rows grids.
  const headers = new Map(columns.map((column) => [column.key, header(column, onSort)]));
  const body = make("tbody", { role: "rowgroup" });
  const head = make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...headers.values()));
  const few = columns.length <= FEW_COLUMNS && "few";
  const table = make("table", { role: "table", "aria-labelledby": labelledBy, class: few }, head, body);
  const words = make("p", { class: "empty" }, "Waiting for the daemon.");
  const render = keyedChildren(body, {
    keyOf,
    make: () => make("tr", { role: "row" }, ...columns.map(cell)),
    fill(row, item) {
      Object.assign(row.dataset, rowData(item));
      columns.forEach((column, place) => column.cell.fill(row.children[place].firstChild, item));
    },
  });
  table.hidden = true;

  return {
    element: make("div", { class: "panel" }, table, words),

    /** Shows items, or these words where there are none. */
    show(items, empty) {
      render(items);
      table.hidden = items.length === 0;
      words.hidden = items.length > 0;
      words.replaceChildren(...[empty].flat());
    },

    /** Marks the column that the items are sorted by. */
    sortedBy(key, descending) {
      for (const [name, element] of headers) {
        if (!element.querySelector("button")) continue;
        const order = descending ? "descending" : "ascending";
        element.setAttribute("aria-sort", name === key ? order : "none");
        setText(element.querySelector(".arrow"), name === key ? (descending ? "▼" : "▲") : "");
      }
    },
  };
}

function header({ key, label, number, sorts }, onSort) {
  const attributes = { role: "columnheader", scope: "col", class: number && "number" };
  if (!sorts) return make("th", attributes, label);
  const arrow = make("span", { class: "arrow", "aria-hidden": "true" });
  const button = make("button", { type: "button", class: "sort" }, label, arrow);
  button.addEventListener("click", () => onSort(key));
  return make("th", { ...attributes, "aria-sort": "none" }, button);
}

function cell({ key, label, number, heads, cell }) {
  const attributes = { "data-cell": key, class: number && "number" };
  if (heads) return make("th", { ...attributes, role: "rowheader", scope: "row" }, cell.make());
  return make("td", { ...attributes, role: "cell", "data-label": label }, cell.make());
}
