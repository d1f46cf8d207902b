"""The loss explorer: its formulas, which are written twice, and its page."""

import inspect
import itertools
import json
import shutil
import subprocess

import pytest
import torch
from mmpose.codecs import MSRAHeatmap

import mmpose_lossplus
from mmpose_lossplus.losses import functional as F

from .factories import ROOT

EXPLORER = ROOT / 'docs' / 'explorer'
NODE = shutil.which('node')
needs_node = pytest.mark.skipif(not NODE, reason='there is no Node.js')
FUNCTIONS = dict(
    mse=lambda s, g, p: F.rmse(s, g, beta=0),
    amse=lambda s, g, p: F.amse(s, g, p['beta'], form=p['form']),
    rmse=lambda s, g, p: F.rmse(s, g, p['beta']),
    fmse=lambda s, g, p: F.fmse(s, g, p['gamma_fmse'], p['delta']),
    hmw=lambda s, g, p: F.heatmap_weighting_mse(s, g, p['weight_fn']),
    bce=lambda s, g, p: F.anchor_loss(s, g, gamma=0),
    focal=lambda s, g, p: F.heatmap_focal_loss(s, g, p['gamma']),
    anchor=lambda s, g, p: F.anchor_loss(s, g, p['gamma'], p['slack']),
)


def run(expression, data=None):
    """What JavaScript gives for an expression of the explorer and ``data``."""
    code = (
        f'const e = require({json.dumps(str(EXPLORER / "losses.js"))});'
        'const data = JSON.parse(require("fs").readFileSync(0, "utf-8"));'
        f'console.log(JSON.stringify({expression}))'
    )
    shown = subprocess.run(
        [NODE, '-e', code],
        input=json.dumps(data),
        capture_output=True,
        check=True,
        encoding='utf-8',
    )
    return json.loads(shown.stdout)


def settings():
    """Every form and weight function, and the corners of the sliders."""
    base = run('e.DEFAULTS')
    for form, beta in itertools.product(F.AMSE_FORMS, (0, 0.01, 1)):
        yield {**base, 'form': form, 'beta': beta}
    for weight_fn in F.WEIGHT_FNS:
        yield {**base, 'weight_fn': weight_fn}
    for gamma, delta in itertools.product((0, 0.5, 1, 4), (0.001, 0.1)):
        yield {**base, 'gamma_fmse': gamma, 'delta': delta}
    for gamma, slack, anchor in itertools.product(
        (0, 0.5, 2, 5), (0, 0.05, 0.5), (0.01, 0.6, 0.99)
    ):
        yield {**base, 'gamma': gamma, 'slack': slack, 'anchor': anchor}


@needs_node
@pytest.mark.parametrize('name', FUNCTIONS)
def test_losses_and_gradients_are_those_of_the_package(name):
    targets = torch.tensor([0, 0.2, 0.5, 0.8, 1]).double()
    grid = torch.linspace(-6, 6, 41).double()
    if name in ('mse', 'amse', 'rmse', 'fmse', 'hmw'):
        grid = torch.linspace(-0.5, 1.5, 43).double()  # none is a target
    cases = list(settings())
    got = run(
        'data.cases.map(p => data.targets.map(g => data.grid.map('
        f's => e.LOSSES.{name}.pixel(s, g, p))))',
        dict(cases=cases, targets=targets.tolist(), grid=grid.tolist()),
    )
    wanted = []
    for case in cases:
        # A map of two pixels each, of which the second is the keypoint's.
        s, g = torch.meshgrid(grid, targets, indexing='xy')
        s = s.clone().requires_grad_()
        peak = torch.full_like(s, case['anchor']).logit()
        output = torch.stack([s, peak], -1)[:, :, None]
        target = torch.stack([g, torch.ones_like(g)], -1)[:, :, None]
        loss = FUNCTIONS[name](output, target, case)[:, :, 0, 0]
        (grad,) = torch.autograd.grad(loss.sum(), s)
        wanted.append(torch.stack([loss.detach(), grad], -1))
    got = torch.tensor(got, dtype=torch.float64)
    torch.testing.assert_close(got, torch.stack(wanted), rtol=0, atol=1e-6)


@needs_node
def test_defaults_are_those_of_the_package():
    page = run('e.DEFAULTS')
    names = dict(
        AsymmetricMSELoss=('beta', 'form'),
        RegularizedMSELoss=('beta',),
        FocusedMSELoss=('gamma', 'delta'),
        HeatmapWeightingMSELoss=('weight_fn',),
        AnchorLoss=('gamma', 'slack'),
        HeatmapFocalLoss=('gamma',),
    )
    for loss, arguments in names.items():
        known = inspect.signature(getattr(mmpose_lossplus, loss)).parameters
        for name in arguments:
            of_fmse = (loss, name) == ('FocusedMSELoss', 'gamma')
            shown = page['gamma_fmse' if of_fmse else name]
            assert shown == known[name].default
    assert run('Object.keys(e.FORMS)') == list(F.AMSE_FORMS)
    assert run('Object.keys(e.WEIGHT_FNS)') == list(F.WEIGHT_FNS)


@needs_node
@pytest.mark.parametrize('sigma', [1, 1.5, 2, 4])
def test_maps_are_charged_as_by_the_package(sigma):
    """A target of MMPose's codec, two peaks, and what their pixels cost."""
    p = {**run('e.DEFAULTS'), 'sigma': sigma, 'beta': 0.5}
    codec = MSRAHeatmap((48, 64), (48, 64), sigma)
    keypoint = torch.tensor([[[16.0, 40.0]]]).numpy()
    encoded = codec.encode(keypoint, keypoint[..., 0] ** 0)
    target = torch.from_numpy(encoded['heatmaps']).double()[None]
    y, x = torch.meshgrid(torch.arange(64), torch.arange(48), indexing='ij')
    peaks = [
        height * torch.exp(-((x - at) ** 2 + (y - to) ** 2) / (2 * sigma**2))
        for height, at, to in [
            (p['anchor'], 16, 40),
            (p['second'], p['x'], p['y']),
        ]
    ]
    q = torch.stack(peaks).double().amax(0).clamp(min=0.001)[None, None]
    for name, function in FUNCTIONS.items():
        output = q.logit() if name in ('bce', 'focal', 'anchor') else q
        wanted = function(output, target, p)
        got = run(f'e.charge("{name}", data)', p)
        assert got['sum'] == pytest.approx(wanted.sum().item(), rel=1e-6)
        background = wanted[target == 0].sum() / wanted.sum()
        assert got['background'] == pytest.approx(background.item(), rel=1e-6)


BROWSERS = ('chromium', 'chromium-browser', 'google-chrome')
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)


@pytest.fixture(scope='module')
def chromium():
    if not BROWSER:
        pytest.skip(f'there is none of {BROWSERS}')
    api = pytest.importorskip('playwright.sync_api')
    with api.sync_playwright() as playwright:
        # A container's user may have no sandbox; the page is our own.
        yield playwright.chromium.launch(
            executable_path=BROWSER, args=['--no-sandbox']
        )


@pytest.fixture(params=[390, 1280])
def page(request, chromium):
    """The explorer on a phone and on a desk, which must ask for nothing."""
    page = chromium.new_page(viewport=dict(width=request.param, height=844))
    wrong = []
    page.on('console', lambda message: wrong.append(message.text))
    page.on('pageerror', lambda error: wrong.append(str(error)))
    page.on('requestfailed', lambda asked: wrong.append(asked.url))
    page.on(
        'request',
        lambda asked: asked.url.startswith(('file:', 'data:'))
        or wrong.append(asked.url),
    )
    page.goto((EXPLORER / 'index.html').as_uri())
    yield page
    page.close()
    assert not wrong


def curve(page, loss):
    return page.locator(f'path[data-loss={loss}]').first.get_attribute('d')


@pytest.mark.slow
def test_a_slider_moves_its_curve_and_the_link_keeps_it(page):
    flat, others = curve(page, 'amse'), curve(page, 'anchor')
    page.locator('#beta').focus()
    page.keyboard.press('End')
    moved = curve(page, 'amse')
    assert moved != flat
    assert curve(page, 'anchor') == others
    page.locator('#show-fmse').uncheck()
    assert page.locator('path[data-loss=fmse]').count() == 0

    link = page.url
    assert link.endswith('#beta=1&hide=fmse')
    page.locator('#reset').click()
    assert curve(page, 'amse') == flat
    page.goto('about:blank')
    page.goto(link)
    assert curve(page, 'amse') == moved
    assert page.locator('#beta').input_value() == '1'
    page.goto('about:blank')
    page.goto(link + '&gamma=99&sigma=wrong&form=none')  # what cannot be
    assert page.locator('#gamma').input_value() == '5'
    assert page.locator('#sigma').input_value() == '2'


@pytest.mark.slow
def test_the_second_peak_is_dragged_and_moved_by_keys(page):
    prediction = page.locator('#prediction')
    prediction.scroll_into_view_if_needed()
    charged = page.locator('#charge-mse-text').text_content()
    box = prediction.bounding_box()

    def place(x, y):
        return (
            box['x'] + (x + 0.5) / 48 * box['width'],
            box['y'] + (y + 0.5) / 64 * box['height'],
        )

    page.mouse.move(*place(36, 30))
    page.mouse.down()
    page.mouse.move(*place(16, 40))  # onto the keypoint
    page.mouse.up()
    assert page.url.endswith('#x=16&y=40')
    assert page.locator('#charge-mse-text').text_content() != charged
    page.mouse.move(*place(30, 50))  # let go
    assert page.url.endswith('#x=16&y=40')
    prediction.focus()
    page.keyboard.press('ArrowRight')
    page.keyboard.press('Shift+ArrowUp')
    assert page.url.endswith('#x=17&y=35')


@pytest.mark.slow
def test_all_is_in_reach_of_thumb_and_tab_key(page):
    wide = 'document.documentElement.scrollWidth <= window.innerWidth'
    assert page.evaluate(wide)
    page.evaluate('scrollTo(0, 0)')
    reached = []
    while len(reached) < 40:
        page.keyboard.press('Tab')
        name = page.evaluate('document.activeElement.id')
        if name in reached:
            break
        reached += [name] if name else []
    controls = page.locator('input, select, button, #prediction')
    names = controls.evaluate_all('all => all.map(one => one.id)')
    assert set(names) <= set(reached)
