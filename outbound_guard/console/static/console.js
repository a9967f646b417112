// Makes pages live that work without it. Nothing here decides anything.
"use strict";

// Parts of the page that refresh themselves: <section id="..." data-live="5"> is fetched again every 5 seconds.
function keepLive() {
  const parts = [...document.querySelectorAll("[data-live]")].filter((part) => part.id);
  if (!parts.length) return;
  const seconds = Math.min(...parts.map((part) => Number(part.dataset.live) || 10));
  let failures = 0;
  const refresh = async () => {
    const busy = document.activeElement && document.activeElement.closest("[data-live]");
    if (!document.hidden && !busy) {
      try {
        const answer = await fetch(location.href, { headers: { "X-Live": "1" }, credentials: "same-origin" });
        if (answer.redirected && new URL(answer.url).pathname !== location.pathname) return location.reload();
        if (answer.ok) {
          const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
          for (const part of document.querySelectorAll("[data-live]")) {
            const found = fresh.getElementById(part.id);
            if (found && found.innerHTML !== part.innerHTML) part.innerHTML = found.innerHTML;
            if (found && !found.dataset.live) delete part.dataset.live;
          }
          enhance(document);
          failures = 0;
        } else failures += 1;
      } catch (error) {
        failures += 1;
      }
    }
    if (document.querySelector("[data-live]")) setTimeout(refresh, seconds * 1000 * Math.min(2 ** failures, 16));
  };
  setTimeout(refresh, seconds * 1000);
}

// What small things need after each refresh.
function enhance(root) {
  for (const button of root.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    button.onclick = async () => {
      const from = document.querySelector(button.dataset.copy);
      await navigator.clipboard.writeText("value" in from ? from.value : from.textContent);
      const before = button.textContent;
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = before; }, 1500);
    };
  }
  // <time data-countdown="unix seconds">: counts down to it.
  for (const left of root.querySelectorAll("[data-countdown]")) countDown(left);
  for (const box of root.querySelectorAll("[data-select-all]")) {
    box.hidden = false;
    const boxes = () => [...document.querySelectorAll(`input[type=checkbox][name="${box.dataset.selectAll}"]`)];
    box.onchange = () => { for (const one of boxes()) one.checked = box.checked; told(boxes()); };
    for (const one of boxes()) one.onchange = () => told(boxes());
  }
  for (const select of root.querySelectorAll("select[data-submit]")) select.onchange = () => select.form.requestSubmit();
}

function told(boxes) {
  const number = boxes.filter((one) => one.checked).length;
  for (const place of document.querySelectorAll("[data-selected]")) place.textContent = number ? `${number} selected` : "";
}

function countDown(left) {
  if (left.dataset.counting) return;
  left.dataset.counting = "yes";
  const offset = Number(left.dataset.now) * 1000 - Date.now();
  const tick = () => {
    const seconds = Math.max(0, Math.round((Number(left.dataset.countdown) * 1000 - Date.now() - offset) / 1000));
    left.textContent = `${seconds} s`;
    if (seconds && left.isConnected) setTimeout(tick, 500);
  };
  tick();
}

// Keys, where nothing is being typed.
function listenToKeys() {
  let going = false;
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input:not([type=checkbox]), textarea, select, dialog");
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key;
    if (going) {
      going = false;
      const to = document.querySelector(`nav [data-key="${CSS.escape(key)}"]`);
      if (to) { event.preventDefault(); location.href = to.href; }
      return;
    }
    if (key === "g") { going = true; setTimeout(() => { going = false; }, 1500); }
    else if (key === "?") document.getElementById("keys").showModal();
    else if (key === "/") {
      const search = document.querySelector("input[type=search]");
      if (search) { event.preventDefault(); search.focus(); }
    } else if (key === "j" || key === "k") step(key === "j" ? 1 : -1);
    else if (key === "o" || key === "x") {
      const row = document.querySelector("tr.at");
      const found = row && row.querySelector(key === "o" ? "a[href]" : "input[type=checkbox]");
      if (found) found.click();
    }
  });
}

function step(by) {
  const rows = [...document.querySelectorAll("table[data-rows] tbody tr")];
  if (!rows.length) return;
  const at = rows.findIndex((row) => row.classList.contains("at"));
  const next = rows[Math.min(Math.max(at + by, 0), rows.length - 1)];
  if (at >= 0) rows[at].classList.remove("at");
  next.classList.add("at");
  next.scrollIntoView({ block: "nearest" });
  const first = next.querySelector("a[href]");
  if (first) first.focus({ preventScroll: true });
}

function switchTheme() {
  for (const button of document.querySelectorAll("[data-theme-switch]")) {
    button.hidden = false;
    button.onclick = () => {
      const root = document.documentElement;
      const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = dark ? "light" : "dark";
      try { localStorage.setItem("theme", root.dataset.theme); } catch (error) { /* It holds for this page then. */ }
    };
  }
}

enhance(document);
keepLive();
listenToKeys();
switchTheme();
