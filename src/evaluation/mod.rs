//! Predictions and references come in; the figures of the field go out (quadratic weighted kappa, AUC).
