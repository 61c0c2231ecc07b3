// Make or use a passkey (WebAuthn), and send the answer with the form around the button. Without scripts the form stays
// hidden, and the password works.
"use strict";

(() => {
  if (!window.PublicKeyCredential) return;

  const toBytes = (text) =>
    Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (letter) => letter.charCodeAt(0));
  const toText = (buffer) =>
    btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  const withBytes = (list) => (list || []).map((each) => ({ ...each, id: toBytes(each.id) }));

  async function make(options, form) {
    const email = form.elements.email && form.elements.email.value;
    const named = email ? { name: email, displayName: email } : {};
    const credential = await navigator.credentials.create({
      publicKey: {
        ...options,
        challenge: toBytes(options.challenge),
        user: { ...options.user, ...named, id: toBytes(options.user.id) },
        excludeCredentials: withBytes(options.excludeCredentials),
      },
    });
    return [credential, ["clientDataJSON", "attestationObject"]];
  }

  async function use(options) {
    const credential = await navigator.credentials.get({
      publicKey: {
        ...options,
        challenge: toBytes(options.challenge),
        allowCredentials: withBytes(options.allowCredentials),
      },
    });
    return [credential, ["clientDataJSON", "authenticatorData", "signature", "userHandle"]];
  }

  function describe(credential, parts) {
    const response = {};
    for (const part of parts) if (credential.response[part]) response[part] = toText(credential.response[part]);
    const { id, type } = credential;
    return JSON.stringify({ id, type, rawId: toText(credential.rawId), response, clientExtensionResults: {} });
  }

  for (const form of document.querySelectorAll("form[data-passkey]")) {
    const options = JSON.parse(form.dataset.options);
    const domain = options.rpId || options.rp.id;
    // A browser refuses the passkeys of another host, such as that of the machine's own address.
    if (location.hostname !== domain && !location.hostname.endsWith(`.${domain}`)) continue;
    form.hidden = false;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const failed = form.querySelector("[data-failed]");
      failed.hidden = true;
      try {
        const answer = await (form.dataset.passkey === "create" ? make(options, form) : use(options));
        form.elements.passkey.value = describe(...answer);
        form.submit();
      } catch {
        failed.hidden = false;
      }
    });
  }
})();
