// Runs a `model.js` for the tests: node main.mjs model.js [logits] [plain].
// From stdin, one picture after another: width and height as u32, little-endian, then RGB bytes.
// To stdout: probabilities as float32, or with `logits` the logits as int32 (pictures at the network's own size).
// Of a network that finds objects: with `logits` its map, as int32 or of floats as float32; else for each picture how many
// objects have a score of 0.05 or more, as u32, then each one's label, score, left, top, right, bottom as float32.
// With `plain` the engine seems to have no WebAssembly.
import { readFileSync, writeSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [path, ...words] = process.argv.slice(2);
if (words.includes("plain")) delete globalThis.WebAssembly;
const model = await import(pathToFileURL(path));
const input = readFileSync(0);
const answers = [];
const push = (values) => answers.push(Buffer.from(values.buffer, values.byteOffset, values.byteLength));
for (let at = 0; at < input.length; ) {
  const [width, height] = [input.readUInt32LE(at), input.readUInt32LE(at + 4)];
  const rgb = new Uint8Array(input.subarray(at + 8, at + 8 + width * height * 3));
  at += 8 + rgb.length;
  if (words.includes("logits")) push(model.logits ? model.logits(rgb) : model.mapRgb(rgb, width, height));
  else if (model.detectRgb) {
    const found = model.detectRgb(rgb, width, height, 0.05);
    push(Uint32Array.of(found.length));
    for (const { label, score, left, top, right, bottom } of found) {
      push(Float32Array.of(model.labels.indexOf(label), score, left, top, right, bottom));
    }
  } else push(model.predictRgb(rgb, width, height));
}
const output = Buffer.concat(answers);
for (let at = 0; at < output.length; ) at += writeSync(1, output, at);
