// Makes the pages of the room nicer where scripts run. Every action works without it, by the same forms.
(() => {
  "use strict";

  const post = (form, fields) => {
    const body = new URLSearchParams();
    for (const [name, value] of new FormData(form)) if (typeof value === "string") body.append(name, value);
    for (const [name, value] of Object.entries(fields)) body.set(name, value);
    return fetch(form.getAttribute("action").split("#")[0], { method: "POST", body, credentials: "same-origin" });
  };

  // A form that is not saved yet says so.
  const tellUnsaved = (form) => {
    const note = form.querySelector("[data-unsaved-note]");
    if (note) note.hidden = false;
  };
  for (const form of document.querySelectorAll("form[data-unsaved]")) {
    form.addEventListener("input", () => tellUnsaved(form));
    form.addEventListener("submit", () => { form.dataset.unsaved = "sent"; });
  }
  // A second press of a button does not send its form again. After a while it does, for answers that are no page.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
    setTimeout(() => delete form.dataset.sent, 3000);
  });
  // The browser asks before words are lost.
  window.addEventListener("beforeunload", (event) => {
    const open = document.querySelector("form[data-unsaved=''] [data-unsaved-note]:not([hidden])");
    if (open) event.preventDefault();
  });

  // Stories of an edition: drag a row, or move it by its buttons; its hidden field moves with it.
  for (const list of document.querySelectorAll("[data-sort]")) {
    let dragged = null, before = null;
    list.addEventListener("click", (event) => {
      const button = event.target.closest("button[name=move]");
      if (!button) return;
      event.preventDefault();
      const row = button.closest("li"), way = button.value.split(":")[0];
      if (way === "first") list.prepend(row);
      else if (way === "up" && row.previousElementSibling) row.previousElementSibling.before(row);
      else if (way === "down" && row.nextElementSibling) row.nextElementSibling.after(row);
      // The same button keeps the focus; at an end of the list it is not shown, and the other way has it.
      const other = row.querySelector(row === list.firstElementChild ? ".order-down" : ".order-up");
      (button.offsetParent ? button : other).focus();
      tellUnsaved(list.closest("form"));
    });
    for (const row of list.children) {
      row.draggable = true;
      row.addEventListener("dragstart", (event) => {
        dragged = row;
        before = row.nextSibling;
        row.classList.add("is-dragged");
        event.dataTransfer.effectAllowed = "move";
        event.dataTransfer.setData("text/plain", "");
      });
      row.addEventListener("dragend", () => {
        row.classList.remove("is-dragged");
        if (row.nextSibling !== before) tellUnsaved(list.closest("form"));
        dragged = null;
      });
      row.addEventListener("dragover", (event) => {
        if (!dragged || dragged === row) return;
        event.preventDefault();
        const box = row.getBoundingClientRect();
        list.insertBefore(dragged, event.clientY < box.top + box.height / 2 ? row : row.nextSibling);
      });
      row.addEventListener("drop", (event) => event.preventDefault());
    }
  }

  // Calendar: dropping an entry on a day opens the same form that its link opens, with that day.
  for (const link of document.querySelectorAll("a[data-move]")) {
    const entry = link.closest("li");
    entry.draggable = true;
    entry.addEventListener("dragstart", (event) => {
      event.stopPropagation();
      event.dataTransfer.effectAllowed = "move";
      event.dataTransfer.setData("text/x-tidings", link.href);
    });
  }
  for (const day of document.querySelectorAll("[data-day]")) {
    const isMove = (event) => event.dataTransfer.types.includes("text/x-tidings");
    day.addEventListener("dragover", (event) => {
      if (!isMove(event)) return;
      event.preventDefault();
      day.classList.add("is-over");
    });
    day.addEventListener("dragleave", () => day.classList.remove("is-over"));
    day.addEventListener("drop", (event) => {
      if (!isMove(event)) return;
      event.preventDefault();
      const address = new URL(event.dataTransfer.getData("text/x-tidings"), location.href);
      if (address.origin !== location.origin) return;
      address.searchParams.set("day", day.dataset.day);
      location.href = address.href;
    });
  }

  // The editor: what is pasted from Word or Docs comes out as Markdown.
  for (const form of document.querySelectorAll("form[data-paste]")) {
    const text = form.querySelector("textarea[name=body]");
    if (!text) continue;
    text.addEventListener("paste", (event) => {
      const html = event.clipboardData.getData("text/html");
      const plain = event.clipboardData.getData("text/plain");
      if (!html || event.clipboardData.files.length) return;
      event.preventDefault();
      const insert = (words) => {
        text.focus();
        if (!document.execCommand("insertText", false, words)) text.setRangeText(words);
      };
      const body = new URLSearchParams({ csrf: form.elements.csrf.value, html });
      fetch(form.dataset.paste, { method: "POST", body, credentials: "same-origin" })
        .then((answer) => (answer.ok ? answer.text() : plain))
        .catch(() => plain)
        .then((words) => insert(words.includes("\n\n") ? words : words.trim()));
    });
  }

  // A picture that is dropped into the form becomes its chosen file; then its words are asked for.
  for (const form of document.querySelectorAll("form[data-editor]")) {
    const chosen = form.elements.picture;
    if (!chosen) continue;
    const hasFile = (event) => event.dataTransfer && event.dataTransfer.types.includes("Files");
    const words = form.elements.alt;
    const demand = () => { words.required = chosen.files.length > 0; };
    chosen.addEventListener("change", demand);
    form.addEventListener("dragover", (event) => {
      if (!hasFile(event)) return;
      event.preventDefault();
      form.classList.add("is-over");
    });
    form.addEventListener("dragleave", () => form.classList.remove("is-over"));
    form.addEventListener("drop", (event) => {
      if (!hasFile(event)) return;
      event.preventDefault();
      form.classList.remove("is-over");
      const picture = [...event.dataTransfer.files]
        .find((file) => file.type.startsWith("image/") || /\.hei[cf]$/i.test(file.name));
      if (!picture) return;
      const files = new DataTransfer();
      files.items.add(picture);
      chosen.files = files.files;
      demand();
      words.focus();
    });
  }

  // Live: at a pause of typing, the part `data-live` of the page is asked for again with what is written now.
  for (const form of document.querySelectorAll("form[data-live]")) {
    let timer = 0, turn = 0;
    const names = form.dataset.live.split(" ");
    const refresh = () => {
      const own = ++turn;
      // The preview is heavy, so it stays away until somebody asked for it once.
      const preview = document.getElementById("preview");
      const isShown = names.includes("preview") && preview && preview.firstElementChild;
      post(form, { do: isShown ? "preview" : "check" })
        .then((answer) => answer.text())
        .then((page) => {
          const fresh = new DOMParser().parseFromString(page, "text/html");
          for (const name of names) {
            const place = document.getElementById(name), part = fresh.getElementById(name);
            if (own === turn && part && place && (name !== "preview" || isShown)) place.replaceWith(document.adoptNode(part));
          }
        })
        .catch(() => {});
    };
    form.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(refresh, 1200);
    });
  }

  // The progress of a send is read again every few seconds, for as long as the page shows one. Only this part is asked for.
  const follow = () => {
    const part = document.querySelector("[data-refresh]");
    if (!part) return;
    setTimeout(() => {
      fetch(part.dataset.refresh, { credentials: "same-origin" })
        .then((answer) => answer.text())
        .then((text) => {
          const fresh = new DOMParser().parseFromString(text, "text/html").getElementById(part.id);
          if (fresh) part.replaceWith(document.adoptNode(fresh));
        })
        .catch(() => {})
        .finally(follow);
    }, 5000);
  };
  follow();

  // A button that copies a link.
  for (const button of document.querySelectorAll("button[data-copy]")) {
    if (!navigator.clipboard) continue;
    button.hidden = false;
    button.addEventListener("click", () => {
      navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent.trim())
        .then(() => { button.textContent = button.dataset.done; })
        .catch(() => {});
    });
  }

  // Somebody in another time zone sees both clocks.
  for (const note of document.querySelectorAll("[data-zone]")) {
    const now = new Date(), format = { hour: "2-digit", minute: "2-digit" }, language = document.documentElement.lang;
    const there = now.toLocaleTimeString(language, { ...format, timeZone: note.dataset.zone });
    const clocks = [there, now.toLocaleTimeString(language, format)];
    note.querySelectorAll("time").forEach((face, number) => { face.textContent = clocks[number]; });
    note.hidden = clocks[0] === clocks[1];
  }

  // Countdowns go on while the page is open.
  const units = [["day", 86400], ["hour", 3600], ["minute", 60]];
  const tell = (seconds) => {
    const parts = [];
    for (const [unit, length] of units) {
      if (unit === "minute" && parts.length) break;
      const count = unit === "minute" ? Math.max(0, Math.ceil(seconds / length)) : Math.floor(seconds / length);
      seconds -= count * length;
      const format = { style: "unit", unit, unitDisplay: "long" };
      if (count || (unit === "minute" && !parts.length)) {
        parts.push(new Intl.NumberFormat(document.documentElement.lang, format).format(count));
      }
    }
    return parts.join(" ");
  };
  const clocks = [...document.querySelectorAll("time[data-until]")];
  const skew = clocks.length ? Date.parse(clocks[0].dataset.now) - Date.now() : 0;
  if (clocks.length) {
    setInterval(() => {
      for (const clock of clocks) {
        clock.textContent = tell((Date.parse(clock.dataset.until) - Date.now() - skew) / 1000);
      }
    }, 20000);
  }
})();
