// The page around decoder.js: one worker and one card per checkpoint. page.py fills in #data and the weights.
"use strict";

const at = (id) => document.getElementById(id);
const data = JSON.parse(at("data").textContent);
const source = URL.createObjectURL(new Blob([at("decoder").textContent], {type: "text/javascript"}));
const HOW = {stop: "", stopped: ", stopped", length: ", cut there", context: ", cut: its context is full"};
let run = 0, ready = 0, tools = null;

/** An element with a class and text. */
function make(tag, parent, className = "", text = "") {
  const made = parent.appendChild(document.createElement(tag));
  made.className = className;
  made.textContent = text;
  return made;
}

const cards = data.checkpoints.map((checkpoint, i) => {
  const box = make("section", at("cards"), "card");
  make("h2", box, "", checkpoint.label);
  make("p", box, "grey", checkpoint.about);
  const answer = make("div", box, "answer");
  const status = make("p", box, "grey", "loading ...");
  const card = {...checkpoint, answer, status, busy: false, worker: new Worker(source)};
  card.worker.onmessage = ({data: message}) => receive(card, message);
  card.worker.onerror = (event) => fail(card, event.message);
  // Decoding base64 takes a moment: the worker does it.
  const weights = at(`weights-${i}`);
  const tokenizer = data.tokenizers[checkpoint.tokenizer];
  const {shape, tensors} = checkpoint;
  card.worker.postMessage({kind: "load", shape, tensors, tokenizer, weights: weights.textContent});
  weights.remove();
  return card;
});

function fail(card, text) {
  card.busy = false;
  card.status.className = "error";
  card.status.textContent = `this checkpoint failed: ${text}`;
  refresh();
}

function receive(card, message) {
  if (message.kind === "ready") {
    card.status.textContent = "ready";
    ready++;
  } else if (message.run !== run) return; // of a question before this one
  else if (message.kind === "error") return fail(card, message.text);
  else show(card, message);
  refresh();
}

function show(card, {kind, text, tokens, seconds, ended}) {
  const rate = Math.round((tokens - 1) / seconds); // the first token comes with the prompt
  const speed = tokens > 1 && seconds > 0 ? `, ${rate.toLocaleString("en")} tokens/s` : "";
  card.busy = kind !== "done";
  card.status.textContent = `${tokens} tokens${speed}${ended ? HOW[ended] : " ..."}`;
  // A question that fills the context leaves no room for a single token.
  const full = ended === "context" && !tokens;
  if (full) card.status.textContent = `the question fills its context of ${card.shape.context} tokens: shorten it`;
  write(card.answer, text, card.busy);
}

/** The answer with its chain of thought apart: what stands before the first </think>, also while it grows. */
function write(answer, text, busy) {
  const close = text.indexOf("</think>"), open = close >= 0 || text.startsWith("<think>");
  const thought = open ? text.slice(0, close < 0 ? undefined : close).replace(/^<think>/, "") : "";
  const rest = !open ? text : close < 0 ? "" : text.slice(close + "</think>".length);
  let folded = answer.querySelector("details");
  if (open && !folded) {
    folded = document.createElement("details");
    folded.open = true;
    make("summary", folded, "", "chain of thought");
    make("div", folded, "thought");
    answer.prepend(folded);
  }
  if (folded) folded.querySelector(".thought").textContent = thought;
  const said = answer.querySelector(".said") || make("div", answer, "said");
  said.textContent = rest.trim() || (busy ? "" : open ? "(no answer after the chain)" : "(nothing)");
}

function refresh() {
  at("go").disabled = ready < 1;
  at("stop").disabled = !cards.some((card) => card.busy);
}

const number = (id) => {
  const field = at(id), value = field.valueAsNumber;
  return Number.isFinite(value) ? Math.min(Math.max(value, field.min), field.max) : Number(field.defaultValue);
};

function ask() {
  const question = at("question").value.trim();
  if (!question) return at("question").focus();
  run++;
  const options = {most: Math.round(number("most")), seed: Math.round(number("seed"))};
  Object.assign(options, {temperature: number("temperature"), topP: number("topP")});
  for (const card of cards) {
    card.answer.replaceChildren();
    if (card.status.className === "error") continue;
    card.busy = true;
    card.status.textContent = "reading the question ...";
    const form = (card.form === "chat" && tools) || card.prompt;
    card.worker.postMessage({kind: "ask", run, question, form, options: {...options, stops: card.stops}});
  }
  refresh();
}

/** Put an example into the field, with what was wanted and the tools it comes with. */
function choose(example) {
  at("question").value = example.question;
  at("wanted").hidden = false;
  at("wanted").replaceChildren("wanted: ");
  make("code", at("wanted"), "", example.wanted);
  offer(example);
  ask();
}

function offer({chat = null, tools: names = []}) {
  tools = chat;
  at("tools").hidden = !chat;
  at("tools").replaceChildren(`asked with the tools ${names.join(", ")} `);
  make("button", at("tools"), "", "without tools").onclick = () => offer({});
}

for (const example of data.examples) {
  const button = make("button", at("examples"), "", example.question);
  button.title = example.why;
  button.onclick = () => choose(example);
}
at("ask").onsubmit = (event) => {
  event.preventDefault();
  ask();
};
at("question").oninput = () => {
  at("wanted").hidden = true; // another question
};
at("question").onkeydown = (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  ask();
};
at("stop").onclick = () => cards.forEach((card) => card.worker.postMessage({kind: "stop"}));
