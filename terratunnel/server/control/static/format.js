// Times, sizes and numbers as the server writes them (words.py). Used by the modules that keep a page up to date.

const STEPS = [[60, "second"], [60, "minute"], [24, "hour"], [30, "day"], [12, "month"]];
const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];

const counted = (count, unit) => `${count} ${unit}${count === 1 ? "" : "s"} ago`;

/** How long ago a moment was, in its largest unit. */
export function ago(moment, now) {
  let count = (now - moment) / 1000;
  if (count < 1) return "just now";
  for (const [size, unit] of STEPS) {
    if (count < size) return counted(Math.floor(count), unit);
    count /= size;
  }
  return counted(Math.floor(count), "year");
}

/** A number of bytes with three digits at most. */
export function size(bytes) {
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 || value >= 99.95 ? value.toFixed(0) : value.toFixed(1)} ${UNITS[unit]}`;
}

/** A number with its thousands apart. */
export const number = (count) => count.toLocaleString("en-US");

/** A <time> element for a moment that the API gave. */
export function time(moment) {
  const element = document.createElement("time");
  const date = new Date(moment);
  element.dateTime = moment;
  element.title = `${date.toISOString().slice(0, 19).replace("T", " ")} UTC`;
  element.dataset.ago = "";
  element.textContent = ago(date, Date.now());
  return element;
}
