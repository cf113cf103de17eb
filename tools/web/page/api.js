// The HTTP API as functions: each returns the answer's JSON, or throws a `Problem` with the server's words.

/** A request that the server refused, or that did not reach it (`status` 0). */
export class Problem extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function answer(method, path, body, token) {
  const headers = {};
  if (token) headers.authorization = `Bearer ${token}`;
  if (body) headers["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  } catch {
    throw new Problem(0, "The server cannot be reached.");
  }
  if (response.status === 204) return {};
  const json = await response.json().catch(() => ({}));
  if (response.ok) return json;
  throw new Problem(response.status, json.detail ?? `The server answered ${response.status}.`);
}

export class Api {
  #session;

  constructor(session) {
    this.#session = session;
  }

  /** Asks in the name of the user; a token that was refused is renewed once. */
  async #ask(method, path, body) {
    try {
      return await answer(method, path, body, await this.#session.token());
    } catch (error) {
      if (error.status !== 401) throw error;
    }
    this.#session.expire();
    return answer(method, path, body, await this.#session.token());
  }

  /** `how` is `register` or `login`. */
  async signIn(how, user, password, device) {
    const grant = await answer("POST", `/v1/auth/${how}`, { user, password, device, platform: "web" });
    this.#session.open(grant, device);
  }

  async signOut() {
    // A server that is away leaves the token to run out by itself.
    await this.#ask("POST", "/v1/auth/logout").catch(() => {});
    this.#session.close();
  }

  /** The WebSocket addresses to try. */
  async locate() {
    const { items } = await answer("GET", "/v1/locate");
    return items.map(({ ws }) => ws);
  }

  user(uid) {
    return this.#ask("GET", `/v1/users/${encodeURIComponent(uid)}`);
  }

  /** The page just below `before`, or the newest one. */
  history(conv, before, limit) {
    const place = before ? `before_seq=${before}&` : "";
    return this.#ask("GET", `/v1/conversations/${encodeURIComponent(conv)}/messages?${place}limit=${limit}`);
  }

  createGroup(name, members) {
    return this.#ask("POST", "/v1/groups", { name, members });
  }

  async members(group) {
    return (await this.#ask("GET", `/v1/groups/${encodeURIComponent(group)}/members`)).items;
  }

  addMembers(group, uids) {
    return this.#ask("POST", `/v1/groups/${encodeURIComponent(group)}/members`, { uids });
  }

  removeMember(group, uid) {
    return this.#ask("DELETE", `/v1/groups/${encodeURIComponent(group)}/members/${encodeURIComponent(uid)}`);
  }

  leave(group) {
    return this.#ask("POST", `/v1/groups/${encodeURIComponent(group)}/leave`);
  }
}

