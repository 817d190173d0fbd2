//! What the panes say, as text: titles, the question a map answers, the zoom. Pure.

use super::Adjustments;
use crate::attribution::Method;
use crate::fundus::{Identity, Laterality};
use crate::grading::{Grade, Output, Target};
use crate::nn::Network;

/// A photograph's identity beside its name: `patient 10 · left eye · 2015-03-02 · original 4288 × 2848`.
pub fn identity(identity: &Identity, size: Option<[u32; 2]>) -> String {
    let patient = identity.patient.as_ref().map(|patient| format!("patient {patient}"));
    let eye = match identity.eye {
        Some(Laterality::Right) => "right eye",
        Some(Laterality::Left) => "left eye",
        None => "eye unknown",
    };
    let size = size.map(|[width, height]| format!("original {width} × {height}"));
    [patient, Some(eye.to_owned()), identity.date.clone(), size].into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

/// The question that a map of `output` answers; `predicted` is the explained network's own grade, once known.
pub fn question(output: Output, predicted: Option<Grade>) -> String {
    let target = match output {
        Output::LogOddsReferable => return "Why referable?".to_owned(),
        Output::Probability(target) | Output::Logit(target) => target,
    };
    let grade = match target {
        Target::Predicted => predicted,
        Target::Grade(grade) => Some(grade),
    };
    match grade {
        None => "Why this grade?".to_owned(),
        Some(Grade::None) => "Why no retinopathy?".to_owned(),
        Some(grade) => format!("Why {}?", grade.short_name().to_lowercase()),
    }
}

/// How the question was asked, and of whom: `integrated gradients · ResNet-50`.
pub fn manner(output: Output, method: Method, network: Network) -> String {
    let method = match method {
        Method::Ig => "integrated gradients",
        Method::GradCam => "Grad-CAM",
    };
    let output = match output {
        Output::LogOddsReferable => "",
        Output::Probability(_) => " of the probability",
        Output::Logit(_) => " of the logit",
    };
    format!("{method}{output} · {}", network.label())
}

/// The zoom: `fit · 20 %`, `1:1`, `250 %`, and what is adjusted.
pub fn zoom(fitted: bool, scale: f64, adjustments: &Adjustments) -> String {
    let percent = scale * 100.0;
    let figure = if percent < 9.95 { format!("{percent:.1} %") } else { format!("{percent:.0} %") };
    let zoom = match (fitted, (scale - 1.0).abs() < 1e-9) {
        (true, _) => format!("fit · {figure}"),
        (false, true) => format!("1:1 · {figure}"),
        (false, false) => figure,
    };
    if adjustments.is_neutral() { zoom } else { format!("{zoom} · {}", adjustments.words()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_is_said_or_left_out() {
        let known = Identity {
            patient: Some("10".to_owned()),
            patient_within: None,
            eye: Some(Laterality::Left),
            date: Some("2015-03-02".to_owned()),
        };
        assert_eq!(identity(&known, Some([4288, 2848])), "patient 10 · left eye · 2015-03-02 · original 4288 × 2848");
        assert_eq!(identity(&Identity::default(), None), "eye unknown");
    }

    #[test]
    fn the_question_names_the_class_explained() {
        assert_eq!(question(Output::LogOddsReferable, Some(Grade::Mild)), "Why referable?");
        assert_eq!(question(Output::Probability(Target::Predicted), Some(Grade::Moderate)), "Why moderate?");
        assert_eq!(question(Output::Logit(Target::Predicted), None), "Why this grade?");
        assert_eq!(question(Output::Logit(Target::Grade(Grade::None)), Some(Grade::Mild)), "Why no retinopathy?");
        assert_eq!(manner(Output::LogOddsReferable, Method::GradCam, Network::ResNet50), "Grad-CAM · ResNet-50");
    }

    #[test]
    fn zoom_is_in_percent_of_physical_pixels() {
        let neutral = Adjustments::default();
        assert_eq!(zoom(true, 0.2, &neutral), "fit · 20 %");
        assert_eq!(zoom(false, 1.0, &neutral), "1:1 · 100 %");
        assert_eq!(zoom(false, 0.051, &neutral), "5.1 %");
        let red_free = Adjustments { red_free: true, ..neutral };
        assert_eq!(zoom(true, 1.0, &red_free), "fit · 100 % · red-free");
    }
}
