//! What the dock says, as text. Pure.

use std::time::Duration;

use crate::attribution::Attribution;
use crate::grading::{Assessment, Verdict};
use crate::nn::Network;
use crate::session::NetworkState;

/// A probability as a figure in percent without its sign: `71`, `<1` where it would round to 0 and is not.
pub fn percent(probability: f64) -> String {
    match probability * 100.0 {
        p if p > 0.0 && p < 0.5 => "<1".to_owned(),
        p if (99.5..100.0).contains(&p) => ">99".to_owned(),
        p => format!("{:.0}", p.round()),
    }
}

/// A share in percent with two figures: `3.1 %`, `12 %`.
pub fn share(share: f64) -> String {
    let p = share * 100.0;
    if !p.is_finite() {
        "unbounded".to_owned()
    } else if p < 0.095 {
        "below 0.1 %".to_owned()
    } else if p < 9.95 {
        format!("{p:.1} %")
    } else {
        format!("{p:.0} %")
    }
}

/// A share in whole percent: `8 %`.
pub fn whole(share: f64) -> String {
    format!("{} %", percent(share))
}

/// A tolerance as it was asked for: `2 %`, `0.5 %`.
pub fn tolerance(tolerance: f64) -> String {
    let p = (tolerance * 1e4).round() / 100.0;
    format!("{p} %")
}

/// Whether the networks agree: `ResNet-50 and InceptionV3 agree`, `ResNet-50 2, InceptionV3 3`.
pub fn agreement(assessment: &Assessment) -> String {
    let graded: Vec<_> =
        assessment.networks.iter().filter_map(|(network, verdict)| Some((network, verdict.graded()?))).collect();
    match graded.as_slice() {
        [] => String::new(),
        [(network, _)] => format!("{} alone", network.label()),
        _ if assessment.networks_differ() => {
            let words: Vec<_> =
                graded.iter().map(|(network, word)| format!("{} {}", network.label(), word.grade.digit())).collect();
            format!("Networks differ: {}", words.join(", "))
        }
        all => {
            let names: Vec<_> = all.iter().map(|(network, _)| network.label()).collect();
            format!("{} agree", listed(&names))
        }
    }
}

/// What is missing, in one note: calibration, and the networks that do not take part, each reason once.
pub fn note(networks: &[(Network, NetworkState)], assessment: Option<&Assessment>) -> String {
    let mut sentences = Vec::new();
    if assessment.is_some() {
        sentences.push("Not calibrated yet.".to_owned());
    }
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for (network, state) in networks {
        let verdict = assessment.and_then(|assessment| assessment.networks.get(network));
        let why = match (state, verdict) {
            (NetworkState::Unavailable(why), _) | (_, Some(Verdict::Unavailable { unavailable: why })) => why,
            (NetworkState::Loading, _) => "loading",
            (NetworkState::Ready, _) => continue,
        };
        // That the manifest does not list a network is said of each in the same few words; the path is in its tooltip.
        let why = if why.starts_with("no weights yet") { "no weights yet" } else { why };
        match reasons.iter_mut().find(|(known, _)| *known == why) {
            Some((_, names)) => names.push(network.label()),
            None => reasons.push((why, vec![network.label()])),
        }
    }
    sentences.extend(reasons.iter().map(|(why, names)| format!("{}: {}.", listed(names), why.trim_end_matches('.'))));
    sentences.join(" ")
}

/// `A`, `A and B`, `A, B and C`.
fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}

/// How long until the next map is there, at the pace so far; `None` where there is none to come.
pub fn remaining(map: &Attribution, elapsed: Duration) -> Option<Duration> {
    let pace = map.seconds / map.gradient_evaluations.max(1) as f64;
    let left = map.next? as f64 * pace - elapsed.as_secs_f64();
    (left.is_finite() && left < 86_400.0).then(|| Duration::from_secs_f64(left.max(1.0)))
}

/// `4 s`, `2 min`.
pub fn duration(duration: Duration) -> String {
    match duration.as_secs_f64().ceil() {
        s if s < 100.0 => format!("{s:.0} s"),
        s => format!("{:.0} min", s / 60.0),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::attribution::Method;
    use crate::grading::NetworkGrade;

    fn word(logits: [f64; 5]) -> Verdict {
        Verdict::Graded(NetworkGrade::from_logits(&logits))
    }

    fn assessment(networks: impl IntoIterator<Item = (Network, Verdict)>) -> Assessment {
        Assessment::consensus(networks.into_iter().collect::<BTreeMap<_, _>>()).expect("a network spoke")
    }

    #[test]
    fn small_probabilities_are_not_rounded_away() {
        let figures = [0.0, 0.001, 0.005, 0.714, 0.996, 1.0].map(percent);
        assert_eq!(figures, ["0", "<1", "1", "71", ">99", "100"]);
        assert_eq!([0.0314, 0.12, 0.0001, f64::INFINITY].map(share), ["3.1 %", "12 %", "below 0.1 %", "unbounded"]);
        assert_eq!([0.08, 0.001].map(whole), ["8 %", "<1 %"]);
        assert_eq!([0.02, 0.005].map(tolerance), ["2 %", "0.5 %"]);
    }

    #[test]
    fn agreement_and_dissent_are_said() {
        let moderate = || word([0.0, 0.0, 2.0, 0.0, 0.0]);
        let severe = || word([0.0, 0.0, 0.0, 2.0, 0.0]);
        let two = assessment([(Network::ResNet50, moderate()), (Network::InceptionV3, moderate())]);
        assert_eq!(agreement(&two), "ResNet-50 and InceptionV3 agree");
        let apart = assessment([(Network::ResNet50, moderate()), (Network::InceptionV3, severe())]);
        assert_eq!(agreement(&apart), "Networks differ: ResNet-50 2, InceptionV3 3");
        assert_eq!(agreement(&assessment([(Network::ResNet50, severe())])), "ResNet-50 alone");
    }

    #[test]
    fn the_note_names_what_is_missing() {
        let networks = [
            (Network::ResNet50, NetworkState::Ready),
            (Network::InceptionV3, NetworkState::Loading),
            (Network::InceptionResNetV2, NetworkState::Unavailable("no weights yet".to_owned())),
        ];
        let graded = assessment([(Network::ResNet50, word([1.0; 5]))]);
        assert_eq!(
            note(&networks, Some(&graded)),
            "Not calibrated yet. InceptionV3: loading. InceptionResNetV2: no weights yet."
        );
        let none = Network::ALL.map(|network| (network, NetworkState::Unavailable("no weights yet.".to_owned())));
        assert_eq!(note(&none, None), "ResNet-50, InceptionV3 and InceptionResNetV2: no weights yet.");
        assert_eq!(note(&networks[..1], None), "");
    }

    #[test]
    fn the_time_left_is_that_of_the_next_refinement() {
        let map = Attribution {
            method: Method::Ig,
            shape: [1, 1, 3],
            map: vec![0.0; 3],
            f_input: 0.0,
            f_baseline: Some(0.0),
            completeness_error: Some(0.0),
            completeness_gap: Some(0.0),
            map_change: Some(0.04),
            converged: false,
            gradient_evaluations: 20,
            next: Some(40),
            history: Vec::new(),
            mass_at_rim: 0.0,
            seconds: 4.0,
        };
        // 40 gradients, 0.2 s each.
        let left = remaining(&map, Duration::from_secs(5)).expect("another one comes");
        assert!((left.as_secs_f64() - 3.0).abs() < 1e-9);
        assert_eq!(remaining(&map, Duration::from_secs(50)), Some(Duration::from_secs(1)));
        assert_eq!(remaining(&Attribution { next: None, ..map }, Duration::ZERO), None);
        assert_eq!(duration(Duration::from_millis(3200)), "4 s");
        assert_eq!(duration(Duration::from_secs(150)), "2 min");
    }
}
