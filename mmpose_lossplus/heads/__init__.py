from .depthwise_deconv_attention_head import DepthwiseDeconvAttentionHead

__all__ = ['DepthwiseDeconvAttentionHead']
