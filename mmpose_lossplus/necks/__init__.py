from .cascaded_pyramid import CascadedPyramid

__all__ = ['CascadedPyramid']
