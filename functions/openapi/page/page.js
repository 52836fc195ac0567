"use strict";
// Draws openapi.json. Everything is put in as text, never as markup.

const byId = (id) => document.getElementById(id);

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key === "on") for (const [event, handler] of Object.entries(value)) made.addEventListener(event, handler);
    else if (value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

let api;

function resolved(value) {
  const parts = value && value.$ref && value.$ref.slice(2).split("/");
  return parts ? resolved(parts.reduce((found, part) => found[part], api)) : value;
}

function nameOf(schema) {
  return schema.$ref ? schema.$ref.split("/").pop() : null;
}

function kindOf(schema) {
  if (schema.$ref) return resolved(schema).enum || resolved(schema).type !== "object" ? kindOf(resolved(schema)) : nameOf(schema);
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  const variants = schema.anyOf || schema.oneOf;
  if (variants) return variants.map(kindOf).join(" | ");
  if (schema.type === "array") return `list of ${schema.items ? kindOf(schema.items) : "anything"}`;
  if (schema.type === "object") {
    if (schema.properties) return "object";
    return schema.additionalProperties ? `map of ${kindOf(schema.additionalProperties) || "anything"}` : "object";
  }
  return [schema.type || "anything", schema.format && `(${schema.format})`].filter(Boolean).join(" ");
}

const LIMITS = {
  minimum: "≥", exclusiveMinimum: ">", maximum: "≤", exclusiveMaximum: "<", minLength: "length ≥", maxLength: "length ≤",
  minItems: "items ≥", maxItems: "items ≤", pattern: "matches", default: "default",
};

function limitsOf(schema) {
  const told = Object.entries(LIMITS).filter(([key]) => schema[key] !== undefined);
  return told.map(([key, word]) => `${word} ${JSON.stringify(schema[key])}`).join(", ");
}

// The parts of a schema that have fields of their own, whatever lists and choices surround them.
function inside(schema) {
  if (schema.$ref) return inside(resolved(schema));
  if (schema.properties) return [schema];
  const variants = [...(schema.anyOf || schema.oneOf || []), schema.items, schema.additionalProperties];
  return variants.filter((part) => part && typeof part === "object").flatMap(inside);
}

function fields(schema, seen) {
  const list = element("ul", { class: "fields" });
  for (const part of inside(schema)) {
    if (seen.includes(part)) continue;
    for (const [name, field] of Object.entries(part.properties)) {
      const required = (part.required || []).includes(name);
      const about = [field.description || resolved(field).description, limitsOf(field)].filter(Boolean).join(" — ");
      const line = [
        element("code", { class: required ? "required" : "" }, name), " ", element("em", {}, kindOf(field)),
        about ? element("span", { class: "quiet" }, ` ${about}`) : null,
      ];
      const deeper = inside(field).filter((inner) => !seen.includes(inner) && inner !== part);
      if (!deeper.length) list.append(element("li", {}, ...line));
      else list.append(element("li", {}, lazily("details", element("summary", {}, ...line), () => fields(field, [...seen, part]))));
    }
  }
  return list;
}

// Schemas may be deep and may contain themselves: what is folded is drawn when it is opened.
function lazily(name, summary, draw) {
  const made = element(name, {}, summary);
  made.addEventListener("toggle", () => made.open && made.children.length === 1 && made.append(draw()));
  return made;
}

function content(title, described) {
  const parts = Object.entries(described || {}).map(([mediaType, { schema, example }]) => element(
    "div", {}, element("p", {}, element("code", {}, mediaType), " ", element("em", {}, kindOf(schema))),
    fields(schema, []),
    example === undefined ? null : lazily("details", element("summary", {}, "Example"),
      () => element("pre", {}, JSON.stringify(example, null, 2))),
  ));
  return parts.length ? element("section", {}, element("h3", {}, title), ...parts) : null;
}

function parameters(operation) {
  const rows = (operation.parameters || []).map((parameter) => element(
    "tr", {}, element("td", {}, element("code", { class: parameter.required ? "required" : "" }, parameter.name)),
    element("td", {}, parameter.in), element("td", {}, kindOf(parameter.schema)),
    element("td", {}, [parameter.description, limitsOf(parameter.schema)].filter(Boolean).join(" — ")),
  ));
  return rows.length ? element("section", {}, element("h3", {}, "Parameters"), element("table", {}, ...rows)) : null;
}

function answers(operation) {
  const made = element("section", {}, element("h3", {}, "Answers"));
  for (const [status, given] of Object.entries(operation.responses)) {
    const answer = resolved(given);
    const headers = Object.keys(answer.headers || {}).join(", ");
    const line = element("summary", {}, element("code", {}, status), ` ${answer.description}`);
    made.append(lazily("details", line, () => element(
      "div", {}, headers ? element("p", { class: "quiet" }, `Headers: ${headers}`) : null, content("Content", answer.content),
    )));
  }
  return made;
}

function attempt(method, path, operation) {
  const taken = (operation.parameters || []).filter((parameter) => parameter.name !== "X-Request-Id");
  const inputs = taken.map((parameter) => [parameter, element("input", { "aria-label": parameter.name })]);
  const json = ((operation.requestBody || {}).content || {})["application/json"];
  const body = json && element("textarea", { "aria-label": "Body", spellcheck: "false" });
  if (json) body.value = json.example === undefined ? "{}" : JSON.stringify(json.example, null, 2);
  const output = element("pre", { hidden: true });
  const send = async () => {
    let url = path.slice(1);
    const query = new URLSearchParams();
    const headers = {};
    for (const [parameter, input] of inputs) {
      if (parameter.in === "path") url = url.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
      else if (input.value && parameter.in === "query") query.set(parameter.name, input.value);
      else if (input.value) headers[parameter.name] = input.value;
    }
    if (byId("token").value) headers.Authorization = `Bearer ${byId("token").value}`;
    if (json) headers["Content-Type"] = "application/json";
    output.hidden = false;
    try {
      const answer = await fetch(query.size ? `${url}?${query}` : url,
        { method: method.toUpperCase(), headers, body: json ? body.value : undefined });
      const text = await answer.text();
      const named = [...answer.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
      let shown = text;
      try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* not JSON: as it is */ }
      output.textContent = `${answer.status} ${answer.statusText}\n${named}\n\n${shown}`;
    } catch (error) {
      output.textContent = String(error);
    }
  };
  const rows = inputs.map(([parameter, input]) => element(
    "tr", {}, element("td", {}, element("code", {}, parameter.name)), element("td", {}, input)));
  return lazily("details", element("summary", {}, "Try it"), () => element(
    "div", {}, element("table", {}, ...rows), body || null, element("button", { on: { click: send } }, "Send"), output));
}

function drawn(method, path, operation) {
  const roles = operation["x-roles"] ? `for ${operation["x-roles"].join(", ")}` : "for everybody";
  const line = element(
    "summary", {}, element("span", { class: `method ${method}` }, method.toUpperCase()),
    element("span", { class: "path" }, path), element("span", { class: "quiet" }, operation.summary));
  const made = lazily("details", line, () => element(
    "div", {}, element("p", {}, operation.description), element("p", { class: "quiet" }, roles), parameters(operation),
    operation.requestBody ? content("Body", operation.requestBody.content) : null, answers(operation),
    ["get", "post", "patch", "delete"].includes(method) ? attempt(method, path, operation) : null));
  made.className = "operation";
  made.id = operation.operationId;
  made.dataset.words = `${method} ${path} ${operation.summary} ${operation.operationId}`.toLowerCase();
  return made;
}

function draw() {
  const main = byId("main");
  main.replaceChildren(...api.info.description.split("\n\n").map((text) => element("p", {}, text)));
  for (const tag of api.tags) {
    const section = element("section", { id: `area-${tag.name}` }, element("h2", {}, tag.name), element("p", {}, tag.description));
    for (const [path, operations] of Object.entries(api.paths)) {
      for (const [method, operation] of Object.entries(operations)) {
        if (operation.tags.includes(tag.name)) section.append(drawn(method, path, operation));
      }
    }
    main.append(section);
    byId("areas").append(element("a", { href: `#area-${tag.name}` }, tag.name));
  }
  byId("title").textContent = `${api.info.title} API ${api.info.version}`;
  const chosen = location.hash && byId(location.hash.slice(1));
  if (chosen) { chosen.open = true; chosen.scrollIntoView(); }
}

byId("filter").addEventListener("input", (event) => {
  const word = event.target.value.trim().toLowerCase();
  for (const operation of document.querySelectorAll("details.operation")) operation.hidden = !operation.dataset.words.includes(word);
  for (const section of document.querySelectorAll("main > section")) section.hidden = !section.querySelector("details.operation:not([hidden])");
});

fetch("openapi.json").then((answer) => answer.json()).then((found) => { api = found; draw(); })
  .catch((error) => { byId("main").textContent = `openapi.json cannot be read: ${error}`; });
