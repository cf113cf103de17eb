// The page's pure parts, by behaviour: `node --test tools/web/test/store.test.mjs`.

import assert from "node:assert/strict";
import { test } from "node:test";

import { sendCommand } from "../page/outbox.js";
import { comesBack, waitMs } from "../page/reconnect.js";
import { HOLE_WAIT_MS, p2pId, Store, TYPING_MS } from "../page/store.js";
import { textOf } from "../page/text.js";

const CONV = "p2p:alice:bob";

function message(seq, more = {}) {
  return { conv: CONV, msg_id: `id-${seq}`, epoch: 1, seq, from: "bob", type: "text", body: `text ${seq}`, ts: seq, ...more };
}

function storeWith(...messages) {
  const store = new Store("alice");
  for (const one of messages) store.handle({ message: one }, 0);
  return store;
}

const entry = (id, conv = CONV) => ({ conv, to: { user: "bob" }, id, body: "hi", ts: 1 });

/** What the reader sees. */
function check(store, seqs, unread) {
  const conversation = store.conversation(CONV);
  assert.deepEqual(conversation.items.map(({ seq }) => seq), seqs);
  if (unread !== undefined) assert.equal(conversation.unread, unread);
}

test("messages that come twice are shown once", () => {
  const store = storeWith(message(1), message(2), message(2), message(1));
  store.handle({ messages: { conv: CONV, items: [message(1), message(2), message(3)] } }, 0);
  check(store, [1, 2, 3], 3);
});

test("a message above a hole waits until the hole is filled", () => {
  const store = storeWith(message(1), message(3), message(4));
  check(store, [1]);
  store.handle({ message: message(2) }, 0);
  check(store, [1, 2, 3, 4], 4);
  assert.deepEqual(store.gaps(HOLE_WAIT_MS), []);
});

test("a hole that stays is asked for from the last dense place", () => {
  const store = storeWith(message(1), message(4));
  assert.deepEqual(store.gaps(0), []);
  const [gap] = store.gaps(HOLE_WAIT_MS);
  assert.equal(gap.syncFrom, 1);
  store.synced(gap, { items: [message(2), message(3)], head: 4, more: false }, HOLE_WAIT_MS);
  check(store, [1, 2, 3, 4]);
  assert.deepEqual(store.gaps(1e6), []);
});

test("a page that leaves something out begins anew: what is missing is not for this user", () => {
  const store = storeWith(message(1));
  store.handle({ resync: { conv: CONV } }, 0);
  const [gap] = store.gaps(0);
  store.synced(gap, { items: [message(8), message(9)], head: 9, more: false }, 0);
  check(store, [8, 9]);
});

test("a page without items is not asked for again at once", () => {
  const store = storeWith(message(1));
  store.connected({ [CONV]: false });
  const [gap] = store.gaps(0);
  store.synced(gap, { items: [], head: 9, more: true }, 0);
  assert.deepEqual(store.gaps(1000), []);
  assert.equal(store.gaps(5000).length, 1);
});

test("what was not recovered is paged until there is no more", () => {
  const store = storeWith(message(1));
  store.connected({ [CONV]: false });
  store.synced(store.gaps(0)[0], { items: [message(2)], head: 3, more: true }, 0);
  assert.equal(store.gaps(0)[0].syncFrom, 2);
  store.synced(store.gaps(0)[0], { items: [message(3)], head: 3, more: false }, 0);
  assert.deepEqual(store.gaps(1e6), []);
  check(store, [1, 2, 3]);
});

test("a refused sync is not asked for again", () => {
  const store = storeWith(message(1), message(4));
  const [gap] = store.gaps(HOLE_WAIT_MS);
  store.syncRefused(gap, { temporary: true, retryAfterMs: 500 }, 1000);
  assert.deepEqual(store.gaps(1400), []);
  assert.equal(store.gaps(1500).length, 1);
  store.syncRefused(gap, { temporary: false, retryAfterMs: 0 }, 1500);
  assert.deepEqual(store.gaps(1e6), []);
});

test("history goes below, and joins what came live meanwhile", () => {
  const store = storeWith(message(4));
  const conversation = store.conversation(CONV);
  conversation.mergeDown({ items: [message(2), message(3), message(4)], head: 4, more: true });
  check(store, [2, 3, 4]);
  conversation.mergeDown({ items: [message(1)], head: 4, more: false });
  check(store, [1, 2, 3, 4]);
  assert.equal(conversation.more, false);
});

test("a later epoch numbers anew: its messages take the places", () => {
  const store = storeWith(message(1), message(2), message(3));
  store.handle({ message: message(2, { epoch: 2, msg_id: "other" }) }, 0);
  check(store, [1, 2]);
  store.handle({ message: message(3, { epoch: 2, msg_id: "id-2" }) }, 0);
  assert.deepEqual(store.conversation(CONV).items.map(({ msg_id }) => msg_id), ["id-1", "other", "id-2"]);
});

test("an answer to a send overtakes pushes without a hole being shown", () => {
  const store = storeWith(message(1));
  const sent = store.outbox.add(entry("c1"));
  store.sent(sent, { conv: CONV, msg_id: "id-3", epoch: 1, seq: 3, ts: 3 }, 0);
  check(store, [1]);
  store.handle({ message: message(2) }, 0);
  check(store, [1, 2, 3], 2);
  assert.deepEqual(store.outbox.entries, []);
});

test("own backlog answers what an earlier life of the page sent", () => {
  const store = new Store("alice", [entry("c1")].map((one) => ({ ...one, state: "pending", tried: true })));
  store.handle({ messages: { conv: CONV, items: [message(1, { from: "alice", client_msg_id: "c1" })] } }, 0);
  assert.deepEqual(store.outbox.entries, []);
  check(store, [1], 0);
});

test("unread counts what others sent above the read mark, whichever of list and push comes first", () => {
  const listed = { conv: CONV, head: 5, read: 3, unread: 2, last: message(5) };
  const first = new Store("alice");
  first.listed([listed]);
  for (const seq of [4, 5, 6]) first.handle({ message: message(seq) }, 0);
  check(first, [4, 5, 6], 3);
  const second = storeWith(message(4), message(5), message(6));
  second.listed([listed]);
  check(second, [4, 5, 6], 3);
  second.conversation(CONV).markRead(6);
  check(second, [4, 5, 6], 0);
});

test("a read mark of another device of the user counts here", () => {
  const store = storeWith(message(1), message(2));
  store.handle({ receipt: { conv: CONV, kind: "read", uid: "alice", seq: 1 } }, 0);
  check(store, [1, 2], 1);
});

test("receipts of the other party move the ticks, and never back", () => {
  const store = storeWith(message(1, { from: "alice" }));
  const conversation = store.conversation(CONV);
  const reached = () => conversation.reached(conversation.items[0]);
  assert.equal(reached(), "sent");
  store.handle({ receipt: { conv: CONV, kind: "delivered", uid: "bob", seq: 1 } }, 0);
  assert.equal(reached(), "delivered");
  store.handle({ receipt: { conv: CONV, kind: "read", uid: "bob", seq: 1 } }, 0);
  store.handle({ receipt: { conv: CONV, kind: "delivered", uid: "bob", seq: 1 } }, 0);
  assert.equal(reached(), "read");
});

test("each place is acknowledged once, those of groups by themselves", () => {
  const store = storeWith(message(1), message(2), message(4), message(1, { conv: "group:g" }));
  assert.deepEqual(store.unacknowledged({ groups: false }), [{ conv: CONV, epoch: 1, seq: 2 }]);
  assert.deepEqual(store.unacknowledged({ groups: false }), []);
  assert.deepEqual(store.unacknowledged({ groups: true }), [{ conv: "group:g", epoch: 1, seq: 1 }]);
  assert.deepEqual(store.unacknowledged({ groups: true }), []);
  assert.deepEqual(store.resumePoints(), { [CONV]: [1, 2], "group:g": [1, 1] });
});

test("a group that is not in the list any more was left", () => {
  const store = new Store("alice");
  store.handle({ message: message(1, { conv: "group:g" }) }, 0);
  store.listed([]);
  assert.equal(store.conversation("group:g").left, true);
  assert.deepEqual(store.resumePoints(), {});
  store.handle({ changed: { conv: "group:g", kind: "joined" } }, 0);
  assert.equal(store.conversation("group:g").left, false);
});

test("typing ends by itself and with the message", () => {
  const store = storeWith(message(1));
  store.handle({ typing: { conv: CONV, uid: "bob" } }, 0);
  assert.equal(store.expireTyping(TYPING_MS - 1), false);
  assert.equal(store.expireTyping(TYPING_MS), true);
  store.handle({ typing: { conv: CONV, uid: "bob" } }, 0);
  store.handle({ message: message(2) }, 0);
  assert.equal(store.conversation(CONV).typing.size, 0);
});

test("sends of one conversation go one by one, in their order, and again with retry after a loss", () => {
  const { outbox } = new Store("alice");
  for (const id of ["c1", "c2"]) outbox.add(entry(id));
  outbox.add(entry("d1", "group:g"));
  const taken = () => outbox.take(0).map(({ entry: { id }, retry }) => [id, retry]);
  assert.deepEqual(taken(), [["c1", false], ["d1", false]]);
  assert.deepEqual(taken(), []);
  outbox.lost();
  assert.deepEqual(taken(), [["c1", true], ["d1", true]]);
  outbox.remove(CONV, "c1");
  assert.deepEqual(taken(), [["c2", false]]);
});

test("a temporary refusal waits without letting a later one pass; one for good steps aside until it is retried", () => {
  const { outbox } = new Store("alice");
  const [first] = [outbox.add(entry("c1")), outbox.add(entry("c2"))];
  const taken = (now) => outbox.take(now).map(({ entry: { id } }) => id);
  assert.deepEqual(taken(0), ["c1"]);
  outbox.refused(first, { temporary: true, message: "busy", retryAfterMs: 500 }, 0);
  assert.deepEqual(taken(499), []);
  assert.deepEqual(taken(500), ["c1"]);
  outbox.refused(first, { temporary: false, message: "not a member" }, 500);
  assert.deepEqual([first.state, first.error], ["failed", "not a member"]);
  assert.deepEqual(taken(500), ["c2"]);
  outbox.remove(CONV, "c2");
  outbox.retry(first);
  const [again] = outbox.take(500);
  assert.deepEqual(sendCommand(again.entry, again.retry).send, {
    to: { user: "bob" }, client_msg_id: "c1", type: "text", body: "hi", retry: true,
  });
});

test("a message that the server would close the connection for is refused before it is sent", () => {
  const { outbox } = new Store("alice");
  assert.throws(() => outbox.add({ ...entry("c1"), body: "\u0001".repeat(12_000) }), RangeError);
  assert.deepEqual(outbox.entries, []);
});

test("close codes say whether to come back", () => {
  for (const code of [1001, 1005, 1006, 1011, 3001, 3004, 3499, 4001, 4499]) assert.equal(comesBack(code), true, code);
  for (const code of [1000, 1002, 1008, 1009, 3500, 3501, 4500, 4502, 4999]) assert.equal(comesBack(code), false, code);
});

test("waits are jittered over a bound that doubles up to its end", () => {
  assert.deepEqual([0, 1, 2, 20, 1000].map((attempt) => waitMs(attempt, 1)), [500, 1000, 2000, 30_000, 30_000]);
  assert.equal(waitMs(5, 0), 0);
});

test("ids of two users do not depend on who asks", () => {
  assert.equal(p2pId("bob", "alice"), CONV);
  assert.equal(p2pId("a_", "a-"), "p2p:a-:a_");
});

test("what is no plain text is told in words", async () => {
  const system = (body) => textOf({ type: "system", body });
  assert.equal(system('{"event":"joined","by":"alice","uids":["bob","carol"]}'), "alice added bob, carol");
  assert.equal(system("{"), "{");
  assert.equal(textOf({ type: "image", body: "x" }), "[image] x");
  const deflated = { enc: "deflate", body: "y0jNyclXKM8vyklRyBhlj7JH2aPsUfYoe5Q9yh5lU8wGAA==" };
  const opened = await new Promise((resolve) => textOf(deflated, resolve));
  assert.equal(opened, "hello world ".repeat(200));
  assert.equal(await new Promise((resolve) => textOf({ enc: "deflate", body: "?" }, resolve)), "[cannot be read]");
});
