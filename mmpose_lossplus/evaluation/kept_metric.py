import os
import pickle
from typing import Any, Dict, Optional, Sequence

from mmengine.evaluator import BaseMetric
from mmpose.registry import METRICS


@METRICS.register_module()
class KeptMetric(BaseMetric):
    """A metric that also keeps what it collected of each person.

    From the file the metric can be computed again, on any of the people:
    ``metric.compute_metrics(pickle.load(file))``. The scores are those of the
    metric itself, under the same names.

    Args:
        metric (dict): Config of a metric that collects one result for each
            person, such as :class:`mmpose.evaluation.PCKAccuracy`.
        out_file (str, optional): Pickle file for the list of results, written
            as a whole at each evaluation, in place of an older one. ``None``
            writes nothing. Defaults to ``None``.
    """

    def __init__(self, metric: dict, out_file: Optional[str] = None) -> None:
        self.metric: BaseMetric = METRICS.build(metric)
        super().__init__(self.metric.collect_device, self.metric.prefix)
        self.metric.results = self.results
        self.out_file = out_file

    @BaseMetric.dataset_meta.setter
    def dataset_meta(self, dataset_meta: dict) -> None:
        self._dataset_meta = self.metric.dataset_meta = dataset_meta

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Let the metric collect its results."""
        self.metric.process(data_batch, data_samples)

    def compute_metrics(self, results: list) -> Dict[str, float]:
        """Write the results and compute the metric.

        Args:
            results (list): What the metric collected.

        Returns:
            dict[str, float]: What the metric gives.
        """
        if self.out_file is not None:
            partial = f'{self.out_file}.partial'
            with open(partial, 'wb') as file:
                pickle.dump(results, file)
            os.replace(partial, self.out_file)
        return self.metric.compute_metrics(results)
