// The messages of one conversation: a run without holes, what waits above a hole, and what is unread.
//
//   older, on the server  |  items: low … high, dense  |  hole?  |  ahead
//
// Pure: no socket, no clock, no page. Messages are kept by `seq`; one that is there already is told by its `msg_id`.

/** Messages that wait above a hole. Past it the highest is dropped; the `sync` that fills the hole brings it again. */
const AHEAD_MAX = 500;
/** Messages a conversation that is not open keeps; older ones are read from the server again when wanted. */
const KEPT_MAX = 1000;
/** How far below the head a conversation is read whose place is unknown. */
const TAIL = 50;

export class Conversation {
  constructor(id, me) {
    this.id = id;
    this.me = me;
    this.title = "";
    this.items = [];
    this.ahead = new Map();
    /** Whether the server has messages below the first item. */
    this.more = true;
    this.head = 0;
    this.read = 0;
    /** The server has taken the read mark up to here. */
    this.readTold = 0;
    this.unread = 0;
    /** Everything up to here is in `unread` or was read. */
    this.counted = 0;
    this.acknowledged = 0;
    /** The other party of a one-to-one conversation has received and read up to here. */
    this.peer = { delivered: 0, read: 0 };
    /** Who is typing, and until when that is shown. */
    this.typing = new Map();
    this.left = false;
    /** A `sync` is owed whether there is a hole or not. */
    this.wanted = false;
    this.listedLast = null;
  }

  get isGroup() {
    return this.id.startsWith("group:");
  }

  /** The other user of a one-to-one conversation. */
  get other() {
    const [kind, low, high] = this.id.split(":");
    return kind === "p2p" ? (low === this.me ? high : low) : "";
  }

  get name() {
    return this.title || this.other || (this.isGroup ? "Group" : this.id);
  }

  get low() {
    return this.items[0]?.seq ?? 0;
  }

  get high() {
    return this.items.at(-1)?.seq ?? 0;
  }

  get last() {
    const last = this.items.at(-1);
    return (last?.seq ?? 0) >= (this.listedLast?.seq ?? 0) ? last : this.listedLast;
  }

  /** What `connect` gives as the place from which to go on; none while nothing was shown. */
  get point() {
    const last = this.items.at(-1);
    return last && [last.epoch, last.seq];
  }

  get needsSync() {
    return this.wanted || this.ahead.size > 0;
  }

  /** Where a `sync` upwards begins. */
  get syncFrom() {
    return this.high || Math.max(0, this.head - TAIL);
  }

  /** Takes a pushed message, or an own one made from its `sent` reply, which may overtake pushes. */
  offer(message, own = false) {
    if (!(message.seq > 0)) return;
    this.head = Math.max(this.head, message.seq);
    this.typing.delete(message.from);
    if (this.items.length === 0 ? !own || message.seq === 1 : message.seq === this.high + 1) {
      this.#append(message);
      this.#drain();
    } else if (this.items.length === 0 || message.seq > this.high) {
      this.ahead.set(message.seq, message);
      if (this.ahead.size > AHEAD_MAX) this.ahead.delete(Math.max(...this.ahead.keys()));
    } else {
      this.#meet(message);
    }
  }

  /** Takes the reply to a `sync` from `syncFrom`. It is the truth: what it leaves out below it is not for this user. */
  mergeUp({ items, head, more }) {
    this.head = Math.max(this.head, head);
    this.wanted = more;
    for (const message of items) {
      if (this.items.length > 0 && message.seq <= this.high) {
        this.#meet(message);
        continue;
      }
      if (this.items.length > 0 && message.seq > this.high + 1) this.items = [];
      this.#append(message);
    }
    this.#drain();
  }

  /** Takes a page of history: the one just below `low`, or the newest one when there is nothing yet. */
  mergeDown({ items, head, more }) {
    this.head = Math.max(this.head, head);
    const below = this.items.length === 0 ? items : items.filter((message) => message.seq < this.low);
    if (below.length > 0 && this.items.length > 0 && below.at(-1).seq !== this.low - 1) return;
    this.items = below.concat(this.items);
    this.more = more;
    this.#drain();
  }

  /** Forgets what waits above a hole: the server will not fill it. */
  giveUp() {
    this.wanted = false;
    this.ahead.clear();
  }

  /** Drops what is far below, while nobody looks. */
  trim() {
    if (this.items.length <= KEPT_MAX) return;
    this.items = this.items.slice(-KEPT_MAX);
    this.more = true;
  }

  /** Takes an entry of the server's list. It may be older than what was pushed meanwhile. */
  listed(entry) {
    this.title = entry.name ?? "";
    this.left = false;
    this.head = Math.max(this.head, entry.head);
    this.readTold = Math.max(this.readTold, entry.read);
    if (entry.last && entry.last.seq > (this.listedLast?.seq ?? 0)) this.listedLast = entry.last;
    if (entry.read < this.read) {
      this.#recount();
      return;
    }
    this.read = entry.read;
    this.counted = Math.max(this.counted, entry.head);
    this.unread = entry.unread + this.#othersAbove(entry.head);
  }

  markRead(seq) {
    if (seq <= this.read) return;
    this.read = seq;
    this.#recount();
  }

  receipt({ kind, uid, seq }) {
    if (uid === this.me) {
      if (kind === "read") this.markRead(seq);
      return;
    }
    this.peer.delivered = Math.max(this.peer.delivered, seq);
    if (kind === "read") this.peer.read = Math.max(this.peer.read, seq);
  }

  /** How far an own message got: `sent`, and in one-to-one conversations `delivered` and `read`. */
  reached(message) {
    if (this.isGroup) return "sent";
    if (message.seq <= this.peer.read) return "read";
    return message.seq <= this.peer.delivered ? "delivered" : "sent";
  }

  #append(message) {
    this.items.push(message);
    if (message.seq <= this.counted) return;
    this.counted = message.seq;
    if (message.from !== this.me && message.seq > this.read) this.unread += 1;
  }

  #drain() {
    for (const seq of [...this.ahead.keys()].sort((a, b) => a - b)) {
      if (this.items.length === 0 || seq > this.high + 1) return;
      const message = this.ahead.get(seq);
      this.ahead.delete(seq);
      if (seq === this.high + 1) this.#append(message);
      else this.#meet(message);
    }
  }

  /** A message at a place that is taken: the same again, or numbered anew by a later epoch, which then holds. */
  #meet(message) {
    const at = message.seq - this.low;
    const known = this.items[at];
    if (!known || message.epoch <= known.epoch) return;
    if (known.msg_id === message.msg_id) {
      this.items[at] = message;
      return;
    }
    this.items.length = at;
    this.#append(message);
    this.wanted = true;
  }

  #recount() {
    if (this.read >= Math.max(this.head, this.high)) {
      this.unread = 0;
    } else if (this.items.length > 0 && this.low <= this.read + 1) {
      this.unread = this.#othersAbove(this.read);
    }
  }

  #othersAbove(seq) {
    return this.items.filter((message) => message.seq > seq && message.from !== this.me).length;
  }
}
