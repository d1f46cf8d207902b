from .coco_submission import CocoSubmission
from .lsp_pck_accuracy import LspPCKAccuracy
from .mpii_submission import MpiiSubmission

__all__ = ['CocoSubmission', 'LspPCKAccuracy', 'MpiiSubmission']
