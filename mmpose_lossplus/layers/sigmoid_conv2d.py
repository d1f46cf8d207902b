import math
from typing import Any, Optional

from mmengine.registry import MODELS
from torch import Tensor, nn


# ``build_conv_layer`` looks types up in MMEngine's root registry.
@MODELS.register_module()
class SigmoidConv2d(nn.Conv2d):
    """Final layer: logits in training, probabilities in evaluation.

    With ``final_layer=dict(type='SigmoidConv2d')`` any MMPose heatmap head
    fits a loss of the BCE type: the loss sees logits, while flip test,
    decoding, scores and export see probabilities.

    Logits carry the attribute ``is_logits``, by which the losses of this
    package, and MMPose's own, recognise a final layer that does not fit.

    Args:
        *args: See :class:`torch.nn.Conv2d`.
        prior_prob (float, optional): Probability that the layer predicts at
            the start, set through the bias; a small one, as for focal loss
            (arXiv 1708.02002, sec. 3.3), keeps the background from
            dominating the first steps. MMPose's ``CPMHead`` zeroes the bias
            afterwards: there, the head's ``init_cfg`` sets it, by
            ``dict(type='Normal', layer='SigmoidConv2d', std=0.001,
            bias_prob=0.01)``. ``None`` leaves the bias to the head.
            Defaults to ``None``.
        **kwargs: See :class:`torch.nn.Conv2d`.

    Raises:
        ValueError: If ``prior_prob`` does not lie in (0, 1) or there is no
            bias to set.
    """

    def __init__(
        self, *args: Any, prior_prob: Optional[float] = None, **kwargs: Any
    ) -> None:
        if prior_prob is not None and not 0 < prior_prob < 1:
            raise ValueError(
                f'prior_prob must lie between 0 and 1, got {prior_prob}.'
            )
        self.prior_prob = prior_prob
        super().__init__(*args, **kwargs)
        if prior_prob is not None and self.bias is None:
            raise ValueError(
                f'prior_prob={prior_prob} needs a bias, got bias=False.'
            )

    def reset_parameters(self) -> None:
        super().reset_parameters()
        self.init_weights()

    def init_weights(self) -> None:
        """Set the prior, which a head's own ``init_cfg`` has just zeroed."""
        if self.prior_prob is not None and self.bias is not None:
            prior = math.log(self.prior_prob / (1 - self.prior_prob))
            nn.init.constant_(self.bias, prior)

    def forward(self, x: Tensor) -> Tensor:
        return self.on_top(self.logits(x))

    def logits(self, x: Tensor) -> Tensor:
        """The convolution, for a network that goes on with its output."""
        return super().forward(x)

    def on_top(self, logits: Tensor) -> Tensor:
        """What the layer makes of logits: themselves or probabilities."""
        if not self.training:
            return logits.sigmoid()
        logits.is_logits = True
        return logits


def refuse_logits(loss: nn.Module, output: Tensor) -> None:
    """Raise a ``ValueError`` if a loss of heatmaps is given logits."""
    if getattr(output, 'is_logits', False):
        raise ValueError(
            f'{type(loss).__name__} compares heatmaps, but the final layer is '
            'SigmoidConv2d, which gives logits in training: remove '
            "type='SigmoidConv2d' from final_layer."
        )
