from .hourglass_transforms import HourglassBBoxTransform, RandomChannelGain
from .lsp_dataset import LspDataset

__all__ = ['HourglassBBoxTransform', 'LspDataset', 'RandomChannelGain']
