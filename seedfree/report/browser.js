"use strict";
// The texts of the rows are data: they reach the page through textContent alone.
const data = JSON.parse(document.getElementById("data").textContent);
const { rows, texts, findings } = data;
const PER_PAGE = 25;
const $ = (id) => document.getElementById(id);
const SELECTS = ["task", "kind", "reason", "finding"];
const byId = new Map(rows.map((row, i) => [row.id, i]));
let found = rows.map((_, i) => i), at = 0, pageName = "", folded = [];

const made = (tag, parent, text, name) => {
  const element = parent.appendChild(document.createElement(tag));
  if (text !== undefined) element.textContent = text;
  if (name) element.className = name;
  return element;
};
const text = (place) => texts[place] ?? "";
// Case, compatibility forms, white space and invisible marks make no difference to a search.
const fold = (value) =>
  value.normalize("NFKD").toLowerCase().replace(/[\s\u00ad\u200b-\u200f\u2060\ufeff]+/gu, "")
    // The vowel "am" of Thai and Lao is typed before its tone or behind it.
    .replace(/([\u0e4d\u0ecd])([\u0e48-\u0e4b\u0ec8-\u0ecb])(?=[\u0e32\u0eb2])/g, "$2$1");
// What turns the direction of a text, or is not seen at all, is shown as an escape.
const plain = (value) => value.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g,
  (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`);
const fate = (row) => row.code ?? "kept";

function haystack(i) {
  if (folded[i] === undefined) {
    const row = rows[i], [, title, url] = row.source;
    const turns = row.turns.map(([, said]) => said);
    const parts = [row.id, row.topic, title, url, row.reason, ...turns, text(row.input), text(row.text)];
    folded[i] = parts.map((part) => fold(part ?? "")).join("\n");
  }
  return folded[i];
}
// Folding 5,000 rows takes a second or two, so it is done bit by bit before anybody searches.
function prepare(i = 0) {
  const end = performance.now() + 12;
  while (i < rows.length && performance.now() < end) haystack(i++);
  if (i < rows.length) setTimeout(prepare, 20, i);
}
function matches(row, values) {
  return (!values.task || row.task === values.task)
    && (!values.kind || (row.kind ?? "none") === values.kind)
    && (!values.reason || fate(row) === values.reason || values.reason === "dropped" && row.code !== undefined)
    && (!values.finding || (row.findings ?? []).includes(Number(values.finding)))
    && (!pageName || (row.source[2] || row.source[1]).slice(0, 2000) === pageName);
}
function search(first = 0) {
  const values = Object.fromEntries(SELECTS.map((name) => [name, $(name).value]));
  const query = fold($("query").value);
  found = [];
  rows.forEach((row, i) => {
    if (matches(row, values) && (!query || haystack(i).includes(query))) found.push(i);
  });
  show(first);
}
function show(first) {
  at = first;
  const list = $("list"), last = Math.min(at + PER_PAGE, found.length);
  list.replaceChildren();
  for (const i of found.slice(at, last)) list.append(line(rows[i]));
  const of = found.length === rows.length ? "" : ` of ${rows.length.toLocaleString("en")}`;
  const page = pageName ? `, from the page ${plain(pageName)}` : "";
  const unit = rows.length === 1 ? "row" : "rows";
  $("count").textContent = `${found.length.toLocaleString("en")}${of} ${unit}${page}`;
  $("where").textContent = `${found.length ? at + 1 : 0} to ${last}`;
  $("before").disabled = at === 0;
  $("after").disabled = last >= found.length;
  document.querySelector(".turn").hidden = found.length <= PER_PAGE;
}
function line(row) {
  const item = document.createElement("li");
  item.className = "row";
  item.id = `row-${row.id}`;
  item.tabIndex = -1;
  const head = made("button", item, undefined, "head");
  head.type = "button";
  head.ariaExpanded = "false";
  const says = made("span", head, plain((row.turns.find(([role]) => role === "user") ?? ["", ""])[1]).slice(0, 300) || "(no text)", "says");
  says.dir = "auto";
  says.lang = row.lang ?? "";
  const tags = made("span", head, undefined, "tags");
  const source = row.source[0] === "topic" ? "" : row.source[0];
  for (const tag of [row.task, row.kind && `${row.kind} topic`, source]) if (tag) made("span", tags, plain(tag));
  if (row.reason) made("span", tags, `dropped: ${plain(row.reason)}`, "lost").dir = "auto";
  if (row.checks) made("span", tags, row.checks.length === 1 ? "1 doubt" : `${row.checks.length} doubts`);
  head.addEventListener("click", () => toggle(item, row));
  return item;
}
function toggle(item, row) {
  const open = item.classList.toggle("open");
  item.firstChild.ariaExpanded = String(open);
  if (open) item.append(inside(row));
  else item.lastChild.remove();
}
function part(parent, kind, title, body, lang, evidence) {
  const box = made("div", parent, undefined, `part ${kind}`);
  made("h3", box, title);
  const said = made("div", box, undefined, "said");
  said.dir = "auto";
  said.lang = lang ?? "";
  const place = evidence ? find(body, evidence) : null;
  if (place) {
    said.append(plain(body.slice(0, place[0])));
    made("mark", said, plain(body.slice(...place)));
    said.append(plain(body.slice(place[1])));
  } else said.textContent = plain(body);
  return said;
}
// Returns where the evidence stands in a text, white space and case aside; null for nowhere.
function find(body, evidence) {
  const exact = body.indexOf(evidence);
  if (exact >= 0) return [exact, exact + evidence.length];
  let whole = "";
  const starts = [];
  for (let i = 0; i < body.length; i++) {
    const sign = fold(body[i]);
    for (let k = 0; k < sign.length; k++) starts.push(i);
    whole += sign;
  }
  const sought = [...evidence].map(fold).join("");
  const start = sought ? whole.indexOf(sought) : -1;
  return start < 0 ? null : [starts[start], starts[start + sought.length - 1] + 1];
}
function scrolls(said, name) {
  said.tabIndex = 0; // so that the keys scroll it
  said.role = "region";
  said.ariaLabel = name;
}
function inside(row) {
  const box = document.createElement("div"), source = text(row.text) || text(row.input);
  box.className = source ? "inside two" : "inside";
  const talk = made("div", box, undefined, "talk");
  const names = { user: "User", assistant: "Assistant", system: "System" };
  row.turns.forEach(([role, said]) => part(talk, role, names[role] ?? role, said, row.lang));
  const side = made("div", box, undefined, "side");
  if (source) {
    const title = text(row.input) ? "Source text, given with the request" : "Source text";
    scrolls(part(side, "source", row.evidence ? `${title}, evidence marked` : title, source, row.lang, row.evidence), title);
    if (row.evidence && !find(source, row.evidence)) part(side, "", "Evidence", row.evidence, row.lang);
  } else if (row.evidence) part(side, "", "Evidence", row.evidence, row.lang);
  facts(side, row);
  if (row.prompt) prompt(side, row);
  return box;
}
// An address in letters; one that cannot be decoded stays as it is.
function readable(url) {
  try { return decodeURI(url); } catch { return url; }
}
function facts(parent, row) {
  const list = made("dl", parent, undefined, "facts");
  const fact = (name, value) => {
    if (!value) return undefined;
    made("dt", list, plain(name));
    const place = made("dd", list, plain(value));
    place.dir = "auto";
    return place;
  };
  const link = (place, label, href, outside) => {
    place.textContent = "";
    const anchor = made("a", place, plain(label));
    anchor.href = href;
    if (outside) anchor.rel = "noopener noreferrer";
  };
  const [kind, title, url, licence] = row.source;
  if (row.reason) fact("Dropped", row.reason);
  if (row.of) {
    const near = row.similarity === undefined ? "" : ` (similarity ${row.similarity})`;
    const place = fact("Duplicate of", row.of + near);
    if (byId.has(row.of)) link(place, row.of + near, `#row-${encodeURIComponent(row.of)}`);
  }
  if (row.repaired) {
    const place = fact("Asked again as", row.repaired);
    if (byId.has(row.repaired)) link(place, row.repaired, `#row-${encodeURIComponent(row.repaired)}`);
  }
  for (const [rule, detail, verdict] of row.checks ?? []) fact(`Doubt ${verdict}`, detail ? `${rule} (${detail})` : rule);
  for (const number of row.findings ?? []) fact("Finding", findings[number]);
  fact("Topic", row.topic);
  fact("Source", row.fictional ? `${kind}, made up` : kind);
  fact(url ? "Page" : "Title", title);
  const address = fact("Address", readable(url));
  if (address && row.web) link(address, readable(url), row.web, true);
  fact("Licence", licence);
  for (const [name, value] of row.facets ?? []) fact(name[0].toUpperCase() + name.slice(1), value);
  fact("Model", row.model);
  const own = fact("Id", row.id);
  link(own, row.id, `#row-${encodeURIComponent(row.id)}`);
}
function prompt(parent, row) {
  const box = made("details", parent, undefined, "prompt");
  made("summary", box, "The prompt that made it");
  const [system, before, source, after] = row.prompt.map(text);
  if (system) scrolls(part(box, "", "System", system, row.lang), "System");
  scrolls(part(box, "", "User", before + source + after, row.lang), "User");
}

function choose(name, values) {
  const select = $(name);
  for (const [value, label] of values) made("option", select, plain(label)).value = value;
  // A select with nothing to choose from only takes room.
  select.parentElement.hidden = values.length < 3;
}
function counted(pick) {
  const counts = new Map();
  for (const row of rows) counts.set(pick(row), (counts.get(pick(row)) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1]).map(([name, n]) => [name, `${name} (${n.toLocaleString("en")})`]);
}
function clear() {
  for (const name of [...SELECTS, "query"]) $(name).value = "";
  pageName = "";
}
// Opens the row that the address names, wherever in the list it stands.
function follow() {
  let id = "";
  try { id = decodeURIComponent(location.hash.replace(/^#row-/, "")); } catch { return; }
  if (!location.hash.startsWith("#row-") || !byId.has(id)) return;
  let place = found.indexOf(byId.get(id));
  if (place < 0) {
    clear();
    search();
    place = found.indexOf(byId.get(id));
  }
  show(place - place % PER_PAGE);
  const item = $(`row-${id}`);
  toggle(item, rows[byId.get(id)]);
  item.scrollIntoView({ block: "start", behavior: "instant" });
  item.firstChild.focus({ preventScroll: true });
}
function turn(step) {
  show(at + step);
  $("rows-title").scrollIntoView({ behavior: "instant" });
  $("rows-title").focus({ preventScroll: true });
}

choose("task", [["", "all tasks"], ...counted((row) => row.task)]);
choose("kind", [["", "all topics"], ...counted((row) => row.kind ?? "none")]);
const lost = rows.filter((row) => row.code !== undefined).length;
choose("reason", [["", "kept and dropped"], ...counted(fate), ...(lost ? [["dropped", `dropped, for any reason (${lost.toLocaleString("en")})`]] : [])]);
const named = new Set(rows.flatMap((row) => row.findings ?? []));
choose("finding", [["", "any"], ...findings.map((name, i) => [String(i), name]).filter((_, i) => named.has(i))]);
$("finding").parentElement.hidden = !named.size;
let waiting = 0;
$("query").addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(search, 120);
});
for (const name of SELECTS) $(name).addEventListener("change", () => search());
$("filters").addEventListener("submit", (event) => { event.preventDefault(); search(); });
$("clear").addEventListener("click", () => { clear(); search(); $("query").focus(); });
$("before").addEventListener("click", () => turn(-PER_PAGE));
$("after").addEventListener("click", () => turn(PER_PAGE));
addEventListener("hashchange", follow);
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("[data-filter]");
  if (!link) {
    // The same row again changes no address.
    const same = event.target.closest?.("a[href^='#row-']");
    if (same && same.getAttribute("href") === location.hash) { event.preventDefault(); follow(); }
    return;
  }
  clear();
  if (link.dataset.filter === "page") pageName = link.dataset.value;
  else $(link.dataset.filter).value = link.dataset.value;
  search();
  $("rows-title").focus();
});
const map = document.querySelector(".map640");
map?.addEventListener("click", (event) => {
  if (event.target.closest("a")) return;
  const frame = map.getBoundingClientRect();
  const [x, y] = [(event.clientX - frame.left) / frame.width, (event.clientY - frame.top) / frame.height];
  const far = (row) => row.at ? Math.hypot((8 + row.at[0] * 624) / 640 - x, (8 + row.at[1] * 624) / 640 - y) : 9;
  const nearest = rows.reduce((best, row) => (far(row) < far(best) ? row : best), rows[0]);
  if (far(nearest) < 0.03) location.hash = `#row-${encodeURIComponent(nearest.id)}`;
});
$("filters").hidden = false;
search();
follow();
setTimeout(prepare, 200);
