// Values lie row by row, the channels of a pixel side by side, all in one arena.

function decode(text) {
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = characters.charCodeAt(i);
  return bytes;
}

// The network's numbers, read one list after another.
const stored = {
  view: new DataView(decode(NUMBERS).buffer),
  at: 0,
  list(Kind, count, width, method) {
    const made = new Kind(count);
    for (let i = 0; i < count; i++, this.at += width) made[i] = this.view[method](this.at, true);
    return made;
  },
  bytes(count) { return this.list(Int8Array, count, 1, "getInt8"); },
  ints(count) { return this.list(Int32Array, count, 4, "getInt32"); },
  floats(count) { return this.list(Float32Array, count, 4, "getFloat32"); },
};

const size = (shape) => shape[0] * shape[1] * shape[2];

function isDepthwise(layer) {
  return layer.group === layer.from[0] && layer.group === layer.to[0] && layer.group > 1;
}

// Where windows begin in the padded input, and where the runs of a window lie from there.
function geometry(layer) {
  const [channels, height, width] = layer.from, [, rows, columns] = layer.to;
  const [kernelRows, kernelColumns] = layer.kernel, [top, left, bottom, right] = layer.pads;
  const line = (left + width + right) * channels;
  const bases = new Int32Array(rows * columns);
  for (let row = 0, at = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      bases[at++] = row * layer.strides[0] * line + column * layer.strides[1] * channels;
    }
  }
  // A row of a window is one run of numbers where all channels are read.
  const whole = layer.group === 1, starts = [];
  for (let row = 0; row < kernelRows; row++) {
    if (whole) starts.push(row * line);
    else for (let column = 0; column < kernelColumns; column++) starts.push(row * line + column * channels);
  }
  layer.bases = bases;
  layer.starts = Int32Array.from(starts);
  layer.run = whole ? kernelColumns * channels : channels / layer.group;
  layer.padded = line * (top + height + bottom);
}

// Four output channels at a time: first channel, how many, where their inputs and their weights begin.
function blocks(layer) {
  const outs = layer.to[0] / layer.group, inputs = layer.from[0] / layer.group, taps = layer.starts.length * layer.run;
  const made = [];
  for (let group = 0; group < layer.group; group++) {
    for (let first = 0; first < outs; first += 4) {
      const count = Math.min(4, outs - first);
      made.push({ first: group * outs + first, count, shift: group * inputs, at: made.length * 4 * taps });
    }
  }
  return made;
}

// Weights in the order in which they are read: of four output channels in turn, or of all in a depthwise layer.
function pack(weights, layer, Kind) {
  const taps = layer.starts.length * layer.run, outs = layer.to[0];
  if (isDepthwise(layer)) {
    const made = new Kind(taps * outs);
    for (let tap = 0; tap < taps; tap++) for (let o = 0; o < outs; o++) made[tap * outs + o] = weights[o * taps + tap];
    return made;
  }
  const made = new Kind(layer.blocks.length * 4 * taps);
  for (const { first, count, at } of layer.blocks) {
    for (let j = 0; j < count; j++) {
      for (let tap = 0; tap < taps; tap++) made[at + 4 * tap + j] = weights[(first + j) * taps + tap];
    }
  }
  return made;
}

// Copies a layer's input less its zero, with its padding around it.
function spread(x, zero, layer, to) {
  const [channels, height, width] = layer.from, [top, left, bottom, right] = layer.pads;
  const length = width * channels, line = (left + width + right) * channels;
  if (top + left + bottom + right > 0) to.fill(0, 0, layer.padded);
  for (let row = 0, at = 0; row < height; row++) {
    let place = (top + row) * line + left * channels;
    for (let i = 0; i < length; i++) to[place++] = x[at++] - zero;
  }
}

// Joins the values of each window that lie on the input, then ends with their count.
function pool(layer, x, y, start, join, end) {
  const [channels, height, width] = layer.from, [, rows, columns] = layer.to;
  const [top, left] = layer.pads, [down, along] = layer.strides, [kernelRows, kernelColumns] = layer.kernel;
  for (let row = 0, place = 0; row < rows; row++) {
    const firstRow = Math.max(0, row * down - top), lastRow = Math.min(height, row * down - top + kernelRows);
    for (let column = 0; column < columns; column++) {
      const firstColumn = Math.max(0, column * along - left);
      const lastColumn = Math.min(width, column * along - left + kernelColumns);
      const count = (lastRow - firstRow) * (lastColumn - firstColumn);
      for (let c = 0; c < channels; c++) {
        let value = start;
        for (let i = firstRow; i < lastRow; i++) {
          for (let j = firstColumn; j < lastColumn; j++) value = join(value, x[(i * width + j) * channels + c]);
        }
        y[place++] = end(value, count);
      }
    }
  }
}

{{read}}// Which samples make each of `output` ones, and their weights: a triangle as wide as the step when shrinking.
function triangle(input, output) {
  const scale = input / output, support = Math.max(scale, 1), made = [];
  for (let o = 0; o < output; o++) {
    const centre = (o + 0.5) * scale - 0.5;
    let first = Math.max(0, Math.floor(centre - support)), last = Math.min(input - 1, Math.ceil(centre + support));
    const weight = (i) => Math.max(0, 1 - Math.abs(i - centre) / support);
    while (weight(first) === 0) first++;
    while (weight(last) === 0) last--;
    const weights = Float64Array.from({ length: last - first + 1 }, (_, i) => weight(first + i));
    const sum = weights.reduce((a, b) => a + b, 0);
    made.push({ first, weights: weights.map((value) => value / sum) });
  }
  return made;
}

// The picture at the network's size, 0 to 255, not rounded.
function resize(rgb, width, height) {
  const [rows, columns] = [triangle(height, inputSize[0]), triangle(width, inputSize[1])];
  const line = columns.length * 3, narrow = new Float64Array(height * line);
  for (let row = 0, place = 0; row < height; row++) {
    for (const { first, weights } of columns) {
      let red = 0, green = 0, blue = 0;
      for (let i = 0, at = (row * width + first) * 3; i < weights.length; i++, at += 3) {
        const weight = weights[i];
        red += weight * rgb[at];
        green += weight * rgb[at + 1];
        blue += weight * rgb[at + 2];
      }
      narrow[place++] = red;
      narrow[place++] = green;
      narrow[place++] = blue;
    }
  }
  const made = new Float64Array(rows.length * line);
  rows.forEach(({ first, weights }, row) => {
    for (let i = 0; i < weights.length; i++) {
      const from = (first + i) * line;
      for (let k = 0; k < line; k++) made[row * line + k] += weights[i] * narrow[from + k];
    }
  });
  return made;
}

function checkPicture(values, width, height, channels) {
  const whole = Number.isInteger(width) && Number.isInteger(height) && width > 0 && height > 0;
  if (!whole) throw new RangeError(`a picture is at least 1 x 1 pixels, not ${width} x ${height}`);
  if (values.length !== width * height * channels) {
    const wanted = `${width} x ${height} pixels of ${channels} bytes are ${width * height * channels} bytes`;
    throw new RangeError(`${wanted}, ${values.length} were given`);
  }
}

{{ask}}