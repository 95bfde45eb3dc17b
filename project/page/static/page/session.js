// Who is logged in. The session is a cookie that scripts cannot read (HttpOnly); the server says whose it is.

import { get, postOnce, remove } from "./api.js";

/** The user { id, username }, or null. Also makes the server set the csrftoken cookie, which api.js needs. */
export async function currentUser() {
  const { data } = await get("session/");
  return data.authenticated ? data.user : null;
}

/** Log in. Wrong credentials are an ApiError with status 400, too many tries one with 429. */
export async function logIn(username, password) {
  const session = await postOnce("session/", { username, password });
  return session.user;
}

export async function logOut() {
  await remove("session/");
}
