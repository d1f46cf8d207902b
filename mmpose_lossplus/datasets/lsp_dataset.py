from mmpose.datasets.datasets import BaseCocoStyleDataset
from mmpose.registry import DATASETS

# In the order of the sets' READMEs: name, symmetric one, half of the body.
_KEYPOINTS = (
    ('right_ankle', 'left_ankle', 'lower'),
    ('right_knee', 'left_knee', 'lower'),
    ('right_hip', 'left_hip', 'lower'),
    ('left_hip', 'right_hip', 'lower'),
    ('left_knee', 'right_knee', 'lower'),
    ('left_ankle', 'right_ankle', 'lower'),
    ('right_wrist', 'left_wrist', 'upper'),
    ('right_elbow', 'left_elbow', 'upper'),
    ('right_shoulder', 'left_shoulder', 'upper'),
    ('left_shoulder', 'right_shoulder', 'upper'),
    ('left_elbow', 'right_elbow', 'upper'),
    ('left_wrist', 'right_wrist', 'upper'),
    ('neck', '', 'upper'),
    ('head_top', '', 'upper'),
)
_LINKS = (
    ('right_ankle', 'right_knee'),
    ('right_knee', 'right_hip'),
    ('right_hip', 'left_hip'),
    ('left_hip', 'left_knee'),
    ('left_knee', 'left_ankle'),
    ('right_wrist', 'right_elbow'),
    ('right_elbow', 'right_shoulder'),
    ('right_shoulder', 'neck'),
    ('neck', 'left_shoulder'),
    ('left_shoulder', 'left_elbow'),
    ('left_elbow', 'left_wrist'),
    ('right_shoulder', 'right_hip'),
    ('left_shoulder', 'left_hip'),
    ('neck', 'head_top'),
)


def _color(*names: str) -> list:
    """MMPose's colours: orange right, green left, blue between."""
    for side, color in (('right', [255, 128, 0]), ('left', [0, 255, 0])):
        if all(name.startswith(side) for name in names):
            return color
    return [51, 153, 255]


@DATASETS.register_module()
class LspDataset(BaseCocoStyleDataset):
    """Leeds Sports Pose (LSP) and its extended training set (LSPET).

    "Clustered Pose and Nonlinear Appearance Models for Human Pose
    Estimation", BMVC 2010, and "Learning Effective Human Pose Estimation from
    Inaccurate Annotation", CVPR 2011, both by S. Johnson and M. Everingham;
    http://sam.johnson.io/research/lsp.html and
    http://sam.johnson.io/research/lspet.html.

    One person with 14 joints per picture, from right ankle to head top as in
    ``METAINFO``; left and right are the person's.
    ``tools/dataset_converters/lsp_to_coco.py`` makes the annotation files
    (and documents what it does to the joints)::

        data/lsp
        ├── lsp_dataset_original/images/im0001.jpg ...
        ├── lspet_dataset/images/im00001.jpg ...
        └── annotations
            ├── lsp_train.json
            └── lsp_test.json

    ``sigmas`` is empty, as in MMPose's ``h36m.py``: nobody has published the
    deviations that OKS needs for these joints, so evaluate with
    :class:`.LspPCKAccuracy`, not with ``CocoMetric``.

    Args: See :class:`mmpose.datasets.BaseCocoStyleDataset`.
    """

    METAINFO: dict = dict(
        dataset_name='lsp',
        paper_info=dict(
            author='Sam Johnson and Mark Everingham',
            title='Clustered Pose and Nonlinear Appearance Models for Human '
            'Pose Estimation',
            container='British Machine Vision Conference',
            year='2010',
            homepage='http://sam.johnson.io/research/lsp.html',
        ),
        keypoint_info={
            i: dict(name=name, id=i, color=_color(name), type=half, swap=swap)
            for i, (name, swap, half) in enumerate(_KEYPOINTS)
        },
        skeleton_info={
            i: dict(link=link, id=i, color=_color(*link))
            for i, link in enumerate(_LINKS)
        },
        joint_weights=[1.0] * 14,
        sigmas=[],
    )
