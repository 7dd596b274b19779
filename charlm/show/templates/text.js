// The viewer: a text in pieces that are drawn when they come near the screen, coloured by one of its tracks.
// Whatever comes from the text or the model goes into the page as textContent.
(() => {
  "use strict";

  const LEVELS = 16;        // levels of colour on either side
  const PIECE = 1500;       // characters of a piece, to the end of its line
  const LONGEST = 6000;     // characters of a piece whose line does not end
  const TYPES = { uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array };

  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("data").textContent);
  const ids = unpacked(data.ids);
  const shown = data.shown === null ? ids : unpacked(data.shown);
  const top = unpacked(data.top);
  const probabilities = unpacked(data.probabilities);
  const tracks = data.tracks.map((track) => ({ ...track, values: unpacked(track.values) }));
  const breaks = data.glyphs.map((glyph) => glyph.endsWith("\n"));
  const text = $("text"), panel = $("panel"), choice = $("track");
  let track = tracks[Number(choice.value)];
  let cursor = -1;

  function unpacked({ type, bytes }) {
    const raw = atob(bytes), array = new Uint8Array(raw.length);
    for (let at = 0; at < raw.length; at++) array[at] = raw.charCodeAt(at);
    return new TYPES[type](array.buffer);
  }

  function element(name, content, kind) {
    const made = document.createElement(name);
    if (content !== undefined) made.textContent = content;
    if (kind) made.className = kind;
    return made;
  }

  // Pieces: stretches of the text, cut where lines end, each with an estimate of its height until it is drawn.

  const pieces = cut();
  const observer = new IntersectionObserver(
    (entries) => entries.forEach(({ target, isIntersecting }) => (isIntersecting ? draw : clear)(target.piece)),
    { rootMargin: "1200px 0px" },
  );

  function cut() {
    const found = [];
    let first = 0, line = 0, lines = [];
    const close = (end) => {
      if (end > line) lines.push(end - line);
      if (end > first) found.push({ first, end, lines, box: element("div"), drawn: false });
      first = line = end;
      lines = [];
    };
    for (let at = 0; at < shown.length; at++) {
      if (breaks[shown[at]]) {
        lines.push(at + 1 - line);
        line = at + 1;
        if (line - first >= PIECE) close(line);
      } else if (at + 1 - first >= LONGEST) close(at + 1);
    }
    close(shown.length);
    return found;
  }

  function place() {
    const probe = element("span", "0".repeat(50));
    text.append(probe);
    const columns = Math.max(1, Math.floor(text.clientWidth / (probe.getBoundingClientRect().width / 50)));
    const height = parseFloat(getComputedStyle(text).lineHeight);
    probe.remove();
    for (const piece of pieces) {
      const rows = piece.lines.reduce((sum, length) => sum + Math.ceil(length / columns), 0);
      piece.box.style.minHeight = piece.drawn ? "" : `${rows * height}px`;
    }
  }

  function draw(piece) {
    if (piece.drawn) return;
    const fragment = document.createDocumentFragment();
    for (let at = piece.first; at < piece.end; at++) {
      const span = element("span", data.glyphs[shown[at]], kind(at));
      span.at = at;
      fragment.append(span);
    }
    piece.box.replaceChildren(fragment);
    piece.box.style.minHeight = "";
    piece.drawn = true;
    if (cursor >= piece.first && cursor < piece.end) spanOf(cursor).classList.add("at");
  }

  function clear(piece) {
    if (!piece.drawn) return;
    piece.box.style.minHeight = `${piece.box.getBoundingClientRect().height}px`;
    piece.box.replaceChildren();
    piece.drawn = false;
  }

  // Colours.

  function value(of, at) {
    return of.low + of.values[at] * of.step;
  }

  function colour(fraction) {
    const level = Math.min(LEVELS, Math.round(Math.abs(fraction) * LEVELS));
    return level === 0 ? "" : (fraction < 0 ? "n" : "p") + level;
  }

  function kind(at) {
    return (data.glyphs[shown[at]] === "\n" ? "end " : "") + colour(value(track, at) / track.full);
  }

  function choose() {
    track = tracks[Number(choice.value)];
    text.dataset.palette = $("legend").dataset.palette = track.palette;
    for (const piece of pieces) {
      if (piece.drawn) for (const span of piece.box.children) span.className = kind(span.at);
    }
    if (cursor >= 0) mark(cursor);
    legend();
  }

  function legend() {
    const ramp = element("span", undefined, "ramp");
    for (let level = track.signed ? -LEVELS : 0; level <= LEVELS; level += 2) {
      ramp.append(element("i", undefined, colour(level / LEVELS)));
    }
    const low = element("span", track.signed ? `−${short(track.full)}` : "0");
    const high = element("span", (track.signed ? "+" : "") + short(track.full) + (track.noun && ` ${track.noun} and more`));
    $("legend").replaceChildren(low, ramp, high);
  }

  function short(number) {
    return String(Number(number.toPrecision(3)));
  }

  // The character under the pointer, or that the arrow keys have reached.

  function pieceOf(at) {
    let low = 0, high = pieces.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (pieces[middle].end > at) high = middle;
      else low = middle + 1;
    }
    return pieces[low];
  }

  function spanOf(at) {
    const piece = pieceOf(at);
    return piece.drawn ? piece.box.children[at - piece.first] : null;
  }

  function mark(at) {
    if (cursor >= 0) spanOf(cursor)?.classList.remove("at");
    cursor = at;
    spanOf(at)?.classList.add("at");
  }

  function tell(at) {
    mark(at);
    const values = element("div", undefined, "values");
    values.append(element("h3", `character ${at.toLocaleString("en")}`), element("div", data.names[ids[at]], "symbol"));
    const list = element("ul");
    for (const of of tracks) {
      const row = element("li");
      row.append(element("span", of.name), element("span", exact(value(of, at), of.noun)));
      list.append(row);
    }
    values.append(list);
    panel.replaceChildren(values);
    if (data.likely) {
      panel.append(likely("expected here", at, ids[at]));
      panel.append(likely("expected next", at + 1, at + 1 < ids.length ? ids[at + 1] : -1));
    }
    panel.hidden = false;
  }

  function exact(number, noun) {
    return number.toFixed(3).replace("-", "−") + (noun && ` ${noun}`);
  }

  function likely(title, at, came) {
    const column = element("div", undefined, "likely"), list = element("ul");
    for (let rank = 0; rank < data.likely; rank++) {
      const symbol = top[at * data.likely + rank], share = probabilities[at * data.likely + rank] / 65535;
      const row = element("li", undefined, symbol === came ? "came" : ""), bar = element("i");
      bar.style.width = `${100 * share}%`;
      row.append(element("b", data.names[symbol]), element("span", `${(100 * share).toFixed(2)} %`), bar);
      list.append(row);
    }
    column.append(element("h3", title), list);
    return column;
  }

  function hide() {
    if (cursor >= 0) spanOf(cursor)?.classList.remove("at");
    cursor = -1;
    panel.hidden = true;
  }

  function lineFrom(at, step) {
    // The first character of the line before or after the one of `at`.
    let first = at;
    while (first > 0 && !breaks[shown[first - 1]]) first--;
    if (step < 0) {
      if (first === 0) return 0;
      first--;
      while (first > 0 && !breaks[shown[first - 1]]) first--;
      return first;
    }
    let last = at;
    while (last < ids.length - 1 && !breaks[shown[last]]) last++;
    return Math.min(last + 1, ids.length - 1);
  }

  function pressed(event) {
    const moves = {
      ArrowLeft: () => cursor - 1,
      ArrowRight: () => cursor + 1,
      ArrowUp: () => lineFrom(cursor, -1),
      ArrowDown: () => lineFrom(cursor, 1),
      Home: () => 0,
      End: () => ids.length - 1,
    };
    if (event.key === "Escape") return hide();
    if (!(event.key in moves) || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    const begun = cursor >= 0 || event.key === "Home" || event.key === "End";
    const at = begun ? Math.max(0, Math.min(ids.length - 1, moves[event.key]())) : visible();
    draw(pieceOf(at));
    tell(at);
    spanOf(at).scrollIntoView({ block: "nearest" });
  }

  function visible() {
    // The first character on the screen.
    const piece = pieces.find(({ box }) => box.getBoundingClientRect().bottom > 0) ?? pieces[0];
    draw(piece);
    for (const span of piece.box.children) if (span.getBoundingClientRect().bottom > 60) return span.at;
    return piece.first;
  }

  text.addEventListener("pointerover", ({ target }) => target.at !== undefined && tell(target.at));
  text.addEventListener("keydown", pressed);
  choice.addEventListener("change", choose);
  let width = text.clientWidth;
  new ResizeObserver(() => {
    if (text.clientWidth !== width) place();
    width = text.clientWidth;
  }).observe(text);

  choose();
  for (const piece of pieces) {
    piece.box.piece = piece;
    text.append(piece.box);
  }
  place();
  for (const piece of pieces) observer.observe(piece.box);
})();
