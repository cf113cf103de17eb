// The chat page: signs in, then ties store, connection and views together. Start reading here.
//
//   socket ─► link ─► connection ─► store ─► list, log          keys, clicks ─► app ─► store ─► connection
//
// The open conversation is in the address (`#p2p:a:b`), so the browser's back button and a reload keep to it.

import { Api } from "./api.js";
import { Connection } from "./connection.js";
import * as dialogs from "./dialogs.js";
import { $, setText } from "./dom.js";
import { ConversationList } from "./list.js";
import { MessageLog, STEP } from "./log.js";
import { reasonOf } from "./reconnect.js";
import { randomText, Session } from "./session.js";
import { p2pId, Store } from "./store.js";

const TYPING_EVERY_MS = 3000;
const HISTORY_AGAIN_MS = 3000;

const session = new Session();
const api = new Api(session);
/** What exists while somebody is signed in: store, connection, views. */
let chat = null;

function showSignIn(words = "") {
  chat?.connection.stop();
  chat = null;
  document.title = "Ringway";
  $("chat").hidden = true;
  $("sign-in").hidden = false;
  $("sign-in-error").textContent = words;
  $("user").focus();
}

async function signIn(event) {
  event.preventDefault();
  const how = event.submitter?.value ?? "login";
  const buttons = [...$("sign-in-form").querySelectorAll("button")];
  for (const button of buttons) button.disabled = true;
  $("sign-in-error").textContent = "";
  try {
    await api.signIn(how, $("user").value.trim().toLowerCase(), $("password").value, `web-${randomText(6)}`);
    $("password").value = "";
    startChat();
  } catch (problem) {
    $("sign-in-error").textContent = problem.message;
  }
  for (const button of buttons) button.disabled = false;
}

async function signOut() {
  if (chat.store.outbox.hasPending && !confirm("Some messages are not sent yet. Sign out and lose them?")) return;
  session.keepUnsent([]);
  location.hash = "";
  chat.connection.stop();
  await api.signOut();
  showSignIn();
}

function startChat() {
  const store = new Store(session.uid, session.unsent());
  const signedOut = () => {
    session.close();
    showSignIn("Your session has ended. Sign in again; what is not sent yet is kept.");
  };
  const connection = new Connection({ store, api, session, changed: () => renderSoon(), signedOut });
  const list = new ConversationList($("list"), store, openConversation);
  const log = new MessageLog($("log"), store, {
    retry: (entry) => change(() => store.outbox.retry(entry)),
    discard: (entry) => change(() => store.outbox.remove(entry.conv, entry.id)),
    scrolled: () => renderSoon(),
  });
  chat = { store, connection, list, log, shown: null, loading: false, loadAfter: 0, typedAt: 0, drafts: new Map() };
  $("sign-in").hidden = true;
  $("chat").hidden = false;
  setText($("me"), session.uid);
  connection.start();
  openFromAddress();
}

/** Changes the outbox: kept first, so that a reload in the next moment loses nothing, then sent. */
function change(action) {
  action();
  session.keepUnsent(chat.store.outbox.entries);
  chat.connection.flush();
  renderSoon();
}

function openConversation(id) {
  if (location.hash === `#${encodeURIComponent(id)}`) openFromAddress();
  else location.hash = encodeURIComponent(id);
}

/** The conversation that the address names, or nothing when it can be none of the user's. */
function addressed() {
  const [kind, low, high] = location.hash.slice(1).split("%3A");
  if (kind === "group" && /^[\w.-]+$/.test(low)) return `group:${low}`;
  const isOwn = [low, high].includes(session.uid) && /^[a-z0-9_.-]+$/.test(low) && /^[a-z0-9_.-]+$/.test(high);
  if (kind === "p2p" && isOwn) return p2pId(low, high);
  return kind === "sys" && low === session.uid ? `sys:${low}` : "";
}

function openFromAddress() {
  if (!chat) return;
  const id = addressed();
  const isKnown = id !== "";
  chat.drafts.set(chat.store.open, $("text").value);
  chat.store.open = isKnown ? id : "";
  $("text").value = chat.drafts.get(chat.store.open) ?? "";
  chat.shown = isKnown ? chat.store.conversation(id) : null;
  chat.loadAfter = 0;
  if (chat.shown) chat.log.show(chat.shown);
  render();
  if (chat.shown && matchMedia("(pointer: fine)").matches) $("text").focus();
}

let isRenderDue = false;
function renderSoon() {
  if (isRenderDue) return;
  isRenderDue = true;
  // A hidden page gets no frames, but its title still counts.
  const later = document.hidden ? setTimeout : requestAnimationFrame;
  later(() => {
    isRenderDue = false;
    if (chat) render();
  });
}

function render() {
  const { store, list, shown } = chat;
  session.keepUnsent(store.outbox.entries);
  renderStatus();
  list.render();
  $("empty").hidden = store.conversations.size > 0;
  $("chat").classList.toggle("is-open", shown !== null);
  $("nothing-open").hidden = shown !== null;
  $("conversation").hidden = shown === null;
  if (shown) renderConversation();
  document.title = store.unread > 0 ? `(${store.unread}) Ringway` : "Ringway";
}

function renderConversation() {
  const { shown, log, connection } = chat;
  setText($("title"), shown.name);
  setText($("subtitle"), shown.isGroup ? "Group" : shown.title && shown.title !== shown.other ? `@${shown.other}` : "");
  $("members").hidden = !shown.isGroup || shown.left;
  $("composer").hidden = shown.left || !(shown.isGroup || shown.other);
  $("left").hidden = !shown.left;
  $("log").classList.toggle("of-two", !shown.isGroup);
  log.render();
  setText($("typing"), [...shown.typing.keys()].map((uid) => `${uid} is typing…`).join(" "));
  const unseen = log.isAtEnd ? 0 : log.unseen;
  $("jump").hidden = log.isAtEnd;
  setText($("jump"), unseen > 0 ? `${unseen} new ↓` : "Newest ↓");
  if (log.isAtEnd && document.visibilityState === "visible" && shown.unread > 0 && shown.high === shown.head) {
    shown.markRead(shown.high);
    connection.tellReads();
    renderSoon();
  }
  if (log.wantsOlder) loadOlder();
}

async function loadOlder() {
  const { shown, connection } = chat;
  if (chat.loading || shown.left || connection.state.kind !== "connected" || Date.now() < chat.loadAfter) return;
  chat.loading = true;
  $("log").setAttribute("aria-busy", "true");
  try {
    shown.mergeDown(await api.history(shown.id, shown.low, STEP));
  } catch (problem) {
    // A chat that nobody has written in yet, or a group that one is no longer in.
    if (problem.status === 403 || problem.status === 404) shown.more = false;
    if (chat) chat.loadAfter = Date.now() + HISTORY_AGAIN_MS;
  }
  if (!chat) return;
  chat.loading = false;
  renderSoon();
}

function renderStatus() {
  const { state } = chat.connection;
  const seconds = Math.max(1, Math.ceil((state.until - Date.now()) / 1000));
  const words = {
    connected: "Connected",
    connecting: "Connecting…",
    waiting: "Reconnecting…",
    stopped: reasonOf(state.code),
  };
  $("status").className = `status ${state.kind}`;
  setText($("status-text"), words[state.kind]);
  setText($("countdown"), state.kind === "waiting" ? `next try in ${seconds} s` : "");
  $("try-now").hidden = state.kind !== "waiting" && state.kind !== "stopped";
  setText($("try-now"), state.kind === "stopped" ? "Use this tab" : "Try now");
}

function send(event) {
  event.preventDefault();
  const { store, shown, log } = chat;
  const body = $("text").value.trim();
  if (!body || !shown) return;
  const to = shown.isGroup ? { group: shown.id.slice("group:".length) } : { user: shown.other };
  setText($("composer-error"), "");
  try {
    change(() => store.outbox.add({ conv: shown.id, to, id: randomText(12), body, ts: Date.now() }));
  } catch (error) {
    setText($("composer-error"), error.message);
    return;
  }
  chat.typedAt = 0;
  $("text").value = "";
  log.toEnd();
}

function typed() {
  const now = Date.now();
  if (!chat?.shown || $("text").value === "" || now - chat.typedAt < TYPING_EVERY_MS) return;
  chat.typedAt = now;
  chat.connection.typing(chat.shown.id);
}

async function startWith(uid) {
  if (uid === session.uid) throw new Error("That is you.");
  const { name } = await api.user(uid);
  const id = p2pId(session.uid, uid);
  chat.store.conversation(id).title = name;
  openConversation(id);
}

async function startGroup(name, uids) {
  const group = await api.createGroup(name, uids);
  chat.store.conversation(group.conv).title = group.name;
  openConversation(group.conv);
}

function showMembers() {
  const { shown } = chat;
  const group = shown.id.slice("group:".length);
  dialogs.members({ api, me: session.uid, group, name: shown.name, left: () => {
    shown.left = true;
    location.hash = "";
  } });
}

$("sign-in-form").addEventListener("submit", signIn);
$("sign-out").addEventListener("click", signOut);
$("new-chat").addEventListener("click", () => dialogs.newChat(startWith));
$("new-group").addEventListener("click", () => dialogs.newGroup(startGroup));
$("members").addEventListener("click", showMembers);
$("back").addEventListener("click", () => {
  location.hash = "";
});
$("jump").addEventListener("click", () => chat.log.toEnd());
$("try-now").addEventListener("click", () => chat.connection.tryNow());
$("composer").addEventListener("submit", send);
$("text").addEventListener("input", typed);
$("text").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("composer").requestSubmit();
});
addEventListener("hashchange", openFromAddress);
addEventListener("online", () => chat?.connection.state.kind === "waiting" && chat.connection.tryNow());
document.addEventListener("visibilitychange", () => chat && renderSoon());
addEventListener("beforeunload", (event) => {
  // A reload keeps what is not sent; closing the tab does not, and the browser does not say which it is.
  if (chat?.store.outbox.hasPending) event.preventDefault();
});

if (session.uid) startChat();
else showSignIn();
