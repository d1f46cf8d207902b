"""How figures look."""

import matplotlib

matplotlib.use('Agg')  # no window: figures go to files
import matplotlib.pyplot as plt  # noqa: E402

# Okabe and Ito's colours, which colour-blind people can tell apart.
BLACK, ORANGE, SKY, GREEN, BLUE, VERMILION, PURPLE = (
    *('#000000', '#E69F00', '#56B4E9', '#009E73'),
    *('#0072B2', '#D55E00', '#CC79A7'),
)

STYLE = {
    'axes.grid': True,
    # C0, C1 and so on.
    'axes.prop_cycle': plt.cycler(
        color=[BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE]
    ),
    'axes.spines.right': False,
    'axes.spines.top': False,
    'axes.titlesize': 10,
    'figure.constrained_layout.use': True,
    'figure.dpi': 120,
    'font.family': 'DejaVu Sans',  # which matplotlib brings along
    'font.size': 9,
    'grid.alpha': 0.3,
    'legend.fontsize': 8,
    'legend.frameon': False,
}
