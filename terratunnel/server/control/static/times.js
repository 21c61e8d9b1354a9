// Keeps "5 minutes ago" true.

import { ago } from "./format.js";

const EVERY_MS = 5000;

export function start() {
  setInterval(refresh, EVERY_MS);
}

function refresh() {
  for (const element of document.querySelectorAll("time[data-ago]")) {
    element.textContent = ago(new Date(element.dateTime), Date.now());
  }
}
