// Messages and times as words. What others wrote is only ever set as text.

const INFLATED_BYTES_MAX = 1024 * 1024;

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const date = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const shortDate = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

export const timeOf = (ts) => clock.format(ts);
export const dayOf = (ts) => (isToday(ts) ? "Today" : date.format(ts));
/** The time today, the date before. */
export const shortTimeOf = (ts) => (isToday(ts) ? clock.format(ts) : shortDate.format(ts));

function isToday(ts) {
  return new Date(ts).toDateString() === new Date().toDateString();
}

/** Raw deflate in base64, as the SDKs send large bodies; bounded, because a small body can inflate to anything. */
async function inflate(body) {
  const bytes = Uint8Array.from(atob(body), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let text = "";
  let size = 0;
  for (const reader = stream.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    size += value.length;
    if (size > INFLATED_BYTES_MAX) {
      await reader.cancel();
      throw new RangeError("the body is too large");
    }
    text += decoder.decode(value, { stream: true });
  }
}

function ofSystem(body) {
  let notice;
  try {
    notice = JSON.parse(body);
  } catch {
    return body;
  }
  const { event, by, uids = [] } = notice ?? {};
  const listed = Array.isArray(uids) ? uids.join(", ") : "";
  if (event === "created") return listed ? `${by} created the group with ${listed}` : `${by} created the group`;
  if (event === "joined") return `${by} added ${listed}`;
  if (event === "left") return `${by} left`;
  return event === "removed" ? `${by} removed ${listed}` : body;
}

/** What a message says. One that has to be inflated says so first and gives the rest to `later`. */
export function textOf(message, later = () => {}) {
  const { type = "text", body = "", enc = "" } = message;
  if (enc === "deflate") {
    message.opened ??= inflate(body).catch(() => "[cannot be read]");
    message.opened.then((text) => later(text));
    return "…";
  }
  if (enc) return "[cannot be read]";
  if (type === "system") return ofSystem(body);
  return type === "text" ? body : `[${type}] ${body}`;
}
