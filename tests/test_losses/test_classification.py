"""Anchor Loss for classification, and what MMPretrain does with it."""

import math

import pytest
import torch
import torch.nn.functional as nn_F
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.registry import MODELS

from mmpose_lossplus import ClassificationAnchorLoss, OHEMCrossEntropyLoss
from mmpose_lossplus.losses import functional as F

from ..factories import gradient, needs_mmpretrain

DESIGNS = tuple(F.ANCHOR_DESIGNS)
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
VARIANTS = [
    *(dict(type='ClassificationAnchorLoss', design=x) for x in DESIGNS),
    dict(type='ClassificationAnchorLoss', gamma=0.5, slack=0.0),
    dict(type='ClassificationAnchorLoss', static_anchor=0.5),
    dict(
        type='ClassificationAnchorLoss',
        design='both',
        static_anchor='1-p',
        gamma=0.5,
    ),
    dict(type='ClassificationAnchorLoss', ce_share=0.5),
    dict(type='OHEMCrossEntropyLoss', rho=0.5),
]
each_loss = pytest.mark.parametrize('cfg', VARIANTS, ids=str)
each_design = pytest.mark.parametrize('design', DESIGNS)
checked = settings(deadline=None, derandomize=True, max_examples=40)


def batch(seed=0, size=6, classes=5, dtype=torch.double):
    """Scores and labels of a batch."""
    rng = torch.Generator().manual_seed(seed)
    scores = 3 * torch.randn(size, classes, generator=rng, dtype=torch.double)
    return scores.to(dtype), torch.randint(classes, (size,), generator=rng)


def one_hot(labels, classes=5):
    return nn_F.one_hot(labels, classes).double()


def mixed(labels):
    """Soft labels as of mixup."""
    target = one_hot(labels)
    return 0.7 * target + 0.3 * target.roll(1, 0)


def naive(scores, labels, gamma, slack, design):
    """Eqs. (A-1) to (A-4), class by class."""
    losses = torch.zeros_like(scores)
    for n, label in enumerate(labels.tolist()):
        q = [1 / (1 + math.exp(-x)) for x in scores[n].tolist()]
        rival = max(x for k, x in enumerate(q) if k != label)
        q_pos, q_neg = min(rival + slack, 1), max(q[label] - slack, 0)
        gamma_t = gamma if design in ('target', 'both') else 0
        gamma_b = gamma if design in ('background', 'both') else 0
        for k, x in enumerate(q):
            if k == label:
                loss = -((1 - x + q_pos) ** gamma_t) * math.log(x)
            else:
                loss = -((1 + x - q_neg) ** gamma_b) * math.log(1 - x)
            losses[n, k] = loss
    return losses


@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0, 5.0])
@pytest.mark.parametrize('slack', [0.0, 0.05, 0.4])
@each_design
def test_parity_with_a_loop(design, gamma, slack):
    scores, labels = batch()
    result = F.classification_anchor_loss(
        scores, one_hot(labels), gamma, slack, design
    )
    expected = naive(scores, labels, gamma, slack, design)
    torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-12)
    # Summed over classes, averaged over the batch.
    loss = ClassificationAnchorLoss(gamma, slack, design)
    mean = expected.sum() / len(labels)
    torch.testing.assert_close(loss(scores, labels), mean, rtol=1e-12, atol=0)


def test_by_hand():
    """A true class at 0.8, one rival above it and one below."""
    q = torch.tensor([[0.8, 0.9, 0.25]], dtype=torch.double)
    losses = F.classification_anchor_loss(
        q.logit(), one_hot(torch.tensor([0]), 3), gamma=2.0
    )
    expected = [
        -math.log(0.8),
        (1 + 0.9 - 0.75) ** 2 * -math.log(0.1),  # anchor 0.8 - 0.05
        (1 + 0.25 - 0.75) ** 2 * -math.log(0.75),
    ]
    assert losses[0].tolist() == pytest.approx(expected, abs=1e-12)
    losses = F.classification_anchor_loss(
        q.logit(), one_hot(torch.tensor([0]), 3), 2.0, design='target'
    )
    expected = (1 - 0.8 + 0.95) ** 2 * -math.log(0.8)  # anchor 0.9 + 0.05
    assert losses[0, 0].item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize('label', [one_hot, mixed])
@each_design
def test_gamma_0_is_bce(design, label):
    scores, labels = batch()
    result = F.classification_anchor_loss(
        scores, label(labels), gamma=0, design=design
    )
    expected = nn_F.binary_cross_entropy_with_logits(
        scores, label(labels), reduction='none'
    )
    torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('gamma', [0.0, 0.5, 1.0, 2.0])
def test_static_anchor_of_1_minus_p_is_focal_loss(gamma):
    """Eqs. (14) to (18), here against eq. (9) of the pose form."""
    scores, labels = batch()
    target = one_hot(labels)
    result = F.classification_anchor_loss(
        scores, target, gamma, design='both', static_anchor=1 - target
    )
    q = scores.sigmoid()
    q_t = torch.where(target == 1, q, 1 - q)
    expected = -((1 - q_t) ** gamma) * q_t.log()
    torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-12)
    other = F.heatmap_focal_loss(scores, target, gamma)
    torch.testing.assert_close(result, other, rtol=1e-12, atol=1e-12)
    loss = ClassificationAnchorLoss(gamma, design='both', static_anchor='1-p')
    mean = expected.sum() / len(labels)
    torch.testing.assert_close(loss(scores, labels), mean, rtol=1e-12, atol=0)


@pytest.mark.parametrize('gamma', [0.5, 2.0])
def test_gradient_is_that_of_the_paper(gamma):
    """Eqs. (19) and (20): background, the anchor constant."""
    scores, labels = batch()
    target = one_hot(labels)
    _, grad = gradient(
        lambda x: F.classification_anchor_loss(x, target, gamma).sum(), scores
    )
    q = scores.sigmoid()
    anchor = ((q * target).sum(-1, keepdim=True) - 0.05).clamp(min=0)
    base = 1 + q - anchor
    by_q = base ** (gamma - 1) * (base / (1 - q) - gamma * torch.log1p(-q))
    by_logit = base ** (gamma - 1) * q
    by_logit = by_logit * (base - gamma * (1 - q) * torch.log1p(-q))
    torch.testing.assert_close(by_q * q * (1 - q), by_logit)
    expected = torch.where(target == 1, q - 1, by_logit)
    torch.testing.assert_close(grad, expected, rtol=1e-12, atol=1e-12)


@each_design
def test_gradcheck(design):
    """Against differences, of all classes but those the anchors are of."""
    scores, labels = batch()
    target = one_hot(labels)
    rivals = one_hot((scores - 99 * target).argmax(-1))
    fixed = target + rivals

    def loss(free):
        x = torch.where(fixed == 1, scores, free)
        return F.classification_anchor_loss(x, target, 2.0, design=design)

    assert torch.autograd.gradcheck(loss, scores.clone().requires_grad_())

    def static(free):
        return F.classification_anchor_loss(
            free, target, 0.5, design=design, static_anchor=0.4
        )

    assert torch.autograd.gradcheck(static, scores.clone().requires_grad_())


def test_anchors_are_constant_in_back_propagation():
    """The true class has the gradient of BCE, though it sets the anchor."""
    scores, labels = batch()
    target = one_hot(labels)
    _, grad = gradient(ClassificationAnchorLoss(2.0), scores, labels)
    own = target == 1
    expected = (scores.sigmoid() - 1)[own] / len(labels)
    torch.testing.assert_close(grad[own], expected)
    _, grad = gradient(
        ClassificationAnchorLoss(2.0, design='target'), scores, labels
    )
    expected = scores.sigmoid()[~own] / len(labels)
    torch.testing.assert_close(grad[~own], expected)


def test_rivals_above_the_anchor_cost_more_than_with_bce():
    target = one_hot(torch.tensor([0]), 4)
    q = torch.tensor([[0.5, 0.44, 0.45, 0.46]], dtype=torch.double)
    loss = F.classification_anchor_loss(q.logit(), target)
    factors = (loss / -torch.log(1 - q))[0, 1:].tolist()
    assert factors[0] < 1 < factors[2]
    assert factors[1] == pytest.approx(1, abs=1e-12)


def test_soft_labels():
    """The anchor is the mean score by the label; hard ones are as integers."""
    scores, labels = batch()
    loss = ClassificationAnchorLoss(2.0, design='both')
    hard = loss(scores, one_hot(labels))
    assert hard.item() == pytest.approx(loss(scores, labels).item())
    assert torch.equal(loss(scores, labels[:, None]), loss(scores, labels))
    target = torch.tensor([[0.7, 0.3, 0.0]], dtype=torch.double)
    q = torch.tensor([[0.8, 0.4, 0.6]], dtype=torch.double)
    losses = F.classification_anchor_loss(q.logit(), target, 2.0)
    anchor = 0.7 * 0.8 + 0.3 * 0.4 - 0.05
    expected = -torch.log(1 - q) * (1 + q - anchor) ** 2 * (1 - target)
    expected = expected - target * q.log()
    torch.testing.assert_close(losses, expected)
    # Label smoothing leaves no rival, so that nothing modulates the target.
    smooth = 0.9 * target + 0.1 / 3
    losses = [
        F.classification_anchor_loss(q.logit(), smooth, g, design='target')
        for g in (0.0, 2.0)
    ]
    assert torch.equal(*losses)


def test_ce_share():
    scores, labels = batch()
    cross_entropy = nn_F.cross_entropy(scores, labels)
    anchor = ClassificationAnchorLoss()(scores, labels)
    for share in (0.0, 0.25, 1.0):
        loss = ClassificationAnchorLoss(ce_share=share)(scores, labels)
        expected = share * cross_entropy + (1 - share) * anchor
        torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize(
    ('rho', 'kept'), [(1.0, 6), (0.5, 3), (0.34, 2), (0.01, 1)]
)
def test_ohem(rho, kept):
    """The mean over the hardest, and no gradient of the others."""
    scores, labels = batch()
    losses = nn_F.cross_entropy(scores, labels, reduction='none')
    value, grad = gradient(OHEMCrossEntropyLoss(rho), scores, labels)
    hardest = losses.topk(kept).indices
    torch.testing.assert_close(value, losses[hardest].mean())
    trained = (grad != 0).any(-1).nonzero().flatten()
    assert trained.tolist() == hardest.sort().values.tolist()


@each_loss
def test_weights_and_average(cfg):
    scores, labels = batch()
    loss = MODELS.build(cfg)
    value = loss(scores, labels)
    ones = torch.ones(len(labels))
    assert torch.equal(loss(scores, labels, ones), value)
    torch.testing.assert_close(loss(scores, labels, avg_factor=12), value / 2)
    torch.testing.assert_close(loss(scores, labels, 3 * ones), 3 * value)
    torch.testing.assert_close(
        MODELS.build(dict(cfg, loss_weight=2.0))(scores, labels), 2 * value
    )


# --- Whatever comes in -------------------------------------------------------


@each_loss
@checked
@given(st.integers(0, 2**32 - 1), st.floats(-30, 37), st.sampled_from(DTYPES))
def test_finite_inputs(cfg, seed, exponent, dtype):
    scores, labels = batch(seed)
    limit = torch.finfo(dtype).max
    if dtype != torch.float64:
        limit = min(limit, 8e36)  # summed over classes
    scores = (scores * 10**exponent).clamp(-limit, limit).to(dtype)
    value, grad = gradient(MODELS.build(cfg), scores, labels)
    assert value.dtype == torch.promote_types(dtype, torch.float32)
    assert grad.dtype == dtype
    assert value.isfinite()
    assert grad.isfinite().all()


@each_loss
@pytest.mark.parametrize('dtype', DTYPES[:3])
def test_precision_of_the_input(cfg, dtype):
    """Half scores lose what they round away themselves, and no more."""
    scores, labels = batch(dtype=dtype)
    loss = MODELS.build(cfg)
    value, grad = gradient(loss, scores, labels)
    exact, exact_grad = gradient(loss, scores.double(), labels)
    torch.testing.assert_close(value.double(), exact, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(
        grad.double(), exact_grad, rtol=4 * torch.finfo(dtype).eps, atol=1e-6
    )


@each_loss
def test_autocast_is_off_inside(cfg):
    scores, labels = batch(dtype=torch.bfloat16)
    loss = MODELS.build(cfg)
    expected = gradient(loss, scores, labels)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        result = gradient(loss, scores, labels)
    assert torch.equal(result[0], expected[0])
    assert torch.equal(result[1], expected[1])


@each_loss
@pytest.mark.parametrize('label', [None, mixed])
def test_one_graph_under_torch_compile(cfg, label):
    torch._dynamo.reset()
    loss = MODELS.build(cfg)
    compiled = torch.compile(loss, backend='eager', fullgraph=True)
    for size in (6, 4):
        scores, labels = batch(size=size)
        labels = label(labels) if label else labels
        torch.testing.assert_close(
            gradient(compiled, scores, labels), gradient(loss, scores, labels)
        )


@each_loss
def test_nothing_at_all(cfg):
    """Zero with a graph, not the NaN that a mean of nothing is."""
    scores = torch.zeros(0, 5, requires_grad=True)
    labels = torch.zeros(0, dtype=torch.long)
    value = MODELS.build(cfg)(scores, labels, avg_factor=0)
    assert value.item() == 0
    value.backward()
    assert scores.grad.shape == scores.shape


@pytest.mark.parametrize('bad', [math.nan, math.inf, -math.inf])
@each_loss
def test_nan_and_infinity_stay_visible(cfg, bad):
    scores, labels = batch()
    scores[2, 3] = bad
    value, _ = gradient(MODELS.build(cfg), scores, labels)
    assert not value.isfinite()


SCORES, LABELS = batch()


@pytest.mark.parametrize(
    ('scores', 'labels', 'said'),
    [
        (SCORES, torch.full((6,), 5), 'from 0 to 4.* from 5 to 5'),
        (SCORES, torch.full((6,), -1), 'from 0 to 4.* from -1 to -1'),
        (SCORES[:, :1], torch.zeros(6).long(), r'2 classes, got \(6, 1\)'),
        (SCORES[0], LABELS, r'\(N, C\).* got \(5,\)'),
        (SCORES, LABELS[:3], r'int64 of \(3,\)'),
        (SCORES, one_hot(LABELS)[:, :4], r'float64 of \(6, 4\)'),
        (SCORES, 2 * one_hot(LABELS), 'from 0 to 2'),
        (SCORES, one_hot(LABELS) * math.nan, 'from nan to nan'),
        (SCORES, one_hot(LABELS) / 2, 'sum of 0.5'),
    ],
)
def test_bad_input_is_refused_in_one_sentence(scores, labels, said):
    loss = ClassificationAnchorLoss()
    with pytest.raises(ValueError, match=said) as error:
        loss(scores, labels)
    assert '\n' not in str(error.value)
    # On a CPU a label may be wrong in any batch.
    loss(SCORES, LABELS)
    with pytest.raises(ValueError, match=said):
        loss(scores, labels)


def test_weights_that_do_not_fit():
    with pytest.raises(ValueError, match=r'got \(3,\)'):
        ClassificationAnchorLoss()(SCORES, LABELS, torch.ones(3))


def test_static_anchors_need_no_one_target():
    """Several labels of a picture have no true class."""
    several = one_hot(LABELS) + one_hot(LABELS).roll(1, -1)
    loss = ClassificationAnchorLoss(static_anchor=0.5)
    assert loss(SCORES, several).isfinite()
    with pytest.raises(ValueError, match='sum of 2'):
        ClassificationAnchorLoss()(SCORES, several)


@pytest.mark.parametrize(
    ('kwargs', 'said'),
    [
        (dict(gamma=-1), 'gamma .* got -1'),
        (dict(gamma=65), 'gamma .* got 65'),
        (dict(gamma=math.nan), 'gamma .* got nan'),
        (dict(slack=-0.1), 'slack .* got -0.1'),
        (dict(slack=1.5), 'slack .* got 1.5'),
        (dict(ce_share=2), 'ce_share .* got 2'),
        (dict(design='neg'), "background.* got 'neg'"),
        (dict(static_anchor=2.0), 'static_anchor .* got 2.0'),
        (dict(static_anchor='p'), "static_anchor .* got 'p'"),
    ],
)
def test_parameters_out_of_range(kwargs, said):
    with pytest.raises(ValueError, match=said):
        ClassificationAnchorLoss(**kwargs)


@pytest.mark.parametrize('rho', [0, -1, 1.1, math.nan])
def test_rho_out_of_range(rho):
    with pytest.raises(ValueError, match=f'rho .* got {rho}'):
        OHEMCrossEntropyLoss(rho)


# --- On MMPretrain -----------------------------------------------------------


@needs_mmpretrain
class TestOnMMPretrain:
    def head(self, **loss):
        torch.manual_seed(0)
        head = dict(type='LinearClsHead', num_classes=5, in_channels=3)
        return MODELS.build(
            dict(head, loss=loss, _scope_='mmpretrain')
        ).double()

    def loss(self, head, **fields):
        from mmpretrain.structures import DataSample

        samples = [DataSample() for _ in LABELS]
        for sample, label, score in zip(samples, LABELS, mixed(LABELS)):
            if fields.get('soft'):
                sample.set_gt_score(score)
            else:
                sample.set_gt_label(label)
        feats = (torch.arange(18.0).reshape(6, 3).double() / 9,)
        return head.loss(feats, samples)['loss'], head(feats)

    @each_loss
    @pytest.mark.parametrize('soft', [False, True])
    def test_a_head_gives_labels_and_scores(self, cfg, soft):
        head = self.head(**cfg)
        value, scores = self.loss(head, soft=soft)
        target = mixed(LABELS) if soft else LABELS
        assert torch.equal(value, MODELS.build(cfg)(scores, target))

    @pytest.mark.parametrize('gamma', [0.0, 1.0, 2.0])
    def test_its_focal_loss_is_the_papers(self, gamma):
        """With both weights 1, as in our configs; gamma 0 is BCE."""
        theirs = dict(type='FocalLoss', alpha=0.5, loss_weight=2.0)
        ours = dict(type='ClassificationAnchorLoss', design='both')
        ours['static_anchor'] = '1-p'
        values = [
            self.loss(self.head(**cfg, gamma=gamma))[0]
            for cfg in (theirs, ours)
        ]
        torch.testing.assert_close(*values, rtol=1e-12, atol=0)

    def test_its_cross_entropy_is_bce_of_scores(self):
        """And takes no labels, for which there is gamma 0."""
        theirs = dict(type='CrossEntropyLoss', use_sigmoid=True)
        ours = dict(type='ClassificationAnchorLoss', gamma=0.0)
        values = [
            self.loss(self.head(**cfg), soft=True)[0] for cfg in (theirs, ours)
        ]
        torch.testing.assert_close(*values, check_dtype=False)  # float32
        with pytest.raises(AssertionError):
            self.loss(self.head(**theirs))
