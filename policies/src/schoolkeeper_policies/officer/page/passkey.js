// Asks the browser for a passkey and puts its answer into the form that stands around the button. Nothing else: without
// this script every form works with the passphrase. Web Authentication Level 3; the secret is the PRF extension's.
"use strict";

const NO_PRF =
  "This passkey, or this browser, cannot keep a secret for a file (it has no PRF). Nothing was changed: " +
  "use the passphrase, or another passkey or browser.";

const toText = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer)))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");

const toBytes = (text) =>
  Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));

async function create(data, name) {
  const made = await navigator.credentials.create({
    publicKey: {
      challenge: toBytes(data.challenge),
      rp: { id: data.rp, name: "schoolkeeper-officer" },
      user: { id: toBytes(data.user), name: `${data.officer} (${name})`, displayName: data.officer },
      pubKeyCredParams: [-7, -8, -257].map((alg) => ({ type: "public-key", alg })),
      excludeCredentials: JSON.parse(data.credentials).map(({ id }) => ({ type: "public-key", id: toBytes(id) })),
      authenticatorSelection: { residentKey: "preferred", userVerification: "required" },
      attestation: "none",
      extensions: { prf: {} },
    },
  });
  if (!made.getClientExtensionResults().prf?.enabled) throw new Error(NO_PRF);
  const answer = made.response;
  return {
    id: toText(made.rawId),
    clientData: toText(answer.clientDataJSON),
    authenticatorData: toText(answer.getAuthenticatorData()),
    publicKey: toText(answer.getPublicKey()),
  };
}

async function get(data, credentials) {
  const evalByCredential = Object.fromEntries(credentials.map(({ id, salt }) => [id, { first: toBytes(salt) }]));
  const got = await navigator.credentials.get({
    publicKey: {
      challenge: toBytes(data.challenge),
      rpId: data.rp,
      allowCredentials: credentials.map(({ id }) => ({ type: "public-key", id: toBytes(id) })),
      userVerification: "required",
      extensions: { prf: { evalByCredential } },
    },
  });
  const secret = got.getClientExtensionResults().prf?.results?.first;
  if (!secret) throw new Error(NO_PRF);
  return {
    id: toText(got.rawId),
    clientData: toText(got.response.clientDataJSON),
    authenticatorData: toText(got.response.authenticatorData),
    signature: toText(got.response.signature),
    secret: toText(secret),
  };
}

function inWords(error) {
  if (error.name === "NotAllowedError") return "The passkey was not used: it was ended, refused, or took too long.";
  if (error.name === "InvalidStateError") return "This device or key has a passkey for this key file already.";
  if (error.name === "SecurityError") return "The browser allows no passkeys on this page: use the passphrase.";
  return error.message;
}

async function ask(place, form) {
  const data = place.dataset;
  for (const field of form.elements) {
    if (field.type === "password" && data.ask === "get" && field.name === "passphrase") field.required = false;
  }
  if (!form.reportValidity()) return;
  const answer = {};
  if (data.ask === "create") {
    answer.created = await create(data, form.elements.label.value);
    answer.got = await get(data, [{ id: answer.created.id, salt: data.salt }]);
  } else {
    answer.got = await get(data, JSON.parse(data.credentials));
  }
  form.elements.passkey.value = JSON.stringify(answer);
  form.submit();
}

function prepare(place) {
  const form = place.closest("form");
  const button = place.querySelector("button");
  const says = place.querySelector("[role=alert]");
  const tell = (text) => {
    says.textContent = text;
    says.hidden = !text;
  };
  place.hidden = false;
  if (!window.PublicKeyCredential || !PublicKeyCredential.prototype.getClientExtensionResults) {
    button.hidden = true;
    tell("This browser has no passkeys: use the passphrase.");
    return;
  }
  button.addEventListener("click", () => {
    button.disabled = true;
    tell("");
    ask(place, form)
      .catch((error) => tell(inWords(error)))
      .finally(() => {
        button.disabled = false;
      });
  });
}

for (const place of document.querySelectorAll("[data-ask]")) prepare(place);
