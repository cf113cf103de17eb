// What this device sends and has no answer for: kept over reconnects and reloads, sent again with the same id.
//
//   pending ──taken──► in flight ──sent──► gone
//      ▲                 │    └──refused for good──► failed ──discarded──► gone
//      └─lost, temporary─┘◄──────────retried───────────┘
//
// One send a conversation is in flight, so a refusal that is only temporary cannot change the order. Pure.

/** Bytes of unsent messages, as JSON: what a tab's storage surely holds. Past it `add` refuses. */
const BYTES_MAX = 1024 * 1024;
/** The server closes a connection that sends a larger WebSocket message for good. */
const COMMAND_BYTES_MAX = 64 * 1024;

const bytesOf = (value) => new TextEncoder().encode(JSON.stringify(value)).length;

/** The command of an entry, without its id. */
export function sendCommand({ to, id, body }, retry) {
  return { send: { to, client_msg_id: id, type: "text", body, ...(retry && { retry }) } };
}

export class Outbox {
  constructor(saved = []) {
    // What an earlier life of the page had in flight may have arrived.
    this.entries = saved.map((entry) => ({ ...entry, inFlight: false }));
  }

  /** @throws {RangeError} when the message or the outbox is too large. */
  add({ conv, to, id, body, ts }) {
    const entry = { conv, to, id, body, ts, state: "pending", error: "", tried: false, notBefore: 0, inFlight: false };
    if (bytesOf({ id: Number.MAX_SAFE_INTEGER, ...sendCommand(entry, true) }) > COMMAND_BYTES_MAX) {
      throw new RangeError("This message is too long: 64 KiB is the most.");
    }
    if (bytesOf(this.entries) + bytesOf(entry) > BYTES_MAX) {
      throw new RangeError("Too much is waiting to be sent. Try again when you are connected.");
    }
    this.entries.push(entry);
    return entry;
  }

  of(conv) {
    return this.entries.filter((entry) => entry.conv === conv);
  }

  get hasPending() {
    return this.entries.some((entry) => entry.state === "pending");
  }

  /** What may be sent now: of each conversation its oldest pending entry. `retry` says whether it was sent before. */
  take(now) {
    const seen = new Set();
    const ready = [];
    for (const entry of this.entries) {
      if (entry.state !== "pending" || seen.has(entry.conv)) continue;
      seen.add(entry.conv);
      if (entry.inFlight || entry.notBefore > now) continue;
      ready.push({ entry, retry: entry.tried });
      entry.inFlight = true;
      entry.tried = true;
    }
    return ready;
  }

  remove(conv, id) {
    this.entries = this.entries.filter((entry) => entry.conv !== conv || entry.id !== id);
  }

  refused(entry, { temporary, message, retryAfterMs }, now) {
    entry.inFlight = false;
    if (temporary) entry.notBefore = now + (retryAfterMs || 500);
    else Object.assign(entry, { state: "failed", error: message });
  }

  /** The connection broke: nobody knows what became of what was in flight. */
  lost() {
    for (const entry of this.entries) entry.inFlight = false;
  }

  retry(entry) {
    Object.assign(entry, { state: "pending", error: "", notBefore: 0 });
  }
}
