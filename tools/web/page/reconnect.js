// When to come back after a connection ended, and what to tell when not. Pure.

const FIRST_MS = 500;
const LAST_MS = 30_000;
const OTHERS_THAT_COME_BACK = [1001, 1005, 1006, 1011, 1012, 1013, 1014];

/** Whether a close code allows to come back the same way: the ranges of the protocol. */
export function comesBack(code) {
  if (OTHERS_THAT_COME_BACK.includes(code)) return true;
  return (code >= 3000 && code < 3500) || (code >= 4000 && code < 4500);
}

/** Full jitter: anything between 0 and a bound that doubles with each attempt. `random` is in 0..1. */
export function waitMs(attempt, random) {
  return Math.round(random * Math.min(LAST_MS, FIRST_MS * 2 ** Math.min(attempt, 16)));
}

const REASONS = {
  3500: "The server does not understand this page. Reload it.",
  4500: "You are connected in another tab with this session. This tab is paused.",
  4501: "Too many of your devices are connected. This tab gave way to a newer one.",
  4503: "Too many of your browsers are connected. This tab gave way to a newer one.",
};

/** Why the page stays away. */
export const reasonOf = (code) => REASONS[code] ?? `The server ended the connection (code ${code}).`;
