from .lsp_dataset import LspDataset

__all__ = ['LspDataset']
