// The network in whole numbers of 8 bits; every value and sum is the same on every machine.

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

// `sum * value / 2^shift`, rounded, in numbers that doubles hold exactly: the value is split in two, so that neither
// product passes 2^53. Below 2^16 one product does: where that is not exact, the result is out of range anyhow.
function scale(values, shifts) {
  const made = new Float64Array(4 * values.length);
  values.forEach((value, i) => {
    const shift = shifts[i];
    if (shift < 16) made.set([value, 0, 2 ** (shift - 1), 2 ** -shift], 4 * i);
    else made.set([value >> 15, value & 32767, 2 ** (shift - 16), 2 ** (15 - shift)], 4 * i);
  });
  return made;
}

function times(sum, scales, i) {
  const low = Math.floor(sum * scales[i + 1] * (1 / 32768));
  const made = Math.floor((sum * scales[i] + scales[i + 2] + low) * scales[i + 3]);
  return Math.min(Math.max(made, -2147483648), 2147483647);
}

// From each code before limits and activation, -128 first, to the code after them.
function finalCodes(layer) {
  const [low, high] = layer.limits, after = layer.table ? stored.bytes(256) : null;
  return Int8Array.from({ length: 256 }, (_, i) => {
    const code = clamp(i - 128, low, high);
    return after ? after[code + 128] : code;
  });
}

const inputCodes = stored.bytes(3 * 256);
for (const layer of NETWORK.layers) {
  if (layer.kind === "conv") {
    geometry(layer);
    layer.blocks = isDepthwise(layer) ? [] : blocks(layer);
    layer.plain = stored.bytes(layer.to[0] * layer.starts.length * layer.run);
    layer.bias = stored.ints(layer.to[0]);
    layer.values = stored.ints(layer.to[0]);
    layer.shifts = stored.bytes(layer.to[0]);
    layer.scales = scale(layer.values, layer.shifts);
  }
  if (layer.kind === "mean") layer.scales = scale([layer.value], [layer.shift]);
  layer.final = finalCodes(layer);
}

const most = (of) => Math.max(0, ...NETWORK.layers.map((layer) => (layer.kind === "conv" ? of(layer) : 0)));
const last = NETWORK.layers[NETWORK.layers.length - 1];
const givesLogits = (layer) => layer === last && !NETWORK.factor;
// All values, what a convolution reads, and what it sums; in the fast code's memory where that can run.
const { arena, padded, sums } = startFast() ?? {
  arena: new Int8Array(NETWORK.arena),
  padded: new Int16Array(most((layer) => layer.padded)),
  sums: new Int32Array(most((layer) => size(layer.to))),
};

for (const layer of NETWORK.layers) {
  layer.y = arena.subarray(layer.at, layer.at + size(layer.to));
  layer.x = layer.inputs.map((from) => {
    const [at, shape] = from < 0 ? [NETWORK.input, layer.from] : [NETWORK.layers[from].at, NETWORK.layers[from].to];
    return arena.subarray(at, at + size(shape));
  });
  if (layer.kind === "conv" && !layer.fast) layer.weights = pack(layer.plain, layer, Int8Array);
}

// Two places by four channels, so that each number read serves several products.
function dense(layer, x, y) {
  const { bases, starts, run, weights, bias } = layer, places = bases.length, outs = layer.to[0], runs = starts.length;
  for (const { first, count, shift, at } of layer.blocks) {
    const c0 = bias[first] | 0, c1 = bias[first + 1] | 0, c2 = bias[first + 2] | 0, c3 = bias[first + 3] | 0;
    for (let p = 0; p < places; p += 2) {
      const q = Math.min(p + 1, places - 1), left = bases[p] + shift, right = bases[q] + shift;
      let a0 = c0, a1 = c1, a2 = c2, a3 = c3, b0 = c0, b1 = c1, b2 = c2, b3 = c3;
      let k = at;
      for (let r = 0; r < runs; r++) {
        let i = left + starts[r], j = right + starts[r];
        for (const end = i + run; i < end; i++, j++, k += 4) {
          const u = x[i], v = x[j], w0 = weights[k], w1 = weights[k + 1], w2 = weights[k + 2], w3 = weights[k + 3];
          a0 = (a0 + Math.imul(u, w0)) | 0; b0 = (b0 + Math.imul(v, w0)) | 0;
          a1 = (a1 + Math.imul(u, w1)) | 0; b1 = (b1 + Math.imul(v, w1)) | 0;
          a2 = (a2 + Math.imul(u, w2)) | 0; b2 = (b2 + Math.imul(v, w2)) | 0;
          a3 = (a3 + Math.imul(u, w3)) | 0; b3 = (b3 + Math.imul(v, w3)) | 0;
        }
      }
      const one = p * outs + first, two = q * outs + first;
      y[one] = a0;
      y[two] = b0;
      if (count > 1) { y[one + 1] = a1; y[two + 1] = b1; }
      if (count > 2) { y[one + 2] = a2; y[two + 2] = b2; }
      if (count > 3) { y[one + 3] = a3; y[two + 3] = b3; }
    }
  }
}

function depthwise(layer, x, y) {
  const { bases, starts, weights, bias } = layer, channels = layer.to[0], taps = starts.length;
  for (let p = 0, place = 0; p < bases.length; p++) {
    const base = bases[p];
    let c = 0;
    for (; c + 4 <= channels; c += 4, place += 4) {
      let a0 = bias[c], a1 = bias[c + 1], a2 = bias[c + 2], a3 = bias[c + 3];
      for (let tap = 0, k = c; tap < taps; tap++, k += channels) {
        const i = base + starts[tap] + c;
        a0 = (a0 + Math.imul(x[i], weights[k])) | 0;
        a1 = (a1 + Math.imul(x[i + 1], weights[k + 1])) | 0;
        a2 = (a2 + Math.imul(x[i + 2], weights[k + 2])) | 0;
        a3 = (a3 + Math.imul(x[i + 3], weights[k + 3])) | 0;
      }
      y[place] = a0; y[place + 1] = a1; y[place + 2] = a2; y[place + 3] = a3;
    }
    for (; c < channels; c++, place++) {
      let sum = bias[c];
      for (let tap = 0, k = c; tap < taps; tap++, k += channels) {
        sum = (sum + Math.imul(x[base + starts[tap] + c], weights[k])) | 0;
      }
      y[place] = sum;
    }
  }
}

// From sums to codes.
function settle({ scales, zero, final, y }, outs) {
  for (let i = 0; i < y.length; ) {
    for (let o = 0; o < outs; o++, i++) y[i] = final[clamp(times(sums[i], scales, 4 * o) + zero, -128, 127) + 128];
  }
}

const KINDS = {
  conv(layer) {
    if (layer.fast) return layer.fast();
    spread(layer.x[0], layer.zeros[0], layer, padded);
    if (isDepthwise(layer)) depthwise(layer, padded, sums);
    else dense(layer, padded, sums);
    if (!givesLogits(layer)) settle(layer, layer.to[0]);
  },
  add({ x: [left, right], y, factors: [one, two], shift, zeros, zero, final }) {
    const half = 1 << (shift - 1);
    const [leftZero, rightZero] = zeros;
    for (let i = 0; i < y.length; i++) {
      const sum = Math.imul(left[i] - leftZero, one) + Math.imul(right[i] - rightZero, two) + half;
      const code = ((sum | 0) >> shift) + zero;
      y[i] = final[code < -128 ? 0 : code > 127 ? 255 : code + 128];
    }
  },
  max(layer) {
    pool(layer, layer.x[0], layer.y, -128, (a, b) => (a > b ? a : b), (code) => layer.final[code + 128]);
  },
  average(layer) {
    // From 0 up, where rounding by cutting off is rounding down.
    const end = (sum, count) => layer.final[((sum + 128 * count + (count >> 1)) / count) | 0];
    pool(layer, layer.x[0], layer.y, 0, (a, b) => a + b, end);
  },
  mean({ x: [x], y, scales, zeros, zero, final }) {
    for (let c = 0; c < y.length; c++) {
      let sum = 0;
      for (let i = c; i < x.length; i += y.length) sum += x[i] - zeros[0];
      y[c] = final[clamp(times(sum, scales, 0) + zero, -128, 127) + 128];
    }
  },
  activation({ x: [x], y, final }) {
    for (let i = 0; i < y.length; i++) y[i] = final[x[i] + 128];
  },
};

{{about_logits}}export function logits(rgb) {
  checkPicture(rgb, inputSize[1], inputSize[0], 3);
  for (let i = 0; i < rgb.length; i++) arena[NETWORK.input + i] = inputCodes[(i % 3) * 256 + rgb[i]];
  for (const layer of NETWORK.layers) KINDS[layer.kind](layer);
  const { factor } = NETWORK;
{{sums}}  const scales = scale([factor.value], [factor.shift]);
  return Int32Array.from(last.y, (code) => times(code - factor.zero, scales, 0));
}

function answer(picture) {
  const rgb = new Uint8Array(picture.length);
  for (let i = 0; i < rgb.length; i++) rgb[i] = picture[i] + 0.5;
  return {{from}}(Array.from(logits(rgb), (value) => value / 65536));
}
