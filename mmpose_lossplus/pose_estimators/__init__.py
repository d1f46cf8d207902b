from .multi_scale_tta import MultiScaleTTA

__all__ = ['MultiScaleTTA']
