"""File names are promises, and every config builds what it says."""

import ast
import inspect
import re
import sys

import pytest
import torch
from mmengine.config import Config
from mmpose.registry import MODELS, PARAM_SCHEDULERS, TRANSFORMS

from mmpose_lossplus.experiments.losses import final_layer_part

from .factories import (
    BACKBONES,
    CLASSIFICATION,
    CONFIGS,
    HEADS,
    NAME,
    ROOT,
    call,
    load,
    read,
)

# Width of the highest resolution, for names that state it.
WIDTHS = {'hrnet-w32': 32, 'small-hrnet-w16': 16}
MODULES = {'litehrnet-18': (2, 4, 2), 'litehrnet-30': (3, 8, 3)}
# Token -> the loss it promises, defaults included.
PROMISED = {
    '': dict(type='KeypointMSELoss'),
    'amse': dict(type='AsymmetricMSELoss', beta=0.01),
    'anchor': dict(type='AnchorLoss', gamma=2),
    'bce': dict(type='AnchorLoss', gamma=0),
    'fmse': dict(type='FocusedMSELoss', gamma=1, delta=1e-3),
    'focal': dict(type='HeatmapFocalLoss', gamma=2),
    'hmw': dict(type='HeatmapWeightingMSELoss', weight_fn='linear'),
    'ohkm': dict(type='KeypointOHKMMSELoss', topk=8),
    'rmse': dict(type='RegularizedMSELoss', beta=0.01),
}
HYPER = re.compile(r'(beta|gamma)(\d+)(?:p(\d+))?|(double|square|exp)')
# Data and split -> data set and metric of the test.
DATA = {
    ('coco', None): ('CocoDataset', 'CocoMetric'),
    ('coco', '-testdev'): ('CocoDataset', 'CocoSubmission'),
    ('demo', None): ('CocoDataset', 'CocoMetric'),
    ('lsp', None): ('LspDataset', 'LspPCKAccuracy'),
    ('lspet', None): ('LspDataset', 'LspPCKAccuracy'),
    ('mpii', None): ('MpiiDataset', 'MpiiPCKAccuracy'),
    ('mpii', '-test'): ('MpiiDataset', 'MpiiSubmission'),
}
# The configs of the papers' own recipes; models that MMPose trains keep its.
OWN_RECIPES = [
    p
    for p in CONFIGS
    if '8xb' not in p.stem and p.parent.name not in ('compare', 'demo')
]


def each(paths):
    return pytest.mark.parametrize('path', paths, ids=lambda p: p.stem)


each_config, each_recipe = each(CONFIGS), each(OWN_RECIPES)


def plain(codec):
    return {key: codec[key] for key in codec if key != '_scope_'}


def promised_loss(token, hyper):
    """The loss that two tokens of a name promise."""
    loss = dict(PROMISED[token])
    if hyper:
        name, whole, decimals, weight_fn = HYPER.fullmatch(hyper).groups()
        if weight_fn:
            loss['weight_fn'] = weight_fn
        else:
            loss[name] = float(f'{whole}.{decimals or 0}')
    return loss


def arguments(cfg):
    """What a component is made with: the config's and the defaults."""
    parameters = inspect.signature(MODELS.get(cfg.type)).parameters.values()
    return {**{p.name: p.default for p in parameters}, **cfg}


def covers(cfg, expected):
    return {key: cfg.get(key) for key in expected} == expected


def made_as(cfg, expected):
    """Whether it is what a name says, or a class derived from that."""
    kind = issubclass(MODELS.get(cfg.type), MODELS.get(expected['type']))
    return kind and covers(
        {**arguments(cfg), 'type': expected['type']}, expected
    )


@each_config
def test_name_matches_content(path):
    name = NAME.fullmatch(path.stem)
    assert name, f'{path.stem} does not follow the grammar of names'
    cfg = load(path)

    backbone = name['backbone']
    assert made_as(cfg.model.backbone, BACKBONES[backbone])
    if backbone in WIDTHS:
        extra = cfg.model.backbone.extra
        assert extra.stage4.num_channels[0] == WIDTHS[backbone]
    if backbone in MODULES:
        spec = cfg.model.backbone.extra.stages_spec
        assert tuple(spec.num_modules) == MODULES[backbone]
    neck = cfg.model.get('neck', {}).get('type')
    assert (neck == 'CascadedPyramid') == backbone.startswith('cpn')

    head = cfg.model.head
    light = head.type == 'DepthwiseDeconvAttentionHead'
    assert light == (name['head'] is not None)
    if light:
        last = arguments(head)['deconv_attentions'][-1]
        assert (last and last['type']) == HEADS[name['head']]

    losses = head.loss if isinstance(head.loss, list) else [head.loss]
    promised = promised_loss(name['loss'] or '', name['hyper'])
    assert covers(arguments(losses[-1]), promised)
    for loss in losses[:-1]:  # only the last of several stages has OHKM
        assert loss.type == 'KeypointMSELoss'

    batch = int(name['batch'])
    assert cfg.train_dataloader.batch_size == batch
    total = batch * int(name['gpus'])
    if 'litehrnet' in backbone:  # MMPose's own says 512, whatever the batch
        total = 512
    assert cfg.auto_scale_lr.base_batch_size == total
    assert cfg.train_cfg.max_epochs == int(name['epochs'])
    size = (int(name['width']), int(name['height']))
    assert cfg.codec.input_size == size


@each_config
def test_name_matches_data(path):
    """What a config trains on, tests on, and with which boxes."""
    name = NAME.fullmatch(path.stem)
    cfg = read(path)
    train, test = cfg.train_dataloader.dataset, cfg.test_dataloader.dataset
    dataset, metric = DATA[name['data'], name['split']]
    assert train.type == test.type == dataset
    assert cfg.test_evaluator.type == metric
    folder = 'lsp' if name['data'] == 'lspet' else name['data']
    assert train.data_root == test.data_root == f'data/{folder}/'
    if name['data'] == 'coco':
        assert bool(test.get('bbox_file')) == (name['box'] is None)
    held_out = 'test' if name['split'] or name['data'] == 'lsp' else 'val'
    assert held_out in test.ann_file
    assert 'train' in train.ann_file
    for ann_file in (train.ann_file, test.ann_file):
        assert ann_file.endswith('_det.json') == (name['box'] == '-det')
    # The metric reads the annotations of the data that it is given.
    path = f'{test.data_root}{test.ann_file}'
    assert cfg.test_evaluator.get('ann_file', path) == path
    assert (cfg.model.type == 'MultiScaleTTA') == (name['ms'] is not None)


def steps(pipeline, *types):
    """The steps of some types in a pipeline, those of all its crops too."""
    for step in pipeline:
        if step.type == 'TestTimeAug':
            for options in step.transforms:
                yield from steps(options, *types)
        elif step.type in types:
            yield step


@each_config
def test_one_codec(path):
    """A codec that reached only some of its places trains on nonsense."""
    cfg = load(path)
    codec = plain(cfg.codec)
    pipeline = cfg.train_dataloader.dataset.pipeline
    (generate,) = steps(pipeline, 'GenerateTarget')
    assert plain(generate.encoder) == plain(cfg.model.head.decoder) == codec
    for part in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        (affine,) = steps(cfg[part].dataset.pipeline, 'TopdownAffine')
        assert affine.input_size == codec['input_size']
    backbone, head = cfg.model.backbone, cfg.model.head
    if backbone.type in ('StackedHourglass', 'CPM'):
        made = arguments(backbone)
        stages = made.get('num_stacks', made.get('num_stages'))
        assert head.num_stages == stages
        # They predict within, and the head adds nothing.
        assert head.final_layer is None
        assert backbone.out_channels == head.out_channels


@each_config
def test_parts_fit_each_other(path):
    cfg = load(path)
    assert cfg.model.test_cfg.flip_test
    for schedule in cfg.param_scheduler:
        for milestone in schedule.get('milestones', []):
            assert milestone < cfg.train_cfg.max_epochs
        if schedule.type == 'CosineAnnealingLR':
            assert schedule.T_max == cfg.train_cfg.max_epochs
    head = cfg.model.head
    loss = head.loss if isinstance(head.loss, dict) else head.loss[-1]
    takes_logits = getattr(MODELS.get(loss.type), 'takes_logits', False)
    layer = final_layer_part(cfg).get('final_layer') or {}
    assert takes_logits == (layer.get('type') == 'SigmoidConv2d')


@each_config
def test_inherits_at_most_three_of_ours(path):
    def ancestors(file):
        bases = Config._get_base_files(str(file))
        parents = [
            (file.parent / base).resolve()
            for base in bases
            if not base.startswith('mmpose::') and '_base_' not in base
        ]
        assert len(parents) <= 1
        return 1 + ancestors(parents[0]) if parents else 0

    assert ancestors(path) <= 3


@each([*CONFIGS, *sorted((ROOT / 'configs' / '_base_').glob('*.py'))])
def test_docstring_and_length(path):
    """At most 15 lines of code, or with a reason for more."""
    source = path.read_text(encoding='utf-8')
    docstring = ast.get_docstring(ast.parse(source), clean=False)
    assert docstring
    code = source.replace(f'"""{docstring}"""', '')
    lines = [line for line in code.splitlines() if line.strip()]
    if path.parent.name != '_base_':
        reason = 'Longer than its siblings' in ' '.join(docstring.split())
        assert len(lines) <= 15 or reason


def test_stems_are_unique():
    """mim finds configs by base name."""
    stems = [path.stem for path in (*CONFIGS, *CLASSIFICATION)]
    assert len(stems) == len(set(stems))
    assert not [stem for stem in stems if '.' in stem]


@each_config
def test_model_builds(path):
    cfg = read(path)
    cfg.model.get('module', cfg.model).backbone.init_cfg = None
    with torch.device('meta'):  # no numbers, which take most of the time
        MODELS.build(cfg.model)


def test_loading_a_config_registers_everything(tmp_path):
    """The import in the base file is enough, from any folder."""
    code = (
        'import sys; from mmengine.config import Config;'
        'cfg = Config.fromfile(sys.argv[1]);'
        'from mmpose.registry import MODELS;'
        'print(MODELS.get(cfg.model.head.loss.type).__module__)'
    )
    config = next(p for p in CONFIGS if '_amse-' in p.stem)
    output = call(sys.executable, '-c', code, config, cwd=tmp_path).stdout
    assert output.split()[-1].startswith('mmpose_lossplus.')


# Epoch -> learning rate from it on, as printed.
RATES = {
    'amse': {0: 1e-3, 90: 1e-4, 120: 1e-5},
    'fmse': {0: 1e-6, 10: 1e-3, 100: 1e-5, 150: 1e-6},
    'anchor_loss': dict(
        zip((0, 100, 120, 140, 160, 180), (1e-3, 5e-4, 1e-4, 5e-5, 1e-5, 5e-6))
    ),
    'heatmap_weighting': {0: 5e-4, 170: 5e-5, 200: 5e-6},
}
AUGMENTATION = {
    'amse': dict(shift_prob=0, scale_factor=(0.7, 1.3), rotate_factor=80),
    'fmse': dict(shift_prob=0, scale_factor=(0.65, 1.35), rotate_factor=30),
    'anchor_loss': dict(scale_factor=0.25, rotate_factor=30, rotate_prob=0.4),
    'heatmap_weighting': dict(
        shift_prob=0, scale_factor=(0.5, 1.5), rotate_factor=80
    ),
}
# Codec and sigma of targets.
TARGETS = {
    'amse': ('MSRAHeatmap', 2),
    'fmse': ('MSRAHeatmap', 2),
    'anchor_loss': ('HourglassHeatmap', 1.75),
    'heatmap_weighting': ('MSRAHeatmap', 2),
}


@each_recipe
def test_learning_rate_of_the_papers(path):
    cfg = read(path)
    rate = cfg.optim_wrapper.optimizer.lr
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=rate)
    arguments = dict(optimizer=optimizer, epoch_length=1)
    schedulers = [
        PARAM_SCHEDULERS.build(schedule, default_args=arguments)
        for schedule in cfg.param_scheduler
        if schedule.get('by_epoch', True)
    ]
    for epoch in range(cfg.train_cfg.max_epochs):
        expected = RATES[path.parent.name].get(epoch, rate)
        rate = optimizer.param_groups[0]['lr']
        assert rate == pytest.approx(expected), epoch
        for scheduler in schedulers:
            scheduler.step()


@each_recipe
def test_targets_of_the_papers(path):
    codec = read(path).codec
    assert (codec.type, codec.sigma) == TARGETS[path.parent.name]


@each_recipe
def test_augmentation_of_the_papers(path):
    pipeline = read(path).train_dataloader.dataset.pipeline
    ours = ('HourglassBBoxTransform', 'RandomChannelGain')
    (transform,) = steps(pipeline, 'RandomBBoxTransform', ours[0])
    made = inspect.signature(TRANSFORMS.get(transform.type)).parameters
    defaults = {name: made[name].default for name in made}
    transform = {**defaults, **transform}
    assert covers(transform, AUGMENTATION[path.parent.name])
    of_hourglass = [step.type for step in steps(pipeline, *ours)]
    expected = list(ours) if path.parent.name == 'anchor_loss' else []
    assert of_hourglass == expected
    assert len(list(steps(pipeline, 'RandomFlip'))) == 1
    half_body = '1xb64' in path.stem and 'coco' in path.stem
    assert bool(list(steps(pipeline, 'RandomHalfBody'))) == half_body
