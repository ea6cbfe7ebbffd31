/* What the page can do with scripts. All that it knows stands in the page: the tables' cells, and four lists in JSON
 * (reports/html_rows.c and html_timing.c say what is in them). Charts are Chart.js's, drawn when they come into view.
 * Text is only ever set as text. */
"use strict";
(() => {
  const find = (selector, within = document) => within.querySelector(selector);
  const findAll = (selector, within = document) => [...within.querySelectorAll(selector)];
  const read = (id) => JSON.parse(find("#" + id)?.textContent ?? "[]");

  /* An element with properties, and children that are elements or text. */
  function make(tag, properties = {}, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  }

  /* A select element with its label; options are pairs of a value and its name. */
  function choice(label, options, change) {
    const select = make("select", {}, ...options.map(([value, name]) => make("option", { value }, name)));
    select.addEventListener("change", () => change(select.value));
    return { select, label: make("label", {}, label, select) };
  }

  const grouped = (number) => number.toLocaleString("en-US");
  const short = (number) => (!Number.isFinite(number) ? "not finite" : number === 0 ? "0" : number.toExponential(2));

  function seconds(value) {
    for (const [unit, size] of [["s", 1], ["ms", 1e-3], ["µs", 1e-6]])
      if (value >= 0.9995 * size) return `${Number((value / size).toPrecision(3))} ${unit}`;
    return `${Number((value * 1e9).toPrecision(3))} ns`;
  }

  function rate(value, unit) {
    for (const [prefix, size] of [["T", 1e12], ["G", 1e9], ["M", 1e6], ["k", 1e3]])
      if (value >= size) return `${Number((value / size).toPrecision(3))} ${prefix}${unit}`;
    return `${Number(value.toPrecision(3))} ${unit}`;
  }

  /* ---- Charts and the theme. ---- */

  const dark = matchMedia("(prefers-color-scheme: dark)");
  const charts = new Map(); /* by the canvas's id: how to configure it, and the chart, once it was seen */

  /* The colour that a variable of page.css has now. */
  const probe = find("#theme");
  function colour(name) {
    probe.style.color = `var(--${name})`;
    const found = getComputedStyle(probe).color;
    probe.style.color = "";
    return found;
  }

  function draw(id) {
    const entry = charts.get(id), canvas = find("#" + id);
    if (!entry || !canvas) return;
    entry.chart?.destroy();
    Chart.defaults.color = colour("soft");
    Chart.defaults.borderColor = colour("line");
    Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
    Chart.defaults.animation = false;
    Chart.defaults.maintainAspectRatio = false;
    entry.chart = new Chart(canvas, entry.configure());
  }

  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((each) => each.isIntersecting)) {
      seen.unobserve(entry.target);
      draw(entry.target.id);
    }
  }, { rootMargin: "300px" });

  /* Has the chart drawn now if it was seen, and otherwise once it is. */
  function show(id, configure) {
    const old = charts.get(id);
    charts.set(id, { configure, chart: old?.chart });
    if (old?.chart) draw(id);
    else if (find("#" + id)) seen.observe(find("#" + id));
  }

  function redraw() {
    for (const [id, entry] of charts) if (entry.chart) draw(id);
  }

  function isDark() {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : dark.matches;
  }

  function nameTheme() {
    probe.textContent = isDark() ? "Light" : "Dark";
    probe.setAttribute("aria-label", isDark() ? "use light colours" : "use dark colours");
  }

  probe.addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    nameTheme();
    redraw();
  });
  dark.addEventListener("change", () => { nameTheme(); redraw(); });
  addEventListener("beforeprint", () => { for (const [id, entry] of charts) if (!entry.chart) draw(id); });
  nameTheme();

  /* A logarithmic axis for values that may be 0: these lie on its lowest line, which is called 0. */
  function floorOf(values) {
    const positive = values.filter((value) => value > 0);
    return positive.length ? 10 ** (Math.floor(Math.log10(Math.min(...positive))) - 1) : 1e-9;
  }
  const raised = (value, floor) => (value === null || Number.isNaN(value) ? null : Math.max(value, floor));
  /* Each name of an axis, small where there is little room. */
  const everyTick = () => ({ autoSkip: false, maxRotation: 0, font: { size: innerWidth < 560 ? 9 : 11 } });
  const isDecade = (value) => Math.abs(Math.log10(value) - Math.round(Math.log10(value))) < 1e-9;

  /* ---- The rows, as they stand in the table. ---- */

  const table = find("#rows-table"), body = table?.tBodies[0];
  const kinds = read("kinds"), classes = read("ulp-classes");
  const more = read("more"); /* of the rows that differ, in their order */
  const boundaries = findAll("#boundaries tbody th").map((cell) => cell.textContent);
  /* How a key ends that belongs to the boundary; what stands before is the pass. */
  const patterns = boundaries.map((name) => {
    const escaped = name.replace(/[.+?^${}()|[\]\\]/g, "\\$&").replace("*", "(\\d+)");
    return new RegExp(`^(.*)/${escaped}$`, "s");
  });

  const columns = ["key", "mode", "verdict", "shape", "differ", "ulp", "oursGolden", "oursFp64", "goldenFp64", "cameIn",
    "added", "why"];
  const isText = new Set(["key", "mode", "verdict", "why"]);
  const numberOf = (text) => (text === "" ? null : Number(text.replaceAll(",", "")));

  let differing = 0;
  const rows = !body ? [] : [...body.rows].map((element, index) => {
    const row = { element, index };
    columns.forEach((name, column) => {
      const text = element.cells[column]?.textContent.trim() ?? "";
      row[name] = isText.has(name) ? text : name === "shape" ? text.split("×").filter(Boolean).map(Number)
        : numberOf(text);
    });
    const [boundary, operation, implementation, order, dtype, gate, axes] = kinds[element.dataset.k];
    const match = patterns[boundary]?.exec(row.key);
    const path = match ? match[1] : "";
    return Object.assign(row, {
      boundary, operation, implementation, order, dtype, gate, axes, path,
      layer: match?.[2] === undefined ? -1 : Number(match[2]),
      prompt: path.replace(/\/[^/]*$/, ""),
      pass: /(^|\/)prefill$/.test(path) ? "prefill" : "decode",
      elements: row.shape.reduce((product, extent) => product * extent, 1),
      more: row.differ > 0 ? more[differing++] : undefined,
      leftOut: element.dataset.n?.split(",").map(Number), /* of each error: pairs that are not finite */
    });
  });
  const rowOf = new Map(rows.map((row) => [row.element, row]));
  /* The row that the card on the first screen leads to, if there is one. */
  const whereToStart = () => rowOf.get(document.getElementById(find(".start .key a")?.hash.slice(1)));
  const distinct = (values) => [...new Set(values)];

  /* ---- Bits as numbers. ---- */

  const view = new DataView(new ArrayBuffer(8));
  const width = { bf16: 4, f32: 8, i64: 16 };

  function valueOf(bits, dtype) {
    if (dtype === "i64") return BigInt.asIntN(64, BigInt("0x" + bits));
    view.setUint32(0, dtype === "bf16" ? parseInt(bits, 16) * 65536 : parseInt(bits, 16));
    const value = view.getFloat32(0);
    return value === 0 ? value : Number(value.toPrecision(9)); /* tells floats apart, but not the zeros */
  }

  /* The place on the line of all floats, as in harness/compare.c: neighbours are one apart, -0 and +0, too. */
  function placeOf(bits, dtype) {
    const number = BigInt("0x" + bits), sign = 1n << BigInt(4 * width[dtype] - 1);
    return number >= sign ? -(number - sign) - 1n : number;
  }

  function distanceOf(golden, ours, dtype) {
    if (dtype === "i64") return String(valueOf(ours, dtype) - valueOf(golden, dtype));
    if (![golden, ours].every((bits) => Number.isFinite(valueOf(bits, dtype)))) return "–";
    const distance = Number(placeOf(ours, dtype) - placeOf(golden, dtype));
    return (distance > 0 ? "+" : "") + grouped(distance);
  }

  const plain = (value) => (Object.is(value, -0) ? "-0" : String(value));

  /* A double from its bits, and as hexadecimal floating point: "0x1.8p-3". */
  function doubleOf(bits) {
    view.setBigUint64(0, BigInt("0x" + bits));
    const value = view.getFloat64(0);
    if (!Number.isFinite(value)) return { value, hex: String(value) };
    const all = view.getBigUint64(0), exponent = Number((all >> 52n) & 0x7ffn);
    const digits = (all & 0xfffffffffffffn).toString(16).padStart(13, "0").replace(/0+$/, "");
    const sign = all >> 63n ? "-" : "";
    if (value === 0) return { value, hex: sign + "0x0p+0" };
    const power = exponent ? exponent - 1023 : -1022;
    return { value, hex: `${sign}0x${exponent ? 1 : 0}${digits && "."}${digits}p${power < 0 ? "" : "+"}${power}` };
  }

  function positionOf(index, row) {
    const position = [];
    for (let axis = row.shape.length - 1; axis >= 0; axis--) {
      position.unshift(`${row.axes[axis] ?? "axis"} ${axis ? index % row.shape[axis] : index}`);
      index = Math.floor(index / row.shape[axis]);
    }
    return position.join(", ");
  }

  /* ---- The chosen row. ---- */

  const chosen = find("#chosen");

  function histogram(row) {
    const counts = row.more ? row.more[0] : classes.map((name) => (name === "0" ? row.elements : 0));
    const names = classes.map((name) =>
      name.replaceAll("-", "−").replace("<=", "≤").replace(">=", "≥").split(/(?<=\.\.|≤|≥)/));
    return {
      type: "bar",
      data: {
        labels: names,
        datasets: [{
          data: counts.map((count) => count || null), minBarLength: 3,
          backgroundColor: classes.map((name) => colour(name === "0" ? "green" : name === "class" ? "pink" : "red")),
        }],
      },
      options: {
        plugins: {
          legend: { display: false },
          tooltip: { callbacks: { label: (item) => `${grouped(item.raw)} elements` } },
        },
        scales: {
          x: { grid: { display: false }, ticks: everyTick(),
               title: { display: true, text: "ours − golden, in ulp" } },
          y: { type: "logarithmic", min: 0.8, title: { display: true, text: "elements" },
               ticks: { callback: (value) => (isDecade(value) ? grouped(value) : null) } },
        },
      },
    };
  }

  function worstTable(row) {
    const cell = (bits) => make("td", {}, make("code", {}, "0x" + bits.padStart(width[row.dtype], "0")),
      plain(valueOf(bits, row.dtype)));
    const lines = row.more[1].split(";").filter(Boolean).map((element) => {
      const [index, golden, ours, fp64] = element.split(" "), exact = doubleOf(fp64);
      return make("tr", {}, make("td", {}, positionOf(Number(index), row)), cell(golden), cell(ours),
        make("td", {}, make("code", {}, exact.hex), plain(exact.value)),
        make("td", { className: "number" }, distanceOf(golden, ours, row.dtype)));
    });
    const head = ["position", "golden", "ours", "fp64", "ulp"].map((name) => make("th", { scope: "col" }, name));
    head[4].className = "number";
    return make("table", { id: "worst" }, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...lines));
  }

  function errorTable(row) {
    const most = row.more ? row.more.slice(3, 6) : [0, undefined, undefined];
    const number = (text) => make("td", { className: "number" }, text);
    const lines = [["ours − golden", row.oursGolden], ["ours − fp64", row.oursFp64], ["golden − fp64", row.goldenFp64]]
      .map(([name, rms], index) => make("tr", {}, make("td", {}, name), number(short(rms)),
        number(most[index] === undefined ? "" : short(most[index])),
        ...(row.leftOut ? [number(grouped(row.leftOut[index]))] : [])));
    const head = ["error", "rms", "largest", ...(row.leftOut ? ["left out as not finite"] : [])].map((name, index) =>
      make("th", { scope: "col", className: index ? "number" : "" }, name));
    return make("table", { id: "errors" }, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...lines));
  }

  /* Where the difference of a carried row came from, in words. */
  function originOf(row) {
    if (row.cameIn === null || !row.more) return [];
    const [cameIn, added] = row.more.slice(7);
    const without = (count) => (count ? `, without ${grouped(count)} pairs that are not finite` : "");
    const share = (count, rms, leftOut) => `${grouped(count)} elements (rms ${short(rms)}${without(leftOut)})`;
    return [make("p", { className: "origin" },
      make("b", {}, "Came in"), ` with the inputs: ${share(cameIn, row.cameIn, row.leftOut?.[3])}. `,
      make("b", {}, "Added"), ` by this kernel on PyTorch’s inputs: ${share(added, row.added, row.leftOut?.[4])}.`)];
  }

  function describe(row) {
    const signs = { pass: "✓ ", fail: "✗ ", untrusted: "? ", waived: "~ " };
    const tags = [row.mode, `${row.dtype} [${row.shape.join(", ")}]`, row.operation, `kernel ${row.implementation}`,
      row.order, row.gate === "exact" ? "" : `gate: ${row.gate}`].filter(Boolean);
    /* How many differ comes first. Most reasons begin with that. */
    const counts = `${grouped(row.differ)} of ${grouped(row.elements)} elements differ`;
    const why = row.why.startsWith(`${row.differ} of `) ? [row.why] : [counts, row.why].filter(Boolean);
    const far = row.more ? `99 % of the pairs are at most ${grouped(row.more[2])} ulp apart.` : "";
    const zeros = row.more?.[6] ? ` ${grouped(row.more[6])} zeros have the other sign.` : "";
    const link = make("a", { href: "#" + row.element.id }, row.key);
    chosen.replaceChildren(
      make("h3", {}, link),
      make("p", { className: "tags" },
        make("span", { className: "verdict " + row.verdict }, signs[row.verdict] + row.verdict),
        ...tags.map((tag) => make("span", {}, tag))),
      ...why.map((text) => make("p", { className: "why" }, make("b", {}, text))),
      ...(far ? [make("p", { className: "soft" }, far + zeros)] : []),
      ...originOf(row),
      make("div", { className: "parts" },
        make("div", {}, make("h4", {}, "Distances"),
          make("div", { className: "chart" }, make("canvas", { id: "histogram" }))),
        ...(!row.more?.[1] ? []
          : [make("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: "worst elements" },
            make("h4", {}, "Worst elements"), worstTable(row))]),
        make("div", {}, make("h4", {}, "Errors"), errorTable(row))));
    find("#histogram").setAttribute("role", "img");
    find("#histogram").setAttribute("aria-label", "histogram of the distances in ulp");
    charts.get("histogram")?.chart?.destroy();
    charts.delete("histogram");
    show("histogram", () => histogram(row));
  }

  let current = null;
  function choose(row) {
    current?.element.removeAttribute("aria-current");
    current = row;
    row.element.setAttribute("aria-current", "true");
    describe(row);
  }

  /* The row that the address names: by its id, or by its key alone. */
  function rowOfAddress() {
    let name = location.hash.slice(1);
    try { name = decodeURIComponent(name); } catch { /* then it is no key either */ }
    const element = name && document.getElementById(name);
    return rowOf.get(element) ?? rows.find((row) => row.key === name);
  }

  function followAddress() {
    const row = rowOfAddress();
    if (!row) return;
    if (row.element.hidden) clearFilter();
    showUpTo(listed.indexOf(row) + PORTION);
    choose(row);
    row.element.scrollIntoView({ block: "nearest" });
    chosen.scrollIntoView({ block: "start" });
    linkOf(row).focus({ preventScroll: true }); /* which the browser took away when it followed the address */
  }

  /* Also where the address names the row already, and so does not change. */
  function goTo(row) {
    if (rowOfAddress() === row) followAddress();
    else location.hash = row.element.id;
  }

  addEventListener("click", (event) => {
    const link = event.target.closest("a"), isElsewhere = event.ctrlKey || event.metaKey || event.shiftKey;
    if (isElsewhere || !link?.hash || link.hash !== location.hash || !rowOfAddress()) return;
    event.preventDefault();
    followAddress();
  });

  /* ---- Sorting, and filtering. Of thousands of rows only those are laid out that were scrolled to. ---- */

  const PORTION = 150;
  const filter = { text: "", mode: "", verdict: "" };
  let filterParts = null, sorted = rows, listed = rows, shown = 0;

  const byText = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
  /* Where there is none, it is below 0; what is not finite is above all. */
  const placeAmong = (number) => (number === null ? -1 : Number.isNaN(number) ? Infinity : number);
  const byNumber = (a, b) => byText(placeAmong(a), placeAmong(b));
  const weight = (row, name) => (name === "shape" ? row.elements : row[name]);

  /* Tab stops at one key of the table, and then leaves it. */
  const linkOf = (row) => find("a", row.element);
  let stop = null;
  function stopAt(row) {
    if (stop) linkOf(stop).tabIndex = -1;
    stop = row;
    if (stop) linkOf(stop).tabIndex = 0;
  }

  function showUpTo(count) {
    for (; shown < Math.min(count, listed.length); shown++) listed[shown].element.classList.add("on");
  }

  function listAnew(fits) {
    for (const row of listed.slice(0, shown)) row.element.classList.remove("on");
    listed = sorted.filter(fits);
    shown = 0;
    showUpTo(PORTION);
    if (!listed.slice(0, shown).includes(stop)) stopAt(listed[0] ?? null);
  }

  /* First click on figures: the largest first. A third one gives the order of the plan back. */
  function sort(header, name) {
    const [first, second] = isText.has(name) ? ["ascending", "descending"] : ["descending", "ascending"];
    const now = header.getAttribute("aria-sort");
    const next = now === first ? second : now === second ? "none" : first;
    for (const other of table.tHead.rows[0].cells) other.setAttribute("aria-sort", "none");
    header.setAttribute("aria-sort", next);
    const order = isText.has(name) ? byText : byNumber, turn = next === "descending" ? -1 : 1;
    sorted = next === "none" ? rows
      : [...rows].sort((a, b) => turn * order(weight(a, name), weight(b, name)) || a.index - b.index);
    body.append(...sorted.map((row) => row.element));
    listAnew((row) => !row.element.hidden);
    table.parentElement.scrollTop = 0;
  }

  function applyFilter() {
    const words = filter.text.toLowerCase().split(/\s+/).filter(Boolean);
    const verdicts = { "": () => true, open: (row) => row.verdict !== "pass", differ: (row) => row.differ > 0 };
    const isAsked = verdicts[filter.verdict] ?? ((row) => row.verdict === filter.verdict);
    listAnew((row) => {
      const text = `${row.key} ${row.operation} ${row.implementation} ${row.dtype} ${row.why}`.toLowerCase();
      const isMode = !filter.mode || row.mode === filter.mode;
      const fits = isMode && isAsked(row) && words.every((word) => text.includes(word));
      row.element.hidden = !fits;
      return fits;
    });
    filterParts.count.textContent = `${grouped(listed.length)} of ${grouped(rows.length)} rows`;
  }

  function clearFilter() {
    Object.assign(filter, { text: "", mode: "", verdict: "" });
    filterParts.input.value = filterParts.mode.value = filterParts.verdict.value = "";
    applyFilter();
  }

  function openFilter() {
    const input = make("input", { type: "search", id: "filter-text", placeholder: "words of a key, kernel, reason" });
    const mode = choice("Mode", [["", "both"], ["local", "local"], ["carried", "carried"]],
      (value) => { filter.mode = value; applyFilter(); });
    const verdict = choice("Rows", [["", "all"], ["open", "that did not pass"], ["differ", "that differ"],
      ["pass", "that pass"], ["untrusted", "untrusted"], ["waived", "waived"]],
      (value) => { filter.verdict = value; applyFilter(); });
    const count = make("output", {});
    count.setAttribute("aria-live", "polite");
    input.addEventListener("input", () => { filter.text = input.value; applyFilter(); });
    filterParts = { input, mode: mode.select, verdict: verdict.select, count };
    find("#filter").append(make("label", {}, "Filter", input), mode.label, verdict.label, count);
    applyFilter();
  }

  function openTable() {
    [...table.tHead.rows[0].cells].forEach((header, column) => {
      const button = make("button", { type: "button" }, header.textContent.trim());
      header.replaceChildren(button);
      header.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => sort(header, columns[column]));
    });
    body.addEventListener("click", (event) => {
      const row = rowOf.get(event.target.closest("tr"));
      if (!row || event.target.closest("a")) return;
      choose(row);
      stopAt(row);
    });
    body.addEventListener("focusin", (event) => stopAt(rowOf.get(event.target.closest("tr"))));
    const box = table.parentElement;
    box.addEventListener("scroll", () => {
      if (box.scrollTop + 3 * box.clientHeight > box.scrollHeight) showUpTo(shown + PORTION);
    });
    /* With the arrows from key to key; Enter follows its link. */
    body.addEventListener("keydown", (event) => {
      const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
      let element = event.target.closest("tr");
      if (!step || !element) return;
      showUpTo(listed.indexOf(rowOf.get(element)) + 2);
      do element = element[step]; while (element?.hidden);
      if (!element) return;
      event.preventDefault();
      find("a", element).focus();
    });
  }

  /* ---- The map of one prompt. ---- */

  /* The same rule as in reports/html_map.c. */
  function look(cell) {
    const equal = { pass: { level: 0, letter: "0" }, fail: { level: 4, letter: "!" } };
    if (!cell.differ) return equal[cell.verdict] ?? { level: 5, letter: "?" };
    const share = cell.elements > 0 ? cell.differ / cell.elements : 1;
    const level = share < 0.001 ? 1 : share < 0.01 ? 2 : share < 0.1 ? 3 : 4;
    const letter = cell.stray > 0 ? "N" : cell.ulp >= 8 ? "8" : cell.ulp >= 4 ? "4" : cell.ulp >= 2 ? "2" : "1";
    return { level, letter };
  }

  const badness = { pass: 0, waived: 1, untrusted: 2, fail: 3 };
  function poolRows(some) {
    const cell = { elements: 0, differ: 0, ulp: 0, stray: 0, verdict: "pass", first: null, rows: some.length };
    for (const row of some) {
      cell.elements += row.elements;
      cell.differ += row.differ;
      cell.ulp = Math.max(cell.ulp, row.ulp);
      cell.stray += row.more ? row.more[0].at(-1) - row.more[6] : 0;
      if (badness[row.verdict] > badness[cell.verdict]) {
        cell.verdict = row.verdict;
        cell.first = row;
      }
    }
    return cell;
  }

  /* Calls visit(cell element, boundary, mode, pass, layer) for each cell of a boundary. */
  function eachCell(visit) {
    for (const map of findAll(".map")) {
      const cellsOf = (line) => [...line.cells].slice(1).filter((cell) => !cell.classList.contains("gap"));
      const heads = cellsOf(map.tHead.rows[0]), layers = heads[0]?.colSpan ?? 1;
      [...map.tBodies[0].rows].forEach((line, boundary) => {
        const cells = cellsOf(line);
        const inLayers = cells.length === heads.length * layers;
        cells.forEach((cell, index) => {
          const per = inLayers ? layers : 1, pass = heads[Math.floor(index / per)].textContent.trim();
          visit(cell, boundary, map.dataset.mode, pass, index % per);
        });
      });
    }
  }

  function fillMap(prompt) {
    const groups = new Map();
    for (const row of rows) {
      if (prompt && row.prompt !== prompt) continue;
      const name = [row.boundary, row.mode, row.pass, Math.max(row.layer, 0)].join(" ");
      if (!groups.has(name)) groups.set(name, []);
      groups.get(name).push(row);
    }
    eachCell((element, boundary, mode, pass, layer) => {
      const some = groups.get([boundary, mode, pass, layer].join(" "));
      element.className = "";
      element.title = "";
      element.textContent = "";
      if (!some) return;
      const cell = poolRows(some), { level, letter } = look(cell);
      element.className = "m" + level;
      element.title = `${boundaries[boundary].replace("*", layer)}, ${mode}, ${pass}: ${grouped(cell.rows)} rows, ` +
        `${grouped(cell.differ)} of ${grouped(cell.elements)} elements differ, at most ${grouped(cell.ulp)} ulp`;
      element.append(!cell.first ? letter
        : make("a", { href: "#" + cell.first.element.id, ariaLabel: element.title }, letter));
    });
  }

  function openMap() {
    const prompts = distinct(rows.map((row) => row.prompt));
    const select = choice("Prompts", [["", "all together"], ...prompts.map((name) => [name, name])], fillMap);
    find("#map-controls").append(select.label);
    (window.requestIdleCallback ?? setTimeout)(() => fillMap(select.select.value)); /* it says more of each cell */
  }

  /* ---- The error along the depth. ---- */

  const depth = { path: "", mode: "local" };
  const drawn = rows.filter((row) => row.dtype !== "i64");

  function depthChart() {
    const some = drawn.filter((row) => row.path === depth.path && row.mode === depth.mode);
    const lines = [["ours − golden", "oursGolden", "red", [], "circle"],
      ["golden − fp64", "goldenFp64", "gold", [5, 4], false],
      ["ours − fp64", "oursFp64", "blue", [], false]]; /* an earlier one is drawn over a later one */
    if (some.some((row) => row.cameIn !== null))
      lines.push(["came in", "cameIn", "pink", [2, 3], "triangle"], ["added here", "added", "green", [7, 3], "rect"]);
    const floor = floorOf(some.flatMap((row) => lines.map((line) => row[line[1]])));
    /* No line from 0 to a number: on this axis it would have no end. */
    const jumps = (part) => (part.p0.parsed.y === floor) !== (part.p1.parsed.y === floor);
    const layers = Math.max(0, ...some.map((row) => row.layer + 1)), each = Math.ceil(layers / (innerWidth / 70));
    const layerName = (index) => {
      const layer = some[index].layer;
      if (layer < 0 || layer === some[index - 1]?.layer) return null;
      return layer % each ? "" : layers > 8 ? String(layer) : `layer ${layer}`;
    };
    /* Of many points, and of lines without, only those that no line leads to. */
    const isJoined = (a, b) => Number.isFinite(a) && Number.isFinite(b) && (a === floor) === (b === floor);
    const isAlone = ({ dataset: { data }, dataIndex: at }) =>
      !isJoined(data[at], data[at - 1]) && !isJoined(data[at], data[at + 1]);
    return {
      type: "line",
      data: {
        labels: some.map((row) => row.key.slice(row.path.length + 1)),
        datasets: lines.map(([label, name, tint, dash, point]) => ({
          label, data: some.map((row) => raised(row[name], floor)),
          borderColor: colour(tint), backgroundColor: colour(tint),
          borderDash: dash, borderWidth: 2, pointStyle: point || "circle", pointHitRadius: 8,
          pointRadius: (item) => ((point && some.length < 200) || isAlone(item) ? 2.5 : 0), clip: 6,
          segment: { borderColor: (part) => (jumps(part) ? "transparent" : undefined) },
          hidden: name === "cameIn" || name === "added",
        })),
      },
      options: {
        interaction: { mode: "index", intersect: false },
        onClick: (event, items) => { if (items.length) goTo(some[items[0].index]); },
        plugins: {
          legend: { position: "bottom", labels: { usePointStyle: false, boxHeight: 1, boxWidth: 26 } },
          tooltip: { callbacks: {
            label: ({ dataset, raw }) => `${dataset.label}: ${raw <= floor ? "0" : short(raw)}`,
          } },
        },
        scales: {
          x: { ticks: { autoSkip: false, maxRotation: 0, callback: layerName },
               title: { display: layers > 8, text: "layer" } },
          y: { type: "logarithmic", min: floor,
               title: { display: true, text: "root mean square" },
               ticks: { callback: (at) => (at === floor ? "0" : isDecade(at) ? at.toExponential(0) : null) } },
        },
      },
    };
  }

  function openDepth() {
    if (!drawn.length) {
      for (const part of findAll("#depth, nav a[href='#depth']")) part.hidden = true;
      return;
    }
    const paths = distinct(drawn.map((row) => row.path)), modes = distinct(drawn.map((row) => row.mode));
    const start = whereToStart();
    depth.path = paths.includes(start?.path) ? start.path : paths[0];
    depth.mode = start && modes.includes("carried") ? "carried" : modes[0];
    const change = (name) => (value) => { depth[name] = value; show("depth-chart", depthChart); };
    const path = choice("Pass", paths.map((name) => [name, name]), change("path"));
    const mode = choice("Mode", modes.map((name) => [name, name]), change("mode"));
    path.select.value = depth.path;
    mode.select.value = depth.mode;
    find("#depth-controls").append(path.label, mode.label);
    show("depth-chart", depthChart);
  }

  /* ---- Timing. ---- */

  const bench = find("#bench") ? read("bench") : null;
  const timing = { pass: "" };
  const tints = ["blue", "gold"];
  const ownName = (key) => key.replace(/^model\.layers\.\d+\.?/, "") || "layer’s output";
  const timeTick = (value) => ([1, 2, 5].some((digit) => isDecade(value / digit)) ? seconds(value) : null);

  function barsChart() {
    const some = bench.rows.filter((row) => row[0] === timing.pass);
    find("#bars-chart").parentElement.style.height = `${some.length * 34 + 90}px`;
    return {
      type: "bar",
      data: {
        labels: some.map((row) => ownName(row[1]) + (row[3] > 1 ? ` (${row[3]})` : "")),
        datasets: [["cold", 6, "blue"], ["hot", 7, "gold"], ["in model", 8, "green"]].map(([label, column, tint]) => ({
          label, data: some.map((row) => row[column]), backgroundColor: colour(tint),
          barPercentage: 0.9, categoryPercentage: 0.8,
        })),
      },
      options: {
        indexAxis: "y",
        plugins: { legend: { position: "top", align: "start" },
                   tooltip: { callbacks: { title: (items) => some[items[0].dataIndex][1],
                                           label: (item) => `${item.dataset.label}: ${seconds(item.raw)}` } } },
        scales: { x: { type: "logarithmic", ticks: { callback: timeTick } },
                  y: { ticks: everyTick(), grid: { display: false } } },
      },
    };
  }

  /* Bytes and flops of a row against what is reached, and the ceilings that were measured. */
  function rooflineChart() {
    const timeOf = (row) => row[8] ?? row[6];
    const points = (pass) => bench.rows.filter((row) => row[0] === pass && row[5] > 0 && timeOf(row))
      .map((row) => ({ x: row[5] / row[4], y: row[5] / timeOf(row), key: row[1] }));
    const passes = distinct(bench.rows.map((row) => row[0])), [, copy, reading, product] = bench.ceilings;
    const sets = passes.map((pass, index) => ({
      type: "scatter", label: pass, data: points(pass),
      backgroundColor: colour(tints[index % 2]), borderColor: colour(tints[index % 2]),
      pointStyle: ["circle", "triangle", "rect"][index % 3], pointRadius: 5, pointHoverRadius: 7,
    }));
    const intensities = sets.flatMap((set) => set.data.map((point) => point.x));
    const from = Math.min(...intensities) / 2, to = Math.max(...intensities) * 2;
    const line = (label, data, tint, dash) => ({
      type: "line", label, data, borderColor: colour(tint), backgroundColor: colour(tint),
      borderDash: dash, borderWidth: 2, pointRadius: 0, pointHitRadius: 0, pointStyle: "line",
    });
    const slope = (bytes) => {
      const top = product && product < bytes * to ? product / bytes : to;
      return [from, Math.max(from, top)].map((x) => ({ x, y: x * bytes }));
    };
    const ridge = product && Math.max(from, product / (Math.max(copy, reading) || Infinity));
    const flat = () => [ridge, Math.max(to, ridge)].map((x) => ({ x, y: product }));
    const any = intensities.length > 0;
    if (any && copy) sets.push(line(`copy, ${rate(copy, "B/s")}`, slope(copy), "grey", []));
    if (any && reading) sets.push(line(`reading weights, ${rate(reading, "B/s")}`, slope(reading), "grey", [3, 3]));
    if (any && product) sets.push(line(`product, ${rate(product, "flop/s")}`, flat(), "red", [8, 4]));
    const tooltip = ({ raw }) => `${raw.key}: ${rate(raw.y, "flop/s")}, ${Number(raw.x.toPrecision(3))} flop/B`;
    return {
      type: "scatter",
      data: { datasets: sets },
      options: {
        plugins: { legend: { position: "bottom", labels: { usePointStyle: true, boxWidth: 18 } },
                   tooltip: { filter: (item) => item.raw.key !== undefined, callbacks: { label: tooltip } } },
        scales: {
          x: { type: "logarithmic", title: { display: true, text: "flops a byte" },
               ticks: { callback: (value) => (isDecade(value) ? String(Number(value.toPrecision(3))) : null) } },
          y: { type: "logarithmic", title: { display: true, text: "reached" },
               ticks: { callback: (value) => (isDecade(value) ? rate(value, "flop/s") : null) } },
        },
      },
    };
  }

  /* What kind of work a node is, by the last part of its name: for the colours of the time line. */
  const families = [["norms", "gold", /norm$/],
    ["matrix products", "blue", /proj$|^lm_head|_qkv$|gate_up|^(o|down)_residual$/],
    ["attention", "pink", /^(scores|probs|context|gqa_attention)$/], ["element by element, tables", "grey", /(?:)/]];
  const familyOf = (name) => families.find(([, , pattern]) => pattern.test(name.split(".").at(-1)));

  /* A line for each layer, and one for what comes before and after them. */
  function timelineChart() {
    const lines = new Map(), names = [];
    let stage = "before";
    for (const [, key, time] of bench.nodes.filter((node) => node[0] === timing.pass)) {
      const layer = /^model\.layers\.(\d+)/.exec(key);
      if (layer) stage = `layer ${layer[1]}`;
      else if (stage.startsWith("layer")) stage = "after";
      if (!lines.has(stage)) lines.set(stage, new Map());
      lines.get(stage).set(ownName(key), time ?? 0);
      if (!names.includes(ownName(key))) names.push(ownName(key));
    }
    const legend = families.map(([text, tint]) =>
      ({ text, fillStyle: colour(tint), lineWidth: 0, fontColor: colour("soft") }));
    const totals = [...lines.values()].map((line) => [...line.values()].reduce((sum, time) => sum + time, 0));
    find("#timeline-chart").parentElement.style.height = `${lines.size * 28 + 110}px`;
    return {
      type: "bar",
      data: {
        labels: [...lines.keys()].map((name, index) => `${name}, ${seconds(totals[index])}`),
        datasets: names.map((name) => ({
          label: name, data: [...lines.values()].map((line) => line.get(name) ?? null), stack: "pass",
          backgroundColor: colour(familyOf(name)[1]),
          borderColor: colour("card"), borderWidth: { right: 1 }, borderSkipped: false,
          barPercentage: 0.95, categoryPercentage: 0.9,
        })),
      },
      options: {
        indexAxis: "y",
        plugins: { legend: { position: "bottom", onClick: null,
                             labels: { boxWidth: 14, generateLabels: () => legend } },
                   tooltip: { callbacks: { label: (item) => `${item.dataset.label}: ${seconds(item.raw)}` } } },
        scales: { x: { stacked: true, ticks: { callback: (value) => seconds(value) } },
                  y: { stacked: true, ticks: { autoSkip: false }, grid: { display: false } } },
      },
    };
  }

  function drawTiming() {
    const named = (nodes) => nodes.some((node) => node[0] === timing.pass);
    if (find("#bars-chart")) show("bars-chart", barsChart);
    if (find("#roofline-chart")) show("roofline-chart", rooflineChart);
    if (!find("#timeline-chart")) return;
    find("#timeline-chart-part").hidden = !named(bench.nodes);
    if (named(bench.nodes)) show("timeline-chart", timelineChart);
  }

  function openTiming() {
    const passes = distinct(bench.rows.map((row) => row[0]));
    if (!passes.length) return;
    timing.pass = passes.includes("decode") ? "decode" : passes[0];
    const change = (value) => { timing.pass = value; drawTiming(); };
    const select = choice("Pass", passes.map((name) => [name, name]), change);
    select.select.value = timing.pass;
    find("#timing-controls").append(select.label);
    drawTiming();
  }

  /* ---- The page. ---- */

  if (body) {
    for (const row of rows) linkOf(row).tabIndex = -1;
    openFilter();
    openTable();
  }
  if (rows.length) {
    if (find(".map")) openMap();
    openDepth();
    choose(whereToStart() ?? rows[0]);
    addEventListener("hashchange", followAddress);
    followAddress();
  } else if (chosen) chosen.hidden = true;
  if (bench) openTiming();
})();
