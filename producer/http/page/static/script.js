// Keeps a screen up to date: by server-sent events, or by asking again where these fail.
"use strict";

const everyS = Number(document.body.dataset.everyS);
const ASK_AGAIN_MS = 5000;
const live = document.getElementById("live");

function tell(text) {
  if (!live || (live.textContent === text && live.hidden === !text)) return;
  live.textContent = text;
  live.hidden = !text;
}

// What the keyboard is on, so that it stays there when its part is replaced.
function place(element) {
  if (!element || element === document.body) return null;
  if (element.id) return `#${CSS.escape(element.id)}`;
  const to = element.getAttribute("href");
  return to ? `a[href="${CSS.escape(to)}"]` : null;
}

function isSelecting(part) {
  const selection = document.getSelection();
  return selection !== null && !selection.isCollapsed && part.contains(selection.anchorNode);
}

function show(text) {
  const fresh = new DOMParser().parseFromString(text, "text/html");
  for (const part of document.querySelectorAll("[data-live]")) {
    const next = fresh.getElementById(part.id);
    if (!next || isSelecting(part)) continue;
    for (const details of part.querySelectorAll("details[open]")) {
      const same = details.id && next.querySelector(`#${CSS.escape(details.id)}`);
      if (same) same.open = true;
    }
    if (next.outerHTML === part.outerHTML) continue;
    const at = part.contains(document.activeElement) ? place(document.activeElement) : null;
    part.replaceWith(document.adoptNode(next));
    if (at) next.querySelector(at)?.focus({ preventScroll: true });
  }
}

let asking = 0;

async function ask() {
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" }, redirect: "error" });
    if (!answer.ok) throw new Error(String(answer.status));
    show(await answer.text());
    tell("");
  } catch {
    tell("The server does not answer. What you see may be old.");
  }
}

function askAgain() {
  if (!asking) asking = setInterval(() => document.hidden || ask(), Math.max(ASK_AGAIN_MS, everyS * 1000));
}

function stopAsking() {
  clearInterval(asking);
  asking = 0;
}

let stream = null;

function listen() {
  if (document.hidden) return;
  stream?.close();
  stream = new EventSource(location.href);
  stream.addEventListener("page", (event) => {
    stopAsking();
    tell("");
    show(JSON.parse(event.data));
  });
  stream.addEventListener("trouble", (event) => tell(JSON.parse(event.data)));
  stream.onerror = () => {
    askAgain();
    // The browser has given up: ask for a stream again now and then.
    if (stream?.readyState === EventSource.CLOSED) setTimeout(listen, 30000);
  };
}

if (everyS > 0) {
  if ("EventSource" in window) {
    listen();
    // A page that nobody looks at costs the server nothing.
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) return listen();
      stream?.close();
      stopAsking();
    });
  } else askAgain();
}
