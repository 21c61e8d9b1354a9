// Live numbers: asks the API every two seconds while the page is looked at, and fills in what it says as text.

import { number, size, time } from "./format.js";

const EVERY_MS = 2000;

export function start() {
  const own = document.querySelector("[data-own-tunnels]");
  const all = document.querySelector("[data-all-tunnels]");
  if (own) watch("/api/tunnels", (tunnels) => tunnels.forEach(showOwn));
  if (all) watch("/api/admin/live", new Overview(all).show);
}

function watch(url, show) {
  const ask = async () => {
    if (document.hidden) return;
    try {
      const response = await fetch(url, { headers: { Accept: "application/json" } });
      if (response.status === 401) location.reload(); // the session is over
      if (response.ok) show(await response.json());
    } catch {
      // the server restarts; the next time will do
    }
  };
  let asking = false;
  setInterval(async () => {
    if (asking) return;
    asking = true;
    await ask();
    asking = false;
  }, EVERY_MS);
}

function fill(within, field, value) {
  const element = within.querySelector(`[data-field="${field}"]`);
  if (!element) return;
  if (value instanceof Node) {
    if (element.firstElementChild?.dateTime !== value.dateTime) element.replaceChildren(value);
  } else if (element.textContent !== value) element.textContent = value;
}

// ---- the user's own tunnels

function showOwn(tunnel) {
  const card = document.querySelector(`[data-tunnel="${tunnel.id}"]`);
  if (!card) return;
  const live = tunnel.live;
  const before = card.dataset.live;
  card.dataset.live = live ? "yes" : "no";
  card.querySelector("[data-state]").textContent = live ? "Live" : "Not connected";
  if (tunnel.key_last_used_at) fill(card, "key_last_used_at", time(tunnel.key_last_used_at));
  if (live) {
    fill(card, "since", time(live.since));
    fill(card, "address", live.address);
    fill(card, "local_endpoint", live.local_endpoint);
    fill(card, "requests", number(live.requests));
    fill(card, "bytes_in", size(live.bytes_in));
    fill(card, "bytes_out", size(live.bytes_out));
  }
  if (before !== card.dataset.live) {
    const state = live ? "is live" : "is not connected any more";
    document.getElementById("announcer").textContent = `${card.dataset.name} ${state}`;
  }
}

// ---- everybody's, for administrators

class Overview {
  constructor(table) {
    this.body = table.tBodies[0];
    this.row = document.querySelector("template[data-row]").content.querySelector("tr");
    this.totals = document.querySelector("[data-totals]");
    this.before = new Map();
    this.show = this.show.bind(this);
  }

  show({ totals, tunnels }) {
    const now = performance.now();
    fill(this.totals, "tunnels", number(totals.tunnels));
    fill(this.totals, "requests", number(totals.requests));
    this.fillBytes(this.totals, "all", totals, now);
    this.showRows(tunnels, now);
    document.querySelector("[data-none]").hidden = tunnels.length > 0;
    document.querySelector("[data-more]").hidden = totals.tunnels <= tunnels.length;
    for (const [key, seen] of this.before) if (seen.at !== now) this.before.delete(key);
  }

  /** A row that is there already stays the same element: somebody may have its link in focus. */
  showRows(tunnels, now) {
    const rows = new Map([...this.body.rows].map((row) => [row.dataset.connection, row]));
    tunnels.forEach((tunnel, place) => {
      const row = rows.get(tunnel.connection_id) ?? this.row.cloneNode(true);
      rows.delete(tunnel.connection_id);
      this.fillRow(row, tunnel, now);
      if (this.body.rows[place] !== row) this.body.insertBefore(row, this.body.rows[place] ?? null);
    });
    for (const row of rows.values()) row.remove();
  }

  fillRow(row, tunnel, now) {
    row.dataset.connection = tunnel.connection_id;
    fill(row, "url", tunnel.subdomain);
    row.querySelector("a").href = tunnel.url;
    fill(row, "local_endpoint", tunnel.local_endpoint);
    fill(row, "username", tunnel.username || "nobody");
    fill(row, "address", tunnel.address);
    fill(row, "since", time(tunnel.since));
    fill(row, "requests", number(tunnel.requests));
    this.fillBytes(row, tunnel.connection_id, tunnel, now);
  }

  fillBytes(within, key, counts, now) {
    const before = this.before.get(key);
    this.before.set(key, { at: now, bytes_in: counts.bytes_in, bytes_out: counts.bytes_out });
    for (const way of ["in", "out"]) {
      const bytes = counts[`bytes_${way}`];
      fill(within, `bytes_${way}`, size(bytes));
      if (before) {
        const rate = Math.max(0, bytes - before[`bytes_${way}`]) / ((now - before.at) / 1000);
        fill(within, `rate_${way}`, `${size(rate)}/s`);
      }
    }
  }
}
