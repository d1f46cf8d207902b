from typing import Any, Dict, Sequence

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS


@METRICS.register_module()
class SeparationGap(BaseMetric):
    """How far the true class lies above its strongest rival.

    The Anchor Loss paper takes the gap between the scores of positive and
    negative labels for the difficulty of a prediction, and its loss is to
    widen it. Reported are means over pictures:

    - 'gap': difference of the probabilities that MMPretrain's head predicts
      (softmax), in percent, from -100 to 100;
    - 'gap of wrong': the same where the rival wins, NaN if it never does;
    - 'logit gap': difference of the logits, which is that of the
      probabilities' logarithms. It grows with the scale of the logits, so
      that losses compare by it only with that in mind.

    The metric takes what MMPretrain's heads for one label predict. It is in
    MMEngine's root registry and needs no MMPretrain.

    Args:
        collect_device (str): Where the results of several processes are
            collected, 'cpu' or 'gpu'. Defaults to 'cpu'.
        prefix (str, optional): Instead of 'separation'. Defaults to
            ``None``.
    """

    default_prefix = 'separation'

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Take the gaps of a batch.

        Raises:
            ValueError: If a picture has not exactly one label, or there is
                only one class.
        """
        for sample in data_samples:
            score, label = sample['pred_score'], sample['gt_label']
            if label.numel() != 1 or score.numel() < 2:
                raise ValueError(
                    'SeparationGap needs one label and at least 2 classes, '
                    f'got labels {label.tolist()} and {score.numel()} classes.'
                )
            score = score.double().cpu()
            rivals = score.clone()
            rivals[label.item()] = -1
            pair = torch.stack([score[label.item()], rivals.max()])
            # Of what is 0 in float32 the logarithm is not known.
            logs = pair.clamp(min=torch.finfo(torch.float32).tiny).log()
            self.results.append(((pair[0] - pair[1]).item(), *logs.tolist()))

    def compute_metrics(self, results: list) -> Dict[str, float]:
        """'gap', 'gap of wrong' and 'logit gap', see the class."""
        gaps, own, rival = np.array(results).T
        wrong = gaps[gaps < 0]
        of_wrong = wrong.mean() if wrong.size else np.nan
        return {
            'gap': 100 * float(gaps.mean()),
            'gap of wrong': 100 * float(of_wrong),
            'logit gap': float((own - rival).mean()),
        }
