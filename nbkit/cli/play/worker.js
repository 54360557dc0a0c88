// The worker of one checkpoint: it stands behind decoder.js in one text. page.js sends
//   {kind: "load", shape, tensors, tokenizer, weights}   once; `weights` are base64 of half-precision numbers
//   {kind: "ask", run, question, form, options}          an answer is then streamed back as "part", "done"
//   {kind: "stop"}                                       ends the answer where it is
"use strict";

const SLICE = 30; // milliseconds of work after which the worker listens and shows what it has
let model, tokenizer, current = 0;

// Lets messages in; a message to oneself is quicker than a timer, which waits 4 ms.
const {port1, port2} = new MessageChannel();
const listen = () => new Promise((resolve) => {
  port1.onmessage = resolve;
  port2.postMessage(null);
});

onmessage = ({data}) => {
  if (data.kind === "load") load(data);
  else if (data.kind === "ask") answer(data, ++current).catch((error) => failed(data.run, error));
  else current++;
};

function failed(run, error) {
  postMessage({kind: "error", run, text: String(error)});
}

function load({shape, tensors, tokenizer: spec, weights}) {
  tokenizer = new Tokenizer(spec);
  model = new Model(shape, tensors, Uint8Array.from(atob(weights), (char) => char.charCodeAt(0)));
  postMessage({kind: "ready"});
}

async function answer({run, question, form, options}, own) {
  const prompt = tokenizer.prompt(form, question), ids = [];
  let heard = performance.now(), first = 0, seconds = 0, text = "", ended = "";
  const tell = (kind, how) => postMessage({kind, run, text, tokens: ids.length, seconds, ended: how});
  for (const id of generate(model, prompt, options)) {
    if (id !== null) {
      ids.push(id);
      // The prompt is read by now: speed counts the tokens after the first, and the time they took.
      if (ids.length === 1) first = performance.now();
      seconds = (performance.now() - first) / 1000;
      const whole = tokenizer.decode(options.stops.includes(id) ? ids.slice(0, -1) : ids);
      text = upTo(whole, form.ends);
      if (options.stops.includes(id) || text.length < whole.length) ended = "stop";
    }
    if (ended || performance.now() - heard > SLICE) {
      tell("part", "");
      await listen();
      if (own !== current) return tell("done", "stopped");
      heard = performance.now();
    }
    if (ended) break;
  }
  const full = prompt.length + ids.length >= model.shape.context;
  tell("done", ended || (full ? "context" : "length"));
}
