// The network in floating point.

const arena = new Float32Array(NETWORK.arena);

for (const layer of NETWORK.layers) {
  layer.y = arena.subarray(layer.at, layer.at + size(layer.to));
  layer.x = layer.inputs.map((from) => {
    const [at, shape] = from < 0 ? [NETWORK.input, layer.from] : [NETWORK.layers[from].at, NETWORK.layers[from].to];
    return arena.subarray(at, at + size(shape));
  });
  if (layer.kind !== "conv") continue;
  geometry(layer);
  layer.blocks = isDepthwise(layer) ? [] : blocks(layer);
  layer.weights = pack(stored.floats(layer.to[0] * layer.starts.length * layer.run), layer, Float32Array);
  layer.bias = stored.floats(layer.to[0]);
}
const padded = new Float32Array(Math.max(0, ...NETWORK.layers.map((layer) => layer.padded ?? 0)));

// Two places by four channels, so that each number read serves several products.
function dense(layer, x, y) {
  const { bases, starts, run, weights, bias } = layer, places = bases.length, outs = layer.to[0], runs = starts.length;
  for (const { first, count, shift, at } of layer.blocks) {
    for (let p = 0; p < places; p += 2) {
      const q = Math.min(p + 1, places - 1), left = bases[p] + shift, right = bases[q] + shift;
      let a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0;
      let k = at;
      for (let r = 0; r < runs; r++) {
        let i = left + starts[r], j = right + starts[r];
        for (const end = i + run; i < end; i++, j++, k += 4) {
          const u = x[i], v = x[j], w0 = weights[k], w1 = weights[k + 1], w2 = weights[k + 2], w3 = weights[k + 3];
          a0 += u * w0; a1 += u * w1; a2 += u * w2; a3 += u * w3;
          b0 += v * w0; b1 += v * w1; b2 += v * w2; b3 += v * w3;
        }
      }
      const one = p * outs + first, two = q * outs + first;
      y[one] = a0 + bias[first];
      y[two] = b0 + bias[first];
      if (count > 1) { y[one + 1] = a1 + bias[first + 1]; y[two + 1] = b1 + bias[first + 1]; }
      if (count > 2) { y[one + 2] = a2 + bias[first + 2]; y[two + 2] = b2 + bias[first + 2]; }
      if (count > 3) { y[one + 3] = a3 + bias[first + 3]; y[two + 3] = b3 + bias[first + 3]; }
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
        a0 += x[i] * weights[k];
        a1 += x[i + 1] * weights[k + 1];
        a2 += x[i + 2] * weights[k + 2];
        a3 += x[i + 3] * weights[k + 3];
      }
      y[place] = a0; y[place + 1] = a1; y[place + 2] = a2; y[place + 3] = a3;
    }
    for (; c < channels; c++, place++) {
      let sum = bias[c];
      for (let tap = 0, k = c; tap < taps; tap++, k += channels) sum += x[base + starts[tap] + c] * weights[k];
      y[place] = sum;
    }
  }
}

const KINDS = {
  conv(layer) {
    spread(layer.x[0], 0, layer, padded);
    if (isDepthwise(layer)) depthwise(layer, padded, layer.y);
    else dense(layer, padded, layer.y);
  },
  add({ x: [left, right], y }) {
    for (let i = 0; i < y.length; i++) y[i] = left[i] + right[i];
  },
  max(layer) { pool(layer, layer.x[0], layer.y, -Infinity, (a, b) => (a > b ? a : b), (value) => value); },
  average(layer) { pool(layer, layer.x[0], layer.y, 0, (a, b) => a + b, (sum, count) => sum / count); },
  mean({ x: [x], y }) {
    for (let c = 0; c < y.length; c++) {
      let sum = 0;
      for (let i = c; i < x.length; i += y.length) sum += x[i];
      y[c] = sum / (x.length / y.length);
    }
  },
  activation({ x: [x], y }) {
    for (let i = 0; i < y.length; i++) y[i] = x[i];
  },
};

function activate({ activation, low, high, y }) {
  if (activation === "clamp") {
    const most = high ?? Infinity;
    for (let i = 0; i < y.length; i++) y[i] = Math.min(Math.max(y[i], low), most);
  } else if (activation === "hard_swish") {
    for (let i = 0; i < y.length; i++) y[i] *= Math.min(Math.max(y[i] / 6 + 0.5, 0), 1);
  } else if (activation === "sigmoid") {
    for (let i = 0; i < y.length; i++) y[i] = 1 / (1 + Math.exp(-y[i]));
  }
}

function answer(picture) {
  const { mean, std } = NETWORK;
  for (let i = 0; i < picture.length; i++) arena[NETWORK.input + i] = (picture[i] / 255 - mean[i % 3]) / std[i % 3];
  for (const layer of NETWORK.layers) {
    KINDS[layer.kind](layer);
    activate(layer);
  }
  return {{from}}(NETWORK.layers[NETWORK.layers.length - 1].y);
}
