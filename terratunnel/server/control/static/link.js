// One-time sign-in links: the token is behind the #, which browsers send to nobody, so it is put into the form here.

export function start() {
  const form = document.querySelector("form[data-link]");
  const token = location.hash.slice(1);
  if (!form || !token) return;
  history.replaceState(null, "", location.pathname); // not to be seen, nor kept in the history
  const input = form.querySelector("[name=token]");
  input.value = token;
  input.type = "hidden";
  form.querySelector("[data-without-link]").hidden = true;
  form.querySelector("[data-with-link]").hidden = false;
  form.querySelector("button").focus();
}
