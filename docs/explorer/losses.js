/* The losses of mmpose_lossplus/losses/functional.py and their derivatives.

A test compares both with PyTorch. S is the output, G the target of a pixel, p the
settings; the BCE-type losses take logits and have q = sigmoid(S). */

'use strict';

// Arguments' own defaults where the package has them.
const DEFAULTS = {
  beta: 0.01, form: 'quadratic',
  gamma_fmse: 1, delta: 0.001,
  weight_fn: 'linear',
  gamma: 2, slack: 0.05,
  // Of the page: a target's pixel, the map and its two peaks.
  target: 0, sigma: 2, anchor: 0.6, second: 0.8, x: 36, y: 20,
};
const WIDTH = 48, HEIGHT = 64, KEYPOINT = {x: 16, y: 40};
const ANCHOR_THRESHOLD = 0.5;
const FLOOR = 0.001; // what the network scores elsewhere: never 0 by a sigmoid

const relu = x => Math.max(x, 0);
const sigmoid = s => 1 / (1 + Math.exp(-s));
const logit = q => Math.log(q / (1 - q));
const logSigmoid = s => Math.min(s, 0) - Math.log1p(Math.exp(-Math.abs(s)));

// What each form adds to the squared error, over beta: value and slope by S.
const FORMS = {
  quadratic: (s, g) => [relu(s - g) ** 2, 2 * relu(s - g)],
  difference_of_squares: (s, g) => {
    const over = relu(s) ** 2 - g ** 2;
    return [relu(over), over > 0 ? 2 * relu(s) : 0];
  },
  linear: (s, g) => [relu(s - g), s > g ? 1 : 0],
  prediction_weighted: (s, g) => [s * (s - g) ** 2, 2 * s * (s - g)],
  error_weighted: (s, g) => [
    Math.abs(s - g) * s ** 2, 2 * Math.abs(s - g) * s],
};
const WEIGHT_FNS = {
  linear: x => x, double: x => 2 * x, square: x => x ** 2, exp: Math.exp,
};

const square = (s, g, weight) => [weight * (s - g) ** 2, 2 * weight * (s - g)];

function bce(s, g) {
  return [-g * logSigmoid(s) - (1 - g) * logSigmoid(-s), sigmoid(s) - g];
}

// Each: [loss, derivative by S] of a pixel.
const LOSSES = {
  mse: {name: 'MSE', pixel: (s, g) => square(s, g, 1)},
  amse: {name: 'AMSE', pixel(s, g, p) {
    const [loss, slope] = square(s, g, 1);
    const [more, steeper] = FORMS[p.form](s, g);
    return [loss + p.beta * more, slope + p.beta * steeper];
  }},
  rmse: {name: 'RMSE', pixel: (s, g, p) => [
    (s - g) ** 2 + p.beta * s ** 2, 2 * (s - g) + 2 * p.beta * s]},
  fmse: {name: 'FMSE', pixel: (s, g, p) =>
    square(s, g, (g + p.delta) ** p.gamma_fmse)},
  hmw: {name: 'heatmap weighting', pixel: (s, g, p) =>
    square(s, g, WEIGHT_FNS[p.weight_fn](g) + 1)},
  bce: {name: 'BCE', logits: true, pixel: bce},
  focal: {name: 'focal', logits: true, pixel(s, g, p) {
    const q = sigmoid(s), logQ = logSigmoid(s), logNotQ = logSigmoid(-s);
    const easy = Math.exp(p.gamma * logNotQ), hard = Math.exp(p.gamma * logQ);
    const loss = -g * easy * logQ - (1 - g) * hard * logNotQ;
    const slope = -g * easy * (1 - q - p.gamma * q * logQ)
      + (1 - g) * hard * (q - p.gamma * (1 - q) * logNotQ);
    return [loss, slope];
  }},
  anchor: {name: 'Anchor Loss', logits: true, pixel(s, g, p) {
    const [loss, slope] = bce(s, g);
    if (g > 0) return [loss, slope]; // only the background is modulated
    const q = sigmoid(s);
    const base = 1 + q - relu(p.anchor - p.slack);
    const m = base ** p.gamma;
    return [m * loss,
      m * slope + p.gamma * base ** (p.gamma - 1) * q * (1 - q) * loss];
  }},
};

const gaussian = (x, y, at, sigma) =>
  Math.exp(-((x - at.x) ** 2 + (y - at.y) ** 2) / (2 * sigma ** 2));

function heatmap(value) {
  const map = new Float64Array(WIDTH * HEIGHT);
  for (let y = 0; y < HEIGHT; y++)
    for (let x = 0; x < WIDTH; x++) map[y * WIDTH + x] = value(x, y);
  return map;
}

// MMPose's MSRAHeatmap: a Gaussian, zero beyond three sigma.
function targetMap(p) {
  const reach = 3 * p.sigma;
  const inside = (x, mean) =>
    x >= Math.trunc(mean - reach) && x < Math.trunc(mean + reach + 1);
  return heatmap((x, y) => inside(x, KEYPOINT.x) && inside(y, KEYPOINT.y)
    ? gaussian(x, y, KEYPOINT, p.sigma) : 0);
}

// A peak on the keypoint, as high as the anchor slider says, and a wrong one.
function predictedMap(p) {
  return heatmap((x, y) => Math.max(
    FLOOR, p.anchor * gaussian(x, y, KEYPOINT, p.sigma),
    p.second * gaussian(x, y, p, p.sigma)));
}

// What a loss charges each pixel, the sum, and the background's part of it.
function charge(name, p) {
  const target = targetMap(p), output = predictedMap(p);
  let anchor = 0, sum = 0, background = 0;
  output.forEach((q, i) => {
    if (target[i] > ANCHOR_THRESHOLD) anchor = Math.max(anchor, q);
  });
  const map = output.map((q, i) => {
    const s = LOSSES[name].logits ? logit(q) : q;
    const [loss] = LOSSES[name].pixel(s, target[i], {...p, anchor});
    sum += loss;
    if (target[i] === 0) background += loss;
    return loss;
  });
  return {map, sum, background: background / sum};
}

if (typeof module !== 'undefined')
  module.exports = {DEFAULTS, LOSSES, FORMS, WEIGHT_FNS, charge};
