//@ classes_read
function softmax(values) {
  const top = Math.max(...values);
  const powers = Array.from(values, (value) => Math.exp(value - top));
  const sum = powers.reduce((a, b) => a + b);
  return Float32Array.from(powers, (power) => power / sum);
}

//@ classes_ask
/** Probabilities (Float32Array, in the order of `labels`) of RGB bytes, row by row from the top left. */
export function predictRgb(rgb, width, height) {
  checkPicture(rgb, width, height, 3);
  return answer(resize(rgb, width, height));
}

/** As `predictRgb`, of RGBA bytes as a canvas gives them; what is transparent is laid over white. */
export function predict(rgba, width, height) {
  checkPicture(rgba, width, height, 4);
  const rgb = new Uint8Array(width * height * 3);
  for (let i = 0, at = 0; at < rgb.length; i += 4) {
    const alpha = rgba[i + 3], white = 255 * (255 - alpha) + 127;
    for (let c = 0; c < 3; c++) rgb[at++] = alpha === 255 ? rgba[i + c] : (rgba[i + c] * alpha + white) / 255;
  }
  return predictRgb(rgb, width, height);
}
//@ boxes_read
// The objects of a map, place by place from the top left: those whose logit is no less than those of the eight places around,
// the surest first, at most a hundred.
function find(map, least) {
  const [channels, rows, columns] = NETWORK.layers[NETWORK.layers.length - 1].to, found = [];
  const logit = (row, column, label) => map[(row * columns + column) * channels + label];
  function isPeak(row, column, label) {
    const own = logit(row, column, label);
    for (let y = Math.max(0, row - 1); y < Math.min(rows, row + 2); y++) {
      for (let x = Math.max(0, column - 1); x < Math.min(columns, column + 2); x++) {
        if (!(own >= logit(y, x, label))) return false;
      }
    }
    return true;
  }
  // No reach is over e^6 places, and what is beyond the picture is cut off.
  const side = (place, direction, reach, places) =>
    Math.min(Math.max((place + 0.5 + direction * Math.exp(Math.min(reach, 6))) / places, 0), 1);
  for (let label = 0; label < labels.length; label++) {
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        const score = 1 / (1 + Math.exp(-logit(row, column, label)));
        if (!(score >= least) || !isPeak(row, column, label)) continue;
        const reach = (at) => logit(row, column, labels.length + at);
        found.push({
          label: labels[label],
          score,
          left: side(column, -1, reach(0), columns),
          top: side(row, -1, reach(1), rows),
          right: side(column, 1, reach(2), columns),
          bottom: side(row, 1, reach(3), rows),
        });
      }
    }
  }
  // Of equals the one that comes first stays first.
  return found.sort((a, b) => b.score - a.score).slice(0, 100);
}

//@ boxes_ask
/** The map itself, of RGB bytes, row by row from the top left: for each place a logit a class, then the logarithms of how many
 * places the box reaches to the left, top, right and bottom (Float32Array, `mapSize` places). */
export function mapRgb(rgb, width, height) {
  checkPicture(rgb, width, height, 3);
  return answer(resize(rgb, width, height));
}

/** The objects with at least the score `least` in RGB bytes, row by row from the top left, the surest first: each `{ label,
 * score, left, top, right, bottom }`, the box in shares of the picture's width and height. */
export function detectRgb(rgb, width, height, least = atLeast) {
  return find(mapRgb(rgb, width, height), least);
}

/** As `detectRgb`, of RGBA bytes as a canvas gives them; what is transparent is laid over white. */
export function detect(rgba, width, height, least = atLeast) {
  checkPicture(rgba, width, height, 4);
  const rgb = new Uint8Array(width * height * 3);
  for (let i = 0, at = 0; at < rgb.length; i += 4) {
    const alpha = rgba[i + 3], white = 255 * (255 - alpha) + 127;
    for (let c = 0; c < 3; c++) rgb[at++] = alpha === 255 ? rgba[i + c] : (rgba[i + c] * alpha + white) / 255;
  }
  return detectRgb(rgb, width, height, least);
}

//@ classes_about_logits
/** Logits (Int32Array, 16 bits after the point) of RGB bytes at the network's own size. */
//@ classes_sums
  if (!factor) return Int32Array.from({ length: last.to[0] }, (_, o) => times(sums[o], last.scales, 4 * o));
//@ boxes_about_logits
/** The map (Int32Array, 16 bits after the point, `mapSize` places) of RGB bytes at the network's own size. */
//@ boxes_sums
  if (!factor) {
    // The fast code keeps eight sums at a time.
    const outs = last.to[0], wide = last.fast ? (outs + 7) & ~7 : outs;
    const number = (_, i) => times(sums[Math.floor(i / outs) * wide + (i % outs)], last.scales, 4 * (i % outs));
    return Int32Array.from({ length: size(last.to) }, number);
  }
