"""Goldens of tests/evaluation.rs: figures by scikit-learn on generated grades.

usage: python tests/goldens/evaluation.py > tests/goldens/evaluation.json
"""

import json

import numpy
from sklearn.metrics import accuracy_score, cohen_kappa_score, confusion_matrix, roc_auc_score

random = numpy.random.default_rng(20)
cases = []
for size, skill in ((40, 0.5), (150, 2.0), (300, 0.0), (12, 4.0)):
    reference = random.choice(5, size, p=(0.5, 0.15, 0.2, 0.1, 0.05))
    logits = random.normal(size=(size, 5)) - skill * 0.3 * (numpy.arange(5)[None] - reference[:, None]) ** 2
    probabilities = numpy.exp(logits)
    # Few decimals, so that scores tie.
    probabilities = numpy.round(probabilities / probabilities.sum(1, keepdims=True), 2)
    predicted = probabilities.argmax(1)
    referable = numpy.round(probabilities[:, 2:].sum(1), 2)
    cases.append({
        "reference": reference.tolist(),
        "predicted": predicted.tolist(),
        "referable": referable.tolist(),
        "kappa": cohen_kappa_score(reference, predicted, weights="quadratic"),
        "auc": roc_auc_score(reference >= 2, referable),
        "accuracy": accuracy_score(reference, predicted),
        "confusion": confusion_matrix(reference, predicted, labels=range(5)).tolist(),
    })
print(json.dumps(cases))
