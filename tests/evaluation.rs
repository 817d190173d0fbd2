//! Kappa, AUC, accuracy and confusion agree with scikit-learn (`goldens/evaluation.py`); intervals are where they should be.

use diaret::evaluation::{Confusion, Figures, GRADES, Graded, by_source, read_labels, roc_auc};
use diaret::grading::{Grade, NetworkGrade};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    reference: Vec<Grade>,
    predicted: Vec<Grade>,
    referable: Vec<f64>,
    kappa: f64,
    auc: f64,
    accuracy: f64,
    confusion: [[u64; GRADES]; GRADES],
}

#[test]
fn figures_agree_with_scikit_learn() {
    let goldens: Vec<Golden> = serde_json::from_str(include_str!("goldens/evaluation.json")).unwrap();
    assert_eq!(goldens.len(), 4);
    for golden in goldens {
        let confusion = Confusion::new(golden.reference.iter().copied().zip(golden.predicted));
        assert_eq!(confusion.rows(), &golden.confusion);
        assert!((confusion.quadratic_weighted_kappa().unwrap() - golden.kappa).abs() < 1e-12);
        assert!((confusion.accuracy().unwrap() - golden.accuracy).abs() < 1e-12);
        let cases = golden.reference.iter().map(|grade| grade.is_referable()).zip(golden.referable);
        assert!((roc_auc(cases).unwrap() - golden.auc).abs() < 1e-12);
    }
}

#[test]
fn figures_that_do_not_exist_are_not_given() {
    assert_eq!(Confusion::default().accuracy(), None);
    assert_eq!(Confusion::new([(Grade::Mild, Grade::Mild)]).quadratic_weighted_kappa(), None);
    assert_eq!(roc_auc([(true, 0.5), (true, 0.7)]), None);
}

/// `right` of ten photographs are given their grade, the others the next one; five patients a source.
fn photographs(source: &str, right: usize) -> Vec<Graded> {
    let one = |i: usize| {
        let reference = Grade::ALL[i % GRADES];
        let given = if i < right { i % GRADES } else { (i + 1) % GRADES };
        let logits: Vec<f64> = (0..GRADES).map(|grade| if grade == given { 2.0 } else { 0.0 }).collect();
        let patient = format!("{source}/{}", i / 2);
        Graded { source: source.into(), patient, reference, predicted: NetworkGrade::from_logits(&logits) }
    };
    (0..10).map(one).collect()
}

#[test]
fn each_source_has_figures_of_its_own() {
    let graded = [photographs("b", 10), photographs("a", 5)].concat();
    let sources = by_source(&graded);
    assert_eq!(sources.keys().copied().collect::<Vec<_>>(), ["a", "b"]);
    let [a, b] = ["a", "b"].map(|source| Figures::new(sources[source].iter().copied()));
    assert_eq!((a.accuracy, b.accuracy), (Some(0.5), Some(1.0)));
    assert_eq!((b.kappa, b.referable_auc), (Some(1.0), Some(1.0)));
    let largest = 2f64.exp() / (2f64.exp() + 4.0);
    assert!((b.overconfidence.unwrap() - (largest - 1.0)).abs() < 1e-12);
}

#[test]
fn an_interval_holds_its_figure_and_is_the_same_every_time() {
    let graded = photographs("a", 7);
    let [first, again] = [(); 2].map(|()| Figures::new(&graded));
    assert_eq!(first, again);
    let (kappa, interval) = (first.kappa.unwrap(), first.kappa_interval.unwrap());
    assert!(interval.low <= kappa && kappa <= interval.high && interval.low < interval.high, "{interval:?}");
}

#[test]
fn labels_are_read_in_their_order_and_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("labels.csv");
    let head = "file,source,split,grade,quality,patient,eye,colour,side\n";
    let row = "images/a/1.jpg,a,val,3,good,p1,left,plain,300\n";
    std::fs::write(&file, format!("{head}{row}x.jpg,b,external,0,,,,restored,1\n")).unwrap();
    let labels = read_labels(folder.path()).unwrap();
    assert_eq!(labels.iter().map(|label| label.grade.digit()).collect::<Vec<_>>(), [3, 0]);
    assert_eq!((labels[0].patient.as_str(), labels[1].patient.as_str()), ("p1", ""));
    for (rows, told) in
        [("x.jpg,b,train,5,,,,plain,1\n", "no ICDR grade"), ("x.jpg,b,holdout,1,,,,plain,1\n", "holdout")]
    {
        std::fs::write(&file, format!("{head}{rows}")).unwrap();
        let error = read_labels(folder.path()).unwrap_err().to_string();
        assert!(error.contains("labels.csv") && error.contains(told), "{error}");
    }
    std::fs::write(&file, format!("{head}{row}{row}")).unwrap();
    assert!(read_labels(folder.path()).unwrap_err().to_string().contains("images/a/1.jpg is listed twice"));
}
