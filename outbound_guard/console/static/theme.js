// Before the page is drawn: the theme that was chosen, so that nothing flickers.
"use strict";
try {
  const theme = localStorage.getItem("theme");
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
} catch (error) {
  // Storage may be switched off; then the system's theme holds.
}
