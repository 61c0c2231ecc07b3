// The search of the site: reads the index of one language and shows the stories that have all words.
"use strict";
(() => {
  const form = document.getElementById("search");
  const input = document.getElementById("q");
  const status = document.getElementById("search-status");
  const list = document.getElementById("search-results");
  const titles = document.getElementById("titles");
  const language = document.documentElement.lang;
  const MOST = 100;

  // Scripts without spaces between words: any part of a text may be a word.
  const UNSPACED = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]+/gu;
  const WORD = /[\p{L}\p{N}\p{M}]+/gu;
  // Accents of Latin and Cyrillic, vowel signs of Hebrew and Arabic, and the Arabic stretching sign.
  const MARKS = /[\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06ed]/g;
  const LETTERS = { "\u0649": "\u064a", "\u0629": "\u0647", "\u0131": "i", "ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d" };
  const OTHER = new RegExp("[" + Object.keys(LETTERS).join("") + "]", "g");
  // The article, alone or after a one-letter word that is written together with it.
  const ARTICLE = /^(?:[\u0648\u0641\u0628\u0643]?\u0627\u0644|\u0644\u0644)(?=..)/;

  const fold = (text) => text.normalize("NFKD").toLowerCase().replace(MARKS, "").replace(OTHER, (letter) => LETTERS[letter]);
  const words = (text) => (fold(text).match(WORD) || []).map((word) => word.replace(ARTICLE, ""));
  const prepare = (text) => " " + words(text).join(" ") + " ";

  // How well a text has a word: 1 the word itself, less for its beginning or for another ending; 0 not at all.
  const spaced = (text, word) => {
    if (text.includes(" " + word + " ")) return 1;
    if (text.includes(" " + word)) return 0.8;
    const stem = word.slice(0, word.length > 6 ? -2 : -1);
    return stem.length > 3 && text.includes(" " + stem) ? 0.4 : 0;
  };
  const unspaced = (text, word) => {
    if (text.includes(word)) return 1;
    const letters = [...word];
    if (letters.length < 3) return 0;
    return letters.slice(1).every((letter, place) => text.includes(letters[place] + letter)) ? 0.4 : 0;
  };

  const terms = (query) => words(query).flatMap((word) => {
    const runs = word.match(UNSPACED) || [];
    const rest = word.replace(UNSPACED, " ").split(" ").filter(Boolean);
    return [...runs.map((run) => [run, unspaced]), ...rest.map((part) => [part, spaced])];
  });

  const score = (story, wanted) => {
    let sum = 0;
    for (const [word, match] of wanted) {
      let best = 0;
      for (const [text, weight] of story.fields) best = Math.max(best, match(text, word) * weight);
      if (!best) return 0;
      sum += best;
    }
    return sum;
  };

  let stories = [];
  let loading = null;
  let failed = false;
  const get = async (url) => {
    const answer = await fetch(url);
    if (!answer.ok) throw new Error(url + ": " + answer.status);
    return answer.json();
  };
  const load = async () => {
    const index = new URL(form.dataset.index, document.baseURI);
    const { files } = await get(index);
    await Promise.all(files.map(async (name) => {
      for (const story of await get(new URL(name, index))) {
        story.fields = [
          [prepare(story.title), 8], [prepare(story.labels.join(" ")), 5], [prepare(story.summary), 3], [prepare(story.words), 1],
        ];
        stories.push(story);
      }
    }));
  };

  const element = (name, text, parent) => {
    const made = document.createElement(name);
    made.textContent = text;
    parent.append(made);
    return made;
  };
  const show = () => {
    const wanted = terms(input.value);
    titles.hidden = wanted.length > 0 && !failed;
    list.textContent = "";
    status.textContent = "";
    if (!wanted.length) return;
    if (failed) {
      status.textContent = form.dataset.failed;
      return;
    }
    const found = stories.map((story) => [score(story, wanted), story]).filter(([points]) => points > 0);
    found.sort(([a, first], [b, second]) => b - a || (first.date < second.date ? 1 : -1));
    status.textContent = found.length ? form.dataset.found.replace("#", found.length.toLocaleString(language)) : form.dataset.none;
    for (const [, story] of found.slice(0, MOST)) {
      const line = element("li", "", list);
      element("a", story.title, line).href = form.dataset.root + story.path;
      const meta = element("span", story.kind + " · ", line);
      meta.className = "meta";
      element("time", story.day, meta).dateTime = story.date;
      if (story.summary) element("span", story.summary, line).className = "snippet";
    }
  };
  const search = async () => {
    const url = new URL(location.href);
    url.searchParams.set("q", input.value);
    if (!input.value) url.searchParams.delete("q");
    history.replaceState(null, "", url);
    if (terms(input.value).length) {
      loading = loading || load().catch(() => { failed = true; });
      await loading;
    }
    show();
  };

  form.hidden = false;
  form.addEventListener("submit", (event) => { event.preventDefault(); search(); });
  input.addEventListener("input", search);
  input.value = new URL(location.href).searchParams.get("q") || "";
  if (input.value) search();
})();
