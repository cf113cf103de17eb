// The three dialogs: start a chat, make a group, the members of a group.

import { $, avatar, make } from "./dom.js";

/** Opens a dialog whose form calls `submit`; what that throws is shown in the dialog. */
function open(dialog, submit) {
  const form = dialog.querySelector("form");
  const error = dialog.querySelector(".error");
  form.reset();
  error.textContent = "";
  form.onsubmit = async (event) => {
    event.preventDefault();
    const button = form.querySelector("[type=submit]");
    button.disabled = true;
    error.textContent = "";
    try {
      await submit(new FormData(form));
    } catch (problem) {
      error.textContent = problem.message || "You are signed out.";
    }
    button.disabled = false;
  };
  dialog.querySelector(".close").onclick = () => dialog.close();
  dialog.showModal();
}

/** User ids in a text, apart by spaces or commas. */
const uidsIn = (text) => text.toLowerCase().split(/[\s,;]+/).filter(Boolean);

/** Asks whom to talk to; `chosen(uid)` may refuse by throwing. */
export function newChat(chosen) {
  open($("new-chat-dialog"), async (form) => {
    await chosen(form.get("person").trim().toLowerCase());
    $("new-chat-dialog").close();
  });
}

/** Asks for a name and members; `create(name, uids)`. */
export function newGroup(create) {
  open($("new-group-dialog"), async (form) => {
    await create(form.get("name").trim(), uidsIn(form.get("members")));
    $("new-group-dialog").close();
  });
}

/** Shows and changes the members of a group. */
export async function members({ api, me, group, name, left }) {
  const dialog = $("members-dialog");
  const error = dialog.querySelector(".error");
  const list = $("members-list");
  const attempt = async (action) => {
    try {
      await action();
    } catch (problem) {
      error.textContent = problem.message || "You are signed out.";
    }
  };
  const refresh = async () => {
    const members = await api.members(group);
    const ranks = { owner: 2, admin: 1, member: 0 };
    const own = ranks[members.find(({ uid }) => uid === me)?.role] ?? 0;
    list.replaceChildren(...members.map(({ uid, role }) => {
      const remove = make("button", {
        type: "button",
        text: "Remove",
        "aria-label": `Remove ${uid}`,
        onclick: () => attempt(async () => {
          await api.removeMember(group, uid);
          await refresh();
        }),
      });
      const label = make("span", { text: uid === me ? `${uid} (you)` : uid });
      const row = make("li", {}, avatar(uid), label, make("span", { class: "role", text: role === "member" ? "" : role }));
      if (uid !== me && own > ranks[role]) row.append(remove);
      return row;
    }));
  };
  list.replaceChildren();
  $("members-title").textContent = name;
  $("leave").onclick = () => attempt(async () => {
    await api.leave(group);
    dialog.close();
    left();
  });
  open(dialog, async (form) => {
    await api.addMembers(group, uidsIn(form.get("members")));
    dialog.querySelector("form").reset();
    await refresh();
  });
  await attempt(refresh);
}
