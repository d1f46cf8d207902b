/* The page: settings, curves as SVG, maps on canvas. Formulas are in losses.js. */

'use strict';

// Name, label, lowest, highest, step.
const SLIDERS = {
  losses: [
    ['beta', 'β, AMSE, RMSE', 0, 1, 0.01],
    ['gamma_fmse', 'γ, FMSE', 0, 4, 0.1],
    ['delta', 'δ, FMSE', 0, 0.1, 0.001],
    ['gamma', 'γ, Anchor, focal', 0, 5, 0.1],
    ['slack', 'slack, Anchor', 0, 0.5, 0.01],
  ],
  maps: [
    ['target', 'target G', 0, 1, 0.01],
    ['anchor', 'anchor', 0.01, 0.99, 0.01],
    ['second', 'second peak', 0.01, 0.99, 0.01],
    ['sigma', 'target σ', 1, 4, 0.5],
  ],
};
const CHOICES = [
  ['form', 'form, AMSE', Object.keys(FORMS)],
  ['weight_fn', 'F, weighting', Object.keys(WEIGHT_FNS)],
];
const RANGES = {x: [0, WIDTH - 1, 1], y: [0, HEIGHT - 1, 1]};
for (const [name, , ...range] of Object.values(SLIDERS).flat())
  RANGES[name] = range;
// Okabe and Ito's, which people with any colour vision can tell apart.
const COLOURS = {
  mse: '#888888', amse: '#d55e00', rmse: '#e69f00', fmse: '#56b4e9',
  hmw: '#009e73', bce: '#888888', focal: '#cc79a7', anchor: '#0072b2',
};
const DASHES = {mse: '6 4', bce: '6 4'};
const PLOTS = [
  ['loss of squared errors, against the output S', false, 0],
  ['their gradient by S', false, 1],
  ['loss of the BCE type, against the score q', true, 0],
  ['their gradient by the logit, against q', true, 1],
];
const POINTS = 161;

let settings, hidden;
const byId = id => document.getElementById(id);

function element(tag, attributes = {}, ...children) {
  const svg = ['svg', 'path', 'line', 'text'].includes(tag);
  const made = svg ? document.createElementNS('http://www.w3.org/2000/svg', tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes))
    made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// Settings and the link: only what differs from the defaults is in it.

function readLink() {
  const given = new URLSearchParams(location.hash.slice(1));
  settings = {...DEFAULTS};
  for (const [name, [low, high]] of Object.entries(RANGES)) {
    const value = Number.parseFloat(given.get(name));
    if (Number.isFinite(value))
      settings[name] = Math.min(high, Math.max(low, value));
  }
  settings.x = Math.round(settings.x);
  settings.y = Math.round(settings.y);
  for (const [name, , values] of CHOICES)
    if (values.includes(given.get(name))) settings[name] = given.get(name);
  hidden = new Set((given.get('hide') ?? '').split(',').filter(n => n in LOSSES));
}

function writeLink() {
  const link = new URLSearchParams();
  for (const [name, value] of Object.entries(settings))
    if (value !== DEFAULTS[name]) link.set(name, value);
  if (hidden.size) link.set('hide', [...hidden].join(','));
  history.replaceState(null, '', `#${link}`);
}

// Controls.

function makeControls() {
  for (const [name, loss] of Object.entries(LOSSES)) {
    const box = element('input', {type: 'checkbox', id: `show-${name}`});
    box.addEventListener('change', () => {
      box.checked ? hidden.delete(name) : hidden.add(name);
      update();
    });
    const key = element('span', {class: 'key', style:
      `color: ${COLOURS[name]}; border-top-style: ${DASHES[name] ? 'dashed' : 'solid'}`});
    byId('shown').append(element('label', {}, box, key, loss.name));
  }
  for (const [group, sliders] of Object.entries(SLIDERS))
    for (const [name, label, min, max, step] of sliders) {
      const slider = element('input', {type: 'range', id: name, min, max, step});
      slider.addEventListener('input', () => {
        settings[name] = slider.valueAsNumber;
        update();
      });
      byId(group).append(element('div', {class: 'setting'},
        element('label', {for: name}, label), slider,
        element('output', {for: name, id: `${name}-value`})));
    }
  for (const [name, label, values] of CHOICES) {
    const options = values.map(v => element('option', {value: v}, v));
    const choice = element('select', {id: name}, ...options);
    choice.addEventListener('change', () => {
      settings[name] = choice.value;
      update();
    });
    byId('losses').append(element('div', {class: 'setting'},
      element('label', {for: name}, label), choice));
  }
  byId('reset').addEventListener('click', () => {
    settings = {...DEFAULTS};
    hidden.clear();
    update();
  });
  byId('copy').addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(location.href);
      byId('said').textContent = 'Copied.';
    } catch { // a browser that does not let pages write there
      byId('said').textContent = 'Copy it from the address bar.';
    }
  });
}

function showControls() {
  for (const [name] of Object.values(SLIDERS).flat()) {
    byId(name).value = settings[name];
    byId(`${name}-value`).textContent = settings[name];
  }
  for (const [name] of CHOICES) byId(name).value = settings[name];
  for (const name in LOSSES) byId(`show-${name}`).checked = !hidden.has(name);
  byId('g').textContent = settings.target;
}

// Curves.

function ticks(low, high) {
  const rough = (high - low) / 5, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map(n => n * power).find(n => n >= rough);
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high; i++)
    found.push(Number((i * step).toPrecision(12)));
  return found;
}

function drawPlot([caption, logits, part]) {
  // MSE and BCE last: they are dashed, and may lie on others.
  const names = Object.keys(LOSSES).filter(
    name => Boolean(LOSSES[name].logits) === logits && !hidden.has(name));
  names.sort((a, b) => (DASHES[a] ? 1 : 0) - (DASHES[b] ? 1 : 0));
  const [from, to] = logits ? [0, 1] : [-0.5, 1.5];
  const margin = logits ? 0.01 : 0; // logits of 0 and 1 are infinite
  const xs = Array.from({length: POINTS},
    (_, i) => from + margin + (to - from - 2 * margin) * i / (POINTS - 1));
  const curves = names.map(name => xs.map(x => LOSSES[name].pixel(
    logits ? logit(x) : x, settings.target, settings)[part]));
  const all = curves.flat();
  const low = Math.min(0, ...all), high = Math.max(0.01, ...all);
  const [w, h, left, right, top, bottom] = [360, 230, 40, 8, 8, 22];
  const px = x => left + (x - from) / (to - from) * (w - left - right);
  const py = y => top + (high - y) / (high - low) * (h - top - bottom);
  const svg = element('svg', {viewBox: `0 0 ${w} ${h}`, role: 'img',
    'aria-label': caption});
  for (const y of ticks(low, high)) {
    svg.append(
      element('line', {class: 'axis', x1: left, x2: w - right, y1: py(y), y2: py(y)}),
      element('text', {x: left - 5, y: py(y) + 4, 'text-anchor': 'end'}, y));
  }
  for (const x of ticks(from, to))
    svg.append(element('text', {x: px(x), y: h - 6, 'text-anchor': 'middle'}, x));
  curves.forEach((ys, i) => svg.append(element('path', {
    class: 'curve', 'data-loss': names[i], stroke: COLOURS[names[i]],
    'stroke-dasharray': DASHES[names[i]] ?? 'none',
    d: 'M' + ys.map((y, j) => `${px(xs[j]).toFixed(1)} ${py(y).toFixed(2)}`).join('L'),
  })));
  return element('figure', {}, svg, element('figcaption', {}, caption));
}

// Maps.

function colour(value) { // black, purple, orange, pale yellow
  const stops = [[0, 0, 10], [110, 30, 110], [235, 105, 40], [252, 250, 180]];
  const at = Math.min(1, Math.max(0, value)) * 3, i = Math.min(2, Math.floor(at));
  return stops[i].map((c, k) => c + (stops[i + 1][k] - c) * (at - i));
}

function paint(canvas, map, highest) {
  const context = canvas.getContext('2d');
  const image = context.createImageData(WIDTH, HEIGHT);
  map.forEach((value, i) =>
    image.data.set([...colour(value / highest), 255], 4 * i));
  context.putImageData(image, 0, 0);
}

function makeMap(id, name) {
  byId('charges').append(element('figure', {},
    element('div', {class: 'map'},
      element('canvas', {id, width: WIDTH, height: HEIGHT, role: 'img'})),
    element('figcaption', {}, name, element('br'),
      element('output', {id: `${id}-text`}))));
  return byId(id);
}

function makeMaps() {
  const map = makeMap('prediction', 'prediction');
  map.tabIndex = 0;
  map.setAttribute('role', 'application');
  const move = (x, y) => {
    settings.x = Math.min(WIDTH - 1, Math.max(0, Math.floor(x)));
    settings.y = Math.min(HEIGHT - 1, Math.max(0, Math.floor(y)));
    update();
  };
  const drag = event => {
    const box = map.getBoundingClientRect();
    move((event.clientX - box.left) / box.width * WIDTH,
      (event.clientY - box.top) / box.height * HEIGHT);
  };
  map.addEventListener('pointerdown', event => {
    map.setPointerCapture(event.pointerId);
    drag(event);
  });
  map.addEventListener('pointermove', event => {
    if (map.hasPointerCapture(event.pointerId)) drag(event);
  });
  map.addEventListener('keydown', event => {
    const by = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1],
      ArrowDown: [0, 1]}[event.key];
    if (!by) return;
    event.preventDefault(); // the page would scroll
    const far = event.shiftKey ? 5 : 1;
    move(settings.x + far * by[0], settings.y + far * by[1]);
  });
  makeMap('wanted', 'target');
  for (const name in LOSSES) makeMap(`charge-${name}`, LOSSES[name].name);
}

function showMaps() {
  paint(byId('prediction'), predictedMap(settings), 1);
  byId('prediction').setAttribute('aria-label',
    `Prediction; second peak at ${settings.x}, ${settings.y}. Arrow keys move it.`);
  byId('prediction-text').textContent =
    `${settings.anchor} and ${settings.second}, at ${settings.x}, ${settings.y}`;
  paint(byId('wanted'), targetMap(settings), 1);
  for (const name in LOSSES) {
    const canvas = byId(`charge-${name}`);
    canvas.closest('figure').hidden = hidden.has(name);
    const {map, sum, background} = charge(name, settings);
    paint(canvas, map, Math.max(...map));
    const text = `sum ${sum.toPrecision(3)}, `
      + `${(100 * background).toFixed(0)} % on background`;
    byId(`charge-${name}-text`).textContent = text;
    canvas.setAttribute('aria-label', `What ${LOSSES[name].name} charges: ${text}`);
  }
}

function show() {
  showControls();
  byId('plots').replaceChildren(...PLOTS.map(drawPlot));
  showMaps();
}

function update() {
  byId('said').textContent = '';
  show();
  writeLink();
}

makeControls();
makeMaps();
readLink();
show();
window.addEventListener('hashchange', () => {
  readLink();
  show();
});
