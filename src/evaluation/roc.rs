//! Scores of positive and negative cases come in; the area under the ROC curve goes out.

/// The share of pairs of a positive and a negative case in which the positive has the higher score, ties counting a half
/// (Mann-Whitney; Hanley and `McNeil`, Radiology 143:29, 1982). `None` where one of the two kinds is missing.
pub fn roc_auc(cases: impl IntoIterator<Item = (bool, f64)>) -> Option<f64> {
    let mut cases: Vec<_> = cases.into_iter().collect();
    cases.sort_by(|a, b| a.1.total_cmp(&b.1));
    let positives = cases.iter().filter(|case| case.0).count() as f64;
    let negatives = cases.len() as f64 - positives;
    let (mut below, mut won) = (0.0, 0.0);
    for tied in cases.chunk_by(|a, b| a.1.total_cmp(&b.1).is_eq()) {
        let up = tied.iter().filter(|case| case.0).count() as f64;
        let down = tied.len() as f64 - up;
        won += up * (below + down / 2.0);
        below += down;
    }
    (positives > 0.0 && negatives > 0.0).then(|| won / (positives * negatives))
}
