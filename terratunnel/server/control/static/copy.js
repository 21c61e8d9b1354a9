// Copy buttons: shown where scripts run, so that none is there that does nothing.

const SHOWN_MS = 2000;

export function start() {
  for (const button of document.querySelectorAll("button.copy")) {
    button.hidden = false;
    button.addEventListener("click", () => copy(button));
  }
}

async function copy(button) {
  const code = button.parentElement.querySelector("code");
  const done = await write(code);
  button.textContent = done ? "Copied" : "Press Ctrl+C";
  document.getElementById("announcer").textContent = button.textContent;
  setTimeout(() => { button.textContent = "Copy"; }, SHOWN_MS);
}

async function write(code) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(code); // over plain http there is no clipboard: leave it selected
    return false;
  }
}
