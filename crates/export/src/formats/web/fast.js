// The same sums by WebAssembly's vectors. Where an engine has none, or may not use them, the code below does all.

// Pairs of inputs by eight output channels, the order in which the vectors read them.
function packPairs(weights, layer) {
  const { starts, run } = layer, pairs = (run + 1) >> 1, taps = starts.length * run, outs = layer.to[0];
  const made = new Int16Array(((outs + 7) >> 3) * starts.length * pairs * 16);
  for (let o = 0; o < outs; o++) {
    for (let r = 0; r < starts.length; r++) {
      const line = ((o >> 3) * starts.length + r) * pairs;
      for (let i = 0; i < run; i++) {
        made[(line + (i >> 1)) * 16 + (o & 7) * 2 + (i & 1)] = weights[o * taps + r * run + i];
      }
    }
  }
  return made;
}

// Of a depthwise layer: all taps of eight channels, then of the next eight.
function packEights(weights, channels, taps) {
  const made = new Int16Array(((channels + 7) >> 3) * taps * 8);
  for (let c = 0; c < channels; c++) {
    for (let tap = 0; tap < taps; tap++) made[((c >> 3) * taps + tap) * 8 + (c & 7)] = weights[c * taps + tap];
  }
  return made;
}

// Four channels' numbers of one kind, then those of the next.
function packScales(scales) {
  const made = new Float64Array(scales.length);
  for (let i = 0; i < scales.length >> 4 << 4; i++) {
    const kind = i & 3, channel = (i >> 2) & 3;
    made[(i >> 4) * 16 + kind * 4 + channel] = kind === 1 ? scales[i] / 32768 : scales[i];
  }
  return made;
}

// A list made longer with its last number, or with zeros.
function lengthen(list, multiple, filler = 0) {
  const made = new Int32Array(Math.ceil(list.length / multiple) * multiple).fill(filler);
  made.set(list);
  return made;
}

function startFast() {
  let module;
  try {
    module = new WebAssembly.Module(decode(FAST));
  } catch {
    return null;
  }
  // Places in its memory, with room to read a vector beyond each.
  const parts = [];
  let end = 0;
  const reserve = (bytes) => {
    const at = end;
    end += ((bytes + 15) & ~15) + 16;
    return at;
  };
  const keep = (list) => {
    const at = reserve(list.byteLength);
    parts.push([at, list]);
    return at;
  };
  const length = (layer) => lengthen(layer.bases, 4).length * lengthen(layer.bias, 8).length;
  const arenaAt = reserve(NETWORK.arena);
  const [paddedLength, sumsLength] = [most((layer) => layer.padded), most(length)];
  const [paddedAt, sumsAt] = [reserve(2 * paddedLength), reserve(4 * sumsLength)];

  const jobs = [];
  for (const layer of NETWORK.layers) {
    const alone = layer.kind === "conv" && isDepthwise(layer);
    if (layer.kind !== "conv" || (layer.group > 1 && !alone)) continue;
    const { bases, starts, run, plain } = layer;
    const places = lengthen(bases, 4, bases[bases.length - 1]);
    jobs.push({
      layer,
      alone,
      bases: keep(places.map((base) => 2 * base)),
      starts: keep(starts.map((start) => 2 * start)),
      weights: keep(alone ? packEights(plain, layer.to[0], starts.length) : packPairs(plain, layer)),
      bias: keep(lengthen(layer.bias, 8)),
      values: keep(layer.values),
      shifts: keep(Int32Array.from(layer.shifts)),
      scales: keep(packScales(layer.scales)),
      final: keep(layer.final),
      fours: places.length / 4,
      eights: Math.ceil(layer.to[0] / 8),
    });
  }

  let memory, run;
  try {
    memory = new WebAssembly.Memory({ initial: Math.ceil(end / 65536) });
    run = new WebAssembly.Instance(module, { kindling: { memory } }).exports;
  } catch {
    return null;
  }
  const bytes = new Uint8Array(memory.buffer);
  for (const [at, list] of parts) bytes.set(new Uint8Array(list.buffer, list.byteOffset, list.byteLength), at);
  const padded = new Int16Array(memory.buffer, paddedAt, paddedLength);

  for (const job of jobs) {
    const { layer, alone, bases, starts, weights, bias, scales, final, fours, eights } = job;
    const [channels, height, width] = layer.from, [top, left, bottom, right] = layer.pads;
    const outs = layer.to[0], [low, high] = layer.limits;
    const [before] = layer.inputs, x = arenaAt + (before < 0 ? NETWORK.input : NETWORK.layers[before].at);
    const line = (left + width + right) * channels, first = paddedAt + 2 * (top * line + left * channels);
    const runs = layer.starts.length, pairs = (layer.run + 1) >> 1, stride = eights * 32;
    const y = arenaAt + layer.at, places = layer.bases.length, rest = outs & 3;
    const [values, shifts] = [job.values, job.shifts].map((place) => place + 4 * (outs - rest));
    layer.fast = () => {
      if (top + left + bottom + right > 0) padded.fill(0, 0, layer.padded);
      run.widen(x, first, layer.zeros[0], height, width * channels, 2 * line);
      if (alone) run.depthwise(paddedAt, weights, bias, sumsAt, bases, places, eights, runs, starts, stride);
      else run.dense(paddedAt, weights, bias, sumsAt, bases, fours, eights, runs, pairs, 2 * line - 4 * pairs, stride);
      if (givesLogits(layer)) return;
      run.settle(sumsAt, y, places, outs >> 2, rest, scales, values, shifts, layer.zero, low, high, stride);
      if (layer.table) run.look(y, places * outs, final + 128);
    };
  }
  return {
    arena: new Int8Array(memory.buffer, arenaAt, NETWORK.arena),
    padded,
    sums: new Int32Array(memory.buffer, sumsAt, sumsLength),
  };
}
