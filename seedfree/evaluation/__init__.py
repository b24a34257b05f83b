"""Measuring a model and a data set: scores, benchmarks, judges, reviewers (docs/evaluation.md).

    from seedfree.evaluation import score
    score(predictions, references, language="th").interval("rougeL")

To add a benchmark copy `belebele.py`: a class with `name`, `language`, `questions()` and
`prompt(question)`. Where things are:

- scores: texts to words (`words`), the counts of a row by metric (`metrics`), intervals, tests and
  agreement (`statistics`), what predictions are worth (`scores`), closeness of meaning
  (`similarity`);
- accuracy: which choice an answer means (`answers`), how often it is the right one (`choices`);
- benchmarks: `belebele` and `wangchan`, from files or the hub (`loading`); orders that code checks,
  in every language (`orders`); any of them as a task of lm-evaluation-harness (`lm_eval`);
- a model's answers: asked for (`evaluate`), read from files (`predictions`), summed up (`results`);
  or how likely it finds people's (`likelihood`);
- verdicts: an LLM's marks (`judge`) and preferences (`pairwise`); people's, on a sheet that is made
  and read (`review_sheet`) and summed up (`reviews`).
"""

from seedfree.diversity.contamination import Contamination, contamination
from seedfree.evaluation.belebele import Belebele
from seedfree.evaluation.choices import Accuracy, accuracy
from seedfree.evaluation.evaluate import Decoding, evaluate
from seedfree.evaluation.judge import Judge, Marks
from seedfree.evaluation.likelihood import Likelihoods, TaskLikelihood
from seedfree.evaluation.lm_eval import export_lm_eval
from seedfree.evaluation.orders import Orders, Passed
from seedfree.evaluation.pairwise import Preferences, compare_answers
from seedfree.evaluation.predictions import read_predictions
from seedfree.evaluation.results import Evaluation
from seedfree.evaluation.review_sheet import read_reviews, review_sheet
from seedfree.evaluation.reviews import Reviews
from seedfree.evaluation.scores import Comparison, Scores, compare, score
from seedfree.evaluation.similarity import bert_score, embedding_similarity
from seedfree.evaluation.statistics import Interval, kappa, mean_interval, paired_p
from seedfree.evaluation.wangchan import WangchanThaiInstruct

__all__ = [
    "Accuracy",
    "Belebele",
    "Comparison",
    "Contamination",
    "Decoding",
    "Evaluation",
    "Interval",
    "Judge",
    "Likelihoods",
    "Marks",
    "Orders",
    "Passed",
    "Preferences",
    "Reviews",
    "Scores",
    "TaskLikelihood",
    "WangchanThaiInstruct",
    "accuracy",
    "bert_score",
    "compare",
    "compare_answers",
    "contamination",
    "embedding_similarity",
    "evaluate",
    "export_lm_eval",
    "kappa",
    "mean_interval",
    "paired_p",
    "read_predictions",
    "read_reviews",
    "review_sheet",
    "score",
]
