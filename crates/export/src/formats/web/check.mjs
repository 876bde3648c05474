// Answers pictures from the standard input with the model.js that is named: for each, width and height as 32-bit words, then its
// RGB bytes. Writes floats: how many follow, then the probabilities, or the class, score, left, top, right and bottom of each
// object with at least the score that is named second.
import { readFileSync, writeSync } from "node:fs";
import { pathToFileURL } from "node:url";

const model = await import(pathToFileURL(process.argv[2]));
const input = readFileSync(0);
const answers = [];
for (let at = 0; at < input.length; ) {
  const [width, height] = [input.readUInt32LE(at), input.readUInt32LE(at + 4)];
  const rgb = new Uint8Array(input.subarray(at + 8, at + 8 + width * height * 3));
  at += 8 + rgb.length;
  const values = model.detectRgb
    ? model.detectRgb(rgb, width, height, Number(process.argv[3])).flatMap((found) => [
        model.labels.indexOf(found.label), found.score, found.left, found.top, found.right, found.bottom,
      ])
    : [...model.predictRgb(rgb, width, height)];
  answers.push(Buffer.from(Float32Array.from([values.length, ...values]).buffer));
}
const output = Buffer.concat(answers);
for (let at = 0; at < output.length; ) at += writeSync(1, output, at);
